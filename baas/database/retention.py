"""How far back history and log reach: by age and by size, whichever is shorter; and answers to
requests, which are kept for a day, or until they are too large in all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from baas.clock import Clock
from baas.database.failures import baas_errors
from baas.settings import Settings
from baas.storage.engine import StorageEngine

REQUEST_SECONDS_MIN = 86_400  # a request that is repeated within a day gets its answer
SLICE_ROWS = 500  # commits of others get their turn after each


@dataclass(frozen=True, slots=True)
class Reach:
    """How long history and log are kept, and how large they may grow together."""

    seconds: int
    bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Reach:
        return cls(settings.retention_seconds, settings.retention_bytes)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a database keeps beside its documents. `oldest`: nothing below that version is known any
    more; 0: all is."""

    oldest: int
    history_bytes: int
    log_bytes: int
    request_bytes: int


class Retention:
    """Of one database."""

    def __init__(self, engine: StorageEngine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    async def trim(self, reach: Reach) -> int:
        """Forgets what is no longer covered; the count of rows forgotten. Several may do it at
        once, in as many processes."""
        with baas_errors():
            return await trim(
                self._engine,
                reach,
                self._clock.now_microseconds(),
                self._settings.request_answers_bytes,
            )

    async def read_kept(self) -> Kept:
        with baas_errors():
            return Kept(
                await self._engine.read_oldest_version(),
                await self._engine.read_history_bytes(),
                await self._engine.read_log_bytes(),
                await self._engine.read_request_bytes(),
            )


async def trim(
    engine: StorageEngine, reach: Reach, now_microseconds: int, request_bytes_max: int
) -> int:
    """Forgets what retention no longer covers, in slices; the count of rows forgotten. Costs a
    read where nothing is due."""
    before = now_microseconds - reach.seconds * 1_000_000
    requests_before = now_microseconds - REQUEST_SECONDS_MIN * 1_000_000
    forgotten = 0
    oldest = await _read_oldest_logged(engine, 1)
    if oldest is not None and oldest < before:
        while count := await engine.trim(before, limit=SLICE_ROWS, requests_before=requests_before):
            forgotten += count
            await asyncio.sleep(0)
    while await _read_bytes(engine) > reach.bytes:
        oldest = await _read_oldest_logged(engine, SLICE_ROWS)
        if oldest is None:
            break
        count = await engine.trim(oldest + 1, limit=4 * SLICE_ROWS, requests_before=requests_before)
        forgotten += count
        await asyncio.sleep(0)
    while await engine.read_request_bytes() > request_bytes_max:
        count = await engine.forget_requests(limit=SLICE_ROWS)
        if not count:
            break
        forgotten += count
        await asyncio.sleep(0)
    return forgotten


async def _read_bytes(engine: StorageEngine) -> int:
    """Of both: many small changes, or deletions, make a large log and a small history."""
    return await engine.read_history_bytes() + await engine.read_log_bytes()


async def _read_oldest_logged(engine: StorageEngine, records: int) -> int | None:
    """The version of the last one of the oldest log records, or None."""
    snapshot = await engine.open_snapshot()
    try:
        found = await snapshot.read_log(0, limit=records)
        return found[-1].version if found else None
    finally:
        await snapshot.close()
