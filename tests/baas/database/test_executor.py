from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from baas.database import executor, gathering, merging, sources
from baas.database.aggregation import Aggregator, ordered_queries, stepped_queries
from baas.database.executor import QueryExecutor
from baas.database.indexes import Index, IndexDefinition, Indexes
from baas.database.planner import CollectionScan, plan_query
from baas.encoding.documents import StoredDocument
from baas.errors import QuotaExceeded
from baas.model.aggregates import (
    Aggregate,
    AggregateOperator,
    Aggregation,
    aggregated_query,
    check_aggregation,
)
from baas.model.order import sort_key
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, FieldFilter, Operator, Order, Query
from baas.model.query_matching import matches
from baas.model.query_order import document_order
from baas.model.tallies import PageBounds
from tests.baas.database.arbitrary import databases, queries, stored
from tests.baas.database.memory import MemorySnapshot
from tests.effort import examples
from tests.model_based.oracle import groups


def expected(query: Query, documents: list[StoredDocument]) -> list[StoredDocument]:
    """The answer as the model defines it."""
    found = sorted(
        (document for document in documents if matches(query, document)),
        key=document_order(query),
    )
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def indexes_for(query: Query) -> Indexes:
    """Every index that the query wants, ready."""
    indexes = Indexes()
    plan = plan_query(query, indexes, 0)
    if isinstance(plan, CollectionScan):
        for number, definition in enumerate(plan.missing):
            add_ready(indexes, number, definition)
    return indexes


def add_ready(indexes: Indexes, number: int, definition: IndexDefinition) -> None:
    index = Index(number, definition)
    indexes.add(index)
    indexes.mark_ready(index)


SIZES_OF_BATCHES = (
    (executor, "SCAN_SLICE"),
    (executor, "BATCH_MAX"),
    (sources, "BATCH_FIRST"),
    (sources, "BATCH_MAX"),
    (merging, "BATCH_MAX"),
)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in SIZES_OF_BATCHES:
        monkeypatch.setattr(module, name, 2)
    for module in (executor, sources):
        monkeypatch.setattr(module, "BATCH_BYTES_MAX", 25)
    monkeypatch.setattr(gathering, "GATHERED_BYTES_MAX", 1_000)


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("indexed", [True, False])
@given(query=queries(), large=st.sampled_from((10, 10**9)), documents=databases)
@settings(max_examples=examples(400), deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_query_returns_what_filtering_and_sorting_would(
    indexed: bool, large: int, query: Query, documents: list[StoredDocument]
) -> None:
    indexes = indexes_for(query) if indexed else Indexes()
    snapshot = MemorySnapshot(documents, indexes)
    reader = QueryExecutor(snapshot, indexes, indexes.generation)
    gathering.GATHERED_BYTES_MAX = large
    if indexed and (query.collection.id or not query.all_descendants):
        assert not isinstance(plan_query(query, indexes, indexes.generation), CollectionScan)
    wanted = expected(query, documents)
    event(f"documents in the answer: {min(len(wanted), 3)}")
    found = await reader.run_query(query)
    assert [document.path for document in found] == [document.path for document in wanted]
    assert [document.data for document in found] == [document.data for document in wanted]
    assert await reader.count(query) == len(wanted)
    assert await reader.count(query, up_to=2) == min(2, len(wanted))
    assert await reader.is_small(query, 1_000)


_A, _B, _MK = FieldPath(("a",)), FieldPath(("b",)), FieldPath(("m", "k"))
AGGREGATES = (
    Aggregate("n", AggregateOperator.COUNT),
    Aggregate("few", AggregateOperator.COUNT, up_to=2),
    Aggregate("sum", AggregateOperator.SUM, _A),
    Aggregate("mean", AggregateOperator.AVERAGE, _MK),
    Aggregate("least", AggregateOperator.MINIMUM, _A),
    Aggregate("greatest", AggregateOperator.MAXIMUM, _A),
    Aggregate("least of b", AggregateOperator.MINIMUM, _B),
    Aggregate("greatest of m", AggregateOperator.MAXIMUM, _MK),
)
_STEPPED = [one for one in AGGREGATES if one.field is None or one.is_end]
ALL = PageBounds(groups_max=1_000, bytes_max=1 << 30)


@st.composite
def aggregations(draw: Any) -> Aggregation:
    chosen = draw(st.sampled_from((AGGREGATES, _STEPPED)))
    aggregates = draw(st.lists(st.sampled_from(chosen), unique=True, max_size=4))
    group_by = draw(
        st.lists(st.sampled_from((_A, _B, _MK)), unique=True, max_size=2 if aggregates else 3)
    )
    query = draw(queries())
    if draw(st.integers(0, 3)):
        query = replace(query, start=None, end=None, limit=None, offset=0)
    return Aggregation(query, tuple(aggregates) or AGGREGATES[:1] * (not group_by), tuple(group_by))


def indexes_for_all(*asked: Query) -> Indexes:
    indexes = Indexes()
    for query in asked:
        plan = plan_query(query, indexes, indexes.generation)
        if isinstance(plan, CollectionScan):
            for definition in plan.missing:
                if indexes.find(definition) is None:
                    add_ready(indexes, len(list(indexes)) + 1, definition)
    return indexes


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
@given(aggregation=aggregations(), documents=databases, most=st.integers(1, 4))
@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
async def test_groups_are_those_of_the_documents_that_filtering_would_leave(
    aggregation: Aggregation, documents: list[StoredDocument], most: int
) -> None:
    """In each of the three ways, whole and in pages."""
    check_aggregation(aggregation)
    answer = expected(aggregated_query(aggregation), documents)
    wanted = [repr((one.values, one.results)) for one in groups(aggregation, answer)]
    event(f"groups: {min(len(wanted), 3)}, by {len(aggregation.group_by)} fields")
    stepped = indexes_for_all(*stepped_queries(aggregation), *ordered_queries(aggregation))
    for indexes in (stepped, indexes_for_all(*ordered_queries(aggregation)), Indexes()):
        reader = QueryExecutor(MemorySnapshot(documents, indexes), indexes, indexes.generation)
        page = await Aggregator(reader, aggregation).run(ALL)
        assert [repr((one.values, one.results)) for one in page.groups] == wanted
        assert not page.more
        found: list[str] = []
        after = None
        while True:
            page = await Aggregator(reader, aggregation).run(PageBounds(most, 1 << 30, after))
            found += [repr((one.values, one.results)) for one in page.groups]
            assert len(page.groups) <= most
            if not page.more:
                break
            assert len(page.groups) == most
            after = page.groups[-1].values
            assert aggregation.group_of(_by_path(documents)[page.groups[-1].first]) == tuple(
                map(sort_key, after)
            )
        assert found == wanted


def _by_path(documents: list[StoredDocument]) -> dict[Any, StoredDocument]:
    return {document.path: document for document in documents}


_BOTH = st.one_of(st.integers(0, 5), st.sampled_from(["a", "b", None]))
_RANGES = ("<", "<=", ">", ">=", "!=")


@st.composite
def two_inequalities(draw: Any) -> Query:
    a, b = FieldPath(("a",)), FieldPath(("b",))
    filters = [
        FieldFilter(field, Operator(draw(st.sampled_from(_RANGES))), draw(st.integers(0, 5)))
        for field in (a, b, draw(st.sampled_from((a, b))))
    ]
    orders = [Order(field, draw(st.booleans())) for field in draw(st.permutations((a, b)))]
    return Query(
        CollectionPath(("c",)),
        where=And(tuple(filters)),
        order_by=tuple(orders[: draw(st.integers(0, 2))]),
        limit=draw(st.sampled_from((None, 2, 5))),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
@given(query=two_inequalities(), pairs=st.lists(st.tuples(_BOTH, _BOTH), min_size=8, max_size=30))
@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
async def test_what_a_second_inequality_rules_out_is_passed_over(
    query: Query, pairs: list[tuple[Any, Any]]
) -> None:
    documents = [
        stored(query.collection.document(f"d{at}"), {"a": a, "b": b})
        for at, (a, b) in enumerate(pairs)
    ]
    indexes = indexes_for(query)
    reader = QueryExecutor(MemorySnapshot(documents, indexes), indexes, indexes.generation)
    found = await reader.run_query(query)
    wanted = expected(query, documents)
    assert [document.path for document in found] == [document.path for document in wanted]


@pytest.mark.parametrize("limit", [100, 400], ids=["one scan", "batches"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_of_large_documents_few_are_in_memory_at_once(limit: int, ordered: bool) -> None:
    """A batch is bounded in bytes: five hundred documents of a MiB would be half a GiB."""
    large = [
        stored(DocumentPath(("c", f"d{at:02}")), {"a": at, "t": "x" * 10**6}) for at in range(40)
    ]
    query = Query(CollectionPath(("c",)), limit=limit, order_by=(Order(_A),) if ordered else ())
    indexes = indexes_for(query)
    snapshot = MemorySnapshot(large, indexes)
    reader = QueryExecutor(snapshot, indexes, indexes.generation)
    found, is_cut = await reader.read_first(query, bytes_max=2_500_000)
    assert ([one.path.id for one in found], is_cut) == (["d00", "d01"], True)
    assert snapshot.rows_read <= 10
    snapshot.rows_read = 0
    async for batch in reader.stream(query):
        assert len(batch) <= 5
    assert snapshot.rows_read == 40


async def test_sorting_large_documents_without_an_index_keeps_what_they_are_ordered_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "GATHERED_BYTES_MAX", 2_500_000)
    large = [
        stored(DocumentPath(("c", f"d{at:02}")), {"a": -at, "t": "x" * 10**6}) for at in range(40)
    ]
    query = Query(CollectionPath(("c",)), order_by=(Order(_A),))
    sort, sizes = gathering._sort, []

    async def noted(documents: list[StoredDocument], *order: Any) -> list[StoredDocument]:
        sizes.append(sum([len(one.data) for one in documents]))
        return await sort(documents, *order)

    monkeypatch.setattr(gathering, "_sort", noted)
    reader = QueryExecutor(MemorySnapshot(large, Indexes()), Indexes(), 0)
    batches = [batch async for batch in reader.stream(query)]
    assert [one for batch in batches for one in batch] == large[::-1]
    assert max(map(len, batches)) <= 16
    assert max(sizes) < 10_000


async def test_long_texts_that_begin_alike_are_held_back_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index does not know their order, and all of them were kept in memory for one page."""
    monkeypatch.setattr(gathering, "GATHERED_BYTES_MAX", 40_000)
    monkeypatch.setattr(gathering, "PARTS_BYTES_MAX", 40_000)
    monkeypatch.setattr(sources, "RUN_BYTES_MAX", 40_000)
    alike = "x" * 2_000
    query = Query(CollectionPath(("c",)), order_by=(Order(_A),), limit=2)
    for count, is_small in ((15, True), (30, False)):
        documents = [
            stored(DocumentPath(("c", f"d{at:02}")), {"a": f"{alike}{-at}"}) for at in range(count)
        ]
        for indexes in (indexes_for(query), Indexes()):
            snapshot = MemorySnapshot(documents, indexes)
            reader = QueryExecutor(snapshot, indexes, indexes.generation)
            assert await reader.count(replace(query, limit=None)) == count
            if is_small:
                assert await reader.run_query(query) == expected(query, documents)
                continue
            with pytest.raises(QuotaExceeded) as caught:
                await reader.run_query(replace(query, limit=None))
            assert caught.value.reason == "SortTooLarge"
