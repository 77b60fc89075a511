"""Commits under contention, failure and cancellation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog.testing

from baas.clock import SystemClock, VirtualClock
from baas.database import committer as committer_module
from baas.database import log as log_module
from baas.database import system as system_module
from baas.database.database import Database
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.system import wait_told
from baas.database.transaction import CommitResult, Transaction
from baas.errors import (
    AlreadyExists,
    BaasError,
    Cancelled,
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    TransactionConflict,
    Unavailable,
)
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import WriteResult
from baas.settings import Limits, Settings
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.acts import create, delete, doc, fields, increment, put, run, where, write
from tests.baas.database.engines import SteeredEngine
from tests.untold import Untold
from tests.waiting import settle, until

T = TypeVar("T")


async def enqueue(
    database: Database, *calls: Coroutine[Any, Any, CommitResult[T]]
) -> list[asyncio.Task[CommitResult[T]]]:
    """Each is ready, and waits behind the one that is held, before the next one begins."""
    queue, tasks = database._committer._queue, []
    for call in calls:
        before = len(queue)
        tasks.append(asyncio.create_task(call))
        await until(lambda: len(queue) > before)  # noqa: B023
    return tasks


async def hold_a_commit(
    database: Database, engine: SteeredEngine, path: str = "held/first"
) -> asyncio.Task[CommitResult[None]]:
    """A commit that hangs in the engine, so that those after it gather in one group."""
    engine.hold()
    task = asyncio.create_task(write(database, put(path, {"held": True})))
    await engine.arrived.wait()
    return task


# Contention ---------------------------------------------------------------------------------------


async def test_concurrent_increments_lose_nothing_and_share_groups(
    database: Database, engine: SteeredEngine
) -> None:
    first = await hold_a_commit(database, engine)
    tasks = await enqueue(database, *[write(database, increment("counters/a")) for _ in range(100)])
    engine.release()
    results = await asyncio.gather(*tasks)
    await first
    assert await fields(database, "counters/a") == [{"n": 100}]
    assert len({result.version for result in results}) == 100
    counts = sorted([result.write_results[0].transform_results[0] for result in results], key=repr)
    assert counts == sorted(range(1, 101), key=repr)
    assert engine.group_sizes == [1, 100]


async def test_first_come_first_served(database: Database, engine: SteeredEngine) -> None:
    first = await hold_a_commit(database, engine)
    tasks = await enqueue(
        database, *[write(database, put("c/a", {"n": number})) for number in range(50)]
    )
    engine.release()
    results = await asyncio.gather(*tasks)
    await first
    assert [result.version for result in results] == sorted(result.version for result in results)
    assert await fields(database, "c/a") == [{"n": 49}]


async def test_write_skew_is_prevented(database: Database, engine: SteeredEngine) -> None:
    """Two doctors on call; each may leave only if the other stays."""
    await write(database, put("doctors/a", {"on": True}), put("doctors/b", {"on": True}))

    def leave(name: str) -> Callable[[Transaction], Awaitable[bool]]:
        async def body(transaction: Transaction) -> bool:
            both = await transaction.get_documents([doc("doctors/a"), doc("doctors/b")])
            on_call = sum(found is not None and found.fields["on"] is True for found in both)
            if on_call > 1:
                await transaction.write([put(f"doctors/{name}", {"on": False})])
                return True
            return False

        return body

    first = await hold_a_commit(database, engine)
    tasks = await enqueue(database, *[run(database, leave(name)) for name in ("a", "b")])
    engine.release()
    left = [(await task).value for task in tasks]
    await first
    assert left == [True, False]


async def test_reads_of_missing_documents_count(database: Database, engine: SteeredEngine) -> None:
    """Two want the same name; the read that found nothing is in the read set."""

    async def claim(transaction: Transaction) -> bool:
        (found,) = await transaction.get_documents([doc("names/ada")])
        if found is not None:
            return False
        await transaction.write([put("names/ada", {}), increment("users/counter")])
        return True

    first = await hold_a_commit(database, engine)
    tasks = await enqueue(database, *[run(database, claim) for _ in range(10)])
    engine.release()
    assert [(await task).value for task in tasks] == [True] + [False] * 9
    await first
    assert await fields(database, "users/counter") == [{"n": 1}]


async def test_queries_count_phantoms_included(database: Database, engine: SteeredEngine) -> None:
    """A room is booked by whoever finds no booking; the documents have different names."""

    def book(number: int) -> Callable[[Transaction], Awaitable[bool]]:
        async def body(transaction: Transaction) -> bool:
            result = await transaction.run_query(where("bookings", "room", 7))
            if result.documents:
                return False
            await transaction.write([put(f"bookings/{number}", {"room": 7})])
            return True

        return body

    first = await hold_a_commit(database, engine)
    tasks = await enqueue(database, *[run(database, book(number)) for number in range(5)])
    engine.release()
    assert sorted([(await task).value for task in tasks]) == [False, False, False, False, True]
    await first
    assert len((await database.run_query(where("bookings", "room", 7))).documents) == 1


async def test_changes_that_a_query_does_not_see_do_not_touch_it(
    database: Database, engine: SteeredEngine
) -> None:
    runs = 0

    async def body(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        await transaction.run_query(where("bookings", "room", 7))
        await transaction.write([put("bookings/mine", {"room": 8})])

    first = await hold_a_commit(database, engine, "bookings/other")
    (task,) = await enqueue(database, run(database, body))
    engine.release()
    await asyncio.gather(first, task)
    assert runs == 1


async def test_many_transactions_with_queries_all_get_their_turn(database: Database) -> None:
    """Each counts a collection by query and adds a document: every count is seen once."""

    async def body(transaction: Transaction) -> int:
        found = (await transaction.run_query(Query(CollectionPath(("c",))))).documents
        await transaction.write([create(f"c/{len(found):03}", {})])
        return len(found)

    results = await asyncio.gather(*[run(database, body) for _ in range(40)])
    assert sorted(result.value for result in results) == list(range(40))


async def test_history_is_serial(tmp_path: Path) -> None:
    """Transactions with random reads, queries and writes: each one's reads are the state that the
    commits before its version make, when they are replayed one by one."""
    database = await Database.open(
        DatabaseName("demo"),
        SqliteEngine.open(tmp_path / "d.sqlite", clock=SystemClock()),
        clock=SystemClock(),
        settings=Settings(),
    )
    names = [f"c/{letter}" for letter in "abcdef"]
    dice = random.Random(5)
    seen: list[tuple[int, dict[str, Fields | None], tuple[str, set[str]], dict[str, Fields | None]]]
    seen = []

    async def client(number: int) -> None:
        for step in range(25):
            reads = dice.sample(names, dice.randrange(3))
            writes = dice.sample(names, 1 + dice.randrange(2))
            group = str(dice.randrange(3))
            values = [
                # The first one is new, so that every transaction commits.
                None
                if place and dice.random() < 0.5
                else {"by": f"{number}.{step}.{name}", "g": group}
                for place, name in enumerate(writes)
            ]

            async def body(
                transaction: Transaction,
                reads: list[str] = reads,
                writes: list[str] = writes,
                group: str = group,
                values: list[dict[str, str] | None] = values,
            ) -> tuple[dict[str, Fields | None], set[str]]:
                found = await transaction.get_documents([doc(name) for name in reads])
                if dice.random() < 0.3:
                    await asyncio.sleep(0)
                answer = await transaction.run_query(where("c", "g", group))
                await transaction.write(
                    [
                        delete(name) if value is None else put(name, dict(value))
                        for name, value in zip(writes, values, strict=True)
                    ]
                )
                images = [None if item is None else item.fields for item in found]
                return (
                    dict(zip(reads, images, strict=True)),
                    {str(item.path) for item in answer.documents},
                )

            result = await run(database, body)
            read, answer = result.value
            written: dict[str, Fields | None] = {
                name: None if value is None else dict(value)
                for name, value in zip(writes, values, strict=True)
            }
            seen.append((result.version, read, (group, answer), written))

    await asyncio.gather(*[client(number) for number in range(12)])
    state: dict[str, Fields] = {}
    for _, read, (group, answer), written in sorted(seen, key=lambda item: item[0]):
        assert read == {name: state.get(name) for name in read}
        assert answer == {name for name, value in state.items() if value["g"] == group}
        for name, fields_after in written.items():
            if fields_after is None:
                state.pop(name, None)
            else:
                state[name] = fields_after
    assert await fields(database, *names) == [state.get(name) for name in names]
    await database.close()


async def test_transaction_older_than_all_that_is_remembered_runs_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RECENT_COMMITS_MAX", 3)
    may_go = asyncio.Event()
    runs, has_read = 0, False

    async def slow(transaction: Transaction) -> None:
        nonlocal runs, has_read
        runs += 1
        (found,) = await transaction.get_documents([doc("c/a")])
        has_read = True
        await may_go.wait()
        number = 0 if found is None else found.fields["n"]
        assert isinstance(number, int)
        await transaction.write([put("c/a", {"n": number + 1})])

    task = asyncio.create_task(run(database, slow))
    await until(lambda: has_read)
    await write(database, put("c/a", {"n": 10}))
    for number in range(10):
        await write(database, put(f"c/other{number}", {}))
    may_go.set()
    await task
    assert runs == 2
    assert await fields(database, "c/a") == [{"n": 11}]


# Refusals -----------------------------------------------------------------------------------------


async def test_refused_commit_fails_alone(database: Database, engine: SteeredEngine) -> None:
    first = await hold_a_commit(database, engine)
    tasks = await enqueue(
        database,
        *[
            write(database, one)
            for one in (create("c/a", {"n": 1}), create("c/a", {"n": 2}), create("c/b", {"n": 3}))
        ],
    )
    engine.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    assert [type(result) for result in results] == [CommitResult, AlreadyExists, CommitResult]
    assert await fields(database, "c/a", "c/b") == [{"n": 1}, {"n": 3}]
    assert engine.group_sizes == [1, 2]


async def test_refusal_by_what_never_became_durable_is_unavailable(
    database: Database, engine: SteeredEngine
) -> None:
    """The second create fails because of the first one; if that one is lost, saying so would be
    wrong."""
    first = await hold_a_commit(database, engine)
    tasks = await enqueue(
        database, *[write(database, create("c/a", {"n": number})) for number in (1, 2)]
    )
    engine.failing_calls = {2}
    engine.release()
    await first
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await fields(database, "c/a") == [None]


async def test_body_that_raises_writes_nothing(database: Database) -> None:
    async def body(transaction: Transaction) -> None:
        await transaction.write([put("c/a", {})])
        raise FailedPrecondition("no")

    with pytest.raises(FailedPrecondition):
        await run(database, body)
    assert (database.version, await fields(database, "c/a")) == (0, [None])


async def test_body_that_swallows_every_error_still_waits_for_its_turn(
    database: Database, engine: SteeredEngine
) -> None:
    """A query that meets its own group's changes is put off, whatever the body makes of it."""

    async def body(transaction: Transaction) -> int:
        try:
            found = len((await transaction.run_query(Query(CollectionPath(("c",))))).documents)
        except Exception:
            found = -1
        await transaction.write([put(f"c/{found}", {})])
        return found

    first = await hold_a_commit(database, engine)
    tasks = await enqueue(database, *[run(database, body) for _ in range(3)])
    engine.release()
    assert [(await task).value for task in tasks] == [0, 1, 2]
    await first


async def test_body_that_takes_too_long_the_second_time_conflicts(
    database: Database, engine: SteeredEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "REEVALUATION_SECONDS_MAX", 0.01)
    runs = 0

    async def slow(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        await transaction.write([increment("c/a")])
        if runs > 1:
            await asyncio.Event().wait()

    first = await hold_a_commit(database, engine, "c/a")
    task, other = await enqueue(database, run(database, slow), write(database, increment("c/b")))
    engine.release()
    with pytest.raises(TransactionConflict):
        await task
    await asyncio.gather(first, other)
    assert await fields(database, "c/a", "c/b") == [{"held": True}, {"n": 1}]


async def test_body_that_cancels_itself_the_second_time_is_cancelled_alone(
    database: Database, engine: SteeredEngine
) -> None:
    runs = 0

    async def body(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        await transaction.write([increment("c/a")])
        if runs > 1:
            raise asyncio.CancelledError

    first = await hold_a_commit(database, engine, "c/a")
    (task,) = await enqueue(database, run(database, body))
    engine.release()
    with pytest.raises(Cancelled):
        await task
    await first
    await write(database, put("c/b", {}))


async def test_body_that_commits_by_itself_the_second_time_is_a_defect(
    database: Database, engine: SteeredEngine
) -> None:
    """It would wait for the committer, which waits for it."""

    async def body(transaction: Transaction) -> None:
        await transaction.write([increment("c/a")])
        await write(database, increment("c/b"))

    first = await hold_a_commit(database, engine, "c/a")
    (task,) = await enqueue(database, run(database, body))
    engine.release()
    with pytest.raises(Internal):
        await task
    await first


async def test_queue_has_a_limit(tmp_path: Path, clock: VirtualClock) -> None:
    engine = SteeredEngine(SqliteEngine.open(tmp_path / "d.sqlite", clock=clock))
    settings = replace(Settings(), limits=replace(Limits(), commit_queue_max=3))
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=settings)
    first = await hold_a_commit(database, engine)
    waiting = await enqueue(
        database, *[write(database, put(f"c/{number}", {})) for number in range(3)]
    )
    with pytest.raises(ResourceExhausted) as caught:
        await write(database, put("c/3", {}))
    assert caught.value.reason == "CommitQueueFull"
    engine.release()
    await asyncio.gather(first, *waiting)
    assert await fields(database, "c/2", "c/3") == [{}, None]
    await database.close()


async def test_groups_have_a_limit(tmp_path: Path, clock: VirtualClock) -> None:
    engine = SteeredEngine(SqliteEngine.open(tmp_path / "d.sqlite", clock=clock))
    settings = replace(Settings(), limits=replace(Limits(), commit_group_max=4))
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=settings)
    first = await hold_a_commit(database, engine)
    waiting = await enqueue(
        database, *[write(database, put(f"c/{number}", {})) for number in range(9)]
    )
    engine.release()
    await asyncio.gather(first, *waiting)
    assert engine.group_sizes == [1, 4, 4, 1]
    await database.close()


# Cancellation -------------------------------------------------------------------------------------


async def test_commit_cancelled_in_the_queue_does_not_happen(
    database: Database, engine: SteeredEngine
) -> None:
    first = await hold_a_commit(database, engine)
    doomed, kept = await enqueue(
        database, write(database, put("c/a", {})), write(database, put("c/b", {}))
    )
    doomed.cancel()
    await settle()
    engine.release()
    await asyncio.gather(first, kept)
    assert doomed.cancelled()
    assert await fields(database, "c/a", "c/b") == [None, {}]


async def test_commit_cancelled_in_the_engine_happens(
    database: Database, engine: SteeredEngine
) -> None:
    first = await hold_a_commit(database, engine, "c/a")
    first.cancel()
    await settle()
    assert first.cancelled()
    engine.release()
    await write(database, put("c/b", {}))
    assert await fields(database, "c/a", "c/b") == [{"held": True}, {}]


# Failing engine -----------------------------------------------------------------------------------


async def test_failing_engine_fails_the_group_and_the_committer_goes_on(
    database: Database, engine: SteeredEngine
) -> None:
    await write(database, put("c/a", {"n": 0}))
    engine.failures = 2
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await write(database, increment("c/a"))
        assert caught.value.reason == "StorageUnavailable"
        assert "told to fail" not in caught.value.message
    await write(database, increment("c/a"))
    assert await fields(database, "c/a") == [{"n": 1}]


async def test_failure_that_committed_all_the_same_is_a_success(
    database: Database, engine: SteeredEngine
) -> None:
    events: list[CommitEvent] = []
    database.subscribe(events.append)
    engine.failures_after = 1
    result = await write(database, increment("c/a"))
    assert [event.version for event in events] == [result.version] == [database.version]
    await write(database, increment("c/a"))
    assert await fields(database, "c/a") == [{"n": 2}]


async def test_unknown_outcome_is_unavailable_and_the_head_is_found_later(
    database: Database, engine: SteeredEngine
) -> None:
    events: list[CommitEvent] = []
    database.subscribe(events.append)
    engine.failures_after = 1
    engine.is_head_unreadable = True
    with pytest.raises(Unavailable):
        await write(database, increment("c/a"))
    engine.is_head_unreadable = False
    await write(database, increment("c/a"))
    assert await fields(database, "c/a") == [{"n": 2}]
    told = [[change.new and change.new.fields for change in event.changes] for event in events]
    assert told == [[{"n": 1}], [{"n": 2}]]


@pytest.mark.parametrize("place", ["commit", "read_head", "get_documents", "open_snapshot"])
async def test_cancellation_of_something_else_ends_no_committer(
    database: Database, engine: SteeredEngine, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whoever commits later would wait for ever, and so would who waits for what others did."""
    await write(database, put("c/a", {"n": 0}))

    async def be_cancelled(*_: object) -> None:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    first = await hold_a_commit(database, engine)
    (behind,) = await enqueue(database, write(database, increment("c/a")))
    with monkeypatch.context() as patch:
        patch.setattr(engine, place, be_cancelled)
        if place == "read_head":
            database._committer._must_follow = True
        engine.release()
        await first
        with suppress(Unavailable, asyncio.CancelledError):
            await behind
        assert behind.done()
    await write(database, increment("c/a"))
    assert await fields(database, "c/a") in ([{"n": 1}], [{"n": 2}])
    await database.catch_up()


# Versions -----------------------------------------------------------------------------------------


async def test_version_is_the_time_or_one_more_than_the_last(
    database: Database, clock: VirtualClock
) -> None:
    now = clock.now_microseconds()
    versions = [(await write(database, put("c/a", {"n": number}))).version for number in range(3)]
    assert versions == [now, now + 1, now + 2]
    clock.advance(1.0)
    assert (await write(database, put("c/a", {}))).version == now + 1_000_000
    clock.advance(-30.0)
    assert (await write(database, put("c/a", {"n": 1}))).version == now + 1_000_001
    assert not database.is_clock_behind


async def test_clock_far_behind_raises_an_alarm_once_and_versions_count_up(
    database: Database, clock: VirtualClock
) -> None:
    last = (await write(database, put("c/a", {}))).version
    clock.advance(-61.0)
    with structlog.testing.capture_logs() as logs:
        versions = [
            (await write(database, put("c/a", {"n": number}))).version for number in range(2)
        ]
    assert versions == [last + 1, last + 2]
    assert database.is_clock_behind
    assert [entry["log_level"] for entry in logs] == ["error"]
    clock.advance(62.0)
    await write(database, put("c/a", {}))
    assert not database.is_clock_behind


async def test_document_and_result_carry_the_commit_version(database: Database) -> None:
    made = await write(database, put("c/a", {"n": 1}))
    result = await write(database, put("c/a", {"n": 2}), put("c/b", {}))
    (a, b) = await database.get_documents([doc("c/a"), doc("c/b")])
    assert a is not None
    assert b is not None
    assert (a.created, a.version, b.created) == (made.version, result.version, result.version)
    assert result.commit_time == Timestamp(result.version)
    assert result.write_results == [WriteResult(result.commit_time)] * 2
    assert database.version == result.version


# Request ids --------------------------------------------------------------------------------------


async def test_same_request_id_gives_the_recorded_result(database: Database) -> None:
    first = await write(database, increment("c/a", 5), delete("c/x"), request_id="r1")
    again = await write(database, increment("c/a", 5), delete("c/x"), request_id="r1")
    assert (again.version, again.write_results) == (first.version, first.write_results)
    assert (first.replayed, again.replayed) == (False, True)
    assert await fields(database, "c/a") == [{"n": 5}]
    await write(database, increment("c/a", 5), request_id="r2")
    assert await fields(database, "c/a") == [{"n": 10}]


async def test_same_request_id_at_the_same_time_commits_once(
    database: Database, engine: SteeredEngine
) -> None:
    first = await hold_a_commit(database, engine)
    tasks = await enqueue(
        database, *[write(database, increment("c/a"), request_id="same") for _ in range(5)]
    )
    engine.release()
    results = await asyncio.gather(*tasks)
    await first
    assert await fields(database, "c/a") == [{"n": 1}]
    assert len({result.version for result in results}) == 1
    assert [result.replayed for result in results] == [False, True, True, True, True]


async def test_request_id_of_a_commit_that_failed_may_be_used_again(
    database: Database, engine: SteeredEngine
) -> None:
    engine.failures = 1
    with pytest.raises(Unavailable):
        await write(database, increment("c/a"), request_id="r")
    assert not (await write(database, increment("c/a"), request_id="r")).replayed


async def test_request_that_changes_nothing_is_remembered(database: Database) -> None:
    first = await write(database, delete("c/a"), request_id="r")
    await write(database, put("c/a", {}))
    again = await write(database, delete("c/a"), request_id="r")
    assert (again.version, again.replayed) == (first.version, True)
    assert await fields(database, "c/a") == [{}]


# Nothing to commit --------------------------------------------------------------------------------


async def test_transaction_that_writes_nothing_commits_nothing(
    database: Database, engine: SteeredEngine
) -> None:
    made = await write(database, put("c/a", {"n": 1}))

    async def body(transaction: Transaction) -> str:
        await transaction.get_documents([doc("c/a")])
        return "seen"

    result = await run(database, body)
    assert (result.value, result.version, result.write_results) == ("seen", made.version, [])
    assert len(engine.groups) == 1


async def test_write_that_changes_nothing_keeps_the_update_time(
    database: Database, engine: SteeredEngine
) -> None:
    made = await write(database, put("c/a", {"n": 1}))
    same = await write(database, put("c/a", {"n": 1}), delete("c/none"))
    assert same.write_results == [WriteResult(Timestamp(made.version)), WriteResult(None)]
    assert len(engine.groups) == 1


# Subscribers --------------------------------------------------------------------------------------


async def test_subscribers_hear_every_commit_in_order_before_the_answer(
    database: Database,
) -> None:
    events: list[CommitEvent] = []
    known: list[bool] = []

    def note(event: CommitEvent) -> None:
        events.append(event)

    database.subscribe(note)

    async def client(number: int) -> None:
        result = await write(database, increment("c/a"), put(f"c/{number}", {}))
        known.append(result.version in {event.version for event in events})

    await asyncio.gather(*[client(number) for number in range(30)])
    versions = [event.version for event in events]
    assert versions == sorted(set(versions))
    assert len(versions) == 30
    assert all(known)
    images = [
        (
            None if change.old is None else change.old.fields["n"],
            None if change.new is None else change.new.fields["n"],
        )
        for event in events
        for change in event.changes
        if change.path == doc("c/a")
    ]
    assert images == [(None if number == 0 else number, number + 1) for number in range(30)]


async def test_who_reads_what_is_not_yet_told_can_wait_for_that(
    database: Database, engine: SteeredEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[CommitEvent] = []
    database.subscribe(events.append)
    untold = Untold(engine, monkeypatch)
    writing = asyncio.create_task(write(database, put("c/a", {})))
    await untold.committed.wait()
    (found,) = await database.get_documents([doc("c/a")])
    assert found is not None
    with monkeypatch.context() as impatient:
        impatient.setattr(system_module, "TOLD_SECONDS_MAX", 0.0)
        with pytest.raises(Unavailable) as caught:
            await wait_told(database, found.version)
    assert caught.value.reason == "Behind"
    waiting = asyncio.create_task(wait_told(database, found.version))
    await settle()
    assert not waiting.done()
    untold.tell()
    await waiting
    assert [event.version for event in events] == [found.version]
    await wait_told(database, (await writing).version)


async def test_failing_subscriber_hinders_nobody(database: Database) -> None:
    events: list[CommitEvent] = []

    def fail(event: CommitEvent) -> None:
        raise RuntimeError("a defect")

    database.subscribe(fail)
    unsubscribe = database.subscribe(events.append)
    with structlog.testing.capture_logs() as logs:
        await write(database, put("c/a", {}))
    assert len(events) == 1
    assert [entry["log_level"] for entry in logs] == ["error"]
    unsubscribe()
    unsubscribe()
    with structlog.testing.capture_logs():
        await write(database, put("c/b", {}))
    assert len(events) == 1


# Closing ------------------------------------------------------------------------------------------


@pytest.fixture
def reopened(tmp_path: Path, clock: VirtualClock) -> Callable[[], SqliteEngine]:
    return lambda: SqliteEngine.open(tmp_path / "database.sqlite", clock=clock)


async def test_closing_commits_what_is_queued_and_refuses_newcomers(
    database: Database,
    engine: SteeredEngine,
    reopened: Callable[[], SqliteEngine],
    clock: VirtualClock,
) -> None:
    first = await hold_a_commit(database, engine)
    (queued,) = await enqueue(database, write(database, put("c/a", {})))
    closing = asyncio.create_task(database.close())
    await settle()
    with pytest.raises(Unavailable):
        await write(database, put("c/b", {}))
    engine.release()
    await asyncio.gather(first, queued, closing)
    with pytest.raises(BaasError):
        await fields(database, "c/a")
    again = await Database.open(DatabaseName("demo"), reopened(), clock=clock, settings=Settings())
    assert await fields(again, "c/a", "c/b") == [{}, None]
    assert again.version == (await queued).version
    await again.close()
