"""How much a query reads. What it returns is in test_executor."""

from __future__ import annotations

from typing import Any

import pytest

from baas.clock import VirtualClock
from baas.database.aggregation import Aggregator
from baas.database.budget import ReadBudget
from baas.database.executor import QueryExecutor
from baas.database.indexes import IndexDefinition, Indexes, IndexField
from baas.database.planner import CollectionScan, NameScan, PointGet, is_countable, plan_query
from baas.errors import DeadlineExceeded
from baas.model.aggregates import Aggregate, AggregateOperator, Aggregation
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import NAME, And, Cursor, FieldFilter, Filter, Operator, Or, Order, Query
from baas.model.tallies import PageBounds
from baas.model.values import Reference, Value
from tests.baas.database.arbitrary import stored
from tests.baas.database.memory import MemorySnapshot
from tests.baas.database.test_executor import add_ready, expected, indexes_for

CITIES = CollectionPath(("cities",))
ORDERS = CollectionPath(("users", "u1", "orders"))
DOCUMENTS = [
    stored(
        CITIES.document(f"c{number:04}"),
        {"n": number, "land": number % 50, "tags": [number % 7, number % 11], "t": "x" * 1_600},
    )
    for number in range(1_000)
] + [
    stored(DocumentPath(("users", f"u{number % 20}", "orders", f"o{number}")), {"n": number})
    for number in range(400)
]


def f(name: str, operator: str, value: Value) -> FieldFilter:
    return FieldFilter(FieldPath((name,)), Operator(operator), value)


def ref(name: str) -> Reference:
    return Reference(CITIES.document(name))


def order(name: str, descending: bool = False) -> Order:
    return Order(NAME if name == "__name__" else FieldPath((name,)), descending)


U1 = DocumentPath(("users", "u1"))
BY_N = (order("n", True),)
BEHIND = FieldFilter(NAME, Operator.GREATER, ref("c0500"))

# query, the most that it may read
CASES: list[tuple[Query, int]] = [
    (Query(CITIES, where=f("land", "==", 7)), 84),
    (Query(CITIES, where=f("land", "==", 7), limit=5), 5),
    (Query(CITIES, where=f("land", "==", 7), order_by=(order("n", True),), limit=5), 5),
    (Query(CITIES, where=And((f("land", "==", 7), f("n", ">", 900)))), 64),
    (Query(CITIES, where=f("n", ">=", 990)), 64),
    (Query(CITIES, where=f("n", "<", 5)), 64),
    (Query(CITIES, order_by=(order("n", True),), limit=3), 3),
    (Query(CITIES, order_by=(order("land"), order("n", True)), limit=3), 3),
    (Query(CITIES, order_by=(order("n"),), start=Cursor((500,), False), limit=4), 4),
    (Query(CITIES, order_by=BY_N, start=Cursor((503,), True), end=Cursor((500,), False)), 4),
    (Query(CITIES, order_by=BY_N, start=Cursor((500, ref("c0500")), False), limit=4), 4),
    (Query(CITIES, where=f("land", "in", [1, 2, 3]), limit=4), 12),
    (Query(CITIES, where=Or((f("land", "==", 1), f("n", "==", 3))), limit=4), 5),
    (Query(CITIES, where=f("tags", "array-contains", 5), limit=10), 10),
    (Query(CITIES, where=f("n", "!=", 500), limit=10), 10),
    (Query(CITIES, where=f("n", "not-in", [0, 1, 2]), limit=10), 10),
    (Query(CITIES, limit=10), 10),
    (Query(CITIES, order_by=(order("__name__", True),), limit=10), 10),
    (Query(CITIES, start=Cursor((ref("c0500"),), False), limit=10), 10),
    (Query(CITIES, where=And((f("land", "==", 7), BEHIND)), limit=3), 3),
    (Query(CITIES, where=FieldFilter(NAME, Operator.IN, [ref("c0001"), ref("c0002")])), 0),
    (Query(ORDERS, where=f("n", ">", 10), limit=4), 4),
    (Query(ORDERS, all_descendants=True, limit=4), 4),
    (Query(ORDERS, all_descendants=True, where=f("n", ">", 10), limit=4), 4),
    (Query(ORDERS, all_descendants=True, parent=U1, limit=30), 30),
    (Query(ORDERS, all_descendants=True, parent=U1, where=f("n", ">", 10), limit=4), 4),
    (Query(ORDERS, all_descendants=True, parent=U1, order_by=BY_N, limit=4), 4),
    (Query(ORDERS, all_descendants=True, parent=U1, where=f("n", "==", 21), limit=4), 4),
]  # fmt: skip


@pytest.mark.parametrize(("query", "most"), CASES)
async def test_a_query_reads_about_its_answer(query: Query, most: int) -> None:
    indexes = indexes_for(query)
    snapshot = MemorySnapshot(DOCUMENTS, indexes)
    found = await QueryExecutor(snapshot, indexes, indexes.generation).run_query(query)
    assert [document.path for document in found] == [
        document.path for document in expected(query, DOCUMENTS)
    ]
    assert snapshot.rows_read <= most


@pytest.mark.parametrize(
    ("where", "countable"),
    [
        (f("land", "==", 7), True),
        (f("land", "==", None), True),
        (f("n", ">", 7), True),
        (f("n", "!=", 7), True),
        (f("tags", "array-contains", 7), True),
        (f("land", "in", [1]), True),
        (f("land", "in", [1, 2]), False),
        (And((f("n", ">", 7), f("land", ">", 7))), False),
        (f("t", "==", "x" * 1_600), False),
        (f("t", ">", "x" * 1_600), False),
        (And((f("tags", "array-contains", 1), f("tags", "array-contains", 2))), False),
        (None, True),
    ],
)
async def test_what_keys_alone_can_count(where: Filter | None, countable: bool) -> None:
    query = Query(CITIES, where=where)
    indexes = indexes_for(query)
    assert is_countable(query, plan_query(query, indexes, indexes.generation)) is countable
    snapshot = MemorySnapshot(DOCUMENTS, indexes)
    count = await QueryExecutor(snapshot, indexes, indexes.generation).count(query)
    assert count == len(expected(query, DOCUMENTS))
    assert (snapshot.rows_read == 0) is countable


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        (Query(CITIES), 1_000),
        (Query(CITIES, where=f("land", "==", 7)), 20),
        (Query(CITIES, where=f("land", "in", [7, 8])), 40),
        (Query(CITIES, where=FieldFilter(NAME, Operator.IN, [ref("c0001"), ref("c0002")])), 2),
    ],
)
async def test_a_query_is_small_by_the_keys_that_it_has_to_look_at(query: Query, keys: int) -> None:
    indexes = indexes_for(query)
    reader = QueryExecutor(MemorySnapshot(DOCUMENTS, indexes), indexes, indexes.generation)
    assert await reader.is_small(query, keys)
    assert not await reader.is_small(query, keys - 1)


def test_an_index_serves_equalities_in_any_order_and_direction() -> None:
    indexes = Indexes()
    fields = (IndexField(FieldPath(("b",)), True), IndexField(FieldPath(("a",))))
    add_ready(indexes, 1, IndexDefinition("cities", False, fields))
    query = Query(CITIES, where=And((f("a", "==", 1), f("b", "==", 2))))
    assert not isinstance(plan_query(query, indexes, 1), CollectionScan)
    other = Query(CITIES, where=f("a", "==", 1), order_by=(order("b"),))
    missing = plan_query(other, indexes, 1)
    assert isinstance(missing, CollectionScan)
    assert missing.missing == (
        IndexDefinition("cities", False, tuple(IndexField(FieldPath((name,))) for name in "ab")),
    )


def test_opposite_orders_share_an_index() -> None:
    up = plan_query(Query(CITIES, order_by=(order("a"), order("b", True))), Indexes(), 0)
    down = plan_query(Query(CITIES, order_by=(order("a", True), order("b"))), Indexes(), 0)
    assert isinstance(up, CollectionScan)
    assert isinstance(down, CollectionScan)
    assert up.missing == (
        IndexDefinition(
            "cities", False, (IndexField(FieldPath(("a",)), True), IndexField(FieldPath(("b",))))
        ),
    )
    assert down.missing == up.missing


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (Query(CITIES), NameScan),
        (Query(CITIES, where=FieldFilter(NAME, Operator.EQUAL, ref("a"))), PointGet),
    ],
)
def test_names_need_no_index(query: Query, kind: type[Any]) -> None:
    plan = plan_query(query, Indexes(), 0)
    assert not isinstance(plan, CollectionScan)
    assert isinstance(plan[0], kind)


def test_what_can_never_match_is_not_read() -> None:
    query = Query(CITIES, where=f("a", "in", [None, float("nan")]))
    assert plan_query(query, Indexes(), 0) == ()


async def test_an_exact_scan_reads_no_more_than_is_wanted() -> None:
    """A page of 500 and the one behind it, which tells that there are more, are two batches."""
    query = Query(CITIES, where=f("n", ">", 7), limit=501)
    indexes = indexes_for(query)
    snapshot = MemorySnapshot(DOCUMENTS, indexes)
    reader = QueryExecutor(snapshot, indexes, indexes.generation)
    assert len(await reader.run_query(query)) == 501
    assert snapshot.rows_read == 501


async def test_what_may_be_thrown_away_is_read_for_a_limited_time() -> None:
    second = Query(CITIES, where=And((f("n", ">", 7), f("land", ">", 48))))
    exact = Query(CITIES, where=f("n", ">", 7))
    total = Aggregate("n", AggregateOperator.SUM, FieldPath(("n",)))
    for query, is_refused in ((second, True), (exact, False)):
        indexes = indexes_for(query)
        snapshot = MemorySnapshot(DOCUMENTS, indexes)
        budget = ReadBudget(VirtualClock(), 0.0)
        reader = QueryExecutor(snapshot, indexes, indexes.generation, budget=budget)
        if is_refused:
            with pytest.raises(DeadlineExceeded):
                await reader.run_query(query)
        else:
            assert len(await reader.run_query(query)) == 992
        aggregator = Aggregator(reader, Aggregation(query, (total,)))
        with pytest.raises(DeadlineExceeded) as caught:
            await aggregator.run(PageBounds(1, 1))
        assert caught.value.reason == "QueryTooSlow"
