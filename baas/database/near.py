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

import asyncio
import math
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import total_ordering
from heapq import heappop, heappush, nsmallest
from itertools import count
from typing import Any, TypeAlias

from baas.database.planner import NearScan
from baas.encoding.cells import (
    CELL_BYTES,
    LEVEL_MAX,
    PLACE_BYTES,
    Cell,
    cell_key,
    decode_place,
    runs,
)
from baas.encoding.documents import StoredDocument
from baas.encoding.keys import document_key, encode_value, is_cut, prefix_end
from baas.model.geo import EARTH_RADIUS_METERS, HALF_GLOBE_METERS, distance_from
from baas.model.order import sort_key
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.query_order import near_start
from baas.model.values import Reference
from baas.storage.engine import EntryRow, KeyRange, Snapshot, are_last

BATCH_MIN = 16  # entries of a range that are read at once
BATCH_MAX = 500
BATCH_AT_EDGE = 64  # where a page goes on: much of what is read there was on pages before
BATCH_BYTES_MAX = 1024 * 1024  # of entries that are read at once
HELD_BYTES_MAX = 8 * 1024 * 1024  # of documents that wait for their turn; more are read again
WIDER = 2.0  # a ring that held too few is followed by one of twice its radius,
WIDER_EMPTY = 4.0  # or of four times, if it held none
_NEXT_PAGE = 1.25  # how much wider than all pages before the first ring of a page is
_READS_PER_TURN = 16  # of the event loop
_FIRST_METERS = 1.0  # of a ring around which nothing is known

Documents: TypeAlias = list[StoredDocument]


@total_ordering
class _Name:
    """A document's name, as it is ordered, which is looked at only where distances are equal; and
    the document, if it is held."""

    __slots__ = ("_key", "_path", "document")

    def __init__(self, document: StoredDocument, *, is_held: bool = True) -> None:
        self.document = document if is_held else None
        self._path = None if is_held else document.path
        self._key: Any = None

    @property
    def path(self) -> DocumentPath:
        if self.document is not None:
            return self.document.path
        assert self._path is not None
        return self._path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Name) and self.path == other.path

    def __lt__(self, other: _Name) -> bool:
        return bool(self.key < other.key)

    @property
    def key(self) -> Any:
        if self._key is None:
            self._key = sort_key(Reference(self.path))
        return self._key


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


@dataclass(frozen=True, slots=True)
class _Run:
    """Cells that follow one another; some of their keys may have been read."""

    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class _Rest:
    """The keys of one place behind some that were read; nobody else reads them."""

    span: KeyRange


@dataclass(frozen=True, slots=True)
class _Beyond:
    """Whatever is farther, and may be in the answer. `matched`: what was found before the ring that
    ends here was read."""

    meters: float
    matched: int


_Unread: TypeAlias = _Run | _Rest | _Beyond
# By the least distance; then what may hold any name before what holds those behind one; then by a
# number that tells all apart.
_Rank: TypeAlias = tuple[float, bool, Any, int]


class NearReader:
    """Reads one near query by one scan. `wanted`: how many documents will be asked for, if that is
    known. Does not close the snapshot."""

    def __init__(
        self, snapshot: Snapshot, query: Query, scan: NearScan, wanted: int | None
    ) -> None:
        near = query.near
        assert near is not None
        self._snapshot = snapshot
        self._query = query
        self._scan = scan
        self._wanted = wanted
        most = BATCH_MAX if query.start is None else BATCH_AT_EDGE
        self._size = most if wanted is None else min(max(wanted, BATCH_MIN), most)
        self._center = scan.center
        self._distance = distance_from(near.center)
        self._radius = min(near.radius, HALF_GLOBE_METERS)
        self._start = near_start(query)
        self._read = _Read()
        self._known: list[tuple[float, _Name]] = []
        self._frontier: list[tuple[_Rank, _Unread]] = []
        self._held_bytes = 0
        self._numbers = count()
        self._matched = 0  # documents that were found to be in the answer

    async def batches(self) -> AsyncGenerator[Documents]:
        """The documents in order, and a batch of none after each read: whoever bounds how long is
        read can tell."""
        await self._begin()
        for reads in count(1):
            if reads % _READS_PER_TURN == 0:
                await asyncio.sleep(0)  # what is small is read without waiting
            while self._known and self._is_next():
                yield await self._take()
            if not self._frontier:
                return
            _, unread = heappop(self._frontier)
            match unread:
                case _Run():
                    await self._read_run(unread.cells)
                case _Rest():
                    await self._read_rest(unread)
                case _Beyond():
                    wider = WIDER_EMPTY if unread.matched == self._matched else WIDER
                    outer = max(_FIRST_METERS, unread.meters * wider)
                    self._cover_ring(unread.meters, outer)
            yield []

    def _is_next(self) -> bool:
        """Whether nothing unread can come before the first known document."""
        return not self._frontier or _is_before(self._known[0], self._frontier[0][0])

    async def _take(self) -> Documents:
        """The known documents that come next: those that are held, or one that is not."""
        found: Documents = []
        while self._known and self._is_next():
            document = self._known[0][1].document
            if document is None and found:
                break
            _, name = heappop(self._known)
            if document is None:
                (document,) = await self._snapshot.get_documents([document_key(name.path)])
                assert document is not None, name.path
                return [document]
            self._held_bytes -= len(document.data)
            found.append(document)
        return found

    def _push(self, distance: float, unread: _Unread, behind: Any = None) -> None:
        rank = (distance, behind is not None, behind, next(self._numbers))
        heappush(self._frontier, (rank, unread))

    # Rings ----------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Reads around the center until the documents at hand tell how wide a ring to begin with;
        or begins with all of the radius, if all within it is wanted."""
        if self._wanted is None:
            self._cover_ring(0.0, self._radius)
        elif self._start is not None:
            inner = self._start[0]
            self._cover_ring(inner, max(inner * _NEXT_PAGE, _FIRST_METERS))
        else:
            self._cover_ring(0.0, await self._sound(self._wanted))

    async def _sound(self, wanted: int) -> float:
        """The radius within which so many documents are, going by those that follow the center on
        the curve in either direction."""
        key = self._key(self._center.number)
        around = next((span for span in self._scan.spans if _holds(span, key)), None)
        if around is None:  # an outermost place that rounding moved
            return self._radius
        least = self._matched
        size = self._size
        above, is_all = await self._scan_entries(KeyRange(key, around.end), size)
        below, is_rest = await self._scan_entries(
            KeyRange(around.start, key), size, descending=True
        )
        found = self._matched - least
        if found >= wanted:
            return nsmallest(wanted, self._known)[-1][0]
        if is_all and is_rest:
            return self._radius
        farthest = max([self._distance_of(row) for row in (*above, *below)], default=0.0)
        return max(_FIRST_METERS, farthest * math.sqrt(wanted / max(1, found)))

    def _cover_ring(self, inner: float, outer: float) -> None:
        """Leaves what is between two distances to be read, and whatever is behind."""
        if outer < self._radius:
            self._push(outer, _Beyond(outer, self._matched))
        outer = min(outer, self._radius)
        cells = self._center.cover(outer / EARTH_RADIUS_METERS, inner / EARTH_RADIUS_METERS)
        for run in runs(cells):
            self._push(min([self._bounds(cell)[0] for cell in run]), _Run(run))

    def _bounds(self, cell: Cell) -> tuple[float, float]:
        """In metres: nothing in the cell is nearer, or further."""
        least, most = self._center.bounds(cell)
        return least * EARTH_RADIUS_METERS, most * EARTH_RADIUS_METERS

    # Reading --------------------------------------------------------------------------------------

    async def _read_run(self, cells: Sequence[Cell]) -> None:
        """Reads cells to their end, or as much as is read at once, and leaves the rest in smaller
        ones."""
        end = self._key(cells[-1].end)
        while (span := self._read.first_unread(self._key(cells[0].first), end)) is not None:
            rows, is_all = await self._scan_entries(span, self._size)
            if not is_all:
                self._leave_place(rows)
                self._part(cells, rows[-1])
                return

    def _part(self, cells: Sequence[Cell], last: EntryRow) -> None:
        """Leaves what lies behind an entry to be read in smaller parts."""
        number = int.from_bytes(last.key[len(self._scan.prefix) :][:CELL_BYTES])
        left = [cell for cell in cells if cell.end > number]
        if len(left) == 1 and left[0].level < LEVEL_MAX:
            left = [cell for cell in left[0].quarters() if cell.end > number]
        for cell in left:
            least, most = self._bounds(cell)
            if least <= self._radius and (self._start is None or most >= self._start[0]):
                self._push(least, _Run((cell,)))

    def _leave_place(self, rows: Sequence[EntryRow]) -> None:
        """If many entries are of one place, what else there is of it follows by name, and is read
        as far as it is wanted."""
        last = rows[-1]
        place = self._place_key(last)
        if len(rows) < 2 or self._place_key(rows[-2]) != place:
            return
        end = prefix_end(place)
        assert end is not None
        # The last entries of the place may have been read already, from behind.
        unread = self._read.first_unread(last.key + b"\x00", end)
        self._read.add(last.key, end)
        if unread is not None:
            self._leave_rest(unread, last)

    def _leave_rest(self, span: KeyRange, last: EntryRow) -> None:
        distance = self._distance_of(last)
        if self._start is not None and distance == self._start[0]:
            start = max(span.start, self._place_key(last) + self._page_key())
            span = KeyRange(start, span.end)
        assert span.end is not None
        if distance <= self._radius and span.start < span.end:
            name = _Name(last.document, is_held=False)
            # Of a name that was cut the key does not tell which ones are behind it.
            is_sure = not is_cut(encode_value(Reference(name.path)))
            self._push(distance, _Rest(span), name if is_sure else None)

    async def _read_rest(self, rest: _Rest) -> None:
        rows, is_all = await self._scan_entries(rest.span, self._size)
        if not is_all:
            assert rest.span.end is not None
            self._leave_rest(KeyRange(rows[-1].key + b"\x00", rest.span.end), rows[-1])

    async def _scan_entries(
        self, span: KeyRange, limit: int, *, descending: bool = False
    ) -> tuple[Sequence[EntryRow], bool]:
        """Reads a range, or its first entries, and knows their documents; and whether that is all
        of it."""
        rows = await self._snapshot.scan_entries(
            self._scan.index.number,
            span,
            limit=limit,
            descending=descending,
            bytes_max=BATCH_BYTES_MAX,
        )
        is_all = are_last([row.document for row in rows], limit, BATCH_BYTES_MAX)
        start, end = span.start, span.end
        assert end is not None
        if not is_all and descending:
            start = rows[-1].key
        elif not is_all:
            end = rows[-1].key + b"\x00"
        if start < end:
            self._read.add(start, end)
        refused = len([row for row in rows if not self._know(row)])
        if not is_all and 2 * refused > len(rows):
            # Few pass the filter, so that it takes many to find enough.
            self._size = min(2 * self._size, BATCH_MAX)
        return rows, is_all

    def _know(self, row: EntryRow) -> bool:
        """Keeps the row's document, if it is in the answer. False if only the filter says no."""
        distance = self._distance_of(row)
        if distance > self._radius or (self._start is not None and distance < self._start[0]):
            return True
        is_sure = self._scan.exact and (self._start is None or distance > self._start[0])
        if is_sure or matches(self._query, row.document):
            self._matched += 1
            heappush(self._known, (distance, self._hold(row.document)))
            return True
        return False

    def _hold(self, document: StoredDocument) -> _Name:
        size = len(document.data)
        if self._held_bytes + size > HELD_BYTES_MAX:
            return _Name(document, is_held=False)
        self._held_bytes += size
        return _Name(document)

    def _page_key(self) -> bytes:
        """What the keys of one place that a page begins with are not below."""
        assert self._query.start is not None
        name = self._query.start.values[1]
        assert isinstance(name, Reference)
        if self._scan.index.definition.group:
            return encode_value(name)
        is_here = name.path.segments[:-1] == self._query.collection.segments
        return document_key(name.path) if is_here else b""

    # Keys -----------------------------------------------------------------------------------------

    def _key(self, number: int) -> bytes:
        return self._scan.prefix + cell_key(number)

    def _place_key(self, row: EntryRow) -> bytes:
        return row.key[: len(self._scan.prefix) + PLACE_BYTES]

    def _distance_of(self, row: EntryRow) -> float:
        """The key tells it: documents that are too far are not even decoded."""
        return self._distance(*decode_place(row.key, len(self._scan.prefix)))


def _is_before(known: tuple[float, _Name], unread: _Rank) -> bool:
    """Whether a document comes before all that is unread."""
    distance, name = known
    least, is_behind, behind, _ = unread
    if distance != least:
        return distance < least
    # The names of what is unread at this distance are behind one.
    return is_behind and not behind < name


def _holds(span: KeyRange, key: bytes) -> bool:
    return span.start <= key and (span.end is None or key < span.end)
