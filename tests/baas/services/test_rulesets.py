"""Use cases on rules: who may, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.errors import FailedPrecondition, NotFound, PermissionDenied
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
    assert before.deployed is None
    release = await rulesets.deploy_rules(context, ADMIN, "chat", RULES)
    assert await rulesets.get_rules(context, ADMIN, "chat") == release
    with pytest.raises(FailedPrecondition):
        await rulesets.deploy_rules(
            context, ADMIN, "chat", RULES.replace("request.auth != null", "true")
        )


async def test_check(context: Context) -> None:
    assert await rulesets.check_rules(context, ADMIN, "chat", RULES) == []
    (finding, *_) = await rulesets.check_rules(context, ADMIN, "chat", RULES + "}")
    assert finding["severity"] == "error"
    assert finding["line"] == 7
    assert set(finding) == {
        *("severity", "message", "line", "column", "end_column", "hint", "snippet")
    }


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
        ):
            with pytest.raises(error):
                await work
