"""Schemas of projects: a history of releases, and a document that says which one is in force.

projects/{project}/schema_sets/{id}      the history
projects/{project}/schema_drafts/{id}    what is being deployed, by a job
projects/{project}/releases/schemas      which of them is in force; the draft, and its job

A release is all schemas of a project at once, so that what belongs together changes together.
Without a release there are no schemas, and every document is taken.

A draft that is **held** is obeyed by every write beside what is in force, while its job looks at
what was written before; the commit that ends the job puts it in force, or drops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import orjson
import structlog

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore, wait_told
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, SchemaRejected
from baas.model.paths import DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.jobs import Job, JobKind, JobState, is_running
from baas.projects.records import (
    is_deleting,
    is_id,
    project_collection,
    project_document,
    project_not_found,
    project_path,
)
from baas.projects.rulesets import CACHED_RELEASES_MAX, MESSAGE_CHARACTERS_MAX
from baas.projects.schemas import EMPTY, SchemaSet, compile_schemas
from baas.settings import Limits

SETS_KEPT_MAX = 50
SCHEMAS = "schemas"  # the topic of signals: others are to be obeyed
NO_RELEASE = "none"  # the id of what is in force before the first deployment
_INLINE_BYTES_MAX = 8_192  # compiling more is left to a thread
_NOTED = tuple(FieldPath((name,)) for name in ("author", "message"))
_log = structlog.get_logger("baas.schemas")


@dataclass(frozen=True, slots=True)
class SchemaNote:
    """What is told of a release beside its schemas. `deployed` None: there was no deployment."""

    id: str
    deployed: Timestamp | None
    author: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SchemaRelease:
    """All schemas of a project, as deployed at once."""

    note: SchemaNote
    sources: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SchemaDeployment:
    """Who deploys and why. With `if_release`, only if that one is in force."""

    author: str | None = None
    message: str = ""
    if_release: str | None = None


class SchemaReleases:
    """The schemas of all projects, compiled once per release and kept in memory."""

    def __init__(self, store: SystemStore, limits: Limits, clock: Clock) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._cache: dict[str, SchemaSet] = {}
        self._epoch = 0

    def find(self, project: str) -> SchemaSet | None:
        """As `get`, from memory alone: None says nothing."""
        return self._cache.get(project)

    async def get(self, project: str) -> SchemaSet:
        """The schemas in force now; from the commit of a deployment on, the new ones. Raises
        DataLoss (`SchemasBroken`) if they are not valid any more: nothing may be written then."""
        found = self._cache.get(project)
        if found is not None:
            return found
        epoch = self._epoch
        sources = await self._read_obeyed(project)
        try:
            found = await self._compile_obeyed(sources)
        except SchemaRejected as error:
            _log.error("schemas in force are not valid", project=project, error=error.message)
            raise DataLoss(
                "the schemas in force are not valid any more; deploy them again",
                reason="SchemasBroken",
            ) from error
        if epoch == self._epoch:
            if len(self._cache) >= CACHED_RELEASES_MAX:
                self._cache.clear()
            self._cache[project] = found
        return found

    async def compile(self, sources: object) -> SchemaSet:
        """Raises SchemaRejected."""
        try:
            size = len(orjson.dumps(sources))
        except (TypeError, ValueError, RecursionError) as error:
            raise SchemaRejected("`schemas` is no JSON that can be kept") from error
        if size > self._limits.schemas_bytes_max:
            raise SchemaRejected(
                f"the schemas of a project have at most {self._limits.schemas_bytes_max} bytes "
                f"in all, not {size}"
            )
        if size <= _INLINE_BYTES_MAX:
            return compile_schemas(sources, self._limits)
        return await asyncio.to_thread(compile_schemas, sources, self._limits)

    async def get_release(self, project: str, release: str | None = None) -> SchemaRelease:
        """A release; None: the one in force, to which writes are held from then on. Raises NotFound
        (`ReleaseNotFound`)."""
        if release is not None and not is_id(release):
            raise _not_found(release)
        database = await self._store.open(None)
        async with database.snapshot() as snapshot:
            await wait_told(database, snapshot.version)
            if release is None:
                (current,) = await snapshot.get_documents([_release_path(project)])
                release = _Release.read(current).set
            if release == NO_RELEASE:
                return SchemaRelease(SchemaNote(NO_RELEASE, None), [])
            path = project_document(project, "schema_sets", release)
            (stored,) = await snapshot.get_documents([path])
        if stored is None:
            raise _not_found(release)
        return SchemaRelease(_note(stored), orjson.loads(str(stored.fields["source"])))

    async def get_draft(self, project: str, draft: str) -> tuple[list[Any], list[Any]]:
        """The sources in force, and those of a draft. Raises NotFound (`ReleaseNotFound`)."""
        release = await self.get_release(project)
        database = await self._store.open(None)
        (stored,) = await database.get_documents([_draft_path(project, draft)])
        if stored is None:
            raise _not_found(draft)
        return release.sources, orjson.loads(str(stored.fields["source"]))

    async def list_releases(self, project: str) -> list[SchemaNote]:
        """The history, newest first."""
        database = await self._store.open(None)
        query = Query(project_collection(project, "schema_sets"), select=_NOTED)
        documents = (await database.run_query(query)).documents
        return [_note(one) for one in sorted(documents, key=lambda one: -one.created)]

    def new_id(self) -> str:
        """Of a release that is going to be deployed."""
        return new_document_id(self._clock)

    def beginning(
        self, project: str, draft: str, schemas: SchemaSet, deployment: SchemaDeployment
    ) -> Callable[[Transaction, Job], Awaitable[None]]:
        """What makes a draft of these schemas, in the commit that makes its job; a deployment is
        the only one of its project. Raises NotFound (`ProjectNotFound`), FailedPrecondition
        (`ReleaseChanged`, `DeploymentRunning`), InvalidArgument (`InvalidMessage`)."""
        message = _check_message(deployment.message)
        source = orjson.dumps([schema.source for schema in schemas.schemas]).decode()
        fields: Fields = {"source": source, "author": deployment.author, "message": message}

        async def body(transaction: Transaction, job: Job) -> None:
            release = await _read_release(transaction, project)
            _check_current(release.set, deployment.if_release)
            writes: list[Write] = [SetWrite(_draft_path(project, draft), fields)]
            if job.kind is JobKind.CHECK_SCHEMAS:
                await transaction.write(writes)
                return
            if release.job is not None and await is_running(transaction, project, release.job):
                raise FailedPrecondition(
                    f"schemas are being deployed already, by the job `{release.job}`; wait for it, "
                    "or cancel it",
                    reason="DeploymentRunning",
                    details={"job": release.job},
                )
            writes.append(_save(project, _Release(release.set, draft, job.id)))
            await transaction.write(writes)

        return body

    def holding(self, project: str, draft: str) -> Callable[[Transaction], Awaitable[None]]:
        """What has every write obey a draft, too: those of a node that has heard of it."""

        async def body(transaction: Transaction) -> None:
            release = await _read_release(transaction, project)
            if release.draft == draft and not release.is_held:
                await transaction.write([_save(project, replace(release, is_held=True))])

        return body

    async def end(self, transaction: Transaction, job: Job) -> None:
        """What becomes of a job's draft, in the commit that ends the job: a deployment that was
        done puts it in force."""
        identifier = orjson.loads(job.spec)["release"]
        draft_path, path = _draft_path(job.project, identifier), _release_path(job.project)
        project, draft, current = await transaction.get_documents(
            [project_path(job.project), draft_path, path]
        )
        if project is None or is_deleting(project) or draft is None:
            return
        writes: list[Write] = [DeleteWrite(draft_path)]
        release = _Release.read(current)
        if release.job == job.id:
            in_force = release.set
            if job.state is JobState.DONE:
                in_force = identifier
                made = project_document(job.project, "schema_sets", identifier)
                writes.append(SetWrite(made, draft.fields))
            writes.append(_save(job.project, _Release(in_force)))
        await transaction.write(writes)

    def forget(self, project: str) -> None:
        """Others are in force, or the project is gone."""
        self._cache.pop(project, None)
        self._epoch += 1

    def forget_all(self) -> None:
        """What is in force is read again, everywhere."""
        self._cache.clear()
        self._epoch += 1

    async def _read_obeyed(self, project: str) -> tuple[list[Any], list[Any]]:
        """The sources in force, and those of the draft that has to be obeyed beside them."""
        database = await self._store.open(None)
        async with database.snapshot() as snapshot:
            (current,) = await snapshot.get_documents([_release_path(project)])
            release = _Release.read(current)
            draft = release.draft if release.is_held else None
            paths = [project_document(project, "schema_sets", release.set)]
            if draft is not None:
                paths.append(_draft_path(project, draft))
            found, *drafts = await snapshot.get_documents(paths)
        if found is None and release.set != NO_RELEASE:
            raise _not_found(release.set)
        sources = [] if found is None else orjson.loads(str(found.fields["source"]))
        held = [orjson.loads(str(one.fields["source"])) for one in drafts if one is not None]
        return sources, [one for more in held for one in more if one not in sources]

    async def _compile_obeyed(self, sources: tuple[list[Any], list[Any]]) -> SchemaSet:
        parts = [await self.compile(part) for part in sources if part]
        if len(parts) == 2:
            return SchemaSet([schema for part in parts for schema in part.schemas])
        return parts[0] if parts else EMPTY

    async def drop_old(self, project: str) -> None:
        """Keeps the newest and the one in force, which is among them."""
        doomed: list[Write] = [
            DeleteWrite(project_document(project, "schema_sets", note.id))
            for note in (await self.list_releases(project))[SETS_KEPT_MAX:]
        ]

        async def body(transaction: Transaction) -> None:
            await transaction.write(doomed)

        if doomed:
            await self._store.run(None, body)


def _release_path(project: str) -> DocumentPath:
    return project_document(project, "releases", "schemas")


def _draft_path(project: str, draft: str) -> DocumentPath:
    return project_document(project, "schema_drafts", draft)


@dataclass(frozen=True, slots=True)
class _Release:
    """What the document of that name says."""

    set: str
    draft: str | None = None
    job: str | None = None
    is_held: bool = False

    @classmethod
    def read(cls, document: StoredDocument | None) -> _Release:
        if document is None:
            return cls(NO_RELEASE)
        fields = cast("dict[str, Any]", document.fields)
        return cls(
            fields["set"], fields.get("draft"), fields.get("job"), fields.get("is_held", False)
        )


def _save(project: str, release: _Release) -> SetWrite:
    return SetWrite(_release_path(project), asdict(release))


async def _read_release(transaction: Transaction, project: str) -> _Release:
    """Raises NotFound (`ProjectNotFound`)."""
    document, current = await transaction.get_documents(
        [project_path(project), _release_path(project)]
    )
    if document is None or is_deleting(document):
        raise project_not_found(project)
    return _Release.read(current)


def _note(stored: StoredDocument) -> SchemaNote:
    author = stored.fields["author"]
    return SchemaNote(
        stored.path.segments[-1],
        stored.create_time,
        None if author is None else str(author),
        str(stored.fields["message"]),
    )


def _check_current(release: str, if_release: str | None) -> None:
    if if_release not in (None, release):
        raise FailedPrecondition(
            f"the release `{release}` is in force, not `{str(if_release)[:80]}`: somebody else has "
            "deployed meanwhile",
            reason="ReleaseChanged",
            details={"release": release},
        )


def _check_message(message: str) -> str:
    text = message.strip()
    if len(message) > MESSAGE_CHARACTERS_MAX or not text.replace("\n", "").isprintable():
        raise InvalidArgument(
            f"`message` has at most {MESSAGE_CHARACTERS_MAX} printable characters",
            reason="InvalidMessage",
            details={"field": "message"},
        )
    return text


def _not_found(release: str) -> NotFound:
    return NotFound(
        f"there is no release `{release[:80]}`; the last {SETS_KEPT_MAX} are kept",
        reason="ReleaseNotFound",
    )
