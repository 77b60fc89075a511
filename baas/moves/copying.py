"""One database on its way to another engine: copied as of one version, then kept equal in rounds.

A round takes along what the log names since the last one, with images of one snapshot: at its end
the copy is what the source was at that snapshot's version. It may be repeated from any earlier
version: it changes nothing then, or brings forward what was left half-way.

From the moment at which both sides were read whole and found equal, each round carries two sums of
hashes along: that of the source by its history, that of the copy by what is read of it before and
after. So to compare all takes no more, in the pause, than to read what the last round has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from baas.backups.lines import encode_document
from baas.backups.manifest import LinesDigest
from baas.database.batch_size import BatchSize
from baas.database.database import Database
from baas.database.failures import baas_errors
from baas.database.indexes import INDEXES, is_reserved
from baas.database.loading import Loader, in_chunks
from baas.database.names import DatabaseName
from baas.database.past_scan import PastScan, ScanPlace
from baas.database.read_snapshot import ReadSnapshot
from baas.database.scan import SCAN_DOCUMENTS
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss
from baas.model.paths import DocumentPath
from baas.storage.engine import Change, CommitGroup, CommitRecord, KeyRange, StorageEngine

WINDOW_BYTES, WINDOW_BYTES_MAX = 8 * 1024 * 1024, 64 * 1024 * 1024
_WINDOWS = 200  # after so many they grow: their ends are kept in the move
_TAKEN = 200  # documents of a round at a time
_LOG_RECORDS = 1_000
_SNAPSHOT_CHANGES = 10_000
_REQUESTS = 500
_INDEXES_MAX = 100_000


class SumsLost(Exception):
    """What was carried along says nothing any more: both sides have to be read whole again."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the copy of one database has come. `place`: of the scan, until it is at its end;
    `followed`: the version of the source that the copy is at, from then on; `requests`: up to which
    version answers to requests were taken along."""

    place: ScanPlace | None
    followed: int | None = None
    requests: int = 0


@dataclass(slots=True)
class Sums:
    """Of the source and of its copy, as of one version."""

    source: LinesDigest = field(default_factory=LinesDigest)
    copy: LinesDigest = field(default_factory=LinesDigest)

    @property
    def are_equal(self) -> bool:
        return (self.source.count, self.source.text) == (self.copy.count, self.copy.text)


class DatabaseCopy:
    """The copy of one database in `engine`, which nobody else has open. `source` gives the database
    as it is open at the time."""

    def __init__(
        self,
        name: DatabaseName,
        source: Callable[[], Awaitable[Database]],
        engine: StorageEngine,
        position: Position,
        *,
        is_new: bool,
    ) -> None:
        """`is_new`: there is nothing at the target yet."""
        self.name = name
        self.position = position
        self._source = source
        self._engine = engine
        self._sums: Sums | None = None
        self._is_new = is_new
        self._has_history = not is_new
        self._has_superseded = not is_new

    # Copying --------------------------------------------------------------------------------------

    async def copy_some(self) -> list[StoredDocument]:
        """Copies the next documents; none at the end. Raises FailedPrecondition
        (`HistoryTooShort`)."""
        position = self.position
        if position.followed is not None:
            return []
        scan = PastScan(position.place)
        found = await scan.read_window(await self._source(), _window_bytes(position.place))
        place = scan.place
        assert place is not None
        documents = [one for one in found if not is_reserved(one.path)]
        for chunk in in_chunks(documents):
            images = [(keys.document_key(one.path), one.path, one) for one in chunk]
            await self._apply(images, place.version)
        if place.is_end:
            self.position = replace(position, place=None, followed=place.version)
            await self._trim()
        else:
            self.position = replace(position, place=place)
        return found

    async def _apply(self, images: Sequence[_Image], version: int) -> list[StoredDocument | None]:
        """Makes documents in the copy what they are given as, as of `version` of the source; what
        they were."""
        with baas_errors():
            there: list[StoredDocument | None] = [None] * len(images)
            if not self._is_new:
                there = await self._engine.get_documents([key for key, _, _ in images])
            changes = [
                Change(key, path, old, new)
                for old, (key, path, new) in zip(there, images, strict=True)
                if not _are_same(old, new)
            ]
            if changes:
                await self._commit(changes, version)
            return there

    async def _commit(self, changes: list[Change], version: int) -> None:
        head = (await self._engine.read_head()).version
        record = CommitRecord(max(head, version) + 1, changes)
        await self._engine.commit(CommitGroup(head, [record]))
        # What the last commit has superseded outlives `_trim`.
        self._has_history = any(one.old is not None for one in changes)
        self._has_superseded = self._has_superseded or self._has_history

    async def _trim(self) -> None:
        """Forgets how documents came here."""
        await Loader(self._engine, 0, goes_on=True).finish()

    # Following ------------------------------------------------------------------------------------

    async def follow(self, *, is_last: bool = False) -> int:
        """Takes along what was written since; of how many documents. After the last time there is
        `complete`. Raises ResumeTokenExpired if the log does not reach back, SumsLost."""
        self._is_new = False
        count, is_behind = 0, True
        try:
            while is_behind:
                database = await self._source()
                async with database.snapshot() as snapshot:
                    taken, is_behind = await self._follow_log(snapshot)
                count += taken
        except BaseException:
            self._sums = None  # they may have been carried along half of the way
            raise
        if not is_last:
            await self._trim()
        return count

    async def _follow_log(self, snapshot: ReadSnapshot) -> tuple[int, bool]:
        """Of how many documents; and whether there is more than is taken along in one snapshot,
        which no engine keeps for ever. What was taken is newer than the version that is noted then,
        and is taken once more if it was changed since: only at the end it is of one version."""
        after = self.position.followed
        assert after is not None, "it is not copied yet"
        seen: set[DocumentPath] = set()
        count, logged = 0, after
        while records := await snapshot.read_log(logged, limit=_LOG_RECORDS):
            paths = dict.fromkeys(record.path for record in records)
            fresh = [one for one in paths if one not in seen and not is_reserved(one)]
            if self._sums is not None:  # each once
                seen.update(fresh)
            await self._take_all(fresh, snapshot, after)
            count += len(fresh)
            logged = records[-1].version
            if self._sums is None and count >= _SNAPSHOT_CHANGES:
                self.position = replace(self.position, followed=logged)
                return count, True
        requests = await self._take_requests(snapshot)
        self.position = replace(self.position, followed=snapshot.version, requests=requests)
        return count, False

    async def _take_all(
        self, paths: Sequence[DocumentPath], snapshot: ReadSnapshot, after: int
    ) -> None:
        for start in range(0, len(paths), _TAKEN):
            await self._take(paths[start : start + _TAKEN], snapshot, after)

    async def _take(
        self, paths: Sequence[DocumentPath], snapshot: ReadSnapshot, after: int
    ) -> None:
        now = await snapshot.get_documents(paths)
        images = [
            (keys.document_key(path), path, new) for path, new in zip(paths, now, strict=True)
        ]
        sums = self._sums
        if sums is None:
            await self._apply(images, snapshot.version)
            return
        before = await snapshot.get_images_at(paths, after)
        if any(one is not None and one.is_erased for one in before):
            raise SumsLost
        there = await self._apply(images, snapshot.version)
        sums.source.remove(_lines(before))
        sums.source.add(_lines(now))
        sums.copy.remove(_lines(there))
        with baas_errors():
            found = await self._engine.get_documents([key for key, _, _ in images])
        sums.copy.add(_lines(found))

    async def _take_requests(self, snapshot: ReadSnapshot) -> int:
        """The answers that are kept for repeated requests; up to which version."""
        loader = Loader(self._engine, 0, goes_on=True)
        after = self.position.requests
        while answers := await snapshot.read_requests(after, limit=_REQUESTS):
            await loader.add_requests(answers)
            after = answers[-1].version
        return after

    # Comparing ------------------------------------------------------------------------------------

    async def read_whole(self) -> None:
        """Reads both sides as of the version that was followed to. Raises DataLoss
        (`CopyDiffers`), SumsLost if what was there then has been erased since."""
        after = self.position.followed
        assert after is not None
        self.forget_sums()
        sums = Sums()
        scan = PastScan(ScanPlace(after, b""))
        while documents := await scan.read_window(await self._source(), WINDOW_BYTES):
            await asyncio.to_thread(_add_all, sums.source, documents)
        if scan.has_met_erased:
            raise SumsLost
        await self._read_copy(sums.copy)
        self._sums = sums
        self.compare()

    async def _read_copy(self, digest: LinesDigest) -> None:
        """Nobody else writes to it: batches need no snapshot in common."""
        start: bytes = b""
        batch_size = BatchSize(SCAN_DOCUMENTS)
        with baas_errors():
            while True:
                snapshot = await self._engine.open_snapshot()
                try:
                    span = KeyRange(start, None)
                    documents = await snapshot.scan_documents(span, limit=batch_size.limit)
                finally:
                    await snapshot.close()
                if not documents:
                    return
                batch_size.note(documents)
                await asyncio.to_thread(_add_all, digest, documents)
                start = keys.document_key(documents[-1].path) + b"\x00"

    def forget_sums(self) -> None:
        """Rounds go on without them."""
        self._sums = None

    def compare(self) -> None:
        """Raises DataLoss (`CopyDiffers`), SumsLost."""
        sums = self._sums
        if sums is None:
            raise SumsLost
        if not sums.are_equal:
            raise DataLoss(
                f"the copy of `{self.name}` has {sums.copy.count} documents where the database has "
                f"{sums.source.count}, or others",
                reason="CopyDiffers",
            )

    # The end --------------------------------------------------------------------------------------

    async def complete(self) -> None:
        """What else it takes to be the database, once nothing is written to that any more: records
        of its indexes, a head above all that it has shown, and its incarnation, so that tokens of
        transactions and pages stay good."""
        database = await self._source()
        start, end = keys.subtree_span(INDEXES)
        async with database.snapshot() as snapshot:
            if snapshot.version != self.position.followed:
                raise DataLoss(
                    f"`{self.name}` was written to while it was fenced", reason="FenceBroken"
                )
            records = await snapshot.scan_keys(start, end, limit=_INDEXES_MAX)
            await Loader(self._engine, snapshot.version, goes_on=True).add_indexes(records)
            with baas_errors():
                head = (await self._engine.read_head()).version
                if self._has_history or head <= snapshot.version:
                    await self._commit([], snapshot.version)
        await self._trim()
        with baas_errors():
            if self._has_superseded:  # some of it may have been erased since
                await self._engine.note_traces()
            await self._engine.start_incarnation(database.incarnation)

    async def hold(self, move: str) -> None:
        """Who takes the copy for the database may read it, and write once it is released."""
        with baas_errors():
            await self._engine.fence(move)

    async def release(self, move: str) -> None:
        with baas_errors():
            await self._engine.unfence(move)

    async def close(self) -> None:
        await self._engine.close()


def _window_bytes(place: ScanPlace | None) -> int:
    windows = 0 if place is None else len(place.ends)
    return min(WINDOW_BYTES_MAX, WINDOW_BYTES * (1 + windows // _WINDOWS))


_Image = tuple[bytes, DocumentPath, StoredDocument | None]


def _are_same(one: StoredDocument | None, other: StoredDocument | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.created, one.version, one.data) == (other.created, other.version, other.data)


def _lines(documents: Sequence[StoredDocument | None]) -> list[bytes]:
    return [encode_document(one) for one in documents if one is not None]


def _add_all(digest: LinesDigest, documents: Sequence[StoredDocument]) -> None:
    digest.add(_lines([one for one in documents if not is_reserved(one.path)]))
