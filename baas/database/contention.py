"""Whose turn it is: transactions that were aborted over the same documents go one after the other.

Clients read, think and write back in steps of their own, and nothing is locked meanwhile. Where
many change one document, all but one would be aborted in every round, and some of them for ever.
So an aborted transaction that begins again waits in line for what it was aborted over. Who is first
has a lease until it has committed, or some seconds have passed; others that have read the same are
aborted as long as anybody is in the line, and get into it. Writes outside of transactions are never
held up.

Of one node, and in memory only: who wins is a matter of fairness; that nobody overwrites what he
has not seen is the committer's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from typing import TypeAlias

from baas.errors import TransactionConflict

LINE_MAX = 1_000  # who finds so many before it does not wait
REMEMBERED_MAX = 10_000  # aborted transactions of which is known over what

Key: TypeAlias = Hashable
"""A document's segments, or what stands for a query's collection."""


class Contention:
    """The lines of one database. To be used from one event loop."""

    def __init__(self, *, lease_seconds: float, wait_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._lines: dict[Key, deque[_Place]] = {}
        self._leases: dict[str, _Place] = {}
        self._aborted: OrderedDict[str, frozenset[Key]] = OrderedDict()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is in any line."""
        return not self._lines

    def note(self, transaction: str, keys: Iterable[Key]) -> None:
        """The transaction was aborted over these; what it held is the next one's."""
        held = self._leases.get(transaction)
        found = frozenset(keys) | (frozenset() if held is None else held.keys)
        self._aborted[transaction] = found
        while len(self._aborted) > REMEMBERED_MAX:
            self._aborted.popitem(last=False)
        self.release(transaction)

    async def wait(self, aborted: str, transaction: str) -> bool:
        """Waits until it is the turn of `transaction`, which tries again what `aborted` tried, and
        gives it the lease. False: it has none, because nothing is known of `aborted`, or too many
        wait, or it has waited for too long; it may go on all the same."""
        keys = self._aborted.pop(aborted, frozenset())
        if not keys or any(len(self._lines.get(key, ())) >= LINE_MAX for key in keys):
            return False
        place = _Place(keys)
        try:
            async with asyncio.timeout(self._wait_seconds):
                # Everybody in the same order, so that no two wait for each other.
                for key in sorted(keys, key=repr):
                    await self._line_up(key, place)
        except TimeoutError:
            self._leave(place)
            return False
        except BaseException:
            self._leave(place)
            raise
        self._leases[transaction] = place
        loop = asyncio.get_running_loop()
        place.timer = loop.call_later(self._lease_seconds, self.release, transaction)
        return True

    def check(self, transaction: str, keys: Iterable[Key]) -> None:
        """Raises TransactionConflict if it is the turn of other transactions at one of these; what
        is then to be noted is the caller's to note."""
        mine = self._leases.get(transaction)
        for key in keys:
            line = self._lines.get(key)
            # Also before the first one has its lease: what commits then would abort it again.
            if line and line[0] is not mine:
                raise TransactionConflict("other transactions have their turn at the same data")

    def release(self, transaction: str) -> None:
        """The transaction is over, or its time is: the next ones' turn."""
        place = self._leases.pop(transaction, None)
        if place is not None:
            self._leave(place)

    async def _line_up(self, key: Key, place: _Place) -> None:
        line = self._lines.setdefault(key, deque())
        line.append(place)
        if line[0] is not place:
            place.turn = asyncio.get_running_loop().create_future()
            await place.turn

    def _leave(self, place: _Place) -> None:
        if place.timer is not None:
            place.timer.cancel()
        for key in place.keys:
            line = self._lines.get(key)
            if line is None or place not in line:
                continue
            was_first = line[0] is place
            line.remove(place)
            if not line:
                del self._lines[key]
            elif was_first:
                line[0].call()


class _Place:
    """One transaction in its lines."""

    __slots__ = ("keys", "timer", "turn")

    def __init__(self, keys: frozenset[Key]) -> None:
        self.keys = keys
        self.timer: asyncio.TimerHandle | None = None
        self.turn: asyncio.Future[None] | None = None

    def call(self) -> None:
        """It is first now."""
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)
