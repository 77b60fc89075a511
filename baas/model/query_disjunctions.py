"""The filter of a query as an `or` of `and`s, each of which a scan can answer."""

from __future__ import annotations

from typing import assert_never

from baas.model.order import sort_key
from baas.model.queries import And, FieldFilter, Filter, Operator, Or
from baas.model.values import Value

_EXPANDED = {
    Operator.IN: Operator.EQUAL,
    Operator.ARRAY_CONTAINS_ANY: Operator.ARRAY_CONTAINS,
}


def disjunctions(where: Filter | None) -> tuple[tuple[FieldFilter, ...], ...]:
    """The filter as an `or` of `and`s: it matches what at least one of them matches in full.

    `in` becomes one `==` per value and `array-contains-any` one `array-contains`, without those
    values that never match (null, NaN) and without repetitions; so there may be no disjunction at
    all, and then nothing matches. No filter is one empty disjunction. For a checked query.
    """
    match where:
        case None:
            return ((),)
        case FieldFilter():
            return _expand(where)
        case Or():
            return tuple([item for part in where.filters for item in disjunctions(part)])
        case And():
            product: tuple[tuple[FieldFilter, ...], ...] = ((),)
            for part in where.filters:
                inner = disjunctions(part)
                product = tuple([left + right for left in product for right in inner])
            return product
        case _:
            assert_never(where)


def _expand(leaf: FieldFilter) -> tuple[tuple[FieldFilter, ...], ...]:
    operator = _EXPANDED.get(leaf.operator)
    if operator is None:
        return ((leaf,),)
    assert isinstance(leaf.value, list)
    distinct = {sort_key(value): value for value in leaf.value if not never_equal(value)}
    return tuple([(FieldFilter(leaf.field, operator, value),) for value in distinct.values()])


def count_disjunctions(where: Filter) -> int:
    """How many there are before those that are equal are put together."""
    match where:
        case FieldFilter():
            if where.operator in _EXPANDED and isinstance(where.value, list):
                return len(where.value)
            return 1
        case Or():
            return sum(map(count_disjunctions, where.filters))
        case And():
            count = 1
            for item in where.filters:
                count *= count_disjunctions(item)
            return count
        case _:
            assert_never(where)


def never_equal(value: Value) -> bool:
    """null and NaN match by `==` only; as an element of `in` and the like they match nothing."""
    return value is None or (isinstance(value, float) and value != value)
