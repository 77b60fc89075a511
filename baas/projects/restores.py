"""Projects that are made from a backup: marked from the beginning as if they were being deleted, so
that nobody sees them, and unmarked at the end. While their task is not over they are left alone,
whoever finds them, for a restore that was cut off goes on; after that they are cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from baas.clock import Clock, new_document_id
from baas.database.names import check_project_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import FailedPrecondition
from baas.model.documents import DocumentLike
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import SetWrite, Write
from baas.projects.deletions import RESTORE, Deletions, check_absent, get_made
from baas.projects.keys import hash_path_of
from baas.projects.records import PROJECTS, is_deleting, project_path

RUNNING_TASK = DocumentPath(("backup_state", "running"))  # of the server: `task`, on backups


class Restores:
    """The projects that this node restores are in `running`."""

    def __init__(self, store: SystemStore, deletions: Deletions, clock: Clock) -> None:
        self.running: set[str] = set()
        self._store = store
        self._deletions = deletions
        self._clock = clock

    def check_idle(self, identifier: str) -> None:
        """Raises FailedPrecondition (`ProjectBeingRestored`)."""
        if identifier in self.running:
            raise FailedPrecondition(
                f"project `{identifier}` is being restored; cancel that first",
                reason="ProjectBeingRestored",
            )

    @contextlib.asynccontextmanager
    async def begin(self, identifier: str, task: str) -> AsyncIterator[tuple[int, bool]]:
        """Takes a free id, or the one that the same task took before it was cut off; gives the
        version by which the project is known, and whether the task goes on. If it never calls
        `finish`, the project has to be deleted. Raises AlreadyExists (`ProjectExists`),
        FailedPrecondition (`ProjectBeingDeleted`), InvalidArgument."""
        check_project_id(identifier)
        path = project_path(identifier)

        async def body(transaction: Transaction) -> bool:
            (document,) = await transaction.get_documents([path])
            if document is not None and _is_made_by(document, task):
                # Whoever had the task has it no more, whatever the mark says.
                await transaction.write([SetWrite(path, {**document.fields, **mark()})])
                return True
            check_absent(identifier, document)
            fields: Fields = {
                "name": identifier,
                "origins": [],
                "databases": [],
                "created": transaction.request_time,
                "incarnation": new_document_id(self._clock),
            }
            await transaction.write([SetWrite(path, {**fields, **mark(), RESTORE: task})])
            return False

        mark = self._deletions.mark
        self.check_idle(identifier)
        self.running.add(identifier)
        try:
            goes_on = await self._store.run(None, body)
            made = await self._deletions.take(identifier, restore=task)
            keeping = asyncio.create_task(self._deletions.keep(identifier, made, restore=task))
            try:
                yield made, goes_on
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
        finally:
            self.running.discard(identifier)

    async def add(self, identifier: str, made: int, documents: Sequence[DocumentLike]) -> list[str]:
        """Adds what belongs to a project: keys, rules; one after the other, so that the history of
        rules keeps its order. Gives the ids of keys that were left out, since another project here
        has them."""
        left_out: list[str] = []
        for one in documents:
            path = DocumentPath(("projects", identifier, *one.path.segments[2:]))
            if not await self._add(identifier, made, path, one.fields):
                left_out.append(path.id)
        return left_out

    async def _add(self, identifier: str, made: int, path: DocumentPath, fields: Fields) -> bool:
        async def body(transaction: Transaction) -> bool:
            await get_made(transaction, identifier, made)
            writes: list[Write] = [SetWrite(path, fields)]
            if path.segments[2] == "keys" and fields["revoked"] is None:
                found = hash_path_of(fields["hash"])
                (holder,) = await transaction.get_documents([found])
                if holder is not None and holder.fields["project"] != identifier:
                    return False
                writes.append(SetWrite(found, {"project": identifier, "key": path.id}))
            await transaction.write(writes)
            return True

        return await self._store.run(None, body)

    async def finish(
        self, identifier: str, made: int, project: DocumentLike, databases: Sequence[str]
    ) -> None:
        """Makes the project visible: everything of it is there."""

        async def body(transaction: Transaction) -> None:
            document = await get_made(transaction, identifier, made)
            if document.fields.get("deleting_by") != self._deletions.mark()["deleting_by"]:
                raise FailedPrecondition(
                    "another node has taken the project over", reason="ProjectBeingDeleted"
                )
            fields: Fields = {
                "name": project.fields["name"],
                "origins": project.fields["origins"],
                "databases": list(databases),
                "created": project.fields["created"],
                "incarnation": document.fields["incarnation"],
                "deleting": False,
                RESTORE: document.fields[RESTORE],
            }
            await transaction.write([SetWrite(document.path, fields)])

        await self._store.run(None, body)

    async def list_made(self, task: str) -> tuple[list[str], list[str]]:
        """The projects that a task has restored, and those that it has begun."""
        database = await self._store.open(None)
        documents = (await database.run_query(Query(PROJECTS))).documents
        made = [one for one in documents if one.fields.get(RESTORE) == task]
        return (
            [one.path.id for one in made if not is_deleting(one)],
            [one.path.id for one in made if is_deleting(one)],
        )

    async def is_going_on(self, document: DocumentLike) -> bool:
        """Whether somebody is at the project, or comes back to it: its task is not over."""
        task = document.fields.get(RESTORE)
        if task is None:
            return False
        database = await self._store.open(None)
        (running,) = await database.get_documents([RUNNING_TASK])
        return running is not None and running.fields["task"] == task


def _is_made_by(document: DocumentLike, task: str) -> bool:
    return is_deleting(document) and document.fields.get(RESTORE) == task
