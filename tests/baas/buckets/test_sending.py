"""Bytes that go from files into a socket: whole, right, and from no other file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baas.buckets import sending
from baas.buckets.blobs import Checksum, Sender, Stretch
from baas.buckets.local_blobs import LocalBlobs
from baas.errors import DataLoss
from tests.open_files import open_files

BYTES = os.urandom(1_000_000)
ONE = "demo/contentcontent/1"
OTHER = "demo/contentcontent/2"


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalBlobs]:
    made = LocalBlobs(tmp_path / "objects", synced=False)
    await made.add(ONE, BYTES)
    await made.add(OTHER, BYTES[:300_000])
    yield made
    await made.close()


def checksum(data: bytes) -> Checksum:
    return Checksum(hashlib.sha256(data).hexdigest(), lambda: DataLoss("wrong", reason="Wrong"))


def open_sender(
    store: LocalBlobs, stretches: Sequence[Stretch], check: Checksum | None = None
) -> Sender:
    sender = store.open_sender(stretches, check)
    assert sender is not None
    return sender


async def received(sender: Sender, head: bytes = b"") -> bytes:
    """What a reader gets, and then what the sender says if it fails."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    sender.begin(ours, head)
    found = bytearray()

    async def read() -> None:
        while data := await loop.sock_recv(theirs, 65_536):
            found.extend(data)

    async def send() -> str:
        try:
            while await sender.send():
                pass
        except DataLoss as error:
            return error.message
        finally:
            sender.close()
        return ""

    said, _ = await asyncio.gather(send(), read())
    theirs.close()
    return bytes(found) + said.encode()


async def test_head_and_bytes_of_several_blobs_come_in_their_order(store: LocalBlobs) -> None:
    stretches = [Stretch(ONE, 0, 1_000_000), Stretch(OTHER, 0, 300_000)]
    whole = BYTES + BYTES[:300_000]
    assert (
        await received(open_sender(store, stretches, checksum(whole)), b"head") == b"head" + whole
    )
    stretches = [Stretch(ONE, 999_999, 1_000_000), Stretch(OTHER, 5, 7)]
    assert await received(open_sender(store, stretches)) == BYTES[-1:] + BYTES[5:7]


async def test_what_is_not_right_is_not_sent_to_its_end(store: LocalBlobs) -> None:
    stretches = [Stretch(ONE, 0, 1_000_000)]
    found = await received(open_sender(store, stretches, checksum(b"other")))
    assert found.endswith(b"wrong")
    assert len(BYTES) - sending.BLOCK_BYTES <= len(found) < len(BYTES)


async def test_what_was_right_is_read_again_only_if_it_was_touched_or_after_a_while(
    store: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read_really = os.preadv

    def preadv(*arguments: Any) -> int:
        reads.append(1)
        return read_really(*arguments)

    monkeypatch.setattr(os, "preadv", preadv)
    now = 0.0
    store._verified = sending.VerifiedFiles(lambda: now)
    stretches, check = [Stretch(ONE, 0, 1_000_000)], checksum(BYTES)
    for wanted in (4, 4):
        assert await received(open_sender(store, stretches, check)) == BYTES
        assert len(reads) == wanted
    now = sending.VERIFIED_SECONDS + 1
    assert await received(open_sender(store, stretches, check)) == BYTES
    assert len(reads) == 8
    touched = store._path(ONE).stat().st_ctime_ns
    while store._path(ONE).stat().st_ctime_ns == touched:  # that clock has steps of milliseconds
        with store._path(ONE).open("r+b") as file:
            file.seek(500_000)
            file.write(b"damage")
    assert (await received(open_sender(store, stretches, check))).endswith(b"wrong")


@pytest.mark.parametrize("is_checked", [True, False])
async def test_missing_bytes_are_data_loss(store: LocalBlobs, is_checked: bool) -> None:
    check = checksum(BYTES) if is_checked else None
    os.truncate(store._path(ONE), 999_999)
    found = await received(open_sender(store, [Stretch(ONE, 0, 1_000_000)], check))
    assert found.endswith(b"missing or cut")
    store._path(ONE).unlink()
    found = await received(open_sender(store, [Stretch(ONE, 0, 1_000_000)], check))
    assert found == f"the stored bytes `{ONE}` are missing or cut".encode()


async def test_who_reads_nothing_holds_no_thread(store: LocalBlobs) -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    senders = []
    for ours, _ in pairs:
        ours.setblocking(False)
        sender = open_sender(store, [Stretch(ONE, 0, 1_000_000)])
        sender.begin(ours, b"")
        senders.append(sender)
    assert all(await asyncio.gather(*(sender.send() for sender in senders)))
    assert await store.get(OTHER) is not None
    for sender in senders:
        sender.close()
    for ours, theirs in pairs:
        assert ours.fileno() == -1
        theirs.close()


async def test_a_sender_that_is_closed_while_its_thread_sends_closes_everything_after_it(
    store: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, goes_on = threading.Event(), threading.Event()
    send_really = os.sendfile

    def sendfile(*arguments: Any) -> int:
        has_begun.set()
        goes_on.wait(30)
        return send_really(*arguments)

    monkeypatch.setattr(os, "sendfile", sendfile)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    before = open_files(tmp_path)
    sender = open_sender(store, [Stretch(ONE, 0, 1_000_000)])
    sender.begin(ours, b"")
    sending_task = asyncio.create_task(sender.send())
    assert await asyncio.to_thread(has_begun.wait, 30)
    sending_task.cancel()
    with suppress(asyncio.CancelledError):
        await sending_task
    sender.close()
    assert ours.fileno() != -1
    goes_on.set()
    await store.close()
    assert ours.fileno() == -1
    assert open_files(tmp_path) == before
    theirs.close()


async def test_few_bytes_are_had_at_once(store: LocalBlobs) -> None:
    assert store.read_at_once(ONE, 5, 10) in (BYTES[5:10], None)  # None: not in memory
    assert store.read_at_once(ONE, 999_990, 1_000_001) is None
    assert store.read_at_once("demo/nothingnothing/1", 0, 1) is None
