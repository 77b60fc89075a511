"""The pure answer to: does this document match?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, assert_never

from baas.model.documents import DocumentLike
from baas.model.near import Near, compile_distance
from baas.model.order import SortKey, is_equal, sort_key, type_rank
from baas.model.paths import FieldPath
from baas.model.queries import (
    NAME,
    And,
    FieldFilter,
    Filter,
    Matcher,
    Operator,
    Or,
    Order,
    Query,
    effective_orders,
)
from baas.model.query_disjunctions import never_equal
from baas.model.query_order import (
    MISSING,
    compile_end,
    compile_start,
    getter,
    local_names,
    near_start,
)
from baas.model.search import has_terms
from baas.model.values import Reference, Value

_Test: TypeAlias = Callable[[Any], bool]


def matches(query: Query, document: DocumentLike) -> bool:
    """Whether the document is in the query's collection, passes its filters, has every field that
    it is ordered by, and lies between its cursors. Offset and limit are not looked at."""
    matcher = query._matcher
    if matcher is None:
        matcher = compile_query(query)
        object.__setattr__(query, "_matcher", matcher)
    return matcher(document)


def compile_query(query: Query) -> Matcher:
    """`matches` for one query, as a function of the document alone."""
    tests: list[Matcher] = [_compile_collection(query)]
    if query.where is not None:
        tests.append(_compile_filter(query.where))
    orders = effective_orders(query)
    tests.extend(_compile_existence(query, orders))
    if query.near is not None:
        tests.append(_compile_near(query, query.near))
    elif query.start is not None:
        tests.append(compile_start(query.start, orders))
    if query.end is not None:
        tests.append(compile_end(query.end, orders))
    if query.search is not None:
        search = query.search
        tests.append(lambda document: has_terms(document.fields, search))
    return _all_of(tests)


def accepts(leaf: FieldFilter, value: Value) -> bool:
    """Whether a document with this value in the filter's field passes it."""
    return _compile_test(leaf.operator, leaf.value)(value)


def _all_of(tests: list[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda document: first(document) and second(document)

    def matches_all(document: DocumentLike) -> bool:
        for test in tests:  # noqa: SIM110 (a generator would cost more than the tests)
            if not test(document):
                return False
        return True

    return matches_all


def _compile_collection(query: Query) -> Matcher:
    segments = query.collection.segments
    if not query.all_descendants:
        return lambda document: document.path.segments[:-1] == segments
    group = segments[-1]
    above = () if query.parent is None else query.parent.segments
    depth = len(above)

    def matches_group(document: DocumentLike) -> bool:
        path = document.path.segments
        if group and path[-2] != group:  # an empty id stands for every collection
            return False
        return len(path) > depth and path[:depth] == above

    return matches_group


def _compile_filter(where: Filter) -> Matcher:
    match where:
        case FieldFilter():
            return _compile_field_filter(where)
        case And():
            return _all_of([_compile_filter(item) for item in where.filters])
        case Or():
            tests = [_compile_filter(item) for item in where.filters]
            return lambda document: any(test(document) for test in tests)
        case _:
            assert_never(where)


def _compile_field_filter(where: FieldFilter) -> Matcher:
    get = getter(where.field)
    value = where.value
    if where.field == NAME:
        value = local_names(value)
    test = _compile_test(where.operator, value)
    return lambda document: test(get(document))


def _compile_test(operator: Operator, operand: Value) -> _Test:
    match operator:
        case Operator.EQUAL:
            return _equals(operand)
        case Operator.NOT_EQUAL:
            equals = _equals(operand)
            return lambda value: value is not MISSING and value is not None and not equals(value)
        case Operator.LESS | Operator.LESS_OR_EQUAL:
            return _compile_range(operand, below=True, equal=operator is Operator.LESS_OR_EQUAL)
        case Operator.GREATER | Operator.GREATER_OR_EQUAL:
            return _compile_range(operand, below=False, equal=operator is Operator.GREATER_OR_EQUAL)
        case Operator.ARRAY_CONTAINS:
            equals = _equals(operand)
            return lambda value: type(value) is list and any(equals(item) for item in value)
        case Operator.ARRAY_CONTAINS_ANY:
            keys = _operand_keys(operand)
            return lambda value: (
                type(value) is list and any(sort_key(item) in keys for item in value)
            )
        case Operator.IN:
            keys = _operand_keys(operand)
            return lambda value: value is not MISSING and sort_key(value) in keys
        case Operator.NOT_IN:
            return _compile_not_in(operand)
        case _:
            assert_never(operator)


def _equals(operand: Value) -> _Test:
    if type(operand) is str:
        return lambda value: type(value) is str and value == operand
    if operand is None or type(operand) is bool:
        return lambda value: value is operand
    if type(operand) is int:
        return lambda value: (type(value) is int or type(value) is float) and value == operand
    return lambda value: value is not MISSING and is_equal(value, operand)


def _operand_keys(operand: Value) -> frozenset[SortKey]:
    assert isinstance(operand, list)
    return frozenset([sort_key(value) for value in operand if not never_equal(value)])


def _compile_range(operand: Value, *, below: bool, equal: bool) -> _Test:
    if type(operand) is int:
        return _compile_integer_range(operand, below=below, equal=equal)
    bound = sort_key(operand)
    rank = type_rank(operand)

    def is_below(value: Any) -> bool:
        if value is MISSING or type_rank(value) != rank:
            return False
        key = sort_key(value)
        return key < bound or (equal and key == bound)

    def is_above(value: Any) -> bool:
        if value is MISSING or type_rank(value) != rank:
            return False
        key = sort_key(value)
        return key > bound or (equal and key == bound)

    return is_below if below else is_above


def _compile_integer_range(operand: int, *, below: bool, equal: bool) -> _Test:
    """The most used ranges, without keys. NaN is below every integer, and Python compares integers
    with doubles exactly."""

    def is_below(value: Any) -> bool:
        if type(value) is float:
            return value < operand or (equal and value == operand) or value != value
        return type(value) is int and (value < operand or (equal and value == operand))

    def is_above(value: Any) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        return value > operand or (equal and value == operand)

    return is_below if below else is_above


def _compile_not_in(operand: Value) -> _Test:
    assert isinstance(operand, list)
    if None in operand:
        return lambda value: False
    keys = frozenset([sort_key(value) for value in operand])
    return lambda value: value is not MISSING and value is not None and sort_key(value) not in keys


def _compile_existence(query: Query, orders: tuple[Order, ...]) -> Iterator[Matcher]:
    """Documents without a field that the query is ordered by, or wants, are not in it."""
    # A field that every document must have to pass the filter needs no second look.
    required: set[FieldPath] = set()
    where = query.where
    for item in where.filters if isinstance(where, And) else (where,):
        if isinstance(item, FieldFilter):
            required.add(item.field)
    for path in dict.fromkeys((*[order.field for order in orders], *query.existing)):
        if path != NAME and path not in required:
            yield _exists(path)


def _exists(path: FieldPath) -> Matcher:
    get = getter(path)
    return lambda document: get(document) is not MISSING


def _compile_near(query: Query, near: Near) -> Matcher:
    distance_of, radius, start = compile_distance(near), near.radius, near_start(query)

    def is_near(document: DocumentLike) -> bool:
        distance = distance_of(document)
        if distance is None or distance > radius:
            return False
        return start is None or (distance, sort_key(Reference(document.path))) > start

    return is_near
