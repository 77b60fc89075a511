"""Which types the library and the operators give, and take: what can be said of values of which
only the types are known."""

from __future__ import annotations

from typing import Final

Kinds = frozenset[str]

_INT: Final = frozenset({"int"})
_FLOAT: Final = frozenset({"float"})
_NUMBER: Final = frozenset({"int", "float"})
_LISTS: Final = frozenset({"list", "set"})


def _all(kind: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, kind)


# By type of the receiver: each method with the type of what it gives; "" is any.
METHOD_KINDS: Final[dict[str, dict[str, str]]] = {
    "string": {
        **_all("string", "lower", "upper", "trim", "replace"),
        "size": "int",
        "matches": "bool",
        "split": "list",
        "toUtf8": "bytes",
    },
    "bytes": {"size": "int", **_all("string", "toBase64", "toHexString")},
    "list": {
        "size": "int",
        **_all("list", "concat", "removeAll"),
        **_all("bool", "hasAll", "hasAny", "hasOnly"),
        "join": "string",
        "toSet": "set",
    },
    "set": {
        "size": "int",
        **_all("bool", "hasAll", "hasAny", "hasOnly"),
        **_all("set", "union", "intersection", "difference"),
    },
    "map": {"size": "int", "keys": "list", "values": "list", "get": "", "diff": "map diff"},
    "map diff": _all(
        "set", "addedKeys", "removedKeys", "changedKeys", "affectedKeys", "unchangedKeys"
    ),
    "path": {"bind": "path"},
    "timestamp": {
        **_all("int", "year", "month", "day", "hours", "minutes", "seconds", "nanos"),
        **_all("int", "dayOfWeek", "dayOfYear", "toMillis"),
        "date": "timestamp",
        "time": "duration",
    },
    "duration": _all("int", "seconds", "nanos"),
    "latlng": _all("float", "latitude", "longitude", "distance"),
}

# The types that each argument of a method may have.
ARGUMENT_KINDS: Final[dict[str, tuple[Kinds, ...]]] = {
    **dict.fromkeys(("hasAll", "hasAny", "hasOnly"), (_LISTS,)),
    **dict.fromkeys(("union", "intersection", "difference"), (frozenset({"set"}),)),
    **dict.fromkeys(("concat", "removeAll"), (frozenset({"list"}),)),
    **dict.fromkeys(("join", "matches", "split"), (frozenset({"string"}),)),
    "replace": (frozenset({"string"}), frozenset({"string"})),
    "diff": (frozenset({"map"}),),
    "bind": (frozenset({"map"}),),
    "distance": (frozenset({"latlng"}),),
}

# What free functions and those of namespaces give.
FUNCTION_KINDS: Final[dict[str, Kinds]] = {
    "int": _INT,
    "float": _FLOAT,
    "string": frozenset({"string"}),
    "path": frozenset({"path"}),
    "math.abs": _NUMBER,
    **dict.fromkeys(("math.ceil", "math.floor", "math.round"), _INT),
    **dict.fromkeys(("math.sqrt", "math.pow"), _FLOAT),
    "math.isNaN": frozenset({"bool"}),
    **dict.fromkeys(("timestamp.date", "timestamp.value"), frozenset({"timestamp"})),
    **dict.fromkeys(("duration.value", "duration.time", "duration.abs"), frozenset({"duration"})),
    "latlng.value": frozenset({"latlng"}),
    **dict.fromkeys(
        ("hashing.md5", "hashing.sha256", "hashing.crc32", "hashing.crc32c"),
        frozenset({"bytes"}),
    ),
}


def method_kinds(name: str, receivers: Kinds, arguments: list[Kinds | None]) -> Kinds | None:
    """The types that a method may give; empty if it can only fail, None if any."""
    for wanted, given in zip(ARGUMENT_KINDS.get(name, ()), arguments, strict=False):
        if given is not None and not given & wanted:
            return frozenset()
    found = {METHOD_KINDS.get(kind, {}).get(name) for kind in receivers} - {None}
    return None if "" in found else frozenset(kind for kind in found if kind)


def binary_kinds(operator: str, left: Kinds | None, right: Kinds | None) -> Kinds | None:
    """The types that arithmetic may give; empty if it can only fail, None if any."""
    pairs = _ARITHMETIC.get(operator)
    if pairs is None:
        return None
    fitting = {
        given
        for (a, b), given in pairs.items()
        if (left is None or a in left) and (right is None or b in right)
    }
    return frozenset(fitting)


_NUMBERS: Final = {
    ("int", "int"): "int",
    ("int", "float"): "float",
    ("float", "int"): "float",
    ("float", "float"): "float",
}
_ARITHMETIC: Final[dict[str, dict[tuple[str, str], str]]] = {
    "+": {
        **_NUMBERS,
        ("string", "string"): "string",
        ("timestamp", "duration"): "timestamp",
        ("duration", "timestamp"): "timestamp",
        ("duration", "duration"): "duration",
    },
    "-": {
        **_NUMBERS,
        ("timestamp", "timestamp"): "duration",
        ("timestamp", "duration"): "timestamp",
        ("duration", "duration"): "duration",
    },
    "*": _NUMBERS,
    "/": _NUMBERS,
    "%": _NUMBERS,
}

_ORDERED: Final = (
    _NUMBER,
    frozenset({"string"}),
    frozenset({"timestamp"}),
    frozenset({"duration"}),
)


def are_ordered(left: Kinds | None, right: Kinds | None) -> bool:
    """Whether values of these types may be compared by order at all."""
    return any(
        (left is None or left & kinds) and (right is None or right & kinds) for kinds in _ORDERED
    )
