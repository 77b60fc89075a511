"""The documents of a near query from an index of cells, nearest first.

    known     documents that were read, by distance and name ─┐
                                                              ├── whichever is nearer goes on:
    frontier  what is unread, by the least distance within  ──┘   a document out, or a range in

A range that is not read to its end is parted into smaller cells, so that a crowd at its edge costs
no more than what is wanted of it. Where a limit is far from what lies within the radius, the ring
that is covered begins as wide as the documents at hand tell, and widens.

What comes is the same as sorting all documents: a range is never taken for farther than it is
(`encoding.cells`), and distances are those of `model.geo`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterable, Sequence
from functools import total_ordering
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeAlias

from baas.database.planner import NearScan
from baas.encoding import keys
from baas.encoding.cells import (
    CELL_BYTES,
    PLACE_BYTES,
    Cell,
    Center,
    decode_place,
    runs,
)
from baas.encoding.documents import StoredDocument
from baas.model.geo import EARTH_RADIUS_METERS, HALF_GLOBE_METERS, distance_from
from baas.model.order import sort_key
from baas.model.queries import Query, matches
from baas.model.values import Reference
from baas.storage.engine import EntryRow, KeyRange, Snapshot

BATCH_MIN = 16  # entries of a range that are read at once
BATCH_MAX = 500
WIDER = 2.0  # a ring that held too few is followed by one of twice its radius,
WIDER_EMPTY = 4.0  # or of four times, if it held none
_FIRST_METERS = 1.0  # of a ring around which nothing is known

Documents: TypeAlias = list[StoredDocument]


@total_ordering
class _Name:
    """A document's name, as it is ordered; looked at only where distances are equal."""

    __slots__ = ("document",)

    def __init__(self, document: StoredDocument) -> None:
        self.document = document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Name) and self.document.path == other.document.path

    def __lt__(self, other: _Name) -> bool:
        return bool(self.key < other.key)

    @property
    def key(self) -> Any:
        return sort_key(Reference(self.document.path))


class _Read:
    """Which keys have been read: disjoint ranges, ascending."""

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []

    def add(self, start: bytes, end: bytes) -> None:
        first = bisect_right(self._starts, start)
        if first and self._ends[first - 1] >= start:
            first -= 1
            start = self._starts[first]
        last = first
        while last < len(self._starts) and self._starts[last] <= end:
            end = max(end, self._ends[last])
            last += 1
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def first_unread(self, start: bytes, end: bytes) -> KeyRange | None:
        """The first part of a range that has not been read."""
        place = bisect_right(self._starts, start)
        if place and self._ends[place - 1] > start:
            start = self._ends[place - 1]
        if start >= end:
            return None
        if place < len(self._starts):
            end = min(end, self._starts[place])
        return KeyRange(start, end)
