"""Carries jobs on: those that were begun here, and those that another node, or an earlier run of
this one, has left behind."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import structlog

from baas.ending import end_if_cancelled
from baas.errors import BaasError, FailedPrecondition, Internal
from baas.projects.jobs import Job, JobKind, JobState
from baas.services import schema_deployments
from baas.services.context import Context
from baas.services.jobs import ReadAsked, run_chunk
from baas.services.lookout import Lookout

LOOK_SECONDS = 10.0  # between two looks for what others have left
JOBS_AT_ONCE_MAX = 4  # others wait, first come, first served
FAILURES_MAX = 20  # of one chunk, in a row
PAUSE_SECONDS_MAX = 5.0
_log = structlog.get_logger("baas.jobs")


class JobRunner:
    """The jobs that this process is at."""

    def __init__(self, context: Context, read: ReadAsked) -> None:
        self._context = context
        self._read = read
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._lookout = Lookout("jobs", self._take_over, lambda: LOOK_SECONDS)

    def start(self) -> None:
        self._context.jobs.on_created = self._note_created
        self._lookout.start()

    def _note_created(self, job: Job) -> None:
        if job.kind in schema_deployments.KINDS:
            self._begin(job)  # somebody waits for it: it takes nobody's place
        else:
            self._lookout.wake()

    async def close(self) -> None:
        """Leaves all jobs to whoever comes next. A chunk that is being committed is, or is not."""
        await self._lookout.close()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_over(self) -> None:
        for project, identifier in await self._context.jobs.find_waiting():
            place = (project, identifier)
            if place in self._running or len(self._running) >= JOBS_AT_ONCE_MAX:
                continue
            if not self._context.projects.places.is_here(project):
                continue
            job = await self._context.jobs.claim(project, identifier)
            if job is not None:
                self._begin(job)

    def _begin(self, job: Job) -> None:
        place = (job.project, job.id)
        if place not in self._running:
            task = asyncio.create_task(self._run(job), name=f"job {job.id}")
            self._running[place] = task
            task.add_done_callback(partial(self._end, place))

    def _end(self, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._running[place]
        self._lookout.wake()

    async def _run(self, job: Job) -> None:
        current: Job | None = job
        failures = 0
        while current is not None:
            end_if_cancelled()
            try:
                current = await self._step(current)
                failures = 0
            except asyncio.CancelledError:
                raise
            except BaasError as error:
                failures += 1
                if error.retryable and failures < FAILURES_MAX:
                    await asyncio.sleep(min(0.1 * 2**failures, PAUSE_SECONDS_MAX))
                    continue
                await self._fail(job, error)
                return
            except Exception:
                _log.exception("a job failed", job=job.id)
                await self._fail(job, Internal("internal error"))
                return

    async def _step(self, job: Job) -> Job | None:
        """One chunk; the job as it is then, None if it is over or another's."""
        if job.kind in schema_deployments.KINDS:
            return await self._advance_schemas(job)
        context = self._context
        await context.projects.check_database(job.name)
        database = await context.databases.open(job.name)
        if database.incarnation != job.incarnation:
            raise FailedPrecondition(
                "the database was replaced since the job began", reason="DatabaseReplaced"
            )
        chunk = await run_chunk(context, database, job, self._read)
        state = JobState.DONE if chunk.is_last else JobState.RUNNING
        saved = await context.jobs.save(job, chunk.progress, state)
        if saved is None and not chunk.is_last:
            await self._clean_up(job)
        return saved

    async def _advance_schemas(self, job: Job) -> Job | None:
        context = self._context
        made = await schema_deployments.advance(context, job)
        state, error = JobState.DONE if made.is_last else JobState.RUNNING, None
        if made.error is not None:
            state, error = JobState.FAILED, f"{made.error.reason}: {made.error.message}"
        saved = await context.jobs.save(job, made.progress, state, error, found=made.found)
        if state is JobState.DONE:
            await context.projects.schemas.drop_old(job.project)
        return saved

    async def _fail(self, job: Job, error: BaasError) -> None:
        _log.warning("a job failed", job=job.id, reason=error.reason, error=error.message)
        with contextlib.suppress(BaasError):
            known = await self._context.jobs.get(job.project, job.id)
            text = f"{error.reason}: {error.message}"
            await self._context.jobs.save(known, known.progress, JobState.FAILED, text)
        await self._clean_up(job)

    async def _clean_up(self, job: Job) -> None:
        """After a job that was cancelled, or failed: what it has erased is gone from files too."""
        if job.kind is JobKind.ERASE_BY_QUERY:
            with contextlib.suppress(BaasError):
                database = await self._context.databases.open(job.name)
                await database.eraser.scrub()
