"""One order out of several sources that are in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any

from baas.database.sources import BATCH_MAX, Documents, Source
from baas.encoding.documents import StoredDocument


class _Head:
    """A source and the part of it that is read and not yet taken."""

    __slots__ = ("_batch", "_order", "_place", "_source", "document", "key")

    def __init__(self, source: Source, order: Callable[[StoredDocument], Any]) -> None:
        self._source = source
        self._order = order
        self._batch: Documents = []
        self._place = -1
        self.document: StoredDocument
        self.key: Any = None

    async def advance(self) -> bool:
        """Goes to the next document; False at the end."""
        self._place += 1
        while self._place >= len(self._batch):
            batch = await self._source.next_batch()
            if batch is None:
                return False
            self._batch, self._place = batch, 0
        self.document = self._batch[self._place]
        self.key = self._order(self.document)
        return True

    def __lt__(self, other: _Head) -> bool:
        return bool(self.key < other.key)


async def merge(
    sources: Sequence[Source], order: Callable[[StoredDocument], Any], wanted: int | None
) -> AsyncGenerator[Documents]:
    """One order out of several; a document that several sources hold comes once."""
    heads = [head for head in [_Head(source, order) for source in sources] if await head.advance()]
    heapify(heads)
    size = BATCH_MAX if wanted is None else min(wanted, BATCH_MAX)
    batch: Documents = []
    last: Any = None
    while heads:
        head = heads[0]
        if head.key != last:  # equal keys end with equal names
            last = head.key
            batch.append(head.document)
            if len(batch) == size:
                yield batch
                batch = []
        if await head.advance():
            heapreplace(heads, head)
        else:
            heappop(heads)
    if batch:
        yield batch
