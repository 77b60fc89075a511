"""The total order: laws of an order, exactness, and the places where types meet."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cmp_to_key
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.model.order import compare, is_equal, sort_key, type_rank
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import GeoPoint, Reference, Value, Vector
from tests.baas.model.strategies import comparable_values, doubles, integers, numbers
from tests.effort import examples


@given(comparable_values, comparable_values)
def test_order_is_antisymmetric_and_total(a: Value, b: Value) -> None:
    assert compare(a, b) in (-1, 0, 1)
    assert compare(a, b) == -compare(b, a)
    assert compare(a, a) == 0


@settings(max_examples=examples(200))
@given(st.lists(comparable_values, min_size=3, max_size=5))
def test_order_is_transitive(items: list[Value]) -> None:
    ordered = sorted(items, key=cmp_to_key(compare))
    for index, low in enumerate(ordered):
        for high in ordered[index:]:
            assert compare(low, high) <= 0


@given(comparable_values, comparable_values)
def test_equality_and_sort_keys_agree_with_the_order(a: Value, b: Value) -> None:
    outcome = compare(a, b)
    assert is_equal(a, b) == (outcome == 0)
    assert (sort_key(a) < sort_key(b)) == (outcome < 0)
    assert (sort_key(a) == sort_key(b)) == (outcome == 0)
    if outcome == 0:
        assert hash(sort_key(a)) == hash(sort_key(b))


@settings(max_examples=examples(300))
@given(integers, doubles)
def test_integers_and_doubles_compare_exactly(integer: int, double: float) -> None:
    if math.isnan(double):
        assert compare(double, integer) == -1
        return
    if math.isinf(double):
        expected = -1 if double > 0 else 1
    else:
        exact = Fraction(double)
        expected = (integer > exact) - (integer < exact)
    assert compare(integer, double) == expected


@given(numbers)
def test_nan_is_the_lowest_number_and_equals_itself(number: float) -> None:
    expected = 0 if math.isnan(number) else -1
    assert compare(math.nan, number) == expected


def test_types_come_in_their_order() -> None:
    ascending: list[Value] = [
        None,
        False,
        True,
        math.nan,
        -math.inf,
        0,
        Timestamp(0),
        "",
        b"",
        Reference(DocumentPath(("a", "b"))),
        GeoPoint(-90.0, 0.0),
        [],
        Vector((0.0,)),
        {},
    ]
    for low, high in pairwise(ascending):
        assert compare(low, high) == -1
        assert not is_equal(low, high)
    assert [type_rank(value) for value in ascending] == sorted(map(type_rank, ascending))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("\uffff", "\U00010000"),  # UTF-16 order would be the other way round
        ("a", "a\x00"),
        ([1, 2], [1, 3]),
        ([1], [1, None]),
        ([2], [10]),
        (Vector((9.0,)), Vector((1.0, 1.0))),
        (Vector((math.nan, 5.0)), Vector((0.0, 0.0))),
        ({"a": 2}, {"b": 1}),
        ({"a": 1, "b": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": None}),
        (GeoPoint(1.0, 2.0), GeoPoint(1.0, 3.0)),
        (Reference(DocumentPath(("a", "__id10__"))), Reference(DocumentPath(("a", "!")))),
        (Reference(DocumentPath(("a", "__id2__"))), Reference(DocumentPath(("a", "__id10__")))),
        (Reference(DocumentPath(("a", "b"))), Reference(DocumentPath(("a", "b", "c", "d")))),
        (2**53, 2**53 + 1),
        (2.0**53, 2**53 + 1),
        (2**63 - 1, 2.0**63),
        (b"a", b"a\x00"),
    ],
)
def test_low_is_below_high(low: Value, high: Value) -> None:
    assert compare(low, high) == -1
    assert compare(high, low) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (3, 3.0),
        (0, -0.0),
        (math.nan, -math.nan),
        ([3, {"a": math.nan}], [3.0, {"a": math.nan}]),
        (GeoPoint(0.0, 0.0), GeoPoint(-0.0, 0.0)),
        (Vector((0.0, math.nan)), Vector((-0.0, math.nan))),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_equal_values(a: Value, b: Value) -> None:
    assert is_equal(a, b)
    assert compare(a, b) == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [(True, 1), (False, 0), ("1", 1), ("a", b"a"), ([], {}), (None, 0), ([1], Vector((1.0,)))],
)
def test_values_of_different_types_differ(a: Value, b: Value) -> None:
    assert not is_equal(a, b)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError):
        sort_key(object())  # type: ignore[arg-type]
