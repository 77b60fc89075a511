"""Names: of documents, of collections, of fields within a document.

`parse` checks everything; a constructor called directly checks nothing, which is how the server
reaches its own reserved collections (`__indexes__`) that no parsed path can name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from baas.errors import InvalidPath

ID_BYTES_MAX = 1_500
NAME_BYTES_MAX = 6 * 1024
DEPTH_MAX = 100  # collections above one another
FIELD_NAME_BYTES_MAX = 1_500

PathKey: TypeAlias = tuple[int | str, ...]

# The decimal is canonical (no leading zeros, no -0), so that equal numbers are equal ids.
_NUMERIC_ID = re.compile(r"__id(0|-?[1-9][0-9]{0,18})__", re.ASCII)
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_SIMPLE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_QUOTED_NAME = re.compile(r"`((?:[^`\\]|\\[`\\])+)`", re.DOTALL)
_QUOTED_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FIELD_TEXT_MAX = NAME_BYTES_MAX  # characters, which are never more than bytes
_SHORT_TEXT = 300  # characters; below it no length limit can be met by ASCII text


def numeric_id(segment: str) -> int | None:
    """The number of an id `__id<int64>__`; such ids sort before all others, by number."""
    if not segment.startswith("__id"):
        return None
    found = _NUMERIC_ID.fullmatch(segment)
    if found is None:
        return None
    number = int(found[1])
    return number if -(2**63) <= number < 2**63 else None


def path_key(segments: tuple[str, ...]) -> PathKey:
    """A sort key in `__name__` order: by segment, numeric ids first, others in UTF-8 byte order."""
    key: list[int | str] = []
    for segment in segments:
        number = numeric_id(segment)
        if number is None:
            key += (1, segment)
        else:
            key += (0, number)
    return tuple(key)


@dataclass(frozen=True, slots=True)
class CollectionPath:
    """An odd number of segments, relative to the database: `users` or `users/ada/orders`."""

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> CollectionPath:
        """Reads `users/ada/orders`. Raises InvalidPath."""
        if len(text) > _SHORT_TEXT:  # rare, and not worth the cache's memory
            return _parse_collection.__wrapped__(text)
        return _parse_collection(text)

    @property
    def id(self) -> str:
        return self.segments[-1]

    @property
    def parent(self) -> DocumentPath | None:
        """The document that holds the collection; None at the root."""
        return DocumentPath(self.segments[:-1]) if len(self.segments) > 1 else None

    def document(self, document_id: str) -> DocumentPath:
        """A document of this collection; `document_id` is not checked."""
        return DocumentPath((*self.segments, document_id))

    def __str__(self) -> str:
        return "/".join(self.segments)


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """An even number of segments, relative to the database: `users/ada`."""

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> DocumentPath:
        """Reads `users/ada`. Raises InvalidPath."""
        if len(text) > _SHORT_TEXT:  # rare, and not worth the cache's memory
            return _parse_document_anew(text)
        return _parse_document(text)

    @classmethod
    def parse_new(cls, text: str) -> DocumentPath:
        """As `parse`, for one that will hardly be read again soon: nothing is kept of it."""
        return _parse_document_anew(text)

    @property
    def id(self) -> str:
        return self.segments[-1]

    @property
    def collection(self) -> CollectionPath:
        return CollectionPath(self.segments[:-1])

    def child(self, collection_id: str) -> CollectionPath:
        """A collection below this document; `collection_id` is not checked."""
        return CollectionPath((*self.segments, collection_id))

    def __str__(self) -> str:
        return "/".join(self.segments)


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field within a document: one or more names."""

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> FieldPath:
        r"""Reads ``a.b.`c d` ``: names of letters, digits and underscores as they are, all others
        in backticks with \` and \\ as escapes. `__name__` alone is a document's own name; other
        names like `__this__` are reserved. Raises InvalidPath."""
        if len(text) > _SHORT_TEXT:  # rare, and not worth the cache's memory
            return _parse_field.__wrapped__(text)
        return _parse_field(text)

    def __str__(self) -> str:
        return ".".join([_quote(segment) for segment in self.segments])


def check_id(segment: str, kind: str = "id") -> None:
    """Raises InvalidPath unless `segment` may name a collection or a document."""
    if not segment:
        raise InvalidPath(f"{kind} is empty")
    if segment in (".", ".."):
        raise InvalidPath(f"{kind} `{segment}` is not allowed")
    if "/" in segment:
        raise InvalidPath(f"{kind} `{_shorten(segment)}` contains `/`")
    if _byte_length(segment, kind) > ID_BYTES_MAX:
        raise InvalidPath(
            f"{kind} `{_shorten(segment)}` is longer than {ID_BYTES_MAX} bytes", reason="IdTooLong"
        )
    if _RESERVED.fullmatch(segment) and numeric_id(segment) is None:
        raise InvalidPath(
            f"{kind} `{_shorten(segment)}` is reserved: `__` at both ends", reason="ReservedId"
        )


def check_field_name(name: str) -> None:
    """Raises InvalidPath unless `name` may name a field or a key of a map."""
    if not name:
        raise InvalidPath("field name is empty")
    if _byte_length(name, "field name") > FIELD_NAME_BYTES_MAX:
        raise InvalidPath(
            f"field name `{_shorten(name)}` is longer than {FIELD_NAME_BYTES_MAX} bytes",
            reason="FieldNameTooLong",
        )
    if _RESERVED.fullmatch(name):
        raise InvalidPath(
            f"field name `{_shorten(name)}` is reserved: `__` at both ends",
            reason="ReservedFieldName",
        )


def _parse_document_anew(text: str) -> DocumentPath:
    segments = _split(text)
    if len(segments) % 2:
        raise InvalidPath(
            f"`{_shorten(text)}` names a collection, not a document: "
            "it has an odd number of segments"
        )
    return DocumentPath(segments)


_parse_document = lru_cache(maxsize=8192)(_parse_document_anew)


@lru_cache(maxsize=1024)
def _parse_collection(text: str) -> CollectionPath:
    segments = _split(text)
    if len(segments) % 2 == 0:
        raise InvalidPath(
            f"`{_shorten(text)}` names a document, not a collection: "
            "it has an even number of segments"
        )
    return CollectionPath(segments)


def _split(text: str) -> tuple[str, ...]:
    segments = tuple(text.split("/"))
    if len(text) < _SHORT_TEXT and text.isascii() and len(segments) <= DEPTH_MAX:
        for segment in segments:
            # Only an empty id, dots and underscores in front can be wrong in short ASCII text.
            if not segment or segment[0] in "._":
                break
        else:
            return segments
    if len(segments) > 2 * DEPTH_MAX:
        raise InvalidPath(
            f"`{_shorten(text)}` nests collections deeper than {DEPTH_MAX}", reason="PathTooDeep"
        )
    for segment in segments:
        check_id(segment, "path segment")
    if _byte_length(text, "path") > NAME_BYTES_MAX:
        raise InvalidPath(
            f"path `{_shorten(text)}` is longer than {NAME_BYTES_MAX} bytes", reason="PathTooLong"
        )
    return segments


@lru_cache(maxsize=4096)
def _parse_field(text: str) -> FieldPath:
    if text == "__name__":
        return FieldPath((text,))
    if len(text) > _FIELD_TEXT_MAX:
        raise _field_too_long(text)
    segments: list[str] = []
    position = 0
    while True:
        found = _SIMPLE_NAME.match(text, position)
        if found is not None:
            segments.append(found[0])
        else:
            found = _QUOTED_NAME.match(text, position)
            if found is None:
                raise _malformed_field(text)
            segments.append(_QUOTED_ESCAPE.sub(r"\1", found[1]))
        position = found.end()
        if position == len(text):
            break
        if text[position] != ".":
            raise _malformed_field(text)
        position += 1
    for segment in segments:
        check_field_name(segment)
    if _byte_length(text, "field path") > NAME_BYTES_MAX:
        raise _field_too_long(text)
    return FieldPath(tuple(segments))


def _field_too_long(text: str) -> InvalidPath:
    return InvalidPath(
        f"field path `{_shorten(text)}` is longer than {NAME_BYTES_MAX} bytes",
        reason="PathTooLong",
    )


def _malformed_field(text: str) -> InvalidPath:
    return InvalidPath(
        f"`{_shorten(text)}` is no field path; names are joined by dots, and a name with other "
        "characters than letters, digits and underscores stands in backticks"
    )


def _quote(name: str) -> str:
    if _SIMPLE_NAME.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _byte_length(text: str, kind: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidPath(f"{kind} `{_shorten(text)}` is not valid Unicode text") from None


def _shorten(text: str) -> str:
    """For messages: bounded, and free of surrogates that no JSON encoder would write."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return shown.encode("utf-8", "backslashreplace").decode()
