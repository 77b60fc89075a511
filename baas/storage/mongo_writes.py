"""One group of commits as few commands: rows of a kind together, several MiB at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bson.binary import Binary
from pymongo.errors import OperationFailure

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    REQUEST_ROW_BYTES,
    BackfillRow,
    Change,
    CommitGroup,
    CommitRecord,
    EngineCorrupt,
    log_bytes_of,
)
from baas.storage.mongo_client import ConflictWithNobody, MongoConnection, is_conflict
from baas.storage.mongo_layout import Rows
from baas.storage.mongo_wire import Document, Session, check_answer

# A command is one BSON document of at most 16 MiB; a document's text is below 7 MiB.
COMMAND_BYTES_MAX = 6 * 1024 * 1024
COMMAND_ROWS_MAX = 20_000
TOGETHER_BYTES_MAX = 1024 * 1024  # of a group whose commands are sent without waiting for answers
LOG_ROW_BYTES_MAX = 2 * 1024 * 1024  # a larger commit has a row of its own

_ROW_BYTES = 120  # names and numbers of a row, roughly


class _Batches:
    """Rows for one command and collection, cut where a command would become too large."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self._bytes = 0

    def add(self, row: Any, size: int) -> None:
        size += _ROW_BYTES
        batches = self.batches
        if (
            not batches
            or self._bytes + size > COMMAND_BYTES_MAX
            or len(batches[-1]) >= COMMAND_ROWS_MAX
        ):
            batches.append([])
            self._bytes = 0
        batches[-1].append(row)
        self._bytes += size


class GroupCommands:
    """What a group writes beside the head. Several commits of it may change one document: each
    image reaches history, the last one documents."""

    def __init__(self, rows: Rows, group: CommitGroup, commit_id: str) -> None:
        # While an index is filled, an entry may be there already: then, and once that has shown
        # itself, entries are replaced, which takes several times as long.
        self.replaces_entries = False
        self.history_bytes = 0
        self.log_bytes = 0
        self.request_bytes = 0
        self.bytes = 0  # of images and responses, roughly
        self._rows = rows
        self._first: dict[bytes, Change] = {}
        self._last: dict[bytes, Change] = {}
        self._entries: dict[str, bytes | None] = {}
        self._history = _Batches()
        self._log = _Batches()
        self._log_row: Document = {}
        self._log_bytes = 0
        for commit in group.commits:
            self._add_commit(commit, commit_id)
        self.written = list(self._commands())

    def replace_entries(self) -> None:
        """From now on entries that are there already are no error."""
        self.replaces_entries = True
        self.written = list(self._commands())

    def _commands(self) -> Iterator[Document]:
        yield from self._entry_commands()
        yield from self._document_commands()
        yield from _inserts("history", self._history)
        yield from _inserts("log", self._log)

    def _add_commit(self, commit: CommitRecord, commit_id: str) -> None:
        rows, version = self._rows, commit.version
        paths: list[str] = []
        path_bytes = 0
        deleted: list[int] = []
        size = len(commit.response) + 64
        self.bytes += size
        for ordinal, change in enumerate(commit.changes):
            path = str(change.path)
            paths.append(path)
            path_bytes += log_bytes_of(path)
            size += len(path) + 16
            if change.new is None:
                deleted.append(ordinal)
            else:
                self.bytes += len(change.new.data)
            if change.old is not None:
                self._add_history(change.key, path, change.old, version, ordinal)
            self._first.setdefault(change.key, change)
            self._last[change.key] = change
            for index, keys in change.removed_entries:
                self._entries.update(dict.fromkeys(rows.entries(index, keys)))
            for index, keys in change.added_entries:
                self._entries.update(dict.fromkeys(rows.entries(index, keys), change.key))
        told: Document = {"version": version, "paths": paths}
        if deleted:
            told["deleted"] = deleted
        if commit.request_id is not None:
            told["request"] = commit.request_id
            told["response"] = Binary(commit.response)
        self._add_log(told, size, path_bytes, commit_id)

    def _add_history(
        self, key: bytes, path: str, old: StoredDocument, superseded: int, ordinal: int
    ) -> None:
        size = len(old.data)
        self.history_bytes += size
        self.bytes += size
        row = {
            "_id": self._rows.history(superseded, ordinal),
            "key": self._rows.document(key),
            "path": path,
            "created": old.created,
            "version": old.version,
            "superseded": superseded,
            "data": old.data.decode(),
            "bytes": size,
        }
        self._history.add(row, size + 3 * len(path))

    def _add_log(self, told: Document, size: int, path_bytes: int, commit_id: str) -> None:
        row = self._log_row
        if not row or self._log_bytes + size > LOG_ROW_BYTES_MAX:
            row = self._log_row = {"_id": "", "commit": commit_id, "commits": []}
            self._log_bytes = 0
            self._log.add(row, LOG_ROW_BYTES_MAX)
        row["_id"] = self._rows.log(told["version"])
        row["commits"].append(told)
        row["path_bytes"] = row.get("path_bytes", 0) + path_bytes
        self.log_bytes += path_bytes
        if "request" in told:
            row.setdefault("requests", []).append(self._rows.request(told["request"]))
            answer = len(told["request"].encode()) + len(told["response"]) + REQUEST_ROW_BYTES
            row["answers"] = row.get("answers", 0) + answer
            self.request_bytes += answer
        self._log_bytes += size

    def _document_commands(self) -> Iterator[Document]:
        inserted, replaced, deleted = _Batches(), _Batches(), _Batches()
        for key, change in self._last.items():
            row_id = self._rows.document(key)
            existed = self._first[key].old is not None
            new = change.new
            if new is None:
                if existed:
                    deleted.add(row_id, 2 * len(row_id))
                continue
            size = len(new.data) + 4 * len(row_id)
            row = {
                "_id": row_id,
                "path": str(change.path),
                "created": new.created,
                "version": new.version,
                "data": new.data.decode(),
            }
            if existed:
                replaced.add({"q": {"_id": row_id}, "u": row}, size)
            else:
                inserted.add(row, size)
        yield from _deletes("documents", deleted)
        yield from _updates("documents", replaced)
        yield from _inserts("documents", inserted)

    def _entry_commands(self) -> Iterator[Document]:
        inserted, replaced, deleted = _Batches(), _Batches(), _Batches()
        created = {key for key, change in self._first.items() if change.old is None}
        documents = {key: self._rows.document(key) for key in self._last}
        for row_id in sorted(self._entries):
            key, size = self._entries[row_id], 2 * len(row_id)
            if key is None:
                deleted.add(row_id, size)
                continue
            size += 2 * len(key)
            row = {"_id": row_id, "document": documents[key]}
            if self.replaces_entries and key not in created:
                replaced.add({"q": {"_id": row_id}, "u": row, "upsert": True}, 2 * size)
            else:
                inserted.add(row, size)
        yield from _deletes("entries", deleted)
        yield from _updates("entries", replaced)
        yield from _inserts("entries", inserted)


def entry_inserts(rows: Sequence[Document]) -> Iterator[Document]:
    """Commands that add entries that are not there."""
    batches = _Batches()
    for row in rows:
        batches.add(row, 4 * len(row["_id"]))
    yield from _inserts("entries", batches)


async def fill_entries(
    connection: MongoConnection, rows: Rows, session: Session, filled: Sequence[BackfillRow]
) -> int:
    """Adds the entries of documents that still are at their version; how many."""
    wanted = {rows.document(row.key): row for row in filled}
    entries: dict[str, Document] = {}
    taken = 0
    for found in await _find(connection, session, "documents", list(wanted), {"version": 1}):
        row = wanted[found["_id"]]
        if found["version"] != row.version:
            continue
        taken += 1
        for index, keys in row.entries:
            for row_id in rows.entries(index, keys):
                entries[row_id] = {"_id": row_id, "document": found["_id"]}
    for found in await _find(connection, session, "entries", list(entries), {"_id": 1}):
        del entries[found["_id"]]
    for command in entry_inserts(list(entries.values())):
        await connection.write_in(session, command)
    return taken


async def _find(
    connection: MongoConnection,
    session: Session,
    collection: str,
    ids: list[str],
    projection: dict[str, int],
) -> list[Document]:
    where = {"_id": {"$in": ids}}
    command = {"find": collection, "filter": where, "projection": projection}
    return await connection.read_in(session, command)


async def run_group(
    connection: MongoConnection,
    commands: GroupCommands,
    head: Document,
    session: Session,
    *,
    head_first: bool,
) -> bool:
    """All commands of a group, the one that moves the head first; False if the head was not where
    the group expects it. With `head_first` the others are sent when it has moved. Raises
    ConflictWithNobody; EngineCorrupt if a row to be replaced is not there: the head is where the
    group expects it, so it must be."""
    steps = [[head], commands.written] if head_first else [[head, *commands.written]]
    if commands.bytes > TOGETHER_BYTES_MAX:
        steps = [[command] for step in steps for command in step]
    for step in steps:
        answers = await connection.write_all_in(session, step)
        for command, answer in zip(step, answers, strict=True):
            if command is head:
                check_answer(answer)
                if answer["n"] != 1:
                    return False
                continue
            _check_row_answer(answer)
            if "updates" in command and answer["n"] != len(command["updates"]):
                rows = len(command["updates"])
                raise EngineCorrupt(f"of {rows} rows to replace {answer['n']} were there")
    return True


def _check_row_answer(answer: Document) -> None:
    """Of a command after the one that has moved the head."""
    try:
        check_answer(answer)
    except OperationFailure as error:
        if is_conflict(error):
            raise ConflictWithNobody(str(error), error.code, answer) from error
        raise


async def empty_history(
    connection: MongoConnection, row_ids: Sequence[str], session: Session
) -> tuple[Counter[str], int]:
    """Empties the superseded images of documents; how many of each, and the bytes of all."""
    full = {"key": {"$in": list(row_ids)}, "data": {"$ne": ""}}
    command = {"find": "history", "filter": full, "projection": {"key": 1, "bytes": 1}}
    rows = await connection.read_in(session, command)
    if rows:
        emptied = {"q": full, "u": {"$set": {"data": "", "bytes": 0}}, "multi": True}
        await connection.write_in(session, {"update": "history", "updates": [emptied]})
    return Counter([row["key"] for row in rows]), sum([row["bytes"] for row in rows])


def _inserts(collection: str, rows: _Batches) -> Iterator[Document]:
    for batch in rows.batches:
        yield {"insert": collection, "documents": batch}


def _updates(collection: str, rows: _Batches) -> Iterator[Document]:
    for batch in rows.batches:
        yield {"update": collection, "updates": batch}


def _deletes(collection: str, rows: _Batches) -> Iterator[Document]:
    for batch in rows.batches:
        query = {"q": {"_id": {"$in": batch}}, "limit": 0}
        yield {"delete": collection, "deletes": [query]}
