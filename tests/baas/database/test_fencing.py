"""Databases that are fenced: writes wait, for a while; reads and what was committed stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from baas.clock import VirtualClock
from baas.database import fencing
from baas.database.committer import Committer
from baas.database.database import Database
from baas.database.groups import Attempt, Group
from baas.database.indexes import IndexDefinition, IndexField
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.transaction import CommitResult, Transaction
from baas.errors import ResourceExhausted, Unavailable
from baas.model.paths import FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.settings import Settings
from baas.storage.sqlite_store import SqliteStore
from tests.baas.database.acts import doc, fields, increment, put, where, write
from tests.baas.database.shared import SharedState
from tests.storage.conftest import ENGINES, OpenDatabase

NAME = DatabaseName("demo")
SETTINGS = replace(
    Settings(), limits=replace(Settings().limits, fence_wait_seconds=30, commit_queue_max=3)
)

Pair: TypeAlias = tuple[Database, Database, VirtualClock]


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "LOOK_SECONDS", 0.002)


@pytest.fixture(params=list(ENGINES))
async def open_named(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with ENGINES[request.param](request, tmp_path) as open_named:
        yield open_named


class Node:
    """One who has the database open, and what was told there."""

    def __init__(self, database: Database, clock: VirtualClock) -> None:
        self.database = database
        self.clock = clock
        self.told: list[CommitEvent] = []
        database.subscribe(self.told.append)

    def begin(self, text: str = "c/a", request_id: str | None = None) -> Task:
        """An addition to a counter, under way."""

        async def body(transaction: Transaction) -> None:
            await transaction.write([increment(text)])

        return asyncio.create_task(
            self.database.run_transaction(
                body, request_time=Timestamp(1), request_id=request_id, request_digest=b"x"
            )
        )

    async def until_held(self, *tasks: Task) -> None:
        """Until they wait for the fence, and are known to."""
        queue = self.database._committer._queue
        await until(lambda: len([one for one in queue if one.held_until]) >= len(tasks))
        assert not any(task.done() for task in tasks)


Task = asyncio.Task[CommitResult[None]]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - whatever it may be
            await asyncio.sleep(0.001)


@pytest.fixture
async def nodes(open_named: OpenDatabase) -> AsyncIterator[list[Node]]:
    """Two of one database, or one where there can be no more."""
    found: list[Node] = []
    for _ in range(2):
        engine = await open_named("database")
        if found and not engine.is_shared:
            await engine.close()
            found.append(found[0])
            break
        clock = VirtualClock()
        clock.advance(1.0)
        found.append(Node(await Database.open(NAME, engine, clock=clock, settings=SETTINGS), clock))
    yield found
    for node in found:
        await node.database.close()


async def test_writes_wait_for_the_end_of_a_fence_and_reads_do_not(nodes: list[Node]) -> None:
    near, far = nodes
    before = await near.begin()
    fenced_at = await near.database.fences.put_up("move")
    assert fenced_at == before.version
    assert await far.database.fences.read() == "move"
    tasks = [near.begin(), far.begin("c/b")]
    await near.until_held(tasks[0])
    await far.until_held(tasks[1])
    for node in nodes:
        assert await fields(node.database, "c/a", "c/b") == [{"n": 1}, None]
        found = await node.database.run_query(Query(doc("c/a").collection))
        assert (len(found.documents), found.version) == (1, fenced_at)
    assert await near.database.fences.lift("move")
    results = [await task for task in tasks]
    assert all(result.version > fenced_at for result in results)
    assert await fields(far.database, "c/a", "c/b") == [{"n": 2}, {"n": 1}]
    assert await near.database.fences.read() is None
    for node in nodes:
        await until(lambda: len(node.told) >= 3)  # noqa: B023
        versions = [event.version for event in node.told]
        assert versions == sorted(set(versions))


async def test_who_waits_for_too_long_is_told_so_and_has_written_nothing(
    nodes: list[Node],
) -> None:
    near, far = nodes
    await near.database.fences.put_up("move")
    early = far.begin()
    await far.until_held(early)
    far.clock.advance(29.999)
    late = far.begin("c/b")
    await far.until_held(early, late)
    far.clock.advance(0.001)
    with pytest.raises(Unavailable) as caught:
        await early
    assert caught.value.reason == "WritesPaused"
    await far.until_held(late)
    await near.database.fences.lift("move")
    await late
    assert await fields(near.database, "c/a", "c/b") == [None, {"n": 1}]


async def test_who_is_cancelled_while_waiting_writes_nothing(nodes: list[Node]) -> None:
    near, far = nodes
    await near.database.fences.put_up("move")
    gone, stays = far.begin(), far.begin("c/b")
    await far.until_held(gone, stays)
    gone.cancel()
    await asyncio.wait([gone])
    await near.database.fences.lift("move")
    await stays
    assert await fields(near.database, "c/a", "c/b") == [None, {"n": 1}]


async def test_what_was_answered_before_is_answered_again(nodes: list[Node]) -> None:
    near, far = nodes
    first = await near.begin(request_id="key")
    await near.database.fences.put_up("move")
    again = await far.begin(request_id="key")
    assert (again.version, again.replayed) == (first.version, True)
    # And two of one request that wait make one commit.
    tasks = [far.begin("c/b", "other"), far.begin("c/b", "other")]
    await far.until_held(*tasks)
    await near.database.fences.lift("move")
    results = [await task for task in tasks]
    assert sorted(result.replayed for result in results) == [False, True]
    assert await fields(near.database, "c/b") == [{"n": 1}]


async def test_no_more_wait_than_may_queue(nodes: list[Node]) -> None:
    near, far = nodes
    await near.database.fences.put_up("move")
    tasks = [far.begin(f"c/{number}") for number in range(3)]
    await far.until_held(*tasks)
    with pytest.raises(ResourceExhausted) as caught:
        await far.begin()
    assert caught.value.reason == "CommitQueueFull"
    await near.database.fences.lift("move")
    await asyncio.gather(*tasks)


async def test_another_fence_is_refused_and_one_of_a_dead_owner_is_lifted_by_its_token(
    open_named: OpenDatabase,
) -> None:
    clock = VirtualClock()
    first = await Database.open(NAME, await open_named("database"), clock=clock, settings=SETTINGS)
    await write(first, put("c/a", {"n": 1}))
    await first.fences.put_up("first")
    await first.close()
    again = await Database.open(NAME, await open_named("database"), clock=clock, settings=SETTINGS)
    node = Node(again, clock)
    task = node.begin()
    await node.until_held(task)
    with pytest.raises(Unavailable) as caught:
        await again.fences.put_up("second")
    assert caught.value.reason == "WritesPaused"
    assert not await again.fences.lift("second")
    assert await again.fences.lift("first")
    await task
    assert await fields(again, "c/a") == [{"n": 2}]
    await again.close()


async def test_an_index_is_filled_behind_a_fence_and_ready_after_it(nodes: list[Node]) -> None:
    near, far = nodes
    await write(near.database, put("c/a", {"x": 1}), put("c/b", {"x": 2}))
    definition = IndexDefinition("c", False, (IndexField(FieldPath(("x",))),))
    await far.database.index_keeper.build(definition)
    fenced_at = await near.database.fences.put_up("move")
    other = IndexDefinition("c", False, (IndexField(FieldPath(("y",))),))
    waiting = asyncio.create_task(far.database.index_keeper.build(other))
    await until(lambda: far.database.waiting_commits)
    assert not waiting.done()
    found = await near.database.run_query(where("c", "x", 2))
    assert [one.path.id for one in found.documents] == ["b"]
    assert found.version == fenced_at
    await near.database.fences.lift("move")
    await waiting
    await far.database._builder.wait_idle()
    ready = [far.database.indexes.find(one) for one in (definition, other)]
    assert all(one is not None and one.ready_at is not None for one in ready)


# Somewhere else --------------------------------------------------------------------------------


@pytest.fixture
async def pair(open_named: OpenDatabase) -> AsyncIterator[Pair]:
    """A database, and the one that has its name once it is closed."""
    clock = VirtualClock()
    old = await Database.open(NAME, await open_named("old"), clock=clock, settings=SETTINGS)
    new = await Database.open(NAME, await open_named("new"), clock=clock, settings=SETTINGS)

    async def reopen() -> Database:
        return new

    old.reopen = reopen
    yield old, new, clock
    await new.close()


async def test_who_waits_when_the_database_is_closed_goes_on_where_it_is_then(
    pair: Pair,
) -> None:
    old, new, clock = pair
    await write(new, put("c/a", {"n": 10}))
    await old.fences.put_up("move")
    node = Node(old, clock)
    tasks = [node.begin(), node.begin(request_id="key")]
    await node.until_held(*tasks)
    await old.close()
    for task in tasks:
        assert (await task).version > 0
    # So does who came to it too late.
    await node.begin()
    assert await fields(new, "c/a") == [{"n": 13}]
    again = await Node(new, clock).begin(request_id="key")
    assert again.replayed


async def test_who_was_not_ready_when_the_database_is_closed_goes_on_where_it_is_then(
    pair: Pair,
) -> None:
    """Nobody has met the fence, so nobody waits there: they are evaluated, or come after it."""
    old, new, clock = pair
    await write(new, put("c/a", {"n": 10}))
    await old.fences.put_up("move")
    begun, is_closed = asyncio.Event(), asyncio.Event()
    runs = 0

    async def read_first(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await is_closed.wait()
        await transaction.get_documents([doc("c/a")])
        await transaction.write([increment("c/a")])

    async def write_at_once(transaction: Transaction) -> None:
        begun.set()
        await is_closed.wait()
        await transaction.write([increment("c/a")])

    tasks = []
    for body in (read_first, write_at_once):
        begun.clear()
        call = old.run_transaction(body, request_time=Timestamp(clock.now_microseconds()))
        tasks.append(asyncio.create_task(call))
        await begun.wait()
    await old.close()
    is_closed.set()
    for task in tasks:
        await task
    await Node(old, clock).begin()
    assert (await fields(new, "c/a"), runs) == ([{"n": 13}], 2)


async def test_who_is_read_again_when_the_database_is_closed_goes_on_where_it_is_then(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, _ = pair
    await old.fences.put_up("move")
    evaluate, begun, is_closed = Committer._evaluate_again, asyncio.Event(), asyncio.Event()

    async def evaluate_late(committer: Committer, attempt: Attempt, group: Group) -> bool:
        begun.set()
        await is_closed.wait()
        return await evaluate(committer, attempt, group)

    async def body(transaction: Transaction) -> None:
        await transaction.get_documents([doc("c/a")])
        await transaction.write([increment("c/a")])

    with monkeypatch.context() as patch:
        patch.setattr(Committer, "_evaluate_again", evaluate_late)
        patch.setattr(Committer, "_is_stale", lambda *_: True)
        task = asyncio.create_task(old.run_transaction(body, request_time=Timestamp(1)))
        await begun.wait()
        closing = asyncio.create_task(old.close())
        await asyncio.sleep(0)
        is_closed.set()
        await closing
    await task
    assert await fields(new, "c/a") == [{"n": 1}]


async def test_who_waits_when_the_server_ends_is_told_so(
    tmp_path: Path, clock: VirtualClock
) -> None:
    settings = replace(SETTINGS, data=tmp_path)
    databases = Databases(SqliteStore(tmp_path, clock), settings, clock)
    database = await databases.open(NAME, create=True)
    await database.fences.put_up("move")
    node = Node(database, clock)
    task = node.begin()
    await node.until_held(task)
    await databases.close()
    with pytest.raises(Unavailable) as caught:
        await task
    assert caught.value.reason == "ShuttingDown"


async def test_who_waits_when_the_object_is_closed_waits_at_the_next_one(
    tmp_path: Path, clock: VirtualClock
) -> None:
    settings = replace(SETTINGS, data=tmp_path)
    databases = Databases(SqliteStore(tmp_path, clock), settings, clock)
    old = await databases.open(NAME, create=True)
    await old.fences.put_up("move")
    node = Node(old, clock)
    task = node.begin()
    await node.until_held(task)
    await databases.close_project("demo")
    new = await databases.open(NAME)
    assert new is not old
    await Node(new, clock).until_held(task)
    await new.fences.lift("move")
    await task
    assert await fields(new, "c/a") == [{"n": 1}]
    await databases.close()


async def test_a_node_that_is_cut_off_meets_the_fence_when_it_is_back() -> None:
    state = SharedState()
    engines = [state.open(), state.open()]
    clock = VirtualClock()
    near, far = [
        Node(await Database.open(NAME, one, clock=clock, settings=SETTINGS), clock)
        for one in engines
    ]
    engines[1].is_cut_off = True
    await near.database.fences.put_up("move")
    engines[1].rejoin()
    task = far.begin()
    await far.until_held(task)
    engines[1].is_cut_off = True  # while it waits
    await near.database.fences.lift("move")
    engines[1].rejoin()
    await task
    assert await fields(near.database, "c/a") == [{"n": 1}]
    for node in (near, far):
        await node.database.close()
