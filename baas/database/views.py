"""The answer of one target, kept up to date commit by commit, and the changes that this makes.

Pure: no I/O, no tasks. A view of a query with a limit knows more than it shows: a few documents
behind the window, so that the window can move without a new query. `horizon` is the place up to
which it knows every document; None means that it knows all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any, TypeAlias

from baas.database.matcher import is_in_query
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_order import document_order
from baas.storage.engine import Change

SLACK_MIN = 16  # documents known beyond the window of a query with a limit
SLACK_MAX = 256

Order: TypeAlias = Callable[[StoredDocument], Any]


class ChangeKind(Enum):
    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """Indexes are those at the moment when the changes before it have been applied; -1 for a side
    that has none. The document of a removal is the one that was there."""

    kind: ChangeKind
    old_index: int
    new_index: int
    document: StoredDocument


class SortedDocuments:
    """Documents in a fixed order, each found by its path."""

    __slots__ = ("_by_path", "_documents", "_keys", "_order")

    def __init__(self, order: Order, documents: Iterable[StoredDocument] = ()) -> None:
        """`documents` are in order already."""
        self._order = order
        self._documents = list(documents)
        self._keys = [order(document) for document in self._documents]
        self._by_path = {
            document.path: key for document, key in zip(self._documents, self._keys, strict=True)
        }

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, path: DocumentPath) -> bool:
        return path in self._by_path

    def copy(self) -> SortedDocuments:
        """An independent list of the same documents."""
        made = SortedDocuments(self._order)
        made._documents = self._documents.copy()
        made._keys = self._keys.copy()
        made._by_path = self._by_path.copy()
        return made

    def window(self, start: int, end: int | None) -> list[StoredDocument]:
        """The documents with these places."""
        return self._documents[start:end]

    def last_key(self) -> Any:
        return self._keys[-1]

    def cut(self, length: int) -> None:
        """Forgets all but the first documents."""
        for document in self._documents[length:]:
            del self._by_path[document.path]
        del self._documents[length:]
        del self._keys[length:]

    def apply(
        self, removed: Iterable[DocumentPath], put: Iterable[StoredDocument]
    ) -> list[DocumentChange]:
        """Takes out and puts in: removals from the end forwards, then what is put in its new order.
        Applied one by one to the old list, the changes give the new one."""
        changes: list[DocumentChange] = []
        keys = sorted((self._by_path[path] for path in removed), reverse=True)
        for key in keys:
            index, document = self._take(key)
            changes.append(DocumentChange(ChangeKind.REMOVED, index, -1, document))
        order = self._order
        placed = [(order(document), document) for document in put]
        placed.sort(key=itemgetter(0))
        for key, document in placed:
            old_key = self._by_path.get(document.path)
            old_index = -1 if old_key is None else self._take(old_key)[0]
            index = bisect_left(self._keys, key)
            self._keys.insert(index, key)
            self._documents.insert(index, document)
            self._by_path[document.path] = key
            kind = ChangeKind.ADDED if old_key is None else ChangeKind.MODIFIED
            changes.append(DocumentChange(kind, old_index, index, document))
        return changes

    def _take(self, key: Any) -> tuple[int, StoredDocument]:
        index = bisect_left(self._keys, key)
        del self._keys[index]
        document = self._documents.pop(index)
        del self._by_path[document.path]
        return index, document


def difference(
    order: Order, before: Sequence[StoredDocument], after: Sequence[StoredDocument]
) -> list[DocumentChange]:
    """The changes that lead from one list to the other, both in the same order."""
    old = {document.path: document for document in before}
    new = {document.path for document in after}
    put = [
        document
        for document in after
        if (known := old.get(document.path)) is None or known.version != document.version
    ]
    return SortedDocuments(order, before).apply([path for path in old if path not in new], put)


class View(ABC):
    """What one target shows: `load` sets it, `apply` follows one commit. Once `is_short`, it shows
    what it showed before, until it is loaded again."""

    order: Order

    def __init__(self) -> None:
        self._known: SortedDocuments
        self._offset = 0
        self._limit: int | None = None
        self._held: list[StoredDocument] | None = None
        self.horizon: Any = None

    @property
    def shown(self) -> list[StoredDocument]:
        """The documents that the target's listeners have."""
        if self._held is not None:
            return self._held
        end = None if self._limit is None else self._offset + self._limit
        return self._known.window(self._offset, end)

    @property
    def count(self) -> int:
        """How many are shown."""
        if self._held is not None:
            return len(self._held)
        most = max(0, len(self._known) - self._offset)
        return most if self._limit is None else min(most, self._limit)

    @property
    def is_short(self) -> bool:
        """Whether the window reaches beyond what is known: the query has to be run again."""
        return self._held is not None

    @abstractmethod
    def selects(self, image: StoredDocument | None) -> bool:
        """Whether an image belongs to the target's answer, its limit aside."""

    @abstractmethod
    def may_hold(self, path: DocumentPath) -> bool:
        """Whether some image of this document could be in the answer."""

    def load(self, documents: Sequence[StoredDocument], *, is_complete: bool) -> None:
        """Sets what is known: the beginning of the answer, or all of it."""
        self._known = SortedDocuments(self.order, documents)
        self._held = None
        self.horizon = None if is_complete else self._known.last_key()

    def apply(self, changes: Iterable[Change]) -> list[DocumentChange]:
        """Follows one commit; the changes of what is shown."""
        before = None if self._shows_all else self.shown
        removed: list[DocumentPath] = []
        put: list[StoredDocument] = []
        for change in changes:
            if self._is_known(change.new):
                assert change.new is not None
                put.append(change.new)
            elif change.path in self._known:
                removed.append(change.path)
        made = self._known.apply(removed, put)
        if before is None:
            return made
        if self._limit is not None:
            if self.horizon is not None and len(self._known) < self._offset + self._limit:
                self._held = before
                return []
            self._trim(self._limit)
        return difference(self.order, before, self.shown) if made else []

    def reload(
        self, documents: Sequence[StoredDocument], *, is_complete: bool
    ) -> list[DocumentChange]:
        """As `load`, with the changes of what is shown."""
        before = self.shown
        self.load(documents, is_complete=is_complete)
        return difference(self.order, before, self.shown)

    def changes_since(
        self, touched: Collection[DocumentPath], images: Iterable[StoredDocument]
    ) -> list[DocumentChange] | None:
        """The changes from an earlier state to now. `touched` are all documents that may have
        changed since, `images` those of them that existed then. None: what was shown then cannot
        be told any more."""
        old = self._known.copy()
        old.apply([path for path in touched if path in old], ())
        old.apply((), [image for image in images if self._is_known(image)])
        end = None
        if self._limit is not None:
            end = self._offset + self._limit
            if self.horizon is not None and len(old) < end:
                return None
        return difference(self.order, old.window(self._offset, end), self.shown)

    @property
    def _shows_all(self) -> bool:
        return self._limit is None and self._offset == 0

    def _is_known(self, image: StoredDocument | None) -> bool:
        """Whether the image is to be kept: in the answer, and not beyond the horizon."""
        if image is None or not self.selects(image):
            return False
        return self.horizon is None or not self.order(image) > self.horizon

    def _trim(self, limit: int) -> None:
        most = self._offset + limit + 2 * _slack(limit)
        if len(self._known) > most:
            self._known.cut(most - _slack(limit))
            self.horizon = self._known.last_key()


class QueryView(View):
    """The answer of a query. Keeps whole documents, whatever the query selects of them."""

    def __init__(self, query: Query) -> None:
        super().__init__()
        self.query = query
        self._offset = query.offset
        self._limit = query.limit
        self.order = document_order(query)

    @property
    def window_query(self) -> Query:
        """The query whose answer `load` wants: the first document to some behind the window."""
        query = self.query
        limit = None
        if query.limit is not None:
            limit = query.offset + query.limit + _slack(query.limit)
        return Query(
            query.collection,
            all_descendants=query.all_descendants,
            parent=query.parent,
            where=query.where,
            order_by=query.order_by,
            start=query.start,
            end=query.end,
            limit=limit,
            near=query.near,
        )

    def selects(self, image: StoredDocument | None) -> bool:
        return is_in_query(self.query, image)

    def may_hold(self, path: DocumentPath) -> bool:
        query, segments = self.query, path.segments
        if not query.all_descendants:
            return segments[:-1] == query.collection.segments
        above = () if query.parent is None else query.parent.segments
        return segments[-2] == query.collection.id and segments[: len(above)] == above


class DocumentsView(View):
    """Some documents by path, in the order in which they were named; missing ones are left out."""

    def __init__(self, paths: Sequence[DocumentPath]) -> None:
        super().__init__()
        self.places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        self.order = lambda document: self.places[document.path]

    def selects(self, image: StoredDocument | None) -> bool:
        return image is not None and image.path in self.places

    def may_hold(self, path: DocumentPath) -> bool:
        return path in self.places


def _slack(limit: int) -> int:
    return min(max(SLACK_MIN, limit), SLACK_MAX)
