"""What a transaction reads, composes and results in."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.transaction import NAME_SIZE_MAX, SIZE_PER_BYTE_MAX, Transaction
from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import (
    Aborted,
    AlreadyExists,
    BaasError,
    FailedPrecondition,
    InvalidArgument,
    InvalidValue,
    NotFound,
)
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Value, document_size
from baas.model.writes import (
    FieldTransform,
    Precondition,
    ServerTimestamp,
    SetWrite,
    VerifyWrite,
    WriteResult,
    apply_write,
)
from baas.settings import Limits, Settings
from baas.storage.sqlite import SqliteEngine
from baas.wire.writes import decode_set, decode_update
from tests.baas.database.acts import (
    NOW,
    create,
    delete,
    doc,
    fields,
    increment,
    put,
    run,
    write,
)


async def test_writes_to_one_document_compose_in_order(database: Database) -> None:
    result = await write(
        database, put("c/a", {"n": 1}), increment("c/a", 10), increment("c/a", 100)
    )
    assert await fields(database, "c/a") == [{"n": 111}]
    time = result.commit_time
    assert result.write_results == [
        WriteResult(time),
        WriteResult(time, (11,)),
        WriteResult(time, (111,)),
    ]


async def test_create_after_delete_in_one_commit_keeps_the_creation_time(
    database: Database,
) -> None:
    """Between commits the document was never absent."""
    made = await write(database, put("c/a", {"n": 1}))
    await write(database, delete("c/a"), create("c/a", {"n": 2}))
    (found,) = await database.get_documents([doc("c/a")])
    assert found is not None
    assert (found.created, found.fields) == (made.version, {"n": 2})


async def test_created_and_deleted_in_one_commit_is_nothing(database: Database) -> None:
    result = await write(database, create("c/a", {}), delete("c/a"))
    assert await fields(database, "c/a") == [None]
    assert result.version == database.version == 0


async def test_changed_and_changed_back_is_nothing(database: Database) -> None:
    made = await write(database, put("c/a", {"n": 1}))
    result = await write(database, increment("c/a", 5), increment("c/a", -5))
    assert database.version == made.version
    time = Timestamp(made.version)
    assert result.write_results == [WriteResult(time, (6,)), WriteResult(time, (1,))]


async def test_later_precondition_sees_earlier_write(database: Database) -> None:
    with pytest.raises(AlreadyExists):
        await write(database, create("c/a", {}), create("c/a", {}))
    with pytest.raises(NotFound):
        await write(
            database, put("c/a", {}), delete("c/a"), put("c/a", {}, Precondition(exists=True))
        )
    assert await fields(database, "c/a") == [None]


async def test_all_or_nothing(database: Database) -> None:
    with pytest.raises(NotFound):
        await write(database, put("c/a", {}), put("c/b", {}, Precondition(exists=True)))
    assert await fields(database, "c/a", "c/b") == [None, None]


async def test_update_time_precondition_holds_exactly(database: Database) -> None:
    made = await write(database, put("c/a", {"n": 1}))
    right = Precondition(update_time=made.commit_time)
    await write(database, put("c/a", {"n": 2}, right))
    with pytest.raises(FailedPrecondition):
        await write(database, put("c/a", {"n": 3}, right))
    assert await fields(database, "c/a") == [{"n": 2}]


async def test_verify_changes_nothing_and_must_hold(database: Database) -> None:
    made = await write(database, put("c/a", {"n": 1}))
    result = await write(
        database, VerifyWrite(doc("c/a"), Precondition(exists=True)), put("c/b", {})
    )
    assert result.write_results == [
        WriteResult(made.commit_time),
        WriteResult(result.commit_time),
    ]
    with pytest.raises(NotFound):
        await write(database, VerifyWrite(doc("c/x"), Precondition(exists=True)), put("c/d", {}))
    assert await fields(database, "c/d") == [None]


async def test_server_timestamp_is_the_request_time(database: Database) -> None:
    field = FieldTransform(FieldPath(("at",)), ServerTimestamp())
    result = await write(database, SetWrite(doc("c/a"), {}, transforms=(field, field)))
    assert await fields(database, "c/a") == [{"at": NOW}]
    assert result.write_results[0].transform_results == (NOW, NOW)


async def test_reads_show_the_state_before_and_after_shows_the_writes(
    database: Database,
) -> None:
    await write(database, put("c/a", {"n": 1}), put("c/b", {"n": 2}))
    seen: list[Fields | None] = []

    async def body(transaction: Transaction) -> None:
        await transaction.write([increment("c/a"), delete("c/b"), put("c/new", {"n": 3})])
        paths = [doc("c/a"), doc("c/b"), doc("c/new"), doc("c/none")]
        found = await transaction.get_documents(paths)
        seen.extend(None if item is None else item.fields for item in found)
        seen.extend(transaction.after(path) for path in paths)

    await run(database, body)
    assert seen[:4] == [{"n": 1}, {"n": 2}, None, None]
    assert seen[4:] == [{"n": 2}, None, {"n": 3}, None]


async def test_changes_list_each_written_document_once_even_if_it_stays_the_same(
    database: Database,
) -> None:
    await write(database, put("c/a", {"n": 1}), put("c/same", {"n": 1}))

    async def body(transaction: Transaction) -> list[tuple[str, Fields | None, Fields | None]]:
        await transaction.write(
            [
                increment("c/a"),
                put("c/same", {"n": 1}),
                delete("c/none"),
                VerifyWrite(doc("c/verified"), Precondition(exists=False)),
                increment("c/a"),
            ]
        )
        return [
            (str(change.path), None if change.old is None else change.old.fields, change.fields)
            for change in transaction.changes
        ]

    assert (await run(database, body)).value == [
        ("c/a", {"n": 1}, {"n": 3}),
        ("c/same", {"n": 1}, {"n": 1}),
        ("c/none", None, None),
    ]


async def test_reads_of_one_transaction_are_of_one_instant(database: Database) -> None:
    await write(database, put("c/a", {"n": 1}), put("c/b", {"n": 1}))

    async def body(transaction: Transaction) -> tuple[list[Fields | None], int]:
        (a,) = await transaction.get_documents([doc("c/a")])
        await write(database, put("c/a", {"n": 2}), put("c/b", {"n": 2}), put("c/c", {"n": 2}))
        try:
            found = await transaction.get_documents([doc("c/b"), doc("c/a")])
        except Exception as error:
            # A body that would hide it: it is void all the same.
            return [{"hidden": str(error)}], 0
        answer = await transaction.run_query(Query(CollectionPath(("c",))))
        images = [None if item is None else item.fields for item in (a, *found)]
        return images, len(answer.documents)

    result = await run(database, body)
    assert result.value == ([{"n": 2}] * 3, 3)
    assert result.version == database.version


async def test_refusal_is_of_one_instant_too(database: Database) -> None:
    """A body that would refuse a state that never was gets to see one that was."""
    await write(database, put("c/a", {"n": 1}), put("c/b", {"n": 1}))

    async def body(transaction: Transaction) -> None:
        (a,) = await transaction.get_documents([doc("c/a")])
        if a is not None and a.fields == {"n": 1}:
            await write(database, increment("c/a"), increment("c/b"))
        (b,) = await transaction.get_documents([doc("c/b")])
        assert a is not None
        assert b is not None
        if a.fields != b.fields:
            raise FailedPrecondition("the two differ")
        await transaction.write([put("c/done", {})])

    await run(database, body)
    assert await fields(database, "c/done") == [{}]


async def test_number_of_writes_is_limited(tmp_path: Path, clock: VirtualClock) -> None:
    settings = replace(Settings(), limits=replace(Limits(), commit_writes_max=3))
    database = await Database.open(
        DatabaseName("demo"),
        SqliteEngine.open(tmp_path / "d.sqlite", clock=clock),
        clock=clock,
        settings=settings,
    )
    await write(database, *[put(f"c/{number}", {}) for number in range(3)])
    with pytest.raises(InvalidArgument) as caught:
        await write(database, *[put(f"d/{number}", {}) for number in range(4)])
    assert caught.value.reason == "TooManyWrites"

    async def in_two_steps(transaction: Transaction) -> None:
        await transaction.write([put("d/1", {}), put("d/2", {})])
        await transaction.write([put("d/3", {}), put("d/4", {})])

    with pytest.raises(InvalidArgument):
        await run(database, in_two_steps)
    assert await fields(database, "c/2", "d/1") == [{}, None]
    await database.close()


@pytest.mark.parametrize("limit", [1_200, 200_000])
async def test_documents_are_measured_once_they_are_whole(tmp_path: Path, limit: int) -> None:
    """At the limit and one past it, whether one write or several make the document."""
    settings = Settings(limits=Limits(document_bytes_max=limit))
    engine = SqliteEngine.open(tmp_path / "d.sqlite", clock=VirtualClock())
    database = await Database.open(
        DatabaseName("p", "d"), engine, clock=VirtualClock(), settings=settings
    )
    path = doc("c/a")
    room = limit - document_size(path, {"first": "", "second": ""})
    half = "x" * (room // 2)
    rest = "x" * (room - room // 2)
    second = (FieldPath(("second",)),)
    await write(database, SetWrite(path, {"first": half}), SetWrite(path, {"second": rest}, second))
    await write(database, put("c/a", {"first": half, "second": rest}))
    for writes in (
        [put("c/a", {"first": half, "second": rest + "x"})],
        [SetWrite(path, {"second": rest + "x"}, second)],
    ):
        with pytest.raises(InvalidValue) as caught:
            await write(database, *writes)
        assert caught.value.reason == "DocumentTooLarge"
    assert await fields(database, "c/a") == [{"first": half, "second": rest}]
    await database.close()


async def test_bytes_that_one_commit_replaces_are_limited(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """The store keeps each old image, and writes all of a commit in one transaction."""
    size = len(encode_fields({"text": "x" * 100}))
    settings = replace(Settings(), limits=replace(Limits(), commit_replaced_bytes_max=3 * size))
    database = await Database.open(
        DatabaseName("demo"),
        SqliteEngine.open(tmp_path / "d.sqlite", clock=clock),
        clock=clock,
        settings=settings,
    )
    names = [f"c/{number}" for number in range(7)]
    await write(database, *[put(name, {"text": "x" * 100}) for name in names])
    await write(database, *[delete(name) for name in names[:3]])
    with pytest.raises(InvalidArgument) as caught:
        await write(database, *[delete(name) for name in names[3:]])
    assert caught.value.reason == "CommitTooLarge"
    assert None not in await fields(database, *names[3:])

    async def bulk(transaction: Transaction) -> dict[tuple[str, ...], BaasError]:
        await transaction.write_each([delete(name) for name in names[3:]])
        return transaction.stage_each()

    failed = (await run(database, bulk)).value
    assert [(key, type(error), error.reason) for key, error in failed.items()] == [
        (("c", "6"), Aborted, "CommitFull")  # may be sent again
    ]
    assert (await run(database, bulk)).value == {}
    assert await fields(database, *names) == [None] * 7
    await database.close()


async def test_merged_documents_are_no_deeper_than_they_may_be(database: Database) -> None:
    nested: Fields = {"end": 1}
    for _ in range(15):
        nested = {"a": nested}
    above = FieldPath(("a",) * 5)
    fits = SetWrite(doc("c/a"), {"a": {"a": {"a": {"a": {"a": nested}}}}}, (above,))
    await write(database, fits)
    below = FieldPath(("a",) * 6)
    with pytest.raises(InvalidValue) as caught:
        await write(
            database,
            SetWrite(doc("c/b"), {"a": {"a": {"a": {"a": {"a": {"a": nested}}}}}}, (below,)),
        )
    assert caught.value.reason == "ValueTooDeep"


def test_no_value_is_larger_in_the_count_than_its_text_tells() -> None:
    """What `stage` relies on when it leaves a document unmeasured."""
    point = GeoPoint(0.0, 0.0)
    values: list[Value] = [None, True, 0, 1.5, 0.0, "", "a", b"", {}, [{}], {"a": {}}, point]
    for value in values:
        in_array: Value = [value] * 1_000 if not isinstance(value, list) else value * 1_000
        in_map: Value = {f"{number}": value for number in range(1_000)}
        for filled in ({"a": in_array}, {"a": in_map}):
            size = document_size(doc("c/a"), filled)
            assert size <= len(encode_fields(filled)) * SIZE_PER_BYTE_MAX + NAME_SIZE_MAX


OLDS: list[dict[str, object]] = [
    {"a": 1, "b": "text"},
    {"a": {"$double": 3}, "b": "$tag"},
    {"$$a": 1, "b": {"$$c": [1.5, {"d": None}]}},
    {"at": {"$timestamp": "2026-01-01T00:00:00.000000Z"}, "b": 2},
]
NEWS: list[dict[str, object]] = [
    {"n": 1},
    {"n": 3.0, "m": -0.0},
    {"n": 2**53 + 1},
    {"n": {"$int": "5"}},
    {"n": "$looks like a tag"},
    {"n": {"$$x": 1}, "b": [1, 2.0, "three"]},
    {"n": {"inner": [{"deep": 2**60}]}},
    {"b.c": 7, "n": True},
    {"`$a`": 4},
]


@pytest.mark.parametrize("old", OLDS, ids=str)
@pytest.mark.parametrize("new", NEWS, ids=str)
async def test_an_update_is_stored_as_the_whole_would_be(
    database: Database, old: dict[str, object], new: dict[str, object]
) -> None:
    """Plain fields are stored without looking at each; whether they are is told by what was decoded
    and by what was stored."""
    path = doc("c/a")
    made = decode_set(path, {"fields": copy.deepcopy(old)})
    updates = decode_update(path, {"fields": copy.deepcopy(new), "delete": ["gone"]})
    await write(database, made)
    await write(database, updates)
    (stored,) = await database.get_documents([path])
    assert stored is not None
    assert stored.data == encode_fields(stored.fields)
    limits = Limits()
    expected = apply_write(
        replace(updates, is_plain=False), stored_document(made.fields), NOW, limits
    ).fields
    assert expected is not None
    assert stored.data == encode_fields(expected)


def stored_document(fields: Fields) -> StoredDocument:
    return StoredDocument(doc("c/a"), encode_fields(fields), created=1, version=1)


async def test_the_stored_form_that_a_write_brings_along_is_that_of_its_own_fields(
    database: Database,
) -> None:
    brought = SetWrite(doc("c/a"), {"n": 1}, is_plain=True, encoded=b'{"n":1}')
    await write(database, brought)
    assert await fields(database, "c/a") == [{"n": 1}]
    await write(database, brought, increment("c/a"))
    assert await fields(database, "c/a") == [{"n": 2}]
    await write(database, increment("c/a"), brought)
    assert await fields(database, "c/a") == [{"n": 1}]
    await write(database, delete("c/a"), brought, increment("c/a"))
    assert await fields(database, "c/a") == [{"n": 2}]
