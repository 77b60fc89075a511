"""Where names are looked up, and the match statements as a flat list.

A function sees the wildcards of the matches around its declaration, and every function declared in
a scope around it, wherever in the scope; inner declarations hide outer ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from baas_rules import ast


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A file, service or match. `captures` are the wildcards of the full match path, outermost
    first: a name's last place counts."""

    parent: Scope | None
    functions: dict[str, ast.Function]
    captures: tuple[ast.Wildcard, ...] = ()

    def function(self, name: str) -> Declared | None:
        """The nearest function of that name, with the scope it was declared in."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.functions.get(name)
            if found is not None:
                return Declared(found, scope)
            scope = scope.parent
        return None

    def capture(self, name: str) -> int | None:
        """The place of a wildcard in the full path's captures."""
        for place in range(len(self.captures) - 1, -1, -1):
            if self.captures[place].name == name:
                return place
        return None

    def visible_functions(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.functions
            scope = scope.parent


@dataclass(frozen=True, slots=True)
class Declared:
    """A function and the scope in which its body looks names up."""

    function: ast.Function
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One match statement with its full path from the service's root."""

    match: ast.Match
    pattern: tuple[ast.Segment, ...]
    scope: Scope
    depth: int

    @property
    def path_text(self) -> str:
        """The full path as it would be written."""
        return pattern_text(self.pattern)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The scopes of one service: of the file, of the service, and of each match, in source
    order."""

    file: ast.RulesFile
    service: ast.Service
    file_scope: Scope
    service_scope: Scope
    blocks: tuple[Block, ...]
    declared: tuple[Declared, ...] = field(default=())


def outlines(file: ast.RulesFile) -> tuple[Outline, ...]:
    """The scopes and match statements of each service of a file. Of two functions of one name in
    one scope, the first counts (the checker reports the second)."""
    file_scope = _scope(None, file.functions, ())
    return tuple(_outline(file, file_scope, service) for service in file.services)


def _outline(file: ast.RulesFile, file_scope: Scope, service: ast.Service) -> Outline:
    service_scope = _scope(file_scope, service.functions, ())
    blocks: list[Block] = []
    for match in service.matches:
        _collect(match, (), service_scope, 1, blocks)
    scopes = [file_scope, service_scope, *(block.scope for block in blocks)]
    declared = tuple(
        Declared(function, scope) for scope in scopes for function in scope.functions.values()
    )
    return Outline(file, service, file_scope, service_scope, tuple(blocks), declared)


def _scope(
    parent: Scope | None,
    functions: tuple[ast.Function, ...],
    captures: tuple[ast.Wildcard, ...],
) -> Scope:
    by_name: dict[str, ast.Function] = {}
    for function in functions:
        by_name.setdefault(function.name, function)
    return Scope(parent, by_name, captures)


def _collect(
    match: ast.Match,
    prefix: tuple[ast.Segment, ...],
    parent: Scope,
    depth: int,
    blocks: list[Block],
) -> None:
    pattern = prefix + match.pattern
    captures = tuple(segment for segment in pattern if isinstance(segment, ast.Wildcard))
    scope = _scope(parent, match.functions, captures)
    blocks.append(Block(match, pattern, scope, depth))
    for inner in match.matches:
        _collect(inner, pattern, scope, depth + 1, blocks)


def pattern_text(pattern: tuple[ast.Segment, ...]) -> str:
    parts: list[str] = []
    for segment in pattern:
        if isinstance(segment, ast.LiteralSegment):
            parts.append(segment.text)
        else:
            parts.append("{" + segment.name + ("=**" if segment.recursive else "") + "}")
    return "/" + "/".join(parts)
