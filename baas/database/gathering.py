"""The matching documents of a collection that no index has in order, on their way to be sorted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from baas.database.presentation import project
from baas.database.sources import Documents, sort_too_large
from baas.encoding.documents import StoredDocument
from baas.model.queries import Query, effective_orders
from baas.model.query_order import document_order

GATHERED_BYTES_MAX = 64 * 1024 * 1024  # of whole documents that are kept to be sorted
PARTS_BYTES_MAX = 4 * GATHERED_BYTES_MAX  # of what they are ordered by, where they are larger
SORT_ON_LOOP_MAX = 2_000


class Gathered:
    """The matching documents of a collection on their way to be sorted. Where they are large, only
    what they are ordered by is kept of them: `are_parts`, and the rest is to be read again."""

    def __init__(self, query: Query) -> None:
        self.documents: Documents = []
        self.are_parts = False
        self._order = document_order(query)
        ordered = [order.field for order in effective_orders(query)]
        self._fields = tuple(ordered if query.near is None else [query.near.field, *ordered])
        self._size = self._part_bytes = 0

    def add(self, batch: Documents) -> None:
        self._size += sum([len(document.data) for document in batch])
        if not self.are_parts and self._size > GATHERED_BYTES_MAX:
            self.are_parts = True
            self.documents = self._parts(self.documents)
            self._part_bytes = sum([len(document.data) for document in self.documents])
        if self.are_parts:
            batch = self._parts(batch)
            self._part_bytes += sum([len(document.data) for document in batch])
            if self._part_bytes > PARTS_BYTES_MAX:
                raise sort_too_large(PARTS_BYTES_MAX)
        self.documents += batch

    def _parts(self, documents: Documents) -> Documents:
        return [project(document, self._fields) for document in documents]

    async def sort(self) -> None:
        self.documents = await _sort(self.documents, self._order)

    def keep(self, count: int) -> None:
        """Forgets all but the first ones."""
        self.documents = self.documents[:count]
        self._size = sum([len(document.data) for document in self.documents])
        self._part_bytes = self._size if self.are_parts else 0


async def _sort(documents: Documents, order: Callable[[StoredDocument], Any]) -> Documents:
    if len(documents) <= SORT_ON_LOOP_MAX:
        return sorted(documents, key=order)
    return await asyncio.to_thread(sorted, documents, key=order)
