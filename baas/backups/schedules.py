"""When backups are made by themselves, and which of those are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite

SCHEDULES = CollectionPath(("backup_schedules",))
WHOLE = "server"  # the name of the schedule of a whole server: too long an id for no project
_PREFIX = "project-"
_LATE_MICROSECONDS = 600 * 1_000_000  # for what else goes on with backups


@dataclass(frozen=True, slots=True)
class Schedule:
    """`project` None: the whole server. The newest `keep_last` backups are kept, and the newest one
    of each of the last `keep_daily` days and `keep_weekly` weeks that have one (in UTC). `since`,
    `started`, `ended` and `succeeded` are microseconds since 1970, 0: never; `error` is the last
    one's."""

    project: str | None
    every_seconds: int
    keep_last: int
    keep_daily: int
    keep_weekly: int
    started: int = 0
    ended: int = 0
    error: str | None = None
    since: int = 0
    succeeded: int = 0

    @property
    def name(self) -> str:
        return WHOLE if self.project is None else f"{_PREFIX}{self.project}"

    def is_due(self, now: int) -> bool:
        return now >= self.started + self.every_seconds * 1_000_000

    def problem(self, now: int) -> str | None:
        """What an operator has to know: the last one failed, or none has come to an end for twice
        as long as it should take from one to the next."""
        if self.error is not None:
            return self.error
        last = max(self.succeeded, self.since)
        if last and now > last + 2 * self.every_seconds * 1_000_000 + _LATE_MICROSECONDS:
            text = Timestamp(self.succeeded).isoformat() if self.succeeded else "it was made"
            return f"there was none since {text}"
        return None

    def to_fields(self) -> Fields:
        return {
            "project": self.project,
            "every_seconds": self.every_seconds,
            "keep_last": self.keep_last,
            "keep_daily": self.keep_daily,
            "keep_weekly": self.keep_weekly,
            "started": self.started,
            "ended": self.ended,
            "error": self.error,
            "since": self.since,
            "succeeded": self.succeeded,
        }


class Schedules:
    """The schedules of a server, one for each project at most and one for the whole."""

    def __init__(self, store: SystemStore) -> None:
        self._store = store

    async def list_all(self) -> list[Schedule]:
        database = await self._store.open(None)
        return [_open(one) for one in (await database.run_query(Query(SCHEDULES))).documents]

    async def set(self, schedule: Schedule) -> Schedule:
        """Makes or changes one; when its last backup was stays known."""

        async def body(transaction: Transaction) -> Schedule:
            path = SCHEDULES.document(schedule.name)
            (document,) = await transaction.get_documents([path])
            made = replace(schedule, since=transaction.request_time.microseconds)
            if document is not None:
                old = _open(document)
                made = replace(
                    made,
                    started=old.started,
                    ended=old.ended,
                    error=old.error,
                    succeeded=old.succeeded,
                )
            await transaction.write([SetWrite(path, made.to_fields())])
            return made

        return await self._store.run(None, body)

    async def delete(self, project: str | None) -> None:
        """Raises NotFound (`BackupScheduleNotFound`)."""
        path = SCHEDULES.document(WHOLE if project is None else f"{_PREFIX}{project}")

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([path])
            if document is None:
                raise NotFound("there is no such schedule", reason="BackupScheduleNotFound")
            await transaction.write([DeleteWrite(path)])

        await self._store.run(None, body)

    async def note(self, name: str, **changes: Any) -> None:
        """What became of it: `started`, `ended`, `succeeded`, `error`."""

        async def body(transaction: Transaction) -> None:
            path = SCHEDULES.document(name)
            (document,) = await transaction.get_documents([path])
            if document is not None:
                changed = replace(_open(document), **changes)
                await transaction.write([SetWrite(path, changed.to_fields())])

        await self._store.run(None, body)


def not_kept(schedule: Schedule, created: Sequence[tuple[str, int]]) -> list[str]:
    """Which of these backups (ids, and when they were made, the newest first) the schedule does not
    keep. The newest is always kept."""
    kept = {backup for backup, _ in created[: max(schedule.keep_last, 1)]}
    for most, form in ((schedule.keep_daily, "%Y-%m-%d"), (schedule.keep_weekly, "%G-%V")):
        newest: dict[str, str] = {}
        for backup, moment in created:
            newest.setdefault(datetime.fromtimestamp(moment / 1e6, UTC).strftime(form), backup)
        kept.update(list(newest.values())[:most])
    return [backup for backup, _ in created if backup not in kept]


def _open(document: DocumentLike) -> Schedule:
    return Schedule(**cast("dict[str, Any]", dict(document.fields)))
