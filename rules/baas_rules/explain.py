"""From a traced evaluation to the sub-expressions that are to blame, in words."""

from __future__ import annotations

from collections.abc import Iterator

from baas_rules import ast
from baas_rules.decision import Reason, ResourceDocument
from baas_rules.evaluator import Trace, Unresolved
from baas_rules.source import Source, Span
from baas_rules.values import show

_VALUES_MAX = 8


def reason_of(source: Source, trace: Trace, method: str, allow_span: Span) -> Reason:
    """Why a condition did not grant. `trace` is that of the condition's evaluation."""
    blamed = next(_blamed(trace), trace)
    node = blamed.node
    assert node is not None
    allow_line = source.position(allow_span.start)[0]
    line, column, end_column = source.place(node.span)
    if blamed.fault is not None:
        what = str(blamed.fault)
        message = f"evaluation error at L{line}:{column} for '{method}' @ L{allow_line}: {what}"
    elif blamed.value is False or blamed.value is True:
        message = f"false for '{method}' @ L{allow_line}"
    else:
        message = (
            f"evaluation error at L{line}:{column} for '{method}' @ L{allow_line}: "
            f"the condition is {show(blamed.value)}, not a bool"
        )
    return Reason(
        message=message,
        line=line,
        column=column,
        end_column=end_column,
        source_line=source.line_text(line),
        values=_values(source, blamed),
    )


def _blamed(trace: Trace) -> Iterator[Trace]:
    """The innermost evaluations that made this one what it is, most telling first."""
    node = trace.node
    children = trace.children
    if trace.fault is not None:
        # The sub-expression that raised it first; `&&` and `||` raise what an operand raised.
        for child in children:
            if child.fault is trace.fault:
                yield from _blamed(child)
                return
        yield trace
        return
    if isinstance(node, ast.Logic):
        deciding = node.operator == "||"  # an operand of this value would have decided it
        if trace.value is not deciding:
            for child in children:
                yield from _blamed(child)
            return
        for child in children:
            if child.fault is None and child.value is trace.value:
                yield from _blamed(child)
                return
    if isinstance(node, ast.Logic | ast.Conditional | ast.Unary | ast.Call) and children:
        last = children[-1]
        if isinstance(last.value, bool) and last.fault is None:
            yield from _blamed(last)
            return
    yield trace


def _values(source: Source, trace: Trace) -> tuple[tuple[str, str], ...]:
    """The values of the operands, as far as their text does not say them already."""
    found: dict[str, str] = {}
    pending = [*reversed(trace.children)]
    while pending and len(found) < _VALUES_MAX:
        child = pending.pop()
        if child.node is None or isinstance(child.fault, Unresolved):
            continue
        if child.fault is None and not isinstance(child.value, ResourceDocument):
            if not isinstance(child.node, ast.ListLiteral | ast.MapLiteral):
                found.setdefault(source.text_of(child.node.span), show(child.value))
            if isinstance(child.node, ast.Member | ast.Name):
                continue  # what it is read from is not news
        pending.extend(reversed(child.children))
    return tuple(found.items())
