"""What a condition that came out true (or false) tells of the document, for what is evaluated only
then: the operands behind it, or a branch.

A fact is a field of the document with a value that is never less than what it then may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from baas_rules import ast
from baas_rules.abstract import NUMBER, Abstract, Anything, Known, PartialMap, Result
from baas_rules.constraints import variants
from baas_rules.decision import Segments
from baas_rules.operators import TYPE_TESTS
from baas_rules.values import Path, type_name

# More values would make more lookups of documents than a request may make.
_VALUES_MAX: Final = 3
_COMPLEMENTS: Final = {"==": "!=", "!=": "=="}
_ORDERED: Final = frozenset({"int", "float", "string", "timestamp", "duration"})
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

Fact = tuple[Segments, Abstract]
Evaluate = Callable[[ast.Expression], Result]


def facts(node: ast.Expression, wanted: bool, evaluate: Evaluate) -> Iterator[Fact]:
    """What holds if the expression is `wanted`; it then had a value, so what it reads was there."""
    match node:
        case ast.Unary(operator="!", operand=operand):
            yield from facts(operand, not wanted, evaluate)
        case ast.Logic(operator=operator, operands=operands):
            # `&&` is true, and `||` false, only if all operands are.
            if (operator == "&&") is wanted:
                for operand in operands:
                    yield from facts(operand, wanted, evaluate)
        case ast.TypeTest(operand=operand, type=name):
            if wanted and name in TYPE_TESTS:
                kinds = NUMBER if name == "number" else frozenset({name})
                found = _field(evaluate(operand))
                if found is not None:
                    yield from _of_kinds(found, kinds)
        case ast.Binary(operator=operator, left=left, right=right):
            if not wanted and operator in _COMPLEMENTS:
                operator, wanted = _COMPLEMENTS[operator], True
            yield from _binary(operator, evaluate(left), evaluate(right), wanted)
        case _:
            pass


def _binary(operator: str, left: Result, right: Result, wanted: bool) -> Iterator[Fact]:
    if operator == "in":
        yield from _membership(left, right, wanted)
        return
    for a, b, sign in ((left, right, operator), (right, left, _FLIPPED.get(operator, ""))):
        found = _field(a)
        if found is not None and isinstance(b.value, Known) and len(b.value.values) == 1:
            yield from _compared(found, sign, b.value.values[0], wanted)


def _compared(found: Anything, operator: str, value: Any, wanted: bool) -> Iterator[Fact]:
    assert isinstance(found.origin, tuple)
    match operator:
        case "==":
            yield from _one_of(found, [value])
        case "!=":
            unequal = (*found.facts.unequal, value)
            yield found.origin, replace(found, facts=replace(found.facts, unequal=unequal))
        case "<" | "<=" | ">" | ">=" if wanted and value == value:
            kind = type_name(value)
            if kind in _ORDERED:
                bound = (value, operator in ("<=", ">="))
                upper = operator in ("<", "<=")
                yield from _bounded(found, kind, bound, upper=upper)


def _bounded(found: Anything, kind: str, bound: tuple[Any, bool], *, upper: bool) -> Iterator[Fact]:
    assert isinstance(found.origin, tuple)
    kinds = NUMBER if kind in NUMBER else frozenset({kind})
    if found.kinds is not None and not found.kinds <= kinds:
        kinds = kinds & found.kinds
    known = found.facts if found.kinds is not None and found.kinds <= kinds else None
    lower_bound = known.lower if known is not None else None
    upper_bound = known.upper if known is not None else None
    if upper:
        upper_bound = upper_bound or bound
    else:
        lower_bound = lower_bound or bound
    made = replace(found.facts, lower=lower_bound, upper=upper_bound)
    yield found.origin, replace(found, kinds=kinds, facts=made)


def _membership(item: Result, container: Result, wanted: bool) -> Iterator[Fact]:
    found, inside = _field(item), container.value
    if found is not None and isinstance(inside, Known) and len(inside.values) == 1:
        (values,) = inside.values
        if isinstance(values, list) and wanted:
            yield from _one_of(found, values)
        elif isinstance(values, list):
            assert isinstance(found.origin, tuple)
            unequal = (*found.facts.unequal, *values)
            yield found.origin, replace(found, facts=replace(found.facts, unequal=unequal))
    yield from _key(item, inside, wanted)


def _key(item: Result, inside: Abstract | None, wanted: bool) -> Iterator[Fact]:
    """A map of the document has a key."""
    above: Segments | None = None
    if isinstance(inside, PartialMap) and not inside.complete:
        above = inside.path
    elif isinstance(inside, Anything) and inside.kinds == frozenset({"map"}):
        field = _field(Result(inside))
        above = field.origin if field is not None and isinstance(field.origin, tuple) else None
    key = item.value
    if not wanted or above is None or not isinstance(key, Known) or len(key.values) != 1:
        return
    (name,) = key.values
    if isinstance(name, str) and not (isinstance(inside, PartialMap) and name in inside.entries):
        yield (*above, name), Anything(origin=(*above, name))


def _one_of(found: Anything, values: list[Any]) -> Iterator[Fact]:
    assert isinstance(found.origin, tuple)
    if len(values) > _VALUES_MAX:
        return
    made: list[Any] = []
    for value in values:
        if value != value:
            continue  # nothing equals NaN
        equal = variants(_unbound(value))
        if not equal:
            return
        made.extend(equal)
    if made:
        yield found.origin, Known(tuple(made))


def _unbound(value: Any) -> Any:
    """As it is in a document, where paths have nothing bound to them."""
    if isinstance(value, Path):
        return Path(value.segments)
    if isinstance(value, list):
        return [_unbound(item) for item in value]
    return value


def _of_kinds(found: Anything, kinds: frozenset[str]) -> Iterator[Fact]:
    assert isinstance(found.origin, tuple)
    made = kinds if found.kinds is None else kinds & found.kinds
    if made:
        yield found.origin, replace(found, kinds=made)


def _field(found: Result) -> Anything | None:
    """The value, if it is that of a field of the document, and not of a default."""
    value = found.value
    if isinstance(value, Anything) and isinstance(value.origin, tuple) and value.is_field:
        return value if value.origin else None
    return None


def with_fact(data: Abstract, path: Segments, value: Abstract) -> Abstract:
    """The document's data, in which a field is known better. What does not fit is left as it is."""
    if not path:
        return value
    if isinstance(data, PartialMap) and not data.complete:
        inner = data.entries.get(path[0])
        if inner is None:
            origin = None if data.path is None else (*data.path, path[0])
            inner = Anything(origin=origin)
        return replace(data, entries={**data.entries, path[0]: with_fact(inner, path[1:], value)})
    is_map = isinstance(data, Anything) and data.kinds in (None, frozenset({"map"}))
    if is_map and isinstance(data, Anything) and isinstance(data.origin, tuple):
        return with_fact(PartialMap({}, path=data.origin), path, value)
    return data
