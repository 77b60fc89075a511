"""A database's contents in another one, of the other engine: what it takes to move it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.loading import Loader
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite
from baas.settings import Settings
from baas.storage.engine import StorageEngine
from tests.storage.commits import path
from tests.storage.conftest import ENGINES, OpenDatabase


@pytest.fixture(params=[("sqlite", "mongodb"), ("mongodb", "sqlite")], ids="-to-".join)
async def places(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[OpenDatabase, OpenDatabase]]:
    """Where a database is, and where it goes."""
    async with AsyncExitStack() as stack:
        source, target = [
            await stack.enter_async_context(ENGINES[name](request, tmp_path))
            for name in request.param
        ]
        yield source, target


async def open_database(engine: StorageEngine, clock: VirtualClock) -> Database:
    return await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())


async def write(database: Database, request_id: str, text: str) -> tuple[int, bool]:
    """The version, and whether it was answered before."""

    async def body(transaction: Transaction) -> None:
        await transaction.write([SetWrite(path("a"), {"text": text})])

    result = await database.run_transaction(
        body, request_time=Timestamp(1), request_id=request_id, request_digest=b"digest"
    )
    return result.version, result.replayed


async def test_who_repeats_a_request_gets_the_answer_of_before_the_move(
    places: tuple[OpenDatabase, OpenDatabase], clock: VirtualClock
) -> None:
    source = await open_database(await places[0]("source"), clock)
    version, _ = await write(source, "key", "before")
    target = await places[1]("target")
    loader = Loader(target, source.version)
    async with source.snapshot() as snapshot:
        await loader.add([one for one in await snapshot.get_documents([path("a")]) if one])
        answers = await snapshot.read_requests(0, limit=100)
    assert await loader.add_requests(answers) == 1
    await loader.finish()
    assert await loader.add_requests(answers) == 0
    await source.close()
    moved = await open_database(target, clock)
    assert await write(moved, "key", "before") == (version, True)
    (document,) = await moved.get_documents([path("a")])
    assert document is not None
    assert (document.fields, document.version) == ({"text": "before"}, version)
    later, replayed = await write(moved, "another", "after")
    assert not replayed
    assert later > version
    await moved.close()
