"""The engines that the contract suite runs over. One more costs a function and a line here."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from baas.clock import SystemClock, VirtualClock
from baas.storage.engine import StorageEngine
from baas.storage.mongo_store import MongoStore
from baas.storage.sharing import SharedMarks, Sharing
from baas.storage.sqlite import SqliteEngine
from baas.storage.store import StoreName

OpenEngine = Callable[[], Awaitable[StorageEngine]]
OpenDatabase = Callable[[str], Awaitable[StorageEngine]]
# Where databases are opened by their names, again and again. Who opens an engine closes it.
Place = Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[OpenDatabase]]


@asynccontextmanager
async def sqlite_place(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[OpenDatabase]:
    async def open_database(name: str) -> StorageEngine:
        return SqliteEngine.open(folder / f"{name}.sqlite", clock=VirtualClock())

    yield open_database


@asynccontextmanager
async def mongodb_place(
    request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[OpenDatabase]:
    clock = SystemClock()
    store = MongoStore(request.getfixturevalue("mongodb_uri"), "baas_tests", clock)
    project = f"test-{clock.random_bytes(8).hex()}"

    async def open_database(name: str) -> StorageEngine:
        return await store.open(StoreName(project, name), create=True)

    yield open_database
    await store.delete_project(project)
    await store.close()


@asynccontextmanager
async def shared_sqlite_place(
    request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[OpenDatabase]:
    """As one of several workers: each opening is another owner's."""
    sharing = Sharing(SharedMarks(folder / "workers"))

    async def open_database(name: str) -> StorageEngine:
        file = folder / f"{name}.sqlite"
        return SqliteEngine.open(file, clock=VirtualClock(), sharer=sharing.sharer(name))

    yield open_database
    sharing.close()


ENGINES: dict[str, Place] = {
    "sqlite": sqlite_place,
    "sqlite-shared": shared_sqlite_place,
    "mongodb": mongodb_place,
}


@pytest.fixture(params=list(ENGINES))
async def open_named(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    """Opens databases of one engine, each again and again; what is still open at the end is
    closed."""
    opened: list[StorageEngine] = []

    async with ENGINES[request.param](request, tmp_path) as open_database:

        async def open_again(name: str) -> StorageEngine:
            engine = await open_database(name)
            opened.append(engine)
            return engine

        yield open_again
        for engine in opened:
            await engine.close()


@pytest.fixture
def open_engine(open_named: OpenDatabase) -> OpenEngine:
    """Opens the same database again and again."""
    return partial(open_named, "database")


@pytest.fixture
async def engine(open_engine: OpenEngine) -> StorageEngine:
    return await open_engine()
