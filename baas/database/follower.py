"""Commits that others made on the same database, told to this node as if they were its own.

The store wakes a node (`StorageEngine.watch`); the node then reads the log from the last version
that it knows. So a wake-up may be doubled or late: the log tells everything, once and in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from baas.database.log import CommitEvent, read_commits
from baas.storage.engine import EngineUnavailable, Snapshot, StorageEngine
from baas.storage.store import StoreMissing

PAGE_RECORDS = 200  # each with two images

Take = Callable[[CommitEvent], None]
Skip = Callable[[Snapshot], Awaitable[None]]


class Follower:
    """Reads what was missed. `take` is called with each commit, in order. `skip` instead, if the
    log does not reach back so far: with a snapshot of what there is now."""

    def __init__(self, engine: StorageEngine, incarnation: str, take: Take, skip: Skip) -> None:
        self._engine = engine
        self._incarnation = incarnation
        self._take = take
        self._skip = skip

    async def catch_up(self, version: int) -> int:
        """Tells all commits above `version` that were visible when it was called; the version that
        is known then. Raises StoreMissing if the database is gone, or is another one of its name;
        any other StorageError after having told a part, or nothing."""
        head = await self._engine.read_head()
        if head.incarnation != self._incarnation:
            raise StoreMissing("the database was removed, and made again")
        if head.version == version:
            return version
        if head.version < version:
            raise EngineUnavailable(f"the store shows {head.version}, and has shown {version}")
        snapshot = await self._engine.open_snapshot()
        try:
            # Read after the snapshot was opened, which reaches back at least as far.
            oldest = await self._engine.read_oldest_version()
            if version < oldest:
                await self._skip(snapshot)
                return snapshot.version
            while events := await read_commits(snapshot, version, oldest, limit=PAGE_RECORDS):
                for event in events:
                    version = event.version
                    self._take(event)
            if version < snapshot.version:
                # A commit that changed no document has no place in the log.
                version = snapshot.version
                self._take(CommitEvent(version, ()))
            return version
        finally:
            await snapshot.close()
