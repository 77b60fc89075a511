"""What the contract suite cannot ask of every engine: MongoDB's own ways of failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import OperationFailure

from baas.clock import SystemClock
from baas.storage import mongo, mongo_batches, mongo_transactions, mongo_watch
from baas.storage.engine import (
    BackfillRow,
    CommitGroup,
    CommitRecord,
    EngineConflict,
    EngineFenced,
    EngineOverloaded,
    EngineUnavailable,
    EngineUnknown,
    Entries,
    StorageError,
)
from baas.storage.mongo import MongoEngine
from baas.storage.mongo_client import OPERATIONS_MAX
from baas.storage.mongo_store import MongoStore
from baas.storage.mongo_wire import Document, Wire
from baas.storage.store import StoreName
from tests.mongo import ReplicaSet
from tests.storage.commits import ALL, Writer, change, document, key, texts

NAME = "baas_faults"
OpenAgain = Callable[[], Awaitable[MongoEngine]]


@pytest.fixture
async def name() -> StoreName:
    return StoreName(f"test-{SystemClock().random_bytes(8).hex()}", "faults")


@pytest.fixture
async def open_node(replica_set: ReplicaSet, name: StoreName) -> AsyncIterator[OpenAgain]:
    """Opens one database from a server of its own, each time."""
    clock = SystemClock()
    stores: list[MongoStore] = []

    async def open_again() -> MongoEngine:
        store = MongoStore(replica_set.uri, NAME, clock)
        stores.append(store)
        return await store.open(name, create=True)

    yield open_again
    try:
        for store in stores[:1]:
            await store.delete_project(str(name.project))
    finally:
        for store in stores:
            await store.close()


@pytest.fixture
async def engine(open_node: OpenAgain) -> MongoEngine:
    return await open_node()


@contextmanager
def failing(
    replica_set: ReplicaSet, commands: list[str], mode: Any = "alwaysOn", **data: Any
) -> Iterator[None]:
    """The commands of servers fail, those of the tests do not."""
    replica_set.fail({"failCommands": commands, "appName": "baas", **data}, mode)
    try:
        yield
    finally:
        replica_set.fail({}, "off")


def group(version: int, name: str, *, after: int = 0) -> CommitGroup:
    record = CommitRecord(version, [change(name, None, document(name, name, version=version))])
    return CommitGroup(after, [record])


async def version_of(engine: MongoEngine) -> int:
    return (await engine.read_head()).version


async def test_commit_that_the_cache_has_no_room_for_is_refused(
    engine: MongoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB calls it a conflict, which was repeated as if another server held the head."""
    names = [f"n{number}" for number in range(80)]
    olds = {name: document(name, "x" * 900_000, version=1) for name in names}
    for version in range(1, 9):
        changes = [change(name, None, olds[name]) for name in names[version - 1 :: 8]]
        await engine.commit(CommitGroup(version - 1, [CommitRecord(version, changes)]))
    monkeypatch.setattr(mongo_transactions, "_NO_ROOM_SECONDS", 0.5)
    gone = [change(name, olds[name], None) for name in names]
    with pytest.raises(EngineOverloaded):
        await engine.commit(CommitGroup(8, [CommitRecord(9, gone)]))
    assert (await engine.read_head()).version == 8
    monkeypatch.undo()
    await engine.commit(CommitGroup(8, [CommitRecord(9, gone[:20])]))
    assert await texts(engine, *names[:20]) == [None] * 20


async def test_conflict_with_nobody_is_a_cache_without_room(
    engine: MongoEngine, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever commits moves the head first. MongoDB 6.0 ends what the cache has no room for at any
    row or entry of an index, with a conflict that may say no more; it was repeated for as long as
    a server is waited for."""
    monkeypatch.setattr(mongo_transactions, "_NO_ROOM_SECONDS", 0.1)
    made = group(1, "a")
    with failing(replica_set, ["insert"], errorCode=112), pytest.raises(EngineOverloaded):
        await engine.commit(made)
    assert await version_of(engine) == 0
    monkeypatch.setattr(mongo_transactions, "_NO_ROOM_SECONDS", 60.0)
    with failing(replica_set, ["insert"], {"times": 2}, errorCode=112):
        await engine.commit(made)  # others had filled it
    assert await texts(engine, "a") == ["a"]


async def test_group_of_which_one_command_fails_leaves_nothing(
    engine: MongoEngine, replica_set: ReplicaSet
) -> None:
    """What a server refuses before it looks at the transaction does not end it there: commands
    that were sent together with it are done."""
    writer = Writer(engine)
    await writer.write(1, {"a": "old"})
    group = CommitGroup(1, [writer.record(2, {"a": "new", "b": "new"})])
    with failing(replica_set, ["insert"], {"times": 1}, errorCode=2), pytest.raises(StorageError):
        await engine.commit(group)
    assert await version_of(engine) == 1
    assert await texts(engine, "a", "b") == ["old", None]
    await engine.commit(group)
    assert await texts(engine, "a", "b") == ["new", "new"]


# Several owners -----------------------------------------------------------------------------------


async def test_second_of_two_owners_gets_a_conflict_and_writes_nothing(
    open_node: OpenAgain,
) -> None:
    one, two = await open_node(), await open_node()
    await one.commit(group(5, "a"))
    with pytest.raises(EngineConflict):
        await two.commit(group(6, "b"))
    assert await texts(two, "a", "b") == ["a", None]
    await two.commit(group(7, "b", after=5))
    assert await texts(one, "a", "b") == ["a", "b"]


async def test_of_many_owners_at_once_one_commits(open_node: OpenAgain) -> None:
    engines = [await open_node() for _ in range(4)]
    for after in range(0, 100, 10):
        outcomes = await asyncio.gather(
            *[engine.commit(group(after + 10, f"n{after}", after=after)) for engine in engines],
            return_exceptions=True,
        )
        assert sum(outcome == () for outcome in outcomes) == 1
        assert all(outcome == () or type(outcome) is EngineConflict for outcome in outcomes)


async def test_claimed_turn_keeps_the_others_out_until_the_commit(open_node: OpenAgain) -> None:
    one, two = await open_node(), await open_node()
    await two.claim_turn(60)
    await one.claim_turn(60)  # too late
    with pytest.raises(EngineConflict, match="claimed"):
        await one.commit(group(1, "a"))
    await two.commit(group(2, "b"))
    await one.commit(group(3, "a", after=2))
    await two.claim_turn(0)
    await one.commit(group(4, "c", after=3))


async def test_who_claimed_a_turn_and_has_nothing_to_write_gives_it_up(
    open_node: OpenAgain,
) -> None:
    """What it was to commit may have been refused meanwhile, and the others would be, too."""
    one, two = await open_node(), await open_node()
    await two.claim_turn(60)
    one.end_turn()  # which is not its own
    with pytest.raises(EngineConflict, match="claimed"):
        await one.commit(group(1, "a"))
    two.end_turn()
    await two.close()  # which waits for it
    await one.commit(group(1, "a"))


async def test_head_goes_first_while_another_server_is_near(
    open_node: OpenAgain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is outrun then has written nothing that is in the other one's way."""
    monkeypatch.setattr(mongo, "OTHERS_SECONDS", 3_600.0)
    engine, other = await open_node(), await open_node()
    await engine.commit(group(1, "a"))
    sent: list[list[str]] = []
    call_all = Wire.call_all

    async def noted(wire: Wire, commands: Sequence[Document], *args: Any, **options: Any) -> Any:
        sent.append(
            [f"{name} {command[name]}" for command in commands for name in list(command)[:1]]
        )
        return await call_all(wire, commands, *args, **options)

    monkeypatch.setattr(Wire, "call_all", noted)
    all_of_it = ["update heads", "insert documents", "insert log"]
    await engine.commit(group(2, "b", after=1))
    assert all_of_it in sent
    with pytest.raises(EngineConflict):
        await other.commit(group(2, "c"))
    sent.clear()
    await other.commit(group(3, "c", after=2))
    assert all_of_it[:1] in sent
    assert all_of_it[1:] in sent
    assert all_of_it not in sent


@pytest.mark.parametrize(
    "failure",
    [
        {"blockConnection": True, "blockTimeMS": 300},
        {"closeConnection": True},
        {"writeConcernError": {"code": 91, "errmsg": "told to fail"}},
    ],
    ids=lambda failure: next(iter(failure)),
)
async def test_a_commit_in_doubt_is_before_the_fence_of_another_server_or_nowhere(
    open_node: OpenAgain, replica_set: ReplicaSet, failure: dict[str, Any]
) -> None:
    one, two = await open_node(), await open_node()
    for version in range(10, 40, 10):
        with failing(replica_set, ["commitTransaction"], {"times": 1}, **failure):
            made = group(version, f"n{version}", after=await version_of(one))
            task = asyncio.create_task(one.commit(made))
            await asyncio.wait([task], timeout=0.02 * version)  # it is at another place each time
            fenced_at = await two.fence("move")
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
        found = await texts(two, f"n{version}")
        if isinstance(outcome, EngineFenced):
            assert fenced_at < version
            assert found == [None]
        else:
            assert outcome == ()
            assert fenced_at == version
            assert found == [f"n{version}"]
        assert await version_of(one) == fenced_at
        assert await one.unfence("move")


async def test_lines_are_in_order_for_all_servers(open_node: OpenAgain) -> None:
    one, two = await open_node(), await open_node()
    await one.lines.enter("x", "a", 60)
    await one.lines.enter("x", "a", 60)  # it is there
    waiting = [asyncio.create_task(two.lines.enter("x", place, 60)) for place in ("b", "c")]
    await two.lines.enter("y", "c", 60)  # another line
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in waiting)
    await one.lines.leave("x", "a")
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in waiting].count(True) == 1
    first = "b" if waiting[0].done() else "c"
    await two.lines.leave("x", first)
    await asyncio.gather(*waiting)


async def test_who_is_not_seen_any_more_is_out_of_the_line(open_node: OpenAgain) -> None:
    one, two = await open_node(), await open_node()
    await one.lines.enter("x", "dead", 0.2)
    await two.lines.enter("x", "b", 60)
    await one.lines.leave("x", "dead")
    await one.lines.leave("nobody", "was here")


async def test_commits_of_others_are_told_and_own_ones_are_not(open_node: OpenAgain) -> None:
    one, two = await open_node(), await open_node()
    told = asyncio.Event()
    stop = one.watch(told.set)
    await told.wait()  # the stream has begun
    version = 0
    for _ in range(5):
        told.clear()
        await two.commit(group(version + 10, f"n{version}", after=version))
        version += 10
        await told.wait()
        assert await version_of(one) == version
    told.clear()
    await one.commit(group(version + 10, "own", after=version))
    await two.commit(group(version + 20, "other", after=version + 10))
    await told.wait()
    stop()


async def test_heads_are_polled_while_there_is_no_stream(
    open_node: OpenAgain, replica_set: ReplicaSet
) -> None:
    one, two = await open_node(), await open_node()
    await two.commit(group(10, "a"))
    told = asyncio.Event()
    with failing(replica_set, ["aggregate"], errorCode=8000):
        stop = one.watch(told.set)
        await told.wait()
        told.clear()
        await two.commit(group(20, "b", after=10))
        await told.wait()
    told.clear()  # the stream comes back by itself, and says so
    await told.wait()
    stop()


async def test_who_watches_is_woken_while_the_heads_cannot_be_read(
    open_node: OpenAgain, replica_set: ReplicaSet
) -> None:
    """Who then looks finds out that it cannot know, instead of trusting what it knew."""
    engine = await open_node()
    told = asyncio.Event()
    with failing(replica_set, ["aggregate", "find", "getMore"], closeConnection=True):
        stop = engine.watch(told.set)
        for _ in range(2):
            await told.wait()
            told.clear()
    stop()


async def test_lost_stream_begins_anew(open_node: OpenAgain, replica_set: ReplicaSet) -> None:
    one, two = await open_node(), await open_node()
    told = asyncio.Event()
    stop = one.watch(told.set)
    await told.wait()
    for version in (10, 20, 30):
        # ChangeStreamFatalError: it cannot be resumed
        with failing(replica_set, ["getMore"], {"times": 1}, errorCode=280):
            told.clear()
            await told.wait()
        told.clear()
        await two.commit(group(version, f"n{version}", after=version - 10))
        await told.wait()
    stop()


async def test_commit_that_becomes_visible_late_is_told_to_its_own_server(
    open_node: OpenAgain, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome was unknown; the stream leaves out what this server wrote."""
    monkeypatch.setattr(mongo_watch, "LOOK_SECONDS", 0.5)
    one = await open_node()
    await one.commit(group(10, "a"))
    told = asyncio.Event()
    stop = one.watch(told.set)
    await told.wait()
    await asyncio.sleep(2)  # the first look tells of what it did not know
    told.clear()
    late = {"version": 20, "touched": {"by": one._shared.node, "id": "late"}}
    with MongoClient[Any](replica_set.uri) as client:
        client[NAME].heads.update_one({"_id": one._head.id}, {"$set": late})
    await told.wait()
    stop()


async def test_the_end_is_heard_though_the_driver_swallows_a_cancellation(
    open_node: OpenAgain, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()

    async def swallow(stream: AsyncChangeStream[Any]) -> None:
        reading.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)

    monkeypatch.setattr(AsyncChangeStream, "try_next", swallow)
    one = await open_node()
    one.watch(lambda: None)
    await asyncio.wait_for(reading.wait(), 20)
    await asyncio.wait_for(one._shared.watcher.close(), 20)


async def test_nobody_waits_for_ever_for_a_connection(engine: MongoEngine) -> None:
    connection = engine._connection
    connection.timeout_seconds = 0.2
    async with AsyncExitStack() as others:
        for _ in range(OPERATIONS_MAX):
            await others.enter_async_context(connection.operation())
        with pytest.raises(EngineUnavailable, match="in use"):
            await engine.read_head()
    await engine.read_head()


async def test_removed_database_is_told(open_node: OpenAgain, replica_set: ReplicaSet) -> None:
    clock = SystemClock()
    project = f"test-{clock.random_bytes(8).hex()}"
    async with AsyncExitStack() as stack:
        one, two = (MongoStore(replica_set.uri, NAME, clock) for _ in range(2))
        for store in (one, two):
            stack.push_async_callback(store.close)
        engine = await one.open(StoreName(project, "faults"), create=True)
        await engine.commit(group(1, "a"))
        await two.delete_project(project)
        again = await two.open(StoreName(project, "faults"), create=True)
        for call in (
            engine.read_head,
            engine.open_snapshot,
            lambda: engine.commit(group(2, "b", after=1)),
            lambda: engine.commit(group(2, "b")),
            lambda: engine.trim(9, limit=9),
        ):
            with pytest.raises(StorageError, match="deleted"):
                await call()
        assert await version_of(again) == 0
        assert await texts(again, "a", "b") == [None, None]


# Unknown outcomes ---------------------------------------------------------------------------------


async def test_commit_whose_answer_is_lost_is_asked_for_again(
    engine: MongoEngine, replica_set: ReplicaSet
) -> None:
    for version, data in ((1, {"closeConnection": True}), (2, {"errorCode": 91})):
        with failing(replica_set, ["commitTransaction"], {"times": 2}, **data):
            await engine.commit(group(version, f"n{version}", after=version - 1))
        assert await texts(engine, f"n{version}") == [f"n{version}"]


async def test_commit_that_happened_without_an_answer_is_found_by_its_id(
    engine: MongoEngine, replica_set: ReplicaSet
) -> None:
    """The transaction is committed, its concern is reported as failed, and asking again fails."""
    await engine.commit(group(1, "a"))
    found = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting timed out"}
    with failing(
        replica_set,
        ["commitTransaction"],
        {"times": 1},
        writeConcernError=found,
        errorLabels=[],
    ):
        await engine.commit(group(2, "b", after=1))
    assert await texts(engine, "a", "b") == ["a", "b"]
    assert await version_of(engine) == 2


async def test_commit_that_did_not_happen_is_done_again(
    engine: MongoEngine, replica_set: ReplicaSet
) -> None:
    """NoSuchTransaction: a new primary that never saw it."""
    with failing(replica_set, ["commitTransaction"], {"times": 1}, errorCode=251):
        await engine.commit(group(1, "a"))
    assert await texts(engine, "a") == ["a"]
    snapshot = await engine.open_snapshot()
    assert [record.version for record in await snapshot.read_log(0, limit=9)] == [1]


async def test_outcome_that_cannot_be_found_out_is_said_to_be_unknown(
    engine: MongoEngine, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await version_of(engine)  # it is connected
    with monkeypatch.context() as impatient:
        impatient.setattr(engine._connection, "timeout_seconds", 3.0)
        with (
            failing(replica_set, ["commitTransaction"], closeConnection=True),
            pytest.raises(EngineUnknown),
        ):
            await engine.commit(group(1, "a"))
    # Whatever became of it: once a later commit is there, it is settled.
    version = await version_of(engine)
    assert version in (0, 1)
    await engine.commit(group(version + 10, "b", after=version))
    assert await texts(engine, "a", "b") == ["a" if version else None, "b"]


_PASSING: list[dict[str, Any]] = [
    {"closeConnection": True},
    {"errorCode": 10107},  # not primary
    {"errorCode": 11602},  # stepping down
]


@pytest.mark.parametrize("command", ["update", "insert", "find"])
async def test_failures_that_pass_are_not_seen(
    engine: MongoEngine, replica_set: ReplicaSet, command: str
) -> None:
    for version, data in enumerate(_PASSING):
        with failing(replica_set, [command], {"times": 2}, **data):
            await engine.commit(group(version + 1, f"n{version}", after=version))
            assert await texts(engine, f"n{version}") == [f"n{version}"]


async def test_dead_time_ends_in_unavailable(
    engine: MongoEngine, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.commit(group(1, "a"))
    with (
        monkeypatch.context() as impatient,
        failing(replica_set, ["update", "find"], closeConnection=True),
    ):
        impatient.setattr(engine._connection, "timeout_seconds", 3.0)
        outcomes = await asyncio.gather(
            engine.read_head(),
            engine.open_snapshot(),
            engine.get_documents([key("a")]),
            engine.find_request("x"),
            engine.commit(group(2, "b", after=1)),
            engine.claim_turn(1),
            return_exceptions=True,
        )
    assert [type(outcome) for outcome in outcomes] == [EngineUnavailable] * 6
    assert await texts(engine, "a", "b") == ["a", None]


async def test_lock_of_a_lost_server_is_taken_away(
    open_node: OpenAgain, replica_set: ReplicaSet, name: StoreName
) -> None:
    """Killed in the middle of a transaction, it would hold the head for a minute."""
    engine = await open_node()
    await engine.commit(group(1, "a"))
    lost: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri, appname="baas")
    with lost, lost.start_session() as session:
        session.start_transaction()
        lost[NAME].heads.update_one({"_id": str(name)}, {"$set": {"x": 1}}, session=session)
        await engine.commit(group(2, "b", after=1))
        with pytest.raises(OperationFailure, match="aborted"):
            session.commit_transaction()
    assert await texts(engine, "b") == ["b"]


# Long and large -----------------------------------------------------------------------------------


async def test_snapshot_that_is_too_old_ends(engine: MongoEngine, replica_set: ReplicaSet) -> None:
    await engine.commit(group(1, "a"))
    snapshot = await engine.open_snapshot()
    with (
        failing(replica_set, ["find"], {"times": 1}, errorCode=239),  # SnapshotTooOld
        pytest.raises(EngineUnavailable, match="too long"),
    ):
        await snapshot.get_documents([key("a")])


async def test_servers_forget_old_states_and_snapshots_say_so(
    engine: MongoEngine, replica_set: ReplicaSet
) -> None:
    """Without a failpoint: the window is set to nothing."""
    writer = Writer(engine)
    await writer.write(1, {"a": "one"})
    snapshot = await engine.open_snapshot()

    async def read_until_forgotten() -> None:
        for version in range(2, 10_000):
            await writer.write(version, {"a": str(version)})
            await snapshot.get_documents([key("a")])

    with replica_set.client(replica_set.wait_primary()) as client:
        set_window = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0}
        client.admin.command(set_window)
        try:
            with pytest.raises(EngineUnavailable, match="too long"):
                await read_until_forgotten()
        finally:
            client.admin.command(set_window | {"minSnapshotHistoryWindowInSeconds": 300})


async def test_group_of_many_large_documents_is_one_step(engine: MongoEngine) -> None:
    """Far above what one message holds, and each document as large as JSON text can make it."""
    large = '"' + "\\u0001" * 1_048_000 + '"'
    writer = Writer(engine)
    await writer.commit(
        *[writer.record(version, {f"n{version}": large}) for version in range(1, 3)],
        writer.record(9, {f"m{number:04}": "x" * 1_000 for number in range(3_000)}),
    )
    assert await version_of(engine) == 9
    snapshot = await engine.open_snapshot()
    assert await snapshot.count_documents(ALL) == 3_002
    await writer.commit(
        *[writer.record(version + 10, {f"n{version}": large[:-1]}) for version in range(1, 3)]
    )
    for version in range(1, 3):
        assert await texts(engine, f"n{version}") == [large[:-1]]
        (old,) = await snapshot.get_documents_at([key(f"n{version}")], 9)
        assert old is not None
        assert len(old.data) == len(large)
    assert await engine.read_history_bytes() == 2 * len(large)


async def test_document_that_mongodb_cannot_hold_is_refused_whole(engine: MongoEngine) -> None:
    writer = Writer(engine)
    with pytest.raises(EngineUnavailable, match=r"size|large"):
        await writer.write(1, {"a": "x" * 17_000_000, "b": "b"})
    assert await version_of(engine) == 0
    assert await texts(engine, "a", "b") == [None, None]


async def test_history_bytes_are_counted_up_and_down(engine: MongoEngine) -> None:
    writer = Writer(engine)
    for version in range(1, 11):
        await writer.write(version, {"a": "x" * version})
    assert await engine.read_history_bytes() == sum(range(1, 10))
    await engine.trim(6, limit=1_000)
    assert await engine.read_history_bytes() == sum(range(5, 10))


async def test_log_of_a_group_that_was_cut_in_the_middle_begins_at_the_cut(
    engine: MongoEngine,
) -> None:
    writer = Writer(engine)
    await writer.commit(*[writer.record(version, {"a": str(version)}) for version in range(1, 9)])
    await engine.trim(5, limit=100)
    snapshot = await engine.open_snapshot()
    for after in (0, 4, 6):
        versions = [record.version for record in await snapshot.read_log(after, limit=99)]
        assert versions == list(range(max(5, after + 1), 9))


async def test_backfill_of_a_document_that_others_change_meanwhile(open_node: OpenAgain) -> None:
    """However they meet, no entry of an old image is left."""
    one, two = await open_node(), await open_node()
    writer = Writer(one)
    await writer.write(1, {"a": "1"})

    async def fill() -> None:
        for version in range(1, 21):
            await two.backfill([BackfillRow(key("a"), version, [Entries(1, [b"%d" % version])])])

    filling = asyncio.create_task(fill())
    for version in range(2, 21):
        old = writer.images["a"]
        new = document("a", str(version), version=version, created=1)
        removed = [Entries(1, [b"%d" % (version - 1)])]
        record = CommitRecord(version, [change("a", old, new, removed=removed)])
        while True:
            try:
                await writer.commit(record)
                break
            except EngineConflict:
                await asyncio.sleep(0)
        writer.images["a"] = new
    await filling
    snapshot = await one.open_snapshot()
    rows = await snapshot.scan_entries(1, ALL, limit=99)
    assert {row.key for row in rows} <= {b"20"}


async def test_error_that_tells_half_a_character_of_a_key_is_understood(
    engine: MongoEngine,
) -> None:
    """While an index is filled an entry may be there already. MongoDB says so, with the beginning
    of the key, which it cuts anywhere."""
    writer = Writer(engine)
    await writer.write(1, {"a": "1"})
    for version in (2, 3):
        entry = Entries(1, [b"x" * version + b"\xc3" * 300])
        await engine.backfill([BackfillRow(key("a"), version - 1, [entry])])
        old, new = writer.images["a"], document("a", "2", version=version, created=1)
        await writer.commit(CommitRecord(version, [change("a", old, new, added=[entry])]))
        writer.images["a"] = new
    snapshot = await engine.open_snapshot()
    assert len(await snapshot.scan_entries(1, ALL, limit=9)) == 2


# Reads --------------------------------------------------------------------------------------------


async def test_reads_that_are_asked_for_at_once_share_a_find(
    engine: MongoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    read = engine._connection.read_latest

    async def counted(command: dict[str, Any]) -> Any:
        sent.append(1)
        return await read(command)

    await engine.commit(group(1, "a"))
    monkeypatch.setattr(engine._connection, "read_latest", counted)
    found = await asyncio.gather(*[texts(engine, "a", f"n{number}") for number in range(300)])
    assert found == [["a", None]] * 300
    assert len(sent) == 1
    monkeypatch.setattr(mongo_batches, "BATCH_ROWS_MAX", 10)
    found = await asyncio.gather(*[texts(engine, "a", f"n{number}") for number in range(30)])
    assert found == [["a", None]] * 30
    assert len(sent) == 1 + 4  # the first name is common to all


async def test_cancelled_reader_leaves_the_others_theirs(engine: MongoEngine) -> None:
    await engine.commit(group(1, "a"))
    readers = [asyncio.create_task(texts(engine, "a")) for _ in range(4)]
    await asyncio.sleep(0)
    readers[0].cancel()
    assert await asyncio.gather(*readers[1:]) == [["a"]] * 3


async def test_who_waits_for_others_to_have_written_is_told_in_time(
    engine: MongoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of those before may wait for a primary as long as it may: together that is for ever."""
    monkeypatch.setattr(engine._connection, "timeout_seconds", 0.2)
    go_on = asyncio.Event()
    before = asyncio.create_task(engine._write(go_on.wait))
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailable, match="written before"):
        await Writer(engine).write(1, {"a": "one"})
    go_on.set()
    assert await before
    monkeypatch.undo()
    await Writer(engine).write(1, {"a": "two"})
    assert await texts(engine, "a") == ["two"]
