"""Jobs: long work on a database that goes on chunk by chunk, on whichever node, whatever restarts.

projects/{project}/jobs/{job}       what is to be done, how far it has come, who is at it
running_jobs/{project}.{job}        its project and id, while it is not over: how nodes find work

Both in the server's system database. A job belongs to the node whose claim has not run out; the
claim is renewed with each chunk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, cast

from baas.clock import Clock, is_claimed, new_document_id
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import FailedPrecondition, NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import is_id, project_collection, project_document

RUNNING = CollectionPath(("running_jobs",))
RUNNING_MAX = 10  # of a project
KEPT_MAX = 100  # of a project; the oldest that are over are forgotten
CLAIM_SECONDS = 30


class JobKind(Enum):
    DELETE_RECURSIVE = "delete-recursive"
    UPDATE_BY_QUERY = "update-by-query"
    ERASE_BY_QUERY = "erase-by-query"
    RESTORE = "restore"
    CHECK_SCHEMAS = "check-schemas"
    DEPLOY_SCHEMAS = "deploy-schemas"


class JobState(Enum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """`seen` of `total` documents (None: not known) were looked at, `written` were changed, and
    `failed` could not be; `cursor` is the last one that was looked at. `images`: what documents
    were, and was erased."""

    seen: int = 0
    written: int = 0
    failed: int = 0
    total: int | None = None
    cursor: str | None = None
    chunks: int = 0
    first_failure: Fields | None = None
    images: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """`spec` is what was asked, as JSON text. `database` None: it works on all of the project's.
    `incarnation` is the database's: another one, such as a restored one, is left alone. `found` is
    JSON text, too: what the job has to tell."""

    project: str
    id: str
    database: str | None
    incarnation: str
    kind: JobKind
    spec: str
    state: JobState
    created: Timestamp
    updated: Timestamp
    author: str | None = None
    error: str | None = None
    node: str = ""
    claimed_until: int = 0  # microseconds since 1970
    progress: Progress = field(default_factory=Progress)
    found: str = "[]"

    @property
    def name(self) -> DatabaseName:
        """The database that it works on."""
        assert self.database is not None
        return DatabaseName(self.project, self.database)

    def to_fields(self) -> Fields:
        progress = self.progress
        return {
            "database": self.database,
            "incarnation": self.incarnation,
            "kind": self.kind.value,
            "spec": self.spec,
            "state": self.state.value,
            "created": self.created,
            "updated": self.updated,
            "author": self.author,
            "error": self.error,
            "node": self.node,
            "claimed_until": self.claimed_until,
            "seen": progress.seen,
            "written": progress.written,
            "failed": progress.failed,
            "total": progress.total,
            "cursor": progress.cursor,
            "chunks": progress.chunks,
            "first_failure": progress.first_failure,
            "images": progress.images,
            "found": self.found,
        }


@dataclass(frozen=True, slots=True)
class _Work:
    kind: JobKind
    spec: str
    author: str | None
    total: int | None
    database: str | None = None
    incarnation: str = ""
    identifier: str | None = None

    def is_of(self, job: Job) -> bool:
        """Whether a job was made for this."""
        asked = (self.kind, self.spec, self.database)
        return (job.kind, job.spec, job.database) == asked


class Jobs:
    """The jobs of all projects. `node` is this one's name."""

    def __init__(self, databases: Databases, clock: Clock, *, node: str) -> None:
        self.on_created: Callable[[Job], None] = lambda job: None
        # What belongs to the commit that ends a job of some kind.
        self.endings: dict[JobKind, Callable[[Transaction, Job], Awaitable[None]]] = {}
        self._clock = clock
        self._node = node
        self._store = SystemStore(databases, clock, lambda project, event: None)

    async def create(
        self,
        database: Database,
        kind: JobKind,
        spec: str,
        *,
        author: str | None,
        total: int | None,
        begin: Callable[[Transaction, Job], Awaitable[None]] | None = None,
        identifier: str | None = None,
    ) -> Job:
        """A new job of this node's, on a database. `begin` belongs to the commit that makes it.
        Of an identifier that has been given before, the job that was made then. Raises
        FailedPrecondition (`TooManyJobs`; `IdempotencyKeyReused`: it was asked to do another
        thing)."""
        name = database.name
        work = _Work(kind, spec, author, total, name.database, database.incarnation, identifier)
        begin = begin or (lambda transaction, job: _nothing())
        return await self._create(name.project, work, begin)

    async def create_for_all(
        self,
        project: str,
        kind: JobKind,
        spec: str,
        *,
        author: str | None,
        total: int | None,
        begin: Callable[[Transaction, Job], Awaitable[None]],
    ) -> Job:
        """A new job on all databases of a project. `begin` belongs to the commit that makes it.
        Raises also what that raises."""
        return await self._create(project, _Work(kind, spec, author, total), begin)

    async def _create(
        self, project: str, work: _Work, begin: Callable[[Transaction, Job], Awaitable[None]]
    ) -> Job:
        async def body(transaction: Transaction) -> Job:
            known = await _read(transaction, project)
            made = [one for one in known if one.id == work.identifier]
            if made and not work.is_of(made[0]):
                raise FailedPrecondition(
                    "this idempotency key was used for another job; draw a new key for a new one",
                    reason="IdempotencyKeyReused",
                )
            if made:
                return made[0]
            if sum(one.state is JobState.RUNNING for one in known) >= RUNNING_MAX:
                raise FailedPrecondition(
                    f"a project has at most {RUNNING_MAX} jobs at a time; cancel one, or wait",
                    reason="TooManyJobs",
                )
            now = transaction.request_time
            job = Job(
                project,
                work.identifier or new_document_id(self._clock),
                work.database,
                work.incarnation,
                work.kind,
                work.spec,
                JobState.RUNNING,
                created=now,
                updated=now,
                author=work.author,
                progress=Progress(total=work.total),
            )
            over = [one for one in known if one.state is not JobState.RUNNING]
            over.sort(key=lambda one: one.created.microseconds)
            writes: list[Write] = [
                DeleteWrite(_path(one.project, one.id)) for one in over[: len(known) - KEPT_MAX + 1]
            ]
            job = self._claimed(job)
            writes += [_save(job), SetWrite(_running(job), {"project": project, "job": job.id})]
            await transaction.write(writes)
            await begin(transaction, job)
            return job

        job = await self._store.run(None, body)
        self.on_created(job)
        return job

    async def get(self, project: str, identifier: str) -> Job:
        """As committed, and so is what else the job's commits have changed, for whoever acts upon
        it. Raises NotFound (`JobNotFound`)."""
        if not is_id(identifier):
            raise job_not_found(identifier)
        document = await self._store.read(None, _path(project, identifier))
        if document is None:
            raise job_not_found(identifier)
        return _open(document)

    async def list_all(self, project: str) -> list[Job]:
        """A project's jobs, newest first: those that run and the last ones that are over."""
        found = await self._store.run_query(None, Query(project_collection(project, "jobs")))
        jobs = [_open(document) for document in found]
        return sorted(jobs, key=lambda job: -job.created.microseconds)

    async def cancel(self, project: str, identifier: str) -> Job:
        """Ends a job after the chunk that it is at; what it has done stays. Raises NotFound
        (`JobNotFound`), FailedPrecondition (`JobIsOver`)."""
        await self.get(project, identifier)

        async def body(transaction: Transaction) -> Job:
            job = await _get(transaction, project, identifier)
            if job is None:
                raise job_not_found(identifier)
            if job.state is not JobState.RUNNING:
                raise FailedPrecondition(
                    f"the job is over: it is {job.state.value}", reason="JobIsOver"
                )
            over = replace(job, state=JobState.CANCELLED, updated=transaction.request_time)
            await transaction.write([_save(over), DeleteWrite(_running(job))])
            await self._end(transaction, over)
            return over

        return await self._store.run(None, body)

    async def find_waiting(self) -> list[tuple[str, str]]:
        """Project and id of the jobs that are not over; some may be another node's."""
        database = await self._store.open(None)
        found = await database.run_query(Query(RUNNING))
        return [(str(one.fields["project"]), str(one.fields["job"])) for one in found.documents]

    async def claim(self, project: str, identifier: str) -> Job | None:
        """Takes a job over, if nobody is at it. None: somebody is, or it is over."""

        async def body(transaction: Transaction) -> Job | None:
            job = await _get(transaction, project, identifier)
            if job is None or job.state is not JobState.RUNNING:
                path = RUNNING.document(f"{project}.{identifier}")
                await transaction.write([DeleteWrite(path)])
                return None
            now = self._clock.now_microseconds()
            if job.node != self._node and is_claimed(job.claimed_until, now, CLAIM_SECONDS):
                return None
            job = self._claimed(job)
            await transaction.write([_save(job)])
            return job

        return await self._store.run(None, body)

    async def save(
        self,
        job: Job,
        progress: Progress,
        state: JobState = JobState.RUNNING,
        error: str | None = None,
        *,
        found: str | None = None,
    ) -> Job | None:
        """Notes how far a job has come and what it has to tell, and renews the claim. None: it is
        no longer this node's to go on with."""

        async def body(transaction: Transaction) -> Job | None:
            known = await _get(transaction, job.project, job.id)
            if known is None or known.state is not JobState.RUNNING or known.node != self._node:
                return None
            now = transaction.request_time
            saved = replace(known, progress=progress, state=state, error=error, updated=now)
            saved = saved if found is None else replace(saved, found=found)
            writes: list[Write] = [_save(self._claimed(saved))]
            if state is not JobState.RUNNING:
                writes.append(DeleteWrite(_running(job)))
            await transaction.write(writes)
            if state is not JobState.RUNNING:
                await self._end(transaction, saved)
            return saved if state is JobState.RUNNING else None

        return await self._store.run(None, body)

    async def run(self, job: Job, body: Callable[[Transaction], Awaitable[None]]) -> bool:
        """Runs a transaction of the server's own database while the job is this node's to go on
        with; else False."""

        async def checked(transaction: Transaction) -> bool:
            known = await _get(transaction, job.project, job.id)
            if known is None or known.state is not JobState.RUNNING or known.node != self._node:
                return False
            await body(transaction)
            return True

        return await self._store.run(None, checked)

    async def _end(self, transaction: Transaction, job: Job) -> None:
        ending = self.endings.get(job.kind)
        if ending is not None:
            await ending(transaction, job)

    def _claimed(self, job: Job) -> Job:
        until = self._clock.now_microseconds() + CLAIM_SECONDS * 1_000_000
        return replace(job, node=self._node, claimed_until=until)


async def _nothing() -> None:
    """There is no more to a job's beginning."""


async def _read(transaction: Transaction, project: str) -> Sequence[Job]:
    found = await transaction.run_query(Query(project_collection(project, "jobs")))
    return [_open(document) for document in found.documents]


async def is_running(transaction: Transaction, project: str, identifier: str) -> bool:
    """Whether there is such a job, and it is not over."""
    job = await _get(transaction, project, identifier)
    return job is not None and job.state is JobState.RUNNING


async def _get(transaction: Transaction, project: str, identifier: str) -> Job | None:
    (document,) = await transaction.get_documents([_path(project, identifier)])
    return None if document is None else _open(document)


def _path(project: str, identifier: str) -> DocumentPath:
    return project_document(project, "jobs", identifier)


def _running(job: Job) -> DocumentPath:
    return RUNNING.document(f"{job.project}.{job.id}")


def _save(job: Job) -> SetWrite:
    return SetWrite(_path(job.project, job.id), job.to_fields())


def job_not_found(identifier: str) -> NotFound:
    """The error of a job that is not there, or of which the caller may not know."""
    return NotFound(f"there is no job `{identifier[:80]}`", reason="JobNotFound")


def _open(document: DocumentLike) -> Job:
    fields = cast("dict[str, Any]", document.fields)
    return Job(
        document.path.segments[1],
        document.path.segments[-1],
        fields["database"],
        fields["incarnation"],
        JobKind(fields["kind"]),
        fields["spec"],
        JobState(fields["state"]),
        fields["created"],
        fields["updated"],
        fields["author"],
        fields["error"],
        fields["node"],
        fields["claimed_until"],
        Progress(
            fields["seen"],
            fields["written"],
            fields["failed"],
            fields["total"],
            fields["cursor"],
            fields["chunks"],
            fields["first_failure"],
            fields.get("images", 0),
        ),
        fields.get("found", "[]"),
    )
