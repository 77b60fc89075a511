"""What a near query asks for: the documents around a place. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from baas.errors import InvalidQuery
from baas.model.documents import DocumentLike
from baas.model.geo import distance_from
from baas.model.paths import FieldPath
from baas.model.values import GeoPoint, Value


@dataclass(frozen=True, slots=True)
class Near:
    """Documents whose `field` is a geo point at most `radius_meters` from `center`, or anywhere,
    nearest first."""

    field: FieldPath
    center: GeoPoint
    radius_meters: float | None = None

    @property
    def radius(self) -> float:
        """In metres; infinite for anywhere."""
        return math.inf if self.radius_meters is None else self.radius_meters


def check_near(near: Near) -> None:
    """Raises InvalidQuery for a radius that is none. The center is a value, and was checked."""
    radius = near.radius_meters
    if radius is not None and not 0 <= radius < math.inf:
        raise InvalidQuery(
            f"`near.radius_meters` is {radius}; it must be a number of metres from 0 on, or left"
            " out for anywhere",
            reason="InvalidRadius",
        )


def compile_distance(near: Near) -> Callable[[DocumentLike], float | None]:
    """A document's distance from the center in metres; None if its field is no geo point."""
    segments = near.field.segments
    measure = distance_from(near.center)

    def distance(document: DocumentLike) -> float | None:
        found: Value = document.fields
        for segment in segments:
            if type(found) is not dict:
                return None
            found = found.get(segment)
        if type(found) is not GeoPoint:
            return None
        return measure(found.latitude, found.longitude)

    return distance
