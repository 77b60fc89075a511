"""How databases lie in MongoDB: five collections that all of them share, and their rows.

A database has a short **number**, as text, never used twice; the `_id` of each of its rows starts
with it. So a thousand projects are a thousand heads, and no more collections or indexes than one.

    heads      project/database   number, incarnation, version, oldest, history_bytes, log_bytes,
                                  request_bytes, requests_from: none is kept below,
                                  touched: {by, id}, claim: {by, until}, fence
    documents  1f/<key>           path, created, version, data
    entries    1f/7/<key>         document: the `_id` of the document that it leads to
    history    1f/<superseded>/…  key, path, created, version, superseded, data, bytes
    log        1f/<version>       commit, commits: [{version, paths, deleted, request, response}],
                                  requests: [1f/<request id>], answers: their bytes,
                               path_bytes: what its paths take
               1f/~<version>      the same without paths: trimmed, and kept for its requests
    doomed     1f                 a deleted database of which rows may be left
    turns      1f/<line>          at, line: [{place, until}]; gone a minute after the last one
    store      format, numbers,   the format of all this, the last number given, whose databases
               server             these are

MongoDB compares binary data by length first, so keys are text: each byte is the character of that
number. That keeps the order, since UTF-8 does, costs a second byte from 0x80 on, and can be read.
One row of `log` holds all commits of a group: half as many rows to write as one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import EngineCorrupt, EntryRow, FirstScan, KeyRange, LogRecord
from baas.storage.store import StoreName

FORMAT = 5  # of a newer format data is refused, of an older one migrated
COLLECTIONS = ("heads", "documents", "entries", "history", "log", "doomed", "turns")
HISTORY_BY_KEY = "key_superseded_version"
INDEXES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("heads", {"key": {"project": 1}, "name": "project"}),
    (
        "history",
        {"key": {"key": 1, "superseded": 1, "version": 1}, "name": HISTORY_BY_KEY},
    ),
    ("log", {"key": {"requests": 1}, "name": "requests", "sparse": True}),
    ("turns", {"key": {"at": 1}, "name": "at", "expireAfterSeconds": 60}),
)
IMAGE = {"path": 1, "created": 1, "version": 1, "data": 1}

Row = Mapping[str, Any]


def head_id(name: StoreName) -> str:
    """The server's own database is `/`, a project's system database `project/`."""
    return f"{name.project or ''}/{name.database or ''}"


def as_document(row: Row) -> StoredDocument:
    return StoredDocument(row["path"], row["data"].encode(), row["created"], row["version"])


@dataclass(frozen=True, slots=True)
class RowScan:
    """A scan of documents, or of entries, as MongoDB is asked for it."""

    collection: str
    prefix: str  # of the `_id`s, before the key
    start: str
    end: str
    limit: int
    descending: bool

    def pipeline(self) -> list[dict[str, Any]]:
        return [
            {"$match": {"_id": {"$gte": self.start, "$lt": self.end}}},
            {"$sort": {"_id": -1 if self.descending else 1}},
            {"$limit": self.limit},
        ]

    def decode(
        self, rows: Iterable[Row], documents: Mapping[str, StoredDocument]
    ) -> list[StoredDocument] | list[EntryRow]:
        """Documents, or EntryRows with the documents that they lead to."""
        if self.collection == "documents":
            return [as_document(row) for row in rows]
        start = len(self.prefix)
        try:
            return [
                EntryRow(row["_id"][start:].encode("latin-1"), documents[row["document"]])
                for row in rows
            ]
        except KeyError as error:
            raise EngineCorrupt("an entry leads to no document") from error


@dataclass(frozen=True, slots=True)
class Rows:
    """The `_id`s of one database's rows."""

    number: str

    def document(self, key: bytes) -> str:
        return f"{self.number}/{key.decode('latin-1')}"

    def entries(self, index: int, keys: Sequence[bytes]) -> list[str]:
        start = f"{self.number}/{index}/"
        return [start + key.decode("latin-1") for key in keys]

    def log(self, version: int) -> str:
        """Nineteen digits hold every version. The least `_id` of a row of history, too."""
        return f"{self.number}/{version:019d}"

    def kept(self, version: int) -> str:
        """What is left of a row of log that was trimmed, for its requests; above all of log."""
        return f"{self.number}/~{version:019d}"

    def history(self, superseded: int, ordinal: int) -> str:
        return f"{self.number}/{superseded:019d}/{ordinal}"

    def request(self, request_id: str) -> str:
        return f"{self.number}/{request_id}"

    def document_span(self, span: KeyRange) -> dict[str, str]:
        return _span(f"{self.number}/", span)

    def entry_span(self, index: int, span: KeyRange) -> dict[str, str]:
        return _span(f"{self.number}/{index}/", span)

    def scan(self, asked: FirstScan) -> RowScan:
        if asked.index is None:
            collection, prefix = "documents", f"{self.number}/"
        else:
            collection, prefix = "entries", f"{self.number}/{asked.index}/"
        span = _span(prefix, asked.span)
        return RowScan(collection, prefix, span["$gte"], span["$lt"], asked.limit, asked.descending)

    def old_spans(self, before: int, requests_before: int) -> list[tuple[str, dict[str, str]]]:
        """What is to be trimmed, by collection, in that order."""
        old = {"$gte": self.all()["$gte"], "$lt": self.log(before)}
        kept = {"$gte": self.kept(0), "$lt": self.kept(requests_before)}
        return [("history", old), ("log", old), ("log", kept)]

    def all(self) -> dict[str, str]:
        """Every row of the database in a collection."""
        return {"$gte": f"{self.number}/", "$lt": _after(f"{self.number}/")}


def _span(prefix: str, span: KeyRange) -> dict[str, str]:
    start = prefix + span.start.decode("latin-1")
    end = _after(prefix) if span.end is None else prefix + span.end.decode("latin-1")
    return {"$gte": start, "$lt": end}


def _after(prefix: str) -> str:
    """The least text above all that starts with `prefix`, which ends with a slash."""
    return prefix[:-1] + "0"


def log_records(rows: Iterable[Row], after: int, oldest: int) -> list[list[LogRecord]]:
    """The records of each commit above version `after`. Those below `oldest` were trimmed, though
    they may share a row with others."""
    return [
        _commit_records(commit)
        for row in rows
        for commit in row["commits"]
        if commit["version"] > after and commit["version"] >= oldest
    ]


def _commit_records(commit: Row) -> list[LogRecord]:
    version = commit["version"]
    deleted = set(commit.get("deleted", ()))
    return [
        LogRecord(version, ordinal, DocumentPath(tuple(path.split("/"))), ordinal in deleted)
        for ordinal, path in enumerate(commit["paths"])
    ]
