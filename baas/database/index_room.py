"""Who gets a place for an index, where a collection id has only so many of them.

Anybody who may list a collection may ask for shapes that nobody else needs, and each would have its
index. So callers who answer to rules have three quarters of the places together, and each of them
half of these for what nobody else asks for. Where all are taken that somebody may have, an idle one
makes room. Else one does that is worth less: what several callers ask for is worth more than what
one does, and then what spares more documents in the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from baas.clock import Clock
from baas.database.index_demand import LARGE_DOCUMENTS, Asked
from baas.database.indexes import Index

IDLE_SECONDS = 3_600  # an index unused for so long makes room for one that is wanted
SETTLED_SECONDS = 600.0  # for so long a new index shows what it is worth
OUTRANKED_SECONDS = 60.0  # between two that make room for what is worth more: making one costs
OUTRANKED_TIMES = 2  # as many documents as one spares, has to spare what takes its place
COMMON_ASKERS = 3  # who ask for what is not the wish of somebody in particular

_Worth: TypeAlias = tuple[int, float]  # askers, and documents in a second


class IndexRoom:
    """The places of one database. What is not told of was asked for by many, before this start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[int, Asked] = {}  # by the numbers of indexes
        self._uses: dict[int, int] = {}  # that they had when they were noted
        self._began = clock.monotonic_seconds()
        self._outranked_at = -OUTRANKED_SECONDS

    def note_made(self, index: Index, asked: Asked) -> None:
        asked.last = self._clock.monotonic_seconds()
        self._asked[index.number] = asked

    def forget(self, index: Index) -> None:
        """It was dropped."""
        self._asked.pop(index.number, None)

    def find(
        self, asked: Asked, there: Sequence[Index], coming: Sequence[Asked], most: int
    ) -> tuple[bool, Index | None]:
        """Whether there is a place among the `most` of a collection id, besides indexes that are
        there and such as will be; and which index has to be dropped for that."""
        is_full = len(there) + len(coming) >= most
        if asked.is_trusted:
            return self._replace(asked, there) if is_full else (True, None)
        open_places = most - most // 4
        others = [index for index in there if not (index.is_pinned or self._is_trusted(index))]
        waiting = [one for one in coming if not one.is_trusted]
        if len(asked.askers) == 1:
            (asker,) = asked.askers
            own = [one for one in others if (by := self._asked.get(one.number)) and by.is_of(asker)]
            own_count = len(own) + sum([one.is_of(asker) for one in waiting])
            if own_count >= max(1, open_places // 2):
                return self._replace(asked, own)
        if is_full or len(others) + len(waiting) >= open_places:
            return self._replace(asked, others)
        return True, None

    def _is_trusted(self, index: Index) -> bool:
        asked = self._asked.get(index.number)
        return asked is not None and asked.is_trusted

    def _replace(self, asked: Asked, there: Sequence[Index]) -> tuple[bool, Index | None]:
        spare = [index for index in there if index.is_spare]
        idle = find_idle(spare, self._clock.now_microseconds() - IDLE_SECONDS * 1_000_000)
        if idle is not None:
            return True, idle
        now = self._clock.monotonic_seconds()
        settled = [one for one in spare if now - self._made_at(one) >= SETTLED_SECONDS]
        if not settled or now - self._outranked_at < OUTRANKED_SECONDS:
            return False, None
        weakest = min(settled, key=self._worth)
        askers, spared = self._worth(weakest)
        if self._wish_worth(asked) <= (askers, OUTRANKED_TIMES * spared):
            return False, None
        self._outranked_at = now
        return True, weakest

    def _made_at(self, index: Index) -> float:
        asked = self._asked.get(index.number)
        return self._began if asked is None else asked.last

    def _worth(self, index: Index) -> _Worth:
        seconds = max(1.0, self._clock.monotonic_seconds() - self._made_at(index))
        asked = self._asked.get(index.number)
        if asked is None:
            return COMMON_ASKERS, LARGE_DOCUMENTS * index.uses / seconds
        return _count_askers(asked), max(1, asked.documents) * index.uses / seconds

    def _wish_worth(self, asked: Asked) -> _Worth:
        seconds = max(OUTRANKED_SECONDS, self._clock.monotonic_seconds() - asked.since)
        return _count_askers(asked), max(1, asked.documents) * asked.times / seconds


def find_idle(indexes: Sequence[Index], before: int) -> Index | None:
    """The one that was used the longest ago, and not since `before` (in microseconds)."""
    idle = [index for index in indexes if index.used_at < before]
    return min(idle, key=lambda index: index.used_at, default=None)


def _count_askers(asked: Asked) -> int:
    return COMMON_ASKERS if asked.is_trusted else min(COMMON_ASKERS, len(asked.askers))
