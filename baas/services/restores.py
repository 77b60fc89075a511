"""Use cases on restoring: documents get back what they held at an earlier time, for administrators.
Rules do not apply. As a job, by ordinary commits, which are new versions: history keeps what is
replaced, and listeners hear of it. **Not atomic** (see `jobs`).

What was changed after the restore began stays as it is. The job goes through the log since that
time, so it costs what was changed since in the whole database, and holds a chunk of images in
memory, `_IMAGES` more at most than fit into it.

A document may not fit before another one is restored, as where a value that has to be unique went
from one to the other. So what could not be restored is tried again in a further pass, and another
one, until one of them restores nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from baas.database.database import Database
from baas.database.indexes import is_reserved
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.errors import (
    BaasError,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    ResumeTokenExpired,
)
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.jobs import Job, JobKind, Progress
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database
from baas.services.job_steps import CHUNK_BYTES_MAX, CHUNK_DOCUMENTS_MAX, Step
from baas.services.past import version_at
from baas.storage.engine import LogRecord

PATHS_TOLD_MAX = 100
PLAN_SECONDS = 5.0  # for one page of a plan
_PLAN_TOKEN = re.compile(r"(\d{1,18})-(\d{1,18}(?:\+\d{1,9})?)")
_LOG_PAGE = 100
_IMAGES = 16  # read at a time, of up to a MiB each
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
    it could not restore. `next_page_token` if there may be more."""

    created: int
    updated: int
    deleted: int
    erased: int
    changes: list[PlannedChange]
    next_page_token: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """In the log: behind version `after`, and `records` of what comes next. In a further pass,
    `written`: how many documents had been restored when it began."""

    after: int
    records: int = 0
    written: int | None = None

    @classmethod
    def read(cls, text: str) -> _Place:
        text, _, written = text.partition("@")
        after, _, records = text.partition("+")
        return cls(int(after), int(records or 0), int(written) if written else None)

    def __str__(self) -> str:
        records = f"+{self.records}" if self.records else ""
        written = "" if self.written is None else f"@{self.written}"
        return f"{self.after}{records}{written}"


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
    Raises PermissionDenied, NotFound, FailedPrecondition (`TooManyJobs`), OutOfRange
    (`BeforeFirstCommit`), and as `version_at`."""
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
    page_token: str | None = None,
) -> RestorePlan:
    """What `start_restore` would change, and changes nothing. A page is what is found within about
    PLAN_SECONDS, of all that was changed until the first one was asked for. Raises also
    InvalidArgument (`InvalidPageToken`)."""
    database, wanted = await _open(context, caller, name, path, at, recursive)
    cursor: str | None = None
    if page_token is not None:
        until, cursor = _read_token(page_token)
        wanted = replace(wanted, until=until)
    counts = {"create": 0, "update": 0, "delete": 0}
    erased = 0
    told: list[PlannedChange] = []
    is_last = False
    ends_at = context.clock.monotonic_seconds() + PLAN_SECONDS
    while not is_last:
        step = await next_restores(database, cursor, wanted)
        cursor, is_last = step.cursor, step.is_last
        erased += len(step.unfit)
        for change in await _plan_step(database, step):
            counts[change.kind] += 1
            if len(told) < PATHS_TOLD_MAX:
                told.append(change)
        if context.clock.monotonic_seconds() >= ends_at:
            break
    token = None if is_last else f"{wanted.until}-{cursor}"
    return RestorePlan(counts["create"], counts["update"], counts["delete"], erased, told, token)


async def _plan_step(database: Database, step: Step) -> list[PlannedChange]:
    planned = []
    for start in range(0, len(step.paths), _IMAGES):
        paths = step.paths[start : start + _IMAGES]
        for path, document in zip(paths, await database.get_documents(paths), strict=True):
            write = step.make(path, document)
            if write is not None:
                kind = "delete" if isinstance(write, DeleteWrite) else "update"
                planned.append(PlannedChange(path, "create" if document is None else kind))
    return planned


def _read_token(token: str) -> tuple[int, str]:
    found = _PLAN_TOKEN.fullmatch(token)
    if found is None or not token.isascii():
        raise InvalidArgument(
            "`page_token` is not a token that a plan has given", reason="InvalidPageToken"
        )
    return int(found[1]), found[2]


async def next_restores(database: Database, cursor: str | None, wanted: Restore) -> Step:
    """The next documents that a restore may change. Raises FailedPrecondition (`HistoryForgotten`)
    if history no longer reaches back so far."""
    async with database.snapshot() as snapshot:
        try:
            if wanted.single is not None:
                found: dict[DocumentPath, StoredDocument | None]
                (image,) = await snapshot.get_images_at([wanted.single], wanted.to)
                found, place, is_last = {wanted.single: image}, _Place(wanted.until), True
            else:
                place = _Place(wanted.to) if cursor is None else _Place.read(cursor)
                found, place, is_last = await _read_on(snapshot, place, wanted)
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
        return _restored(wanted, path, kept[path], document)

    return Step(list(kept), restore, str(place), is_last, unfit)


def next_pass(progress: Progress, wanted: Restore) -> Progress | None:
    """How a restore whose pass has come to its end goes on; None: it is over. What could not be
    restored is counted anew."""
    assert progress.cursor is not None
    before = _Place.read(progress.cursor).written or 0
    if progress.failed == 0 or progress.written == before:
        return None
    return replace(
        progress,
        seen=progress.seen - progress.failed,
        failed=0,
        first_failure=None,
        cursor=str(_Place(wanted.to, written=progress.written)),
    )


def _restored(
    wanted: Restore,
    path: DocumentPath,
    image: StoredDocument | None,
    document: StoredDocument | None,
) -> Write | None:
    """What makes of a document what it was; None if nothing is to be done."""
    if document is not None and document.version > wanted.until:
        return None  # changed since, or restored already
    if image is None:
        return None if document is None else DeleteWrite(path)
    if document is not None and document.data == image.data:
        return None
    return SetWrite(path, image.fields)


async def _read_on(
    snapshot: ReadSnapshot, place: _Place, wanted: Restore
) -> tuple[dict[DocumentPath, StoredDocument | None], _Place, bool]:
    """Documents that the log names next, each at its last change, with their images of then; where
    to go on, and whether nothing is left."""
    found: dict[DocumentPath, StoredDocument | None] = {}
    scanned = size = 0
    while scanned < _SCANNED_MAX:
        records = await snapshot.read_log(place.after, limit=_LOG_PAGE)
        scanned += len(records)
        within = [one for one in records if one.version <= wanted.until]
        numbers = [
            number
            for number, one in enumerate(within)
            if number >= place.records and wanted.holds(one.path)
        ]
        while numbers:
            room = min(_IMAGES, CHUNK_DOCUMENTS_MAX - len(found))
            if room <= 0 or size >= CHUNK_BYTES_MAX:
                return found, replace(place, records=numbers[0]), False
            part, numbers = numbers[:room], numbers[room:]
            images = await _read_images(snapshot, [within[number] for number in part], wanted)
            if place.written is not None:
                images = await _not_restored(snapshot, images, wanted)
            found.update(images)
            size += sum(len(image.data) for image in images.values() if image is not None)
        if len(within) < len(records) or not records:
            return found, replace(place, after=wanted.until, records=0), True
        place = replace(place, after=records[-1].version, records=0)
    return found, place, False


async def _not_restored(
    snapshot: ReadSnapshot, images: dict[DocumentPath, StoredDocument | None], wanted: Restore
) -> dict[DocumentPath, StoredDocument | None]:
    """Those that an earlier pass has left. So they come together, and can be restored together."""
    documents = await snapshot.get_documents(list(images))
    return {
        path: image
        for (path, image), document in zip(images.items(), documents, strict=True)
        if (image is not None and image.is_erased)
        or _restored(wanted, path, image, document) is not None
    }


async def _read_images(
    snapshot: ReadSnapshot, records: Sequence[LogRecord], wanted: Restore
) -> dict[DocumentPath, StoredDocument | None]:
    """The images of then of those documents that these records changed last."""
    last = await snapshot.get_images_at([one.path for one in records], wanted.until)
    versions = [None if image is None else image.version for image in last]
    del last  # they may be large
    gone = [
        record.path
        for record, version in zip(records, versions, strict=True)
        if record.deleted and version is None
    ]
    ends = await snapshot.find_superseded(gone, below=wanted.until + 1)
    deleted = set(zip(gone, ends, strict=True))
    paths = [
        record.path
        for record, version in zip(records, versions, strict=True)
        if record.version == version or (record.path, record.version) in deleted
    ]
    return dict(zip(paths, await snapshot.get_images_at(paths, wanted.to), strict=True))


async def _check_begun(snapshot: ReadSnapshot, to: int) -> None:
    """A time before anything was written is a slip, and would delete everything."""
    for first in await snapshot.read_log(0, limit=1):
        if to < first.version:
            raise OutOfRange(
                f"the first document was written at {Timestamp(first.version)}; there is nothing"
                " to restore from before that",
                reason="BeforeFirstCommit",
            )


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
        if await database.read_oldest_version() == 0:
            await _check_begun(snapshot, to)
    return database, Restore(path, recursive, to, until)
