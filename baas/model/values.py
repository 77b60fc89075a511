"""The values that a document holds: Firestore's types on plain Python ones.

null None · bool bool · int64 int · double float · timestamp Timestamp · string str · bytes bytes ·
reference Reference · geo point GeoPoint · array list · map dict · vector Vector
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp


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
    None,
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
]
Fields: TypeAlias = dict[str, Value]
