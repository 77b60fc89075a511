"""Where a request's path leads, read from its raw bytes.

An ASGI server hands over the path with `%2F` and broken UTF-8 already made into something else, so
a path with escapes is split first and unquoted segment by segment, strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from baas.errors import InvalidPath

_PREFIX = "/api/v1/projects/"
OBJECTS = "/api/v1/projects/{project}/buckets/{bucket}/objects"
UPLOADS = "/api/v1/projects/{project}/buckets/{bucket}/uploads"
DEFAULT_DATABASE = "(default)"


def split_documents_path(path: str, raw_path: bytes | None) -> tuple[str, str, str] | None:
    """(project, database, tail) of a path into documents, None for any other below projects.

    `tail` starts after `documents`: `/users/ada`, `:commit`. Raises InvalidPath for bad escapes.
    """
    if raw_path is not None and b"%" in raw_path:
        if path[len(_PREFIX) :].partition("/")[2].startswith("buckets/"):
            return None  # objects' names may hold what no id may
        path = unquote_path(raw_path)
    project, _, rest = path[len(_PREFIX) :].partition("/")
    if rest.startswith("documents"):
        database = DEFAULT_DATABASE
        tail = rest[9:]
    elif rest.startswith("databases/"):
        database, _, rest = rest[10:].partition("/")
        if not rest.startswith("documents"):
            return None
        tail = rest[9:]
    else:
        return None
    return (project, database, tail) if tail[:1] in ("/", ":") else None


def unquote_path(raw_path: bytes) -> str:
    """The path as text. Raises InvalidPath for invalid UTF-8 and for an escaped slash, which can be
    part of no id."""
    raw_path = raw_path.partition(b"?")[0]
    segments = []
    for raw in raw_path.split(b"/"):
        try:
            segment = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidPath("the path is not valid UTF-8", reason="InvalidPath") from error
        if "/" in segment:
            raise InvalidPath("an id cannot contain `/`, so `%2F` is refused")
        segments.append(segment)
    return "/".join(segments)


@dataclass(frozen=True, slots=True)
class ObjectsPath:
    """Where a path below a bucket leads: `route` is the path of the table of routes."""

    route: str
    project: str
    bucket: str
    name: str


def split_objects_path(path: str, raw_path: bytes | None) -> ObjectsPath | None:
    """The parts of a path into a bucket, None for any other below projects.

    What is behind the last `:` is a verb, so a colon in an object's name is written `%3A`; its
    slashes may be written as they are or as `%2F`. Raises InvalidPath for bad escapes.
    """
    project, between, rest = path[len(_PREFIX) :].partition("/buckets/")
    if not between or "/" in project:
        return None
    if raw_path is not None:
        raw = raw_path.partition(b"?")[0].decode("latin-1")
        project, _, rest = raw[len(_PREFIX) :].partition("/buckets/")
    bucket, _, rest = rest.partition("/")
    kind, slash, name = rest.partition("/")
    base = {"objects": OBJECTS, "uploads": UPLOADS}.get(kind)
    if base is None or (kind == "uploads" and not slash):
        return None
    if not slash:
        return ObjectsPath(base, _unquote(project), _unquote(bucket), "")
    name, colon, verb = name.rpartition(":") if ":" in name else (name, "", "")
    variable = "{name}" if kind == "objects" else "{upload}"
    return ObjectsPath(
        f"{base}/{variable}{colon}{verb}", _unquote(project), _unquote(bucket), _unquote(name)
    )


def _unquote(raw: str) -> str:
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")
    except UnicodeError as error:
        raise InvalidPath("the path is not valid UTF-8", reason="InvalidPath") from error
