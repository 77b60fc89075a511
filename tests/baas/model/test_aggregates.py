from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.errors import InvalidQuery
from baas.model.aggregates import (
    Aggregate,
    AggregateOperator,
    Aggregation,
    aggregated_query,
    check_aggregation,
)
from baas.model.near import Near
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import NAME, FieldFilter, Operator, Or, Query
from baas.model.query_matching import matches
from baas.model.tallies import PageBounds, Results, Tally
from baas.model.values import INT64_MAX, INT64_MIN, GeoPoint, Value
from tests.baas.database.arbitrary import stored
from tests.effort import examples

CITIES = CollectionPath(("cities",))
SIZE, RANK = FieldPath(("size",)), FieldPath(("rank",))
COUNT = Aggregate("n", AggregateOperator.COUNT)
SUM = Aggregate("sum", AggregateOperator.SUM, SIZE)
MEAN = Aggregate("mean", AggregateOperator.AVERAGE, SIZE)


def numbers_of(*documents: Mapping[str, Value]) -> Results:
    aggregation = Aggregation(Query(CITIES), (SUM, MEAN, COUNT))
    query = aggregated_query(aggregation)
    tally = Tally(aggregation)
    images = [
        stored(CITIES.document(f"c{at}"), dict(fields)) for at, fields in enumerate(documents)
    ]
    tally.add([image for image in images if matches(query, image)])
    return tally.finish().groups[0].results


@pytest.mark.parametrize(
    ("values", "total", "mean"),
    [
        ([], 0, None),
        ([1, 2, 4], 7, 7 / 3),
        ([1, 2.0], 3.0, 1.5),
        ([0.1] * 10, 1.0, 0.1),
        ([1e308, 1e308, -1e308], 1e308, 1e308 / 3),
        ([INT64_MAX, 1], 2.0**63, 2.0**62),
        ([INT64_MAX, 1, -1], INT64_MAX, INT64_MAX / 3),
        ([INT64_MIN, -1], float(INT64_MIN), INT64_MIN / 2),
        ([1.7e308, 1.7e308], math.inf, math.inf),
        ([-1.7e308, -1.7e308], -math.inf, -math.inf),
        ([math.inf, 1], math.inf, math.inf),
        ([math.inf, -math.inf], math.nan, math.nan),
        ([1, math.nan, 2], math.nan, math.nan),
        ([-0.0], 0.0, 0.0),
        ([5e-324, 5e-324], 1e-323, 5e-324),
        ([1, "2", None, [3], True], 1, 1.0),
    ],
)
def test_sums_and_averages(values: list[Value], total: Value, mean: Value) -> None:
    found = numbers_of(*[{"size": value} for value in values])
    assert repr((found["sum"], found["mean"])) == repr((total, mean))
    assert found["n"] == len(values)


def test_documents_that_lack_a_field_are_in_no_number() -> None:
    assert numbers_of({"size": 1}, {"name": "x"}, {"size": None}) == {"sum": 1, "mean": 1.0, "n": 2}


@given(
    st.lists(
        st.one_of(
            st.integers(INT64_MIN, INT64_MAX), st.floats(allow_nan=False, allow_infinity=False)
        ),
        max_size=20,
    )
)
@settings(max_examples=examples(100))
def test_a_sum_is_exact_in_whatever_order_it_is_made(values: list[int | float]) -> None:
    exact = sum((Fraction(value) for value in values), Fraction(0))
    is_whole = all(type(value) is int for value in values)
    found = numbers_of(*[{"size": value} for value in values])["sum"]
    assert found == numbers_of(*[{"size": value} for value in reversed(values)])["sum"]
    assert type(found) is (int if is_whole and INT64_MIN <= exact <= INT64_MAX else float)
    try:
        assert found == (exact if type(found) is int else float(exact))
    except OverflowError:
        assert found == (math.inf if exact > 0 else -math.inf)


def test_a_count_goes_no_further_than_it_is_told() -> None:
    few = Aggregate("few", AggregateOperator.COUNT, up_to=2)
    tally = Tally(Aggregation(Query(CITIES), (few, COUNT)))
    tally.add([stored(CITIES.document(name), {}) for name in "abc"])
    assert tally.finish().groups[0].results == {"few": 2, "n": 3}


@pytest.mark.parametrize(
    ("aggregates", "reason", "message"),
    [
        ([], "NoAggregates", "Aggregations can not be empty"),
        ([COUNT, COUNT], "DuplicateAlias", "Aggregation aliases contain duplicate alias"),
        ([Aggregate("", AggregateOperator.COUNT)], "InvalidAlias", "1 to 1500"),
        ([Aggregate("x" * 1_501, AggregateOperator.COUNT)], "InvalidAlias", "1 to 1500"),
        ([Aggregate("n", AggregateOperator.SUM, NAME)], "InvalidQuery", "__name__"),
        ([Aggregate("n", AggregateOperator.COUNT, up_to=0)], "InvalidQuery", "up_to"),
        (
            [Aggregate(str(n), AggregateOperator.COUNT) for n in range(6)],
            "TooManyAggregates",
            "maximum number of aggregations is 5",
        ),
    ],
)
def test_what_is_no_set_of_aggregations(
    aggregates: list[Aggregate], reason: str, message: str
) -> None:
    with pytest.raises(InvalidQuery, match=message) as caught:
        check_aggregation(Aggregation(Query(CITIES), tuple(aggregates)))
    assert caught.value.reason == reason


def test_five_aggregations_of_long_aliases_are_right() -> None:
    few = [Aggregate(str(n), AggregateOperator.COUNT) for n in range(5)]
    check_aggregation(Aggregation(Query(CITIES), tuple(few)))
    long = Aggregate("x" * 1_500, AggregateOperator.COUNT)
    check_aggregation(Aggregation(Query(CITIES), (long, SUM, MEAN, COUNT)))


@pytest.mark.parametrize(
    ("names", "reason"),
    [("abcdef", "TooManyGroupFields"), ("aa", "InvalidQuery"), (("__name__",), "InvalidQuery")],
)
def test_what_cannot_be_grouped_by(names: Sequence[str], reason: str) -> None:
    fields = tuple([FieldPath((name,)) for name in names])
    with pytest.raises(InvalidQuery) as caught:
        check_aggregation(Aggregation(Query(CITIES), (), fields))
    assert caught.value.reason == reason
    five = tuple([FieldPath((name,)) for name in "abcde"])
    check_aggregation(Aggregation(Query(CITIES), (), five))


def test_what_is_near_and_lacks_a_field_of_an_inequality_is_counted() -> None:
    """One that an `or` does not ask for: the distance is the order, that field is in none."""
    where = Or((FieldFilter(SIZE, Operator.EQUAL, 1), FieldFilter(RANK, Operator.NOT_EQUAL, None)))
    near = Near(FieldPath(("at",)), GeoPoint(0.0, 0.0))
    most = Aggregate("most", AggregateOperator.MAXIMUM, SIZE)
    aggregation = Aggregation(Query(CITIES, where=where, near=near), (COUNT, most), (SIZE,))
    check_aggregation(aggregation)
    query = aggregated_query(aggregation)
    tally = Tally(aggregation)
    for at, size in enumerate((1.0, 1, 2)):
        document = stored(
            CITIES.document(f"c{at}"), {"at": GeoPoint(float(at), float(at)), "size": size}
        )
        if matches(query, document):
            tally.add([document])
    (group,) = tally.finish().groups
    assert repr((group.values, group.results)) == "((1.0,), {'n': 2, 'most': 1})"


def test_no_more_groups_are_held_than_are_wanted() -> None:
    """However many there are, and however large their values."""
    aggregation = Aggregation(Query(CITIES), (COUNT,), (SIZE,))
    for bounds, kept in ((PageBounds(3, 1 << 20), 3), (PageBounds(1_000, 10), 1)):
        tally = Tally(aggregation, bounds)
        most = 0
        for at in range(99, -1, -1):
            tally.add([stored(CITIES.document(f"c{at}"), {"size": f"{at:020}"})])
            most = max(most, len(tally))
        assert most <= 13
        page = tally.finish()
        assert [group.values for group in page.groups] == [(f"{at:020}",) for at in range(kept)]
        assert page.more
