"""Listing objects by prefix and delimiter. Names are read in order from the metadata; at a folder
the reading jumps behind all that is in it, so a page costs what it shows, not what it passes over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from baas.buckets.names import BucketName, object_id, prefix_end
from baas.buckets.records import StoredObject, open_object
from baas.database.database import Database
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.errors import InvalidArgument
from baas.model.queries import NAME, Cursor, Order, Query
from baas.model.values import Reference

DELIMITER = "/"
_READ_FIRST = 16
_READ_MOST = 256


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """One page: objects and folders together are at most as many as were asked for."""

    objects: list[StoredObject]
    prefixes: list[str]
    next_token: str | None


async def list_page(
    database: Database,
    bucket: BucketName,
    *,
    prefix: str,
    by_folder: bool,
    size: int,
    token: str | None,
) -> ObjectPage:
    """The objects whose names begin with `prefix`, in the order of their names' UTF-8 bytes. With
    `by_folder`, names with a `/` behind the prefix are shown as their folder only."""
    at = object_id(prefix) if token is None else max(_decode_token(token), object_id(prefix))
    end = prefix_end(prefix)
    objects: list[StoredObject] = []
    prefixes: list[str] = []
    count = _READ_FIRST
    async with database.snapshot() as snapshot:
        while True:
            documents = await _read(snapshot, bucket, at, end, count)
            folder = None
            for document in documents:
                stored = open_object(document)
                if not stored.name.startswith(prefix):
                    continue
                if folder is not None and stored.name.startswith(folder):
                    continue
                folder = None
                if len(objects) + len(prefixes) == size:
                    return ObjectPage(objects, prefixes, _encode_token(document))
                if by_folder and (cut := stored.name.find(DELIMITER, len(prefix))) >= 0:
                    folder = stored.name[: cut + 1]
                    prefixes.append(folder)
                else:
                    objects.append(stored)
            if len(documents) < count:
                return ObjectPage(objects, prefixes, None)
            at = documents[-1].path.segments[-1] + "\x01"
            if folder is None:
                count = min(count * 2, _READ_MOST)
            else:
                at, count = prefix_end(folder), _READ_FIRST


async def _read(
    snapshot: ReadSnapshot, bucket: BucketName, start: str, end: str, count: int
) -> Sequence[StoredDocument]:
    collection = bucket.objects
    first = Cursor((Reference(collection.document(start)),), before=True)
    last = Cursor((Reference(collection.document(end)),), before=True)
    query = Query(collection, order_by=(Order(NAME),), start=first, end=last, limit=count)
    return (await snapshot.run_query(query)).documents


def _encode_token(document: StoredDocument) -> str:
    return base64.urlsafe_b64encode(document.path.segments[-1].encode()).decode()


def _decode_token(token: str) -> str:
    """Any token may be given: it says where to go on within what is asked for, and no more."""
    try:
        text = base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode("utf-8")
    except (UnicodeError, binascii.Error):
        text = ""
    if not text or "/" in text or len(text) > 4_096:
        raise InvalidArgument("`page_token` is none of this list", reason="InvalidPageToken")
    return text
