"""Makes indexes: on demand, beside running commits, a few milliseconds of the writer at a time.

    wanted ──> registered ──> defined ──────────> back-filled ──────────> ready
               commits        the definition      every older document    queries
               maintain it    is committed        has its entries         use it

Why nothing is missed: the index is registered before its definition is committed, and the
committer takes commits in turn. So once that commit is durable, every earlier commit is durable
too, and every later one has been evaluated with the index; what back-filling reads from then on is
either already maintained or still as it was read, which `engine.backfill` checks row by row.

A crash leaves a definition that is not ready; the next open fills that index again from the start.
Rows are idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from baas.clock import Clock
from baas.database.indexes import (
    INDEXES,
    Index,
    IndexDefinition,
    Indexes,
    decode_definition,
    definition_path,
    encode_definition,
)
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.paths import DocumentPath
from baas.model.values import Fields
from baas.storage.engine import (
    BackfillRow,
    Entry,
    KeyRange,
    Snapshot,
    StorageEngine,
    StorageError,
)

SLICE_FIRST = 100
SLICE_MIN = 10
SLICE_MAX = 1_000
SLICE_SECONDS = 0.005
_DEFINITIONS_MAX = 100_000
_log = structlog.get_logger("baas.indexes")

CommitFields: TypeAlias = Callable[[DocumentPath, Fields], Awaitable[None]]


class IndexBuilder:
    """Builds the indexes of one database, all that are wanted at a time in one pass.

    `commit` makes one document durable through the database's committer; it is used for nothing
    but documents of `__indexes__`.
    """

    def __init__(
        self,
        engine: StorageEngine,
        indexes: Indexes,
        commit: CommitFields,
        *,
        clock: Clock,
        collection_indexes_max: int,
    ) -> None:
        self._engine = engine
        self._indexes = indexes
        self._commit = commit
        self._clock = clock
        self._most = collection_indexes_max
        self._wanted: dict[IndexDefinition, None] = {}
        self._unfinished: list[Index] = []
        self._next_number = 1
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def load(self, snapshot: Snapshot) -> None:
        """Reads the definitions at open, before the first commit; then goes on with what a crash
        left unfinished."""
        span = KeyRange(*keys.collection_span(INDEXES))
        for document in await snapshot.scan_documents(span, limit=_DEFINITIONS_MAX):
            definition, is_ready = decode_definition(document.fields)
            index = Index(int(document.path.id), definition)
            self._next_number = max(self._next_number, index.number + 1)
            self._indexes.add(index)
            if is_ready:
                self._indexes.mark_ready(index)
            else:
                self._unfinished.append(index)
        self._start()

    def request(self, definitions: Sequence[IndexDefinition]) -> None:
        """Wants indexes. Ignored: those that exist or are being made, and those past the limit of
        their collection id."""
        for definition in definitions:
            if definition in self._wanted or self._indexes.find(definition) is not None:
                continue
            collection_id = definition.collection_id
            count = len(self._indexes.of_collection(collection_id)) + sum(
                item.collection_id == collection_id for item in self._wanted
            )
            if count < self._most:
                self._wanted[definition] = None
            else:
                _log.warning(
                    "index not made: the collection has as many as it may",
                    collection=collection_id,
                    maximum=self._most,
                )
        self._start()

    async def wait_made(self, definitions: Sequence[IndexDefinition], *, seconds: float) -> None:
        """Wants indexes and returns once they are ready, could not be made, or time is up."""
        self.request(definitions)
        task = self._task
        if task is not None and any(self._is_coming(definition) for definition in definitions):
            await asyncio.wait([task], timeout=seconds)

    def _is_coming(self, definition: IndexDefinition) -> bool:
        index = self._indexes.find(definition)
        return definition in self._wanted or (index is not None and index.ready_at is None)

    async def wait_idle(self) -> None:
        """Returns when nothing is wanted or being made."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stops; the next open goes on."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> None:
        is_running = self._task is not None and not self._task.done()
        if (self._wanted or self._unfinished) and not is_running and not self._is_closed:
            self._task = asyncio.create_task(self._run(), name="index builder")

    async def _run(self) -> None:
        try:
            while self._wanted or self._unfinished:
                await self._define()
                building, self._unfinished = self._unfinished, []
                if building:
                    await self._fill(building)
        except (StorageError, BaasError) as error:
            # Queries scan meanwhile, and the next one that wants an index starts again.
            _log.warning("indexes not finished", error=str(error))
        except Exception:
            _log.exception("indexes not finished")

    async def _define(self) -> None:
        while self._wanted:
            definition = next(iter(self._wanted))
            number = self._next_number
            self._next_number += 1
            # A crash between registering and defining may have left entries of this number.
            while await self._engine.drop_index(number, limit=SLICE_MAX):
                pass
            index = Index(number, definition)
            self._indexes.add(index)
            del self._wanted[definition]
            try:
                await self._commit(
                    definition_path(number), encode_definition(definition, is_ready=False)
                )
            except BaseException:
                self._indexes.remove(index)
                raise
            self._unfinished.append(index)

    async def _fill(self, building: Sequence[Index]) -> None:
        try:
            await self._backfill(building)
            for index in building:
                await self._commit(
                    definition_path(index.number),
                    encode_definition(index.definition, is_ready=True),
                )
                self._indexes.mark_ready(index)
        except BaseException:
            self._unfinished += [index for index in building if index.ready_at is None]
            raise

    async def _backfill(self, building: Sequence[Index]) -> None:
        by_collection: dict[str, list[Index]] = {}
        for index in building:
            by_collection.setdefault(index.definition.collection_id, []).append(index)
        last = b""
        size = SLICE_FIRST
        while True:
            started = self._clock.monotonic_seconds()
            documents = await self._read(last, size)
            rows = [
                row
                for document in documents
                if (row := _row(document, by_collection.get(document.path.segments[-2], ())))
            ]
            if rows:
                await self._engine.backfill(rows)
            if len(documents) < size:
                return
            last = keys.document_key(documents[-1].path) + b"\x00"
            seconds = self._clock.monotonic_seconds() - started
            size = _next_size(size, seconds)
            await asyncio.sleep(0)

    async def _read(self, start: bytes, limit: int) -> list[StoredDocument]:
        # A fresh snapshot per slice: one held throughout would keep the store from tidying up.
        snapshot = await self._engine.open_snapshot()
        try:
            return await snapshot.scan_documents(KeyRange(start, None), limit=limit)
        finally:
            await snapshot.close()


def _row(document: StoredDocument, indexes: Sequence[Index]) -> BackfillRow | None:
    entries = [
        Entry(index.number, key)
        for index in indexes
        for key in index.entry_keys(document.path, document.fields)
    ]
    if not entries:
        return None
    return BackfillRow(keys.document_key(document.path), document.version, entries)


def _next_size(size: int, seconds: float) -> int:
    if seconds > SLICE_SECONDS:
        return max(SLICE_MIN, size // 2)
    if seconds < SLICE_SECONDS / 2:
        return min(SLICE_MAX, size * 2)
    return size
