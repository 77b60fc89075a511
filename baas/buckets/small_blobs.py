"""Small blobs in one SQLite database: what many clients send at the same time becomes durable with
one sync, where each file would take two of its own, and a folder that is new a third.

It may be used by several processes of one server. Room of deleted blobs is used again; the file
never shrinks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import apsw

from baas.buckets.blobs import BlobInfo, Chunk, store_full, store_unavailable
from baas.errors import Unavailable
from baas.storage.worker import Worker

SMALL_BYTES_MAX = 64 * 1024
GROUP_MAX = 64  # blobs of one commit, which is one statement
CHECKPOINT_PAGES = 2_000
_BUSY_MILLISECONDS = 10_000
_PRAGMAS = (
    "page_size = 8192",
    "journal_mode = WAL",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "secure_delete = ON",
)
_TABLE = """CREATE TABLE IF NOT EXISTS blobs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, modified INTEGER NOT NULL, data BLOB NOT NULL
)"""
_Added: TypeAlias = tuple[str, Chunk, "asyncio.Future[None]"]


class SmallBlobs:
    """Blobs of at most SMALL_BYTES_MAX. Reads are from the calling thread, which is always the
    event loop's; all of it raises Unavailable (`ObjectStoreUnavailable`, `ObjectStoreFull`).

    `settle_folder` makes the folder of `path`, and durable what is in it by name.
    """

    def __init__(
        self, path: Path, settle_folder: Callable[[], None], *, synced: bool, vfs: str | None = None
    ) -> None:
        self._path = str(path)
        self._settle_folder = settle_folder
        self._synced = synced
        self._vfs = vfs
        self._worker = Worker("small objects")
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._waiting: deque[_Added] = deque()
        self._is_writing = False

    # Writing --------------------------------------------------------------------------------------

    async def add(self, key: str, data: Chunk) -> None:
        """Of a key that was never used; durable when it returns."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, data, future))
        if not self._is_writing:
            self._write_group()
        await future

    def _write_group(self) -> None:
        self._is_writing = True
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_MAX))]
        written = self._worker.submit(partial(self._insert, group))
        written.add_done_callback(partial(self._note_written, group))

    def _note_written(self, group: Sequence[_Added], written: asyncio.Future[None]) -> None:
        error = written.exception()
        for _, _, future in group:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(_as_unavailable(error))
        self._is_writing = False
        if self._waiting:
            self._write_group()

    def _insert(self, group: Sequence[_Added]) -> None:
        now = time.time_ns() // 1000
        rows = ",".join(["(?,?,?)"] * len(group))
        values = [value for key, data, _ in group for value in (key, now, data)]
        writer = self._open_writer()
        # One step of one statement: at each the interpreter is handed over, and waited for again.
        writer.execute(f"INSERT INTO blobs(key, modified, data) VALUES {rows}", values).fetchall()

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that exist."""
        if self._open_reader() is not None:
            await self._run(partial(self._delete, [(key,) for key in keys]))

    def _delete(self, rows: Sequence[tuple[str]]) -> None:
        writer = self._open_writer()
        with writer:
            writer.executemany("DELETE FROM blobs WHERE key = ?", rows).fetchall()

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        await self._worker.submit(self._close_writer)

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open_writer(self) -> apsw.Connection:
        if self._writer is None:
            self._settle_folder()
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            made = apsw.Connection(self._path, flags=flags, vfs=self._vfs)
            try:
                self._prepare(made)
                self._settle_folder()
            except BaseException:
                made.close()
                raise
            self._writer = made
        return self._writer

    def _prepare(self, writer: apsw.Connection) -> None:
        writer.set_busy_timeout(_BUSY_MILLISECONDS)
        for pragma in (*_PRAGMAS, f"synchronous = {'FULL' if self._synced else 'NORMAL'}"):
            writer.execute(f"PRAGMA {pragma}").fetchall()
        writer.execute(_TABLE).fetchall()

    async def _run(self, work: Callable[[], None]) -> None:
        try:
            await self._worker.submit(work)
        except (apsw.Error, OSError) as error:
            raise _as_unavailable(error) from error

    # Reading --------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        found = self._ask("SELECT data FROM blobs WHERE key = ?", key)
        return None if not found else bytes(found[0][0])

    def find_size(self, key: str) -> int | None:
        found = self._ask("SELECT length(data) FROM blobs WHERE key = ?", key)
        return None if not found else int(found[0][0])

    def find(self, prefix: str, count: int) -> Iterator[list[BlobInfo]]:
        """All whose keys begin so, in batches."""
        after, end = prefix, prefix + "\U0010ffff"
        sql = "SELECT key, length(data), modified FROM blobs WHERE key > ? AND key < ?"
        while rows := self._ask(f"{sql} ORDER BY key LIMIT ?", after, end, count):
            yield [BlobInfo(*row) for row in rows]
            after = rows[-1][0]

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        try:
            reader = self._open_reader()
            return [] if reader is None else reader.execute(sql, values).fetchall()
        except apsw.Error as error:
            if isinstance(error, apsw.SQLError) and "no such table" in str(error):
                return []  # somebody is just making it
            raise _as_unavailable(error) from error

    def _open_reader(self) -> apsw.Connection | None:
        """None where nothing was ever added."""
        if self._reader is None and (self._vfs or os.path.exists(self._path)):
            made = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)
            made.set_busy_timeout(_BUSY_MILLISECONDS)
            made.execute("PRAGMA query_only = ON").fetchall()
            self._reader = made
        return self._reader


def _as_unavailable(error: BaseException) -> BaseException:
    if isinstance(error, apsw.FullError):
        return store_full(error)
    if isinstance(error, apsw.Error | OSError):
        return store_unavailable(error)
    return error if isinstance(error, Unavailable) else store_unavailable(RuntimeError(str(error)))
