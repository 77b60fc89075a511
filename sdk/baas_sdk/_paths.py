"""Names of documents, collections and fields, checked before anything is sent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from baas_sdk.errors import InvalidPath

ID_BYTES_MAX = 1_500
SEGMENTS_MAX = 200
DOCUMENT_ID = "__name__"
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SIMPLE_FIELD = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RESERVED = re.compile(r"__.*__\Z", re.DOTALL)
_NUMERIC_ID = re.compile(r"__id(0|-?[1-9][0-9]{0,18})__\Z")
_FORBIDDEN_UNQUOTED = frozenset("~*/[]")


@dataclass(frozen=True, slots=True)
class DatabaseName:
    """The database that a client works on."""

    project: str
    database: str = "(default)"

    @property
    def documents_url(self) -> str:
        """The path of the documents' root, percent-encoded."""
        project, database = quote(self.project, safe=""), quote(self.database, safe="()")
        return f"/api/v1/projects/{project}/databases/{database}/documents"


def new_document_id() -> str:
    """20 characters of [A-Za-z0-9], about 119 bits of randomness."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))


@lru_cache(maxsize=4096)
def check_path(path: str) -> tuple[str, ...]:
    """The segments of `users/ada`, each a legal id. Raises InvalidPath."""
    segments = tuple(path.split("/"))
    for segment in segments:
        _check_id(segment, path)
    if len(segments) > SEGMENTS_MAX:
        raise InvalidPath(f"`{path[:80]}…` has {len(segments)} segments; at most {SEGMENTS_MAX}")
    return segments


def join_path(parts: Iterable[str]) -> str:
    """`("users", "ada")` and `("users/ada",)` as `users/ada`. Raises InvalidPath."""
    listed = list(parts)
    for part in listed:
        if not isinstance(part, str):
            raise InvalidPath(f"a path is made of strings, `{part!r}` is none")
    path = "/".join(listed)
    check_path(path)
    return path


def document_path(*parts: str) -> str:
    """An even number of segments: `users/ada`. Raises InvalidPath."""
    path = join_path(parts)
    if len(check_path(path)) % 2:
        raise InvalidPath(
            f"`{path}` names a collection; a document's path has an even number of segments,"
            f" such as `{path}/some-id`"
        )
    return path


def collection_path(*parts: str) -> str:
    """An odd number of segments: `users` or `users/ada/orders`. Raises InvalidPath."""
    path = join_path(parts)
    if len(check_path(path)) % 2 == 0:
        raise InvalidPath(
            f"`{path}` names a document; a collection's path has an odd number of segments,"
            f" such as `{path.rsplit('/', 1)[0]}`"
        )
    return path


def collection_id(text: str) -> str:
    """One segment: the id that all collections of a group share. Raises InvalidPath."""
    if not isinstance(text, str) or "/" in text:
        raise InvalidPath(f"a collection group is named by one id without `/`, not by `{text!r}`")
    return collection_path(text)


def url_path(path: str) -> str:
    """The path with each segment percent-encoded."""
    return "/".join(quote(segment, safe="") for segment in path.split("/"))


def _check_id(segment: str, path: str) -> None:
    if not segment:
        raise InvalidPath(f"`{path}` has an empty segment; write it as `users/ada`")
    if segment in (".", ".."):
        raise InvalidPath(f"`{path}`: `{segment}` is not allowed as an id")
    try:
        size = len(segment.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidPath(f"`{path!r}` is not valid Unicode: it has a lone surrogate") from error
    if size > ID_BYTES_MAX:
        raise InvalidPath(f"the id `{segment[:40]}…` has {size} bytes; at most {ID_BYTES_MAX}")
    if _RESERVED.match(segment) and not _is_numeric_id(segment):
        raise InvalidPath(f"`{path}`: ids of the form `__…__` are reserved")


def _is_numeric_id(segment: str) -> bool:
    found = _NUMERIC_ID.match(segment)
    return found is not None and -(2**63) <= int(found.group(1)) < 2**63


class FieldPath:
    """A field within a document, one part per level: `FieldPath("address", "zip code")`.

    Where a method takes a field path, a string such as `"address.city"` is split at its dots; parts
    with other characters stand in backticks (`` "address.`zip.code`" ``) or are given by this
    class.
    """

    __slots__ = ("parts",)

    parts: tuple[str, ...]

    def __init__(self, *parts: str) -> None:
        if not parts:
            raise InvalidPath("a field path has at least one part")
        for part in parts:
            if not isinstance(part, str) or not part:
                raise InvalidPath(f"a field path's parts are non-empty strings, not `{part!r}`")
        object.__setattr__(self, "parts", parts)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a FieldPath does not change; `{name}` cannot be set")

    @staticmethod
    def document_id() -> str:
        """The name under which queries address a document's id: `__name__`."""
        return DOCUMENT_ID

    @classmethod
    def parse(cls, path: str | FieldPath) -> FieldPath:
        """Raises InvalidPath, with the place of the fault."""
        return path if isinstance(path, FieldPath) else _parse_field_path(path)

    def is_prefix_of(self, other: FieldPath) -> bool:
        """True also for the path itself."""
        return other.parts[: len(self.parts)] == self.parts

    def __str__(self) -> str:
        return ".".join(_quote_field(part) for part in self.parts)

    def __repr__(self) -> str:
        return f"FieldPath({', '.join(map(repr, self.parts))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldPath) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


def _quote_field(part: str) -> str:
    if _SIMPLE_FIELD.match(part):
        return part
    return "`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`"


@lru_cache(maxsize=4096)
def _parse_field_path(text: str) -> FieldPath:
    if not isinstance(text, str) or not text:
        raise InvalidPath(f"a field path is a non-empty string or a FieldPath, not `{text!r}`")
    parts: list[str] = []
    at = 0
    while True:
        part, at = _quoted_part(text, at) if text[at : at + 1] == "`" else _plain_part(text, at)
        parts.append(part)
        if at == len(text):
            return _check_reserved(FieldPath(*parts))
        at += 1  # the dot


def _check_reserved(path: FieldPath) -> FieldPath:
    if path.parts != (DOCUMENT_ID,):
        for part in path.parts:
            if _RESERVED.match(part):
                raise InvalidPath(
                    f"the field path `{path}`: names of the form `__…__` are reserved"
                )
    return path


def _plain_part(text: str, at: int) -> tuple[str, int]:
    end = text.find(".", at)
    end = len(text) if end < 0 else end
    part = text[at:end]
    if not part:
        raise InvalidPath(f"the field path `{text}` has an empty part at character {at}")
    if "`" in part or not _FORBIDDEN_UNQUOTED.isdisjoint(part):
        raise InvalidPath(
            f"the field path `{text}`: `{part}` must be quoted; give FieldPath({part!r}) instead"
        )
    return part, end


def _quoted_part(text: str, at: int) -> tuple[str, int]:
    read: list[str] = []
    position = at + 1
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            if text[position + 1 : position + 2] not in ("\\", "`"):
                raise InvalidPath(f"the field path `{text}`: `\\` stands before `\\` or a backtick")
            read.append(text[position + 1])
            position += 2
        elif letter == "`":
            if text[position + 1 : position + 2] not in ("", "."):
                raise InvalidPath(f"the field path `{text}`: a dot must follow a quoted part")
            if not read:
                raise InvalidPath(f"the field path `{text}` has an empty part at character {at}")
            return "".join(read), position + 1
        else:
            read.append(letter)
            position += 1
    raise InvalidPath(f"the field path `{text}` has a backtick that is never closed")
