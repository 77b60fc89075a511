"""The values of the language that Python has no type for, and equality, order and text of all.

null None · bool bool · int int (64 bits) · float float · string str · bytes bytes · list list ·
map dict · set RulesSet · timestamp Timestamp · duration Duration · latlng LatLng · path Path
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from baas_rules.errors import EvaluationError
from baas_rules.limits import INT64_MAX, INT64_MIN
from baas_rules.metering import charge

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_NANOS_PER_SECOND: Final = 1_000_000_000
MICROSECONDS_MIN: Final = (datetime.min - _EPOCH) // _MICROSECOND
MICROSECONDS_MAX: Final = (datetime.max - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Microseconds since 1970-01-01T00:00:00Z, from year 1 to 9999, and a rest of 0 to 999 ns."""

    microseconds: int
    rest_nanos: int = 0

    def __eq__(self, other: object) -> bool:
        # What a dataclass makes builds two tuples each time.
        if other.__class__ is not Timestamp:
            return NotImplemented
        assert isinstance(other, Timestamp)
        return self.microseconds == other.microseconds and self.rest_nanos == other.rest_nanos

    def to_datetime(self) -> datetime:
        """UTC, without a zone, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.microseconds)

    @classmethod
    def from_datetime(cls, moment: datetime) -> Timestamp:
        """`moment` is UTC, without a zone."""
        return cls((moment - _EPOCH) // _MICROSECOND)

    @classmethod
    def from_nanos(cls, nanos: int) -> Timestamp:
        """Raises EvaluationError outside of years 1 to 9999."""
        microseconds, rest = divmod(nanos, 1000)
        if not MICROSECONDS_MIN <= microseconds <= MICROSECONDS_MAX:
            raise EvaluationError("the timestamp is outside of the years 1 to 9999")
        return cls(microseconds, rest)

    @property
    def nanos(self) -> int:
        """Nanoseconds since 1970."""
        return self.microseconds * 1000 + self.rest_nanos

    def __str__(self) -> str:
        return self.to_datetime().isoformat(timespec="microseconds") + "Z"


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A signed length of time in nanoseconds."""

    nanos: int

    def __str__(self) -> str:
        seconds, rest = divmod(abs(self.nanos), _NANOS_PER_SECOND)
        sign = "-" if self.nanos < 0 else ""
        return f"{sign}{seconds}.{rest:09}s" if rest else f"{sign}{seconds}s"


@dataclass(frozen=True, slots=True)
class LatLng:
    """A place on earth, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Path:
    """A path, segment by segment. A segment `$(name)` is a gap that `bind` fills."""

    segments: tuple[str, ...]
    bound: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)


class RulesSet:
    """An immutable set of values, in the order in which they came. Equal values (1 and 1.0) are
    one; NaN equals nothing, so each NaN counts."""

    __slots__ = ("_members",)

    def __init__(self, values: Iterable[Any]) -> None:
        members: dict[Any, Any] = {}
        for value in values:
            key = value if value.__class__ is str else freeze(value)
            if key not in members:
                members[key] = value
        self._members = members

    @classmethod
    def _of(cls, members: dict[Any, Any]) -> RulesSet:
        made = cls.__new__(cls)
        made._members = members
        return made

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members.values())

    def __contains__(self, value: Any) -> bool:
        return freeze(value) in self._members

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RulesSet):
            return NotImplemented
        return self._members.keys() == other._members.keys()

    def __hash__(self) -> int:
        return hash(frozenset(self._members))

    def __repr__(self) -> str:
        return f"RulesSet({list(self)!r})"

    def has_all(self, other: RulesSet) -> bool:
        return other._members.keys() <= self._members.keys()

    def has_any(self, other: RulesSet) -> bool:
        return not self._members.keys().isdisjoint(other._members.keys())

    def union(self, other: RulesSet) -> RulesSet:
        return self._of({**other._members, **self._members})

    def intersection(self, other: RulesSet) -> RulesSet:
        theirs = other._members
        return self._of({key: value for key, value in self._members.items() if key in theirs})

    def difference(self, other: RulesSet) -> RulesSet:
        theirs = other._members
        return self._of({key: value for key, value in self._members.items() if key not in theirs})


@dataclass(frozen=True, slots=True)
class MapDiff:
    """`new.diff(old)`: which keys came, went, changed or stayed."""

    new: Mapping[str, Any]
    old: Mapping[str, Any]

    def added(self) -> RulesSet:
        old = self.old
        return _names(key for key in self.new if key not in old)

    def removed(self) -> RulesSet:
        new = self.new
        return _names(key for key in self.old if key not in new)

    def changed(self) -> RulesSet:
        old = self.old
        return _names(
            key for key, value in self.new.items() if key in old and not equals(value, old[key])
        )

    def unchanged(self) -> RulesSet:
        old = self.old
        return _names(
            key for key, value in self.new.items() if key in old and equals(value, old[key])
        )

    def affected(self) -> RulesSet:
        found = {key: key for key in self.affected_keys()}
        return RulesSet._of(found)

    def affected_keys(self) -> Iterator[str]:
        """Each key that came, went or changed, once."""
        new, old = self.new, self.old
        for key, value in new.items():
            if key in old:
                other = old[key]
                kind = value.__class__
                if kind is other.__class__ and kind in PLAIN:
                    if value == other:
                        continue
                elif equals(value, other):
                    continue
            yield key
        for key in old:
            if key not in new:
                yield key


def _names(keys: Iterable[str]) -> RulesSet:
    """A set of different strings."""
    return RulesSet._of({key: key for key in keys})


class UniqueKey:
    """The key of a value that equals nothing, itself included: NaN."""

    __slots__ = ()


def freeze(value: Any) -> Any:
    """A hashable key: two values have equal keys exactly if they are equal in the language."""
    kind = value.__class__
    if kind is str or kind is int:
        return value
    if kind is bool:
        return (bool, value)
    if kind is float:
        return value if value == value else UniqueKey()
    if kind is list:
        charge(len(value))
        return (list, tuple(map(freeze, value)))
    if isinstance(value, Mapping):
        charge(len(value))
        return (dict, frozenset((key, freeze(item)) for key, item in value.items()))
    if kind is LatLng:
        return (kind, freeze(value.latitude), freeze(value.longitude))
    return value


# Of these, two values of one class are equal exactly if Python finds them so.
PLAIN: Final = frozenset({str, bool, int, float, type(None), bytes, Timestamp, Duration, Path})


def equals(a: Any, b: Any) -> bool:
    """The language's `==`: by value, deep, int and float by number, else never across types."""
    kind = a.__class__
    if kind is b.__class__:
        if kind in PLAIN:
            return bool(a == b)
        if kind is list:
            charge(len(a))
            return len(a) == len(b) and all(map(equals, a, b))
        if kind is LatLng:
            return bool(a.latitude == b.latitude and a.longitude == b.longitude)
        if isinstance(a, Mapping):
            return _equal_maps(a, b)
        return bool(a == b)
    if kind is int or kind is float:
        return (b.__class__ is float or b.__class__ is int) and bool(a == b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return _equal_maps(a, b)
    return False


def _equal_maps(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if len(a) != len(b):
        return False
    charge(len(a))
    return all(key in b and equals(value, b[key]) for key, value in a.items())


def contains(items: list[Any], value: Any) -> bool:
    """Whether a list has an element equal to the value."""
    kind = value.__class__
    if kind is str:
        return value in items
    return any(equals(item, value) for item in items)


_TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    RulesSet: "set",
    Timestamp: "timestamp",
    Duration: "duration",
    LatLng: "latlng",
    Path: "path",
    MapDiff: "map diff",
}


def type_name(value: Any) -> str:
    """The language's word for the type of a value."""
    name = _TYPE_NAMES.get(value.__class__)
    return name if name is not None else "map"


def check_int(value: int) -> int:
    """The value, if it fits 64 bits; raises EvaluationError otherwise."""
    if INT64_MIN <= value <= INT64_MAX:
        return value
    raise EvaluationError("integer overflow: the result does not fit 64 bits")


def number_text(value: float) -> str:
    """A number as `string()` gives it."""
    if value.__class__ is float and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value)


def show(value: Any, length_max: int = 120) -> str:
    """A value for a person, in the language's own notation, cut to a length."""
    text = _show(value, length_max)
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def show_type(value: Any) -> str:
    """What may be told of a value that is private: null and bools as they are, else the type."""
    if value is None or value.__class__ is bool:
        return show(value)
    return f"({type_name(value)})"


def _show(value: Any, budget: int) -> str:
    kind = value.__class__
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return number_text(value)
    if kind is str:
        cut = str(value[: budget + 1])
        return "'" + cut.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    if kind is list:
        return "[" + _show_all((_show(item, budget) for item in value), budget) + "]"
    if kind is RulesSet:
        return "[" + _show_all((_show(item, budget) for item in value), budget) + "].toSet()"
    if isinstance(value, Mapping):
        entries = (f"{_show(key, budget)}: {_show(item, budget)}" for key, item in value.items())
        return "{" + _show_all(entries, budget) + "}"
    if kind is bytes:
        return f"bytes of length {len(value)}"
    if kind is LatLng:
        return f"latlng.value({number_text(value.latitude)}, {number_text(value.longitude)})"
    if kind is MapDiff:
        return f"a map diff affecting {_show(list(value.affected()), budget)}"
    return str(value)


def _show_all(texts: Iterator[str], budget: int) -> str:
    shown: list[str] = []
    used = 0
    for text in texts:
        shown.append(text)
        used += len(text)
        if used > budget:
            break  # `show` cuts it anyway
    return ", ".join(shown)
