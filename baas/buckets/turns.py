"""Threads that work at a socket behind the event loop's back, a turn at a time: none waits for a
client."""

from __future__ import annotations

import asyncio
import socket
import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

BUFFER_BYTES = 512 * 1024
TURN_BYTES = 8 * 1024 * 1024  # then others get the thread
_kept = threading.local()


class SocketTurns(ABC):
    """One transfer. A thread that is at its turn when it is closed closes what it uses itself."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._is_over = False

    @abstractmethod
    def _take_turn(self, connection: socket.socket) -> bool:
        """In a thread: does what the socket allows for now. Whether there is more to do."""

    async def _have_turn(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._take)

    def close(self) -> None:
        self._is_over = True
        if self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()

    def _take(self) -> bool:
        with self._lock:
            try:
                if self._socket is None or self._is_over:
                    return False
                return self._take_turn(self._socket)
            finally:
                if self._is_over:
                    self._release()

    def _release(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def thread_buffer() -> bytearray:
    """Of this thread: a new one for each block would leave a heap of freed ones in each thread."""
    if not hasattr(_kept, "buffer"):
        _kept.buffer = bytearray(BUFFER_BYTES)
    buffer: bytearray = _kept.buffer
    return buffer
