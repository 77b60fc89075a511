"""Native JSON: plain JSON for plain values, one-key tagged objects for the rest (docs/values.md).

    {"$timestamp": "2026-11-22T17:00:00.000000Z"}   {"$bytes": "aGk="}   {"$ref": "users/ada"}
    {"$geo": [48.2, 16.4]}   {"$vector": [1, 0.5]}   {"$int": "9007199254740993"}   {"$double": 1}

Integers and doubles stay apart even through JavaScript: integers beyond ±(2^53-1) are `$int`, and
doubles that are whole or not finite are `$double` (-0.0 and the non-finite ones as strings). The
plain forms are read too. A literal key that starts with `$` gets one more.

A tree is what a JSON parser returns. Both directions copy only the maps and arrays in which
something changes, so results may share parts with what was given: change neither in place.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any

from baas.errors import BaasError, InvalidPath, InvalidValue
from baas.model.paths import DocumentPath, check_field_name, check_id
from baas.model.timestamps import Timestamp
from baas.model.values import (
    INT64_MAX,
    INT64_MIN,
    STRING_BYTES_MAX,
    Fields,
    GeoPoint,
    Reference,
    Value,
    Vector,
    check_geo_point,
    check_string,
    check_vector,
)

SAFE_INTEGER_MAX = 2**53 - 1  # the largest that JavaScript's numbers keep apart from its neighbours
DEPTH_MAX = 20  # nested maps and arrays, as in a document

_NUMBERS = frozenset({int, float})
_PLAIN_ENOUGH = 340  # characters: no text of this length can pass a limit of 1,500 bytes
_REMEMBERED_MAX, _REMEMBERED_CHARACTERS_MAX = 5_000, 40
_plain_keys: set[str] = set()  # field names that were found usual: documents repeat theirs
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)


# Encoding ----------------------------------------------------------------------------------------


def encode_fields_tree(fields: Fields) -> dict[str, Any]:
    """A document's fields as a tree; `fields` itself if nothing in it needs a tag."""
    return _encode_map(fields)


def encode_value(value: Value) -> Any:
    """One value as a tree."""
    kind = type(value)
    if kind is dict:
        return _encode_map(value)  # type: ignore[arg-type]
    if kind is list:
        return _encode_array(value)  # type: ignore[arg-type]
    return _encode_scalar(value)


def _encode_map(fields: Fields) -> dict[str, Any]:
    result: dict[str, Any] = fields
    escape = False
    for key, value in fields.items():
        if key[0] == "$":
            escape = True
        kind = type(value)
        if kind is str or kind is bool or value is None:
            continue
        if kind is dict:
            tree: Any = _encode_map(value)  # type: ignore[arg-type]
        elif kind is list:
            tree = _encode_array(value)  # type: ignore[arg-type]
        else:
            tree = _encode_scalar(value)
        if tree is not value:
            if result is fields:
                result = fields.copy()
            result[key] = tree
    if escape:
        return {"$" + key if key[0] == "$" else key: tree for key, tree in result.items()}
    return result


def _encode_array(values: list[Value]) -> list[Any]:
    trees = [encode_value(value) for value in values]
    for tree, value in zip(trees, values, strict=True):
        if tree is not value:
            return trees
    return values


def _encode_scalar(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            return value
        return {"$int": str(value)}
    if kind is float:
        if not value.is_integer() and math.isfinite(value):
            return value
        return {"$double": _encode_double(value)}
    if kind is str or kind is bool or value is None:
        return value
    encode = _ENCODERS.get(kind)
    if encode is None:
        raise InvalidValue(f"a value of kind `{kind.__name__}` cannot be stored")
    return encode(value)


def _encode_double(value: float) -> float | int | str:
    """A double that a reader may take for an integer without harm: the context says double."""
    if value.is_integer():
        if value == 0.0:
            return 0 if math.copysign(1.0, value) > 0 else "-0"
        return int(value) if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else value
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _encode_reference(value: Reference) -> dict[str, Any]:
    if value.database:
        return {"$ref": f"{value.database}/documents/{value.path}"}
    return {"$ref": str(value.path)}


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    Timestamp: lambda value: {"$timestamp": value.isoformat()},
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    Reference: _encode_reference,
    GeoPoint: lambda value: {
        "$geo": [_encode_double(value.latitude), _encode_double(value.longitude)]
    },
    Vector: lambda value: {"$vector": [_encode_double(item) for item in value.values]},
}


# Decoding ----------------------------------------------------------------------------------------


def decode_fields_tree(tree: Any, at: str = "", *, depth_max: int = DEPTH_MAX) -> Fields:
    """A document's fields from a client's object, checked in full: types, integer range, field
    names, depth, no array directly in an array. Returns `tree` itself if that is also how the
    fields are encoded, and a copy if not.

    Raises InvalidValue with the field path in `details["field"]`, behind `at` if given.
    """
    if type(tree) is not dict:
        raise _located(_Flaw("must be an object that maps field names to values"), at)
    try:
        return _decode_map(tree, depth_max)
    except _Flaw as flaw:
        raise _located(flaw, at) from None


def decode_value(tree: Any, at: str = "", *, depth_max: int = DEPTH_MAX) -> Value:
    """One value from a client's JSON, checked as strictly; `at` names its place in errors."""
    try:
        return _decode(tree, depth_max)
    except _Flaw as flaw:
        raise _located(flaw, at) from None


class _Flaw(Exception):
    """What is wrong with a value; containers add on the way up where it was."""

    def __init__(self, problem: str, reason: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.reason = reason
        self.steps: list[str | int] = []


def _located(flaw: _Flaw, at: str) -> InvalidValue:
    place = at
    for step in reversed(flaw.steps):
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            place += f".{step}" if place else step
    # A key may hold what no JSON encoder writes.
    place = place.encode("utf-8", "backslashreplace").decode()
    subject = f"`{place}`" if place else "the value"
    return InvalidValue(f"{subject} {flaw.problem}", reason=flaw.reason, details={"field": place})


def restore_fields_tree(tree: dict[str, Any]) -> Fields:
    """The fields from a tree that the server itself encoded: changed in place, and not checked
    beyond what reading it needs. Raises InvalidValue for a tag that cannot be read."""
    try:
        return _restore_map(tree)
    except _Flaw as flaw:
        raise _located(flaw, "") from None


def _restore_map(tree: dict[str, Any]) -> Fields:
    escaped = False
    for key, value in tree.items():
        if key[0] == "$":
            escaped = True
        kind = type(value)
        if kind is dict:
            tree[key] = _restore_object(value)
        elif kind is list:
            _restore_array(value)
    if escaped:
        return {key[1:] if key[0] == "$" else key: value for key, value in tree.items()}
    return tree


def _restore_array(tree: list[Any]) -> None:
    for index, item in enumerate(tree):
        if type(item) is dict:
            tree[index] = _restore_object(item)


def _restore_object(tree: dict[str, Any]) -> Value:
    if len(tree) == 1:
        (key,) = tree
        if key[0] == "$" and key[1:2] != "$":
            return _decode_tagged(key, tree[key])
    return _restore_map(tree)


# `depth` below: how many further levels of maps and arrays may follow.


def _decode_map(tree: dict[str, Any], depth: int) -> Fields:
    result: Fields = tree
    escaped = False
    key = ""
    try:
        for key, value in tree.items():
            if key not in _plain_keys:
                if not key or key[0] in "$_" or len(key) > _PLAIN_ENOUGH or not key.isascii():
                    escaped |= _check_key(key)
                elif len(key) <= _REMEMBERED_CHARACTERS_MAX:
                    if len(_plain_keys) >= _REMEMBERED_MAX:
                        _plain_keys.clear()
                    _plain_keys.add(key)
            kind = type(value)
            if kind is str:
                # No surrogate is printable.
                if len(value) > _PLAIN_ENOUGH or not (value.isascii() or value.isprintable()):
                    _check_text(value)
                continue
            if kind is bool or value is None:
                continue
            if kind is int and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
                continue
            if kind is int or kind is float:
                if not _is_encoded_plain(value) and result is tree:
                    result = tree.copy()
                continue
            if kind is list and depth:
                decoded: Value = _decode_array(value, depth - 1)
            elif kind is dict and depth and len(value) != 1:
                decoded = _decode_map(value, depth - 1)
            else:
                decoded = _decode_inner(value, depth)
            if decoded is not value:
                if result is tree:
                    result = tree.copy()
                result[key] = decoded
    except _Flaw as flaw:
        flaw.steps.append(key)
        raise
    if escaped:
        return {key[1:] if key[0] == "$" else key: value for key, value in result.items()}
    return result


def _is_encoded_plain(number: Any) -> bool:
    """Whether a plain number is also stored as one. Raises _Flaw for an integer out of range."""
    if type(number) is float:
        return not number.is_integer() and math.isfinite(number)
    if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
        return True
    if INT64_MIN <= number <= INT64_MAX:
        return False
    raise _Flaw("is no 64-bit integer", "IntegerOutOfRange")


def _decode_array(tree: list[Any], depth: int) -> list[Value]:
    result: list[Value] = tree
    index = 0
    try:
        for index, item in enumerate(tree):
            kind = type(item)
            if kind is str:
                if len(item) > _PLAIN_ENOUGH or not (item.isascii() or item.isprintable()):
                    _check_text(item)
                continue
            if kind is list:
                raise _Flaw("is an array directly within an array", "ArrayInArray")
            decoded = _decode(item, depth)
            if decoded is not item:
                if result is tree:
                    result = tree.copy()
                result[index] = decoded
            elif kind in _NUMBERS and not _is_encoded_plain(item) and result is tree:
                result = tree.copy()
    except _Flaw as flaw:
        flaw.steps.append(index)
        raise
    return result


def _decode(tree: Any, depth: int) -> Value:
    kind = type(tree)
    if kind is str:
        _check_text(tree)
        return tree  # type: ignore[no-any-return]
    if kind is int:
        _is_encoded_plain(tree)  # for its range
        return tree  # type: ignore[no-any-return]
    if kind is float or kind is bool or tree is None:
        return tree  # type: ignore[no-any-return]
    return _decode_inner(tree, depth)


def _decode_inner(tree: Any, depth: int) -> Value:
    """A map, an array, or what is tagged."""
    kind = type(tree)
    if kind is dict:
        if len(tree) == 1:
            (key,) = tree
            if key[:1] == "$" and key[1:2] != "$":
                return _decode_tagged(key, tree[key])
        if not depth:
            raise _Flaw("nests maps and arrays deeper than a document may", "ValueTooDeep")
        return _decode_map(tree, depth - 1)
    if kind is list:
        if not depth:
            raise _Flaw("nests maps and arrays deeper than a document may", "ValueTooDeep")
        return _decode_array(tree, depth - 1)
    raise _Flaw("is of no type that a document can hold")


def _check_key(key: str) -> bool:
    """Checks an unusual key; whether it is one with an extra `$` in front."""
    escaped = key[:1] == "$"
    if escaped:
        if key[1:2] != "$":
            raise _Flaw(
                "is a tag where a field name is expected; a name that starts with `$` "
                "is written with one more `$`",
                "UnexpectedTag",
            )
        key = key[1:]
    try:
        check_field_name(key)
    except InvalidPath as error:
        raise _Flaw(f"is no field name: {error.message}", error.reason) from None
    return escaped


def _check_text(text: str) -> None:
    if len(text) <= _PLAIN_ENOUGH and text.isascii():
        return
    try:
        check_string(text, "")
    except InvalidValue as error:
        raise _from_error(error) from None


def _from_error(error: BaasError) -> _Flaw:
    """The model's complaint, without the place that only this walk knows."""
    return _Flaw(error.message.removeprefix("`` "), error.reason)


# Tags --------------------------------------------------------------------------------------------


def _decode_tagged(tag: str, content: Any) -> Value:
    decode = _DECODERS.get(tag)
    if decode is None:
        known = ", ".join(f"`{name}`" for name in _DECODERS)
        raise _Flaw(f"has the unknown tag `{tag[:40]}`; known are {known}", "UnknownTag")
    return decode(content)


def _decode_timestamp(content: Any) -> Timestamp:
    if type(content) is not str:
        raise _Flaw("must hold `$timestamp` as RFC 3339 text", "InvalidTimestamp")
    try:
        return Timestamp.parse(content)
    except InvalidValue as error:
        raise _Flaw(f"has a bad `$timestamp`: {error.message}", error.reason) from None


def _decode_bytes(content: Any) -> bytes:
    if type(content) is not str:
        raise _Flaw("must hold `$bytes` as base64 text")
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise _Flaw("must hold `$bytes` in standard base64 with padding") from None
    if len(data) > STRING_BYTES_MAX:
        raise _Flaw(f"is longer than {STRING_BYTES_MAX} bytes", "StringTooLong")
    return data


def _decode_reference(content: Any) -> Reference:
    if type(content) is not str:
        raise _Flaw("must hold `$ref` as a document path, such as `users/ada`")
    database, path = "", content
    # A relative path has an even number of segments, a full name an odd one: no mistaking them.
    if content.startswith("projects/") and content.count("/") % 2 == 0:
        parts = content.split("/", 5)
        if len(parts) != 6 or parts[2] != "databases" or parts[4] != "documents":
            raise _Flaw(
                "must hold `$ref` as `users/ada` or "
                "`projects/<project>/databases/<database>/documents/users/ada`"
            )
        database, path = "/".join(parts[:4]), parts[5]
    try:
        if database:
            check_id(parts[1], "project")
            check_id(parts[3], "database")
        return Reference(DocumentPath.parse(path), database)
    except InvalidPath as error:
        raise _Flaw(f"has a bad `$ref`: {error.message}", error.reason) from None


def _decode_geo(content: Any) -> GeoPoint:
    if type(content) is not list or len(content) != 2:
        raise _Flaw("must hold `$geo` as [latitude, longitude]")
    point = GeoPoint(_decode_double(content[0]), _decode_double(content[1]))
    try:
        check_geo_point(point, "")
    except InvalidValue as error:
        raise _from_error(error) from None
    return point


def _decode_vector(content: Any) -> Vector:
    if type(content) is not list:
        raise _Flaw("must hold `$vector` as an array of numbers")
    vector = Vector(tuple([_decode_double(item) for item in content]))
    try:
        check_vector(vector, "")
    except InvalidValue as error:
        raise _from_error(error) from None
    return vector


def _decode_int(content: Any) -> int:
    number = content
    if type(content) is str and _DECIMAL.fullmatch(content):
        number = int(content)
    if type(number) is not int:
        raise _Flaw('must hold `$int` as decimal text, such as "9007199254740993"')
    if not INT64_MIN <= number <= INT64_MAX:
        raise _Flaw("is no 64-bit integer", "IntegerOutOfRange")
    return number


_DOUBLE_WORDS = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "-0": -0.0,
}


def _decode_double(content: Any) -> float:
    kind = type(content)
    if kind is float:
        return content  # type: ignore[no-any-return]
    if kind is int:
        try:
            return float(content)
        except OverflowError:
            raise _Flaw("is beyond the largest double", "NumberOutOfRange") from None
    if kind is str and content in _DOUBLE_WORDS:
        return _DOUBLE_WORDS[content]
    raise _Flaw('must be a number or one of "NaN", "Infinity", "-Infinity", "-0"')


_DECODERS: dict[str, Callable[[Any], Value]] = {
    "$timestamp": _decode_timestamp,
    "$bytes": _decode_bytes,
    "$ref": _decode_reference,
    "$geo": _decode_geo,
    "$vector": _decode_vector,
    "$int": _decode_int,
    "$double": _decode_double,
}
