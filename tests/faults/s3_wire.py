"""A way to a real S3 server on which answers come late, half, wrong, or not at all: an HTTP proxy
that takes whole requests, and does with the answer to some of them what the test has told it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

HEAD_BYTES_MAX = 64 * 1024
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>later</Message></Error>"


class Fault(Enum):
    """What becomes of one request. But for the first three, the server has done what it was asked
    before."""

    SLOW_DOWN = "503, and the server was not asked"
    ERROR = "500, and the server was not asked"
    UNASKED = "the request is swallowed, and nothing is answered"
    LATE = "nothing is answered"
    LOST = "the connection is reset in place of an answer"
    HALF_RESET = "the head of the answer and half of its body, then a reset"
    HALF_SILENT = "the head of the answer and half of its body, then nothing"
    SHORT = "half of the body, and a head that says that this is all"


@dataclass
class _Order:
    fault: Fault
    method: str
    part: str  # of the target
    after: int  # requests that get past it before
    left: int  # requests that meet it then


@dataclass(frozen=True)
class Seen:
    """One request, as it came; `fault`: what it met."""

    method: str
    target: str
    fault: Fault | None


class S3Wire:
    """A port of loopback that leads to an S3 server. Lives on one event loop."""

    def __init__(self, port: int) -> None:
        self.seen: list[Seen] = []
        self._target = port
        self._orders: list[_Order] = []
        self._handling: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> S3Wire:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=HEAD_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)
        for task in tuple(self._handling):
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    def hurt(
        self, fault: Fault, method: str, part: str = "", *, after: int = 0, times: int = 1_000_000
    ) -> None:
        """So many of the requests to come meet it, of a method, with `part` in their target; not
        the first ones, as `after` says."""
        self._orders.append(_Order(fault, method, part, after, times))

    def heal(self) -> None:
        self._orders.clear()

    @property
    def is_done_with(self) -> bool:
        """Nobody will meet anything any more."""
        return not any(order.left for order in self._orders)

    def count(self, method: str, fault: Fault | None = None) -> int:
        return sum(one.method == method and one.fault is fault for one in self.seen)

    # Connections ----------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                while await self._answer(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # closed
        finally:
            self._handling.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request, and what becomes of it; whether the connection can take another one."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target = head.split(b" ", 2)[:2]
        body = await reader.readexactly(_length(head))
        fault = self._take(method.decode(), target.decode())
        if fault in (Fault.SLOW_DOWN, Fault.ERROR):
            code = b"503 Slow Down" if fault is Fault.SLOW_DOWN else b"500 Internal Server Error"
            told = b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n" % (code, len(_SLOW_DOWN))
            writer.write(told if method == b"HEAD" else told + _SLOW_DOWN)
            await writer.drain()
            return True
        if fault is Fault.UNASKED:
            await reader.read()  # until the client gives up
            return False
        answer = await self._ask(head, body)
        if fault is Fault.LATE:
            await reader.read()
            return False
        if fault is Fault.LOST:
            return False
        if fault is None:
            writer.write(answer)
            await _close(writer)  # as the answer says
            return False
        await self._tell_half(answer, fault, reader, writer)
        return False

    async def _tell_half(
        self,
        answer: bytes,
        fault: Fault,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        half = body[: len(body) // 2]
        if fault is Fault.SHORT:
            says = b"content-length: %d" % len(half)
            head = re.sub(rb"(?i)content-length: *\d+", says, head)
        writer.write(head + b"\r\n\r\n" + half)
        await writer.drain()
        if fault is Fault.HALF_SILENT:
            await reader.read()
        if fault is Fault.SHORT:
            await _close(writer)

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """The server's whole answer, after which it closes the connection."""
        line, _, rest = head.partition(b"\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            writer.write(line + b"\r\nconnection: close\r\n" + rest + body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.transport.abort()

    def _take(self, method: str, target: str) -> Fault | None:
        fault = None
        for order in self._orders:
            if not (order.left and order.method == method and order.part in target):
                continue
            if order.after:
                order.after -= 1
            else:
                order.left -= 1
                fault = order.fault
            break
        self.seen.append(Seen(method, target, fault))
        return fault


async def _close(writer: asyncio.StreamWriter) -> None:
    """After all that was written is sent."""
    writer.close()
    await writer.wait_closed()


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found.group(1)) if found else 0


def through(wire: S3Wire, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of clients that go this way."""
    return {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.port}"}
