"""Where the documents of an answer come from: spans of keys, read a batch at a time."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias

from baas.database.budget import ReadBudget
from baas.database.indexes import IndexKind, is_reserved
from baas.database.planner import Gaps, IndexScan, NameScan, PointGet
from baas.database.presentation import present_all
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import DeadlineExceeded, QuotaExceeded
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.query_order import document_order, get_field
from baas.model.values import Reference
from baas.storage.engine import EntryRow, KeyRange, Snapshot, are_last

BATCH_FIRST = 64
BATCH_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024  # of a batch, which ends soon after it has so many
COUNTED_AT_ONCE_MAX = 2_000  # keys, without a look at the time
RUN_BYTES_MAX = 64 * 1024 * 1024  # of documents whose keys were cut in the same place

Documents: TypeAlias = list[StoredDocument]
Count: TypeAlias = Callable[[int | None], Awaitable[int]]  # of as many as that at most


def too_slow(seconds: float) -> DeadlineExceeded:
    """Of what an index serves, though not well."""
    return DeadlineExceeded(
        f"reading what this query may need took over {seconds:g} s; its filters leave less than its"
        " index does, or it adds up too much: narrow it",
        reason="QueryTooSlow",
        details={"seconds": seconds},
    )


async def count_within(budget: ReadBudget | None, count: Count, most: int | None) -> int:
    """What `count` counts up to `most`. Few are counted at once; of more it is broken off when
    nothing of the budget is left. Raises DeadlineExceeded (`QueryTooSlow`), StorageError."""
    if budget is None:
        return await count(most)
    if asyncio.current_task() is None:
        # What is at once is asked outside of a task, where nothing can time out.
        few = COUNTED_AT_ONCE_MAX if most is None else min(most, COUNTED_AT_ONCE_MAX)
        number = await count(few)
        if number < few or few == most:
            return number
        await asyncio.sleep(0)
    if budget.left_seconds <= 0:
        raise count_too_slow(budget.seconds_max)
    started = budget.start()
    try:
        async with asyncio.timeout(budget.left_seconds):
            return await count(most)
    except TimeoutError as error:
        raise count_too_slow(budget.seconds_max) from error
    finally:
        budget.spend(started)


def count_too_slow(seconds: float) -> DeadlineExceeded:
    """Of what has more keys than can be counted in the time."""
    return DeadlineExceeded(
        f"counting took over {seconds:g} s; narrow the query, or count up to a bound (`up_to`)",
        reason="QueryTooSlow",
        details={"seconds": seconds},
    )


def filter_matching(query: Query, documents: Documents) -> Documents:
    return [
        document
        for document in documents
        if matches(query, document) and not is_reserved(document.path)
    ]


def sort_too_large(bytes_max: int) -> QuotaExceeded:
    """Of texts that only the documents themselves can put in order."""
    return QuotaExceeded(
        f"what has to be sorted is larger than {bytes_max:,} bytes: texts that begin alike for"
        " 1,500 bytes and more have no order in an index; order by something shorter, or narrow the"
        " query",
        reason="SortTooLarge",
    )


class Source(ABC):
    """Matching documents in the query's order. To be closed."""

    @abstractmethod
    async def next_batch(self) -> Documents | None:
        """Some documents, perhaps none this time; None at the end."""

    async def aclose(self) -> None:  # noqa: B027 (most hold nothing)
        """Lets go of what is held."""


class Answer(Source):
    """What a query asks for of a source: the documents behind `offset`, at most `limit` of them,
    as it presents them."""

    def __init__(self, query: Query, source: Source) -> None:
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


class BudgetedSource(Source):
    """Another source, as long as reading from it has not taken too long."""

    def __init__(self, source: Source, budget: ReadBudget) -> None:
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


class GeneratedSource(Source):
    def __init__(self, batches: AsyncGenerator[Documents]) -> None:
        self._batches = batches

    async def next_batch(self) -> Documents | None:
        return await anext(self._batches, None)

    async def aclose(self) -> None:
        await self._batches.aclose()


class PointSource(Source):
    def __init__(self, snapshot: Snapshot, query: Query, scan: PointGet) -> None:
        self._snapshot = snapshot
        self._query = query
        self._scan: PointGet | None = scan

    async def next_batch(self) -> Documents | None:
        if self._scan is None:
            return None
        (document,) = await self._snapshot.get_documents([keys.document_key(self._scan.path)])
        self._scan = None
        return [] if document is None else filter_matching(self._query, [document])


class _SpanSource(Source):
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


class NameSource(_SpanSource):
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
        return documents if self._exact else filter_matching(self._query, documents)


class IndexSource(_SpanSource):
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
                raise sort_too_large(RUN_BYTES_MAX)
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
