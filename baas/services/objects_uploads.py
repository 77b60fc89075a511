"""Use cases on resumable uploads. An upload belongs to the caller who started it; rules are asked
when it starts, with what is declared, and when it is finished, with what has come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from baas.buckets.names import BucketName, check_object_name
from baas.buckets.objects import Check, Condition, Declared
from baas.buckets.records import StoredObject, Upload
from baas.errors import InvalidArgument, NotFound
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context
from baas.services.objects import check_bucket, check_declared, check_upload, checker
from baas.services.objects_authorizer import make_object_authorizer


async def start_upload(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    name: str,
    declared: Declared,
    condition: Condition,
) -> Upload:
    """The condition is asked for now, so that nobody sends bytes in vain, and is not kept: who
    finishes the upload says it again. Raises PermissionDenied unless the rules allow `create` or
    `update` with what is declared; FailedPrecondition (`ConditionFailed`); InvalidArgument
    (`SizeMissing`), ResourceExhausted (`TooManyUploads`)."""
    check_object_name(name)
    checked = check_declared(context, declared)
    authorizer = await make_object_authorizer(context, caller, bucket)
    if authorizer.is_bound and checked.size is None:
        raise InvalidArgument(
            "this upload needs `size`", reason="SizeMissing", details={"field": "size"}
        )
    await check_upload(context, authorizer, bucket, name, checked, condition)
    return await context.uploads.start(bucket, name, _owner(caller), checked)


async def append_upload(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    identifier: str,
    offset: int,
    chunks: AsyncIterator[bytes],
) -> Upload:
    """Takes bytes at `offset`, durably. Raises Aborted (`WrongOffset`), NotFound,
    FailedPrecondition (`TooManyPieces`)."""
    upload = await get_upload(context, caller, bucket, identifier)
    await check_bucket(context, bucket)  # it may have been deleted since
    authorizer = await make_object_authorizer(context, caller, bucket)
    return await context.uploads.append(
        bucket.project, upload, offset, chunks, with_md5=authorizer.looks_at_md5
    )


async def get_upload(
    context: Context, caller: Caller, bucket: BucketName, identifier: str
) -> Upload:
    """Raises NotFound (`UploadNotFound`) also for the upload of somebody else."""
    upload = await context.uploads.find(bucket.project, identifier)
    if upload.bucket != bucket.bucket or _owner_wanted(caller) not in (None, upload.owner):
        raise NotFound("there is no such upload, or it has expired", reason="UploadNotFound")
    return upload


async def finish_upload(
    context: Context,
    caller: Caller,
    bucket: BucketName,
    identifier: str,
    sha256: str | None,
    condition: Condition,
) -> StoredObject:
    """The object, which exists then, durably. May be repeated. Raises PermissionDenied unless the
    rules allow what has come."""

    async def make_check(place: BucketName, name: str) -> Check:
        if place != bucket:
            raise NotFound("there is no such upload, or it has expired", reason="UploadNotFound")
        return checker(context, caller, place, name)

    authorizer = await make_object_authorizer(context, caller, bucket)
    return await context.uploads.finish(
        bucket.project,
        identifier,
        _owner_wanted(caller),
        sha256,
        condition,
        make_check,
        with_md5=authorizer.looks_at_md5,
    )


async def abort_upload(
    context: Context, caller: Caller, bucket: BucketName, identifier: str
) -> None:
    upload = await get_upload(context, caller, bucket, identifier)
    await context.uploads.abort(bucket.project, upload)


def _owner(caller: Caller) -> str:
    """Who may go on with an upload. An anonymous one is known by its id only."""
    if caller.kind is CallerKind.USER:
        return f"user:{caller.uid}"
    return "anonymous" if caller.kind is CallerKind.ANONYMOUS else "server"


def _owner_wanted(caller: Caller) -> str | None:
    return None if caller.bypasses_rules else _owner(caller)
