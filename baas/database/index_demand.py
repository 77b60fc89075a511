"""Which indexes are worth making: those that queries lack again and again.

An index is a cost on every write of its collection. So a query that comes once, such as one that
somebody tries out, reads the collection; its shape is remembered, and the next query of the shape
has the index made. Where reading takes long, the first one has.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from baas.clock import Clock
from baas.database.indexes import IndexDefinition
from baas.storage.engine import KeyRange

RECURRING_SECONDS = 86_400.0  # within which a shape has to come again
LARGE_DOCUMENTS = 10_000  # a collection from here on is not read twice without an index
SHAPES_MAX = 1_000  # that are remembered of one database, the last ones
ASKERS_MAX = 8  # that are told apart, of one shape
LARGE_SECONDS = 60.0  # for so long a collection that was large is taken for large


# Who asks: somebody who answers to rules, or the server itself and those who answer to none.
Asker: TypeAlias = Hashable
TRUSTED: Asker = None
LISTENER: Asker = "listener"  # whoever it is


@dataclass(slots=True)
class Asked:
    """How an index was asked for: by whom, how often since when, and how many documents had to be
    read in its place."""

    since: float
    last: float
    documents: int = 0
    times: int = 0
    askers: set[Asker] = field(default_factory=set)
    is_told: bool = False  # that there is no room for it

    @property
    def is_trusted(self) -> bool:
        return TRUSTED in self.askers

    def is_of(self, asker: Asker) -> bool:
        """Whether nobody else asked."""
        return self.askers == {asker}


class IndexDemand:
    """What was asked for on this node, and not made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: OrderedDict[IndexDefinition, Asked] = OrderedDict()

    def note(
        self, definition: IndexDefinition, documents: int, asker: Asker = TRUSTED
    ) -> Asked | None:
        """Notes that a query lacked the index and had so many documents to read. How it was asked
        for, if it is worth making by now."""
        now = self._clock.monotonic_seconds()
        asked = self._asked.pop(definition, None)
        if asked is None or now - asked.last > RECURRING_SECONDS:
            asked = Asked(now, now)
        asked.last = now
        asked.times += 1
        asked.documents = max(asked.documents, documents)
        if len(asked.askers) < ASKERS_MAX or asker is TRUSTED:
            asked.askers.add(asker)
        self._asked[definition] = asked
        if len(self._asked) > SHAPES_MAX:
            self._asked.popitem(last=False)
        return asked if asked.times > 1 or documents >= LARGE_DOCUMENTS else None

    def forget(self, definition: IndexDefinition) -> None:
        """It is being made."""
        self._asked.pop(definition, None)


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
