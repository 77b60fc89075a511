"""The values that a document holds: Firestore's types on plain Python ones.

null None · bool bool · int64 int · double float · timestamp Timestamp · string str · bytes bytes ·
reference Reference · geo point GeoPoint · array list · map dict · vector Vector
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

from baas.errors import InvalidPath, InvalidValue
from baas.model.paths import DocumentPath, check_field_name, numeric_id
from baas.model.timestamps import MICROSECONDS_MAX, MICROSECONDS_MIN, Timestamp
from baas.settings import Limits

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
STRING_BYTES_MAX = 1_048_576 - 89  # also of a bytes value
VECTOR_DIMENSIONS_MAX = 2_048

_NAME_BYTES = 16  # added to the ids of a document's name
_MAP_BYTES = 32  # added to the names and values of a document or map


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """Degrees: latitude in [-90, 90], longitude in [-180, 180]."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A document by path. `database` is "" for the holder's own, else `projects/p/databases/d`."""

    path: DocumentPath
    database: str = ""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of doubles."""

    values: tuple[float, ...]


Value: TypeAlias = Union[
    bool,
    int,
    float,
    str,
    bytes,
    Timestamp,
    Reference,
    GeoPoint,
    Vector,
    "list[Value]",
    "dict[str, Value]",
    None,
]
Fields: TypeAlias = dict[str, Value]


def document_size(path: DocumentPath, fields: Fields) -> int:
    """A document's size in Firestore's own count: its name, names and values of its fields, 32."""
    return _name_size(path) + _map_size(fields, 0, _DEPTH_ENDLESS)


def value_size(value: Value) -> int:
    """The size of one value in the same count."""
    return _value_size(value, 0, _DEPTH_ENDLESS)


def check_document(path: DocumentPath, fields: Fields, limits: Limits) -> None:
    """Raises InvalidValue if the document as a whole is too large or nested too deep. Names and
    single values are `check_fields`'s to check, or were checked when they were decoded."""
    size = _name_size(path) + _map_size(fields, 0, limits.value_depth_max)
    if size > limits.document_bytes_max:
        raise InvalidValue(
            f"document `{path}` has {size} bytes; at most {limits.document_bytes_max} are allowed",
            reason="DocumentTooLarge",
            details={"size_bytes": size, "size_bytes_max": limits.document_bytes_max},
        )


def check_fields(fields: Fields, limits: Limits) -> None:
    """Raises InvalidValue, with the place in `details["field"]`, unless `fields` holds only values
    that a document may hold: known types, int64 range, field names, depth, no array in an array."""
    _check_map(fields, "", 0, limits.value_depth_max)


def check_value(value: Value, at: str, limits: Limits) -> None:
    """The same for one value, which `at` names."""
    _check(value, at, 0, limits.value_depth_max)


def is_identical(a: Value, b: Value) -> bool:
    """Whether both are stored alike. Stricter than `order.is_equal`: 3 is not 3.0, 0.0 not -0.0."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        if len(a) != len(b):
            return False
        for key, value in a.items():
            other = b.get(key, _ABSENT)
            if value is not other and not is_identical(value, other):  # type: ignore[arg-type]
                return False
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_identical, a, b))
    if kind is float or kind is GeoPoint or kind is Vector:
        # repr tells -0.0 from 0.0 and finds NaN equal to NaN.
        return repr(a) == repr(b)
    return a == b


_ABSENT = object()

# Sizes -------------------------------------------------------------------------------------------

_DEPTH_ENDLESS = 1_000_000
_FIXED_SIZES: dict[type, int] = {
    type(None): 1,
    bool: 1,
    int: 8,
    float: 8,
    Timestamp: 8,
    GeoPoint: 16,
}


def _name_size(path: DocumentPath) -> int:
    size = _NAME_BYTES
    for segment in path.segments:
        numeric = segment[0] == "_" and numeric_id(segment) is not None
        size += 8 if numeric else _string_size(segment)
    return size


def _string_size(text: str) -> int:
    return 1 + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))


def _map_size(fields: Fields, depth: int, depth_max: int) -> int:
    size = _MAP_BYTES
    for key, value in fields.items():
        size += len(key) + 1 if key.isascii() else _string_size(key)
        kind = type(value)
        if kind is str:
            text: str = value  # type: ignore[assignment]
            size += len(text) + 1 if text.isascii() else _string_size(text)
        elif kind is int or kind is float:
            size += 8
        else:
            size += _value_size(value, depth, depth_max)
    return size


def _value_size(value: Value, depth: int, depth_max: int) -> int:
    fixed = _FIXED_SIZES.get(type(value))
    if fixed is not None:
        return fixed
    if isinstance(value, str):
        return _string_size(value)
    if isinstance(value, dict | list):
        if depth >= depth_max:
            raise too_deep(depth_max)
        if isinstance(value, dict):
            return _map_size(value, depth + 1, depth_max)
        return sum([_value_size(item, depth + 1, depth_max) for item in value])
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Reference):
        return _name_size(value.path)
    if isinstance(value, Vector):
        return 8 * len(value.values)
    raise InvalidValue(f"a value of kind `{type(value).__name__}` cannot be stored")


# Checks ------------------------------------------------------------------------------------------


def too_deep(depth_max: int, at: str = "") -> InvalidValue:
    """The error for what nests deeper than `depth_max`; `at` names the value."""
    subject = f"`{at}`" if at else "the document"
    return InvalidValue(
        f"{subject} nests maps and arrays deeper than {depth_max}",
        reason="ValueTooDeep",
        details={"field": at},
    )


def _invalid(at: str, problem: str, reason: str | None = None) -> InvalidValue:
    return InvalidValue(f"`{at}` {problem}", reason=reason, details={"field": at})


def _check_map(fields: Fields, at: str, depth: int, depth_max: int) -> None:
    for key, value in fields.items():
        place = f"{at}.{key}" if at else key
        if type(key) is not str:
            raise _invalid(at, "has a field name that is no string")
        try:
            check_field_name(key)
        except InvalidPath as error:
            raise InvalidValue(
                error.message, reason=error.reason, details={"field": place}
            ) from error
        _check(value, place, depth, depth_max)


def _check(value: Value, at: str, depth: int, depth_max: int) -> None:
    match value:
        case None | bool() | float():
            return
        case int():
            if not INT64_MIN <= value <= INT64_MAX:
                raise _invalid(at, "is no 64-bit integer", "IntegerOutOfRange")
        case str():
            check_string(value, at)
        case bytes():
            if len(value) > STRING_BYTES_MAX:
                raise _invalid(at, f"is longer than {STRING_BYTES_MAX} bytes", "StringTooLong")
        case Timestamp():
            if not MICROSECONDS_MIN <= value.microseconds <= MICROSECONDS_MAX:
                raise _invalid(at, "is not within the years 1 to 9999", "InvalidTimestamp")
        case GeoPoint():
            check_geo_point(value, at)
        case Vector():
            check_vector(value, at)
        case Reference():
            return
        case list():
            if depth >= depth_max:
                raise too_deep(depth_max, at)
            for index, item in enumerate(value):
                if isinstance(item, list):
                    raise _invalid(
                        f"{at}[{index}]", "is an array directly within an array", "ArrayInArray"
                    )
                _check(item, f"{at}[{index}]", depth + 1, depth_max)
        case dict():
            if depth >= depth_max:
                raise too_deep(depth_max, at)
            _check_map(value, at, depth + 1, depth_max)
        case _:
            raise _invalid(at, "is of no type that a document can hold")


def check_string(text: str, at: str) -> None:
    """Raises InvalidValue if a string value is too long or holds a lone surrogate."""
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise _invalid(at, "is not valid Unicode text", "InvalidText") from None
    if size > STRING_BYTES_MAX:
        raise _invalid(at, f"is longer than {STRING_BYTES_MAX} bytes", "StringTooLong")


def check_geo_point(point: GeoPoint, at: str) -> None:
    """Raises InvalidValue for a latitude or longitude that is no place on Earth; NaN is none."""
    if not (-90.0 <= point.latitude <= 90.0 and -180.0 <= point.longitude <= 180.0):
        raise _invalid(at, "must have a latitude from -90 to 90 and a longitude from -180 to 180")


def check_vector(vector: Vector, at: str) -> None:
    """Raises InvalidValue for a vector without dimensions or with too many."""
    if not 1 <= len(vector.values) <= VECTOR_DIMENSIONS_MAX:
        raise _invalid(at, f"must have 1 to {VECTOR_DIMENSIONS_MAX} dimensions")
