"""Objects, their contents and uploads as documents of a project's system database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from baas.buckets.names import object_name
from baas.errors import InvalidArgument
from baas.model.documents import DocumentLike
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value

METADATA_ENTRIES_MAX = 100
CONTENT_TYPE_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of stored bytes: one key in the store."""

    id: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its metadata say. The bytes are those of `content`, which never change:
    another `generation` has other ones. `content_type` is declared (or guessed), `sniffed_type`
    what the bytes look like; None if they look like nothing known. `md5` is None where nobody asked
    for it."""

    bucket: str
    name: str
    content: str
    parts: tuple[Part, ...]
    size: int
    sha256: str
    md5: str | None
    content_type: str
    sniffed_type: str | None
    metadata: Mapping[str, str]
    created: Timestamp
    updated: Timestamp
    generation: int
    metageneration: int

    @property
    def etag(self) -> str:
        """Strong: equal means the same bytes and the same metadata of the same object."""
        return f'"{self.generation:x}-{self.metageneration:x}"'

    def to_fields(self) -> Fields:
        return {
            "content": self.content,
            "parts": encode_parts(self.parts),
            "size": self.size,
            "sha256": self.sha256,
            "md5": self.md5,
            "content_type": self.content_type,
            "sniffed_type": self.sniffed_type,
            "metadata": _pairs(self.metadata),
            "created": self.created,
            "updated": self.updated,
            "generation": self.generation,
            "metageneration": self.metageneration,
        }

    def with_metadata(
        self, now: Timestamp, content_type: str | None, metadata: Mapping[str, str] | None
    ) -> StoredObject:
        """The same bytes under other metadata; None leaves what is there."""
        return replace(
            self,
            content_type=self.content_type if content_type is None else content_type,
            metadata=self.metadata if metadata is None else metadata,
            updated=max(now, self.updated),
            metageneration=self.metageneration + 1,
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """A resumable upload in progress. `offset` bytes are durable, in `parts` of `content`. `size`,
    `sha256` None: they were not declared."""

    id: str
    bucket: str
    name: str
    owner: str
    content: str
    parts: tuple[Part, ...]
    offset: int
    size: int | None
    sha256: str | None
    content_type: str | None
    metadata: Mapping[str, str]
    expires: Timestamp

    def to_fields(self) -> Fields:
        return {
            "bucket": self.bucket,
            "name": self.name,
            "owner": self.owner,
            "content": self.content,
            "parts": encode_parts(self.parts),
            "offset": self.offset,
            "size": self.size,
            "sha256": self.sha256,
            "content_type": self.content_type,
            "metadata": _pairs(self.metadata),
            "expires": self.expires,
        }


def open_object(document: DocumentLike) -> StoredObject:
    """The object that a document holds."""
    fields = document.fields
    return StoredObject(
        bucket=document.path.segments[1],
        name=object_name(document.path.segments[-1]),
        content=str(fields["content"]),
        parts=decode_parts(fields["parts"]),
        size=_integer(fields["size"]),
        sha256=str(fields["sha256"]),
        md5=_optional_text(fields["md5"]),
        content_type=str(fields["content_type"]),
        sniffed_type=_optional_text(fields["sniffed_type"]),
        metadata=_texts(fields["metadata"]),
        created=_time(fields["created"]),
        updated=_time(fields["updated"]),
        generation=_integer(fields["generation"]),
        metageneration=_integer(fields["metageneration"]),
    )


def open_upload(document: DocumentLike) -> Upload:
    """The upload that a document holds."""
    fields = document.fields
    size = fields["size"]
    return Upload(
        id=document.path.segments[-1],
        bucket=str(fields["bucket"]),
        name=str(fields["name"]),
        owner=str(fields["owner"]),
        content=str(fields["content"]),
        parts=decode_parts(fields["parts"]),
        offset=_integer(fields["offset"]),
        size=None if size is None else _integer(size),
        sha256=_optional_text(fields["sha256"]),
        content_type=_optional_text(fields["content_type"]),
        metadata=_texts(fields["metadata"]),
        expires=_time(fields["expires"]),
    )


def encode_parts(parts: Sequence[Part]) -> Value:
    """Flat, since there may be thousands: id, size, id, size…"""
    return [item for part in parts for item in (part.id, part.size)]


def decode_parts(value: Value) -> tuple[Part, ...]:
    assert isinstance(value, list)
    pairs = zip(value[::2], value[1::2], strict=True)
    return tuple(Part(str(identifier), _integer(size)) for identifier, size in pairs)


def check_metadata(metadata: object, bytes_max: int) -> dict[str, str]:
    """Custom metadata: a map of texts. Raises InvalidArgument (`InvalidMetadata`)."""
    if not isinstance(metadata, dict):
        raise _invalid_metadata("custom metadata must be an object of strings")
    size = 0
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _invalid_metadata("each value of custom metadata must be a string")
        if not name:
            raise _invalid_metadata("a name in custom metadata must not be empty")
        try:
            size += len(name.encode()) + len(value.encode())
        except UnicodeEncodeError as error:
            raise _invalid_metadata("custom metadata must be valid Unicode") from error
    if size > bytes_max:
        raise _invalid_metadata(f"custom metadata have at most {bytes_max} bytes, not {size}")
    if len(metadata) > METADATA_ENTRIES_MAX:
        raise _invalid_metadata(f"custom metadata have at most {METADATA_ENTRIES_MAX} entries")
    return metadata


def check_content_type(text: object) -> str:
    """A media type, which will stand in a header. Raises InvalidArgument (`InvalidContentType`)."""
    if (
        not isinstance(text, str)
        or len(text) > CONTENT_TYPE_CHARACTERS_MAX
        or not text.isascii()
        or not text.isprintable()
        or text.partition(";")[0].strip().count("/") != 1
    ):
        raise InvalidArgument(
            "a content type is like `image/png` or `text/plain; charset=utf-8`, of at most "
            f"{CONTENT_TYPE_CHARACTERS_MAX} printable ASCII characters",
            reason="InvalidContentType",
            details={"field": "content_type"},
        )
    return text


def _invalid_metadata(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="InvalidMetadata", details={"field": "metadata"})


def _integer(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _time(value: Value) -> Timestamp:
    assert isinstance(value, Timestamp)
    return value


def _pairs(metadata: Mapping[str, str]) -> Value:
    """Flat, since callers name the entries and documents reserve some names of fields."""
    return [item for pair in metadata.items() for item in pair]


def _texts(value: Value) -> dict[str, str]:
    assert isinstance(value, list)
    return {str(name): str(text) for name, text in zip(value[::2], value[1::2], strict=True)}


def _optional_text(value: Value) -> str | None:
    return None if value is None else str(value)
