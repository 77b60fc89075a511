"""Values that are not wholly known, for proofs: what is said of one holds for every document that a
query could return.

`Known` is one of a few values. `PartialMap` is a map of which some entries are known. `Anything` is
a value of which only facts are known. A `Result` is what an expression may give: a value, an error,
or either; and the lookups on which it would depend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from baas_rules.decision import Lookup, ResourceDocument, Segments
from baas_rules.errors import EvaluationError
from baas_rules.values import Duration, RulesSet, Timestamp, equals, type_name

_KNOWN_MAX = 16

NUMBER: Final = frozenset({"int", "float"})


@dataclass(frozen=True, slots=True)
class Known:
    """One of these values, and never anything else."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds of a value. Bounds are (value, whether it is included); a bound is of the value's
    own type. `contains` are elements that a list or set has, for certain."""

    lower: tuple[Any, bool] | None = None
    upper: tuple[Any, bool] | None = None
    unequal: tuple[Any, ...] = ()
    contains: tuple[Any, ...] = ()


NO_FACTS: Final = Facts()


@dataclass(frozen=True, slots=True)
class Anything:
    """Some value, of one of these types (None: of any). `origin` says where it is from: a field
    path of the document, or a word for the rest. It is that field's own value, unless it may be a
    default (not `is_field`)."""

    kinds: frozenset[str] | None = None
    facts: Facts = NO_FACTS
    origin: Segments | str | None = None
    is_field: bool = True


@dataclass(frozen=True, slots=True)
class PartialMap:
    """A map that has these entries; others too, unless it is `complete`. `path` is that of the
    map within the document, if it is a part of it."""

    entries: Mapping[str, Abstract]
    complete: bool = False
    path: Segments | None = None


Abstract: TypeAlias = Known | Anything | PartialMap

_NO_LOOKUPS: Final[frozenset[Lookup]] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """`value` is None if there never is one; `fault` tells that there may be none, `error` why."""

    value: Abstract | None
    fault: bool = False
    pending: frozenset[Lookup] = _NO_LOOKUPS
    error: str = field(default="", compare=False)


TRUE: Final = Known((True,))
FALSE: Final = Known((False,))
EITHER: Final = Known((True, False))
ANY: Final = Result(Anything(), fault=True)


def known(value: Any) -> Result:
    return Result(Known((value,)))


def failed(message: str) -> Result:
    return Result(None, fault=True, error=message)


@dataclass(frozen=True, slots=True)
class Truth:
    """What a condition may come to; `error` covers everything that is not a bool."""

    true: bool
    false: bool
    error: bool

    @property
    def is_proved(self) -> bool:
        return self.true and not self.false and not self.error


def truth(result: Result) -> Truth:
    value = result.value
    match value:
        case None:
            return Truth(False, False, True)
        case Known(values=values):
            true = any(one is True for one in values)
            false = any(one is False for one in values)
            other = any(one is not True and one is not False for one in values)
            return Truth(true, false, result.fault or other)
        case Anything(kinds=kinds):
            may_be_bool = kinds is None or "bool" in kinds
            other = kinds is None or kinds != {"bool"}
            return Truth(may_be_bool, may_be_bool, result.fault or other)
        case PartialMap():
            return Truth(False, False, True)


def from_truth(found: Truth, pending: frozenset[Lookup] = _NO_LOOKUPS, error: str = "") -> Result:
    value = {
        (True, False): TRUE,
        (False, True): FALSE,
        (True, True): EITHER,
    }.get((found.true, found.false))
    return Result(value, found.error, pending, error)


def join(results: list[Result]) -> Result:
    """What may be any of these."""
    pending = frozenset[Lookup]().union(*(result.pending for result in results))
    fault = any(result.fault for result in results)
    error = next((result.error for result in results if result.error), "")
    values = [result.value for result in results if result.value is not None]
    if not values:
        return Result(None, True, pending, error)
    return Result(_join_values(values), fault, pending, error)


def _join_values(values: list[Abstract]) -> Abstract:
    if all(isinstance(value, Known) for value in values):
        return known_of([one for value in values for one in value.values])  # type: ignore[union-attr]
    if len(values) == 1:
        return values[0]
    kinds: frozenset[str] | None = frozenset()
    for value in values:
        found = kinds_of(value)
        kinds = None if kinds is None or found is None else kinds | found
    return Anything(kinds)


def known_of(values: list[Any]) -> Abstract:
    """Known, without repetitions; if there are too many values, Anything of their types."""
    distinct: list[Any] = []
    for value in values:
        if not any(_is_same(value, other) for other in distinct):
            distinct.append(value)
    if len(distinct) <= _KNOWN_MAX:
        return Known(tuple(distinct))
    return Anything(frozenset(map(type_name, distinct)))


def _is_same(a: Any, b: Any) -> bool:
    """Not to be told apart by any expression: unlike 1 and 1.0, or 0.0 and -0.0."""
    if a is b:
        return True
    if a.__class__ is not b.__class__:
        return False
    if a.__class__ is float:
        return bool(a == b) and math.copysign(1, a) == math.copysign(1, b)
    if a.__class__ in (str, bool, int, bytes, Timestamp, Duration):
        return bool(a == b)
    return False


def kinds_of(value: Abstract) -> frozenset[str] | None:
    match value:
        case Known(values=values):
            return frozenset(map(type_name, values))
        case PartialMap():
            return frozenset({"map"})
        case Anything(kinds=kinds):
            return kinds


def apply(function: Callable[..., Any], parts: list[Result]) -> Result:
    """A function of values that are known: of each combination of what they may be. Of values that
    are not, anything may come."""
    pending = frozenset[Lookup]().union(*(part.pending for part in parts))
    fault = any(part.fault for part in parts)
    error = next((part.error for part in parts if part.error), "")
    choices: list[tuple[Any, ...]] = []
    for part in parts:
        if part.value is None:
            return Result(None, True, pending, error)
        if isinstance(part.value, Known):
            choices.append(part.value.values)
    if len(choices) < len(parts) or math.prod(map(len, choices)) > _KNOWN_MAX:
        return Result(Anything(), True, pending, error)
    values: list[Any] = []
    for combination in itertools.product(*choices):
        try:
            values.append(function(*combination))
        except EvaluationError as raised:
            fault, error = True, error or str(raised)
    if not values:
        return Result(None, True, pending, error)
    return Result(known_of(values), fault, pending, error)


# --- questions with an answer beyond `apply` ---------------------------------------------------


def is_equal(a: Abstract, b: Abstract) -> Known:
    """Whether `a == b` always, never or sometimes."""
    if isinstance(a, Known) and isinstance(b, Known):
        found = {equals(x, y) for x in a.values for y in b.values}
        return EITHER if len(found) == 2 else TRUE if True in found else FALSE
    if isinstance(b, Known):
        a, b = b, a
    if isinstance(a, Known):
        return EITHER if any(may_be(b, value) for value in a.values) else FALSE
    left, right = kinds_of(a), kinds_of(b)
    if left is not None and right is not None and not _share(left, right):
        return FALSE
    return EITHER


def _share(left: frozenset[str], right: frozenset[str]) -> bool:
    if left & NUMBER and right & NUMBER:
        return True
    return bool(left & right)


def may_be(value: Abstract, candidate: Any) -> bool:
    """Whether a value may equal the candidate; True when in doubt."""
    match value:
        case Known(values=values):
            return any(equals(one, candidate) for one in values)
        case PartialMap(entries=entries, complete=complete):
            if isinstance(candidate, ResourceDocument):
                return True
            if not isinstance(candidate, Mapping):
                return False
            if complete and len(candidate) != len(entries):
                return False
            return all(
                key in candidate and may_be(entry, candidate[key]) for key, entry in entries.items()
            )
        case Anything(kinds=kinds, facts=facts):
            if kinds is not None and not _share(kinds, frozenset({type_name(candidate)})):
                return False
            if any(equals(candidate, other) for other in facts.unequal):
                return False
            below = order(value, ">=", candidate) == FALSE
            above = order(value, "<=", candidate) == FALSE
            return not below and not above


_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPARABLE: Final = {
    "int": NUMBER,
    "float": NUMBER,
    "string": frozenset({"string"}),
    "timestamp": frozenset({"timestamp"}),
    "duration": frozenset({"duration"}),
}


def compare(a: Result, operator: str, b: Result, concrete: Callable[[Any, Any], Any]) -> Result:
    """`a < b` and the like."""
    if isinstance(b.value, Anything) and isinstance(a.value, Known):
        a, b, operator = b, a, _FLIPPED[operator]
    if not (isinstance(a.value, Anything) and isinstance(b.value, Known)):
        return apply(concrete, [a, b])
    fault = a.fault or b.fault
    found: set[bool] = set()
    for bound in b.value.values:
        comparable = _COMPARABLE.get(type_name(bound), frozenset())
        kinds = a.value.kinds
        if kinds is not None and not kinds & comparable:
            fault = True
            continue
        if kinds is None or not kinds <= comparable:
            fault = True
        found.update(order(a.value, operator, bound).values)
    value = None
    if found:
        value = EITHER if len(found) == 2 else TRUE if True in found else FALSE
    return Result(value, fault, a.pending | b.pending, a.error or b.error)


def order(value: Anything, operator: str, bound: Any) -> Known:
    """What the facts say of `value < bound` and the like, where they compare at all."""
    comparable = _COMPARABLE.get(type_name(bound), frozenset())
    if value.kinds is None or not value.kinds <= comparable or bound != bound:
        return EITHER if bound == bound else FALSE
    lower, upper = value.facts.lower, value.facts.upper
    if operator in (">", ">="):
        # NaN is below every number for a query, so a lower bound rules it out.
        holds = lower is not None and (
            lower[0] > bound or (lower[0] == bound and (operator == ">=" or not lower[1]))
        )
        fails = upper is not None and (
            upper[0] < bound or (upper[0] == bound and (operator == ">" or not upper[1]))
        )
    else:
        # NaN passes an upper bound of a query, and is below nothing in a rule.
        may_be_nan = "float" in value.kinds and lower is None
        holds = (
            not may_be_nan
            and upper is not None
            and (upper[0] < bound or (upper[0] == bound and (operator == "<=" or not upper[1])))
        )
        fails = lower is not None and (
            lower[0] > bound or (lower[0] == bound and (operator == "<" or not lower[1]))
        )
    return TRUE if holds else FALSE if fails else EITHER


def contains(item: Result, container: Result, concrete: Callable[[Any, Any], Any]) -> Result:
    """`item in container`."""
    pending = item.pending | container.pending
    fault = item.fault or container.fault
    error = item.error or container.error
    inside, outside = item.value, container.value
    if inside is None or outside is None:
        return Result(None, True, pending, error)
    if isinstance(inside, Known) and isinstance(outside, Known):
        return apply(concrete, [item, container])
    if isinstance(outside, Known):
        # `inside` is not known: never in a list of which it can be no element.
        may = False
        for one in outside.values:
            if one.__class__ is list or one.__class__ is RulesSet:
                may = may or any(may_be(inside, element) for element in one)
            elif isinstance(one, Mapping | ResourceDocument):
                may = True
            else:
                fault = True
        return Result(EITHER if may else FALSE, fault, pending, error)
    if isinstance(outside, PartialMap):
        keys = inside.values if isinstance(inside, Known) else ()
        if keys and all(isinstance(key, str) and key in outside.entries for key in keys):
            return Result(TRUE, fault, pending, error)
        if outside.complete and isinstance(inside, Known):
            found = [isinstance(key, str) and key in outside.entries for key in keys]
            return Result(known_of(found), fault, pending, error)
        return Result(EITHER, fault, pending, error)
    if outside.kinds is None or not outside.kinds <= {"list", "set", "map"}:
        fault = True
    if isinstance(inside, Known) and all(
        any(equals(key, element) for element in outside.facts.contains) for key in inside.values
    ):
        return Result(TRUE, fault, pending, error)
    return Result(EITHER, fault, pending, error)


def as_list(items: list[Result]) -> Result:
    """A list literal."""
    whole = apply(lambda *values: list(values), items)
    if whole.value is None or isinstance(whole.value, Known):
        return whole
    certain = tuple(
        item.value.values[0]
        for item in items
        if isinstance(item.value, Known) and len(item.value.values) == 1
    )
    fault = any(item.fault for item in items)
    return replace(
        whole,
        value=Anything(frozenset({"list"}), Facts(contains=certain)),
        fault=fault,
    )
