"""Paths: what is accepted, what is refused and why, and that text and path go both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baas.errors import InvalidPath
from baas.model.paths import (
    DEPTH_MAX,
    FIELD_NAME_BYTES_MAX,
    ID_BYTES_MAX,
    CollectionPath,
    DocumentPath,
    FieldPath,
    check_field_name,
    numeric_id,
    path_key,
)
from tests.baas.model.strategies import characters, document_paths, field_names


@given(document_paths)
def test_document_paths_round_trip(path: DocumentPath) -> None:
    assert DocumentPath.parse(str(path)) == path
    assert CollectionPath.parse(str(path.collection)) == path.collection
    assert path.collection.document(path.id) == path


@given(st.lists(field_names, min_size=1, max_size=4))
def test_field_paths_round_trip(names: list[str]) -> None:
    path = FieldPath(tuple(names))
    assert FieldPath.parse(str(path)) == path


@given(st.text(characters, max_size=8))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    for kind in (DocumentPath, CollectionPath, FieldPath):
        try:
            path = kind.parse(text)
        except InvalidPath:
            continue
        assert kind.parse(str(path)) == path
        if kind is not FieldPath:
            assert str(path) == text


def test_parts_of_a_path() -> None:
    path = DocumentPath.parse("users/ada/orders/7")
    assert path.id == "7"
    assert path.collection == CollectionPath(("users", "ada", "orders"))
    assert path.collection.id == "orders"
    assert path.collection.parent == DocumentPath(("users", "ada"))
    assert CollectionPath.parse("users").parent is None
    assert DocumentPath.parse("users/ada").child("orders") == path.collection


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "users",
        "users/",
        "/users/ada",
        "users//ada/x",
        "users/ada/orders",
        "users/.",
        "users/..",
        "../users",
        "users/__reserved__",
        "__indexes__/a",
        "users/____",
        "users/__id__",
        "users/__idx__",
        "users/__id07__",
        "users/__id-0__",
        "users/__id+1__",
        "users/__id9223372036854775808__",
        "users/\ud800",
        "users/" + "x" * (ID_BYTES_MAX + 1),
        "users/" + "é" * (ID_BYTES_MAX // 2 + 1),
        "/".join(["a"] * (2 * DEPTH_MAX + 2)),
        "/".join(["x" * 1400] * 6),
    ],
)
def test_bad_document_paths_are_refused(text: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        DocumentPath.parse(text)
    assert len(caught.value.message) < 300
    caught.value.message.encode()  # no lone surrogate reaches an answer


@pytest.mark.parametrize(
    "text",
    [
        "users/ada",
        "users/...",
        "users/__",
        "users/___",
        "users/_a_",
        "users/__a",
        "users/a b",
        "users/a.b",
        "users/ ",
        "users/\x00",
        "users/日本",
        "users/__id7__",
        "users/__id-9223372036854775808__",
        "users/" + "x" * ID_BYTES_MAX,
        "/".join(["a"] * (2 * DEPTH_MAX)),
    ],
)
def test_good_document_paths_are_taken_as_they_are(text: str) -> None:
    assert DocumentPath.parse(text).segments == tuple(text.split("/"))


def test_a_document_is_no_collection_and_says_so() -> None:
    with pytest.raises(InvalidPath, match="names a document, not a collection"):
        CollectionPath.parse("users/ada")
    with pytest.raises(InvalidPath, match="names a collection, not a document"):
        DocumentPath.parse("users")


def test_constructors_reach_reserved_collections() -> None:
    assert str(CollectionPath(("__indexes__",)).document("1")) == "__indexes__/1"


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a", ("a",)),
        ("a.b_1.C", ("a", "b_1", "C")),
        ("a.`c d`", ("a", "c d")),
        ("`a.b`.c", ("a.b", "c")),
        (r"`a\`b\\c`", ("a`b\\c",)),
        ("`1`", ("1",)),
        ("__name__", ("__name__",)),
        ("`é`.`$`", ("é", "$")),
        ("`a`", ("a",)),
        ("_", ("_",)),
    ],
)
def test_field_paths(text: str, segments: tuple[str, ...]) -> None:
    assert FieldPath.parse(text).segments == segments


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "1",
        "a-b",
        "é",
        "`",
        "``",
        "`a",
        "a`b`",
        "`a`b",
        r"`\n`",
        "`a\\`",
        "__name__.a",
        "a.__b__",
        "`__name__`",
        "`\ud800`",
        "x" * (FIELD_NAME_BYTES_MAX + 1),
        ".".join(["x" * 1000] * 7),
    ],
)
def test_bad_field_paths_are_refused(text: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        FieldPath.parse(text)
    caught.value.message.encode()


def test_field_paths_print_shortest() -> None:
    assert str(FieldPath(("a", "b c", "`", "\\", "1"))) == r"a.`b c`.`\``.`\\`.`1`"


def test_field_name_limit_is_exact() -> None:
    check_field_name("x" * FIELD_NAME_BYTES_MAX)
    check_field_name("é" * (FIELD_NAME_BYTES_MAX // 2))
    with pytest.raises(InvalidPath):
        check_field_name("é" * (FIELD_NAME_BYTES_MAX // 2) + "x")


@pytest.mark.parametrize(
    ("segment", "number"),
    [
        ("__id0__", 0),
        ("__id-1__", -1),
        ("__id9223372036854775807__", 2**63 - 1),
        ("__id9223372036854775808__", None),
        ("__id007__", None),
        ("__id__", None),
        ("id7", None),
        ("__id７__", None),
    ],
)
def test_numeric_ids(segment: str, number: int | None) -> None:
    assert numeric_id(segment) == number


def test_names_order_numeric_ids_first_then_by_bytes() -> None:
    ordered = [
        "__id-2__",
        "__id2__",
        "__id10__",
        " ",
        "Z",
        "__id",
        "a",
        "a ",
        "aa",
        "é",
        "\U0001f600",
    ]
    names = [("users", segment) for segment in ordered]
    names_backwards = names[::-1]
    assert sorted(names_backwards, key=path_key) == names
