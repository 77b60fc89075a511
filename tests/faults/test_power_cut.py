"""The power goes at a random operation of the disk, again and again on what is left: acknowledged
commits are there, and the database, its log and its indexes agree."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import apsw
import pytest

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.errors import BaasError
from baas.model.paths import DocumentPath
from baas.settings import Settings
from baas.storage import sqlite, sqlite_scrub
from baas.storage.engine import StorageError
from baas.storage.sqlite import SqliteEngine
from tests.faults.crash_load import (
    ORDERED,
    Acknowledged,
    check_file,
    write_without_end,
)
from tests.faults.disk import Disk
from tests.faults.seeds import new_seed, rounds

# Each is a chain of cuts on one database.
CHAINS = rounds(4, 100)
CUTS = 8
CLIENTS = 6
OPERATIONS_MAX = 500  # between two cuts

pytestmark = [
    pytest.mark.slow,
    # What fails where SQLite cannot be told of it is told to Python, and is of no interest.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("eager_checkpoints"),
]


@pytest.fixture
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL is moved into the file, and begun anew, many times a second."""
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES", 40)
    monkeypatch.setattr(sqlite, "WAL_FORCED_PAGES", 90)
    monkeypatch.setattr(sqlite_scrub, "SLICE_PAGES", 5)


class Machine:
    """A database on a disk whose power is cut, round after round. `file` is what is left."""

    def __init__(self, folder: Path, seed: int, synchronous: str = "full") -> None:
        self.said = Acknowledged()
        self.rounds = 0
        self.scrubs = 0  # how often the free room of pages was cleaned in the file itself
        self._folder = folder
        self._chance = random.Random(seed)
        self._synchronous = synchronous

    @property
    def file(self) -> Path:
        return self._folder / str(self.rounds) / "projects" / "demo" / "database.sqlite"

    async def run_until_cut(self, fault: str = "") -> None:
        """One round. `fault`: a kind of operation of which one fails some time before."""
        root = self._folder / str(self.rounds)
        root.mkdir(parents=True, exist_ok=True)
        disk = Disk(root, self._chance.randrange(1 << 32))
        disk.cut_at(self._chance.randrange(1, OPERATIONS_MAX))
        if fault:
            disk.fail(fault, self._chance.randrange(1, 40), times=self._chance.randrange(1, 4))
        with disk.folder_syncs():
            await self._run(disk)
        disk.cut()
        self.rounds += 1
        disk.write_survivors(self._folder / str(self.rounds))

    async def _run(self, disk: Disk) -> None:
        clock = SystemClock()
        while not disk.is_off:
            try:
                engine = SqliteEngine.open(
                    self.file, clock=clock, synchronous=self._synchronous, vfs=disk.name
                )
            except StorageError:
                continue  # cut, or told to fail, while it was opened
            with suppress(BaasError):
                database = await Database.open(
                    DatabaseName("demo"), engine, clock=clock, settings=Settings()
                )
                await self._load(database, disk)
                await database.close()
            with suppress(StorageError, apsw.Error):
                await engine.close()

    async def _load(self, database: Database, disk: Disk) -> None:
        async def write(number: int) -> None:
            life = 0
            while not disk.is_off:
                life += 1  # a new name for every try: the last one's outcome is unknown
                name = f"{self.rounds}-{number}-{self._chance.randrange(1 << 30)}-{life}"
                with suppress(BaasError):
                    await write_without_end(database, name, str(number % 3), self.said.note)

        async def index() -> None:
            while not disk.is_off:
                with suppress(BaasError):
                    async with database.snapshot() as snapshot:
                        missing = await snapshot.find_missing(ORDERED)
                    await database.wait_indexed(missing)
                    await database.run_query(ORDERED)
                await asyncio.sleep(0.002)

        async def scrub() -> None:
            while not disk.is_off:
                with suppress(BaasError):
                    await database.eraser.erase([DocumentPath.parse("nobody/there")])
                    self.scrubs += await database.eraser.scrub()
                await asyncio.sleep(0.005)

        await asyncio.gather(index(), scrub(), *[write(number) for number in range(CLIENTS)])

    async def check(self) -> None:
        """All is there. A first cut may come before there is any file; then nothing was said."""
        if self.file.exists() or self.said.names:
            assert self.file.exists(), "the whole database is gone"
            await check_file(self.file, self.said)


@pytest.mark.timeout(300 + 30 * CHAINS)
@pytest.mark.parametrize("fault", ["", "sync", "write"])
async def test_a_power_cut_takes_no_acknowledged_commit(
    tmp_path: Path, fault: str, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    commits = scrubs = cuts = 0
    for chain in count():
        if chain >= CHAINS and scrubs and commits > CHAINS * CUTS:
            break
        machine = Machine(tmp_path / str(chain), seed + chain)
        for _ in range(CUTS):
            await machine.run_until_cut(fault)
            await machine.check()
            cuts += 1
        commits += len(machine.said.names)
        scrubs += machine.scrubs
    with_fault = f" and a failing {fault} before" if fault else ""
    record_property(
        "summary",
        f"power cuts{with_fault}: {cuts}, {commits} commits acknowledged, none lost, "
        f"{scrubs} times cleaned after an erasure; "
        f"documents, log, indexes agree (seed {seed})",
    )


# A harness that finds nothing proves nothing ------------------------------------------------------


async def find_flaw(machine: Machine, cuts_max: int = 1_000) -> str:
    """Cuts until something is wrong, as it soon is; what it is, or "" if nothing ever is."""
    for _ in range(cuts_max):
        await machine.run_until_cut()
        try:
            await machine.check()
        except (AssertionError, BaasError, StorageError, apsw.Error) as error:
            return f"{type(error).__name__}: {error}"
    return ""


async def test_without_syncs_the_same_cuts_lose_commits(tmp_path: Path) -> None:
    assert await find_flaw(Machine(tmp_path, new_seed(), synchronous="off"))


async def test_without_syncing_folders_the_same_cuts_lose_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_sync_folders", lambda folder: None)
    seed = new_seed()
    for number in range(1_000):  # it takes a few
        machine = Machine(tmp_path / str(number), seed + number)
        if "whole database is gone" in await find_flaw(machine, cuts_max=1):
            return
    raise AssertionError("no cut has taken a name")


async def test_settling_for_less_syncing_loses_the_newest_commits_only(tmp_path: Path) -> None:
    """What `synchronous = "normal"` promises: a cut may take the last commits, never the sense."""
    machine = Machine(tmp_path, new_seed(), synchronous="normal")
    for _ in range(CUTS):
        await machine.run_until_cut()
        machine.said = Acknowledged()  # it is told of no loss
        await machine.check()
