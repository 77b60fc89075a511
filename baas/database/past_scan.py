"""Reading a whole database as of one version, window by window, while it is written to.

No snapshot is held from one window to the next, so it does not matter how slow whoever takes the
documents is, nor that a window fails. A window reads a stretch of keys in a snapshot of its own: a
document that is at a later version by then is read from history. Only those that were deleted
before their window came are missed; the log names them, and they come last.
"""

from __future__ import annotations

import bisect

from baas.database.database import Database
from baas.database.failures import as_baas_error
from baas.database.scan import BatchSize
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import FailedPrecondition
from baas.storage.engine import KeyRange, Snapshot, StorageError

_BATCH = 200
_LOG_RECORDS = 1_000
_DELETED = 50  # whose images are read at a time


# A key, the version before its deletion, and the version at which its window was read.
_Missed = tuple[bytes, int, int]


class PastScan:
    """Every document as of the version at which the scan began, each once: in the order of their
    keys, but for those that were deleted meanwhile; without what was erased.
    `read_window` may be repeated if it fails."""

    def __init__(self) -> None:
        self.version: int | None = None  # known once the first window was read
        self._start: bytes | None = b""  # of the next window; None: all keys were read
        self._ends: list[bytes] = []  # of the windows, and the versions of their snapshots
        self._versions: list[int] = []
        self._logged: int | None = None  # how far the log was read; None: not begun
        self._missed: list[_Missed] = []  # that the log has named, to be read yet

    async def read_window(self, database: Database, bytes_max: int) -> list[StoredDocument]:
        """The next documents, about `bytes_max` of them; none at the end. Raises
        FailedPrecondition (`HistoryTooShort`) once the version is past retention."""
        try:
            while True:
                found = await self._read_once(database, bytes_max)
                if found or self._is_done:
                    return found
        except StorageError as error:
            raise as_baas_error(error) from error

    async def _read_once(self, database: Database, bytes_max: int) -> list[StoredDocument]:
        place = self._start, len(self._ends), self._logged, self._missed
        snapshot, _ = await database.open_snapshot()
        try:
            version = snapshot.version if self.version is None else self.version
            found = await self._read(snapshot, version, bytes_max)
            # What was read holds only if history reached back when it had been read.
            if await database.read_oldest_version() > version:
                raise FailedPrecondition(
                    "reading the database took longer than its history reaches back; raise "
                    "`retention_bytes` or `retention_seconds`",
                    reason="HistoryTooShort",
                )
        except BaseException:
            self._start, windows, self._logged, self._missed = place
            del self._ends[windows:], self._versions[windows:]
            raise
        finally:
            await database.close_snapshot(snapshot)
        self.version = version
        return found

    @property
    def _is_done(self) -> bool:
        return (
            self._start is None
            and self._logged is not None
            and not self._missed
            and self._logged >= max(self._versions)
        )

    async def _read(self, snapshot: Snapshot, version: int, bytes_max: int) -> list[StoredDocument]:
        if self._start is not None:
            return await self._read_keys(snapshot, version, bytes_max)
        return await self._read_deleted(snapshot, version)

    async def _read_keys(
        self, snapshot: Snapshot, version: int, bytes_max: int
    ) -> list[StoredDocument]:
        start = self._start
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
            found += [one for one in past if one is not None and not one.is_erased]
            size += sum([len(one.data) for one in batch])
            last = keys.document_key(batch[-1].path) + b"\x00" if batch else b""
            start = last if len(batch) == limit else None
        self._start = start
        # Nothing lies above the last window, and its end above every key.
        self._ends.append(b"\xff" * 8 if start is None else start)
        self._versions.append(snapshot.version)
        return found

    async def _read_deleted(self, snapshot: Snapshot, version: int) -> list[StoredDocument]:
        if not self._missed:
            await self._read_log(snapshot, version)
        some, self._missed = self._missed[:_DELETED], self._missed[_DELETED:]
        before = await snapshot.get_images([(key, at) for key, at, _ in some])
        seen = await snapshot.get_images([(key, at) for key, _, at in some])
        return [
            old
            for old, present in zip(before, seen, strict=True)
            if old is not None and old.version <= version and present is None and not old.is_erased
        ]

    async def _read_log(self, snapshot: Snapshot, version: int) -> None:
        """What the next commits changed before its window came: of those that they deleted, the
        window has missed the images."""
        until = max(self._versions)
        after = version if self._logged is None else self._logged
        records = await snapshot.read_log(after, limit=_LOG_RECORDS) if after < until else []
        self._logged = records[-1].version if records else until
        missed: list[_Missed] = []
        for record in records:
            key = keys.document_key(record.path)
            seen_at = self._versions[bisect.bisect_right(self._ends, key)]
            if record.version <= seen_at:
                missed.append((key, record.version - 1, seen_at))
        self._missed = missed
