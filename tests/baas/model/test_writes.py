"""Laws of apply_write: sets, masks, deletes, preconditions, transforms."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.errors import AlreadyExists, BaasError, FailedPrecondition, InvalidValue, NotFound
from baas.model.documents import Document
from baas.model.order import compare, is_equal
from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import INT64_MAX, INT64_MIN, Fields, Value, is_identical
from baas.model.writes import (
    TRANSFORMS_MAX,
    AppliedWrite,
    ArrayRemove,
    ArrayUnion,
    DeleteWrite,
    FieldTransform,
    Increment,
    Maximum,
    Minimum,
    Precondition,
    ServerTimestamp,
    SetWrite,
    Transform,
    VerifyWrite,
    Write,
    apply_write,
)
from baas.settings import Limits
from tests.baas.model.strategies import (
    close_values,
    comparable_values,
    integers,
    numbers,
    small_field_paths,
    small_fields,
)
from tests.effort import examples

LIMITS = Limits()
PATH = DocumentPath.parse("users/ada")
NOW = Timestamp(1_700_000_000_123_456)
UPDATED = Timestamp(1_600_000_000_000_001)

masks = st.lists(small_field_paths, unique=True, max_size=3).map(tuple)


def document(fields: Fields) -> Document:
    return Document(PATH, fields, Timestamp(0), UPDATED)


def apply(write: Write, fields: Fields | None) -> AppliedWrite:
    current = None if fields is None else document(fields)
    before = copy.deepcopy((write, fields))
    applied = apply_write(write, current, NOW, LIMITS)
    assert repr((write, fields)) == repr(before), "apply_write changed what it was given"
    return applied


def transformed(stored: Any, *transforms: Transform) -> tuple[Value, tuple[Value, ...]]:
    field = FieldPath(("a",))
    steps = tuple(FieldTransform(field, transform) for transform in transforms)
    applied = apply(SetWrite(PATH, {}, (), steps), {} if stored is ... else {"a": stored})
    assert applied.fields is not None
    return applied.fields["a"], applied.transform_results


def get(fields: Value, path: FieldPath) -> Value:
    """The value, or `...` where there is none."""
    for segment in path.segments:
        if not isinstance(fields, dict) or segment not in fields:
            return ...  # type: ignore[return-value]
        fields = fields[segment]
    return fields


def overlap(a: FieldPath, b: FieldPath) -> bool:
    shorter = min(len(a.segments), len(b.segments))
    return a.segments[:shorter] == b.segments[:shorter]


# Set ---------------------------------------------------------------------------------------------


@given(small_fields, st.none() | small_fields)
def test_set_replaces_whatever_was_there(given_fields: Fields, old: Fields | None) -> None:
    applied = apply(SetWrite(PATH, given_fields), old)
    assert applied.fields == given_fields
    assert applied.transform_results == ()
    assert applied.changed == (old is None or not is_identical(given_fields, old))


@given(small_fields, small_fields, masks)
def test_writing_twice_is_writing_once(given_fields: Fields, old: Fields, mask: Any) -> None:
    write = SetWrite(PATH, given_fields, mask)
    once = apply(write, old)
    assert once.fields is not None
    twice = apply(write, once.fields)
    if all(not overlap(a, b) for a in mask for b in mask if a is not b):
        assert is_identical(twice.fields, once.fields)
        assert not twice.changed


@settings(max_examples=examples(300))
@given(
    small_fields,
    small_fields,
    st.lists(small_field_paths, min_size=1, max_size=1),
    small_field_paths,
)
def test_a_mask_changes_its_paths_and_nothing_else(
    given_fields: Fields, old: Fields, mask: list[FieldPath], other: FieldPath
) -> None:
    (path,) = mask
    applied = apply(SetWrite(PATH, given_fields, (path,)), old)
    assert applied.fields is not None
    assert is_identical_or_absent(get(applied.fields, path), get(given_fields, path))
    if not overlap(path, other):
        ancestors = [FieldPath(other.segments[:length]) for length in range(1, len(other.segments))]
        # A value that had to make way for a map takes nothing else with it.
        if not any(overlap(path, above) for above in ancestors):
            assert is_identical_or_absent(get(applied.fields, other), get(old, other))


def is_identical_or_absent(a: Any, b: Any) -> bool:
    return a is b if a is ... or b is ... else is_identical(a, b)


@given(small_fields, small_fields)
def test_an_empty_mask_is_a_touch(given_fields: Fields, old: Fields) -> None:
    applied = apply(SetWrite(PATH, given_fields, (), (), Precondition(exists=True)), old)
    assert is_identical(applied.fields, old)
    assert not applied.changed


def test_a_touch_creates_an_empty_document_if_it_may() -> None:
    applied = apply(SetWrite(PATH, {}, ()), None)
    assert applied == AppliedWrite({}, (), True)


@given(small_fields, small_fields)
def test_a_mask_of_all_names_equals_a_set(given_fields: Fields, old: Fields) -> None:
    mask = tuple(FieldPath((name,)) for name in {*given_fields, *old})
    assert is_identical(apply(SetWrite(PATH, given_fields, mask), old).fields, given_fields)


@pytest.mark.parametrize(
    ("mask", "given_fields", "old", "new"),
    [
        ("a.b", {"a": {"b": 1}}, {}, {"a": {"b": 1}}),
        ("a.b", {"a": {"b": 1, "c": 9}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ("a.b", {"a": {"b": 1}}, {"a": 5}, {"a": {"b": 1}}),
        ("a.b", {"a": {"b": 1}}, {"a": None}, {"a": {"b": 1}}),
        ("a.b", {"a": {"b": 1}}, {"a": [1]}, {"a": {"b": 1}}),
        ("a.b", {}, {"a": {"b": 1}}, {"a": {}}),
        ("a.b", {}, {"a": 5}, {"a": 5}),
        ("a.b", {}, {}, {}),
        ("a.b", {"a": 7}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ("a", {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1}}),
        ("a", {"a": None}, {}, {"a": None}),
        ("a", {}, {"a": 1, "b": 2}, {"b": 2}),
    ],
)
def test_masks(mask: str, given_fields: Fields, old: Fields, new: Fields) -> None:
    applied = apply(SetWrite(PATH, given_fields, (FieldPath.parse(mask),)), old)
    assert applied.fields == new
    assert applied.changed == (new != old)


def test_int_to_double_is_a_change() -> None:
    assert apply(SetWrite(PATH, {"a": 1.0}), {"a": 1}).changed
    assert apply(SetWrite(PATH, {"a": -0.0}), {"a": 0.0}).changed
    assert not apply(SetWrite(PATH, {"a": math.nan}), {"a": math.nan}).changed


def test_name_cannot_be_written() -> None:
    name = FieldPath(("__name__",))
    for write in (
        SetWrite(PATH, {}, (name,)),
        SetWrite(PATH, {}, None, (FieldTransform(name, ServerTimestamp()),)),
    ):
        with pytest.raises(InvalidValue):
            apply(write, {})


def test_a_field_path_is_no_deeper_than_a_document_may_be() -> None:
    deep = FieldPath(tuple("a" * 21))
    apply(SetWrite(PATH, {}, None, (FieldTransform(deep, ServerTimestamp()),)), None)
    too_deep = FieldPath(tuple("a" * 22))
    with pytest.raises(InvalidValue) as caught:
        apply(SetWrite(PATH, {}, None, (FieldTransform(too_deep, ServerTimestamp()),)), None)
    assert caught.value.reason == "ValueTooDeep"


# Delete, verify, preconditions -------------------------------------------------------------------


@given(small_fields, small_fields)
def test_delete_then_set_equals_set(given_fields: Fields, old: Fields) -> None:
    deleted = apply(DeleteWrite(PATH), old)
    assert deleted == AppliedWrite(None, (), True)
    again = apply(SetWrite(PATH, given_fields, tuple(FieldPath((n,)) for n in given_fields)), None)
    assert is_identical(again.fields, apply(SetWrite(PATH, given_fields), old).fields)


def test_deleting_what_is_not_there_changes_nothing() -> None:
    assert apply(DeleteWrite(PATH), None) == AppliedWrite(None, (), False)


def test_verify_changes_nothing() -> None:
    assert apply(VerifyWrite(PATH, Precondition(exists=True)), {"a": 1}) == AppliedWrite(
        {"a": 1}, (), False
    )
    assert apply(VerifyWrite(PATH, Precondition(exists=False)), None) == AppliedWrite(
        None, (), False
    )


@pytest.mark.parametrize("make", [SetWrite, DeleteWrite, VerifyWrite])
@pytest.mark.parametrize(
    ("precondition", "fields", "error", "reason"),
    [
        (Precondition(exists=True), None, NotFound, "DocumentNotFound"),
        (Precondition(exists=True), {}, None, ""),
        (Precondition(exists=False), {}, AlreadyExists, "DocumentExists"),
        (Precondition(exists=False), None, None, ""),
        (Precondition(update_time=UPDATED), {}, None, ""),
        (Precondition(update_time=NOW), {}, FailedPrecondition, "UpdateTimeMismatch"),
        (Precondition(update_time=UPDATED), None, FailedPrecondition, "UpdateTimeMismatch"),
    ],
)
def test_preconditions(
    make: Any,
    precondition: Precondition,
    fields: Fields | None,
    error: type[BaasError] | None,
    reason: str,
) -> None:
    extra = {"fields": {"a": 1}} if make is SetWrite else {}
    write = make(path=PATH, precondition=precondition, **extra)
    if error is None:
        apply(write, fields)
        return
    with pytest.raises(error) as caught:
        apply(write, fields)
    assert caught.value.reason == reason
    assert "users/ada" in caught.value.message


def test_messages_that_clients_look_for() -> None:
    with pytest.raises(NotFound, match=r"^no document to update: users/ada$"):
        apply(SetWrite(PATH, {}, (), (), Precondition(exists=True)), None)
    for make, verb in ((DeleteWrite, "delete"), (VerifyWrite, "verify")):
        with pytest.raises(NotFound, match=rf"^no document to {verb}: users/ada$"):
            apply(make(PATH, Precondition(exists=True)), None)
    with pytest.raises(AlreadyExists, match=r"^document already exists: users/ada$"):
        apply(SetWrite(PATH, {}, None, (), Precondition(exists=False)), {})


# Transforms --------------------------------------------------------------------------------------


def test_server_timestamp_is_the_request_time_in_milliseconds() -> None:
    expected = Timestamp(1_700_000_000_123_000)
    assert transformed(..., ServerTimestamp()) == (expected, (expected,))


@given(integers, integers)
def test_increment_of_integers_saturates(stored: int, operand: int) -> None:
    value, results = transformed(stored, Increment(operand))
    assert type(value) is int
    assert value == max(INT64_MIN, min(INT64_MAX, stored + operand))
    assert results == (value,)


@given(numbers, numbers)
def test_increment_with_a_double_is_double(stored: float, operand: float) -> None:
    value, _ = transformed(stored, Increment(operand))
    if type(stored) is int and type(operand) is int:
        return
    assert type(value) is float
    assert is_equal(value, float(stored) + float(operand))


@pytest.mark.parametrize("stored", [..., None, True, "3", [], {"b": 1}, Timestamp(3)])
@pytest.mark.parametrize("make", [Increment, Maximum, Minimum])
@pytest.mark.parametrize("operand", [3, -2.5])
def test_what_is_no_number_counts_as_none(stored: Any, make: Any, operand: float) -> None:
    value, results = transformed(stored, make(operand))
    assert is_identical(value, operand)
    assert results == (operand,)


@given(numbers, numbers)
def test_maximum_and_minimum(stored: float, operand: float) -> None:
    for make, sign in ((Maximum, 1), (Minimum, -1)):
        value, results = transformed(stored, make(operand))
        if math.isnan(stored) or math.isnan(operand):
            assert math.isnan(value)  # type: ignore[arg-type]
            continue
        wins = compare(operand, stored) == sign
        assert is_identical(value, operand if wins else stored)
        assert is_identical(results[0], value)


arrays = st.lists(close_values.filter(lambda item: not isinstance(item, list)), max_size=4)


@given(arrays, arrays)
def test_array_union_keeps_and_adds_each_once(stored: list[Value], added: list[Value]) -> None:
    value, results = transformed(stored, ArrayUnion(tuple(added)))
    assert isinstance(value, list)
    assert results == (None,)
    assert is_identical(value[: len(stored)], stored)
    tail = value[len(stored) :]
    for item in added:
        assert any(is_equal(item, other) for other in value)
    for index, item in enumerate(tail):
        assert not any(is_equal(item, other) for other in value[: len(stored) + index])
    assert is_identical(transformed(value, ArrayUnion(tuple(added)))[0], value)


@given(arrays, arrays)
def test_array_remove_drops_all_that_are_equal(stored: list[Value], gone: list[Value]) -> None:
    value, results = transformed(stored, ArrayRemove(tuple(gone)))
    expected = [item for item in stored if not any(is_equal(item, other) for other in gone)]
    assert is_identical(value, expected)
    assert results == (None,)


@given(comparable_values)
def test_what_is_no_array_counts_as_an_empty_one(stored: Value) -> None:
    if isinstance(stored, list):
        return
    assert transformed(stored, ArrayUnion((1, 1.0, 2)))[0] == [1, 2]
    assert transformed(stored, ArrayRemove((1,)))[0] == []


def test_array_union_keeps_the_stored_one_of_equals() -> None:
    value, _ = transformed([3, math.nan], ArrayUnion((3.0, math.nan, -0.0, 0)))
    assert is_identical(value, [3, math.nan, -0.0])


def test_an_array_gets_no_array() -> None:
    with pytest.raises(InvalidValue) as caught:
        transformed([], ArrayUnion(([1],)))
    assert caught.value.reason == "ArrayInArray"


def test_transforms_apply_in_order_after_the_fields() -> None:
    n, m = FieldPath(("n",)), FieldPath(("m", "x"))
    steps = (
        FieldTransform(n, Increment(1)),
        FieldTransform(n, Maximum(10)),
        FieldTransform(n, Increment(0.5)),
        FieldTransform(m, ArrayUnion((1,))),
        FieldTransform(n, Minimum(3)),
    )
    applied = apply(SetWrite(PATH, {"n": 5}, (n,), steps), {"n": 100, "m": 7})
    assert applied.fields == {"n": 3, "m": {"x": [1]}}
    assert applied.transform_results == (6, 10, 10.5, None, 3)


def test_a_transform_that_changes_nothing_is_no_change() -> None:
    write = SetWrite(PATH, {}, (), (FieldTransform(FieldPath(("a",)), Maximum(3.0)),))
    assert not apply(write, {"a": 3}).changed


def test_transform_limit_is_exact() -> None:
    step = FieldTransform(FieldPath(("a",)), Increment(1))
    assert apply(SetWrite(PATH, {}, (), (step,) * TRANSFORMS_MAX), {}).fields == {
        "a": TRANSFORMS_MAX
    }
    with pytest.raises(BaasError) as caught:
        apply(SetWrite(PATH, {}, (), (step,) * (TRANSFORMS_MAX + 1)), {})
    assert caught.value.reason == "TooManyTransforms"
