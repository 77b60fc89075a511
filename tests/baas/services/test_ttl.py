"""Expiry: what has expired goes, by ordinary commits, and nothing else does; on both engines."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.indexes import IndexDefinition
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.errors import (
    AlreadyExists,
    InvalidPath,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    Unavailable,
)
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import SetWrite
from baas.projects.ttl import TtlPolicies, TtlPolicy
from baas.services import projects, ttl, ttl_runner
from baas.services.documents import commit
from baas.services.ttl_runner import TtlRunner
from tests.baas.services.worlds import ADA, NAME, OPERATOR, SECRET, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIELD = FieldPath.parse("life.ends")
HOUR = 3_600_000_000


def ends(world: World, hours: float) -> Fields:
    return {"life": {"ends": Timestamp(world.context.clock.now_microseconds() + int(hours * HOUR))}}


async def put(world: World, documents: dict[str, Fields]) -> None:
    writes = [SetWrite(DocumentPath.parse(path), fields) for path, fields in documents.items()]
    await commit(world.context, OPERATOR, NAME, writes)


async def database_of(world: World) -> Database:
    return await world.context.databases.open(NAME)


async def ids_in(world: World, room: str) -> set[str]:
    group = Query(CollectionPath((room,)), all_descendants=True)
    found = await (await database_of(world)).run_query(group)
    return {str(one.path) for one in found.documents}


async def set_policy(world: World, room: str) -> None:
    await ttl.set_policy(world.context, OPERATOR, NAME, room, FIELD)
    await (await database_of(world)).index_keeper.wait()


async def test_only_what_has_expired_goes_and_listeners_hear_of_it(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ttl_runner, "CHUNK_DOCUMENTS_MAX", 4)
    await put(shared, {f"{room}/old{n}": ends(shared, -1) for n in range(9)})
    await put(shared, {f"other/x/{room}/deep": ends(shared, -1)})
    kept: dict[str, Fields] = {
        f"{room}/later": ends(shared, 1),
        f"{room}/text": {"life": {"ends": "2001-01-01T00:00:00Z"}},
        f"{room}/number": {"life": {"ends": 1}},
        f"{room}/null": {"life": {"ends": None}},
        f"{room}/none": {"life": "short"},
    }
    await put(shared, kept)
    assert len(await ids_in(shared, room)) == 15  # visible until they are deleted
    await set_policy(shared, room)
    database = await database_of(shared)
    heard: list[CommitEvent] = []
    stop = database.subscribe(heard.append)
    assert await TtlRunner(shared.context).look() == 10
    stop()
    assert await ids_in(shared, room) == set(kept)
    assert sum(len(event.changes) for event in heard) == 10
    assert all(len(event.changes) <= 4 for event in heard)
    assert all(change.old and not change.new for event in heard for change in event.changes)
    (policy,) = await ttl.list_policies(shared.context, OPERATOR, NAME)
    assert (policy.deleted, policy.error) == (10, None)
    assert await TtlRunner(shared.context).look() == 0
    await ttl.delete_policy(shared.context, OPERATOR, NAME, room)


async def test_it_costs_what_expires(shared: World, room: str) -> None:
    await put(shared, {f"{room}/later{n}": ends(shared, 1) for n in range(50)})
    await put(shared, {f"{room}/old": ends(shared, -1)})
    await set_policy(shared, room)
    (policy,) = await ttl.list_policies(shared.context, OPERATOR, NAME)
    query = TtlRunner(shared.context)._expired(policy, 10)
    async with (await database_of(shared)).snapshot() as snapshot:
        snapshot.meter()
        found, _ = await snapshot.read_first(query, bytes_max=1_000_000)
        told = snapshot.explain(query, returned=len(found), seconds=0.0)
    assert [one.path.id for one in found] == ["old"]
    assert told.entries_scanned <= 2
    await ttl.delete_policy(shared.context, OPERATOR, NAME, room)


async def test_a_document_that_lives_longer_meanwhile_stays(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shared, {f"{room}/a": ends(shared, -1), f"{room}/b": ends(shared, -1)})
    await set_policy(shared, room)
    runner = TtlRunner(shared.context)
    find = runner._find_expired
    lengthened: list[bool] = []

    async def find_then_lengthen(*arguments: Any) -> list[DocumentPath]:
        found = await find(*arguments)
        if not lengthened:
            lengthened.append(True)
            return found
        if len(lengthened) == 1:
            lengthened.append(True)
            await put(shared, {f"{room}/a": ends(shared, 1)})
        return found

    monkeypatch.setattr(runner, "_find_expired", find_then_lengthen)
    assert await runner.look() == 1
    assert await ids_in(shared, room) == {f"{room}/a"}
    await ttl.delete_policy(shared.context, OPERATOR, NAME, room)


async def test_one_node_at_a_time_and_the_next_when_its_claim_has_run_out(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shared, {f"{room}/a": ends(shared, -1)})
    await set_policy(shared, room)
    context = shared.context
    (policy,) = await ttl.list_policies(context, OPERATOR, NAME)
    other = TtlPolicies(context.databases, context.clock, node="another", most=9)
    assert await other.claim(policy) is not None
    assert await TtlRunner(context).look() == 0
    monkeypatch.setattr("baas.projects.ttl.CLAIM_SECONDS", -1)
    assert await other.claim(policy) is not None
    assert await TtlRunner(context).look() == 1
    await ttl.delete_policy(context, OPERATOR, NAME, room)


@pytest.mark.parametrize("change", ["removed", "of another field"])
async def test_nothing_more_goes_once_its_policy_is_another(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(ttl_runner, "CHUNK_DOCUMENTS_MAX", 2)
    await put(shared, {f"{room}/old{n}": ends(shared, -1) for n in range(12)})
    await set_policy(shared, room)
    runner = TtlRunner(shared.context)
    delete = runner._delete

    async def change_then(*arguments: Any) -> int:
        deleted = await delete(*arguments)
        wanted = {} if change == "removed" else {room: FieldPath.parse("other")}
        await ttl.replace_policies(shared.context, OPERATOR, NAME, wanted, dry_run=False)
        return deleted

    monkeypatch.setattr(runner, "_delete", change_then)
    assert await runner.look() == 2
    assert len(await ids_in(shared, room)) == 10
    await ttl.replace_policies(shared.context, OPERATOR, NAME, {}, dry_run=False)


async def test_a_claim_of_a_clock_that_was_ahead_is_none(shared: World, room: str) -> None:
    """Else nothing expired until the day that the other clock showed."""
    await put(shared, {f"{room}/a": ends(shared, -1)})
    await set_policy(shared, room)
    context = shared.context
    (policy,) = await ttl.list_policies(context, OPERATOR, NAME)
    ahead = VirtualClock(context.clock.now_microseconds() + 24 * HOUR)
    assert await TtlPolicies(context.databases, ahead, node="another", most=9).claim(policy)
    assert await TtlRunner(context).look() == 1
    await ttl.delete_policy(context, OPERATOR, NAME, room)


async def test_an_error_is_not_shown_after_all_went_well(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shared, {f"{room}/a": ends(shared, -1)})
    await set_policy(shared, room)
    runner = TtlRunner(shared.context)

    async def fail(*arguments: Any) -> int:
        raise Unavailable("lost")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_delete", fail)
        assert await runner.look() == 0
    (policy,) = await ttl.list_policies(shared.context, OPERATOR, NAME)
    assert policy.error == "Unavailable: lost"
    await put(shared, {f"{room}/a": ends(shared, 1)})
    assert await runner.look() == 0
    (policy,) = await ttl.list_policies(shared.context, OPERATOR, NAME)
    assert policy.error is None
    await ttl.delete_policy(shared.context, OPERATOR, NAME, room)


async def test_a_busy_database_is_left_alone(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shared, {f"{room}/a": ends(shared, -1)})
    await set_policy(shared, room)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "waiting_commits", ttl_runner.BUSY_COMMITS + 1)
        assert await TtlRunner(shared.context).look() == 0
    assert await TtlRunner(shared.context).look() == 1
    await ttl.delete_policy(shared.context, OPERATOR, NAME, room)


async def test_a_project_has_no_policy_of_the_one_before_it(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, name = shared.context, DatabaseName(f"p{secrets.token_hex(5)}")
    await projects.create_project(context, OPERATOR, name.project)
    build = ttl._build_index

    async def delete_meanwhile(database: Database, definition: IndexDefinition) -> bool:
        is_new = await build(database, definition)
        await projects.delete_project(context, OPERATOR, name.project)
        return is_new

    monkeypatch.setattr(ttl, "_build_index", delete_meanwhile)
    with pytest.raises(NotFound):
        await ttl.set_policy(context, OPERATOR, name, "c", FIELD)
    await projects.create_project(context, OPERATOR, name.project)
    assert await ttl.list_policies(context, OPERATOR, name) == []


async def test_policies_are_bounded_exclusive_and_for_administrators(
    shared: World, room: str
) -> None:
    context = shared.context
    for caller in (ADA, SECRET):
        with pytest.raises(PermissionDenied):
            await ttl.set_policy(context, caller, NAME, room, FIELD)
        with pytest.raises(PermissionDenied):
            await ttl.list_policies(context, caller, NAME)
        with pytest.raises(PermissionDenied):
            await ttl.delete_policy(context, caller, NAME, room)
    with pytest.raises(InvalidPath):
        await ttl.set_policy(context, OPERATOR, NAME, room, FieldPath.parse("__name__"))
    await set_policy(shared, room)
    with pytest.raises(AlreadyExists) as refused:
        await ttl.set_policy(context, OPERATOR, NAME, room, FieldPath.parse("other"))
    assert refused.value.reason == "TtlPolicyExists"
    database = await database_of(shared)
    index = database.indexes.find(ttl.index_of(room, FIELD))
    assert index is not None
    assert index.is_pinned
    await ttl.delete_policy(context, OPERATOR, NAME, room)
    index = database.indexes.find(ttl.index_of(room, FIELD))
    assert index is not None
    assert not index.is_pinned
    with pytest.raises(NotFound) as missing:
        await ttl.delete_policy(context, OPERATOR, NAME, room)
    assert missing.value.reason == "TtlPolicyNotFound"
    bounded = TtlPolicies(context.databases, context.clock, node="n", most=1)
    await bounded.create(TtlPolicy(NAME, f"{room}1", FIELD, Timestamp(1)))
    with pytest.raises(QuotaExceeded) as full:
        await bounded.create(TtlPolicy(NAME, f"{room}2", FIELD, Timestamp(1)))
    assert full.value.reason == "TooManyTtlPolicies"
    await ttl.delete_policy(context, OPERATOR, NAME, f"{room}1")


async def test_policies_are_replaced_all_or_none(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = shared.context
    name = DatabaseName("demo", "several")
    await projects.create_database(context, OPERATOR, "demo", "several")
    database = await context.databases.open(name)

    async def replace(dry_run: bool = False, **wanted: str) -> list[tuple[str, str, str]]:
        fields = {collection: FieldPath.parse(field) for collection, field in wanted.items()}
        found = await ttl.replace_policies(context, OPERATOR, name, fields, dry_run=dry_run)
        return [(one.collection, str(one.field), str(one.was)) for one in found.changes]

    async def there() -> dict[str, TtlPolicy]:
        found = await ttl.list_policies(context, OPERATOR, name)
        return {one.collection: one for one in found}

    def pinned() -> set[str]:
        found = [one for letter in "abc" for one in database.indexes.of_collection(letter)]
        return {one.definition.collection_id for one in found if one.is_pinned}

    assert await replace(a="x", b="y") == [("a", "x", "None"), ("b", "y", "None")]
    first = await there()
    assert await replace(a="x", b="y") == []
    expected = [("b", "None", "y"), ("a", "z", "x"), ("c", "y", "None")]
    assert await replace(dry_run=True, a="z", c="y") == expected
    assert await there() == first
    assert pinned() == {"a", "b"}

    async def fail(*arguments: object) -> object:
        raise QuotaExceeded("lost")

    with monkeypatch.context() as broken:
        broken.setattr(TtlPolicies, "replace", fail)
        with pytest.raises(QuotaExceeded):
            await replace(a="x", c="y")
    assert await there() == first
    assert pinned() == {"a", "b"}  # the index of `c` was made for nothing

    assert await replace(a="x", c="y") == [("b", "None", "y"), ("c", "y", "None")]
    second = await there()
    assert second["a"] == first["a"]  # it goes on counting
    assert set(second) == {"a", "c"}
    assert pinned() == {"a", "c"}
    assert await replace() == [("a", "None", "x"), ("c", "None", "y")]
    assert await there() == {}


async def test_what_is_wrong_with_policies_is_told_and_changes_nothing(shared: World) -> None:
    context = shared.context
    most = context.settings.limits.ttl_policies_max
    field = FieldPath.parse("x")
    many = {f"c{n}": field for n in range(most + 1)}
    with pytest.raises(QuotaExceeded) as caught:
        await ttl.replace_policies(context, OPERATOR, NAME, many, dry_run=True)
    assert caught.value.reason == "TooManyTtlPolicies"
    for wrong in ({"a/b": field}, {"__a__": field}, {"a": FieldPath(("__name__",))}):
        with pytest.raises(InvalidPath):
            await ttl.replace_policies(context, OPERATOR, NAME, wrong, dry_run=False)
    for caller in (ADA, SECRET):
        with pytest.raises(PermissionDenied):
            await ttl.replace_policies(context, caller, NAME, {}, dry_run=True)
