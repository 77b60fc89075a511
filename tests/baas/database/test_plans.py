"""Plans that are kept, and first pages that are read by one statement."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from baas.database import plans as plans_module
from baas.database.database import Database
from baas.database.indexes import Index, IndexDefinition, Indexes, IndexField
from baas.database.planner import CollectionScan, IndexScan, plan_query
from baas.database.plans import PAGE_DOCUMENTS_MAX, Plans
from baas.encoding.documents import StoredDocument
from baas.errors import InvalidQuery, Unavailable
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import (
    NAME,
    And,
    Cursor,
    FieldFilter,
    Filter,
    Operator,
    Order,
    Query,
    number_query,
)
from baas.model.query_checks import (
    check_query,
)
from baas.model.values import Reference, Value
from baas.model.writes import SetWrite
from baas.settings import Limits
from tests.baas.database.acts import put, where, write
from tests.baas.database.arbitrary import LONG, stored
from tests.baas.database.engines import SteeredEngine
from tests.baas.database.test_executor import add_ready, expected
from tests.effort import examples

BY_N = IndexDefinition("c", False, (IndexField(FieldPath(("n",))),))
ALL = Query(CollectionPath(("c",)), order_by=(Order(NAME),), limit=20)
BYTES = 1_000_000


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """The queries that were planned, and not remembered."""
    asked: list[Query] = []

    def plan(query: Query, indexes: Indexes, generation: int) -> object:
        asked.append(query)
        return plan_query(query, indexes, generation)

    monkeypatch.setattr(plans_module, "plan_query", plan)
    return asked


# Plans -------------------------------------------------------------------------------------------


def test_a_query_with_a_number_is_planned_once(planned: list[Query]) -> None:
    plans = Plans(Indexes())
    query = number_query(where("c", "n", 1))
    assert plans.plan(query, 0) is plans.plan(query, 0)
    assert planned == [query]


def test_equal_queries_are_not_the_same(planned: list[Query]) -> None:
    """1, 1.0 and True are equal in Python, and not to a query."""
    indexes = Indexes()
    add_ready(indexes, 1, BY_N)
    plans = Plans(indexes)
    found = [plans.plan(number_query(where("c", "n", value)), 1) for value in (1, True)]
    assert len(planned) == 2
    assert found[0] != found[1]


def test_what_has_no_number_is_not_kept(planned: list[Query]) -> None:
    plans = Plans(Indexes())
    changed = replace(number_query(where("c", "n", 1)), limit=3)
    assert changed.number is None
    plans.plan(changed, 0)
    plans.plan(changed, 0)
    assert planned == [changed, changed]


def test_an_index_that_gets_ready_is_used_and_by_newer_snapshots_only() -> None:
    indexes = Indexes()
    plans = Plans(indexes)
    query = number_query(where("c", "n", 1))
    before = indexes.generation
    assert isinstance(plans.plan(query, before), CollectionScan)
    index = Index(1, BY_N)
    indexes.add(index)
    assert isinstance(plans.plan(query, indexes.generation), CollectionScan)
    indexes.mark_ready(index)
    for _ in range(2):
        assert isinstance(plans.plan(query, indexes.generation), tuple)
        assert isinstance(plans.plan(query, before), CollectionScan)
    assert plans.first_scan(query) is not None


def test_an_index_that_is_gone_is_not_used_any_more() -> None:
    indexes = Indexes()
    index = Index(1, BY_N)
    indexes.add(index)
    indexes.mark_ready(index)
    plans = Plans(indexes)
    query = number_query(where("c", "n", 1))
    assert isinstance(plans.plan(query, indexes.generation), tuple)
    indexes.remove(index)
    assert isinstance(plans.plan(query, indexes.generation), CollectionScan)
    assert plans.first_scan(query) is None


def test_so_many_are_kept_and_no_more(
    planned: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans_module, "PLANS_MAX", 3)
    plans = Plans(Indexes())
    several = [number_query(where("c", "n", number)) for number in range(3)]
    for query in several * 2:
        plans.plan(query, 0)
    assert len(planned) == 3
    plans.plan(number_query(where("c", "n", 9)), 0)
    plans.plan(several[0], 0)
    assert len(planned) == 5


# Pages -------------------------------------------------------------------------------------------


async def test_a_page_is_read_at_once_with_its_version(database: Database) -> None:
    assert (
        database.first_pages.read_nowait(ALL, bytes_max=BYTES) is None
    )  # nothing tells the version
    await write(database, *[put(f"c/{number:03}", {"n": number}) for number in range(30)])
    page = database.first_pages.read_nowait(ALL, bytes_max=BYTES)
    assert page is not None
    assert page.version == database.version
    assert [one.path.id for one in page.documents] == [f"{number:03}" for number in range(20)]
    backwards = replace(ALL, order_by=(Order(NAME, True),), limit=2)
    page = database.first_pages.read_nowait(backwards, bytes_max=BYTES)
    assert page is not None
    assert [one.path.id for one in page.documents] == ["029", "028"]


async def test_what_is_too_much_for_once_is_left_to_a_snapshot(database: Database) -> None:
    many = PAGE_DOCUMENTS_MAX
    await write(database, *[put(f"c/{number:03}", {"n": 1}) for number in range(many - 1)])
    whole = replace(ALL, limit=None)
    page = database.first_pages.read_nowait(whole, bytes_max=BYTES)
    assert page is not None
    assert len(page.documents) == many - 1
    await write(database, put(f"c/{many}", {"n": 1}))
    assert database.first_pages.read_nowait(whole, bytes_max=BYTES) is None
    page = database.first_pages.read_nowait(replace(ALL, limit=many), bytes_max=BYTES)
    assert page is not None
    assert len(page.documents) == many
    assert database.first_pages.read_nowait(replace(ALL, limit=many + 1), bytes_max=BYTES) is None


@pytest.mark.parametrize("asked", [{"limit": 0}, {"offset": 1}, {"select": (NAME,)}])
async def test_what_one_scan_does_not_give_is_left_to_a_snapshot(
    database: Database, asked: dict[str, object]
) -> None:
    await write(database, put("c/a", {"n": 1}))
    changed = replace(ALL, **asked)  # type: ignore[arg-type]
    assert database.first_pages.read_nowait(changed, bytes_max=BYTES) is None


async def test_a_page_has_a_bound_in_bytes(database: Database) -> None:
    await write(database, put("c/a", {"text": "x" * 100}), put("c/b", {"text": "x" * 100}))
    page = database.first_pages.read_nowait(ALL, bytes_max=BYTES)
    assert page is not None
    size = sum(len(one.data) for one in page.documents)
    assert database.first_pages.read_nowait(ALL, bytes_max=size) is not None
    assert database.first_pages.read_nowait(ALL, bytes_max=size - 1) is None


async def test_a_database_that_is_closed_is_unavailable(database: Database) -> None:
    await write(database, put("c/a", {}))
    await database.close()
    with pytest.raises(Unavailable):
        database.first_pages.read_nowait(ALL, bytes_max=BYTES)


async def test_a_page_knows_no_commit_that_is_not_durable(
    database: Database, engine: SteeredEngine
) -> None:
    await write(database, put("c/a", {"n": 1}))
    engine.failures = 1
    with pytest.raises(Unavailable):
        await write(database, put("c/b", {"n": 1}))
    page = database.first_pages.read_nowait(ALL, bytes_max=BYTES)
    assert page is not None
    assert len(page.documents) == 1


A, B, TAGS = (FieldPath((name,)) for name in ("a", "b", "tags"))
SOME: list[Value] = [None, 0, 1, 1.0, True, "x", LONG + "a", LONG + "ab"]
OTHERS: list[Value] = [0, LONG + "ab", LONG + "a"]
DOCUMENTS = [
    stored(
        CollectionPath(("c",)).document(f"{at:02}{'n' * 1_480 if at % 5 == 4 else ''}"),
        {"a": a, "b": b, "tags": [a, "x"]},
    )
    for at, (a, b) in enumerate(itertools.product(SOME, OTHERS))
]
filters = st.one_of(
    st.none(),
    st.builds(FieldFilter, st.just(A), st.just(Operator.EQUAL), st.sampled_from(SOME)),
    st.builds(
        FieldFilter,
        st.sampled_from([A, B]),
        st.sampled_from([Operator.GREATER, Operator.LESS_OR_EQUAL, Operator.NOT_EQUAL]),
        st.sampled_from(SOME[1:]),
    ),
    st.builds(FieldFilter, st.just(TAGS), st.just(Operator.ARRAY_CONTAINS), st.sampled_from(SOME)),
)


@st.composite
def page_queries(draw: st.DrawFn) -> Query:
    where: Filter | None = draw(filters)
    if where is not None and draw(st.booleans()):
        where = And((where, FieldFilter(B, Operator.EQUAL, draw(st.sampled_from(SOME)))))
    order = draw(st.sampled_from([A, B, NAME]))
    name = Reference(draw(st.sampled_from(DOCUMENTS)).path)
    value = name if order == NAME else draw(st.sampled_from(SOME))
    start = Cursor((value,), draw(st.booleans()))
    return Query(
        CollectionPath(("c",)),
        where=where,
        order_by=draw(st.sampled_from([(), (Order(order, False),), (Order(order, True),)])),
        start=start if draw(st.integers(0, 3)) == 0 else None,
        limit=draw(st.sampled_from([None, 1, 4, 20])),
    )


@pytest.mark.slow
@given(query=page_queries())
@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_page_is_what_filtering_and_sorting_would_give(
    database: Database, query: Query
) -> None:
    """On a real file, with the index that the query wants."""
    try:
        check_query(query, Limits())
    except InvalidQuery:
        assume(False)
    if database.version == 0:
        await write(database, *[SetWrite(one.path, one.fields) for one in DOCUMENTS])
    plan = database.plans.plan(query, database.indexes.generation)
    if isinstance(plan, CollectionScan):
        await database.wait_indexed(plan.missing)
    for _ in range(2):
        number_query(query)  # the second time it is planned anew
        page = database.first_pages.read_nowait(query, bytes_max=BYTES)
        if page is None:
            event("left to a snapshot")
            continue
        plan = database.plans.plan(query, database.indexes.generation)
        is_index = not isinstance(plan, CollectionScan) and isinstance(plan[0], IndexScan)
        event("by an index" if is_index else "by name")
        assert names(page.documents) == names(expected(query, DOCUMENTS))
        assert page.version == database.version


def names(documents: list[StoredDocument]) -> list[str]:
    return [document.name for document in documents]
