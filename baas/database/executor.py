"""Runs queries over one engine snapshot: scans, merges, checks, orders, counts.

What comes out is what filtering and sorting all documents of the collection would give: where
keys were cut, or filters are not expressed by a range, every document is checked against the whole
query.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from baas.database.budget import ReadBudget
from baas.database.corpora import Corpora
from baas.database.gathering import Gathered
from baas.database.index_demand import LARGE_DOCUMENTS
from baas.database.indexes import IndexDefinition, Indexes
from baas.database.merging import merge
from baas.database.near import NearReader
from baas.database.planner import (
    CollectionScan,
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
from baas.database.search import SearchRun
from baas.database.sources import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    Answer,
    BudgetedSource,
    Count,
    Documents,
    GeneratedSource,
    IndexSource,
    NameSource,
    PointSource,
    Source,
    count_within,
    filter_matching,
)
from baas.encoding import keys
from baas.errors import DeadlineExceeded
from baas.model.queries import Query
from baas.model.query_order import document_order
from baas.settings import Limits
from baas.storage.engine import KeyRange, Snapshot, are_last

MERGED_FIRST = 4  # documents that each of several scans reads at least
_WHOLE_AT_ONCE = 16  # of large documents that are read again
SCAN_SLICE = 250  # documents of a collection that are looked at on the loop; more go to a thread
INDEX_AFTER_SCANNED = 100  # a collection that is read faster than an index is kept needs none
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

    def _answer(self, query: Query) -> Answer:
        wanted = None if query.limit is None else query.limit + query.offset
        return Answer(query, self._ordered(query, self._use(query), wanted))

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
        """The number of documents in the answer, counting no further than `up_to`. Raises
        DeadlineExceeded once that takes too long, be it by an index or without one."""
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
            async with aclosing(self._unordered(query, plan, wanted, is_counted=True)) as source:
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
            total += await count_within(self.budget, self._counter(scan, span), left)
        return total

    async def count_span(self, span: KeyRange) -> int:
        """How many documents there are within a span. Raises DeadlineExceeded."""
        count = self._snapshot.count_documents
        return await count_within(self.budget, lambda most: count(span, limit=most), None)

    def _counter(self, scan: Scan | CollectionScan, span: KeyRange) -> Count:
        if isinstance(scan, IndexScan | NearScan):
            number = scan.index.number
            return lambda most: self._snapshot.count_entries(number, span, limit=most)
        return lambda most: self._snapshot.count_documents(span, limit=most)

    def _unordered(
        self, query: Query, plan: Plan, wanted: int | None, *, is_counted: bool = False
    ) -> Source:
        """As `_ordered`, where the order does not matter: a collection that is read is not
        gathered in memory then."""
        if isinstance(plan, CollectionScan):
            return GeneratedSource(self._matching(query, plan))
        if query.search is None and len(plan) == 1:
            return self._open(query, plan[0], wanted, in_order=False, is_counted=is_counted)
        return self._ordered(query, plan, wanted, is_counted=is_counted)

    def _ordered(
        self, query: Query, plan: Plan, wanted: int | None, *, is_counted: bool = False
    ) -> Source:
        """All matching documents in order, each once; `wanted`: how many will be asked for.
        `is_counted`: nobody reads them."""
        if query.search is not None:
            return GeneratedSource(self._run_search(query, plan).documents(wanted))
        if isinstance(plan, CollectionScan):
            return GeneratedSource(self._scan_collection(query, plan, wanted))
        if len(plan) == 1:
            return self._open(query, plan[0], wanted)
        # Each of several holds a part of what is wanted, mostly; those that hold more read on.
        part = wanted if wanted is None else 2 * wanted // max(1, len(plan)) + MERGED_FIRST
        most = _least(part, wanted)
        sources = [self._open(query, scan, most, is_counted=is_counted) for scan in plan]
        return GeneratedSource(merge(sources, document_order(query), wanted))

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
        self,
        query: Query,
        scan: Scan,
        wanted: int | None,
        *,
        in_order: bool = True,
        is_counted: bool = False,
    ) -> Source:
        match scan:
            case PointGet():
                return PointSource(self._snapshot, query, scan)
            case NameScan():
                source: Source = NameSource(self._snapshot, query, scan, wanted)
            case IndexScan():
                source = IndexSource(self._snapshot, query, scan, wanted, in_order=in_order)
            case NearScan():
                reader = NearReader(self._snapshot, query, scan, wanted)
                source = GeneratedSource(reader.batches())
            case WordScan():
                raise AssertionError("only a search is planned on words")
        # What is answer throughout may take as long as its reader does.
        if (scan.exact and not is_counted) or self.budget is None:
            return source
        return BudgetedSource(source, self.budget)

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

    async def _gather(self, query: Query, plan: CollectionScan, wanted: int | None) -> Gathered:
        gathered = Gathered(query)
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
                found = filter_matching(query, documents)
            else:
                found = await asyncio.to_thread(filter_matching, query, documents)
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


def _least(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
