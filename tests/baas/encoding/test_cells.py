"""Cells: every place has one, a cell is one range of numbers, and a cover never misses a place."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from baas.encoding.cells import (
    COVER_CELLS_MAX,
    LEVEL_MAX,
    PLACE_BYTES,
    Cell,
    Center,
    cell_key,
    cell_number,
    decode_place,
    encode_place,
    runs,
)
from baas.model.geo import UnitVector, angle_between
from baas.model.values import GeoPoint
from tests.effort import examples

FACES = [Cell(face, 0, 0, 0) for face in range(6)]
CORNER = math.degrees(math.atan(1 / math.sqrt(2)))  # where three faces meet, at 45 degrees east

latitudes = st.one_of(
    st.sampled_from([90.0, -90.0, 0.0, -0.0, 45.0, -45.0, CORNER, -CORNER, 89.9999999]),
    st.floats(-90, 90),
)
longitudes = st.one_of(
    st.sampled_from([180.0, -180.0, 0.0, 45.0, 135.0, -45.0, -135.0, 45.0000001, 179.9999999]),
    st.floats(-180, 180),
)
points = st.builds(GeoPoint, latitudes, longitudes)
angles = st.one_of(
    st.sampled_from([0.0, 1e-9, 1e-7, math.pi / 4, math.pi / 2, 3.1, math.pi]),
    st.floats(0, math.pi),
    st.floats(-20, 1).map(lambda power: min(math.pi, 2.0**power)),
)


def holding(cells: list[Cell], number: int) -> Cell:
    (found,) = [cell for cell in cells if cell.first <= number < cell.end]
    return found


def place_at(center: GeoPoint, angle: float, bearing: float) -> GeoPoint:
    """The place that one comes to."""
    north, east = math.radians(center.latitude), math.radians(center.longitude)
    sine = math.sin(north) * math.cos(angle)
    sine += math.cos(north) * math.sin(angle) * math.cos(bearing)
    latitude = math.asin(max(-1.0, min(1.0, sine)))
    right = math.sin(bearing) * math.sin(angle) * math.cos(north)
    ahead = math.cos(angle) - math.sin(north) * math.sin(latitude)
    longitude = (math.degrees(east + math.atan2(right, ahead)) + 540) % 360 - 180
    return GeoPoint(math.degrees(latitude), longitude)


@given(point=points)
@settings(max_examples=examples(200), deadline=None)
def test_a_place_is_in_one_cell_of_each_size(point: GeoPoint) -> None:
    number, center = cell_number(point), Center(point)
    assert center.number == number
    cells = FACES
    for level in range(LEVEL_MAX + 1):
        cell = holding(cells, number)
        assert cell.level == level
        least, most = center.bounds(cell)
        assert least == 0
        assert angle_between(center.at, cell.middle) <= most
        if level < LEVEL_MAX:
            cells = cell.quarters()
            assert [part.first for part in cells] == [
                cell.first + quarter * ((cell.end - cell.first) // 4) for quarter in range(4)
            ]


@given(point=points)
@settings(max_examples=examples(200), deadline=None)
def test_a_key_begins_with_the_cell_and_tells_the_place(point: GeoPoint) -> None:
    key = encode_place(point)
    assert len(key) == PLACE_BYTES
    assert key.startswith(cell_key(cell_number(point)))
    assert decode_place(key) == (point.latitude, point.longitude)
    assert decode_place(b"before" + key + b"behind", 6) == (point.latitude, point.longitude)
    assert encode_place(GeoPoint(*decode_place(key))) == key


def test_neighbours_on_the_curve_are_neighbours_on_the_ground() -> None:
    for face in FACES:
        cells = [face]
        for _ in range(4):
            cells = [part for cell in cells for part in cell.quarters()]
        assert len(cells) == 256
        for one, other in pairwise(cells):
            assert one.end == other.first
            assert abs(one.column - other.column) + abs(one.row - other.row) == 1


def test_keys_of_all_faces_fit() -> None:
    assert FACES[0].first == 0
    assert all(one.end == other.first for one, other in pairwise(FACES))
    assert len(cell_key(FACES[-1].end)) == len(cell_key(0))


@given(
    center=points,
    angle=angles,
    part=st.sampled_from([0.0, 0.5, 0.99, 0.9999999, 1.0]),
    bearing=st.floats(-math.pi, math.pi),
    cells_max=st.sampled_from([6, 12, COVER_CELLS_MAX, 60]),
)
@settings(max_examples=examples(1_500), deadline=None)
def test_a_cover_never_misses(
    center: GeoPoint, angle: float, part: float, bearing: float, cells_max: int
) -> None:
    place = place_at(center, angle * part, bearing)
    away = angle_between(Center(center).at, Center(place).at)
    cells = Center(center).cover(angle, cells_max=cells_max)
    assert len(cells) <= cells_max
    assert all(one.end <= other.first for one, other in pairwise(cells))
    if away <= angle:
        event("within")
        cell = holding(cells, cell_number(place))
        least, most = Center(center).bounds(cell)
        assert least <= away <= most
    spans = Center(center).spans(angle)
    assert away > angle or any(start <= cell_number(place) < end for start, end in spans)
    ring = Center(center).cover(angle, angle / 2)
    if angle / 2 <= away <= angle:
        event("within the ring")
        holding(ring, cell_number(place))


@pytest.mark.parametrize("meters", [10, 500, 50_000, 1_000_000])
def test_a_cover_holds_not_much_else(meters: float) -> None:
    angle = meters / 6_371_010.0
    circle = 2 * math.pi * (1 - math.cos(angle))
    ratios = []
    for latitude in range(-90, 91, 15):
        for longitude in range(-180, 180, 17):
            cells = Center(GeoPoint(float(latitude), float(longitude))).cover(angle)
            assert len(list(runs(cells))) <= 8
            ratios.append(sum(map(area, cells)) / circle)
    assert sum(ratios) / len(ratios) < 3
    assert max(ratios) < 6


def area(cell: Cell) -> float:
    """About: of a small one by its diagonals."""
    side = math.pi / 2 / 2**cell.level
    middle = cell.middle
    ahead = max(map(abs, middle))
    # The metric of equal angles, from one in the middle of a face to 0.77 in its corners.
    u, v = sorted(map(abs, middle))[:2]
    return float(side**2) * (1 + (u / ahead) ** 2) * (1 + (v / ahead) ** 2) * ahead**3


def test_the_middle_of_a_cell_is_on_the_ground() -> None:
    for cell in FACES:
        x, y, z = cell.middle
        assert math.hypot(x, y, z) == pytest.approx(1)
        assert cell.middle == pytest.approx(UnitVector(*map(round, (x, y, z))))
