"""One query against the match statements: which of them cover all that it returns, and the world in
which their conditions are proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from baas_rules.abstract import Abstract, Anything, Known, PartialMap, Result
from baas_rules.constraints import Subject, disjuncts, subject
from baas_rules.decision import (
    OBJECT_SERVICE,
    AnyListRequest,
    Auth,
    ListRequest,
    Lookup,
    ObjectListRequest,
    Request,
    Segments,
)
from baas_rules.lookups import capture_value
from baas_rules.matching import GAP, Captures, PathTree
from baas_rules.prover import World

T = TypeVar("T")
LookUp = Callable[[Lookup], Result]

_UNKNOWN_ID: Final = Anything(frozenset({"string"}), origin="the document's id")
_UNKNOWN_PATH: Final = Anything(frozenset({"path"}), origin="the document's path")
_UNKNOWN_SEGMENT: Final = Anything(frozenset({"string"}), origin="a part of the object's name")
_UNKNOWN_NAME: Final = Anything(frozenset({"path"}), origin="the object's name")
_NAME: Final = Anything(frozenset({"string"}), origin="the object's name")
_SIZE: Final = Anything(frozenset({"int"}), origin="the object's size")


@dataclass(frozen=True, slots=True)
class DocumentListing:
    """The documents that pass one alternative of a query's filter."""

    request: ListRequest
    found: Subject

    def covering(self, tree: PathTree[T]) -> list[tuple[T, Captures]]:
        """The items whose patterns cover every document that the query may return. What a wildcard
        binds is a value, or Anything."""
        request, found = self.request, self.found
        root = ("databases", request.database, "documents")
        if found.path is not None:
            return tree.match((*root, *found.path))
        if not request.group:
            return tree.match_all((*root, *request.collection), (None,), _unknown)
        group = request.collection[-1] or None  # an empty id stands for every collection
        return tree.match_all((*root, *request.collection[:-1]), (GAP, group, None), _unknown)

    def world(self, query: Mapping[str, Any], look_up: LookUp) -> World:
        """What conditions know of the query and of any document that it returns."""
        request = self.request
        entries: dict[str, Abstract] = {
            "auth": Known((auth_map(request.auth),)),
            "method": Known(("list",)),
            "path": _UNKNOWN_PATH,
            "time": Known((request.time,)),
            "query": Known((query,)),
        }
        return World(
            request=PartialMap(entries, complete=True),
            resource=self.found.resource(request.database),
            look_up=look_up,
            database=request.database,
        )


@dataclass(frozen=True, slots=True)
class ObjectListing:
    """All objects whose names begin with a prefix."""

    request: ObjectListRequest

    def covering(self, tree: PathTree[T]) -> list[tuple[T, Captures]]:
        root = ("b", self.request.bucket, "o")
        return tree.match_all((*root, *_folders(self.request)), (None, GAP), _unknown_part)

    def world(self, query: Mapping[str, Any], look_up: LookUp) -> World:
        request = self.request
        entries: dict[str, Abstract] = {
            "auth": Known((auth_map(request.auth),)),
            "method": Known(("list",)),
            "path": _UNKNOWN_NAME,
            "time": Known((request.time,)),
            "params": Known((request.params,)),
        }
        resource: dict[str, Abstract] = {
            "name": _NAME,
            "bucket": Known((request.bucket,)),
            "size": _SIZE,
        }
        return World(
            request=PartialMap(entries, complete=True),
            resource=PartialMap(resource),
            look_up=look_up,
            database="(default)",
            is_object_service=True,
        )


Listing = DocumentListing | ObjectListing


def listings(request: AnyListRequest) -> list[Listing]:
    """The query as alternatives, each of which must be allowed."""
    if isinstance(request, ObjectListRequest):
        return [ObjectListing(request)]
    return [
        DocumentListing(request, subject(request, alternative))
        for alternative in disjuncts(request.where)
    ]


def query_map(request: ListRequest) -> dict[str, Any]:
    """`request.query`. A query without a limit has the limit null."""
    return {
        "limit": request.limit,
        "offset": request.offset,
        "orderBy": {
            ".".join(order.field): "DESC" if order.descending else "ASC"
            for order in request.order_by
        },
    }


def as_request(request: AnyListRequest) -> Request:
    """The request as conditions see it that do not look at the document or its id."""
    if isinstance(request, ObjectListRequest):
        return Request(
            method="list",
            path=("b", request.bucket, "o", *_folders(request)),
            auth=request.auth,
            time=request.time,
            service=OBJECT_SERVICE,
            params=request.params,
        )
    return Request(
        method="list",
        path=request.collection,
        auth=request.auth,
        time=request.time,
        database=request.database,
        query=query_map(request),
    )


def _folders(request: ObjectListRequest) -> Segments:
    """What is known of every listed name. Behind the last slash a prefix is but the beginning of a
    segment."""
    return tuple(request.prefix.split("/")[:-1])


def _unknown(recursive: bool) -> Anything:
    return _UNKNOWN_PATH if recursive else _UNKNOWN_ID


def _unknown_part(recursive: bool) -> Anything:
    return _UNKNOWN_NAME if recursive else _UNKNOWN_SEGMENT


def is_known(capture: Any) -> bool:
    return not isinstance(capture, Anything)


def abstract_captures(captures: Captures) -> tuple[Abstract, ...]:
    return tuple(
        capture if isinstance(capture, Anything) else Known((capture_value(capture),))
        for capture in captures
    )


def auth_map(auth: Auth | None) -> dict[str, Any] | None:
    return None if auth is None else {"uid": auth.uid, "token": auth.token}


def describe(request: AnyListRequest, *, redact: bool = False) -> str:
    """Such as `list of /users/ada/notes`; redacted, `list of /users/…/notes`."""
    if isinstance(request, ObjectListRequest):
        prefix = "…" if redact and request.prefix else request.prefix
        return f"list of objects /{prefix} in bucket {request.bucket}"
    ids = "…" if redact else None
    # What is listed is a collection, so ids stand at every other place before it.
    last = len(request.collection) - 1
    path = "/" + "/".join(
        ids if ids is not None and at % 2 and at < last else segment
        for at, segment in enumerate(request.collection)
    )
    return f"list of collection group {path}" if request.group else f"list of {path}"


def field_text(path: Segments) -> str:
    return ".".join(path)
