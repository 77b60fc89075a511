"""Schemas of projects: a history of releases, and a document that says which one is in force.

projects/{project}/schema_sets/{id}      the history
projects/{project}/releases/schemas      which of them is in force

A release is all schemas of a project at once, so that what belongs together changes together.
Without a release there are no schemas, and every document is taken.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, SchemaRejected
from baas.model.paths import DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
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
        release = await self.get_release(project)
        try:
            found = await self.compile(release.sources) if release.sources else EMPTY
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
        """A release; None: the one in force. Raises NotFound (`ReleaseNotFound`)."""
        if release is not None and not is_id(release):
            raise _not_found(release)
        database = await self._store.open(None)
        async with database.snapshot() as snapshot:
            if release is None:
                (current,) = await snapshot.get_documents([_release_path(project)])
                release = _id_of(current)
            if release == NO_RELEASE:
                return SchemaRelease(SchemaNote(NO_RELEASE, None), [])
            path = project_document(project, "schema_sets", release)
            (stored,) = await snapshot.get_documents([path])
        if stored is None:
            raise _not_found(release)
        return SchemaRelease(_note(stored), orjson.loads(str(stored.fields["source"])))

    async def list_releases(self, project: str) -> list[SchemaNote]:
        """The history, newest first."""
        database = await self._store.open(None)
        query = Query(project_collection(project, "schema_sets"), select=_NOTED)
        documents = (await database.run_query(query)).documents
        return [_note(one) for one in sorted(documents, key=lambda one: -one.created)]

    async def deploy(
        self, project: str, schemas: SchemaSet, deployment: SchemaDeployment
    ) -> SchemaRelease:
        """Puts schemas in force, in place of all that were. Raises NotFound (`ProjectNotFound`),
        FailedPrecondition (`ReleaseChanged`), InvalidArgument (`InvalidMessage`)."""
        message = _check_message(deployment.message)
        identifier = new_document_id(self._clock)
        source = orjson.dumps([schema.source for schema in schemas.schemas]).decode()

        async def body(transaction: Transaction) -> None:
            path = _release_path(project)
            document, current = await transaction.get_documents([project_path(project), path])
            if document is None or is_deleting(document):
                raise project_not_found(project)
            _check_current(_id_of(current), deployment.if_release)
            await transaction.write(
                [
                    SetWrite(
                        project_document(project, "schema_sets", identifier),
                        {"source": source, "author": deployment.author, "message": message},
                    ),
                    SetWrite(path, {"set": identifier}),
                ]
            )

        await self._store.run(None, body)
        await self._drop_old(project)
        return await self.get_release(project)

    def forget(self, project: str) -> None:
        """Others are in force, or the project is gone."""
        self._cache.pop(project, None)
        self._epoch += 1

    def forget_all(self) -> None:
        """What is in force is read again, everywhere."""
        self._cache.clear()
        self._epoch += 1

    async def _drop_old(self, project: str) -> None:
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


def _id_of(current: StoredDocument | None) -> str:
    return NO_RELEASE if current is None else str(current.fields["set"])


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
