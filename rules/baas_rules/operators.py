"""What the operators do with values: arithmetic, order, membership, types, access.

Each function takes and returns rule values and raises EvaluationError where there is no value.
`==`, `!=` are `values.equals`; `&&`, `||`, `!` and `? :` belong to whoever evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from baas_rules.decision import ResourceDocument
from baas_rules.errors import EvaluationError
from baas_rules.limits import STRING_LENGTH_MAX
from baas_rules.values import (
    Duration,
    LatLng,
    Path,
    RulesSet,
    Timestamp,
    check_int,
    contains,
    type_name,
)

_NUMBERS: Final = frozenset({int, float})
_ORDERED: Final = frozenset({str, Timestamp, Duration})


def _mismatch(symbol: str, a: Any, b: Any) -> EvaluationError:
    return EvaluationError(f"`{symbol}` does not take {type_name(a)} and {type_name(b)}")


def add(a: Any, b: Any) -> Any:
    kind, other = a.__class__, b.__class__
    if kind is int and other is int:
        return check_int(a + b)
    if kind is str and other is str:
        if len(a) + len(b) > STRING_LENGTH_MAX:
            raise EvaluationError("the string is too long")
        return a + b
    if kind in _NUMBERS and other in _NUMBERS:
        return float(a) + float(b)
    if kind is Timestamp and other is Duration:
        return Timestamp.from_nanos(a.nanos + b.nanos)
    if kind is Duration and other is Timestamp:
        return Timestamp.from_nanos(a.nanos + b.nanos)
    if kind is Duration and other is Duration:
        return Duration(a.nanos + b.nanos)
    raise _mismatch("+", a, b)


def subtract(a: Any, b: Any) -> Any:
    kind, other = a.__class__, b.__class__
    if kind is int and other is int:
        return check_int(a - b)
    if kind in _NUMBERS and other in _NUMBERS:
        return float(a) - float(b)
    if kind is Timestamp and other is Timestamp:
        return Duration(a.nanos - b.nanos)
    if kind is Timestamp and other is Duration:
        return Timestamp.from_nanos(a.nanos - b.nanos)
    if kind is Duration and other is Duration:
        return Duration(a.nanos - b.nanos)
    raise _mismatch("-", a, b)


def multiply(a: Any, b: Any) -> Any:
    kind, other = a.__class__, b.__class__
    if kind is int and other is int:
        return check_int(a * b)
    if kind in _NUMBERS and other in _NUMBERS:
        return float(a) * float(b)
    raise _mismatch("*", a, b)


def divide(a: Any, b: Any) -> Any:
    """Of integers, cut toward zero: -7 / 2 is -3."""
    kind, other = a.__class__, b.__class__
    if kind not in _NUMBERS or other not in _NUMBERS:
        raise _mismatch("/", a, b)
    if b == 0:
        raise EvaluationError("division by zero")
    if kind is int and other is int:
        quotient = abs(a) // abs(b)
        return check_int(quotient if (a < 0) == (b < 0) else -quotient)
    return float(a) / float(b)


def remainder(a: Any, b: Any) -> Any:
    """With the sign of the dividend: -7 % 2 is -1."""
    kind, other = a.__class__, b.__class__
    if kind not in _NUMBERS or other not in _NUMBERS:
        raise _mismatch("%", a, b)
    if b == 0:
        raise EvaluationError("division by zero")
    if kind is int and other is int:
        rest = abs(a) % abs(b)
        return -rest if a < 0 else rest
    x, y = float(a), float(b)
    return math.fmod(x, y) if math.isfinite(x) else math.nan


def negate(a: Any) -> Any:
    if a.__class__ is int:
        return check_int(-a)
    if a.__class__ is float:
        return -a
    raise EvaluationError(f"`-` does not take {type_name(a)}")


def _is_ordered(a: Any, b: Any) -> bool:
    kind, other = a.__class__, b.__class__
    return (kind in _NUMBERS and other in _NUMBERS) or (kind is other and kind in _ORDERED)


def less(a: Any, b: Any) -> bool:
    if _is_ordered(a, b):
        return bool(a < b)
    raise _mismatch("<", a, b)


def less_or_equal(a: Any, b: Any) -> bool:
    if _is_ordered(a, b):
        return bool(a <= b)
    raise _mismatch("<=", a, b)


def greater(a: Any, b: Any) -> bool:
    if _is_ordered(a, b):
        return bool(a > b)
    raise _mismatch(">", a, b)


def greater_or_equal(a: Any, b: Any) -> bool:
    if _is_ordered(a, b):
        return bool(a >= b)
    raise _mismatch(">=", a, b)


def is_in(a: Any, b: Any) -> bool:
    """Element of a list or set; key of a map."""
    kind = b.__class__
    if kind is list:
        return contains(b, a)
    if kind is RulesSet:
        return a in b
    if isinstance(b, Mapping):
        return a.__class__ is str and a in b
    if kind is ResourceDocument:
        return a in ("data", "id", "__name__")
    raise EvaluationError(f"`in` needs a list, set or map, not {type_name(b)}")


# All but `==` and `!=`, which are `values.equals`.
BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": less,
    "<=": less_or_equal,
    ">": greater,
    ">=": greater_or_equal,
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
    "in": is_in,
}

# The type names that `is` takes.
TYPE_TESTS: Final[dict[str, Callable[[Any], bool]]] = {
    "bool": lambda value: value.__class__ is bool,
    "int": lambda value: value.__class__ is int,
    "float": lambda value: value.__class__ is float,
    "number": lambda value: value.__class__ in _NUMBERS,
    "string": lambda value: value.__class__ is str,
    "bytes": lambda value: value.__class__ is bytes,
    "list": lambda value: value.__class__ is list,
    "map": lambda value: isinstance(value, Mapping) or value.__class__ is ResourceDocument,
    "timestamp": lambda value: value.__class__ is Timestamp,
    "duration": lambda value: value.__class__ is Duration,
    "latlng": lambda value: value.__class__ is LatLng,
    "path": lambda value: value.__class__ is Path,
}


def document_map(document: ResourceDocument, database: str) -> dict[str, Any]:
    """A document as the map that it stands for: `data`, `id` and `__name__`."""
    return {
        "data": document.data,
        "id": document.path[-1],
        "__name__": document_name(document.path, database),
    }


def document_name(path: tuple[str, ...], database: str) -> Path:
    """The full name of a document, as paths in rules are written."""
    return Path(("databases", database, "documents", *path))


def member(target: Any, name: str) -> Any:
    """`target.name` of a map."""
    if isinstance(target, Mapping):
        if name in target:
            return target[name]
        raise EvaluationError(f"the map has no key `{name}`")
    if target is None:
        raise EvaluationError(f"null has no member `{name}`")
    raise EvaluationError(f"{type_name(target)} has no member `{name}`")


def index(target: Any, at: Any) -> Any:
    """`target[at]` of a list, string, path or map."""
    kind = target.__class__
    if kind is list or kind is str:
        return target[_position(at, len(target))]
    if isinstance(target, Mapping):
        if at.__class__ is not str:
            raise EvaluationError(f"a map's key is a string, not {type_name(at)}")
        return member(target, at)
    if kind is Path:
        if at.__class__ is str:
            if at in target.bound:
                return target.bound[at]
            raise EvaluationError(f"the path has nothing bound to `{at}`")
        return target.segments[_position(at, len(target.segments))]
    raise EvaluationError(f"{type_name(target)} has no elements")


def _position(at: Any, length: int) -> int:
    if at.__class__ is not int:
        raise EvaluationError(f"an index is an int, not {type_name(at)}")
    if not 0 <= at < length:
        raise EvaluationError(f"index {at} is out of range: the length is {length}")
    return int(at)


def cut(target: Any, start: Any, end: Any) -> Any:
    """`target[start:end]` of a list or string."""
    kind = target.__class__
    if kind is not list and kind is not str:
        raise EvaluationError(f"{type_name(target)} cannot be cut")
    if start.__class__ is not int or end.__class__ is not int:
        raise EvaluationError("the bounds of a cut are ints")
    if not 0 <= start <= end <= len(target):
        raise EvaluationError(
            f"[{start}:{end}] is out of range: the length is {len(target)}",
        )
    return target[start:end]
