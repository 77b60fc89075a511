"""One database: documents, queries, transactions, and every commit as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from baas.clock import Clock
from baas.database.budget import ReadBudget
from baas.database.committer import Committer
from baas.database.contention import Contention
from baas.database.corpora import Corpora
from baas.database.erasing import Eraser
from baas.database.executor import QueryExecutor
from baas.database.failures import as_baas_error, baas_errors
from baas.database.fencing import Fences, HeldBack, check_may_go_on, stay_closed
from baas.database.groups import Attempt
from baas.database.index_builder import IndexBuilder
from baas.database.index_demand import LISTENER, TRUSTED, Asker
from baas.database.index_keeper import IndexKeeper
from baas.database.indexes import IndexDefinition, Indexes
from baas.database.listeners import Listeners
from baas.database.log import CommitFeed, Lost, Subscriber
from baas.database.names import DatabaseName
from baas.database.optimistic import OptimisticView, run_first
from baas.database.optimistic import ReadSnapshot as AnySnapshot
from baas.database.pages import FirstPages
from baas.database.plans import Plans
from baas.database.read_snapshot import ReadSnapshot
from baas.database.requests import RequestKey, decode_response
from baas.database.retention import Retention
from baas.database.signals import Signals
from baas.database.totals import Totals
from baas.database.transaction import CommitResult, QueryResult, Transaction
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import Unavailable
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.tallies import GroupPage, PageBounds
from baas.model.timestamps import Timestamp
from baas.settings import Settings
from baas.storage.engine import Head, Snapshot, StorageEngine, StorageError

T = TypeVar("T")

INDEX_WAIT_SECONDS_MAX = 5.0
WORDS_WAIT_SECONDS_MAX = 1.0  # those take so long to fill that few who wait longer are spared
COUNTS_MAX = 4  # larger counts and aggregations at a time, each with a snapshot of its own
SCANS_MAX = 2  # whole collections gathered at a time, each in memory


class Database:
    """One open database. To be used from one event loop.

    An acknowledged commit is durable, and every read that starts after it sees it.
    """

    is_removed = False  # from the store, by another node: it is of no more use
    _users = 0  # open snapshots and running transactions
    _is_closed = False

    def __init__(
        self,
        name: DatabaseName,
        engine: StorageEngine,
        head: Head,
        *,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self.name = name
        self.incarnation = head.incarnation
        self.last_used_seconds = clock.monotonic_seconds()
        self._clock = clock
        self._limits = settings.limits
        self._settings = settings
        self._engine = engine
        self.is_shared = engine.is_shared  # other nodes, or workers, may commit to it
        self.is_near = engine.is_near  # what is small is read without waiting
        self._indexes = Indexes()
        self.plans = Plans(self._indexes)
        self._feed = CommitFeed()
        self._committer = Committer(
            engine,
            head,
            self._indexes,
            self._feed,
            self,
            self._open_read_snapshot,
            skip=self._skip,
            on_removed=self._note_removed,
            clock=clock,
            limits=settings.limits,
        )
        self.first_pages = FirstPages(engine, self.plans, self._may_lack_indexes)
        self.count_gate = asyncio.Semaphore(COUNTS_MAX)
        self._scan_gate = asyncio.Semaphore(SCANS_MAX)
        self._builder = IndexBuilder(
            engine,
            self._indexes,
            self._run_alone,
            clock=clock,
            collection_indexes_max=settings.limits.collection_indexes_max,
            document_entries_max=settings.limits.document_index_entries_max,
        )
        self.is_index_coming = self._builder.is_coming
        self.index_keeper = IndexKeeper(self._builder, settings.index_idle_seconds)
        self.listeners = Listeners(
            engine,
            self._indexes,
            version=head.version,
            catch_up=self._committer.catch_up if engine.is_shared else None,
            make_executor=partial(self.make_executor, asker=LISTENER),
        )
        self._builder.follow(self._feed)
        self.listeners.follow(self._feed, self._read_version)
        self.totals = Totals(self._read_version).follow(self._feed)
        self._corpora = Corpora(self._indexes, self._read_version, self._limits).follow(self._feed)
        self.retention = Retention(engine, settings, clock)
        self.eraser = Eraser(engine)
        self.signals = Signals(self.run_transaction, self._feed, clock)
        self.contention = Contention.within(settings.limits, engine.lines, self._committer.turns)
        self._make_view = partial(
            OptimisticView, engine, self._read_version, self._open_read_snapshot
        )
        self._unwatch: Callable[[], None] | None = None
        self.fences = Fences(engine, self._committer.hold, head.fence)
        self.on_removed: Callable[[], None] = lambda: None
        self.reopen: Callable[[], Awaitable[Database]] = stay_closed  # where it is now

    @classmethod
    async def open(
        cls, name: DatabaseName, engine: StorageEngine, *, clock: Clock, settings: Settings
    ) -> Database:
        """Takes over an open engine. Raises Unavailable or DataLoss."""
        try:
            database = cls(name, engine, await engine.read_head(), clock=clock, settings=settings)
            snapshot = await engine.open_snapshot()
            try:
                await database._builder.load(snapshot)
            finally:
                await snapshot.close()
        except StorageError as error:
            raise as_baas_error(error) from error
        database._follow()
        return database

    @property
    def version(self) -> int:
        """The last committed version, 0 if there is none."""
        return self._committer.version

    @property
    def is_current(self) -> bool:
        """Whether subscribers have heard of all that other workers of this machine committed."""
        return self._committer.is_current

    @property
    def is_clock_behind(self) -> bool:
        """The machine's clock is more than a minute behind the last commit: degraded health."""
        return self._committer.commit_clock.is_behind

    @property
    def waiting_commits(self) -> int:
        """How many commits wait for those before them."""
        return self._committer.waiting

    @property
    def is_in_use(self) -> bool:
        """Whether closing it now would cut somebody off."""
        return (
            self._users > 0
            or self._committer.is_busy
            or self._feed.keeps_open
            or not self.listeners.is_idle
            or not self.contention.is_idle
        )

    @property
    def indexes(self) -> Indexes:
        return self._indexes

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        """The latest committed images of one instant, in the order of `paths`."""
        try:
            return await self._engine.get_documents([keys.document_key(path) for path in paths])
        except StorageError as error:
            raise as_baas_error(error) from error

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        """The same where it takes no waiting; else None."""
        try:
            return self._engine.get_documents_nowait([keys.document_key(path) for path in paths])
        except StorageError as error:
            raise as_baas_error(error) from error

    def snapshot(self, first: Query | None = None, asker: Asker = TRUSTED) -> ReadSnapshot:
        """For `async with`. `first`: whose first page will be read. `asker`: who lacks indexes."""
        return ReadSnapshot(self, first, asker)

    async def run_query(self, query: Query) -> QueryResult:
        """The whole answer of one instant. The query is taken as checked."""
        async with self.snapshot() as snapshot:
            return await snapshot.run_query(query)

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        """As `ReadSnapshot.aggregate`, of one instant."""
        async with self.snapshot() as snapshot:
            return await snapshot.aggregate(aggregation, bounds)

    async def list_collection_ids(self, parent: DocumentPath | None) -> list[str]:
        """The ids of the collections directly below a document, or of the root for None, sorted."""
        async with self.snapshot() as snapshot:
            return await snapshot.list_collection_ids(parent)

    async def check_reachable(self) -> None:
        """Raises Unavailable unless the store answers."""
        with baas_errors():
            await self._engine.read_head()

    async def read_oldest_version(self) -> int:
        """Versions below it cannot be resumed from."""
        return await self._engine.read_oldest_version()

    async def run_transaction(
        self,
        body: Callable[[Transaction], Awaitable[T]],
        *,
        request_time: Timestamp,
        request_id: str | None = None,
        request_digest: bytes = b"",
        ends_group: bool = False,
    ) -> CommitResult[T]:
        """Runs `body` and commits what it wrote, durably and as if nothing happened in between.

        `body` runs again if something that it read was changed meanwhile, so it must do nothing but
        read and write through its transaction, and may not wait for anything else: the last run may
        hold up all other commits. What it raises goes to the caller, and nothing is written. A body
        that writes nothing commits nothing; its value was true at the result's version.

        The same `request_id` again, within retention, gives the first result and writes nothing;
        with another `request_digest`, which stands for all that is asked, it is refused with
        FailedPrecondition (`IdempotencyKeyReused`).
        If the caller is cancelled, the commit happens whole or not at all. `ends_group`: no commit
        after it is made ready before subscribers have heard of it.

        Behind a fence it waits. If the database is closed before it is ready, or behind the fence,
        it goes on where that is then.
        Raises also ResourceExhausted (`CommitQueueFull`), Unavailable (`WritesPaused`), Aborted,
        DataLoss.
        """
        committer = self._committer
        queued: asyncio.Future[CommitResult[T]] | None = None
        self._users += 1
        self.last_used_seconds = self._clock.monotonic_seconds()
        try:
            committer.check_queue()
            if request_id is not None:
                found = await self._engine.find_request(request_id)
                if found is not None:
                    return decode_response(*found, request_digest)
            view = self._make_view()
            needs_commit = request_id is not None
            transaction, staged, value = await run_first(
                body, view, request_time, self._limits, needs_commit=needs_commit
            )
            if not staged and not needs_commit:
                results = transaction.write_results(view.read_at, staged)
                return CommitResult(view.read_at, results, value)
            request = None if request_id is None else RequestKey(request_id, request_digest)
            attempt = Attempt(body, transaction, view.read_at, staged, value, request, ends_group)
            queued = committer.queue(attempt)
            return await queued
        except (HeldBack, StorageError, Unavailable) as error:
            is_closed = self._is_closed and not self.is_removed
            check_may_go_on(error, is_closed=is_closed, was_queued=queued is not None)
        finally:
            self._users -= 1
        return await (await self.reopen()).run_transaction(
            body,
            request_time=request_time,
            request_id=request_id,
            request_digest=request_digest,
            ends_group=ends_group,
        )

    def _read_version(self) -> int:
        return self._committer.version

    def subscribe(
        self,
        subscriber: Subscriber,
        *,
        keep_open: bool = True,
        on_lost: Lost | None = None,
        on_late: Lost | None = None,
    ) -> Callable[[], None]:
        """As `CommitFeed.subscribe`. With `keep_open` the database counts as in use."""
        return self._feed.subscribe(
            subscriber, keep_open=keep_open, on_lost=on_lost, on_late=on_late
        )

    async def catch_up(self) -> None:
        """Returns when subscribers have heard of all that other nodes had committed before the
        call. Raises Unavailable."""
        await self._committer.catch_up()

    async def start_incarnation(self) -> str:
        """Whatever resumes from a token of before begins anew, and so must this object: to be
        closed now. The new incarnation."""
        incarnation = self._clock.random_bytes(12).hex()
        with baas_errors():
            await self._engine.start_incarnation(incarnation)
        return incarnation

    async def wait_indexed(self, missing: Sequence[IndexDefinition]) -> None:
        """Waits a few seconds at most until these are made: without them every caller would read
        the whole collection, all at the same time. Snapshots opened later may use them."""
        are_long = any(definition.words for definition in missing)
        seconds = WORDS_WAIT_SECONDS_MAX if are_long else INDEX_WAIT_SECONDS_MAX
        await self._builder.wait_made(missing, seconds=seconds)

    async def close(self) -> None:
        """Finishes what is queued, refuses newcomers, closes the engine."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._unwatch is not None:
            self._unwatch()
            self._feed.lose()
        await self.index_keeper.close()
        self.listeners.close(Unavailable("the database is closed", reason="DatabaseClosed"))
        await self._builder.close()
        await self._committer.close()
        await self.contention.close()
        await self._engine.close()

    # For ReadSnapshot -----------------------------------------------------------------------------

    async def open_snapshot(self, first: Query | None = None) -> tuple[Snapshot, int]:
        """An engine's snapshot and the generation of indexes that it may use."""
        if self._is_closed:
            raise Unavailable("the database is closed", reason="DatabaseClosed")
        generation = self._indexes.generation
        scan = None if first is None or self._engine.is_near else self.plans.expected_scan(first)
        try:
            snapshot = await self._engine.open_snapshot(scan)
        except StorageError as error:
            raise as_baas_error(error) from error
        if self._may_lack_indexes(snapshot.version):
            await snapshot.close()
            await self._committer.catch_up()
            return await self.open_snapshot(first)
        self._users += 1
        self.last_used_seconds = self._clock.monotonic_seconds()
        return snapshot, generation

    def _may_lack_indexes(self, version: int) -> bool:
        """Whether what was planned before may rest on an index that another node has deleted since,
        up to `version`."""
        is_ahead = version > self._committer.version
        return is_ahead and self._engine.is_shared and self._committer.is_stale()

    async def close_snapshot(self, snapshot: Snapshot) -> None:
        self._users -= 1
        await snapshot.close()

    def make_executor(self, snapshot: Snapshot, generation: int, asker: Asker) -> QueryExecutor:
        return QueryExecutor(
            snapshot,
            self._indexes,
            generation,
            on_missing=partial(self._builder.want, asker=asker),
            scan_gate=self._scan_gate,
            plans=self.plans,
            budget=ReadBudget(self._clock, self._limits.query_seconds_max),
            corpora=self._corpora,
        )

    async def _run_alone(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        now = Timestamp(self._clock.now_microseconds())
        return (await self.run_transaction(body, request_time=now, ends_group=True)).value

    # For the committer, where other nodes commit too ----------------------------------------------

    def _follow(self) -> None:
        if self._engine.is_shared:
            self._unwatch = self._engine.watch(self._committer.notice_others)
            self._committer.notice_others()  # of what came before the watching began

    async def _open_read_snapshot(self) -> AnySnapshot:
        return await self.snapshot().open()

    async def _skip(self, snapshot: Snapshot) -> None:
        await self._builder.load(snapshot)

    def _note_removed(self) -> None:
        self.is_removed = True
        self.on_removed()
