"""Native JSON: both ways without loss, and every malformed form refused at its place."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.encoding import json_values
from baas.errors import InvalidValue
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import (
    INT64_MIN,
    STRING_BYTES_MAX,
    Fields,
    GeoPoint,
    Reference,
    Value,
    Vector,
    check_value,
    is_identical,
)
from baas.settings import Limits
from tests.baas.model.strategies import doubles, fields, integers, numbers, values
from tests.effort import examples

SAFE = 2**53 - 1


@settings(max_examples=examples(300))
@given(values)
def test_values_round_trip(value: Value) -> None:
    tree = json_values.encode_value(value)
    assert is_identical(json_values.decode_value(tree), value)
    # And as text, through two parsers: one keeps large integers, one makes doubles of them.
    text = orjson.dumps(tree)
    assert is_identical(json_values.decode_value(orjson.loads(text)), value)
    assert is_identical(json_values.decode_value(json.loads(text)), value)


@settings(max_examples=examples(300))
@given(fields)
def test_fields_round_trip(given_fields: Fields) -> None:
    before = repr(given_fields)
    tree = json_values.encode_fields_tree(given_fields)
    assert repr(given_fields) == before, "encoding changed what it was given"
    tree_before = repr(tree)
    assert is_identical(json_values.decode_fields_tree(tree), given_fields)
    assert repr(tree) == tree_before, "decoding changed what it was given"


def through_javascript(tree: Any) -> Any:
    """What is left of a tree after a parser whose only numbers are doubles."""
    if isinstance(tree, dict):
        return {key: through_javascript(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [through_javascript(item) for item in tree]
    if isinstance(tree, int | float) and not isinstance(tree, bool):
        number = float(tree)
        return int(number) if number.is_integer() and abs(number) < 1e21 else number
    return tree


@settings(max_examples=examples(300))
@given(values)
def test_values_survive_a_parser_with_doubles_only(value: Value) -> None:
    tree = through_javascript(json_values.encode_value(value))
    assert is_identical(json_values.decode_value(tree), value)


@given(integers)
def test_integers_beyond_53_bits_are_tagged(integer: int) -> None:
    tree = json_values.encode_value(integer)
    assert tree == (integer if abs(integer) <= SAFE else {"$int": str(integer)})
    assert json_values.decode_value({"$int": str(integer)}) == integer
    assert json_values.decode_value(integer) == integer


@given(doubles)
def test_doubles_are_tagged_where_they_could_be_taken_for_others(double: float) -> None:
    tree = json_values.encode_value(double)
    plain = math.isfinite(double) and not double.is_integer()
    assert isinstance(tree, float) == plain
    assert is_identical(json_values.decode_value(double), double)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.text(max_size=3), numbers),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.text("$a_.\ud800", max_size=3), inner, max_size=2)
        ),
        max_leaves=5,
    )
)
def test_any_tree_is_a_value_or_refused(tree: Any) -> None:
    try:
        value = json_values.decode_value(tree, "x")
    except InvalidValue as error:
        field = (error.details or {})["field"]
    else:
        field = "x"
        check_value(value, "x", Limits())
        assert is_identical(json_values.decode_value(json_values.encode_value(value)), value)
    assert field.startswith("x")
    field.encode()


def test_nothing_is_copied_where_nothing_is_tagged() -> None:
    plain: Fields = {"a": [1, {"b": "x"}], "c": {"d": None}, "e": 0.5, "f": True}
    assert json_values.encode_fields_tree(plain) is plain
    assert json_values.decode_fields_tree(plain) is plain


ADA = DocumentPath.parse("users/ada")


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (SAFE, SAFE),
        (-SAFE, -SAFE),
        (SAFE + 1, {"$int": "9007199254740992"}),
        (INT64_MIN, {"$int": "-9223372036854775808"}),
        (1.5, 1.5),
        (1.0, {"$double": 1}),
        (0.0, {"$double": 0}),
        (-0.0, {"$double": "-0"}),
        (1e17, {"$double": 1e17}),
        (math.nan, {"$double": "NaN"}),
        (math.inf, {"$double": "Infinity"}),
        (-math.inf, {"$double": "-Infinity"}),
        ("$5", "$5"),
        (b"hi", {"$bytes": "aGk="}),
        (b"", {"$bytes": ""}),
        (Timestamp(0), {"$timestamp": "1970-01-01T00:00:00.000000Z"}),
        (Reference(ADA), {"$ref": "users/ada"}),
        (
            Reference(ADA, "projects/p/databases/(default)"),
            {"$ref": "projects/p/databases/(default)/documents/users/ada"},
        ),
        (GeoPoint(48.25, 16.0), {"$geo": [48.25, 16]}),
        (GeoPoint(-0.0, 0.0), {"$geo": ["-0", 0]}),
        (Vector((1.0, 0.5, math.nan)), {"$vector": [1, 0.5, "NaN"]}),
        ({"$int": "1"}, {"$$int": "1"}),
        ({"$$int": "1"}, {"$$$int": "1"}),
        ({"$": 1}, {"$$": 1}),
        ({"a$": 1}, {"a$": 1}),
        ({"$a": 1, "b": 2}, {"$$a": 1, "b": 2}),
        ({}, {}),
    ],
)
def test_forms(value: Value, tree: Any) -> None:
    assert json_values.encode_value(value) == tree
    assert type(json_values.encode_value(value)) is type(tree)
    assert is_identical(json_values.decode_value(tree), value)


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (1.0, 1.0),
        (-0.0, -0.0),
        (math.inf, math.inf),
        (2**63 - 1, 2**63 - 1),
        ({"$int": "7"}, 7),
        ({"$int": 7}, 7),
        ({"$int": "-0"}, 0),
        ({"$double": 0.5}, 0.5),
        ({"$double": 2**60}, float(2**60)),
        ({"$double": -0.0}, -0.0),
        ({"$timestamp": "2026-11-22T18:00:00+01:00"}, Timestamp(1_795_366_800_000_000)),
        # A relative path has an even number of segments, so this is no full name.
        (
            {"$ref": "projects/p/databases/d/documents/users"},
            Reference(DocumentPath(("projects", "p", "databases", "d", "documents", "users"))),
        ),
        ({"$geo": [1.0, 2]}, GeoPoint(1.0, 2.0)),
    ],
)
def test_other_forms_that_are_read(tree: Any, value: Value) -> None:
    assert is_identical(json_values.decode_value(tree), value)


@pytest.mark.parametrize(
    "tree",
    [
        2**63,
        -(2**63) - 1,
        "\ud800",
        "x" * (STRING_BYTES_MAX + 1),
        [[1]],
        [1, [2]],
        {"": 1},
        {"__a__": 1},
        {"x" * 1501: 1},
        {"\ud800": 1},
        {"$a": 1, "b": 2},
        {"$timestamp": "1970-01-01T00:00:00Z", "b": 2},
        {"$unknown": 1},
        {"$": 1},
        {"$timestamp": 0},
        {"$timestamp": "yesterday"},
        {"$timestamp": None},
        {"$bytes": "aGk"},
        {"$bytes": "a-_="},
        {"$bytes": "aGk=\n"},
        {"$bytes": "é"},
        {"$bytes": [104]},
        {"$ref": "users"},
        {"$ref": ""},
        {"$ref": "users/ada/orders"},
        {"$ref": "projects/p/databases/d/documents"},
        {"$ref": "projects/p/databases/d/files/users/ada"},
        {"$ref": "projects//databases/d/documents/users/ada"},
        {"$ref": 1},
        {"$geo": [1]},
        {"$geo": [1, 2, 3]},
        {"$geo": [91, 0]},
        {"$geo": [0, 181]},
        {"$geo": ["NaN", 0]},
        {"$geo": {"latitude": 1, "longitude": 2}},
        {"$vector": []},
        {"$vector": [None]},
        {"$vector": [True]},
        {"$vector": ["1"]},
        {"$vector": 1},
        {"$int": "9223372036854775808"},
        {"$int": "1.5"},
        {"$int": "+1"},
        {"$int": " 1"},
        {"$int": "01"},
        {"$int": "１"},
        {"$int": True},
        {"$int": 1.0},
        {"$int": None},
        {"$double": "1"},
        {"$double": "nan"},
        {"$double": None},
        {"$double": True},
        {"$double": 10**400},
        (1,),
        object(),
    ],
)
def test_malformed_trees_are_refused_at_their_place(tree: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        json_values.decode_fields_tree({"a": 1, "m": {"l": [0, tree]}}, "writes[2].fields")
    assert caught.value.details is not None
    field = caught.value.details["field"]
    assert field.startswith("writes[2].fields.m.l[1]")
    assert f"`{field}`" in caught.value.message
    assert len(caught.value.message) < 2_000
    orjson.dumps([caught.value.message, field])


def test_numbers_of_the_outermost_map_are_checked_as_well() -> None:
    for tree in ({"a": 2**63}, {"a": {"b": -(2**63) - 1}}):
        with pytest.raises(InvalidValue) as caught:
            json_values.decode_fields_tree(tree)
        assert caught.value.reason == "IntegerOutOfRange"


def test_size_of_bytes_is_exact() -> None:
    for length, fits in ((STRING_BYTES_MAX, True), (STRING_BYTES_MAX + 1, False)):
        tree = {"$bytes": base64.b64encode(b"x" * length).decode()}
        if fits:
            assert json_values.decode_value(tree) == b"x" * length
        else:
            with pytest.raises(InvalidValue):
                json_values.decode_value(tree)


def test_fields_themselves_are_no_tag() -> None:
    with pytest.raises(InvalidValue) as caught:
        json_values.decode_fields_tree({"$timestamp": "1970-01-01T00:00:00Z"})
    assert caught.value.reason == "UnexpectedTag"
    other_trees: list[Any] = [[], None, "a", 1]
    for tree in other_trees:
        with pytest.raises(InvalidValue):
            json_values.decode_fields_tree(tree)


def test_depth_limit_is_exact() -> None:
    tree: Any = 1
    for _ in range(20):
        tree = {"a": tree}
    json_values.decode_fields_tree({"a": tree})
    json_values.decode_value(tree)
    with pytest.raises(InvalidValue) as caught:
        json_values.decode_fields_tree({"a": {"b": tree}})
    assert caught.value.reason == "ValueTooDeep"
    with pytest.raises(InvalidValue):
        json_values.decode_value([tree])
    with pytest.raises(InvalidValue):
        json_values.decode_fields_tree({"a": [{"b": 1}]}, depth_max=1)
    with pytest.raises(InvalidValue):
        json_values.decode_fields_tree({"a": {"b": [1]}}, depth_max=1)


def test_deep_nesting_cannot_exhaust_the_stack() -> None:
    tree: Any = 1
    for _ in range(5_000):
        tree = {"a": tree}
    with pytest.raises(InvalidValue):
        json_values.decode_value(tree)


def test_what_is_no_value_cannot_be_encoded() -> None:
    with pytest.raises(InvalidValue):
        json_values.encode_value(object())  # type: ignore[arg-type]
