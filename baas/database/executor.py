"""Runs queries over one engine snapshot: scans, merges, checks, orders, counts.

What comes out is what filtering and sorting all documents of the collection would give: where
keys were cut, or filters are not expressed by a range, every document is checked against the whole
query.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from heapq import heapify, heappop, heapreplace
from typing import Any, TypeAlias

from baas.database.budget import ReadBudget
from baas.database.corpora import Corpora
from baas.database.index_demand import LARGE_DOCUMENTS
from baas.database.indexes import IndexDefinition, Indexes, IndexKind, is_reserved
from baas.database.near import NearReader
from baas.database.planner import (
    CollectionScan,
    Gaps,
    IndexScan,
    NameScan,
    NearScan,
    Plan,
    PointGet,
    Scan,
    WordScan,
    is_countable,
)
from baas.database.plans import Plans, single_scan
from baas.database.postings import PostingsReader
from baas.database.presentation import present_all, project
from baas.database.search import SearchRun
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import DeadlineExceeded, QuotaExceeded
from baas.model.queries import Query, effective_orders
from baas.model.query_matching import matches
from baas.model.query_order import document_order, get_field
from baas.model.values import Reference
from baas.settings import Limits
from baas.storage.engine import EntryRow, KeyRange, Snapshot, are_last

BATCH_FIRST = 64
BATCH_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024  # of a batch, which ends soon after it has so many
MERGED_FIRST = 4  # documents that each of several scans reads at least
GATHERED_BYTES_MAX = 64 * 1024 * 1024  # of whole documents that are kept to be sorted
PARTS_BYTES_MAX = 4 * GATHERED_BYTES_MAX  # of what they are ordered by, where they are larger
RUN_BYTES_MAX = GATHERED_BYTES_MAX  # of documents whose keys were cut in the same place
_WHOLE_AT_ONCE = 16  # of large documents that are read again
SCAN_SLICE = 250  # documents of a collection that are looked at on the loop; more go to a thread
SORT_ON_LOOP_MAX = 2_000
INDEX_AFTER_SCANNED = 100  # a collection that is read faster than an index is kept needs none

Documents: TypeAlias = list[StoredDocument]
# Which indexes a query lacks, and how many documents it has to read for that (or more): gives back
# those that are being made.
MissingIndexes: TypeAlias = Callable[[Sequence[IndexDefinition], int], Sequence[IndexDefinition]]


class QueryExecutor:
    """Queries over one snapshot, opened **after** `generation` was read from `indexes`.

    `on_missing` is told which indexes would have spared reading a large collection. `scan_gate` is
    shared by the executors of a database: it bounds how many gather and sort a whole collection.
    `plans` are kept from one snapshot to the next; `budget` bounds how long is read what no index
    serves; `corpora` are kept, too. Queries are taken as checked. Does not close the snapshot.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        indexes: Indexes,
        generation: int,
        *,
        on_missing: MissingIndexes | None = None,
        scan_gate: asyncio.Semaphore | None = None,
        budget: ReadBudget | None = None,
        index_after_scanned: int = INDEX_AFTER_SCANNED,
        plans: Plans | None = None,
        corpora: Corpora | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._plans = plans or Plans(indexes)
        self._generation = generation
        self._on_missing = on_missing
        self._scan_gate = scan_gate or asyncio.Semaphore()
        self.budget = budget
        self._index_after_scanned = index_after_scanned
        self._corpora = corpora or Corpora(indexes, lambda: snapshot.version, Limits())
        self._told: set[tuple[IndexDefinition, ...]] = set()
        self._planned: tuple[Query, Plan] | None = None
        self.used: list[Plan] | None = None  # plans that were read by, if they are noted

    def plan(self, query: Query) -> Plan:
        """How the query is answered."""
        known = self._planned
        if known is None or known[0] is not query:
            known = self._planned = (query, self._plans.plan(query, self._generation))
        return known[1]

    def _use(self, query: Query) -> Plan:
        plan = self.plan(query)
        if self.used is not None:
            self.used.append(plan)
        return plan

    async def run_query(self, query: Query) -> Documents:
        """The whole answer, in order."""
        found: Documents = []
        async for batch in self.stream(query):
            found += batch
        return found

    async def stream(self, query: Query) -> AsyncGenerator[Documents]:
        """The answer in batches that are never empty, read as they are asked for."""
        async with aclosing(self._answer(query)) as answer:
            while (batch := await answer.next_batch()) is not None:
                if batch:
                    yield batch

    async def read_first(self, query: Query, *, bytes_max: int) -> tuple[Documents, bool]:
        """The first documents of the answer, at least one, as many as fit into `bytes_max`; and
        whether more were left out because of their size."""
        found = await self._read_at_once(query, bytes_max)
        if found is not None and sum([len(document.data) for document in found]) <= bytes_max:
            return found, False
        found = []
        size = 0
        async with aclosing(self._answer(query)) as answer:
            while (batch := await answer.next_batch()) is not None:
                for document in batch:
                    size += len(document.data)
                    if size > bytes_max and found:
                        return found, True
                    found.append(document)
        return found, False

    async def _read_at_once(self, query: Query, bytes_max: int) -> Documents | None:
        """The answer, if one small scan is all of it, or what of it has more than `bytes_max`; None
        for all others."""
        first = single_scan(query, self.plan(query))
        if first is None or query.limit is None:
            return None
        span, limit, descending = first.span, first.limit, first.descending
        # One byte past the bound tells that there is more than fits.
        bound = bytes_max + 1
        if first.index is None:
            return await self._snapshot.scan_documents(
                span, limit=limit, descending=descending, bytes_max=bound
            )
        rows = await self._snapshot.scan_entries(
            first.index, span, limit=limit, descending=descending, bytes_max=bound
        )
        if max(map(len, [row.key for row in rows]), default=0) >= keys.KEY_BYTES_MAX:
            return None  # a key that was cut does not say it all
        return [row.document for row in rows]

    def _answer(self, query: Query) -> _Answer:
        wanted = None if query.limit is None else query.limit + query.offset
        return _Answer(query, self._ordered(query, self._use(query), wanted))

    async def find_missing(self, query: Query) -> Sequence[IndexDefinition]:
        """The indexes without which this query would read a large collection, and which are being
        made; none if it need not. Costs no more than a small query, or once some more."""
        plan = self.plan(query)
        if not isinstance(plan, CollectionScan) or not plan.missing:
            return ()
        span, sizes, few = plan.span, self._plans.sizes, self._index_after_scanned
        count = self._snapshot.count_documents
        if not sizes.is_large(span) and await count(span, limit=few + 1) <= few:
            return ()
        size = await sizes.count(span, lambda: count(span, limit=LARGE_DOCUMENTS))
        return self._tell_missing(plan, size)

    def ignore_missing(self) -> None:
        """Nobody is told from now on: it was, of another try of the same request."""
        self._on_missing = None

    def _tell_missing(self, plan: CollectionScan, documents: int) -> Sequence[IndexDefinition]:
        """Tells once of each shape, and again of a large collection."""
        if self._on_missing is None or not plan.missing:
            return ()
        if plan.missing in self._told and documents < LARGE_DOCUMENTS:
            return ()
        self._told.add(plan.missing)
        return self._on_missing(plan.missing, documents)

    async def count(self, query: Query, *, up_to: int | None = None) -> int:
        """The number of documents in the answer, counting no further than `up_to`."""
        most = _least(query.limit, up_to)
        if most == 0:
            return 0
        wanted = None if most is None else most + query.offset
        plan = self._use(query)
        if query.search is not None:
            total = await self._run_search(query, plan).count(wanted)
        elif is_countable(query, plan):
            assert not isinstance(plan, CollectionScan)
            total = await self._count_keys(plan[0], wanted)
        else:
            total = 0
            async with aclosing(self._unordered(query, plan, wanted)) as source:
                while (batch := await source.next_batch()) is not None:
                    total += len(batch)
                    if wanted is not None and total >= wanted:
                        break
        total = max(0, total - query.offset)
        return total if most is None else min(total, most)

    async def stream_unordered(self, query: Query) -> AsyncGenerator[Documents]:
        """As `stream`, in any order, of a query without offset and limit: nothing is kept."""
        async with aclosing(self._stream_plan(query, self._use(query))) as batches:
            async for batch in batches:
                yield batch

    async def is_small(self, query: Query, most: int) -> bool:
        """Whether at most `most` keys have to be looked at to count the answer. Looks at no more
        than that itself."""
        plan = self.plan(query)
        if query.search is not None:
            return False  # what its entries leave is not known before they are read
        left = most
        for scan in [plan] if isinstance(plan, CollectionScan) else plan:
            left -= await self._count_keys(scan, left + 1)
            if left < 0:
                return False
        return True

    async def _count_keys(self, scan: Scan | CollectionScan, wanted: int | None) -> int:
        """The keys that the scan would read, counted no further than `wanted`."""
        if isinstance(scan, PointGet):
            return 1
        assert not isinstance(scan, WordScan), "a search is counted by `SearchRun`"
        total = 0
        for span in (scan.span,) if isinstance(scan, CollectionScan) else scan.spans:
            left = None if wanted is None else wanted - total
            if left is not None and left <= 0:
                break
            if isinstance(scan, IndexScan | NearScan):
                number = scan.index.number
                total += await self._snapshot.count_entries(number, span, limit=left)
            else:
                total += await self._snapshot.count_documents(span, limit=left)
        return total

    def _unordered(self, query: Query, plan: Plan, wanted: int | None) -> _Source:
        """As `_ordered`, where the order does not matter: a collection that is read is not
        gathered in memory then."""
        if isinstance(plan, CollectionScan):
            return _GeneratedSource(self._matching(query, plan))
        if query.search is None and len(plan) == 1:
            return self._open(query, plan[0], wanted, in_order=False)
        return self._ordered(query, plan, wanted)

    def _ordered(self, query: Query, plan: Plan, wanted: int | None) -> _Source:
        """All matching documents in order, each once; `wanted`: how many will be asked for."""
        if query.search is not None:
            return _GeneratedSource(self._run_search(query, plan).documents(wanted))
        if isinstance(plan, CollectionScan):
            return _GeneratedSource(self._scan_collection(query, plan, wanted))
        if len(plan) == 1:
            return self._open(query, plan[0], wanted)
        # Each of several holds a part of what is wanted, mostly; those that hold more read on.
        part = wanted if wanted is None else 2 * wanted // max(1, len(plan)) + MERGED_FIRST
        sources = [self._open(query, scan, _least(part, wanted)) for scan in plan]
        return _GeneratedSource(_merge(sources, document_order(query), wanted))

    def _run_search(self, query: Query, plan: Plan) -> SearchRun:
        postings = PostingsReader(
            self._snapshot,
            self._corpora,
            gate=self._scan_gate,
            budget=self.budget,
        )
        return SearchRun(
            self._snapshot,
            query,
            plan,
            postings=postings,
            read_searched=lambda searched: self._stream_plan(searched, plan),
            budget=self.budget,
        )

    async def _stream_plan(self, query: Query, plan: Plan) -> AsyncGenerator[Documents]:
        async with aclosing(self._unordered(query, plan, None)) as source:
            while (batch := await source.next_batch()) is not None:
                if batch:
                    yield batch

    def _open(
        self, query: Query, scan: Scan, wanted: int | None, *, in_order: bool = True
    ) -> _Source:
        match scan:
            case PointGet():
                return _PointSource(self._snapshot, query, scan)
            case NameScan():
                source: _Source = _NameSource(self._snapshot, query, scan, wanted)
            case IndexScan():
                source = _IndexSource(self._snapshot, query, scan, wanted, in_order=in_order)
            case NearScan():
                reader = NearReader(self._snapshot, query, scan, wanted)
                source = _GeneratedSource(reader.batches())
            case WordScan():
                raise AssertionError("only a search is planned on words")
        # What is answer throughout may take as long as its reader does.
        if scan.exact or self.budget is None:
            return source
        return _BudgetedSource(source, self.budget)

    # Without an index ----------------------------------------------------------------------------

    async def _scan_collection(
        self, query: Query, plan: CollectionScan, wanted: int | None
    ) -> AsyncGenerator[Documents]:
        if plan.is_ordered:
            async with aclosing(self._matching(query, plan)) as batches:
                async for batch in batches:
                    yield batch
            return
        # Not held while batches go out: a slow reader must not keep others from scanning.
        async with self._scan_gate:
            gathered = await self._gather(query, plan, wanted)
        kept = gathered.documents
        if not gathered.are_parts:
            for start in range(0, len(kept), BATCH_MAX):
                yield kept[start : start + BATCH_MAX]
            return
        for start in range(0, len(kept), _WHOLE_AT_ONCE):
            paths = [one.path for one in kept[start : start + _WHOLE_AT_ONCE]]
            found = await self._snapshot.get_documents([keys.document_key(one) for one in paths])
            yield [document for document in found if document is not None]

    async def _gather(self, query: Query, plan: CollectionScan, wanted: int | None) -> _Gathered:
        gathered = _Gathered(query)
        async with aclosing(self._matching(query, plan)) as batches:
            async for batch in batches:
                gathered.add(batch)
                if wanted is not None and len(gathered.documents) > 4 * wanted + BATCH_MAX:
                    await gathered.sort()
                    gathered.keep(wanted)
        await gathered.sort()
        return gathered

    async def _matching(self, query: Query, plan: CollectionScan) -> AsyncGenerator[Documents]:
        """The collection's matching documents by key. A thread checks all but the first slice."""
        span, scanned = plan.span, 0
        size = SCAN_SLICE
        while True:
            started = 0.0 if self.budget is None else self.budget.start()
            documents = await self._snapshot.scan_documents(
                span, limit=size, bytes_max=BATCH_BYTES_MAX
            )
            if size == SCAN_SLICE:
                found = _filter(query, documents)
            else:
                found = await asyncio.to_thread(_filter, query, documents)
            if self.budget is not None and not self.budget.spend(started):
                raise self._too_slow(plan, self.budget.seconds_max)
            if found:
                yield found
            before, scanned = scanned, scanned + len(documents)
            for mark in (self._index_after_scanned, LARGE_DOCUMENTS):
                if before <= mark < scanned:
                    self._tell_missing(plan, scanned)
            if are_last(documents, size, BATCH_BYTES_MAX):
                return
            span = KeyRange(keys.document_key(documents[-1].path) + b"\x00", span.end)
            size = BATCH_MAX

    def _too_slow(self, plan: CollectionScan, seconds: float) -> DeadlineExceeded:
        coming = self._tell_missing(plan, LARGE_DOCUMENTS)
        details = {"seconds": seconds, "indexes": [str(item) for item in plan.missing]}
        if coming:
            return DeadlineExceeded(
                f"no index serves this query yet, and reading without one took over {seconds:g} s;"
                " the index is being built: try again in a while",
                reason="IndexBeingBuilt",
                details=details,
            )
        return DeadlineExceeded(
            f"no index serves this query, and reading without one took over {seconds:g} s",
            reason="QueryTooSlow",
            details=details,
        )


def too_slow(seconds: float) -> DeadlineExceeded:
    """Of what an index serves, though not well."""
    return DeadlineExceeded(
        f"reading what this query may need took over {seconds:g} s; its filters leave less than its"
        " index does, or it adds up too much: narrow it",
        reason="QueryTooSlow",
        details={"seconds": seconds},
    )


def _filter(query: Query, documents: Documents) -> Documents:
    return [
        document
        for document in documents
        if matches(query, document) and not is_reserved(document.path)
    ]


def _sort_too_large(bytes_max: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"what has to be sorted is larger than {bytes_max:,} bytes: texts that begin alike for"
        " 1,500 bytes and more have no order in an index; order by something shorter, or narrow the"
        " query",
        reason="SortTooLarge",
    )


class _Gathered:
    """The matching documents of a collection on their way to be sorted. Where they are large, only
    what they are ordered by is kept of them: `are_parts`, and the rest is to be read again."""

    def __init__(self, query: Query) -> None:
        self.documents: Documents = []
        self.are_parts = False
        self._order = document_order(query)
        ordered = [order.field for order in effective_orders(query)]
        self._fields = tuple(ordered if query.near is None else [query.near.field, *ordered])
        self._size = self._part_bytes = 0

    def add(self, batch: Documents) -> None:
        self._size += sum([len(document.data) for document in batch])
        if not self.are_parts and self._size > GATHERED_BYTES_MAX:
            self.are_parts = True
            self.documents = self._parts(self.documents)
            self._part_bytes = sum([len(document.data) for document in self.documents])
        if self.are_parts:
            batch = self._parts(batch)
            self._part_bytes += sum([len(document.data) for document in batch])
            if self._part_bytes > PARTS_BYTES_MAX:
                raise _sort_too_large(PARTS_BYTES_MAX)
        self.documents += batch

    def _parts(self, documents: Documents) -> Documents:
        return [project(document, self._fields) for document in documents]

    async def sort(self) -> None:
        self.documents = await _sort(self.documents, self._order)

    def keep(self, count: int) -> None:
        """Forgets all but the first ones."""
        self.documents = self.documents[:count]
        self._size = sum([len(document.data) for document in self.documents])
        self._part_bytes = self._size if self.are_parts else 0


async def _sort(documents: Documents, order: Callable[[StoredDocument], Any]) -> Documents:
    if len(documents) <= SORT_ON_LOOP_MAX:
        return sorted(documents, key=order)
    return await asyncio.to_thread(sorted, documents, key=order)


def _least(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


# Sources -----------------------------------------------------------------------------------------


class _Source(ABC):
    """Matching documents in the query's order. To be closed."""

    @abstractmethod
    async def next_batch(self) -> Documents | None:
        """Some documents, perhaps none this time; None at the end."""

    async def aclose(self) -> None:  # noqa: B027 (most hold nothing)
        """Lets go of what is held."""


class _Answer(_Source):
    """What a query asks for of a source: the documents behind `offset`, at most `limit` of them,
    as it presents them."""

    def __init__(self, query: Query, source: _Source) -> None:
        self._source = source
        self._query = query
        self._skip = query.offset
        self._remaining = query.limit

    async def next_batch(self) -> Documents | None:
        if self._remaining == 0:
            return None
        batch = await self._source.next_batch()
        if batch is None:
            return None
        kept = batch[self._skip :]
        self._skip -= len(batch) - len(kept)
        if self._remaining is not None:
            kept = kept[: self._remaining]
            self._remaining -= len(kept)
        return present_all(self._query, kept)

    async def aclose(self) -> None:
        await self._source.aclose()


class _BudgetedSource(_Source):
    """Another source, as long as reading from it has not taken too long."""

    def __init__(self, source: _Source, budget: ReadBudget) -> None:
        self._source = source
        self._budget = budget

    async def next_batch(self) -> Documents | None:
        started = self._budget.start()
        batch = await self._source.next_batch()
        if not self._budget.spend(started) and batch is not None:
            raise too_slow(self._budget.seconds_max)
        return batch

    async def aclose(self) -> None:
        await self._source.aclose()


class _GeneratedSource(_Source):
    def __init__(self, batches: AsyncGenerator[Documents]) -> None:
        self._batches = batches

    async def next_batch(self) -> Documents | None:
        return await anext(self._batches, None)

    async def aclose(self) -> None:
        await self._batches.aclose()


class _PointSource(_Source):
    def __init__(self, snapshot: Snapshot, query: Query, scan: PointGet) -> None:
        self._snapshot = snapshot
        self._query = query
        self._scan: PointGet | None = scan

    async def next_batch(self) -> Documents | None:
        if self._scan is None:
            return None
        (document,) = await self._snapshot.get_documents([keys.document_key(self._scan.path)])
        self._scan = None
        return [] if document is None else _filter(self._query, [document])


class _SpanSource(_Source):
    """What scans of documents and of entries share: span after span, in growing batches."""

    def __init__(
        self,
        snapshot: Snapshot,
        query: Query,
        scan: NameScan | IndexScan,
        wanted: int | None,
    ) -> None:
        self._snapshot = snapshot
        self._query = query
        self._descending = scan.descending
        self._spans = deque(reversed(scan.spans) if scan.descending else scan.spans)
        if wanted is None:
            self._size = BATCH_FIRST
        else:
            self._size = max(1, min(wanted, BATCH_MAX))
        # Of an exact scan no more needs to be read; one of several may have to give more.
        self._left = wanted if wanted is not None and scan.exact else 0

    def _advance(self, last: bytes, found: Documents) -> None:
        """Goes on behind `last`, if what was found was not the end of its span."""
        span = self._spans.popleft()
        self._left -= len(found)
        if not are_last(found, self._size, BATCH_BYTES_MAX):
            if self._descending:
                self._spans.appendleft(KeyRange(span.start, last))
            else:
                self._spans.appendleft(KeyRange(last + b"\x00", span.end))
            self._size = min(max(2 * self._size, BATCH_FIRST), BATCH_MAX)
            if self._left > 0:
                self._size = min(self._size, self._left)


class _NameSource(_SpanSource):
    def __init__(
        self, snapshot: Snapshot, query: Query, scan: NameScan, wanted: int | None
    ) -> None:
        super().__init__(snapshot, query, scan, wanted)
        self._exact = scan.exact

    async def next_batch(self) -> Documents | None:
        if not self._spans:
            return None
        documents = await self._snapshot.scan_documents(
            self._spans[0],
            limit=self._size,
            descending=self._descending,
            bytes_max=BATCH_BYTES_MAX,
        )
        last = keys.document_key(documents[-1].path) if documents else b""
        self._advance(last, documents)
        return documents if self._exact else _filter(self._query, documents)


class _IndexSource(_SpanSource):
    def __init__(
        self,
        snapshot: Snapshot,
        query: Query,
        scan: IndexScan,
        wanted: int | None,
        *,
        in_order: bool,
    ) -> None:
        super().__init__(snapshot, query, scan, wanted)
        self._in_order = in_order
        self._index = scan.index
        self._exact = scan.exact
        self._gaps = scan.gaps
        self._run: list[StoredDocument] = []
        self._run_bytes = 0
        self._run_values: tuple[bytes, ...] = ()

    async def next_batch(self) -> Documents | None:
        if not self._spans:
            if not self._run:
                return None
            found: Documents = []
            self._end_run(found)
            return found
        rows = await self._snapshot.scan_entries(
            self._index.number,
            self._spans[0],
            limit=self._size,
            descending=self._descending,
            bytes_max=BATCH_BYTES_MAX,
        )
        self._advance(rows[-1].key if rows else b"", [row.document for row in rows])
        if self._gaps is not None and self._spans and len(rows) > 0:
            self._leap(rows[-1], self._gaps)
        found = []
        for row in rows:
            # Where the key says it all, the document need not even be decoded.
            is_sure = self._exact and len(row.key) < keys.KEY_BYTES_MAX
            if is_sure and not self._run:
                found.append(row.document)
            elif is_sure or matches(self._query, row.document):
                if self._in_order:
                    self._take(row, found)
                else:
                    found.append(row.document)
        return found

    def _leap(self, row: EntryRow, gaps: Gaps) -> None:
        """Passes over entries behind the last one, of the same value of the first field, that the
        second field rules out: as few are read of each value as there are in a first batch."""
        found = gaps.around(row.document)
        rest = self._spans[0]
        if found is None or not found[0].start <= row.key:
            return
        whole, spans = found
        start, end = rest.start, rest.end
        if self._descending:
            left = [span for span in spans if end is None or span.start < end]
            highest = left[-1].end if left else whole.start
            if highest is not None and (end is None or highest < end):
                end = highest
        else:
            left = [span for span in spans if span.end is None or span.end > start]
            lowest = left[0].start if left else whole.end
            if lowest is not None:
                start = max(start, lowest)
        if (start, end) != (rest.start, rest.end):
            self._size = min(self._size, BATCH_FIRST)
            self._spans.popleft()
            if end is None or start < end:
                self._spans.appendleft(KeyRange(start, end))

    def _take(self, row: EntryRow, found: Documents) -> None:
        """Documents whose key was cut in the same place are in no order yet: they are held back
        until the last of them is there. Raises QuotaExceeded (`SortTooLarge`)."""
        values = self._cut_values(row) if len(row.key) >= keys.KEY_BYTES_MAX else ()
        if values != self._run_values:
            self._end_run(found)
            self._run_values = values
        if values:
            self._run.append(row.document)
            self._run_bytes += len(row.document.data)
            if self._run_bytes > RUN_BYTES_MAX:
                raise _sort_too_large(RUN_BYTES_MAX)
        else:
            found.append(row.document)

    def _end_run(self, found: Documents) -> None:
        if self._run:
            found += sorted(self._run, key=document_order(self._query))
        self._run = []
        self._run_bytes = 0
        self._run_values = ()

    def _cut_values(self, row: EntryRow) -> tuple[bytes, ...]:
        """The key up to the first value that was cut; () if none was."""
        definition = self._index.definition
        values: list[bytes] = []
        for field in definition.fields:
            if field.kind is IndexKind.ARRAY:
                continue
            key = keys.encode_value(get_field(row.document.fields, field.path), field.descending)
            values.append(key)
            if keys.is_cut(key):
                return tuple(values)
        if definition.group:
            key = keys.encode_value(Reference(row.document.path))
            if keys.is_cut(key):
                return (*values, key)
        return ()


# Merging -----------------------------------------------------------------------------------------


class _Head:
    """A source and the part of it that is read and not yet taken."""

    __slots__ = ("_batch", "_order", "_place", "_source", "document", "key")

    def __init__(self, source: _Source, order: Callable[[StoredDocument], Any]) -> None:
        self._source = source
        self._order = order
        self._batch: Documents = []
        self._place = -1
        self.document: StoredDocument
        self.key: Any = None

    async def advance(self) -> bool:
        """Goes to the next document; False at the end."""
        self._place += 1
        while self._place >= len(self._batch):
            batch = await self._source.next_batch()
            if batch is None:
                return False
            self._batch, self._place = batch, 0
        self.document = self._batch[self._place]
        self.key = self._order(self.document)
        return True

    def __lt__(self, other: _Head) -> bool:
        return bool(self.key < other.key)


async def _merge(
    sources: Sequence[_Source], order: Callable[[StoredDocument], Any], wanted: int | None
) -> AsyncGenerator[Documents]:
    """One order out of several; a document that several sources hold comes once."""
    heads = [head for head in [_Head(source, order) for source in sources] if await head.advance()]
    heapify(heads)
    size = BATCH_MAX if wanted is None else min(wanted, BATCH_MAX)
    batch: Documents = []
    last: Any = None
    while heads:
        head = heads[0]
        if head.key != last:  # equal keys end with equal names
            last = head.key
            batch.append(head.document)
            if len(batch) == size:
                yield batch
                batch = []
        if await head.advance():
            heapreplace(heads, head)
        else:
            heappop(heads)
    if batch:
        yield batch
