"""The names right below a place: the documents of a collection, those among them that do not exist
but have documents below, and the collections below a document.

What is below a name lies together, so each name costs one step, whatever is below it.
"""

from __future__ import annotations

from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import CollectionPath, DocumentPath, numeric_id, path_key
from baas.storage.engine import KeyRange, Snapshot

_SLASH = "/"
Child = tuple[DocumentPath, StoredDocument | None]


async def list_children(
    snapshot: Snapshot, collection: CollectionPath, *, after: DocumentPath | None, limit: int
) -> list[Child]:
    """At most `limit` documents of a collection behind `after` in the order of names; None for one
    that does not exist and has documents below."""
    start, end = keys.collection_span(collection)
    if after is not None:
        start = keys.document_key(after) + b"\x00"
    documents = await snapshot.scan_documents(KeyRange(start, end), limit=limit)
    found: dict[DocumentPath, StoredDocument | None] = dict.fromkeys(
        await _Parents(snapshot, collection, after).first(limit)
    )
    found.update({document.path: document for document in documents})
    in_order = sorted(found.items(), key=lambda item: path_key(item[0].segments))
    return in_order[:limit]


class _Parents:
    """Documents with something below, whether they exist or not."""

    def __init__(
        self, snapshot: Snapshot, collection: CollectionPath, after: DocumentPath | None
    ) -> None:
        self._snapshot = snapshot
        self._collection = collection
        self._after = after
        self._depth = len(collection.segments)

    async def first(self, limit: int) -> list[DocumentPath]:
        """At most so many behind `after`, in the order of names."""
        found: list[DocumentPath] = []
        if self._after is None or numeric_id(self._after.id) is not None:
            found = await self._numeric()
        if len(found) < limit:
            found += await self._others(limit - len(found))
        return found[:limit]

    async def _numeric(self) -> list[DocumentPath]:
        """All of them, since they lie in another order; hardly anybody has any."""
        found: list[DocumentPath] = []
        start = f"{self._collection}/__id".encode()
        end = f"{self._collection}/__ie".encode()
        while (path := await self._next(start, end)) is not None:
            start = keys.subtree_span(path)[1]
            if numeric_id(path.id) is not None and self._is_after(path):
                found.append(path)
        return sorted(found, key=lambda path: path_key(path.segments))

    async def _others(self, limit: int) -> list[DocumentPath]:
        found: dict[DocumentPath, None] = {}
        start, end = keys.subtree_span(self._collection)
        after = self._after
        if after is not None and numeric_id(after.id) is None:
            start = f"{after}\x00".encode()
        while len(found) < limit:
            path = await self._next(start, end)
            if path is None:
                break
            start = keys.subtree_span(path)[1]
            if numeric_id(path.id) is None:
                for earlier in await self._shorter(path):
                    found[earlier] = None
                if self._is_after(path):
                    found[path] = None
        return list(found)

    async def _shorter(self, path: DocumentPath) -> list[DocumentPath]:
        """A name comes before all that go on with it, but what is below it does not, where the next
        character is less than the slash."""
        document_id = path.id
        candidates = [
            self._collection.document(document_id[:length])
            for length in range(1, len(document_id))
            if document_id[length] < _SLASH and document_id[:length] not in (".", "..")
        ]
        return [
            candidate
            for candidate in candidates
            if self._is_after(candidate)
            and await self._next(*keys.subtree_span(candidate)) is not None
        ]

    async def _next(self, start: bytes, end: bytes) -> DocumentPath | None:
        """The name of the collection under which the first document within the keys lies."""
        own_start, own_end = keys.collection_span(self._collection)
        for span in (KeyRange(start, min(end, own_start)), KeyRange(max(start, own_end), end)):
            if span.end is not None and span.start < span.end:
                below = await self._snapshot.scan_documents(span, limit=1)
                if below:
                    return DocumentPath(below[0].path.segments[: self._depth + 1])
        return None

    def _is_after(self, path: DocumentPath) -> bool:
        after = self._after
        return after is None or path_key(path.segments) > path_key(after.segments)
