"""The audit: what strangers could do to live data, by the rules themselves, writing nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.errors import NotFound, PermissionDenied
from baas.services import rules_audit
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.denials import DenialFilter, list_denials
from baas.services.rules_audit import AuditDone, AuditProgress, Finding
from tests.baas.http.objects_world import OBJECTS, object_world
from tests.baas.services.worlds import ADA, NAME, OPERATOR, SECRET, World, open_world


async def audit(
    world: World, sample: int = 20
) -> tuple[dict[tuple[str, str], set[str]], AuditDone]:
    """(pattern, caller) to methods, and the end."""
    found: dict[tuple[str, str], set[str]] = {}
    events = await rules_audit.audit_rules(world.context, OPERATOR, "demo", sample=sample)
    async for event in events:
        if isinstance(event, Finding):
            found.setdefault((event.path, event.caller), set()).add(event.method)
        if isinstance(event, AuditDone):
            return found, event
    raise AssertionError("no end")


async def test_what_is_exposed_to_whom_is_found(world: World) -> None:
    await world.deploy(
        "match /posts/{id} { allow read: if true; }",
        "match /wall/{id} { allow create, list: if request.auth != null; }",
        "match /users/{uid} { allow read, write: if request.auth.uid == uid; }",
        "match /users/{uid}/notes/{id} { allow update: if request.resource.data.n is int; }",
        "match /drafts/{id} { allow delete: if resource.data.old == true; }",
        "match /limited/{id} { allow list: if request.query.limit <= 10; }",
        "match /strict/{id} { allow create: if request.resource.data.keys().hasOnly(['n']); }",
        "match /members/{id} { allow get: if exists(/databases/$(database)/documents/posts/p1); }",
    )
    await world.put(
        posts__p1={"n": 1},
        wall__w1={"text": "x"},
        users__ada={"n": 1},
        users__missing__notes__n1={"n": 1},
        drafts__d1={"old": False},
        drafts__d2={"old": True},
        limited__x={},
        strict__x={"n": 1},
        members__m={},
        closed__x={"n": 1},
    )
    found, done = await audit(world)
    everybody = {
        ("posts/{id}", "get"),
        ("posts/{id}", "list"),
        ("users/{id}/notes/{id}", "update"),
        ("drafts/{id}", "delete"),
        ("limited/{id}", "list"),
        ("strict/{id}", "create"),
        ("members/{id}", "get"),
    }
    anonymous = {
        (path, one) for (path, who), some in found.items() if who == "anonymous" for one in some
    }
    user = {(path, one) for (path, who), some in found.items() if who == "user" for one in some}
    assert anonymous == everybody
    assert user == everybody | {("wall/{id}", "create"), ("wall/{id}", "list")}
    assert done.complete
    assert done.findings == len(anonymous) + len(user)


async def test_it_says_how_much_of_the_sample_and_where(world: World) -> None:
    await world.deploy("match /drafts/{id} { allow delete: if resource.data.old == true; }")
    await world.put(**{f"drafts__d{number}": {"old": number % 2 == 0} for number in range(6)})
    events = await rules_audit.audit_rules(world.context, OPERATOR, "demo")
    findings = [event async for event in events if isinstance(event, Finding)]
    assert {(one.caller, one.method, one.allowed, one.tried) for one in findings} == {
        ("anonymous", "delete", 3, 6),
        ("user", "delete", 3, 6),
    }
    assert {one.example for one in findings} <= {"drafts/d0", "drafts/d2", "drafts/d4"}


async def test_nothing_is_written_and_nothing_is_traced(world: World) -> None:
    await world.deploy("match /{all=**} { allow read, write: if true; }")
    await world.put(a__b={"n": 1}, a__b__c__d={"n": 2})
    database = await world.context.databases.open(NAME)
    before = database.version
    found, _ = await audit(world)
    everything = {"get", "list", "create", "update", "delete"}
    assert set(found) == {
        (path, who) for path in ("a/{id}", "a/{id}/c/{id}") for who in ("anonymous", "user")
    }
    assert all(methods == everything for methods in found.values())
    await world.deploy("match /{all=**} { allow read, write: if false; }")
    assert (await audit(world))[0] == {}
    assert database.version == before
    page = await list_denials(
        world.context, OPERATOR, "demo", DenialFilter(), page_size=1, page_token=None
    )
    assert (page.denials, page.counts.denied) == ([], 0)


async def test_a_sample_bounds_what_is_looked_at(world: World) -> None:
    await world.deploy("match /a/{id} { allow get: if true; }")
    await world.put(**{f"a__d{number}": {} for number in range(30)})
    events = await rules_audit.audit_rules(world.context, OPERATOR, "demo", sample=4)
    told = [event async for event in events]
    findings = [event for event in told if isinstance(event, Finding)]
    assert {finding.tried for finding in findings} == {4}
    assert [event.path for event in told if isinstance(event, AuditProgress)] == ["a/{id}"]


async def test_more_collections_than_are_looked_at_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_audit, "COLLECTIONS_MAX", 2)
    await world.put(a__x={}, b__x={}, c__x={}, a__x__d__y={})
    assert not (await audit(world))[1].complete


async def test_objects_are_looked_at_too(tmp_path: Path) -> None:
    rules = """rules_version = '2';
service cloud.firestore { match /databases/{d}/documents { } }
service firebase.storage {
  match /b/{bucket}/o {
    match /public/{file=**} { allow get: if true; allow list: if request.auth != null; }
    match /drop/{file} { allow create: if request.resource.size < 100; }
    match /{file} { allow delete, update: if request.auth.uid == 'nobody'; }
  }
}"""
    async with object_world(tmp_path / "data", users=False, rules=rules) as world:
        for name in ("public/a/1.txt", "drop/x.txt", "root.txt"):
            assert (await world.secret.put(f"{OBJECTS}/{name}", content=b"hello")).is_success
        events = await rules_audit.audit_rules(world.app.context, OPERATOR, "demo")
        found = {
            (event.caller, event.path, event.method, event.place)
            async for event in events
            if isinstance(event, Finding)
        }
        assert found == {
            ("anonymous", "public/**", "get", "default"),
            ("user", "public/**", "get", "default"),
            ("user", "public/**", "list", "default"),
            ("anonymous", "drop/**", "create", "default"),
            ("user", "drop/**", "create", "default"),
        }
        listed = (await world.secret.get(OBJECTS)).json()["objects"]
        assert len(listed) == 3


async def test_only_administrators_audit(world: World) -> None:
    for caller in (ANONYMOUS, ADA, SECRET, Caller(CallerKind.SECRET_KEY, project="demo")):
        with pytest.raises(PermissionDenied):
            await rules_audit.audit_rules(world.context, caller, "demo")
    with pytest.raises(NotFound):
        await rules_audit.audit_rules(world.context, OPERATOR, "nowhere")


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "data", dev=True) as opened:
        yield opened


async def test_in_development_mode_it_logs_no_denials(
    dev: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await dev.put(a__b={"n": 1})
    assert (await audit(dev))[0] == {}
    told = capsys.readouterr()
    assert "denied by rules" not in told.out + told.err
