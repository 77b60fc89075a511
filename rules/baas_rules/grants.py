"""The allow statements of one service, compiled, and found by method and path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from baas_rules import ast
from baas_rules.analysis import Analysis
from baas_rules.decision import METHODS, READ_METHODS, WRITE_METHODS
from baas_rules.environment import Environment, Frame, Run
from baas_rules.evaluator import Compiler
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.matching import PathTree
from baas_rules.scopes import Block, Outline, Scope

METHOD_GROUPS: Final = {"read": READ_METHODS, "write": WRITE_METHODS}


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """An allow statement. `run` is its condition; without one, it always grants."""

    allow: ast.Allow
    block: Block
    run: Run
    weight: int
    uses_resource: bool
    uses_time: bool
    captures: frozenset[int]

    @property
    def scope(self) -> Scope:
        return self.block.scope


# The allow statements of one match, by method.
Grants = dict[str, tuple[Grant, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The allow statements of one match for one method, without those that never grant."""

    grants: tuple[Grant, ...]
    runs: tuple[Run, ...]
    weight: int

    @property
    def is_open(self) -> bool:
        """Whether the first of them grants whatever is asked: there is nothing before it that could
        be too much to evaluate."""
        condition = self.grants[0].allow.condition
        return condition is None or (isinstance(condition, ast.Literal) and condition.value is True)


@dataclass(frozen=True, slots=True, eq=False)
class Askable:
    """All that one method can be granted by. `is_light` tells that even all of it together stays
    below EXPRESSIONS_MAX, so that nobody needs to count."""

    tree: PathTree[Asked]
    is_light: bool


class Statements:
    """The allow statements of one service: `tree` has all of them, `askable`, by method, those that
    can grant."""

    def __init__(self, made: Outline) -> None:
        compiler = Compiler(service=made.service.name)
        analysis = Analysis()
        least = 1 if made.file.version == 1 else 0
        blocks = [
            (block.pattern, _grants(block, compiler, analysis))
            for block in made.blocks
            if block.match.allows and _is_reachable(block, made.file.version)
        ]
        self.tree: PathTree[Grants] = PathTree(blocks, least)
        self.askable = {method: _askable(method, blocks, least) for method in METHODS}
        self._counted: dict[int, Run] = {}
        self._counting = Compiler(service=made.service.name, counted=True)

    def counted(self, asked: Asked) -> Asked:
        """The same, with runs that keep to the limits."""
        runs = tuple(self.counted_run(grant) for grant in asked.grants)
        return Asked(asked.grants, runs, asked.weight)

    def counted_run(self, grant: Grant) -> Run:
        """As `grant.run`, keeping to EXPRESSIONS_MAX. Made when first needed."""
        condition = grant.allow.condition
        if condition is None:
            return grant.run
        run = self._counted.get(id(condition))
        if run is None:
            run = self._counting.condition(condition, grant.scope, metered=True)
            self._counted[id(condition)] = run
        return run


def _is_reachable(block: Block, version: int) -> bool:
    """In version 1 a recursive wildcard stands for all the rest, so nothing is below of it."""
    above = block.pattern[:-1]
    return version != 1 or not any(isinstance(one, ast.Wildcard) and one.recursive for one in above)


def _grants(block: Block, compiler: Compiler, analysis: Analysis) -> Grants:
    found: dict[str, list[Grant]] = {}
    for allow in block.match.allows:
        grant = _grant(allow, block, compiler, analysis)
        methods = dict.fromkeys(
            method
            for named in allow.methods
            for method in METHOD_GROUPS.get(named.name, (named.name,))
        )
        for method in methods:
            found.setdefault(method, []).append(grant)
    return {method: tuple(grants) for method, grants in found.items()}


def _always(environment: Environment, frame: Frame) -> bool:
    return True


def _grant(allow: ast.Allow, block: Block, compiler: Compiler, analysis: Analysis) -> Grant:
    if allow.condition is None:
        return Grant(allow, block, _always, 0, False, False, frozenset())
    measure = analysis.measure(allow.condition, block.scope)
    return Grant(
        allow=allow,
        block=block,
        run=compiler.condition(allow.condition, block.scope),
        # What has to be counted for another reason is as if it were too heavy.
        weight=max(measure.weight, EXPRESSIONS_MAX + 1)
        if measure.must_be_counted
        else measure.weight,
        uses_resource=measure.uses_resource,
        uses_time=measure.uses_time,
        captures=measure.captures,
    )


def _askable(
    method: str, blocks: list[tuple[tuple[ast.Segment, ...], Grants]], least: int
) -> Askable:
    items: list[tuple[tuple[ast.Segment, ...], Asked]] = []
    for pattern, by_method in blocks:
        grants = tuple(grant for grant in by_method.get(method, ()) if not _never(grant.allow))
        if grants:
            runs = tuple(grant.run for grant in grants)
            items.append((pattern, Asked(grants, runs, sum(grant.weight for grant in grants))))
    # A path may match through two recursive wildcards in several ways.
    heaviest = sum(item.weight * _most_matches(pattern) for pattern, item in items)
    return Askable(PathTree(items, least), heaviest <= EXPRESSIONS_MAX)


def _never(allow: ast.Allow) -> bool:
    """Whether it is `if false`."""
    return isinstance(allow.condition, ast.Literal) and allow.condition.value is not True


def _most_matches(pattern: tuple[ast.Segment, ...]) -> int:
    recursive = sum(isinstance(one, ast.Wildcard) and one.recursive for one in pattern)
    return 1 if recursive < 2 else EXPRESSIONS_MAX
