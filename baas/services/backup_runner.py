"""Does the tasks on backups: those that were begun here, those that another node, or an earlier run
of this one, has left behind, and those that a schedule asks for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

import structlog

from baas.backups.backups import Backups
from baas.backups.positions import Position, encode_position
from baas.backups.schedules import Schedule
from baas.backups.tasks import ATTEMPTS_MAX, Progress, Task, TaskKind, TaskState
from baas.clock import Clock
from baas.errors import BaasError, FailedPrecondition, Internal
from baas.services.lookout import Lookout, attend, failure_of

LOOK_SECONDS = 15.0  # between two looks for what is due, or was left behind
SAVE_SECONDS = 1.0  # between two notes of progress; and how soon a cancelled task ends
_log = structlog.get_logger("baas.backups")


class BackupRunner:
    """The task that this process is at, if it is at one."""

    def __init__(self, backups: Backups, clock: Clock) -> None:
        self.backups = backups
        self._clock = clock
        self._lookout = Lookout("backups", self._look, lambda: LOOK_SECONDS)
        self.wake = self._lookout.wake

    def start(self) -> None:
        self.backups.wake = self.wake
        self._lookout.start()

    async def close(self) -> None:
        """Leaves what is not done to whoever comes next."""
        await self._lookout.close()

    async def _look(self) -> None:
        await self._start_due()
        while (task := await self.backups.tasks.claim()) is not None:
            if not await self._do(task):
                break

    async def _start_due(self) -> None:
        now = self._clock.now_microseconds()
        backups = self.backups
        schedules = await backups.schedules.list_all()
        self._note_problems(schedules)
        due = [one for one in schedules if one.is_due(now)]
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

    def _note_problems(self, schedules: Sequence[Schedule]) -> None:
        """Tells of schedules without good backups: whoever asks for health, and the log."""
        now = self._clock.now_microseconds()
        problems = {one.name: text for one in schedules if (text := one.problem(now)) is not None}
        for name in problems.keys() - self.backups.problems.keys():
            _log.error("no backups by schedule", schedule=name, problem=problems[name])
        for name in self.backups.problems.keys() - problems.keys():
            _log.warning("backups by schedule are good again, or ended", schedule=name)
        self.backups.problems = problems

    async def _do(self, task: Task) -> bool:
        """One task to its end, be it a failure; False: it is left for another attempt."""
        watching = _Watching(task)
        work = asyncio.create_task(self._attempt(watching), name=f"{task.kind.value} {task.id}")

        async def is_ours() -> bool:
            return await self._save(watching.current())

        if not await attend(work, is_ours, every=SAVE_SECONDS) or not await is_ours():
            await self._forget_cancelled(task)  # it was cancelled, or another node has it
            return True
        return await self._end(watching.current(), work)

    async def _forget_cancelled(self, task: Task) -> None:
        """Tidies up, unless another node goes on with the task."""
        known = await self.backups.tasks.get(task.id)
        if known.state is not TaskState.RUNNING:
            await self.backups.forget(task)

    async def _attempt(self, watching: _Watching) -> None:
        if watching.task.attempts > ATTEMPTS_MAX:
            raise Internal("the server ended, or failed, each time that this was tried")
        watching.task = await self.backups.run(watching.task, watching, watching.note)

    async def _save(self, task: Task) -> bool:
        try:
            return await self.backups.tasks.save(task)
        except BaasError as error:
            if error.retryable:
                return True  # the claim lasts for some time
            raise

    async def _end(self, task: Task, work: asyncio.Task[None]) -> bool:
        failure = failure_of(work)
        if failure is None:
            over = replace(task, state=TaskState.DONE)
        elif isinstance(failure, BaasError) and failure.retryable and task.attempts < ATTEMPTS_MAX:
            text = f"{task.kind.value} waits for another attempt"
            _log.warning(text, task=task.id, backup=task.backup, error=failure.message)
            await self._save(replace(task, error=failure.message))
            return False
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
        if over.state is TaskState.FAILED:
            with contextlib.suppress(BaasError):
                await self.backups.forget(task)
        if task.schedule is not None:
            await self._end_scheduled(over)
        await self.backups.tasks.save(over)
        return True

    async def _end_scheduled(self, task: Task) -> None:
        assert task.schedule is not None
        schedules = self.backups.schedules
        error = task.error
        now = self._clock.now_microseconds()
        if error is None:
            await schedules.note(task.schedule, succeeded=now)
        if error is None:
            try:
                for schedule in await schedules.list_all():
                    if schedule.name == task.schedule:
                        await self.backups.prune(schedule)
            except BaasError as failure:
                error = f"old backups could not be deleted: {failure.message}"
        await schedules.note(task.schedule, ended=now, error=error)
        self._note_problems(await schedules.list_all())


class _Watching:
    """Counts what passes, and knows how far it came."""

    def __init__(self, task: Task) -> None:
        self.task = task
        goes_on = task.position is not None or task.restored
        self._lines = task.progress.lines if goes_on else 0
        self._bytes = task.progress.bytes if goes_on else 0

    def reach(self, position: Position) -> None:
        self.task = replace(self.task, position=encode_position(position))

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
