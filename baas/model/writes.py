"""Writes: the only way data changes. Semantics as FIREBASE.md 3.3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from baas.errors import AlreadyExists, FailedPrecondition, InvalidArgument, InvalidValue, NotFound
from baas.model.documents import DocumentLike
from baas.model.order import sort_key
from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import INT64_MAX, INT64_MIN, Fields, Value, is_identical, too_deep
from baas.settings import Limits

TRANSFORMS_MAX = 500  # of one write


@dataclass(frozen=True, slots=True)
class Precondition:
    """At most one of the two is set; neither means no condition."""

    exists: bool | None = None
    update_time: Timestamp | None = None


NO_PRECONDITION = Precondition()


@dataclass(frozen=True, slots=True)
class ServerTimestamp:
    """The commit's request time, the same for every field of a commit."""


@dataclass(frozen=True, slots=True)
class Increment:
    operand: int | float


@dataclass(frozen=True, slots=True)
class Maximum:
    operand: int | float


@dataclass(frozen=True, slots=True)
class Minimum:
    operand: int | float


@dataclass(frozen=True, slots=True)
class ArrayUnion:
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ArrayRemove:
    values: tuple[Value, ...]


Transform: TypeAlias = ServerTimestamp | Increment | Maximum | Minimum | ArrayUnion | ArrayRemove


@dataclass(frozen=True, slots=True)
class FieldTransform:
    field: FieldPath
    transform: Transform


# Writes are made by the hundred, so not frozen, which would triple their cost; nobody changes one.
@dataclass(slots=True)
class SetWrite:
    """Writes fields. Without a mask the document is replaced; with one, the listed paths are set,
    and those of them that `fields` lacks are deleted. Transforms apply after, in order.

    An update in the SDK's sense is this with a mask and `Precondition(exists=True)`; a create is
    this with `Precondition(exists=False)`. `is_plain` says that the fields hold what a JSON parser
    gives and nothing else, as most documents do: those need no conversion later on. `encoded` is
    their stored form, of who has it.
    """

    path: DocumentPath
    fields: Fields
    mask: tuple[FieldPath, ...] | None = None
    transforms: tuple[FieldTransform, ...] = ()
    precondition: Precondition = NO_PRECONDITION
    is_plain: bool = field(default=False, compare=False)
    encoded: bytes | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class DeleteWrite:
    path: DocumentPath
    precondition: Precondition = NO_PRECONDITION


@dataclass(slots=True)
class VerifyWrite:
    """Changes nothing; the commit holds only if the precondition does."""

    path: DocumentPath
    precondition: Precondition


Write: TypeAlias = SetWrite | DeleteWrite | VerifyWrite


# Made on every commit, so not frozen, which would triple their cost; nobody changes one.
@dataclass(slots=True)
class WriteResult:
    """`update_time` is None for deletes; a write that changes nothing keeps the old time.
    `transform_results`: one per transform, in order; None for array transforms."""

    update_time: Timestamp | None
    transform_results: tuple[Value, ...] = ()


@dataclass(slots=True)
class AppliedWrite:
    """What a write makes of a document. `fields` None: there is no document afterwards.
    `changed` is False if the document stays exactly as it was, and then keeps its update time."""

    fields: Fields | None
    transform_results: tuple[Value, ...]
    changed: bool


_VERBS: dict[type, str] = {DeleteWrite: "delete", VerifyWrite: "verify"}


def apply_write(
    write: Write, current: DocumentLike | None, request_time: Timestamp, limits: Limits
) -> AppliedWrite:
    """The document after `write`, purely: neither `write` nor `current` is changed, and the new
    fields may share parts with both, so they must not be changed in place either.

    Raises NotFound, AlreadyExists or FailedPrecondition if the precondition does not hold, and
    InvalidValue for a field path deeper than a document may be. Whether the new document as a
    whole is too large or too deep is for `check_document` to say, once, after its last write.
    """
    if write.precondition is not NO_PRECONDITION:
        check_precondition(write, current)
    if isinstance(write, DeleteWrite):
        return AppliedWrite(None, (), current is not None)
    old = None if current is None else current.fields
    if isinstance(write, VerifyWrite):
        return AppliedWrite(old, (), False)
    mask = write.mask
    if mask is None:
        fields = write.fields
    else:
        merged = None if old is None or write.transforms else _merge_top(mask, write.fields, old)
        if merged is not None:
            return merged
        _check_depth(mask, limits)
        draft = _Draft({} if old is None else old)
        for path in mask:
            _apply_mask(path, draft, write.fields)
        fields = draft.fields
    results: tuple[Value, ...] = ()
    if write.transforms:
        _check_depth([item.field for item in write.transforms], limits)
        fields, results = _apply_transforms(write.transforms, fields, request_time)
    return AppliedWrite(fields, results, old is None or not is_identical(fields, old))


def _merge_top(mask: Sequence[FieldPath], given: Fields, old: Fields) -> AppliedWrite | None:
    """What most updates are: some fields at the top of a document that is there, and only these can
    differ. None for a mask that reaches further down."""
    fields = old.copy()
    changed = False
    for path in mask:
        if len(path.segments) != 1:
            return None
        _check_writable(path)
        (name,) = path.segments
        if name in given:
            value = given[name]
            changed = changed or name not in old or not is_identical(value, old[name])
            fields[name] = value
        elif name in fields:
            changed = True
            del fields[name]
    return AppliedWrite(fields, (), changed)


def _check_depth(paths: Sequence[FieldPath], limits: Limits) -> None:
    for path in paths:
        if len(path.segments) > limits.value_depth_max + 1:
            raise too_deep(limits.value_depth_max)


def check_precondition(write: Write, current: DocumentLike | None) -> None:
    """Raises NotFound, AlreadyExists or FailedPrecondition unless the precondition holds."""
    path, precondition = write.path, write.precondition
    if precondition.exists is not None:
        if precondition.exists and current is None:
            verb = _VERBS.get(type(write), "update")
            raise NotFound(f"no document to {verb}: {path}", reason="DocumentNotFound")
        if not precondition.exists and current is not None:
            raise AlreadyExists(f"document already exists: {path}", reason="DocumentExists")
    if precondition.update_time is not None:
        if current is None:
            raise FailedPrecondition(
                f"`{path}` does not exist; it was to have the update time "
                f"`{precondition.update_time}`",
                reason="UpdateTimeMismatch",
            )
        if current.update_time != precondition.update_time:
            raise FailedPrecondition(
                f"`{path}` was updated at `{current.update_time}`, not at "
                f"`{precondition.update_time}`",
                reason="UpdateTimeMismatch",
            )


class _Draft:
    """Fields under change. What was given is left as it is: each map on the way to a change is
    copied, and only once, so that the work grows with the changes and not with their square."""

    __slots__ = ("_copies", "fields")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        # Our own, by identity; kept here so that no identity is used twice.
        self._copies: dict[int, Fields] = {}

    def set(self, segments: tuple[str, ...], value: Value) -> None:
        """Whatever stands in the way and is no map is replaced by one."""
        inner = self.fields = self._own(self.fields)
        for segment in segments[:-1]:
            below = inner.get(segment)
            inner[segment] = inner = self._own(below if isinstance(below, dict) else {})
        inner[segments[-1]] = value

    def delete(self, segments: tuple[str, ...]) -> None:
        """Maps above the field stay, even if empty."""
        found: Value = self.fields
        for segment in segments:
            if not isinstance(found, dict) or segment not in found:
                return
            found = found[segment]
        inner = self.fields = self._own(self.fields)
        for segment in segments[:-1]:
            below = inner[segment]
            assert isinstance(below, dict)
            inner[segment] = inner = self._own(below)
        del inner[segments[-1]]

    def _own(self, fields: Fields) -> Fields:
        if id(fields) in self._copies:
            return fields
        copied = fields.copy()
        self._copies[id(copied)] = copied
        return copied


def _apply_mask(path: FieldPath, draft: _Draft, given: Fields) -> None:
    """The value at `path` becomes that of `given`, or is deleted if `given` has none there."""
    _check_writable(path)
    found: Value = given
    for segment in path.segments:
        if not isinstance(found, dict) or segment not in found:
            draft.delete(path.segments)
            return
        found = found[segment]
    draft.set(path.segments, found)


def _apply_transforms(
    transforms: tuple[FieldTransform, ...], fields: Fields, request_time: Timestamp
) -> tuple[Fields, tuple[Value, ...]]:
    if len(transforms) > TRANSFORMS_MAX:
        raise InvalidArgument(
            f"{len(transforms)} transforms on one document; at most {TRANSFORMS_MAX} are allowed",
            reason="TooManyTransforms",
        )
    results: list[Value] = []
    draft = _Draft(fields)
    for item in transforms:
        _check_writable(item.field)
        stored: Value = draft.fields
        for segment in item.field.segments:
            # A missing field counts as null: no transform tells the two apart.
            stored = stored.get(segment) if isinstance(stored, dict) else None
        value, result = _transform(item.transform, stored, request_time)
        draft.set(item.field.segments, value)
        results.append(result)
    return draft.fields, tuple(results)


def _transform(transform: Transform, stored: Value, now: Timestamp) -> tuple[Value, Value]:
    """The new value, and what the write result reports of it."""
    match transform:
        case ServerTimestamp():
            time = now.to_milliseconds()
            return time, time
        case Increment():
            number = _increment(stored, transform.operand)
            return number, number
        case Maximum():
            number = _extreme(stored, transform.operand, 1)
            return number, number
        case Minimum():
            number = _extreme(stored, transform.operand, -1)
            return number, number
        case ArrayUnion():
            return _array_union(stored, transform.values), None
        case ArrayRemove():
            return _array_remove(stored, transform.values), None
        case _:
            assert_never(transform)


def _increment(stored: Value, operand: int | float) -> int | float:
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        return operand
    if isinstance(stored, int) and isinstance(operand, int):
        return min(max(stored + operand, INT64_MIN), INT64_MAX)
    return float(stored) + float(operand)


def _extreme(stored: Value, operand: int | float, sign: int) -> int | float:
    """The larger (sign 1) or smaller (-1) number, with its own type. Of equal numbers the stored
    one stays, even 0 against -0.0 or 3 against 3.0. NaN wins over every number."""
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        return operand
    if math.isnan(stored):
        return stored
    if math.isnan(operand):
        return operand
    wins = operand > stored if sign > 0 else operand < stored
    return operand if wins else stored


def _array_union(stored: Value, values: tuple[Value, ...]) -> list[Value]:
    array = list(stored) if isinstance(stored, list) else []
    present = {sort_key(item) for item in array}
    for value in values:
        if isinstance(value, list):
            raise InvalidValue("an array cannot hold an array directly", reason="ArrayInArray")
        key = sort_key(value)
        if key not in present:
            present.add(key)
            array.append(value)
    return array


def _array_remove(stored: Value, values: tuple[Value, ...]) -> list[Value]:
    if not isinstance(stored, list):
        return []
    removed = {sort_key(value) for value in values}
    return [item for item in stored if sort_key(item) not in removed]


def _check_writable(path: FieldPath) -> None:
    if path.segments == ("__name__",):
        raise InvalidValue("`__name__` is the document's own name and cannot be written")
