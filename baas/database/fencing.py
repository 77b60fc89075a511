"""What a committer does while its database is fenced (`StorageEngine.fence`): it keeps the queue,
for a while. Whoever put the fence up has the database to himself, to read it to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import NoReturn

from baas.clock import Clock
from baas.database.failures import as_baas_error, baas_errors
from baas.database.groups import Attempt, Group, settle
from baas.errors import BaasError, Unavailable
from baas.storage.engine import EngineFenced, StorageEngine, StorageError

LOOK_SECONDS = 0.25  # between two looks at whether it was lifted, where nobody tells


class Fenced(Exception):
    """A fence stands: nothing of the group is written."""


class HeldBack(Exception):
    """The database was closed while it was fenced, and nothing was written. It may have gone
    elsewhere: whoever opens it anew may ask there."""


class Hold:
    """Of one committer, whose queue it is. `seconds`: how long an attempt waits at most."""

    def __init__(
        self, engine: StorageEngine, queue: deque[Attempt], seconds: float, clock: Clock
    ) -> None:
        self.is_on = False
        self._engine = engine
        self._queue = queue
        self._seconds = seconds
        self._clock = clock
        self._changed = asyncio.Event()

    def begin(self, group: Group) -> None:
        """A group has met the fence: it is queued again, and others need not wait for it."""
        self._engine.end_turn()
        group.put_back(self._queue)
        self.is_on = True

    def look(self) -> None:
        """It may have been lifted, or what is more may have happened."""
        self._changed.set()

    async def wait(self) -> None:
        """Returns soon after the fence was lifted, and now and then until then. Who has waited for
        too long is told so."""
        self._changed.clear()
        with suppress(StorageError):  # then it stands
            self.is_on = (await self._engine.read_head()).fence is not None
        if self.is_on:
            self._refuse_late()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    async def end(self) -> None:
        """The committer is about to end: lets go of all who wait, if it stands still."""
        with suppress(StorageError):
            self.is_on = (await self._engine.read_head()).fence is not None
        while self.is_on and self._queue:
            settle(self._queue.popleft(), HeldBack())

    def _refuse_late(self) -> None:
        now = self._clock.monotonic_seconds()
        waiting = list(self._queue)
        self._queue.clear()
        for attempt in waiting:
            if attempt.held_until is None:
                attempt.held_until = now + self._seconds
            if now < attempt.held_until:
                self._queue.append(attempt)
            else:
                settle(attempt, as_baas_error(EngineFenced()))


class Fences:
    """Those of one database; one stands at a time. `at_opening`: the token of the one that stood
    when the database was opened."""

    def __init__(self, engine: StorageEngine, hold: Hold, at_opening: str | None) -> None:
        self.at_opening = at_opening
        self._engine = engine
        self._hold = hold

    async def put_up(self, token: str) -> int:
        """No node commits to the database from its return on, until `lift`: writes wait,
        `fence_wait_seconds` each at most, and raise Unavailable (`WritesPaused`) then. Reads go on.
        The version that it stays at: what was committed is in the log up to it, for good.

        The fence is in the store, and stands whatever becomes of this node. It is known by its
        token, by which it may be put up again. Raises Unavailable (`WritesPaused` if another one's
        stands); unless that, it may stand, and is to be lifted or put up again.
        """
        with baas_errors():
            return await self._engine.fence(token)

    async def lift(self, token: str) -> bool:
        """Whether it stood. Writes that wait go on. May be repeated. Raises Unavailable."""
        with baas_errors():
            stood = await self._engine.unfence(token)
        self._hold.look()
        return stood

    async def read(self) -> str | None:
        """The token of the fence that stands. Raises Unavailable."""
        with baas_errors():
            return (await self._engine.read_head()).fence


def check_may_go_on(error: Exception, *, is_closed: bool, was_queued: bool) -> None:
    """Returns if whoever met `error` may go on where the database is now: nothing was written.
    Else raises what callers are told. What was queued may meet its database closed as well: where
    others had committed first, it is read again."""
    if isinstance(error, HeldBack) or (is_closed and not was_queued):
        return
    if isinstance(error, StorageError):
        raise as_baas_error(error) from error
    assert isinstance(error, BaasError)
    if not (is_closed and error.reason == "DatabaseClosed"):
        raise error


async def stay_closed() -> NoReturn:
    """For a database that is to be found nowhere else."""
    raise Unavailable("the database is closed", reason="DatabaseClosed")
