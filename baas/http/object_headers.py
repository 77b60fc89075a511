"""The headers of objects: ranges and conditions as they are asked for, and what keeps a browser
from running what somebody uploaded."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from baas.buckets.objects import Condition, Declared
from baas.buckets.records import StoredObject, check_content_type
from baas.buckets.sniffing import DEFAULT_TYPE
from baas.errors import InvalidArgument, OutOfRange
from baas.http.exchange import Header
from baas.http.requests import Request
from baas.model.timestamps import Timestamp

HEADER_TAGS_MAX = 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,100}"', re.ASCII)
_TAGS = re.compile(rf"\s*(?:{_TAG.pattern})(?:\s*,\s*(?:{_TAG.pattern}))*\s*", re.ASCII)
# What a browser shows without running anything of it. All else is downloaded.
_INERT = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "text/plain"}
)
_INERT_FAMILIES = ("audio/", "video/")
# What a page runs or applies from wherever it is allowed to load: were it told as what it is, a
# stranger's upload would be as good as a file of this server's own to its console (`'self'`).
_LOADED = re.compile(
    r"(?:text|application)/(?:x-)?(?:java|ecma|live|j)script(?:1\.[0-5])?|text/css", re.ASCII
)
# A sandbox without any permission: should a browser show it after all, nothing in it runs.
CONTENT_SECURITY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox",
)
_SAFE_NAME = re.compile(r"[A-Za-z0-9 ._()\[\]-]{1,150}", re.ASCII)


def declared_by(request: Request) -> Declared:
    """What the headers of an upload say of its bytes. Raises InvalidArgument."""
    headers = request.headers
    length = headers.get(b"content-length")
    size = None
    if length is not None:
        if not length.isdigit() or len(length) > 18:
            raise InvalidArgument("`Content-Length` is no number", reason="InvalidHeader")
        size = int(length)
    kind = _text(headers, b"content-type")
    return Declared(
        content_type=None if kind is None else check_content_type(kind),
        size=size,
        sha256=read_sha256(_text(headers, b"x-baas-sha256"), "X-Baas-Sha256"),
        md5=_read_md5(_text(headers, b"content-md5")),
        metadata=_read_metadata(headers.get(b"x-baas-meta")),
    )


def read_sha256(text: str | None, place: str) -> str | None:
    """64 hexadecimal digits. Raises InvalidArgument."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        raise InvalidArgument(f"`{place}` is 64 hexadecimal digits", reason="InvalidChecksum")
    return text.lower()


def _read_md5(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:  # of which binascii.Error is one
        found = b""
    if len(found) != 16:
        raise InvalidArgument("`Content-MD5` is 16 bytes in base64", reason="InvalidChecksum")
    return found.hex()


def _read_metadata(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(
            "`X-Baas-Meta` is not valid JSON", reason="InvalidMetadata"
        ) from error


def write_condition(request: Request) -> Condition:
    """`If-Match` and `If-None-Match: *` of a request that changes something."""
    none_match = _text(request.headers, b"if-none-match")
    if none_match is not None and none_match.strip() != "*":
        raise InvalidArgument(
            "`If-None-Match` is `*` where something is written", reason="InvalidHeader"
        )
    match = _text(request.headers, b"if-match")
    return Condition(
        etags=() if match is None else _tags(match, "If-Match"), is_absent=none_match is not None
    )


def is_unchanged(request: Request, stored: StoredObject) -> bool:
    """Whether a read is answered with 304. Raises FailedPrecondition (`ConditionFailed`) where
    `If-Match` or `If-Unmodified-Since` names another one."""
    headers = request.headers
    match = _text(headers, b"if-match")
    if match is not None:
        Condition(etags=_tags(match, "If-Match")).check(stored)
    elif (since := _date(headers, b"if-unmodified-since")) and _modified(stored) > since:
        Condition(etags=("-",)).check(stored)
    none_match = _text(headers, b"if-none-match")
    if none_match is not None:
        tags = {tag.removeprefix("W/") for tag in _tags(none_match, "If-None-Match")}
        return bool({"*", stored.etag} & tags)
    since = _date(headers, b"if-modified-since")
    return since is not None and _modified(stored) <= since


def wanted_range(request: Request, stored: StoredObject) -> tuple[int, int] | None:
    """(start, end) of one range; None for all of it, also where several are asked for: they would
    let a small request make a large answer. Raises OutOfRange (416)."""
    text = _text(request.headers, b"range")
    if text is None:
        return None
    condition = _text(request.headers, b"if-range")
    if condition is not None and not _is_same(condition, stored):
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[0].endswith("=-"):
        return None
    first, last, size = found[1], found[2], stored.size
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < start:
            return None
    if start >= end:
        raise OutOfRange(
            f"the object has {size} bytes", reason="RangeNotSatisfiable", details={"size": size}
        )
    return start, end


def _is_same(condition: str, stored: StoredObject) -> bool:
    if condition.startswith(('"', "W/")):
        return condition == stored.etag
    date = _parse_date(condition)
    return date is not None and _modified(stored) == date


def object_headers(stored: StoredObject, download: str | None) -> list[Header]:
    """The headers of every answer with an object's bytes, without length and range."""
    shown = shown_type(stored)
    name = stored.name.rpartition("/")[2] if download is None else download
    kind = "inline" if shown is not None and download is None else "attachment"
    content_type = shown or told_type(stored)
    return [
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", disposition(kind, name)),
        (b"x-content-type-options", b"nosniff"),
        CONTENT_SECURITY,
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"etag", stored.etag.encode("ascii")),
        (b"last-modified", http_date(stored.updated)),
        (b"x-baas-sha256", stored.sha256.encode("ascii")),
        (b"cache-control", b"private, no-cache"),
        (b"accept-ranges", b"bytes"),
        (b"vary", b"authorization"),
    ]


def shown_type(stored: StoredObject) -> str | None:
    """The type under which a browser may show the object; None: it is to be downloaded. Declared
    and sniffed type have to agree on something harmless."""
    declared = stored.content_type.partition(";")[0].strip().lower()
    if declared == "text/plain":
        # Without sniffing, a browser shows whatever it is as text.
        return "text/plain; charset=utf-8"
    if declared in _INERT:
        return declared if stored.sniffed_type == declared else None
    if declared.startswith(_INERT_FAMILIES):
        sniffed = stored.sniffed_type or declared
        return declared if sniffed.startswith(_INERT_FAMILIES) else None
    return None


def told_type(stored: StoredObject) -> str:
    """The type of what is downloaded: as declared, but for scripts and style sheets."""
    declared = stored.content_type.partition(";")[0].strip().lower()
    return DEFAULT_TYPE if _LOADED.fullmatch(declared) else stored.content_type


def disposition(kind: str, name: str) -> bytes:
    """`Content-Disposition`, with any name: RFC 6266 where it is more than plain ASCII."""
    if _SAFE_NAME.fullmatch(name):
        return f'{kind}; filename="{name}"'.encode("ascii")
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}".encode("ascii")


def http_date(time: Timestamp) -> bytes:
    return _date_of_second(time.microseconds // 1_000_000)


@lru_cache(maxsize=1024)
def _date_of_second(second: int) -> bytes:
    moment = datetime.fromtimestamp(second, UTC)
    return format_datetime(moment, usegmt=True).encode("ascii")


def _modified(stored: StoredObject) -> int:
    return stored.updated.microseconds // 1_000_000


def _date(headers: Mapping[bytes, bytes], name: bytes) -> int | None:
    text = _text(headers, name)
    return None if text is None else _parse_date(text)


def _parse_date(text: str) -> int | None:
    """Seconds since 1970; None for what is no date, which is as if it were not there."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _tags(text: str, header: str) -> tuple[str, ...]:
    if text.strip() == "*":
        return ("*",)
    found = _TAG.findall(text)
    if not _TAGS.fullmatch(text) or len(found) > HEADER_TAGS_MAX:
        raise InvalidArgument(
            f'`{header}` is `*` or entity tags such as `"5f-1"`', reason="InvalidHeader"
        )
    return tuple(found)


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
