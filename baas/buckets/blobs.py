"""Where bytes are kept: a store of blobs that are written once, under a key of their own, and never
change. What it offers is little, so that a local disk and every object store of the clouds fit.

Keys are `{project}/{content}/{part}`, all made here and never by a caller.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from baas.errors import DataLoss, Unavailable

STORE_KINDS = ("s3://", "gs://", "az://")  # what URLs of stores elsewhere begin with
CHUNK_BYTES = 512 * 1024  # in memory at a time, per request
READ_BYTES = 256 * 1024  # of a file, at a time; a download holds three of them

_URL = re.compile(r"[a-z0-9]+://\S+", re.ASCII)

Chunk: TypeAlias = bytes | bytearray  # which nobody changes any more
See: TypeAlias = Callable[[Chunk | memoryview], object]  # which keeps nothing of it


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """One blob as a listing shows it. Of an unfinished one `is_partial` is set: nobody can read it,
    and only its age tells whether somebody still writes it."""

    key: str
    size: int
    modified_microseconds: int
    is_partial: bool = False


class Receiver(Protocol):
    """Bytes on their way out of a socket that the event loop does not see. `begin` comes first,
    then `receive` until it gives False; `close` ends it at any time, and has to be called."""

    left: int
    """Bytes that are still to be taken out of the socket."""

    def begin(self, connection: socket.socket) -> None:
        """What to receive from, which does not block and is closed in the end."""
        ...

    async def receive(self) -> bool:
        """Takes what the socket has for now, and writes it. False: all has come. Raises
        ConnectionError where no more will come, Unavailable."""
        ...

    def close(self) -> None:
        """Never waits."""
        ...


class Inflow(Protocol):
    """What is still to come of a body, for who can take it out of the connection. One of the two is
    called, once."""

    size: int

    async def pour(self, receiver: Receiver) -> None:
        """Returns when `receiver` has all. Raises what it raises, and if the client is gone or
        stands still."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The ordinary way."""
        ...


Piece: TypeAlias = bytes | Inflow  # of a body; what is to come as a whole is the last one


class BlobWriter(Protocol):
    """One blob on its way. Either `finish` or `abort` is called, once, and last."""

    async def write(self, chunk: Chunk, see: See | None = None) -> None:
        """Takes the next bytes; waits while the store is slower than whoever sends. `see` gets them
        before they are written, in another thread."""
        ...

    def open_receiver(self, size: int, see: See | None) -> Receiver | None:
        """What takes the next `size` bytes out of a socket; `see` as of `write`. None if the store
        is no file of this machine."""
        ...

    async def finish(self) -> None:
        """Returns when the blob is durable and can be read."""
        ...

    async def abort(self) -> None:
        """Leaves nothing behind, as far as the store lets it. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """The bytes of one blob from `start` up to `end`."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Checksum:
    """What all bytes of a content are held against; `mismatch` makes the error, and tells the
    log."""

    sha256: str
    mismatch: Callable[[], DataLoss]


class Sender(Protocol):
    """Bytes on their way into a socket that this process does not see itself. `begin` comes first,
    then `send` until it gives False; `close` ends it at any time, and has to be called."""

    def begin(self, connection: socket.socket, head: bytes) -> None:
        """What to send into, which does not block and is closed in the end; what goes first."""
        ...

    async def send(self) -> bool:
        """Sends until the socket takes no more for now. False: all is sent. Raises DataLoss
        (`ObjectBytesMissing`, `ChecksumMismatch`), Unavailable, ConnectionError."""
        ...

    def close(self) -> None:
        """Never waits."""
        ...


class BlobStore(Protocol):
    """All of it raises Unavailable (`ObjectStoreUnavailable`, `ObjectStoreFull`) where the store
    does not do its part."""

    part_bytes_max: int
    """Larger contents are cut into several blobs."""

    async def open_writer(self, key: str) -> BlobWriter:
        """Of a key that was never used."""
        ...

    async def add(self, key: str, data: Chunk) -> None:
        """A whole small blob, of a key that was never used: what a writer does, at once."""
        ...

    def read(self, key: str, start: int, end: int, see: See | None = None) -> AsyncIterator[Chunk]:
        """The bytes from `start` up to `end`, in chunks. `see` gets each before it is given out, in
        their order, mostly in another thread. Raises DataLoss (`ObjectBytesMissing`) if there are
        not as many."""
        ...

    def read_at_once(self, key: str, start: int, end: int) -> bytes | None:
        """The same without waiting, of few bytes; None says nothing: they are not at hand."""
        ...

    def open_sender(self, stretches: Sequence[Stretch], checksum: Checksum | None) -> Sender | None:
        """Of one stretch behind the other; `checksum` if they are all of a content. None if they
        are not in files of this machine."""
        ...

    async def get(self, key: str) -> bytes | None:
        """All of a small blob; None if there is none."""
        ...

    async def find_size(self, key: str) -> int | None:
        """How many bytes a blob has; None if there is none."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """A small blob, as a whole; replaces what is there. Need not survive a power cut."""
        ...

    async def claim(self, identity: str) -> bool:
        """Whether the store is this installation's: marks one that is nobody's. What another one
        keeps in the same place must never be taken for orphans."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that exist; repeating it changes nothing."""
        ...

    async def delete_partial(self, key: str) -> None:
        """What is left of a blob that `list` shows as partial."""
        ...

    def list(self, prefix: str) -> AsyncIterator[list[BlobInfo]]:
        """All blobs below `{project}/` (or all, for ""), in batches, those of one content within
        one project next to each other or not, as the store has it."""
        ...

    async def check(self) -> None:
        """Raises unless the store can be reached and written to. At start."""
        ...

    async def close(self) -> None: ...


def bytes_missing(key: str) -> DataLoss:
    return DataLoss(f"the stored bytes `{key}` are missing or cut", reason="ObjectBytesMissing")


def store_unavailable(error: Exception) -> Unavailable:
    # Stores say much, and over many lines. Where they are, callers need not know.
    told = _URL.sub("its address", str(error).partition("\n")[0])[:300]
    return Unavailable(f"the object store fails: {told}", reason="ObjectStoreUnavailable")


def store_full(error: Exception) -> Unavailable:
    return Unavailable(f"the object store is full: {error}", reason="ObjectStoreFull")
