"""Use cases on rules: who may, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.errors import FailedPrecondition, NotFound, PermissionDenied
from baas.projects.rulesets import Deployment
from baas.services import projects, rulesets
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.testing import make_settings, started_app

ADMIN = Caller(CallerKind.ADMIN, uid="operator")
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} { allow read: if request.auth != null; }
  }
}
"""


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with started_app(make_settings(tmp_path / "data")) as app:
        await projects.create_project(app.context, ADMIN, "chat")
        yield app.context


async def test_deploy_and_get(context: Context) -> None:
    before = await rulesets.get_rules(context, ADMIN, "chat")
    assert before.note.deployed is None
    release = await rulesets.deploy_rules(context, ADMIN, "chat", RULES)
    assert await rulesets.get_rules(context, ADMIN, "chat") == release
    with pytest.raises(FailedPrecondition):
        await rulesets.deploy_rules(
            context, ADMIN, "chat", RULES.replace("request.auth != null", "true")
        )


async def test_check(context: Context) -> None:
    (warning,) = await rulesets.check_rules(context, ADMIN, "chat", RULES)
    assert (warning["severity"], warning["code"]) == ("warning", "unbounded-list")
    (finding, *_) = await rulesets.check_rules(context, ADMIN, "chat", RULES + "}")
    assert finding["severity"] == "error"
    assert finding["line"] == 7
    assert set(finding) == {
        *("severity", "message", "line", "column", "end_column", "hint", "code", "snippet")
    }


async def test_the_author_is_the_administrator_or_the_operator(context: Context) -> None:
    release = await rulesets.deploy_rules(
        context, ADMIN, "chat", RULES, Deployment(author="somebody else", message="first")
    )
    assert (release.note.author, release.note.message) == ("operator", "first")
    ada = Caller(
        CallerKind.ADMIN, uid="1", claims={"email": "ada@example.com"}, session="baas_session"
    )
    back = await rulesets.roll_back_rules(
        context, ada, "chat", release.ruleset_id, Deployment(author="somebody else")
    )
    assert back.note.author == "ada@example.com"
    diff = await rulesets.diff_releases(context, ADMIN, "chat", release.ruleset_id, None)
    assert (diff.old, diff.new, diff.diff) == (release.ruleset_id, back.ruleset_id, "")
    assert (
        "+    match /notes/{note}"
        in (await rulesets.diff_releases(context, ADMIN, "chat", "default", back.ruleset_id)).diff
    )


async def test_only_administrators_and_only_projects_that_exist(context: Context) -> None:
    for caller, project, error in (
        (ANONYMOUS, "chat", PermissionDenied),
        (Caller(CallerKind.USER, uid="ada", project="chat"), "chat", PermissionDenied),
        (Caller(CallerKind.SECRET_KEY, project="chat"), "chat", PermissionDenied),
        (ADMIN, "nowhere", NotFound),
    ):
        for work in (
            rulesets.get_rules(context, caller, project),
            rulesets.deploy_rules(context, caller, project, RULES),
            rulesets.check_rules(context, caller, project, RULES),
            rulesets.roll_back_rules(context, caller, project, "default", Deployment()),
            rulesets.list_releases(context, caller, project, page_size=1, page_token=None),
            rulesets.get_past_release(context, caller, project, "default"),
            rulesets.diff_releases(context, caller, project, "default", None),
        ):
            with pytest.raises(error):
                await work
