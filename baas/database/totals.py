"""How many documents whole collections hold: counted once, then kept up by the commits.

Counting 100,000 keys takes ten milliseconds and touches all of their pages; asked for with every
page of a list, that is most of a server's time. What is kept here is asked for in constant time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from baas.database.log import CommitEvent, CommitFeed
from baas.model.paths import CollectionPath
from baas.model.queries import NAME, Query

TOTALS_MAX = 1_000  # collections whose totals are kept, the last ones asked for
CHANGES_MAX = 256  # that are remembered of each, for readers who are at an earlier version
AHEAD_SECONDS_MAX = 1.0  # that a reader waits to be told of a commit that it sees already


def is_whole_collection(query: Query) -> bool:
    """Whether the query, its offset and limit aside, has all documents of one collection. An order
    by a field leaves out those that lack the field."""
    return (
        query.where is None
        and query.start is None
        and query.end is None
        and not query.all_descendants
        and not query.existing
        and all(order.field == NAME for order in query.order_by)
    )


class _Total:
    """Of one collection. While it is counted, `number` is what commits added since."""

    __slots__ = ("_changes", "counted", "is_counted", "number", "oldest")

    def __init__(self, version: int) -> None:
        self.oldest = version  # totals of earlier versions cannot be told
        self.number = 0  # after the last commit
        self.is_counted = False
        self.counted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes: deque[tuple[int, int]] = deque()

    def change(self, version: int, difference: int) -> None:
        self.number += difference
        self._changes.append((version, difference))
        if len(self._changes) > CHANGES_MAX:
            self.oldest = self._changes.popleft()[0]

    def at(self, version: int) -> int:
        number = self.number
        for changed_at, difference in reversed(self._changes):
            if changed_at <= version:
                break
            number -= difference
        return number


class Totals:
    """`read_version` gives the version of the last commit that `on_commit` was told of, or of none
    that it missed without `lose`."""

    def __init__(self, read_version: Callable[[], int]) -> None:
        self._read_version = read_version
        self._totals: OrderedDict[tuple[str, ...], _Total] = OrderedDict()
        self._told: asyncio.Future[None] | None = None  # done with the next commit

    def follow(self, feed: CommitFeed) -> None:
        """Keeps what is known true to commits."""
        feed.subscribe(
            self.on_commit,
            keep_open=False,
            on_lost=self.lose,
            is_listening=lambda: bool(self._totals),
        )

    def known(self, collection: CollectionPath, version: int) -> int | None:
        """The total as of `version`, if it can be told without counting."""
        total = self._totals.get(collection.segments)
        if total is None or not total.is_counted:
            return None
        if not total.oldest <= version <= self._read_version():
            return None
        self._totals.move_to_end(collection.segments)
        return total.at(version)

    async def count(
        self, collection: CollectionPath, version: int, count: Callable[[], Awaitable[int]]
    ) -> int:
        """The total as of `version`; `count` counts it in a snapshot of that version, if nobody has
        done so. Raises what `count` raises."""
        await self._wait_told(version)
        while True:
            known = self.known(collection, version)
            if known is not None:
                return known
            total = self._totals.get(collection.segments)
            if total is None or total.is_counted or version < total.oldest:
                break
            # Somebody counts. If that fails, or is given up, the next one does.
            await asyncio.wait([total.counted])
        if version != self._read_version() or (total is not None and not total.is_counted):
            return await count()  # of an instant that what is kept could not start from
        return await self._count(collection, version, count)

    async def _wait_told(self, version: int) -> None:
        """Commits are seen by readers a moment before they are told of. All who read meanwhile
        would count for themselves."""
        while version > self._read_version():
            if self._told is None:
                self._told = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait([self._told], timeout=AHEAD_SECONDS_MAX)
            if not done:
                return

    async def _count(
        self, collection: CollectionPath, version: int, count: Callable[[], Awaitable[int]]
    ) -> int:
        total = self._totals[collection.segments] = _Total(version)
        self._totals.move_to_end(collection.segments)
        if len(self._totals) > TOTALS_MAX:
            self._totals.popitem(last=False)
        try:
            number = await count()
            total.number += number
            total.is_counted = True
            return number
        finally:
            if not total.is_counted and self._totals.get(collection.segments) is total:
                del self._totals[collection.segments]
            total.counted.set_result(None)

    def on_commit(self, event: CommitEvent) -> None:
        if self._told is not None:
            self._told.set_result(None)
            self._told = None
        if not self._totals:
            return
        for change in event.changes:
            if (change.old is None) != (change.new is None):
                total = self._totals.get(change.path.segments[:-1])
                if total is not None:
                    total.change(event.version, 1 if change.old is None else -1)

    def lose(self) -> None:
        """Commits happened that are not told of: nothing that is kept counts any more."""
        self._totals.clear()
        if self._told is not None:
            self._told.set_result(None)
            self._told = None
