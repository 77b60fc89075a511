"""Erasing all documents of a query, chunk by chunk, as a job does it: see `erasures`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.transaction import Transaction
from baas.model.paths import DocumentPath
from baas.model.queries import Query, matches
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite
from baas.projects.jobs import Job, Progress
from baas.services.job_pages import JobPage, read_page


@dataclass(frozen=True, slots=True)
class EraseByQuery:
    """All that documents of `query` were; with `present` what they are, too. `rewrite`: see
    `StorageEngine.scrub`."""

    query: Query
    present: bool
    rewrite: bool


async def run_erasure(
    database: Database, job: Job, asked: EraseByQuery, now_microseconds: int
) -> tuple[Progress, bool]:
    """The next chunk; how far the job has come with it, and whether it was the last one.

    What is deleted can't be found by the query any more. So a chunk whose deletion was committed
    already, before it broke off, finds its documents in the log.
    """
    progress = job.progress
    page = await read_page(database, asked.query, progress.cursor)
    chunk = _Chunk(len(page.documents), page.cursor, page.is_last)
    if asked.present:
        now = Timestamp(milliseconds_only(now_microseconds))
        chunk, paths = await _delete(database, job, asked.query, page, now)
    else:
        paths = [one.path for one in page.documents if matches(asked.query, one)]
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


async def _delete(
    database: Database, job: Job, query: Query, page: JobPage, now: Timestamp
) -> tuple[_Chunk, list[DocumentPath]]:
    """Deletes the documents of a page that match still, or finds those that were."""
    named = [one.path for one in page.documents]

    async def body(transaction: Transaction) -> list[DocumentPath]:
        found = await transaction.get_documents(named)
        doomed = [one.path for one in found if one is not None and matches(query, one)]
        await transaction.write([DeleteWrite(path) for path in doomed])
        transaction.memo = asdict(_Chunk(len(named), page.cursor, page.is_last))
        return doomed

    result = await database.run_transaction(
        body, request_time=now, request_id=f"job:{job.id}:{job.progress.chunks}"
    )
    if result.replayed:
        async with database.snapshot() as snapshot:
            records = await snapshot.read_log(result.version - 1, limit=1)
        deleted = [one.path for one in records if one.version == result.version]
    else:
        deleted = result.value
    return _Chunk(**result.memo), deleted
