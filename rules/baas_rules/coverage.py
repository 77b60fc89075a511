"""What tests have reached: each allow statement, and each sub-expression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from baas_rules import ast
from baas_rules.abstract import truth
from baas_rules.analysis import reachable, walk
from baas_rules.environment import Trace
from baas_rules.grants import Grant
from baas_rules.prover import Proof
from baas_rules.scopes import Outline
from baas_rules.source import Source


@dataclass(slots=True)
class Reached:
    """How often something was evaluated, and to what: `true`, `false`, `error`, or another
    value. Of an allow statement, `true` is that it granted."""

    text: str
    line: int
    column: int
    start: int  # where it stands in the source
    end: int
    is_test: bool = False  # it decides: both outcomes should be seen
    true: int = 0
    false: int = 0
    error: int = 0
    other: int = 0

    @property
    def count(self) -> int:
        return self.true + self.false + self.error + self.other

    def gap(self) -> str | None:
        """What the tests have not shown of it."""
        if not self.count:
            return "never evaluated"
        if not self.is_test:
            return None
        if not self.true:
            return "never true"
        return None if self.false or self.error else "never false"


class Coverage:
    """Counts for one ruleset."""

    def __init__(self, source: Source, outlines: tuple[Outline, ...]) -> None:
        self.source = source
        self._statements: dict[int, Reached] = {}
        self._expressions: dict[int, Reached] = {}
        for outline in outlines:
            self._declare(outline)

    def _declare(self, outline: Outline) -> None:
        for block in outline.blocks:
            for allow in block.match.allows:
                line, column = self.source.position(allow.span.start)
                methods = ", ".join(method.name for method in allow.methods)
                span = allow.span
                statement = Reached(f"allow {methods}", line, column, span.start, span.end)
                self._statements[id(allow)] = statement
                if allow.condition is not None:
                    self._declare_expressions(allow.condition)
        reached = reachable(outline)
        for declared in outline.declared:
            if id(declared.function) in reached:
                for let in declared.function.lets:
                    self._declare_expressions(let.value)
                self._declare_expressions(declared.function.result)

    def _declare_expressions(self, root: ast.Expression) -> None:
        tests = set(_tests(root))
        for node in walk(root):
            is_test = id(node) in tests
            if isinstance(node, ast.Literal | ast.ListLiteral | ast.MapLiteral):
                continue
            if isinstance(node, ast.Name) and not is_test:
                continue  # `request` and `resource` are read without being evaluated
            line, column = self.source.position(node.span.start)
            text = self.source.text_of(node.span)
            span = node.span
            self._expressions.setdefault(
                id(node), Reached(text, line, column, span.start, span.end, is_test)
            )

    # --- counting ------------------------------------------------------------------------------

    def add_evaluation(self, grant: Grant, trace: Trace | None) -> None:
        """An allow statement was evaluated; without a condition, it granted."""
        statement = self._statements[id(grant.allow)]
        if trace is None:
            statement.true += 1
            return
        _count(statement, trace.value, failed=trace.fault is not None)
        pending = [trace]
        while pending:
            found = pending.pop()
            pending.extend(found.children)
            reached = self._expressions.get(id(found.node))
            if reached is not None:
                _count(reached, found.value, failed=found.fault is not None)

    def add_proof(self, grant: Grant, proof: Proof) -> None:
        """An allow statement was asked for a list. What is true of some documents and false of
        others counts as both."""
        statement = self._statements[id(grant.allow)]
        _count(statement, truth(proof.result).is_proved, failed=False)
        pending = [proof]
        while pending:
            found = pending.pop()
            pending.extend(found.children)
            reached = self._expressions.get(id(found.node))
            if reached is None:
                continue
            told = truth(found.result)
            reached.true += told.true
            reached.false += told.false
            reached.error += found.result.fault
            reached.other += not (told.true or told.false or found.result.fault)

    # --- reporting -----------------------------------------------------------------------------

    @property
    def statements(self) -> list[Reached]:
        return sorted(self._statements.values(), key=lambda one: (one.line, one.column))

    @property
    def expressions(self) -> list[Reached]:
        return sorted(self._expressions.values(), key=lambda one: (one.line, one.column))

    def percent(self) -> float:
        """How many of the sub-expressions, and of the statements, were evaluated."""
        everything = [*self._statements.values(), *self._expressions.values()]
        return 100 * sum(one.count > 0 for one in everything) / max(1, len(everything))

    def lines(self) -> Iterator[str]:
        """The report: a summary, then every gap. Inside of what was never evaluated, none."""
        statements, expressions = self.statements, self.expressions
        yield (
            f"coverage: {sum(one.count > 0 for one in statements)} of {len(statements)} allow "
            f"statements tried, {sum(one.true > 0 for one in statements)} granted; "
            f"{sum(one.count > 0 for one in expressions)} of {len(expressions)} expressions "
            f"evaluated ({self.percent():.0f} %)"
        )
        for one in statements:
            if not one.count or not one.true:
                gap = "never tried" if not one.count else "never granted"
                yield f"{self.source.name}:{one.line}:{one.column}: {one.text}: {gap}"
        for one in self._outermost(expressions):
            yield f"{self.source.name}:{one.line}:{one.column}: {one.gap()}: {one.text}"

    def _outermost(self, expressions: list[Reached]) -> Iterator[Reached]:
        hidden = ("", 0, 0)
        for one in expressions:
            if one.gap() is None:
                continue
            if one.gap() == "never evaluated":
                text, line, column = hidden
                if one.line == line and one.column < column + len(text) and one.text in text:
                    continue
                hidden = (one.text, one.line, one.column)
            yield one


def _count(reached: Reached, value: object, *, failed: bool) -> None:
    if failed:
        reached.error += 1
    elif value is True:
        reached.true += 1
    elif value is False:
        reached.false += 1
    else:
        reached.other += 1


def _tests(root: ast.Expression) -> Iterator[int]:
    """What decides: the whole condition and each operand of `&&`, `||` and `? :`."""
    yield id(root)
    for node in walk(root):
        if isinstance(node, ast.Logic):
            yield from map(id, node.operands)
        elif isinstance(node, ast.Conditional):
            yield id(node.test)
