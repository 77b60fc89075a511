"""When a commit may be, and how nodes that commit to one database get along: who was outrun is
next, who runs leaves gaps."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from baas.clock import Clock
from baas.model.timestamps import Timestamp
from baas.storage.engine import StorageEngine, StorageError

TURN_SECONDS = 1.0  # a node that has died holds up the others for no longer
PAUSE_SECONDS_MIN = 0.001
PAUSE_SECONDS_MAX = 0.05
COURTESY_SECONDS = 5.0  # after a commit of another node was seen, this one leaves gaps for it
COURTESY_PAUSE_SECONDS_MAX = 0.02
CLOCK_AHEAD_MICROSECONDS_MAX = 60_000_000
_log = structlog.get_logger("baas.committer")


class CommitClock:
    """Versions are times, and never go back: if the clock did, they count up by one until it
    catches up."""

    def __init__(self, clock: Clock) -> None:
        self.is_behind = False
        self._clock = clock

    def next_version(self, version: int) -> int:
        """The least one above `version` that is not in the past."""
        now = self._clock.now_microseconds()
        is_behind = version - now > CLOCK_AHEAD_MICROSECONDS_MAX
        if is_behind and not self.is_behind:
            _log.error(
                "the clock is far behind the last commit; commit times count up by a microsecond",
                clock=Timestamp(now).isoformat(),
                last_commit=Timestamp(version).isoformat(),
            )
        self.is_behind = is_behind
        return max(now, version + 1)


class Turns:
    """One node's manners on one database. What is right does not rest on them."""

    def __init__(self, engine: StorageEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._outrun = 0  # times in succession
        self._others_seen_at = -COURTESY_SECONDS

    @property
    def others_are_near(self) -> bool:
        """Whether another node has committed a moment ago."""
        return self._clock.monotonic_seconds() - self._others_seen_at < COURTESY_SECONDS

    def note_others(self) -> None:
        """Another node has committed."""
        self._others_seen_at = self._clock.monotonic_seconds()

    async def claim(self) -> None:
        """This node was outrun: it waits a little, and claims the next turn. A node that never
        pauses would be ahead of it for ever."""
        if not self._engine.is_near:
            self._outrun += 1
            longest = min(PAUSE_SECONDS_MIN * 2**self._outrun, PAUSE_SECONDS_MAX)
            await asyncio.sleep(self._draw(longest))
        with suppress(StorageError):
            await self._engine.claim_turn(TURN_SECONDS)

    async def leave_gap(self, seconds: float) -> None:
        """Who commits without a break is always the first to know the head. Where others commit too
        it leaves them about as much time as its own commit took: `seconds`. Where turns are waited
        for, whoever waits has the next one."""
        self._outrun = 0
        if self._engine.is_near:
            return
        if self.others_are_near:
            seconds = min(seconds, COURTESY_PAUSE_SECONDS_MAX)
            await asyncio.sleep(0.5 * seconds + self._draw(seconds))

    def _draw(self, most: float) -> float:
        return most * int.from_bytes(self._clock.random_bytes(2)) / 65_536
