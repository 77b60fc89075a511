"""Jobs in JSON."""

from __future__ import annotations

from typing import Any

from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.writes import SetWrite
from baas.wire.objects import check_object
from baas.wire.queries import decode_query
from baas.wire.writes import decode_update

_UPDATE = frozenset({"query", "update"})
_ANY_DOCUMENT = DocumentPath(("any", "document"))


def decode_update_by_query(tree: Any) -> tuple[Query, SetWrite]:
    """`{"query", "update"}`; the write's path stands for each of the query's documents."""
    members = check_object(tree, "", allowed=_UPDATE, required=("query", "update"))
    query = decode_query(members["query"])
    return query, decode_update(_ANY_DOCUMENT, members["update"], "update")


def decode_subtree(text: str) -> CollectionPath | DocumentPath:
    """The path of a document, or of a collection."""
    return DocumentPath.parse(text) if text.count("/") % 2 else CollectionPath.parse(text)
