"""The vectors that the server is held to as well."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from baas_sdk import Client, FieldPath, errors
from baas_sdk._paths import DatabaseName, collection_path, document_path
from baas_sdk._values import decode_value, dumps, encode_value

from tests.conformance.vectors import load

HOME = DatabaseName("demo")
CLIENT = Client("http://127.0.0.1:9", project="demo")
VALUES = load("values")
PATHS = load("paths")
# A server never stores these, and a client shows what there is: it does not look for them.
NOT_LOOKED_FOR = {"empty key", "reserved key", "array in array"}
# Split at their dots, as Firestore's clients do; the wire's form quotes them.
READ_UNQUOTED = {"a b", "1", "a-b", "é"}


@pytest.mark.parametrize(
    "vector", VALUES["values"] + VALUES["same"], ids=lambda vector: vector["name"]
)
def test_values(vector: dict[str, Any]) -> None:
    for form in [vector["json"], *vector.get("reads", [])]:
        value = decode_value(form, CLIENT._reference_value)
        written = orjson.loads(dumps(encode_value(value, HOME)))
        assert written == vector["json"]
        assert type(written) is type(vector["json"])


@pytest.mark.parametrize(
    "vector",
    [item for item in VALUES["refused"] if item["name"] not in NOT_LOOKED_FOR],
    ids=lambda vector: vector["name"],
)
def test_refused_values(vector: dict[str, Any]) -> None:
    with pytest.raises(errors.Internal):
        decode_value(vector["json"], CLIENT._reference_value)


@pytest.mark.parametrize("path", PATHS["documents"])
def test_documents(path: str) -> None:
    assert document_path(path) == path


@pytest.mark.parametrize("path", PATHS["collections"])
def test_collections(path: str) -> None:
    assert collection_path(path) == path


@pytest.mark.parametrize("path", PATHS["no_documents"])
def test_no_documents(path: str) -> None:
    with pytest.raises(errors.InvalidPath):
        document_path(path)


@pytest.mark.parametrize("path", PATHS["no_collections"])
def test_no_collections(path: str) -> None:
    with pytest.raises(errors.InvalidPath):
        collection_path(path)


@pytest.mark.parametrize("vector", PATHS["fields"], ids=lambda vector: vector["text"])
def test_fields(vector: dict[str, Any]) -> None:
    path = FieldPath.parse(vector["text"])

    assert path == FieldPath(*vector["names"])
    assert str(path) == vector.get("written", vector["text"])


@pytest.mark.parametrize("text", [item for item in PATHS["no_fields"] if item not in READ_UNQUOTED])
def test_no_fields(text: str) -> None:
    with pytest.raises(errors.InvalidPath):
        FieldPath.parse(text)
