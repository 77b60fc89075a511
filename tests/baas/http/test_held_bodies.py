"""Bodies that go past the event loop, on a connection whose parser does not see them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from baas.errors import BaasError, Unavailable
from baas.http.exchange import Exchange, in_task
from tests.baas.conftest import Pair
from tests.baas.http.test_connection import GET, Connection
from tests.waiting import until

SIZE = 1_000
HEAD = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % SIZE


class Taker:
    """A receiver that takes what there is, and fails or waits as the test says."""

    def __init__(self, left: int, fails_at: int = -1) -> None:
        self.left = left
        self.taken = b""
        self.is_closed = False
        self._fails_at = fails_at

    def begin(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.setblocking(False)

    async def receive(self) -> bool:
        try:
            got = self._connection.recv(self.left)
        except BlockingIOError:
            return True
        if not got:
            raise ConnectionResetError
        self.taken += got
        self.left -= len(got)
        if 0 <= self._fails_at <= len(self.taken):
            raise Unavailable("full", reason="ObjectStoreFull")
        return self.left > 0

    def close(self) -> None:
        self.is_closed = True
        self._connection.close()


class Upload:
    """A connection whose application takes the bodies of uploads so."""

    def __init__(self, ours: socket.socket, **taker: Any) -> None:
        self.taken = b""
        self.takers: list[Taker] = []
        self.failures: list[BaseException] = []
        self.stall_seconds = 60.0
        self._taker = taker
        self.connection = Connection(self._handle)
        self.connection.transport.extra["socket"] = ours

    async def _handle(self, exchange: Exchange) -> None:
        await in_task()
        held = exchange.hold_body(SIZE)
        if held is None:
            return
        arrived, left = held
        taker = Taker(left, **self._taker)
        self.takers.append(taker)
        try:
            await exchange.receive_into(taker, stall_seconds=self.stall_seconds)
        except (BaasError, OSError) as error:
            self.failures.append(error)
            if isinstance(error, ConnectionError):
                raise
        finally:
            self.taken += arrived + taker.taken

    async def answers(self, count: int) -> bytes:
        """All that was written, once it is so many answers."""
        await until(lambda: self._written().count(b"\r\n\r\ndone") == count)
        return self._written()

    def _written(self) -> bytes:
        return b"".join(self.connection.transport.written)

    async def begun(self) -> None:
        await until(lambda: bool(self.takers))


async def test_the_body_is_taken_and_the_next_request_is_read(pair: Pair) -> None:
    ours, theirs = pair
    upload = Upload(ours)
    for number in (1, 2):
        await upload.connection.feed(HEAD + b"\r\n" + b"a" * 300)
        theirs.sendall(b"b" * 700)
        await upload.answers(2 * number - 1)
        await upload.connection.feed(GET)
        await upload.answers(2 * number)
    assert upload.taken == (b"a" * 300 + b"b" * 700) * 2
    assert all(taker.is_closed for taker in upload.takers)
    assert not upload.connection.transport.aborted


async def test_a_client_that_waits_is_told_to_go_on(pair: Pair) -> None:
    ours, theirs = pair
    upload = Upload(ours)
    await upload.connection.feed(HEAD + b"Expect: 100-continue\r\n\r\n")
    await upload.begun()
    theirs.sendall(b"b" * SIZE)
    assert (await upload.answers(1)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_after_a_failure_the_rest_is_passed_over_and_the_next_request_is_read(
    pair: Pair,
) -> None:
    ours, theirs = pair
    upload = Upload(ours, fails_at=400)
    await upload.connection.feed(HEAD + b"\r\n" + b"a" * 100)
    theirs.sendall(b"b" * 500)
    await upload.answers(1)
    assert upload.takers[0].left == 400
    # What the event loop reads from here on; the end of the body is nobody's request.
    await upload.connection.feed(b"GET /smuggled HTTP/1.1\r\n\r\n".ljust(399, b"c"))
    await upload.connection.feed(b"c" + GET + GET)
    written = await upload.answers(3)
    assert written.count(b"HTTP/1.1 200") == 3
    assert len(upload.connection.exchanges) == 3
    assert [one.path for one in upload.connection.exchanges] == ["/a"] * 3
    (error,) = upload.failures
    assert isinstance(error, Unavailable)


async def test_one_that_stands_still_is_told(pair: Pair) -> None:
    upload = Upload(pair[0])
    upload.stall_seconds = 0.01
    await upload.connection.feed(HEAD + b"\r\n")
    await upload.answers(1)
    assert isinstance(upload.failures[0], TimeoutError)
    assert upload.takers[0].is_closed


async def _ends(upload: Upload, theirs: socket.socket) -> None:
    theirs.close()


async def _is_lost(upload: Upload, theirs: socket.socket) -> None:
    upload.connection.protocol.connection_lost(None)


@pytest.mark.parametrize("end", [_ends, _is_lost])
async def test_a_client_that_is_gone_ends_it(
    pair: Pair, end: Callable[[Upload, socket.socket], Awaitable[None]]
) -> None:
    ours, theirs = pair
    upload = Upload(ours)
    await upload.connection.feed(HEAD + b"\r\n")
    await upload.begun()
    await end(upload, theirs)
    await until(lambda: bool(upload.failures))
    assert isinstance(upload.failures[0], ConnectionError)
    assert upload.takers[0].is_closed
    assert upload.connection.transport.aborted


async def test_a_task_that_is_cancelled_cuts_the_connection(pair: Pair) -> None:
    upload = Upload(pair[0])
    await upload.connection.feed(HEAD + b"\r\n")
    await upload.begun()
    for task in upload.connection.state.tasks:
        task.cancel()
    await until(lambda: upload.takers[0].is_closed)
    assert upload.connection.transport.aborted


@pytest.mark.parametrize(
    ("head", "extra"),
    [
        (b"Content-Length: 999\r\n", {}),
        (b"Transfer-Encoding: chunked\r\n", {}),
        (b"Content-Length: 1000\r\n", {"sslcontext": object()}),
        (b"Content-Length: 1000\r\n", {"socket": None}),
    ],
)
async def test_other_bodies_are_not_held(pair: Pair, head: bytes, extra: dict[str, Any]) -> None:
    upload = Upload(pair[0])
    upload.connection.transport.extra.update(extra)
    await upload.connection.feed(b"PUT /a HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    await upload.answers(1)
    assert upload.takers == []


async def test_a_body_that_is_whole_is_not_held(pair: Pair) -> None:
    upload = Upload(pair[0])
    await upload.connection.feed(HEAD + b"\r\n" + b"a" * SIZE)
    await asyncio.wait_for(upload.answers(1), 30)
    assert upload.takers == []
