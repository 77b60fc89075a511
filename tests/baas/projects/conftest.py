"""Projects over real databases in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from baas.clock import SystemClock, VirtualClock
from baas.database.registry import Databases
from baas.projects.projects import Projects
from baas.settings import Settings
from baas.storage.sqlite_store import SqliteStore


class TestClock(VirtualClock):
    """Time that a test moves, with real randomness."""

    __test__ = False

    def random_bytes(self, count: int) -> bytes:
        return SystemClock().random_bytes(count)


@dataclass
class World:
    projects: Projects
    databases: Databases
    settings: Settings
    clock: TestClock

    def another(self) -> Projects:
        """Projects on the same data, as after a restart: nothing in memory."""
        return Projects(self.databases, settings=self.settings, clock=self.clock)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = TestClock()
    settings = Settings(data=tmp_path / "data", synchronous="normal")
    databases = Databases(SqliteStore(settings.data, clock), settings, clock)
    await databases.system(None, create=True)
    projects = Projects(databases, settings=settings, clock=clock)
    yield World(projects, databases, settings, clock)
    await databases.close()


@pytest.fixture
def projects(world: World) -> Projects:
    return world.projects
