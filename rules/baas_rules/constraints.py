"""From a query to what is known of every document that it returns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from baas_rules.abstract import (
    NUMBER,
    Abstract,
    Anything,
    Facts,
    Known,
    PartialMap,
)
from baas_rules.decision import (
    AllOf,
    AnyOf,
    Constraint,
    FieldConstraint,
    ListBound,
    ListRequest,
    Segments,
)
from baas_rules.operators import document_name
from baas_rules.values import LatLng, Path, Timestamp, type_name

_DISJUNCTS_MAX: Final = 100
_VARIANTS_MAX: Final = 16
_NAME: Final = ("__name__",)
_COMPARED: Final = frozenset({int, float, str, Timestamp})

Bound = tuple[Any, bool]  # and whether it is included


def disjuncts(where: Constraint | None) -> list[tuple[FieldConstraint, ...]]:
    """The filter as alternatives, at least one of which every returned document passes in full.
    `in` and `array-contains-any` become one alternative per value."""
    found = _disjuncts(where)
    # Knowing less is always sound.
    return found if len(found) <= _DISJUNCTS_MAX else [()]


def _disjuncts(where: Constraint | None) -> list[tuple[FieldConstraint, ...]]:
    match where:
        case None:
            return [()]
        case FieldConstraint(field=path, operator="in", value=list() as values):
            return [(FieldConstraint(path, "==", value),) for value in values if _can_match(value)]
        case FieldConstraint(field=path, operator="array-contains-any", value=list() as values):
            return [
                (FieldConstraint(path, "array-contains", value),)
                for value in values
                if _can_match(value)
            ]
        case FieldConstraint():
            return [(where,)]
        case AnyOf(constraints=parts):
            return [one for part in parts for one in _disjuncts(part)]
        case AllOf(constraints=parts):
            product: list[tuple[FieldConstraint, ...]] = [()]
            for part in parts:
                inner = _disjuncts(part)
                if len(product) * len(inner) > _DISJUNCTS_MAX:
                    continue  # leaving a filter out is sound
                product = [(*left, *right) for left in product for right in inner]
            return product


def _can_match(value: Any) -> bool:
    """null and NaN, as elements of a list operand, match nothing."""
    return value is not None and bool(value == value)


@dataclass(slots=True)
class _Field:
    """What is gathered of one field."""

    children: dict[str, _Field] = field(default_factory=dict)
    equal: list[Any] | None = None
    entries: Mapping[str, Any] | None = None  # of a map that it equals
    kinds: frozenset[str] | None = None
    lower: tuple[Any, bool] | None = None
    upper: tuple[Any, bool] | None = None
    unequal: list[Any] = field(default_factory=list)
    contains: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Subject:
    """A document that a query may return, as far as one alternative of its filter tells."""

    data: PartialMap
    path: Segments | None  # if the filter names the very document

    @property
    def id(self) -> Abstract:
        if self.path is not None:
            return Known((self.path[-1],))
        return Anything(frozenset({"string"}), origin="the document's id")

    def resource(self, database: str) -> PartialMap:
        """As `resource`."""
        name: Abstract = Anything(frozenset({"path"}), origin="the document's name")
        if self.path is not None:
            name = Known((document_name(self.path, database),))
        entries = {"data": self.data, "id": self.id, "__name__": name}
        return PartialMap(entries, complete=True)


def subject(request: ListRequest, alternative: tuple[FieldConstraint, ...]) -> Subject:
    """What is known of a document that passes one alternative of the request's filter."""
    root = _Field()
    path: Segments | None = None
    for constraint in alternative:
        if constraint.field == _NAME:
            if constraint.operator == "==":
                path = _document_path(constraint.value, request) or path
            continue
        _gather(_at(root, constraint.field), constraint)
    for ordering in request.order_by:
        if ordering.field != _NAME:
            _at(root, ordering.field)  # a document without the field is not returned
    for bound in request.bounds:
        _gather_kinds(_at(root, bound.field), bound)
    for bound in request.bounds:
        _gather_position(_at(root, bound.field), bound)
    data = _abstract(root, ())
    assert isinstance(data, PartialMap)
    return Subject(data, path)


def _document_path(value: Any, request: ListRequest) -> Segments | None:
    if not isinstance(value, Path):
        return None
    prefix = ("databases", request.database, "documents")
    path = value.segments[3:] if value.segments[:3] == prefix else value.segments
    if request.group:
        above = request.collection[:-1]
        fits = len(path) >= 2 and path[-2] == request.collection[-1] and path[: len(above)] == above
    else:
        fits = path[:-1] == request.collection
    # A name elsewhere matches nothing; not to use it is sound.
    return path if fits and len(path) % 2 == 0 else None


def _at(root: _Field, path: Segments) -> _Field:
    found = root
    for segment in path:
        found = found.children.setdefault(segment, _Field())
    return found


def _gather(found: _Field, constraint: FieldConstraint) -> None:
    value = constraint.value
    match constraint.operator:
        case "==":
            found.equal = variants(value)
            found.entries = value if isinstance(value, Mapping) else None
            found.kinds = frozenset(map(type_name, found.equal or [value]))
        case "!=":
            found.unequal += [value, None]
        case "not-in":
            found.unequal += [*(value if isinstance(value, list) else ()), None]
        case "<" | "<=" | ">" | ">=":
            _gather_bound(found, constraint.operator, value)
        case "array-contains":
            found.contains.append(value)
            found.kinds = frozenset({"list"})
        case _:
            pass  # `in` and the like with an operand that is no list


def _gather_bound(found: _Field, operator: str, value: Any) -> None:
    kinds = _range_kinds(value)
    if found.kinds != kinds:
        found.kinds, found.lower, found.upper = kinds, None, None
    if value != value:
        return  # NaN, which bounds nothing
    if operator in ("<", "<="):
        found.upper = _tighter(found.upper, (value, operator == "<="), upper=True)
    else:
        found.lower = _tighter(found.lower, (value, operator == ">="), upper=False)


def _tighter(known: Bound | None, other: Bound, *, upper: bool) -> Bound:
    """Of two bounds that both hold, the one that says more, where that can be told."""
    if known is None:
        return other
    a, b = known[0], other[0]
    comparable = a.__class__ is b.__class__ or {type_name(a), type_name(b)} <= NUMBER
    if not comparable or a.__class__ not in _COMPARED:
        return other
    if a == b:
        return (a, known[1] and other[1])
    return known if (a < b) is upper else other


# In the order over all values, types come one after another.
_ORDER_OF_KINDS: Final = (
    frozenset({"null"}),
    frozenset({"bool"}),
    NUMBER,
    *(frozenset({kind}) for kind in ("timestamp", "string", "bytes", "path", "latlng", "list")),
    frozenset({"map"}),
)


def _gather_kinds(found: _Field, bound: ListBound) -> None:
    """A cursor leaves the types on its side of the order."""
    own = _range_kinds(bound.value)
    if own not in _ORDER_OF_KINDS:
        return
    at = _ORDER_OF_KINDS.index(own)
    left = _ORDER_OF_KINDS[at:] if bound.operator in (">", ">=") else _ORDER_OF_KINDS[: at + 1]
    kinds = frozenset[str]().union(*left)
    found.kinds = kinds if found.kinds is None else (kinds & found.kinds) or found.kinds


def _gather_position(found: _Field, bound: ListBound) -> None:
    """Where only values of its type are left, a cursor is as a bound of the filter."""
    if found.kinds is not None and found.kinds <= _range_kinds(bound.value):
        kinds = found.kinds
        found.kinds = _range_kinds(bound.value)
        _gather_bound(found, bound.operator, bound.value)
        found.kinds = kinds


def _range_kinds(value: Any) -> frozenset[str]:
    kind = type_name(value)
    return NUMBER if kind in NUMBER else frozenset({kind})


def _abstract(found: _Field, path: Segments) -> Abstract:
    if found.equal is not None and found.equal and path:
        return Known(tuple(found.equal))
    if found.entries is not None and path:
        return _map(found.entries, path)
    if found.children or not path:
        entries = {name: _abstract(child, (*path, name)) for name, child in found.children.items()}
        return PartialMap(entries, path=path)
    facts = Facts(found.lower, found.upper, tuple(found.unequal), tuple(found.contains))
    return Anything(found.kinds, facts, path)


def _map(value: Mapping[str, Any], path: Segments) -> PartialMap:
    """A map that equals this one, with its keys in any order."""
    entries: dict[str, Abstract] = {}
    for name, item in value.items():
        inner = (*path, name)
        equal = variants(item)
        if equal:
            entries[name] = Known(tuple(equal))
        elif isinstance(item, Mapping):
            entries[name] = _map(item, inner)
        else:
            entries[name] = Anything(frozenset({type_name(item)}), origin=inner)
    return PartialMap(entries, complete=True, path=path)


def variants(value: Any) -> list[Any]:
    """Every value that a filter takes to be equal to this one, as far as a rule could tell them
    apart: 3 and 3.0, 0.0 and -0.0. Empty if there are too many."""
    kind = value.__class__
    if kind is int or kind is float:
        return _numbervariants(value)
    if kind is list:
        return _product([variants(item) for item in value], list)
    if kind is LatLng:
        parts = [_zerovariants(value.latitude), _zerovariants(value.longitude)]
        return _product(parts, lambda both: LatLng(*both))
    if isinstance(value, Mapping):
        if len(value) > 1:
            return []  # equal maps may have their keys in another order
        items = [variants(item) for item in value.values()]
        return _product(items, lambda parts: dict(zip(value, parts, strict=True)))
    return [value]


def _zerovariants(value: float) -> list[float]:
    return [0.0, -0.0] if value == 0 else [value]


def _numbervariants(value: float) -> list[Any]:
    if value == 0:
        return [0, 0.0, -0.0]
    found: list[Any] = [value]
    if isinstance(value, int):
        if float(value) == value:
            found.append(float(value))
    elif math.isfinite(value) and value.is_integer() and -(2**63) <= value < 2**63:
        found.append(int(value))
    return found


def _product(parts: list[list[Any]], make: Any) -> list[Any]:
    if math.prod(map(len, parts)) > _VARIANTS_MAX:
        return []
    return [make(list(combination)) for combination in itertools.product(*parts)]
