"""Documents as JSON bytes, spliced around the stored form: what a read sends is what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import orjson

from baas.encoding.documents import StoredDocument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _encode_seconds(seconds: int) -> bytes:
    moment = _EPOCH + timedelta(seconds=seconds)
    # Not strftime: its %Y does not pad years before 1000.
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.".encode()


def encode_new_time(microseconds: int) -> bytes:
    """As `encode_time`, of a time that nobody has asked for before."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return b'"%b%06dZ"' % (_encode_seconds(seconds), fraction)


@lru_cache(maxsize=8192)  # what is read is read again
def encode_time(microseconds: int) -> bytes:
    """A time in JSON, quotes included; always with six digits of a second."""
    return encode_new_time(microseconds)


@lru_cache(maxsize=8192)
def _encode_times(created: int, updated: int) -> bytes:
    """The members that follow `fields`, and the end of the document."""
    return b',"create_time":%b,"update_time":%b}' % (encode_time(created), encode_time(updated))


def time_text(microseconds: int) -> str:
    """The same time as text."""
    return encode_time(microseconds)[1:-1].decode()


def encode_document(document: StoredDocument) -> bytes:
    """`{"path","fields","create_time","update_time"}` around the canonical bytes, not decoded; of a
    near query with `distance_meters`."""
    distance = document.distance_meters
    return b'{"path":%b,%b"fields":%b%b' % (
        orjson.dumps(document.name),
        b"" if distance is None else b'"distance_meters":%b,' % orjson.dumps(distance),
        document.data,
        _encode_times(document.created, document.version),
    )


def encode_documents(documents: Iterable[StoredDocument]) -> bytes:
    """A JSON array of documents."""
    return b"[%b]" % b",".join([encode_document(document) for document in documents])
