"""Numbers about the present state: counted once, then kept up by the commits.

A snapshot may be a little ahead of what was told of, or behind it: numbers can be told of each of
the last versions. What is asked for again and again costs no counting then.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, Protocol, Self, TypeVar

from baas.database.log import CommitEvent, CommitFeed

CHANGES_MAX = 256  # that are remembered of each, for readers who are at an earlier version
AHEAD_SECONDS_MAX = 1.0  # that a reader waits to be told of a commit that it sees already


class Number(Protocol):
    """Of what is counted, several numbers at once, too."""

    def __add__(self, other: Any, /) -> Any: ...

    def __sub__(self, other: Any, /) -> Any: ...


K = TypeVar("K", bound=Hashable)
N = TypeVar("N", bound=Number)


class _Kept(Generic[N]):
    """One number. While it is counted, it is what commits added since."""

    __slots__ = ("_changes", "counted", "is_counted", "number", "oldest")

    def __init__(self, version: int, zero: N) -> None:
        self.oldest = version  # numbers of earlier versions cannot be told
        self.number = zero  # after the last commit
        self.is_counted = False
        self.counted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes: deque[tuple[int, N]] = deque()

    def change(self, version: int, difference: N) -> None:
        self.number += difference
        self._changes.append((version, difference))
        if len(self._changes) > CHANGES_MAX:
            self.oldest = self._changes.popleft()[0]

    def at(self, version: int) -> N:
        number = self.number
        for changed_at, difference in reversed(self._changes):
            if changed_at <= version:
                break
            number -= difference
        return number


class KeptNumbers(ABC, Generic[K, N]):
    """The `kept_max` last ones that were asked for. `read_version` gives the version of the last
    commit that `on_commit` was told of, or of none that it missed without `lose`."""

    def __init__(self, read_version: Callable[[], int], *, zero: N, kept_max: int) -> None:
        self._read_version = read_version
        self._zero = zero
        self._kept_max = kept_max
        self._kept: OrderedDict[K, _Kept[N]] = OrderedDict()
        self._told: asyncio.Future[None] | None = None  # done with the next commit

    @abstractmethod
    def note(self, event: CommitEvent) -> None:
        """Calls `change` for what is kept and the commit has changed."""

    def follow(self, feed: CommitFeed) -> Self:
        """Keeps what is known true to commits. Gives back itself."""
        feed.subscribe(
            self.on_commit,
            keep_open=False,
            on_lost=self.lose,
            is_listening=lambda: bool(self._kept),
        )
        return self

    def known(self, key: K, version: int) -> N | None:
        """The number as of `version`, if it can be told without counting."""
        kept = self._kept.get(key)
        if kept is None or not kept.is_counted:
            return None
        if not kept.oldest <= version <= self._read_version():
            return None
        self._kept.move_to_end(key)
        return kept.at(version)

    async def count(self, key: K, version: int, count: Callable[[], Awaitable[N]]) -> N:
        """The number as of `version`; `count` counts it in a snapshot of that version, if nobody
        has done so. Raises what `count` raises."""
        await self._wait_told(version)
        while True:
            known = self.known(key, version)
            if known is not None:
                return known
            kept = self._kept.get(key)
            if kept is None or kept.is_counted or version < kept.oldest:
                break
            # Somebody counts. If that fails, or is given up, the next one does.
            await asyncio.wait([kept.counted])
        if version != self._read_version() or (kept is not None and not kept.is_counted):
            return await count()  # of an instant that what is kept could not start from
        return await self._count(key, version, count)

    async def _wait_told(self, version: int) -> None:
        """Commits are seen by readers a moment before they are told of. All who read meanwhile
        would count for themselves."""
        while version > self._read_version():
            if self._told is None:
                self._told = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait([self._told], timeout=AHEAD_SECONDS_MAX)
            if not done:
                return

    async def _count(self, key: K, version: int, count: Callable[[], Awaitable[N]]) -> N:
        kept = self._kept[key] = _Kept(version, self._zero)
        self._kept.move_to_end(key)
        if len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)
        try:
            number = await count()
            kept.number += number
            kept.is_counted = True
            return number
        finally:
            if not kept.is_counted and self._kept.get(key) is kept:
                del self._kept[key]
            kept.counted.set_result(None)

    def forget(self, key: K) -> None:
        """What is kept says too little: it is counted anew when it is asked for."""
        self._kept.pop(key, None)

    def change(self, key: K, version: int, difference: N) -> None:
        """A commit has changed the number, if it is kept."""
        kept = self._kept.get(key)
        if kept is not None:
            kept.change(version, difference)

    def on_commit(self, event: CommitEvent) -> None:
        if self._told is not None:
            self._told.set_result(None)
            self._told = None
        if self._kept:
            self.note(event)

    def lose(self) -> None:
        """Commits happened that are not told of: nothing that is kept counts any more."""
        self._kept.clear()
        if self._told is not None:
            self._told.set_result(None)
            self._told = None
