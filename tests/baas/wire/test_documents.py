"""Documents as bytes: the stored form is spliced in, times are RFC 3339."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.wire.documents import encode_document, encode_documents, encode_time


def test_the_stored_bytes_stand_in_the_answer() -> None:
    document = StoredDocument(
        DocumentPath(("users", 'a"\\\u2028é')), b'{"a":1}', created=1, version=1_000_000
    )
    assert orjson.loads(encode_document(document)) == {
        "path": 'users/a"\\\u2028é',
        "fields": {"a": 1},
        "create_time": "1970-01-01T00:00:00.000001Z",
        "update_time": "1970-01-01T00:00:01.000000Z",
    }
    assert encode_documents([]) == b"[]"
    assert len(orjson.loads(encode_documents([document, document]))) == 2


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_times_are_those_of_the_model(microseconds: int) -> None:
    assert encode_time(microseconds).decode() == f'"{Timestamp(microseconds).isoformat()}"'


@pytest.mark.parametrize("microseconds", [-62_135_596_800_000_000, 253_402_300_799_999_999])
def test_the_first_and_the_last_time(microseconds: int) -> None:
    assert Timestamp.parse(encode_time(microseconds)[1:-1].decode()).microseconds == microseconds
