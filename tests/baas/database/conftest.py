from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.engines import SteeredEngine


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def engine(tmp_path: Path, clock: VirtualClock) -> SteeredEngine:
    return SteeredEngine(SqliteEngine.open(tmp_path / "database.sqlite", clock=clock))


@pytest.fixture
async def database(engine: SteeredEngine, clock: VirtualClock) -> AsyncIterator[Database]:
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    yield database
    engine.release()
    await database.close()
