"""Queries in JSON: what is read, what is refused and where the refusal points."""

from __future__ import annotations

from typing import Any

import pytest

from baas.errors import BaasError, InvalidArgument
from baas.model.near import Near
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, Cursor, FieldFilter, Operator, Or, Order, Query
from baas.model.search import Search
from baas.model.timestamps import Timestamp
from baas.model.values import GeoPoint
from baas.wire.queries import FILTER_DEPTH_MAX, decode_query, encode_query

FULL: dict[str, Any] = {
    "collection": "cities",
    "where": {
        "and": [
            {"field": "country", "op": "==", "value": "FR"},
            {
                "or": [
                    {"field": "a.`b c`", "op": "in", "value": [1, 2.5]},
                    {
                        "field": "founded",
                        "op": ">=",
                        "value": {"$timestamp": "2020-01-01T00:00:00.000000Z"},
                    },
                ]
            },
        ]
    },
    "order_by": [
        {"field": "population", "direction": "desc"},
        {"field": "name", "direction": "asc"},
    ],
    "start": {"values": [10, "b"], "before": True},
    "end": {"values": [3], "before": False},
    "offset": 2,
    "limit": 10,
    "select": ["name", "a.b"],
    "search": {"text": "old *tow*", "fields": ["name", "a.b"]},
}


def test_a_full_query_is_read() -> None:
    population, name = FieldPath(("population",)), FieldPath(("name",))
    assert decode_query(FULL) == Query(
        collection=CollectionPath(("cities",)),
        where=And(
            (
                FieldFilter(FieldPath(("country",)), Operator.EQUAL, "FR"),
                Or(
                    (
                        FieldFilter(FieldPath(("a", "b c")), Operator.IN, [1, 2.5]),
                        FieldFilter(
                            FieldPath(("founded",)),
                            Operator.GREATER_OR_EQUAL,
                            Timestamp.parse("2020-01-01T00:00:00Z"),
                        ),
                    )
                ),
            )
        ),
        order_by=(Order(population, True), Order(name)),
        start=Cursor((10, "b"), True),
        end=Cursor((3,), False),
        offset=2,
        limit=10,
        select=(name, FieldPath(("a", "b"))),
        search=Search("old *tow*", (name, FieldPath(("a", "b")))),
    )


def test_encode_is_the_inverse_of_decode() -> None:
    assert encode_query(decode_query(FULL)) == FULL


@pytest.mark.parametrize("operator", ["in", "not-in"])
def test_arrays_may_be_among_the_values_of_which_a_field_is_one(operator: str) -> None:
    """They are compared whole, as in Firestore, though no document holds an array in an array."""
    where = {"field": "tags", "op": operator, "value": [["a", "b"], [], "a"]}
    query = decode_query({"collection": "c", "where": where})
    assert query.where == FieldFilter(
        FieldPath(("tags",)), Operator(operator), [["a", "b"], [], "a"]
    )
    assert encode_query(query) == {"collection": "c", "where": where}


@pytest.mark.parametrize(
    ("operator", "value", "field"),
    [("in", [1, [[2]]], "value[1][0]"), ("array-contains-any", [[1]], "value[0]")],
)
def test_other_arrays_in_arrays_are_refused(operator: str, value: list[Any], field: str) -> None:
    where = {"field": "tags", "op": operator, "value": value}
    with pytest.raises(BaasError) as caught:
        decode_query({"collection": "c", "where": where})
    assert caught.value.reason == "ArrayInArray"
    assert caught.value.details == {"field": f"query.where.{field}"}


def test_a_group_names_its_id_and_where_it_is_searched() -> None:
    everywhere = decode_query({"collection": "orders", "group": True})
    assert (everywhere.all_descendants, everywhere.parent) == (True, None)
    below = decode_query({"collection": "users/ada/orders", "group": True})
    assert below.parent == DocumentPath(("users", "ada"))
    assert encode_query(below) == {"collection": "users/ada/orders", "group": True}


def test_a_near_query_is_read_and_written() -> None:
    at: dict[str, Any] = {"field": "home.at", "center": {"$geo": [48.25, -16.5]}}
    radii: tuple[float | None, ...] = (None, 2.5)
    for radius in radii:
        near = at if radius is None else {**at, "radius_meters": radius}
        tree = {"collection": "users", "near": near, "limit": 5}
        query = decode_query(tree)
        assert query.near == Near(FieldPath(("home", "at")), GeoPoint(48.25, -16.5), radius)
        assert encode_query(query) == tree
    whole = decode_query({"collection": "users", "near": {**at, "radius_meters": 5}})
    assert repr(whole.near).endswith("radius_meters=5.0)")  # page tokens rest on the text


def _nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"field": "a", "op": "==", "value": 1}
    for _ in range(depth):
        tree = {"and": [tree]}
    return tree


BAD_RADII: list[Any] = ["5", True, {"$double": "NaN"}, []]


def _near(radius: object) -> dict[str, Any]:
    return {"field": "a", "center": {"$geo": [1, 2]}, "radius_meters": radius}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"collection": 5}, "query.collection"),
        ({"collection": "users/ada"}, "query.collection"),
        ({"collection": ""}, "query.collection"),
        ({"colection": "x"}, "query.colection"),
        ({"group": "yes"}, "query.group"),
        ({"where": []}, "query.where"),
        ({"where": {}}, "query.where.field"),
        ({"where": {"and": []}}, "query.where.and"),
        ({"where": {"and": [{"field": "a", "op": "~", "value": 1}]}}, "query.where.and[0].op"),
        ({"where": {"field": "a", "op": "=="}}, "query.where.value"),
        ({"where": {"field": "a..b", "op": "==", "value": 1}}, "query.where.field"),
        ({"where": {"field": {}, "op": "==", "value": 1}}, "query.where.field"),
        ({"where": {"field": "a", "op": [], "value": 1}}, "query.where.op"),
        ({"where": {"and": [], "or": []}}, "query.where.or"),
        ({"where": {"field": "a", "op": "==", "value": {"$bytes": 1}}}, "query.where.value"),
        ({"where": _nested(FILTER_DEPTH_MAX)}, None),
        ({"where": _nested(900)}, None),
        ({"order_by": "name"}, "query.order_by"),
        ({"order_by": [{"field": "a", "direction": "down"}]}, "query.order_by[0].direction"),
        ({"start": {"values": []}}, "query.start.values"),
        ({"start": {"before": True}}, "query.start.values"),
        ({"end": {"values": [1], "before": 1}}, "query.end.before"),
        ({"offset": -1}, "query.offset"),
        ({"offset": 2**40}, "query.offset"),
        ({"offset": True}, "query.offset"),
        ({"limit": 0}, "query.limit"),
        ({"limit": 1.5}, "query.limit"),
        ({"limit": "10"}, "query.limit"),
        ({"select": ["a", 3]}, "query.select[1]"),
        ({"search": "red"}, "query.search"),
        ({"search": {"text": "red"}}, "query.search.fields"),
        ({"search": {"fields": ["a"]}}, "query.search.text"),
        ({"search": {"text": 5, "fields": ["a"]}}, "query.search.text"),
        ({"search": {"text": "a", "fields": "a"}}, "query.search.fields"),
        ({"search": {"text": "a", "fields": ["a..b"]}}, "query.search.fields[0]"),
        ({"search": {"text": "a", "fields": [], "prefix": True}}, "query.search.prefix"),
        ({"near": []}, "query.near"),
        ({"near": {"center": {"$geo": [1, 2]}}}, "query.near.field"),
        ({"near": {"field": "a"}}, "query.near.center"),
        ({"near": {"field": "a..b", "center": {"$geo": [1, 2]}}}, "query.near.field"),
        ({"near": {"field": "a", "center": [1, 2]}}, "query.near.center"),
        ({"near": {"field": "a", "center": {"$geo": [91, 2]}}}, "query.near.center"),
        ({"near": {"field": "a", "center": {"$geo": [1]}}}, "query.near.center"),
        ({"near": {"field": "a", "center": None}}, "query.near.center"),
        ({"near": {"field": "a", "center": {"$geo": [1, 2]}, "x": 1}}, "query.near.x"),
        *[({"near": _near(radius)}, "query.near.radius_meters") for radius in BAD_RADII],
    ],
)
def test_a_bad_query_is_refused_where_it_is_bad(change: dict[str, Any], field: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_query({"collection": "cities", **change})
    if field is not None:
        assert caught.value.details is not None
        assert caught.value.details["field"] == field
        assert field in caught.value.message


@pytest.mark.parametrize("tree", [None, [], "cities", 3])
def test_a_query_that_is_no_object_is_refused(tree: object) -> None:
    with pytest.raises(BaasError, match="must be an object"):
        decode_query(tree)
