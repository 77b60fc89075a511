"""Bytes on their way from a socket into a file, by threads that read the one and write the other:
the event loop sees none of them, and only a thread's one buffer holds them.

A thread never waits for a client: it goes on with another upload where the socket has nothing more.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

BLOCK_BYTES = 512 * 1024  # hashed and written at a time
TURN_BYTES = 8 * 1024 * 1024  # then other uploads get the thread
_kept = threading.local()


class SocketReceiver:
    """A Receiver. A thread that is just receiving when it is closed closes the socket itself.
    `write` gets blocks that change once it returns; what it raises, `as_told` turns into what
    callers of the store know."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        size: int,
        write: Callable[[memoryview], None],
        as_told: Callable[[OSError], Exception],
    ) -> None:
        self.left = size
        self._pool = pool
        self._write = write
        self._as_told = as_told
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._is_over = False

    def begin(self, connection: socket.socket) -> None:
        self._socket = connection

    async def receive(self) -> bool:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._receive)
        except ConnectionError:
            raise
        except OSError as error:
            raise self._as_told(error) from error

    def close(self) -> None:
        self._is_over = True
        if self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()

    def _release(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _receive(self) -> bool:
        with self._lock:
            try:
                if self._socket is None or self._is_over:
                    return False
                return self._take_turn(self._socket)
            finally:
                if self._is_over:
                    self._release()

    def _take_turn(self, connection: socket.socket) -> bool:
        stop = max(0, self.left - TURN_BYTES)
        with memoryview(_buffer()) as view:
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


def _buffer() -> bytearray:
    """Of this thread: a new one for each block would leave a heap of freed ones in each thread."""
    if not hasattr(_kept, "buffer"):
        _kept.buffer = bytearray(BLOCK_BYTES)
    buffer: bytearray = _kept.buffer
    return buffer
