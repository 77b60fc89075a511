"""Schemas: every way of writing obeys them, after the rules; what is unique stays so whoever writes
at the same time; on both engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from baas.database.database import Database
from baas.errors import (
    AlreadyExists,
    BaasError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from baas.model.paths import DocumentPath, FieldPath
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, FieldTransform, Increment, SetWrite, Write
from baas.projects import schema_releases
from baas.projects.jobs import JobState
from baas.projects.schema_releases import SchemaDeployment
from baas.services import documents, jobs, schemas, transfer
from baas.services.bulk_writes import bulk_write
from baas.services.caller import Caller
from baas.services.documents import commit
from baas.services.jobs import UpdateByQuery
from baas.services.schema_deployments import deploy_schemas
from baas.wire.jobs import decode_update_by_query
from tests.baas.services.worlds import ADA, EVE, NAME, OPERATOR, SECRET, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def deploy(world: World, *sources: dict[str, Any], allow_existing: bool = False) -> str:
    made = await deploy_schemas(
        world.context,
        OPERATOR,
        "demo",
        list(sources),
        SchemaDeployment(),
        allow_existing=allow_existing,
    )
    return made.note.id


def person(room: str, **more: Any) -> dict[str, Any]:
    return {
        "x-collection": room,
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "maximum": 150}},
        **more,
    }


def at(text: str) -> DocumentPath:
    return DocumentPath.parse(text)


def put(path: str, **fields: Any) -> SetWrite:
    return SetWrite(at(path), fields)


async def write(world: World, *writes: Write, caller: Caller = OPERATOR) -> None:
    await commit(world.context, caller, NAME, writes)


async def refused(world: World, *writes: Write, caller: Caller = OPERATOR) -> dict[str, Any]:
    with pytest.raises(InvalidArgument) as caught:
        await write(world, *writes, caller=caller)
    assert caught.value.reason == "SchemaViolation"
    return dict(caught.value.details or {})


async def taken(world: World, *writes: Write, caller: Caller = OPERATOR) -> AlreadyExists:
    with pytest.raises(AlreadyExists) as caught:
        await write(world, *writes, caller=caller)
    assert caught.value.reason == "UniqueViolation"
    return caught.value


async def fields_of(world: World, path: str) -> Fields | None:
    found = await documents.get_document(world.context, OPERATOR, NAME, at(path))
    return None if found is None else found.fields


async def database_of(world: World) -> Database:
    return await world.context.databases.open(NAME)


# Every way of writing


async def test_what_a_write_results_in_has_to_fit(shared: World, room: str) -> None:
    await deploy(shared, person(room))
    told = await refused(shared, put(f"{room}/a", name=5, age=200))
    assert told["document"] == f"{room}/a"
    assert told["schema"] == room
    assert [(one["field"], one["keyword"], one["expected"]) for one in told["violations"]] == [
        ("age", "maximum", 150),
        ("name", "type", ["string"]),
    ]
    assert await fields_of(shared, f"{room}/a") is None
    await write(shared, put(f"{room}/a", name="Ada", age=100))
    # Merged, updated, and computed: it is the result that counts.
    merge = SetWrite(at(f"{room}/a"), {"age": 151}, mask=(FieldPath(("age",)),))
    assert (await refused(shared, merge))["violations"][0]["field"] == "age"
    add = FieldTransform(FieldPath(("age",)), Increment(100))
    await refused(shared, SetWrite(at(f"{room}/a"), {}, mask=(), transforms=(add,)))
    await refused(shared, SetWrite(at(f"{room}/a"), {}, mask=(FieldPath(("name",)),)))
    await refused(shared, put(f"{room}/b", name="B"), put(f"{room}/c"))
    assert await fields_of(shared, f"{room}/b") is None
    assert await fields_of(shared, f"{room}/a") == {"name": "Ada", "age": 100}
    # Several writes to one document compose: what is between them is nobody's business.
    fix = SetWrite(at(f"{room}/d"), {"name": "D"}, mask=(FieldPath(("name",)),))
    await write(shared, put(f"{room}/d"), fix)
    await write(shared, DeleteWrite(at(f"{room}/d")))
    # Other collections are free, also those below.
    await write(shared, put(f"{room}/a/{room}/deep", name=5))


async def test_bulk_writes_fail_one_by_one(shared: World, room: str) -> None:
    await deploy(shared, person(room, **{"x-unique": [["name"]]}))
    writes = [
        put(f"{room}/a", name="a"),
        put(f"{room}/b"),
        put(f"{room}/c", name="a"),
        put(f"{room}/d", name="d"),
        put(f"{room}/a", name="z"),
    ]
    found = await bulk_write(shared.context, OPERATOR, NAME, writes, request_id=room)
    reasons = [one.reason if isinstance(one, BaasError) else "" for one in found]
    assert reasons == ["", "SchemaViolation", "UniqueViolation", "", ""]
    again = await bulk_write(shared.context, OPERATOR, NAME, writes, request_id=room)
    assert [one.reason if isinstance(one, BaasError) else "" for one in again] == reasons
    assert await fields_of(shared, f"{room}/c") is None


async def test_imports_and_jobs_obey(shared: World, room: str) -> None:
    await deploy(shared, person(room))

    async def lines() -> AsyncIterator[bytes]:
        yield orjson.dumps({"path": f"{room}/a", "fields": {"name": "A", "age": 1}})
        yield orjson.dumps({"path": f"{room}/b", "fields": {"name": "B", "age": 149}})

    await transfer.import_documents(shared.context, OPERATOR, NAME, lines())

    async def wrong() -> AsyncIterator[bytes]:
        yield orjson.dumps({"path": f"{room}/c", "fields": {"age": 1}})

    with pytest.raises(InvalidArgument) as caught:
        await transfer.import_documents(shared.context, OPERATOR, NAME, wrong())
    assert caught.value.reason == "SchemaViolation"
    assert (caught.value.details or {})["committed_lines"] == 0
    add = {"transforms": [{"field": "age", "increment": 5}]}
    tree = {"query": {"collection": room}, "update": add}
    asked = UpdateByQuery(*decode_update_by_query(tree))
    job = await jobs.start_update(
        shared.context, OPERATOR, NAME, asked, orjson.dumps(tree).decode()
    )
    async with asyncio.timeout(90):
        while job.state is JobState.RUNNING:
            await asyncio.sleep(0.01)
            job = await jobs.get_job(shared.context, OPERATOR, "demo", job.id)
    assert (job.progress.written, job.progress.failed) == (1, 1)
    assert (job.progress.first_failure or {})["reason"] == "SchemaViolation"
    assert await fields_of(shared, f"{room}/a") == {"name": "A", "age": 6}
    assert await fields_of(shared, f"{room}/b") == {"name": "B", "age": 149}


async def test_what_may_not_be_read_is_not_told(shared: World, room: str) -> None:
    """Whoever may update blindly learns of a document only what he wrote himself."""
    own = "request.auth.uid == 'ada'"
    await shared.deploy(f"match /{room}/{{id}} {{ allow update: if true; allow get: if {own}; }}")
    await write(shared, put(f"{room}/a", n=1, secrets={"hidden": "x", "other": 1}, deep=["x"]))
    hidden = {"propertyNames": {"maxLength": 3}, "additionalProperties": {"type": "null"}}
    properties = {"n": {"maximum": 5}, "secrets": hidden, "deep": {"items": {"type": "null"}}}
    source = {"x-collection": room, "properties": properties, "required": ["missing"]}
    await deploy(shared, source, allow_existing=True)

    def merge(*names: str, **fields: Any) -> SetWrite:
        paths = tuple([FieldPath(tuple(name.split("."))) for name in names])
        return SetWrite(at(f"{room}/a"), fields, mask=paths)

    async def told(blind: Caller, *writes: Write) -> list[list[str]]:
        details = await refused(shared, *writes, caller=blind)
        return [[one["field"], one["keyword"]] for one in details["violations"]]

    assert await told(EVE, merge("k", k=1)) == []
    assert await told(EVE, merge("n", n=9)) == [["n", "maximum"]]
    mixed = await told(EVE, merge("secrets.mine", secrets={"mine": 1}))
    assert sorted(mixed) == [["secrets.mine", "maxLength"], ["secrets.mine", "type"]]
    assert len(await told(ADA, merge("k", k=1))) == 6
    assert len(await told(OPERATOR, merge("k", k=1))) == 6
    for change in (merge("k", k=1), merge("secrets.mine", secrets={"mine": 1})):
        for way in (commit, bulk_write):
            try:
                text = repr(await way(shared.context, EVE, NAME, [change]))
            except InvalidArgument as error:
                text = f"{error} {error.details}"
            assert "does not fit the schema" in text
            assert not any(word in text for word in ("hidden", "other", "deep", "missing"))


async def test_rules_come_first(shared: World, room: str) -> None:
    await shared.deploy(f"match /{room}/open {{ allow write: if request.auth.uid == 'ada'; }}")
    await deploy(shared, person(room, **{"x-unique": [["name"]]}))
    await write(shared, put(f"{room}/hidden", name="secret"))
    for caller_write in (put(f"{room}/shut", name=5), put(f"{room}/shut", name="secret")):
        with pytest.raises(PermissionDenied):
            await write(shared, caller_write, caller=ADA)
    await refused(shared, put(f"{room}/open", name=5), caller=ADA)
    error = await taken(shared, put(f"{room}/open", name="secret"), caller=ADA)
    assert "hidden" not in f"{error.message}{error.details}"
    told = await refused(shared, put(f"{room}/open", name=5, age=987_654), caller=ADA)
    assert "987" not in str(told)  # a merged document may hold what its writer may not read


# Unique


async def test_unique_fields(shared: World, room: str) -> None:
    await deploy(shared, {"x-collection": room, "x-unique": [["email"], ["org", "slug"]]})
    await write(shared, put(f"{room}/a", email="a", org=1, slug="s"))
    error = await taken(shared, put(f"{room}/b", email="a"))
    assert (error.details or {})["fields"] == ["email"]
    error = await taken(shared, put(f"{room}/b", email="b", org=1.0, slug="s"))
    assert (error.details or {})["fields"] == ["org", "slug"]
    await write(shared, put(f"{room}/b", email="b", org=2, slug="s"))
    # Who lacks a field, or has null, is not bound; case matters; NaN is like NaN.
    await write(shared, *[put(f"{room}/free{n}", org=1) for n in range(2)])
    await write(shared, *[put(f"{room}/null{n}", email=None) for n in range(2)])
    await write(shared, put(f"{room}/case", email="A"), put(f"{room}/nan", email=float("nan")))
    await taken(shared, put(f"{room}/nan2", email=float("nan")))
    # Its own value does not stand in its way, and what was given up is free.
    await write(shared, put(f"{room}/a", email="a", age=2))
    await write(shared, DeleteWrite(at(f"{room}/a")))
    await write(shared, put(f"{room}/c", email="a", org=1, slug="s"))


async def test_what_counts_is_the_result_of_the_commit(shared: World, room: str) -> None:
    await deploy(shared, {"x-collection": room, "x-unique": [["k"]]})
    await write(shared, put(f"{room}/a", k=1), put(f"{room}/b", k=2))
    await write(shared, put(f"{room}/a", k=2), put(f"{room}/b", k=1))
    assert (await fields_of(shared, f"{room}/a"), await fields_of(shared, f"{room}/b")) == (
        {"k": 2},
        {"k": 1},
    )
    await write(shared, DeleteWrite(at(f"{room}/a")), put(f"{room}/c", k=2))
    await taken(shared, put(f"{room}/d", k=3), put(f"{room}/e", k=3))
    await taken(shared, put(f"{room}/b", k=5), put(f"{room}/d", k=2))
    long = "x" * 3_000  # keys of indexes are cut
    await write(shared, put(f"{room}/l1", k=long + "1"), put(f"{room}/l2", k=long + "2"))
    await taken(shared, put(f"{room}/l3", k=long + "2"))
    await write(shared, put(f"{room}/m1", k={"a": [1, "x"]}))
    await taken(shared, put(f"{room}/m2", k={"a": [1.0, "x"]}))


async def test_scopes_are_collections_or_groups(shared: World, room: str) -> None:
    one, group = f"{room}/{{id}}/one", f"{{path=**}}/g{room}"
    await deploy(
        shared,
        {"x-collection": one, "x-unique": [["k"]]},
        {"x-collection": group, "x-unique": [["k"]]},
    )
    await write(shared, put(f"{room}/a/one/x", k=1), put(f"{room}/b/one/x", k=1))
    await taken(shared, put(f"{room}/a/one/y", k=1))
    await write(shared, put(f"{room}/a/g{room}/x", k=1))
    await taken(shared, put(f"{room}/b/g{room}/x", k=1))
    await taken(shared, put(f"g{room}/x", k=1))


async def test_one_of_a_hundred_wins(shared: World, room: str) -> None:
    await deploy(shared, {"x-collection": room, "x-unique": [["email"]]})

    async def create(number: int) -> bool:
        try:
            await write(shared, put(f"{room}/{number}", email="same"))
        except AlreadyExists as error:
            return error.reason != "UniqueViolation"
        return True

    won = await asyncio.gather(*[create(number) for number in range(100)])
    assert won.count(True) == 1
    winner = won.index(True)
    for number in (0, 50, 99, winner):
        found = await fields_of(shared, f"{room}/{number}")
        assert (found is not None) == (number == winner)


async def test_a_look_up_costs_one_entry(shared: World, room: str) -> None:
    await deploy(shared, {"x-collection": room, "x-unique": [["k"]]})
    await write(shared, *[put(f"{room}/{n}", k=n) for n in range(200)])
    await (await database_of(shared)).index_keeper.wait()
    (unique,) = (await shared.context.projects.schemas.get("demo")).unique
    query = unique.query(at(f"{room}/new"), {"k": 77}, 2)
    async with (await database_of(shared)).snapshot() as snapshot:
        snapshot.meter()
        await snapshot.run_query(query)
        explained = snapshot.explain(query, returned=1, seconds=0)
    assert explained.missing == ()
    assert (explained.entries_scanned, explained.documents_read) == (1, 1)


async def test_without_room_for_an_index(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment says so; what is in force still holds, slowly."""
    wanted = {"x-collection": room, "x-unique": [["k"]]}
    database = await database_of(shared)
    builder = database.index_keeper._builder
    await deploy(shared)
    with monkeypatch.context() as patch:
        patch.setattr(builder, "collection_indexes_max", 0)
        with pytest.raises(QuotaExceeded) as caught:
            await deploy(shared, wanted)
        assert caught.value.reason == "TooManyIndexes"
        await deploy(shared, wanted, allow_existing=True)
        await write(shared, put(f"{room}/a", k=1))
        await taken(shared, put(f"{room}/b", k=1))


async def test_fields_together_and_groups_use_their_index(shared: World, room: str) -> None:
    pattern = f"{{path=**}}/{room}"
    await deploy(shared, {"x-collection": pattern, "x-unique": [["z", "a.b"]]})
    await write(shared, *[put(f"x/{n}/{room}/d", z=n, a={"b": 1}) for n in range(50)])
    await (await database_of(shared)).index_keeper.wait()
    (unique,) = (await shared.context.projects.schemas.get("demo")).unique
    query = unique.query(at(f"x/y/{room}/new"), {"z": 7, "a": {"b": 1}}, 2)
    async with (await database_of(shared)).snapshot() as snapshot:
        snapshot.meter()
        found = await snapshot.run_query(query)
        explained = snapshot.explain(query, returned=1, seconds=0)
    assert [str(one.path) for one in found.documents] == [f"x/7/{room}/d"]
    assert explained.missing == ()
    assert explained.entries_scanned == 1


# What is stored


async def check_all(world: World, page_size: int, *sources: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    pages = checked = 0
    async with asyncio.timeout(90):
        while True:
            page = await schemas.check_documents(
                world.context, OPERATOR, NAME, list(sources), page_size=page_size, page_token=token
            )
            found += page.found
            checked += page.checked
            pages += not page.is_waiting
            token = page.next_page_token
            if token is None and not page.is_waiting:
                return [pages, checked, *found]


async def test_adopting_a_schema_reports_what_is_stored(shared: World, room: str) -> None:
    await deploy(shared)
    await write(shared, *[put(f"{room}/{n:03}", name=f"n{n}") for n in range(250)])
    await write(shared, put(f"{room}/100", age=1), put(f"{room}/200", name="n7"))
    await write(shared, put(f"{room}/000/{room}/deep"), put(f"{room}x/other"))
    wanted = person(room, **{"x-unique": [["name"]]})
    pages, checked, *found = await check_all(shared, 100, wanted)
    assert (pages, checked) == (3, 250)
    assert [one["document"] for one in found] == [f"{room}/007", f"{room}/100", f"{room}/200"]
    assert [one["violations"][0]["keyword"] for one in found] == [
        "x-unique",
        "required",
        "x-unique",
    ]
    assert f"{room}/200" in found[0]["violations"][0]["message"]
    with pytest.raises(FailedPrecondition) as caught:
        await deploy(shared, wanted)
    assert caught.value.reason == "ExistingViolations"
    assert (caught.value.details or {})["found"][0]["document"] == f"{room}/007"
    await write(shared, put(f"{room}/100", name=5))  # nothing is in force
    await deploy(shared, wanted, allow_existing=True)
    await refused(shared, put(f"{room}/100", name=5))
    await taken(shared, put(f"{room}/new", name="n7"))
    await write(shared, put(f"{room}/100", name="n100"), put(f"{room}/200", name="n200"))
    assert await check_all(shared, 1_000, wanted) == [1, 250]
    await deploy(shared, person(room, title="again", **{"x-unique": [["name"]]}))


async def test_wild_and_group_patterns_are_found(shared: World, room: str) -> None:
    await deploy(shared)
    await write(
        shared,
        put(f"{room}/a/o{room}/x"),
        put(f"{room}/a/two/x"),
        put(f"{room}/a/o{room}/y/o{room}/z"),
    )
    wild = person(f"{room}/{{id}}/o{room}")
    group = person(f"{{path=**}}/o{room}")
    found = (await check_all(shared, 100, wild))[2:]
    assert [one["document"] for one in found] == [f"{room}/a/o{room}/x"]
    found = [one["document"] for one in (await check_all(shared, 1, group))[2:]]
    assert found == [f"{room}/a/o{room}/x", f"{room}/a/o{room}/y/o{room}/z"]
    with pytest.raises(InvalidArgument) as caught:
        await schemas.check_documents(
            shared.context, OPERATOR, NAME, [wild], page_token="no/document/path"
        )
    assert caught.value.reason == "InvalidPageToken"


async def test_releases(shared: World, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_releases, "SETS_KEPT_MAX", 3)
    made = [await deploy(shared, person(room, title=str(n))) for n in range(4)]
    end = time.monotonic() + 90  # the oldest goes right after the newest is in force
    while len(notes := await schemas.list_releases(shared.context, OPERATOR, "demo")) > 3:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert [note.id for note in notes] == made[:0:-1]
    assert notes[0].author == "operator"
    past = await schemas.get_schemas(shared.context, OPERATOR, "demo", made[1])
    assert past.sources[0]["title"] == "1"
    for gone in (made[0], "n/o"):
        with pytest.raises(NotFound):
            await schemas.get_schemas(shared.context, OPERATOR, "demo", gone)
    with pytest.raises(FailedPrecondition) as caught:
        await deploy_schemas(
            shared.context, OPERATOR, "demo", [], SchemaDeployment(if_release=made[1])
        )
    assert caught.value.reason == "ReleaseChanged"
    with pytest.raises(InvalidArgument):
        await deploy_schemas(shared.context, OPERATOR, "demo", [], SchemaDeployment(message="\x00"))


@pytest.mark.parametrize("caller", [ADA, SECRET], ids=["user", "secret key"])
async def test_only_administrators(shared: World, caller: Caller) -> None:
    context = shared.context
    asked: Sequence[Any] = (
        schemas.get_schemas(context, caller, "demo"),
        schemas.list_releases(context, caller, "demo"),
        deploy_schemas(context, caller, "demo", [], SchemaDeployment()),
        schemas.check_documents(context, caller, NAME, []),
    )
    for one in asked:
        with pytest.raises(PermissionDenied):
            await one
