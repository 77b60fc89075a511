"""Index and document keys: their order is the order of values, and they can be joined."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.encoding import keys
from baas.model.order import compare
from baas.model.paths import CollectionPath, DocumentPath, path_key
from baas.model.values import Value, Vector
from tests.baas.model.strategies import comparable_values, document_paths, ids, numbers
from tests.effort import examples


def sign(a: bytes, b: bytes) -> int:
    return (a > b) - (a < b)


@settings(max_examples=examples(400))
@given(comparable_values, comparable_values)
def test_key_order_equals_value_order(a: Value, b: Value) -> None:
    expected = compare(a, b)
    assert sign(keys.encode_value(a), keys.encode_value(b)) == expected
    assert sign(keys.encode_value(a, True), keys.encode_value(b, True)) == -expected


@settings(max_examples=examples(400))
@given(numbers, numbers)
def test_key_order_of_numbers_is_exact(a: float, b: float) -> None:
    assert sign(keys.encode_value(a), keys.encode_value(b)) == compare(a, b)


@settings(max_examples=examples(300))
@given(
    st.lists(st.tuples(comparable_values, comparable_values, st.booleans()), min_size=2, max_size=3)
)
def test_joined_keys_order_by_the_first_difference(
    columns: list[tuple[Value, Value, bool]],
) -> None:
    left = b"".join(keys.encode_value(a, descending) for a, _, descending in columns)
    right = b"".join(keys.encode_value(b, descending) for _, b, descending in columns)
    expected = 0
    for a, b, descending in columns:
        expected = compare(a, b)
        if expected:
            expected = -expected if descending else expected
            break
    assert sign(left, right) == expected


@given(comparable_values, comparable_values)
def test_no_key_is_a_prefix_of_another(a: Value, b: Value) -> None:
    first, second = keys.encode_value(a), keys.encode_value(b)
    if first != second:
        assert not first.startswith(second)
        assert not second.startswith(first)


def long_values() -> st.SearchStrategy[Value]:
    """Values whose keys are about as long as a key may be."""
    lengths = st.integers(keys.KEY_BYTES_MAX - 8, keys.KEY_BYTES_MAX + 4)
    tails = st.sampled_from(["", "a", "b", "\x00", "é"])
    texts = st.builds(lambda length, tail: "x" * length + tail, lengths, tails)
    blobs = texts.map(lambda text: text.encode())
    nuls = lengths.map(lambda length: "\x00" * (length // 2))
    arrays = st.builds(lambda text, item: [text, item], texts, st.integers(0, 2))
    maps = st.builds(lambda text, item: {"k": text, "l": item}, texts, st.integers(0, 2))
    named = st.builds(lambda text, item: {text[:1400]: text, "l": item}, texts, st.integers(0, 2))
    vectors = st.integers(180, 190).map(lambda length: Vector((1.5,) * length))
    return st.one_of(texts, blobs, nuls, arrays, maps, named, vectors)


@settings(max_examples=examples(300))
@given(long_values(), long_values(), st.booleans())
def test_cut_keys_never_reverse_the_order(a: Value, b: Value, descending: bool) -> None:
    first, second = keys.encode_value(a, descending), keys.encode_value(b, descending)
    expected = -compare(a, b) if descending else compare(a, b)
    assert sign(first, second) in (expected, 0)
    assert max(len(first), len(second)) <= keys.KEY_BYTES_MAX
    if not keys.is_cut(first) or not keys.is_cut(second):
        assert sign(first, second) == expected


def test_a_key_says_that_it_was_cut() -> None:
    whole = "x" * (keys.KEY_BYTES_MAX - 4)  # with the type's byte and the end: one below the limit
    assert len(keys.encode_value(whole)) == keys.KEY_BYTES_MAX - 1
    assert not keys.is_cut(keys.encode_value(whole))
    assert keys.is_cut(keys.encode_value(whole + "x"))
    assert keys.encode_value(whole + "xxxy") == keys.encode_value(whole + "xxxz")


def test_keys_of_large_values_are_bounded() -> None:
    large: list[Value] = [
        "x" * 1_000_000,
        b"\x00" * 1_000_000,
        list(range(100_000)),
        {"a": "y" * 9999},
    ]
    for value in large:
        assert len(keys.encode_value(value)) == keys.KEY_BYTES_MAX


@given(comparable_values, comparable_values, st.booleans())
def test_type_prefix_is_shared_within_a_type_only(a: Value, b: Value, descending: bool) -> None:
    prefix = keys.type_prefix(a, descending)
    assert keys.encode_value(a, descending).startswith(prefix)
    same = keys.type_prefix(b, descending) == prefix
    assert keys.encode_value(b, descending).startswith(prefix) == same


@given(st.binary(max_size=6), st.binary(max_size=8))
def test_prefix_end_is_above_every_key_with_the_prefix(prefix: bytes, rest: bytes) -> None:
    end = keys.prefix_end(prefix)
    if end is None:
        assert prefix.strip(b"\xff") == b""
        return
    assert prefix + rest < end
    # The smallest such bytes: what is below `end` and not below `prefix` has the prefix.
    if prefix <= rest < end:
        assert rest.startswith(prefix)


@given(document_paths)
def test_document_keys_round_trip(path: DocumentPath) -> None:
    assert keys.decode_document_key(keys.document_key(path)) == path


@settings(max_examples=examples(300))
@given(ids, ids)
def test_document_keys_of_a_collection_are_in_name_order(a: str, b: str) -> None:
    first, second = DocumentPath(("users", a)), DocumentPath(("users", b))
    by_name = path_key(first.segments), path_key(second.segments)
    expected = (by_name[0] > by_name[1]) - (by_name[0] < by_name[1])
    assert sign(keys.document_key(first), keys.document_key(second)) == expected


@settings(max_examples=examples(400))
@given(document_paths, document_paths)
def test_spans_hold_exactly_what_is_below(path: DocumentPath, above: DocumentPath) -> None:
    key = keys.document_key(path)
    for length in range(1, len(above.segments) + 1):
        segments = above.segments[:length]
        is_below = path.segments[:length] == segments and len(path.segments) > length
        if length % 2:
            collection = CollectionPath(segments)
            start, end = keys.collection_span(collection)
            assert (start <= key < end) == (path.collection == collection)
            start, end = keys.subtree_span(collection)
        else:
            start, end = keys.subtree_span(DocumentPath(segments))
        assert (start <= key < end) == is_below


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("users/ada", b"users//ada"),
        ("users/ada/orders/7", b"users/ada/orders//7"),
        ("users/é", "users//é".encode()),
        ("users/__id0__", b"users//\x00\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("users/__id", b"users//__id"),
        ("users/__id0__/orders/7", b"users/__id0__/orders//7"),
    ],
)
def test_document_keys_are_readable(path: str, key: bytes) -> None:
    assert keys.document_key(DocumentPath.parse(path)) == key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (None, "10"),
        (False, "1800"),
        (True, "1801"),
        (math.nan, "200000000000000000"),
        (0, "208000000000000000"),
        (1, "20bff0000000000000"),
        (2**53 + 1, "20c3400000000000008001"),
        ("a\x00", "306100ff0001"),
        ([], "5001"),
        ({"a": None}, "60026100011001"),
    ],
)
def test_value_keys_keep_their_layout(value: Value, key: str) -> None:
    """Stored indexes depend on it: a change here needs a migration."""
    assert keys.encode_value(value).hex() == key


def test_what_is_no_value_has_no_key() -> None:
    with pytest.raises((TypeError, KeyError)):
        keys.encode_value(object())  # type: ignore[arg-type]
