"""The engines that the contract suite runs over. One more costs a function and a line here."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.storage.engine import StorageEngine
from baas.storage.sqlite import SqliteEngine

OpenEngine = Callable[[], Awaitable[StorageEngine]]


async def open_sqlite(folder: Path) -> StorageEngine:
    return SqliteEngine.open(folder / "database.sqlite", clock=VirtualClock())


ENGINES = {"sqlite": open_sqlite}


@pytest.fixture(params=list(ENGINES))
async def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenEngine]:
    """Opens the same database again and again; what is still open at the end is closed."""
    opened: list[StorageEngine] = []

    async def open_again() -> StorageEngine:
        engine = await ENGINES[request.param](tmp_path)
        opened.append(engine)
        return engine

    yield open_again
    for engine in opened:
        await engine.close()


@pytest.fixture
async def engine(open_engine: OpenEngine) -> StorageEngine:
    return await open_engine()
