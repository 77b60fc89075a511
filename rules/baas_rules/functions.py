"""The built-in library, as tables: free functions, namespaces, and the methods of each type.

Every entry takes and returns rule values and raises EvaluationError. Lookups (`get`, `exists`, …)
are not here: they need the request.
"""

from __future__ import annotations

import hashlib
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import re2

from baas_rules.errors import EvaluationError
from baas_rules.limits import (
    LIST_LENGTH_MAX,
    PATH_LENGTH_MAX,
    PATTERN_BYTES_MAX,
    PATTERN_GROUPS_MAX,
    PATTERN_LENGTH_MAX,
    PATTERN_MATCHES_MAX,
    PATTERN_STEPS_MAX,
    STRING_LENGTH_MAX,
)
from baas_rules.values import (
    Duration,
    LatLng,
    MapDiff,
    Path,
    RulesSet,
    Timestamp,
    check_int,
    number_text,
    show,
    type_name,
)


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function, or a method with its receiver as first argument (not counted in the arity)."""

    call: Callable[..., Any]
    arity: int


# --- conversions -------------------------------------------------------------------------------


def to_int(value: Any) -> int:
    kind = value.__class__
    if kind is int:
        return int(value)
    if kind is float:
        return _whole(value, math.trunc)
    if kind is str:
        text = value[1:] if value[:1] in ("-", "+") else value
        if text.isascii() and text.isdigit() and len(text) <= 40:
            return check_int(int(value))
        raise EvaluationError("the string is not an integer")
    raise EvaluationError(f"`int` does not take {type_name(value)}")


def to_float(value: Any) -> float:
    kind = value.__class__
    if kind is int or kind is float:
        return float(value)
    if kind is str and value.isascii() and "_" not in value and value == value.strip():
        try:
            return float(value)
        except ValueError:
            pass
    if kind is str:
        raise EvaluationError("the string is not a number")
    raise EvaluationError(f"`float` does not take {type_name(value)}")


def to_string(value: Any) -> str:
    kind = value.__class__
    if kind is str:
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return number_text(value)
    if kind is Path:
        return str(value)
    raise EvaluationError(f"`string` does not take {type_name(value)}")


def to_path(value: Any) -> Path:
    """From text, with or without the leading slash."""
    if value.__class__ is not str:
        raise EvaluationError(f"`path` does not take {type_name(value)}")
    segments = value.removeprefix("/").split("/", PATH_LENGTH_MAX)
    if "" in segments:
        raise EvaluationError("a path has an empty segment")
    check_path_length(segments)
    return Path(tuple(segments))


def _whole(value: float, cut: Callable[[float], int]) -> int:
    if not math.isfinite(value):
        raise EvaluationError(f"{number_text(value)} is not an integer")
    return check_int(cut(value))


def _number(value: Any, name: str) -> int | float:
    if value.__class__ is int or value.__class__ is float:
        return value
    raise EvaluationError(f"`{name}` does not take {type_name(value)}")


def _int(value: Any, name: str) -> int:
    if value.__class__ is int:
        return value
    raise EvaluationError(f"`{name}` takes an int, not {type_name(value)}")


def _string(value: Any, name: str) -> str:
    if value.__class__ is str:
        return value
    raise EvaluationError(f"`{name}` takes a string, not {type_name(value)}")


# --- math --------------------------------------------------------------------------------------


def _abs(value: Any) -> Any:
    number = _number(value, "math.abs")
    return check_int(abs(number)) if number.__class__ is int else abs(number)


def _rounding(name: str, cut: Callable[[float], int]) -> Builtin:
    def call(value: Any) -> int:
        number = _number(value, name)
        return number if isinstance(number, int) else _whole(number, cut)

    return Builtin(call, 1)


def _sqrt(value: Any) -> float:
    number = float(_number(value, "math.sqrt"))
    return math.sqrt(number) if number >= 0 else math.nan


def _pow(base: Any, exponent: Any) -> float:
    x, y = float(_number(base, "math.pow")), float(_number(exponent, "math.pow"))
    try:
        return math.pow(x, y)
    except ValueError:  # a negative base with a broken exponent, or 0 to a negative one
        return math.inf if x == 0 else math.nan
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf


def _is_nan(value: Any) -> bool:
    return math.isnan(_number(value, "math.isNaN"))


# --- time --------------------------------------------------------------------------------------

_UNIT_NANOS: Final = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "ns": 1,
}
_SECOND_NANOS: Final = 1_000_000_000
_DURATION_NANOS_MAX: Final = 315_576_000_000 * _SECOND_NANOS  # ten thousand years


def _duration(nanos: int) -> Duration:
    if abs(nanos) > _DURATION_NANOS_MAX:
        raise EvaluationError("the duration is too long")
    return Duration(nanos)


def _duration_value(magnitude: Any, unit: Any) -> Duration:
    nanos = _UNIT_NANOS.get(_string(unit, "duration.value"))
    if nanos is None:
        raise EvaluationError(f"unknown unit of time `{unit}`: use w, d, h, m, s, ms or ns")
    return _duration(_int(magnitude, "duration.value") * nanos)


def _duration_time(hours: Any, minutes: Any, seconds: Any, nanos: Any) -> Duration:
    parts = [_int(part, "duration.time") for part in (hours, minutes, seconds, nanos)]
    return _duration(
        ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * _SECOND_NANOS + parts[3],
    )


def _duration_abs(value: Any) -> Duration:
    if value.__class__ is not Duration:
        raise EvaluationError(f"`duration.abs` takes a duration, not {type_name(value)}")
    return Duration(abs(value.nanos))


def _truncated(nanos: int) -> tuple[int, int]:
    """Seconds and the rest in nanoseconds, both with the sign of the whole."""
    seconds, rest = divmod(abs(nanos), _SECOND_NANOS)
    return (-seconds, -rest) if nanos < 0 else (seconds, rest)


def _timestamp_date(year: Any, month: Any, day: Any) -> Timestamp:
    parts = [_int(part, "timestamp.date") for part in (year, month, day)]
    try:
        return Timestamp.from_datetime(datetime(*parts))  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        raise EvaluationError("there is no such date") from None


def _timestamp_value(milliseconds: Any) -> Timestamp:
    return Timestamp.from_nanos(_int(milliseconds, "timestamp.value") * 1_000_000)


def _date_of(moment: Timestamp) -> Timestamp:
    day: date = moment.to_datetime().date()
    return Timestamp.from_datetime(datetime.combine(day, time()))


_TIMESTAMP_METHODS: Final[dict[str, Builtin]] = {
    "year": Builtin(lambda moment: moment.to_datetime().year, 0),
    "month": Builtin(lambda moment: moment.to_datetime().month, 0),
    "day": Builtin(lambda moment: moment.to_datetime().day, 0),
    "hours": Builtin(lambda moment: moment.to_datetime().hour, 0),
    "minutes": Builtin(lambda moment: moment.to_datetime().minute, 0),
    "seconds": Builtin(lambda moment: moment.to_datetime().second, 0),
    "nanos": Builtin(lambda moment: moment.nanos % _SECOND_NANOS, 0),
    "dayOfWeek": Builtin(lambda moment: moment.to_datetime().isoweekday(), 0),
    "dayOfYear": Builtin(lambda moment: moment.to_datetime().timetuple().tm_yday, 0),
    "date": Builtin(_date_of, 0),
    "time": Builtin(lambda moment: Duration(moment.nanos - _date_of(moment).nanos), 0),
    "toMillis": Builtin(lambda moment: moment.nanos // 1_000_000, 0),
}

_DURATION_METHODS: Final[dict[str, Builtin]] = {
    "seconds": Builtin(lambda length: _truncated(length.nanos)[0], 0),
    "nanos": Builtin(lambda length: _truncated(length.nanos)[1], 0),
}


# --- latlng ------------------------------------------------------------------------------------

_EARTH_RADIUS_METRES: Final = 6_371_010.0


def _latlng(latitude: Any, longitude: Any) -> LatLng:
    lat = float(_number(latitude, "latlng.value"))
    lng = float(_number(longitude, "latlng.value"))
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise EvaluationError("latitude is within ±90 and longitude within ±180")
    return LatLng(lat, lng)


def _distance(a: LatLng, b: Any) -> float:
    if b.__class__ is not LatLng:
        raise EvaluationError(f"`distance` takes a latlng, not {type_name(b)}")
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    across = math.sin((lat_b - lat_a) / 2) ** 2
    along = math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    chord = across + math.cos(lat_a) * math.cos(lat_b) * along
    return 2 * _EARTH_RADIUS_METRES * math.asin(min(1.0, math.sqrt(chord)))


_LATLNG_METHODS: Final[dict[str, Builtin]] = {
    "latitude": Builtin(lambda place: place.latitude, 0),
    "longitude": Builtin(lambda place: place.longitude, 0),
    "distance": Builtin(_distance, 1),
}


# --- hashing and bytes -------------------------------------------------------------------------


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C: Final = _crc32c_table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _hash(name: str, digest: Callable[[bytes], bytes]) -> Builtin:
    def call(value: Any) -> bytes:
        if value.__class__ is str:
            return digest(value.encode())
        if value.__class__ is bytes:
            return digest(value)
        raise EvaluationError(f"`hashing.{name}` does not take {type_name(value)}")

    return Builtin(call, 1)


_BYTES_METHODS: Final[dict[str, Builtin]] = {
    "size": Builtin(len, 0),
    "toBase64": Builtin(lambda data: urlsafe_b64encode(data).decode("ascii"), 0),
    "toHexString": Builtin(lambda data: data.hex().upper(), 0),
}


# --- string ------------------------------------------------------------------------------------

_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$")


# Patterns may come from documents, so what those that are kept can take together is bounded.
@lru_cache(maxsize=32)
def _pattern(text: str, *, captures: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    options.never_capture = not captures  # what groups hold takes memory for each of them
    return re2.compile(text, options)


def compile_pattern(text: Any, *, captures: bool = False) -> Any:
    """The RE2 pattern of a text. Raises EvaluationError if it is not one."""
    source = _string(text, "matches")
    try:
        if len(source) <= PATTERN_LENGTH_MAX:
            return _pattern(source, captures=captures)
    except (re2.error, UnicodeEncodeError):
        raise EvaluationError(f"{show(text)} is not an RE2 regular expression") from None
    raise EvaluationError(f"a regular expression has at most {PATTERN_LENGTH_MAX} characters")


def full_match(pattern: Any) -> Callable[[str], bool]:
    """Whether a pattern matches the whole of a text, as a function of the text."""
    fullmatch = pattern.fullmatch
    length_max = _length_max(pattern)

    def matches(text: str) -> bool:
        if len(text) > length_max:
            raise _too_much(length_max)
        return fullmatch(text) is not None

    return matches


def _length_max(pattern: Any) -> int:
    """The longest text that a pattern is tried on: in the worst case RE2 takes a step for each
    character and instruction."""
    return int(PATTERN_STEPS_MAX // max(1, pattern.programsize))


def _too_much(length_max: int) -> EvaluationError:
    message = f"this regular expression takes texts of at most {length_max} characters"
    return EvaluationError(message)


def _matches(text: str, pattern: Any) -> bool:
    return full_match(compile_pattern(pattern))(text)


def _template(substitute: str) -> list[str | int]:
    """Texts and group numbers: `\\0` to `\\9` are groups, `\\\\` is a backslash."""
    parts: list[str | int] = []
    pieces = iter(substitute)
    for character in pieces:
        if character != "\\":
            parts.append(character)
            continue
        escaped = next(pieces, "")
        if escaped == "\\":
            parts.append(escaped)
        elif escaped.isascii() and escaped.isdigit():
            parts.append(int(escaped))
        else:
            raise EvaluationError("a backslash in a substitute stands before a digit or backslash")
    return parts


def _replace(text: str, pattern: Any, substitute: Any) -> str:
    """Every match, `\\1` to `\\9` in the substitute standing for groups."""
    template = _template(_string(substitute, "replace"))
    if _is_plain(pattern) and all(isinstance(part, str) for part in template):
        literal = "".join(str(part) for part in template)
        if len(text) + text.count(pattern) * len(literal) > STRING_LENGTH_MAX:
            raise EvaluationError("the string is too long")
        return text.replace(pattern, literal)
    found = compile_pattern(pattern, captures=True)
    if found.groups > PATTERN_GROUPS_MAX:
        raise EvaluationError(f"a pattern of `replace` has at most {PATTERN_GROUPS_MAX} groups")
    if any(isinstance(part, int) and part > found.groups for part in template):
        raise EvaluationError(f"`{substitute}` names a group that the pattern has not")
    parts: list[str] = []
    start = 0
    for match in _found(found, text):
        parts.append(text[start : match.start()])
        parts.extend(
            part if isinstance(part, str) else (match.group(part) or "") for part in template
        )
        start = match.end()
    parts.append(text[start:])
    return _bounded("".join(parts))


def _split(text: str, pattern: Any) -> list[Any]:
    if _is_plain(pattern):
        if text.count(pattern) >= LIST_LENGTH_MAX:
            raise EvaluationError("the list is too long")
        return list(text.split(pattern))
    parts: list[Any] = []
    start = 0
    for match in _found(compile_pattern(pattern), text):
        if match.end() == match.start() and match.start() in (start, len(text)):
            continue  # an empty match at an end, or behind another match, separates nothing
        parts.append(text[start : match.start()])
        start = match.end()
    parts.append(text[start:])
    return parts


def _is_plain(pattern: Any) -> bool:
    """Whether it matches exactly itself, so that no pattern is needed."""
    return pattern.__class__ is str and pattern != "" and _SPECIAL.isdisjoint(pattern)


def _found(pattern: Any, text: str) -> Iterator[Any]:
    """Each match in turn. Their number is bounded, as each costs some microseconds."""
    length_max = _length_max(pattern)
    if len(text) > length_max:
        raise _too_much(length_max)
    steps = 0
    for count, match in enumerate(pattern.finditer(text)):
        steps += len(text) - match.start()  # in the worst case each search reads all the rest
        if count >= PATTERN_MATCHES_MAX or steps > PATTERN_STEPS_MAX:
            raise EvaluationError(f"the pattern matches more than {PATTERN_MATCHES_MAX} times")
        yield match


def _bounded(text: str) -> str:
    if len(text) > STRING_LENGTH_MAX:
        raise EvaluationError("the string is too long")
    return text


_STRING_METHODS: Final[dict[str, Builtin]] = {
    "size": Builtin(len, 0),
    "lower": Builtin(lambda text: text.lower(), 0),
    "upper": Builtin(lambda text: text.upper(), 0),
    "trim": Builtin(lambda text: text.strip(), 0),
    "matches": Builtin(_matches, 1),
    "replace": Builtin(_replace, 2),
    "split": Builtin(_split, 1),
    "toUtf8": Builtin(lambda text: text.encode(), 0),
}


# --- list and set ------------------------------------------------------------------------------


def _as_set(value: Any, name: str) -> RulesSet:
    if value.__class__ is RulesSet:
        return value
    if value.__class__ is list:
        return RulesSet(value)
    raise EvaluationError(f"`{name}` takes a list or set, not {type_name(value)}")


def _only_set(value: Any, name: str) -> RulesSet:
    if value.__class__ is RulesSet:
        return value
    raise EvaluationError(f"`{name}` takes a set, not {type_name(value)}: use `toSet()`")


def _has_all(items: Any, wanted: Any) -> bool:
    return _as_set(items, "hasAll").has_all(_as_set(wanted, "hasAll"))


def _has_any(items: Any, wanted: Any) -> bool:
    return _as_set(items, "hasAny").has_any(_as_set(wanted, "hasAny"))


def _has_only(items: Any, allowed: Any) -> bool:
    return _as_set(allowed, "hasOnly").has_all(_as_set(items, "hasOnly"))


def _list(value: Any, name: str) -> list[Any]:
    if value.__class__ is list:
        return value
    raise EvaluationError(f"`{name}` takes a list, not {type_name(value)}")


def _concat(items: list[Any], more: Any) -> list[Any]:
    joined = items + _list(more, "concat")
    if len(joined) > LIST_LENGTH_MAX:
        raise EvaluationError("the list is too long")
    return joined


def _remove_all(items: list[Any], unwanted: Any) -> list[Any]:
    gone = RulesSet(_list(unwanted, "removeAll"))
    return [item for item in items if item not in gone]


def _join(items: list[Any], separator: Any) -> str:
    texts = [to_string(item) for item in items]
    glue = _string(separator, "join")
    if sum(map(len, texts)) + len(glue) * len(texts) > STRING_LENGTH_MAX:
        raise EvaluationError("the string is too long")
    return glue.join(texts)


_LIST_METHODS: Final[dict[str, Builtin]] = {
    "size": Builtin(len, 0),
    "concat": Builtin(_concat, 1),
    "removeAll": Builtin(_remove_all, 1),
    "hasAll": Builtin(_has_all, 1),
    "hasAny": Builtin(_has_any, 1),
    "hasOnly": Builtin(_has_only, 1),
    "join": Builtin(_join, 1),
    "toSet": Builtin(RulesSet, 0),
}

_SET_METHODS: Final[dict[str, Builtin]] = {
    "size": Builtin(len, 0),
    "hasAll": Builtin(_has_all, 1),
    "hasAny": Builtin(_has_any, 1),
    "hasOnly": Builtin(_has_only, 1),
    "union": Builtin(lambda a, b: a.union(_only_set(b, "union")), 1),
    "intersection": Builtin(lambda a, b: a.intersection(_only_set(b, "intersection")), 1),
    "difference": Builtin(lambda a, b: a.difference(_only_set(b, "difference")), 1),
}


# --- map ---------------------------------------------------------------------------------------


def _get(entries: Mapping[str, Any], key: Any, default: Any) -> Any:
    """A value by key, or by a list of keys through nested maps; the default on any failure."""
    if key.__class__ is str:
        return entries.get(key, default)
    if key.__class__ is not list:
        raise EvaluationError(f"`get` takes a string or a list of strings, not {type_name(key)}")
    value: Any = entries
    for step in key:
        if not isinstance(value, Mapping) or step.__class__ is not str or step not in value:
            return default
        value = value[step]
    return value


def _diff(new: Mapping[str, Any], old: Any) -> MapDiff:
    if isinstance(old, Mapping):
        return MapDiff(new, old)
    raise EvaluationError(f"`diff` takes a map, not {type_name(old)}")


MAP_METHODS: Final[dict[str, Builtin]] = {
    "size": Builtin(len, 0),
    "keys": Builtin(list, 0),
    "values": Builtin(lambda entries: list(entries.values()), 0),
    "get": Builtin(_get, 2),
    "diff": Builtin(_diff, 1),
}

_DIFF_METHODS: Final[dict[str, Builtin]] = {
    "addedKeys": Builtin(MapDiff.added, 0),
    "removedKeys": Builtin(MapDiff.removed, 0),
    "changedKeys": Builtin(MapDiff.changed, 0),
    "affectedKeys": Builtin(MapDiff.affected, 0),
    "unchangedKeys": Builtin(MapDiff.unchanged, 0),
}


# --- path --------------------------------------------------------------------------------------


def _bind(path: Path, values: Any) -> Path:
    """Fills the gaps `$(name)` from a map; a gap that the map does not name stays."""
    if not isinstance(values, Mapping):
        raise EvaluationError(f"`bind` takes a map, not {type_name(values)}")
    segments: list[str] = []
    for segment in path.segments:
        name = segment[2:-1] if segment.startswith("$(") and segment.endswith(")") else None
        if name is None or name not in values:
            segments.append(segment)
        else:
            segments.extend(path_segments(values[name]))
    check_path_length(segments)
    return Path(tuple(segments), {**path.bound, **values})


def path_segments(value: Any) -> tuple[str, ...]:
    """What a value put into a path stands for: a string is one segment, a path all of its own.
    A string with `/` (or empty) is refused, so that no value can reach into another place."""
    if value.__class__ is str:
        if "/" in value or not value:
            raise EvaluationError("a segment of a path is not empty and has no `/`")
        return (value,)
    if value.__class__ is Path:
        return value.segments
    raise EvaluationError(f"a segment of a path is a string, not {type_name(value)}")


def check_path_length(segments: Sequence[str]) -> None:
    """Paths put into paths double at each step."""
    if len(segments) > PATH_LENGTH_MAX:
        raise EvaluationError(f"a path has at most {PATH_LENGTH_MAX} segments")


_PATH_METHODS: Final[dict[str, Builtin]] = {"bind": Builtin(_bind, 1)}


# --- the tables --------------------------------------------------------------------------------

METHODS: Final[dict[type, dict[str, Builtin]]] = {
    str: _STRING_METHODS,
    bytes: _BYTES_METHODS,
    list: _LIST_METHODS,
    dict: MAP_METHODS,
    RulesSet: _SET_METHODS,
    MapDiff: _DIFF_METHODS,
    Path: _PATH_METHODS,
    Timestamp: _TIMESTAMP_METHODS,
    Duration: _DURATION_METHODS,
    LatLng: _LATLNG_METHODS,
}

FUNCTIONS: Final[dict[str, Builtin]] = {
    "int": Builtin(to_int, 1),
    "float": Builtin(to_float, 1),
    "string": Builtin(to_string, 1),
    "path": Builtin(to_path, 1),
    "debug": Builtin(lambda value: value, 1),
}

# Lookups by name: whether they ask for the state after the commit, and whether only for existence.
LOOKUPS: Final[dict[str, tuple[bool, bool]]] = {
    "get": (False, False),
    "exists": (False, True),
    "getAfter": (True, False),
    "existsAfter": (True, True),
}
# Those of objects, as `firestore.get`, by whether they ask only for existence.
CROSS_SERVICE_LOOKUPS: Final[dict[str, bool]] = {"get": False, "exists": True}

NAMESPACES: Final[dict[str, dict[str, Builtin]]] = {
    "math": {
        "abs": Builtin(_abs, 1),
        "ceil": _rounding("math.ceil", math.ceil),
        "floor": _rounding("math.floor", math.floor),
        "round": _rounding("math.round", lambda value: math.floor(value + 0.5)),
        "sqrt": Builtin(_sqrt, 1),
        "pow": Builtin(_pow, 2),
        "isNaN": Builtin(_is_nan, 1),
    },
    "timestamp": {
        "date": Builtin(_timestamp_date, 3),
        "value": Builtin(_timestamp_value, 1),
    },
    "duration": {
        "value": Builtin(_duration_value, 2),
        "time": Builtin(_duration_time, 4),
        "abs": Builtin(_duration_abs, 1),
    },
    "latlng": {"value": Builtin(_latlng, 2)},
    "hashing": {
        "md5": _hash("md5", lambda data: hashlib.md5(data, usedforsecurity=False).digest()),
        "sha256": _hash("sha256", lambda data: hashlib.sha256(data).digest()),
        "crc32": _hash("crc32", lambda data: crc32(data).to_bytes(4, "little")),
        "crc32c": _hash("crc32c", lambda data: _crc32c(data).to_bytes(4, "little")),
    },
}

METHOD_NAMES: Final = frozenset(name for methods in METHODS.values() for name in methods)
METHOD_ARITIES: Final[dict[str, frozenset[int]]] = {
    name: frozenset(methods[name].arity for methods in METHODS.values() if name in methods)
    for name in METHOD_NAMES
}
