"""Rules of projects: deny by default, releases at once, refusals with every finding."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from baas_rules import Auth, Request, Timestamp

from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.errors import BaasError, FailedPrecondition, InvalidArgument, RulesetRejected
from baas.model.queries import Query
from baas.model.timestamps import Timestamp as Timestamp_
from baas.model.writes import SetWrite
from baas.projects import rulesets
from baas.projects.projects import Projects
from baas.projects.records import project_collection, project_document
from baas.projects.rules_diff import COMPARED_LINES_MAX, diff_sources
from baas.projects.rulesets import (
    DENY_ALL,
    MESSAGE_CHARACTERS_MAX,
    RULESETS_KEPT_MAX,
    Deployment,
    diagnostic_details,
)
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
    assert release.note.deployed is not None
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
    (warning,) = await projects.rulesets.check(SIGNED_IN)
    assert warning.code == "unbounded-list"
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


async def history(projects: Projects, size: int = 100) -> list[str]:
    return [
        note.id
        for note in (await projects.rulesets.list_releases("chat", size=size, token=None)).notes
    ]


async def test_history_tells_who_why_and_when(projects: Projects) -> None:
    rulesets = projects.rulesets
    told = Deployment(author="ada@example.com", message=" opened for users \n")
    first = await rulesets.deploy("chat", SIGNED_IN, told)
    second = await rulesets.deploy("chat", NOBODY)
    page = await rulesets.list_releases("chat", size=10, token=None)
    assert page.next_token is None
    assert page.in_force == second.ruleset_id
    assert page.notes == [second.note, first.note]
    assert (first.note.author, first.note.message) == ("ada@example.com", "opened for users")
    past = await rulesets.get_past("chat", first.ruleset_id)
    assert (past.source, past.note, past.is_in_force) == (SIGNED_IN, first.note, False)
    assert (await rulesets.get_past("chat", second.ruleset_id)).is_in_force
    assert (await rulesets.get_past("chat", "default")).source == DENY_ALL
    for release in ("nothing", "", "a/b", "x" * 100):
        assert await reason_of(rulesets.get_past("chat", release)) == "ReleaseNotFound"
    assert await reason_of(rulesets.get_past("other", first.ruleset_id)) == "ReleaseNotFound"


async def test_history_comes_in_pages(projects: Projects) -> None:
    rulesets = projects.rulesets
    made = [(await rulesets.deploy("chat", SIGNED_IN)).ruleset_id for _ in range(5)]
    found: list[str] = []
    token = None
    while True:
        page = await rulesets.list_releases("chat", size=2, token=token)
        found += [note.id for note in page.notes]
        token = page.next_token
        if token is None:
            break
    assert found == made[::-1]
    for token in ("x", "-1", "9" * 19, "\u0661"):
        listing = rulesets.list_releases("chat", size=2, token=token)
        assert await reason_of(listing) == "InvalidPageToken"


async def test_a_rollback_is_one_more_release(projects: Projects) -> None:
    rulesets = projects.rulesets
    first = await rulesets.deploy("chat", SIGNED_IN)
    second = await rulesets.deploy("chat", NOBODY)
    back = await rulesets.roll_back("chat", first.ruleset_id, Deployment(message="back"))
    assert back.source == SIGNED_IN
    assert back.note.rollback_of == first.ruleset_id
    assert await history(projects) == [back.ruleset_id, second.ruleset_id, first.ruleset_id]
    assert (await projects.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed
    missing = rulesets.roll_back("chat", "nothing", Deployment())
    assert await reason_of(missing) == "ReleaseNotFound"


async def test_a_rollback_to_open_rules_is_refused_unless_told_by_name(projects: Projects) -> None:
    rulesets = projects.rulesets
    opened = await rulesets.deploy("chat", OPEN, allow_open=True)
    await rulesets.deploy("chat", NOBODY)
    assert await reason_of(rulesets.roll_back("chat", opened.ruleset_id, Deployment())) == (
        "OpenRules"
    )
    assert (await rulesets.get_release("chat")).source == NOBODY
    await rulesets.roll_back("chat", opened.ruleset_id, Deployment(allow_open=True))


async def test_whoever_did_not_see_the_latest_release_is_refused(projects: Projects) -> None:
    rulesets = projects.rulesets
    first = await rulesets.deploy("chat", SIGNED_IN, Deployment(if_release="default"))
    second = await rulesets.deploy("chat", NOBODY, Deployment(if_release=first.ruleset_id))
    for stale in ("default", first.ruleset_id, "nothing"):
        with pytest.raises(FailedPrecondition) as caught:
            await rulesets.deploy("chat", SIGNED_IN, Deployment(if_release=stale))
        assert caught.value.reason == "ReleaseChanged"
        assert caught.value.details == {"release": second.ruleset_id}
    assert (await rulesets.get_release("chat")).note == second.note


async def test_open_rules_in_force_are_told_with_their_paths(world: World) -> None:
    rulesets = world.projects.rulesets
    await rulesets.deploy("chat", SIGNED_IN)
    await rulesets.deploy("other", OPEN, allow_open=True)
    with pytest.raises(FailedPrecondition) as caught:
        await rulesets.check_none_open(["chat", "other"])
    assert caught.value.reason == "OpenRulesInForce"
    for told in ("`other`", "/notes/{note}`", "get, list", "line 4", "open_rules = other"):
        assert told in caught.value.message
    assert "chat" not in caught.value.message
    for named in ("other", " chat , other ", "*"):
        settings = replace(world.settings, open_rules=named)
        projects = Projects(world.databases, settings=settings, clock=world.clock)
        await projects.rulesets.check_none_open(["chat", "other"])
    settings = replace(world.settings, open_rules="oth,others")
    projects = Projects(world.databases, settings=settings, clock=world.clock)
    assert await reason_of(projects.rulesets.check_none_open(["other"])) == "OpenRulesInForce"


@pytest.mark.parametrize("message", ["x" * (MESSAGE_CHARACTERS_MAX + 1), "\x1b[31m", None, 7])
async def test_messages_are_short_plain_text(projects: Projects, message: object) -> None:
    deployment = Deployment(message=message)
    assert await reason_of(projects.rulesets.deploy("chat", NOBODY, deployment)) == (
        "InvalidMessage"
    )
    await projects.rulesets.deploy("chat", NOBODY, Deployment(message="é" * MESSAGE_CHARACTERS_MAX))


async def test_releases_without_author_and_rules_that_are_not_valid_any_more(world: World) -> None:
    """What an earlier version of this server has left."""
    database = await world.databases.system(None)

    async def body(transaction: Transaction) -> None:
        await transaction.write(
            [
                SetWrite(project_document("chat", "rulesets", "old"), {"source": "service {"}),
                SetWrite(
                    project_document("chat", "releases", "cloud.firestore"), {"ruleset": "old"}
                ),
            ]
        )

    await database.run_transaction(body, request_time=Timestamp_(0))
    projects = world.another()
    release = await projects.rulesets.get_release("chat")
    assert release.is_broken
    assert (release.source, release.note.author, release.note.message) == ("service {", None, "")
    assert not (await projects.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed
    assert await history(projects) == ["old"]
    await projects.rulesets.deploy("chat", SIGNED_IN)
    back = projects.rulesets.roll_back("chat", "old", Deployment())
    assert await reason_of(back) == "RulesetRejected"
    assert (await projects.ruleset(DatabaseName("chat"))).decide(request(), {}).allowed


def test_a_diff_is_unified() -> None:
    old = "".join(f"line {number}\n" for number in range(100))
    new = old.replace("line 50\n", "line fifty\nmore\n").replace("line 99\n", "")
    assert diff_sources(old, new, old_name="a", new_name="b") == (
        "--- a\n+++ b\n"
        "@@ -48,7 +48,8 @@\n line 47\n line 48\n line 49\n-line 50\n+line fifty\n+more\n"
        " line 51\n line 52\n line 53\n"
        "@@ -97,4 +98,3 @@\n line 96\n line 97\n line 98\n-line 99\n"
    )
    assert diff_sources(old, old, old_name="a", new_name="b") == ""
    assert (
        diff_sources("", "x", old_name="a", new_name="b") == "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n"
    )


def test_a_diff_of_hostile_sources_is_bounded() -> None:
    lines = int(COMPARED_LINES_MAX**0.5) + 1
    old, new = "a\nb\n" * lines, "b\nc\n" * lines
    told = diff_sources(old, new, old_name="a", new_name="b").splitlines()
    assert told[2] == f"@@ -1,{2 * lines} +1,{2 * lines} @@"
    assert len(told) == 3 + 4 * lines
