"""What the committer works with: transactions on their way, and groups of them on the head."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from baas.database.equal_reads import ChangesMade, QueriesRead
from baas.database.failures import as_baas_error
from baas.database.indexes import Indexes, is_reserved, new_entries
from baas.database.log import RecentCommits
from baas.database.optimistic import ReadSnapshot
from baas.database.requests import RequestKey, encode_response
from baas.database.transaction import (
    CommitResult,
    QueryResult,
    Segments,
    Transaction,
)
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import Cancelled, InvalidArgument, TransactionConflict
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.tallies import GroupPage, PageBounds
from baas.storage.engine import (
    Change,
    CommitRecord,
    EngineConflict,
    LogRecord,
    StorageEngine,
    StorageError,
)

CONFLICTS_MAX = 100  # with other nodes, of one commit; each is followed by a pause

Body = Callable[[Transaction], Awaitable[Any]]
_ENTRY_BYTES = 100  # that an entry counts for, beside the images of its group
_log = structlog.get_logger("baas.committer")


class QueryRunner(Protocol):
    """Runs queries on the latest committed state."""

    async def run_query(self, query: Query) -> QueryResult: ...

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage: ...


def _new_future() -> asyncio.Future[CommitResult[Any]]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Attempt:
    """A transaction on its way: evaluated, and to be evaluated again if need be."""

    body: Body
    transaction: Transaction
    read_at: int
    staged: list[Change]
    value: Any
    request: RequestKey | None
    ends_group: bool = False  # later commits depend on what its event changes in memory
    future: asyncio.Future[CommitResult[Any]] = field(default_factory=_new_future)
    is_tentative: bool = False  # evaluated on what its group wrote before it
    conflicts: int = 0
    held_until: float | None = None  # by the clock, since it was seen to wait for a fence

    @property
    def request_id(self) -> str | None:
        return None if self.request is None else self.request.id


class TouchedByGroup(Exception):
    """A query met changes of its own group, which no engine can see yet."""


class Outrun(Exception):
    """Another node committed since the group was begun: nothing of it is written."""


@dataclass(slots=True)
class Group:
    """Commits that are being gathered. `answered` were answered by what may never become durable,
    so their answers wait for the group's outcome. `taken` are all, in the order of the queue."""

    version: int
    next_version: int
    taken: list[Attempt] = field(default_factory=list)
    records: list[CommitRecord] = field(default_factory=list)
    committed: list[tuple[Attempt, CommitResult[Any]]] = field(default_factory=list)
    answered: list[tuple[Attempt, CommitResult[Any] | BaseException]] = field(default_factory=list)
    images: dict[Segments, StoredDocument | None] = field(default_factory=dict)
    request_ids: set[str] = field(default_factory=set)
    changes_made: ChangesMade = field(default_factory=ChangesMade)
    bytes: int = 0
    snapshot: ReadSnapshot | None = None  # of `version`, where others may commit meanwhile

    def touches(self, query: Query) -> bool:
        return self.changes_made.touch(query)

    def overlaps(self, transaction: Transaction) -> bool:
        """Whether anything that the transaction read is changed by the group so far."""
        images = self.images
        if images:
            if not images.keys().isdisjoint(transaction.read_set):
                return True
            for query in transaction.queries:
                if self.touches(query):
                    return True
        return False

    def stands_upon(self, missed: Sequence[LogRecord]) -> bool:
        """Whether all of it would be the same if these changes of others had been known. Called on
        the engine's thread; nobody else touches the group meanwhile."""
        if self.answered:
            return False
        if any(is_reserved(record.path) for record in missed):
            return False  # what every commit above has to know of: indexes, signals
        changed = [record.path.segments for record in missed]
        collections = {segments[-2] for segments in changed}
        for attempt, _ in self.committed:
            transaction = attempt.transaction
            read_set = transaction.read_set
            if any(segments in read_set for segments in changed):
                return False
            if any(query.collection.id in collections for query in transaction.queries):
                return False
        return True

    def answer(self, attempt: Attempt, outcome: CommitResult[Any] | BaseException) -> None:
        """At once, unless it may rest on what the group wrote so far."""
        if self.records:
            self.answered.append((attempt, outcome))
        else:
            settle(attempt, outcome)

    def add(self, attempt: Attempt, indexes: Indexes, entries_max: int) -> None:
        """Makes the attempt's commit ready to be written, unless a document of it would have too
        many entries."""
        version = self.next_version
        transaction, request = attempt.transaction, attempt.request
        memo = transaction.memo
        try:
            changes = attempt.staged
            entries = _finish(changes, version, indexes, entries_max)
            results = transaction.write_results(version, changes)
            response = b"" if request is None else encode_response(results, request.digest, memo)
        except InvalidArgument as error:
            self.answer(attempt, error)
            return
        except Exception as error:
            _log.exception("a commit cannot be written")
            self.answer(attempt, as_baas_error(error))
            return
        self.next_version += 1
        images = self.images
        self.bytes += entries * _ENTRY_BYTES
        for change in changes:
            new, old = change.new, change.old
            images[change.path.segments] = new
            if new is not None:
                self.bytes += len(new.data)
            if old is not None:
                self.bytes += len(old.data)
        request_id = None
        if request is not None:
            request_id = request.id
            self.request_ids.add(request_id)
        self.changes_made.add(changes)
        self.records.append(CommitRecord(version, changes, request_id, response))
        self.committed.append((attempt, CommitResult(version, results, attempt.value, False, memo)))

    def refuse(self, error: Exception) -> None:
        """All of it that has no answer yet."""
        for attempt in self.taken:
            settle(attempt, as_baas_error(error))

    def put_back(self, queue: deque[Attempt], *, only_requests: bool = False) -> None:
        """Whoever was outrun is tried again, in the same order, before those who came later.
        `only_requests`: those that a request id keeps from being done twice."""
        for attempt in reversed(self.taken):
            if attempt.future.done() or (only_requests and attempt.request_id is None):
                continue
            attempt.conflicts += 1
            if attempt.conflicts > CONFLICTS_MAX:
                settle(attempt, as_baas_error(EngineConflict()))
                continue
            if attempt.is_tentative:
                attempt.read_at = -1  # what it read may never have been
            queue.appendleft(attempt)
        self.taken = [one for one in self.taken if only_requests and one.request_id is None]


class Latest:
    """The latest state, which is the head: nobody commits while a group is gathered."""

    def __init__(self, engine: StorageEngine, queries: QueryRunner) -> None:
        self._engine = engine
        self.run_query = queries.run_query
        self.aggregate = queries.aggregate

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        return await self._engine.get_documents([keys.document_key(path) for path in paths])

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        return self._engine.get_documents_nowait([keys.document_key(path) for path in paths])


class GroupView:
    """The head with the changes of a group over it."""

    def __init__(self, head: Latest | ReadSnapshot, group: Group) -> None:
        self.met_group = False  # a query did; whatever the body makes of it is void
        self._head = head
        self._group = group

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        images = self._group.images
        missing = [path for path in paths if path.segments not in images]
        if not missing:
            return [images[path.segments] for path in paths]
        found = iter(await self._head.get_documents(missing))
        return [images[path.segments] if path.segments in images else next(found) for path in paths]

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        images = self._group.images
        if all(path.segments in images for path in paths):
            return [images[path.segments] for path in paths]
        return None

    async def run_query(self, query: Query) -> QueryResult:
        if self._group.touches(query):
            self.met_group = True
            raise TouchedByGroup
        return await self._head.run_query(query)

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        if self._group.touches(aggregated_query(aggregation)):
            self.met_group = True
            raise TouchedByGroup
        return await self._head.aggregate(aggregation, bounds)


def is_stale(attempt: Attempt, group: Group, recent: RecentCommits, version: int) -> bool:
    """Whether anything that the transaction read was changed since, up to `version`, or by the
    group."""
    transaction = attempt.transaction
    if not transaction.conditions_hold:
        return True
    read_at = attempt.read_at
    if read_at < version:
        if read_at < recent.floor:
            return True
        if recent.has_changed(transaction.read_set, read_at):
            return True
        if transaction.queries:
            if read_at < recent.images_floor:
                return True
            queries = QueriesRead(transaction.queries)
            for event in recent.since(read_at):
                for change in event.changes:
                    if queries.touched_by(change):
                        return True
    return group.overlaps(transaction)


def as_refusal(error: BaseException, *, timed_out: bool) -> BaseException:
    """What the caller of a transaction is told of what its body raised in its turn."""
    if timed_out:
        return TransactionConflict(
            "the transaction took too long while other commits waited for it"
        )
    if isinstance(error, StorageError):
        return as_baas_error(error)
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error
        return Cancelled("the transaction was cancelled")
    if not isinstance(error, Exception):
        raise error
    return error


def _finish(changes: Sequence[Change], version: int, indexes: Indexes, entries_max: int) -> int:
    """Gives staged changes what only their turn tells: their version, and the entries of the
    indexes there are; how many those are. What was in a group that was lost comes here again."""
    count = 0
    of_collection = indexes.of_collection
    for change in changes:
        path, old, new = change.path, change.old, change.new
        if new is not None:
            new.version = version
            if old is None:
                new.created = version
        change.removed_entries = change.added_entries = ()
        kept = of_collection(path.segments[-2])
        if kept and old is None:
            fields = {} if new is None else new.fields
            added = change.added_entries = new_entries(
                kept, path, fields, change.key, most=entries_max
            )
            for found in added:
                count += len(found.keys)
        elif kept:
            change.removed_entries, change.added_entries = indexes.entries_for(
                path,
                None if old is None else old.fields,
                None if new is None else new.fields,
                change.key,
                most=entries_max,
            )
            for found in (*change.removed_entries, *change.added_entries):
                count += len(found.keys)
    return count


def settle(attempt: Attempt, outcome: CommitResult[Any] | BaseException) -> None:
    future = attempt.future
    if future.done():
        return  # whoever waited has gone
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
