"""Commands that are sent past the driver's own way: whatever goes wrong, no answer is taken for the
answer to another command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    DocumentTooLarge,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
)
from pymongo.pool_shared import PoolState

from baas.storage import mongo_wire
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_wire import Document, Session, Wire, check_answer
from scripts.free_ports import free_port
from tests.mongo import ReplicaSet
from tests.waiting import until

SLOW = {"failCommands": ["count"], "appName": "baas", "blockConnection": True, "blockTimeMS": 500}


async def cancel_meanwhile(
    replica_set: ReplicaSet, call: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Cancels the call while the server is at its `count`."""
    while True:
        count = replica_set.fail(SLOW, {"times": 1})
        task = asyncio.create_task(call())
        await asyncio.to_thread(replica_set.wait_failed, count)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            return
        await task  # answered before, on a busy machine


@pytest.fixture
async def wire(replica_set: ReplicaSet) -> AsyncIterator[Wire]:
    connection = MongoConnection(replica_set.uri, "baas_wire", timeout_seconds=60)
    try:
        await connection._wire.call({"ping": 1}, 60)  # it is connected
        yield connection._wire
    finally:
        await connection.close()
        replica_set.fail({}, "off")


async def test_answers_belong_to_their_commands(wire: Wire) -> None:
    """Many at once, on few connections."""
    rows = {f"n{number}": number for number in range(100)}
    documents = [{"_id": name, "number": number} for name, number in rows.items()]
    await wire.call({"delete": "rows", "deletes": [{"q": {}, "limit": 0}]}, 60)
    await wire.call({"insert": "rows", "documents": documents}, 60)

    async def find(name: str) -> int:
        answer = await wire.call({"find": "rows", "filter": {"_id": name}}, 60)
        found: int = answer["cursor"]["firstBatch"][0]["number"]
        return found

    assert await asyncio.gather(*[find(name) for name in rows]) == list(rows.values())


async def test_commands_sent_together_are_answered_in_order(wire: Wire) -> None:
    text = "x" * 100_000  # answers of many reads from the socket
    rows = [{"_id": number, "text": text} for number in range(5)]
    await wire.call({"delete": "long", "deletes": [{"q": {}, "limit": 0}]}, 60)
    await wire.call({"insert": "long", "documents": rows}, 60)
    finds: list[Document] = [{"find": "long", "filter": {"_id": number}} for number in range(5)]
    answers = await wire.call_all([*finds, {"ping": 1}, {"nonsense": 1}, *finds], 60)
    ids = [answer["cursor"]["firstBatch"][0]["_id"] for answer in answers[:5] + answers[7:]]
    assert ids == [0, 1, 2, 3, 4] * 2
    assert [answer["ok"] for answer in answers[5:7]] == [1.0, 0.0]


async def test_commands_sent_together_leave_nothing_behind_if_cancelled(
    wire: Wire, replica_set: ReplicaSet
) -> None:
    commands: list[Document] = [{"hello": 1}, {"count": "rows"}, {"hello": 1}]
    await cancel_meanwhile(replica_set, lambda: wire.call_all(commands, 60))
    assert "setName" in await wire.call({"hello": 1}, 60)


async def test_write_after_a_failed_one_of_its_transaction_is_not_done(wire: Wire) -> None:
    session = Session(os.urandom(16))
    session.begin(0.0)
    await wire.call({"delete": "rows", "deletes": [{"q": {}, "limit": 0}]}, 60)
    await wire.call({"insert": "rows", "documents": [{"_id": "there"}]}, 60)
    ids = ("new", "there", "later")
    commands = [session.mark({"insert": "rows", "documents": [{"_id": name}]}) for name in ids]
    first, second, third = await wire.call_all(commands, 60)
    check_answer(first)
    with pytest.raises(OperationFailure):
        check_answer(second)
    with pytest.raises(OperationFailure) as refused:
        check_answer(third)
    assert refused.value.code == 251  # NoSuchTransaction
    answer = await wire.call({"find": "rows", "filter": {}}, 60)
    assert [row["_id"] for row in answer["cursor"]["firstBatch"]] == ["there"]


async def test_late_answer_is_nobody_elses(wire: Wire, replica_set: ReplicaSet) -> None:
    replica_set.fail(SLOW, {"times": 1})
    with pytest.raises((NetworkTimeout, OperationFailure)):
        await wire.call({"count": "rows"}, 0.2)
    assert "setName" in await wire.call({"hello": 1}, 60)


async def test_cancelled_command_leaves_nothing_behind(wire: Wire, replica_set: ReplicaSet) -> None:
    await cancel_meanwhile(replica_set, lambda: wire.call({"count": "rows"}, 60))
    assert "setName" in await wire.call({"hello": 1}, 60)


async def test_server_that_the_driver_gave_up_is_not_waited_for(
    wire: Wire, replica_set: ReplicaSet
) -> None:
    topology = wire._client._topology
    assert topology is not None
    pools: list[Any] = [server.pool for server in topology._servers.values()]
    outcome: object = None
    while not isinstance(outcome, AutoReconnect):  # else it was answered before, on a busy day
        await until(lambda: all(pool.state == PoolState.READY for pool in pools))
        count = replica_set.fail(SLOW, {"times": 1})
        task = asyncio.create_task(wire.call({"count": "rows"}, 60))
        await asyncio.to_thread(replica_set.wait_failed, count)
        for pool in pools:
            await pool.reset(interrupt_connections=True)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, AutoReconnect | dict)


async def test_command_that_no_server_takes_is_refused_before_it_is_sent(wire: Wire) -> None:
    rows = [{"text": "x" * 9_000_000}, {"text": "x" * 9_000_000}]
    with pytest.raises(DocumentTooLarge):
        await wire.call({"insert": "rows", "documents": rows}, 60)
    assert "setName" in await wire.call({"hello": 1}, 60)


async def test_connections_are_kept(wire: Wire) -> None:
    found = {(await wire.call({"hello": 1}, 60))["connectionId"] for _ in range(40)}
    assert len(found) == 1


@pytest.fixture
async def lost() -> AsyncIterator[MongoConnection]:
    """To a replica set that nobody finds."""
    connection = MongoConnection(
        f"mongodb://127.0.0.1:{free_port()}/?replicaSet=lost", "baas_wire", timeout_seconds=60
    )
    yield connection
    await connection.close()


async def test_cancelled_wait_for_a_primary_leaves_the_driver_unlocked(
    lost: MongoConnection,
) -> None:
    """Cancelled itself at that moment, the driver would leave its lock locked, and nobody would get
    a connection of this client any more."""
    topology: Any = lost._client._topology
    lock = topology._lock
    call = asyncio.create_task(lost._wire.call({"ping": 1}, 60))
    await until(lambda: topology._condition._waiters)
    await lock.acquire()
    # It has waited for as long as it does at a time, and wants the lock back.
    await until(lambda: not topology._condition._waiters)
    call.cancel()
    lock.release()
    await asyncio.wait([call])
    assert call.cancelled()
    for _ in range(3):
        async with asyncio.timeout(60), lock:
            pass


async def test_connection_that_came_too_late_for_its_command_is_given_back(wire: Wire) -> None:
    topology: Any = wire._client._topology
    (pool,) = [server.pool for server in topology._servers.values()]
    before = len(pool.conns)
    await pool.lock.acquire()
    call = asyncio.create_task(wire.call({"ping": 1}, 60))
    await until(lambda: pool.lock._waiters)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    pool.lock.release()
    await until(lambda: not wire._unbroken._tasks)
    assert (len(pool.conns), pool.requests, pool.operation_count) == (before, 0, 0)


async def test_driver_that_gives_no_connection_is_waited_for_in_bounds(
    lost: MongoConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_wire, "_SPARE_SECONDS", 0.05)
    topology: Any = lost._client._topology
    async with topology._lock:
        with pytest.raises(NetworkTimeout, match="no connection"):
            async with asyncio.timeout(60):
                await lost._wire.call({"ping": 1}, 0.05)
        await until(lambda: not lost._wire._unbroken._tasks)
    with pytest.raises(NetworkTimeout, match="no time left"):
        await lost._wire.call({"ping": 1}, 0.0)


def test_errors_are_told_apart() -> None:
    check_answer({"ok": 1.0, "n": 1})
    with pytest.raises(NotPrimaryError):
        check_answer({"ok": 0.0, "code": 10107, "errmsg": "not primary"})
    with pytest.raises(OperationFailure) as failed:
        check_answer(
            {"ok": 0.0, "code": 112, "errmsg": "no", "errorLabels": ["TransientTransactionError"]}
        )
    assert failed.value.code == 112
    assert failed.value.has_error_label("TransientTransactionError")
    with pytest.raises(OperationFailure) as failed:
        check_answer({"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 11000}]})
    assert failed.value.code == 11000
    with pytest.raises(WriteConcernError):
        check_answer({"ok": 1.0, "writeConcernError": {"code": 64, "errmsg": "waiting"}})


def test_first_command_begins_the_transaction() -> None:
    session = Session(b"0123456789abcdef")
    for number in (1, 2):
        session.begin(0.0)
        first, second = session.mark({"find": "rows"}), session.mark({"find": "rows"})
        assert first["startTransaction"]
        assert "startTransaction" not in second
        assert first["txnNumber"] == second["txnNumber"] == number
