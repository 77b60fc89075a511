"""One group of commits as SQL: few statements of many rows each.

APSW lets go of the interpreter lock at every step of a statement, and a busy event loop may keep it
for milliseconds before it comes back. A statement that writes many rows takes one step.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import apsw

from baas.storage.engine import (
    REQUEST_ROW_BYTES,
    BackfillRow,
    Change,
    CommitGroup,
    EngineConflict,
    EngineFenced,
    LogRecord,
    RequestAnswer,
    log_bytes_of,
)
from baas.storage.sqlite_reads import read_log
from baas.storage.sqlite_schema import LOG_BYTES, REQUEST_BYTES, fetch_one
from baas.storage.store import StoreMissing

T = TypeVar("T")

# 500 is what a commit has at most. Texts stay below the 16 KiB past which APSW prepares anew.
_ROWS_PER_STATEMENT = (500, 64, 16, 4, 1)
_IDS_PER_STATEMENT = 500
LOOK_UP_RATIO = 4  # entries of a document, from which on documents are looked up by themselves
FILLED_AT_ONCE = 2_500  # entries of an index that is filled: a few milliseconds
MISSED_MAX = 1_000  # changes of others that a group is compared with

# Rows stand as bare marks in one VALUES: to SQLite that is a loop over them, where a row of
# expressions is code of its own, twice as long to go through.
_UPSERT_DOCUMENT = (
    "INSERT INTO documents(key, path, created, version, data)"
    " SELECT column1, column2, column3, column4, CAST(column5 AS TEXT) FROM (VALUES ",
    "(?,?,?,?,?)",
    ") WHERE true ON CONFLICT(key) DO UPDATE SET"
    " created = excluded.created, version = excluded.version, data = excluded.data",
)
_DELETE_DOCUMENT = ("DELETE FROM documents WHERE key IN (", "?", ")")
_ADD_HISTORY = (
    "INSERT INTO history(key, path, created, version, superseded, data)"
    " SELECT column1, column2, column3, column4, column5, CAST(column6 AS TEXT) FROM (VALUES ",
    "(?,?,?,?,?,?)",
    ")",
)
_ADD_LOG = ("INSERT INTO log(version, ordinal, path, deleted) VALUES ", "(?,?,?,?)", "")
_ADD_REQUEST = ("INSERT INTO requests(id, version, response) VALUES ", "(?,?,?)", "")
_KEEP_REQUEST = (
    "INSERT INTO requests(id, version, response) VALUES (?, ?, ?)"
    f" ON CONFLICT DO NOTHING RETURNING {REQUEST_BYTES}"
)
_ADD_ENTRY = (
    'INSERT OR REPLACE INTO entries("index", key, document)'
    " SELECT column1, column2, (SELECT id FROM documents WHERE key = column3) FROM (VALUES ",
    "(?,?,?)",
    ")",
)
_ADD_ENTRY_OF_ID = (
    'INSERT OR REPLACE INTO entries("index", key, document)'
    " SELECT column1, column2, column3 FROM (VALUES ",
    "(?,?,?)",
    ")",
)
# One row for all of them: see above.
_READ_IDS = (
    "SELECT json_group_array((SELECT id FROM documents WHERE key = column1)) FROM (VALUES ",
    "(?)",
    ")",
)
_READ_UNCHANGED = (
    "SELECT json_group_array((SELECT id FROM documents WHERE key = column1 AND version = column2))"
    " FROM (VALUES ",
    "(?,?)",
    ")",
)
_REMOVE_ENTRY = ('DELETE FROM entries WHERE ("index", key) IN (VALUES ', "(?,?)", ")")

_Statement = tuple[str, str, str]


@lru_cache(maxsize=64)
def _text(statement: _Statement, rows: int) -> str:
    before, row, after = statement
    return before + ",".join([row] * rows) + after


def _run_rows(
    connection: apsw.Connection, statement: _Statement, width: int, values: list[Any]
) -> None:
    """`values` is flat: `width` of them for each row."""
    start, end = 0, len(values)
    for rows in _ROWS_PER_STATEMENT:
        step = rows * width
        sql = _text(statement, rows)
        while end - start >= step:
            connection.execute(sql, values[start : start + step])
            start += step


def transact(connection: apsw.Connection, write: Callable[[], T]) -> T:
    """Runs `write` in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = write()
        connection.execute("COMMIT")  # the commit point
    except BaseException:
        # SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def write_upon(
    connection: apsw.Connection, group: CommitGroup, incarnation: str
) -> Sequence[LogRecord]:
    """Writes a group upon the head that it was made for, or upon what it stands; what others
    committed in between. Raises EngineConflict, EngineFenced, and StoreMissing for another
    incarnation."""
    missed: Sequence[LogRecord] = ()
    version, fence = _read_head(connection, incarnation)
    if fence is not None:
        raise _fenced(fence)
    if version != group.expected_version:
        missed = _check_stands(connection, group, version)
    write_group(connection, group)
    return missed


def put_up_fence(connection: apsw.Connection, token: str, incarnation: str) -> int:
    """As `StorageEngine.fence`."""
    version, fence = _read_head(connection, incarnation)
    if fence not in (None, token):
        raise _fenced(fence)
    connection.execute("UPDATE head SET fence = ?", (token,))
    return version


def lift_fence(connection: apsw.Connection, token: str) -> bool:
    connection.execute("UPDATE head SET fence = NULL WHERE fence = ?", (token,))
    return connection.changes() > 0


def _read_head(connection: apsw.Connection, incarnation: str) -> tuple[int, str | None]:
    version, found, fence = fetch_one(connection, "SELECT version, incarnation, fence FROM head")
    if found != incarnation:
        raise StoreMissing("the database was removed, or has begun a new incarnation")
    return version, fence


def _fenced(token: str) -> EngineFenced:
    return EngineFenced(f"the database is fenced by `{token}`")


def _check_stands(
    connection: apsw.Connection, group: CommitGroup, version: int
) -> Sequence[LogRecord]:
    """What others committed since the group was made, if it may be written upon that. Raises
    EngineConflict."""
    conflict = EngineConflict(f"the head is at {version}, not {group.expected_version}")
    if group.stands_upon is None or version >= group.commits[0].version:
        raise conflict
    (oldest,) = fetch_one(connection, "SELECT oldest FROM head")
    missed = read_log(connection, group.expected_version, MISSED_MAX)
    if oldest > group.expected_version or len(missed) >= MISSED_MAX:
        raise conflict
    requests = [one.request_id for one in group.commits if one.request_id is not None]
    for start in range(0, len(requests), MISSED_MAX):
        some = requests[start : start + MISSED_MAX]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT 1 FROM requests WHERE id IN ({marks}) LIMIT 1"
        if connection.execute(sql, some).fetchone() is not None:
            raise conflict
    if not group.stands_upon(missed):
        raise conflict
    return missed


def write_group(connection: apsw.Connection, group: CommitGroup) -> None:
    """Writes everything but the transaction around it. Several commits of a group may change one
    document: each image reaches history, the last one documents."""
    last: dict[bytes, tuple[Change, str]] = {}
    entries: dict[int, dict[bytes, bytes | None]] = defaultdict(dict)
    history: list[Any] = []
    log: list[Any] = []
    requests: list[Any] = []
    history_bytes = log_bytes = request_bytes = 0
    for commit in group.commits:
        version = commit.version
        if commit.request_id is not None:
            requests += (commit.request_id, version, commit.response)
            request_bytes += len(commit.request_id.encode()) + len(commit.response)
            request_bytes += REQUEST_ROW_BYTES
        for ordinal, change in enumerate(commit.changes):
            path = "/".join(change.path.segments)
            old = change.old
            if old is not None:
                history += (change.key, path, old.created, old.version, version, old.data)
                history_bytes += len(old.data)
            log += (version, ordinal, path, int(change.new is None))
            log_bytes += log_bytes_of(path)
            last[change.key] = change, path
            for index, keys in change.removed_entries:
                of_index = entries[index]
                for key in keys:
                    of_index[key] = None
            for index, keys in change.added_entries:
                of_index = entries[index]
                for key in keys:
                    of_index[key] = change.key
    _write_documents(connection, last)
    _write_entries(connection, entries)
    _run_rows(connection, _ADD_HISTORY, 6, history)
    _run_rows(connection, _ADD_LOG, 4, log)
    _run_rows(connection, _ADD_REQUEST, 3, requests)
    connection.execute(
        "UPDATE head SET version = ?, history_bytes = history_bytes + ?,"
        " log_bytes = log_bytes + ?, request_bytes = request_bytes + ?",
        (group.commits[-1].version, history_bytes, log_bytes, request_bytes),
    )


def _write_documents(connection: apsw.Connection, last: dict[bytes, tuple[Change, str]]) -> None:
    written: list[Any] = []
    deleted: list[Any] = []
    for key, (change, path) in last.items():
        new = change.new
        if new is None:
            deleted.append(key)
        else:
            written += (key, path, new.created, new.version, new.data)
    _run_rows(connection, _UPSERT_DOCUMENT, 5, written)
    _run_rows(connection, _DELETE_DOCUMENT, 1, deleted)


def _write_entries(
    connection: apsw.Connection, entries: dict[int, dict[bytes, bytes | None]]
) -> None:
    """In the order of keys: each page of the table is looked for once then."""
    document_keys = {key for documents in entries.values() for key in documents.values() if key}
    are_many = sum(map(len, entries.values())) > LOOK_UP_RATIO * len(document_keys)
    ids = _read_ids(connection, list(document_keys)) if are_many else {}
    removed: list[Any] = []
    added: list[Any] = []
    for index, documents in entries.items():
        for key in sorted(documents):
            document_key = documents[key]
            if document_key is None:
                removed += (index, key)
            else:
                added += (index, key, ids[document_key] if are_many else document_key)
    _run_rows(connection, _REMOVE_ENTRY, 2, removed)
    _run_rows(connection, _ADD_ENTRY_OF_ID if are_many else _ADD_ENTRY, 3, added)


def _read_ids(connection: apsw.Connection, keys: Sequence[bytes]) -> dict[bytes, int | None]:
    """The ids of documents, None for one that is not there."""
    return dict(zip(keys, _find_ids(connection, _READ_IDS, [(key,) for key in keys]), strict=True))


def _find_ids(
    connection: apsw.Connection, statement: _Statement, rows: Sequence[tuple[Any, ...]]
) -> list[int | None]:
    """Of the document that each row asks for; None if there is none."""
    ids: list[int | None] = []
    for start in range(0, len(rows), _IDS_PER_STATEMENT):
        some = rows[start : start + _IDS_PER_STATEMENT]
        asked = tuple([value for row in some for value in row])
        (found,) = fetch_one(connection, _text(statement, len(some)), asked)
        ids += json.loads(found)
    return ids


def _sorted_entries(rows: Sequence[BackfillRow]) -> list[tuple[int, bytes, int]]:
    """Index, key and the row's number."""
    by_index: dict[int, dict[bytes, int]] = {}
    for number, row in enumerate(rows):
        for index, keys in row.entries:
            by_index.setdefault(index, {}).update(dict.fromkeys(keys, number))
    return [(index, key, found[key]) for index, found in by_index.items() for key in sorted(found)]


class Backfill:
    """The entries of rows whose document still is at the stated version, in the order of their
    keys, so that each page of the table is written once: `write` as many as take a few
    milliseconds, in a transaction of its own, until it is False. `taken`: the rows that were."""

    def __init__(self, rows: Sequence[BackfillRow]) -> None:
        self._rows = rows
        self._entries = _sorted_entries(rows)
        self._at = 0
        self._taken: set[int] = set()

    @property
    def taken(self) -> int:
        return len(self._taken)

    def write(self, connection: apsw.Connection) -> bool:
        """Whether there is more to write."""
        some = self._entries[self._at : self._at + FILLED_AT_ONCE]
        self._at += len(some)
        ids = self._read_ids(connection, list({number for _, _, number in some}))
        self._taken.update(ids)
        rows = [
            value
            for index, key, number in some
            if number in ids
            for value in (index, key, ids[number])
        ]
        _run_rows(connection, _ADD_ENTRY_OF_ID, 3, rows)
        return self._at < len(self._entries)

    def _read_ids(self, connection: apsw.Connection, numbers: Sequence[int]) -> dict[int, int]:
        """The ids of the documents of some rows, by the rows' numbers, where nothing changed."""
        asked = [(self._rows[number].key, self._rows[number].version) for number in numbers]
        by_number = zip(numbers, _find_ids(connection, _READ_UNCHANGED, asked), strict=True)
        return {number: found for number, found in by_number if found is not None}


def delete_entries(connection: apsw.Connection, index: int, limit: int) -> int:
    connection.execute(
        'DELETE FROM entries WHERE "index" = ?1 AND key IN'
        ' (SELECT key FROM entries WHERE "index" = ?1 ORDER BY key LIMIT ?2)',
        (index, limit),
    )
    return connection.changes()


_TRIM_LOG = (
    "DELETE FROM log WHERE (version, ordinal) IN"
    " (SELECT version, ordinal FROM log WHERE version < ? ORDER BY version LIMIT ?)"
    f" RETURNING {LOG_BYTES}"
)
_TRIM_REQUESTS = (
    "DELETE FROM requests WHERE id IN"
    " (SELECT id FROM requests WHERE version < ? ORDER BY version LIMIT ?)"
    f" RETURNING {REQUEST_BYTES}"
)


def empty_history(connection: apsw.Connection, key: bytes) -> int:
    """Empties the superseded images of one document."""
    (count, size) = fetch_one(
        connection,
        "SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM history"
        " WHERE key = ? AND data <> ''",
        (key,),
    )
    connection.execute("UPDATE history SET data = '' WHERE key = ?", (key,))
    connection.execute(
        "UPDATE head SET history_bytes = history_bytes - ?, traces_from = 0", (size,)
    )
    return int(count)


def mark_traces(connection: apsw.Connection) -> None:
    """Something erased may be anywhere in the file, or in its WAL."""
    connection.execute("UPDATE head SET traces_from = 0")


def delete_before(
    connection: apsw.Connection, before: int, requests_before: int, limit: int
) -> int:
    """Deletes up to `limit` rows of history, then of log, then of requests."""
    # First of all: from now on nobody may resume below, however far the deletion gets.
    connection.execute("UPDATE head SET oldest = ?1 WHERE oldest < ?1", (before,))
    freed = 0
    deleted = 0
    for (size,) in connection.execute(
        "DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?2)"
        " AND superseded < ?1 RETURNING octet_length(data)",
        (before, limit),
    ):
        freed += size
        deleted += 1
    if freed:
        connection.execute("UPDATE head SET history_bytes = history_bytes - ?", (freed,))
    if deleted < limit:
        logged = [size for (size,) in connection.execute(_TRIM_LOG, (before, limit - deleted))]
        if logged:
            connection.execute("UPDATE head SET log_bytes = log_bytes - ?", (sum(logged),))
        deleted += len(logged)
    if deleted < limit:
        deleted += delete_requests(connection, requests_before, limit - deleted)
    return deleted


def delete_requests(connection: apsw.Connection, before: int, limit: int) -> int:
    """Deletes the oldest answers to requests below a version; how many."""
    freed = [size for (size,) in connection.execute(_TRIM_REQUESTS, (before, limit))]
    if freed:
        connection.execute("UPDATE head SET request_bytes = request_bytes - ?", (sum(freed),))
    return len(freed)


def keep_requests(connection: apsw.Connection, answers: Sequence[RequestAnswer]) -> int:
    """Adds answers that another database gave; how many were not there yet."""
    rows = ((one.id, one.version, one.response) for one in answers)
    added = [size for (size,) in connection.executemany(_KEEP_REQUEST, rows)]
    if added:
        connection.execute("UPDATE head SET request_bytes = request_bytes + ?", (sum(added),))
    return len(added)
