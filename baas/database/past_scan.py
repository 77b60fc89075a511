"""Reading a whole database as of one version, window by window, while it is written to.

No snapshot is held from one window to the next, so it does not matter how slow whoever takes the
documents is, nor that a window fails, nor that the process ends: the place is a few numbers and
keys, from which another scan goes on. A window reads a stretch of keys in a snapshot of its own: a
document that is at a later version by then is read from history. Only those that were deleted
before their window came are missed; the log names them, and they come last.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import Any

from baas.database.batch_size import BatchSize
from baas.database.database import Database
from baas.database.failures import as_baas_error
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import FailedPrecondition
from baas.storage.engine import KeyRange, Snapshot, StorageError

_BATCH = 200
_LOG_RECORDS = 1_000
_DELETED = 50  # whose images are read at a time


# A key, the version before its deletion, and the version at which its window was read.
_Missed = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class ScanPlace:
    """How far a scan has come. `ends` are of the windows, and `versions` those of their snapshots;
    `start` is of the next window, None: all keys were read. `logged`: how far the log was read,
    None: not begun; `missed`: what it has named, to be read yet."""

    version: int
    start: bytes | None
    ends: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    logged: int | None = None
    missed: tuple[_Missed, ...] = ()

    @property
    def is_end(self) -> bool:
        return (
            self.start is None
            and self.logged is not None
            and not self.missed
            and self.logged >= max(self.versions)
        )


def encode_place(place: ScanPlace) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "version": place.version,
        "start": None if place.start is None else place.start.hex(),
        "ends": [one.hex() for one in place.ends],
        "versions": list(place.versions),
        "logged": place.logged,
        "missed": [[key.hex(), before, seen] for key, before, seen in place.missed],
    }


def decode_place(tree: dict[str, Any]) -> ScanPlace:
    """The inverse of `encode_place`."""
    start = tree["start"]
    return ScanPlace(
        version=tree["version"],
        start=None if start is None else bytes.fromhex(start),
        ends=tuple(map(bytes.fromhex, tree["ends"])),
        versions=tuple(tree["versions"]),
        logged=tree["logged"],
        missed=tuple((bytes.fromhex(key), before, seen) for key, before, seen in tree["missed"]),
    )


class PastScan:
    """Every document as of the version at which the scan began, each once: in the order of their
    keys, but for those that were deleted meanwhile; without what was erased (`has_met_erased`).
    `read_window` may be repeated if it fails. `place`: where an earlier scan of the same
    incarnation was; None before the first window."""

    def __init__(self, place: ScanPlace | None = None) -> None:
        self.place = place
        self.has_met_erased = False

    @property
    def version(self) -> int | None:
        """Known once the first window was read."""
        return None if self.place is None else self.place.version

    async def read_window(self, database: Database, bytes_max: int) -> list[StoredDocument]:
        """The next documents, about `bytes_max` of them; none at the end. Raises
        FailedPrecondition (`HistoryTooShort`) once the version is past retention."""
        try:
            while True:
                found = await self._read_once(database, bytes_max)
                if found or (self.place is not None and self.place.is_end):
                    return found
        except StorageError as error:
            raise as_baas_error(error) from error

    async def _read_once(self, database: Database, bytes_max: int) -> list[StoredDocument]:
        snapshot, _ = await database.open_snapshot()
        try:
            place = self.place or ScanPlace(snapshot.version, b"")
            if place.start is not None:
                found, place = await _read_keys(snapshot, place, bytes_max)
            else:
                found, place = await _read_deleted(snapshot, place)
            # What was read holds only if history reached back when it had been read.
            if await database.read_oldest_version() > place.version:
                raise FailedPrecondition(
                    "reading the database took longer than its history reaches back; raise "
                    "`retention_bytes` or `retention_seconds`",
                    reason="HistoryTooShort",
                )
        finally:
            await database.close_snapshot(snapshot)
        self.place = place
        kept = [one for one in found if not one.is_erased]
        self.has_met_erased = self.has_met_erased or len(kept) < len(found)
        return kept


async def _read_keys(
    snapshot: Snapshot, place: ScanPlace, bytes_max: int
) -> tuple[list[StoredDocument], ScanPlace]:
    start, version = place.start, place.version
    found: list[StoredDocument] = []
    size = 0
    batch_size = BatchSize(_BATCH)
    while start is not None and size < bytes_max:
        limit = batch_size.limit
        batch = await snapshot.scan_documents(KeyRange(start, None), limit=limit)
        batch_size.note(batch)
        later = [keys.document_key(one.path) for one in batch if one.version > version]
        past = await snapshot.get_images([(key, version) for key in later]) if later else []
        found += [one for one in batch if one.version <= version]
        found += [one for one in past if one is not None]
        size += sum([len(one.data) for one in batch])
        last = keys.document_key(batch[-1].path) + b"\x00" if batch else b""
        start = last if len(batch) == limit else None
    # Nothing lies above the last window, and its end above every key.
    end = b"\xff" * 8 if start is None else start
    ends, versions = place.ends, place.versions
    if versions and versions[-1] == snapshot.version:  # one window, seen from the log
        ends, versions = ends[:-1], versions[:-1]
    return found, replace(
        place, start=start, ends=(*ends, end), versions=(*versions, snapshot.version)
    )


async def _read_deleted(
    snapshot: Snapshot, place: ScanPlace
) -> tuple[list[StoredDocument], ScanPlace]:
    if not place.missed:
        place = await _read_log(snapshot, place)
    some, rest = place.missed[:_DELETED], place.missed[_DELETED:]
    before = await snapshot.get_images([(key, at) for key, at, _ in some])
    seen = await snapshot.get_images([(key, at) for key, _, at in some])
    found = [
        old
        for old, present in zip(before, seen, strict=True)
        if old is not None and old.version <= place.version and present is None
    ]
    return found, replace(place, missed=rest)


async def _read_log(snapshot: Snapshot, place: ScanPlace) -> ScanPlace:
    """What the next commits changed before its window came: of those that they deleted, the
    window has missed the images."""
    until = max(place.versions)
    after = place.version if place.logged is None else place.logged
    records = await snapshot.read_log(after, limit=_LOG_RECORDS) if after < until else []
    missed: list[_Missed] = []
    for record in records:
        key = keys.document_key(record.path)
        seen_at = place.versions[bisect.bisect_right(place.ends, key)]
        if record.version <= seen_at:
            missed.append((key, record.version - 1, seen_at))
    logged = records[-1].version if records else until
    return replace(place, logged=logged, missed=tuple(missed))
