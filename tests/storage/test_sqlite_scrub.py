"""What is erased is gone from SQLite's files: of rows, entries, free pages, slack and the WAL."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random

import apsw
import pytest

from baas.clock import SystemClock, VirtualClock
from baas.encoding.documents import StoredDocument
from baas.storage import sqlite_scrub
from baas.storage.engine import Change, CommitGroup, CommitRecord, EngineCorrupt, Entries
from baas.storage.sharing import SharedMarks, Sharing
from baas.storage.sqlite import SqliteEngine
from baas.storage.sqlite_scrub import find_room, scrub_pages
from baas.storage.store import StoreMissing
from tests.effort import examples
from tests.storage.commits import Writer, change, document, key, texts
from tests.stored_bytes import bytes_below
from tests.waiting import until

SECRET = re.compile(rb"<(\d+)>")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_scrub, "AGAIN_SECONDS", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "database.sqlite"


@pytest.fixture
async def engine(file: Path) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine.open(file, clock=VirtualClock(), synchronous="normal")
    yield engine
    await engine.close()


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Sharing]:
    """What the workers of one server share."""
    sharing = Sharing(SharedMarks(tmp_path / "workers"))
    yield sharing
    sharing.close()


def open_shared(sharing: Sharing, file: Path) -> SqliteEngine:
    sharer = sharing.sharer(file.name)
    return SqliteEngine.open(file, clock=VirtualClock(), synchronous="normal", sharer=sharer)


async def erase(engine: SqliteEngine, *names: str) -> bool:
    await engine.erase([key(name) for name in names])
    return await engine.scrub()


async def wait_without(file: Path, text: bytes) -> None:
    await until(lambda: text not in bytes_below(file.parent), "it is still there")


def read(file: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(file))
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


@pytest.mark.parametrize("large", [False, True])
async def test_no_byte_of_what_was_erased_is_left_in_any_file(
    engine: SqliteEngine, file: Path, large: bool
) -> None:
    """Of earlier versions, too, that retention has forgotten already."""
    writer = Writer(engine)
    filling = "x" * (20_000 if large else 10)
    await writer.write(2, {"other": "kept"})
    for version in range(3, 40):
        secret = f"s3cret{version}{filling}"
        await writer.write(version, {"a": secret, "b": secret, "other": f"k{version}"})
    assert await engine.trim(20, limit=100)
    await writer.write(50, {"a": None, "b": None})
    engine._run_checkpoint()  # part of it is in the file, and part in the WAL
    await writer.write(51, {"other": "kept"})
    assert b"s3cret" in bytes_below(file.parent)
    assert await erase(engine, "a", "b")
    assert b"s3cret" not in bytes_below(file.parent)
    assert await texts(engine, "other", "a") == ["kept", None]
    await writer.write(60, {"other": "later"})


class Load:
    """Random documents with entries, of which each text names itself again and again; some are
    changed, deleted, erased. Knows which texts there must be."""

    def __init__(self, engine: SqliteEngine, seed: int) -> None:
        self.engine = engine
        self._chance = Random(seed)
        self._version = 0
        self._count = 0
        self._now: dict[str, StoredDocument] = {}
        self._past: dict[str, list[StoredDocument]] = {}

    @property
    def expected(self) -> set[int]:
        images = [*self._now.values(), *(one for past in self._past.values() for one in past)]
        return {int(found) for one in images for found in SECRET.findall(one.data)}

    async def write(self, commits: int) -> None:
        for _ in range(commits):
            names = {f"d{self._chance.randrange(300)}" for _ in range(self._chance.choice((1, 6)))}
            version = self._version + 1
            changes = [self._change(name, version) for name in sorted(names)]
            group = CommitGroup(self._version, [CommitRecord(version, changes)])
            await self.engine.commit(group)
            self._version = version

    def _change(self, name: str, version: int) -> Change:
        old, new = self._now.pop(name, None), None
        if old is None or self._chance.random() < 0.7:
            self._count += 1
            length = self._chance.choice((5, 9, 30, 60, 90, 200, 900, 2_500, 6_000))
            text = f"<{self._count}>" * (length // 5)
            new = self._now[name] = document(name, text, version=version)
        if old is not None:
            self._past.setdefault(name, []).append(old)
        return change(name, old, new, removed=_entries(name, old), added=_entries(name, new))

    async def erase(self, count: int) -> None:
        names = self._chance.sample(sorted(self._past), min(count, len(self._past)))
        await self.engine.erase([key(name) for name in names])
        for name in names:
            del self._past[name]


def _entries(name: str, image: StoredDocument | None) -> list[Entries]:
    return [] if image is None else [Entries(1, [image.data[:300] + key(name)])]


@pytest.mark.parametrize("seed", range(examples(1)))
async def test_neither_rows_nor_entries_that_sqlite_has_moved_leave_anything(
    engine: SqliteEngine, file: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overwriting what is deleted is not enough: a page that is built anew keeps copies."""
    monkeypatch.setattr(sqlite_scrub, "SLICE_PAGES", 40)
    load = Load(engine, seed)
    for _ in range(2):
        for _ in range(12):
            await load.write(20)
            await load.erase(10)
        # Others write between the slices.
        scrubbed, _ = await asyncio.gather(engine.scrub(), load.write(30))
        assert scrubbed
    await load.erase(10)
    assert await engine.scrub()
    # What caches still held would come back with these.
    await load.write(50)
    found = {int(one) for one in SECRET.findall(bytes_below(file.parent))}
    assert found == load.expected
    await engine.close()
    assert read(file, "PRAGMA integrity_check") == [("ok",)]
    assert {int(one) for one in SECRET.findall(bytes_below(file.parent))} == load.expected


async def test_no_other_worker_brings_back_what_its_cache_holds(
    sharing: Sharing, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_scrub, "SLICE_PAGES", 40)
    one, other = (open_shared(sharing, file) for _ in range(2))
    load = Load(one, 7)
    for number in range(24):
        load.engine = (one, other)[number % 2]
        await load.write(15)
        await load.erase(5)
    for number in range(4):
        load.engine = one
        await load.erase(20)
        assert await one.scrub()
        load.engine = other
        await load.write(30 if number % 2 else 1)
    await load.erase(5)
    assert await one.scrub()
    load.engine = other
    await load.write(30)
    found = {int(found) for found in SECRET.findall(bytes_below(file.parent))}
    assert found == load.expected
    await one.close()
    await other.close()


# Snapshots of before ------------------------------------------------------------------------------


async def test_a_snapshot_of_before_keeps_what_was_erased_until_it_is_closed(
    engine: SqliteEngine, file: Path
) -> None:
    writer = Writer(engine)
    await writer.write(2, {"a": "s3cret"})
    await writer.write(3, {"a": None})
    snapshot = await engine.open_snapshot()
    assert not await erase(engine, "a")
    (image,) = await snapshot.get_documents_at([b"a"], 2)
    assert image is not None
    assert image.data == b"s3cret"
    await snapshot.close()  # nobody commits any more
    await wait_without(file, b"s3cret")


async def test_short_snapshots_of_which_there_always_is_one_hold_nothing_back(
    engine: SqliteEngine, file: Path
) -> None:
    writer = Writer(engine)
    await writer.write(2, {"a": "s3cret"})
    await writer.write(3, {"a": None})

    async def read_on() -> None:
        snapshot = await engine.open_snapshot()
        while True:
            await asyncio.sleep(0.005)
            newer = await engine.open_snapshot()
            await snapshot.close()
            snapshot = newer

    reading = asyncio.create_task(read_on())
    await asyncio.sleep(0)
    try:
        assert await erase(engine, "a")
        assert b"s3cret" not in bytes_below(file.parent)
    finally:
        reading.cancel()


# Kills --------------------------------------------------------------------------------------------


async def erase_and_kill(engine: SqliteEngine, file: Path, killed: Path, *, scrub: bool) -> None:
    """Leaves in `killed` what a kill would leave of it."""
    writer = Writer(engine)
    await writer.write(2, {"a": "s3cret", "b": "kept"})
    await writer.write(3, {"a": None})
    snapshot = await engine.open_snapshot()
    await engine.erase([b"a"])
    if scrub:
        assert not await engine.scrub()  # it has answered; the snapshot keeps the WAL
    killed.parent.mkdir()
    for path in file.parent.glob(f"{file.name}*"):
        shutil.copy(path, killed.parent)
    await snapshot.close()
    assert b"s3cret" in bytes_below(killed.parent)


@pytest.mark.parametrize("scrub", [True, False])
async def test_what_was_erased_goes_from_the_files_of_a_server_that_was_killed(
    engine: SqliteEngine, file: Path, tmp_path: Path, scrub: bool
) -> None:
    killed = tmp_path / "killed" / file.name
    await erase_and_kill(engine, file, killed, scrub=scrub)
    again = SqliteEngine.open(killed, clock=SystemClock())
    try:
        assert (await again.read_head()).version == 3  # as whoever opens a database asks
        await wait_without(killed, b"s3cret")
    finally:
        await again.close()


async def test_what_was_erased_goes_from_the_files_of_workers_that_were_killed(
    engine: SqliteEngine, file: Path, tmp_path: Path, sharing: Sharing
) -> None:
    killed = tmp_path / "killed" / file.name
    await erase_and_kill(engine, file, killed, scrub=True)
    workers = [open_shared(sharing, killed) for _ in range(2)]
    try:
        for worker in workers:
            assert (await worker.read_head()).version == 3
        await wait_without(killed, b"s3cret")
        assert await texts(workers[1], "b") == ["kept"]
    finally:
        for worker in workers:
            await worker.close()


async def test_what_one_worker_left_is_seen_to_by_another(sharing: Sharing, file: Path) -> None:
    dead, alive = (open_shared(sharing, file) for _ in range(2))
    writer = Writer(dead)
    await writer.write(2, {"a": "s3cret"})
    await writer.write(3, {"a": None})
    await dead.erase([b"a"])
    dead._worker.idle_seconds = 0.0
    await alive.read_head()  # as it does when it follows what others commit
    await wait_without(file, b"s3cret")
    await alive.close()
    await dead.close()


async def test_it_goes_on_where_it_was_broken_off(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_scrub, "SLICE_PAGES", 10)
    load = Load(engine, 3)
    await load.write(100)
    await load.erase(3)
    places: list[int] = []
    scrub = scrub_pages

    def note(connection: apsw.Connection, first: int, end: int) -> bool:
        places.append(first)
        if len(places) == 3:
            raise apsw.FullError
        return scrub(connection, first, end)

    monkeypatch.setattr(sqlite_scrub, "scrub_pages", note)
    with pytest.raises(Exception, match="Full"):
        await engine.scrub()
    assert read(file, "SELECT traces_from FROM head") == [(20,)]
    assert await engine.scrub()
    assert places[:4] == [0, 10, 20, 20]
    assert read(file, "SELECT traces_from FROM head") == [(None,)]
    count = len(places)
    assert await engine.scrub()  # nothing is left to do
    assert len(places) == count
    await load.erase(1)  # from the beginning again
    assert await engine.scrub()
    assert places[count] == 0


async def test_who_writes_without_asking_for_a_turn_is_not_overwritten(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an operator with the sqlite3 tool: between emptying the WAL and cleaning pages, and
    while pages are cleaned."""
    load = Load(engine, 3)
    await load.write(50)
    await load.erase(3)
    stranger = apsw.Connection(str(file))
    stranger.execute("PRAGMA wal_autocheckpoint = 1").fetchall()
    truncate, scrub = engine._scrubber._truncate, scrub_pages
    writes: list[str] = []

    def write() -> None:
        try:
            stranger.execute("INSERT INTO requests VALUES (?, 1, x'')", (f"r{len(writes)}",))
            writes.append("written")
        except apsw.BusyError:
            writes.append("refused")

    def write_between() -> bool:
        emptied = truncate()
        if not writes:
            write()
        return emptied

    def write_meanwhile(connection: apsw.Connection, first: int, end: int) -> bool:
        write()
        return scrub(connection, first, end)

    monkeypatch.setattr(engine._scrubber, "_truncate", write_between)
    monkeypatch.setattr(sqlite_scrub, "scrub_pages", write_meanwhile)
    assert not await engine.scrub()
    assert await engine.scrub()
    assert writes == ["written", "refused"]
    assert {int(one) for one in SECRET.findall(bytes_below(file.parent))} == load.expected
    assert stranger.execute("SELECT id FROM requests").fetchall() == [("r0",)]
    assert stranger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    stranger.close()


async def test_another_file_of_the_name_is_not_touched(engine: SqliteEngine, file: Path) -> None:
    load = Load(engine, 3)
    await load.write(50)
    await load.erase(3)
    give_back = _put_in_place_of(file, b"another one")
    with pytest.raises(StoreMissing):
        await engine.scrub()
    assert give_back() == b"another one"
    assert await engine.scrub()


def _put_in_place_of(file: Path, content: bytes) -> Callable[[], bytes]:
    """Gives back what puts the file into its place again, and tells what was there."""
    moved = file.with_name("moved")
    file.rename(moved)
    file.write_bytes(content)

    def give_back() -> bytes:
        found = file.read_bytes()
        moved.replace(file)
        return found

    return give_back


async def test_a_file_too_large_to_tell_its_pages_apart_is_written_anew(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Load(engine, 3)
    await load.write(100)
    await load.erase(50)
    monkeypatch.setattr(sqlite_scrub, "PAGES_MAX", 10)
    monkeypatch.setattr(sqlite_scrub, "scrub_pages", None)
    assert await engine.scrub()
    assert {int(one) for one in SECRET.findall(bytes_below(file.parent))} == load.expected


# Files written anew -------------------------------------------------------------------------------


async def test_a_file_of_an_older_server_is_written_anew_once(
    engine: SqliteEngine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one did not overwrite what it deleted."""
    engine._writer.execute("PRAGMA secure_delete = OFF").fetchall()
    engine._writer.execute("UPDATE head SET overwrites = 0")
    writer = Writer(engine)
    await writer.write(1, {"other": "kept"})
    for version in range(2, 30):
        await writer.write(version, {"a": f"s3cret{version}" * version * 50})
    await writer.write(30, {"a": None})
    while await engine.trim(31, limit=100):
        pass
    assert b"s3cret" in bytes_below(file.parent)
    assert await erase(engine, "a")
    assert b"s3cret" not in bytes_below(file.parent)
    assert await texts(engine, "other") == ["kept"]
    engine._writer.execute("PRAGMA secure_delete = ON").fetchall()
    monkeypatch.setattr(engine._scrubber, "_write_anew", None)
    assert await erase(engine, "other")


async def test_a_file_is_written_anew_if_asked_and_gives_its_room_back(
    engine: SqliteEngine, file: Path
) -> None:
    writer = Writer(engine)
    await writer.write(1, {f"a{number}": "x" * 3_000 for number in range(300)})
    await writer.write(2, {f"a{number}": None for number in range(299)})
    while await engine.trim(3, limit=1_000):
        pass
    assert await engine.scrub()
    size = len(bytes_below(file.parent))
    assert await engine.scrub(rewrite=True)
    assert len(bytes_below(file.parent)) < size / 4
    assert await texts(engine, "a299", "a1") == ["x" * 3_000, None]


# Pages --------------------------------------------------------------------------------------------


def page(kind: int, cells: int, first_cell: int, room: bytes = b"", *, header: int = 0) -> bytes:
    head = bytes(header) + bytes((kind, 0, 0)) + cells.to_bytes(2) + first_cell.to_bytes(2)
    low = header + (12 if kind in (2, 5) else 8) + 2 * cells
    return (head.ljust(low, b"\x01") + room).ljust(first_cell, b"\0").ljust(4_096, b"c")


@pytest.mark.parametrize(
    ("content", "header", "room"),
    [
        (page(13, 2, 4_000, b"s3cret"), 0, (12, 4_000)),
        (page(10, 3, 3_000, b"s"), 0, (14, 3_000)),
        (page(5, 1, 4_000, b"s3cret"), 0, (14, 4_000)),
        (page(2, 1, 4_000, b"s3cret"), 0, (14, 4_000)),
        (page(13, 1, 4_000, b"s3cret", header=100), 100, (110, 4_000)),
        (page(13, 2, 4_000), 0, None),  # nothing but zeros
        (page(13, 2, 12), 0, None),  # it is full
        (bytes(4_096), 0, None),  # it is free
        (b"\x00\x00\x10\x00" + b"s3cret" * 700, 0, None),  # what overflowed
    ],
)
def test_the_room_of_a_page_is_between_its_list_and_its_cells(
    content: bytes, header: int, room: tuple[int, int] | None
) -> None:
    assert find_room(content, 0, header, 4_096) == room


@pytest.mark.parametrize("content", [page(13, 3_000, 100), page(13, 0, 5_000), page(2, 0, 11)])
def test_a_damaged_page_is_not_touched(content: bytes) -> None:
    with pytest.raises(EngineCorrupt):
        find_room(content, 0, 0, 4_096)
