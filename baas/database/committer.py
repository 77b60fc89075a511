"""One queue of commits per database, and the task that makes them durable in groups.

A transaction comes here evaluated once, against a snapshot. When its turn has come, the committer
looks whether anything that it read was changed since, by earlier commits or by those before it in
the same group. If so, its body runs again, against the head with the group's changes laid over it:
so it goes through in this group, and a hundred increments of one document share one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from baas.clock import Clock
from baas.database.follower import Follower, Skip
from baas.database.indexes import Indexes
from baas.database.log import CommitEvent, CommitFeed, RecentCommits
from baas.database.optimistic import OpenSnapshot, ReadSnapshot
from baas.database.requests import decode_response, encode_response
from baas.database.transaction import (
    CommitResult,
    QueryResult,
    Segments,
    StagedChange,
    Transaction,
)
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import (
    Aborted,
    BaasError,
    Cancelled,
    DataLoss,
    Internal,
    ResourceExhausted,
    TransactionConflict,
    Unavailable,
)
from baas.model.paths import DocumentPath
from baas.model.queries import Query, matches
from baas.model.timestamps import Timestamp
from baas.settings import Limits
from baas.storage.engine import (
    Change,
    CommitGroup,
    CommitRecord,
    EngineConflict,
    EngineCorrupt,
    EngineFull,
    EngineUnknown,
    Head,
    Snapshot,
    StorageEngine,
    StorageError,
)
from baas.storage.store import StoreMissing

GROUP_BYTES_MAX = 16 * 1024 * 1024  # of new images; a single commit may be larger
REEVALUATION_SECONDS_MAX = 10.0  # all other commits wait meanwhile
CLOCK_AHEAD_MICROSECONDS_MAX = 60_000_000
TURN_SECONDS = 1.0  # a node that has died holds up the others for no longer
CONFLICTS_MAX = 100  # with other nodes, of one commit; each is followed by a pause
PAUSE_SECONDS_MIN = 0.001
PAUSE_SECONDS_MAX = 0.05
COURTESY_SECONDS = 5.0  # after a commit of another node was seen, this one leaves gaps for it
COURTESY_PAUSE_SECONDS_MAX = 0.02
FOLLOW_RETRY_SECONDS = 0.5

Body = Callable[[Transaction], Awaitable[Any]]

_log = structlog.get_logger("baas.committer")


def as_baas_error(error: Exception) -> BaasError:
    """What a caller is told of a failing engine."""
    told: BaasError
    if isinstance(error, BaasError):
        return error
    if isinstance(error, EngineCorrupt):
        told = DataLoss("stored data is damaged", reason="StoredDataDamaged")
    elif isinstance(error, EngineConflict):
        told = Aborted("another server committed first; repeat the call", reason="CommitConflict")
    elif isinstance(error, EngineUnknown):
        told = Unavailable(
            "whether the commit happened could not be found out", reason="CommitOutcomeUnknown"
        )
    elif isinstance(error, StoreMissing):
        told = Unavailable("the database was removed", reason="DatabaseClosed")
    elif isinstance(error, EngineFull):
        told = Unavailable("the server's disk is full; nothing was written", reason="StorageFull")
    elif isinstance(error, StorageError):
        told = Unavailable("the database cannot be reached now", reason="StorageUnavailable")
    else:
        told = Internal("the commit failed")
    told.__cause__ = error
    return told


class QueryRunner(Protocol):
    """Runs a query on the latest committed state."""

    async def __call__(self, query: Query) -> QueryResult: ...


@dataclass(slots=True, eq=False)
class Attempt:
    """A transaction on its way: evaluated, and to be evaluated again if need be."""

    body: Body
    transaction: Transaction
    read_at: int
    staged: list[StagedChange]
    value: Any
    request_id: str | None
    future: asyncio.Future[CommitResult[Any]]
    ends_group: bool = False  # later commits depend on what its event changes in memory
    is_tentative: bool = False  # evaluated on what its group wrote before it
    conflicts: int = 0


class _TouchedByGroup(Exception):
    """A query met changes of its own group, which no engine can see yet."""


class _Outrun(Exception):
    """Another node committed since the group was begun: nothing of it is written."""


@dataclass(slots=True)
class _Group:
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
    bytes: int = 0
    snapshot: ReadSnapshot | None = None  # of `version`, where others may commit meanwhile

    def touches(self, query: Query) -> bool:
        return any(
            touches_query(query, change) for record in self.records for change in record.changes
        )


class _Latest:
    """The latest state, which is the head: nobody commits while a group is gathered."""

    def __init__(self, engine: StorageEngine, run_query: QueryRunner) -> None:
        self._engine = engine
        self.run_query = run_query

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        return await self._engine.get_documents([keys.document_key(path) for path in paths])


class _GroupView:
    """The head with the changes of a group over it."""

    def __init__(self, head: _Latest | ReadSnapshot, group: _Group) -> None:
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

    async def run_query(self, query: Query) -> QueryResult:
        if self._group.touches(query):
            self.met_group = True
            raise _TouchedByGroup
        return await self._head.run_query(query)


def touches_query(query: Query, change: Change) -> bool:
    """Whether a change may alter the query's answer: the document matches before or after."""
    old, new = change.old, change.new
    return (old is not None and matches(query, old)) or (new is not None and matches(query, new))


class Committer:
    """Commits of one database, in groups, one group at a time.

    Fair: first come, first served, and whoever has come is not overtaken. A commit whose body
    refuses fails alone. If the engine fails, the group fails with Unavailable, and the next one is
    tried afresh. Where other nodes commit to the same database, a group that was outrun is read
    anew and tried again; see DESIGN.md.
    """

    def __init__(
        self,
        engine: StorageEngine,
        head: Head,
        indexes: Indexes,
        feed: CommitFeed,
        run_query: QueryRunner,
        open_snapshot: OpenSnapshot,
        *,
        skip: Skip,
        on_removed: Callable[[], None],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.version = head.version
        self.is_clock_behind = False
        self._engine = engine
        self._is_shared = engine.is_shared
        self._indexes = indexes
        self._feed = feed
        self._latest = _Latest(engine, run_query)
        self._open_snapshot = open_snapshot
        self._skip = skip
        self._on_removed = on_removed
        self._follower = Follower(engine, head.incarnation, self._take, self._skip_to)
        self._clock = clock
        self._limits = limits
        self._recent = RecentCommits(head.version)
        self._queue: deque[Attempt] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_behind = False  # others may have committed
        self._must_follow = False  # no group may be begun before it is known what they did
        self._following: list[asyncio.Future[None]] = []
        self._follow_again: asyncio.TimerHandle | None = None
        self._is_follow_failing = False
        self._outrun = 0  # times in succession
        self._others_seen_at = -COURTESY_SECONDS

    @property
    def is_busy(self) -> bool:
        return bool(self._queue) or (self._task is not None and self._wakeup is None)

    def check_queue(self) -> None:
        """Raises ResourceExhausted if too many commits wait, Unavailable after `close`."""
        if self._is_closed:
            raise _closed()
        if len(self._queue) >= self._limits.commit_queue_max:
            raise ResourceExhausted(
                f"{len(self._queue)} commits wait already; try again later",
                reason="CommitQueueFull",
            )

    async def commit(
        self,
        body: Body,
        transaction: Transaction,
        read_at: int,
        staged: list[StagedChange],
        value: Any,
        request_id: str | None,
        *,
        ends_group: bool = False,
    ) -> CommitResult[Any]:
        """Queues an evaluated transaction and waits until it is durable or refused.

        If the caller is cancelled, the commit happens or does not, but never in part. Raises what
        `body` raises when it is evaluated again, and Unavailable, Aborted or DataLoss.
        """
        self.check_queue()
        if asyncio.current_task() is self._task:
            raise Internal("the body of a transaction may not wait for another commit")
        future: asyncio.Future[CommitResult[Any]] = asyncio.get_running_loop().create_future()
        self._queue.append(
            Attempt(body, transaction, read_at, staged, value, request_id, future, ends_group)
        )
        self._wake()
        return await future

    def notice_others(self) -> None:
        """Others may have committed: what they did is published soon."""
        if not self._is_closed:
            self._is_behind = True
            self._wake()

    async def catch_up(self) -> None:
        """Returns when all that others had committed before the call has been published. Raises
        Unavailable."""
        if not self._is_shared:
            return
        if self._is_closed:
            raise _closed()
        following: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following.append(following)
        self._must_follow = True
        self.notice_others()
        await following

    def _wake(self) -> None:
        wakeup = self._wakeup
        if wakeup is not None:
            self._wakeup = None
            wakeup.set_result(None)
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Commits what is queued, refuses newcomers, ends the task."""
        self._is_closed = True
        if self._follow_again is not None:
            self._follow_again.cancel()
        task = self._task
        if task is not None:
            if self._wakeup is not None and not self._wakeup.done():
                self._wakeup.set_result(None)
            await asyncio.wait([task])
        for following in self._following:
            if not following.done():
                following.set_exception(_closed())

    async def _run(self) -> None:
        while True:
            while self._queue or (self._is_behind and not self._is_closed):
                if self._must_follow or not self._queue:
                    await self._follow()
                if self._queue:
                    await self._serve_group()
            if self._is_closed:
                return
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup

    async def _serve_group(self) -> None:
        group = self._start_group()
        try:
            await self._gather(group)
            await self._commit_group(group)
        except _Outrun:
            self._put_back(group)
            await self._pause_outrun()
        except BaasError as error:
            self._must_follow = True
            self._refuse(group, error)
        except Exception as error:
            _log.exception("a group of commits failed")
            self._must_follow = True
            self._refuse(group, error)
        finally:
            if group.snapshot is not None:
                await group.snapshot.close()

    # Other nodes ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Publishes what others committed. If that fails, the next commit does too, and asks again;
        a node that only listens asks again by itself."""
        following, self._following = self._following, []
        self._is_behind = False
        before = self.version
        failure: BaasError | None = None
        try:
            self.version = await self._follower.catch_up(before)
            self._must_follow = False
            self._is_follow_failing = False
        except StoreMissing as error:
            failure = as_baas_error(error)
            self._give_up(failure)
        except (StorageError, BaasError) as error:
            failure = as_baas_error(error) if isinstance(error, StorageError) else error
            self._follow_later(error)
        if self.version != before and self._is_shared:
            self._others_seen_at = self._clock.monotonic_seconds()
        for future in following:
            if not future.done():
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)

    def _take(self, event: CommitEvent) -> None:
        self.version = event.version
        self._recent.add(event)
        self._feed.publish(event)

    async def _skip_to(self, snapshot: Snapshot) -> None:
        """The log tells no more what happened since: whoever follows has to look again."""
        _log.warning("this node was behind for longer than the log reaches back")
        await self._skip(snapshot)
        self.version = snapshot.version
        self._recent.forget_all(snapshot.version)
        self._feed.lose()

    def _follow_later(self, error: Exception) -> None:
        self._must_follow = True
        if not self._is_shared or self._is_closed:
            return
        if not self._is_follow_failing:
            _log.warning("what others committed cannot be read now", error=str(error))
        self._is_follow_failing = True
        if self._follow_again is not None:
            self._follow_again.cancel()
        loop = asyncio.get_running_loop()
        self._follow_again = loop.call_later(FOLLOW_RETRY_SECONDS, self.notice_others)

    def _give_up(self, error: BaasError) -> None:
        """The database is gone, or another one has its name."""
        was_closed, self._is_closed = self._is_closed, True
        while self._queue:
            _settle(self._queue.popleft(), error)
        if not was_closed:
            self._on_removed()

    def _put_back(self, group: _Group) -> None:
        """Whoever was outrun is tried again, in the same order, before those who came later."""
        self._must_follow = True
        for attempt in reversed(group.taken):
            if attempt.future.done():
                continue
            attempt.conflicts += 1
            if attempt.conflicts > CONFLICTS_MAX:
                _settle(attempt, as_baas_error(EngineConflict()))
                continue
            if attempt.is_tentative:
                attempt.read_at = -1  # what it read may never have been
            self._queue.appendleft(attempt)

    async def _pause_outrun(self) -> None:
        self._outrun += 1
        longest = min(PAUSE_SECONDS_MIN * 2**self._outrun, PAUSE_SECONDS_MAX)
        await asyncio.sleep(self._draw(longest))
        # A node that never pauses would be ahead of this one for ever.
        with suppress(StorageError):
            await self._engine.claim_turn(TURN_SECONDS)

    async def _pause_for_others(self, seconds: float) -> None:
        """Who commits without a break is always the first to know the head. Where others commit too
        it leaves them about as much time as it took."""
        self._outrun = 0
        if self._clock.monotonic_seconds() - self._others_seen_at < COURTESY_SECONDS:
            await asyncio.sleep(0.5 * seconds + self._draw(seconds))

    def _draw(self, most: float) -> float:
        return most * int.from_bytes(self._clock.random_bytes(2)) / 65_536

    # Gathering ------------------------------------------------------------------------------------

    def _start_group(self) -> _Group:
        now = self._clock.now_microseconds()
        self._check_clock(now)
        return _Group(self.version, max(now, self.version + 1))

    def _check_clock(self, now: int) -> None:
        """Versions never go back: if the clock did, they count up by one until it catches up."""
        is_behind = self.version - now > CLOCK_AHEAD_MICROSECONDS_MAX
        if is_behind and not self.is_clock_behind:
            _log.error(
                "the clock is far behind the last commit; commit times count up by a microsecond",
                clock=Timestamp(now).isoformat(),
                last_commit=Timestamp(self.version).isoformat(),
            )
        self.is_clock_behind = is_behind

    async def _gather(self, group: _Group) -> None:
        queue = self._queue
        most = self._limits.commit_group_max
        while queue and len(group.records) < most and group.bytes < GROUP_BYTES_MAX:
            attempt = queue.popleft()
            if attempt.future.done():
                continue  # cancelled
            group.taken.append(attempt)
            if attempt.request_id is not None:
                if attempt.request_id in group.request_ids:
                    # The same request again: once the group is durable it has its answer.
                    queue.appendleft(group.taken.pop())
                    return
                if await self._find_replay(attempt, group):
                    continue
            if self._is_stale(attempt, group):
                try:
                    if not await self._evaluate_again(attempt, group):
                        continue
                except _TouchedByGroup:
                    queue.appendleft(group.taken.pop())
                    return
            self._add(attempt, group)
            if attempt.ends_group:
                return

    async def _find_replay(self, attempt: Attempt, group: _Group) -> bool:
        assert attempt.request_id is not None
        try:
            found = await self._engine.find_request(attempt.request_id)
        except StorageError as error:
            group.answered.append((attempt, as_baas_error(error)))
            return True
        if found is None:
            return False
        _settle(attempt, decode_response(*found))
        return True

    def _is_stale(self, attempt: Attempt, group: _Group) -> bool:
        """Whether anything that the transaction read was changed since."""
        transaction = attempt.transaction
        read_at = attempt.read_at
        if read_at < self.version:
            recent = self._recent
            if read_at < recent.floor:
                return True
            for segments in transaction.read_set:
                if recent.changed_at(segments) > read_at:
                    return True
            for query in transaction.queries:
                for event in recent.since(read_at):
                    for change in event.changes:
                        if touches_query(query, change):
                            return True
        images = group.images
        if images:
            for segments in transaction.read_set:
                if segments in images:
                    return True
            for query in transaction.queries:
                if group.touches(query):
                    return True
        return False

    async def _evaluate_again(self, attempt: Attempt, group: _Group) -> bool:
        """Runs the body on the head with the group's changes. False: there is nothing to commit,
        and the answer is known."""
        old = attempt.transaction
        head = await self._open_head(group) if self._is_shared else self._latest
        view = _GroupView(head, group)
        transaction = Transaction(view, old.request_time, self._limits)
        try:
            async with asyncio.timeout(REEVALUATION_SECONDS_MAX) as deadline:
                attempt.value = await attempt.body(transaction)
            staged = transaction.stage()
        except BaseException as error:
            if view.met_group and isinstance(error, Exception):
                raise _TouchedByGroup from None
            self._note_refusal(attempt, group, error, timed_out=deadline.expired())
            return False
        if view.met_group:
            raise _TouchedByGroup
        attempt.staged = staged
        attempt.transaction = transaction
        attempt.read_at = group.version
        attempt.is_tentative = True
        if attempt.staged or attempt.request_id is not None:
            return True
        results = transaction.write_results(group.version, [])
        version = group.records[-1].version if group.records else group.version
        self._answer(attempt, group, CommitResult(version, results, attempt.value))
        return False

    async def _open_head(self, group: _Group) -> ReadSnapshot:
        """What is read again is of one state, the one that the group will be written upon."""
        if group.snapshot is None:
            group.snapshot = await self._open_snapshot()
        if group.snapshot.version != group.version:
            raise _Outrun
        return group.snapshot

    def _note_refusal(
        self, attempt: Attempt, group: _Group, error: BaseException, *, timed_out: bool
    ) -> None:
        if timed_out:
            error = TransactionConflict(
                "the transaction took too long while other commits waited for it"
            )
        elif isinstance(error, StorageError):
            error = as_baas_error(error)
        elif isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error
            error = Cancelled("the transaction was cancelled")
        elif not isinstance(error, Exception):
            raise error
        self._answer(attempt, group, error)

    def _answer(
        self, attempt: Attempt, group: _Group, outcome: CommitResult[Any] | BaseException
    ) -> None:
        if group.records:
            group.answered.append((attempt, outcome))
        else:
            _settle(attempt, outcome)

    def _add(self, attempt: Attempt, group: _Group) -> None:
        version = group.next_version
        request_id = attempt.request_id
        try:
            changes = [self._finish(change, version) for change in attempt.staged]
            results = attempt.transaction.write_results(version, attempt.staged)
            response = b"" if request_id is None else encode_response(results)
        except Exception as error:
            _log.exception("a commit cannot be written")
            self._answer(attempt, group, as_baas_error(error))
            return
        group.next_version += 1
        images = group.images
        for change in changes:
            images[change.path.segments] = change.new
            if change.new is not None:
                group.bytes += len(change.new.data)
        if request_id is not None:
            group.request_ids.add(request_id)
        group.records.append(CommitRecord(version, changes, request_id, response))
        group.committed.append((attempt, CommitResult(version, results, attempt.value)))

    def _finish(self, staged: StagedChange, version: int) -> Change:
        path, old, fields = staged.path, staged.old, staged.fields
        new: StoredDocument | None = None
        if fields is not None:
            created = version if old is None else old.created
            new = StoredDocument(path, staged.data, created=created, version=version, fields=fields)
        indexes = self._indexes
        if not indexes.of_collection(path.segments[-2]):
            return Change(staged.key, path, old, new)
        removed, added = indexes.entries_for(path, None if old is None else old.fields, fields)
        return Change(staged.key, path, old, new, removed, added)

    # Committing -----------------------------------------------------------------------------------

    async def _commit_group(self, group: _Group) -> None:
        if group.records:
            started = self._clock.monotonic_seconds()
            self._is_behind = self._must_follow  # unless it fails, nobody was ahead of it
            try:
                await self._engine.commit(CommitGroup(group.version, group.records))
            except EngineConflict as error:
                raise _Outrun from error
            except StorageError as error:
                if self._is_shared or not await self._has_committed(group):
                    self._fail(group, error)
                    return
            self.version = group.records[-1].version
            for record in group.records:
                event = CommitEvent(record.version, record.changes)
                self._recent.add(event)
                self._feed.publish(event)
        for attempt, result in group.committed:
            _settle(attempt, result)
        for attempt, outcome in group.answered:
            _settle(attempt, outcome)
        if group.records and self._is_shared:
            took = self._clock.monotonic_seconds() - started
            await self._pause_for_others(min(took, COURTESY_PAUSE_SECONDS_MAX))

    async def _has_committed(self, group: _Group) -> bool:
        """Whether a commit that raised has happened all the same: here nobody else commits."""
        self._must_follow = True
        try:
            head = await self._engine.read_head()
        except StorageError:
            return False
        self._must_follow = head.version not in (self.version, group.records[-1].version)
        return head.version == group.records[-1].version

    def _fail(self, group: _Group, error: StorageError) -> None:
        _log.error("a group of commits was not written", error=str(error))
        if self._is_shared:
            self._is_behind = self._must_follow = True
        if isinstance(error, EngineUnknown):
            # With a request id, the next turn finds it done, or does it: one of them for good.
            again = _Group(group.version, group.next_version)
            again.taken = [one for one in group.taken if one.request_id is not None]
            self._put_back(again)
            waiting = set(map(id, again.taken))
            group.taken = [one for one in group.taken if id(one) not in waiting]
        self._refuse(group, error)

    def _refuse(self, group: _Group, error: Exception) -> None:
        for attempt in group.taken:
            _settle(attempt, as_baas_error(error))


def _closed() -> Unavailable:
    return Unavailable("the database is closed", reason="DatabaseClosed")


def _settle(attempt: Attempt, outcome: CommitResult[Any] | BaseException) -> None:
    future = attempt.future
    if future.done():
        return  # whoever waited has gone
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
