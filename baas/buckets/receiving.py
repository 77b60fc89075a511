"""Bytes on their way from a socket into a file, by threads that read the one and write the other:
the event loop sees none of them, and only a thread's one buffer holds them.

A thread never waits for a client: it goes on with another upload where the socket has nothing more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from baas.buckets.turns import TURN_BYTES, SocketTurns, thread_buffer


class SocketReceiver(SocketTurns):
    """A Receiver. `write` gets blocks that change once it returns; what it raises, `as_told` turns
    into what callers of the store know."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        size: int,
        write: Callable[[memoryview], None],
        as_told: Callable[[OSError], Exception],
    ) -> None:
        super().__init__(pool)
        self.left = size
        self._write = write
        self._as_told = as_told

    def begin(self, connection: socket.socket) -> None:
        self._socket = connection

    async def receive(self) -> bool:
        try:
            return await self._have_turn()
        except ConnectionError:
            raise
        except OSError as error:
            raise self._as_told(error) from error

    def _take_turn(self, connection: socket.socket) -> bool:
        stop = max(0, self.left - TURN_BYTES)
        with memoryview(thread_buffer()) as view:
            while self.left > stop and not self._is_over:
                wanted = min(len(view), self.left)
                count = _fill(connection, view[:wanted])
                if count:
                    self.left -= count  # whatever becomes of it: the socket has it no more
                    self._write(view[:count])
                if count < wanted:
                    break
        return self.left > 0


def _fill(connection: socket.socket, view: memoryview) -> int:
    """How many bytes the socket had. Raises ConnectionError where no more will come."""
    at = 0
    while at < len(view):
        try:
            count = connection.recv_into(view[at:])
        except BlockingIOError:
            break
        except OSError as error:
            raise ConnectionResetError(str(error)) from error
        if not count:
            raise ConnectionResetError("the client ended within the body")
        at += count
    return at
