"""Queries: matching, order and cursors against a slow oracle; every check; the normal form."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.errors import InvalidQuery
from baas.model.documents import Document
from baas.model.order import compare, type_rank
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import (
    NAME,
    And,
    Cursor,
    FieldFilter,
    Filter,
    Operator,
    Or,
    Order,
    Query,
    effective_orders,
)
from baas.model.query_checks import (
    check_query,
)
from baas.model.query_disjunctions import (
    disjunctions,
)
from baas.model.query_matching import (
    matches,
)
from baas.model.query_order import (
    document_order,
    get_field,
)
from baas.model.timestamps import Timestamp
from baas.model.values import Reference, Value
from baas.settings import Limits
from tests.baas.model.strategies import close_values, small_documents, small_field_paths
from tests.effort import examples

LIMITS = Limits()
ABSENT: Any = object()
COLLECTION = CollectionPath(("t",))
A, B, C = (FieldPath((name,)) for name in "abc")


# The oracle: one rule of FIREBASE.md 4 after another, no speed -----------------------------------


def value_of(document: Document, field: FieldPath) -> Any:
    if field == NAME:
        return Reference(document.path)
    try:
        return get_field(document.fields, field)
    except KeyError:
        return ABSENT


def is_searchable(value: Value) -> bool:
    return not (value is None or (isinstance(value, float) and math.isnan(value)))


def passes(where: Filter, document: Document) -> bool:
    if isinstance(where, And):
        return all(passes(item, document) for item in where.filters)
    if isinstance(where, Or):
        return any(passes(item, document) for item in where.filters)
    value, operand, operator = value_of(document, where.field), where.value, where.operator
    if value is ABSENT:
        return False
    if operator is Operator.EQUAL:
        return compare(value, operand) == 0
    if operator is Operator.NOT_EQUAL:
        return value is not None and compare(value, operand) != 0
    if operator is Operator.ARRAY_CONTAINS:
        return isinstance(value, list) and any(compare(item, operand) == 0 for item in value)
    if operator in (Operator.IN, Operator.ARRAY_CONTAINS_ANY, Operator.NOT_IN):
        assert isinstance(operand, list)
        if operator is Operator.NOT_IN:
            absent = all(compare(value, item) != 0 for item in operand)
            return value is not None and None not in operand and absent
        wanted = [item for item in operand if is_searchable(item)]
        if operator is Operator.IN:
            return any(compare(value, item) == 0 for item in wanted)
        return isinstance(value, list) and any(
            compare(element, item) == 0 for element in value for item in wanted
        )
    if type_rank(value) != type_rank(operand):
        return False
    outcome = compare(value, operand)
    return {
        Operator.LESS: outcome < 0,
        Operator.LESS_OR_EQUAL: outcome <= 0,
        Operator.GREATER: outcome > 0,
        Operator.GREATER_OR_EQUAL: outcome >= 0,
    }[operator]


def position(document: Document, values: tuple[Value, ...], query: Query) -> int:
    """-1, 0, 1 as the document is before, at or behind the position."""
    for order, value in zip(effective_orders(query), values, strict=False):
        outcome = compare(value_of(document, order.field), value)
        if outcome:
            return -outcome if order.descending else outcome
    return 0


def run(query: Query, documents: list[Document]) -> list[Document]:
    """Matching documents in order."""
    found = []
    for document in documents:
        segments = document.path.segments
        if query.all_descendants:
            above = query.parent.segments if query.parent else ()
            inside = segments[-2] == query.collection.id and segments[: len(above)] == above
            inside = inside and len(segments) > len(above)
        else:
            inside = document.path.collection == query.collection
        if not inside or (query.where is not None and not passes(query.where, document)):
            continue
        orders = effective_orders(query)
        if any(value_of(document, order.field) is ABSENT for order in orders):
            continue
        if query.start is not None:
            at = position(document, query.start.values, query)
            if at < 0 or (at == 0 and not query.start.before):
                continue
        if query.end is not None:
            at = position(document, query.end.values, query)
            if at > 0 or (at == 0 and query.end.before):
                continue
        found.append(document)

    def by_orders(left: Document, right: Document) -> int:
        values = tuple(value_of(right, order.field) for order in effective_orders(query))
        return position(left, values, query)

    return sorted(found, key=cmp_to_key(by_orders))


# Strategies --------------------------------------------------------------------------------------

SINGLE = [item for item in Operator if item.value not in ("in", "not-in", "array-contains-any")]
names = st.sampled_from(
    [Reference(DocumentPath(("t", "1"))), Reference(DocumentPath(("t", "__id3__")))]
)
field_filters_of_one = st.builds(
    FieldFilter, small_field_paths, st.sampled_from(SINGLE), close_values
)
field_filters_of_many = st.builds(
    FieldFilter,
    small_field_paths,
    st.sampled_from([Operator.IN, Operator.NOT_IN, Operator.ARRAY_CONTAINS_ANY]),
    st.lists(close_values, min_size=1, max_size=3),
)
name_filters = st.builds(
    FieldFilter,
    st.just(NAME),
    st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL, Operator.LESS, Operator.GREATER_OR_EQUAL]),
    names,
)
filters: st.SearchStrategy[Filter] = st.recursive(
    st.one_of(field_filters_of_one, field_filters_of_many, name_filters),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=1, max_size=2).map(lambda items: Or(tuple(items))),
    ),
    max_leaves=4,
)
orders = st.lists(
    st.builds(Order, st.one_of(small_field_paths, st.just(NAME)), st.booleans()),
    max_size=2,
    unique_by=lambda order: order.field,
).map(tuple)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    group = draw(st.booleans())
    query = Query(
        COLLECTION,
        all_descendants=group,
        parent=draw(st.sampled_from([None, DocumentPath(("t", "1"))])) if group else None,
        where=draw(st.none() | filters),
        order_by=draw(orders),
    )
    full = effective_orders(query)
    cursors: list[Cursor | None] = []
    for _ in range(2):
        if draw(st.booleans()):
            cursors.append(None)
            continue
        length = draw(st.integers(1, len(full)))
        values = tuple(
            draw(names if order.field == NAME else close_values) for order in full[:length]
        )
        cursors.append(Cursor(values, draw(st.booleans())))
    return replace(query, start=cursors[0], end=cursors[1])


# Matching - --------------------------------------------------------------------------------------


@settings(max_examples=examples(400))
@given(queries(), st.lists(small_documents, max_size=5, unique_by=lambda document: document.path))
def test_matches_and_order_agree_with_the_oracle(query: Query, documents: list[Document]) -> None:
    expected = run(query, documents)
    found = [document for document in documents if matches(query, document)]
    assert sorted(found, key=document_order(query)) == expected


@settings(max_examples=examples(400))
@given(filters, small_documents)
def test_normal_form_matches_the_same_documents(where: Filter, document: Document) -> None:
    direct = passes(where, document)
    normal = any(all(passes(leaf, document) for leaf in part) for part in disjunctions(where))
    assert normal == direct


@given(filters)
def test_normal_form_has_no_lists_left_to_search(where: Filter) -> None:
    for part in disjunctions(where):
        for leaf in part:
            assert leaf.operator not in (Operator.IN, Operator.ARRAY_CONTAINS_ANY)


def test_no_filter_is_one_empty_disjunction() -> None:
    assert disjunctions(None) == ((),)


def test_null_and_nan_vanish_from_the_normal_form() -> None:
    assert disjunctions(FieldFilter(A, Operator.IN, [None, math.nan])) == ()
    assert disjunctions(FieldFilter(A, Operator.IN, [1, None, 1.0, 2])) == (
        (FieldFilter(A, Operator.EQUAL, 1.0),),
        (FieldFilter(A, Operator.EQUAL, 2),),
    )


def matching(where: Filter, *values: Value) -> list[Value]:
    """Those values of the field `a` whose documents match."""
    path = DocumentPath(("t", "1"))
    query = Query(COLLECTION, where=where)
    return [
        value
        for value in values
        if matches(query, Document(path, {"a": value}, Timestamp(0), Timestamp(0)))
    ]


@pytest.mark.parametrize(
    ("operator", "operand", "expected"),
    [
        (Operator.EQUAL, None, [None]),
        (Operator.NOT_EQUAL, None, [math.nan, 0, 1, 1.0, "a", [1, None]]),
        (Operator.EQUAL, math.nan, [math.nan]),
        (Operator.NOT_EQUAL, math.nan, [0, 1, 1.0, "a", [1, None]]),
        (Operator.EQUAL, 1, [1, 1.0]),
        (Operator.NOT_EQUAL, 1, [math.nan, 0, "a", [1, None]]),
        (Operator.LESS, 1, [math.nan, 0]),
        (Operator.LESS_OR_EQUAL, 1, [math.nan, 0, 1, 1.0]),
        (Operator.GREATER, 0, [1, 1.0]),
        (Operator.GREATER_OR_EQUAL, 0, [0, 1, 1.0]),
        (Operator.GREATER_OR_EQUAL, 0.0, [0, 1, 1.0]),
        (Operator.GREATER, "", ["a"]),
        (Operator.IN, [1, None, math.nan], [1, 1.0]),
        (Operator.NOT_IN, [1], [math.nan, 0, "a", [1, None]]),
        (Operator.NOT_IN, [1, math.nan], [0, "a", [1, None]]),
        (Operator.NOT_IN, [1, None], []),
        (Operator.ARRAY_CONTAINS, 1.0, [[1, None]]),
        (Operator.ARRAY_CONTAINS_ANY, [None], []),
        (Operator.ARRAY_CONTAINS_ANY, [None, 1], [[1, None]]),
        (Operator.EQUAL, [1.0, None], [[1, None]]),
    ],
)
def test_null_nan_and_numbers(operator: Operator, operand: Value, expected: list[Value]) -> None:
    found = matching(FieldFilter(A, operator, operand), None, math.nan, 0, 1, 1.0, "a", [1, None])
    assert repr(found) == repr(expected)


def test_a_field_that_is_ordered_by_must_exist() -> None:
    document = Document(DocumentPath(("t", "1")), {"a": 1}, Timestamp(0), Timestamp(0))
    assert matches(Query(COLLECTION, order_by=(Order(A),)), document)
    assert not matches(Query(COLLECTION, order_by=(Order(B),)), document)
    either = Or((FieldFilter(A, Operator.EQUAL, 1), FieldFilter(B, Operator.GREATER, 0)))
    assert not matches(Query(COLLECTION, where=either), document), "b is implied by its inequality"


def test_collections_and_groups() -> None:
    paths = ["t/1", "u/1", "u/1/t/2", "u/1/t/2/t/3", "u/2/t/4"]
    documents = [Document(DocumentPath.parse(p), {}, Timestamp(0), Timestamp(0)) for p in paths]

    def found(query: Query) -> list[str]:
        return [str(document.path) for document in documents if matches(query, document)]

    assert found(Query(COLLECTION)) == ["t/1"]
    assert found(Query(CollectionPath(("u", "1", "t")))) == ["u/1/t/2"]
    assert found(Query(COLLECTION, all_descendants=True)) == [
        "t/1",
        "u/1/t/2",
        "u/1/t/2/t/3",
        "u/2/t/4",
    ]
    below = DocumentPath(("u", "1"))
    assert found(Query(below.child("t"), all_descendants=True, parent=below)) == [
        "u/1/t/2",
        "u/1/t/2/t/3",
    ]
    assert found(Query(below.child(""), all_descendants=True, parent=below)) == [
        "u/1/t/2",
        "u/1/t/2/t/3",
    ]


def test_a_full_reference_means_the_same_name() -> None:
    document = Document(DocumentPath(("t", "1")), {}, Timestamp(0), Timestamp(0))
    full = Reference(document.path, "projects/p/databases/d")
    for where in (FieldFilter(NAME, Operator.EQUAL, full), FieldFilter(NAME, Operator.IN, [full])):
        assert matches(Query(COLLECTION, where=where), document)
    assert matches(Query(COLLECTION, start=Cursor((full,), before=True)), document)
    assert not matches(Query(COLLECTION, start=Cursor((full,), before=False)), document)


def test_matching_is_remembered_per_query_and_not_copied() -> None:
    document = Document(DocumentPath(("t", "1")), {"a": 1}, Timestamp(0), Timestamp(0))
    query = Query(COLLECTION, where=FieldFilter(A, Operator.EQUAL, 1))
    assert matches(query, document)
    assert matches(query, document)
    assert not matches(replace(query, where=FieldFilter(A, Operator.EQUAL, 2)), document)
    assert query == replace(query)


# Implied orders ----------------------------------------------------------------------------------


def fields_of(query: Query) -> list[str]:
    return [("-" if o.descending else "") + str(o.field) for o in effective_orders(query)]


@pytest.mark.parametrize(
    ("where", "order_by", "expected"),
    [
        (None, (), ["__name__"]),
        (None, (Order(B, True),), ["-b", "-__name__"]),
        (None, (Order(B, True), Order(A)), ["-b", "a", "__name__"]),
        (None, (Order(NAME, True),), ["-__name__"]),
        (None, (Order(B), Order(NAME, True)), ["b", "-__name__"]),
        (None, (Order(NAME), Order(B)), ["__name__"]),
        (FieldFilter(A, Operator.EQUAL, 1), (), ["__name__"]),
        (FieldFilter(A, Operator.GREATER, 1), (), ["a", "__name__"]),
        (FieldFilter(A, Operator.NOT_EQUAL, None), (), ["a", "__name__"]),
        (FieldFilter(A, Operator.NOT_IN, [1]), (), ["a", "__name__"]),
        (FieldFilter(A, Operator.IN, [1]), (), ["__name__"]),
        (
            FieldFilter(NAME, Operator.GREATER, Reference(DocumentPath(("t", "1")))),
            (),
            ["__name__"],
        ),
        (
            And((FieldFilter(C, Operator.LESS, 1), FieldFilter(A, Operator.GREATER, 1))),
            (Order(B, True),),
            ["-b", "-a", "-c", "-__name__"],
        ),
        (
            Or((FieldFilter(C, Operator.LESS, 1), FieldFilter(A, Operator.GREATER, 1))),
            (Order(C),),
            ["c", "a", "__name__"],
        ),
    ],
)
def test_implied_orders(
    where: Filter | None, order_by: tuple[Order, ...], expected: list[str]
) -> None:
    assert fields_of(Query(COLLECTION, where=where, order_by=order_by)) == expected


# Checks --- --------------------------------------------------------------------------------------


def equal(count: int) -> tuple[Filter, ...]:
    return tuple(FieldFilter(A, Operator.EQUAL, index) for index in range(count))


def inside(count: int, field: FieldPath = A, operator: Operator = Operator.IN) -> FieldFilter:
    return FieldFilter(field, operator, list(range(count)))


NOT_IN = inside(1, A, Operator.NOT_IN)
GREATER = [FieldFilter(FieldPath((f"f{index}",)), Operator.GREATER, 1) for index in range(11)]


@pytest.mark.parametrize(
    "where",
    [
        inside(30),
        inside(10, operator=Operator.NOT_IN),
        inside(30, operator=Operator.ARRAY_CONTAINS_ANY),
        Or(equal(30)),
        And((inside(5), inside(6, B))),
        And(tuple(GREATER[:10])),
        Or((inside(1, A, Operator.ARRAY_CONTAINS_ANY), inside(1, B, Operator.ARRAY_CONTAINS_ANY))),
        And((NOT_IN, FieldFilter(B, Operator.GREATER, 1))),
        And((NOT_IN, Or((FieldFilter(B, Operator.EQUAL, 1),)))),
        FieldFilter(NAME, Operator.IN, [Reference(DocumentPath(("t", "1")))]),
    ],
)
def test_queries_at_their_limits_are_valid(where: Filter) -> None:
    check_query(Query(COLLECTION, where=where), LIMITS)


@pytest.mark.parametrize(
    "where",
    [
        inside(31),
        inside(0),
        FieldFilter(A, Operator.IN, 1),
        inside(11, operator=Operator.NOT_IN),
        inside(31, operator=Operator.ARRAY_CONTAINS_ANY),
        Or(equal(31)),
        And((inside(5), inside(7, B))),
        And((Or(equal(5)), Or(equal(7)))),
        And((*[inside(30)] * 60,)),
        And(tuple(GREATER)),
        And((inside(1, A, Operator.ARRAY_CONTAINS_ANY), inside(1, B, Operator.ARRAY_CONTAINS_ANY))),
        And((NOT_IN, NOT_IN)),
        And((NOT_IN, inside(1, B))),
        And((NOT_IN, inside(1, B, Operator.ARRAY_CONTAINS_ANY))),
        And((NOT_IN, FieldFilter(B, Operator.NOT_EQUAL, 1))),
        Or((NOT_IN, FieldFilter(B, Operator.EQUAL, 1))),
        And((NOT_IN, Or(equal(2)))),
        FieldFilter(NAME, Operator.EQUAL, "t/1"),
        FieldFilter(NAME, Operator.IN, [Reference(DocumentPath(("t", "1"))), "t/1"]),
        FieldFilter(NAME, Operator.ARRAY_CONTAINS, Reference(DocumentPath(("t", "1")))),
    ],
)
def test_queries_past_their_limits_are_refused(where: Filter) -> None:
    with pytest.raises(InvalidQuery):
        check_query(Query(COLLECTION, where=where), LIMITS)


@pytest.mark.parametrize(
    "query",
    [
        Query(COLLECTION, limit=-1),
        Query(COLLECTION, offset=-1),
        Query(COLLECTION, order_by=(Order(A), Order(A, True))),
        Query(COLLECTION, start=Cursor((), before=True)),
        Query(COLLECTION, order_by=(Order(A),), start=Cursor((1, 2), before=True)),
        Query(COLLECTION, end=Cursor(("t/1",), before=True)),
        Query(
            COLLECTION,
            order_by=(Order(A),),
            end=Cursor((1, Reference(DocumentPath(("t", "1"))), 3), before=True),
        ),
    ],
)
def test_contradictions_are_refused(query: Query) -> None:
    with pytest.raises(InvalidQuery):
        check_query(query, LIMITS)


@given(queries())
def test_generated_queries_are_valid_or_refused(query: Query) -> None:
    try:
        check_query(query, LIMITS)
    except InvalidQuery:
        return
    assert len(disjunctions(query.where)) <= LIMITS.query_disjunctions_max


def test_get_field_tells_null_from_absent() -> None:
    assert get_field({"a": {"b": None}}, FieldPath(("a", "b"))) is None
    for path in (FieldPath(("a", "c")), FieldPath(("a", "b", "c")), FieldPath(("x",))):
        with pytest.raises(KeyError):
            get_field({"a": {"b": None}}, path)


def test_filters_and_orders_are_together_a_hundred_at_most() -> None:
    def query(filters: int, orders: int) -> Query:
        where = And(tuple(FieldFilter(A, Operator.EQUAL, n) for n in range(filters)))
        return Query(
            COLLECTION,
            where=where,
            order_by=tuple(Order(FieldPath((f"o{n}",))) for n in range(orders)),
        )

    check_query(query(60, 40), LIMITS)
    with pytest.raises(InvalidQuery) as caught:
        check_query(query(60, 41), LIMITS)
    assert caught.value.reason == "TooManyTerms"
    assert "60 filters and 41 orders" in caught.value.message
