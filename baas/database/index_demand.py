"""Which indexes are worth making: those that queries lack again and again.

An index is a cost on every write of its collection. So a query that comes once, such as one that
somebody tries out, reads the collection; its shape is remembered, and the next query of the shape
has the index made. Where reading takes long, the first one has.
"""

from __future__ import annotations

from collections import OrderedDict

from baas.clock import Clock
from baas.database.indexes import IndexDefinition

RECURRING_SECONDS = 86_400.0  # within which a shape has to come again
LARGE_DOCUMENTS = 10_000  # a collection from here on is not read twice without an index
SHAPES_MAX = 1_000  # that are remembered of one database, the last ones


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
