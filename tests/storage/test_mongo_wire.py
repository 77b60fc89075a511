"""Commands that are sent past the driver's own way: whatever goes wrong, no answer is taken for the
answer to another command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from pymongo.errors import (
    AutoReconnect,
    DocumentTooLarge,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
)

from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_wire import Document, Session, Wire, check_answer
from tests.mongo import ReplicaSet

SLOW = {"failCommands": ["count"], "appName": "baas", "blockConnection": True, "blockTimeMS": 500}


@pytest.fixture
async def wire(replica_set: ReplicaSet) -> AsyncIterator[Wire]:
    connection = MongoConnection(replica_set.uri, "baas_wire", timeout_seconds=5)
    yield connection._wire
    await connection.close()
    replica_set.fail({}, "off")


async def test_answers_belong_to_their_commands(wire: Wire) -> None:
    """Many at once, on few connections."""
    rows = {f"n{number}": number for number in range(100)}
    documents = [{"_id": name, "number": number} for name, number in rows.items()]
    await wire.call({"delete": "rows", "deletes": [{"q": {}, "limit": 0}]}, 5)
    await wire.call({"insert": "rows", "documents": documents}, 5)

    async def find(name: str) -> int:
        answer = await wire.call({"find": "rows", "filter": {"_id": name}}, 5)
        found: int = answer["cursor"]["firstBatch"][0]["number"]
        return found

    assert await asyncio.gather(*[find(name) for name in rows]) == list(rows.values())


async def test_commands_sent_together_are_answered_in_order(wire: Wire) -> None:
    text = "x" * 100_000  # answers of many reads from the socket
    rows = [{"_id": number, "text": text} for number in range(5)]
    await wire.call({"delete": "long", "deletes": [{"q": {}, "limit": 0}]}, 5)
    await wire.call({"insert": "long", "documents": rows}, 5)
    finds: list[Document] = [{"find": "long", "filter": {"_id": number}} for number in range(5)]
    answers = await wire.call_all([*finds, {"ping": 1}, {"nonsense": 1}, *finds], 5)
    ids = [answer["cursor"]["firstBatch"][0]["_id"] for answer in answers[:5] + answers[7:]]
    assert ids == [0, 1, 2, 3, 4] * 2
    assert [answer["ok"] for answer in answers[5:7]] == [1.0, 0.0]


async def test_commands_sent_together_leave_nothing_behind_if_cancelled(
    wire: Wire, replica_set: ReplicaSet
) -> None:
    replica_set.fail(SLOW, {"times": 1})
    commands: list[Document] = [{"hello": 1}, {"count": "rows"}, {"hello": 1}]
    task = asyncio.create_task(wire.call_all(commands, 5))
    await asyncio.sleep(0.2)  # the first one is answered
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "setName" in await wire.call({"hello": 1}, 5)


async def test_write_after_a_failed_one_of_its_transaction_is_not_done(wire: Wire) -> None:
    session = Session(os.urandom(16))
    session.begin(0.0)
    await wire.call({"delete": "rows", "deletes": [{"q": {}, "limit": 0}]}, 5)
    await wire.call({"insert": "rows", "documents": [{"_id": "there"}]}, 5)
    ids = ("new", "there", "later")
    commands = [session.mark({"insert": "rows", "documents": [{"_id": name}]}) for name in ids]
    first, second, third = await wire.call_all(commands, 5)
    check_answer(first)
    with pytest.raises(OperationFailure):
        check_answer(second)
    with pytest.raises(OperationFailure) as refused:
        check_answer(third)
    assert refused.value.code == 251  # NoSuchTransaction
    answer = await wire.call({"find": "rows", "filter": {}}, 5)
    assert [row["_id"] for row in answer["cursor"]["firstBatch"]] == ["there"]


async def test_late_answer_is_nobody_elses(wire: Wire, replica_set: ReplicaSet) -> None:
    replica_set.fail(SLOW, {"times": 1})
    with pytest.raises((NetworkTimeout, OperationFailure)):
        await wire.call({"count": "rows"}, 0.2)
    assert "setName" in await wire.call({"hello": 1}, 5)


async def test_cancelled_command_leaves_nothing_behind(wire: Wire, replica_set: ReplicaSet) -> None:
    replica_set.fail(SLOW, {"times": 1})
    task = asyncio.create_task(wire.call({"count": "rows"}, 5))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "setName" in await wire.call({"hello": 1}, 5)


async def test_server_that_the_driver_gave_up_is_not_waited_for(
    wire: Wire, replica_set: ReplicaSet
) -> None:
    replica_set.fail(SLOW | {"blockTimeMS": 3_000}, {"times": 1})
    task = asyncio.create_task(wire.call({"count": "rows"}, 30))
    topology = wire._client._topology
    assert topology is not None
    async with asyncio.timeout(20):
        servers = topology._servers
        while not any(one.pool.active_sockets for one in servers.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for server in topology._servers.values():
        await server.pool.reset(interrupt_connections=True)
    async with asyncio.timeout(2):
        with pytest.raises(AutoReconnect):
            await task


async def test_command_that_no_server_takes_is_refused_before_it_is_sent(wire: Wire) -> None:
    rows = [{"text": "x" * 9_000_000}, {"text": "x" * 9_000_000}]
    with pytest.raises(DocumentTooLarge):
        await wire.call({"insert": "rows", "documents": rows}, 5)
    assert "setName" in await wire.call({"hello": 1}, 5)


async def test_connections_are_kept(wire: Wire) -> None:
    for _ in range(20):
        await wire.call({"ping": 1}, 5)
    status = await wire.call({"serverStatus": 1}, 5, database="admin")
    before = status["connections"]["totalCreated"]
    for _ in range(20):
        await wire.call({"ping": 1}, 5)
    status = await wire.call({"serverStatus": 1}, 5, database="admin")
    # The driver asks for the server's state on connections of its own.
    assert status["connections"]["totalCreated"] <= before + 2


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
