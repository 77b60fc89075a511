"""How far back history and log reach: by age and by size, whichever is shorter; and answers to
requests, which are kept for a day in any case."""

from __future__ import annotations

import asyncio

from baas.clock import Clock
from baas.database.failures import baas_errors
from baas.settings import Settings
from baas.storage.engine import StorageEngine

REQUEST_SECONDS_MIN = 86_400  # a request that is repeated within a day gets its answer
SLICE_ROWS = 500  # commits of others get their turn after each


class Retention:
    """Of one database."""

    def __init__(self, engine: StorageEngine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    async def trim(self) -> int:
        """Forgets what is no longer covered; the count of rows forgotten."""
        with baas_errors():
            return await trim(self._engine, self._settings, self._clock.now_microseconds())


async def trim(engine: StorageEngine, settings: Settings, now_microseconds: int) -> int:
    """Forgets what retention no longer covers, in slices; the count of rows forgotten. Costs a
    read where nothing is due."""
    before = now_microseconds - settings.retention_seconds * 1_000_000
    requests_before = now_microseconds - REQUEST_SECONDS_MIN * 1_000_000
    forgotten = 0
    oldest = await _read_oldest_logged(engine, 1)
    if oldest is not None and oldest < before:
        while count := await engine.trim(before, limit=SLICE_ROWS, requests_before=requests_before):
            forgotten += count
            await asyncio.sleep(0)
    while await engine.read_history_bytes() > settings.retention_bytes:
        oldest = await _read_oldest_logged(engine, SLICE_ROWS)
        if oldest is None:
            break
        count = await engine.trim(oldest + 1, limit=4 * SLICE_ROWS, requests_before=requests_before)
        forgotten += count
        await asyncio.sleep(0)
    return forgotten


async def _read_oldest_logged(engine: StorageEngine, records: int) -> int | None:
    """The version of the last one of the oldest log records, or None."""
    snapshot = await engine.open_snapshot()
    try:
        found = await snapshot.read_log(0, limit=records)
        return found[-1].version if found else None
    finally:
        await snapshot.close()
