"""Distances, against the haversine of textbooks and against places whose distance is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.model.geo import (
    EARTH_RADIUS_METERS,
    HALF_GLOBE_METERS,
    distance_from,
    distance_meters,
)
from baas.model.values import GeoPoint
from tests.effort import examples

points = st.builds(
    GeoPoint,
    st.one_of(st.sampled_from([90.0, -90.0, 0.0, -0.0, 45.0]), st.floats(-90, 90)),
    st.one_of(st.sampled_from([180.0, -180.0, 0.0, -0.0, 179.9999999]), st.floats(-180, 180)),
)


def haversine(a: GeoPoint, b: GeoPoint) -> float:
    north, south = math.radians(a.latitude), math.radians(b.latitude)
    across = math.sin((south - north) / 2) ** 2
    along = math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    chord = across + math.cos(north) * math.cos(south) * along
    return 2 * EARTH_RADIUS_METERS * math.asin(min(1.0, math.sqrt(chord)))


@given(a=points, b=points)
@settings(max_examples=examples(300), deadline=None)
def test_it_is_the_haversine_distance(a: GeoPoint, b: GeoPoint) -> None:
    found = distance_meters(a, b)
    # Haversine loses half of its digits on the far side.
    is_far = found > 0.99 * HALF_GLOBE_METERS
    assert found == pytest.approx(haversine(a, b), rel=1e-9, abs=0.5 if is_far else 1e-5)
    assert 0 <= found <= HALF_GLOBE_METERS
    assert distance_meters(b, a) == found
    assert distance_from(a)(b.latitude, b.longitude) == found
    assert distance_meters(a, a) == 0


@pytest.mark.parametrize(
    ("a", "b", "meters"),
    [
        (GeoPoint(90.0, 0.0), GeoPoint(90.0, 120.0), 0.0),
        (GeoPoint(-90.0, -180.0), GeoPoint(-90.0, 7.5), 0.0),
        (GeoPoint(10.0, 180.0), GeoPoint(10.0, -180.0), 0.0),
        (GeoPoint(0.0, 0.0), GeoPoint(-0.0, -0.0), 0.0),
        (GeoPoint(90.0, 0.0), GeoPoint(-90.0, 0.0), HALF_GLOBE_METERS),
        (GeoPoint(0.0, 0.0), GeoPoint(0.0, 180.0), HALF_GLOBE_METERS),
        (GeoPoint(0.0, 179.5), GeoPoint(0.0, -179.5), HALF_GLOBE_METERS / 180),
        (GeoPoint(0.0, 0.0), GeoPoint(0.0, 1e-9), HALF_GLOBE_METERS / 180e9),
    ],
)
def test_poles_and_the_antimeridian_are_places_like_others(
    a: GeoPoint, b: GeoPoint, meters: float
) -> None:
    assert distance_meters(a, b) == pytest.approx(meters, rel=1e-9, abs=0)


def test_known_distances() -> None:
    vienna, berlin = GeoPoint(48.2082, 16.3738), GeoPoint(52.52, 13.405)
    sydney = GeoPoint(-33.8688, 151.2093)
    assert distance_meters(vienna, berlin) == pytest.approx(523_700, abs=500)
    assert distance_meters(berlin, sydney) == pytest.approx(16_089_000, abs=10_000)
