"""Why no read comes from a primary that is none any more."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

# Shorter than `electionTimeoutMillis`, ten seconds by default and two at least.
LEASE_SECONDS = 1.5
RENEW_SECONDS = 0.5


class Lease:
    """A primary that is torn from the others answers for some seconds yet, and the others, once
    they have waited for `electionTimeoutMillis`, have elected another one.

    `confirm` writes something to a majority. Whoever has it has heard of the primary after that
    write began, and elects no other one before the time-out. So for a while from its beginning
    there is one primary, and it shows all that was acknowledged. That a read comes from this one
    and not from one before it, its cluster time tells, which must not be below the write's.
    """

    def __init__(self, confirm: Callable[[], Awaitable[None]]) -> None:
        self._confirm = confirm
        self._began = -math.inf  # the last write that was confirmed
        self._renewing: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        """A read that begins after the return shows all that was acknowledged before the call.
        Renews in the background while reads come; waits only after a pause, and while there is no
        majority. Raises what `confirm` raises."""
        now = asyncio.get_running_loop().time()
        if now < self._began + RENEW_SECONDS:
            return
        renewing = self._renew()
        while now > self._began + LEASE_SECONDS:
            await asyncio.shield(renewing)
            if now > self._began + LEASE_SECONDS:  # that one had begun long before
                renewing = self._renew()

    def note(self, began: float) -> None:
        """Something that began at that time of the loop's was confirmed by a majority."""
        self._began = max(self._began, began)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    def _renew(self) -> asyncio.Task[None]:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._write())
            self._renewing.add_done_callback(_retrieve)
        return self._renewing

    async def _write(self) -> None:
        began = asyncio.get_running_loop().time()
        await self._confirm()
        self.note(began)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Nobody may be waiting for it."""
    if not task.cancelled():
        task.exception()
