"""A document as its JSON Schema sees it: the native JSON in which it is sent and stored, but every
number plain, so that `type`, `minimum` and `multipleOf` mean what they say.

What JSON has no word for is an object with one key, its tag: {"$timestamp": "…"}, {"$bytes": "…"},
{"$ref": "…"}, {"$geo": […]}, {"$vector": […]}, {"$double": "NaN"}. So no string schema takes a
timestamp for a string. A field name that starts with `$` has one more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from baas.encoding import json_values
from baas.model.paths import FieldPath
from baas.model.values import Fields, Value

_PLAIN = (str, int, bool, type(None))


def encode_instance(fields: Fields) -> dict[str, Any]:
    """The whole document; `fields` itself if nothing in it needs a tag."""
    result: dict[str, Any] = fields
    is_escaped = False
    for key, value in fields.items():
        if key[0] == "$":
            is_escaped = True
        if type(value) in _PLAIN:
            continue
        tree = _encode(value)
        if tree is not value:
            if result is fields:
                result = fields.copy()
            result[key] = tree
    if is_escaped:
        return {"$" + key if key[0] == "$" else key: tree for key, tree in result.items()}
    return result


def _encode(value: Value) -> Any:
    kind = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):  # type: ignore[arg-type]
        return value
    if kind is dict:
        return encode_instance(value)  # type: ignore[arg-type]
    if kind is list:
        trees = [_encode(item) for item in value]  # type: ignore[union-attr]
        pairs = zip(trees, value, strict=True)  # type: ignore[arg-type]
        return value if all(tree is item for tree, item in pairs) else trees
    return json_values.encode_value(value)


def type_of(tree: Any) -> str:
    """The type of a value as `x-type` names it."""
    kind = type(tree)
    if kind is dict and len(tree) == 1:
        (key,) = tree
        return _TAGS.get(key, "map")
    return _TYPES[kind]


def field_path(place: Iterable[str | int]) -> str:
    """A place in an instance as a field path, with the number of an array's element in brackets; it
    ends at a value that has a tag. Empty: the document itself."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part in _TAGS:
            break
        else:
            name = part[1:] if part[:1] == "$" else part
            text += ("." if text else "") + str(FieldPath((name,)))
    return text


_TAGS = {
    "$timestamp": "timestamp",
    "$bytes": "bytes",
    "$ref": "reference",
    "$geo": "geo",
    "$vector": "vector",
    "$double": "double",
}
_TYPES = {
    dict: "map",
    list: "array",
    str: "string",
    int: "integer",
    float: "double",
    bool: "boolean",
    type(None): "null",
}
TYPES = frozenset({*_TAGS.values(), *_TYPES.values()})
