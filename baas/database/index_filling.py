"""Fills indexes that are defined: reads every document once, and has the entries written.

Why nothing is missed meanwhile: see `index_builder`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog

from baas.clock import Clock
from baas.database.index_records import RunAlone, changing
from baas.database.indexes import Index, Indexes
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    BackfillRow,
    Entries,
    KeyRange,
    StorageEngine,
    are_last,
)

SLICE_FIRST = 100
SLICE_MIN = 10
SLICE_MAX = 1_000
SLICE_BYTES_MAX = 1024 * 1024  # a MiB of one document may be a hundred thousand entries
PIECE_ENTRIES_MAX = 5_000  # that are written at a time to an engine that is away
# To one that is near, which writes them in the order of their keys, a few milliseconds at a time:
# the more there are, the fewer pages are written again and again.
NEAR_PIECE_ENTRIES_MAX = 50_000
ROWS_BYTES_ON_LOOP_MAX = 64 * 1024  # of documents whose entries are made on the loop
SLICE_SECONDS = 0.005
FAR_SLICE_SECONDS = 0.05  # of an engine that is away: half of it is waiting for answers
TELL_SECONDS = 10.0  # between two times that a node tells others of what it fills
_log = structlog.get_logger("baas.indexes")


class IndexFiller:
    """Fills indexes of one database, a few milliseconds of the writer at a time. Those that a
    document would have more than `document_entries_max` entries in are dropped."""

    def __init__(
        self,
        engine: StorageEngine,
        indexes: Indexes,
        run_alone: RunAlone,
        *,
        clock: Clock,
        document_entries_max: int,
    ) -> None:
        self._engine = engine
        self._indexes = indexes
        self._run_alone = run_alone
        self._clock = clock
        self._document_entries_max = document_entries_max

    def still_wanted(self, building: Sequence[Index]) -> list[Index]:
        """Those that were not dropped meanwhile."""
        return [index for index in building if self._indexes.find(index.definition) is index]

    async def fill(self, building: Sequence[Index]) -> None:
        """Reads all documents once. Raises StorageError, and what committing raises."""
        last = b""
        size = SLICE_FIRST
        scanned = 0
        filling = _Filling(self._engine)
        told = self._clock.monotonic_seconds()
        while True:
            started = self._clock.monotonic_seconds()
            if self._engine.is_shared and started - told > TELL_SECONDS:
                await self._tell_of(building)
                told = started
            by_collection: dict[str, list[Index]] = {}
            for index in self.still_wanted(building):
                index.scanned = scanned
                by_collection.setdefault(index.definition.collection_id, []).append(index)
            if not by_collection:
                return  # what is not written yet is of indexes that were dropped
            documents = await _read_slice(self._engine, last, size)
            if await self._drop_hopeless(documents, by_collection):
                continue
            if sum([len(document.data) for document in documents]) > ROWS_BYTES_ON_LOOP_MAX:
                rows = await asyncio.to_thread(_rows, documents, by_collection)
            else:
                rows = _rows(documents, by_collection)
            taken = self._clock.monotonic_seconds() - started
            await filling.add(rows)
            if are_last(documents, size, SLICE_BYTES_MAX):
                await filling.finish()
                return
            scanned += len(documents)
            last = _next_start(documents[-1], by_collection)
            if not self._engine.is_near:
                taken = self._clock.monotonic_seconds() - started
            size = next_size(size, taken, self._engine)
            await asyncio.sleep(0)

    async def _tell_of(self, building: Sequence[Index]) -> None:
        """They are being filled yet, which others leave to this node."""
        for index in self.still_wanted(building):
            await self._run_alone(changing(index, used=self._clock.now_microseconds()))

    async def _drop_hopeless(
        self, documents: Iterable[StoredDocument], by_collection: Mapping[str, Sequence[Index]]
    ) -> bool:
        """Drops indexes that one of the documents would have too many entries in; whether there was
        any."""
        found = {
            index: document
            for document in documents
            for index in by_collection.get(document.path.segments[-2], ())
            if index.elements_max(document.path) > self._document_entries_max
            and index.count_elements(document.path, document.fields) > self._document_entries_max
        }
        for index, document in found.items():
            _log.warning(
                "index not made: a document would have too many entries in it",
                index=str(index.definition),
                document=document.name,
                maximum=self._document_entries_max,
            )
            await self._run_alone(changing(index, is_dropped=True))
        return bool(found)


async def _read_slice(engine: StorageEngine, start: bytes, limit: int) -> list[StoredDocument]:
    """By a snapshot of its own: one held throughout would keep the store from tidying up."""
    snapshot = await engine.open_snapshot()
    try:
        span = KeyRange(start, None)
        return await snapshot.scan_documents(span, limit=limit, bytes_max=SLICE_BYTES_MAX)
    finally:
        await snapshot.close()


class _Filling:
    """Rows on their way to the engine, in pieces that it writes at a time."""

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine
        self._most = NEAR_PIECE_ENTRIES_MAX if engine.is_near else PIECE_ENTRIES_MAX
        self._rows: list[BackfillRow] = []
        self._entries = 0

    async def add(self, rows: Sequence[BackfillRow]) -> None:
        self._rows += rows
        self._entries += sum([_count(row) for row in rows])
        if self._entries >= self._most or not self._engine.is_near:
            await self.finish()

    async def finish(self) -> None:
        rows, self._rows, self._entries = self._rows, [], 0
        for piece in _pieces(rows, self._most):
            await self._engine.backfill(piece)


def _next_start(last: StoredDocument, by_collection: Mapping[str, object]) -> bytes:
    """Where to read on; documents of a collection that no index wants are passed over."""
    if last.path.segments[-2] not in by_collection:
        return keys.collection_span(last.path.collection)[1]
    return keys.document_key(last.path) + b"\x00"


def _rows(
    documents: Iterable[StoredDocument], by_collection: Mapping[str, Sequence[Index]]
) -> list[BackfillRow]:
    return [
        row
        for document in documents
        if (row := _row(document, by_collection.get(document.path.segments[-2], ())))
    ]


def _pieces(rows: Iterable[BackfillRow], most: int) -> Iterator[list[BackfillRow]]:
    """With so many entries each as are written at a time. A document may have more than that: a
    commit that changes it in between removes what is there already, and adds all that is due."""
    piece: list[BackfillRow] = []
    room = most
    for row in rows:
        for part in _parts(row, most):
            count = _count(part)
            if piece and count > room:
                yield piece
                piece, room = [], most
            piece.append(part)
            room -= count
    if piece:
        yield piece


def _parts(row: BackfillRow, most: int) -> Iterator[BackfillRow]:
    if _count(row) <= most:
        yield row
        return
    for number, found in row.entries:
        for start in range(0, len(found), most):
            yield replace(row, entries=[Entries(number, found[start : start + most])])


def _count(row: BackfillRow) -> int:
    return sum([len(entries.keys) for entries in row.entries])


def _row(document: StoredDocument, indexes: Sequence[Index]) -> BackfillRow | None:
    entries = [
        Entries(index.number, found)
        for index in indexes
        if (found := index.entry_keys(document.path, document.fields))
    ]
    if not entries:
        return None
    return BackfillRow(keys.document_key(document.path), document.version, entries)


def next_size(size: int, seconds: float, engine: StorageEngine) -> int:
    """Of the next slice, by what the last one took: so that no slice holds up others for long."""
    aim = SLICE_SECONDS if engine.is_near else FAR_SLICE_SECONDS
    if seconds > aim:
        return max(SLICE_MIN, size // 2)
    if seconds < aim / 2:
        return min(SLICE_MAX, size * 2)
    return size
