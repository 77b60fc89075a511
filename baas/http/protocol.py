"""Uvicorn's HTTP protocol with bounds that it lacks: on the size of a request's head, and on the
time that a client may take for one.

Without them a client that sends headers without end fills the memory, and one that sends half a
head, or nothing at all, holds its connection for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from baas.http.extensions import EXCHANGE, Header

HEAD_BYTES_MAX = 32 * 1024  # request line and headers; the largest token is 8 KiB
HEAD_SECONDS = 20.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 34\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"The head of the request is too big"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A head that is too large is answered with 431; a client that takes longer
    than HEAD_SECONDS for a head, or for a body that nobody reads any more, is cut off."""

    _chunk_bytes = 0
    _is_in_head = False
    _head_bytes = 0  # of an incomplete head, without what came together with an earlier request
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = len(data)
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head:
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self._refuse_head()
            self._start_timer()
        elif self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._start_timer()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # Only what came in many bytes can be too large, so most heads are not measured.
        if self._head_bytes > HEAD_BYTES_MAX or self._chunk_bytes > HEAD_BYTES_MAX:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                self._refuse_head()
                raise ValueError("the head is too large")
        self._is_in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        super().on_headers_complete()
        if self.cycle is not None:
            # The cycle's task has not run yet, so the application finds it.
            extensions = cast(dict[str, object], self.scope)
            extensions[EXCHANGE] = _Exchange(self.cycle)

    def on_message_complete(self) -> None:
        if self._head_timer is not None:
            self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        self._head_timer = None
        self.transport.close()


class _Exchange:
    """See `extensions`. Uvicorn writes the parts of an answer one by one: for a small one a third
    of its time.

    The scope leads here, and the cycle to the scope: once the answer is out the way back is cut,
    or every request would be left to the cyclic collector.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle: RequestResponseCycle | None = cycle

    def take_body(self) -> bytes | None:
        cycle = self._cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        cycle.flow.resume_reading()
        body = bytes(cycle.body)
        cycle.body = bytearray()
        return body

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        cycle = self._cycle
        if cycle is None or cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        head = b"".join((STATUS_LINE[status], *lines))
        if head.count(b"\n") != 1 + len(lines):
            raise RuntimeError("a header holds a line break")
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.transport.write(b"%b%b%b" % (head, end, body))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        self._cycle = None
        return True
