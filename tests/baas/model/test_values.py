"""Values: limits at and one past them, Firestore's count of sizes, identity against equality."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from baas.errors import InvalidValue
from baas.model.order import is_equal
from baas.model.paths import DocumentPath
from baas.model.timestamps import MICROSECONDS_MAX, Timestamp
from baas.model.values import (
    INT64_MAX,
    INT64_MIN,
    STRING_BYTES_MAX,
    VECTOR_DIMENSIONS_MAX,
    Fields,
    GeoPoint,
    Reference,
    Value,
    Vector,
    check_document,
    check_fields,
    check_value,
    document_size,
    is_identical,
)
from baas.settings import Limits
from tests.baas.model.strategies import comparable_values, document_paths, fields

LIMITS = Limits()
TASK = DocumentPath.parse("users/jeff/tasks/my_task_id")


def nested(depth: int) -> Fields:
    value: Value = 1
    for _ in range(depth):
        value = {"a": value}
    return {"a": value}


@given(fields)
def test_every_generated_value_is_valid(generated: Fields) -> None:
    check_fields(generated, LIMITS)
    check_document(TASK, generated, LIMITS)


@given(comparable_values, comparable_values)
def test_identical_values_are_equal(a: Value, b: Value) -> None:
    assert is_identical(a, a)
    assert is_identical(a, b) == is_identical(b, a)
    if is_identical(a, b):
        assert is_equal(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (3, 3.0),
        (0.0, -0.0),
        (True, 1),
        ([3], [3.0]),
        ({"a": 0.0}, {"a": -0.0}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], [1, 2]),
        (GeoPoint(0.0, 0.0), GeoPoint(0.0, -0.0)),
        (Vector((0.0,)), Vector((-0.0,))),
    ],
)
def test_identity_is_stricter_than_equality(a: Value, b: Value) -> None:
    assert not is_identical(a, b)


def test_nan_is_identical_to_nan() -> None:
    assert is_identical(math.nan, float("nan"))
    assert is_identical(Vector((math.nan,)), Vector((float("nan"),)))
    assert is_identical({"a": [math.nan]}, {"a": [float("nan")]})


def test_document_size_is_firestores_example() -> None:
    """The worked example of Firestore's own page on storage sizes: 147 bytes."""
    task: Fields = {
        "type": "Personal",
        "done": False,
        "priority": 1,
        "description": "Learn Cloud Firestore",
    }
    assert document_size(TASK, {}) == 44 + 32
    assert document_size(TASK, task) == 147


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, 1),
        (True, 1),
        (1, 8),
        (1.5, 8),
        (Timestamp(0), 8),
        ("", 1),
        ("é", 3),
        (b"abc", 3),
        (GeoPoint(1.0, 2.0), 16),
        (Vector((1.0, 2.0)), 16),
        (Reference(TASK), 44),
        ([], 0),
        ([1, "a"], 10),
        ({}, 32),
        ({"ab": 1}, 32 + 3 + 8),
    ],
)
def test_sizes_of_values(value: Value, size: int) -> None:
    assert document_size(TASK, {"é": value}) == 44 + 32 + 3 + size


@given(document_paths)
def test_size_of_a_name(path: DocumentPath) -> None:
    expected = 16 + 32
    for segment in path.segments:
        numeric = segment.startswith("__id") and segment.endswith("__")
        expected += 8 if numeric else len(segment.encode()) + 1
    assert document_size(path, {}) == expected


def test_document_size_limit_is_exact() -> None:
    path = DocumentPath.parse("a/b")
    empty = document_size(path, {"a": "", "b": b""})
    room = LIMITS.document_bytes_max - empty
    check_document(path, {"a": "", "b": b"x" * room}, LIMITS)
    with pytest.raises(InvalidValue) as caught:
        check_document(path, {"a": "", "b": b"x" * (room + 1)}, LIMITS)
    assert caught.value.reason == "DocumentTooLarge"


def test_depth_limit_is_exact() -> None:
    check_fields(nested(20), LIMITS)
    check_document(TASK, nested(20), LIMITS)
    check_document(TASK, {"a": [{"a": [1]}]}, Limits(value_depth_max=3))
    with pytest.raises(InvalidValue, match="deeper than 20"):
        check_fields(nested(21), LIMITS)
    with pytest.raises(InvalidValue, match="deeper than 20"):
        check_document(TASK, nested(21), LIMITS)
    with pytest.raises(InvalidValue, match="deeper than 2"):
        check_document(TASK, {"a": [{"a": [1]}]}, Limits(value_depth_max=2))


@pytest.mark.parametrize(
    "value",
    [
        INT64_MIN,
        INT64_MAX,
        "x" * STRING_BYTES_MAX,
        b"x" * STRING_BYTES_MAX,
        Timestamp(MICROSECONDS_MAX),
        GeoPoint(90.0, -180.0),
        Vector((0.0,) * VECTOR_DIMENSIONS_MAX),
        [{"a": [1]}],
    ],
)
def test_values_at_their_limits_are_valid(value: Value) -> None:
    check_value(value, "a", LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        INT64_MIN - 1,
        INT64_MAX + 1,
        "x" * (STRING_BYTES_MAX + 1),
        "é" * (STRING_BYTES_MAX // 2 + 1),
        "\ud800",
        b"x" * (STRING_BYTES_MAX + 1),
        Timestamp(MICROSECONDS_MAX + 1),
        GeoPoint(90.5, 0.0),
        GeoPoint(0.0, -180.5),
        GeoPoint(math.nan, 0.0),
        Vector(()),
        Vector((0.0,) * (VECTOR_DIMENSIONS_MAX + 1)),
        [[1]],
        object(),
        (1,),
    ],
)
def test_values_past_their_limits_are_refused(value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_value(value, "a.b", LIMITS)
    assert caught.value.details is not None
    assert str(caught.value.details["field"]).startswith("a.b")


@pytest.mark.parametrize("name", ["", "__a__", "x" * 1501, "\ud800", 1])
def test_field_names_are_checked_at_every_depth(name: Any) -> None:
    with pytest.raises(InvalidValue):
        check_fields({name: 1}, LIMITS)
    with pytest.raises(InvalidValue):
        check_fields({"a": [{"b": {name: 1}}]}, LIMITS)


def test_an_error_names_the_place() -> None:
    with pytest.raises(InvalidValue) as caught:
        check_fields({"a": [1, {"b": 2**63}]}, LIMITS)
    assert caught.value.details == {"field": "a[1].b"}


def test_what_is_no_value_has_no_size() -> None:
    with pytest.raises(InvalidValue):
        document_size(TASK, {"a": object()})  # type: ignore[dict-item]
