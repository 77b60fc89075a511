"""Snapshots: reads at a cluster time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import Timestamp

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    EngineUnavailable,
    EntryRow,
    FirstScan,
    KeyRange,
    LogRecord,
    PastImage,
    RequestAnswer,
)
from baas.storage.mongo_client import BATCH_ROWS, MongoConnection
from baas.storage.mongo_layout import (
    HISTORY_BY_KEY,
    IMAGE,
    Row,
    Rows,
    as_document,
    log_records,
)
from baas.storage.mongo_requests import read_requests
from baas.storage.mongo_wire import Document

_FOUND_IDS = 1_000  # that one find asks for
_PART_IDS = 8  # of documents that are too large to come together
_VERSION = ("created", "version", "superseded", "bytes")  # as PastImage takes them
_KEY_SPANS = 200  # that one find asks for
BY_ID: Document = {"_id": 1}
_HISTORY_KEYS = 100  # of which one find asks for old images
_LOG_ROWS = 16  # of up to two MiB


class MongoSnapshot:
    """Reads at one cluster time, so nothing is held open. The servers keep old states for
    `minSnapshotHistoryWindowInSeconds`, five minutes by default; EngineUnavailable after that."""

    def __init__(
        self,
        connection: MongoConnection,
        rows: Rows,
        head: Row,
        time: Timestamp,
        first: tuple[FirstScan, Sequence[Any]] | None = None,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._version: int = head["version"]
        self._oldest: int = head["oldest"]
        self._concern = {"level": "snapshot", "atClusterTime": time}
        self._first = first  # and what it found at that time
        self._is_closed = False

    @property
    def version(self) -> int:
        return self._version

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        ids = [self._rows.document(key) for key in keys]
        found = await self._get(ids)
        return [found.get(row_id) for row_id in ids]

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        return await self.get_images([(key, version) for key in keys])

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        places = [(self._rows.document(key), version) for key, version in wanted]
        current = await self._get([row_id for row_id, _ in places])
        spans: dict[str, tuple[int, int]] = {}  # of versions that must come from history
        for row_id, version in places:
            latest = current.get(row_id)
            if latest is None or latest.version > version:
                least, most = spans.get(row_id, (version, version))
                spans[row_id] = (min(least, version), max(most, version))
        old = await self._read_history(spans)
        return [_image_at(current.get(row_id), old.get(row_id, ()), at) for row_id, at in places]

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        if limit <= 0:
            return []
        rows = await self._find(
            {
                "find": "history",
                "filter": {"key": self._rows.document(key), "superseded": {"$lt": below}},
                "sort": {"superseded": -1},
                "limit": limit,
                "projection": dict.fromkeys(_VERSION, 1) | {"_id": 0},
            }
        )
        return [PastImage(*[row[name] for name in _VERSION]) for row in rows]

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        ids = [self._rows.document(key) for key in keys]
        found: dict[str, int] = {}
        for start in range(0, len(ids), BATCH_ROWS):
            some = {"$in": ids[start : start + BATCH_ROWS]}
            last = {"_id": "$key", "superseded": {"$max": "$superseded"}}
            pipeline: list[Document] = [
                {"$match": {"key": some, "superseded": {"$lt": below}}},
                {"$group": last},
            ]
            rows = await self._aggregate("history", pipeline, hint=HISTORY_BY_KEY)
            found |= {row["_id"]: row["superseded"] for row in rows}
        return [found.get(row_id) for row_id in ids]

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        asked = FirstScan(None, span, limit, descending)
        if (known := self._known(asked)) is not None:
            return known
        where = self._rows.document_span(span)
        image = IMAGE | {"_id": 0}
        found = await self._scan("documents", where, limit, descending, image, bytes_max)
        return [as_document(row) for row in found]

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        asked = FirstScan(index, span, limit, descending)
        if (known := self._known(asked)) is not None:
            return known
        where = self._rows.entry_span(index, span)
        found = await self._scan("entries", where, limit, descending, None)
        count, documents = await self._get_first([row["document"] for row in found], bytes_max)
        entries: list[Any] = self._rows.scan(asked).decode(found[:count], documents)
        return entries

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        self._check_open()
        start = len(self._rows.entries(index, [b""])[0])
        found: list[bytes] = []
        for place in range(0, len(spans), _KEY_SPANS):
            if len(found) >= limit:
                break
            any_of = [
                {"_id": self._rows.entry_span(index, span)}
                for span in spans[place : place + _KEY_SPANS]
            ]
            rows = await self._find(
                {
                    "find": "entries",
                    "filter": any_of[0] if len(any_of) == 1 else {"$or": any_of},
                    "sort": {"_id": 1},
                    "limit": limit - len(found),
                    "projection": {"_id": 1},
                }
            )
            found += [row["_id"][start:].encode("latin-1") for row in rows]
        return found

    def _known(self, asked: FirstScan) -> list[Any] | None:
        """What came along with the head."""
        self._check_open()
        if self._first is None or self._first[0] != asked:
            return None
        return list(self._first[1])

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count("documents", self._rows.document_span(span), limit)

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count("entries", self._rows.entry_span(index, span), limit)

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        where = {"$gt": self._rows.log(after), "$lt": self._rows.kept(0)}
        records: list[LogRecord] = []
        most = min(_LOG_ROWS, limit)
        while True:
            found = await self._scan("log", where, most, False, {"commits.response": 0})
            for commit in log_records(found, after, self._oldest):
                records += commit
                if len(records) >= limit:
                    return records
            if len(found) < most:
                return records
            where["$gt"] = found[-1]["_id"]

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        self._check_open()
        return await read_requests(self._find, self._rows, after, limit)

    async def close(self) -> None:
        self._is_closed = True

    async def _get(
        self, ids: Sequence[str], bytes_max: int | None = None
    ) -> dict[str, StoredDocument]:
        self._check_open()
        found = await read_documents(self._connection, ids, self._concern, bytes_max)
        self._check_open()
        return found

    async def _get_first(
        self, ids: Sequence[str], bytes_max: int | None
    ) -> tuple[int, dict[str, StoredDocument]]:
        """How many of them, from the first one on, were read until they had `bytes_max`, and what
        they are. What one answer holds of all of them comes in an order of its own."""
        found = await self._get(ids, bytes_max)
        if bytes_max is None or _size(found) < bytes_max:
            return len(ids), found
        count = size = 0
        while count < len(ids) and size < bytes_max:
            part = ids[count : count + _PART_IDS]
            if lacking := [row_id for row_id in part if row_id not in found]:
                found |= await self._get(lacking)
            size += sum([len(found[row_id].data) for row_id in part if row_id in found])
            count += len(part)
        return count, found

    async def _read_history(
        self, spans: dict[str, tuple[int, int]]
    ) -> dict[str, list[tuple[int, StoredDocument]]]:
        """Images that were current at some time in each document's span, with what superseded
        them."""
        found: dict[str, list[tuple[int, StoredDocument]]] = {}
        places = list(spans.items())
        for start in range(0, len(places), _HISTORY_KEYS):
            any_of = [
                {"key": row_id, "superseded": {"$gt": least}, "version": {"$lte": most}}
                for row_id, (least, most) in places[start : start + _HISTORY_KEYS]
            ]
            for row in await self._find({"find": "history", "filter": {"$or": any_of}}):
                image = (row["superseded"], as_document(row))
                found.setdefault(row["key"], []).append(image)
        return found

    async def _scan(
        self,
        collection: str,
        where: dict[str, str],
        limit: int,
        descending: bool,
        projection: dict[str, int] | None,
        bytes_max: int | None = None,
    ) -> list[Document]:
        if limit <= 0:
            self._check_open()
            return []  # for MongoDB it would be no limit
        command: Document = {
            "find": collection,
            "filter": {"_id": where},
            "sort": {"_id": -1 if descending else 1},
            "limit": limit,
        }
        if projection is not None:
            command["projection"] = projection
        return await self._find(command, bytes_max)

    async def _count(self, collection: str, where: dict[str, str], limit: int | None) -> int:
        if limit is not None and limit <= 0:
            return 0
        pipeline: list[Document] = [{"$match": {"_id": where}}]
        if limit is not None:
            pipeline.append({"$limit": limit})
        pipeline.append({"$count": "count"})
        rows = await self._aggregate(collection, pipeline, is_slow=True)
        return rows[0]["count"] if rows else 0

    async def _aggregate(
        self,
        collection: str,
        pipeline: list[Document],
        *,
        is_slow: bool = False,
        hint: str | Document = BY_ID,
    ) -> list[Document]:
        self._check_open()
        command: Document = {
            "aggregate": collection,
            "pipeline": pipeline,
            "cursor": {"batchSize": BATCH_ROWS},
            "hint": hint,
            "readConcern": self._concern,
        }
        return await self._connection.read(command, is_slow=is_slow)

    async def _find(self, command: Document, bytes_max: int | None = None) -> list[Document]:
        self._check_open()
        command["batchSize"] = min(command.get("limit", BATCH_ROWS), BATCH_ROWS)
        command["readConcern"] = self._concern
        return await self._connection.read(command, bytes_max=bytes_max)

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineUnavailable("the snapshot is closed")


async def read_documents(
    connection: MongoConnection,
    ids: Iterable[str],
    concern: Document,
    bytes_max: int | None = None,
) -> dict[str, StoredDocument]:
    """Those of the documents that there are, by `_id`, in as few finds as there may be. With
    `bytes_max` it ends early, soon after they have so many bytes."""
    found: dict[str, StoredDocument] = {}
    different = list(dict.fromkeys(ids))
    for start in range(0, len(different), _FOUND_IDS):
        command: Document = {
            "find": "documents",
            "filter": {"_id": {"$in": different[start : start + _FOUND_IDS]}},
            "batchSize": BATCH_ROWS,
            "readConcern": concern,
        }
        rows = await connection.read(command, bytes_max=bytes_max)
        found.update({row["_id"]: as_document(row) for row in rows})
        if bytes_max is not None and _size(found) >= bytes_max:
            break
    return found


def _size(documents: Mapping[str, StoredDocument]) -> int:
    return sum([len(document.data) for document in documents.values()])


def _image_at(
    current: StoredDocument | None, old: Iterable[tuple[int, StoredDocument]], version: int
) -> StoredDocument | None:
    if current is not None and current.version <= version:
        return current
    for superseded, image in old:
        if image.version <= version < superseded:
            return image
    return None
