"""Use cases on objects. Rules are enforced here, by the authorizer, on every path: before bytes are
taken or given out, and once more within the commit that makes them an object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from baas.buckets.blobs import Chunk, Piece, Sender
from baas.buckets.contents import open_sender, read_at_once, read_range, read_verified
from baas.buckets.listing import DELIMITER, ObjectPage, list_page
from baas.buckets.names import (
    DEFAULT_BUCKET,
    BucketName,
    bucket_not_found,
    check_bucket_id,
    check_object_name,
    check_prefix,
    object_not_found,
)
from baas.buckets.objects import (
    NO_CONDITION,
    Bucket,
    Check,
    Condition,
    Declared,
)
from baas.buckets.records import StoredObject, check_content_type, check_metadata
from baas.buckets.signing import METHODS, SignedRequest
from baas.buckets.sniffing import guess
from baas.errors import AlreadyExists, InvalidArgument, PermissionDenied
from baas.services.admins import check_is_admin
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context
from baas.services.documents import request_time
from baas.services.objects_authorizer import (
    ObjectAuthorizer,
    declared_resource,
    make_object_authorizer,
)

# Who comes with a signed URL: its signer's rights were checked, and it allows one request.
_SIGNED = Caller(CallerKind.SECRET_KEY)


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object that the caller may read."""

    stored: StoredObject
    context: Context
    bucket: BucketName

    def read(self, start: int, end: int) -> AsyncGenerator[Chunk]:
        """The bytes from `start` up to `end`; all of them are held against the checksum. To be read
        to the end, or closed."""
        store, project, stored = self.context.objects.store, self.bucket.project, self.stored
        if start == 0 and end == stored.size:
            return read_verified(store, project, stored)
        return read_range(store, project, stored.content, stored.parts, start, end)

    def read_at_once(self, start: int, end: int) -> bytes | None:
        """The same, where they are few and can be had without waiting. None says nothing."""
        return read_at_once(
            self.context.objects.store, self.bucket.project, self.stored, start, end
        )

    def open_sender(self, start: int, end: int) -> Sender | None:
        """What sends the same bytes into a socket. None where the store has no such thing."""
        return open_sender(self.context.objects.store, self.bucket.project, self.stored, start, end)

    async def thumbnail(self, size: int) -> bytes:
        """A WebP image of at most `size` pixels a side. Raises FailedPrecondition
        (`NoThumbnail`)."""
        return await self.context.thumbnails.get(self.bucket.project, self.stored, size)


async def name_bucket(context: Context, project: str, bucket: str) -> BucketName:
    """Raises NotFound (`ProjectNotFound`), InvalidArgument (`InvalidBucketId`). In development mode
    a project's first bucket is made on first use."""
    await context.projects.get_project(project)
    name = BucketName(project, check_bucket_id(bucket))
    is_made = not context.settings.dev or bucket != DEFAULT_BUCKET
    if not is_made and not await context.objects.has_bucket(name):
        with suppress(AlreadyExists):
            await context.objects.create_bucket(project, bucket)
    return name


async def open_object(
    context: Context, caller: Caller, bucket: BucketName, name: str
) -> OpenedObject:
    """The object for reading. Raises PermissionDenied, whether it exists or not, unless the rules
    allow `get`; NotFound (`ObjectNotFound`, `BucketNotFound`)."""
    check_object_name(name)
    authorizer = await make_object_authorizer(context, caller, bucket)
    stored = await context.objects.find(bucket, name)
    await authorizer.check_stored(name, "get", stored, None)
    if stored is None:
        await check_bucket(context, bucket)
        raise object_not_found(name)
    return OpenedObject(stored, context, bucket)


async def check_bucket(context: Context, bucket: BucketName) -> None:
    """Raises NotFound (`BucketNotFound`)."""
    if not await context.objects.has_bucket(bucket):
        raise bucket_not_found(bucket.bucket)


async def open_signed(
    context: Context, bucket: BucketName, name: str, signature: str
) -> OpenedObject:
    """The same by a signed URL. Raises TokenInvalid, TokenExpired, FailedPrecondition
    (`ConditionFailed`) if the object was changed since, where it was signed for one state."""
    check_object_name(name)
    signed = await context.url_signer.verify(bucket, name, "GET", signature)
    stored = await context.objects.find(bucket, name)
    Condition(state=signed.state).check(stored)
    if stored is None:
        raise object_not_found(name)
    return OpenedObject(stored, context, bucket)


async def put_signed(
    context: Context,
    bucket: BucketName,
    name: str,
    pieces: AsyncIterator[Piece],
    declared: Declared,
    condition: Condition,
    signature: str,
) -> StoredObject:
    """An upload by a signed URL: exactly what was signed, and nothing beside it."""
    check_object_name(name)
    signed = await context.url_signer.verify(bucket, name, "PUT", signature)
    for field, wanted, given in (
        ("Content-Type", signed.content_type, declared.content_type),
        ("Content-Length", signed.size, declared.size),
    ):
        if wanted is not None and wanted != given:
            raise PermissionDenied(
                f"the URL was signed for another `{field}`", reason="SignatureMismatch"
            )
    if declared.metadata is not None:
        raise PermissionDenied("a signed URL takes no custom metadata", reason="SignatureMismatch")
    bound = replace(condition, state=signed.state)
    return await put_object(context, _SIGNED, bucket, name, pieces, declared, bound)


async def sign_url(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    *,
    method: str,
    expires_in: int,
    content_type: str | None,
    size: int | None,
) -> tuple[str, int]:
    """(signature, expiry in seconds since 1970) for a request that the caller could make now.

    Raises PermissionDenied unless the rules allow that request. What rules allowed they allowed for
    the object as it is: the URL of a caller whom they bind holds for these bytes and metadata only,
    so an upload by it happens once. Administrators' and secret keys' are not bound.
    """
    check_object_name(name)
    if method not in METHODS:
        raise InvalidArgument(
            "`method` is `GET` or `PUT`", reason="InvalidBody", details={"field": "method"}
        )
    authorizer = await make_object_authorizer(context, caller, bucket)
    declared = check_declared(context, Declared(content_type=content_type, size=size))
    if method == "GET":
        stored: StoredObject | None = (await open_object(context, caller, bucket, name)).stored
        content_type = size = None
    else:
        stored = await check_upload(context, authorizer, bucket, name, declared, NO_CONDITION)
        if authorizer.is_bound:
            # What the rules saw is what the upload has to be.
            content_type = content_type or guess(name, None)
    expires_at = context.clock.now_microseconds() // 1_000_000 + expires_in
    state = "" if stored is None else stored.etag
    request = SignedRequest(
        method=method,
        expires_at=expires_at,
        state=state if authorizer.is_bound else None,
        content_type=content_type,
        size=size,
    )
    return await context.url_signer.sign(bucket, name, request), expires_at


async def revoke_signed_urls(context: Context, caller: Caller, project: str) -> None:
    """Ends all signed URLs of the project."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    await context.url_signer.revoke(project)


async def put_object(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    pieces: AsyncIterator[Piece],
    declared: Declared,
    condition: Condition = NO_CONDITION,
) -> StoredObject:
    """Takes the bytes as they come; when it returns, the object exists, durably.

    Raises PermissionDenied unless the rules allow `create` or `update`, before a byte is taken and
    with all that is known then; NotFound (`BucketNotFound`), FailedPrecondition
    (`ConditionFailed`), InvalidArgument, QuotaExceeded (`ObjectTooLarge`).
    """
    check_object_name(name)
    checked = check_declared(context, declared)
    authorizer = await make_object_authorizer(context, caller, bucket)
    if authorizer.is_bound and checked.size is None:
        raise InvalidArgument("this upload needs `Content-Length`", reason="LengthRequired")
    await check_upload(context, authorizer, bucket, name, checked, condition)
    written = await context.objects.write(bucket, pieces, checked, with_md5=authorizer.looks_at_md5)
    try:
        return await context.objects.publish(
            bucket, name, written, checked, condition, checker(context, caller, bucket, name)
        )
    except BaseException as error:
        # Where it is not known whether the commit happened, the bytes have to stay.
        if isinstance(error, PermissionDenied | InvalidArgument) or is_refusal(error):
            await context.objects.discard(bucket.project, written)
        raise


def is_refusal(error: BaseException) -> bool:
    """Whether the error says for certain that nothing was committed."""
    code = getattr(error, "code", None)
    refusals = ("FAILED_PRECONDITION", "NOT_FOUND", "UNAUTHENTICATED")
    return code is not None and code.value in refusals


def checker(context: Context, caller: Caller, bucket: BucketName, name: str) -> Check:
    """The question that a transaction asks about one object, each time by what is in force then:
    the bytes may have taken an hour to come."""

    async def check(method: str, old: StoredObject | None, new: StoredObject | None) -> None:
        if caller.kind is CallerKind.USER and caller.uid and caller.session:
            await context.accounts.check_session(bucket.project, caller.uid, caller.session)
        authorizer = await make_object_authorizer(context, caller, bucket)
        await authorizer.check_stored(name, method, old, new)

    return check


def check_declared(context: Context, declared: Declared) -> Declared:
    """Raises InvalidArgument (`InvalidMetadata`, `InvalidContentType`)."""
    if declared.metadata is not None:
        maximum = context.settings.limits.object_metadata_bytes_max
        check_metadata(declared.metadata, maximum)
    if declared.content_type is not None:
        check_content_type(declared.content_type)
    return declared


async def check_upload(
    context: Context,
    authorizer: ObjectAuthorizer,
    bucket: BucketName,
    name: str,
    declared: Declared,
    condition: Condition,
) -> StoredObject | None:
    """What can be told before the bytes come; the object as it is."""
    exists, old = await context.objects.look(bucket, name)
    if authorizer.is_bound:
        kind = declared.content_type or guess(name, None)
        new = declared_resource(bucket, name, declared, kind, request_time(context))
        await authorizer.check("create" if old is None else "update", name, old, new)
    if not exists:
        raise bucket_not_found(bucket.bucket)
    condition.check(old)
    return old


async def update_object(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    *,
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    condition: Condition = NO_CONDITION,
) -> StoredObject:
    """Changes what is not None. Raises PermissionDenied unless the rules allow `update`."""
    check_object_name(name)
    check_declared(context, Declared(content_type=content_type, metadata=metadata))
    check = checker(context, caller, bucket, name)
    return await context.objects.update(bucket, name, content_type, metadata, condition, check)


async def delete_object(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    condition: Condition = NO_CONDITION,
) -> None:
    """Raises PermissionDenied unless the rules allow `delete`; NotFound (`ObjectNotFound`)."""
    check_object_name(name)
    await context.objects.delete(bucket, name, condition, checker(context, caller, bucket, name))


async def copy_object(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    target: BucketName,
    target_name: str,
    condition: Condition = NO_CONDITION,
) -> StoredObject:
    """Raises PermissionDenied unless the rules allow `get` of the one and `create` or `update` of
    the other."""
    check_object_name(name)
    check_object_name(target_name)
    return await context.objects.copy(
        bucket,
        name,
        target,
        target_name,
        condition,
        checker(context, caller, bucket, name),
        checker(context, caller, target, target_name),
    )


async def list_objects(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    *,
    prefix: str,
    delimiter: str | None,
    page_size: int,
    page_token: str | None,
) -> ObjectPage:
    """Raises PermissionDenied unless the rules allow `list`; what is there plays no part."""
    check_prefix(prefix)
    if delimiter not in (None, "", DELIMITER):
        raise InvalidArgument(
            f"`delimiter` is `{DELIMITER}`, or left out",
            reason="InvalidParameter",
            details={"parameter": "delimiter"},
        )
    by_folder = delimiter == DELIMITER
    authorizer = await make_object_authorizer(context, caller, bucket)
    await authorizer.check_list(prefix, by_folder=by_folder)
    await check_bucket(context, bucket)
    database = await context.objects.system.open(bucket.project)
    return await list_page(
        database, bucket, prefix=prefix, by_folder=by_folder, size=page_size, token=page_token
    )


# Buckets, for administrators


async def create_bucket(context: Context, caller: Caller, project: str, bucket: object) -> Bucket:
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.objects.create_bucket(project, bucket)


async def list_buckets(context: Context, caller: Caller, project: str) -> list[Bucket]:
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.objects.list_buckets(project)


async def delete_bucket(
    context: Context, caller: Caller, project: str, bucket: str, *, recursive: bool
) -> None:
    check_is_admin(caller)
    await context.projects.get_project(project)
    name = BucketName(project, check_bucket_id(bucket))
    await context.objects.delete_bucket(name, recursive=recursive)
