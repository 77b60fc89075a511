"""Plans of queries that come again and again, made once for each state of the indexes."""

from __future__ import annotations

from typing import NamedTuple

from baas.database.index_demand import Sizes
from baas.database.indexes import Index, Indexes
from baas.database.planner import (
    CollectionScan,
    IndexScan,
    NameScan,
    NearScan,
    Plan,
    PointGet,
    WordScan,
    plan_query,
)
from baas.model.queries import Query
from baas.storage.engine import FirstScan

PLANS_MAX = 2_000  # kept for one database; past that, all are forgotten
PAGE_DOCUMENTS_MAX = 128  # of a first page that is read at once


class _Kept(NamedTuple):
    generation: int
    plan: Plan
    first: FirstScan | None
    indexes: tuple[Index, ...]


class Plans:
    """Plans on one database's indexes. Kept are those of queries that have a number; `sizes` are
    known of the collections that some of them read whole."""

    def __init__(self, indexes: Indexes) -> None:
        self.sizes = Sizes()
        self._indexes = indexes
        self._kept: dict[int, _Kept] = {}

    def plan(self, query: Query, generation: int) -> Plan:
        """As `plan_query`. The indexes are counted as used."""
        return _count_uses(self._find(query, generation)).plan

    def first_scan(self, query: Query) -> FirstScan | None:
        """What reads the query's first page, on the indexes that are ready now, which are counted
        as used."""
        return _count_uses(self._find(query, self._indexes.generation)).first

    def expected_scan(self, query: Query) -> FirstScan | None:
        """As `first_scan`, for who will ask for the plan."""
        return self._find(query, self._indexes.generation).first

    def _find(self, query: Query, generation: int) -> _Kept:
        number = query.number
        found = None if number is None else self._kept.get(number)
        if found is None or found.generation != generation:
            plan = plan_query(query, self._indexes, generation)
            found = _Kept(generation, plan, single_scan(query, plan), _used(plan))
            if number is not None:
                if len(self._kept) >= PLANS_MAX:
                    self._kept.clear()
                self._kept[number] = found
        return found


def _count_uses(found: _Kept) -> _Kept:
    for index in found.indexes:
        index.uses += 1
    return found


def _used(plan: Plan) -> tuple[Index, ...]:
    if isinstance(plan, CollectionScan):
        return ()
    kinds = IndexScan | NearScan | WordScan
    return tuple([scan.index for scan in plan if isinstance(scan, kinds)])


def single_scan(query: Query, plan: Plan) -> FirstScan | None:
    """The scan that gives the query's first documents, if one scan of one span does and they are
    few: of most lists, which then need neither sources nor batches. None for all others."""
    if isinstance(plan, CollectionScan) or len(plan) != 1 or query.search is not None:
        return None
    if query.limit is not None and not 0 < query.limit <= PAGE_DOCUMENTS_MAX:
        return None
    if query.offset or query.select is not None:
        return None
    scan = plan[0]
    if isinstance(scan, PointGet | NearScan | WordScan) or not scan.exact or len(scan.spans) != 1:
        return None
    index = None if isinstance(scan, NameScan) else scan.index.number
    return FirstScan(index, scan.spans[0], query.limit or PAGE_DOCUMENTS_MAX, scan.descending)
