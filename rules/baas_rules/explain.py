"""From a traced evaluation or proof to the sub-expressions that are to blame, in words."""

from __future__ import annotations

from collections.abc import Iterator

from baas_rules import ast
from baas_rules.abstract import Anything, Known, PartialMap, truth
from baas_rules.decision import Reason, ResourceDocument, Segments
from baas_rules.environment import Trace, Unresolved
from baas_rules.lists import field_text
from baas_rules.prover import Proof
from baas_rules.source import Source, Span
from baas_rules.steps import Narrator

_VALUES_MAX = 8
_HINTS_MAX = 3

# --- one document ------------------------------------------------------------------------------


def reason_of(narrator: Narrator, trace: Trace, method: str, allow_span: Span) -> Reason:
    """Why a condition did not grant. `trace` is that of the condition's evaluation."""
    source = narrator.source
    blamed = _blamed(trace)
    node = blamed.node
    assert node is not None
    allow_line = source.position(allow_span.start)[0]
    line, column, end_column = source.place(node.span)
    if blamed.fault is None and isinstance(blamed.value, bool):
        message = f"false for '{method}' @ L{allow_line}"
    else:
        what = f"{narrator.value(blamed.value)} is not a bool"
        if blamed.fault is not None:
            what = narrator.message(str(blamed.fault))
        message = f"evaluation error at L{line}:{column} for '{method}' @ L{allow_line}: {what}"
    return Reason(
        message=message,
        line=line,
        column=column,
        end_column=end_column,
        source_line=source.line_text(line),
        values=_values(narrator, blamed),
    )


def _blamed(trace: Trace) -> Trace:
    """The innermost evaluation that made this one what it is."""
    node, children = trace.node, trace.children
    if trace.fault is not None:
        # `&&` and `||` raise what an operand raised; so does everything else.
        for child in children:
            if child.fault is trace.fault:
                return _blamed(child)
        return trace
    if isinstance(node, ast.Logic) and node.operator == "&&":
        for child in children:
            if child.fault is None and child.value is False and trace.value is False:
                return _blamed(child)
    if isinstance(node, ast.Conditional | ast.Call) and children:
        last = children[-1]
        if last.fault is None and isinstance(last.value, bool):
            return _blamed(last)
    return trace


def _values(narrator: Narrator, trace: Trace) -> tuple[tuple[str, str], ...]:
    """The values of the operands, as far as their text does not say them already."""
    found: dict[str, str] = {}
    pending = [*reversed(trace.children)]
    while pending and len(found) < _VALUES_MAX:
        child = pending.pop()
        if child.node is None or isinstance(child.fault, Unresolved):
            continue
        if child.fault is None and not isinstance(child.value, ResourceDocument):
            if not isinstance(child.node, ast.ListLiteral | ast.MapLiteral):
                text = narrator.source.text_of(child.node.span)
                found.setdefault(text, narrator.value(child.value))
            if isinstance(child.node, ast.Member | ast.Name):
                continue  # what it is read from is not news
        pending.extend(reversed(child.children))
    return tuple(found.items())


# --- lists -------------------------------------------------------------------------------------


def list_reason(narrator: Narrator, proof: Proof, allow_span: Span) -> Reason:
    """Why a condition is not proved for a query, and which filter would make it so."""
    source = narrator.source
    leaves = list(_unproved(proof))
    suggestions = [_suggestion(source, leaf) for leaf in leaves]
    hints = list(dict.fromkeys(hint for hint in suggestions if hint is not None))[:_HINTS_MAX]
    # The most telling is what a filter would help.
    at = next((at for at, hint in enumerate(suggestions) if hint is not None), 0)
    leaf = leaves[at]
    line, column, end_column = source.place(leaf.node.span)
    allow_line = source.position(allow_span.start)[0]
    told = truth(leaf.result)
    if told.false and not told.true and not told.error:
        message = f"false for 'list' @ L{allow_line}"
    elif told.error and not told.true and not told.false:
        what = narrator.message(leaf.result.error) or "the condition is not a bool"
        message = f"evaluation error at L{line}:{column} for 'list' @ L{allow_line}: {what}"
    else:
        message = (
            f"not proved for 'list' @ L{allow_line}: {_unknown_part(leaf)}, and rules are not "
            "filters: the query must make sure that every document it returns is allowed"
        )
    return Reason(
        message=message,
        line=line,
        column=column,
        end_column=end_column,
        source_line=source.line_text(line),
        values=_known_values(narrator, leaf),
        hint=f"add {' or '.join(hints)} to the query" if hints else None,
    )


def _unproved(proof: Proof) -> Iterator[Proof]:
    """The innermost parts that would have to be proved, most telling first."""
    node, children = proof.node, proof.children
    if isinstance(node, ast.Logic):
        unproved = [child for child in children if not truth(child.result).is_proved]
        if node.operator == "&&":
            # What can only be false is beyond help, so it is told first.
            hopeless = [child for child in unproved if not truth(child.result).true]
            unproved = hopeless[:1] or unproved
        for child in unproved if node.operator == "||" else unproved[:1]:
            yield from _unproved(child)
        return
    if isinstance(node, ast.Conditional | ast.Call) and children:
        last = children[-1]
        if last.result.value == proof.result.value:
            yield from _unproved(last)
            return
    yield proof


def _unknown_part(proof: Proof) -> str:
    """What it is that the query does not say."""
    pending = [proof]
    while pending:
        found = pending.pop(0)
        value = found.result.value
        if isinstance(value, Anything) and value.origin is not None:
            if isinstance(value.origin, str):
                return f"{value.origin} is not known"
            name = f"`resource.data.{field_text(value.origin)}`"
            if value.kinds is None and found.result.fault:
                return f"{name} is not constrained by the query"
            return f"the query does not constrain {name} enough"
        pending.extend(found.children)
    return "this depends on the documents"


def _field_of(proof: Proof) -> Segments | None:
    """The field of the document that an operand is, if it is one."""
    value = proof.result.value
    if isinstance(value, Anything):
        if isinstance(value.origin, tuple):
            return value.origin or None
        if value.origin == "the document's id":
            return ("__name__",)
    return None


def _text_of(source: Source, proof: Proof) -> str:
    node = proof.node
    if isinstance(node, ast.Name):
        node = proof.sources.get(node.name, node)
    return source.text_of(node.span)


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _suggestion(source: Source, proof: Proof) -> str | None:
    """The filter of a query that would decide this."""
    node, children = proof.node, proof.children
    if isinstance(node, ast.Unary) and len(children) == 1:
        path = _field_of(children[0])
        return None if path is None else _where(path, "==", "false")
    if isinstance(node, ast.MethodCall) and len(children) == 2:
        path = _field_of(children[0])
        if path is not None and node.name == "hasAny":
            return _where(path, "array-contains-any", _text_of(source, children[1]))
        return None
    if isinstance(node, ast.Binary) and len(children) == 2:
        return _comparison(source, node.operator, children[0], children[1])
    path = _field_of(proof)
    return None if path is None else _where(path, "==", "true")


def _comparison(source: Source, operator: str, left: Proof, right: Proof) -> str | None:
    if "request.query.limit" in (_text_of(source, left), _text_of(source, right)):
        return "a limit"
    on_left, on_right = _field_of(left), _field_of(right)
    if on_left is not None and isinstance(right.result.value, Known):
        return _where(on_left, operator, _text_of(source, right))
    if operator == "in":
        if on_right is not None and isinstance(left.result.value, Known):
            return _where(on_right, "array-contains", _text_of(source, left))
        inside = right.result.value
        if isinstance(inside, PartialMap) and inside.path is not None:
            return _existence(inside.path, left)
        return None
    if on_right is not None and isinstance(left.result.value, Known):
        return _where(on_right, _FLIPPED.get(operator, operator), _text_of(source, left))
    return None


def _existence(path: Segments, key: Proof) -> str | None:
    value = key.result.value
    if isinstance(value, Known) and len(value.values) == 1 and isinstance(value.values[0], str):
        return f'an order by "{field_text((*path, value.values[0]))}"'
    return None


def _where(path: Segments, operator: str, value: str) -> str:
    return f'where("{field_text(path)}", "{operator}", {value})'


def _known_values(narrator: Narrator, proof: Proof) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for child in proof.children:
        value = child.result.value
        if isinstance(value, Known) and not isinstance(child.node, ast.Literal | ast.ListLiteral):
            if any(isinstance(one, ResourceDocument) for one in value.values):
                continue
            found[_text_of(narrator.source, child)] = narrator.abstract(value)
    return tuple(found.items())
