"""The bulk writer's queue by itself, and both writers against a server that fails."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from baas_sdk import BulkWriterOptions, Client, InvalidArgument, errors
from baas_sdk._bulk import BulkQueue, BulkWriterOperation

from tests.sdk.faces import Face
from tests.sdk.peer import TIME, Peer, Received, Reply, error_reply

DONE = {"update_time": TIME}
CLIENT = Client("http://127.0.0.1:1", project="demo")


def operation(path: str, size: int = 1) -> BulkWriterOperation[Any]:
    return BulkWriterOperation(CLIENT.document(path), {"set": path}, size)


def taken(queue: BulkQueue[Any]) -> list[str]:
    return [item.reference.path for item in queue.take()]


def queue_of(*paths: str, **options: int) -> BulkQueue[Any]:
    made: BulkQueue[Any] = BulkQueue(BulkWriterOptions(**options))
    for path in paths:
        made.add(operation(path))
    return made


def test_a_request_is_full_or_flushed() -> None:
    queue = queue_of("a/1", "a/2", batch_writes_max=3)
    assert taken(queue) == []
    queue.add(operation("a/3"))
    queue.add(operation("a/4"))
    assert taken(queue) == ["a/1", "a/2", "a/3"]
    assert taken(queue) == []
    queue.flush()
    assert taken(queue) == ["a/4"]


def test_a_request_is_full_by_its_bytes() -> None:
    queue = queue_of(batch_bytes_max=100)
    for path, size in (("a/1", 60), ("a/2", 60), ("a/3", 500)):
        queue.add(operation(path, size))
    assert taken(queue) == ["a/1"]
    assert taken(queue) == ["a/2"]
    assert taken(queue) == ["a/3"]  # larger than that, and alone


def test_a_document_is_once_in_a_request_and_once_under_way() -> None:
    queue = queue_of("a/1", "a/1", "a/2", batch_writes_max=3)
    first = queue.take()
    assert [item.reference.path for item in first] == ["a/1", "a/2"]
    queue.flush()
    assert taken(queue) == []
    queue.settle(first, first[:1])  # the first write again, before the second one
    again = queue.take()
    assert again == first[:1]
    queue.settle(again, [])
    last = queue.take()
    assert [item.reference.path for item in last] == ["a/1"]
    queue.settle(last, [])
    assert queue.is_idle


def test_what_is_stuck_is_not_looked_through_again() -> None:
    queue = queue_of(*["a/1"] * 4, batch_writes_max=2)
    first = queue.take()
    assert queue.take() == []
    assert not queue.is_due
    queue.add(operation("a/2"))
    assert taken(queue) == ["a/2"]
    assert taken(queue) == []
    assert not queue.is_due
    queue.settle(first, [])
    assert queue.is_due


def test_options_are_checked() -> None:
    for name in BulkWriterOptions.__slots__:
        with pytest.raises(InvalidArgument, match=name):
            BulkWriterOptions(**{name: 0})
    with pytest.raises(InvalidArgument, match="500"):
        BulkWriterOptions(batch_writes_max=501)


def answer(*results: Any) -> Reply:
    return Reply(json={"results": list(results)})


def failed(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "reason": code, "message": "m", "request_id": "q"}}


async def test_a_request_that_is_lost_is_sent_again_the_same(peer: Peer, face: Face) -> None:
    peer.reply(*[error_reply(503, "UNAVAILABLE")] * 8, answer(DONE))
    writer = face.client.bulk_writer()
    await face.call(writer.set, face.client.document("a/1"), {"n": 1})
    await face.call(writer.close)
    assert len({request.body for request in peer.requests}) == 1
    assert len(peer.requests) == 9
    body = peer.requests[0].json()
    assert body["writes"] == [{"set": "a/1", "fields": {"n": 1}}]
    assert body["request_id"]


async def test_a_write_that_failed_for_now_is_tried_again_alone(peer: Peer, face: Face) -> None:
    peer.reply(answer(DONE, failed("ABORTED"), failed("NOT_FOUND")), answer(DONE))
    writer = face.client.bulk_writer()
    for number in range(3):
        await face.call(writer.set, face.client.document(f"a/{number}"), {})
    with pytest.raises(errors.NotFound, match="a/2"):
        await face.call(writer.close)
    first, second = (request.json() for request in peer.requests)
    assert second["writes"] == first["writes"][1:2]
    assert second["request_id"] != first["request_id"]


async def test_a_write_is_given_up_at_last(peer: Peer, face: Face) -> None:
    peer.reply(lambda received: answer(failed("ABORTED")))
    writer = face.client.bulk_writer(BulkWriterOptions(attempts_max=3))
    await face.call(writer.set, face.client.document("a/1"), {})
    with pytest.raises(errors.Aborted):
        await face.call(writer.flush)
    assert len(peer.requests) == 3
    await face.call(writer.close)  # what was raised is not raised again


async def test_who_adds_has_to_wait_while_much_waits(peer: Peer, face: Face) -> None:
    gate = threading.Event()

    def reply(received: Received) -> Reply:
        return Reply(json={"results": [DONE] * len(received.json()["writes"])}, hold=gate)

    peer.reply(reply)
    options = BulkWriterOptions(batch_writes_max=2, requests_max=1, waiting_max=4)
    writer = face.client.bulk_writer(options)

    async def fill() -> None:
        for number in range(20):
            await face.call(writer.set, face.client.document(f"a/{number}"), {})

    filling = asyncio.create_task(fill())
    await asyncio.sleep(0.2)
    assert not filling.done()
    gate.set()
    await filling
    await face.call(writer.close)
    assert sum(len(request.json()["writes"]) for request in peer.requests) == 20


async def test_a_callback_may_add_writes_and_may_fail(peer: Peer, face: Face) -> None:
    peer.reply(lambda received: answer(*[DONE] * len(received.json()["writes"])))
    options = BulkWriterOptions(batch_writes_max=1, requests_max=1, waiting_max=1)
    writer = face.client.bulk_writer(options)
    more = face.client.document("b/1")

    def add(reference: Any, result: Any, bulk_writer: Any) -> Any:
        return bulk_writer.set(more, {}) if reference.path != "b/1" else None

    writer.on_write_result(add)
    await face.call(writer.set, face.client.document("a/1"), {})
    await face.call(writer.flush)
    assert len(peer.requests) == 2

    def fail(reference: Any, result: Any, bulk_writer: Any) -> None:
        raise KeyError("mine")

    writer.on_write_result(fail)
    await face.call(writer.set, face.client.document("a/1"), {})
    with pytest.raises(KeyError, match="mine"):
        await face.call(writer.close)
