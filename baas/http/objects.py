"""Objects over HTTP: bodies and headers to use cases, their results to bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from baas.buckets.names import BucketName
from baas.buckets.objects import Bucket
from baas.buckets.records import StoredObject
from baas.buckets.signing import LIFETIME_SECONDS_MAX
from baas.buckets.thumbnails import SIZES
from baas.errors import OutOfRange
from baas.http.answers import Answer, AnyAnswer, error_answer, json_answer
from baas.http.exchange import Header, in_task
from baas.http.object_answers import ObjectAnswer
from baas.http.object_headers import (
    CONTENT_SECURITY,
    declared_by,
    is_unchanged,
    object_headers,
    wanted_range,
    write_condition,
)
from baas.http.paths import OBJECTS
from baas.http.requests import Request, boolean_parameter, integer_parameter
from baas.services import objects
from baas.wire.documents import time_text
from baas.wire.objects import check_integer, check_object, check_string, invalid

_NO_PARAMETERS: frozenset[str] = frozenset()
_LIST = frozenset({"prefix", "delimiter", "page_size", "page_token"})
_GET = frozenset({"download", "thumbnail", "signature"})
_PUT = frozenset({"signature"})
_UPDATE = frozenset({"content_type", "metadata"})
_COPY = frozenset({"to", "bucket"})
_SIGN = frozenset({"method", "expires_in", "content_type", "size"})
_THUMBNAILS = tuple(str(size) for size in SIZES)
_BUCKET = frozenset({"id"})
_DELETE_BUCKET = frozenset({"recursive"})
PAGE_SIZE_DEFAULT = 100
DOWNLOAD_CHARACTERS_MAX = 255


async def put_object(request: Request) -> Answer:
    signature = request.query(_PUT).get("signature")
    bucket = await named_bucket(request)
    context, name, pieces = request.context, request.params["name"], request.stream_pieces()
    declared, condition = declared_by(request), write_condition(request)
    if signature is not None:
        stored = await objects.put_signed(
            context, bucket, name, pieces, declared, condition, signature
        )
    else:
        stored = await objects.put_object(
            context, request.caller, bucket, name, pieces, declared, condition
        )
    return object_answer(stored)


async def get_object(request: Request) -> AnyAnswer:
    query = request.query(_GET)
    download = query.get("download")
    if download is not None:
        check_string(download, "download", maximum=DOWNLOAD_CHARACTERS_MAX)
    thumbnail = _thumbnail_size(query)
    bucket = await named_bucket(request)
    context, name, signature = request.context, request.params["name"], query.get("signature")
    if signature is not None:
        opened = await objects.open_signed(context, bucket, name, signature)
    else:
        opened = await objects.open_object(context, request.caller, bucket, name)
    stored = opened.stored
    headers = object_headers(stored, download)
    if thumbnail is not None:
        await in_task()
        return await _thumbnail(request, opened, thumbnail)
    if is_unchanged(request, stored):
        return _unchanged(headers)
    try:
        wanted = wanted_range(request, stored)
    except OutOfRange as error:
        refused = error_answer(error, request.id)
        refused.headers.append((b"content-range", b"bytes */%d" % stored.size))
        return refused
    start, end = wanted or (0, stored.size)
    status = 200 if wanted is None else 206
    headers.append((b"content-length", b"%d" % (end - start)))
    if wanted is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, stored.size)))
    data = None if request.method == "HEAD" else opened.read_at_once(start, end)
    if data is None:
        return ObjectAnswer(opened, start, end, status=status, headers=headers)
    answer = Answer(data, status=status)
    answer.headers = headers
    return answer


def _unchanged(headers: list[Header]) -> Answer:
    answer = Answer(b"", status=304)
    answer.headers = [one for one in headers if one[0] != b"content-type"]
    return answer


def _thumbnail_size(query: dict[str, str]) -> int | None:
    text = query.get("thumbnail")
    if text is None:
        return None
    if text not in _THUMBNAILS:
        raise invalid("thumbnail", f"is one of {', '.join(_THUMBNAILS)}")
    return int(text)


async def _thumbnail(request: Request, opened: objects.OpenedObject, size: int) -> Answer:
    stored = opened.stored
    etag = b'"%b-t%d"' % (stored.etag.strip('"').encode("ascii"), size)
    headers: list[Header] = [
        (b"x-content-type-options", b"nosniff"),
        CONTENT_SECURITY,
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"content-disposition", b'inline; filename="thumbnail.webp"'),
        (b"etag", etag),
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"authorization"),
    ]
    if request.headers.get(b"if-none-match") == etag:
        return _unchanged(headers)
    made = await opened.thumbnail(size)
    answer = Answer(made, content_type=b"image/webp")
    answer.headers = [
        (b"content-type", b"image/webp"),
        (b"content-length", b"%d" % len(made)),
        *headers,
    ]
    return answer


async def sign_object(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_SIGN, required=("method", "expires_in")
    )
    bucket = await named_bucket(request)
    name, size = request.params["name"], members.get("size")
    signature, expires_at = await objects.sign_url(
        request.context,
        request.caller,
        bucket,
        name,
        method=check_string(members["method"], "method"),
        expires_in=check_integer(
            members["expires_in"], "expires_in", minimum=1, maximum=LIFETIME_SECONDS_MAX
        ),
        content_type=members.get("content_type"),
        size=None if size is None else check_integer(size, "size", minimum=0, maximum=2**60),
    )
    path = OBJECTS.format(project=bucket.project, bucket=bucket.bucket)
    # Only what is unreserved stays as it is, so that no client or proxy reads it differently.
    url = f"{path}/{quote(name, safe='/')}?signature={signature}"
    return json_answer({"url": url, "expires_at": time_text(expires_at * 1_000_000)})


async def revoke_signed_urls(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    await objects.revoke_signed_urls(request.context, request.caller, request.params["project"])
    return json_answer({})


async def get_object_metadata(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    bucket = await named_bucket(request)
    opened = await objects.open_object(
        request.context, request.caller, bucket, request.params["name"]
    )
    return object_answer(opened.stored)


async def update_object(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_UPDATE)
    bucket = await named_bucket(request)
    stored = await objects.update_object(
        request.context,
        request.caller,
        bucket,
        request.params["name"],
        content_type=members.get("content_type"),
        metadata=members.get("metadata"),
        condition=write_condition(request),
    )
    return object_answer(stored)


async def delete_object(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    bucket = await named_bucket(request)
    await objects.delete_object(
        request.context,
        request.caller,
        bucket,
        request.params["name"],
        write_condition(request),
    )
    return json_answer({})


async def copy_object(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_COPY, required=("to",))
    to = check_string(members["to"], "to")
    bucket = await named_bucket(request)
    target = bucket
    if "bucket" in members:
        identifier = check_string(members["bucket"], "bucket")
        target = await objects.name_bucket(request.context, bucket.project, identifier)
    stored = await objects.copy_object(
        request.context,
        request.caller,
        bucket,
        request.params["name"],
        target,
        to,
        write_condition(request),
    )
    return object_answer(stored)


async def list_objects(request: Request) -> Answer:
    query = request.query(_LIST)
    maximum = request.context.settings.limits.object_page_max
    bucket = await named_bucket(request)
    page = await objects.list_objects(
        request.context,
        request.caller,
        bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter"),
        page_size=integer_parameter(
            query, "page_size", min(PAGE_SIZE_DEFAULT, maximum), minimum=1, maximum=maximum
        ),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {
        "objects": [encode_object(stored) for stored in page.objects],
        "prefixes": page.prefixes,
    }
    if page.next_token is not None:
        tree["next_page_token"] = page.next_token
    return json_answer(tree)


# Administration


async def list_buckets(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await objects.list_buckets(request.context, request.caller, request.params["project"])
    return json_answer({"buckets": [_encode_bucket(bucket) for bucket in found]})


async def create_bucket(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_BUCKET, required=("id",))
    made = await objects.create_bucket(
        request.context, request.caller, request.params["project"], members["id"]
    )
    return json_answer(_encode_bucket(made), status=201)


async def delete_bucket(request: Request) -> Answer:
    query = request.query(_DELETE_BUCKET)
    params = request.params
    await objects.delete_bucket(
        request.context,
        request.caller,
        params["project"],
        params["bucket"],
        recursive=boolean_parameter(query, "recursive") or False,
    )
    return json_answer({})


# In JSON


def object_answer(stored: StoredObject) -> Answer:
    """An object's metadata."""
    answer = json_answer(encode_object(stored))
    answer.headers.append((b"etag", stored.etag.encode("ascii")))
    return answer


def encode_object(stored: StoredObject) -> dict[str, Any]:
    return {
        "bucket": stored.bucket,
        "name": stored.name,
        "size": stored.size,
        "content_type": stored.content_type,
        "sniffed_type": stored.sniffed_type,
        "etag": stored.etag,
        "sha256": stored.sha256,
        "md5": stored.md5,
        "metadata": dict(stored.metadata),
        "create_time": time_text(stored.created.microseconds),
        "update_time": time_text(stored.updated.microseconds),
        "generation": stored.generation,
    }


def _encode_bucket(bucket: Bucket) -> dict[str, Any]:
    return {"id": bucket.id, "created": time_text(bucket.created.microseconds)}


async def named_bucket(request: Request) -> BucketName:
    """The bucket that the path names."""
    assert request.project is not None
    return await objects.name_bucket(request.context, request.project, request.params["bucket"])
