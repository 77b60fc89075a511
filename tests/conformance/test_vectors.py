"""The model and its codecs against the vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from baas.encoding import json_values, keys
from baas.encoding.documents import decode_fields, encode_fields
from baas.errors import BaasError, InvalidPath, InvalidQuery, InvalidValue
from baas.model.documents import Document
from baas.model.order import compare, is_equal
from baas.model.paths import CollectionPath, DocumentPath, FieldPath, path_key
from baas.model.query_checks import check_query
from baas.model.query_matching import matches
from baas.model.query_order import document_order
from baas.model.timestamps import Timestamp
from baas.model.values import GeoPoint, Reference, Value, Vector, is_identical
from baas.model.writes import apply_write
from baas.settings import Limits
from baas.wire.queries import decode_query
from baas.wire.writes import decode_commit
from tests.conformance.vectors import load

VALUES, ORDER, PATHS = load("values"), load("order"), load("paths")
WRITES, QUERIES = load("writes"), load("queries")
LIMITS = Limits()
TYPES: dict[str, type] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "double": float,
    "string": str,
    "bytes": bytes,
    "timestamp": Timestamp,
    "reference": Reference,
    "geo_point": GeoPoint,
    "array": list,
    "map": dict,
    "vector": Vector,
}


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(VALUES["values"])
def test_value(vector: dict[str, Any]) -> None:
    value = json_values.decode_value(vector["json"])
    assert type(value) is TYPES[vector["type"]]
    assert json_values.encode_value(value) == vector["json"]
    assert is_identical(decode_fields(encode_fields({"a": value})), {"a": value})


@named([vector for vector in VALUES["values"] + VALUES["same"] if "reads" in vector])
def test_other_forms_are_read_as_the_same_value(vector: dict[str, Any]) -> None:
    value = json_values.decode_value(vector["json"])
    for form in vector["reads"]:
        assert is_identical(json_values.decode_value(form), value)


@named(VALUES["refused"])
def test_refused_value(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        json_values.decode_value(vector["json"])


def test_every_type_has_a_vector() -> None:
    assert {vector["type"] for vector in VALUES["values"]} == set(TYPES)


def test_order() -> None:
    groups: list[list[Value]] = [
        [json_values.decode_value(tree) for tree in group] for group in ORDER["ascending"]
    ]
    for group in groups:
        for value in group:
            assert is_equal(value, group[0])
            assert keys.encode_value(value) == keys.encode_value(group[0])
    for low, high in pairwise(groups):
        assert compare(low[-1], high[0]) == -1, (low, high)
        assert compare(high[0], low[-1]) == 1, (low, high)
        assert keys.encode_value(low[0]) < keys.encode_value(high[0]), (low, high)
    # And not only neighbours: sorting puts every group where it stands.
    flat = [(index, value) for index, group in enumerate(groups) for value in group]
    ordered = sorted(flat, key=lambda item: keys.encode_value(item[1]))
    assert [index for index, _ in ordered] == [index for index, _ in flat]


@pytest.mark.parametrize("text", PATHS["documents"])
def test_document_path(text: str) -> None:
    path = DocumentPath.parse(text)
    assert str(path) == text
    assert keys.decode_document_key(keys.document_key(path)) == path


@pytest.mark.parametrize("text", PATHS["collections"])
def test_collection_path(text: str) -> None:
    assert str(CollectionPath.parse(text)) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [(DocumentPath, text) for text in PATHS["no_documents"]]
    + [(CollectionPath, text) for text in PATHS["no_collections"]]
    + [(FieldPath, text) for text in PATHS["no_fields"]],
)
def test_refused_path(kind: Any, text: str) -> None:
    with pytest.raises(InvalidPath):
        kind.parse(text)


@pytest.mark.parametrize("vector", PATHS["fields"], ids=lambda vector: vector["text"])
def test_field_path(vector: dict[str, Any]) -> None:
    path = FieldPath.parse(vector["text"])
    assert list(path.segments) == vector["names"]
    assert str(path) == vector.get("written", vector["text"])


def test_name_order() -> None:
    paths = [DocumentPath.parse(text) for text in PATHS["ascending"]]
    for low, high in pairwise(paths):
        assert path_key(low.segments) < path_key(high.segments), (str(low), str(high))


@named(WRITES["vectors"])
def test_write(vector: dict[str, Any]) -> None:
    (write,) = decode_commit([vector["write"]], writes_max=1)
    current = None
    if vector["before"] is not None:
        before = json_values.decode_fields_tree(vector["before"])
        updated = Timestamp.parse(WRITES["update_time"])
        current = Document(write.path, before, updated, updated)
    now = Timestamp.parse(WRITES["request_time"])
    if "error" in vector:
        with pytest.raises(BaasError) as caught:
            apply_write(write, current, now, LIMITS)
        assert caught.value.code.value == vector["error"]["code"]
        assert caught.value.reason == vector["error"]["reason"]
        return
    applied = apply_write(write, current, now, LIMITS)
    after = None if applied.fields is None else json_values.encode_fields_tree(applied.fields)
    assert after == vector["after"]
    results = [json_values.encode_value(value) for value in applied.transform_results]
    assert results == vector.get("transform_results", [])
    assert applied.changed == vector["changed"]


@named(QUERIES["vectors"])
def test_query(vector: dict[str, Any]) -> None:
    query = decode_query(vector["query"])
    check_query(query, LIMITS)
    documents = [
        Document(
            DocumentPath.parse(document["path"]),
            json_values.decode_fields_tree(document["fields"]),
            Timestamp(0),
            Timestamp(0),
        )
        for document in QUERIES["documents"]
    ]
    found = [document for document in documents if matches(query, document)]
    found.sort(key=document_order(query))
    end = None if query.limit is None else query.offset + query.limit
    assert [str(document.path) for document in found[query.offset : end]] == vector["paths"]


@named(QUERIES["refused"])
def test_refused_query(vector: dict[str, Any]) -> None:
    query = decode_query(vector["query"])
    with pytest.raises(InvalidQuery):
        check_query(query, LIMITS)
