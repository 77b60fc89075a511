"""Bytes that go from a socket into a file: exactly those, and whoever ends within them is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baas.buckets import receiving
from baas.buckets.blobs import BlobWriter, Receiver
from baas.buckets.contents import Digests
from baas.buckets.local_blobs import THREADS, LocalBlobs
from baas.errors import Unavailable
from tests.baas.conftest import Pair
from tests.open_files import open_files

BYTES = os.urandom(1_500_000)
KEY = "demo/contentcontent/1"


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalBlobs]:
    made = LocalBlobs(tmp_path / "objects", synced=False)
    yield made
    await made.close()


def open_receiver(writer: BlobWriter, size: int, digests: Digests | None = None) -> Receiver:
    made = writer.open_receiver(size, None if digests is None else digests.update)
    assert made is not None
    return made


async def receive(receiver: Receiver, connection: socket.socket) -> None:
    """As an exchange does."""
    waiting = connection.dup()  # the receiver closes its own
    loop = asyncio.get_running_loop()
    try:
        while await receiver.receive():
            ready = asyncio.Event()
            loop.add_reader(waiting, ready.set)
            await ready.wait()
            loop.remove_reader(waiting)
    finally:
        waiting.close()
        receiver.close()


async def test_as_many_bytes_as_wanted_and_none_of_what_follows(
    store: LocalBlobs, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "TURN_BYTES", 600_000)  # several turns, whoever is faster
    ours, theirs = pair
    digests = Digests()
    writer = await store.open_writer(KEY)
    await writer.write(b"before", digests.update)
    receiver = open_receiver(writer, len(BYTES), digests)
    receiver.begin(ours.dup())
    loop = asyncio.get_running_loop()
    await asyncio.gather(receive(receiver, ours), loop.sock_sendall(theirs, BYTES + b"next"))
    assert receiver.left == 0
    await writer.finish()
    whole = b"before" + BYTES
    assert await store.get(KEY) == whole
    assert (len(whole), whole[:4096]) == (digests.size, digests.head)
    expected = Digests()
    expected.update(whole)
    assert digests.sha256 == expected.sha256
    assert ours.recv(100) == b"next"


async def test_a_client_that_ends_within_is_gone(store: LocalBlobs, pair: Pair) -> None:
    ours, theirs = pair
    writer = await store.open_writer(KEY)
    receiver = open_receiver(writer, 1_000)
    receiver.begin(ours.dup())
    theirs.sendall(b"x" * 999)
    assert await receiver.receive()
    assert receiver.left == 1
    theirs.close()
    with pytest.raises(ConnectionError):
        await receiver.receive()
    receiver.close()
    await writer.abort()
    assert [infos async for infos in store.list("")] == []


async def test_a_full_disk_says_so_and_how_much_is_left(
    store: LocalBlobs, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    ours, theirs = pair
    writer = await store.open_writer(KEY)
    receiver = open_receiver(writer, 1_000)
    receiver.begin(ours.dup())
    theirs.sendall(b"x" * 600)
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(Unavailable) as caught:
        await receiver.receive()
    monkeypatch.undo()
    assert caught.value.reason == "ObjectStoreFull"
    assert receiver.left == 400
    receiver.close()
    await writer.abort()
    assert [infos async for infos in store.list("")] == []


async def test_who_sends_nothing_holds_no_thread(store: LocalBlobs) -> None:
    pairs = [socket.socketpair() for _ in range(THREADS + 1)]
    receivers = []
    for number, (ours, _) in enumerate(pairs):
        ours.setblocking(False)
        writer = await store.open_writer(f"demo/contentcontent/{number}")
        receivers.append(open_receiver(writer, 10))
        receivers[-1].begin(ours)
    assert all(await asyncio.gather(*(one.receive() for one in receivers)))
    assert await store.get(KEY) is None
    for receiver in receivers:
        receiver.close()
    for ours, theirs in pairs:
        assert ours.fileno() == -1
        theirs.close()


async def test_one_that_is_closed_while_its_thread_writes_closes_everything_after_it(
    store: LocalBlobs, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, goes_on = threading.Event(), threading.Event()

    def see(block: Any) -> None:
        has_begun.set()
        goes_on.wait(30)

    ours, theirs = pair
    before = open_files(tmp_path)
    connection = ours.dup()
    connection.setblocking(False)
    writer = await store.open_writer(KEY)
    receiver = writer.open_receiver(1_000, see)
    assert receiver is not None
    receiver.begin(connection)
    theirs.sendall(b"x" * 600)
    task = asyncio.create_task(receiver.receive())
    assert await asyncio.to_thread(has_begun.wait, 30)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    receiver.close()
    await writer.abort()
    assert connection.fileno() != -1
    goes_on.set()
    await store.close()
    assert connection.fileno() == -1
    assert open_files(tmp_path) == before
