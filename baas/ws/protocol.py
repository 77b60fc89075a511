"""Uvicorn's WebSocket protocol with bounds that it lacks: on the time of a handshake, on the number
of pieces of a message, and on the pongs that wait for a client that does not read."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

HANDSHAKE_SECONDS = 10.0
FRAMES_MAX = 1_024  # of one message; empty ones count against no size
_BAD_HANDSHAKE = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 21\r\n\r\n"
    b"The handshake is bad\n"
)


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.loop.call_later(HANDSHAKE_SECONDS, self._end_handshake)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # A request that is none for the library: it says nothing, and waits for the end.
            self.transport.write(_BAD_HANDSHAKE)
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAMES_MAX:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {FRAMES_MAX} frames")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "the message is not valid UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # Who asks for pongs and does not read them would fill the memory with them.
            self.transport.abort()

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def _end_handshake(self) -> None:
        if not self.handshake_initiated:
            self.transport.close()
