"""Bytes on their way in and out: written as they come, in constant memory, with their checksums
computed on the way; read from any range, and held against the checksum where all of them are read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import cast

import structlog

from baas.buckets.blobs import (
    CHUNK_BYTES,
    BlobStore,
    BlobWriter,
    Checksum,
    Chunk,
    Inflow,
    Piece,
    See,
    Sender,
    Stretch,
)
from baas.buckets.records import Part, StoredObject
from baas.clock import Clock, new_document_id
from baas.errors import BaasError, DataLoss, QuotaExceeded

HEAD_BYTES = 4_096  # kept for sniffing
READ_AT_ONCE_BYTES = 64 * 1024
HASHED_AT_ONCE_BYTES = 32 * 1024  # which takes no longer than a thread would
_log = structlog.get_logger("baas.buckets")


class Digests:
    """What is computed of bytes as they pass: size, SHA-256, how they begin, and MD5 if somebody
    asked for it: it takes more than twice as long as SHA-256."""

    __slots__ = ("_md5", "_sha256", "head", "size")

    def __init__(self, *, with_md5: bool = False) -> None:
        self.size = 0
        self.head = b""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None

    def update(self, chunk: Chunk | memoryview) -> None:
        if len(self.head) < HEAD_BYTES:
            self.head += bytes(chunk[: HEAD_BYTES - len(self.head)])
        self.size += len(chunk)
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        return None if self._md5 is None else self._md5.hexdigest()


class ContentWriter:
    """One content being written, part by part. `parts` are durable. `digests` None: they are not
    wanted here. The bytes of an unfinished part are lost with `abort`, all others stay."""

    def __init__(
        self,
        store: BlobStore,
        clock: Clock,
        project: str,
        content: str,
        digests: Digests | None,
    ) -> None:
        self.parts: list[Part] = []
        self._store = store
        self._clock = clock
        self._place = f"{project}/{content}/"
        self._digests = digests
        self._part = ""
        self._writer: BlobWriter | None = None
        self._written = 0  # of the part
        self._buffer: list[Chunk] = []
        self._buffered = 0

    @property
    def pending(self) -> int:
        """The bytes of the unfinished part."""
        return self._written + self._buffered

    async def write(self, chunk: Chunk) -> None:
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= CHUNK_BYTES:
            await self._flush()

    async def receive(self, inflow: Inflow) -> None:
        """All of it, out of its connection if the store can do that."""
        await self._flush()
        writer = await self._open()
        receiver = writer.open_receiver(inflow.size, self._see)
        if receiver is not None:
            await inflow.pour(receiver)
            self._written += inflow.size
            return
        async for chunk in inflow.chunks():
            await self.write(chunk)

    async def _open(self) -> BlobWriter:
        if self._writer is None:
            self._part = new_document_id(self._clock)
            self._writer = await self._store.open_writer(self._place + self._part)
        return self._writer

    @property
    def _see(self) -> See | None:
        return None if self._digests is None else self._digests.update

    def _take_buffer(self) -> Chunk:
        chunk = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        self._written += len(chunk)
        return chunk

    async def _add(self) -> None:
        """What is buffered is all there is."""
        self._part = new_document_id(self._clock)
        chunk = self._take_buffer()
        if self._digests is not None:
            if len(chunk) <= HASHED_AT_ONCE_BYTES:
                self._digests.update(chunk)
            else:
                await asyncio.to_thread(self._digests.update, chunk)
        await self._store.add(self._place + self._part, chunk)

    async def _flush(self) -> None:
        if not self._buffered:
            return
        writer = await self._open()
        await writer.write(self._take_buffer(), self._see)
        if self._written >= self._store.part_bytes_max - CHUNK_BYTES:
            await self.end_part()

    async def end_part(self) -> None:
        """Returns when all that was written is durable."""
        if self._writer is None:
            if not self._buffered:
                return
            await self._add()
        else:
            await self._flush()
            writer, self._writer = self._writer, None
            try:
                await writer.finish()
            except BaseException:
                await writer.abort()
                raise
        self.parts.append(Part(self._part, self._written))
        self._written = 0

    async def abort(self) -> None:
        """Drops what is unfinished. Never raises."""
        writer, self._writer = self._writer, None
        self._buffer, self._buffered, self._written = [], 0, 0
        if writer is not None:
            await writer.abort()


async def write_content(
    store: BlobStore,
    clock: Clock,
    project: str,
    content: str,
    pieces: AsyncIterator[Piece],
    *,
    with_md5: bool,
    bytes_max: int,
    on_part: Callable[[Sequence[Part]], Awaitable[None]],
) -> tuple[tuple[Part, ...], Digests]:
    """Writes all pieces durably. Whatever goes wrong, nothing stays but what the sweep finds.
    `on_part` is told of the parts so far, where more follow.

    Raises QuotaExceeded (`ObjectTooLarge`), Unavailable, and what `pieces` raises.
    """
    digests = Digests(with_md5=with_md5)
    writer = ContentWriter(store, clock, project, content, digests)
    received = 0
    try:
        async for piece in pieces:
            received += len(piece) if isinstance(piece, bytes) else piece.size
            if received > bytes_max:
                raise object_too_large(bytes_max)
            count = len(writer.parts)
            if isinstance(piece, bytes):
                await writer.write(piece)
            else:
                await writer.receive(piece)
            if len(writer.parts) > count:
                await on_part(writer.parts)
        await writer.end_part()
    except BaseException:
        await writer.abort()
        await discard(store, [f"{project}/{content}/{part.id}" for part in writer.parts])
        raise
    return tuple(writer.parts), digests


async def discard(store: BlobStore, keys: Sequence[str]) -> None:
    """Deletes what nothing refers to; where that fails, the sweep finds it later."""
    try:
        await store.delete(keys)
    except BaasError as error:
        _log.warning("bytes are left to the sweep", count=len(keys), error=str(error))


def part_keys(project: str, content: str, parts: Sequence[Part]) -> list[str]:
    return [f"{project}/{content}/{part.id}" for part in parts]


async def read_range(
    store: BlobStore,
    project: str,
    content: str,
    parts: Sequence[Part],
    start: int,
    end: int,
    see: See | None = None,
) -> AsyncGenerator[Chunk]:
    """The bytes from `start` up to `end`; `see` as the store's. To be read to the end, or
    closed."""
    at = 0
    for part in parts:
        first, last = max(start - at, 0), min(end - at, part.size)
        if first < last:
            key = f"{project}/{content}/{part.id}"
            reading = cast("AsyncGenerator[Chunk]", store.read(key, first, last, see))
            async with aclosing(reading) as chunks:
                async for chunk in chunks:
                    yield chunk
        at += part.size
        if at >= end:
            return


def read_at_once(
    store: BlobStore, project: str, stored: StoredObject, start: int, end: int
) -> bytes | None:
    """The bytes from `start` up to `end` if they are few and can be had without waiting; all of an
    object only if they are right. None says nothing."""
    if end - start > READ_AT_ONCE_BYTES or len(stored.parts) > 1:
        return None
    if start == end:
        return b""
    data = store.read_at_once(f"{project}/{stored.content}/{stored.parts[0].id}", start, end)
    if data is None or end - start < stored.size:
        return data
    return data if hashlib.sha256(data).hexdigest() == stored.sha256 else None


def open_sender(
    store: BlobStore, project: str, stored: StoredObject, start: int, end: int
) -> Sender | None:
    """Of the bytes from `start` up to `end`; all of an object are held against its checksum. None
    if the store has no such thing."""
    stretches = []
    at = 0
    for part in stored.parts:
        first, last = max(start - at, 0), min(end - at, part.size)
        if first < last:
            stretches.append(Stretch(f"{project}/{stored.content}/{part.id}", first, last))
        at += part.size
        if at >= end:
            break
    checksum = None
    if end - start == stored.size:
        checksum = Checksum(stored.sha256, partial(_mismatch, project, stored))
    return store.open_sender(stretches, checksum) if stretches else None


async def read_verified(
    store: BlobStore, project: str, stored: StoredObject
) -> AsyncGenerator[Chunk]:
    """All bytes of an object. The last chunk is held back until the checksum is right. Raises
    DataLoss (`ChecksumMismatch`), after all bytes but these."""
    digest = hashlib.sha256()
    held: Chunk = b""
    whole = (project, stored.content, stored.parts, 0, stored.size)
    chunks = read_range(store, *whole, digest.update)
    async with aclosing(chunks):
        async for chunk in chunks:
            if held:
                yield held
            held = chunk
    if digest.hexdigest() != stored.sha256:
        raise _mismatch(project, stored)
    if held:
        yield held


def _mismatch(project: str, stored: StoredObject) -> DataLoss:
    _log.error(
        "stored bytes are damaged",
        project=project,
        bucket=stored.bucket,
        object=stored.name,
        content=stored.content,
    )
    return DataLoss(
        f"the stored bytes of `{stored.name}` do not match their checksum",
        reason="ChecksumMismatch",
    )


def object_too_large(bytes_max: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"an object has at most {bytes_max} bytes",
        reason="ObjectTooLarge",
        details={"object_bytes_max": bytes_max},
    )
