"""What is particular to SQLite: the file, the WAL, durability, and errors of the disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from shutil import which

import apsw
import pytest

from baas.clock import SystemClock, VirtualClock
from baas.storage import sqlite as engine_module
from baas.storage import sqlite_schema, sqlite_writes
from baas.storage.engine import (
    LOG_ROW_BYTES,
    REQUEST_ROW_BYTES,
    BackfillRow,
    CommitGroup,
    CommitRecord,
    EngineCorrupt,
    EngineUnavailable,
    Entries,
)
from baas.storage.sqlite import SqliteEngine
from baas.storage.sqlite_reads import read_history
from baas.storage.sqlite_schema import check_sqlite_version
from tests.storage.commits import ALL, Writer, key, texts
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "database.sqlite"


@pytest.fixture
async def engine(file: Path) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine.open(file, clock=VirtualClock())
    yield engine
    await engine.close()


def read(file: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(file))
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


# The file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.51.2", "3.46.1", "3.7.0"])
def test_old_sqlite_is_refused(version: str) -> None:
    with pytest.raises(EngineUnavailable, match=r"at least 3\.51\.3"):
        check_sqlite_version(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.51.3.1", "4.0.0"])
def test_newer_sqlite_is_taken(version: str) -> None:
    check_sqlite_version(version)


async def test_new_file_has_an_incarnation_of_its_own(tmp_path: Path) -> None:
    clock = SystemClock()
    incarnations = set()
    for name in ("one", "two"):
        engine = SqliteEngine.open(tmp_path / name, clock=clock)
        incarnations.add((await engine.read_head()).incarnation)
        await engine.close()
    assert len(incarnations) == 2


async def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "theirs"
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(EngineCorrupt, match="another program"):
        SqliteEngine.open(file, clock=VirtualClock())


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("x" * 10_000)
    with pytest.raises(EngineCorrupt):
        SqliteEngine.open(file, clock=VirtualClock())


async def test_what_later_formats_count_is_counted_in_a_file_of_format_1(
    engine: SqliteEngine, file: Path
) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "x", "é": "y"})
    commits = [CommitRecord(5 + n, [], f"r{n}é", b"x" * n) for n in range(3)]
    await engine.commit(CommitGroup(1, commits))
    logged = await engine.read_log_bytes()
    assert logged == 2 * LOG_ROW_BYTES + len("c/ac/é".encode())
    counted = await engine.read_request_bytes()
    assert counted == 3 * (REQUEST_ROW_BYTES + 4) + 3
    await engine.close()
    for column in ("request_bytes", "traces_from", "overwrites", "fence", "log_bytes"):
        read(file, f"ALTER TABLE head DROP COLUMN {column}")
    read(file, "PRAGMA user_version = 1")
    again = SqliteEngine.open(file, clock=VirtualClock())
    assert await again.read_request_bytes() == counted
    assert await again.read_log_bytes() == logged
    assert await again.fence("token") == 7  # since format 5
    assert (await again.read_head()).fence == "token"
    await again.close()
    # What was deleted before format 4 was not overwritten.
    assert read(file, "SELECT traces_from, overwrites FROM head") == [(None, 0)]


async def test_newer_format_is_refused(engine: SqliteEngine, file: Path) -> None:
    await engine.close()
    read(file, "PRAGMA user_version = 99")
    with pytest.raises(EngineUnavailable, match="format 99"):
        SqliteEngine.open(file, clock=VirtualClock())


async def test_an_older_format_is_brought_forward_step_by_step(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Writer(engine).write(5, {"a": "one"})
    await engine.close()
    breaks = [True]

    def first(connection: apsw.Connection) -> None:
        connection.execute("ALTER TABLE documents ADD COLUMN colour TEXT")

    def second(connection: apsw.Connection) -> None:
        connection.execute("UPDATE documents SET colour = 'blue'")
        if breaks:
            raise apsw.FullError

    now = sqlite_schema.FORMAT
    monkeypatch.setattr(sqlite_schema, "FORMAT", now + 2)
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", {now: first, now + 1: second})
    with pytest.raises(EngineUnavailable):
        SqliteEngine.open(file, clock=VirtualClock())
    assert read(file, "PRAGMA user_version") == [(now + 1,)]
    assert read(file, "SELECT colour FROM documents") == [(None,)]
    breaks.clear()
    again = SqliteEngine.open(file, clock=VirtualClock())
    assert await texts(again, "a") == ["one"]
    await again.close()
    assert read(file, "PRAGMA user_version") == [(now + 2,)]
    assert read(file, "SELECT colour FROM documents") == [("blue",)]
    monkeypatch.undo()
    with pytest.raises(EngineUnavailable, match=f"reads formats up to {now}"):
        SqliteEngine.open(file, clock=VirtualClock())


async def test_a_step_that_another_worker_took_first_is_not_taken_again(
    engine: SqliteEngine, file: Path
) -> None:
    await engine.close()
    read(file, "ALTER TABLE head DROP COLUMN request_bytes")
    read(file, "PRAGMA user_version = 1")
    first, second = (apsw.Connection(str(file)) for _ in range(2))
    for connection in (first, second):  # both have read that the file has format 1
        sqlite_schema._migrate(connection, 1)
        connection.close()
    assert read(file, "PRAGMA user_version") == [(2,)]


async def test_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineUnavailable):
        SqliteEngine.open(tmp_path / "file" / "database.sqlite", clock=VirtualClock())


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_synchronous_is_as_set(file: Path, synchronous: str, level: int) -> None:
    engine = SqliteEngine.open(file, clock=VirtualClock(), synchronous=synchronous)
    assert engine._writer.execute("PRAGMA synchronous").fetchone() == (level,)
    assert engine._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await engine.close()


async def test_closing_leaves_one_file_that_people_can_read(
    engine: SqliteEngine, file: Path
) -> None:
    await Writer(engine).write(1, {"ada": '{"name":"Ada"}'})
    await engine.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    tool = which("sqlite3")
    if tool is None:
        pytest.skip("no sqlite3 tool")
    done = await asyncio.to_thread(
        subprocess.run,
        [tool, str(file), "SELECT path, data, typeof(data) FROM documents"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == 'c/ada|{"name":"Ada"}|text\n'


async def test_reading_connections_cannot_write(engine: SqliteEngine) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        engine._reader.execute("DELETE FROM documents")


async def test_history_bytes_follow_history(engine: SqliteEngine, file: Path) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "12345"})
    await writer.write(2, {"a": "123"})
    await writer.write(3, {"a": None})
    assert await engine.read_history_bytes() == 8
    await engine.trim(3, limit=10)
    assert await engine.read_history_bytes() == 3
    await engine.trim(4, limit=10)
    assert await engine.read_history_bytes() == 0


async def test_sizes_of_versions_are_told_without_reading_them(
    engine: SqliteEngine, file: Path
) -> None:
    writer = Writer(engine)
    for version in range(1, 22):
        await writer.write(version, {"a": f"{version:02}" + "x" * 400_000})
    engine._run_checkpoint()
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    found = read_history(connection, key("a"), 100, 100)
    pages, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
    connection.close()
    assert [one.size for one in found] == [400_002] * 20
    assert 0 < pages < 40  # an image takes about 100


# The WAL ------------------------------------------------------------------------------------------


async def wait_checkpoint(engine: SqliteEngine) -> None:
    if engine._checkpoint is not None:
        await engine._checkpoint


def open_files() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them is gone
            found.append(os.readlink(link))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not listed here")
async def test_an_open_database_takes_few_descriptors(engine: SqliteEngine, file: Path) -> None:
    """Two for each connection (the writer's, the reader's, one of snapshots), one of all."""
    await Writer(engine).write(1, {"a": "1"})
    await (await engine.open_snapshot()).close()
    names = await asyncio.to_thread(open_files)
    assert len([name for name in names if name.startswith(str(file))]) == 7


async def test_wal_is_tidied_up_in_the_background(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WAL_CHECKPOINT_PAGES", 20)
    writer = Writer(engine)
    version = 0
    while engine._checkpoint is None:
        version += 1
        await writer.write(version, {f"a{version}": "x" * 10_000})
    await engine._checkpoint
    # All pages are in the file: the next commit starts the WAL again from its beginning.
    pages = engine._sharer.wal_pages
    await writer.write(version + 1, {"b": "small"})
    assert engine._sharer.wal_pages < pages


async def test_wal_past_its_limit_is_tidied_up_by_the_writer(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WAL_CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(engine_module, "WAL_FORCED_PAGES", 100)
    monkeypatch.setattr(engine, "_run_checkpoint", lambda: None)  # the background never comes
    engine._forced_from = 100
    writer = Writer(engine)
    highest = 0
    for version in range(1, 101):
        await writer.write(version, {"a": "x" * 20_000})
        highest = max(highest, engine._sharer.wal_pages)
    assert highest < 300


async def test_wal_is_tidied_up_where_entries_are_written_without_commits(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WAL_CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(engine_module, "WAL_FORCED_PAGES", 100)
    engine._forced_from = 100
    writer = Writer(engine)
    await writer.write(1, {"a": "x"})
    document = writer.images["a"]
    key = b"a"  # as this suite writes it
    highest = 0
    for number in range(100):
        entries = [Entries(number, [b"%d" % item + b"k" * 1_000]) for item in range(100)]
        row = BackfillRow(key, document.version, entries)
        assert await engine.backfill([row]) == 1
        highest = max(highest, engine._sharer.wal_pages)
    for number in range(100):
        assert await engine.drop_index(number, limit=1_000) == 100
        highest = max(highest, engine._sharer.wal_pages)
    assert highest < 1_000


async def test_what_changes_while_entries_are_filled_in_is_passed_over_from_then_on(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits take turns with the pieces; a piece holds entries of many documents."""
    monkeypatch.setattr(sqlite_writes, "FILLED_AT_ONCE", 2)
    writer = Writer(engine)
    await writer.write(1, {"a": "x", "b": "x", "c": "x"})
    rows = [
        BackfillRow(name.encode(), version, [Entries(1, [b"%d%s" % (at, name.encode())])])
        for name, version in (("a", 1), ("b", 1), ("c", 7))
        for at in range(2)
    ]
    filling = sqlite_writes.Backfill(rows)
    steps = []
    for changed in ("b", None, None):
        steps.append(await engine._write_tidily(lambda: filling.write(engine._writer)))
        if changed:
            await writer.write(2, {changed: "y"})
    assert steps == [True, True, False]
    assert filling.taken == 3  # both rows of a, the first of b, none of c
    snapshot = await engine.open_snapshot()
    assert await snapshot.scan_keys(1, [ALL], limit=10) == [b"0a", b"0b", b"1a"]
    await snapshot.close()


async def test_reader_of_an_old_version_does_not_hold_up_commits_again_and_again(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WAL_CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(engine_module, "WAL_FORCED_PAGES", 100)
    engine._forced_from = 100
    writer = Writer(engine)
    await writer.write(1, {"a": "old"})
    snapshot = await engine.open_snapshot()
    attempts: list[int] = []
    force = engine._force_checkpoint

    def count_attempts() -> None:
        attempts.append(engine._sharer.wal_pages)
        force()

    monkeypatch.setattr(engine, "_force_checkpoint", count_attempts)
    for version in range(2, 62):
        await writer.write(version, {"a": "x" * 20_000})
    assert (await snapshot.get_documents([b"a"]))[0] is not None
    await snapshot.close()
    pages = engine._sharer.wal_pages
    assert 1 <= len(attempts) <= pages // 100
    assert all(later - earlier >= 100 for earlier, later in pairwise(attempts))


@pytest.mark.parametrize("is_scanning", [False, True])
async def test_snapshot_that_makes_the_wal_too_large_is_ended(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch, is_scanning: bool
) -> None:
    monkeypatch.setattr(engine_module, "WAL_CHECKPOINT_PAGES", 10)
    monkeypatch.setattr(engine_module, "WAL_SNAPSHOT_PAGES", 100)
    writer = Writer(engine)
    await writer.write(1, {f"a{number}": "x" for number in range(3_000)})
    old = await engine.open_snapshot()

    async def scan() -> None:
        while True:
            await old.scan_documents(ALL, limit=10_000)

    scanning = asyncio.create_task(scan()) if is_scanning else None
    for version in range(2, 40):
        await writer.write(version, {"b": "x" * 20_000})
    young = await engine.open_snapshot()
    with pytest.raises(EngineUnavailable, match="too long"):
        await (scanning or old.get_documents([b"b"]))
    assert (await young.get_documents([b"b"]))[0] is not None
    await old.close()
    await young.close()
    # With the old one gone the WAL starts again from its beginning.
    await wait_checkpoint(engine)
    pages = engine._sharer.wal_pages
    deadline = time.monotonic() + PATIENCE_SECONDS
    for version in count(40, 2):
        # Enough for the next one, after which all of the WAL is in the file; on a busy machine a
        # thread may yet be ending what it read.
        await writer.write(version, {"b": "x" * 60_000})
        await wait_checkpoint(engine)
        await writer.write(version + 1, {"b": "small"})
        if engine._sharer.wal_pages < pages:
            break
        assert time.monotonic() < deadline


# Errors of the disk -------------------------------------------------------------------------------


class FaultyDisk(apsw.VFS):
    """The usual file system, until it is told to fail from its n-th write or sync on."""

    def __init__(self) -> None:
        self.name = "faulty"
        self.operations = 0
        self.fail_from: int | None = None
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)

    def count(self) -> None:
        self.operations += 1
        if self.fail_from is not None and self.operations >= self.fail_from:
            raise apsw.IOError("the disk fails")


class FaultyFile(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.count()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.count()
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


@pytest.mark.parametrize("steps", range(1, 8))
async def test_failing_disk_makes_commits_unavailable_and_nothing_is_written(
    file: Path, disk: FaultyDisk, steps: int
) -> None:
    engine = SqliteEngine.open(file, clock=VirtualClock(), vfs=disk.name)
    writer = Writer(engine)
    await writer.write(1, {"a": "one"})
    disk.fail_from = disk.operations + steps
    failed = False
    version = 1
    while not failed:
        version += 1
        assert version < 20, "the fault was never met"
        try:
            await writer.write(version, {"a": f"at {version}", f"b{version}": "x" * 9_000})
        except EngineUnavailable:
            failed = True
    good = version - 1
    assert (await engine.read_head()).version == good
    expected = "one" if good == 1 else f"at {good}"
    assert await texts(engine, "a", f"b{version}") == [expected, None]
    # The disk is well again: so is the engine, on the same connection.
    disk.fail_from = None
    writer.version = good
    await writer.write(version + 1, {"a": "well again"})
    assert await texts(engine, "a") == ["well again"]
    await engine.close()
    assert read(file, "PRAGMA integrity_check") == [("ok",)]


async def test_full_disk_makes_commits_unavailable_and_nothing_is_written(
    engine: SqliteEngine,
) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "one"})
    (pages,) = engine._writer.execute("PRAGMA page_count").fetchone() or (0,)
    engine._writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with pytest.raises(EngineUnavailable, match="Full"):
        await writer.write(2, {"a": "two", "b": "x" * 50_000})
    assert await texts(engine, "a", "b") == ["one", None]
    engine._writer.execute("PRAGMA max_page_count = 1000000").fetchall()
    writer.version = 1
    await writer.write(3, {"a": "three"})
    assert await texts(engine, "a", "b") == ["three", None]


def damage(file: Path) -> None:
    """Overwrites all but the first pages."""
    content = bytearray(file.read_bytes())
    content[4_096 * 10 :] = b"\x55" * (len(content) - 4_096 * 10)
    file.write_bytes(content)


async def test_damaged_file_is_told_as_corrupt(engine: SqliteEngine, file: Path) -> None:
    await Writer(engine).write(1, {f"n{number}": "x" * 3_000 for number in range(200)})
    await engine.close()
    damage(file)
    engine = SqliteEngine.open(file, clock=VirtualClock())
    snapshot = await engine.open_snapshot()
    with pytest.raises(EngineCorrupt):
        await snapshot.scan_documents(ALL, limit=1_000)
    await snapshot.close()
    await engine.close()
