"""A disk that fails or is full: the caller is told that the database is unavailable, reads go on,
nothing is torn, and all is well again without a restart."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import apsw
import pytest

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.errors import Unavailable
from baas.model.paths import DocumentPath
from baas.settings import Settings
from baas.storage import sqlite
from baas.storage.engine import EngineUnavailable
from baas.storage.sqlite import SqliteEngine
from tests.faults.crash_load import Acknowledged, check_file, commit_step
from tests.faults.disk import Disk
from tests.faults.seeds import new_seed, rounds

STEPS = 30
KINDS = {"open": 3, "write": 120, "sync": 40, "truncate": 4, "delete": 2}  # how late they may fail
ERRORS = (apsw.FullError, apsw.IOError)
FOR_EVER = 1 << 40

pytestmark = [
    pytest.mark.slow,
    # What fails where SQLite cannot be told of it is told to Python, and is of no interest.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(sqlite, "WAL_FORCED_PAGES", 40)


@asynccontextmanager
async def opened(disk: Disk) -> AsyncIterator[Database]:
    clock = SystemClock()
    engine = SqliteEngine.open(disk.root / "database.sqlite", clock=clock, vfs=disk.name)
    try:
        database = await Database.open(
            DatabaseName("demo"), engine, clock=clock, settings=Settings()
        )
        yield database
        await database.close()
    finally:
        await engine.close()


class Caller:
    """Commits one after another and says how many were refused."""

    def __init__(self, database: Database, said: Acknowledged, name: str) -> None:
        self._database = database
        self._said = said
        self._name = name
        self._step = 0
        self.refusals: list[Unavailable] = []

    async def commit(self, count: int) -> None:
        for _ in range(count):
            self._step += 1
            try:
                await commit_step(
                    self._database, self._name, self._step, "counter", self._said.note
                )
            except Unavailable as error:
                self.refusals.append(error)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_failure_refuses_what_it_hits_and_nothing_later(
    tmp_path: Path, kind: str
) -> None:
    chance = random.Random(new_seed())
    hit = 0
    must_hit = kind in ("write", "sync")  # of which there are many; the others may be over before
    for number in count():
        if number >= rounds(12, 300) and (hit or not must_hit):
            break
        root = tmp_path / str(number)
        root.mkdir()
        disk = Disk(root, chance.randrange(1 << 32))
        said = Acknowledged()
        at = chance.randint(1, KINDS[kind])
        disk.fail(kind, at, times=chance.randint(1, 3), error=chance.choice(ERRORS))
        for life in range(5):
            try:
                async with opened(disk) as database:
                    caller = Caller(database, said, f"client{life}")
                    await caller.commit(STEPS)
                    disk.heal()
                    told = len(caller.refusals)
                    await caller.commit(3)
                    assert len(caller.refusals) == told, f"not well again: {kind} {at}"
                    hit += told
                    break
            except EngineUnavailable:  # while it was opened: opened again, it is well
                hit += 1
            except Unavailable:
                hit += 1
        assert len(said.names) >= 3
        await check_file(root / "database.sqlite", said)


@pytest.mark.parametrize("error", ERRORS)
async def test_while_the_disk_is_full_reads_go_on_and_later_commits_too(
    tmp_path: Path, error: type[apsw.Error]
) -> None:
    disk = Disk(tmp_path, new_seed())
    said = Acknowledged()
    async with opened(disk) as database:
        caller = Caller(database, said, "client")
        await caller.commit(10)
        version = database.version
        for kind in ("write", "sync", "truncate"):
            disk.fail(kind, 1, times=FOR_EVER, error=error)
        await caller.commit(5)
        assert [refusal.reason for refusal in caller.refusals] == [
            "StorageFull" if error is apsw.FullError else "StorageUnavailable"
        ] * 5
        (found,) = await database.get_documents([DocumentPath(("counters", "counter"))])
        assert found is not None
        assert found.fields["n"] == 10
        async with database.snapshot() as snapshot:
            assert snapshot.version == version
        disk.heal()
        await caller.commit(10)
        assert len(caller.refusals) == 5
        (found,) = await database.get_documents([DocumentPath(("counters", "counter"))])
        assert found is not None
        assert found.fields["n"] == 20
    await check_file(tmp_path / "database.sqlite", said)


async def test_a_disk_that_fails_at_the_end_does_not_keep_the_database_from_closing(
    tmp_path: Path,
) -> None:
    disk = Disk(tmp_path, new_seed())
    said = Acknowledged()
    async with opened(disk) as database:
        await Caller(database, said, "client").commit(10)
        disk.fail("any", 1, times=FOR_EVER)
    assert len(said.names) == 10
    await check_file(tmp_path / "database.sqlite", said)
