"""The total order of values, across all types, and the equality that goes with it.

null < bool < number < timestamp < string < bytes < reference < geo point < array < vector < map.
NaN is the lowest number and equals itself; integers and doubles compare mathematically, exactly,
whatever their size; -0.0 equals 0. Strings compare by UTF-8 bytes, which is code point order.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from baas.model.paths import path_key
from baas.model.timestamps import Timestamp
from baas.model.values import GeoPoint, Reference, Value, Vector

# Comparable with every other sort key: the first item is the type's rank, so that items behind it
# are only ever compared with their own kind. Hashable. Equal exactly where values are equal.
SortKey: TypeAlias = tuple[Any, ...]

RANK_NULL, RANK_BOOL, RANK_NUMBER, RANK_TIMESTAMP, RANK_STRING = 0, 1, 2, 3, 4
RANK_BYTES, RANK_REFERENCE, RANK_GEO_POINT, RANK_ARRAY, RANK_VECTOR, RANK_MAP = 5, 6, 7, 8, 9, 10

_RANKS: dict[type, int] = {
    type(None): RANK_NULL,
    bool: RANK_BOOL,
    int: RANK_NUMBER,
    float: RANK_NUMBER,
    Timestamp: RANK_TIMESTAMP,
    str: RANK_STRING,
    bytes: RANK_BYTES,
    Reference: RANK_REFERENCE,
    GeoPoint: RANK_GEO_POINT,
    list: RANK_ARRAY,
    Vector: RANK_VECTOR,
    dict: RANK_MAP,
}
_KEY_NULL: SortKey = (RANK_NULL,)
_KEY_NAN: SortKey = (RANK_NUMBER, 0)
_PLAIN = frozenset({int, str})  # types whose own comparison is the order, but not across each other


def type_rank(value: Value) -> int:
    """The place of the value's type in the order; integers and doubles share one."""
    return _RANKS[type(value)]


def sort_key(value: Value) -> SortKey:
    """A key for `sorted` and `min`; keys compare as their values do."""
    kind = type(value)
    if kind is str:
        return (RANK_STRING, value)
    if kind is int:
        return (RANK_NUMBER, 1, value)
    match value:
        case None:
            return _KEY_NULL
        case bool():
            return (RANK_BOOL, value)
        case float():
            return _number_key(value)
        case Timestamp():
            return (RANK_TIMESTAMP, value.microseconds)
        case bytes():
            return (RANK_BYTES, value)
        case Reference():
            return (RANK_REFERENCE, value.database, path_key(value.path.segments))
        case GeoPoint():
            return (RANK_GEO_POINT, value.latitude, value.longitude)
        case list():
            return (RANK_ARRAY, tuple([sort_key(item) for item in value]))
        case Vector():
            return (
                RANK_VECTOR,
                len(value.values),
                tuple([_number_key(item) for item in value.values]),
            )
        case dict():
            # A pair is compared key first, and a shorter map that is a prefix comes first.
            return (RANK_MAP, tuple([(key, sort_key(value[key])) for key in sorted(value)]))
        case _:
            raise TypeError(f"{kind.__name__} is no value")


def compare(a: Value, b: Value) -> int:
    """-1, 0 or 1 as `a` is below, equal to or above `b`. Total: any two values compare."""
    kind = type(a)
    if kind is type(b) and kind in _PLAIN:
        return (a > b) - (a < b)  # type: ignore[operator]
    key_a, key_b = sort_key(a), sort_key(b)
    return (key_a > key_b) - (key_a < key_b)


def is_equal(a: Value, b: Value) -> bool:
    """Whether `compare(a, b) == 0`: 3 == 3.0, NaN == NaN, -0.0 == 0, True != 1."""
    kind = type(a)
    if kind is type(b):
        if kind in _PLAIN:
            return a == b
    elif _RANKS[kind] != _RANKS[type(b)]:
        return False
    return sort_key(a) == sort_key(b)


def _number_key(number: float) -> SortKey:
    return (RANK_NUMBER, 1, number) if number == number else _KEY_NAN
