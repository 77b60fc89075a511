"""Bytes of local files on their way into a socket, straight from the memory in which the kernel
keeps them: none of them is copied, and none counts as memory of ours.

What is sent as a whole is held against its checksum on the way, block by block, and the last block
is held back until it is right. Where the very files were found to be right within the last minute
they are not read again: that would compare what the kernel has in its memory with itself.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from baas.buckets.blobs import Checksum, bytes_missing, store_unavailable
from baas.buckets.turns import TURN_BYTES, SocketTurns, thread_buffer
from baas.errors import DataLoss

BLOCK_BYTES = 256 * 1024
VERIFIED_SECONDS = 60.0
VERIFIED_MAX = 1_000  # contents
VERIFIED_PARTS_MAX = 100  # of one content, each of which is looked at anew
_Identity: TypeAlias = tuple[int, int, int, int]
_MORE_FOLLOWS = getattr(socket, "MSG_MORE", 0)


@dataclass(frozen=True, slots=True)
class FileStretch:
    """Bytes of one file, which is the blob of that key."""

    key: str
    path: str
    start: int
    end: int


class VerifiedFiles:
    """Contents whose bytes were right a short time ago, and the files that held them then. Used
    from many threads."""

    def __init__(self, monotonic_seconds: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_seconds = monotonic_seconds
        self._known: dict[str, tuple[float, tuple[_Identity, ...]]] = {}

    def has(self, stretches: Sequence[FileStretch]) -> bool:
        found = self._known.get(stretches[0].key)
        if found is None or found[0] < self._monotonic_seconds():
            return False
        try:
            return found[1] == _identify(stretches)
        except OSError:
            return False

    def add(self, stretches: Sequence[FileStretch], files: tuple[_Identity, ...]) -> None:
        if len(self._known) >= VERIFIED_MAX:
            self._known.clear()
        self._known[stretches[0].key] = self._monotonic_seconds() + VERIFIED_SECONDS, files


class FileSender(SocketTurns):
    """A Sender."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        stretches: Sequence[FileStretch],
        checksum: Checksum | None,
        verified: VerifiedFiles,
    ) -> None:
        super().__init__(pool)
        self._stretches = stretches
        self._checksum = checksum
        self._verified = verified
        self._sending = _Cursor(stretches)
        self._seeing = _Cursor(stretches)
        self._digest = hashlib.sha256()
        self._files: tuple[_Identity, ...] | None = None  # as they were before they were read
        self._cleared = 0  # bytes that may go out
        self._head = memoryview(b"")

    def begin(self, connection: socket.socket, head: bytes) -> None:
        self._socket = connection
        self._head = memoryview(head)

    async def send(self) -> bool:
        return await self._have_turn()

    def _release(self) -> None:
        self._sending.close()
        self._seeing.close()
        super()._release()

    def _take_turn(self, connection: socket.socket) -> bool:
        try:
            return self._push(connection)
        except BlockingIOError:
            return True
        except (ConnectionError, DataLoss):
            raise
        except OSError as error:
            raise store_unavailable(error) from error

    def _push(self, connection: socket.socket) -> bool:
        if self._files is None:
            self._look()
        while self._head:
            self._head = self._head[connection.send(self._head, _MORE_FOLLOWS) :]
        stop = self._sending.at + TURN_BYTES
        while self._sending.at < self._sending.size:
            if self._sending.at >= stop:
                return True
            while self._cleared <= self._sending.at:
                self._see()
            descriptor, offset, count = self._sending.find(min(self._cleared, stop))
            sent = os.sendfile(connection.fileno(), descriptor, offset, count)
            if not sent:
                raise bytes_missing(self._sending.key)
            self._sending.at += sent
        return False

    def _look(self) -> None:
        """Whether the bytes have to be held against their checksum."""
        checksum, stretches = self._checksum, self._stretches
        is_known = checksum is not None and self._verified.has(stretches)
        if checksum is None or is_known:
            self._files = ()
            self._cleared = self._sending.size
        else:
            try:
                self._files = _identify(stretches)
            except FileNotFoundError as error:
                raise bytes_missing(stretches[0].key) from error

    def _see(self) -> None:
        """Reads one more block; what is before the last one may go out."""
        descriptor, offset, count = self._seeing.find(self._seeing.at + BLOCK_BYTES)
        with memoryview(thread_buffer())[:count] as view:
            found = os.preadv(descriptor, [view], offset)
            self._digest.update(view[:found])
        if not found:
            raise bytes_missing(self._seeing.key)
        self._seeing.at += found
        if self._seeing.at < self._seeing.size:
            self._cleared = self._seeing.at
            return
        assert self._checksum is not None
        if self._digest.hexdigest() != self._checksum.sha256:
            raise self._checksum.mismatch()
        self._cleared = self._seeing.size
        self._seeing.close()
        if self._files:
            self._verified.add(self._stretches, self._files)


class _Cursor:
    """A place in the bytes of several stretches, and the file there."""

    def __init__(self, stretches: Sequence[FileStretch]) -> None:
        self.at = 0
        self.size = sum(one.end - one.start for one in stretches)
        self.key = ""
        self._ahead = list(reversed(stretches))
        self._here: FileStretch | None = None
        self._begin = self._end = 0  # of the stretch here, among all bytes
        self._descriptor = -1

    def find(self, stop: int) -> tuple[int, int, int]:
        """(file, offset within it, bytes up to `stop` or its end) here. Raises DataLoss
        (`ObjectBytesMissing`)."""
        while self._here is None or self.at >= self._end:
            self._go_on()
        offset = self._here.start + self.at - self._begin
        return self._descriptor, offset, min(stop, self._end) - self.at

    def _go_on(self) -> None:
        self.close()
        self._here = here = self._ahead.pop()
        self.key = here.key
        self._begin, self._end = self._end, self._end + here.end - here.start
        try:
            self._descriptor = os.open(here.path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise bytes_missing(here.key) from error

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _identify(stretches: Sequence[FileStretch]) -> tuple[_Identity, ...]:
    """What changes with the files, unless somebody takes pains; empty where they are too many."""
    if len(stretches) > VERIFIED_PARTS_MAX:
        return ()
    found = []
    for one in stretches:
        status = os.stat(one.path)
        found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)
