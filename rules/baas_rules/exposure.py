"""Which allow statements let anybody in: for the guard against rules left open."""

from __future__ import annotations

from typing import Final

from baas_rules import ast
from baas_rules.abstract import ANY, Abstract, Anything, Known, PartialMap, Result, truth
from baas_rules.decision import (
    METHODS,
    OBJECT_SERVICE,
    READ_METHODS,
    WRITE_METHODS,
    Lookup,
    OpenAccess,
)
from baas_rules.errors import LimitExceeded
from baas_rules.prover import Prover, World
from baas_rules.scopes import Block, Outline
from baas_rules.source import Source
from baas_rules.values import MICROSECONDS_MAX, MICROSECONDS_MIN, Timestamp

_ANY_TIME: Final = Anything(frozenset({"timestamp"}))
_FIRST: Final = Known((Timestamp(MICROSECONDS_MIN),))
_LAST: Final = Known((Timestamp(MICROSECONDS_MAX),))
_STRING: Final = Anything(frozenset({"string"}))
_PATH: Final = Anything(frozenset({"path"}))
_GROUPS: Final = {"read": READ_METHODS, "write": WRITE_METHODS}


def open_access(source: Source, outline: Outline) -> list[OpenAccess]:
    """Every allow statement that grants to an anonymous caller whatever the document, the path and
    the new data are; and those of which only the time decides that."""
    found: list[OpenAccess] = []
    for block in outline.blocks:
        for allow in block.match.allows:
            line = source.position(allow.span.start)[0]
            always, sometimes = _open_methods(allow, block, outline.service.name)
            for methods, time_bound in ((always, False), (sometimes, True)):
                if methods:
                    found.append(OpenAccess(block.path_text, methods, line, time_bound))
    return sorted(found, key=lambda one: (one.line, one.time_bound))


def _open_methods(
    allow: ast.Allow, block: Block, service: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    named = {method for one in allow.methods for method in _GROUPS.get(one.name, (one.name,))}
    always: list[str] = []
    sometimes: list[str] = []
    for method in METHODS:
        if method not in named:
            continue
        if _grants(allow.condition, block, service, method, _ANY_TIME):
            always.append(method)
        elif any(
            _grants(allow.condition, block, service, method, time) for time in (_FIRST, _LAST)
        ):
            sometimes.append(method)
    return tuple(always), tuple(sometimes)


def _grants(
    condition: ast.Expression | None, block: Block, service: str, method: str, time: Abstract
) -> bool:
    if condition is None:
        return True
    captures: tuple[Abstract, ...] = tuple(
        _PATH if wildcard.recursive else _STRING for wildcard in block.scope.captures
    )
    try:
        result = Prover(_world(service, method, time), captures).prove(condition, block.scope)
    except (LimitExceeded, RecursionError):
        return False
    return truth(result).is_proved


def _world(service: str, method: str, time: Abstract) -> World:
    of_objects = service == OBJECT_SERVICE
    something: Abstract = PartialMap({})
    if not of_objects:
        entries: dict[str, Abstract] = {"data": PartialMap({}), "id": _STRING, "__name__": _PATH}
        something = PartialMap(entries, complete=True)
    request: dict[str, Abstract] = {
        "auth": Known((None,)),
        "method": Known((method,)),
        "path": _PATH,
        "time": time,
    }
    if method in ("create", "update"):
        request["resource"] = something
    if of_objects:
        request["params"] = PartialMap({})
    if method == "list":
        request["query"] = PartialMap({})
    resource: Abstract = something
    if method == "create" and not of_objects:
        resource = Known((None,))
    elif method in ("get", "create") or of_objects:
        resource = Anything(frozenset({"map", "null"}))
    return World(
        request=PartialMap(request, complete=True),
        resource=resource,
        look_up=_unknown_document,
        database="(default)",
        is_object_service=of_objects,
    )


def _unknown_document(lookup: Lookup) -> Result:
    return ANY
