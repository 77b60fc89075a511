"""Several nodes on one database: one order of commits, told to everybody once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from baas.clock import VirtualClock
from baas.database import follower as follower_module
from baas.database import index_builder, index_filling
from baas.database import turns as turns_module
from baas.database.committer import Committer
from baas.database.database import Database
from baas.database.groups import CONFLICTS_MAX
from baas.database.indexes import IndexDefinition, IndexField
from baas.database.listeners import DocumentsTarget, QueryTarget, Update
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.system import wait_told
from baas.database.transaction import Transaction
from baas.errors import Aborted, BaasError, FailedPrecondition, Unavailable
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import Order, Query
from baas.settings import Settings
from baas.storage.engine import BackfillRow, CommitGroup, Head, LogRecord
from tests.baas.database.acts import (
    create,
    doc,
    fields,
    increment,
    put,
    run,
    want_indexes,
    where,
    write,
)
from tests.baas.database.shared import SharedEngine, SharedState
from tests.effort import FACTOR
from tests.waiting import LoopTime, loop_time, settle, until

__all__ = ["loop_time"]

NAME = DatabaseName("demo")


@dataclass
class Node:
    """One server's database, with all that its subscribers heard."""

    database: Database
    engine: SharedEngine
    clock: VirtualClock
    events: list[CommitEvent] = field(default_factory=list)
    lost: int = 0
    late: int = 0

    def note_lost(self) -> None:
        self.lost += 1

    def note_late(self) -> None:
        self.late += 1

    def told(self) -> list[tuple[int, list[tuple[str, object, object]]]]:
        return [
            (
                event.version,
                [
                    (
                        str(change.path),
                        None if change.old is None else change.old.fields,
                        None if change.new is None else change.new.fields,
                    )
                    for change in event.changes
                ],
            )
            for event in self.events
        ]


StartNode = Callable[[], Awaitable[Node]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are there, and take no time."""
    monkeypatch.setattr(turns_module, "PAUSE_SECONDS_MAX", 0.0)
    monkeypatch.setattr(turns_module, "COURTESY_PAUSE_SECONDS_MAX", 0.0)
    monkeypatch.setattr(follower_module, "FOLLOW_RETRY_SECONDS", 0.0)


@pytest.fixture
def state() -> SharedState:
    return SharedState()


@pytest.fixture
async def start(state: SharedState) -> AsyncIterator[StartNode]:
    nodes: list[Node] = []

    async def start() -> Node:
        engine, clock = state.open(), VirtualClock()
        database = await Database.open(NAME, engine, clock=clock, settings=Settings())
        node = Node(database, engine, clock)
        database.subscribe(node.events.append, on_lost=node.note_lost, on_late=node.note_late)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.engine.is_cut_off = False
        await node.database.close()


async def even(*nodes: Node) -> None:
    """Returns when all have heard the same."""
    for node in nodes:
        await node.database.catch_up()


# What others did ----------------------------------------------------------------------------------


async def test_commits_of_one_node_are_told_on_the_other(start: StartNode) -> None:
    one, two = await start(), await start()
    await write(one.database, put("c/a", {"n": 1}), put("c/b", {}))
    await write(one.database, increment("c/a"))
    await write(one.database, put("c/a", {"n": 9}))
    await until(lambda: len(two.events) == 3)
    assert two.told() == one.told()
    assert [
        change[1:] for _, changes in two.told() for change in changes if change[0] == "c/a"
    ] == [
        (None, {"n": 1}),
        ({"n": 1}, {"n": 2}),
        ({"n": 2}, {"n": 9}),
    ]
    assert two.database.version == one.database.version


async def test_nothing_is_told_twice_and_own_commits_stand_in_order(start: StartNode) -> None:
    one, two = await start(), await start()
    for number in range(20):
        await write((one, two)[number % 2].database, put("c/a", {"n": number}))
    await even(one, two)
    assert one.told() == two.told()
    assert [event.version for event in one.events] == sorted(
        {event.version for event in one.events}
    )
    assert len(one.events) == 20


async def test_commit_that_changed_nothing_moves_the_others_on(start: StartNode) -> None:
    one, two = await start(), await start()
    await write(one.database, request_id="r")
    await even(two)
    assert two.database.version == one.database.version > 0


async def test_read_after_an_answer_on_the_other_node_sees_it(start: StartNode) -> None:
    one, two = await start(), await start()
    two.engine.watchers.clear()
    for number in range(5):
        await write(one.database, put("c/a", {"n": number}))
        assert await fields(two.database, "c/a") == [{"n": number}]
        async with two.database.snapshot() as snapshot:
            assert snapshot.version == one.database.version


async def test_who_reads_what_another_node_committed_can_wait_until_it_is_told(
    start: StartNode,
) -> None:
    one, two = await start(), await start()
    two.engine.watchers.clear()  # nobody wakes it
    version = (await write(one.database, put("c/a", {"n": 1}))).version
    assert await fields(two.database, "c/a") == [{"n": 1}]
    assert two.events == []
    await wait_told(two.database, version)
    assert two.told() == one.told()


# Outrun -------------------------------------------------------------------------------------------


async def test_increments_of_two_nodes_are_all_kept(start: StartNode) -> None:
    one, two = await start(), await start()
    await asyncio.gather(
        *[write(node.database, increment("c/a")) for _ in range(100) for node in (one, two)]
    )
    assert await fields(one.database, "c/a") == [{"n": 200}]
    await even(one, two)
    assert one.told() == two.told()
    assert one.engine.conflicts + two.engine.conflicts > 0


async def test_increments_are_lost_by_a_node_that_skips_the_check(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: otherwise the test above would prove nothing."""
    monkeypatch.setattr(Committer, "_is_stale", lambda *_: False)
    one, two = await start(), await start()
    # The engine of these tests compares old images, too.
    with suppress(AssertionError, BaasError):
        await asyncio.gather(
            *[write(node.database, increment("c/a")) for _ in range(5) for node in (one, two)]
        )
    assert await fields(one.database, "c/a") != [{"n": 10}]


async def test_busy_node_leaves_room_for_a_quiet_one(start: StartNode) -> None:
    busy, quiet = await start(), await start()
    done = asyncio.Event()

    async def hammer(number: int) -> int:
        count = 0
        while not done.is_set():
            await write(busy.database, increment(f"busy/{number}"))
            count += 1
        return count

    hammers = [asyncio.create_task(hammer(number)) for number in range(5)]
    for _ in range(10):
        await write(quiet.database, increment("c/quiet"))
    done.set()
    assert min(await asyncio.gather(*hammers)) > 0
    assert await fields(busy.database, "c/quiet") == [{"n": 10}]


async def test_outrun_transaction_decides_on_what_is_there_now(start: StartNode) -> None:
    one, two = await start(), await start()

    winners: list[asyncio.Task[object]] = []
    # As if the other node had been a moment faster.
    await write(one.database, put("c/x", {}))
    one_first = write(one.database, create("c/a", {"by": "one"}))

    async def refuse_if_there(transaction: Transaction) -> None:
        (found,) = await transaction.get_documents([doc("c/a")])
        if found is not None:
            raise FailedPrecondition("taken", reason="Taken")
        if not winners:
            winners.append(asyncio.create_task(one_first))
            await asyncio.wait(winners)
        await transaction.write([put("c/a", {"by": "two"})])

    with pytest.raises(FailedPrecondition):
        await run(two.database, refuse_if_there)
    assert await fields(two.database, "c/a") == [{"by": "one"}]


async def test_query_that_another_node_touched_is_run_again(start: StartNode) -> None:
    one, two = await start(), await start()
    runs = 0

    async def body(transaction: Transaction) -> int:
        nonlocal runs
        runs += 1
        found = await transaction.run_query(where("c", "open", True))
        if runs == 1:
            await write(one.database, put("c/new", {"open": True}))
        await transaction.write([put("sums/c", {"n": len(found.documents)})])
        return len(found.documents)

    assert (await run(two.database, body)).value == 1
    assert runs == 2


async def test_answer_upon_a_group_that_was_outrun_is_given_anew(start: StartNode) -> None:
    """The second of the group is refused because of the first, which then never was."""
    one, two = await start(), await start()
    gate = asyncio.Event()

    async def first(transaction: Transaction) -> str:
        (flag,) = await transaction.get_documents([doc("c/flag")])
        if flag is not None:
            return "left alone"
        await transaction.write([put("c/a", {"by": "first"})])
        return "written"

    async def second(transaction: Transaction) -> str:
        (found,) = await transaction.get_documents([doc("c/a")])
        if found is not None:
            return "there"
        await transaction.write([put("c/b", {})])
        return "written"

    real = two.engine.commit

    is_held = asyncio.Event()

    async def held(group: CommitGroup) -> Sequence[LogRecord]:
        two.engine.commit = real  # type: ignore[method-assign]
        is_held.set()
        await gate.wait()
        await write(one.database, put("c/flag", {}))
        return await real(group)

    two.engine.commit = held  # type: ignore[method-assign]
    holding = asyncio.create_task(write(two.database, put("c/hold", {})))
    await is_held.wait()
    results = [asyncio.create_task(run(two.database, body)) for body in (first, second)]
    await until(lambda: len(two.database._committer._queue) == 2)
    gate.set()
    await holding
    assert [(await task).value for task in results] == ["left alone", "written"]
    assert await fields(two.database, "c/a", "c/b") == [None, {}]


async def test_endless_conflict_is_aborted(start: StartNode) -> None:
    node = await start()

    def outrun() -> None:
        node.engine.state.version += 1

    node.engine.before_commit = outrun
    with pytest.raises(Aborted) as caught:
        await write(node.database, put("c/a", {}))
    assert caught.value.reason == "CommitConflict"
    assert node.engine.conflicts == CONFLICTS_MAX + 1
    node.engine.before_commit = lambda: None
    await write(node.database, put("c/a", {}))


# Failing ------------------------------------------------------------------------------------------


async def test_head_of_another_node_is_not_taken_for_ones_own(start: StartNode) -> None:
    """Both clocks say the same, so both commits would have the same version."""
    one, two = await start(), await start()
    two.engine.failures = 1
    two.engine.watchers.clear()
    theirs = await write(one.database, put("c/a", {"by": "one"}))
    with pytest.raises(Unavailable):
        await write(two.database, put("c/a", {"by": "two"}))
    assert await fields(two.database, "c/a") == [{"by": "one"}]
    mine = await write(two.database, put("c/a", {"by": "two"}))
    assert mine.version > theirs.version
    await even(one, two)
    assert one.told() == two.told()


@pytest.mark.parametrize("was_written", [True, False])
async def test_unknown_outcome_is_told_as_such_and_heard_of_if_it_was_written(
    start: StartNode, was_written: bool
) -> None:
    one, two = await start(), await start()
    two.engine.unknown = [was_written]
    with pytest.raises(Unavailable) as caught:
        await write(two.database, increment("c/a"))
    assert caught.value.reason == "CommitOutcomeUnknown"
    await even(one, two)
    assert one.told() == two.told()
    assert len(one.told()) == int(was_written)
    await write(two.database, increment("c/a"))
    assert await fields(one.database, "c/a") == [{"n": 1 + was_written}]


@pytest.mark.parametrize("was_written", [True, False])
async def test_request_with_an_unknown_outcome_is_done_once(
    start: StartNode, was_written: bool
) -> None:
    one, two = await start(), await start()
    two.engine.unknown = [was_written]
    result = await write(two.database, increment("c/a"), request_id="r")
    assert result.replayed is was_written
    again = await write(one.database, increment("c/a"), request_id="r")
    assert (again.version, again.replayed) == (result.version, True)
    assert await fields(one.database, "c/a") == [{"n": 1}]


async def test_same_request_to_both_nodes_is_done_once(start: StartNode) -> None:
    one, two = await start(), await start()
    results = await asyncio.gather(
        *[write(node.database, increment("c/a"), request_id="r") for node in (one, two, one, two)]
    )
    assert len({result.version for result in results}) == 1
    assert await fields(one.database, "c/a") == [{"n": 1}]


async def test_node_that_missed_what_was_erased_is_told_that_it_missed_something(
    start: StartNode,
) -> None:
    one, two = await start(), await start()
    await write(one.database, put("c/a", {"secret": 1}))
    await even(two)
    two.engine.is_cut_off = True
    await write(one.database, put("c/a", {"secret": 2}))
    await write(one.database, put("c/a", {"n": 3}))
    await one.database.eraser.erase([doc("c/a")])
    two.engine.rejoin()
    await even(two)
    assert (two.lost, len(two.events)) == (1, 1)
    await write(one.database, increment("c/a"))
    await even(two)
    assert (two.lost, len(two.events)) == (1, 2)
    assert await fields(two.database, "c/a") == [{"n": 4}]


async def test_node_that_was_cut_off_hears_all_afterwards(start: StartNode) -> None:
    one, two = await start(), await start()
    two.engine.is_cut_off = True
    for number in range(3):
        await write(one.database, put("c/a", {"n": number}))
    with pytest.raises(Unavailable):
        await write(two.database, put("c/b", {}))
    with pytest.raises(Unavailable):
        await two.database.catch_up()
    assert two.events == []
    two.engine.rejoin()
    await until(lambda: len(two.events) == 3)
    assert one.told() == two.told()


async def test_node_that_cannot_read_what_others_did_says_so_until_it_can(
    start: StartNode, loop_time: LoopTime
) -> None:
    one, two = await start(), await start()
    two.engine.is_cut_off = True
    await write(one.database, put("c/a", {"n": 1}))
    two.engine.wake()
    await settle()
    for late in (1, 2, 3):
        await loop_time.advance(1.1 * follower_module.LATE_SECONDS)
        assert two.late == late
    assert two.events == []
    assert one.late == 0
    two.engine.rejoin()
    await even(two)
    assert two.told() == one.told()
    await loop_time.advance(10 * follower_module.LATE_SECONDS)  # nothing may come any more
    assert (two.late, two.lost) == (3, 0)


async def test_failed_reading_of_what_others_did_is_repeated_unasked(start: StartNode) -> None:
    one, two = await start(), await start()
    two.engine.is_cut_off = True
    await write(one.database, put("c/a", {}))
    two.engine.wake()
    for _ in range(20):
        await asyncio.sleep(0)
    two.engine.is_cut_off = False  # nobody wakes it
    await until(lambda: len(two.events) == 1)


async def test_defect_while_following_refuses_those_who_wait_and_ends_nothing(
    start: StartNode,
) -> None:
    one, two = await start(), await start()
    read_head = two.engine.read_head

    async def defect() -> Head:
        raise ValueError("a defect")

    two.engine.read_head = defect  # type: ignore[method-assign]
    with pytest.raises(BaasError):
        await two.database.catch_up()
    two.engine.read_head = read_head  # type: ignore[method-assign]
    await write(one.database, put("c/a", {}))
    await write(two.database, put("c/b", {}))
    await even(one, two)
    assert one.told() == two.told()


async def test_defect_while_giving_way_ends_nothing(start: StartNode, state: SharedState) -> None:
    one, two = await start(), await start()

    async def defect(seconds: float) -> None:
        raise ValueError("a defect")

    two.engine.claim_turn = defect  # type: ignore[method-assign]
    two.engine.watchers.clear()
    await write(one.database, put("c/a", {}))
    await write(two.database, put("c/b", {}))
    assert two.engine.conflicts
    assert await fields(one.database, "c/a", "c/b") == [{}, {}]


# Listeners ----------------------------------------------------------------------------------------


class Heard:
    """A listener that keeps its answer by what it is told."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {}
        self.versions: list[int] = []
        self.resets = 0
        self.errors: list[BaasError] = []

    def deliver(self, update: Update) -> None:
        self.versions.append(update.version)
        if update.reset:
            self.resets += 1
            self.documents.clear()
        for change in update.changes:
            name = change.document.path.id
            self.documents.pop(name, None)
            if change.kind.name != "REMOVED":
                self.documents[name] = change.document.fields


async def test_listener_hears_commits_of_both_nodes(start: StartNode) -> None:
    one, two = await start(), await start()
    heard = Heard()
    await two.database.listeners.listen(
        QueryTarget(where("c", "open", True)), heard.deliver, heard.errors.append
    )
    await write(one.database, put("c/a", {"open": True}), put("c/b", {"open": False}))
    await write(two.database, put("c/b", {"open": True}))
    await write(one.database, put("c/a", {"open": False}))
    await until(lambda: heard.documents == {"b": {"open": True}})
    assert heard.versions == sorted(set(heard.versions))
    assert not heard.errors


async def test_listener_begins_with_what_the_other_node_answered(start: StartNode) -> None:
    one, two = await start(), await start()
    target = QueryTarget(where("c", "open", True))
    first, second = Heard(), Heard()
    await two.database.listeners.listen(target, first.deliver, first.errors.append)
    two.engine.watchers.clear()  # nobody wakes it
    await write(one.database, put("c/a", {"open": True}))
    await two.database.listeners.listen(target, second.deliver, second.errors.append)
    assert second.documents == {"a": {"open": True}} == first.documents


async def test_listener_resumes_on_the_other_node(start: StartNode) -> None:
    one, two = await start(), await start()
    target = QueryTarget(where("c", "open", True))
    still, moved = Heard(), Heard()
    await two.database.listeners.listen(target, still.deliver, still.errors.append)
    two.engine.watchers.clear()
    await write(one.database, put("c/a", {"open": True}))
    moved.documents["a"] = {"open": True}
    await two.database.listeners.listen(
        target, moved.deliver, moved.errors.append, resume_from=one.database.version
    )
    assert (moved.resets, moved.documents) == (0, {"a": {"open": True}})
    assert moved.versions[-1] >= one.database.version


async def test_watcher_hears_before_anything_newer_is_delivered(start: StartNode) -> None:
    """A snapshot may be ahead of the feed; what it shows waits until watchers have been told."""
    one, two = await start(), await start()
    await write(one.database, put("rights/ada", {"ok": True}))
    await even(two)
    two.engine.watchers.clear()
    order: list[str] = []
    watch = two.database.listeners.watch([doc("rights/ada")], lambda version: order.append("watch"))
    await write(one.database, put("rights/ada", {"ok": False}))
    await write(one.database, put("c/a", {}))
    subscription = await two.database.listeners.listen(
        DocumentsTarget((doc("c/a"),)), lambda update: order.append("update"), lambda error: None
    )
    assert order == ["watch", "update"]
    subscription.close()
    watch.close()


async def test_commit_that_cannot_be_told_has_everything_read_again(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await start(), await start()
    heard: list[Update] = []
    listeners = two.database.listeners
    await listeners.listen(QueryTarget(where("c", "n", 1)), heard.append, lambda error: None)
    with monkeypatch.context() as patched:
        patched.setattr(listeners, "_concerned", lambda change: 1 / 0)
        await write(one.database, put("c/a", {"n": 1}))
        await even(two)
    await until(lambda: len(heard) == 2)
    assert (heard[-1].reset, heard[-1].count) == (True, 1)
    await listeners.listen(QueryTarget(where("d", "n", 1)), heard.append, lambda error: None)


async def test_node_that_was_away_for_too_long_reads_everything_again(start: StartNode) -> None:
    one, two = await start(), await start()
    heard, watched = Heard(), list[int]()
    await write(one.database, put("c/a", {"open": True}), put("c/z", {"open": True}))
    await even(two)
    await two.database.listeners.listen(
        QueryTarget(where("c", "open", True)), heard.deliver, heard.errors.append
    )
    two.database.listeners.watch([doc("rights/ada")], watched.append)
    two.engine.is_cut_off = True
    await write(one.database, put("c/a", {"open": False}))
    await write(one.database, put("c/b", {"open": True}))
    await one.engine.trim(one.database.version + 1, limit=100)
    await write(one.database, put("c/d", {"open": True}))
    two.engine.rejoin()
    await until(lambda: set(heard.documents) == {"z", "b", "d"})
    assert (two.lost, heard.resets, heard.errors) == (1, 1, [])
    assert watched
    await write(two.database, put("c/z", {"open": False}))
    await until(lambda: set(heard.documents) == {"b", "d"})


async def test_database_that_others_removed_is_given_up(
    start: StartNode, state: SharedState
) -> None:
    node = await start()
    removed: list[bool] = []
    node.database.on_removed = lambda: removed.append(True)
    await write(node.database, put("c/a", {}))
    state.incarnation = "second"
    node.engine.wake()
    await until(lambda: removed)
    with pytest.raises(Unavailable) as caught:
        await write(node.database, put("c/a", {}))
    assert caught.value.reason == "DatabaseClosed"


async def test_closing_tells_subscribers_that_they_hear_no_more(start: StartNode) -> None:
    node = await start()
    await node.database.close()
    assert node.lost == 1


# Indexes ------------------------------------------------------------------------------------------


async def fill(node: Node, count: int) -> None:
    for start in range(0, count, 100):
        await write(
            node.database, *[put(f"c/d{n}", {"n": n % 10}) for n in range(start, start + 100)]
        )


async def test_index_of_one_node_is_maintained_and_used_by_the_other(start: StartNode) -> None:
    one, two = await start(), await start()
    await fill(one, 300)
    query = where("c", "n", 3)
    missing = await want_indexes(one.database, query)
    assert missing
    await one.database.wait_indexed(missing)
    await even(two)
    async with two.database.snapshot() as snapshot:
        assert not await snapshot.find_missing(query)
    await write(two.database, put("c/d3", {"n": 4}), put("c/new", {"n": 3}))
    for node in (one, two):
        found = {document.path.id for document in (await node.database.run_query(query)).documents}
        assert found == {f"d{n}" for n in range(13, 300, 10)} | {"new"}


async def test_two_nodes_that_want_the_same_index_make_one(
    start: StartNode, state: SharedState
) -> None:
    one, two = await start(), await start()
    await fill(one, 300)
    await even(two)
    queries = [where("c", name, 3) for name in ("n", "m")]
    for query in queries:
        for node in (one, two):
            missing = await want_indexes(node.database, query)
        stop = asyncio.Event()

        async def disturb(node: Node, stop: asyncio.Event) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await write(node.database, put(f"c/d{number % 300}", {"n": number % 7, "m": 3}))

        tasks = [asyncio.create_task(disturb(node, stop)) for node in (one, two)]
        await asyncio.gather(*[node.database.wait_indexed(missing) for node in (one, two)])
        await asyncio.gather(*[node.database.index_keeper.wait() for node in (one, two)])
        stop.set()
        await asyncio.gather(*tasks)
        await even(one, two)
    numbers = [[index.number for index in node.database.indexes] for node in (one, two)]
    assert sorted(numbers[0]) == sorted(numbers[1]) == [1, 2]
    assert all(index.ready_at is not None for node in (one, two) for index in node.database.indexes)
    check_entries(one, state)


def check_entries(node: Node, state: SharedState) -> None:
    """The entries are those that the documents call for, no more and no less."""
    for index in node.database.indexes:
        expected = {
            key: document_key
            for document_key in state.images
            if (image := state.image(document_key, state.version)) is not None
            and image.path.segments[-2] == index.definition.collection_id
            for key in index.entry_keys(image.path, image.fields)
        }
        assert state.entries.get(index.number, {}) == expected


async def test_index_that_another_node_left_is_taken_over(
    start: StartNode, state: SharedState
) -> None:
    one, two = await start(), await start()
    await fill(one, 200)
    await even(two)
    query = where("c", "n", 3)

    async def die(rows: object) -> int:
        one.engine.is_cut_off = True
        await one.engine.read_head()
        raise AssertionError

    one.engine.backfill = die  # type: ignore[method-assign]
    await one.database.wait_indexed(await want_indexes(one.database, query))
    await even(two)
    await two.database.wait_indexed(await want_indexes(two.database, query))
    assert [index.ready_at for index in two.database.indexes] == [None]
    two.clock.advance(31)
    await two.database.wait_indexed(await want_indexes(two.database, query))
    assert [index.ready_at for index in two.database.indexes] == [1]
    check_entries(two, state)


async def test_index_that_another_node_left_is_taken_over_though_nobody_asks_for_it(
    start: StartNode, state: SharedState
) -> None:
    """As one that a policy of expiry waits for, or a schema with unique fields."""
    one, two = await start(), await start()
    await fill(one, 200)
    reached = asyncio.Event()

    async def stand_still(rows: object) -> int:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    one.engine.backfill = stand_still  # type: ignore[method-assign]
    await one.database.index_keeper.build(BY_N)
    await reached.wait()
    await even(two)
    for seconds, ready in ((20, False), (20, True)):
        two.clock.advance(seconds)
        await two.database.index_keeper.tidy()
        await two.database.index_keeper.wait()
        index = two.database.indexes.find(BY_N)
        assert index is not None
        assert (index.ready_at is not None) == ready
    check_entries(two, state)


async def test_index_that_another_node_is_still_at_is_left_to_it(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_filling, "SLICE_MAX", 10)
    monkeypatch.setattr(index_filling, "SLICE_FIRST", 10)
    one, two = await start(), await start()
    await fill(one, 200)
    await even(two)
    backfill = one.engine.backfill
    tidied = 0

    async def take_long(rows: Sequence[BackfillRow]) -> int:
        nonlocal tidied
        for node in (one, two):
            node.clock.advance(15)
        await even(two)
        await two.database.index_keeper.tidy()
        tidied += 1
        return await backfill(rows)

    async def fail(rows: object) -> int:
        raise AssertionError("it fills what another node is at")

    one.engine.backfill = take_long  # type: ignore[method-assign]
    two.engine.backfill = fail  # type: ignore[method-assign]
    await one.database.index_keeper.build(BY_N)
    await one.database.index_keeper.wait()
    await even(two)
    assert tidied > 10
    for node in (one, two):
        index = node.database.indexes.find(BY_N)
        assert index is not None
        assert index.ready_at is not None


# Everything at once -------------------------------------------------------------------------------


async def churn(node: Node, chance: random.Random, applied: dict[str, int]) -> None:
    """Increments with request ids, repeated until they are answered, through faults."""
    for number in range(12):
        target = f"c/{chance.randrange(3)}"
        request = f"{id(asyncio.current_task())}-{number}"
        match chance.randrange(8):
            case 0:
                node.engine.failures = 1
            case 1:
                node.engine.unknown.append(chance.random() < 0.5)
            case 2:
                node.engine.is_cut_off = True
                asyncio.get_running_loop().call_later(0.001, node.engine.rejoin)
        while True:
            try:
                await write(node.database, increment(target), request_id=request)
                break
            except (Unavailable, Aborted):
                await asyncio.sleep(0.0005)
        applied[target] = applied.get(target, 0) + 1


@pytest.mark.parametrize("seed", range(5 * FACTOR))
async def test_no_commit_is_lost_or_doubled_through_faults(
    start: StartNode, state: SharedState, seed: int
) -> None:
    chance = random.Random(seed)
    nodes = [await start() for _ in range(3)]
    heard = [Heard() for _ in nodes]
    for node, listener in zip(nodes, heard, strict=True):
        await node.database.listeners.listen(
            DocumentsTarget(tuple([doc(f"c/{number}") for number in range(3)])),
            listener.deliver,
            listener.errors.append,
        )
    applied: dict[str, int] = {}
    await asyncio.gather(*[churn(node, chance, applied) for node in nodes for _ in range(2)])
    for node in nodes:
        node.engine.rejoin()
    await even(*nodes)
    found = await fields(nodes[0].database, *applied)
    assert found == [{"n": count} for count in applied.values()]
    assert nodes[0].told() == nodes[1].told() == nodes[2].told()
    expected = {path[2:]: {"n": count} for path, count in applied.items()}
    await until(lambda: all(one.errors or one.documents == expected for one in heard))
    for listener in heard:
        assert not listener.errors
        assert listener.versions == sorted(set(listener.versions))


# Indexes -----------------------------------------------------------------------------------------

BY_N = IndexDefinition("c", False, (IndexField(FieldPath(("n",))),))


async def test_an_index_that_a_node_dropped_answers_on_none(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node does not hear of it, for longer than the grace."""
    one, two = await start(), await start()
    for number in range(5):
        await write(one.database, put(f"c/{number}", {"n": number}))
    await one.database.index_keeper.build(BY_N)
    await one.database.index_keeper.wait()
    await two.database.catch_up()
    index, known = one.database.indexes.find(BY_N), two.database.indexes.find(BY_N)
    assert index is not None
    assert known is not None
    two.engine.watchers.clear()
    await one.database.index_keeper.drop(index)
    await one.database.index_keeper.tidy()
    await one.database.index_keeper.wait()
    assert one.engine.state.entries[index.number], "its grace is not over"
    query = Query(CollectionPath(("c",)), order_by=(Order(FieldPath(("n",))),))
    assert len((await two.database.run_query(query)).documents) == 5
    assert two.database.indexes.find(BY_N) is known, "it has not heard of it"
    for node in (one, two):
        node.clock.advance(index_builder.DROP_GRACE_SECONDS)
    await one.database.index_keeper.tidy()
    await one.database.index_keeper.wait()
    assert not one.engine.state.entries.get(index.number)
    assert len((await two.database.run_query(query)).documents) == 5
    assert two.database.indexes.find(BY_N) is None
    for node in (one, two):
        await node.database.index_keeper.wait()


async def test_records_that_a_node_missed_altogether_are_forgotten(
    start: StartNode, state: SharedState
) -> None:
    one, two = await start(), await start()
    await one.database.index_keeper.build(BY_N)
    await one.database.index_keeper.wait()
    await two.database.catch_up()
    first = two.database.indexes.find(BY_N)
    assert first is not None
    two.engine.watchers.clear()
    index = one.database.indexes.find(BY_N)
    assert index is not None
    await one.database.index_keeper.drop(index)
    one.clock.advance(index_builder.DROP_GRACE_SECONDS)
    await one.database.index_keeper.tidy()
    await one.database.index_keeper.wait()
    await one.database.index_keeper.build(BY_N)
    await one.database.index_keeper.wait()
    await write(one.database, put("c/x", {"n": 1}))
    state.oldest = state.version
    await two.database.catch_up()
    second = two.database.indexes.find(BY_N)
    assert second is not None
    assert second.number > first.number
