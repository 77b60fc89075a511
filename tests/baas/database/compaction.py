"""Does the file stay as large as its documents and retention, however long updates go on?

`make compaction MINUTES=10` updates documents a thousand times a second and prints the sizes of the
file and its WAL; `run` is what the short test in test_retention.py calls, as fast as it can.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from baas.clock import Clock, SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.retention import Reach
from baas.database.transaction import Transaction
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine

DOCUMENTS = 1_000
TEXT = "x" * 300
_BURSTS_PER_SECOND = 20
SETTLED_UPDATES = 90_000  # from then on it stays: history and answers are at their bounds
GROWTH_MAX = 1.1


@dataclass(frozen=True, slots=True)
class Load:
    """`per_second` updates, or with 0 as many as go; `trim_every` updates history is trimmed."""

    updates: int
    per_second: int
    trim_every: int
    retention_bytes: int
    answers: int  # bytes of answers to requests, of which each update is one


@dataclass(frozen=True, slots=True)
class Sizes:
    """After so many updates, in bytes."""

    updates: int
    file: int
    wal: int
    history: int
    answers: int


async def run(
    folder: Path, load: Load, clock: Clock, told: Callable[[Sizes], None] = lambda sizes: None
) -> list[Sizes]:
    """The sizes right before each trim."""
    file = folder / "database.sqlite"
    settings = Settings(retention_bytes=load.retention_bytes, request_answers_bytes=load.answers)
    engine = SqliteEngine.open(file, clock=clock, synchronous="normal")
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=settings)
    found: list[Sizes] = []
    burst = load.per_second // _BURSTS_PER_SECOND or 100
    started = time.monotonic()
    done = trimmed = 0
    try:
        while done < load.updates:
            await asyncio.gather(*[_update(database, done + n, clock) for n in range(burst)])
            done += burst
            if load.per_second:
                ahead = started + done / load.per_second - time.monotonic()
                await asyncio.sleep(max(0.0, ahead))
            if done - trimmed >= load.trim_every:
                trimmed = done
                wal = file.with_name(file.name + "-wal")
                history = await engine.read_history_bytes()
                answers = await engine.read_request_bytes()
                sizes = (file.stat().st_size, wal.stat().st_size, history, answers)
                found.append(Sizes(done, *sizes))
                told(found[-1])
                await database.retention.trim(Reach.of(settings))
    finally:
        await database.close()
    return found


async def _update(database: Database, number: int, clock: Clock) -> None:
    path = DocumentPath(("c", str(number % DOCUMENTS)))

    async def body(transaction: Transaction) -> None:
        await transaction.write([SetWrite(path, {"n": number, "text": TEXT})])

    now = Timestamp(clock.now_microseconds())
    await database.run_transaction(body, request_time=now, request_id=f"caller/{number:020}")


def main(minutes: float) -> int:
    """Prints a line each quarter of a minute, and how much the file grew at last; 1: too much."""
    load = Load(
        updates=int(minutes * 60_000),
        per_second=1_000,
        trim_every=15_000,
        retention_bytes=16 * 1024 * 1024,
        answers=8 * 1024 * 1024,
    )
    started = time.monotonic()

    def tell(sizes: Sizes) -> None:
        mebi = 1024 * 1024
        print(  # noqa: T201 - a command
            f"{time.monotonic() - started:6.0f} s {sizes.updates:8} updates"
            f"  file {sizes.file / mebi:6.1f}  WAL {sizes.wal / mebi:5.1f}"
            f"  history {sizes.history / mebi:6.1f}  answers {sizes.answers / mebi:5.1f} MiB",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), load, SystemClock(), tell))
    settled = [one for one in found if one.updates >= SETTLED_UPDATES]
    if not settled:
        print("too short to tell anything: give it two minutes or more")  # noqa: T201
        return 1
    growth = max(one.file for one in settled) / settled[0].file
    print(  # noqa: T201
        f"the file at its largest, by what it was after {settled[0].updates} updates: {growth:.3f}"
        f" (at most {GROWTH_MAX})"
    )
    return int(growth > GROWTH_MAX)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
