"""How many documents whole collections hold.

Counting 100,000 keys takes ten milliseconds and touches all of their pages; asked for with every
page of a list, that is most of a server's time. What is kept here is asked for in constant time.
"""

from __future__ import annotations

from collections.abc import Callable

from baas.database.kept_numbers import KeptNumbers
from baas.database.log import CommitEvent
from baas.model.queries import NAME, Query

TOTALS_MAX = 1_000  # collections whose totals are kept, the last ones asked for


def is_whole_collection(query: Query) -> bool:
    """Whether the query, its offset and limit aside, has all documents of one collection. An order
    by a field leaves out those that lack the field."""
    return (
        query.where is None
        and query.near is None
        and query.start is None
        and query.end is None
        and not query.all_descendants
        and not query.existing
        and query.search is None
        and all(order.field == NAME for order in query.order_by)
    )


class Totals(KeptNumbers[tuple[str, ...], int]):
    """By the segments of the collection."""

    def __init__(self, read_version: Callable[[], int]) -> None:
        super().__init__(read_version, zero=0, kept_max=TOTALS_MAX)

    def known_of(self, query: Query, version: int) -> int | None:
        """As `known`, of a query's whole collection; None for queries that are not of one."""
        return (
            self.known(query.collection.segments, version) if is_whole_collection(query) else None
        )

    def note(self, event: CommitEvent) -> None:
        for change in event.changes:
            if (change.old is None) != (change.new is None):
                difference = 1 if change.old is None else -1
                self.change(change.path.segments[:-1], event.version, difference)
