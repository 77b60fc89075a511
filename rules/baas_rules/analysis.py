"""What can be said of an expression without evaluating it, its calls expanded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from baas_rules import ast
from baas_rules.limits import EXPRESSIONS_MAX, GROWTH_MAX, WALKS_MAX
from baas_rules.scopes import Declared, Outline, Scope

_GROWTH_TOLD_MAX: Final = 2**40


@dataclass(frozen=True, slots=True)
class Measure:
    """`weight`: the most sub-expressions that one evaluation can run. `depth`: levels of nesting.
    `growth`: the most elements that a value can have that is made of lists within lists, and
    `walks`: how many expressions walk over whole values. `uses_resource`: whether `resource` is
    looked at, `uses_time`: whether `request.time` may be; `captures`: which wildcards are."""

    weight: int
    depth: int
    growth: int
    walks: int
    uses_resource: bool
    uses_time: bool
    captures: frozenset[int]

    @property
    def must_be_counted(self) -> bool:
        """Whether an evaluation could pass a limit, so that it has to keep count."""
        return self.weight > EXPRESSIONS_MAX or self.growth > GROWTH_MAX or self.walks > WALKS_MAX


class Analysis:
    """Measures of one file's conditions. Its functions must not be recursive."""

    def __init__(self) -> None:
        self._bodies: dict[int, Measure] = {}

    def measure(self, node: ast.Expression, scope: Scope) -> Measure:
        return self._measure(node, scope, {})

    def _measure(self, node: ast.Expression, scope: Scope, names: dict[str, int]) -> Measure:
        weight, depth = 1, 0
        uses_resource, captures = False, frozenset[int]()
        parts = [self._measure(child, scope, names) for child in ast.children(node)]
        uses_time = any(part.uses_time for part in parts)
        body: Measure | None = None
        if isinstance(node, ast.Name):
            place = scope.capture(node.name)
            if node.name in names:
                depth = names[node.name]
            elif place is not None:
                captures = frozenset((place,))
            else:
                uses_resource = node.name == "resource"
                uses_time = node.name == "request"  # as a whole
        elif isinstance(node, ast.Member) and _is_request(node.target, scope, names):
            uses_time = node.name == "time"
        elif isinstance(node, ast.Call):
            declared = scope.function(node.name)
            if declared is not None:
                body = self._body(declared)
                # An argument is evaluated inside of the body, wherever it is used.
                depth = body.depth + 2
        depth += max((part.depth for part in parts), default=0)
        growth, walks = _own_growth(node), int(_is_walk(node))
        for part in (*parts, *([body] if body is not None else [])):
            weight += part.weight
            growth = min(growth * part.growth, _GROWTH_TOLD_MAX)
            walks += part.walks
            uses_resource = uses_resource or part.uses_resource
            captures |= part.captures
        if body is not None:
            uses_time = uses_time or body.uses_time
        return Measure(weight, depth + 1, growth, walks, uses_resource, uses_time, captures)

    def _body(self, declared: Declared) -> Measure:
        function = declared.function
        known = self._bodies.get(id(function))
        if known is not None:
            return known
        names = {parameter.name: 1 for parameter in function.parameters}
        parts: list[Measure] = []
        for let in function.lets:
            part = self._measure(let.value, declared.scope, names)
            parts.append(part)
            names = {**names, let.name: part.depth + 1}
        parts.append(self._measure(function.result, declared.scope, names))
        made = Measure(
            weight=sum(part.weight for part in parts),
            depth=parts[-1].depth,
            growth=min(math.prod(part.growth for part in parts), _GROWTH_TOLD_MAX),
            walks=sum(part.walks for part in parts),
            uses_resource=any(part.uses_resource for part in parts),
            uses_time=any(part.uses_time for part in parts),
            captures=frozenset[int]().union(*(part.captures for part in parts)),
        )
        self._bodies[id(function)] = made
        return made


def _is_request(node: ast.Expression, scope: Scope, names: dict[str, int]) -> bool:
    """Whether it is the variable `request`, and no parameter or wildcard that is called so."""
    if not isinstance(node, ast.Name) or node.name != "request":
        return False
    return node.name not in names and scope.capture(node.name) is None


def _own_growth(node: ast.Expression) -> int:
    """By how much a value can be larger than those that it is made of."""
    if isinstance(node, ast.ListLiteral | ast.MapLiteral):
        inner = ast.children(node)
        return 1 if all(isinstance(one, ast.Literal) for one in inner) else 1 + len(inner)
    is_sum = isinstance(node, ast.MethodCall) and node.name in ("concat", "union")
    return 2 if is_sum else 1


def _is_walk(node: ast.Expression) -> bool:
    if isinstance(node, ast.Binary):
        return node.operator in ("==", "!=", "in", "+")
    return isinstance(node, ast.MethodCall)


def calls_of(function: Declared) -> Iterator[tuple[ast.Call, Declared]]:
    """Each call, in a function's body, of a function of the file."""
    for part in (*(let.value for let in function.function.lets), function.function.result):
        yield from calls_in(part, function.scope)


def reachable(outline: Outline) -> set[int]:
    """The functions, by id, that the conditions and the own functions of a service lead to."""
    own = {id(function) for function in outline.file_scope.functions.values()}
    pending = [one for one in outline.declared if id(one.function) not in own]
    for block in outline.blocks:
        for allow in block.match.allows:
            if allow.condition is not None:
                pending += [called for _, called in calls_in(allow.condition, block.scope)]
    found: set[int] = set()
    while pending:
        declared = pending.pop()
        if id(declared.function) not in found:
            found.add(id(declared.function))
            pending += [called for _, called in calls_of(declared)]
    return found


def calls_in(node: ast.Expression, scope: Scope) -> Iterator[tuple[ast.Call, Declared]]:
    for inner in walk(node):
        if isinstance(inner, ast.Call):
            declared = scope.function(inner.name)
            if declared is not None:
                yield inner, declared


def walk(node: ast.Expression) -> Iterator[ast.Expression]:
    """The expression and every sub-expression."""
    pending = [node]
    while pending:
        found = pending.pop()
        yield found
        pending.extend(reversed(ast.children(found)))


def call_depths(outline: Outline) -> tuple[dict[int, int], list[tuple[ast.Call, Declared]]]:
    """How deep calls go below each function (1: it calls none), by id; and the calls that close a
    circle. Where there is a circle, the depths mean nothing."""
    depths: dict[int, int] = {}
    circles: list[tuple[ast.Call, Declared]] = []
    under_way: set[int] = set()
    # Without recursion: a chain of calls may be longer than Python's stack.
    stack: list[tuple[Declared, Iterator[tuple[ast.Call, Declared]]]] = []

    def enter(declared: Declared) -> None:
        depths[id(declared.function)] = 1
        under_way.add(id(declared.function))
        stack.append((declared, calls_of(declared)))

    for root in outline.declared:
        if id(root.function) not in depths:
            enter(root)
        while stack:
            caller, calls = stack[-1]
            found = next(calls, None)
            if found is None:
                stack.pop()
                under_way.discard(id(caller.function))
                if stack:
                    above = id(stack[-1][0].function)
                    depths[above] = max(depths[above], depths[id(caller.function)] + 1)
                continue
            call, callee = found
            key = id(callee.function)
            if key in under_way:
                circles.append((call, caller))
            elif key in depths:
                depths[id(caller.function)] = max(depths[id(caller.function)], depths[key] + 1)
            else:
                enter(callee)
    return depths, circles
