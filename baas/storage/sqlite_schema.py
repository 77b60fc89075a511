"""The tables of one database file, and how its connections are set up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from baas.storage.engine import (
    LOG_ROW_BYTES,
    REQUEST_ROW_BYTES,
    EngineCorrupt,
    EngineFull,
    EngineUnavailable,
)
from baas.storage.sharing import Sharer

# Below it, a defect in resetting the WAL can lose acknowledged commits.
SQLITE_VERSION_MIN = (3, 51, 3)
FORMAT = 7  # kept as user_version; a file of a newer format is refused, of an older one migrated
REMOVED = "removed"  # as its incarnation: the file is about to go, or has gone already
CACHE_KIB = 8 * 1024  # pages of the file that one connection keeps
LOG_BYTES = f"octet_length(path) + {LOG_ROW_BYTES}"
REQUEST_BYTES = f"octet_length(id) + octet_length(response) + {REQUEST_ROW_BYTES}"
APPLICATION_ID = 0x62616173  # "baas", for file(1)

# `key` columns hold ordered bytes. Paths and data are text, so that the sqlite3 tool shows them.
# `history` and `log` grow at their end only; `id` of history is in commit order.
# `traces_from`: something was erased, and may be in the free room of pages from there on; null:
# nothing is. `overwrites`: whatever was deleted since the file was made has been overwritten.
# `fence`: the token of the one that stands.
TABLES = """
CREATE TABLE head(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation TEXT NOT NULL,
    version INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    history_bytes INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL DEFAULT 0,
    traces_from INTEGER,
    overwrites INTEGER NOT NULL DEFAULT 0,
    fence TEXT,
    log_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE documents(
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created INTEGER NOT NULL,
    version INTEGER NOT NULL,
    data TEXT NOT NULL
);
CREATE TABLE entries(
    "index" INTEGER NOT NULL,
    key BLOB NOT NULL,
    document INTEGER NOT NULL,
    PRIMARY KEY ("index", key)
) WITHOUT ROWID;
CREATE TABLE history(
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    path TEXT NOT NULL,
    created INTEGER NOT NULL,
    version INTEGER NOT NULL,
    superseded INTEGER NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX history_by_key ON history(key, superseded);
CREATE TABLE log(
    version INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    path TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (version, ordinal)
) WITHOUT ROWID;
CREATE TABLE requests(
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    response BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX requests_by_version ON requests(version);
"""


def _count_requests(connection: apsw.Connection) -> None:
    """From format 2 on the head knows how many bytes the answers to requests take."""
    connection.execute("ALTER TABLE head ADD COLUMN request_bytes INTEGER NOT NULL DEFAULT 0")
    connection.execute(
        f"UPDATE head SET request_bytes = (SELECT coalesce(sum({REQUEST_BYTES}), 0) FROM requests)"
    )


def _know_kinds(connection: apsw.Connection) -> None:
    """From format 3 on the records of indexes tell the kind of each field: servers from before
    would take those that they do not know for plain ones. What is stored is read as it is."""


def _remember_traces(connection: apsw.Connection) -> None:
    """From format 4 on what is deleted is overwritten, and the head knows of what was erased."""
    connection.execute("ALTER TABLE head ADD COLUMN traces_from INTEGER")
    connection.execute("ALTER TABLE head ADD COLUMN overwrites INTEGER NOT NULL DEFAULT 0")


def _add_fence(connection: apsw.Connection) -> None:
    """From format 5 on the head has a place for a fence, which older code would not see."""
    connection.execute("ALTER TABLE head ADD COLUMN fence TEXT")


def _count_log(connection: apsw.Connection) -> None:
    """From format 6 on the head knows how many bytes the log takes."""
    connection.execute("ALTER TABLE head ADD COLUMN log_bytes INTEGER NOT NULL DEFAULT 0")
    connection.execute(
        f"UPDATE head SET log_bytes = (SELECT coalesce(sum({LOG_BYTES}), 0) FROM log)"
    )


def _know_small_objects(connection: apsw.Connection) -> None:
    """From format 7 on small objects beside the databases share a file, in which servers from
    before would not look. What is stored here is read as it is."""


# By the format that each one leads away from, to the next one. All of one is one transaction.
MIGRATIONS: dict[int, Callable[[apsw.Connection], None]] = {
    1: _count_requests,
    2: _know_kinds,
    3: _remember_traces,
    4: _add_fence,
    5: _count_log,
    6: _know_small_objects,
}


def check_sqlite_version(version: str) -> None:
    """Raises EngineUnavailable for a SQLite that is too old to be trusted with the WAL."""
    parts = tuple([int(part) for part in version.split(".")[:3]])
    if parts < SQLITE_VERSION_MIN:
        wanted = ".".join([str(part) for part in SQLITE_VERSION_MIN])
        raise EngineUnavailable(f"SQLite {version} is too old: at least {wanted} is needed")


def fetch_one(
    connection: apsw.Connection, sql: str, bindings: tuple[Any, ...] = ()
) -> tuple[Any, ...]:
    """The one row that a statement is sure to give."""
    row: tuple[Any, ...] | None = connection.execute(sql, bindings).fetchone()
    if row is None:
        raise EngineCorrupt(f"no row answers `{sql}`")
    return row


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turns every error of SQLite into the engine's own."""
    try:
        yield
    except apsw.Error as error:
        raise as_storage_error(error) from error


def as_storage_error(error: apsw.Error) -> EngineUnavailable | EngineCorrupt:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.ConstraintError):
        return EngineCorrupt(text)
    if isinstance(error, apsw.FullError):
        return EngineFull(text)
    return EngineUnavailable(text)


def connect(
    path: str,
    *,
    synchronous: str,
    read_only: bool,
    vfs: str | None,
    cache_kib: int = CACHE_KIB,
    is_shared: bool = False,
) -> apsw.Connection:
    """A connection in WAL mode that never checkpoints by itself. The file is not mapped into
    memory: see DESIGN.md. `is_shared`: other processes have the file open; it exists."""
    flags = apsw.SQLITE_OPEN_READWRITE | (0 if is_shared else apsw.SQLITE_OPEN_CREATE)
    connection = apsw.Connection(path, flags=flags, vfs=vfs)
    if is_shared:
        # Who closes last would remove the WAL by its name, which a new database may have by now.
        stay = (ctypes.c_int * 1)(1)
        connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(stay))
    connection.set_busy_timeout(5_000)
    for pragma in (
        "journal_mode = WAL",
        f"synchronous = {synchronous.upper()}",
        "wal_autocheckpoint = 0",
        "journal_size_limit = 16777216",
        f"cache_size = -{cache_kib}",
        "mmap_size = 0",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        "secure_delete = ON",  # see sqlite_scrub
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if read_only:
        connection.execute("PRAGMA query_only = ON").fetchall()
    return connection


def mark_removed(path: str, sharer: Sharer) -> None:
    """Tells whoever has the file open that it is of no more use: nothing is written to it after
    this. Blocks."""
    try:
        connection = connect(path, synchronous="off", read_only=False, vfs=None, is_shared=True)
    except apsw.Error:
        return  # none of ours, or damaged: nobody has it open
    try:
        with sharer.turn():
            connection.execute("UPDATE head SET incarnation = ?", (REMOVED,))
            sharer.note_commit()
    except apsw.SQLError:
        pass  # it was never made whole
    finally:
        connection.close()


def _migrate(connection: apsw.Connection, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another worker may have been faster: it was asked before the lock was had.
        if fetch_one(connection, "PRAGMA user_version") == (number,):
            MIGRATIONS[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def prepare_file(
    connection: apsw.Connection, incarnation: str, sync_name: Callable[[], None]
) -> None:
    """Creates the tables in an empty file, and brings one of an older format forward, a step at a
    time: what breaks off goes on from there. Raises EngineUnavailable for a newer format and
    EngineCorrupt for a file that is something else.

    `sync_name` makes the file's name durable. It is called before there are tables, so that a file
    that has some has a name that stays, whatever broke when it was created.
    """
    (application_id,) = fetch_one(connection, "PRAGMA application_id")
    (user_version,) = fetch_one(connection, "PRAGMA user_version")
    if application_id == APPLICATION_ID:
        if not 1 <= user_version <= FORMAT:
            raise EngineUnavailable(
                f"the file has format {user_version}, and this server reads formats up to {FORMAT}:"
                " start the newer server that wrote it, or restore a backup from before"
            )
        for number in range(user_version, FORMAT):
            _migrate(connection, number)
        return
    (tables,) = fetch_one(connection, "SELECT count(*) FROM sqlite_schema")
    if tables or application_id:
        raise EngineCorrupt("the file is a SQLite database of another program")
    sync_name()
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(TABLES)
        head = "INSERT INTO head(id, incarnation, version, oldest, history_bytes, overwrites)"
        connection.execute(f"{head} VALUES (1, ?, 0, 0, 0, 1)", (incarnation,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
