"""The globe in cells: what is near lies together in an index.

The sphere is seen as a cube. Each of its six faces is a square of 2^28 by 2^28 cells (of 4 cm at
most), numbered along a Hilbert curve: a square of any size is a contiguous range of numbers, and
what follows one another on the curve is near on the ground. Poles and antimeridian are within
faces, so nothing is special about them. Along an axis of a face cells take equal angles, so that
they differ in size by less than a half, and their edges are parts of great circles.

    face (1 byte) · place on the curve (7 bytes) · latitude · longitude (8 bytes each, as in `keys`)

The place itself follows, so that a key tells the distance and equal places lie together.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from baas.encoding.keys import decode_double, encode_double
from baas.model.geo import UnitVector, unit_vector
from baas.model.values import GeoPoint

CELL_BYTES = 8
_DEGREES = struct.Struct(">dd")
PLACE_BYTES = 24
LEVEL_MAX = 28  # of the smallest cells; a face is level 0
COVER_CELLS_MAX = 24
_SIDE = 1 << LEVEL_MAX
_QUARTER = math.pi / 4
# What rounding may do to angles, by far: in radians, 64 cm on the ground.
MARGIN = 1e-7

# Hilbert curve: in each of its four states the quadrants, as (right, up), in the order of the
# curve, and the state within each of them.
_QUADRANTS = (
    ((0, 0), (0, 1), (1, 1), (1, 0)),
    ((0, 0), (1, 0), (1, 1), (0, 1)),
    ((1, 1), (1, 0), (0, 0), (0, 1)),
    ((1, 1), (0, 1), (0, 0), (1, 0)),
)
_STATES = ((1, 0, 0, 3), (0, 1, 1, 2), (3, 2, 2, 1), (2, 3, 3, 0))


def _make_steps() -> list[tuple[int, int]]:
    """Four levels at once: by state and four bits of either coordinate, the place among 256 and the
    state within."""
    steps: list[tuple[int, int]] = []
    for state in range(4):
        for column in range(16):
            for row in range(16):
                place, now = 0, state
                for bit in (3, 2, 1, 0):
                    quadrant = (column >> bit & 1, row >> bit & 1)
                    digit = _QUADRANTS[now].index(quadrant)
                    place, now = place << 2 | digit, _STATES[now][digit]
                steps.append((place, now))
    return steps


_STEPS = _make_steps()


def encode_place(point: GeoPoint) -> bytes:
    """The key of a place: its cell, then itself. Equal places have equal keys."""
    return (
        cell_key(cell_number(point))
        + encode_double(point.latitude)
        + encode_double(point.longitude)
    )


def cell_key(number: int) -> bytes:
    """What the keys of the places in a smallest cell begin with."""
    return number.to_bytes(CELL_BYTES, "big")


def decode_place(key: bytes, start: int = 0) -> tuple[float, float]:
    """Latitude and longitude of the place whose key begins there."""
    latitude, longitude = _DEGREES.unpack_from(key, start + CELL_BYTES)
    # Numbers from 0 on are stored as what is below 0, and the others with all bits turned over.
    return (
        -latitude if latitude <= 0 else decode_double(key[start + CELL_BYTES : start + 16]),
        -longitude if longitude <= 0 else decode_double(key[start + 16 : start + PLACE_BYTES]),
    )


def cell_number(point: GeoPoint) -> int:
    """The face, and the place on its curve, of the smallest cell that holds the point."""
    face, u, v = _project(unit_vector(point.latitude, point.longitude))
    return _number(face, _along(u), _along(v))


def _number(face: int, column: int, row: int) -> int:
    place, state = 0, 0
    for shift in range(LEVEL_MAX - 4, -1, -4):
        step = state << 8 | (column >> shift & 15) << 4 | (row >> shift & 15)
        digits, state = _STEPS[step]
        place = place << 8 | digits
    return face << 2 * LEVEL_MAX | place


def _along(value: float) -> int:
    """The column, or row, of a coordinate from -1 to 1."""
    return min(_SIDE - 1, int((math.atan(value) / _QUARTER + 1.0) * (_SIDE // 2)))


def _project(at: UnitVector) -> tuple[int, float, float]:
    """The face that a ray from the middle of the earth meets, and where: from -1 to 1."""
    x, y, z = map(abs, at)
    face = 0 if x >= y and x >= z else 2 if y >= z else 4
    ahead, right, up = _in_front(face, at)
    return face + (ahead < 0), right / ahead, up / ahead


def _in_front(face: int, at: UnitVector) -> tuple[float, float, float]:
    """A place as who looks at a face from the middle of the earth has it: ahead, right, up."""
    x, y, z = at if face & 1 == 0 else (-at.x, -at.y, -at.z)
    if face < 2:
        return x, y, z
    return (y, x, z) if face < 4 else (z, x, y)


def _unproject(face: int, u: float, v: float) -> UnitVector:
    ahead = 1.0 / math.sqrt(1.0 + u * u + v * v)
    if face & 1:
        ahead = -ahead
    right, up = u * ahead, v * ahead
    if face < 2:
        return UnitVector(ahead, right, up)
    return UnitVector(right, ahead, up) if face < 4 else UnitVector(right, up, ahead)


# Cells -------------------------------------------------------------------------------------------

# How far from its middle a cell reaches at most. A step of the same angle along both axes is
# longest at the corners of a face, where it is √(8/3) of that angle; a whole face reaches to them.
_REACH = [
    math.acos(1 / math.sqrt(3)),
    *[math.sqrt(8 / 3) * _QUARTER / 2**level for level in range(1, LEVEL_MAX + 1)],
]


class Cell:
    """A square of a face, one of 4^level. `first` is the least number of the smallest cells within,
    `end` the first number behind it."""

    __slots__ = ("column", "end", "face", "first", "level", "row")

    def __init__(self, face: int, level: int, column: int, row: int) -> None:
        self.face = face
        self.level = level
        self.column = column
        self.row = row
        rest = LEVEL_MAX - level
        size = 1 << 2 * rest
        self.first = _number(face, column << rest, row << rest) & -size
        self.end = self.first + size

    @property
    def middle(self) -> UnitVector:
        """The place in its middle."""
        step = 2.0 / (1 << self.level)
        u = math.tan(_QUARTER * ((self.column + 0.5) * step - 1.0))
        v = math.tan(_QUARTER * ((self.row + 0.5) * step - 1.0))
        return _unproject(self.face, u, v)

    def quarters(self) -> list[Cell]:
        """The four cells that it is made of, in order of their numbers."""
        level, column, row = self.level + 1, self.column << 1, self.row << 1
        parts = [
            Cell(self.face, level, column | right, row | up) for right in (0, 1) for up in (0, 1)
        ]
        return sorted(parts, key=lambda cell: cell.first)


class Center:
    """A place from which angles are measured."""

    __slots__ = ("_sides", "at", "number")

    def __init__(self, point: GeoPoint) -> None:
        self.at = unit_vector(point.latitude, point.longitude)
        self.number = cell_number(point)
        # Lines of one column, or row, are meridians around an axis of the cube. Of each face and
        # axis: the meridian that the place is on, and the sine of its angle from that axis.
        self._sides: list[tuple[float, float, float, float]] = []
        for face in range(6):
            ahead, right, up = _in_front(face, self.at)
            self._sides.append(
                (
                    math.atan2(right, ahead),
                    math.hypot(right, ahead),
                    math.atan2(up, ahead),
                    math.hypot(up, ahead),
                )
            )

    def bounds(self, cell: Cell) -> tuple[float, float]:
        """Angles: nothing in the cell is nearer than the first, or further than the second."""
        x, y, z = cell.middle
        cosine = self.at.x * x + self.at.y * y + self.at.z * z
        angle = math.acos(min(1.0, max(-1.0, cosine)))
        reach = _REACH[cell.level]
        column, column_sine, row, row_sine = self._sides[cell.face]
        step = 2 * _QUARTER / (1 << cell.level)
        least = max(
            angle - reach,
            _beside(column, column_sine, cell.column, step),
            _beside(row, row_sine, cell.row, step),
        )
        return max(0.0, least - MARGIN), angle + reach + MARGIN

    def cover(
        self, outer: float, inner: float = 0.0, *, cells_max: int = COVER_CELLS_MAX
    ) -> list[Cell]:
        """Cells, in order of their numbers, that together hold every place at angles from `inner`
        to `outer`, and not much else: at most so many, or six."""
        outer = min(outer, math.pi)
        areas = [area for face in range(6) if (area := self._area(face, outer)) is not None]
        level = min(LEVEL_MAX, max(0, math.ceil(math.log2(8 * _QUARTER / (outer + MARGIN)))))
        while level and sum([_count(area, level) for area in areas]) > cells_max:
            level -= 1
        found = []
        for area in areas:
            for cell in _cells(area, level):
                least, most = self.bounds(cell)
                if least <= outer and most >= inner:
                    found.append(cell)
        return sorted(found, key=lambda cell: cell.first)

    def spans(self, outer: float) -> list[tuple[int, int]]:
        """The ranges of numbers of a cover."""
        if outer >= math.pi:
            return [(0, 6 << 2 * LEVEL_MAX)]
        return [(run[0].first, run[-1].end) for run in runs(self.cover(outer))]

    def _area(self, face: int, outer: float) -> _Area | None:
        """The part of a face between the outermost columns and rows within an angle."""
        column, column_sine, row, row_sine = self._sides[face]
        columns, rows = _between(column, column_sine, outer), _between(row, row_sine, outer)
        if columns is None or rows is None:
            return None
        return face, *columns, *rows


_Area: TypeAlias = tuple[int, float, float, float, float]


def _between(meridian: float, sine: float, outer: float) -> tuple[float, float] | None:
    """The part, from 0 to 1, of a face's columns that are within an angle of a place."""
    outer += MARGIN
    if outer >= math.pi / 2 or math.sin(outer) >= sine:
        return 0.0, 1.0  # the axis itself is within
    aside = math.asin(math.sin(outer) / sine) + MARGIN
    low = max(0.0, ((meridian - aside) / _QUARTER + 1.0) / 2)
    high = min(1.0, ((meridian + aside) / _QUARTER + 1.0) / 2)
    return None if low > high else (low, high)


def _beside(meridian: float, sine: float, line: int, step: float) -> float:
    """The angle at which a column begins, or that from its end; 0 within, and from behind."""
    low = line * step - _QUARTER
    gap = low - meridian if meridian < low else meridian - low - step
    return math.asin(sine * math.sin(gap)) if 0 < gap < math.pi / 2 else 0.0


def _lines(low: float, high: float, level: int) -> range:
    side = 1 << level
    return range(min(side - 1, int(low * side)), min(side - 1, int(high * side)) + 1)


def _count(area: _Area, level: int) -> int:
    _, left, right, bottom, top = area
    return len(_lines(left, right, level)) * len(_lines(bottom, top, level))


def _cells(area: _Area, level: int) -> Iterator[Cell]:
    face, left, right, bottom, top = area
    for column in _lines(left, right, level):
        for row in _lines(bottom, top, level):
            yield Cell(face, level, column, row)


def runs(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells that follow one another without a gap, together."""
    run: list[Cell] = []
    for cell in cells:
        if run and run[-1].end != cell.first:
            yield run
            run = []
        run.append(cell)
    if run:
        yield run
