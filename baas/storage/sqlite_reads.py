"""Reads of one database file: a snapshot is a read transaction on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any, Protocol, TypeVar

import apsw

from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import (
    REQUESTS_PAGE_BYTES,
    EngineUnavailable,
    EntryRow,
    FirstScan,
    KeyRange,
    LogRecord,
    Page,
    PastImage,
    RequestAnswer,
)
from baas.storage.sqlite_schema import as_storage_error, fetch_one
from baas.storage.store import StoreMissing

T = TypeVar("T")

# What is read on the event loop at once; more goes to a thread. A thread costs more than this many
# rows do, and the loop must not stand still for long.
INLINE_ROWS_MAX = 128
INLINE_BYTES_MAX = 8 * 1024 * 1024
INLINE_KEYS_MAX = 512  # in slices of INLINE_ROWS_MAX: others get their turn in between
INLINE_COUNT_MAX = 1_000

_REVOKED = "the snapshot was held for too long; read in smaller steps"
_IMAGE = "path, CAST(data AS BLOB), created, version"  # as StoredDocument takes them
_GET = f"SELECT {_IMAGE} FROM documents WHERE key = ?"
# One statement for all: each step of one lets go of the interpreter and waits to get it back.
_GET_MANY = (
    f"SELECT key, {_IMAGE} FROM carray(?) AS wanted CROSS JOIN documents ON key = wanted.value"
)
_GET_AT = (
    f"SELECT {_IMAGE} FROM history WHERE key = ? AND superseded > ? ORDER BY superseded LIMIT 1"
)
# SQLite knows a text's octet_length without reading it.
_HISTORY = (
    "SELECT created, version, superseded, octet_length(data) FROM history"
    " WHERE key = ? AND superseded < ? ORDER BY superseded DESC LIMIT ?"
)
_SUPERSEDED = "SELECT max(superseded) FROM history WHERE key = ? AND superseded < ?"
# CROSS JOIN fixes the order of the loops: entries first.
_ENTRIES = "entries CROSS JOIN documents ON documents.id = entries.document"
_FIND_REQUEST = "SELECT version, response FROM requests WHERE id = ?"
_REQUESTS = "SELECT version, id, response FROM requests WHERE version > ? ORDER BY version LIMIT ?"
_LOG = "SELECT version, ordinal, path, deleted FROM log"


def read_document(connection: apsw.Connection, key: bytes) -> StoredDocument | None:
    row = connection.execute(_GET, (key,)).fetchone()
    return None if row is None else StoredDocument(*row)


def read_documents(
    connection: apsw.Connection, keys: Sequence[bytes]
) -> list[StoredDocument | None]:
    """In the order of `keys`; None where there is no document."""
    if len(keys) == 1:
        return [read_document(connection, keys[0])]
    found: dict[bytes, StoredDocument] = {}
    if keys:
        for key, *image in connection.execute(_GET_MANY, (apsw.carray(tuple(keys)),)):
            found[key] = StoredDocument(*image)
    return [found.get(key) for key in keys]


def read_document_at(
    connection: apsw.Connection, key: bytes, version: int
) -> StoredDocument | None:
    current = read_document(connection, key)
    if current is not None and current.version <= version:
        return current
    # The first image that was superseded later is the one, unless it did not exist yet: the
    # document may have been created, or deleted and created again, after the version.
    row = connection.execute(_GET_AT, (key, version)).fetchone()
    if row is None or row[3] > version:
        return None
    return StoredDocument(*row)


def read_history(
    connection: apsw.Connection, key: bytes, below: int, limit: int
) -> list[PastImage]:
    return [PastImage(*row) for row in connection.execute(_HISTORY, (key, below, limit))]


def find_superseded(
    connection: apsw.Connection, keys: Sequence[bytes], below: int
) -> list[int | None]:
    return [fetch_one(connection, _SUPERSEDED, (key, below))[0] for key in keys]


def scan_documents(
    connection: apsw.Connection,
    span: KeyRange,
    limit: int,
    descending: bool,
    bytes_max: int | None = None,
) -> list[StoredDocument]:
    where, bindings = _where("key", span)
    rows = connection.execute(
        f"SELECT {_IMAGE} FROM documents WHERE {where}"
        f" ORDER BY key {_direction(descending)} LIMIT ?",
        (*bindings, limit),
    )
    if bytes_max is None:
        return [StoredDocument(*row) for row in rows]
    found: list[StoredDocument] = []
    size = 0
    for row in rows:
        found.append(StoredDocument(*row))
        size += len(row[1])
        if size >= bytes_max:
            break
    return found


def scan_entries(
    connection: apsw.Connection,
    index: int,
    span: KeyRange,
    limit: int,
    descending: bool,
    bytes_max: int | None = None,
) -> list[EntryRow]:
    where, bindings = _where("entries.key", span)
    rows = connection.execute(
        f'SELECT entries.key, {_IMAGE} FROM {_ENTRIES} WHERE "index" = ? AND {where}'
        f" ORDER BY entries.key {_direction(descending)} LIMIT ?",
        (index, *bindings, limit),
    )
    if bytes_max is None:
        return [EntryRow(key, StoredDocument(*image)) for key, *image in rows]
    found: list[EntryRow] = []
    size = 0
    for key, *image in rows:
        found.append(EntryRow(key, StoredDocument(*image)))
        size += len(image[1])
        if size >= bytes_max:
            break
    return found


def scan_keys(
    connection: apsw.Connection, index: int, spans: Sequence[KeyRange], limit: int
) -> list[bytes]:
    found: list[bytes] = []
    for span in spans:
        where, bindings = _where("key", span)
        rows = connection.execute(
            f'SELECT key FROM entries WHERE "index" = ? AND {where} ORDER BY key LIMIT ?',
            (index, *bindings, limit - len(found)),
        )
        found += [row[0] for row in rows]
        if len(found) >= limit:
            break
    return found


def read_page(connection: apsw.Connection, scan: FirstScan) -> Page | None:
    """A page and its version by one statement, which sees one state of the database; None where
    there is no row that could tell the version, and for more than is read on the event loop."""
    span, index = scan.span, scan.index
    bindings: list[Any] = [span.start] if span.end is None else [span.start, span.end]
    if index is not None:
        bindings.insert(0, index)
    bindings.append(scan.limit)
    sql = _page_sql(index is not None, span.end is not None, scan.descending)
    documents: list[StoredDocument] = []
    longest = size = 0
    row: Any = None
    for row in connection.execute(sql, bindings):
        data = row[1]
        documents.append(StoredDocument(row[0], data, row[2], row[3]))
        size += len(data)
        if size > INLINE_BYTES_MAX:
            return None
        if index is not None and row[5] > longest:
            longest = row[5]
    return Page(row[4], documents, longest) if documents else None


@cache
def _page_sql(is_index: bool, is_bounded: bool, descending: bool) -> str:
    key = "entries.key" if is_index else "key"
    source = f'FROM {_ENTRIES} WHERE "index" = ? AND' if is_index else "FROM documents WHERE"
    return (
        f"SELECT {_IMAGE}, (SELECT version FROM head){', length(entries.key)' if is_index else ''}"
        f" {source} {key} >= ?{f' AND {key} < ?' if is_bounded else ''}"
        f" ORDER BY {key} {_direction(descending)} LIMIT ?"
    )


def count_documents(connection: apsw.Connection, span: KeyRange, limit: int | None) -> int:
    where, bindings = _where("key", span)
    return _count(connection, f"FROM documents WHERE {where}", bindings, limit)


def count_entries(
    connection: apsw.Connection, index: int, span: KeyRange, limit: int | None
) -> int:
    where, bindings = _where("key", span)
    return _count(
        connection, f'FROM entries WHERE "index" = ? AND {where}', (index, *bindings), limit
    )


def read_log(connection: apsw.Connection, after: int, limit: int) -> list[LogRecord]:
    rows: list[Any] = connection.execute(
        f"{_LOG} WHERE version > ? ORDER BY version, ordinal LIMIT ?", (after, limit)
    ).fetchall()
    if len(rows) == limit:
        version, ordinal = rows[-1][:2]
        rows += connection.execute(
            f"{_LOG} WHERE version = ? AND ordinal > ? ORDER BY ordinal", (version, ordinal)
        )
    return [
        LogRecord(version, ordinal, DocumentPath(tuple(path.split("/"))), bool(deleted))
        for version, ordinal, path, deleted in rows
    ]


def find_request(connection: apsw.Connection, request_id: str) -> tuple[int, bytes] | None:
    row = connection.execute(_FIND_REQUEST, (request_id,)).fetchone()
    return None if row is None else (row[0], row[1])


def read_requests(connection: apsw.Connection, after: int, limit: int) -> list[RequestAnswer]:
    found: list[RequestAnswer] = []
    size = 0
    for row in connection.execute(_REQUESTS, (after, limit)):
        found.append(RequestAnswer(*row))
        size += found[-1].size
        if size >= REQUESTS_PAGE_BYTES:
            break
    return found


def _count(
    connection: apsw.Connection, source: str, bindings: tuple[Any, ...], limit: int | None
) -> int:
    # A negative LIMIT is none.
    sql = f"SELECT count(*) FROM (SELECT 1 {source} LIMIT ?)"
    for row in connection.execute(sql, (*bindings, -1 if limit is None else limit)):
        return int(row[0])
    return 0


def _where(column: str, span: KeyRange) -> tuple[str, tuple[bytes, ...]]:
    if span.end is None:
        return f"{column} >= ?", (span.start,)
    return f"{column} >= ? AND {column} < ?", (span.start, span.end)


def _direction(descending: bool) -> str:
    return "DESC" if descending else "ASC"


class ConnectionPool(Protocol):
    """Where a snapshot's connection comes from and goes back to."""

    threads: ThreadPoolExecutor

    def give_back(self, snapshot: SqliteSnapshot, connection: apsw.Connection) -> None: ...


class SqliteSnapshot:
    """A read transaction. Small reads happen on the event loop, larger ones in a thread.

    Reads of one snapshot follow each other: one that comes while a thread is at work waits.
    """

    def __init__(self, pool: ConnectionPool, connection: apsw.Connection, incarnation: str) -> None:
        self._pool = pool
        self._connection: apsw.Connection | None = connection
        self._lock = asyncio.Lock()
        self._is_revoked = False
        connection.execute("BEGIN")
        try:
            self._version: int
            self._version, found = fetch_one(connection, "SELECT version, incarnation FROM head")
            if found != incarnation:
                raise StoreMissing("the database was removed, or has begun a new incarnation")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @property
    def version(self) -> int:
        return self._version

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        if not INLINE_ROWS_MAX < len(keys) <= INLINE_KEYS_MAX:
            return await self._run(
                lambda connection: read_documents(connection, keys), len(keys) <= INLINE_ROWS_MAX
            )
        found: list[StoredDocument | None] = []
        for start in range(0, len(keys), INLINE_ROWS_MAX):
            wanted = keys[start : start + INLINE_ROWS_MAX]
            found += await self._run(partial(read_documents, keys=wanted), True)
            await asyncio.sleep(0)
        return found

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        return await self._run(
            lambda connection: [read_document_at(connection, key, version) for key in keys],
            len(keys) <= INLINE_ROWS_MAX,
        )

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        return await self._run(
            lambda connection: [read_document_at(connection, *one) for one in wanted],
            len(wanted) <= INLINE_ROWS_MAX,
        )

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        return await self._run(
            lambda connection: read_history(connection, key, below, limit),
            limit <= INLINE_ROWS_MAX,
        )

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        return await self._run(
            lambda connection: find_superseded(connection, keys, below),
            len(keys) <= INLINE_ROWS_MAX,
        )

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        return await self._run(
            lambda connection: scan_documents(connection, span, limit, descending, bytes_max),
            limit <= INLINE_ROWS_MAX,
        )

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        return await self._run(
            lambda connection: scan_entries(connection, index, span, limit, descending, bytes_max),
            limit <= INLINE_ROWS_MAX,
        )

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        return await self._run(
            lambda connection: scan_keys(connection, index, spans, limit),
            max(limit, len(spans)) <= INLINE_ROWS_MAX,
        )

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count(
            lambda connection, most: count_documents(connection, span, most), limit
        )

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count(
            lambda connection, most: count_entries(connection, index, span, most), limit
        )

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        return await self._run(
            lambda connection: read_log(connection, after, limit), limit <= INLINE_ROWS_MAX
        )

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        return await self._run(
            lambda connection: read_requests(connection, after, limit), limit <= INLINE_ROWS_MAX
        )

    async def close(self) -> None:
        if self._lock.locked():
            async with self._lock:
                pass
        self._let_go()

    def revoke(self) -> None:
        """Ends the snapshot before its reader does: what it reads from now on, and what it is
        reading, raises EngineUnavailable."""
        self._is_revoked = True
        if not self._lock.locked():
            self._let_go()
        elif self._connection is not None:
            self._connection.interrupt()  # `_run` lets go

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(self, connection)

    async def _count(
        self, count: Callable[[apsw.Connection, int | None], int], limit: int | None
    ) -> int:
        most = INLINE_COUNT_MAX if limit is None else min(limit, INLINE_COUNT_MAX)
        found = await self._run(lambda connection: count(connection, most), True)
        if found < most or most == limit:
            return found
        return await self._run(lambda connection: count(connection, limit), False)

    async def _run(self, read: Callable[[apsw.Connection], T], inline: bool) -> T:
        if inline and not self._lock.locked():
            return self._read(read)
        async with self._lock:
            if inline:
                return self._read(read)
            try:
                return await self._run_in_thread(read)
            finally:
                if self._is_revoked:
                    self._let_go()

    async def _run_in_thread(self, read: Callable[[apsw.Connection], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._pool.threads, self._read, read)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The thread still uses the connection: stop it, and wait however often one is told.
            while not future.done():
                if self._connection is not None:
                    self._connection.interrupt()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future], timeout=0.05)
            if not future.cancelled():
                future.exception()  # nobody else looks at it
            raise

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        connection = self._connection
        if self._is_revoked:
            raise EngineUnavailable(_REVOKED)
        if connection is None:
            raise EngineUnavailable("the snapshot is closed")
        try:
            return read(connection)
        except apsw.Error as error:
            if self._is_revoked:
                raise EngineUnavailable(_REVOKED) from error
            raise as_storage_error(error) from error
