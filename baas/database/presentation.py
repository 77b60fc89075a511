"""What of its documents a query tells: the selected fields, and of a near query the distance."""

from __future__ import annotations

from typing import Any

from baas.encoding.documents import DistantDocument, StoredDocument, encode_fields
from baas.model.near import compile_distance
from baas.model.paths import FieldPath
from baas.model.queries import Query
from baas.model.query_order import get_field
from baas.model.values import Fields


def presents_as_stored(query: Query) -> bool:
    """Whether nothing is done to its documents."""
    return query.select is None and query.near is None


def present_all(query: Query, documents: list[StoredDocument]) -> list[StoredDocument]:
    """Documents of the query's answer, as its readers get them."""
    shown = documents
    if query.select is not None:
        shown = [project(document, query.select) for document in documents]
    if query.near is None:
        return shown
    distance_of = compile_distance(query.near)
    return [
        DistantDocument(one, distance_of(document))
        for one, document in zip(shown, documents, strict=True)
    ]


def present(query: Query, document: StoredDocument) -> StoredDocument:
    """As `present_all`, of one document."""
    (shown,) = present_all(query, [document])
    return shown


def project(document: StoredDocument, select: tuple[FieldPath, ...]) -> StoredDocument:
    """One document with no more than the selected fields."""
    chosen: Fields = {}
    taken: set[tuple[str, ...]] = set()
    # Short paths first: what lies within a field that is taken already is there.
    for path in sorted(select, key=lambda path: len(path.segments)):
        segments = path.segments
        if any(segments[:length] in taken for length in range(1, len(segments) + 1)):
            continue
        try:
            value = get_field(document.fields, path)
        except KeyError:  # no such field; `__name__` is none either
            continue
        taken.add(segments)
        inner: Any = chosen
        for segment in segments[:-1]:
            inner = inner.setdefault(segment, {})
        inner[segments[-1]] = value
    return StoredDocument(
        document.path,
        encode_fields(chosen),
        created=document.created,
        version=document.version,
        fields=chosen,
    )
