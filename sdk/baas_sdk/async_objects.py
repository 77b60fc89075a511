"""Buckets and their objects, with asyncio: the methods of its twin `objects`, to be awaited."""

# ruff: noqa: ASYNC109, ASYNC230  the timeout bounds each request; opening a file is quick

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Literal, overload

from baas_sdk import _objects, _transfers
from baas_sdk._blobs import BaseBlob, BaseBucket, as_bytes, check_mode, partial_path, size_of
from baas_sdk._moving import AsyncMover, Readable
from baas_sdk._objects import Listing
from baas_sdk._streams import AsyncBlobReader, AsyncBlobWriter
from baas_sdk._transfers import TransferProgress


class AsyncBucket(BaseBucket["AsyncBlob"]):
    """A bucket: objects by name, such as `client.bucket("default").blob("photos/ada.png")`."""

    def blob(self, blob_name: str, chunk_size: int | None = None) -> AsyncBlob:
        """The name of an object, which may or may not exist. `chunk_size` (8 MiB) is how many bytes
        are kept in memory and sent in one request; what is longer is uploaded in parts."""
        return AsyncBlob(self, blob_name, chunk_size)

    async def get_blob(self, blob_name: str, *, timeout: float | None = None) -> AsyncBlob | None:
        """The object with its properties; None if it does not exist."""
        blob = self.blob(blob_name)
        call = _objects.find_metadata(self._home, blob.name)
        info = await self._client._http.run(call, timeout)
        return None if info is None else self._loaded(info)

    def list_blobs(
        self,
        prefix: str | None = None,
        *,
        delimiter: str | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        max_results: int | None = None,
        timeout: float | None = None,
    ) -> AsyncBlobIterator:
        """The objects by name, read page by page while they are looped over. With a delimiter
        (`/`), names are followed only up to the first one behind the prefix; what lies deeper is
        told by `prefixes`, as folders are."""
        asked = _objects.listing(prefix, delimiter, page_size)
        if max_results is not None:
            _objects.check_count("max_results", max_results)
        return AsyncBlobIterator(self, asked, page_token, max_results, timeout)

    async def copy_blob(
        self,
        blob: AsyncBlob,
        destination_bucket: AsyncBucket | None = None,
        new_name: str | None = None,
        *,
        timeout: float | None = None,
    ) -> AsyncBlob:
        """A copy, made within the server: type and metadata go with the bytes."""
        copy = (destination_bucket or self).blob(new_name or blob.name)
        call = _objects.copy_object(self._home, blob.name, copy._bucket.name, copy.name)
        copy._load(await self._client._http.run(call, timeout))
        return copy

    async def rename_blob(
        self, blob: AsyncBlob, new_name: str, *, timeout: float | None = None
    ) -> AsyncBlob:
        """A copy under the new name, then deletes the old one: two steps, not one."""
        copy = await self.copy_blob(blob, None, new_name, timeout=timeout)
        if copy.name != blob.name:
            await blob.delete(timeout=timeout)
        return copy

    async def delete_blob(self, blob_name: str, *, timeout: float | None = None) -> None:
        """Raises NotFound if there is no such object."""
        await self.blob(blob_name).delete(timeout=timeout)

    async def cancel_upload(self, upload: str, *, timeout: float | None = None) -> None:
        """Gives up an upload and what has arrived of it. One that has ended is no error."""
        call = _objects.cancel_upload(self._home, _objects.check_upload(upload))
        await self._client._http.run(call, timeout)


class AsyncBlobIterator:
    """Objects to loop over, read page by page. `prefixes` holds the folders met so far."""

    def __init__(
        self,
        bucket: AsyncBucket,
        asked: Listing,
        page_token: str | None,
        max_results: int | None,
        timeout: float | None,
    ) -> None:
        self.prefixes: set[str] = set()
        self.next_page_token = page_token
        self._bucket = bucket
        self._asked = asked
        self._left = max_results
        self._timeout = timeout
        self._blobs = self._all()

    @property
    def pages(self) -> AsyncIterator[list[AsyncBlob]]:
        """The same page by page: after each, `prefixes` holds those of the page as well."""
        return self._pages()

    def __aiter__(self) -> AsyncBlobIterator:
        return self

    async def __anext__(self) -> AsyncBlob:
        return await anext(self._blobs)

    async def _pages(self) -> AsyncIterator[list[AsyncBlob]]:
        while self._left is None or self._left > 0:
            call = _objects.list_objects(self._bucket._home, self._asked, self.next_page_token)
            page = await self._bucket._client._http.run(call, self._timeout)
            self.prefixes.update(page.prefixes)
            self.next_page_token = page.next_page_token
            blobs = [self._bucket._loaded(info) for info in page.objects]
            if self._left is not None:
                blobs = blobs[: self._left]
                self._left -= len(blobs)
            yield blobs
            if page.next_page_token is None:
                return

    async def _all(self) -> AsyncIterator[AsyncBlob]:
        async for page in self._pages():
            for blob in page:
                yield blob


class AsyncBlob(BaseBlob):
    """An object of a bucket: its bytes, and what is said of them.

    The properties are what the server last said: after an upload, `reload`, `patch`, or out of
    `get_blob` and `list_blobs`; None before. Any transfer keeps at most a chunk in memory, and
    verifies the checksum of the whole.

    - `timeout` bounds each request of a transfer, and each wait for bytes, not the whole.
    - `progress` is called with a TransferProgress. An exception out of it ends the transfer.
    - `if_generation_match` and `if_etag_match` make a change, or a download, only of the object
      that was seen; 0 as generation: only if there is none. Else it raises FailedPrecondition.
    """

    @property
    def bucket(self) -> AsyncBucket:
        """The bucket that the object is in."""
        bucket: AsyncBucket = self._bucket
        return bucket

    async def exists(self, *, timeout: float | None = None) -> bool:
        """Whether there is such an object."""
        call = _objects.find_metadata(self._bucket._home, self.name)
        return await self._bucket._client._http.run(call, timeout) is not None

    async def reload(self, *, timeout: float | None = None) -> None:
        """Reads the properties. Raises NotFound."""
        call = _objects.get_metadata(self._bucket._home, self.name)
        self._load(await self._bucket._client._http.run(call, timeout))

    async def patch(
        self,
        *,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Sends the properties that were set: `content_type`, and `metadata` as a whole."""
        wanted = self._wanted(if_generation_match, if_etag_match)
        flow = _transfers.patch(self._bucket._home, self.name, self._changes, wanted)
        self._load(await self._mover().run(flow, timeout=timeout))

    async def delete(
        self,
        *,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Raises NotFound if there is no such object."""
        wanted = self._wanted(if_generation_match, if_etag_match)
        flow = _transfers.delete(self._bucket._home, self.name, wanted)
        await self._mover().run(flow, timeout=timeout)

    async def upload_from_file(
        self,
        file_obj: Readable,
        *,
        size: int | None = None,
        rewind: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Uploads what a binary file holds from where it stands: `size` bytes of it, else all. It
        need not be seekable; but whoever the rules bind must say the `size` of a pipe that is
        longer than a chunk. Longer than a chunk, it goes in parts, each sent again after a lost
        connection; progress then tells the upload's id, and so do the `details` of an error, for
        `resume_upload`."""
        if rewind:
            file_obj.seek(0)  # type: ignore[attr-defined]
        wanted = self._wanted(if_generation_match, if_etag_match)
        target = self._target(content_type, metadata, wanted, guess_from=self.name)
        flow = _transfers.upload(target, size_of(file_obj) if size is None else size)
        info = await self._mover().run(flow, source=file_obj, progress=progress, timeout=timeout)
        self._load(info)

    async def upload_from_filename(
        self,
        filename: str | os.PathLike[str],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Uploads a file; its type, if none is given, is what its name suggests."""
        wanted = self._wanted(if_generation_match, if_etag_match)
        target = self._target(content_type, metadata, wanted, guess_from=filename)
        with open(filename, "rb") as file:
            flow = _transfers.upload(target, os.fstat(file.fileno()).st_size)
            info = await self._mover().run(flow, source=file, progress=progress, timeout=timeout)
        self._load(info)

    async def upload_from_string(
        self,
        data: bytes | str,
        content_type: str = "text/plain",
        *,
        metadata: Mapping[str, str] | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Uploads bytes, or text as UTF-8."""
        body = as_bytes(data)
        wanted = self._wanted(if_generation_match, if_etag_match)
        target = self._target(content_type, metadata, wanted)
        flow = _transfers.upload(target, len(body))
        source = io.BytesIO(body)
        info = await self._mover().run(flow, source=source, progress=progress, timeout=timeout)
        self._load(info)

    async def resume_upload(
        self,
        upload: str,
        filename: str | os.PathLike[str],
        *,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Goes on with an upload of the same file that was cut off, in this process or another:
        only what the server does not have is sent. A condition is said again. Raises NotFound for
        one that has ended or expired."""
        upload = _objects.check_upload(upload)
        target = self._target(None, None, self._wanted(if_generation_match, if_etag_match))
        with open(filename, "rb") as file:
            flow = _transfers.resume(target, upload, os.fstat(file.fileno()).st_size)
            info = await self._mover().run(flow, source=file, progress=progress, timeout=timeout)
        self._load(info)

    def stream(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[bytes]:
        """The bytes piece by piece, from `start` up to and with `end`, all of one generation. A
        lost connection is made again and it goes on where it was. A wrong checksum raises DataLoss
        behind the last piece."""
        wanted = self._wanted(if_generation_match, if_etag_match)
        mover = self._mover()
        flow = _transfers.download(self._wish(start, end, wanted), mover.policy)
        return mover.pieces(flow, progress=progress, timeout=timeout)

    async def download_to_file(
        self,
        file_obj: BinaryIO,
        *,
        start: int | None = None,
        end: int | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Writes the bytes to a binary file."""
        pieces = self.stream(
            start=start,
            end=end,
            if_generation_match=if_generation_match,
            if_etag_match=if_etag_match,
            progress=progress,
            timeout=timeout,
        )
        async with aclosing(pieces):  # type: ignore[type-var]  # a generator
            async for piece in pieces:
                await asyncio.to_thread(file_obj.write, piece)

    async def download_to_filename(
        self,
        filename: str | os.PathLike[str],
        *,
        start: int | None = None,
        end: int | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Writes the bytes to a file, which appears, or is replaced, only when all of them are
        there and right."""
        partial = partial_path(Path(filename))
        try:
            with partial.open("xb") as file:
                await self.download_to_file(
                    file,
                    start=start,
                    end=end,
                    if_generation_match=if_generation_match,
                    if_etag_match=if_etag_match,
                    progress=progress,
                    timeout=timeout,
                )
            partial.replace(filename)
        finally:
            partial.unlink(missing_ok=True)

    async def download_as_bytes(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The bytes, all in memory."""
        found = io.BytesIO()
        await self.download_to_file(
            found,
            start=start,
            end=end,
            if_generation_match=if_generation_match,
            if_etag_match=if_etag_match,
            progress=progress,
            timeout=timeout,
        )
        return found.getvalue()

    async def download_as_text(
        self, *, encoding: str = "utf-8", timeout: float | None = None
    ) -> str:
        """The bytes as text."""
        return (await self.download_as_bytes(timeout=timeout)).decode(encoding)

    @overload
    async def open(
        self, mode: Literal["rb"] = "rb", *, timeout: float | None = None
    ) -> AsyncBlobReader: ...

    @overload
    async def open(
        self,
        mode: Literal["wb"],
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        timeout: float | None = None,
    ) -> AsyncBlobWriter: ...

    async def open(
        self,
        mode: str = "rb",
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_generation_match: int | None = None,
        if_etag_match: str | None = None,
        timeout: float | None = None,
    ) -> AsyncBlobReader | AsyncBlobWriter:
        """The object as a binary file. One opened to read is seekable, fetches what is read, and
        is of one generation. One opened to write makes the object when it is closed, and makes none
        if its `with` is left by an exception. Whoever the rules bind must say the `size` of what
        will be longer than a chunk."""
        check_mode(mode)
        wanted = self._wanted(if_generation_match, if_etag_match)
        if mode == "wb":
            target = self._target(content_type, metadata, wanted, guess_from=self.name)
            return AsyncBlobWriter(self._mover(), target, self._load, size, timeout)
        if self._info is None or if_generation_match != self.generation:
            await self.reload(timeout=timeout)
        assert self._info is not None
        return AsyncBlobReader(self._mover(), self._wish(None, None, wanted), self._info, timeout)

    async def generate_signed_url(
        self,
        expiration: timedelta | float,
        *,
        method: str = "GET",
        content_type: str | None = None,
        size: int | None = None,
        timeout: float | None = None,
    ) -> str:
        """An address by which anybody may make this one request until it expires, in at most seven
        days: for a link, an `<img>`, or an upload (`method="PUT"`) by somebody without an account,
        which then has to be of the `content_type` and `size` given here. Only what this client may
        do itself is signed; for whom the rules bind, for the object as it is now only."""
        seconds = _objects.expires_in_seconds(expiration)
        call = _objects.sign(self._bucket._home, self.name, method, seconds, content_type, size)
        client = self._bucket._client
        return str(client._options.base_url + await client._http.run(call, timeout))

    def _mover(self) -> AsyncMover:
        client = self._bucket._client
        return AsyncMover(client._http, client._options.retry)
