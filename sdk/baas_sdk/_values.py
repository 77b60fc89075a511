"""Values: plain Python ones to native JSON and back.

null None · bool · int64 int · double float · timestamp datetime (UTC) · string str · bytes ·
reference DocumentReference · geo point GeoPoint · vector Vector · array list · map dict

Plain values are plain JSON; the others are objects of one key (`{"$timestamp": "…Z"}`). Integers
and doubles stay distinct: whole doubles are `{"$double": 1}`, integers beyond ±(2^53-1)
`{"$int": "…"}`. A literal key that starts with `$` carries one more `$`.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias, overload

import orjson

from baas_sdk._paths import DatabaseName, FieldPath
from baas_sdk.errors import Internal, InvalidValue, SdkError

Tree: TypeAlias = Any  # native JSON
VALUE_DEPTH_MAX = 20
_SAFE_INTEGER = 2**53 - 1


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """Degrees: latitude in [-90, 90], longitude in [-180, 180]. Raises InvalidValue."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        for name, value, bound in (
            ("latitude", self.latitude, 90),
            ("longitude", self.longitude, 180),
        ):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidValue(f"a GeoPoint's {name} is a number, not `{value!r}`")
            if not -bound <= value <= bound:
                raise InvalidValue(f"a GeoPoint's {name} is in [-{bound}, {bound}], not `{value}`")


class Vector(Sequence[float]):
    """A vector of doubles. Immutable, equal to another one of the same numbers."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[float]) -> None:
        if not values:
            raise InvalidValue("a Vector holds at least one number")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidValue(f"a Vector holds numbers, not `{value!r}`")
        self._values = tuple(float(value) for value in values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[float, ...]: ...
    def __getitem__(self, index: int | slice) -> float | tuple[float, ...]:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Vector({list(self._values)})"


class Reference:
    """What a reference value needs to be written: a document's path and its database."""

    __slots__ = ()

    @property
    def path(self) -> str:
        raise NotImplementedError

    @property
    def database_name(self) -> DatabaseName:
        raise NotImplementedError


class ForeignReference(Reference):
    """A reference to a document of another project or database. It is only a value: to read the
    document, make a client of that database."""

    __slots__ = ("_name", "_path")

    def __init__(self, database_name: DatabaseName, path: str) -> None:
        self._name = database_name
        self._path = path

    @property
    def path(self) -> str:
        """The document's path within its database."""
        return self._path

    @property
    def database_name(self) -> DatabaseName:
        """The project and database it belongs to."""
        return self._name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForeignReference) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ForeignReference({self._name!r}, {self._path!r})"

    def _key(self) -> tuple[DatabaseName, str]:
        return self._name, self._path


class Sentinel:
    """A field's instruction in place of a value: legal only as the value of a map's key in a
    write."""

    __slots__ = ()


# --- encode ---------------------------------------------------------------------------------------


class _Unfit(Exception):
    """A value that cannot be stored; the trail back to it is collected on the way out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.trail: list[str | int] = []


def encode_value(value: object, home: DatabaseName, at: tuple[str, ...] = ()) -> Tree:
    """Native JSON. `home` is the database in which references are short. Raises InvalidValue that
    names the field."""
    try:
        return _encode(value, home, len(at))
    except _Unfit as unfit:
        raise _unfit_at(at, unfit) from None


def check_key(key: object, at: tuple[str, ...]) -> str:
    """A map's key is a non-empty string. Raises InvalidValue."""
    if not isinstance(key, str) or not key:
        place = f" in `{FieldPath(*at)}`" if at else ""
        raise InvalidValue(f"field names are non-empty strings, not `{key!r}`{place}")
    return key


def escape_key(key: str) -> str:
    """A literal key that starts with `$` gets one more."""
    return "$" + key if key[0] == "$" else key


def _unfit_at(at: tuple[str, ...], unfit: _Unfit) -> InvalidValue:
    place = str(FieldPath(*at)) if at else ""
    for step in reversed(unfit.trail):
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            place += ("." if place else "") + str(FieldPath(step))
    where = f"at `{place}`: " if place else ""
    return InvalidValue(f"{where}{unfit}", details={"field": place} if place else None)


def _encode(value: Any, home: DatabaseName, depth: int) -> Tree:
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        encoder = _encoder_of_subclass(value)
    return encoder(value, home, depth)


def _plain(value: Any, home: DatabaseName, depth: int) -> Tree:
    return value


def _integer(value: int, home: DatabaseName, depth: int) -> Tree:
    if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return int(value)
    if not -(2**63) <= value < 2**63:
        raise _Unfit(f"the integer `{value}` does not fit into 64 bits; store it as a string")
    return {"$int": str(int(value))}


def _double(value: float, home: DatabaseName, depth: int) -> Tree:
    if math.isfinite(value) and not value.is_integer():
        return float(value)
    return {"$double": _tagged_double(value)}


def _tagged_double(value: float) -> Tree:
    """A double where the tag already says so: any reader may take it for an integer."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 and math.copysign(1.0, value) < 0:
        return "-0"
    if value.is_integer() and abs(value) <= _SAFE_INTEGER:
        return int(value)
    return float(value)


def _bytes(value: bytes, home: DatabaseName, depth: int) -> Tree:
    return {"$bytes": base64.b64encode(value).decode("ascii")}


def _datetime(value: datetime, home: DatabaseName, depth: int) -> Tree:
    if value.utcoffset() is None:
        raise _Unfit(
            f"the datetime `{value}` has no time zone; use datetime.now(timezone.utc) or"
            " .replace(tzinfo=…)"
        )
    try:
        return {"$timestamp": format_time(value)}
    except OverflowError:
        raise _Unfit(f"the datetime `{value}` lies outside the years 1 to 9999 in UTC") from None


def _reference(value: Reference, home: DatabaseName, depth: int) -> Tree:
    return {"$ref": reference_text(value, home)}


def _geo_point(value: GeoPoint, home: DatabaseName, depth: int) -> Tree:
    return {"$geo": [_tagged_double(float(value.latitude)), _tagged_double(float(value.longitude))]}


def _vector(value: Vector, home: DatabaseName, depth: int) -> Tree:
    return {"$vector": [_tagged_double(item) for item in value]}


def _array(value: Sequence[Any], home: DatabaseName, depth: int) -> Tree:
    _check_depth(depth + 1)
    result = []
    for index, item in enumerate(value):
        try:
            if isinstance(item, list | tuple):
                raise _Unfit("an array cannot hold an array directly; put it into a map")
            result.append(_encode(item, home, depth + 1))
        except _Unfit as unfit:
            unfit.trail.append(index)
            raise
    return result


def _map(value: Mapping[Any, Any], home: DatabaseName, depth: int) -> Tree:
    _check_depth(depth + 1)
    result = {}
    for key, item in value.items():
        if not isinstance(key, str) or not key:
            raise _Unfit(f"field names are non-empty strings, not `{key!r}`")
        try:
            result[escape_key(key)] = _encode(item, home, depth + 1)
        except _Unfit as unfit:
            unfit.trail.append(key)
            raise
    return result


def _check_depth(depth: int) -> None:
    if depth > VALUE_DEPTH_MAX:
        raise _Unfit(f"maps and arrays nest at most {VALUE_DEPTH_MAX} deep")


def _refused(value: Any, home: DatabaseName, depth: int) -> Tree:
    hint = ""
    if isinstance(value, Sentinel):
        raise _Unfit(f"`{value!r}` can only stand as the value of a field in a write, not here")
    if isinstance(value, date):
        hint = "; use a datetime with a time zone"
    elif isinstance(value, timedelta):
        hint = "; store a number of seconds"
    elif isinstance(value, set | frozenset):
        hint = "; use a list"
    raise _Unfit(f"a value of type {type(value).__name__} cannot be stored{hint}")


_Encoder: TypeAlias = Callable[[Any, DatabaseName, int], Tree]
_SUBCLASSES: tuple[tuple[type | tuple[type, ...], _Encoder], ...] = (
    (Reference, _reference),
    (bool, _plain),
    (int, _integer),
    (float, _double),
    (str, lambda value, home, depth: str.__str__(value)),
    ((bytes, bytearray, memoryview), _bytes),
    (datetime, _datetime),
    ((list, tuple), _array),
    (Mapping, _map),
    (object, _refused),
)
_ENCODERS: dict[type, _Encoder] = {
    type(None): _plain,
    bool: _plain,
    str: _plain,
    int: _integer,
    float: _double,
    bytes: _bytes,
    datetime: _datetime,
    GeoPoint: _geo_point,
    Vector: _vector,
    list: _array,
    tuple: _array,
    dict: _map,
}


def _encoder_of_subclass(value: object) -> _Encoder:
    return next(encoder for kind, encoder in _SUBCLASSES if isinstance(value, kind))


def dumps(tree: Tree) -> bytes:
    """JSON text. Raises InvalidValue for text that is not valid Unicode."""
    try:
        return orjson.dumps(tree)
    except orjson.JSONEncodeError as error:
        raise InvalidValue(f"a string is not valid Unicode (a lone surrogate): {error}") from error


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with six digits: `2026-11-22T17:00:00.123456Z`."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text + "Z"


def past_time(read_time: object) -> str:
    """The `read_time` of a request. Raises InvalidValue for what is no moment."""
    if not isinstance(read_time, datetime):
        raise InvalidValue(f"`read_time` is a datetime, not `{read_time!r}`")
    if read_time.utcoffset() is None:
        raise InvalidValue("`read_time` has no time zone, as datetime.now(UTC) or a snapshot's has")
    return format_time(read_time)


def reference_text(reference: Reference, home: DatabaseName) -> str:
    """`users/ada` for a document of `home`, else the full name."""
    name = reference.database_name
    if name == home:
        return reference.path
    return f"projects/{name.project}/databases/{name.database}/documents/{reference.path}"


# --- decode ---------------------------------------------------------------------------------------

ReferenceMaker: TypeAlias = Callable[[str], Any]


def decode_value(tree: Tree, reference: ReferenceMaker) -> Any:
    """A fresh Python value. `reference` makes one of a `$ref`'s text. Raises Internal for what no
    server of this API sends."""
    if isinstance(tree, dict):
        if len(tree) == 1:
            ((key, inner),) = tree.items()
            if key[:1] == "$" and key[:2] != "$$":
                return _decode_tagged(key, inner, reference)
        return decode_map(tree, reference)
    if isinstance(tree, list):
        return [decode_value(item, reference) for item in tree]
    return tree


def decode_map(tree: Mapping[str, Tree], reference: ReferenceMaker) -> dict[str, Any]:
    """A map of fields, which is never a tagged value."""
    return {
        (unescape_key(key) if key[:1] == "$" else key): decode_value(item, reference)
        for key, item in tree.items()
    }


def unescape_key(key: str) -> str:
    """A literal key without the `$` that it carries on the wire. Raises Internal."""
    if key[:2] != "$$":
        raise Internal(f"the server sent the tag `{key}` among other keys")
    return key[1:]


def parse_time(text: object) -> datetime:
    """A datetime in UTC; digits beyond the microsecond are cut. Raises Internal."""
    try:
        if not isinstance(text, str) or not _TIME.match(text):
            raise ValueError(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Internal(f"the server sent `{text!r}` where a time is due") from error


def _decode_tagged(tag: str, inner: Tree, reference: ReferenceMaker) -> Any:
    decode = _DECODERS.get(tag)
    if decode is None:
        raise Internal(
            f"the server sent a value of the unknown type `{tag}`: a newer client may know it"
        )
    try:
        return decode(inner, reference)
    except (SdkError, ValueError, TypeError, LookupError) as error:
        raise Internal(f"the server sent a `{tag}` that cannot be read: `{inner!r}`") from error


def _decode_bytes(inner: Tree, reference: ReferenceMaker) -> bytes:
    return base64.b64decode(inner, validate=True)


def _decode_reference(inner: Tree, reference: ReferenceMaker) -> Any:
    return reference(inner)


def _decode_geo_point(inner: Tree, reference: ReferenceMaker) -> GeoPoint:
    latitude, longitude = inner
    return GeoPoint(_number(latitude), _number(longitude))


def _decode_vector(inner: Tree, reference: ReferenceMaker) -> Vector:
    return Vector([_number(item) for item in inner])


def _decode_integer(inner: Tree, reference: ReferenceMaker) -> int:
    if not _INTEGER.match(str(inner)) or not -(2**63) <= int(inner) < 2**63:
        raise ValueError(inner)
    return int(inner)


def _number(inner: Tree, reference: ReferenceMaker | None = None) -> float:
    is_number = isinstance(inner, int | float) and not isinstance(inner, bool)
    if is_number or inner in ("NaN", "Infinity", "-Infinity", "-0"):
        return float(inner)
    raise ValueError(inner)


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z", re.ASCII)
_DECODERS: dict[str, Callable[[Tree, ReferenceMaker], Any]] = {
    "$timestamp": lambda inner, reference: parse_time(inner),
    "$bytes": _decode_bytes,
    "$ref": _decode_reference,
    "$geo": _decode_geo_point,
    "$vector": _decode_vector,
    "$int": _decode_integer,
    "$double": _number,
}


def split_reference(text: str, home: DatabaseName) -> tuple[DatabaseName, str]:
    """The database and the path that a `$ref` names."""
    parts = text.split("/", 5)
    if len(parts) == 6 and (parts[0], parts[2], parts[4]) == ("projects", "databases", "documents"):
        return DatabaseName(parts[1], parts[3]), parts[5]
    return home, text
