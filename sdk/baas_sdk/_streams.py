"""Objects as files that are read and written bit by bit."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from baas_sdk import _objects, _transfers
from baas_sdk._moving import AsyncMover, SyncMover
from baas_sdk._objects import ObjectInfo
from baas_sdk._transfers import Target, Upload, Wanted, Wish
from baas_sdk.errors import InvalidArgument, SdkError

READ_AHEAD_BYTES = 256 * 1024
Stored = Callable[[ObjectInfo], object]


class _Position:
    """Where a reader stands, and which request serves it from there."""

    def __init__(self, wish: Wish, info: ObjectInfo) -> None:
        self._wish = wish
        self.size = info.size
        self.etag = info.etag
        self.at = 0

    def wish(self) -> Wish:
        wanted = Wanted(etag=self.etag)  # bytes of one generation, whatever happens meanwhile
        return replace(self._wish, start=self.at, wanted=wanted)

    def seek(self, offset: int, whence: int) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise InvalidArgument(f"there is no position {offset} from {whence}")
        self.at = base + offset
        return self.at


class _RawReader(io.RawIOBase):
    """Reads by ranges; what follows on what was read comes out of the same answer."""

    def __init__(self, mover: SyncMover, position: _Position, timeout: float | None) -> None:
        self._mover = mover
        self._position = position
        self._timeout = timeout
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        before = self._position.at
        if self._position.seek(offset, whence) != before:
            self._drop()
        return self._position.at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._position.at >= self._position.size or not view:
            return 0
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._position.at += count
        return count

    def close(self) -> None:
        self._drop()
        super().close()

    def _next(self) -> bytes:
        if self._pieces is None:
            flow = _transfers.download(self._position.wish(), self._mover.policy)
            self._pieces = self._mover.pieces(flow, timeout=self._timeout)
        return next(self._pieces, b"")

    def _drop(self) -> None:
        pieces, self._pieces, self._rest = self._pieces, None, memoryview(b"")
        if pieces is not None:
            pieces.close()  # type: ignore[attr-defined]  # a generator


class BlobReader(io.BufferedReader):
    """An object opened to read: a seekable binary file, of one generation."""

    def __init__(
        self, mover: SyncMover, wish: Wish, info: ObjectInfo, timeout: float | None
    ) -> None:
        super().__init__(_RawReader(mover, _Position(wish, info), timeout), READ_AHEAD_BYTES)


class BlobWriter(io.BufferedIOBase):
    """An object opened to write: it comes into being when this is closed. `cancel`, or leaving a
    `with` by an exception, makes none; nor does one that is never closed."""

    def __init__(
        self,
        mover: SyncMover,
        target: Target,
        stored: Stored,
        size: int | None,
        timeout: float | None,
    ) -> None:
        self._mover = mover
        self._stored = stored
        self._timeout = timeout
        self._work = _Written(target, size)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._work.position

    def write(self, data: Any, /) -> int:
        self._checkClosed()
        size = self._work.add(data)
        for flow in self._work.full_chunks():
            self._mover.run(flow, timeout=self._timeout)
        return size

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        self._stored(self._mover.run(self._work.last(), timeout=self._timeout))

    def cancel(self) -> None:
        """Makes no object of what was written."""
        if not self.closed:
            super().close()
            with suppress(SdkError):
                self._mover.run(self._work.give_up(), timeout=self._timeout)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def __del__(self) -> None:
        pass  # io's own would close it: half of an object, made whenever memory is tidied up


class AsyncBlobReader:
    """An object opened to read, of one generation."""

    def __init__(
        self, mover: AsyncMover, wish: Wish, info: ObjectInfo, timeout: float | None
    ) -> None:
        self._mover = mover
        self._position = _Position(wish, info)
        self._timeout = timeout
        self._pieces: AsyncIterator[bytes] | None = None
        self._rest = memoryview(b"")

    async def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end; without a size, all that follow."""
        left = max(0, self._position.size - self._position.at)
        missing = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while missing:
            if not self._rest:
                self._rest = memoryview(await self._next())
            if not self._rest:
                break
            parts.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(parts[-1])
            self._position.at += len(parts[-1])
        return b"".join(parts)

    def tell(self) -> int:
        return self._position.at

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes on reading from another position."""
        before = self._position.at
        if self._position.seek(offset, whence) != before:
            await self.close()
        return self._position.at

    async def close(self) -> None:
        """Gives up the request under way."""
        pieces, self._pieces, self._rest = self._pieces, None, memoryview(b"")
        if pieces is not None:
            await pieces.aclose()  # type: ignore[attr-defined]  # a generator

    async def __aenter__(self) -> AsyncBlobReader:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncBlobReader:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read(READ_AHEAD_BYTES)
        if not data:
            raise StopAsyncIteration
        return data

    async def _next(self) -> bytes:
        if self._pieces is None:
            flow = _transfers.download(self._position.wish(), self._mover.policy)
            self._pieces = self._mover.pieces(flow, timeout=self._timeout)
        return await anext(self._pieces, b"")


class AsyncBlobWriter:
    """An object opened to write: it comes into being when this is closed. `cancel`, or leaving an
    `async with` by an exception, makes none; nor does one that is never closed."""

    def __init__(
        self,
        mover: AsyncMover,
        target: Target,
        stored: Stored,
        size: int | None,
        timeout: float | None,
    ) -> None:
        self._mover = mover
        self._stored = stored
        self._timeout = timeout
        self._work = _Written(target, size)
        self.closed = False

    def tell(self) -> int:
        return self._work.position

    async def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        size = self._work.add(data)
        for flow in self._work.full_chunks():
            await self._mover.run(flow, timeout=self._timeout)
        return size

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._stored(await self._mover.run(self._work.last(), timeout=self._timeout))

    async def cancel(self) -> None:
        """Makes no object of what was written."""
        if not self.closed:
            self.closed = True
            with suppress(SdkError):
                await self._mover.run(self._work.give_up(), timeout=self._timeout)

    async def __aenter__(self) -> AsyncBlobWriter:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            await self.close()
        else:
            await self.cancel()


class _Written:
    """What was written and is not sent yet: less than a chunk, between two writes."""

    def __init__(self, target: Target, size: int | None) -> None:
        self._upload = Upload(target, size)
        self._size = size
        self._target = target
        self._held = bytearray()
        self.position = 0

    def add(self, data: Any) -> int:
        if isinstance(data, str):
            raise InvalidArgument("a binary file is written bytes, not a string")
        size = memoryview(data).nbytes
        self._held += data
        self.position += size
        return size

    def full_chunks(self) -> Iterator[_transfers.Flow[None]]:
        """The flows that send what is more than a chunk. The last chunk is kept: if it is the only
        one, it goes in one request."""
        size = self._target.chunk_bytes
        while len(self._held) > size:
            yield self._send(bytes(self._held[:size]))

    def _send(self, data: bytes) -> _transfers.Flow[None]:
        if self._upload.id is None:
            yield from self._upload.begin()
        self._upload.digest.update(data)
        del self._held[: len(data)]
        yield from self._upload.append(data)

    def last(self) -> _transfers.Flow[ObjectInfo]:
        _transfers.check_whole(self.position, self._size)
        rest = bytes(self._held)
        if self._upload.id is not None:
            yield from self._send(rest)
            return (yield from self._upload.finish())
        self._upload.digest.update(rest)
        return (yield from self._upload.put(rest))

    def give_up(self) -> _transfers.Flow[None]:
        if self._upload.id is not None:
            call = _objects.cancel_upload(self._target.home, self._upload.id)
            yield _transfers.Send(call)
