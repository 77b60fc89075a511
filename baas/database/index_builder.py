"""Makes indexes and drops them: beside running commits, a few milliseconds of the writer at a time.

    wanted ──> defined ───────────────────> back-filled ──────────> ready ──> dropped ─> gone
               the record is committed;     every older document    queries   nobody     entries
               later commits maintain it    has its entries         use it    does       deleted

Why nothing is missed: a definition takes effect when its commit is published, and no commit is made
ready between the two: a group ends with it, and another node that has not heard of it is outrun and
hears of it first. So every commit above the definition's version maintains the index, and every one
below is visible to back-filling; what that reads is either maintained already or still as it was
read, which `engine.backfill` checks row by row. Several nodes may fill one index at the same time.

A crash leaves a definition that is not ready; who opens the database fills it again from the start,
and where there are several nodes, who needs it next, or tidies up. Rows are idempotent.

Why a dropped index never answers: it takes effect as its commit is published, and no plan is made
on it from then on. A query that runs on it reads a snapshot from before, in which its entries stay.
Another node may plan on it until it hears of the commit: entries are deleted DROP_GRACE_SECONDS
later, and a node whose snapshot is ahead of what it has heard, and that has not caught up for
STALE_SECONDS_MAX, does so before it plans (`Database.open_snapshot`). Numbers are not used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from baas.clock import Clock
from baas.database.index_demand import TRUSTED, Asked, Asker, IndexDemand
from baas.database.index_filling import SLICE_FIRST, IndexFiller, next_size
from baas.database.index_records import COUNTER, RunAlone, changing, defining, removing
from baas.database.index_room import IndexRoom
from baas.database.indexes import (
    INDEXES,
    Index,
    IndexDefinition,
    Indexes,
    IndexRecord,
    decode_record,
)
from baas.database.log import CommitEvent, CommitFeed
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.words import TOKENIZER
from baas.storage.engine import (
    KeyRange,
    Snapshot,
    StorageEngine,
    StorageError,
)

TAKE_OVER_SECONDS = (
    30.0  # what another node has begun is left to it for so long since it told of it
)
DROP_GRACE_SECONDS = 600.0  # until then other nodes may still plan on what was dropped
_DEFINITIONS_MAX = 100_000
_log = structlog.get_logger("baas.indexes")

T = TypeVar("T")


@dataclass(slots=True)
class _Wish:
    asked: Asked
    is_pinned: bool


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
        document_entries_max: int = 200_000,
    ) -> None:
        self._engine = engine
        self.indexes = indexes
        self.run_alone = run
        self.clock = clock
        self.collection_indexes_max = collection_indexes_max
        self._filler = IndexFiller(
            engine, indexes, run, clock=clock, document_entries_max=document_entries_max
        )
        self._demand = IndexDemand(clock)
        self._room = IndexRoom(clock)
        self._wanted: dict[IndexDefinition, _Wish] = {}
        self._unfinished: list[Index] = []
        self._unwanted: list[Index] = []
        self._dropped: dict[int, float] = {}  # numbers, and when their entries may be deleted
        self._begun_elsewhere: dict[Index, float] = {}  # and when it was last heard of
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    # What there is --------------------------------------------------------------------------------

    async def load(self, snapshot: Snapshot) -> None:
        """Reads the records at open, before the first commit, and whenever commits were missed;
        then goes on with what a crash left unfinished."""
        span = KeyRange(*keys.collection_span(INDEXES))
        documents = await snapshot.scan_documents(span, limit=_DEFINITIONS_MAX)
        known = {document.path.id for document in documents}
        for index in self.indexes:
            if str(index.number) not in known:
                self._forget(index)
        for document in documents:
            self._learn(document)
        if not self._engine.is_shared:
            self._unfinished += self._begun_elsewhere
            self._begun_elsewhere.clear()
        self._renew()
        self.go_on()

    def _renew(self) -> None:
        """Has indexes made anew whose words were found in another way than they are now: nobody
        could use them, and what they hold of a document would not be found to be taken away."""
        for index in self.indexes:
            definition = index.definition
            is_old = definition.words and definition.tokenizer != TOKENIZER
            if is_old and index not in self._unwanted:
                self._unwanted.append(index)
                wish = _Wish(self._trusted(), index.is_pinned)
                self._wanted[replace(definition, tokenizer=TOKENIZER)] = wish

    def follow(self, feed: CommitFeed) -> None:
        """Hears of records in reserved collections, which any commit is read for."""
        feed.subscribe(self.on_commit, keep_open=False, is_listening=lambda: False)

    def on_commit(self, event: CommitEvent) -> None:
        """Puts records into effect, of this node and of others."""
        changes = event.changes
        if changes and changes[0].path.segments[0] == INDEXES.segments[0]:
            for change in changes:
                if change.new is not None:
                    self._learn(change.new)
                elif change.path != COUNTER:
                    self._dropped.pop(int(change.path.id), None)

    def _learn(self, document: StoredDocument) -> None:
        if document.path == COUNTER:
            return
        record = decode_record(document.fields, written=document.version)
        number = int(document.path.id)
        index = self.indexes.find(record.definition)
        if record.is_dropped:
            if index is not None and index.number == number:
                self._forget(index)
            grace = DROP_GRACE_SECONDS if self._engine.is_shared else 0.0
            self._dropped.setdefault(number, self.clock.monotonic_seconds() + grace)
            return
        if index is not None and index.number != number:
            self._forget(index)  # dropped and made again while this node was away
            index = None
        if index is None:
            index = Index(number, record.definition)
            self.indexes.add(index)
            if record.is_restored and not record.is_ready:
                self._unfinished.append(index)  # who else opens it fills it too, which is no harm
            elif not record.is_ready:
                self._begun_elsewhere[index] = self.clock.monotonic_seconds()
        elif index in self._begun_elsewhere:
            self._begun_elsewhere[index] = self.clock.monotonic_seconds()
        index.is_pinned = record.is_pinned
        index.told_at = record.used
        index.used_at = max(index.used_at, record.used)
        if record.is_ready and index.ready_at is None:
            self._begun_elsewhere.pop(index, None)
            self.indexes.mark_ready(index)

    def _forget(self, index: Index) -> None:
        self.indexes.remove(index)
        self._room.forget(index)
        self._begun_elsewhere.pop(index, None)

    # What is wanted -------------------------------------------------------------------------------

    def want(
        self, definitions: Sequence[IndexDefinition], documents: int, asker: Asker = TRUSTED
    ) -> Sequence[IndexDefinition]:
        """Notes that a query lacked indexes and had so many documents to read. Gives back those
        that are being made, now or already: queries of their shape come again and again."""
        for definition in definitions:
            if self.is_coming(definition):
                self._request(definition, self._trusted())
                continue
            asked = self._demand.note(definition, documents, asker)
            if asked is not None:
                self._request(definition, asked)
        self.go_on()
        return [definition for definition in definitions if self.is_coming(definition)]

    def request(self, definitions: Sequence[IndexDefinition], *, pinned: bool = False) -> None:
        """Has indexes made, for the server itself. Ignored: those that exist or are being made, and
        those that find no place."""
        for definition in definitions:
            self._request(definition, self._trusted(), pinned=pinned)
        self.go_on()

    def _trusted(self) -> Asked:
        now = self.clock.monotonic_seconds()
        return Asked(now, now, times=1, askers={TRUSTED})

    def _request(self, definition: IndexDefinition, asked: Asked, *, pinned: bool = False) -> None:
        index = self.indexes.find(definition)
        if index is not None:
            self._take_over(index)
        elif definition in self._wanted:
            self._wanted[definition].is_pinned |= pinned
        elif self._find_place(definition, asked):
            self._wanted[definition] = _Wish(asked, pinned)
            self._demand.forget(definition)
        elif not asked.is_told:
            asked.is_told = True
            _log.warning(
                "index not made: the collection has as many as it may",
                index=str(definition),
                maximum=self.collection_indexes_max,
            )

    def make_room(self, collection_id: str) -> bool:
        """Whether there is room for an index that an administrator wants: the one that was used the
        longest ago is dropped for it, unless it is pinned."""
        coming = sum(item.collection_id == collection_id for item in self._wanted)
        count = coming + len(self._there(collection_id))
        if count < self.collection_indexes_max:
            return True
        self.indexes.note_uses(self.clock.now_microseconds())
        spare = [index for index in self._there(collection_id) if index.is_spare]
        if count > self.collection_indexes_max or not spare:
            return False
        self._unwanted.append(min(spare, key=lambda index: index.used_at))
        return True

    def _there(self, collection_id: str) -> list[Index]:
        found = self.indexes.of_collection(collection_id)
        return [index for index in found if index not in self._unwanted]

    def _find_place(self, definition: IndexDefinition, asked: Asked) -> bool:
        self.indexes.note_uses(self.clock.now_microseconds())
        coming = [
            one.asked
            for other, one in self._wanted.items()
            if other.collection_id == definition.collection_id
        ]
        has_place, outranked = self._room.find(
            asked,
            self._there(definition.collection_id),
            coming,
            self.collection_indexes_max,
        )
        if outranked is not None:
            self._unwanted.append(outranked)
        return has_place

    def _take_over(self, index: Index) -> None:
        """Who began may be gone. If not, both fill it, which harms nothing."""
        begun = self._begun_elsewhere.get(index)
        if begun is not None and self.clock.monotonic_seconds() - begun > TAKE_OVER_SECONDS:
            del self._begun_elsewhere[index]
            self._unfinished.append(index)

    def take_over_left(self) -> None:
        """Goes on with what others began and tell nothing of any more: it may be that nobody asks
        for it, such as policies of expiry, which wait until it is there."""
        for index in list(self._begun_elsewhere):
            self._take_over(index)
        self.go_on()

    async def wait_made(self, definitions: Sequence[IndexDefinition], *, seconds: float) -> None:
        """Returns once these are ready, cannot be made, or time is up."""
        task = self._task
        if task is not None and any(self.is_coming(definition) for definition in definitions):
            await asyncio.wait([task], timeout=seconds)

    def is_coming(self, definition: IndexDefinition) -> bool:
        """Whether an index is wanted, or being filled."""
        index = self.indexes.find(definition)
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

    def go_on(self) -> None:
        """Does what there is to do, and is due, in the background."""
        is_running = self._task is not None and not self._task.done()
        if self._has_work() and not is_running and not self._is_closed:
            self._task = asyncio.create_task(self._run(), name="index builder")

    def _has_work(self) -> bool:
        return bool(self._wanted or self._unfinished or self._unwanted or self._due())

    def _due(self) -> list[int]:
        now = self.clock.monotonic_seconds()
        return [number for number, at in self._dropped.items() if at <= now]

    async def _run(self) -> None:
        try:
            while self._has_work():
                await self._drop_unwanted()
                await self._define()
                building, self._unfinished = self._unfinished, []
                if building:
                    await self._fill(building)
                for number in self._due():
                    await self._delete(number)
        except (StorageError, BaasError) as error:
            # Queries scan meanwhile, and the next one that wants an index starts again.
            _log.warning("indexes not finished", error=str(error))
        except Exception:
            _log.exception("indexes not finished")

    async def _define(self) -> None:
        while self._wanted:
            definition = next(iter(self._wanted))
            wish = self._wanted.pop(definition)
            index = await self._define_one(definition, pinned=wish.is_pinned)
            if index is not None:
                self._room.note_made(index, wish.asked)

    async def build(self, definition: IndexDefinition, *, pinned: bool) -> None:
        """Defines an index, unless there is one, and has it filled."""
        await self._define_one(definition, pinned=pinned)
        self.go_on()

    async def _define_one(self, definition: IndexDefinition, *, pinned: bool) -> Index | None:
        """The index, if it was not there."""
        record = IndexRecord(definition, is_pinned=pinned, used=self.clock.now_microseconds())
        if not await self.run_alone(defining(self.indexes, record)):
            return None  # another node, or an administrator, was first
        index = self.indexes.find(definition)
        assert index is not None, "a record takes effect before its commit is answered"
        if self._begun_elsewhere.pop(index, None) is not None:
            self._unfinished.append(index)
        return index

    async def _drop_unwanted(self) -> None:
        while self._unwanted:
            await self.run_alone(changing(self._unwanted[-1], is_dropped=True))
            self._unwanted.pop()

    async def _delete(self, number: int) -> None:
        """Deletes the entries of a dropped index, then its record."""
        size = SLICE_FIRST
        while True:
            started = self.clock.monotonic_seconds()
            if not await self._engine.drop_index(number, limit=size):
                break
            size = next_size(size, self.clock.monotonic_seconds() - started, self._engine)
            await asyncio.sleep(0)
        await self.run_alone(removing(number))
        self._dropped.pop(number, None)

    async def _fill(self, building: Sequence[Index]) -> None:
        try:
            await self._filler.fill(building)
            for index in self._filler.still_wanted(building):
                await self.run_alone(changing(index, is_ready=True))
        except BaseException:
            self._unfinished += [
                index for index in self._filler.still_wanted(building) if index.ready_at is None
            ]
            raise
