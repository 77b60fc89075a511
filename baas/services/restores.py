"""Use cases on restoring: documents get back what they held at an earlier time, for administrators.
Rules do not apply. As a job, by ordinary commits, which are new versions: history keeps what is
replaced, and listeners hear of it. **Not atomic** (see `jobs`).

What was changed after the restore began stays as it is. The job goes through the log since that
time, so it costs what was changed since in the whole database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from baas.database.database import Database, ReadSnapshot
from baas.database.indexes import is_reserved
from baas.database.names import DatabaseName
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, FailedPrecondition, OutOfRange, ResumeTokenExpired
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.jobs import Job, JobKind
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database
from baas.services.job_steps import CHUNK_BYTES_MAX, CHUNK_DOCUMENTS_MAX, Step
from baas.services.past import version_at

RECORDS_PLANNED_MAX = 50_000  # of the log
PATHS_TOLD_MAX = 100
_LOG_PAGE = 100
_SCANNED_MAX = 5_000  # records of the log in one chunk


@dataclass(frozen=True, slots=True)
class Restore:
    """What is restored, to the state of version `to`, of the changes up to version `until`."""

    path: CollectionPath | DocumentPath
    is_recursive: bool
    to: int
    until: int

    @classmethod
    def read(cls, spec: Mapping[str, Any]) -> Restore:
        text = spec["path"]
        path: CollectionPath | DocumentPath
        path = DocumentPath.parse(text) if text.count("/") % 2 else CollectionPath.parse(text)
        return cls(path, spec["recursive"], spec["to"], spec["until"])

    def to_spec(self) -> str:
        tree = {
            "path": str(self.path),
            "recursive": self.is_recursive,
            "to": self.to,
            "until": self.until,
        }
        return orjson.dumps(tree).decode()

    @property
    def single(self) -> DocumentPath | None:
        """The one document that is restored, if it is one."""
        if self.is_recursive or not isinstance(self.path, DocumentPath):
            return None
        return self.path

    def holds(self, path: DocumentPath) -> bool:
        if is_reserved(path):
            return False
        above = self.path.segments
        if self.is_recursive:
            return path.segments[: len(above)] == above
        return path.segments[:-1] == above


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """`kind` is `create`, `update` or `delete`."""

    path: DocumentPath
    kind: str


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """How many documents a restore would change, the first of them by name; `erased` are those that
    it could not restore."""

    created: int
    updated: int
    deleted: int
    erased: int
    changes: list[PlannedChange]


async def start_restore(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    path: CollectionPath | DocumentPath,
    at: Timestamp,
    *,
    recursive: bool,
) -> Job:
    """Restores a document, or a collection's documents, and with `recursive` everything below.
    Raises PermissionDenied, NotFound, FailedPrecondition (`TooManyJobs`), and as `version_at`."""
    database, wanted = await _open(context, caller, name, path, at, recursive)
    job = await context.jobs.create(
        database, JobKind.RESTORE, wanted.to_spec(), author=caller.uid, total=None
    )
    return job


async def plan_restore(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    path: CollectionPath | DocumentPath,
    at: Timestamp,
    *,
    recursive: bool,
) -> RestorePlan:
    """What `start_restore` would change, and changes nothing. Raises also OutOfRange
    (`TooFarBack`) where more than RECORDS_PLANNED_MAX changes were made since."""
    database, wanted = await _open(context, caller, name, path, at, recursive)
    async with database.snapshot() as snapshot:
        if wanted.single is None:
            await snapshot.read_touched(wanted.to, limit=RECORDS_PLANNED_MAX)
    counts = {"create": 0, "update": 0, "delete": 0}
    erased = 0
    told: list[PlannedChange] = []
    cursor: str | None = None
    is_last = False
    while not is_last:
        step = await next_restores(database, cursor, wanted)
        cursor, is_last = step.cursor, step.is_last
        erased += len(step.unfit)
        documents = await database.get_documents(step.paths)
        for one, document in zip(step.paths, documents, strict=True):
            write = step.make(one, document)
            if write is None:
                continue
            kind = "delete" if isinstance(write, DeleteWrite) else "update"
            if document is None:
                kind = "create"
            counts[kind] += 1
            if len(told) < PATHS_TOLD_MAX:
                told.append(PlannedChange(one, kind))
    return RestorePlan(counts["create"], counts["update"], counts["delete"], erased, told)


async def next_restores(database: Database, cursor: str | None, wanted: Restore) -> Step:
    """The next documents that a restore may change. Raises FailedPrecondition (`HistoryForgotten`)
    if history no longer reaches back so far."""
    async with database.snapshot() as snapshot:
        try:
            if wanted.single is not None:
                found: dict[DocumentPath, StoredDocument | None]
                (image,) = await snapshot.get_images_at([wanted.single], wanted.to)
                found, position, is_last = {wanted.single: image}, wanted.until, True
            else:
                after = wanted.to if cursor is None else int(cursor)
                found, position, is_last = await _read_on(snapshot, after, wanted)
        except ResumeTokenExpired as error:
            raise FailedPrecondition(
                f"history does not reach back to {Timestamp(wanted.to)} any more",
                reason="HistoryForgotten",
            ) from error
    kept = {path: image for path, image in found.items() if image is None or not image.is_erased}
    unfit: dict[tuple[str, ...], BaasError] = {
        path.segments: OutOfRange("what it held then was erased", reason="Erased")
        for path in found
        if path not in kept
    }

    def restore(path: DocumentPath, document: StoredDocument | None) -> Write | None:
        image = kept[path]
        if document is not None and document.version > wanted.until:
            return None  # changed since, or restored already
        if image is None:
            return None if document is None else DeleteWrite(path)
        if document is not None and document.data == image.data:
            return None
        return SetWrite(path, image.fields)

    return Step(list(kept), restore, str(position), is_last, unfit)


async def _read_on(
    snapshot: ReadSnapshot, after: int, wanted: Restore
) -> tuple[dict[DocumentPath, StoredDocument | None], int, bool]:
    """Documents that the log names next, each at its last change, with their images of then; where
    to go on, and whether nothing is left."""
    found: dict[DocumentPath, StoredDocument | None] = {}
    scanned = size = 0
    while scanned < _SCANNED_MAX and len(found) < CHUNK_DOCUMENTS_MAX and size < CHUNK_BYTES_MAX:
        records = await snapshot.read_log(after, limit=_LOG_PAGE)
        scanned += len(records)
        within = [one for one in records if one.version <= wanted.until]
        mine = [one for one in within if wanted.holds(one.path)]
        last = await snapshot.get_images_at([one.path for one in mine], wanted.until)
        paths = [
            record.path
            for record, image in zip(mine, last, strict=True)
            if (record.deleted if image is None else record.version == image.version)
        ]
        images = await snapshot.get_images_at(paths, wanted.to)
        found.update(zip(paths, images, strict=True))
        size += sum(len(image.data) for image in images if image is not None)
        if len(within) < len(records) or not records:
            return found, wanted.until, True
        after = records[-1].version
    return found, after, False


async def _open(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    path: CollectionPath | DocumentPath,
    at: Timestamp,
    recursive: bool,
) -> tuple[Database, Restore]:
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        until = snapshot.version
    to = await version_at(database, at, until, context.clock.now_microseconds())
    return database, Restore(path, recursive, to, until)
