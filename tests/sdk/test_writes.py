from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from baas_sdk import (
    DELETE_FIELD,
    SERVER_TIMESTAMP,
    ArrayRemove,
    ArrayUnion,
    FieldPath,
    Increment,
    Maximum,
    Minimum,
)
from baas_sdk._paths import DatabaseName
from baas_sdk._writes import create_write, delete_write, set_write, update_write, write_option
from baas_sdk.errors import InvalidArgument, InvalidPath, InvalidValue

HOME = DatabaseName("demo")
SERVER_TIME = {"server_time": True}


def test_set_replaces() -> None:
    assert set_write(HOME, "c/d", {"a": {"b": 1}, "e": {}}) == {
        "set": "c/d",
        "fields": {"a": {"b": 1}, "e": {}},
    }


def test_set_with_merge_lists_every_leaf() -> None:
    assert set_write(HOME, "c/d", {"a": {"b": 1, "c d": {}}, "e": [1]}, merge=True) == {
        "set": "c/d",
        "fields": {"a": {"b": 1, "c d": {}}, "e": [1]},
        "mask": ["a.b", "a.`c d`", "e"],
    }


def test_set_with_merge_deletes_fields_by_leaving_them_out() -> None:
    write = set_write(HOME, "c/d", {"a": {"b": DELETE_FIELD}, "e": 1}, merge=True)

    assert write == {"set": "c/d", "fields": {"e": 1}, "mask": ["e", "a.b"]}


def test_transforms_are_set_aside_and_do_not_wipe_their_siblings() -> None:
    data = {"a": {"t": SERVER_TIMESTAMP}, "n": Increment(2), "l": ArrayUnion([1, "x"])}

    assert set_write(HOME, "c/d", data, merge=True) == {
        "set": "c/d",
        "fields": {},
        "mask": [],
        "transforms": [
            {"field": "a.t", **SERVER_TIME},
            {"field": "n", "increment": 2},
            {"field": "l", "array_union": [1, "x"]},
        ],
    }


@pytest.mark.parametrize(
    ("transform", "member"),
    [
        (SERVER_TIMESTAMP, SERVER_TIME),
        (Increment(1.0), {"increment": {"$double": 1}}),
        (Maximum(2**60), {"maximum": {"$int": str(2**60)}}),
        (Minimum(-1), {"minimum": -1}),
        (ArrayUnion((b"x",)), {"array_union": [{"$bytes": "eA=="}]}),
        (ArrayRemove([]), {"array_remove": []}),
    ],
)
def test_every_transform_has_its_member(transform: Any, member: dict[str, Any]) -> None:
    assert create_write(HOME, "c/d", {"a": transform}) == {
        "create": "c/d",
        "fields": {},
        "transforms": [{"field": "a", **member}],
    }


def test_merge_may_list_the_fields() -> None:
    data = {"a": {"b": 1, "c": 2}, "t": SERVER_TIMESTAMP, "x": 9, "gone": DELETE_FIELD}

    assert set_write(HOME, "c/d", data, merge=["a.b", FieldPath("t"), "gone"]) == {
        "set": "c/d",
        "fields": {"a": {"b": 1}},
        "mask": ["a.b", "gone"],
        "transforms": [{"field": "t", **SERVER_TIME}],
    }


@pytest.mark.parametrize(
    ("data", "merge", "words"),
    [
        ({"a": 1}, ["b"], "does not hold"),
        ({"a": {"b": 1}}, ["a", "a.b"], "overlap"),
        ({"a": 1}, [], "no field"),
        ({"a": 1}, "a", "list of field paths"),
        ({"a": {"b": DELETE_FIELD}}, ["a"], "own path"),
        ({"a": DELETE_FIELD}, False, "needs `merge`"),
        ([], False, "is a dict"),
        (None, True, "is a dict"),
        ({"a": [SERVER_TIMESTAMP]}, False, "can only stand"),
        ({"a": {5: 1}}, False, "in `a`"),
    ],
)
def test_wrong_sets_are_refused(data: Any, merge: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        set_write(HOME, "c/d", data, merge)


def test_create_knows_no_deletion() -> None:
    with pytest.raises(InvalidValue, match="new document"):
        create_write(HOME, "c/d", {"a": {"b": DELETE_FIELD}})


def test_update_names_its_fields() -> None:
    updates: dict[str | FieldPath, Any] = {
        "a.b": 1,
        FieldPath("c.d"): {"$x": 2},
        "first-name": "Ada",
        "gone": DELETE_FIELD,
        "n": Increment(1),
        "m": {"t": SERVER_TIMESTAMP},
    }

    assert update_write(HOME, "c/d", updates) == {
        "update": "c/d",
        "fields": {"a.b": 1, "`c.d`": {"$$x": 2}, "`first-name`": "Ada", "m": {}},
        "delete": ["gone"],
        "transforms": [{"field": "n", "increment": 1}, {"field": "m.t", **SERVER_TIME}],
    }


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({}, "at least one"),
        ([], "takes a dict"),
        ({"a": 1, "a.b": 2}, "overlap"),
        ({"a": 1, "`a`": 2}, "twice"),
        ({"a": {"b": DELETE_FIELD}}, "key of its own"),
        ({"a": {1}}, "at `a`"),
    ],
)
def test_wrong_updates_are_refused(updates: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        update_write(HOME, "c/d", updates)
    with pytest.raises(InvalidPath):
        update_write(HOME, "c/d", {"a..b": 1})


def test_options_are_preconditions() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

    assert delete_write("c/d", write_option(exists=True)) == {
        "delete": "c/d",
        "precondition": {"exists": True},
    }
    assert update_write(HOME, "c/d", {"a": 1}, write_option(last_update_time=time)) == {
        "update": "c/d",
        "fields": {"a": 1},
        "precondition": {"update_time": "2026-01-02T03:04:05.000006Z"},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"exists": True, "last_update_time": "2026-01-02T03:04:05Z"},
        {"exists": "yes"},
        {"last_update_time": datetime(2026, 1, 2)},
    ],
)
def test_an_option_is_one_condition(arguments: Any) -> None:
    with pytest.raises(InvalidArgument):
        write_option(**arguments)


def test_something_else_is_no_option() -> None:
    with pytest.raises(InvalidArgument, match="write_option"):
        delete_write("c/d", {"exists": True})  # type: ignore[arg-type]


@pytest.mark.parametrize("operand", ["1", None, True, [1]])
def test_number_transforms_take_numbers(operand: Any) -> None:
    with pytest.raises(InvalidValue, match="number"):
        Increment(operand)


def test_array_transforms_take_lists() -> None:
    with pytest.raises(InvalidValue, match="list"):
        ArrayUnion("abc")


def test_transforms_are_values() -> None:
    assert Increment(1) == Increment(1) != Maximum(1)
    assert hash(Increment(1)) == hash(Increment(1))
    assert ArrayUnion([1]) == ArrayUnion([1]) != ArrayRemove([1])
    assert [
        repr(item) for item in (Increment(1), ArrayUnion([1]), SERVER_TIMESTAMP, DELETE_FIELD)
    ] == [
        "Increment(1)",
        "ArrayUnion([1])",
        "SERVER_TIMESTAMP",
        "DELETE_FIELD",
    ]
