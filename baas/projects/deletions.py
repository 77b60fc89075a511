"""Marks of projects that are invisible: being deleted, or not yet restored. A mark is one node's,
renewed while that is at it; a project whose mark has run out is deleted by whoever finds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from baas.clock import Clock
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.ending import repeat_until_cancelled
from baas.errors import AlreadyExists, BaasError, FailedPrecondition
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.keys import hash_path_of
from baas.projects.records import (
    is_deleting,
    project_collection,
    project_moving,
    project_not_found,
    project_path,
)

DELETION_SECONDS = 60  # without a sign of life, until another node goes on with a deletion
RESTORE = "restore"  # a field of a project: the task that makes it, or made it, from a backup
_DELETIONS_PER_COMMIT = 400
_BELOW = (
    "erasures",
    "jobs",
    "keys",
    "releases",
    "retention",
    "rulesets",
    "schema_drafts",
    "schema_sets",
    "ttl_policies",
)


class Deletions:
    """`node` is this one's name. `made` is the version that made a project, by which one is told
    from a later one of the same id."""

    def __init__(self, store: SystemStore, clock: Clock, node: str) -> None:
        self._store = store
        self._clock = clock
        self._node = node

    async def take(
        self, identifier: str, made: int | None = None, *, restore: str | None = None
    ) -> int:
        """Marks the project, for this node to delete; the version that made it, by which the mark
        is renewed. A node that was cut off loses its turn to the next one after DELETION_SECONDS.
        `restore`: the task that this is not to delete, but to restore the project.
        """

        async def mark(transaction: Transaction) -> int:
            document = await get_made(transaction, identifier, made)
            if (moving := document.fields.get("moving")) is not None:
                raise project_moving(identifier, moving)
            now = self._clock.now_microseconds()
            until = document.fields.get("deleting_until", 0)
            assert isinstance(until, int)
            if document.fields.get("deleting_by", self._node) != self._node and now < until:
                raise being_deleted(identifier)
            if restore is not None and document.fields.get(RESTORE) != restore:
                raise being_deleted(identifier)
            if restore is not None and not is_deleting(document):
                raise restored_elsewhere(identifier)
            fields = {**document.fields, **self.mark(), RESTORE: restore}
            await transaction.write([SetWrite(document.path, fields)])
            return document.created

        return await self._store.run(None, mark)

    def mark(self) -> Fields:
        """What marks a project's document."""
        until = self._clock.now_microseconds() + DELETION_SECONDS * 1_000_000
        return {"deleting": True, "deleting_by": self._node, "deleting_until": until}

    async def keep(self, identifier: str, made: int, *, restore: str | None = None) -> None:
        """Renews the mark until cancelled."""

        async def renew() -> None:
            await asyncio.sleep(DELETION_SECONDS / 4)
            with contextlib.suppress(BaasError):
                await self.take(identifier, made, restore=restore)

        await repeat_until_cancelled("renewing a mark", renew)

    async def delete_documents(self, identifier: str, made: int) -> None:
        """Everything below the project first, the project last: its id is free only when nothing
        of it is left."""
        while True:
            database = await self._store.open(None)
            doomed: list[Write] = []
            for collection in _BELOW:
                query = Query(
                    project_collection(identifier, collection), limit=_DELETIONS_PER_COMMIT // 2
                )
                for document in (await database.run_query(query)).documents:
                    doomed.append(DeleteWrite(document.path))
                    if collection == "keys":
                        doomed.append(DeleteWrite(hash_path_of(document.fields["hash"])))
            last = len(doomed) <= _DELETIONS_PER_COMMIT
            writes = doomed[:_DELETIONS_PER_COMMIT]
            if last:
                writes.append(DeleteWrite(project_path(identifier)))
            await self._store.run(None, writing(identifier, made, writes))
            if last:
                return


def check_absent(identifier: str, document: StoredDocument | None) -> None:
    """Raises AlreadyExists (`ProjectExists`), FailedPrecondition (`ProjectBeingDeleted`)."""
    if document is None:
        return
    if is_deleting(document):
        raise being_deleted(identifier)
    raise AlreadyExists(f"project `{identifier}` exists", reason="ProjectExists")


def restored_elsewhere(identifier: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"project `{identifier}` was restored by another node meanwhile", reason="ProjectExists"
    )


def being_deleted(identifier: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"project `{identifier}` is being deleted; delete it once more if that stopped",
        reason="ProjectBeingDeleted",
    )


async def get_made(transaction: Transaction, identifier: str, made: int | None) -> StoredDocument:
    """The project's document; `made` is its first version, if it has to be a certain one. Raises
    NotFound (`ProjectNotFound`)."""
    (document,) = await transaction.get_documents([project_path(identifier)])
    if document is None or made not in (None, document.created):
        raise project_not_found(identifier)
    return document


def writing(
    identifier: str, made: int, writes: Sequence[Write]
) -> Callable[[Transaction], Awaitable[None]]:
    """Writes, while the project still is the same."""

    async def body(transaction: Transaction) -> None:
        await get_made(transaction, identifier, made)
        await transaction.write(writes)

    return body
