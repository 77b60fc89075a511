"""Databases on a replica set: how they come and go, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient, MongoClient

from baas.clock import SystemClock
from baas.storage import mongo_store
from baas.storage.engine import BackfillRow, EngineUnavailable, Entries
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_layout import FORMAT
from baas.storage.mongo_store import OWN, MongoStore, find_owner
from baas.storage.store import DEFAULT_DATABASE, StoreForeign, StoreMissing, StoreName
from scripts.find_mongod import find_mongod
from scripts.free_ports import free_port
from tests.mongo import check_mongod
from tests.storage.commits import Writer, key, texts

Open = Callable[[], MongoStore]
ROWS = ("documents", "entries", "history", "log")


@pytest.fixture
async def store(mongodb_uri: str) -> AsyncIterator[MongoStore]:
    """A Mongo database of its own."""
    name = f"baas_store_{SystemClock().random_bytes(4).hex()}"
    store = MongoStore(mongodb_uri, name, SystemClock())
    yield store
    await store.close()
    async with AsyncMongoClient[dict[str, object]](mongodb_uri) as client:
        await client.drop_database(name)


@pytest.fixture
async def second(store: MongoStore) -> AsyncIterator[Open]:
    """Makes other servers on the same data, which end with the test."""
    made: list[MongoStore] = []

    def make() -> MongoStore:
        made.append(MongoStore(store._uri, store._database, SystemClock()))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def row_counts(store: MongoStore) -> list[int]:
    database = (await store._connect()).connection.database
    return [await database[name].count_documents({}) for name in ROWS]


async def test_missing_database_is_told_and_not_made(store: MongoStore) -> None:
    name = StoreName("demo", DEFAULT_DATABASE)
    for _ in range(2):
        with pytest.raises(StoreMissing):
            await store.open(name, create=False)
    await (await store.open(name, create=True)).close()
    await (await store.open(name, create=False)).close()


async def test_databases_are_listed_without_the_system_database(store: MongoStore) -> None:
    names = [StoreName("demo", database) for database in ("zeta", DEFAULT_DATABASE, "able", None)]
    for name in (*names, StoreName(None, None), StoreName("other", "able")):
        await (await store.open(name, create=True)).close()
    assert await store.list_databases("demo") == [DEFAULT_DATABASE, "able", "zeta"]
    assert await store.list_databases("none") == []


async def test_all_that_make_a_database_at_once_open_the_same_one(
    store: MongoStore, second: Open
) -> None:
    stores = [store, second(), second()]
    name = StoreName("demo", "able")
    engines = await asyncio.gather(
        *[one.open(name, create=True) for one in stores for _ in range(5)]
    )
    heads = {(await engine.read_head()).incarnation for engine in engines}
    assert len(heads) == 1
    for one in stores[1:]:
        await one.close()


async def test_databases_do_not_see_each_other(store: MongoStore) -> None:
    """Thirty-seven: their numbers have one digit, then two."""
    engines = [
        await store.open(StoreName("demo", f"name{number}"), create=True) for number in range(37)
    ]
    for number, engine in enumerate(engines):
        await Writer(engine).write(1, {"a": str(number)})
    assert [await texts(engine, "a") for engine in engines] == [[str(n)] for n in range(37)]
    for engine in engines:
        snapshot = await engine.open_snapshot()
        assert len(await snapshot.read_log(0, limit=99)) == 1


async def test_deleted_project_leaves_no_row_and_others_alone(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_store, "_SWEEP_ROWS", 7)
    for project in ("doomed", "other"):
        engine = await store.open(StoreName(project, "able"), create=True)
        writer = Writer(engine)
        await writer.write(1, {f"n{number}": "x" for number in range(40)})
        await writer.write(2, {f"n{number}": "y" for number in range(40)})
        await engine.backfill([BackfillRow(key("n1"), 2, [Entries(1, [b"x"])])])
    assert await row_counts(store) == [80, 2, 80, 4]
    await store.delete_project("doomed")
    await store.delete_project("doomed")
    assert await row_counts(store) == [40, 1, 40, 2]
    assert await store.list_databases("doomed") == []
    again = await store.open(StoreName("doomed", "able"), create=True)
    assert await texts(again, "n1") == [None]
    assert await texts(await store.open(StoreName("other", "able"), create=False), "n1") == ["y"]


async def test_deletion_that_was_cut_off_is_finished_by_the_next_start(
    store: MongoStore, second: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*arguments: object) -> None:
        raise EngineUnavailable("the server was killed")

    engine = await store.open(StoreName("doomed", "able"), create=True)
    await Writer(engine).write(1, {"a": "x"})
    with monkeypatch.context() as patch:
        patch.setattr(mongo_store, "_delete_rows", cut_off)
        with pytest.raises(EngineUnavailable):
            await store.delete_project("doomed")
    assert await row_counts(store) == [1, 0, 0, 1]
    other = second()
    assert await other.list_databases("doomed") == []
    assert other._sweeping is not None
    await other._sweeping
    assert await row_counts(store) == [0, 0, 0, 0]
    await other.close()


# Whose it is --------------------------------------------------------------------------------------

DEMO = StoreName("demo", DEFAULT_DATABASE)


async def live_at(store: MongoStore, server: str) -> None:
    """As a server whose own database is there starts."""
    await (await store.open(OWN, create=True)).close()
    await store.claim(server)


async def owner_of(store: MongoStore) -> str | None:
    return await find_owner((await store._connect()).connection)


async def test_databases_of_another_server_are_neither_served_nor_overwritten(
    store: MongoStore,
    second: Open,
) -> None:
    await live_at(store, "first")
    engine = await store.open(DEMO, create=True)
    await Writer(engine).write(5, {"a": "one"})
    node, elsewhere, lodger = [second() for _ in range(3)]
    await live_at(node, "first")  # another node of it
    assert await texts(await node.open(DEMO, create=False), "a") == ["one"]
    await elsewhere.claim("second")  # it is not asked for anything yet, and may be away
    for call in (
        lambda: elsewhere.open(DEMO, create=False),
        lambda: elsewhere.open(StoreName("other", None), create=True),
        lambda: elsewhere.list_databases("demo"),
        lambda: elsewhere.delete_project("demo"),
    ):
        with pytest.raises(StoreForeign, match=f"`{store._database}` holds the databases of"):
            await call()
    await (await lodger.open(OWN, create=True)).close()
    with pytest.raises(StoreForeign):
        await lodger.claim("second")
    assert await texts(engine, "a") == ["one"]
    assert await store.list_databases("other") == []
    assert await owner_of(store) == "first"


async def test_a_server_from_elsewhere_has_a_store_to_itself(
    store: MongoStore, second: Open
) -> None:
    await store.claim("first")
    await (await store.open(DEMO, create=True)).close()
    again, other, home = [second() for _ in range(3)]
    await again.claim("first")
    assert await again.list_databases("demo") == [DEFAULT_DATABASE]
    await other.claim("second")
    with pytest.raises(StoreForeign):
        await other.list_databases("demo")
    # Nor does another one come to live there: its own database is not even made.
    with pytest.raises(StoreForeign):
        await home.open(OWN, create=True)
    with pytest.raises(StoreMissing):
        await home.open(OWN, create=False)


async def test_what_older_servers_left_is_of_the_one_that_lives_there(
    store: MongoStore, second: Open
) -> None:
    await (await store.open(OWN, create=True)).close()
    await (await store.open(DEMO, create=True)).close()
    elsewhere, home = [second() for _ in range(2)]
    await elsewhere.claim("second")
    with pytest.raises(StoreForeign):
        await elsewhere.open(DEMO, create=False)
    assert await owner_of(store) is None
    await live_at(home, "first")
    assert await owner_of(store) == "first"
    with pytest.raises(StoreForeign):
        await elsewhere.open(DEMO, create=False)


async def test_of_servers_that_come_at_once_one_has_it(store: MongoStore, second: Open) -> None:
    found = [second() for _ in range(6)]
    for number, one in enumerate(found):
        await one.claim(f"server {number % 3}")
    results = await asyncio.gather(
        *[one.list_databases("demo") for one in found], return_exceptions=True
    )
    owner = await owner_of(store)
    assert [owner == f"server {number % 3}" for number in range(6)] == [
        result == [] for result in results
    ]
    assert all(result == [] or isinstance(result, StoreForeign) for result in results)


async def test_data_of_another_format_is_refused(store: MongoStore, mongodb_uri: str) -> None:
    with MongoClient[dict[str, object]](mongodb_uri) as client:
        client[store._database].store.insert_one({"_id": "format", "format": FORMAT + 1})
    with pytest.raises(EngineUnavailable, match=f"format {FORMAT + 1}"):
        await store.list_databases("demo")


async def test_an_older_format_is_brought_forward(
    store: MongoStore, second: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await store.open(StoreName("demo", DEFAULT_DATABASE), create=True)
    await Writer(engine).write(5, {"a": "one"})
    calls: list[int] = []

    async def migrate(connection: MongoConnection) -> None:
        calls.append(1)
        await connection.database.documents.update_many({}, {"$set": {"colour": "blue"}})
        if len(calls) == 1:
            raise EngineUnavailable("broken off")

    now = FORMAT
    monkeypatch.setattr(mongo_store, "FORMAT", now + 1)
    monkeypatch.setattr(mongo_store, "MIGRATIONS", {now: migrate})
    newer = second()
    with pytest.raises(EngineUnavailable, match="broken off"):
        await newer.list_databases("demo")
    for _ in range(2):
        await newer.close()
        newer = second()
        engine = await newer.open(StoreName("demo", DEFAULT_DATABASE), create=False)
        assert await texts(engine, "a") == ["one"]
        assert len(calls) == 2
    await newer.close()
    monkeypatch.undo()
    older = second()
    with pytest.raises(EngineUnavailable, match=f"reads formats up to {now}"):
        await older.list_databases("demo")
    await older.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[str]:
    """A mongod that is no member of a replica set."""
    check_mongod()
    port = free_port()
    command = [str(find_mongod()), "--dbpath", str(tmp_path), "--port", str(port)]
    command += ["--bind_ip", "127.0.0.1", "--nounixsocket"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        yield f"mongodb://127.0.0.1:{port}"
        process.kill()


async def test_server_that_runs_alone_is_refused(alone: str) -> None:
    store = MongoStore(alone, "x", SystemClock(), timeout_seconds=30)
    with pytest.raises(EngineUnavailable, match="need a replica set"):
        await store.list_databases("demo")
    await store.close()


async def test_a_store_that_is_closed_while_it_connects_leaves_nothing_open(
    store: MongoStore,
    second: Open,
) -> None:
    other = second()
    opening = asyncio.create_task(other.open(OWN, create=True))
    await asyncio.sleep(0)
    assert other._connecting.locked()
    await other.close()
    with pytest.raises(EngineUnavailable):
        await opening
    assert other._shared is None


async def test_closed_store_says_so(store: MongoStore) -> None:
    assert await store.list_databases("demo") == []
    await store.close()
    await store.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await store.list_databases("demo")


@pytest.mark.parametrize("uri", ["http://host", "mongodb://ada:pa:ss@host", "mongodb://"])
async def test_bad_uri_is_told_without_its_password(uri: str) -> None:
    store = MongoStore(uri, "x", SystemClock(), timeout_seconds=0)
    with pytest.raises(EngineUnavailable, match="URI") as raised:
        await store.list_databases("demo")
    assert "pa:ss" not in str(raised.value)
    await store.close()
