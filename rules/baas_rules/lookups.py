"""The documents that paths in rules name."""

from __future__ import annotations

import re
from typing import Any, Final

from baas_rules.decision import OBJECT_SERVICE, Lookup, Request, Segments
from baas_rules.errors import EvaluationError
from baas_rules.operators import document_name
from baas_rules.values import Path, type_name

_RESERVED_ID: Final = re.compile(r"__(?!id-?[0-9]+__\Z).*__", re.DOTALL)
_DOCUMENT_SEGMENTS_MAX: Final = 200
_NAME_BYTES_MAX: Final = 6 * 1024


def lookup_of(value: Any, database: str, *, after: bool) -> Lookup:
    """The document that a path names. Raises EvaluationError if it cannot name one."""
    if value.__class__ is not Path:
        raise EvaluationError(f"a lookup takes a path, not {type_name(value)}")
    if value.segments[:3] != ("databases", database, "documents"):
        raise EvaluationError(f"`{value}` is not below /databases/{database}/documents")
    return Lookup(_below(value), after)


def cross_lookup_of(value: Any) -> Lookup:
    """The document, of any database of the project, that a path in rules of objects names."""
    if value.__class__ is not Path:
        raise EvaluationError(f"a lookup takes a path, not {type_name(value)}")
    root = value.segments[:3]
    if len(root) < 3 or root[0] != "databases" or root[2] != "documents":
        raise EvaluationError(f"`{value}` is not below /databases/(default)/documents")
    return Lookup(_below(value), database=root[1])


def _below(value: Path) -> Segments:
    """The path below the documents root. Raises EvaluationError if no document is called so."""
    below = value.segments[3:]
    if not below or len(below) % 2 or len(below) > _DOCUMENT_SEGMENTS_MAX:
        raise EvaluationError(f"`{value}` is not the path of a document")
    for segment in below:
        if not segment or segment[0] in "._" or "/" in segment or len(segment) > 375:
            _check_id(segment, value)
    if len(below) > 2 and sum(len(segment.encode()) for segment in below) > _NAME_BYTES_MAX:
        raise EvaluationError("the path is too long")
    return below


def _check_id(segment: str, path: Path) -> None:
    if (
        not segment
        or segment in (".", "..")
        or "/" in segment
        or len(segment.encode()) > 1500
        or _RESERVED_ID.fullmatch(segment)
    ):
        raise EvaluationError(f"`{path}` is not the path of a document")


def request_path(request: Request) -> Path:
    """`request.path`: the full path of what is asked for."""
    if request.service == OBJECT_SERVICE:
        return Path(request.path)
    return document_name(request.path, request.database)


def capture_value(capture: Any) -> Any:
    """What a wildcard binds, as a value: the segments of a recursive one are a path."""
    return Path(capture) if capture.__class__ is tuple else capture
