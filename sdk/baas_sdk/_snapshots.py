"""What reads and listeners return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from baas_sdk._paths import FieldPath
from baas_sdk._values import Tree, decode_map, decode_value, escape_key, parse_time


class _Home(Protocol):
    """What a snapshot needs of its reference."""

    @property
    def path(self) -> str: ...
    @property
    def id(self) -> str: ...
    def _reference_value(self, text: str) -> Any: ...


R = TypeVar("R", bound=_Home)


class DocumentSnapshot(Generic[R]):
    """A document as it was at one moment; never changes. Values are decoded when asked for, and
    each call gives fresh copies that may be changed freely."""

    __slots__ = ("_reference", "_tree", "read_time")

    read_time: datetime | None
    """The moment, where the server says it."""

    def __init__(self, reference: R, tree: Tree | None, read_time: datetime | None = None) -> None:
        self._reference = reference
        self._tree = tree
        self.read_time = read_time

    @property
    def exists(self) -> bool:
        """False for a document that was asked for and not there."""
        return self._tree is not None

    @property
    def id(self) -> str:
        """The last segment of the path."""
        return self._reference.id

    @property
    def reference(self) -> R:
        """The document's reference."""
        return self._reference

    @property
    def path(self) -> str:
        """The document's path, such as `cities/zurich`."""
        return self._reference.path

    @property
    def create_time(self) -> datetime | None:
        """When the document was created; None if it does not exist."""
        return None if self._tree is None else parse_time(self._tree["create_time"])

    @property
    def update_time(self) -> datetime | None:
        """When the document was last changed; None if it does not exist."""
        return None if self._tree is None else parse_time(self._tree["update_time"])

    @property
    def distance_meters(self) -> float | None:
        """How far the document is from the center of the query with near() that it came from; None
        if it came another way."""
        return None if self._tree is None else self._tree.get("distance_meters")

    def to_dict(self) -> dict[str, Any] | None:
        """All fields; None if the document does not exist."""
        if self._tree is None:
            return None
        return decode_map(self._tree["fields"], self._reference._reference_value)

    def get(self, field_path: str | FieldPath) -> Any:
        """The field's value. Raises KeyError if it is not there; None if the document is not."""
        if self._tree is None:
            return None
        field = FieldPath.parse(field_path)
        inner: Any = self._tree["fields"]
        for depth, part in enumerate(field.parts):
            key = escape_key(part)
            if not isinstance(inner, dict) or key not in inner or (depth and _is_tagged(inner)):
                raise KeyError(str(FieldPath(*field.parts[: depth + 1])))
            inner = inner[key]
        return decode_value(inner, self._reference._reference_value)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DocumentSnapshot)
            and self._reference == other._reference
            and self._tree == other._tree
        )

    def __hash__(self) -> int:
        return hash((self._reference, self._tree and self._tree["update_time"]))

    def __repr__(self) -> str:
        return f"<DocumentSnapshot {self._reference.path}{'' if self.exists else ' (missing)'}>"


def _is_tagged(tree: dict[str, Any]) -> bool:
    if len(tree) != 1:
        return False
    key = next(iter(tree))
    return key[:1] == "$" and key[:2] != "$$"


class ChangeType(Enum):
    """What happened to a document of a query's result."""

    ADDED = 1
    REMOVED = 2
    MODIFIED = 3


@dataclass(frozen=True, slots=True)
class DocumentChange(Generic[R]):
    """One step from the previous list of documents to the next. Applied one by one, in order
    (remove at `old_index`, insert at `new_index`), they turn the one into the other. An index is
    -1 where there is none. A removed document is as it was last seen."""

    type: ChangeType
    document: DocumentSnapshot[R]
    old_index: int
    new_index: int


@dataclass(frozen=True, slots=True)
class QuerySnapshot(Generic[R]):
    """A query's result at one moment, and how it came out of the previous one."""

    documents: Sequence[DocumentSnapshot[R]]
    changes: Sequence[DocumentChange[R]]
    read_time: datetime

    def __iter__(self) -> Iterator[DocumentSnapshot[R]]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)


@dataclass(frozen=True, slots=True)
class AggregationResult:
    """One number of an aggregation: an int, a float, or None for the average of nothing."""

    alias: str
    value: Any
    read_time: datetime
