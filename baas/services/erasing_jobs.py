"""Erasing all documents of a query, chunk by chunk, as a job does it: see `erasures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.read_snapshot import ReadSnapshot
from baas.database.transaction import Transaction
from baas.errors import ResumeTokenExpired
from baas.model.documents import DocumentLike
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite
from baas.projects.jobs import Job, Progress
from baas.services.job_pages import JobPage, read_page
from baas.services.job_steps import CHUNK_DOCUMENTS_MAX
from baas.storage.engine import LogRecord

_LOG = "log:"  # begins a cursor that is a version; no path of a document is without a slash
_LOG_PAGE = 500
_SCANNED_MAX = 5_000  # records of the log in one chunk
_IMAGES = 16  # read at a time, of up to a MiB each


@dataclass(frozen=True, slots=True)
class EraseByQuery:
    """All that documents of `query` were; with `present` what they are, too; with `deleted` also
    of those that matched when they were deleted, and are not there. Else that is so of those only
    that were deleted after version `since`, at which the job began, by whomever. `rewrite`: see
    `StorageEngine.scrub`."""

    query: Query
    present: bool
    deleted: bool
    rewrite: bool
    since: int = 0


async def run_erasure(
    database: Database, job: Job, asked: EraseByQuery, now_microseconds: int
) -> tuple[Progress, bool]:
    """The next chunk; how far the job has come with it, and whether it was the last one.

    What is deleted can't be found by the query any more, be it by others while the job ran, or by a
    chunk that broke off then. So the log is gone through at the end.
    """
    progress = job.progress
    if progress.cursor is not None and progress.cursor.startswith(_LOG):
        chunk, paths = await _read_deleted(database, asked.query, progress.cursor)
    else:
        chunk, paths = await _take_present(database, job, asked, now_microseconds)
    images = sum(await database.eraser.erase(paths))
    if chunk.is_last:
        await database.eraser.scrub(rewrite=asked.rewrite)
    progress = replace(
        progress,
        seen=progress.seen + chunk.seen,
        written=progress.written + len(paths),
        images=progress.images + images,
        cursor=chunk.cursor or progress.cursor,
        chunks=progress.chunks + 1,
    )
    return progress, chunk.is_last


@dataclass(frozen=True, slots=True)
class _Chunk:
    """How many documents were looked at, and where the next one begins."""

    seen: int
    cursor: str | None
    is_last: bool


async def _take_present(
    database: Database, job: Job, asked: EraseByQuery, now_microseconds: int
) -> tuple[_Chunk, list[DocumentPath]]:
    """The next documents that match as they are; those that are to be deleted have been."""
    page = await read_page(database, asked.query, job.progress.cursor)
    chunk = _Chunk(len(page.documents), page.cursor, page.is_last)
    if asked.present:
        now = Timestamp(milliseconds_only(now_microseconds))
        chunk, paths = await _delete(database, job, asked.query, page, now)
    else:
        paths = [one.path for one in page.documents if matches(asked.query, one)]
    if chunk.is_last:
        since = 0 if asked.deleted else asked.since
        chunk = replace(chunk, cursor=f"{_LOG}{since}", is_last=False)
    return chunk, paths


async def _read_deleted(
    database: Database, query: Query, cursor: str
) -> tuple[_Chunk, list[DocumentPath]]:
    """The next documents that the log knows to have been deleted, if what they held then matches.
    What is forgotten of the log has no past that could be erased."""
    after = max(int(cursor.removeprefix(_LOG)), (await database.retention.read_kept()).oldest)
    whole = replace(query, where=None)  # which looks at paths only, and records have one
    found: dict[DocumentPath, None] = {}
    seen = scanned = 0
    async with database.snapshot() as snapshot:
        while scanned < _SCANNED_MAX and len(found) < CHUNK_DOCUMENTS_MAX:
            try:
                records = await snapshot.read_log(after, limit=_LOG_PAGE)
            except ResumeTokenExpired:
                break  # it was trimmed just now: the next chunk begins where it begins
            if not records:
                return _Chunk(seen, f"{_LOG}{after}", True), list(found)
            gone = [
                one for one in records if one.deleted and matches(whole, cast("DocumentLike", one))
            ]
            for start in range(0, len(gone), _IMAGES):
                some = gone[start : start + _IMAGES]
                known, matching = await _match_deleted(snapshot, query, some)
                seen += known
                found |= dict.fromkeys(matching)
            scanned, after = scanned + len(records), records[-1].version
    return _Chunk(seen, f"{_LOG}{after}", False), list(found)


async def _match_deleted(
    snapshot: ReadSnapshot, query: Query, records: Sequence[LogRecord]
) -> tuple[int, list[DocumentPath]]:
    """How many are not erased yet, and which of these are wanted."""
    paths = [one.path for one in records]
    last = await snapshot.get_images([(one.path, one.version - 1) for one in records])
    kept = [
        (path, image)
        for path, image in zip(paths, last, strict=True)
        if image is not None and not image.is_erased
    ]
    wanted = [path for path, image in kept if matches(query, image)]
    now = await snapshot.get_documents(wanted)
    gone = [path for path, document in zip(wanted, now, strict=True) if document is None]
    return len(kept), gone


async def _delete(
    database: Database, job: Job, query: Query, page: JobPage, now: Timestamp
) -> tuple[_Chunk, list[DocumentPath]]:
    """Deletes the documents of a page that match still. Those of a chunk that broke off are left to
    the log: whoever deleted them, they are found there."""
    named = [one.path for one in page.documents]

    async def body(transaction: Transaction) -> list[DocumentPath]:
        found = await transaction.get_documents(named)
        doomed = [one.path for one in found if one is not None and matches(query, one)]
        await transaction.write([DeleteWrite(path) for path in doomed])
        transaction.memo = asdict(_Chunk(len(named) - len(doomed), page.cursor, page.is_last))
        return doomed

    result = await database.run_transaction(
        body, request_time=now, request_id=f"job:{job.id}:{job.progress.chunks}"
    )
    chunk, deleted = _Chunk(**result.memo), [] if result.replayed else result.value
    return replace(chunk, seen=chunk.seen + len(deleted)), deleted
