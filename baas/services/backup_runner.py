"""Does the tasks on backups: those that were begun here, those that another node, or an earlier run
of this one, has left behind, and those that a schedule asks for."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import structlog

from baas.backups.backups import Backups
from baas.backups.tasks import ATTEMPTS_MAX, Progress, Task, TaskKind, TaskState
from baas.clock import Clock
from baas.errors import BaasError, FailedPrecondition, Internal

LOOK_SECONDS = 15.0  # between two looks for what is due, or was left behind
SAVE_SECONDS = 1.0  # between two notes of progress; and how soon a cancelled task ends
_log = structlog.get_logger("baas.backups")


class BackupRunner:
    """The task that this process is at, if it is at one."""

    def __init__(self, backups: Backups, clock: Clock) -> None:
        self.backups = backups
        self._clock = clock
        self._wakeup = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.backups.wake = self.wake
        self._task = asyncio.create_task(self._run(), name="backups")

    def wake(self) -> None:
        """There is something new."""
        self._wakeup.set()

    async def close(self) -> None:
        """Leaves what is not done to whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._wakeup.clear()
            try:
                await self._start_due()
                while (task := await self.backups.tasks.claim()) is not None:
                    await self._do(task)
            except BaasError as error:
                _log.warning("backups cannot be looked after", error=error.message)
            except Exception:
                _log.exception("looking after backups failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wakeup.wait()

    async def _start_due(self) -> None:
        now = self._clock.now_microseconds()
        backups = self.backups
        due = [one for one in await backups.schedules.list_all() if one.is_due(now)]
        for schedule in sorted(due, key=lambda one: one.started)[:1]:
            try:
                await backups.tasks.create(
                    TaskKind.BACKUP,
                    backups.new_id(),
                    author=None,
                    project=schedule.project,
                    schedule=schedule.name,
                )
            except FailedPrecondition:
                return  # something else is going on; this comes next
            await backups.schedules.note(schedule.name, started=now)

    async def _do(self, task: Task) -> None:
        """One task to its end, be it a failure."""
        watching = _Watching(task)
        work = asyncio.create_task(self._attempt(watching), name=f"{task.kind.value} {task.id}")
        try:
            while not work.done():
                await asyncio.wait([work], timeout=SAVE_SECONDS)
                if not work.done() and not await self._save(watching.current()):
                    work.cancel()  # it was cancelled, or another node has it
                    await asyncio.wait([work])
                    if task.kind is TaskKind.BACKUP:
                        await self.backups.forget(task)
                    return
        finally:
            work.cancel()
            await asyncio.wait([work])
        await self._end(watching.current(), work)

    async def _attempt(self, watching: _Watching) -> None:
        if watching.task.attempts > ATTEMPTS_MAX:
            raise Internal("the server ended each time that this was tried")
        watching.task = await self.backups.run(watching.task, watching, watching.note)

    async def _save(self, task: Task) -> bool:
        try:
            return await self.backups.tasks.save(task)
        except BaasError as error:
            if error.retryable:
                return True  # the claim lasts for some time
            raise

    async def _end(self, task: Task, work: asyncio.Task[None]) -> None:
        failure = Internal("it was given up") if work.cancelled() else work.exception()
        if failure is None:
            over = replace(task, state=TaskState.DONE)
        else:
            if not isinstance(failure, BaasError):
                _log.error("a task on backups failed", task=task.id, exc_info=failure)
                failure = Internal("internal error")
            over = replace(
                task, state=TaskState.FAILED, error=failure.message, reason=failure.reason
            )
            _log.error(
                f"{task.kind.value} failed",
                task=task.id,
                backup=task.backup,
                reason=failure.reason,
                error=failure.message,
            )
        if over.state is TaskState.FAILED and task.kind is TaskKind.BACKUP:
            with contextlib.suppress(BaasError):
                await self.backups.forget(task)
        if task.schedule is not None:
            await self._end_scheduled(over)
        await self.backups.tasks.save(over)

    async def _end_scheduled(self, task: Task) -> None:
        schedules = self.backups.schedules
        error = task.error
        if error is None:
            try:
                for schedule in await schedules.list_all():
                    if schedule.name == task.schedule:
                        await self.backups.prune(schedule)
            except BaasError as failure:
                error = f"old backups could not be deleted: {failure.message}"
        assert task.schedule is not None
        now = self._clock.now_microseconds()
        await schedules.note(task.schedule, ended=now, error=error)


class _Watching:
    """Counts what passes."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._lines = 0
        self._bytes = 0

    def advance(self, lines: int, size: int) -> None:
        self._lines += lines
        self._bytes += size

    async def note(self, task: Task) -> None:
        self.task = task

    def current(self) -> Task:
        """The task with its progress."""
        totals = self.task.progress
        progress = Progress(self._lines, self._bytes, totals.total_lines, totals.total_bytes)
        return replace(self.task, progress=progress)
