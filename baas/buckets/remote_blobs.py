"""Blobs in an object store of the clouds, through obstore: S3 and what speaks like it; Google's and
Azure's by their own URLs. Addresses and credentials are the environment's (`AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID`, …), as obstore reads them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from baas.buckets.blobs import (
    STORE_KINDS,
    BlobInfo,
    Checksum,
    Chunk,
    Receiver,
    See,
    Sender,
    Stretch,
    bytes_missing,
    store_unavailable,
)
from baas.errors import InvalidArgument, Unavailable

PIECE_BYTES = 8 * 1024 * 1024  # of a multipart upload; two are in memory per writer
READ_BYTES = 4 * 1024 * 1024  # fetched at a time; two are in memory per reader
REQUEST_SECONDS = 60  # with its answer, whatever there is of either
REPEATS_MAX, REPEAT_SECONDS = 5, 30  # a request that failed is made again, so often, so long
_ANSWERS_MAX = 2  # to one question, if the first is cut short; what fails is repeated by obstore
_NO_RANGE = "416 Range Not Satisfiable"  # what is empty has none
_OWNER = ".owner"
_ALLOW_HTTP = {"s3://": "AWS_ALLOW_HTTP", "gs://": "GOOGLE_ALLOW_HTTP", "az://": "AZURE_ALLOW_HTTP"}


class RemoteBlobs:
    """A BlobStore. A read is a row of small ranged ones, so that a slow reader holds no connection
    to the store, and a fault costs one piece."""

    part_bytes_max = 4 * 1024 * 1024 * 1024

    def __init__(self, url: str) -> None:
        if not url.startswith(STORE_KINDS):
            raise InvalidArgument(
                f"`objects` is `{url}`; it takes `local` or a URL such as `s3://bucket/prefix`",
                reason="InvalidSettings",
            )
        options: Any = {"timeout": f"{REQUEST_SECONDS}s", "connect_timeout": "10s"}
        # Options that are given hide this one of the environment's.
        if os.environ.get(_ALLOW_HTTP[url[:5]], "").lower() in ("1", "true"):
            options["allow_http"] = True
        retries: Any = {
            "max_retries": REPEATS_MAX,
            "retry_timeout": timedelta(seconds=REPEAT_SECONDS),
        }
        try:
            self._store: ObjectStore = from_url(url, client_options=options, retry_config=retries)
        except (BaseError, ValueError) as error:
            raise InvalidArgument(
                f"`objects` is `{url}`, which cannot be opened: {error}", reason="InvalidSettings"
            ) from error

    async def check(self) -> None:
        """One small object, written and deleted."""
        try:
            await obstore.put_async(self._store, ".check", b"baas")
            await obstore.delete_async(self._store, ".check")
        except (BaseError, OSError) as error:
            raise store_unavailable(error) from error

    async def open_writer(self, key: str) -> RemoteWriter:
        return RemoteWriter(self._store, key)

    async def add(self, key: str, data: Chunk) -> None:
        await self.put(key, data)

    async def read(
        self, key: str, start: int, end: int, see: See | None = None
    ) -> AsyncIterator[Chunk]:
        fetching = asyncio.ensure_future(self._fetch(key, start, min(start + READ_BYTES, end)))
        try:
            while start < end:
                chunk = await fetching
                start += len(chunk)
                if start < end:
                    stop = min(start + READ_BYTES, end)
                    fetching = asyncio.ensure_future(self._fetch(key, start, stop))
                if see is not None:
                    await asyncio.to_thread(see, chunk)
                yield chunk
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _fetch(self, key: str, start: int, end: int) -> bytes:
        """Raises DataLoss only of a blob that is shorter, not where its answers are."""
        if start >= end:
            return b""
        for _ in range(_ANSWERS_MAX):
            try:
                found = bytes(await obstore.get_range_async(self._store, key, start=start, end=end))
            except (NotFoundError, FileNotFoundError) as error:
                raise bytes_missing(key) from error
            except (BaseError, OSError) as error:
                raise store_unavailable(error) from error
            if len(found) == end - start:
                return found
            size = await self.find_size(key)
            if size is None or size < end:
                raise bytes_missing(key)
        raise _cut_short()

    def read_at_once(self, key: str, start: int, end: int) -> bytes | None:
        return None

    def open_sender(self, stretches: Sequence[Stretch], checksum: Checksum | None) -> Sender | None:
        return None

    async def get(self, key: str) -> bytes | None:
        for _ in range(_ANSWERS_MAX):
            try:
                # A range is answered with the size of all, beside that of the answer.
                answer = await obstore.get_async(self._store, key, options={"range": {"offset": 0}})
                found = bytes(await answer.bytes_async())
            except (NotFoundError, FileNotFoundError):
                return None
            except (BaseError, OSError) as error:
                if _NO_RANGE in str(error) and await self.find_size(key) == 0:
                    return b""
                raise store_unavailable(error) from error
            if len(found) == answer.meta["size"]:
                return found
        raise _cut_short()

    async def find_size(self, key: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise store_unavailable(error) from error

    async def put(self, key: str, data: Chunk) -> None:
        try:
            await obstore.put_async(self._store, key, data, use_multipart=False)
        except (BaseError, OSError) as error:
            raise store_unavailable(error) from error

    async def claim(self, identity: str) -> bool:
        found = await self.get(_OWNER)
        if found is None:
            await self.put(_OWNER, identity.encode())
            found = await self.get(_OWNER)
        return found == identity.encode()

    async def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        try:
            await obstore.delete_async(self._store, list(keys))
        except (NotFoundError, FileNotFoundError):
            # S3 says nothing of what is not there. Google's ends there, and leaves the rest.
            if len(keys) > 1:
                for key in keys:
                    await self.delete([key])
        except (BaseError, OSError) as error:
            raise store_unavailable(error) from error

    async def delete_partial(self, key: str) -> None:
        """Stores show no unfinished blobs; theirs is a lifecycle rule (docs/buckets.md)."""

    async def list(self, prefix: str) -> AsyncIterator[list[BlobInfo]]:
        stream = obstore.list(self._store, prefix or None, chunk_size=500)
        while True:
            try:
                batch = await anext(stream, None)
            except (BaseError, OSError) as error:
                raise store_unavailable(error) from error
            if batch is None:
                return
            yield [
                BlobInfo(
                    one["path"], one["size"], int(one["last_modified"].timestamp() * 1_000_000)
                )
                for one in batch
                if one["path"].count("/") == 2
            ]

    async def close(self) -> None:
        """Connections are obstore's own."""


class RemoteWriter:
    """A BlobWriter: one put, of many pieces if the blob is large, fed through a queue of one."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._is_aborted = False
        self._size: int | None = None  # of all pieces, once that is known
        self._task = asyncio.create_task(self._put(store, key), name="put blob")

    async def _put(self, store: ObjectStore, key: str) -> None:
        head = await self._gather()
        if len(head) < PIECE_BYTES:
            if not self._is_aborted:
                await obstore.put_async(store, key, head, use_multipart=False)
            return
        try:
            await obstore.put_async(
                store,
                key,
                self._pieces(head),
                use_multipart=True,
                chunk_size=PIECE_BYTES,
                max_concurrency=2,
            )
        except (BaseError, OSError):
            if not await self._is_there(store, key):
                raise

    async def _is_there(self, store: ObjectStore, key: str) -> bool:
        """Whether all of it can be read though the store seemed to fail: pieces become a blob at
        once, and the answer to that may be lost. To ask for it again is an error."""
        if self._size is None:
            return False
        try:
            return (await obstore.head_async(store, key))["size"] == self._size
        except (BaseError, OSError):
            return False

    async def _gather(self) -> bytes:
        gathered = bytearray()
        while len(gathered) < PIECE_BYTES:
            chunk = await self._queue.get()
            if chunk is None:
                break
            gathered += chunk
        return bytes(gathered)

    async def _pieces(self, head: bytes) -> AsyncIterator[bytes]:
        size = len(head)
        yield head
        del head
        while (chunk := await self._queue.get()) is not None:
            size += len(chunk)
            yield chunk
        if self._is_aborted:
            # Ends the multipart upload, which then leaves nothing.
            raise RuntimeError("aborted")
        self._size = size

    async def write(self, chunk: Chunk, see: See | None = None) -> None:
        if see is not None:
            await asyncio.to_thread(see, chunk)
        waiting = asyncio.ensure_future(self._queue.put(bytes(chunk)))
        await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
        if self._task.done():
            self._check()

    def open_receiver(self, size: int, see: See | None) -> Receiver | None:
        return None

    async def finish(self) -> None:
        await self.write_end()
        self._check()

    async def write_end(self) -> None:
        ending = asyncio.ensure_future(self._queue.put(None))
        try:
            await asyncio.wait([self._task])
        finally:
            ending.cancel()

    async def abort(self) -> None:
        self._is_aborted = True
        await self.write_end()
        if not self._task.cancelled():
            self._task.exception()

    def _check(self) -> None:
        error = self._task.exception()
        if isinstance(error, BaseError | OSError):
            raise store_unavailable(error) from error
        if error is not None:
            raise error


def _cut_short() -> Unavailable:
    return store_unavailable(RuntimeError("its answers are shorter than what they answer"))
