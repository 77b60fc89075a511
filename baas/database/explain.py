"""How a query was answered: on which indexes, and what that read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from baas.database.indexes import Index, IndexDefinition
from baas.database.planner import (
    CollectionScan,
    IndexScan,
    NameScan,
    NearScan,
    Plan,
    PointGet,
    Scan,
    WordScan,
)
from baas.encoding.documents import StoredDocument
from baas.model.aggregates import Aggregation
from baas.model.queries import Query, effective_orders, inequality_fields
from baas.storage.engine import (
    EntryRow,
    KeyRange,
    LogRecord,
    PastImage,
    RequestAnswer,
    Snapshot,
)

FEW = 64  # documents more than were returned are no cause for a hint


class MeteredSnapshot:
    """A snapshot that counts what is read through it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.entries_scanned = 0
        self.keys_counted = 0
        self.documents_read = 0

    @property
    def version(self) -> int:
        return self._snapshot.version

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        self.documents_read += len(keys)
        return await self._snapshot.get_documents(keys)

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        self.documents_read += len(keys)
        return await self._snapshot.get_documents_at(keys, version)

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        self.documents_read += len(wanted)
        return await self._snapshot.get_images(wanted)

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        found = await self._snapshot.read_history(key, below=below, limit=limit)
        self.documents_read += len(found)
        return found

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        self.keys_counted += len(keys)
        return await self._snapshot.find_superseded(keys, below=below)

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        found = await self._snapshot.scan_documents(
            span, limit=limit, descending=descending, bytes_max=bytes_max
        )
        self.documents_read += len(found)
        return found

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        found = await self._snapshot.scan_entries(
            index, span, limit=limit, descending=descending, bytes_max=bytes_max
        )
        self.entries_scanned += len(found)
        self.documents_read += len(found)
        return found

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        found = await self._snapshot.scan_keys(index, spans, limit=limit)
        self.entries_scanned += len(found)
        return found

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        found = await self._snapshot.count_documents(span, limit=limit)
        self.keys_counted += found
        return found

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        found = await self._snapshot.count_entries(index, span, limit=limit)
        self.keys_counted += found
        return found

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        return await self._snapshot.read_log(after, limit=limit)

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        return await self._snapshot.read_requests(after, limit=limit)

    async def close(self) -> None:
        await self._snapshot.close()


@dataclass(frozen=True, slots=True)
class ExplainedScan:
    """One scan of a plan. `kind`: `index`, `names` (the documents of a collection by name),
    `document` (one by name), `near` (cells of an index, nearest first), `words` (of an index, for a
    search), `collection` (all that there are, each looked at) or `total` (of a collection, which is
    kept). `exact`: what lies in the ranges is the answer; if not, each document is checked against
    the whole query."""

    kind: str
    index: Index | None
    ranges: int
    descending: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """`entries_scanned` and `documents_read` are what was read for the documents, or groups, that
    were `returned`; `keys_counted` were looked at without documents. `missing`: indexes that would
    have spared reading a collection; `building`: those of them that are being made. `hints`: why it
    cost more than what it returned."""

    scans: tuple[ExplainedScan, ...]
    missing: tuple[IndexDefinition, ...]
    building: tuple[IndexDefinition, ...]
    entries_scanned: int
    keys_counted: int
    documents_read: int
    returned: int
    seconds: float
    hints: tuple[str, ...]


def explain(
    asked: Query | Aggregation,
    used: Sequence[Plan],
    lacking: Sequence[CollectionScan],
    meter: MeteredSnapshot,
    *,
    returned: int,
    seconds: float,
    is_coming: Callable[[IndexDefinition], bool],
) -> Explanation:
    """`used`: the plans that were read by, none if a total was known; `lacking`: those that would
    have been other ones if there were indexes."""
    query = asked if isinstance(asked, Query) else asked.query
    scans = tuple(dict.fromkeys(scan for plan in used for scan in _explain_plan(plan)))
    if not used:
        scans = (ExplainedScan("total", None, 0, False, True),)
    missing = tuple(dict.fromkeys(item for plan in lacking for item in plan.missing))
    return Explanation(
        scans,
        missing,
        tuple([item for item in missing if is_coming(item)]),
        meter.entries_scanned,
        meter.keys_counted,
        meter.documents_read,
        returned,
        seconds,
        tuple(_hints(query, scans, meter.documents_read, returned)),
    )


def _explain_plan(plan: Plan) -> tuple[ExplainedScan, ...]:
    """The scans of a plan; none if nothing can match."""
    if isinstance(plan, CollectionScan):
        return (ExplainedScan("collection", None, 1, False, False),)
    return tuple([_explain_scan(scan) for scan in plan])


def _explain_scan(scan: Scan) -> ExplainedScan:
    match scan:
        case PointGet():
            return ExplainedScan("document", None, 1, False, False)
        case NameScan():
            return ExplainedScan("names", None, len(scan.spans), scan.descending, scan.exact)
        case NearScan():
            return ExplainedScan("near", scan.index, len(scan.spans), False, scan.exact)
        case IndexScan():
            return ExplainedScan("index", scan.index, len(scan.spans), scan.descending, scan.exact)
        case WordScan():
            return ExplainedScan("words", scan.index, 1, False, scan.exact)


def _hints(
    query: Query, scans: Sequence[ExplainedScan], documents_read: int, returned: int
) -> Iterator[str]:
    if query.offset:
        yield f"`offset` reads what it skips: {query.offset}; begin behind a document instead"
    is_costly = documents_read > 2 * (returned + query.offset) + FEW
    is_checked = any(scan.kind == "near" and not scan.exact for scan in scans)
    if is_checked and is_costly:
        yield (
            "filters that its index does not hold are checked on what is near, one document after "
            "another: an equality is held by the index, or a smaller radius leaves fewer"
        )
    fields = inequality_fields(query)
    is_inexact = any(scan.kind == "index" and not scan.exact for scan in scans)
    if is_inexact and len(fields) > 1 and is_costly:
        first = effective_orders(query)[0].field
        others = ", ".join(f"`{path}`" for path in fields if path != first)
        yield (
            f"several inequalities: the range of `{first}` is read and checked for {others}; order "
            "by the field whose range holds the fewest documents first"
        )
