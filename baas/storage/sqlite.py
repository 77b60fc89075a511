"""The SQLite engine: one file per database, owned by one process, or by the workers of one server.
See DESIGN.md."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from baas.clock import Clock
from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    BackfillRow,
    CommitGroup,
    EngineUnavailable,
    FirstScan,
    Head,
    LogRecord,
    Page,
    RequestAnswer,
)
from baas.storage.sharing import Alone, Claim, Sharer
from baas.storage.sqlite_reads import (
    INLINE_ROWS_MAX,
    SqliteSnapshot,
    find_request,
    read_document,
    read_documents,
    read_page,
)
from baas.storage.sqlite_schema import (
    CACHE_KIB,
    REMOVED,
    as_storage_error,
    check_sqlite_version,
    connect,
    fetch_one,
    prepare_file,
    storage_errors,
)
from baas.storage.sqlite_scrub import BUSY_MILLISECONDS, Scrubber
from baas.storage.sqlite_writes import (
    Backfill,
    delete_before,
    delete_entries,
    delete_requests,
    empty_history,
    keep_requests,
    lift_fence,
    mark_traces,
    put_up_fence,
    transact,
    write_upon,
)
from baas.storage.store import StoreMissing
from baas.storage.worker import Worker

T = TypeVar("T")

VERSION_MAX = 2**63 - 1
WAL_CHECKPOINT_PAGES = 4_000  # 16 MiB: after so many a background thread tidies up
WAL_FORCED_PAGES = 16_384  # 64 MiB: the writer itself does, and commits wait for it
# A snapshot keeps the WAL from starting again at its beginning: 512 MiB written meanwhile end it.
WAL_SNAPSHOT_PAGES = 131_072
_IDLE_READERS_MAX = 8
_SNAPSHOT_CACHE_KIB = 2 * 1024  # there are many of them

# Long scans and background checkpoints of all databases; each scan has a connection of its own.
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="sqlite")


class SqliteEngine:
    """A StorageEngine on one file.

    Point reads run on the event loop, on a connection of their own. One thread writes. Snapshots
    take a connection each from a small pool. `close` waits for what is being written.

    With a `sharer` of its own, several processes may have the file open, and write in turns.
    """

    threads = _THREADS
    is_near = True
    lines = None

    def __init__(
        self, path: str, *, synchronous: str, incarnation: str, vfs: str | None, sharer: Sharer
    ) -> None:
        self._path = path
        self._sharer = sharer
        self.is_shared = sharer.is_shared
        self.count_foreign = sharer.count_others
        self._loop: asyncio.AbstractEventLoop | None = None
        self._vfs = vfs
        self._synchronous = synchronous
        self._is_closed = False
        self._checkpoint_from = WAL_CHECKPOINT_PAGES
        self._forced_from = WAL_FORCED_PAGES
        self._checkpoint: asyncio.Future[None] | None = None
        self._checkpointer: apsw.Connection | None = None  # most databases never need it
        self._idle_readers: list[apsw.Connection] = []
        self._snapshots: dict[SqliteSnapshot, int] = {}  # the WAL's pages when it was opened
        self._worker = Worker(f"writer of {Path(path).name}")
        self._claim = Claim(self.end_turn)
        self._writer = self._connect(read_only=False)
        try:
            prepare_file(self._writer, incarnation, lambda: _sync_folders(Path(path).parent))
            self._reader = self._connect(read_only=True)
            self._incarnation: str = fetch_one(self._reader, "SELECT incarnation FROM head")[0]
            if self._incarnation == REMOVED:
                raise StoreMissing(f"`{path}` is being removed")
        except BaseException:
            self._writer.close()
            raise
        self._writer.set_wal_hook(self._note_wal)
        self._scrubber = Scrubber(self._writer, sharer, self._write, lambda: bool(self._snapshots))

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        synchronous: str = "full",
        vfs: str | None = None,
        create: bool = True,
        sharer: Sharer | None = None,
    ) -> SqliteEngine:
        """Opens the file, creating it (and its folder) if there is none. Blocks: some
        milliseconds, more after a crash. Raises EngineUnavailable or EngineCorrupt, StoreMissing
        for a file that is not there and not to be created, or that is about to be removed."""
        check_sqlite_version(apsw.sqlite_lib_version())
        incarnation = clock.random_bytes(12).hex()
        sharer = sharer or Alone()
        try:
            with storage_errors(), sharer.turn(), sharer.opening():
                if create:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch(mode=0o644)
                elif not path.exists():
                    raise StoreMissing(f"there is no file `{path}`")
                return cls(
                    str(path),
                    synchronous=synchronous,
                    incarnation=incarnation,
                    vfs=vfs,
                    sharer=sharer,
                )
        except OSError as error:
            sharer.close()
            raise EngineUnavailable(str(error)) from error
        except BaseException:
            sharer.close()
            raise

    def watch(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._sharer.watch(notify)

    async def read_head(self) -> Head:
        sql = "SELECT incarnation, version, fence, traces_from FROM head"
        *head, traces_from = self._read(lambda one: fetch_one(one, sql))
        self._tidy_wal()  # others may have made it grow
        if traces_from is not None:
            self._scrubber.try_later()  # whoever erased it may have been killed
        return Head(*head)

    async def read_oldest_version(self) -> int:
        return self._read_of_head("oldest")

    async def read_history_bytes(self) -> int:
        return self._read_of_head("history_bytes")

    async def read_log_bytes(self) -> int:
        return self._read_of_head("log_bytes")

    async def read_request_bytes(self) -> int:
        return self._read_of_head("request_bytes")

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        found = self.get_documents_nowait(keys)
        if found is not None:
            return found
        snapshot = await self.open_snapshot()
        try:
            return await snapshot.get_documents(keys)
        finally:
            await snapshot.close()

    def get_documents_nowait(self, keys: Sequence[bytes]) -> list[StoredDocument | None] | None:
        if len(keys) == 1:
            try:
                return [read_document(self._reader, keys[0])]
            except apsw.Error as error:
                raise as_storage_error(error) from error
        if len(keys) > INLINE_ROWS_MAX:
            return None
        return self._read(lambda connection: _read_at_once(connection, keys))

    def read_page_nowait(self, scan: FirstScan) -> Page | None:
        if scan.limit > INLINE_ROWS_MAX:
            return None
        return self._read(lambda connection: read_page(connection, scan))

    async def open_snapshot(self, first: FirstScan | None = None) -> SqliteSnapshot:
        if self._is_closed:
            raise EngineUnavailable("the database is closed")
        with storage_errors():
            if self._idle_readers:
                connection = self._idle_readers.pop()
            else:
                with self._sharer.opening():
                    connection = self._connect(read_only=True, cache_kib=_SNAPSHOT_CACHE_KIB)
            try:
                snapshot = SqliteSnapshot(self, connection, self._incarnation)
            except BaseException:
                connection.close()
                raise
        self._snapshots[snapshot] = self._sharer.wal_pages
        return snapshot

    def give_back(self, snapshot: SqliteSnapshot, connection: apsw.Connection) -> None:
        """Ends a snapshot's transaction and keeps the connection for the next one."""
        self._snapshots.pop(snapshot, None)
        try:
            connection.execute("ROLLBACK")
        except apsw.Error:
            with suppress(apsw.Error):
                connection.close(True)
            return
        if self._is_closed or len(self._idle_readers) >= _IDLE_READERS_MAX:
            connection.close()
        else:
            self._idle_readers.append(connection)
        if self._scrubber.is_waiting and not self._snapshots:
            self._scrubber.try_now()

    async def commit(self, group: CommitGroup) -> Sequence[LogRecord]:
        missed = await self._write(
            lambda: self._in_transaction(lambda: write_upon(self._writer, group, self._incarnation))
        )
        self._claim.drop()  # it was used
        self._tidy_wal()
        return missed

    async def claim_turn(self, seconds: float) -> None:
        if self.is_shared:
            self._claim.begin(seconds)
            await self._write(self._sharer.claim)

    def end_turn(self) -> None:
        if self._claim.drop() and not self._is_closed:
            self._worker.submit(self._sharer.give_up)

    async def fence(self, token: str) -> int:
        write = partial(put_up_fence, self._writer, token, self._incarnation)
        return await self._write_tidily(write)

    async def unfence(self, token: str) -> bool:
        return await self._write_tidily(lambda: lift_fence(self._writer, token))

    async def backfill(self, rows: Sequence[BackfillRow]) -> int:
        filling = await asyncio.to_thread(Backfill, rows)
        while await self._write_tidily(lambda: filling.write(self._writer)):
            pass  # commits take their turns in between
        return filling.taken

    async def drop_index(self, index: int, *, limit: int) -> int:
        return await self._write_tidily(lambda: delete_entries(self._writer, index, limit))

    async def find_request(self, request_id: str) -> tuple[int, bytes] | None:
        return self._read(lambda connection: find_request(connection, request_id))

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        return await self._write_tidily(lambda: keep_requests(self._writer, answers))

    async def erase(self, keys: Sequence[bytes]) -> list[int]:
        def empty() -> list[int]:
            return [empty_history(self._writer, key) for key in keys]

        return await self._write(lambda: self._in_transaction(empty))

    async def scrub(self, *, rewrite: bool = False) -> bool:
        return await self._scrubber.run(rewrite=rewrite)

    async def note_traces(self) -> None:
        await self._write_tidily(lambda: mark_traces(self._writer))

    async def start_incarnation(self, incarnation: str) -> None:
        update = partial(self._writer.execute, "UPDATE head SET incarnation = ?", (incarnation,))
        await self._write(lambda: self._in_transaction(update))
        self._incarnation = incarnation

    async def trim(self, before: int, *, limit: int, requests_before: int | None = None) -> int:
        requests = before if requests_before is None else min(before, requests_before)
        return await self._write_tidily(
            lambda: delete_before(self._writer, before, requests, limit)
        )

    async def forget_requests(self, *, limit: int) -> int:
        return await self._write_tidily(lambda: delete_requests(self._writer, VERSION_MAX, limit))

    async def close(self) -> None:
        """Waits for what is queued; the last connection moves the WAL into the file."""
        if self._is_closed:
            return
        await self._scrubber.stop()
        self._is_closed = True
        self._claim.drop()
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        self._worker.idle_seconds = 0.0  # this is its last call
        await self._worker.submit(self._close)

    # On the writer's thread -----------------------------------------------------------------------

    def _in_transaction(self, write: Callable[[], T]) -> T:
        with storage_errors(), self._sharer.turn():
            result = transact(self._writer, write)
            self._sharer.note_commit()
        self._sharer.tell_soon(self._loop)
        return result

    def _note_wal(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._sharer.wal_pages = pages
        return apsw.SQLITE_OK

    def _force_checkpoint(self) -> None:
        connection = self._writer
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        try:
            with self._sharer.turn():
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
                self._sharer.wal_pages = 0
            self._forced_from = WAL_FORCED_PAGES
        except apsw.Error:
            # Somebody reads an old version still. Commits must not wait again at once.
            self._forced_from = self._sharer.wal_pages + WAL_FORCED_PAGES
        finally:
            connection.set_busy_timeout(5_000)

    def _close(self) -> None:
        for connection in (
            *self._idle_readers,
            self._reader,
            *([] if self._checkpointer is None else [self._checkpointer]),
            self._writer,
        ):
            # A failing disk keeps the WAL from moving into the file: the next opening reads it.
            with suppress(apsw.Error):
                connection.close()
        self._idle_readers.clear()
        self._sharer.close()

    # On the event loop ----------------------------------------------------------------------------

    async def _write_tidily(self, write: Callable[[], T]) -> T:
        """One transaction; the WAL does not grow for want of a commit, however many there are."""
        result = await self._write(lambda: self._in_transaction(write))
        self._tidy_wal()
        return result

    async def _write(self, call: Callable[[], T]) -> T:
        if self._is_closed:
            raise EngineUnavailable("the database is closed")
        self._loop = asyncio.get_running_loop()
        return await self._worker.submit(call)  # runs even if whoever waits is cancelled

    def _read_of_head(self, column: str) -> int:
        return int(self._read(lambda one: fetch_one(one, f"SELECT {column} FROM head"))[0])

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        if self._is_closed:
            raise EngineUnavailable("the database is closed")
        try:
            return read(self._reader)
        except apsw.Error as error:
            raise as_storage_error(error) from error

    def _connect(self, *, read_only: bool, cache_kib: int = CACHE_KIB) -> apsw.Connection:
        """To be called within `opening`."""
        return connect(
            self._path,
            synchronous=self._synchronous,
            read_only=read_only,
            vfs=self._vfs,
            cache_kib=cache_kib,
            is_shared=self._sharer.is_shared,
        )

    def _tidy_wal(self) -> None:
        pages = self._sharer.wal_pages
        # Not back to back: each writes what has changed once, however often, and syncs. Where the
        # WAL began anew, so does the count.
        self._checkpoint_from = min(self._checkpoint_from, pages + WAL_CHECKPOINT_PAGES)
        if pages >= WAL_SNAPSHOT_PAGES:
            for snapshot, opened_at in list(self._snapshots.items()):
                if pages - opened_at >= WAL_SNAPSHOT_PAGES:
                    snapshot.revoke()
        if self._is_closed or pages < min(self._checkpoint_from, self._forced_from):
            return
        if pages >= self._forced_from:
            self._forced_from = pages + WAL_FORCED_PAGES
            self._worker.submit(self._force_checkpoint)
        elif self._checkpoint is None or self._checkpoint.done():
            self._checkpoint_from = pages + WAL_CHECKPOINT_PAGES
            self._checkpoint = asyncio.get_running_loop().run_in_executor(
                self.threads, self._run_checkpoint
            )

    def _run_checkpoint(self) -> None:
        with suppress(apsw.Error):  # a later commit asks again
            if self._checkpointer is None:
                with self._sharer.opening():
                    self._checkpointer = self._connect(read_only=False)
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def _read_at_once(
    connection: apsw.Connection, keys: Sequence[bytes]
) -> list[StoredDocument | None]:
    connection.execute("BEGIN")
    try:
        return read_documents(connection, keys)
    finally:
        connection.execute("ROLLBACK")


def _sync_folders(folder: Path) -> None:
    """Makes a new file's name durable: in its folder, and the folder's in its parents'."""
    for place in (folder, *list(folder.parents)[:3]):
        sync_folder(place)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable, and that others are gone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
