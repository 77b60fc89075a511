"""A real engine with a committer of the simplest kind: one commit at a time. Commits reach the
listeners only when the test says so, as they would when the feed lags behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from baas.clock import VirtualClock
from baas.database.executor import INDEX_AFTER_SCANNED, QueryExecutor
from baas.database.index_builder import IndexBuilder
from baas.database.index_keeper import IndexKeeper
from baas.database.indexes import Indexes
from baas.database.listeners import Listeners
from baas.database.log import CommitEvent
from baas.database.transaction import QueryResult, Transaction
from baas.encoding import keys
from baas.encoding.documents import StoredDocument, encode_fields
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.query_order import document_order
from baas.model.tallies import GroupPage, PageBounds
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.settings import Limits
from baas.storage.engine import Change, CommitGroup, CommitRecord, Snapshot
from baas.storage.sqlite import SqliteEngine

T = TypeVar("T")
IDLE_SECONDS = 30 * 86_400.0


class Store:
    """Keeps every state that the database ever had, to compare with."""

    def __init__(
        self,
        folder: Path,
        *,
        indexes_max: int = 64,
        index_after_scanned: int = INDEX_AFTER_SCANNED,
    ) -> None:
        self.index_after_scanned = index_after_scanned
        self.clock = VirtualClock()
        self.engine = SqliteEngine.open(
            folder / "test.sqlite", clock=self.clock, synchronous="normal"
        )
        self.indexes = Indexes()
        self.builder = IndexBuilder(
            self.engine,
            self.indexes,
            self.run_alone,
            clock=self.clock,
            collection_indexes_max=indexes_max,
        )
        self.keeper = self.make_keeper()
        self.listeners = Listeners(
            self.engine, self.indexes, version=0, make_executor=self.make_executor
        )
        self.version = 0
        self.states: dict[int, dict[DocumentPath, StoredDocument]] = {0: {}}
        self.undelivered: deque[CommitEvent] = deque()

    def make_executor(self, snapshot: Snapshot, generation: int) -> QueryExecutor:
        want = self.builder.want
        return QueryExecutor(snapshot, self.indexes, generation, on_missing=want)

    def make_keeper(self, idle_seconds: float = IDLE_SECONDS) -> IndexKeeper:
        return IndexKeeper(self.builder, idle_seconds)

    @property
    def documents(self) -> dict[DocumentPath, StoredDocument]:
        return self.states[self.version]

    async def commit(self, changed: Mapping[DocumentPath, Fields | None]) -> int:
        """Sets or deletes documents in one commit; its version."""
        version = self.version + 1
        state = dict(self.documents)
        changes: list[Change] = []
        for path, fields in changed.items():
            old, new = state.pop(path, None), None
            if fields is not None:
                created = version if old is None else old.created
                new = StoredDocument(path, encode_fields(fields), created=created, version=version)
                state[path] = new
            if old is None and new is None:
                continue
            removed, added = self.indexes.entries_for(
                path, None if old is None else old.fields, None if new is None else new.fields
            )
            changes.append(Change(keys.document_key(path), path, old, new, removed, added))
        if not changes:
            return self.version
        expected, self.version = self.version, version
        self.states[version] = state
        event = CommitEvent(version, changes)
        # Commits that are made ready from here on are behind this one.
        self.builder.on_commit(event)
        await self.engine.commit(CommitGroup(expected, [CommitRecord(version, changes)]))
        self.undelivered.append(event)
        return version

    def deliver(self, count: int | None = None) -> None:
        """Tells the listeners of commits that they do not know yet."""
        while self.undelivered and count != 0:
            self.listeners.on_commit(self.undelivered.popleft())
            count = None if count is None else count - 1

    def expected(self, query: Query, version: int | None = None) -> list[StoredDocument]:
        """The query's answer at a version, by the model alone."""
        state = self.states[self.version if version is None else version]
        found = sorted(
            (document for document in state.values() if matches(query, document)),
            key=document_order(query),
        )
        end = None if query.limit is None else query.offset + query.limit
        return found[query.offset : end]

    async def run_query(self, query: Query) -> list[StoredDocument]:
        generation = self.indexes.generation
        snapshot = await self.engine.open_snapshot()
        try:
            executor = QueryExecutor(
                snapshot,
                self.indexes,
                generation,
                on_missing=self.builder.want,
                index_after_scanned=self.index_after_scanned,
            )
            return await executor.run_query(query)
        finally:
            await snapshot.close()

    async def close(self) -> None:
        await self.builder.close()
        await self.engine.close()

    async def run_alone(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        transaction = Transaction(_View(self), Timestamp(self.version), Limits())
        value = await body(transaction)
        await self.commit(
            {
                change.path: None if change.new is None else change.new.fields
                for change in transaction.stage()
            }
        )
        return value


class _View:
    """What the index builder's transactions read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        return [self._store.documents.get(path) for path in paths]

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        return None

    async def run_query(self, query: Query) -> QueryResult:
        raise NotImplementedError

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        raise NotImplementedError
