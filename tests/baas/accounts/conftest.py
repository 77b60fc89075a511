"""Accounts over real databases in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from baas.accounts.accounts import Accounts
from baas.accounts.passwords import PasswordPool
from baas.accounts.sealing import ServerSecret
from baas.clock import SystemClock, VirtualClock
from baas.database.registry import Databases
from baas.settings import Settings
from baas.storage.sqlite_store import SqliteStore

PROJECT = "chat"
EMAIL = "ada@example.com"
PASSWORD = "correct horse"
SECRET = ServerSecret(bytes(range(32)))


class TestClock(VirtualClock):
    """Time that a test moves, with real randomness: keys must differ between projects."""

    __test__ = False

    def random_bytes(self, count: int) -> bytes:
        return SystemClock().random_bytes(count)


@dataclass
class World:
    """Everything that accounts need."""

    accounts: Accounts
    databases: Databases
    passwords: PasswordPool
    settings: Settings
    clock: TestClock

    def another(self) -> Accounts:
        """Accounts on the same data, as after a restart: nothing in memory."""
        return Accounts(
            self.databases,
            secret=SECRET,
            passwords=self.passwords,
            settings=self.settings,
            clock=self.clock,
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = TestClock()
    settings = Settings(data=tmp_path / "data", synchronous="normal")
    databases = Databases(SqliteStore(settings.data, clock), settings, clock)
    passwords = PasswordPool(threads=2, queue_max=200)
    for project in (None, PROJECT, "other"):
        await databases.system(project, create=True)
    world = World(None, databases, passwords, settings, clock)  # type: ignore[arg-type]
    world.accounts = world.another()
    yield world
    passwords.close()
    await databases.close()


@pytest.fixture
def accounts(world: World) -> Accounts:
    return world.accounts
