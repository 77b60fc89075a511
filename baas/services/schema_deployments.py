"""Deploying schemas: as a job, which looks at what is stored before they are in force. For
administrators.

    scan      what is stored, database by database: writes know nothing of the draft yet
    follow    what was changed since, as the log tells, until little of it is left
    hold      the draft is obeyed by every write beside what is in force: it is published, then a
              signal is committed in each database, above which no node writes without it
    verify    what was changed between the scan and that signal
    the end   the commit that ends the job puts the draft in force, or drops it

So nothing is stored that nobody has looked at, whichever node wrote it: up to the signal the job
sees it, above it the writer itself has asked the draft. Writers are refused for the sake of a
draft only during the last, short part. Where the log does not reach back, verify scans.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.errors import BaasError, FailedPrecondition, ResumeTokenExpired
from baas.projects.jobs import Job, JobKind, JobState, Progress
from baas.projects.schema_releases import SCHEMAS, SchemaDeployment, SchemaRelease
from baas.projects.schemas import SchemaSet
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database
from baas.services.rulesets import author_of
from baas.services.schema_guard import define_indexes
from baas.services.schemas import (
    CHECK_PAGE_MAX,
    CheckPage,
    check_changed,
    check_slice,
    count_documents,
)

FOUND_MAX = 100  # documents that a job tells of, with what is wrong; others are counted
FOUND_BYTES_MAX = 64 * 1024
STEP_SECONDS = 0.25  # between two times that progress is written down
_PAUSE_SECONDS = 0.05
_POLL_SECONDS = 0.02
_POLL_SECONDS_MAX = 0.5
KINDS = (JobKind.CHECK_SCHEMAS, JobKind.DEPLOY_SCHEMAS)


async def start_deployment(
    context: Context,
    caller: Caller,
    project: str,
    sources: object,
    deployment: SchemaDeployment,
    *,
    allow_existing: bool = False,
    dry_run: bool = False,
) -> Job:
    """Begins to put these schemas in force in all databases of the project, in place of those that
    were. Unless `allow_existing`, what is stored is checked, as far as schemas are new; with
    `dry_run` nothing else happens. Cancelling the job leaves everything as it was.

    Raises SchemaRejected, FailedPrecondition (`ReleaseChanged`, `DeploymentRunning`,
    `TooManyJobs`), QuotaExceeded (`TooManyIndexes`), InvalidArgument, NotFound. The job fails with
    `ExistingViolations`, and tells of the first FOUND_MAX documents.
    """
    check_is_admin(caller)
    known = await context.projects.get_project(project)
    releases = context.projects.schemas
    schemas = await releases.compile(sources)
    checks = dry_run or not allow_existing
    if checks:
        fresh = _fresh(schemas, (await releases.get_release(project)).sources)
        for database in known.databases if fresh.unique else ():
            await define_indexes(
                await open_database(context, DatabaseName(project, database)), fresh.unique
            )
    draft = releases.new_id()
    author = author_of(caller)
    return await context.jobs.create_for_all(
        project,
        JobKind.CHECK_SCHEMAS if dry_run else JobKind.DEPLOY_SCHEMAS,
        orjson.dumps({"release": draft, "check": checks, "message": deployment.message}).decode(),
        author=caller.uid,
        total=None,
        begin=releases.beginning(project, draft, schemas, replace(deployment, author=author)),
    )


async def deploy_schemas(
    context: Context,
    caller: Caller,
    project: str,
    sources: object,
    deployment: SchemaDeployment,
    *,
    allow_existing: bool = False,
) -> SchemaRelease:
    """As `start_deployment`, and waits for the end. Raises also FailedPrecondition
    (`ExistingViolations`, with the first documents in `details["found"]`; `CheckTooLong` after
    `schema_check_seconds_max`). Nothing has changed then."""
    job = await start_deployment(
        context, caller, project, sources, deployment, allow_existing=allow_existing
    )
    seconds = context.settings.limits.schema_check_seconds_max
    try:
        async with asyncio.timeout(seconds):
            job = await _wait_over(context, job)
    except TimeoutError:
        with suppress(FailedPrecondition):  # it was over at the last moment
            await context.jobs.cancel(project, job.id)
        job = await context.jobs.get(project, job.id)
        if job.state is JobState.CANCELLED:
            raise _too_long(job, seconds) from None
    except asyncio.CancelledError:
        with suppress(BaasError):
            await context.jobs.cancel(project, job.id)
        raise
    if job.state is not JobState.DONE:
        raise _as_error(job)
    return await context.projects.schemas.get_release(project, orjson.loads(job.spec)["release"])


async def _wait_over(context: Context, job: Job) -> Job:
    pause = _POLL_SECONDS
    while job.state is JobState.RUNNING:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _POLL_SECONDS_MAX)
        job = await context.jobs.get(job.project, job.id)
    return job


def _too_long(job: Job, seconds: float) -> FailedPrecondition:
    checked = job.progress.seen
    return FailedPrecondition(
        f"looking at what is stored takes more than {seconds} s ({checked} documents were checked, "
        "and fit); deploy by a job, as `baas schema deploy` does (`schemas:deploy`)",
        reason="CheckTooLong",
        details={"checked": checked},
    )


def _as_error(job: Job) -> FailedPrecondition:
    if job.state is JobState.CANCELLED:
        return FailedPrecondition("the deployment was cancelled", reason="DeploymentCancelled")
    reason, _, message = (job.error or "").partition(": ")
    found = orjson.loads(job.found)[:20]
    details = {"database": found[0]["database"], "found": found} if found else None
    return FailedPrecondition(message, reason=reason, details=details)


# Steps of the job -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Place:
    """Where a job is: in which phase, at which database, behind which document. `since`: the
    version of each database that was scanned; `until`: that of its signal."""

    phase: str = "scan"
    database: int = 0
    token: str | None = None
    is_begun: bool = False  # the scan of this database
    since: dict[str, int] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)

    def enter(self, phase: str) -> None:
        self.phase, self.database, self.token, self.is_begun = phase, 0, None, False

    def go_on(self) -> None:
        """To the next database."""
        self.database, self.token, self.is_begun = self.database + 1, None, False


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a step has come. `error`: the job has failed."""

    progress: Progress
    found: str
    is_last: bool
    error: BaasError | None = None


async def advance(context: Context, job: Job) -> Advance:
    """Goes on for a moment. Raises BaasError."""
    sources = await context.projects.schemas.get_draft(
        job.project, orjson.loads(job.spec)["release"]
    )
    in_force, draft = sources
    schemas = _fresh(await context.projects.schemas.compile(draft), in_force)
    step = _Step(context, job, schemas)
    is_last = await step.run()
    error = step.error() if is_last or step.is_full else None
    return Advance(step.progress(), orjson.dumps(step.found).decode(), is_last, error)


class _Step:
    def __init__(self, context: Context, job: Job, schemas: SchemaSet) -> None:
        self._context = context
        self._job = job
        self._schemas = schemas
        spec = orjson.loads(job.spec)
        self._draft: str = spec["release"]
        self._is_dry = job.kind is JobKind.CHECK_SCHEMAS
        cursor = job.progress.cursor
        if cursor is None:
            self._place = _Place(phase="scan" if spec["check"] else "hold")
        else:
            self._place = _Place(**orjson.loads(cursor))
        self._checks: bool = spec["check"]
        self._seen, self._failed = job.progress.seen, job.progress.failed
        self._total = job.progress.total
        self.found: list[dict[str, Any]] = orjson.loads(job.found)

    async def run(self) -> bool:
        """Whether there is nothing left to do."""
        clock = self._context.clock
        started = clock.monotonic_seconds()
        if not self._schemas:
            return True  # what is in force holds already, and the rest goes
        phases = {
            "scan": self._scan,
            "follow": self._follow,
            "hold": self._hold,
            "verify": self._verify,
        }
        while not await phases[self._place.phase]():
            if self.is_full or clock.monotonic_seconds() - started >= STEP_SECONDS:
                return False
        return True

    def progress(self) -> Progress:
        known = self._job.progress
        first = None
        if self.found:
            one = self.found[0]
            wrong = one["violations"][0]
            where = f"`{wrong['field']}` " if wrong["field"] else ""
            first = {
                "path": one["document"],
                "reason": "SchemaViolation",
                "message": f"{where}{wrong['message']}",
            }
        return replace(
            known,
            seen=self._seen,
            failed=self._failed,
            total=self._total,
            cursor=orjson.dumps(asdict(self._place)).decode(),
            chunks=known.chunks + 1,
            first_failure=first,
        )

    @property
    def is_full(self) -> bool:
        """A deployment need not find more."""
        return not self._is_dry and self._failed >= FOUND_MAX

    def error(self) -> BaasError | None:
        if not self._failed or self._is_dry:
            return None
        first = self.found[0]
        return FailedPrecondition(
            f"documents of the database `{first['database']}` do not fit, "
            f"`{first['document']}` for one; mend them, or allow them to stay",
            reason="ExistingViolations",
        )

    async def _scan(self) -> bool:
        database = await self._open_next()
        if database is not None:
            await self._scan_on(database)
            return False
        if self._is_dry or self._failed:
            return True
        self._place.enter("follow")
        return False

    async def _scan_on(self, database: Database) -> None:
        place, name = self._place, database.name.database
        if not place.is_begun:
            place.is_begun = True
            self._total = (self._total or 0) + await count_documents(database, self._schemas)
        page = await check_slice(database, self._schemas, CHECK_PAGE_MAX, place.token)
        if page.is_waiting:
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        place.since.setdefault(name, page.version)
        self._seen += page.checked
        self._note(database, page)
        place.token = page.next_page_token
        if place.token is None:
            place.go_on()

    async def _follow(self) -> bool:
        database = await self._open_next()
        if database is None:
            if self._failed:
                return True
            self._place.enter("hold")
        elif await self._follow_on(database, None):
            self._place.go_on()
        return False

    async def _follow_on(self, database: Database, until: int | None) -> bool:
        """Whether little is left to look at; with `until`, whether nothing is."""
        since, name = self._place.since, database.name.database
        if name not in since:
            return True  # it was made meanwhile, or forgotten: it will be scanned
        try:
            page = await check_changed(database, self._schemas, since[name])
        except ResumeTokenExpired:
            del since[name]  # everything is to be looked at again, while writers obey
            return False
        self._note(database, page)
        since[name] = page.version
        return page.is_last if until is None else page.version >= until

    async def _hold(self) -> bool:
        context, job = self._context, self._job
        holding = context.projects.schemas.holding(job.project, self._draft)
        if not await context.jobs.run(job, holding):
            return False  # it was cancelled, which the next one to save it finds out
        database = await self._open_next(fresh=True)
        if database is None:
            if not self._checks:
                return True
            self._place.enter("verify")
            return False
        name = database.name.database
        self._place.until[name] = await database.signals.send(SCHEMAS)
        self._place.go_on()
        return False

    async def _verify(self) -> bool:
        database = await self._open_next(fresh=True)
        if database is None:
            return True
        name = database.name.database
        if name not in self._place.until:  # it was made meanwhile
            self._place.until[name] = await database.signals.send(SCHEMAS)
        if self._place.is_begun or name not in self._place.since:
            await self._scan_on(database)
        elif await self._follow_on(database, self._place.until[name]):
            self._place.go_on()
        return bool(self._failed)

    async def _open_next(self, *, fresh: bool = False) -> Database | None:
        projects, project = self._context.projects, self._job.project
        if fresh:
            databases = (await projects.read_project(project)).databases
        else:
            databases = (await projects.get_project(project)).databases
        if self._place.database >= len(databases):
            return None
        return await open_database(
            self._context, DatabaseName(project, databases[self._place.database])
        )

    def _note(self, database: Database, page: CheckPage) -> None:
        self._failed += page.failed
        for one in page.found:
            told = {"database": database.name.database, **one}
            size = len(orjson.dumps(self.found)) + len(orjson.dumps(told))
            if len(self.found) < FOUND_MAX and (size <= FOUND_BYTES_MAX or not self.found):
                self.found.append(told)


def _fresh(schemas: SchemaSet, in_force: list[Any]) -> SchemaSet:
    return SchemaSet([one for one in schemas.schemas if one.source not in in_force])
