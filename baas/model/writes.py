"""Writes: the only way data changes. Semantics as FIREBASE.md 3.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value


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


@dataclass(frozen=True, slots=True)
class SetWrite:
    """Writes fields. Without a mask the document is replaced; with one, the listed paths are set,
    and those of them that `fields` lacks are deleted. Transforms apply after, in order.

    An update in the SDK's sense is this with a mask and `Precondition(exists=True)`; a create is
    this with `Precondition(exists=False)`.
    """

    path: DocumentPath
    fields: Fields
    mask: tuple[FieldPath, ...] | None = None
    transforms: tuple[FieldTransform, ...] = ()
    precondition: Precondition = NO_PRECONDITION


@dataclass(frozen=True, slots=True)
class DeleteWrite:
    path: DocumentPath
    precondition: Precondition = NO_PRECONDITION


@dataclass(frozen=True, slots=True)
class VerifyWrite:
    """Changes nothing; the commit holds only if the precondition does."""

    path: DocumentPath
    precondition: Precondition


Write: TypeAlias = SetWrite | DeleteWrite | VerifyWrite


@dataclass(frozen=True, slots=True)
class WriteResult:
    """`update_time` is None for deletes; a write that changes nothing keeps the old time.
    `transform_results`: one per transform, in order; None for array transforms."""

    update_time: Timestamp | None
    transform_results: tuple[Value, ...] = ()
