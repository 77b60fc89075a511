"""The stored form: canonical, readable, without loss, and damage is called damage."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.encoding.documents import (
    StoredDocument,
    decode_fields,
    encode_fields,
    encode_plain_fields,
)
from baas.encoding.json_values import decode_fields_tree
from baas.errors import DataLoss, InvalidValue
from baas.model.documents import Document
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, is_identical
from tests.baas.model.strategies import fields
from tests.effort import examples


@settings(max_examples=examples(400))
@given(fields)
def test_fields_round_trip(given_fields: Fields) -> None:
    assert is_identical(decode_fields(encode_fields(given_fields)), given_fields)


@given(fields, fields)
def test_bytes_are_equal_exactly_where_fields_are_identical(a: Fields, b: Fields) -> None:
    assert (encode_fields(a) == encode_fields(b)) == is_identical(a, b)
    backwards = dict(reversed(list(a.items())))
    assert encode_fields(backwards) == encode_fields(a)


@given(fields)
def test_bytes_are_compact_json_with_sorted_keys(given_fields: Fields) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    def check_sorted(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        assert names == sorted(set(names))
        return dict(pairs)

    data = encode_fields(given_fields)
    tree = json.loads(data, parse_constant=refuse, object_pairs_hook=check_sorted)
    # Re-encoding without spaces gives the same bytes: nothing in them is spelled in another way.
    assert orjson.dumps(orjson.loads(data)) == data
    assert tree.keys() == orjson.loads(data).keys()


def test_canonical_bytes() -> None:
    given_fields: Fields = {
        "z": 1,
        "a": 1.0,
        "$x": [math.nan, -0.0, 2**60],
        "m": {"k": {"$ref": "users/ada"}},
        "é": "\x00\u2028",
    }
    assert encode_fields(given_fields).decode() == (
        '{"$$x":[{"$double":"NaN"},{"$double":"-0"},{"$int":"1152921504606846976"}],'
        '"a":{"$double":1},"m":{"k":{"$$ref":"users/ada"}},"z":1,"é":"\\u0000\u2028"}'
    )


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidValue):
        encode_fields({"a": "\ud800"})


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1]", b"null", b"\xff", b'{"a":{"$nope":1}}', b'{"a":{"$int":"x"}}', b'{"":"$"}'],
)
def test_damage_is_data_loss(data: bytes) -> None:
    with pytest.raises(DataLoss):
        decode_fields(data)


def test_a_stored_document_decodes_once_and_only_if_asked() -> None:
    path = DocumentPath.parse("users/ada")
    stored = StoredDocument(path, b'{"a":{"$double":1}}', created=1, version=2)
    assert stored.fields is stored.fields
    assert is_identical(stored.fields, {"a": 1.0})
    assert stored.decode() == Document(path, {"a": 1.0}, Timestamp(1), Timestamp(2))
    damaged = StoredDocument(path, b"damaged", created=1, version=2)
    assert damaged.update_time == Timestamp(2)
    with pytest.raises(DataLoss):
        _ = damaged.fields


PLAIN_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["$5", "1.0]", "9007199254740993", "1e5", '"$', ".0,"])
)


@given(
    st.dictionaries(
        st.text("ab$.0 é", min_size=1, max_size=5),
        st.recursive(
            PLAIN_SCALARS,
            lambda below: (
                st.lists(below, max_size=3)
                | st.dictionaries(st.text("ab$é", min_size=1, max_size=3), below, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_a_tree_is_taken_for_its_encoding_only_where_it_is(tree: dict[str, Any]) -> None:
    try:
        fields = decode_fields_tree(tree)
    except InvalidValue:
        return
    if fields is tree:
        assert encode_plain_fields(fields) == encode_fields(fields)


@pytest.mark.parametrize("value", [1.0, 1e300, -0.0, 2**53, -(2**63)])
def test_a_number_that_is_stored_with_a_tag_is_not_its_own_encoding(value: Any) -> None:
    for tree in ({"a": value}, {"a": [value]}, {"a": [{"b": value}]}):
        fields = decode_fields_tree(tree)
        assert fields == tree
        assert fields is not tree
