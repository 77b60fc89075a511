"""Writes in JSON: every verb, every transform, and precise refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.encoding.documents import encode_fields
from baas.encoding.json_values import decode_fields_tree
from baas.errors import InvalidArgument, InvalidValue
from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import is_identical
from baas.model.writes import (
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
    VerifyWrite,
    WriteResult,
)
from baas.wire.writes import (
    decode_commit,
    decode_create,
    decode_set,
    decode_update,
    encode_write_result,
)
from tests.effort import examples

stored_values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1.0, 0.5, 2**53, -(2**63), 1e300, -0.0])
    | st.text("aé\n\u200b$😀", max_size=4),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text("ab$", min_size=1, max_size=3), below, max_size=3)
    ),
    max_leaves=6,
)

ADA = DocumentPath(("users", "ada"))


def _field(*names: str) -> FieldPath:
    return FieldPath(names)


def test_set_replaces() -> None:
    assert decode_set(ADA, {"fields": {"a": 1}}) == SetWrite(ADA, {"a": 1})


def test_merge_lists_the_leaves() -> None:
    write = decode_set(ADA, {"fields": {"a": {"b": 1, "c": {}}, "d": [1]}, "merge": True})
    assert write.mask == (_field("a", "b"), _field("a", "c"), _field("d"))


def test_mask_lists_what_is_written_and_deleted() -> None:
    write = decode_set(ADA, {"fields": {"a": {"b": 1}}, "mask": ["a.b", "c"]})
    assert write.mask == (_field("a", "b"), _field("c"))
    assert write.precondition == Precondition()


def test_update_reads_field_paths_and_must_find_the_document() -> None:
    write = decode_update(ADA, {"fields": {"a.b": 1, "`x.y`": 2}, "delete": ["c"]})
    assert write.fields == {"a": {"b": 1}, "x.y": 2}
    assert write.mask == (_field("a", "b"), _field("x.y"), _field("c"))
    assert write.precondition == Precondition(exists=True)


def test_create_must_not_find_the_document() -> None:
    write = decode_create(ADA, {"fields": {}})
    assert write.precondition == Precondition(exists=False)


def test_transforms() -> None:
    write = decode_update(
        ADA,
        {
            "transforms": [
                {"field": "t", "server_time": True},
                {"field": "n", "increment": {"$int": "9007199254740993"}},
                {"field": "x", "maximum": 1.5},
                {"field": "y", "minimum": {"$double": 1}},
                {"field": "l", "array_union": [1, "a"]},
                {"field": "m", "array_remove": []},
            ]
        },
    )
    assert write.transforms == (
        FieldTransform(_field("t"), ServerTimestamp()),
        FieldTransform(_field("n"), Increment(9007199254740993)),
        FieldTransform(_field("x"), Maximum(1.5)),
        FieldTransform(_field("y"), Minimum(1.0)),
        FieldTransform(_field("l"), ArrayUnion((1, "a"))),
        FieldTransform(_field("m"), ArrayRemove(())),
    )


@settings(max_examples=examples(50), deadline=None)
@given(tree=st.dictionaries(st.text("ab$_é", min_size=1, max_size=3), stored_values, max_size=4))
def test_what_a_set_of_a_commit_is_encoded_to_is_its_stored_form(tree: dict[str, Any]) -> None:
    try:
        fields = decode_fields_tree(tree)
    except InvalidValue:
        return
    (write,) = decode_commit([{"set": "users/ada", "fields": tree}], writes_max=1)
    assert isinstance(write, SetWrite)
    assert is_identical(write.fields, fields)
    assert write.is_plain is (fields is tree)
    assert write.encoded == (encode_fields(fields) if write.is_plain else None)


def test_a_commit_holds_every_verb() -> None:
    time = "2026-01-02T03:04:05.000006Z"
    writes = decode_commit(
        [
            {"set": "users/ada", "fields": {"a": 1}},
            {"update": "users/bob", "fields": {"a": 1}, "delete": ["b"]},
            {"create": "users/eve", "fields": {}},
            {"delete": "users/tom", "precondition": {"exists": True}},
            {"verify": "users/jim", "precondition": {"update_time": time}},
        ],
        writes_max=5,
    )
    assert [type(write) for write in writes] == [
        SetWrite,
        SetWrite,
        SetWrite,
        DeleteWrite,
        VerifyWrite,
    ]
    assert writes[3].precondition == Precondition(exists=True)
    assert writes[4].precondition == Precondition(update_time=Timestamp.parse(time))
    with pytest.raises(InvalidArgument, match="at most 4"):
        decode_commit([{}] * 5, writes_max=4)


@pytest.mark.parametrize(
    ("tree", "field"),
    [
        ([], ""),
        ({}, "fields"),
        ({"fields": []}, "fields"),
        ({"fields": {"a": {"": 1}}}, "fields.a."),
        ({"fields": {"a": [[1]]}}, "fields.a[0]"),
        ({"fields": {"a": 2**63}}, "fields.a"),
        ({"fields": {}, "merge": 1}, "merge"),
        ({"fields": {}, "merge": True, "mask": []}, "mask"),
        ({"fields": {}, "mask": "a"}, "mask"),
        ({"fields": {}, "mask": ["a", "a.b"]}, "mask"),
        ({"fields": {"b": 1}, "mask": ["a"]}, "fields"),
        ({"fields": {}, "fieldz": {}}, "fieldz"),
        ({"fields": {}, "precondition": {"exists": True, "update_time": "x"}}, "precondition"),
        ({"fields": {}, "precondition": {"update_time": "now"}}, "precondition.update_time"),
        ({"fields": {}, "precondition": {"exist": True}}, "precondition.exist"),
        ({"fields": {}, "transforms": {}}, "transforms"),
        ({"fields": {}, "transforms": [{"field": "a"}]}, "transforms[0]"),
        ({"fields": {}, "transforms": [{"increment": 1}]}, "transforms[0].field"),
        (
            {"fields": {}, "transforms": [{"field": "a", "increment": "1"}]},
            "transforms[0].increment",
        ),
        (
            {"fields": {}, "transforms": [{"field": "a", "increment": True}]},
            "transforms[0].increment",
        ),
        (
            {"fields": {}, "transforms": [{"field": "a", "server_time": 1}]},
            "transforms[0].server_time",
        ),
        (
            {"fields": {}, "transforms": [{"field": "a", "array_union": 1}]},
            "transforms[0].array_union",
        ),
    ],
)
def test_a_bad_set_is_refused_where_it_is_bad(tree: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_set(ADA, tree)
    assert caught.value.details is not None
    assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"fields": {}},
        {"fields": {"a": 1, "a.b": 2}},
        {"fields": {"a": 1}, "delete": ["a.b"]},
        {"fields": {"a..b": 1}},
        {"fields": {"a": 1}, "merge": True},
    ],
)
def test_a_bad_update_is_refused(tree: Any) -> None:
    with pytest.raises(InvalidArgument):
        decode_update(ADA, tree)


@pytest.mark.parametrize(
    ("write", "field"),
    [
        (5, "writes[0]"),
        ({}, "writes[0]"),
        ({"set": 5, "fields": {}}, "writes[0].set"),
        ({"set": "users", "fields": {}}, "writes[0].set"),
        ({"set": "users/ada"}, "writes[0].fields"),
        ({"set": "users/ada", "fields": {"a": {"b": [[]]}}}, "writes[0].fields.a.b[0]"),
        ({"set": "users/ada", "update": "users/ada", "fields": {}}, "writes[0].update"),
        ({"verify": "users/ada"}, "writes[0].precondition"),
        ({"delete": ["a"]}, "writes[0].delete"),
    ],
)
def test_a_bad_write_of_a_commit_is_refused_where_it_is_bad(write: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_commit([write], writes_max=500)
    assert caught.value.details is not None
    assert caught.value.details["field"] == field


def test_write_results() -> None:
    assert encode_write_result(WriteResult(None)) == {"update_time": None}
    assert encode_write_result(WriteResult(Timestamp(1), (2, None))) == {
        "update_time": "1970-01-01T00:00:00.000001Z",
        "transform_results": [2, None],
    }
