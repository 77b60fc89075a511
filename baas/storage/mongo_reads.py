"""Reads: single rows in batches shared by all who ask at once, and snapshots at a cluster time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from bson import Timestamp

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    EngineCorrupt,
    EngineUnavailable,
    EntryRow,
    KeyRange,
    LogRecord,
)
from baas.storage.mongo_client import BATCH_ROWS, Document, MongoConnection
from baas.storage.mongo_layout import IMAGE, Row, Rows, as_document, log_records

T = TypeVar("T")

# More batches at once are smaller ones: each costs the server and the driver nearly the same.
BATCHES_AT_ONCE = 4
BATCH_IDS_MAX = 1_000
_HISTORY_KEYS = 100  # of which one find asks for old images
_JOINED_ROWS_MAX = 200
_JOIN = {
    "$lookup": {
        "from": "documents",
        "localField": "document",
        "foreignField": "_id",
        "as": "found",
    }
}
_LOG_ROWS = 16  # of up to two MiB

Found = tuple[dict[str, T], Timestamp]


class Lookups(Generic[T]):
    """Rows of one collection by name, which is their `_id` or one of an array.

    What is asked within one turn of the event loop, or while batches are on their way, goes out as
    one find (MEASURED.md 6: six times the reads).

    Each batch is read at one instant, after the last of its askers asked: it holds all that was
    acknowledged before.
    """

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        decode: Callable[[Row], T],
        *,
        field: str = "_id",
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._decode = decode
        self._field = field
        self._waiting: list[tuple[Sequence[str], asyncio.Future[Found[T]]]] = []
        self._is_scheduled = False
        self._sending: set[asyncio.Task[None]] = set()

    async def get(self, ids: Sequence[str]) -> Found[T]:
        """The rows that there are, by name (and others, perhaps), and the cluster time of the
        read."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found[T]] = loop.create_future()
        self._waiting.append((ids, future))
        if not self._is_scheduled and len(self._sending) < BATCHES_AT_ONCE:
            self._is_scheduled = True
            loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        self._is_scheduled = False
        batch: list[asyncio.Future[Found[T]]] = []
        wanted: dict[str, None] = {}
        taken = 0
        for ids, future in self._waiting:
            if batch and len(wanted) + len(ids) > BATCH_IDS_MAX:
                break
            taken += 1
            if not future.done():  # nobody waits for a cancelled one
                batch.append(future)
                wanted.update(dict.fromkeys(ids))
        del self._waiting[:taken]
        if batch:
            task = asyncio.ensure_future(self._read(list(wanted), batch))
            self._sending.add(task)
            task.add_done_callback(self._note_done)

    def _note_done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting and not self._is_scheduled:
            self._send()

    async def _read(self, ids: list[str], batch: list[asyncio.Future[Found[T]]]) -> None:
        command: Document = {
            "find": self._collection,
            "filter": {self._field: {"$in": ids} if len(ids) > 1 else ids[0]},
            "batchSize": BATCH_ROWS,
        }
        try:
            rows, time = await self._connection.read_latest(command)
            found = self._by_name(rows), time
        except BaseException as error:
            for future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for future in batch:
            if not future.done():
                future.set_result(found)

    def _by_name(self, rows: Sequence[Row]) -> dict[str, T]:
        decode, field = self._decode, self._field
        if field == "_id":
            return {row["_id"]: decode(row) for row in rows}
        return {name: decode(row) for row in rows for name in row[field]}


class MongoSnapshot:
    """Reads at one cluster time, so nothing is held open. The servers keep old states for
    `minSnapshotHistoryWindowInSeconds`, five minutes by default; EngineUnavailable after that."""

    def __init__(
        self, connection: MongoConnection, rows: Rows, version: int, oldest: int, time: Timestamp
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._version = version
        self._oldest = oldest
        self._concern = {"level": "snapshot", "atClusterTime": time}
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

    async def scan_documents(
        self, span: KeyRange, *, limit: int, descending: bool = False
    ) -> list[StoredDocument]:
        where = self._rows.document_span(span)
        found = await self._scan("documents", where, limit, descending, IMAGE | {"_id": 0})
        return [as_document(row) for row in found]

    async def scan_entries(
        self, index: int, span: KeyRange, *, limit: int, descending: bool = False
    ) -> list[EntryRow]:
        rows = self._rows
        if limit > _JOINED_ROWS_MAX:
            return await self._scan_in_two(index, span, limit, descending)
        if limit <= 0:
            self._check_open()
            return []
        pipeline: list[Document] = [
            {"$match": {"_id": rows.entry_span(index, span)}},
            {"$sort": {"_id": -1 if descending else 1}},
            {"$limit": limit},
            _JOIN,
        ]
        found = await self._aggregate("entries", pipeline)
        try:
            return [
                EntryRow(rows.entry_key(index, row["_id"]), as_document(row["found"][0]))
                for row in found
            ]
        except IndexError as error:
            raise EngineCorrupt("an entry leads to no document") from error

    async def _scan_in_two(
        self, index: int, span: KeyRange, limit: int, descending: bool
    ) -> list[EntryRow]:
        """For many rows: the servers join them slower than two finds do."""
        rows = self._rows
        where = rows.entry_span(index, span)
        found = await self._scan("entries", where, limit, descending, None)
        documents = await self._get([row["document"] for row in found])
        try:
            return [
                EntryRow(rows.entry_key(index, row["_id"]), documents[row["document"]])
                for row in found
            ]
        except KeyError as error:
            raise EngineCorrupt("an entry leads to no document") from error

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count("documents", self._rows.document_span(span), limit)

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._count("entries", self._rows.entry_span(index, span), limit)

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        where = {"$gt": self._rows.log(after), "$lt": self._rows.all()["$lt"]}
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

    async def close(self) -> None:
        self._is_closed = True

    async def _get(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        found: dict[str, StoredDocument] = {}
        different = list(dict.fromkeys(ids))
        for start in range(0, len(different), BATCH_IDS_MAX):
            some = different[start : start + BATCH_IDS_MAX]
            rows = await self._find({"find": "documents", "filter": {"_id": {"$in": some}}})
            found.update({row["_id"]: as_document(row) for row in rows})
        self._check_open()
        return found

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
        return await self._find(command)

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
        self, collection: str, pipeline: list[Document], *, is_slow: bool = False
    ) -> list[Document]:
        self._check_open()
        command: Document = {
            "aggregate": collection,
            "pipeline": pipeline,
            "cursor": {"batchSize": BATCH_ROWS},
            "hint": {"_id": 1},
            "readConcern": self._concern,
        }
        return await self._connection.read(command, is_slow=is_slow)

    async def _find(self, command: Document) -> list[Document]:
        self._check_open()
        command["batchSize"] = min(command.get("limit", BATCH_ROWS), BATCH_ROWS)
        command["readConcern"] = self._concern
        return await self._connection.read(command)

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineUnavailable("the snapshot is closed")


def _image_at(
    current: StoredDocument | None, old: Iterable[tuple[int, StoredDocument]], version: int
) -> StoredDocument | None:
    if current is not None and current.version <= version:
        return current
    for superseded, image in old:
        if image.version <= version < superseded:
            return image
    return None
