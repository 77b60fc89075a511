"""Commits that others made on the same database, told to this node as if they were its own.

The store wakes a node (`StorageEngine.watch`); the node then reads the log from the last version
that it knows. So a wake-up may be doubled or late: the log tells everything, once and in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from baas.clock import Clock
from baas.database.failures import as_baas_error
from baas.database.indexes import is_reserved
from baas.database.log import CommitEvent, read_commits
from baas.ending import only_own_cancellations
from baas.errors import BaasError, ResumeTokenExpired
from baas.storage.engine import EngineUnavailable, LogRecord, Snapshot, StorageEngine, StorageError
from baas.storage.store import StoreMissing

FOLLOW_RETRY_SECONDS = 0.5
LATE_SECONDS = 1.25  # from hearing that others may have committed to knowing what
STALE_SECONDS_MAX = 60.0  # a tenth of the grace of dropped indexes
PAGE_RECORDS = 200  # each with two images

_log = structlog.get_logger("baas.follower")
Take = Callable[[CommitEvent], None]
TakePaths = Callable[[Sequence[LogRecord]], None]
Skip = Callable[[Snapshot], Awaitable[None]]


class Follower:
    """Reads what was missed. `take` is called with each commit, in order; `take_paths` with several
    at once while nobody `is_heard` asking for more. `skip` instead, if the log does not reach back
    so far: with a snapshot of what there is now."""

    def __init__(
        self,
        engine: StorageEngine,
        incarnation: str,
        take: Take,
        take_paths: TakePaths,
        skip: Skip,
        is_heard: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._followed_at = clock.monotonic_seconds()  # all that was visible then is known
        self._clock = clock
        self._engine = engine
        self._incarnation = incarnation
        self._take = take
        self._take_paths = take_paths
        self._is_heard = is_heard
        self._skip = skip
        self._waiting: list[asyncio.Future[None]] = []
        self._again: asyncio.TimerHandle | None = None
        self._is_failing = False

    def is_stale(self) -> bool:
        """Whether the last catching up is so long ago that a snapshot may lack the entries of an
        index that is thought to be there."""
        return self._clock.monotonic_seconds() - self._followed_at > STALE_SECONDS_MAX

    def wait(self) -> asyncio.Future[None]:
        """Done when a catching up that begins after this call has ended; raises what ended it."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    async def follow(self, version: int) -> int:
        """As `catch_up`, for all who wait."""
        waiting, self._waiting = self._waiting, []
        try:
            with only_own_cancellations():
                version = await self.catch_up(version)
        except Exception as error:
            _refuse(waiting, as_baas_error(error))
            raise
        self._is_failing = False
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return version

    def repeat(self, error: Exception, notice: Callable[[], None]) -> None:
        """Calls `notice` soon, since catching up failed, and nobody may ever ask again."""
        if not self._is_failing:
            is_defect = not isinstance(error, StorageError | BaasError)
            _log.warning(
                "what others committed cannot be read now", error=str(error), exc_info=is_defect
            )
        self._is_failing = True
        self.stop()
        self._again = asyncio.get_running_loop().call_later(FOLLOW_RETRY_SECONDS, notice)

    def stop(self) -> None:
        """Nothing is repeated from now on."""
        if self._again is not None:
            self._again.cancel()

    def refuse(self, error: BaasError) -> None:
        """Tells all who wait that nothing more will come."""
        waiting, self._waiting = self._waiting, []
        _refuse(waiting, error)

    async def catch_up(self, version: int) -> int:
        """Tells all commits above `version` that were visible when it was called; the version that
        is known then. Raises StoreMissing if the database is gone, or is another one of its name;
        any other StorageError after having told a part, or nothing."""
        began = self._clock.monotonic_seconds()
        head = await self._engine.read_head()
        if head.incarnation != self._incarnation:
            raise StoreMissing("the database was removed, and made again")
        if head.version == version:
            self._followed_at = began
            return version
        if head.version < version:
            raise EngineUnavailable(f"the store shows {head.version}, and has shown {version}")
        snapshot = await self._engine.open_snapshot()
        try:
            # Read after the snapshot was opened, which reaches back at least as far.
            oldest = await self._engine.read_oldest_version()
            if version < oldest:
                await self._skip(snapshot)
                self._followed_at = began
                return snapshot.version
            try:
                version = await self._read(snapshot, version, oldest)
            except ResumeTokenExpired:  # what another node committed was erased meanwhile
                await self._skip(snapshot)
                self._followed_at = began
                return snapshot.version
            if version < snapshot.version:
                # A commit that changed no document has no place in the log.
                version = snapshot.version
                self._take(CommitEvent(version, ()))
            self._followed_at = began
            return version
        finally:
            await snapshot.close()

    async def take_missed(
        self, version: int, missed: Sequence[LogRecord], notice: Callable[[], None]
    ) -> bool:
        """Tells the next commits above `version`, which made these changes. If they cannot be read,
        False, and `notice` is called soon."""
        if not self._is_heard():
            self._take_paths(missed)
            return True
        try:
            await self._read_missed(version, len(missed))
        except Exception as error:
            self.repeat(error, notice)
            return False
        return True

    async def _read_missed(self, version: int, count: int) -> None:
        snapshot = await self._engine.open_snapshot()
        try:
            oldest = await self._engine.read_oldest_version()
            while count > 0:
                limit = min(count, PAGE_RECORDS)
                events = await read_commits(snapshot, version, oldest, limit=limit)
                if not events:
                    raise EngineUnavailable("the log lacks what has just been in it")
                for event in events:
                    version = event.version
                    count -= len(event.changes)
                    self._take(event)
        finally:
            await snapshot.close()

    async def _read(self, snapshot: Snapshot, version: int, oldest: int) -> int:
        while True:
            if not self._is_heard():
                records = await snapshot.read_log(version, limit=PAGE_RECORDS)
                if not records:
                    return version
                if not self._is_heard() and not any(is_reserved(record.path) for record in records):
                    version = records[-1].version
                    self._take_paths(records)
                    continue
            events = await read_commits(snapshot, version, oldest, limit=PAGE_RECORDS)
            if not events:
                return version
            for event in events:
                version = event.version
                self._take(event)


class Lateness:
    """Calls `tell` again and again, from LATE_SECONDS after `begin` until `end`."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Does nothing where it has begun."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATE_SECONDS, self._go_on)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        self._timer = None
        self.begin()
        self._tell()


def _refuse(waiting: Sequence[asyncio.Future[None]], error: BaasError) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
