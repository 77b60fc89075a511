"""Short messages between the workers of one machine: datagrams over sockets that they all inherit.

Nothing waits: a worker whose inbox is full does not get the message. What must not be missed can be
looked up: who finds that many messages came at once is told to look (`on_crowded`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

MESSAGE_BYTES_MAX = 60_000
CROWDED = 5  # fewer than any system's queue of datagrams holds
_DRAINED_AT_ONCE = 1_000

Handler = Callable[[bytes], None]


class Inboxes:
    """One inbox for each worker. To be made before the workers part; one that is started again
    takes over the inbox of the one before."""

    def __init__(self, workers: int) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        self.receiving = [receiver for receiver, _ in pairs]
        self.sending = [sender for _, sender in pairs]
        for one in (*self.receiving, *self.sending):
            one.setblocking(False)

    def close(self) -> None:
        for one in (*self.receiving, *self.sending):
            one.close()


class Channel:
    """What one process sends to the others, and hears of them. `index` is the worker's; -1 for a
    process that hears nothing. A message has a kind of one byte, which has one handler."""

    def __init__(self, inboxes: Inboxes, index: int) -> None:
        self._inboxes = inboxes
        self._index = index
        self._others = [sender for place, sender in enumerate(inboxes.sending) if place != index]
        self._handlers: dict[int, Handler] = {}
        self._on_crowded: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def workers(self) -> int:
        return len(self._inboxes.sending)

    @property
    def index(self) -> int:
        return self._index

    def handle(self, kind: bytes, handler: Handler) -> None:
        """Calls `handler` on the event loop with each message of this kind."""
        self._handlers[kind[0]] = handler

    def on_crowded(self, look: Callable[[], None]) -> None:
        """Calls `look` when messages may have been lost."""
        self._on_crowded.append(look)

    def send(self, kind: bytes, message: bytes = b"") -> None:
        """To all others; to those whose inbox is full, it is lost. Does not wait."""
        data = kind + message
        if len(data) > MESSAGE_BYTES_MAX:
            return
        for sender in self._others:
            with contextlib.suppress(OSError):
                sender.send(data)

    def start(self) -> None:
        """Hears from now on. What came before is crowded: it is not known for whom it was."""
        self._loop = asyncio.get_running_loop()
        inbox = self._inboxes.receiving[self._index]
        self._loop.add_reader(inbox.fileno(), self._receive, inbox)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._inboxes.receiving[self._index].fileno())
            self._loop = None

    def _receive(self, inbox: socket.socket) -> None:
        count = 0
        while count < _DRAINED_AT_ONCE:
            try:
                data = inbox.recv(MESSAGE_BYTES_MAX)
            except OSError:
                break
            count += 1
            handler = self._handlers.get(data[0]) if data else None
            if handler is not None:
                handler(data[1:])
        if count >= CROWDED:
            for look in self._on_crowded:
                look()
