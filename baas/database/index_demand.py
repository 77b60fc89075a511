"""Which indexes are worth making: those that queries lack again and again.

An index is a cost on every write of its collection. So a query that comes once, such as one that
somebody tries out, reads the collection; its shape is remembered, and the next query of the shape
has the index made. Where reading takes long, the first one has.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from baas.clock import Clock
from baas.database.indexes import IndexDefinition
from baas.storage.engine import KeyRange

RECURRING_SECONDS = 86_400.0  # within which a shape has to come again
LARGE_DOCUMENTS = 10_000  # a collection from here on is not read twice without an index
SHAPES_MAX = 1_000  # that are remembered of one database, the last ones
LARGE_SECONDS = 60.0  # for so long a collection that was large is taken for large


class IndexDemand:
    """What was asked for on this node, and not made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: OrderedDict[IndexDefinition, float] = OrderedDict()

    def is_worth(self, definition: IndexDefinition, documents: int) -> bool:
        """Notes that a query lacked the index and had so many documents to read; whether it is to
        be made now."""
        now = self._clock.monotonic_seconds()
        before = self._asked.pop(definition, None)
        if documents >= LARGE_DOCUMENTS:
            return True
        if before is not None and now - before <= RECURRING_SECONDS:
            return True
        self._asked[definition] = now
        if len(self._asked) > SHAPES_MAX:
            self._asked.popitem(last=False)
        return False


class Sizes:
    """How many documents collections hold, up to LARGE_DOCUMENTS: counting these takes a store that
    is away some tens of milliseconds, and all who lack an index ask at the same time. So they wait
    for one count, and what was large is counted no more for a while."""

    def __init__(self) -> None:
        self._large_until: OrderedDict[KeyRange, float] = OrderedDict()
        self._counting: dict[KeyRange, asyncio.Future[int | None]] = {}

    def is_large(self, span: KeyRange) -> bool:
        return asyncio.get_running_loop().time() < self._large_until.get(span, 0.0)

    async def count(self, span: KeyRange, count: Callable[[], Awaitable[int]]) -> int:
        """Raises what `count` raises."""
        if self.is_large(span):
            return LARGE_DOCUMENTS
        while (counting := self._counting.get(span)) is not None:
            told = await asyncio.shield(counting)
            if told is not None:  # else whoever counted has failed, or gone
                return told
        counting = self._counting[span] = asyncio.get_running_loop().create_future()
        size: int | None = None
        try:
            size = await count()
        finally:
            del self._counting[span]
            counting.set_result(size)
        if size >= LARGE_DOCUMENTS:
            self._large_until[span] = asyncio.get_running_loop().time() + LARGE_SECONDS
            if len(self._large_until) > SHAPES_MAX:
                self._large_until.popitem(last=False)
        return size
