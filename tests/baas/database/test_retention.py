"""History and log reach as far back as the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from baas.clock import SystemClock, VirtualClock
from baas.database import retention
from baas.database.database import Database
from baas.database.retention import Reach
from baas.database.retention import trim as trim_all
from baas.errors import ResumeTokenExpired
from baas.settings import Settings
from tests.baas.database.acts import delete, fields, increment, put, write
from tests.baas.database.compaction import Load, run
from tests.baas.database.engines import SteeredEngine

DAY = 86_400


async def trim(
    engine: SteeredEngine, settings: Settings, now: int, answers: int = 1_000_000_000
) -> int:
    return await trim_all(engine, Reach.of(settings), now, answers)


async def test_by_age(database: Database, engine: SteeredEngine, clock: VirtualClock) -> None:
    versions = []
    for _ in range(5):
        versions.append((await write(database, increment("c/a"))).version)
        clock.advance(DAY)
    settings = replace(Settings(), retention_seconds=3 * DAY)
    # Each commit but the first left a log record and an image in history.
    assert await trim(engine, settings, clock.now_microseconds()) == 2 + 1
    assert await engine.read_oldest_version() == versions[2]
    assert await trim(engine, settings, clock.now_microseconds()) == 0
    async with database.snapshot() as snapshot:
        assert len(await snapshot.read_net_changes(versions[2])) == 1
        with pytest.raises(ResumeTokenExpired):
            await snapshot.read_net_changes(versions[1])
    assert await fields(database, "c/a") == [{"n": 5}]


async def test_nothing_is_written_where_nothing_is_due(
    database: Database, engine: SteeredEngine, clock: VirtualClock
) -> None:
    assert await database.retention.trim(Reach.of(Settings())) == 0
    await write(database, put("c/a", {}))
    clock.advance(DAY)
    assert await database.retention.trim(Reach.of(Settings())) == 0
    assert await engine.read_oldest_version() == 0


async def test_by_size_the_oldest_first(
    database: Database,
    engine: SteeredEngine,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "SLICE_ROWS", 3)
    for number in range(30):
        await write(database, put("c/a", {"n": number, "text": "x" * 1_000}))
    settings = replace(Settings(), retention_bytes=10_500)
    await trim(engine, settings, clock.now_microseconds())
    left = await engine.read_history_bytes() + await engine.read_log_bytes()
    assert 5_000 < left <= 10_500
    oldest = await engine.read_oldest_version()
    async with database.snapshot() as snapshot:
        events = await snapshot.read_commits(oldest)
        assert [change.old is not None for event in events for change in event.changes] == [
            True
        ] * len(events)
    settings = replace(Settings(), retention_bytes=0)
    await trim(engine, settings, clock.now_microseconds())
    assert await engine.read_history_bytes() == await engine.read_log_bytes() == 0
    assert (await fields(database, "c/a"))[0] is not None


async def test_a_log_of_many_small_commits_is_bounded_though_history_is_small(
    database: Database,
    engine: SteeredEngine,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "SLICE_ROWS", 7)
    for number in range(40):
        await write(database, *(put(f"c/{number}-{n}", {}) for n in range(5)))
    for number in range(40):
        await write(database, *(delete(f"c/{number}-{n}") for n in range(5)))
    assert await engine.read_history_bytes() < 1_000
    full = await engine.read_log_bytes()
    settings = replace(Settings(), retention_bytes=full // 4)
    await trim(engine, settings, clock.now_microseconds())
    left = await engine.read_log_bytes()
    assert full // 8 < left <= full // 4
    async with database.snapshot() as snapshot:
        oldest = await engine.read_oldest_version()
        records = await snapshot.read_log(oldest, limit=1_000)
    assert {record.path.id for record in records} >= {f"39-{n}" for n in range(5)}
    assert all(record.deleted for record in records)
    assert await trim(engine, settings, clock.now_microseconds()) == 0


async def test_answers_are_kept_for_a_day_whatever_history_keeps(
    database: Database, engine: SteeredEngine, clock: VirtualClock
) -> None:
    first = await write(database, increment("c/a"), request_id="r")
    clock.advance(DAY - 60)
    await write(database, increment("c/a"))
    for settings in (
        replace(Settings(), retention_bytes=0),
        replace(Settings(), retention_seconds=10),
    ):
        await trim(engine, settings, clock.now_microseconds())
        again = await write(database, increment("c/a"), request_id="r")
        assert (again.replayed, again.version) == (True, first.version)
    clock.advance(120)
    await write(database, increment("c/a"))
    await trim(engine, replace(Settings(), retention_bytes=0), clock.now_microseconds())
    assert not (await write(database, increment("c/a"), request_id="r")).replayed


async def test_answers_go_before_their_day_where_they_are_too_many(
    database: Database,
    engine: SteeredEngine,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(10):
        await write(database, increment("c/a"), request_id=f"r{number}")
    one = await engine.read_request_bytes() // 10
    await trim(engine, Settings(), clock.now_microseconds(), 11 * one)
    assert (await write(database, increment("c/a"), request_id="r0")).replayed
    monkeypatch.setattr(retention, "SLICE_ROWS", 1)
    await trim(engine, Settings(), clock.now_microseconds(), 3 * one + 5)
    assert one * 3 <= await engine.read_request_bytes() <= one * 3 + 5
    replayed = [
        (await write(database, increment("c/b"), request_id=f"r{number}")).replayed
        for number in (7, 8, 9, 6)
    ]
    assert replayed == [True, True, True, False]
    assert await engine.read_oldest_version() == 0  # history is not concerned


async def test_the_file_does_not_grow_once_retention_is_full(tmp_path: Path) -> None:
    load = Load(
        updates=16_000, per_second=0, trim_every=1_000, retention_bytes=200_000, answers=200_000
    )
    found = await run(tmp_path, load, SystemClock())
    full = found[8:]
    assert max(one.file for one in full) <= 1.1 * full[0].file
    assert max(one.answers for one in full) <= 1.6 * 200_000  # a thousand more before each trim
    assert max(one.history for one in full) <= 1.1 * full[0].history
