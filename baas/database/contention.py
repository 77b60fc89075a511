"""Whose turn it is: transactions that were aborted over the same documents go one after the other.

Clients read, think and write back in steps of their own, and nothing is locked meanwhile. Where
many change one document, all but one would be aborted in every round, and some of them for ever.
So an aborted transaction that begins again waits in line for what it was aborted over. Who is first
has a lease until it has committed, or some seconds have passed; others that have read the same are
aborted as long as anybody is in the line, and get into it. Writes outside of transactions are never
held up.

Callers take turns: who comes with many transactions is served in between with one of each other
caller. And who lets others wait pays for it: after some turns that took long, a caller has none for
a while. So nobody keeps a document from the others by begging for it again and again.

The lines are of one node, and in memory. While other nodes commit to the same database, whoever is
first here gets in line with the first ones there, in the store (`Lines`). Who wins is a matter of
fairness; that nobody overwrites what he has not seen is the committer's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import structlog

from baas.database.turns import Turns
from baas.errors import TransactionConflict
from baas.settings import Limits
from baas.storage.engine import Lines, StorageError

LINE_MAX = 1_000  # who finds so many before it does not wait
REMEMBERED_MAX = 10_000  # aborted transactions of which is known over what; callers that were slow
SLOW_SECONDS = 0.5  # a turn that takes longer, while other callers wait, counts as a slow one
SLOW_WINDOW_SECONDS = 60.0
_log = structlog.get_logger("baas.contention")

Key: TypeAlias = Hashable
"""A document's segments, or what stands for a query's collection."""


class Contention:
    """The lines of one database. To be used from one event loop."""

    def __init__(
        self,
        *,
        lease_seconds: float,
        wait_seconds: float,
        waiting_max: int,
        slow_max: int,
        shared: SharedLines | None = None,
    ) -> None:
        """`waiting_max` and `slow_max` are for each caller: transactions in lines, and slow turns
        in SLOW_WINDOW_SECONDS."""
        self._shared = shared
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._waiting_max = waiting_max
        self._slow_max = slow_max
        self._waiting: Counter[Hashable] = Counter()  # places by caller
        self._slow: OrderedDict[Hashable, deque[float]] = OrderedDict()  # when, by caller
        self._lines: dict[Key, deque[_Place]] = {}
        self._leases: dict[str, _Place] = {}
        self._aborted: OrderedDict[str, frozenset[Key]] = OrderedDict()

    @classmethod
    def within(cls, limits: Limits, lines: Lines | None, turns: Turns) -> Contention:
        return cls(
            shared=None if lines is None else SharedLines(lines, lambda: turns.others_are_near),
            lease_seconds=limits.transaction_lease_seconds,
            wait_seconds=limits.transaction_wait_seconds,
            waiting_max=limits.caller_turns_waiting_max,
            slow_max=limits.caller_slow_turns_max,
        )

    async def close(self) -> None:
        """Leaves nothing behind in the store."""
        if self._shared is not None:
            await self._shared.close()

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

    async def wait(self, aborted: str, transaction: str, caller: Hashable = None) -> bool:
        """Waits until it is the turn of `transaction`, which tries again what `aborted` tried, and
        gives it the lease. False: it has none, because nothing is known of `aborted`, or too many
        wait, of its caller or in all, or the caller has had too many slow turns, or it has waited
        for too long; it may go on all the same."""
        keys = self._aborted.pop(aborted, frozenset())
        if not keys or any(len(self._lines.get(key, ())) >= LINE_MAX for key in keys):
            return False
        if self._waiting[caller] >= self._waiting_max or self._is_slow(caller):
            return False
        place = _Place(keys, caller, transaction)
        self._waiting[caller] += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                # Everybody in the same order, so that no two wait for each other.
                ordered = sorted(keys, key=repr)
                for key in ordered:
                    await self._line_up(key, place)
                if self._is_slow(caller):  # meanwhile
                    self._leave(place)
                    return False
                if self._shared is not None:
                    await self._shared.enter(ordered, transaction, self._lease_seconds + 1.0)
        except TimeoutError:
            self._leave(place)
            return False
        except BaseException:
            self._leave(place)
            raise
        self._leases[transaction] = place
        loop = asyncio.get_running_loop()
        place.granted_at = loop.time()
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
            self._note_slow(place)
            self._leave(place)

    def _is_slow(self, caller: Hashable) -> bool:
        times = self._slow.get(caller)
        if times is None:
            return False
        since = asyncio.get_running_loop().time() - SLOW_WINDOW_SECONDS
        while times and times[0] < since:
            times.popleft()
        return len(times) >= self._slow_max

    def _note_slow(self, place: _Place) -> None:
        """Whether it committed or not: what counts is that others had to wait."""
        now = asyncio.get_running_loop().time()
        if now - place.granted_at < SLOW_SECONDS:
            return
        waiting = (one for key in place.keys for one in self._lines.get(key, ()))
        if any(one.caller != place.caller for one in waiting):
            self._slow.setdefault(place.caller, deque(maxlen=self._slow_max)).append(now)
            self._slow.move_to_end(place.caller)
            while len(self._slow) > REMEMBERED_MAX:
                self._slow.popitem(last=False)

    async def _line_up(self, key: Key, place: _Place) -> None:
        line = self._lines.setdefault(key, deque())
        _insert(line, key, place)
        if line[0] is not place:
            place.turn = asyncio.get_running_loop().create_future()
            await place.turn

    def _leave(self, place: _Place) -> None:
        if place.timer is not None:
            place.timer.cancel()
        self._waiting[place.caller] -= 1
        if not self._waiting[place.caller]:
            del self._waiting[place.caller]
        if self._shared is not None:
            self._shared.leave(place.transaction)
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


class SharedLines:
    """Who is first on this node, in line with those who are first on others."""

    def __init__(self, lines: Lines, are_others_near: Callable[[], bool]) -> None:
        self._lines = lines
        self._are_others_near = are_others_near
        self._entered: dict[str, list[str]] = {}  # lines by transaction
        self._leaving: dict[str, asyncio.Task[None]] = {}  # by line

    async def enter(self, keys: Sequence[Key], transaction: str, seconds: float) -> None:
        """Returns when the transaction is first in all of these lines. Does not wait while no other
        node commits, nor if the store cannot be asked."""
        if not self._are_others_near():
            return
        entered = self._entered[transaction] = []
        try:
            for key in keys:
                line = hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest()
                if (leaving := self._leaving.get(line)) is not None:
                    await asyncio.wait([leaving])  # else this node would wait for itself
                entered.append(line)
                await self._lines.enter(line, transaction, seconds)
        except StorageError as error:
            _log.warning("no turns between nodes", error=str(error))

    def leave(self, transaction: str) -> None:
        for line in self._entered.pop(transaction, ()):
            task = asyncio.ensure_future(self._leave(line, transaction))
            self._leaving[line] = task
            task.add_done_callback(partial(self._note_left, line))

    async def close(self) -> None:
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))

    async def _leave(self, line: str, transaction: str) -> None:
        with suppress(StorageError):  # it is taken for gone after a while
            await self._lines.leave(line, transaction)

    def _note_left(self, line: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(line) is task:
            del self._leaving[line]


def _insert(line: deque[_Place], key: Key, place: _Place) -> None:
    """Behind all of its round: a caller's first place in a line is of the round that is being
    served, each further one of the next."""
    mine = [one.rounds[key] for one in line if one.caller == place.caller]
    number = mine[-1] + 1 if mine else line[0].rounds[key] if line else 0
    at = len(line)
    while at > 1 and line[at - 1].rounds[key] > number:
        at -= 1
    place.rounds[key] = number
    line.insert(at, place)


class _Place:
    """One transaction in its lines."""

    __slots__ = ("caller", "granted_at", "keys", "rounds", "timer", "transaction", "turn")

    def __init__(self, keys: frozenset[Key], caller: Hashable, transaction: str) -> None:
        self.keys = keys
        self.caller = caller
        self.transaction = transaction
        self.rounds: dict[Key, int] = {}
        self.granted_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.turn: asyncio.Future[None] | None = None

    def call(self) -> None:
        """It is first now."""
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)
