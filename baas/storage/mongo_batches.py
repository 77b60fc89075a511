"""What many ask for at once, read by one command: rows by name, and snapshots with their first
scans."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bson import Timestamp

from baas.encoding.documents import StoredDocument
from baas.ending import only_own_cancellations
from baas.storage.mongo_client import BATCH_ROWS, MongoConnection
from baas.storage.mongo_layout import Row, RowScan
from baas.storage.mongo_reads import read_documents
from baas.storage.mongo_wire import Document

T = TypeVar("T")
Asked = TypeVar("Asked")
Told = TypeVar("Told")

# More batches at once are smaller ones: each costs the server and the driver nearly the same.
BATCHES_AT_ONCE = 4
BATCH_ROWS_MAX = 1_000
OPENING_ROWS_MAX = 200  # of a scan that goes with others
OPENING_BYTES_MAX = 8 * 1024 * 1024  # of all that go together; what has more is asked again

Found = tuple[dict[str, T], Timestamp]


class Batches(ABC, Generic[Asked, Told]):
    """What is asked within one turn of the event loop, or while batches are on their way, goes out
    as one command (MEASURED.md 6: six times the reads).

    Each batch is read at one instant, after the last of its askers asked: it holds all that was
    acknowledged before.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._waiting: list[
            tuple[Asked, Mapping[Hashable, int], asyncio.Future[Told]]
        ] = []  # with the sizes of what they ask for
        self._is_scheduled = False
        self._sending: set[asyncio.Task[None]] = set()

    @abstractmethod
    def _sizes(self, asked: Asked) -> Mapping[Hashable, int]:
        """What has to be read, and how many rows that is. The same is read once for all."""

    @abstractmethod
    async def _read(self, batch: Sequence[Asked]) -> Sequence[Told]:
        """The answers, in order."""

    async def _ask(self, asked: Asked) -> Told:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Told] = loop.create_future()
        self._waiting.append((asked, self._sizes(asked), future))
        if not self._is_scheduled and len(self._sending) < BATCHES_AT_ONCE:
            self._is_scheduled = True
            loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        self._is_scheduled = False
        batch: list[tuple[Asked, asyncio.Future[Told]]] = []
        wanted: set[Hashable] = set()
        rows = taken = 0
        for asked, sizes, future in self._waiting:
            if not future.done():  # nobody waits for a cancelled one
                rows += sum([size for name, size in sizes.items() if name not in wanted])
                if batch and rows > BATCH_ROWS_MAX:
                    break
                wanted.update(sizes)
                batch.append((asked, future))
            taken += 1
        del self._waiting[:taken]
        if batch:
            task = asyncio.ensure_future(self._answer(batch))
            self._sending.add(task)
            task.add_done_callback(self._note_done)

    def _note_done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting and not self._is_scheduled:
            self._send()

    async def _answer(self, batch: Sequence[tuple[Asked, asyncio.Future[Told]]]) -> None:
        try:
            with only_own_cancellations():
                answers = await self._read([asked for asked, _ in batch])
            told = list(zip(batch, answers, strict=True))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), answer in told:
            if not future.done():
                future.set_result(answer)


class Lookups(Batches[Sequence[str], Found[T]]):
    """Rows of one collection by name, which is their `_id` or one of an array."""

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        decode: Callable[[Row], T],
        *,
        field: str = "_id",
    ) -> None:
        super().__init__(connection)
        self._collection = collection
        self._decode = decode
        self._field = field

    async def get(self, ids: Sequence[str]) -> Found[T]:
        """The rows that there are, by name (and others, perhaps), and the cluster time of the
        read."""
        return await self._ask(ids)

    def _sizes(self, asked: Sequence[str]) -> Mapping[Hashable, int]:
        return dict.fromkeys(asked, 1)

    async def _read(self, batch: Sequence[Sequence[str]]) -> Sequence[Found[T]]:
        ids = list(dict.fromkeys([name for names in batch for name in names]))
        command: Document = {
            "find": self._collection,
            "filter": {self._field: {"$in": ids} if len(ids) > 1 else ids[0]},
            "batchSize": BATCH_ROWS,
        }
        rows, time, _ = await self._connection.read_latest(command)
        return [(self._by_name(rows), time)] * len(batch)

    def _by_name(self, rows: Sequence[Row]) -> dict[str, T]:
        decode, field = self._decode, self._field
        if field == "_id":
            return {row["_id"]: decode(row) for row in rows}
        return {name: decode(row) for row in rows for name in row[field]}


@dataclass(frozen=True, slots=True)
class Opened:
    """A head, if there is one, and what a scan found at the same cluster time; None if that was too
    large to come with it."""

    head: Row | None
    found: Sequence[Any] | None
    time: Timestamp


class Openings(Batches[tuple[str, RowScan], Opened]):
    """Heads of snapshots, each with what its first scan finds: one command for all of them, and
    where there are entries one more for all their documents. The same scan is made once for all
    who ask for it, and what several lead to is read once."""

    async def open(self, head_id: str, scan: RowScan) -> Opened:
        return await self._ask((head_id, scan))

    def _sizes(self, asked: tuple[str, RowScan]) -> Mapping[Hashable, int]:
        return {asked[1]: asked[1].limit}

    async def _read(self, batch: Sequence[tuple[str, RowScan]]) -> Sequence[Opened]:
        heads = list(dict.fromkeys([head_id for head_id, _ in batch]))
        scans = list(dict.fromkeys([scan for _, scan in batch]))
        pipeline: list[Document] = [{"$match": {"_id": {"$in": heads}}}]
        for number, scan in enumerate(scans):
            marked = [*scan.pipeline(), {"$set": {"scan": number}}]
            pipeline.append({"$unionWith": {"coll": scan.collection, "pipeline": marked}})
        command = {"aggregate": "heads", "pipeline": pipeline, "cursor": {"batchSize": BATCH_ROWS}}
        rows, time, is_cut = await self._connection.read_latest(
            command, bytes_max=OPENING_BYTES_MAX
        )
        by_scan: list[list[Row]] = [[] for _ in scans]
        by_head: dict[str, Row] = {}
        for row in rows:
            if "scan" in row:
                by_scan[row["scan"]].append(row)
            else:
                by_head[row["_id"]] = row
        whole = len(scans)
        if is_cut:  # they come one after the other
            whole = max([row.get("scan", 0) for row in rows])
        documents = await self._read_documents(scans[:whole], by_scan, time)
        may_be_cut = sum([len(one.data) for one in documents.values()]) >= OPENING_BYTES_MAX
        found = {
            scan: scan.decode(by_scan[number], documents)
            for number, scan in enumerate(scans[:whole])
            if not may_be_cut or _has_all(scan, by_scan[number], documents)
        }
        return [Opened(by_head.get(head_id), found.get(scan), time) for head_id, scan in batch]

    async def _read_documents(
        self, scans: Sequence[RowScan], by_scan: Sequence[Sequence[Row]], time: Timestamp
    ) -> dict[str, StoredDocument]:
        """What the entries lead to. Joined by the servers (`$lookup`), each entry would be a query
        of its own: twice the processor time."""
        ids = [
            row["document"]
            for scan, rows in zip(scans, by_scan, strict=False)
            if scan.collection == "entries"
            for row in rows
        ]
        concern = {"level": "snapshot", "atClusterTime": time}
        bytes_max = OPENING_BYTES_MAX
        return await read_documents(self._connection, ids, concern, bytes_max) if ids else {}


def _has_all(scan: RowScan, rows: Sequence[Row], documents: Mapping[str, StoredDocument]) -> bool:
    return scan.collection == "documents" or all(row["document"] in documents for row in rows)
