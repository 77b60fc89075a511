"""Makes indexes: on demand, beside running commits, a few milliseconds of the writer at a time.

    wanted ──> defined ───────────────────> back-filled ──────────> ready
               the definition is committed; every older document    queries
               later commits maintain it    has its entries         use it

Why nothing is missed: a definition takes effect when its commit is published, and no commit is made
ready between the two: a group ends with it, and another node that has not heard of it is outrun and
hears of it first. So every commit above the definition's version maintains the index, and every one
below is visible to back-filling; what that reads is either maintained already or still as it was
read, which `engine.backfill` checks row by row. Several nodes may fill one index at the same time.

A crash leaves a definition that is not ready; whoever needs it next fills it again from the start.
Rows are idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

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
from baas.database.log import CommitEvent
from baas.database.transaction import Transaction
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.writes import SetWrite
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
SHARED_SLICE_SECONDS = 0.05  # of an engine that is away: half of it is waiting for answers
TAKE_OVER_SECONDS = 30.0  # what another node has begun is left to it for so long
_DEFINITIONS_MAX = 100_000
_COUNTER = INDEXES.document("next")  # of numbers; who defines an index changes it
_log = structlog.get_logger("baas.indexes")

T = TypeVar("T")


class RunAlone(Protocol):
    """Runs a transaction through the database's committer, the last one of its group."""

    async def __call__(self, body: Callable[[Transaction], Awaitable[T]]) -> T: ...


class IndexBuilder:
    """Builds the indexes of one database, all that are wanted at a time in one pass.

    `run` is used for nothing but documents of `__indexes__`. `on_commit` is to be called with each
    commit as it is published: that is how definitions take effect.
    """

    def __init__(
        self,
        engine: StorageEngine,
        indexes: Indexes,
        run: RunAlone,
        *,
        clock: Clock,
        collection_indexes_max: int,
    ) -> None:
        self._engine = engine
        self._indexes = indexes
        self._run_alone = run
        self._clock = clock
        self._most = collection_indexes_max
        self._wanted: dict[IndexDefinition, None] = {}
        self._unfinished: list[Index] = []
        self._begun_elsewhere: dict[Index, float] = {}  # and when it was heard of
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def load(self, snapshot: Snapshot) -> None:
        """Reads the definitions at open, before the first commit, and whenever commits were missed;
        then goes on with what a crash left unfinished."""
        span = KeyRange(*keys.collection_span(INDEXES))
        for document in await snapshot.scan_documents(span, limit=_DEFINITIONS_MAX):
            self._learn(document)
        if not self._engine.is_shared:
            self._unfinished += self._begun_elsewhere
            self._begun_elsewhere.clear()
        self._start()

    def on_commit(self, event: CommitEvent) -> None:
        """Puts definitions into effect, of this node and of others."""
        changes = event.changes
        if changes and changes[0].path.segments[0] == INDEXES.segments[0]:
            for change in changes:
                if change.new is not None:
                    self._learn(change.new)

    def _learn(self, document: StoredDocument) -> None:
        if document.path == _COUNTER:
            return
        definition, is_ready = decode_definition(document.fields)
        index = self._indexes.find(definition)
        if index is None:
            index = Index(int(document.path.id), definition)
            self._indexes.add(index)
            if not is_ready:
                self._begun_elsewhere[index] = self._clock.monotonic_seconds()
        if is_ready and index.ready_at is None:
            self._begun_elsewhere.pop(index, None)
            self._indexes.mark_ready(index)

    def request(self, definitions: Sequence[IndexDefinition]) -> None:
        """Wants indexes. Ignored: those that exist or are being made, and those past the limit of
        their collection id."""
        for definition in definitions:
            index = self._indexes.find(definition)
            if index is not None:
                self._take_over(index)
            if definition in self._wanted or index is not None:
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

    def _take_over(self, index: Index) -> None:
        """Who began may be gone. If not, both fill it, which harms nothing."""
        begun = self._begun_elsewhere.get(index)
        if begun is not None and self._clock.monotonic_seconds() - begun > TAKE_OVER_SECONDS:
            del self._begun_elsewhere[index]
            self._unfinished.append(index)

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
            del self._wanted[definition]
            if not await self._run_alone(self._defining(definition)):
                continue  # another node was first
            index = self._indexes.find(definition)
            assert index is not None, "a definition takes effect before its commit is answered"
            if self._begun_elsewhere.pop(index, None) is not None:
                self._unfinished.append(index)

    def _defining(self, definition: IndexDefinition) -> Callable[[Transaction], Awaitable[bool]]:
        """Gives the index a number that no other has. All who define read and change the counter,
        so when this is run in its turn, all definitions before it are in effect here."""

        async def body(transaction: Transaction) -> bool:
            (counter,) = await transaction.get_documents([_COUNTER])
            if self._indexes.find(definition) is not None:
                return False
            known = max([index.number for index in self._indexes], default=0)
            counted = 0 if counter is None else counter.fields["next"]
            assert isinstance(counted, int)
            number = max(known + 1, counted)
            await transaction.write(
                [
                    SetWrite(
                        definition_path(number), encode_definition(definition, is_ready=False)
                    ),
                    SetWrite(_COUNTER, {"next": number + 1}),
                ]
            )
            return True

        return body

    async def _fill(self, building: Sequence[Index]) -> None:
        try:
            await self._backfill(building)
            for index in building:
                await self._run_alone(_readying(index))
        except BaseException:
            self._unfinished += [index for index in building if index.ready_at is None]
            raise

    async def _backfill(self, building: Sequence[Index]) -> None:
        by_collection: dict[str, list[Index]] = {}
        for index in building:
            by_collection.setdefault(index.definition.collection_id, []).append(index)
        last = b""
        size = SLICE_FIRST
        aim = SHARED_SLICE_SECONDS if self._engine.is_shared else SLICE_SECONDS
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
            size = _next_size(size, seconds, aim)
            await asyncio.sleep(0)

    async def _read(self, start: bytes, limit: int) -> list[StoredDocument]:
        # A fresh snapshot per slice: one held throughout would keep the store from tidying up.
        snapshot = await self._engine.open_snapshot()
        try:
            return await snapshot.scan_documents(KeyRange(start, None), limit=limit)
        finally:
            await snapshot.close()


def _readying(index: Index) -> Callable[[Transaction], Awaitable[None]]:
    fields = encode_definition(index.definition, is_ready=True)

    async def body(transaction: Transaction) -> None:
        await transaction.write([SetWrite(definition_path(index.number), fields)])

    return body


def _row(document: StoredDocument, indexes: Sequence[Index]) -> BackfillRow | None:
    entries = [
        Entry(index.number, key)
        for index in indexes
        for key in index.entry_keys(document.path, document.fields)
    ]
    if not entries:
        return None
    return BackfillRow(keys.document_key(document.path), document.version, entries)


def _next_size(size: int, seconds: float, aim: float) -> int:
    if seconds > aim:
        return max(SLICE_MIN, size // 2)
    if seconds < aim / 2:
        return min(SLICE_MAX, size * 2)
    return size
