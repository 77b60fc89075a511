"""Objects and buckets: their names, what the server says of them, and every call about them. Pure:
nothing is sent here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from baas_sdk._requests import Call, Request
from baas_sdk._values import Tree, dumps, parse_time
from baas_sdk.errors import InvalidArgument, InvalidPath, NotFound, SdkError

NAME_BYTES_MAX = 1_024
SIGNED_SECONDS_MAX = 604_800
CHUNK_BYTES = 8 * 1024 * 1024
SIGNED_METHODS = ("GET", "PUT")
UPLOAD_OFFSET = "Upload-Offset"
CHECKSUM = "X-Baas-Sha256"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{2,62}\Z")
_MEDIA_TYPE = re.compile(r"[\x20-\x7e]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class BucketName:
    """The bucket that objects are in."""

    project: str
    bucket: str

    @property
    def url(self) -> str:
        """The bucket's path, percent-encoded."""
        return f"/api/v1/projects/{quote(self.project, safe='')}/buckets/{self.bucket}"

    def object_url(self, name: str) -> str:
        """An object's path: its name is one segment, whatever it holds."""
        return f"{self.url}/objects/{quote(name, safe='')}"

    def upload_url(self, upload: str) -> str:
        """The path of an upload that was begun."""
        return f"{self.url}/uploads/{quote(upload, safe='')}"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the server says of one object at one moment."""

    bucket: str
    name: str
    size: int
    content_type: str | None
    sniffed_type: str | None
    etag: str
    sha256: str
    md5: str | None
    metadata: Mapping[str, str]
    time_created: datetime
    updated: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold for a change to be made; an empty one always holds."""

    if_match: str | None = None
    must_be_missing: bool = False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """As HTTP says it."""
        if self.must_be_missing:
            return (("If-None-Match", "*"),)
        return () if self.if_match is None else (("If-Match", self.if_match),)

    @property
    def is_empty(self) -> bool:
        return not self.headers


ANY = Precondition()


@dataclass(frozen=True, slots=True)
class Described:
    """What an upload says of its bytes."""

    content_type: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listing:
    """Which objects to list."""

    prefix: str | None = None
    delimiter: str | None = None
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page of a list: objects, the folders beside them, and how to go on."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """How far the server has an upload."""

    offset: int
    size: int | None


# --- names and arguments --------------------------------------------------------------------------


def bucket_id(text: str) -> str:
    """Raises InvalidPath."""
    if not isinstance(text, str) or not _BUCKET.match(text):
        raise InvalidPath(
            f"`{text}` is no bucket's id: 3 to 63 of a-z, 0-9, `-`, `_` and `.`, the first a letter"
            " or digit"
        )
    return text


def object_name(text: str) -> str:
    """Raises InvalidPath."""
    if not isinstance(text, str) or not text:
        raise InvalidPath(f"an object's name is a non-empty string, not `{text!r}`")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidPath(f"`{text!r}` is not valid Unicode: it has a lone surrogate") from error
    if size > NAME_BYTES_MAX:
        raise InvalidPath(f"the name `{text[:40]}…` has {size} bytes; at most {NAME_BYTES_MAX}")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InvalidPath(f"the name `{text!r}` has a control character")
    if text in (".", ".."):
        raise InvalidPath(f"`{text}` is not allowed as an object's name")
    return text


def described(content_type: str | None, metadata: Mapping[str, str] | None) -> Described:
    """Raises InvalidArgument."""
    return Described(_content_type(content_type), custom_metadata(metadata))


def custom_metadata(metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    """Raises InvalidArgument unless it maps strings to strings."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in metadata.items()
    ):
        raise InvalidArgument(f"`metadata` maps strings to strings, `{metadata!r}` does not")
    return dict(metadata)


def _content_type(text: str | None) -> str | None:
    if text is not None and (not isinstance(text, str) or not _MEDIA_TYPE.match(text)):
        raise InvalidArgument(f"`content_type` is a media type such as `image/png`, not `{text!r}`")
    return text


def listing(prefix: str | None, delimiter: str | None, page_size: int | None) -> Listing:
    """Raises InvalidArgument."""
    for name, value in (("prefix", prefix), ("delimiter", delimiter)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"`{name}` is a string, not `{value!r}`")
    if page_size is not None:
        check_count("page_size", page_size)
    return Listing(prefix or None, delimiter or None, page_size)


def check_count(name: str, value: object) -> None:
    """Raises InvalidArgument unless it is a positive number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"`{name}` is a positive number, not `{value!r}`")


def check_upload(upload: str) -> str:
    """The id of an upload. Raises InvalidArgument."""
    if not isinstance(upload, str) or not upload:
        raise InvalidArgument(f"an upload is resumed by its id, a string, not by `{upload!r}`")
    return upload


def expires_in_seconds(expiration: timedelta | float) -> int:
    """Raises InvalidArgument for what is past, or more than seven days."""
    if isinstance(expiration, timedelta):
        expiration = expiration.total_seconds()
    if (
        isinstance(expiration, bool)
        or not isinstance(expiration, int | float)
        or not 1 <= expiration <= SIGNED_SECONDS_MAX
    ):
        raise InvalidArgument(
            "`expiration` is a timedelta or a number of seconds, from 1 to"
            f" {SIGNED_SECONDS_MAX} (seven days), not `{expiration!r}`"
        )
    return int(expiration)


# --- calls ----------------------------------------------------------------------------------------


def put_object(
    home: BucketName, name: str, body: bytes, about: Described, condition: Precondition, sha256: str
) -> Call[ObjectInfo]:
    """The whole object in one request. With a condition it is not repeated once it may have been
    sent: the first attempt, if it went through, would make the second one fail."""
    headers = [(CHECKSUM, sha256), *condition.headers]
    if about.metadata:
        headers.append(("X-Baas-Meta", json.dumps(dict(about.metadata))))  # all ASCII
    request = Request(
        "PUT",
        home.object_url(name),
        body=body,
        headers=tuple(headers),
        content_type=about.content_type or "",
        is_idempotent=condition.is_empty,
    )
    return Call(request, parse_object)


def get_metadata(home: BucketName, name: str) -> Call[ObjectInfo]:
    """Raises NotFound."""
    request = Request("GET", f"{home.object_url(name)}:metadata", is_idempotent=True)
    return Call(request, parse_object)


def find_metadata(home: BucketName, name: str) -> Call[ObjectInfo | None]:
    """None if there is no such object."""
    return Call(get_metadata(home, name).request, parse_object, _missing_object)


def patch_metadata(
    home: BucketName, name: str, changes: Tree, condition: Precondition
) -> Call[ObjectInfo]:
    """Changes what is said of an object, not its bytes."""
    request = Request(
        "PATCH",
        f"{home.object_url(name)}:metadata",
        body=dumps(changes),
        headers=condition.headers,
        is_idempotent=condition.is_empty,
    )
    return Call(request, parse_object)


def delete_object(home: BucketName, name: str, condition: Precondition) -> Call[None]:
    """Raises NotFound."""
    request = Request("DELETE", home.object_url(name), headers=condition.headers)
    return Call(request, lambda tree: None)


def copy_object(home: BucketName, name: str, bucket: str, to: str) -> Call[ObjectInfo]:
    """The copy; the bytes do not pass through here."""
    body: dict[str, Any] = {"to": to}
    if bucket != home.bucket:
        body["bucket"] = bucket
    return Call(_verb(home, name, "copy", body, is_idempotent=True), parse_object)


def sign(
    home: BucketName,
    name: str,
    method: str,
    seconds: int,
    content_type: str | None,
    size: int | None,
) -> Call[str]:
    """A path with a signature that lets anybody make this one request."""
    if method not in SIGNED_METHODS:
        raise InvalidArgument(f"`method` is one of {', '.join(SIGNED_METHODS)}, not `{method}`")
    body: dict[str, Any] = {"method": method, "expires_in": seconds}
    if content_type is not None:
        body["content_type"] = _content_type(content_type)
    if size is not None:
        body["size"] = size
    return Call(
        _verb(home, name, "sign", body, is_idempotent=True), lambda tree: _text(tree, "url")
    )


def list_objects(home: BucketName, asked: Listing, page_token: str | None) -> Call[ListedPage]:
    """One page."""
    given = {
        "prefix": asked.prefix,
        "delimiter": asked.delimiter,
        "page_size": None if asked.page_size is None else str(asked.page_size),
        "page_token": page_token,
    }
    params = tuple((name, value) for name, value in given.items() if value is not None)
    request = Request("GET", f"{home.url}/objects", params=params, is_idempotent=True)
    return Call(request, _parse_page)


def begin_upload(
    home: BucketName,
    name: str,
    about: Described,
    condition: Precondition,
    size: int | None,
) -> Call[str]:
    """The id of a new upload. Repeated, it may leave an empty one behind, which expires."""
    body: dict[str, Any] = {}
    if size is not None:
        body["size"] = size
    if about.content_type is not None:
        body["content_type"] = about.content_type
    if about.metadata:
        body["metadata"] = dict(about.metadata)
    request = Request(
        "POST",
        f"{home.object_url(name)}:upload",
        body=dumps(body),
        headers=condition.headers,
        is_idempotent=True,
    )
    return Call(request, lambda tree: _text(tree, "upload"))


def append_upload(home: BucketName, upload: str, offset: int, data: bytes) -> Call[int]:
    """The offset after the bytes. Repeated, it is refused with the true offset, which is then the
    result: so it may be repeated."""
    request = Request(
        "PATCH",
        home.upload_url(upload),
        body=data,
        headers=((UPLOAD_OFFSET, str(offset)),),
        content_type="application/octet-stream",
        is_idempotent=True,
    )
    return Call(request, lambda tree: int(tree["offset"]), _true_offset)


def upload_status(home: BucketName, upload: str) -> Call[UploadStatus]:
    """Raises NotFound for an upload that has ended or expired."""
    request = Request("GET", home.upload_url(upload), is_idempotent=True)
    return Call(request, lambda tree: UploadStatus(int(tree["offset"]), tree.get("size")))


def finish_upload(
    home: BucketName, upload: str, sha256: str, condition: Precondition
) -> Call[ObjectInfo]:
    """Makes the bytes the object, if they are those of the checksum. Repeated, the server answers
    as it did."""
    request = Request(
        "POST",
        f"{home.upload_url(upload)}:finish",
        body=dumps({"sha256": sha256}),
        headers=condition.headers,
        is_idempotent=True,
    )
    return Call(request, parse_object)


def cancel_upload(home: BucketName, upload: str) -> Call[None]:
    """Gives an upload up. One that has ended already is no error."""
    request = Request("DELETE", home.upload_url(upload), is_idempotent=True)
    return Call(request, lambda tree: None, _already_gone)


def download(
    home: BucketName, name: str, start: int, end: int | None, condition: Precondition
) -> Request:
    """The bytes from `start` up to and with `end`, as HTTP counts."""
    headers = list(condition.headers)
    if start or end is not None:
        headers.append(("Range", f"bytes={start}-{'' if end is None else end}"))
    return Request(
        "GET",
        home.object_url(name),
        headers=(*headers, ("Accept-Encoding", "identity")),
        accept="*/*",
        is_idempotent=True,
    )


# --- answers --------------------------------------------------------------------------------------


def parse_object(tree: Any) -> ObjectInfo:
    """Raises what `Call.result` makes an Internal of."""
    return ObjectInfo(
        bucket=_text(tree, "bucket"),
        name=_text(tree, "name"),
        size=int(tree["size"]),
        content_type=tree.get("content_type"),
        sniffed_type=tree.get("sniffed_type"),
        etag=_text(tree, "etag"),
        sha256=_text(tree, "sha256"),
        md5=tree.get("md5"),
        metadata=dict(tree.get("metadata") or {}),
        time_created=parse_time(tree["create_time"]),
        updated=parse_time(tree["update_time"]),
        generation=int(tree["generation"]),
    )


def _parse_page(tree: Any) -> ListedPage:
    return ListedPage(
        objects=tuple(parse_object(item) for item in tree["objects"]),
        prefixes=tuple(tree.get("prefixes") or ()),
        next_page_token=tree.get("next_page_token") or None,
    )


def _verb(home: BucketName, name: str, verb: str, body: Tree, *, is_idempotent: bool) -> Request:
    return Request(
        "POST",
        f"{home.object_url(name)}:{verb}",
        body=dumps(body),
        is_idempotent=is_idempotent,
    )


def _text(tree: Any, key: str) -> str:
    value = tree[key]
    if not isinstance(value, str):
        raise TypeError(f"`{key}` is not a string")
    return value


def _missing_object(error: SdkError) -> None:
    if isinstance(error, NotFound) and error.reason == "ObjectNotFound":
        return
    raise error


def _already_gone(error: SdkError) -> None:
    if not isinstance(error, NotFound):
        raise error


def _true_offset(error: SdkError) -> int:
    offset = (error.details or {}).get("offset")
    if isinstance(offset, int) and not isinstance(offset, bool):
        return offset
    raise error
