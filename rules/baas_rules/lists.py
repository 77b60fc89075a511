"""One query against the match statements: which of them cover all that it returns, and the world in
which their conditions are proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from baas_rules.abstract import Abstract, Anything, Known, PartialMap, Result
from baas_rules.constraints import Subject
from baas_rules.decision import Auth, ListRequest, Lookup, Request, Segments
from baas_rules.lookups import capture_value
from baas_rules.matching import GAP, Captures, PathTree
from baas_rules.prover import World

T = TypeVar("T")

_UNKNOWN_ID: Final = Anything(frozenset({"string"}), origin="the document's id")
_UNKNOWN_PATH: Final = Anything(frozenset({"path"}), origin="the document's path")


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


def as_request(request: ListRequest) -> Request:
    """The request as conditions see it that do not look at the document or its id."""
    return Request(
        method="list",
        path=request.collection,
        auth=request.auth,
        time=request.time,
        database=request.database,
        query=query_map(request),
    )


def covering(tree: PathTree[T], request: ListRequest, found: Subject) -> list[tuple[T, Captures]]:
    """The items whose patterns cover every document that the query may return. What a wildcard
    binds is a value, or Anything."""
    root = ("databases", request.database, "documents")
    if found.path is not None:
        return tree.match((*root, *found.path))
    if not request.group:
        return tree.match_all((*root, *request.collection), (None,), _unknown)
    group = request.collection[-1] or None  # an empty id stands for every collection
    return tree.match_all((*root, *request.collection[:-1]), (GAP, group, None), _unknown)


def _unknown(recursive: bool) -> Anything:
    return _UNKNOWN_PATH if recursive else _UNKNOWN_ID


def is_known(capture: Any) -> bool:
    return not isinstance(capture, Anything)


def abstract_captures(captures: Captures) -> tuple[Abstract, ...]:
    return tuple(
        capture if isinstance(capture, Anything) else Known((capture_value(capture),))
        for capture in captures
    )


def world(
    request: ListRequest,
    query: Mapping[str, Any],
    found: Subject,
    look_up: Callable[[Lookup], Result],
) -> World:
    """What conditions know of the query and of any document that it returns."""
    entries: dict[str, Abstract] = {
        "auth": Known((auth_map(request.auth),)),
        "method": Known(("list",)),
        "path": _UNKNOWN_PATH,
        "time": Known((request.time,)),
        "query": Known((query,)),
    }
    return World(
        request=PartialMap(entries, complete=True),
        resource=found.resource(request.database),
        look_up=look_up,
        database=request.database,
    )


def auth_map(auth: Auth | None) -> dict[str, Any] | None:
    return None if auth is None else {"uid": auth.uid, "token": auth.token}


def describe(request: ListRequest) -> str:
    path = "/" + "/".join(request.collection)
    return f"list of collection group {path}" if request.group else f"list of {path}"


def field_text(path: Segments) -> str:
    return ".".join(path)
