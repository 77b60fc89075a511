"""Which allow statements let anybody in: for the guard against rules left open."""

from __future__ import annotations

from typing import Final

from baas_rules import ast
from baas_rules.abstract import Abstract, Known, truth
from baas_rules.decision import OpenAccess
from baas_rules.errors import LimitExceeded
from baas_rules.limits import FILE_VISITS_MAX
from baas_rules.metering import is_spent, metered
from baas_rules.prover import Prover
from baas_rules.scopes import Block, Outline
from baas_rules.source import Source
from baas_rules.values import MICROSECONDS_MAX, MICROSECONDS_MIN, Timestamp
from baas_rules.worlds import ANONYMOUS, ANY_TIME, captures_of, methods_of, open_world

_FIRST: Final = Known((Timestamp(MICROSECONDS_MIN),))
_LAST: Final = Known((Timestamp(MICROSECONDS_MAX),))


def open_access(source: Source, outline: Outline) -> list[OpenAccess]:
    """Every allow statement that grants to an anonymous caller whatever the document, the path and
    the new data are; and those of which only the time decides that. A file that takes too long to
    judge counts as open where it is not judged."""
    return metered(lambda: _open_access(source, outline), FILE_VISITS_MAX)


def _open_access(source: Source, outline: Outline) -> list[OpenAccess]:
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
    always: list[str] = []
    sometimes: list[str] = []
    for method in methods_of(tuple(one.name for one in allow.methods)):
        if grants_to(allow, block, service, method):
            always.append(method)
        elif any(grants_to(allow, block, service, method, time=time) for time in (_FIRST, _LAST)):
            sometimes.append(method)
    return tuple(always), tuple(sometimes)


def grants_to(
    allow: ast.Allow,
    block: Block,
    service: str,
    method: str,
    *,
    auth: Abstract = ANONYMOUS,
    time: Abstract = ANY_TIME,
) -> bool:
    """Whether a statement grants to such a caller, whatever else there is."""
    if allow.condition is None:
        return True
    world = open_world(service, method, auth=auth, time=time)
    try:
        result = Prover(world, captures_of(block)).prove(allow.condition, block.scope)
    except (LimitExceeded, RecursionError):
        # What passes a limit denies. What there was no time to judge must not pass for closed.
        return is_spent()
    return truth(result).is_proved
