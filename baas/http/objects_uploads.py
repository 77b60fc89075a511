"""Resumable uploads over HTTP."""

from __future__ import annotations

from typing import Any

from baas.buckets.objects import Declared
from baas.buckets.records import Upload
from baas.errors import InvalidArgument
from baas.http.answers import Answer, json_answer
from baas.http.object_headers import read_sha256, write_condition
from baas.http.objects import named_bucket, object_answer
from baas.http.requests import Request, parse_json
from baas.services import objects_uploads as uploads
from baas.wire.documents import time_text
from baas.wire.objects import check_integer, check_object, check_string

_NO_PARAMETERS: frozenset[str] = frozenset()
_START = frozenset({"size", "content_type", "metadata", "sha256"})
_FINISH = frozenset({"sha256"})


async def start_upload(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await _optional_json(request), "", allowed=_START)
    size, sha256 = members.get("size"), members.get("sha256")
    declared = Declared(
        content_type=members.get("content_type"),
        size=None if size is None else check_integer(size, "size", minimum=0, maximum=2**60),
        sha256=read_sha256(None if sha256 is None else check_string(sha256, "sha256"), "sha256"),
        metadata=members.get("metadata"),
    )
    bucket = await named_bucket(request)
    upload = await uploads.start_upload(
        request.context,
        request.caller,
        bucket,
        request.params["name"],
        declared,
        write_condition(request),
    )
    return json_answer(_encode_upload(upload))


async def append_upload(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    text = request.headers.get(b"upload-offset", b"")
    if not text.isdigit() or len(text) > 18:
        raise InvalidArgument(
            "this call needs the header `Upload-Offset`, a number of bytes", reason="OffsetMissing"
        )
    bucket = await named_bucket(request)
    upload = await uploads.append_upload(
        request.context,
        request.caller,
        bucket,
        request.params["upload"],
        int(text),
        request.stream_body(),
    )
    return _offset_answer(upload)


async def get_upload(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    bucket = await named_bucket(request)
    upload = await uploads.get_upload(
        request.context, request.caller, bucket, request.params["upload"]
    )
    return _offset_answer(upload)


async def finish_upload(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await _optional_json(request), "", allowed=_FINISH)
    sha256 = members.get("sha256")
    bucket = await named_bucket(request)
    stored = await uploads.finish_upload(
        request.context,
        request.caller,
        bucket,
        request.params["upload"],
        read_sha256(None if sha256 is None else check_string(sha256, "sha256"), "sha256"),
        write_condition(request),
    )
    return object_answer(stored)


async def abort_upload(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    bucket = await named_bucket(request)
    await uploads.abort_upload(request.context, request.caller, bucket, request.params["upload"])
    return json_answer({})


async def _optional_json(request: Request) -> Any:
    body = await request.read_body()
    return parse_json(body) if body else {}


def _encode_upload(upload: Upload) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "upload": upload.id,
        "offset": upload.offset,
        "expires_at": time_text(upload.expires.microseconds),
    }
    if upload.size is not None:
        tree["size"] = upload.size
    return tree


def _offset_answer(upload: Upload) -> Answer:
    answer = json_answer(_encode_upload(upload))
    answer.headers.append((b"upload-offset", b"%d" % upload.offset))
    return answer
