"""Use cases on jobs: recursive deletion and update by query, for administrators and secret keys;
erasure by query, for administrators. Rules do not apply. **Not atomic**: chunks of at most 500
documents are committed one after the other, in the order of their names; what is written meanwhile
behind the place where a job is stays as it is.

Each chunk is done exactly once, whatever breaks off: it is a commit with an id of its own, which
also keeps where the next one begins.

Secret keys of a project are one caller: they know of the jobs that such a key has begun, and of no
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import orjson

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, DeadlineExceeded, Internal, PermissionDenied
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.jobs import Job, JobKind, Progress, job_not_found
from baas.services.admins import check_is_admin
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context
from baas.services.documents import caller_request_id, open_database
from baas.services.erasing_jobs import EraseByQuery, run_erasure
from baas.services.job_pages import check_bare, read_page, visited
from baas.services.job_steps import CHUNK_BYTES_MAX, CHUNK_DOCUMENTS_MAX, Step
from baas.services.restores import Restore, next_pass, next_restores
from baas.services.schema_guard import check_schemas_each, prepare

_KEY_AUTHOR = "secret-key:"  # and the key's id


@dataclass(frozen=True, slots=True)
class UpdateByQuery:
    """`update` is to be made of every document of `query`; its path means nothing."""

    query: Query
    update: SetWrite


@dataclass(frozen=True, slots=True)
class ReadAsked:
    """Reads what a face has written down."""

    update: Callable[[Any], UpdateByQuery]
    query: Callable[[Any], Query]


async def start_deletion(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    path: CollectionPath | DocumentPath,
    *,
    request_id: str | None = None,
) -> Job:
    """Deletes a document or all of a collection's, with everything below, as a job. One that is
    asked for again with its caller's request id is begun once, as long as it is kept. Raises
    PermissionDenied, NotFound, FailedPrecondition (`TooManyJobs`, `IdempotencyKeyReused`)."""
    _check_bypasses_rules(caller)
    database = await _open(context, name)
    async with database.snapshot() as snapshot:
        total = await _count(snapshot.count_below(path))
    spec = orjson.dumps({"path": str(path)}).decode()
    return await _begin_once(
        context, caller, database, JobKind.DELETE_RECURSIVE, spec, total, request_id
    )


async def start_update(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    asked: UpdateByQuery,
    spec: str,
    *,
    request_id: str | None = None,
) -> Job:
    """Updates every document of a query, as a job; `spec` is what the face will read again. Begun
    once and raises as `start_deletion`, and InvalidQuery for orders, limits, offsets, cursors and
    projections."""
    _check_bypasses_rules(caller)
    query = asked.query
    check_bare(query, context.settings.limits, "an update by query")
    database = await _open(context, name)
    async with database.snapshot() as snapshot:
        total = await _count(snapshot.count(visited(query)))
    return await _begin_once(
        context, caller, database, JobKind.UPDATE_BY_QUERY, spec, total, request_id
    )


async def _begin_once(
    context: Context,
    caller: Caller,
    database: Database,
    kind: JobKind,
    spec: str,
    total: int | None,
    request_id: str | None,
) -> Job:
    return await context.jobs.create(
        database,
        kind,
        spec,
        author=_author(caller),
        total=total,
        identifier=_identifier(caller, request_id),
    )


async def start_erasure(
    context: Context, caller: Caller, name: DatabaseName, asked: EraseByQuery, query_spec: Any
) -> Job:
    """Erases all that documents of a query were, as a job; `query_spec` is what the face will read
    the query from again. It is on record from its beginning. Raises as `start_update`."""
    check_is_admin(caller)
    check_bare(asked.query, context.settings.limits, "an erasure by query")
    database = await _open(context, name)
    async with database.snapshot() as snapshot:
        total = None if asked.deleted else await _count(snapshot.count(visited(asked.query)))
        since = snapshot.version
    tree = {
        "query": query_spec,
        "present": asked.present,
        "deleted": asked.deleted,
        "rewrite": asked.rewrite,
        "since": since,
    }
    return await context.jobs.create(
        database,
        JobKind.ERASE_BY_QUERY,
        orjson.dumps(tree).decode(),
        author=caller.uid,
        total=total,
        begin=context.erasures.begin,
    )


async def _count(counting: Awaitable[int]) -> int | None:
    """The number tells how far a job is; it goes on without one that takes too long to tell."""
    try:
        return await counting
    except DeadlineExceeded:
        return None


async def get_job(context: Context, caller: Caller, project: str, identifier: str) -> Job:
    """Raises NotFound (`JobNotFound`, `ProjectNotFound`)."""
    _check_bypasses_rules(caller)
    await context.projects.get_project(project)
    job = await context.jobs.get(project, identifier)
    if not _may_know(caller, job):
        raise job_not_found(identifier)
    return job


async def list_jobs(context: Context, caller: Caller, project: str) -> list[Job]:
    """Newest first; the last hundred."""
    _check_bypasses_rules(caller)
    await context.projects.get_project(project)
    found = await context.jobs.list_all(project)
    return [job for job in found if _may_know(caller, job)]


async def cancel_job(context: Context, caller: Caller, project: str, identifier: str) -> Job:
    """Ends a job after the chunk that it is at. Raises NotFound, FailedPrecondition."""
    await get_job(context, caller, project, identifier)
    return await context.jobs.cancel(project, identifier)


def _check_bypasses_rules(caller: Caller) -> None:
    if not caller.bypasses_rules:
        raise PermissionDenied(
            "jobs are for administrators, and for servers with a secret key of the project",
            reason="SecretKeyNeeded",
        )


def _author(caller: Caller) -> str | None:
    if caller.kind is CallerKind.SECRET_KEY:
        return f"{_KEY_AUTHOR}{caller.session}"
    return caller.uid


def _may_know(caller: Caller, job: Job) -> bool:
    is_of_key = job.author is not None and job.author.startswith(_KEY_AUTHOR)
    return caller.kind is CallerKind.ADMIN or is_of_key


def _identifier(caller: Caller, request_id: str | None) -> str | None:
    """The id of a job that is asked for under a request id: within its caller's own."""
    if request_id is None:
        return None
    scoped = caller_request_id(caller, request_id, b"")
    assert scoped is not None
    return hashlib.blake2b(scoped.encode(), digest_size=15).hexdigest()


async def _open(context: Context, name: DatabaseName) -> Database:
    await context.projects.check_database(name)
    return await open_database(context, name)


# Chunks


@dataclass(frozen=True, slots=True)
class Chunk:
    """How far a job has come with it, and whether it was the last one."""

    progress: Progress
    is_last: bool


async def run_chunk(context: Context, database: Database, job: Job, read: ReadAsked) -> Chunk:
    """Does the next chunk, if that was not done already. Raises BaasError."""
    spec = orjson.loads(job.spec)
    if job.kind is JobKind.ERASE_BY_QUERY:
        since = spec.get("since", job.created.microseconds)
        asked = EraseByQuery(
            read.query(spec["query"]), spec["present"], spec["deleted"], spec["rewrite"], since
        )
        made = Chunk(*await run_erasure(database, job, asked, context.clock.now_microseconds()))
        context.denials.forget_values(job.project)
        return made
    step = await _next_step(database, job, spec, read)

    async def body(transaction: Transaction) -> None:
        writes: list[Write] = []
        documents = await transaction.get_documents(step.paths)
        for path, document in zip(step.paths, documents, strict=True):
            write = step.make(path, document)
            if write is not None:
                writes.append(write)
        failed = await transaction.write_each(writes)
        unfit = await check_schemas_each(
            context, database.name.project, transaction, is_atomic=True
        )
        unfit |= transaction.stage_each()
        errors = {writes[place].path.segments: error for place, error in failed.items()} | unfit
        written = len(writes) - len(errors)
        errors |= step.unfit
        transaction.memo = {
            "seen": len(step.paths) + len(step.unfit),
            "written": written,
            "failed": len(errors),
            "cursor": step.cursor,
            "is_last": step.is_last,
            "first_failure": _first_failure(errors),
        }

    now = Timestamp(milliseconds_only(context.clock.now_microseconds()))
    await prepare(context, database)
    result = await database.run_transaction(
        body, request_time=now, request_id=f"job:{job.id}:{job.progress.chunks}"
    )
    made = _added(job.progress, result.memo)
    if made.is_last and job.kind is JobKind.RESTORE:
        again = next_pass(made.progress, Restore.read(spec))
        if again is not None:
            return Chunk(again, is_last=False)
    return made


def _added(progress: Progress, memo: dict[str, Any]) -> Chunk:
    return Chunk(
        Progress(
            seen=progress.seen + memo["seen"],
            written=progress.written + memo["written"],
            failed=progress.failed + memo["failed"],
            total=progress.total,
            cursor=memo["cursor"] or progress.cursor,
            chunks=progress.chunks + 1,
            first_failure=progress.first_failure or memo["first_failure"],
        ),
        memo["is_last"],
    )


def _first_failure(errors: dict[tuple[str, ...], BaasError]) -> dict[str, str] | None:
    for segments, error in errors.items():
        return {"path": "/".join(segments), "reason": error.reason, "message": error.message}
    return None


async def _next_step(database: Database, job: Job, spec: Any, read: ReadAsked) -> Step:
    match job.kind:
        case JobKind.DELETE_RECURSIVE:
            return await _next_deletions(database, job, spec["path"])
        case JobKind.UPDATE_BY_QUERY:
            return await _next_updates(database, job, read.update(spec))
        case JobKind.RESTORE:
            return await next_restores(database, job.progress.cursor, Restore.read(spec))
        case JobKind.CHECK_SCHEMAS | JobKind.DEPLOY_SCHEMAS | JobKind.ERASE_BY_QUERY:
            raise Internal("jobs of this kind have no steps of this kind")
        case _:
            assert_never(job.kind)


async def _next_deletions(database: Database, job: Job, text: str) -> Step:
    """The next documents below a path."""
    path: CollectionPath | DocumentPath
    is_document = text.count("/") % 2 == 1
    path = DocumentPath.parse(text) if is_document else CollectionPath.parse(text)
    after = None if job.progress.cursor is None else DocumentPath.parse(job.progress.cursor)
    async with database.snapshot() as snapshot:
        found = await snapshot.scan_below(
            path, after=after, limit=CHUNK_DOCUMENTS_MAX, bytes_max=CHUNK_BYTES_MAX
        )
    is_last = not found
    if not found and is_document and job.progress.cursor != text:
        # Itself at last: until then it can be found, and the job begun again.
        assert isinstance(path, DocumentPath)
        found = [path]
    return Step(found, _delete, _cursor(found), is_last)


def _delete(path: DocumentPath, document: StoredDocument | None) -> Write | None:
    return None if document is None else DeleteWrite(path)  # it is gone meanwhile


async def _next_updates(database: Database, job: Job, asked: UpdateByQuery) -> Step:
    """The next documents that an update may concern."""
    page = await read_page(database, asked.query, job.progress.cursor)

    def update(path: DocumentPath, document: StoredDocument | None) -> Write | None:
        if document is None or not matches(asked.query, document):
            return None
        return replace(asked.update, path=path)

    return Step([one.path for one in page.documents], update, page.cursor, page.is_last)


def _cursor(paths: Sequence[DocumentPath]) -> str | None:
    return str(paths[-1]) if paths else None
