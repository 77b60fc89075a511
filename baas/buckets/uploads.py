"""Resumable uploads. An offset that was told is durable: the bytes below it are whole parts in the
store, and the upload's document, which names them, was committed. A part that a crash cut off is
nobody's, and found by the sweep.

Parts become the object's own as they are, so finishing moves no bytes. Parts grow with the upload,
which keeps their number, and so the document, small; a small last part is written anew together
with what follows it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from baas.buckets.blobs import CHUNK_BYTES, BlobStore
from baas.buckets.contents import (
    ContentWriter,
    Digests,
    discard,
    object_too_large,
    part_keys,
    read_range,
)
from baas.buckets.names import FINISHED_UPLOADS, UPLOADS, BucketName
from baas.buckets.objects import (
    Check,
    Condition,
    Declared,
    Objects,
    WrittenContent,
    garbage_write,
    read_object,
)
from baas.buckets.records import Part, StoredObject, Upload, open_upload
from baas.clock import new_document_id
from baas.database.transaction import Transaction
from baas.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from baas.model.paths import DocumentPath
from baas.model.queries import NAME, Cursor, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Reference
from baas.model.writes import DeleteWrite, SetWrite

MakeCheck: TypeAlias = Callable[[BucketName, str], Awaitable[Check]]
"""The question of one caller about one object."""

PART_BYTES_MIN = 16 * 1024 * 1024  # committed while more is on its way
PART_BYTES_MAX = 1024 * 1024 * 1024
PARTS_AIM = 500
SMALL_PART_BYTES = 5 * 1024 * 1024  # a smaller last part is joined with what follows
DIGESTS_KEPT_MAX = 1_000
PARTS_MAX = 30_000  # of which the upload's document still has room for all


class Uploads:
    """All resumable uploads. The checksums of those that this process receives are computed on the
    way; of others, when they are finished, from the stored bytes."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._digests: OrderedDict[str, Digests] = OrderedDict()

    async def start(self, bucket: BucketName, name: str, owner: str, declared: Declared) -> Upload:
        """Raises ResourceExhausted (`TooManyUploads`), QuotaExceeded (`ObjectTooLarge`)."""
        objects = self._objects
        limits = objects.limits
        if declared.size is not None and declared.size > limits.object_bytes_max:
            raise object_too_large(limits.object_bytes_max)
        content = new_document_id(objects.clock)
        mark = _owner_mark(owner)

        async def body(transaction: Transaction) -> Upload:
            others = await transaction.run_query(_of_owner(mark, limits.caller_uploads_max))
            if len(others.documents) >= limits.caller_uploads_max:
                raise ResourceExhausted(
                    f"a caller has at most {limits.caller_uploads_max} uploads in progress; finish "
                    "or delete others",
                    reason="TooManyUploads",
                )
            upload = Upload(
                id=f"{mark}-{content}",
                bucket=bucket.bucket,
                name=name,
                owner=owner,
                content=content,
                parts=(),
                offset=0,
                size=declared.size,
                sha256=declared.sha256,
                content_type=declared.content_type,
                metadata=declared.metadata or {},
                expires=self._expiry(),
            )
            await transaction.write([SetWrite(_path(upload.id), upload.to_fields())])
            return upload

        return await objects.system.run(bucket.project, body)

    async def find(self, project: str, identifier: str) -> Upload:
        """Raises NotFound (`UploadNotFound`), of one that has expired too."""
        if not _is_id(identifier):
            raise _not_found()
        database = await self._objects.system.open(project)
        (document,) = await database.get_documents([_path(identifier)])
        if document is None:
            raise _not_found()
        upload = open_upload(document)
        if upload.expires.microseconds < self._objects.clock.now_microseconds():
            raise _not_found()
        return upload

    async def append(
        self,
        project: str,
        upload: Upload,
        offset: int,
        chunks: AsyncIterator[bytes],
        *,
        with_md5: bool = False,
    ) -> Upload:
        """Takes bytes as they come, durably part by part; the upload as it is then. If the client
        goes away, what has come stays.

        Raises Aborted (`WrongOffset`; `details["offset"]` says the right one), InvalidArgument
        (`SizeMismatch`) for more than was declared, FailedPrecondition (`TooManyPieces`), and what
        `chunks` raises.
        """
        if offset != upload.offset:
            raise wrong_offset(upload.offset)
        if len(upload.parts) >= PARTS_MAX:
            raise FailedPrecondition(
                f"an upload has at most {PARTS_MAX} stored pieces; begin again with larger ones",
                reason="TooManyPieces",
            )
        receiver = _Receiver(self._objects, project, upload, self._take_digests(upload, with_md5))
        try:
            async for batch in _batched(chunks, CHUNK_BYTES):
                self._check_size(upload, receiver.received + len(batch))
                await receiver.take(batch)
                if receiver.is_part_full:
                    await self._commit(receiver)
            await self._commit(receiver)
        except Exception:
            if receiver.is_sound:
                await self._commit(receiver)
            raise
        finally:
            await receiver.writer.abort()
        return receiver.upload

    def _check_size(self, upload: Upload, received: int) -> None:
        if upload.size is not None and received > upload.size:
            raise InvalidArgument(
                f"the upload was declared to have {upload.size} bytes", reason="SizeMismatch"
            )
        if received > self._objects.limits.object_bytes_max:
            raise object_too_large(self._objects.limits.object_bytes_max)

    async def _commit(self, receiver: _Receiver) -> None:
        """Makes what was received durable, and says so in the upload's document."""
        receiver.is_sound = False
        new, replaced = await receiver.end_part()
        if new is None:
            receiver.is_sound = True
            self._keep_digests(receiver)
            return
        last = receiver.upload
        kept = last.parts[:-1] if replaced is not None else last.parts
        grown = replace(
            last,
            parts=(*kept, new),
            offset=receiver.received,
            expires=self._expiry(),
        )

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([_path(last.id)])
            if document is None:
                raise _not_found()
            current = open_upload(document)
            if current.parts != last.parts:
                raise wrong_offset(current.offset)
            await transaction.write([SetWrite(_path(last.id), grown.to_fields())])

        try:
            await self._objects.system.run(receiver.project, body)
        except (Aborted, NotFound):
            keys = part_keys(receiver.project, last.content, [new])
            await discard(self._objects.store, keys)
            raise
        receiver.upload = grown
        receiver.is_sound = True
        self._keep_digests(receiver)
        if replaced is not None:
            keys = part_keys(receiver.project, last.content, [replaced])
            await discard(self._objects.store, keys)

    async def finish(
        self,
        project: str,
        identifier: str,
        owner: str | None,
        sha256: str | None,
        condition: Condition,
        make_check: MakeCheck,
        *,
        with_md5: bool = False,
    ) -> StoredObject:
        """Makes the object exist. Repeating it gives the same object again. `owner` None: of
        anybody's upload.

        Raises FailedPrecondition (`UploadIncomplete`, `ConditionFailed`), InvalidArgument
        (`ChecksumMismatch`), NotFound (`UploadNotFound`), PermissionDenied.
        """
        try:
            upload = await self.find(project, identifier)
        except NotFound:
            return await self._find_finished(project, identifier, owner, make_check)
        if owner is not None and upload.owner != owner:
            raise _not_found()
        if upload.size is not None and upload.offset != upload.size:
            raise FailedPrecondition(
                f"{upload.offset} of {upload.size} bytes have come",
                reason="UploadIncomplete",
                details={"offset": upload.offset},
            )
        declared = _declared(upload)
        digests = await self._all_digests(project, upload, with_md5)
        declared.check(digests)
        Declared(sha256=sha256).check(digests)
        written = WrittenContent(upload.content, upload.parts, digests)
        bucket = BucketName(project, upload.bucket)
        check = await make_check(bucket, upload.name)

        async def body(transaction: Transaction) -> StoredObject:
            (document,) = await transaction.get_documents([_path(identifier)])
            if document is None:
                raise _not_found()
            current = open_upload(document)
            if current.parts != upload.parts:
                raise wrong_offset(current.offset)
            stored = await self._objects.stage(
                transaction, bucket, upload.name, written, declared, condition, check
            )
            told: Fields = {
                "bucket": upload.bucket,
                "name": upload.name,
                "owner": upload.owner,
                "generation": stored.generation,
                "expires": upload.expires,
            }
            finished = FINISHED_UPLOADS.document(identifier)
            await transaction.write([DeleteWrite(_path(identifier)), SetWrite(finished, told)])
            return stored

        try:
            stored = await self._objects.system.run(project, body)
            self._digests.pop(identifier, None)
            return stored
        except NotFound as error:
            if error.reason != "UploadNotFound":
                raise
            # Somebody finished it at the same time.
            return await self._find_finished(project, identifier, owner, make_check)

    async def _find_finished(
        self, project: str, identifier: str, owner: str | None, make_check: MakeCheck
    ) -> StoredObject:
        if not _is_id(identifier):
            raise _not_found()

        async def body(transaction: Transaction) -> StoredObject:
            path = FINISHED_UPLOADS.document(identifier)
            (document,) = await transaction.get_documents([path])
            if document is None or owner not in (None, document.fields["owner"]):
                raise _not_found()
            bucket = BucketName(project, str(document.fields["bucket"]))
            name = str(document.fields["name"])
            _, stored = await read_object(transaction, bucket, name)
            check = await make_check(bucket, name)
            await check("create", None, stored)
            if stored is None or stored.generation != document.fields["generation"]:
                raise _not_found()
            return stored

        return await self._objects.system.run(project, body)

    async def abort(self, project: str, upload: Upload) -> None:
        """Ends it; its bytes are garbage."""
        self._digests.pop(upload.id, None)

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([_path(upload.id)])
            if document is None:
                return
            current = open_upload(document)
            now = transaction.request_time
            await transaction.write(
                [
                    DeleteWrite(document.path),
                    garbage_write(now, current.content, current.parts),
                ]
            )

        await self._objects.system.run(project, body)

    def _expiry(self) -> Timestamp:
        life = self._objects.settings.object_upload_lifetime_seconds
        return Timestamp(self._objects.clock.now_microseconds() + life * 1_000_000)

    # Checksums ------------------------------------------------------------------------------------

    def _take_digests(self, upload: Upload, with_md5: bool) -> Digests | None:
        """Those of exactly the upload's bytes; None if this process has not seen them all."""
        if upload.offset == 0:
            return Digests(with_md5=with_md5)
        digests = self._digests.pop(upload.id, None)
        return digests if digests is not None and digests.size == upload.offset else None

    def _keep_digests(self, receiver: _Receiver) -> None:
        if receiver.digests is None:
            return
        self._put_digests(receiver.upload.id, receiver.digests)

    def _put_digests(self, identifier: str, digests: Digests) -> None:
        self._digests[identifier] = digests
        self._digests.move_to_end(identifier)
        if len(self._digests) > DIGESTS_KEPT_MAX:
            self._digests.popitem(last=False)

    async def _all_digests(self, project: str, upload: Upload, with_md5: bool) -> Digests:
        """Those of the whole upload, kept until it is finished: whoever is refused then must not
        have all bytes read again each time."""
        digests = self._take_digests(upload, with_md5)
        if digests is None or (with_md5 and digests.md5 is None):
            digests = await _read_digests(self._objects.store, project, upload, with_md5)
        self._put_digests(upload.id, digests)
        return digests


class _Receiver:
    """One stretch of an upload, being received. `is_sound`: nothing has failed between the last
    commit and now, so that what was received can be committed."""

    def __init__(
        self, objects: Objects, project: str, upload: Upload, digests: Digests | None
    ) -> None:
        self.project = project
        self.upload = upload
        self.received = upload.offset
        self.digests = digests
        self.is_sound = True
        self._objects = objects
        self.writer = ContentWriter(objects.store, objects.clock, project, upload.content, None)
        self._replaced: Part | None = None

    async def take(self, batch: bytes) -> None:
        self.is_sound = False
        if self.writer.pending == 0:
            await self._rewrite_tail()
        if self.digests is not None:
            await asyncio.to_thread(self.digests.update, batch)
        await self.writer.write(batch)
        self.received += len(batch)
        self.is_sound = True

    async def _rewrite_tail(self) -> None:
        """A small last part becomes the beginning of the next one."""
        parts = self.upload.parts
        if not parts or parts[-1].size >= SMALL_PART_BYTES:
            return
        self._replaced = parts[-1]
        reading = read_range(
            self._objects.store,
            self.project,
            self.upload.content,
            [parts[-1]],
            0,
            parts[-1].size,
        )
        async with aclosing(reading) as chunks:
            async for chunk in chunks:
                await self.writer.write(chunk)

    @property
    def is_part_full(self) -> bool:
        aim = max(PART_BYTES_MIN, self.received // PARTS_AIM)
        return self.writer.pending >= min(aim, PART_BYTES_MAX)

    async def end_part(self) -> tuple[Part | None, Part | None]:
        """The part that has become durable, and the one that it replaces."""
        await self.writer.end_part()
        parts, self.writer.parts = self.writer.parts, []
        replaced, self._replaced = self._replaced, None
        return (parts[0] if parts else None), replaced


def _declared(upload: Upload) -> Declared:
    return Declared(
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        metadata=upload.metadata,
    )


async def _read_digests(store: BlobStore, project: str, upload: Upload, with_md5: bool) -> Digests:
    digests = Digests(with_md5=with_md5)
    chunks = read_range(store, project, upload.content, upload.parts, 0, upload.offset)
    async with aclosing(chunks):
        async for chunk in chunks:
            await asyncio.to_thread(digests.update, chunk)
    return digests


async def _batched(chunks: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes]:
    """The same bytes in larger pieces; what came before an error is not lost."""
    gathered: list[bytes] = []
    count = 0
    try:
        async for chunk in chunks:
            gathered.append(chunk)
            count += len(chunk)
            if count >= size:
                batch, gathered, count = b"".join(gathered), [], 0
                yield batch
    except Exception:
        if gathered:
            yield b"".join(gathered)
        raise
    if gathered:
        yield b"".join(gathered)


def wrong_offset(offset: int) -> Aborted:
    return Aborted(
        f"the upload goes on at {offset}", reason="WrongOffset", details={"offset": offset}
    )


def _not_found() -> NotFound:
    return NotFound("there is no such upload, or it has expired", reason="UploadNotFound")


def _path(identifier: str) -> DocumentPath:
    return UPLOADS.document(identifier)


def _is_id(text: str) -> bool:
    return len(text) == 53 and text.isascii() and text.replace("-", "").isalnum()


def _owner_mark(owner: str) -> str:
    """The uploads of one owner are next to each other, so that they can be counted."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _of_owner(mark: str, limit: int) -> Query:
    start = Cursor((Reference(UPLOADS.document(f"{mark}-")),), before=True)
    end = Cursor((Reference(UPLOADS.document(f"{mark}.")),), before=True)
    return Query(UPLOADS, order_by=(Order(NAME),), start=start, end=end, limit=limit)
