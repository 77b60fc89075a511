"""Strict reading of JSON objects: errors name the place, what is there and what would be right.

`at` is the place within the body, such as `writes[3].precondition`; the body itself is "".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from baas.errors import InvalidArgument

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def invalid(at: str, problem: str, *, reason: str = "InvalidBody") -> InvalidArgument:
    """The error for something wrong at one place; `problem` continues the place's name."""
    subject = f"`{at}`" if at else "the body"
    return InvalidArgument(f"{subject} {problem}", reason=reason, details={"field": at})


def kind_of(tree: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(tree), "a value")


def join(at: str, name: str) -> str:
    """The place of a member within `at`."""
    return f"{at}.{name}" if at else name


def check_object(
    tree: Any, at: str, *, allowed: frozenset[str], required: Collection[str] = ()
) -> dict[str, Any]:
    """`tree` itself, if it is an object with all required members and none that is unknown."""
    if type(tree) is not dict:
        raise invalid(at, f"must be an object, not {kind_of(tree)}")
    if not tree.keys() <= allowed:
        unknown = next(name for name in tree if name not in allowed)
        shown = unknown if len(unknown) <= 80 else unknown[:77] + "..."
        known = ", ".join(f"`{name}`" for name in sorted(allowed)) or "none"
        raise invalid(
            join(at, shown), f"is not known here; known are {known}", reason="UnknownField"
        )
    for name in required:
        if name not in tree:
            raise invalid(join(at, name), "is missing", reason="MissingField")
    return tree


def check_array(tree: Any, at: str, *, maximum: int | None = None) -> list[Any]:
    if type(tree) is not list:
        raise invalid(at, f"must be an array, not {kind_of(tree)}")
    if maximum is not None and len(tree) > maximum:
        raise invalid(at, f"has {len(tree)} items; at most {maximum} are allowed", reason="TooMany")
    return tree


def check_string(tree: Any, at: str, *, maximum: int | None = None) -> str:
    if type(tree) is not str:
        raise invalid(at, f"must be a string, not {kind_of(tree)}")
    if maximum is not None and len(tree) > maximum:
        raise invalid(at, f"is longer than {maximum} characters", reason="TooLong")
    return tree


def check_boolean(tree: Any, at: str) -> bool:
    if type(tree) is not bool:
        raise invalid(at, f"must be true or false, not {kind_of(tree)}")
    return tree


def check_whole(tree: Any, at: str) -> int:
    """An integer of any size: how large it may be is told elsewhere."""
    if type(tree) is not int:
        raise invalid(at, f"must be an integer, not {kind_of(tree)}")
    return tree


def check_number(tree: Any, at: str) -> float:
    """A number of either kind, as a double."""
    if type(tree) is not int and type(tree) is not float:
        raise invalid(at, f"must be a number, not {kind_of(tree)}")
    return float(tree)


def check_integer(tree: Any, at: str, *, minimum: int, maximum: int) -> int:
    found = check_whole(tree, at)
    if not minimum <= found <= maximum:
        raise invalid(at, f"must be from {minimum} to {maximum}, not {found}", reason="OutOfBounds")
    return found
