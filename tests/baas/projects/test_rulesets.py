"""Rules of projects: deny by default, releases at once, refusals with every finding."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from baas_rules import Auth, Request, Timestamp

from baas.database.names import DatabaseName
from baas.errors import BaasError, FailedPrecondition, InvalidArgument, RulesetRejected
from baas.model.queries import Query
from baas.projects import rulesets
from baas.projects.projects import Projects
from baas.projects.records import project_collection
from baas.projects.rulesets import RULESETS_KEPT_MAX, diagnostic_details
from tests.baas.projects.conftest import World


def rules(statements: str, service: str = "cloud.firestore") -> str:
    return (
        "rules_version = '2';\n"
        f"service {service} {{\n"
        "  match /databases/{database}/documents {\n"
        f"    match /notes/{{note}} {{ {statements} }}\n"
        "  }\n"
        "}\n"
    )


SIGNED_IN = rules("allow read: if request.auth != null;")
NOBODY = rules("allow read: if false;")
OPEN = rules("allow read, write: if true;")


def request() -> Request:
    return Request(
        service="cloud.firestore",
        method="get",
        path=("notes", "a"),
        database="(default)",
        auth=Auth("ada", {}),
        time=Timestamp(0),
        resource=None,
        new_resource=None,
    )


@pytest.fixture(autouse=True)
async def made(projects: Projects) -> None:
    await projects.create_project("chat")
    await projects.create_project("other")


async def reason_of(work: Awaitable[Any]) -> str:
    with pytest.raises(BaasError) as caught:
        await work
    return caught.value.reason


async def test_before_the_first_deployment_all_is_denied(projects: Projects) -> None:
    assert not (await projects.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed


async def test_a_deployment_is_in_force_at_its_return(world: World) -> None:
    projects = world.projects
    await projects.ruleset(DatabaseName("chat"))
    release = await projects.rulesets.deploy("chat", SIGNED_IN)
    assert release.source == SIGNED_IN
    assert release.deployed is not None
    assert release.version > 0
    for one in (projects, world.another()):
        assert (await one.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed
        assert not (await one.ruleset(DatabaseName("other"))).decide(request(), {}).allowed
    again = await projects.rulesets.deploy("chat", NOBODY)
    assert again.version > release.version
    assert again.ruleset_id != release.ruleset_id
    assert not (await projects.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed


async def test_a_ruleset_is_compiled_once(projects: Projects) -> None:
    await projects.rulesets.deploy("chat", SIGNED_IN)
    assert await projects.ruleset(DatabaseName("chat")) is await projects.ruleset(
        DatabaseName("chat")
    )


async def test_rules_that_are_not_valid_are_refused_with_every_finding(projects: Projects) -> None:
    await projects.rulesets.deploy("chat", SIGNED_IN)
    bad = rules("allow read: if nonsense; allow write: if request.auth.uid = 7;")
    with pytest.raises(RulesetRejected) as caught:
        await projects.rulesets.deploy("chat", bad)
    details = caught.value.details
    assert details is not None
    (*_, last) = details["diagnostics"]
    assert last["severity"] == "error"
    assert last["line"] == 4
    assert "^" in last["snippet"]
    assert (await projects.rulesets.get_release("chat")).source == SIGNED_IN


@pytest.mark.parametrize(
    ("statements", "methods"),
    [
        ("allow read, write: if true;", {"get", "list", "create", "update", "delete"}),
        ("allow get;", {"get"}),
        ("allow create: if true || request.auth != null;", {"create"}),
    ],
)
async def test_open_rules_are_refused_unless_told_by_name(
    projects: Projects, statements: str, methods: set[str]
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await projects.rulesets.deploy("chat", rules(statements))
    assert caught.value.reason == "OpenRules"
    assert caught.value.details is not None
    opened = caught.value.details["open"]
    assert {method for one in opened for method in one["methods"]} == methods
    assert all(one["path"].endswith("/notes/{note}") and one["line"] == 4 for one in opened)
    assert (await projects.rulesets.get_release("chat")).ruleset_id == "default"
    await projects.rulesets.deploy("chat", rules(statements), allow_open=True)


async def test_rules_of_another_service_are_refused(projects: Projects) -> None:
    storage = rules("allow read: if request.auth != null;", "firebase.storage")
    assert await reason_of(projects.rulesets.deploy("chat", storage)) == "RulesetRejected"


async def test_the_size_of_rules_is_bounded(world: World) -> None:
    maximum = world.settings.limits.ruleset_bytes_max
    deploy = world.projects.rulesets.deploy
    filler = maximum - len(SIGNED_IN) - len("//\n")
    await deploy("chat", SIGNED_IN + "//" + "x" * filler + "\n")
    assert await reason_of(deploy("chat", SIGNED_IN + "//" + "x" * (filler + 1) + "\n")) == (
        "RulesetTooLarge"
    )


@pytest.mark.parametrize("source", [None, 7, ["x"], "\ud800"])
async def test_what_is_no_text_is_refused(projects: Projects, source: object) -> None:
    for work in (projects.rulesets.deploy("chat", source), projects.rulesets.check(source)):
        with pytest.raises(InvalidArgument) as caught:
            await work
        assert caught.value.reason == "InvalidSource"


async def test_check_stores_nothing(projects: Projects) -> None:
    assert await projects.rulesets.check(SIGNED_IN) == []
    findings = [diagnostic_details(one) for one in await projects.rulesets.check("service {")]
    assert findings[0]["severity"] == "error"
    assert (await projects.rulesets.get_release("chat")).ruleset_id == "default"


async def test_history_is_kept_and_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RULESETS_KEPT_MAX == 100
    monkeypatch.setattr(rulesets, "RULESETS_KEPT_MAX", 3)
    for _ in range(5):
        release = await world.projects.rulesets.deploy("chat", SIGNED_IN)
    database = await world.databases.system(None)
    query = Query(project_collection("chat", "rulesets"))
    kept = [one.path.segments[-1] for one in (await database.run_query(query)).documents]
    assert len(kept) == 3
    assert release.ruleset_id in kept
    assert (await world.another().rulesets.get_release("chat")).ruleset_id == release.ruleset_id
