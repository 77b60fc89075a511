"""Deletes expired documents: index-backed, in small commits, on one node at a time, and not while
the database has more to do than it can."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.transaction import Transaction
from baas.ending import repeat_until_cancelled
from baas.errors import AlreadyExists, BaasError, NotFound
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.query_matching import matches
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, Write
from baas.projects.ttl import TtlPolicy
from baas.services.context import Context
from baas.services.ttl import index_of

LOOK_SECONDS = 15.0
CHUNK_DOCUMENTS_MAX = 200
CHUNK_BYTES_MAX = 4 * 1024 * 1024
BUSY_COMMITS = 200  # that wait in the database's queue: expiry goes on at the next look
ROUND_CHUNKS_MAX = 500  # of one policy, before the others have their turn
_NOTED_CHUNKS = 10  # between two times that the counter is written down
_log = structlog.get_logger("baas.ttl")


class TtlRunner:
    """Looks at all policies, again and again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(repeat_until_cancelled("expiry", self._run), name="ttl")

    async def close(self) -> None:
        """A chunk that is being committed is, or is not."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await self.look()
        except BaasError as error:
            _log.warning("expiry failed", error=error.message)

    async def look(self) -> int:
        """Carries out every policy that no other node is at; the count of documents deleted."""
        deleted = 0
        is_here = self._context.projects.places.is_here
        found = await self._context.ttl_policies.list_everywhere()
        for policy in [one for one in found if is_here(one.name.project)]:
            try:
                deleted += await self._carry_out(policy)
            except NotFound:
                continue  # the project or the database is gone
            except BaasError as error:
                _log.warning("expiry failed", collection=policy.collection, error=error.message)
                text = f"{error.reason}: {error.message}"
                await self._context.ttl_policies.note(policy, deleted=0, error=text)
        return deleted

    async def _carry_out(self, policy: TtlPolicy) -> int:
        context = self._context
        await context.projects.check_database(policy.name)
        database = await context.databases.open(policy.name)
        if not await self._find_expired(database, policy):
            if policy.error is not None:
                await self._note(policy, 0)
            return 0
        claimed = await context.ttl_policies.claim(policy)
        total = counted = 0
        for chunk in range(ROUND_CHUNKS_MAX):
            if claimed is None or database.waiting_commits > BUSY_COMMITS:
                break
            started = context.clock.monotonic_seconds()
            found = await self._find_expired(database, claimed)
            if not await context.ttl_policies.has(claimed):
                break  # it was removed, or is another: what it would delete stays
            deleted = await self._delete(database, claimed, found) if found else 0
            total += deleted
            if not found or chunk % _NOTED_CHUNKS == _NOTED_CHUNKS - 1:
                claimed = await self._note(claimed, total - counted)
                counted = total
            if not found:
                break
            # At most half of the time, so that everybody else has the other half.
            await asyncio.sleep(min(context.clock.monotonic_seconds() - started, 1.0))
        if claimed is not None and total > counted:
            await self._note(claimed, total - counted)
        return total

    async def _note(self, policy: TtlPolicy, deleted: int) -> TtlPolicy | None:
        return await self._context.ttl_policies.note(policy, deleted=deleted, error=None)

    async def _find_expired(self, database: Database, policy: TtlPolicy) -> list[DocumentPath]:
        """Some of them; none while their index is being made."""
        definition = index_of(policy.collection, policy.field)
        index = database.indexes.find(definition)
        if index is None:  # somebody dropped it
            with suppress(AlreadyExists):
                await database.index_keeper.build(definition)
            return []
        if index.ready_at is None:
            return []
        query = self._expired(policy, CHUNK_DOCUMENTS_MAX)
        async with database.snapshot() as snapshot:
            found, _ = await snapshot.read_first(query, bytes_max=CHUNK_BYTES_MAX)
        return [document.path for document in found]

    async def _delete(
        self, database: Database, policy: TtlPolicy, paths: list[DocumentPath]
    ) -> int:
        query = self._expired(policy, None)

        async def body(transaction: Transaction) -> int:
            writes: list[Write] = [
                DeleteWrite(document.path)
                for document in await transaction.get_documents(paths)
                if document is not None and matches(query, document)  # it may live longer now
            ]
            await transaction.write(writes)
            return len(writes)

        now = Timestamp(milliseconds_only(self._context.clock.now_microseconds()))
        return (await database.run_transaction(body, request_time=now)).value

    def _expired(self, policy: TtlPolicy, limit: int | None) -> Query:
        now = Timestamp(self._context.clock.now_microseconds())
        # Only timestamps are less than a timestamp.
        where = FieldFilter(policy.field, Operator.LESS_OR_EQUAL, now)
        group = CollectionPath((policy.collection,))
        return Query(group, all_descendants=True, where=where, limit=limit)
