"""Places on the earth, taken as a sphere with the radius that rules use for `distance`. Pure.

Distances are along the surface: the angle between two places, seen from the centre, times
EARTH_RADIUS_METERS. The angle is `atan2(|a x b|, a . b)` of the unit vectors, which is exact to
some nanometres at any distance, where haversine loses decimetres on the far side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from baas.model.values import GeoPoint

EARTH_RADIUS_METERS = 6_371_010.0
HALF_GLOBE_METERS = math.pi * EARTH_RADIUS_METERS  # nothing is further away


class UnitVector(NamedTuple):
    """A place as seen from the centre of the earth."""

    x: float
    y: float
    z: float


def unit_vector(latitude: float, longitude: float) -> UnitVector:
    """Each place has one: a pole whatever its longitude, the antimeridian from either side."""
    if latitude in (90, -90):
        return UnitVector(0.0, 0.0, math.copysign(1.0, latitude))
    north = math.radians(latitude)
    east = math.radians(180.0 if longitude == -180 else longitude)
    ring = math.cos(north)
    return UnitVector(ring * math.cos(east), ring * math.sin(east), math.sin(north))


def angle_between(a: UnitVector, b: UnitVector) -> float:
    """In radians, from 0 to pi."""
    ax, ay, az = a
    bx, by, bz = b
    across = math.hypot(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    return math.atan2(across, ax * bx + ay * by + az * bz)


def distance_meters(a: GeoPoint, b: GeoPoint) -> float:
    """The way from one place to the other along the surface."""
    return distance_from(a)(b.latitude, b.longitude)


def distance_from(center: GeoPoint) -> Callable[[float, float], float]:
    """`distance_meters` from one place to a latitude and longitude: the same numbers, with the
    center looked at once."""
    seen = unit_vector(center.latitude, center.longitude)

    def distance(latitude: float, longitude: float) -> float:
        return EARTH_RADIUS_METERS * angle_between(seen, unit_vector(latitude, longitude))

    return distance
