"""The façade: reads, snapshots, collection ids."""

from __future__ import annotations

import asyncio

import pytest

from baas.database.database import Database
from baas.errors import Internal, Unavailable
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.writes import SetWrite
from tests.baas.database.acts import count, doc, fields, put, where, write


async def test_read_after_the_answer_sees_the_commit(database: Database) -> None:
    for number in range(20):
        result = await write(database, put("c/a", {"n": number}))
        assert await fields(database, "c/a") == [{"n": number}]
        async with database.snapshot() as snapshot:
            assert snapshot.version == result.version


async def test_snapshot_reads_are_of_one_version(database: Database) -> None:
    await write(database, put("c/a", {"n": 1}))
    async with database.snapshot() as snapshot:
        await write(database, put("c/a", {"n": 2}), put("c/b", {}))
        (found,) = await snapshot.get_documents([doc("c/a")])
        assert found is not None
        assert found.fields == {"n": 1}
        result = await snapshot.run_query(Query(CollectionPath(("c",))))
        assert (len(result.documents), result.version) == (1, snapshot.version)
        assert await snapshot.count(Query(CollectionPath(("c",)))) == 1
        batches = [batch async for batch in snapshot.stream_query(Query(CollectionPath(("c",))))]
        assert [len(batch) for batch in batches] == [1]
    assert await count(database, Query(CollectionPath(("c",)))) == 2
    assert len((await database.run_query(where("c", "n", 2))).documents) == 1


async def test_snapshot_outside_of_its_block_is_a_defect(database: Database) -> None:
    snapshot = database.snapshot()
    with pytest.raises(Internal):
        await snapshot.get_documents([])


async def test_stream_that_is_not_read_to_its_end_lets_go(database: Database) -> None:
    await write(database, *[put(f"c/{number}", {}) for number in range(400)])
    async with database.snapshot() as snapshot:
        batches = snapshot.stream_query(Query(CollectionPath(("c",))))
        async for _ in batches:
            assert database.is_in_use
            break
        await batches.aclose()
    assert not database.is_in_use


async def test_collection_ids_of_root_and_of_documents(database: Database) -> None:
    await write(
        database,
        put("users/ada", {}),
        put("users/ada/orders/1", {}),
        put("users/ada/orders/1/lines/1", {}),
        put("users/bob/Ämter/1", {}),
        put("users/bob/a!b/1", {}),
        put("users/bob/a/1", {}),
        put("cities/x/parts/y/streets/z", {}),  # under documents that do not exist
        *[put(f"many/{number}", {}) for number in range(50)],
    )

    async def ids(parent: DocumentPath | None) -> list[str]:
        return await database.list_collection_ids(parent)

    assert await ids(None) == ["cities", "many", "users"]
    assert await ids(doc("users/ada")) == ["orders"]
    assert await ids(doc("users/ada/orders/1")) == ["lines"]
    assert await ids(doc("users/bob")) == ["a", "a!b", "Ämter"]
    assert await ids(doc("cities/x")) == ["parts"]
    assert await ids(doc("cities/none")) == []


async def test_reserved_collections_are_not_listed(database: Database) -> None:
    await write(database, put("c/a", {"n": 1}))
    await write(database, put("d/a", {}))
    internal = DocumentPath(("__indexes__", "1"))
    await write(database, SetWrite(internal, {"x": 1}))
    assert await database.list_collection_ids(None) == ["c", "d"]


async def test_reads_and_writes_after_close_are_unavailable(database: Database) -> None:
    await database.close()
    await database.close()
    for call in (
        lambda: database.get_documents([doc("c/a")]),
        lambda: database.run_query(Query(CollectionPath(("c",)))),
        lambda: write(database, put("c/a", {})),
    ):
        with pytest.raises(Unavailable):
            await call()


async def test_readers_and_writers_at_once(database: Database) -> None:
    """A pair of documents that always change together is never seen apart."""
    pair = [doc("c/a"), doc("c/b")]
    await write(database, put("c/a", {"n": 0}), put("c/b", {"n": 0}))
    is_over = False

    async def write_pairs() -> None:
        for number in range(1, 200):
            await write(database, put("c/a", {"n": number}), put("c/b", {"n": number}))

    async def read_pairs() -> int:
        reads = 0
        while not is_over:
            a, b = await database.get_documents(pair)
            assert a is not None
            assert b is not None
            assert a.fields == b.fields
            reads += 1
            await asyncio.sleep(0)
        return reads

    reader = asyncio.create_task(read_pairs())
    await write_pairs()
    is_over = True
    assert await reader > 0
