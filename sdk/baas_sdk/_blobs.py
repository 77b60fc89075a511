"""What the blocking and the asyncio objects of a bucket share: everything but the sending."""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from baas_sdk import _objects
from baas_sdk._objects import BucketName, ObjectInfo
from baas_sdk._transfers import Target, Wanted, Wish
from baas_sdk.errors import InvalidArgument

B = TypeVar("B", bound="BaseBlob")


class BaseBucket(Generic[B]):
    """The name of a bucket. Two of the same client are equal if their names are."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._home = BucketName(client.project, _objects.bucket_id(name))

    @property
    def name(self) -> str:
        """The bucket's id."""
        return self._home.bucket

    def blob(self, blob_name: str, chunk_size: int | None = None) -> B:
        """The name of an object, which may or may not exist. `chunk_size` is how many bytes are
        kept in memory and sent in one request; what is longer is uploaded in parts."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BaseBucket)
            and self._client is other._client
            and self._home == other._home
        )

    def __hash__(self) -> int:
        return hash(self._home)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _loaded(self, info: ObjectInfo) -> B:
        blob = self.blob(info.name)
        blob._load(info)
        return blob


class BaseBlob:
    """The name of an object, with what the server last said of it."""

    def __init__(self, bucket: Any, name: str, chunk_size: int | None) -> None:
        self._bucket = bucket
        self._name = _objects.object_name(name)
        if chunk_size is not None:
            _objects.check_count("chunk_size", chunk_size)
        self._chunk_bytes = chunk_size or _objects.CHUNK_BYTES
        self._info: ObjectInfo | None = None
        self._changes: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The object's name within its bucket."""
        return self._name

    @property
    def size(self) -> int | None:
        """Bytes; None before the object was uploaded or read from the server."""
        return None if self._info is None else self._info.size

    @property
    def content_type(self) -> str | None:
        """The declared media type. Set it before an upload, or before `patch`."""
        return self._said("content_type")  # type: ignore[no-any-return]

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        self._changes["content_type"] = _objects.described(value, None).content_type

    @property
    def sniffed_type(self) -> str | None:
        """What the server takes the bytes themselves for."""
        return None if self._info is None else self._info.sniffed_type

    @property
    def metadata(self) -> dict[str, str] | None:
        """The app's own metadata. Set it before an upload, or before `patch`, which replaces it."""
        found: Mapping[str, str] | None = self._said("metadata")
        return None if found is None else dict(found)

    @metadata.setter
    def metadata(self, value: Mapping[str, str] | None) -> None:
        self._changes["metadata"] = _objects.custom_metadata(value)

    @property
    def etag(self) -> str | None:
        """Names these bytes with this metadata, for `if_etag_match`."""
        return None if self._info is None else self._info.etag

    @property
    def generation(self) -> int | None:
        """Numbers what the name has stood for, for `if_generation_match`."""
        return None if self._info is None else self._info.generation

    @property
    def sha256(self) -> str | None:
        """The checksum of the bytes, in hexadecimal."""
        return None if self._info is None else self._info.sha256

    @property
    def md5_hash(self) -> str | None:
        """The MD5 of the bytes, where the server keeps one."""
        return None if self._info is None else self._info.md5

    @property
    def time_created(self) -> datetime | None:
        """When the object was made."""
        return None if self._info is None else self._info.time_created

    @property
    def updated(self) -> datetime | None:
        """When bytes or metadata last changed."""
        return None if self._info is None else self._info.updated

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._bucket.name}/{self._name}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BaseBlob)
            and self._bucket == other._bucket
            and self._name == other._name
        )

    def __hash__(self) -> int:
        return hash((self._bucket, self._name))

    def _said(self, key: str) -> Any:
        if key in self._changes:
            return self._changes[key]
        return None if self._info is None else getattr(self._info, key)

    def _load(self, info: ObjectInfo) -> None:
        self._info = info
        self._changes = {}

    def _wanted(self, generation: int | None, etag: str | None) -> Wanted:
        return Wanted(generation, etag, self._info)

    def _target(
        self,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        wanted: Wanted,
        *,
        guess_from: str | os.PathLike[str] | None = None,
    ) -> Target:
        chosen = content_type or self._changes.get("content_type")
        if chosen is None and guess_from is not None:
            chosen = guess_type(os.fspath(guess_from))
        custom = metadata if metadata is not None else self._changes.get("metadata")
        about = _objects.described(chosen, custom)
        return Target(self._bucket._home, self._name, about, wanted, self._chunk_bytes)

    def _wish(self, start: int | None, end: int | None, wanted: Wanted) -> Wish:
        return Wish(self._bucket._home, self._name, start or 0, end, wanted)


# What a file is by its name. Python's own table is extended by the system's files, which differ
# from one machine to the next.
_TYPES = {
    "avif": "image/avif", "bmp": "image/bmp", "css": "text/css", "csv": "text/csv",
    "gif": "image/gif", "gz": "application/gzip", "htm": "text/html", "html": "text/html",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json",
    "m4a": "audio/mp4", "md": "text/markdown", "mov": "video/quicktime", "mp3": "audio/mpeg",
    "mp4": "video/mp4", "oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg",
    "pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml",
    "tar": "application/x-tar", "txt": "text/plain", "wav": "audio/wav",
    "webm": "video/webm", "webp": "image/webp", "xml": "application/xml", "zip": "application/zip",
}  # fmt: skip


def guess_type(name: str) -> str | None:
    """The media type that a file's name suggests; None if it suggests none, and the server looks at
    the bytes."""
    return _TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None


def as_bytes(data: bytes | str) -> bytes:
    """What `upload_from_string` was given. Raises InvalidArgument."""
    if isinstance(data, str):
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidArgument("the text has a lone surrogate: it is not UTF-8") from error
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise InvalidArgument(f"upload_from_string() takes bytes or a string, not `{data!r}`")


def size_of(source: Any) -> int | None:
    """How many bytes follow in a file, None if nobody can tell: rules may ask for the size before
    the first byte is sent."""
    try:
        if inspect.iscoroutinefunction(source.seek) or not source.seekable():
            return None
        at: int = source.tell()
        end: int = source.seek(0, os.SEEK_END)
        source.seek(at)
    except (AttributeError, OSError, ValueError):
        return None
    return max(0, end - at) if isinstance(end, int) else None


def check_mode(mode: str) -> None:
    """Raises InvalidArgument."""
    if mode not in ("rb", "wb"):
        raise InvalidArgument(
            f"`mode` is `rb` or `wb`, not `{mode}`; io.TextIOWrapper makes text of a binary file"
        )


def partial_path(path: Path) -> Path:
    """A name beside the file for what is not complete yet."""
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.part")
