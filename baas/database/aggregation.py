"""Aggregations over one snapshot, in one of three ways, all of which give the same.

**Stepping**, for counts, minima, maxima and distinct values: an index has the documents group by
group, so that each group is entered at its first entry, its keys are counted, its ends are looked
up, and it is left behind its last one. **Streaming**, where the numbers need every document and an
index has them in order of groups: it is read as far as the page goes. **Gathering** reads all of
the answer in any order, and keeps no more groups than are wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from baas.database.executor import SCAN_SLICE, QueryExecutor
from baas.database.planner import CollectionScan
from baas.database.sources import Documents, too_slow
from baas.encoding.documents import StoredDocument
from baas.model.aggregates import (
    Aggregate,
    Aggregation,
    aggregated_query,
    end_of,
    end_query,
    grouped_query,
    within_group,
)
from baas.model.paths import DocumentPath
from baas.model.queries import Cursor, Query
from baas.model.query_order import get_field
from baas.model.tallies import Group, GroupPage, PageBounds, Tally
from baas.model.values import Value

T = TypeVar("T")
STEP_FIRST = 4  # documents of a step; more if they are of many groups
STEP_MAX = 128


class Aggregator:
    """One aggregation. The executor's snapshot has to stay open."""

    def __init__(self, executor: QueryExecutor, aggregation: Aggregation) -> None:
        self._executor = executor
        self._aggregation = aggregation
        self._budget = executor.budget

    async def run(self, bounds: PageBounds) -> GroupPage:
        """Raises DeadlineExceeded (`QueryTooSlow`)."""
        aggregation = self._aggregation
        if _may_step(aggregation) and self._are_served(stepped_queries(aggregation)):
            return await self._step(bounds)
        if _is_plain(aggregation) and self._are_served(ordered_queries(aggregation)):
            return await self._stream(bounds)
        return await self._gather(bounds)

    @property
    def looks_at_ends_only(self) -> bool:
        """Whether it costs a few keys, however many documents there are."""
        aggregation = self._aggregation
        return (
            not aggregation.group_by
            and _may_step(aggregation)
            and all(item.is_end for item in aggregation.aggregates)
            and self._are_served(stepped_queries(aggregation))
        )

    def _are_served(self, queries: Sequence[Query]) -> bool:
        plans = [self._executor.plan(query) for query in queries]
        return bool(plans) and not any(isinstance(plan, CollectionScan) for plan in plans)

    # Stepping -------------------------------------------------------------------------------------

    async def _step(self, bounds: PageBounds) -> GroupPage:
        if not self._aggregation.group_by:
            return GroupPage([await self._measure((), None)], False)
        groups: list[Group] = []
        after, size, wanted = bounds.after, 0, STEP_FIRST
        while True:
            wanted = max(1, min(wanted, STEP_MAX, bounds.groups_max + 1 - len(groups)))
            runs, is_last = await self._enter(after, wanted)
            for place, run in enumerate(runs, 1):
                if len(groups) == bounds.groups_max or (groups and size > bounds.bytes_max):
                    return GroupPage(groups, True)
                if place < len(runs) or is_last:
                    group = self._tally(run)
                else:
                    group = await self._measure(self._aggregation.values_of(run[0]), run[0])
                groups.append(group)
                size += group.size
            if is_last:
                return GroupPage(groups, False)
            after = groups[-1].values
            # What is read in vain is in proportion to what is not.
            wanted = max(STEP_FIRST, 2 * len(runs))

    async def _enter(
        self, after: tuple[Value, ...] | None, wanted: int
    ) -> tuple[list[Documents], bool]:
        """The next documents, group by group, and whether they are the last ones. Of the last group
        there may be more."""
        start = None if after is None else Cursor(after, before=False)
        query = replace(grouped_query(self._aggregation), start=start, limit=wanted)
        found = await self._spend(self._executor.run_query(query))
        runs = [list(run) for _, run in groupby(found, key=self._aggregation.group_of)]
        return runs, len(found) < wanted

    def _tally(self, documents: Documents) -> Group:
        tally = Tally(self._aggregation)
        tally.add(documents)
        return tally.finish().groups[0]

    async def _measure(self, values: tuple[Value, ...], first: StoredDocument | None) -> Group:
        """A group by its keys and its ends."""
        results = {
            item.alias: await self._spend(self._measure_one(item, values))
            for item in self._aggregation.aggregates
        }
        return Group(values, results, None if first is None else first.path)

    async def _measure_one(self, item: Aggregate, values: tuple[Value, ...]) -> Value:
        if item.field is None:
            query = within_group(grouped_query(self._aggregation), self._aggregation, values)
            return await self._executor.count(query, up_to=item.up_to)
        found = await self._executor.run_query(end_of(self._aggregation, item, values))
        return get_field(found[0].fields, item.field) if found else None

    # Streaming and gathering ----------------------------------------------------------------------

    async def _stream(self, bounds: PageBounds) -> GroupPage:
        start = None if bounds.after is None else Cursor(bounds.after, before=False)
        query = replace(grouped_query(self._aggregation), start=start)
        tally = Tally(self._aggregation, bounds)
        async with aclosing(self._executor.stream(query)) as batches:
            while (batch := await self._spend(anext(batches, None))) is not None:
                await _add(tally, batch)
                if tally.is_over:
                    break
        return tally.finish()

    async def _gather(self, bounds: PageBounds) -> GroupPage:
        tally = Tally(self._aggregation, bounds)
        await self.gather(tally)
        return tally.finish()

    async def gather(self, tally: Tally, *, without: Collection[DocumentPath] = ()) -> None:
        """Counts all of the answer, some documents aside. Raises DeadlineExceeded."""
        query = aggregated_query(self._aggregation)
        keeps_to_budget = isinstance(self._executor.plan(query), CollectionScan)
        if self._aggregation.is_whole:
            batches = self._executor.stream_unordered(query)
        else:
            batches = self._executor.stream(query)
        async with aclosing(batches):
            while True:
                coming = anext(batches, None)
                batch = await coming if keeps_to_budget else await self._spend(coming)
                if batch is None:
                    return
                if without:
                    batch = [one for one in batch if one.path not in without]
                await _add(tally, batch)

    async def _spend(self, reading: Awaitable[T]) -> T:
        if self._budget is None:
            return await reading
        started = self._budget.start()
        found = await reading
        if not self._budget.spend(started):
            raise too_slow(self._budget.seconds_max)
        return found


async def _add(tally: Tally, batch: Documents) -> None:
    if len(batch) <= SCAN_SLICE:
        tally.add(batch)
    else:
        await asyncio.to_thread(tally.add, batch)


def _is_plain(aggregation: Aggregation) -> bool:
    """Whether its documents may come in the order of their groups."""
    query = aggregation.query
    has_own_order = query.start or query.end or query.near
    return aggregation.is_whole and has_own_order is None


def _may_step(aggregation: Aggregation) -> bool:
    """Whether keys and ends are enough."""
    return _is_plain(aggregation) and all(
        item.field is None or item.is_end for item in aggregation.aggregates
    )


def stepped_queries(aggregation: Aggregation) -> list[Query]:
    """Those that stepping needs indexes for."""
    ends = [end_query(aggregation, item) for item in aggregation.aggregates if item.is_end]
    counts = any(item.field is None for item in aggregation.aggregates)
    if aggregation.group_by or counts:
        ends.append(grouped_query(aggregation))
    return ends


def ordered_queries(aggregation: Aggregation) -> list[Query]:
    """Those that streaming needs an index for."""
    return [grouped_query(aggregation)] if aggregation.group_by else []


def wanted_queries(aggregation: Aggregation, *, is_page: bool) -> list[Query]:
    """Those of which the indexes would spare reading the whole answer. Where all of it has to be
    read, the order of groups spares something only if there are several pages."""
    if _may_step(aggregation) and aggregation.fields:
        return stepped_queries(aggregation)
    if _is_plain(aggregation) and is_page:
        return ordered_queries(aggregation)
    return [aggregated_query(aggregation)]
