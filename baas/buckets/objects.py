"""Buckets and objects of all projects. Bytes first, under fresh keys; then **one commit** of the
metadata makes the object exist. What a commit no longer refers to goes onto the garbage list in the
same commit, and is deleted after a grace time by `collector`.

Who may do what is not decided here: `Check` is asked inside of each transaction, with the object as
it is and as it will be, before anything about either is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from baas.buckets.blobs import BlobStore, Piece
from baas.buckets.contents import Digests, discard, part_keys, write_content
from baas.buckets.holds import Holds
from baas.buckets.names import (
    BUCKETS,
    CONTENTS,
    GARBAGE,
    UPLOADS,
    BucketName,
    bucket_not_found,
    check_bucket_id,
    object_not_found,
)
from baas.buckets.records import Part, StoredObject, Upload, decode_parts, encode_parts, open_object
from baas.buckets.sniffing import guess, sniff
from baas.clock import Clock, new_document_id
from baas.database.log import CommitEvent
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from baas.model.documents import DocumentLike
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.settings import Settings

BUCKETS_PER_PROJECT_MAX = 100
DELETIONS_PER_COMMIT = 100
_STORE = DocumentPath(("object_settings", "store"))
_log = structlog.get_logger("baas.buckets")

Check: TypeAlias = Callable[[str, StoredObject | None, StoredObject | None], Awaitable[None]]
"""(method, as it is, as it will be). Raises PermissionDenied."""


@dataclass(frozen=True, slots=True)
class Bucket:
    id: str
    created: Timestamp


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be true of the object as it is. `etags` empty: anything; `*`: that there is one.
    `state`: the etag it has, "" that there is none; beside what `etags` says."""

    etags: tuple[str, ...] = ()
    is_absent: bool = False
    state: str | None = None

    def check(self, stored: StoredObject | None) -> None:
        """Raises FailedPrecondition (`ConditionFailed`)."""
        if self.is_absent and stored is not None:
            raise _condition_failed("the object exists")
        if self.etags and (stored is None or not {"*", stored.etag} & set(self.etags)):
            raise _condition_failed("the object is not the one that the condition names")
        found = "" if stored is None else stored.etag
        if self.state not in (None, found):
            raise _condition_failed("the object was changed since")


NO_CONDITION = Condition()


@dataclass(frozen=True, slots=True)
class Declared:
    """What the uploader says of the bytes; None: nothing. Sums in lower-case hex."""

    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    metadata: Mapping[str, str] | None = None

    def check(self, digests: Digests) -> None:
        """Raises InvalidArgument (`ChecksumMismatch`, `SizeMismatch`) unless the bytes are so."""
        if self.size is not None and self.size != digests.size:
            raise InvalidArgument(
                f"{self.size} bytes were declared, and {digests.size} came", reason="SizeMismatch"
            )
        for name, wanted, found in (
            ("SHA-256", self.sha256, digests.sha256),
            ("MD5", self.md5, digests.md5),
        ):
            if wanted is not None and wanted != found:
                raise InvalidArgument(
                    f"the bytes that came do not match their {name}; nothing was stored",
                    reason="ChecksumMismatch",
                )


@dataclass(frozen=True, slots=True)
class WrittenContent:
    """Durable bytes that no object has yet."""

    content: str
    parts: tuple[Part, ...]
    digests: Digests


class Objects:
    """The façade over metadata and bytes. Safe to use from one event loop, and from several nodes
    on one store and one database."""

    def __init__(
        self, databases: Databases, store: BlobStore, settings: Settings, clock: Clock
    ) -> None:
        self.store = store
        self.clock = clock
        self.limits = settings.limits
        self.settings = settings
        self.touched: set[str] = set()  # projects that have garbage to collect
        self.system = SystemStore(databases, clock, self._observe)
        self.holds = Holds(self.system, clock)

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        if project is not None and any(
            change.path.segments[0] == GARBAGE.id for change in event.changes
        ):
            self.touched.add(project)

    # Buckets --------------------------------------------------------------------------------------

    async def create_bucket(self, project: str, bucket: object) -> Bucket:
        """Raises AlreadyExists (`BucketExists`), FailedPrecondition (`TooManyBuckets`),
        InvalidArgument."""
        name = BucketName(project, check_bucket_id(bucket))

        async def body(transaction: Transaction) -> Bucket:
            (document,) = await transaction.get_documents([name.path])
            if document is not None:
                raise AlreadyExists(f"bucket `{name.bucket}` exists", reason="BucketExists")
            others = await transaction.run_query(Query(BUCKETS, limit=BUCKETS_PER_PROJECT_MAX))
            if len(others.documents) >= BUCKETS_PER_PROJECT_MAX:
                raise FailedPrecondition(
                    f"a project has at most {BUCKETS_PER_PROJECT_MAX} buckets",
                    reason="TooManyBuckets",
                )
            now = transaction.request_time
            await transaction.write([SetWrite(name.path, {"created": now, "deleting": False})])
            return Bucket(name.bucket, now)

        return await self.system.run(project, body)

    async def list_buckets(self, project: str) -> list[Bucket]:
        """By id."""
        database = await self.system.open(project)
        found = (await database.run_query(Query(BUCKETS))).documents
        buckets = []
        for document in found:
            created = document.fields["created"]
            assert isinstance(created, Timestamp)
            if document.fields["deleting"] is not True:
                buckets.append(Bucket(document.path.segments[-1], created))
        return buckets

    async def has_bucket(self, name: BucketName) -> bool:
        database = await self.system.open(name.project)
        (document,) = await database.get_documents([name.path])
        return document is not None and document.fields["deleting"] is not True

    async def delete_bucket(self, name: BucketName, *, recursive: bool = False) -> None:
        """An empty one, or with all in it: that is not atomic, but the bucket is gone for everybody
        from the first step on, and repeating it goes on where it stopped. Raises NotFound
        (`BucketNotFound`), FailedPrecondition (`BucketNotEmpty`)."""

        async def mark(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([name.path])
            if document is None:
                raise bucket_not_found(name.bucket)
            if not recursive:
                found = await transaction.run_query(Query(name.objects, limit=1))
                if found.documents:
                    raise FailedPrecondition(
                        f"bucket `{name.bucket}` is not empty; `recursive=true` deletes it with "
                        "its objects",
                        reason="BucketNotEmpty",
                    )
            fields = {**document.fields, "deleting": True}
            await transaction.write([SetWrite(name.path, fields)])

        async def sweep(transaction: Transaction) -> bool:
            query = Query(name.objects, limit=DELETIONS_PER_COMMIT)
            found = (await transaction.run_query(query)).documents
            writes: list[Write] = [DeleteWrite(document.path) for document in found]
            contents = [open_object(document) for document in found]
            writes += await release(transaction, contents)
            if not found:
                writes.append(DeleteWrite(name.path))
            await transaction.write(writes)
            return not found

        await self.system.run(name.project, mark)
        while not await self.system.run(name.project, sweep):
            pass

    # Objects --------------------------------------------------------------------------------------

    async def find(self, bucket: BucketName, name: str) -> StoredObject | None:
        """The object as last committed. None also where there is no such bucket."""
        return (await self.look(bucket, name))[1]

    async def look(self, bucket: BucketName, name: str) -> tuple[bool, StoredObject | None]:
        """Whether the bucket exists, and the object if it does, as last committed."""
        database = await self.system.open(bucket.project)
        holder, document = await database.get_documents([bucket.path, bucket.object_path(name)])
        return _opened(holder, document)

    async def write(
        self,
        bucket: BucketName,
        pieces: AsyncIterator[Piece],
        declared: Declared,
        *,
        with_md5: bool = False,
    ) -> WrittenContent:
        """The bytes, durable, and held against what was declared of them. Nobody can see them.
        Their MD5 is computed where it was declared, or `with_md5`."""
        content = new_document_id(self.clock)
        maximum = self.limits.object_bytes_max
        if declared.size is not None:
            maximum = min(maximum, declared.size)

        async def hold(parts: Sequence[Part]) -> None:
            await self._hold(bucket, content, parts)

        parts, digests = await write_content(
            self.store,
            self.clock,
            bucket.project,
            content,
            pieces,
            with_md5=with_md5 or declared.md5 is not None,
            bytes_max=maximum,
            on_part=hold,
        )
        written = WrittenContent(content, parts, digests)
        try:
            declared.check(digests)
        except InvalidArgument:
            await self.discard(bucket.project, written)
            raise
        return written

    async def _hold(self, bucket: BucketName, content: str, parts: Sequence[Part]) -> None:
        """Says that these parts are somebody's, though no object has them yet: a content of many
        parts may take longer than the grace time of orphans."""
        life = self.settings.object_upload_lifetime_seconds * 1_000_000
        expires = Timestamp(self.clock.now_microseconds() + life)
        upload = _holding(bucket, content, parts, expires)

        async def body(transaction: Transaction) -> None:
            path = UPLOADS.document(upload.id)
            await transaction.write([SetWrite(path, upload.to_fields())])

        await self.system.run(bucket.project, body)

    async def owns_store(self) -> bool:
        """Whether the store is marked as this installation's, so that what belongs to nothing here
        belongs to nobody."""
        identity = new_document_id(self.clock)

        async def body(transaction: Transaction) -> str:
            (document,) = await transaction.get_documents([_STORE])
            if document is not None:
                return str(document.fields["identity"])
            await transaction.write([SetWrite(_STORE, {"identity": identity})])
            return identity

        owned = await self.store.claim(await self.system.run(None, body))
        if not owned:
            _log.warning("the object store is another installation's too; nothing is swept in it")
        return owned

    async def discard(self, project: str, written: WrittenContent) -> None:
        await discard(self.store, part_keys(project, written.content, written.parts))

    async def publish(
        self,
        bucket: BucketName,
        name: str,
        written: WrittenContent,
        declared: Declared,
        condition: Condition,
        check: Check,
    ) -> StoredObject:
        """The commit that makes the object exist. If it raises, the bytes are not referred to."""

        async def body(transaction: Transaction) -> StoredObject:
            return await self.stage(transaction, bucket, name, written, declared, condition, check)

        return await self.system.run(bucket.project, body)

    async def stage(
        self,
        transaction: Transaction,
        bucket: BucketName,
        name: str,
        written: WrittenContent,
        declared: Declared,
        condition: Condition,
        check: Check,
    ) -> StoredObject:
        """What `publish` does, within a transaction that may do more."""
        # With what is to be written, so that it is one read: a second one takes a snapshot.
        content = CONTENTS.document(written.content)
        paths = [bucket.path, bucket.object_path(name), content]
        holder, document, _ = await transaction.get_documents(paths)
        exists, old = _opened(holder, document)
        digests = written.digests
        sniffed = sniff(digests.head)
        now = self._now(old)
        new = StoredObject(
            bucket=bucket.bucket,
            name=name,
            content=written.content,
            parts=written.parts,
            size=digests.size,
            sha256=digests.sha256,
            md5=digests.md5,
            content_type=declared.content_type or guess(name, sniffed),
            sniffed_type=sniffed,
            metadata=declared.metadata or {},
            created=now,
            updated=now,
            generation=now.microseconds,
            metageneration=1,
        )
        await self._replace(transaction, bucket, exists, old, new, condition, check)
        writes: list[Write] = [SetWrite(content, _content(new, 1))]
        if len(new.parts) > 1:
            writes.append(DeleteWrite(UPLOADS.document(_hold_id(new.content))))
        await transaction.write(writes)
        return new

    async def copy(
        self,
        source: BucketName,
        name: str,
        target: BucketName,
        target_name: str,
        condition: Condition,
        check_source: Check,
        check_target: Check,
    ) -> StoredObject:
        """One commit, of whatever size: the copy shares the stored bytes, which never change.
        Raises NotFound (`ObjectNotFound`, `BucketNotFound`)."""

        async def body(transaction: Transaction) -> StoredObject:
            _, found = await read_object(transaction, source, name)
            await check_source("get", found, None)
            exists, old = await read_object(transaction, target, target_name)
            if found is None:
                # Whoever may not write there learns it first.
                raise object_not_found(name)
            now = self._now(old)
            new = replace(
                found,
                bucket=target.bucket,
                name=target_name,
                created=now,
                updated=now,
                generation=now.microseconds,
                metageneration=1,
            )
            await self._replace(transaction, target, exists, old, new, condition, check_target)
            if old is not None and old.content == found.content:
                return new  # as many references as before
            path = CONTENTS.document(found.content)
            (document,) = await transaction.get_documents([path])
            shared = _content(found, 1) if document is None else document.fields
            references = shared["references"]
            assert isinstance(references, int)
            await transaction.write([SetWrite(path, {**shared, "references": references + 1})])
            return new

        return await self.system.run(source.project, body)

    async def update(
        self,
        bucket: BucketName,
        name: str,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        condition: Condition,
        check: Check,
    ) -> StoredObject:
        """Other metadata for the same bytes. Raises NotFound (`ObjectNotFound`)."""

        async def body(transaction: Transaction) -> StoredObject:
            _, old = await read_object(transaction, bucket, name)
            now = transaction.request_time
            new = None if old is None else old.with_metadata(now, content_type, metadata)
            await check("update", old, new)
            if old is None or new is None:
                raise object_not_found(name)
            condition.check(old)
            await transaction.write([SetWrite(bucket.object_path(name), new.to_fields())])
            return new

        return await self.system.run(bucket.project, body)

    async def delete(
        self, bucket: BucketName, name: str, condition: Condition, check: Check
    ) -> None:
        """Raises NotFound (`ObjectNotFound`)."""

        async def body(transaction: Transaction) -> None:
            _, old = await read_object(transaction, bucket, name)
            await check("delete", old, None)
            if old is None:
                raise object_not_found(name)
            condition.check(old)
            writes: list[Write] = [DeleteWrite(bucket.object_path(name))]
            await transaction.write([*writes, *await release(transaction, [old])])

        await self.system.run(bucket.project, body)

    def _now(self, old: StoredObject | None) -> Timestamp:
        """A time that no generation of the object had."""
        now = self.clock.now_microseconds()
        return Timestamp(now if old is None else max(now, old.generation + 1))

    async def _replace(
        self,
        transaction: Transaction,
        bucket: BucketName,
        exists: bool,
        old: StoredObject | None,
        new: StoredObject,
        condition: Condition,
        check: Check,
    ) -> None:
        await check("create" if old is None else "update", old, new)
        if not exists:
            raise bucket_not_found(bucket.bucket)
        condition.check(old)
        writes: list[Write] = [SetWrite(bucket.object_path(new.name), new.to_fields())]
        if old is not None and old.content != new.content:
            writes += await release(transaction, [old])
        await transaction.write(writes)


async def read_object(
    transaction: Transaction, bucket: BucketName, name: str
) -> tuple[bool, StoredObject | None]:
    """Whether the bucket exists, and the object if it does."""
    holder, document = await transaction.get_documents([bucket.path, bucket.object_path(name)])
    return _opened(holder, document)


def _opened(
    holder: DocumentLike | None, document: DocumentLike | None
) -> tuple[bool, StoredObject | None]:
    exists = holder is not None and holder.fields["deleting"] is not True
    return exists, open_object(document) if exists and document is not None else None


async def release(transaction: Transaction, objects: Sequence[StoredObject]) -> list[Write]:
    """The writes that follow from objects that no longer refer to their contents: each content has
    fewer references, and one without any becomes garbage."""
    released: dict[str, int] = {}
    for one in objects:
        released[one.content] = released.get(one.content, 0) + 1
    paths = [CONTENTS.document(content) for content in released]
    documents = await transaction.get_documents(paths)
    writes: list[Write] = []
    for document, count in zip(documents, released.values(), strict=True):
        if document is None:
            continue
        references = document.fields["references"]
        assert isinstance(references, int)
        if references > count:
            fields = {**document.fields, "references": references - count}
            writes.append(SetWrite(document.path, fields))
        else:
            writes.append(DeleteWrite(document.path))
            content = document.path.segments[-1]
            parts = decode_parts(document.fields["parts"])
            writes.append(garbage_write(transaction.request_time, content, parts))
    return writes


def garbage_write(now: Timestamp, content: str, parts: Sequence[Part]) -> SetWrite:
    """Puts stored bytes onto the garbage list, in the order of time."""
    path = GARBAGE.document(f"{now.microseconds:016d}-{content}")
    return SetWrite(path, {"content": content, "parts": encode_parts(parts)})


def _hold_id(content: str) -> str:
    return f"hold-{content}"


def _holding(bucket: BucketName, content: str, parts: Sequence[Part], expires: Timestamp) -> Upload:
    """An upload of nobody, whose parts the sweep leaves alone."""
    return Upload(
        id=_hold_id(content),
        bucket=bucket.bucket,
        name="",
        owner="",
        content=content,
        parts=tuple(parts),
        offset=0,
        size=None,
        sha256=None,
        content_type=None,
        metadata={},
        expires=expires,
    )


def _content(stored: StoredObject, references: int) -> Fields:
    return {"references": references, "parts": encode_parts(stored.parts)}


def _condition_failed(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="ConditionFailed")
