"""Names as document ids, and what bytes look like."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from baas.buckets.names import check_object_name, object_id, object_name, prefix_end
from baas.buckets.sniffing import guess, sniff
from baas.encoding.keys import document_key
from baas.errors import InvalidArgument
from baas.model.paths import CollectionPath
from tests.effort import examples

COLLECTION = CollectionPath(("buckets", "b", "objects"))


def is_name(text: str) -> bool:
    try:
        check_object_name(text)
    except InvalidArgument:
        return False
    return True


NAMES = st.text(
    st.sampled_from("ab./-0é~_#!") | st.characters(exclude_categories=("Cc", "Cs")), min_size=1
).filter(is_name)


@settings(max_examples=examples(300))
@given(NAMES)
@example("__id7__")
def test_an_id_holds_no_slash_and_gives_the_name_back(name: str) -> None:
    identifier = object_id(name)
    assert "/" not in identifier
    assert name == object_name(identifier)


@settings(max_examples=examples(300))
@given(NAMES, NAMES)
@example("a/b", "a.b")
@example("a.", "a/")
@example("__id7__", "__id10__")
def test_documents_are_in_the_order_of_the_names(one: str, other: str) -> None:
    keys = [document_key(COLLECTION.document(object_id(name))) for name in (one, other)]
    assert (one.encode() < other.encode()) == (keys[0] < keys[1])


@settings(max_examples=examples(300))
@given(NAMES, NAMES)
def test_a_prefix_ends_behind_all_that_begins_with_it(prefix: str, name: str) -> None:
    start, end = object_id(prefix).encode(), prefix_end(prefix).encode()
    assert name.startswith(prefix) == (start <= object_id(name).encode() < end)


@pytest.mark.parametrize("name", ["a" * 1024, "ä" * 512, "/".join("a" * 90), "a..b", "...", " "])
def test_names_at_the_limits_are_taken(name: str) -> None:
    assert name == check_object_name(name)


@pytest.mark.parametrize("name", ["a" * 1025, "ä" * 513, "/".join("a" * 91), "a\ud800", 7, None])
def test_names_past_the_limits_are_refused(name: object) -> None:
    with pytest.raises(InvalidArgument):
        check_object_name(name)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", None),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"  \n<!DOCTYPE html>", "text/html"),
        (b"\xef\xbb\xbf<HTML>", "text/html"),
        (b"<?xml version='1.0'?><!-- x --><svg >", "image/svg+xml"),
        (b"<?xml version='1.0'?><x/>", "application/xml"),
        (b"text, then <script>", "text/html"),
        ("Grüße".encode(), "text/plain"),
        (b"\xff\xfe\x00", "text/plain"),
        (b"\x00\x01", None),
        (b"\x80\x81\x82\x83" * 10, None),
    ],
)
def test_sniffing(head: bytes, found: str | None) -> None:
    assert found == sniff(head)


@settings(max_examples=examples(200))
@given(st.binary(max_size=300))
def test_sniffing_takes_anything(head: bytes) -> None:
    sniff(head)


def test_a_guess_goes_by_name_then_by_bytes() -> None:
    assert guess("a.png", "text/html") == "image/png"
    assert guess("a", "text/html") == "text/html"
    assert guess("a", None) == "application/octet-stream"
