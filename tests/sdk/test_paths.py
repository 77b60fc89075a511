from __future__ import annotations

import pytest
from baas_sdk import FieldPath
from baas_sdk._paths import (
    DatabaseName,
    collection_id,
    collection_path,
    document_path,
    new_document_id,
    url_path,
)
from baas_sdk.errors import InvalidPath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_paths_may_be_given_whole_or_in_parts() -> None:
    assert document_path("users/ada") == document_path("users", "ada") == "users/ada"
    assert collection_path("users/ada", "orders") == "users/ada/orders"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("users", "names a collection"),
        ("", "empty segment"),
        ("users/", "empty segment"),
        ("/users/ada", "empty segment"),
        ("users//a/b", "empty segment"),
        ("users/.", "not allowed"),
        ("users/..", "not allowed"),
        ("users/__x__", "reserved"),
        ("users/__id__", "reserved"),
        ("users/" + "x" * 1501, "1501 bytes"),
        ("users/" + "é" * 751, "1502 bytes"),
        ("users/\ud800", "surrogate"),
        ("/".join(["a"] * 202), "at most 200"),
    ],
)
def test_a_wrong_document_path_is_named(path: str, words: str) -> None:
    with pytest.raises(InvalidPath, match=words):
        document_path(path)


@pytest.mark.parametrize(
    "path", ["users/__id7__", "users/__id-7__", "a b/ü%:~", "users/" + "x" * 1500]
)
def test_unusual_ids_are_allowed(path: str) -> None:
    assert document_path(path) == path


def test_a_document_is_no_collection() -> None:
    with pytest.raises(InvalidPath, match="names a document"):
        collection_path("users/ada")


@pytest.mark.parametrize("part", [None, 5, b"users"])
def test_paths_are_text(part: object) -> None:
    with pytest.raises(InvalidPath, match="strings"):
        document_path("users", part)  # type: ignore[arg-type]


def test_a_group_is_named_by_one_id() -> None:
    assert collection_id("orders") == "orders"
    with pytest.raises(InvalidPath, match="without `/`"):
        collection_id("users/ada/orders")


def test_segments_are_encoded_for_the_address() -> None:
    assert url_path("a b/ü%?#:") == "a%20b/%C3%BC%25%3F%23%3A"
    expected = "/api/v1/projects/demo/databases/(default)/documents"
    assert DatabaseName("demo").documents_url == expected


def test_new_ids_are_letters_and_digits() -> None:
    ids = {new_document_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(len(item) == 20 and item.isalnum() and item.isascii() for item in ids)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("first-name", ("first-name",)),
        ("`a.b`.c", ("a.b", "c")),
        ("a.`b\\`c`", ("a", "b`c")),
        ("`\\\\`", ("\\",)),
        ("größe", ("größe",)),
    ],
)
def test_field_paths_are_read(text: str, parts: tuple[str, ...]) -> None:
    assert FieldPath.parse(text) == FieldPath(*parts)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "`a", "`a`b", "``", "a[0]", "a/b", "a*", "a`b`", None, 5]
)
def test_a_wrong_field_path_is_refused(text: object) -> None:
    with pytest.raises(InvalidPath):
        FieldPath.parse(text)  # type: ignore[arg-type]


def test_field_paths_quote_what_is_not_a_plain_word() -> None:
    assert str(FieldPath("a", "b_1")) == "a.b_1"
    assert str(FieldPath("a.b", "c d", "1")) == "`a.b`.`c d`.`1`"


def _is_free(name: str) -> bool:
    return not (len(name) >= 4 and name.startswith("__") and name.endswith("__"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(min_size=1).filter(_is_free), min_size=1, max_size=4))
def test_field_paths_survive_their_text(parts: list[str]) -> None:
    path = FieldPath(*parts)

    assert FieldPath.parse(str(path)) == path


def test_field_paths_do_not_change() -> None:
    path = FieldPath("a")
    with pytest.raises(AttributeError):
        path.parts = ("b",)
    with pytest.raises(InvalidPath):
        FieldPath()
    with pytest.raises(InvalidPath):
        FieldPath("a", "")
    assert repr(path) == "FieldPath('a')"
    assert hash(path) == hash(FieldPath("a"))
