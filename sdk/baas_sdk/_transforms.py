"""What stands in place of a value in a write: the server computes the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from baas_sdk._paths import DatabaseName
from baas_sdk._values import Sentinel, Tree, encode_value
from baas_sdk.errors import InvalidValue


class Transform(Sentinel):
    """A field that the server computes from its present value and the operand, within the
    commit."""

    __slots__ = ()

    def encode(self, home: DatabaseName, at: tuple[str, ...]) -> dict[str, Tree]:
        """The transform's member in a write's `transforms`."""
        raise NotImplementedError


class _ServerTimestamp(Transform):
    __slots__ = ()

    def encode(self, home: DatabaseName, at: tuple[str, ...]) -> dict[str, Tree]:
        return {"server_time": True}

    def __repr__(self) -> str:
        return "SERVER_TIMESTAMP"


class _DeleteField(Sentinel):
    __slots__ = ()

    def __repr__(self) -> str:
        return "DELETE_FIELD"


SERVER_TIMESTAMP = _ServerTimestamp()
"""The commit's time: the same, in milliseconds, for every field of a commit that asks for it."""

DELETE_FIELD = _DeleteField()
"""Removes the field: in `update`, or in `set` with `merge`."""


class _NumberTransform(Transform):
    __slots__ = ("value",)
    name = ""

    def __init__(self, value: int | float) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue(f"{type(self).__name__} takes a number, not `{value!r}`")
        self.value = value

    def encode(self, home: DatabaseName, at: tuple[str, ...]) -> dict[str, Tree]:
        return {self.name: encode_value(self.value, home, at)}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.value == self.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class Increment(_NumberTransform):
    """Adds to the field's number; a missing or other value counts as 0. Integers stop at the bounds
    of 64 bits."""

    __slots__ = ()
    name = "increment"


class Maximum(_NumberTransform):
    """The larger one of the field's number and this one."""

    __slots__ = ()
    name = "maximum"


class Minimum(_NumberTransform):
    """The smaller one of the field's number and this one."""

    __slots__ = ()
    name = "minimum"


class _ArrayTransform(Transform):
    __slots__ = ("values",)
    name = ""

    def __init__(self, values: Sequence[Any]) -> None:
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            raise InvalidValue(f"{type(self).__name__} takes a list of values, not `{values!r}`")
        self.values = list(values)

    def encode(self, home: DatabaseName, at: tuple[str, ...]) -> dict[str, Tree]:
        return {self.name: encode_value(self.values, home, at)}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.values == self.values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.values!r})"


class ArrayUnion(_ArrayTransform):
    """Appends those of the values that the field's array lacks."""

    __slots__ = ()
    name = "array_union"


class ArrayRemove(_ArrayTransform):
    """Removes every occurrence of the values from the field's array."""

    __slots__ = ()
    name = "array_remove"
