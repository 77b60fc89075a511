"""Tasks on backups: what one node of a server is at, one task at a time, going on through restarts.

backup_tasks/{task}        what is to be done, how far it has come, who is at it
backup_state/running       the id of the task that is not over
backup_schedules/{name}    when backups are made, and which are kept

All in the server's system database. (The jobs of projects are another thing: they work on one
database, chunk by chunk; a backup is of many, and a restore makes the project first.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, cast

from baas.clock import Clock, is_claimed, new_document_id
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import FailedPrecondition, NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import is_id
from baas.projects.restores import RUNNING_TASK as RUNNING

TASKS = CollectionPath(("backup_tasks",))
KEPT_MAX = 100
CLAIM_SECONDS = 60
ATTEMPTS_MAX = 10  # that ended with the server's end


class TaskKind(Enum):
    BACKUP = "backup"
    VERIFY = "verify"
    RESTORE = "restore"
    DELETE = "delete"


class TaskState(Enum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """`lines` are documents, and objects; `bytes` theirs. Totals None: not known."""

    lines: int = 0
    bytes: int = 0
    total_lines: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """`project`: of a backup, the only one, and of a restore, too; None: all. `target`: the id that
    it is restored under. `restored`: what a restore has made so far. `position`: see `positions`.
    `error` of a task that is not over: why it waits for the next attempt."""

    id: str
    kind: TaskKind
    backup: str
    project: str | None
    target: str | None
    new_keys: bool
    schedule: str | None
    state: TaskState
    created: Timestamp
    updated: Timestamp
    author: str | None
    error: str | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    attempts: int = 0
    node: str = ""
    claimed_until: int = 0
    position: str | None = None
    progress: Progress = field(default_factory=Progress)

    def to_fields(self) -> Fields:
        return {
            "kind": self.kind.value,
            "backup": self.backup,
            "project": self.project,
            "target": self.target,
            "new_keys": self.new_keys,
            "schedule": self.schedule,
            "state": self.state.value,
            "created": self.created,
            "updated": self.updated,
            "author": self.author,
            "error": self.error,
            "reason": self.reason,
            "notes": list(self.notes),
            "restored": list(self.restored),
            "attempts": self.attempts,
            "node": self.node,
            "claimed_until": self.claimed_until,
            "position": self.position,
            "lines": self.progress.lines,
            "bytes": self.progress.bytes,
            "total_lines": self.progress.total_lines,
            "total_bytes": self.progress.total_bytes,
        }


class Tasks:
    """The tasks of a server. `node` is this one's name."""

    def __init__(self, databases: Databases, clock: Clock, *, node: str) -> None:
        self.store = SystemStore(databases, clock, lambda project, event: None)
        self._clock = clock
        self._node = node

    async def create(
        self,
        kind: TaskKind,
        backup: str,
        *,
        author: str | None,
        project: str | None = None,
        target: str | None = None,
        new_keys: bool = False,
        schedule: str | None = None,
        total: Progress | None = None,
    ) -> Task:
        """A new task, which is this node's for as long as it lives: the place may be a folder that
        only this node has. Raises FailedPrecondition (`BackupTaskRunning`)."""

        async def body(transaction: Transaction) -> Task:
            (running,) = await transaction.get_documents([RUNNING])
            if running is not None:
                raise FailedPrecondition(
                    f"a server does one thing with backups at a time, and task "
                    f"{running.fields['task']!s} is not over; wait, or cancel it",
                    reason="BackupTaskRunning",
                    details={"task": running.fields["task"]},
                )
            now = transaction.request_time
            task = Task(
                new_document_id(self._clock),
                kind,
                backup,
                project,
                target,
                new_keys,
                schedule,
                TaskState.RUNNING,
                created=now,
                updated=now,
                author=author,
                progress=total or Progress(),
            )
            task = self._claimed(task)
            known = (await transaction.run_query(Query(TASKS))).documents
            known.sort(key=lambda one: one.created)
            writes: list[Write] = [DeleteWrite(one.path) for one in known[: -KEPT_MAX + 1]]
            writes += [_save(task), SetWrite(RUNNING, {"task": task.id})]
            await transaction.write(writes)
            return task

        return await self.store.run(None, body)

    async def get(self, identifier: str) -> Task:
        """Raises NotFound (`BackupTaskNotFound`)."""
        if not is_id(identifier):
            raise _not_found(identifier)
        document = await self.store.read(None, TASKS.document(identifier))
        if document is None:
            raise _not_found(identifier)
        return _open(document)

    async def list_all(self) -> list[Task]:
        """The last ones, newest first."""
        found = await self.store.run_query(None, Query(TASKS))
        return [_open(one) for one in sorted(found, key=lambda one: -one.created)]

    async def cancel(self, identifier: str) -> Task:
        """Ends a task; whoever is at it stops within seconds, and what a restore has not finished
        is deleted. Raises NotFound, FailedPrecondition (`BackupTaskIsOver`)."""
        await self.get(identifier)

        async def body(transaction: Transaction) -> Task:
            task = await _get(transaction, identifier)
            if task is None:
                raise _not_found(identifier)
            if task.state is not TaskState.RUNNING:
                raise FailedPrecondition(
                    f"the task is over: it is {task.state.value}", reason="BackupTaskIsOver"
                )
            over = replace(task, state=TaskState.CANCELLED, updated=transaction.request_time)
            await transaction.write([_save(over), DeleteWrite(RUNNING)])
            return over

        return await self.store.run(None, body)

    async def claim(self) -> Task | None:
        """Takes over the task that is not over, if nobody is at it."""

        async def body(transaction: Transaction) -> Task | None:
            (running,) = await transaction.get_documents([RUNNING])
            if running is None:
                return None
            task = await _get(transaction, str(running.fields["task"]))
            now = self._clock.now_microseconds()
            if task is None or task.state is not TaskState.RUNNING:
                await transaction.write([DeleteWrite(RUNNING)])
                return None
            is_free = task.node in ("", self._node)
            if not is_free and is_claimed(task.claimed_until, now, CLAIM_SECONDS):
                return None
            task = self._claimed(replace(task, attempts=task.attempts + 1, error=None))
            await transaction.write([_save(task)])
            return task

        return await self.store.run(None, body)

    async def save(self, task: Task) -> bool:
        """Notes how far a task has come, and renews the claim; or that it is over. False: it is no
        longer this node's to go on with."""

        async def body(transaction: Transaction) -> bool:
            known = await _get(transaction, task.id)
            if known is None or known.state is not TaskState.RUNNING or known.node != self._node:
                return False
            saved = self._claimed(replace(task, updated=transaction.request_time))
            writes: list[Write] = [_save(saved)]
            if task.state is not TaskState.RUNNING:
                writes.append(DeleteWrite(RUNNING))
            await transaction.write(writes)
            return True

        return await self.store.run(None, body)

    async def confirm(self, task: Task) -> None:
        """Renews the claim, before what cannot be taken back. Raises FailedPrecondition
        (`BackupTaskIsOver`) if the task is no longer this node's to go on with: this process may
        have stood still for longer than its claim."""

        async def body(transaction: Transaction) -> None:
            known = await _get(transaction, task.id)
            if known is None or known.state is not TaskState.RUNNING or known.node != self._node:
                raise FailedPrecondition(
                    "the task is over, or another node has taken it over",
                    reason="BackupTaskIsOver",
                )
            await transaction.write([_save(self._claimed(known))])

        await self.store.run(None, body)

    def _claimed(self, task: Task) -> Task:
        until = self._clock.now_microseconds() + CLAIM_SECONDS * 1_000_000
        return replace(task, node=self._node, claimed_until=until)


async def _get(transaction: Transaction, identifier: str) -> Task | None:
    (document,) = await transaction.get_documents([TASKS.document(identifier)])
    return None if document is None else _open(document)


def _save(task: Task) -> SetWrite:
    return SetWrite(TASKS.document(task.id), task.to_fields())


def _not_found(identifier: str) -> NotFound:
    return NotFound(f"there is no task `{identifier[:80]}`", reason="BackupTaskNotFound")


def _open(document: DocumentLike) -> Task:
    fields = cast("Mapping[str, Any]", document.fields)
    progress = {name: fields[name] for name in ("lines", "bytes", "total_lines", "total_bytes")}
    rest = {name: value for name, value in fields.items() if name not in progress}
    return Task(
        document.path.segments[-1],
        **{
            **rest,
            "kind": TaskKind(fields["kind"]),
            "state": TaskState(fields["state"]),
            "notes": tuple(fields["notes"]),
            "restored": tuple(fields["restored"]),
        },
        progress=Progress(**progress),
    )
