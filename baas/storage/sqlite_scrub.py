"""What was erased, out of a file's WAL and its free room.

Connections overwrite with zeros what they delete (`secure_delete`): rows, their overflow pages, and
pages that become free. Left are copies of rows that SQLite moved to another place: a page that it
builds anew keeps what stood before between the list of its cells and the first of them. Nothing but
`VACUUM` reaches that, which writes the whole file twice while all others wait. So it is overwritten
in the file itself, through SQLite's own handle of it, some pages at a time.

That is safe while the WAL is empty and nobody writes: the bytes belong to no cell, so nobody reads
them, and a page that is written halfway holds the same cells. Caches of pages hold such bytes, too,
and would bring them back: the writer's own is emptied, and that of another process is emptied by
SQLite, since each slice ends with a commit.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import apsw

from baas.storage.engine import EngineCorrupt, StorageError
from baas.storage.sharing import Sharer
from baas.storage.sqlite_schema import fetch_one, storage_errors
from baas.storage.sqlite_writes import transact
from baas.storage.store import StoreMissing

SLICE_PAGES = 4_096  # 16 MiB: commits wait for some hundredths of a second
BUSY_MILLISECONDS = 250  # how long commits wait for those who read an old version
_TRUNCATE_ATTEMPTS, _TRUNCATE_PAUSE_SECONDS = 100, 0.02
_SHARED_TRUNCATE_ATTEMPTS = 8  # others may be reading, and nobody commits during one
AGAIN_SECONDS, _AGAIN_SECONDS_MAX = 1.0, 60.0

# See "The SQLite database file format": the file's header, and that of a page of a b-tree.
_FILE_HEADER_BYTES = 100
_PAGE_HEADER = struct.Struct(">BxxHH")  # kind, cells, where the first cell's content begins
_LIST_AT = {0x02: 12, 0x05: 12, 0x0A: 8, 0x0D: 8}  # by kind, where the list of cells begins
# A page of another kind begins with the number of a page: below this it can't look like a b-tree's.
PAGES_MAX = 2**25 - 1


class Scrubber:
    """Of one engine. A slice at a time on the writer's thread, between which others commit. What
    snapshots of before hold back is tried again, whether anybody commits or not; the head of the
    file knows about it, so that whoever opens the file goes on after a kill.

    `write` runs a call on the writer's thread.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        sharer: Sharer,
        write: Callable[[Callable[[], bool | None]], Awaitable[bool | None]],
        has_snapshots: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._sharer = sharer
        self._write = write
        self._has_snapshots = has_snapshots
        self._lock = asyncio.Lock()
        self._pause = AGAIN_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[bool] | None = None
        self._is_stopped = False

    @property
    def is_waiting(self) -> bool:
        """Whether there is something that was held back."""
        return self._timer is not None

    async def run(self, *, rewrite: bool = False) -> bool:
        """Whether all is gone; if not, it goes on by itself. `rewrite`: writes the file anew first,
        which gives free pages back, takes as much room meanwhile, and makes others wait."""
        async with self._lock:
            if rewrite:
                await self._write(self._rewrite)
            while (is_done := await self._write(self._scrub_slice)) is False:
                pass
        if is_done is None:
            self.try_later()
        else:
            self._pause = AGAIN_SECONDS
        return is_done is not None

    def try_later(self) -> None:
        """On the event loop. Does nothing if that is so already."""
        if self._timer is None and not self._is_stopped:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self.try_now)
            self._pause = min(2 * self._pause, _AGAIN_SECONDS_MAX)

    def try_now(self) -> None:
        """As `try_later`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="scrub")

    async def stop(self) -> None:
        """What is left is for whoever opens the file next."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> bool:
        try:
            return await self.run()
        except StorageError:
            self.try_later()
            return False

    # On the writer's thread -----------------------------------------------------------------------

    def _rewrite(self) -> None:
        with storage_errors(), self._sharer.turn():
            self._write_anew()

    def _write_anew(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA temp_store = FILE").fetchall()
        try:
            connection.execute("VACUUM")
        finally:
            connection.execute("PRAGMA temp_store = MEMORY").fetchall()
        change = "UPDATE head SET traces_from = 0, overwrites = 1"
        transact(connection, lambda: connection.execute(change))
        self._sharer.note_commit()

    def _scrub_slice(self) -> bool | None:
        """Whether it was the last one; None: snapshots hold it back."""
        with storage_errors(), self._sharer.turn():
            first, overwrites = fetch_one(
                self._connection, "SELECT traces_from, overwrites FROM head"
            )
            if first is None:
                return True
            (pages,) = fetch_one(self._connection, "PRAGMA page_count")
            is_huge = pages > PAGES_MAX
            if is_huge or not overwrites:
                self._write_anew()
                first = 0
            if not self._truncate():
                return None
            self._connection.release_memory()
            is_last = transact(self._connection, lambda: self._clean(first, is_huge=is_huge))
            self._sharer.note_commit()
            return is_last

    def _clean(self, first: int, *, is_huge: bool) -> bool | None:
        """Within a transaction: nobody writes, be it somebody who knows of no turns, and all there
        is is in the file, unless the WAL was begun meanwhile."""
        if _has_wal(self._connection):
            return None
        end = first + SLICE_PAGES
        is_last = is_huge or self._scrub_pages(first, end)
        place = None if is_last else end
        self._connection.execute("UPDATE head SET traces_from = ?", (place,))
        return is_last

    def _scrub_pages(self, first: int, end: int) -> bool:
        """As `scrub_pages`. Raises StoreMissing if another file may have the name by now."""
        with self._sharer.opening():
            if has_moved(self._connection):
                raise StoreMissing("the database was removed")
            return scrub_pages(self._connection, first, end)

    def _truncate(self) -> bool:
        """Moves all of the WAL into the file and leaves nothing of it, if nobody reads from it."""
        connection = self._connection
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        attempts = _SHARED_TRUNCATE_ATTEMPTS if self._sharer.is_shared else _TRUNCATE_ATTEMPTS
        try:
            for _ in range(attempts):
                try:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                except apsw.BusyError:
                    if self._has_snapshots():
                        return False
                    time.sleep(_TRUNCATE_PAUSE_SECONDS)  # another checkpoint is just running
                else:
                    self._sharer.wal_pages = 0
                    return True
            return False
        finally:
            connection.set_busy_timeout(5_000)


def scrub_pages(connection: apsw.Connection, first: int, end: int) -> bool:
    """Overwrites with zeros what is in the pages from `first` to before `end`, the file's first one
    being 0, between list and content; whether these are the last ones. The WAL has to be empty, and
    to stay so."""
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
    file = apsw.VFSFile(connection.open_vfs, connection.db_filename("main"), flags)
    with _closing(file):
        size, usable = _read_sizes(file)
        length = file.xFileSize()
        start, stop = first * size, min(end * size, length)
        content = file.xRead(stop - start, start) if start < stop else b""
        is_changed = False
        for place in range(0, len(content), size):
            header = _FILE_HEADER_BYTES if start + place == 0 else 0
            room = find_room(content, place, header, usable)
            if room is not None:
                low, high = room
                page = content[place:low] + bytes(high - low) + content[high : place + size]
                file.xWrite(page, start + place)
                is_changed = True
        if is_changed:
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
        return stop == length


def has_moved(connection: apsw.Connection) -> bool:
    """Whether the file was deleted, or got another name, since it was opened."""
    told = (ctypes.c_int * 1)(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(told))
    return bool(told[0])


def find_room(content: bytes, place: int, header: int, usable: int) -> tuple[int, int] | None:
    """Where a page's free room begins and ends, if it is one of a b-tree and there is more than
    zeros in it; `place` is where the page begins, `header` where its header does in it."""
    kind, cells, first_cell = _PAGE_HEADER.unpack_from(content, place + header)
    list_at = _LIST_AT.get(kind)
    if list_at is None:
        return None
    low, high = header + list_at + 2 * cells, first_cell or 65_536
    if not low <= high <= usable:
        raise EngineCorrupt(f"a page of {usable} bytes has its cells from {high}, list to {low}")
    low, high = place + low, place + high
    return None if content.count(0, low, high) == high - low else (low, high)


def _has_wal(connection: apsw.Connection) -> bool:
    try:
        return os.path.getsize(connection.filename_wal) > 0
    except FileNotFoundError:
        return False


def _read_sizes(file: apsw.VFSFile) -> tuple[int, int]:
    """Of the file's pages: their size, and how much of it is used."""
    header = file.xRead(_FILE_HEADER_BYTES, 0)
    size = int.from_bytes(header[16:18])
    size = 65_536 if size == 1 else size
    return size, size - header[20]


@contextmanager
def _closing(file: apsw.VFSFile) -> Iterator[None]:
    try:
        yield
    finally:
        file.xClose()
