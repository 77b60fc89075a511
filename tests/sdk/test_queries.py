from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from baas_sdk import And, Client, DocumentSnapshot, FieldFilter, FieldPath, GeoPoint, Or, Query
from baas_sdk.errors import InvalidQuery, InvalidValue, SdkError
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.model.documents import Document
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.wire.queries import decode_query
from tests.effort import examples
from tests.model_based.oracle import answer

CLIENT = Client("http://127.0.0.1:9", project="demo")
CITIES = CLIENT.collection("cities")
WIEN = GeoPoint(48.25, 16.5)
ID = FieldPath.document_id()
CONTENTS = st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2)


def encoded(query: Query) -> Any:
    return query._spec.encode()


def city(**fields: Any) -> DocumentSnapshot[Any]:
    tree = {
        "path": "cities/zrh",
        "fields": fields,
        "create_time": "2026-01-01T00:00:00.000000Z",
        "update_time": "2026-01-01T00:00:00.000000Z",
    }
    return DocumentSnapshot(CLIENT.document("cities/zrh"), tree)


def test_a_collection_is_a_query() -> None:
    assert encoded(CITIES) == {"collection": "cities"}
    assert encoded(CLIENT.collection_group("districts")) == {
        "collection": "districts",
        "group": True,
    }


def test_every_clause_has_its_member() -> None:
    query = (
        CITIES.where(filter=FieldFilter("country", "==", "CH"))
        .where("tags", "array_contains", "lake")
        .order_by("population", direction=Query.DESCENDING)
        .order_by("name")
        .offset(2)
        .limit(10)
        .select(["name", "geo.lat"])
        .start_at([5, "A"])
        .end_before({"population": 1, "name": "Z"})
    )

    assert encoded(query) == {
        "collection": "cities",
        "where": {
            "and": [
                {"field": "country", "op": "==", "value": "CH"},
                {"field": "tags", "op": "array-contains", "value": "lake"},
            ]
        },
        "order_by": [
            {"field": "population", "direction": "desc"},
            {"field": "name", "direction": "asc"},
        ],
        "start": {"values": [5, "A"], "before": True},
        "end": {"values": [1, "Z"], "before": True},
        "offset": 2,
        "limit": 10,
        "select": ["name", "geo.lat"],
    }


def test_filters_nest() -> None:
    condition = Or([FieldFilter("a", "in", (1, 2)), And([FieldFilter("b", "!=", None)])])

    assert encoded(CITIES.where(filter=condition)) == {
        "collection": "cities",
        "where": {
            "or": [
                {"field": "a", "op": "in", "value": [1, 2]},
                {"and": [{"field": "b", "op": "!=", "value": None}]},
            ]
        },
    }


def test_arrays_may_be_among_the_values_of_which_a_field_is_one() -> None:
    for operator in ("in", "not-in"):
        where = encoded(CITIES.where("tags", operator, (["a", "b"], "a")))["where"]
        assert where == {"field": "tags", "op": operator, "value": [["a", "b"], "a"]}
    with pytest.raises(InvalidValue, match="an array cannot hold an array"):
        encoded(CITIES.where("tags", "in", [[["a"]]]))
    with pytest.raises(InvalidValue, match="an array cannot hold an array"):
        encoded(CITIES.where("tags", "array-contains-any", [["a"]]))


def test_the_nearest_are_asked_for_and_tell_how_far_they_are() -> None:
    near = CITIES.where("country", "==", "AT").near("a.`b c`", WIEN, radius_meters=5_000).limit(3)

    assert encoded(near) == {
        "collection": "cities",
        "where": {"field": "country", "op": "==", "value": "AT"},
        "limit": 3,
        "near": {
            "field": "a.`b c`",
            "center": {"$geo": [48.25, 16.5]},
            "radius_meters": 5_000.0,
        },
    }
    assert "radius_meters" not in encoded(CITIES.near("at", WIEN))["near"]
    found = DocumentSnapshot(CITIES.document("a"), {"fields": {}, "distance_meters": 2.5})
    assert found.distance_meters == 2.5
    assert city().distance_meters is None
    assert DocumentSnapshot(CITIES.document("a"), None).distance_meters is None


def test_not_a_number_may_be_asked_for() -> None:
    where = encoded(CITIES.where("a", "==", math.nan))["where"]

    assert where == {"field": "a", "op": "==", "value": {"$double": "NaN"}}


def test_queries_do_not_change() -> None:
    base = CITIES.where("a", "==", 1)
    base.limit(1)

    assert "limit" not in encoded(base)
    assert base == CITIES.where("a", "==", 1)
    assert base != CITIES.where("a", "==", 2)


def test_ids_are_compared_as_references() -> None:
    assert encoded(CITIES.where(ID, "==", "zrh"))["where"]["value"] == {"$ref": "cities/zrh"}
    reference = CITIES.document("zrh")
    where = encoded(CITIES.where(ID, "in", ["a", reference]))["where"]
    assert where["value"] == [{"$ref": "cities/a"}, {"$ref": "cities/zrh"}]
    group = CLIENT.collection_group("districts").where(ID, ">=", "cities/zrh/districts/1")
    assert encoded(group)["where"]["value"] == {"$ref": "cities/zrh/districts/1"}
    assert encoded(CITIES.order_by(ID).start_at(["b"]))["start"]["values"] == [{"$ref": "cities/b"}]


@pytest.mark.parametrize(
    ("method", "wire"),
    [
        ("start_at", ("start", True)),
        ("start_after", ("start", False)),
        ("end_before", ("end", True)),
        ("end_at", ("end", False)),
    ],
)
def test_positions(method: str, wire: tuple[str, bool]) -> None:
    query = getattr(CITIES.order_by("a"), method)([1])

    assert encoded(query)[wire[0]] == {"values": [1], "before": wire[1]}


def test_a_document_marks_a_total_order() -> None:
    query = CITIES.where("b", ">", 1).where("c", "!=", 2).order_by("a", Query.DESCENDING)

    tree = encoded(query.start_after(city(a=3, b=2, c=5)))

    assert tree["order_by"] == [
        {"field": "a", "direction": "desc"},
        {"field": "b", "direction": "desc"},
        {"field": "c", "direction": "desc"},
        {"field": "__name__", "direction": "desc"},
    ]
    assert tree["start"] == {"values": [3, 2, 5, {"$ref": "cities/zrh"}], "before": False}


def test_a_document_alone_is_ordered_by_name() -> None:
    tree = encoded(CITIES.start_at(city()))

    assert tree["order_by"] == [{"field": "__name__", "direction": "asc"}]
    assert tree["start"]["values"] == [{"$ref": "cities/zrh"}]


def test_the_last_are_asked_for_in_the_opposite_order() -> None:
    query = CITIES.order_by("a").order_by("b", Query.DESCENDING).limit_to_last(2)

    assert encoded(query.start_at([1]).end_at([9, 8])) == {
        "collection": "cities",
        "order_by": [{"field": "a", "direction": "desc"}, {"field": "b", "direction": "asc"}],
        "start": {"values": [9, 8], "before": True},
        "end": {"values": [1], "before": False},
        "limit": 2,
    }
    assert encoded(query.start_after([1]).end_before([9]))["start"]["before"] is False
    assert encoded(query.start_after([1]).end_before([9]))["end"]["before"] is True


def test_a_later_limit_takes_the_place_of_an_earlier_one() -> None:
    assert encoded(CITIES.order_by("a").limit_to_last(2).limit(3)) == {
        "collection": "cities",
        "order_by": [{"field": "a", "direction": "asc"}],
        "limit": 3,
    }


def test_a_search_is_of_words_in_fields() -> None:
    query = CITIES.where("a", "==", 1).search("red app*", fields=["title", FieldPath("a b")])
    assert encoded(query.limit(2)) == {
        "collection": "cities",
        "where": {"field": "a", "op": "==", "value": 1},
        "limit": 2,
        "search": {"text": "red app*", "fields": ["title", "`a b`"]},
    }


def test_select_of_nothing_is_ids_alone() -> None:
    assert encoded(CITIES.select([]))["select"] == ["__name__"]


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: CITIES.where("a", "=", 1), "no operator"),
    (lambda: CITIES.where("a"), "FieldFilter"),
    (lambda: CITIES.where(filter="a == 1"), "FieldFilter"),  # type: ignore[arg-type]
    (lambda: CITIES.where("a", "==", 1, filter=FieldFilter("a", "==", 1)), "not both"),
    (lambda: CITIES.where("a", "in", "xyz"), "takes a list"),
    (lambda: CITIES.where("a", "in", 5), "takes a list"),
    (lambda: CITIES.where("a", "<", None), "only be compared"),
    (lambda: CITIES.where("a", ">=", math.nan), "only be compared"),
    (lambda: CITIES.where("a", "==", {1}), "use a list"),
    (lambda: CITIES.where(ID, "==", "a/b"), "without `/`"),
    (lambda: CITIES.where(ID, "==", 5), "an id"),
    (lambda: CITIES.where(ID, "array_contains", "a"), "does not apply"),
    (lambda: And([]), "at least one"),
    (lambda: Or(["x"]), "takes FieldFilter"),  # type: ignore[list-item]
    (lambda: CITIES.order_by("a", "down"), "direction"),
    (lambda: CITIES.limit(0), "at least 1"),
    (lambda: CITIES.limit(2**31), "at most"),
    (lambda: CITIES.limit("5"), "whole number"),  # type: ignore[arg-type]
    (lambda: CITIES.offset(-1), "at least 0"),
    (lambda: CITIES.select("name"), "list of field paths"),
    (lambda: CITIES.start_at([]), "at least one"),
    (lambda: CITIES.start_at("x"), "position"),
    (lambda: CITIES.start_at(DocumentSnapshot(CITIES.document("x"), None)), "does not exist"),
    (lambda: encoded(CITIES.start_at([1])), "order_by"),
    (lambda: encoded(CITIES.order_by("a").start_at([1, 2])), "2 values for 1"),
    (lambda: encoded(CITIES.order_by("a").end_at({"b": 1})), "`a` is ordered by"),
    (lambda: encoded(CITIES.order_by("a").start_at(city(b=1))), "has no field `a`"),
    (lambda: encoded(CITIES.limit_to_last(1)), "needs an order_by"),
    (lambda: CITIES.order_by("a").limit_to_last(1).stream(), "cannot be streamed"),
    (lambda: CITIES.search(5, fields=["a"]), "takes a text"),  # type: ignore[arg-type]
    (lambda: CITIES.search("x", fields="a"), "list of fields"),
    (lambda: CITIES.search("x", fields=[]), "at least one field"),
    (lambda: CITIES.search("x", fields=["a"]).search("y", fields=["a"]), "one search"),
    (lambda: encoded(CITIES.search("x", fields=["a"]).order_by("a")), "order of its own"),
    (lambda: encoded(CITIES.search("x", fields=["a"]).limit_to_last(1)), "order of its own"),
    (lambda: encoded(CITIES.search("x", fields=["a"]).start_at([1])), "order of its own"),
    (lambda: CITIES.near("at", [48.2, 16.4]), r"GeoPoint\(48.2, 16.4\)"),  # type: ignore[arg-type]
    (lambda: CITIES.near("at", WIEN, "5 km"), "is a number"),  # type: ignore[arg-type]
    (lambda: CITIES.near("at", WIEN, True), "is a number"),
    (lambda: CITIES.near("at", WIEN, -1), "at least 0"),
    (lambda: CITIES.near("at", WIEN, math.nan), "at least 0"),
    (lambda: CITIES.near("at", WIEN, math.inf), "finite"),
    (lambda: CITIES.near("at", WIEN, 10**400), "finite"),
    (lambda: encoded(CITIES.near("at", WIEN).order_by("a")), "order of its own"),
    (lambda: encoded(CITIES.near("at", WIEN).start_after(city())), "order of its own"),
    (lambda: encoded(CITIES.near("at", WIEN).end_at([1])), "order of its own"),
    (lambda: encoded(CITIES.near("at", WIEN).limit_to_last(1)), "order of its own"),
    (lambda: encoded(CITIES.near("at", WIEN).search("x", fields=["a"])), "nor near"),
    (lambda: CITIES.near("at", WIEN).near("b", WIEN), "one near"),
]


@pytest.mark.parametrize(("make", "words"), WRONG)
def test_wrong_queries_are_refused_before_anything_is_sent(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises((InvalidQuery, InvalidValue), match=words) as caught:
        make()
    assert isinstance(caught.value, SdkError)


@st.composite
def asked_from_the_end(draw: Any) -> tuple[Query, Query, list[Document], int]:
    """A query, the same with its last documents only, and what there is."""
    found = [
        Document(DocumentPath(("cities", f"c{number}")), fields, Timestamp(0), Timestamp(0))
        for number, fields in enumerate(draw(st.lists(CONTENTS, max_size=8)))
    ]
    query: Query = CITIES
    for name in draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=2, unique=True)):
        query = query.order_by(name, draw(st.sampled_from([Query.ASCENDING, Query.DESCENDING])))
    if draw(st.booleans()):
        query = query.where(draw(st.sampled_from("ab")), "!=", 1)
    whole = [one for one in found if {"a", "b"} <= one.fields.keys()]
    for position in (query.start_at, query.start_after), (query.end_at, query.end_before):
        place = draw(
            st.one_of(st.none(), st.integers(0, 3), *[st.sampled_from(whole)] * bool(whole))
        )
        method = draw(st.sampled_from([one.__name__ for one in position]))
        if isinstance(place, int):
            query = getattr(query, method)([place])
        elif place is not None:
            query = getattr(query, method)(snapshot_of(place))
    count = draw(st.integers(1, 5))
    return query, query.limit_to_last(count), found, count


def snapshot_of(document: Document) -> DocumentSnapshot[Any]:
    time = "2026-01-01T00:00:00.000000Z"
    tree = {
        "path": str(document.path),
        "fields": dict(document.fields),
        "create_time": time,
        "update_time": time,
    }
    return DocumentSnapshot(CLIENT.document(str(document.path)), tree)


@given(asked=asked_from_the_end())
@settings(max_examples=examples(100))
def test_the_last_ones_are_those_of_the_whole_answer(
    asked: tuple[Query, Query, list[Document], int],
) -> None:
    query, last, found, count = asked
    state = {one.path: one for one in found}
    whole, turned = (answer(decode_query(encoded(one)), state) for one in (query, last))
    assert last._facing([snapshot_of(one) for one in turned]) == [
        snapshot_of(one) for one in whole[-count:]
    ]
