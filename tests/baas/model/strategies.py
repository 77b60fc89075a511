"""Hypothesis strategies for values, paths, documents and queries, dense where the traps are."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from baas.model.documents import Document
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.timestamps import MICROSECONDS_MAX, MICROSECONDS_MIN, Timestamp
from baas.model.values import (
    INT64_MAX,
    INT64_MIN,
    Fields,
    GeoPoint,
    Reference,
    Value,
    Vector,
)

_POWERS = [2**53, 2**54, 2**62, 2**63, 10**17]
_NEAR_POWERS = [
    sign * (power + step)
    for power in _POWERS
    for step in (-2, -1, 0, 1, 2, 3)
    for sign in (1, -1)
    if INT64_MIN <= sign * (power + step) <= INT64_MAX
]

integers: st.SearchStrategy[int] = st.one_of(
    st.integers(-4, 4),
    st.sampled_from([*_NEAR_POWERS, INT64_MIN, INT64_MAX, 2**53 - 1, 1 - 2**53]),
    st.integers(INT64_MIN, INT64_MAX),
)
doubles: st.SearchStrategy[float] = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, math.nan, math.inf, -math.inf]),
    st.sampled_from([float(number) for number in _NEAR_POWERS]),
    st.sampled_from([5e-324, -5e-324, 1.7976931348623157e308, 1e17, 1e21, 1e16]),
    st.floats(allow_nan=False),
)
numbers = st.one_of(integers, doubles)

# No surrogates: they are no Unicode text. NUL, `$`, `_` and the last code points are the traps.
characters = st.one_of(
    st.sampled_from("ab$_.`\\/\x00\x01\x02\x7f \"'é\uffff\U00010000\U0010ffff"),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.text(characters, max_size=6)


def _is_field_name(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__") and len(name) >= 4)


field_names = st.one_of(
    st.sampled_from(
        ["a", "b", "c", "$", "$$", "$timestamp", "$int", "$$ref", "x y", "é", "_", "."]
    ),
    st.text(characters, min_size=1, max_size=4).filter(_is_field_name),
)


def _is_id(text: str) -> bool:
    return "/" not in text and text not in (".", "..") and _is_field_name(text)


ids = st.one_of(
    st.sampled_from(["a", "b", "ab", "a-b", "__id1__", "__id2__", "__id10__", "__id-5__"]),
    integers.map(lambda number: f"__id{number}__"),
    st.text(characters, min_size=1, max_size=4).filter(_is_id),
)
document_paths: st.SearchStrategy[DocumentPath] = st.integers(1, 3).flatmap(
    lambda depth: st.tuples(*[ids] * (2 * depth)).map(DocumentPath)
)
collection_paths = document_paths.map(lambda path: CollectionPath(path.segments[:-1]))
timestamps = st.one_of(
    st.sampled_from([MICROSECONDS_MIN, MICROSECONDS_MAX, 0, -1, 1, 1_700_000_000_123_456]),
    st.integers(MICROSECONDS_MIN, MICROSECONDS_MAX),
).map(Timestamp)
references = st.builds(
    Reference, document_paths, st.sampled_from(["", "", "projects/p/databases/d"])
)
_degrees = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 90.0, -90.0]), st.floats(-90, 90))
geo_points = st.builds(GeoPoint, _degrees, _degrees)
vectors = st.lists(doubles, min_size=1, max_size=3).map(lambda items: Vector(tuple(items)))

scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    doubles,
    timestamps,
    texts,
    st.binary(max_size=4),
    st.sampled_from([b"\x00", b"\x00\xff", b"\x00\x01", b"\xff"]),
    references,
    geo_points,
    vectors,
)


def _containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    elements = inner.filter(lambda item: not isinstance(item, list))
    arrays: st.SearchStrategy[Value] = st.lists(elements, max_size=3)
    maps: st.SearchStrategy[Value] = st.dictionaries(field_names, inner, max_size=3)
    return st.one_of(arrays, maps)


values: st.SearchStrategy[Value] = st.recursive(scalars, _containers, max_leaves=6)
# From a small pool, so that equal values and near misses are common.
close_values: st.SearchStrategy[Value] = st.one_of(
    st.sampled_from(
        [
            None,
            False,
            True,
            0,
            0.0,
            -0.0,
            1,
            1.0,
            3,
            3.0,
            math.nan,
            math.inf,
            2**53,
            2.0**53,
            2**53 + 1,
            2**63 - 1,
            2.0**63,
            "",
            "a",
            "a\x00",
            "b",
            b"",
            b"a",
            Timestamp(0),
            Timestamp(1),
            Vector((1.0,)),
            Vector((0.0, 0.0)),
            GeoPoint(0.0, 1.0),
            GeoPoint(-0.0, 1.0),
            Reference(DocumentPath(("a", "b"))),
            Reference(DocumentPath(("a", "__id7__"))),
        ]
    ),
    st.lists(st.sampled_from([0, -0.0, "a", math.nan, None, {"a": 1}]), max_size=2),
    st.dictionaries(
        st.sampled_from(["a", "b"]), st.sampled_from([0, 0.0, "a", None, [1]]), max_size=2
    ),
)
comparable_values = st.one_of(close_values, values)
fields: st.SearchStrategy[Fields] = st.dictionaries(field_names, values, max_size=4)
# Few names and few values: masks, transforms and filters then meet what is there.
small_fields: st.SearchStrategy[Fields] = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(
        close_values,
        st.dictionaries(st.sampled_from(["a", "b"]), close_values, max_size=2),
    ),
    max_size=3,
)
small_field_paths = st.sampled_from(
    [
        FieldPath(("a",)),
        FieldPath(("b",)),
        FieldPath(("c",)),
        FieldPath(("a", "a")),
        FieldPath(("a", "b")),
        FieldPath(("b", "a")),
        FieldPath(("c", "a", "b")),
    ]
)
small_documents = st.builds(
    Document,
    st.sampled_from(
        [
            DocumentPath(("t", "1")),
            DocumentPath(("t", "2")),
            DocumentPath(("t", "__id3__")),
            DocumentPath(("u", "1")),
            DocumentPath(("t", "1", "t", "1")),
            DocumentPath(("t", "1", "t", "2")),
        ]
    ),
    small_fields,
    st.just(Timestamp(1)),
    st.just(Timestamp(2)),
)
