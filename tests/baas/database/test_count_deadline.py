"""Counting ends when its time is over, whatever it is that is counted, and however it is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baas.clock import SystemClock, VirtualClock
from baas.database import sources
from baas.database.budget import ReadBudget
from baas.database.database import Database
from baas.database.executor import QueryExecutor
from baas.database.names import DatabaseName
from baas.database.planner import CollectionScan, NearScan, plan_query
from baas.encoding.documents import StoredDocument
from baas.errors import DeadlineExceeded
from baas.model.aggregates import Aggregate, AggregateOperator, Aggregation
from baas.model.near import Near
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Or, Query
from baas.model.search import Search
from baas.model.tallies import PageBounds
from baas.model.values import Fields, GeoPoint
from baas.settings import Limits, Settings
from tests.baas.database.acts import put, write
from tests.baas.database.arbitrary import stored
from tests.baas.database.memory import MemorySnapshot, scan_slowly
from tests.baas.database.test_executor import indexes_for
from tests.storage.conftest import ENGINES

NOTES = CollectionPath(("notes",))
N, TEXT, AT = FieldPath(("n",)), FieldPath(("text",)), FieldPath(("at",))
WHOLE = Query(NOTES)
SERVED = {
    "whole": WHOLE,
    "by an index": Query(NOTES, where=FieldFilter(N, Operator.GREATER, 0)),
    "a word": Query(NOTES, search=Search("red", (TEXT,))),
    "words": Query(NOTES, search=Search("red green", (TEXT,))),
    "a prefix": Query(NOTES, search=Search("re*", (TEXT,))),
    "near": Query(NOTES, near=Near(AT, GeoPoint(1.0, 1.0), 10_000.0)),
    "several scans": Query(
        NOTES,
        where=Or((FieldFilter(N, Operator.EQUAL, 1), FieldFilter(N, Operator.EQUAL, 2))),
    ),
}


def some_documents(number: int) -> list[StoredDocument]:
    return [
        stored(
            NOTES.document(f"n{at}"),
            {"n": at % 3, "text": "red green", "at": GeoPoint(1.0, 1.0 + at / 1e6)},
        )
        for at in range(number)
    ]


async def refused(counting: Coroutine[Any, Any, Any]) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await counting
    assert caught.value.reason == "QueryTooSlow"


@pytest.mark.parametrize("name", SERVED)
async def test_what_has_no_time_left_is_not_counted(name: str) -> None:
    query = SERVED[name]
    indexes = indexes_for(query)
    assert not isinstance(plan_query(query, indexes, indexes.generation), CollectionScan)
    snapshot = MemorySnapshot(some_documents(3), indexes)
    for seconds, is_refused in ((0.0, True), (60.0, False)):
        budget = ReadBudget(SystemClock(), seconds)
        reader = QueryExecutor(snapshot, indexes, indexes.generation, budget=budget)
        if is_refused:
            await refused(reader.count(query))
        else:
            assert await reader.count(query) in (2, 3)


@pytest.mark.parametrize("name", ["whole", "by an index", "a word"])
async def test_a_count_that_does_not_end_is_broken_off(name: str) -> None:
    """The engine counts in one go: it is told to stop."""
    query = SERVED[name]
    indexes = indexes_for(query)
    snapshot = MemorySnapshot(some_documents(3), indexes)
    told_to_stop = asyncio.Event()

    async def count(*_: Any, **__: Any) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            told_to_stop.set()
        raise AssertionError("nobody sets it")

    snapshot.count_documents = snapshot.count_entries = count  # type: ignore[method-assign]
    budget = ReadBudget(SystemClock(), 0.01)
    await refused(QueryExecutor(snapshot, indexes, indexes.generation, budget=budget).count(query))
    assert told_to_stop.is_set()


async def test_documents_that_are_read_to_be_counted_are_read_for_a_limited_time() -> None:
    """All within a radius are in the answer: who reads them has time, who counts has not."""
    query = SERVED["near"]
    indexes = indexes_for(query)
    (scan,) = plan_query(query, indexes, indexes.generation)  # type: ignore[misc]
    assert isinstance(scan, NearScan)
    assert scan.exact
    snapshot = MemorySnapshot(some_documents(2_000), indexes)
    clock = VirtualClock()
    scan_slowly(snapshot, clock)
    reader = QueryExecutor(snapshot, indexes, indexes.generation, budget=ReadBudget(clock, 1.5))
    await refused(reader.count(query))
    assert 0 < snapshot.rows_read < 2_000
    reader = QueryExecutor(snapshot, indexes, indexes.generation, budget=ReadBudget(clock, 1.5))
    assert len(await reader.run_query(query)) == 2_000


async def test_outside_of_a_task_few_are_counted_and_many_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As requests begin: what is at once has no task, and nothing can time out there."""
    monkeypatch.setattr(sources, "COUNTED_AT_ONCE_MAX", 5)
    asked: list[int | None] = []

    def begin(there: int, most: int | None) -> Coroutine[Any, Any, int]:
        async def count(wanted: int | None) -> int:
            asked.append(wanted)
            return there if wanted is None else min(there, wanted)

        budget = ReadBudget(SystemClock(), 60.0)
        return sources.count_within(budget, count, most)

    def at_once(there: int, most: int | None) -> int | None:
        counting = begin(there, most)
        try:
            counting.send(None)
        except StopIteration as end:
            found: int = end.value
            return found
        counting.close()
        return None

    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[int | None]] = loop.create_future()
    cases = [(4, None), (5, None), (9, 5), (9, 6)]
    loop.call_soon(lambda: found.set_result([at_once(*case) for case in cases]))
    assert await found == [4, None, 5, None]
    assert asked == [5, 5, 5, 5]
    assert await begin(9, 6) == 6
    assert asked[4:] == [6]


# On every engine ----------------------------------------------------------------------------------


@pytest.fixture(params=list(ENGINES))
async def hurried(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database in which nobody may read for any time, with indexes for all of the above."""
    async with ENGINES[request.param](request, tmp_path) as open_database:
        database = await Database.open(
            DatabaseName("demo"),
            await open_database("hurried"),
            clock=SystemClock(),
            settings=Settings(limits=replace(Limits(), query_seconds_max=0.0)),
        )
        yield database
        await database.close()


async def test_no_count_is_without_a_deadline(hurried: Database) -> None:
    place = GeoPoint(1.0, 1.0)
    fields: Fields = {"n": 1, "text": "red green", "at": place}
    await write(hurried, *[put(f"notes/n{number}", dict(fields)) for number in range(3)])
    for query in SERVED.values():
        plan = plan_query(query, hurried.indexes, hurried.indexes.generation)
        hurried._builder.request(getattr(plan, "missing", ()))
    await hurried._builder.wait_idle()
    total = (Aggregate("n", AggregateOperator.COUNT),)
    for query in SERVED.values():
        async with hurried.snapshot() as snapshot:
            await refused(snapshot.count(query))
        async with hurried.snapshot() as snapshot:
            await refused(snapshot.aggregate(Aggregation(query, total), PageBounds(1, 1)))
    async with hurried.snapshot() as snapshot:
        await refused(snapshot.count_below(NOTES))
