"""Worlds of which little is known: for what can be said of a condition whatever is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from baas_rules.abstract import ANY, Abstract, Anything, Known, PartialMap, Result
from baas_rules.decision import METHODS, OBJECT_SERVICE, READ_METHODS, WRITE_METHODS, Lookup
from baas_rules.prover import World
from baas_rules.scopes import Block

METHOD_GROUPS: Final = {"read": READ_METHODS, "write": WRITE_METHODS}
ANY_TIME: Final = Anything(frozenset({"timestamp"}))
ANONYMOUS: Final = Known((None,))
STRING: Final = Anything(frozenset({"string"}))
PATH: Final = Anything(frozenset({"path"}))
SIGNED_IN: Final = PartialMap({"uid": STRING, "token": PartialMap({})}, complete=True)
_INT: Final = Anything(frozenset({"int"}))


def methods_of(names: tuple[str, ...]) -> Iterator[str]:
    """The methods that an allow statement names, groups expanded, in the order of METHODS."""
    named = {method for name in names for method in METHOD_GROUPS.get(name, (name,))}
    return (method for method in METHODS if method in named)


def captures_of(block: Block) -> tuple[Abstract, ...]:
    return tuple(PATH if wildcard.recursive else STRING for wildcard in block.scope.captures)


def open_world(
    service: str,
    method: str,
    *,
    auth: Abstract = ANONYMOUS,
    time: Abstract = ANY_TIME,
    exists: bool | None = None,
) -> World:
    """A request by somebody, of which nothing else is known; or only whether the document, or
    object, exists."""
    of_objects = service == OBJECT_SERVICE
    something: Abstract = PartialMap({})
    if not of_objects:
        entries: dict[str, Abstract] = {"data": PartialMap({}), "id": STRING, "__name__": PATH}
        something = PartialMap(entries, complete=True)
    request: dict[str, Abstract] = {
        "auth": auth,
        "method": Known((method,)),
        "path": PATH,
        "time": time,
    }
    if method in ("create", "update"):
        request["resource"] = something
    if of_objects:
        request["params"] = PartialMap({})
    if method == "list" and not of_objects:
        query: dict[str, Abstract] = {
            "limit": Anything(frozenset({"int", "null"})),
            "offset": _INT,
            "orderBy": PartialMap({}),
        }
        request["query"] = PartialMap(query)
    return World(
        request=PartialMap(request, complete=True),
        resource=_stored(method, something, exists, of_objects=of_objects),
        look_up=_unknown_document,
        database="(default)",
        is_object_service=of_objects,
    )


def _stored(method: str, something: Abstract, exists: bool | None, *, of_objects: bool) -> Abstract:
    if method == "create" and not of_objects:
        return Known((None,))
    if method in ("get", "create") or of_objects:
        if exists is None:
            return Anything(frozenset({"map", "null"}))
        return something if exists else Known((None,))
    return something


def _unknown_document(lookup: Lookup) -> Result:
    return ANY
