"""One queue of commits per database, and the task that makes them durable in groups.

A transaction comes here evaluated once, against a snapshot. When its turn has come, the committer
looks whether anything that it read was changed since, by earlier commits or by those before it in
the same group. If so, its body runs again, against the head with the group's changes laid over it:
so it goes through in this group, and a hundred increments of one document share one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from baas.clock import Clock
from baas.database.failures import as_baas_error
from baas.database.fencing import Fenced, HeldBack, Hold
from baas.database.follower import Follower, Lateness, Skip
from baas.database.groups import (
    Attempt,
    Group,
    GroupView,
    Latest,
    Outrun,
    QueryRunner,
    TouchedByGroup,
    as_refusal,
    is_stale,
    settle,
)
from baas.database.indexes import Indexes
from baas.database.log import CommitEvent, CommitFeed, RecentCommits
from baas.database.optimistic import OpenSnapshot, ReadSnapshot
from baas.database.requests import replay
from baas.database.transaction import (
    CommitResult,
    Transaction,
)
from baas.database.turns import CommitClock, Turns
from baas.ending import only_own_cancellations
from baas.errors import (
    BaasError,
    Internal,
    ResourceExhausted,
    Unavailable,
)
from baas.settings import Limits
from baas.storage.engine import (
    CommitGroup,
    EngineConflict,
    EngineFenced,
    EngineUnknown,
    Head,
    LogRecord,
    Snapshot,
    StorageEngine,
    StorageError,
)
from baas.storage.store import StoreMissing

GROUP_BYTES_MAX = 16 * 1024 * 1024  # of images, old and new; a single commit may be larger
DEFECT_PAUSE_SECONDS = 0.05
REEVALUATION_SECONDS_MAX = 10.0  # all other commits wait meanwhile
_log = structlog.get_logger("baas.committer")


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
        queries: QueryRunner,
        open_snapshot: OpenSnapshot,
        *,
        skip: Skip,
        on_removed: Callable[[], None],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.version = head.version
        self.commit_clock = CommitClock(clock)
        self._engine = engine
        self._is_shared = engine.is_shared
        self._indexes = indexes
        self._feed = feed
        self._latest = Latest(engine, queries)
        self._open_snapshot = open_snapshot
        self._skip = skip
        self._on_removed = on_removed
        self._follower = Follower(
            engine,
            head.incarnation,
            self._publish,
            self._publish_paths,
            self._skip_to,
            lambda: feed.is_heard,
            clock,
        )
        self.is_stale = self._follower.is_stale
        self._clock = clock
        self._limits = limits
        self._recent = RecentCommits(head.version)
        self._queue: deque[Attempt] = deque()
        self.hold = Hold(engine, self._queue, limits.fence_wait_seconds, clock)
        self._wakeup: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_evaluating = False  # a body runs again, in the committer's task
        self._is_behind = False  # others may have committed
        self._foreign = -1 if engine.is_shared else 0  # as the engine counted when all was known
        self._must_follow = False  # no group may be begun before it is known what they did
        self._lateness = Lateness(feed.be_late)
        self.turns = Turns(engine, clock)

    @property
    def is_busy(self) -> bool:
        return bool(self._queue) or (self._task is not None and self._wakeup is None)

    @property
    def is_current(self) -> bool:
        """Whether all is known that others are known to have committed."""
        return self._engine.count_foreign() == self._foreign

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def check_queue(self) -> None:
        """Raises ResourceExhausted if too many wait, Unavailable after `close`, or HeldBack."""
        if self._is_closed:
            raise HeldBack if self.hold.is_on else _closed()
        if len(self._queue) >= self._limits.commit_queue_max:
            raise ResourceExhausted(
                f"{len(self._queue)} commits wait already; try again later",
                reason="CommitQueueFull",
            )

    def queue(self, attempt: Attempt) -> asyncio.Future[CommitResult[Any]]:
        """Queues an evaluated transaction. The future has its result when it is durable, or what
        `body` raised when it was evaluated again, or Unavailable, Aborted or DataLoss, or HeldBack.

        If it is cancelled, the commit happens or does not, but never in part.
        """
        self.check_queue()
        if self._is_evaluating and asyncio.current_task() is self._task:
            raise Internal("the body of a transaction may not wait for another commit")
        self._queue.append(attempt)
        self._wake()
        return attempt.future

    def notice_others(self) -> None:
        """Others may have committed: what they did is published soon. While it is not, subscribers
        are told that they are late."""
        if not self._is_closed:
            self._is_behind = True
            self._lateness.begin()
            self.hold.look()
            self._wake()

    async def catch_up(self) -> None:
        """Returns when all that others had committed before the call has been published. Raises
        Unavailable."""
        if not self._is_shared:
            return
        if self._is_closed:
            raise _closed()
        followed = self._follower.wait()
        self._must_follow = True
        self.notice_others()
        await followed

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Commits what is queued, or lets go of it behind a fence; refuses newcomers."""
        self._is_closed = True
        self.hold.look()
        self._lateness.end()
        self._follower.stop()
        task = self._task
        if task is not None:
            if self._wakeup is not None and not self._wakeup.done():
                self._wakeup.set_result(None)
            await asyncio.wait([task])
        self._follower.refuse(_closed())

    async def _run(self) -> None:
        while True:
            while self._queue or (self._is_behind and not self._is_closed):
                try:
                    with only_own_cancellations():
                        await self._serve()
                except Exception:
                    # A defect. Without this task, all who commit would wait for ever.
                    _log.exception("the committer goes on")
                    await asyncio.sleep(DEFECT_PAUSE_SECONDS)
            if self._is_closed:
                return
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup

    async def _serve(self) -> None:
        if self._must_follow or not self._queue or (self.hold.is_on and self._is_behind):
            await self._follow()
        if self.hold.is_on:
            await (self.hold.end() if self._is_closed else self.hold.wait())
        elif self._queue:
            await self._serve_group()
        else:
            self._engine.end_turn()

    async def _serve_group(self) -> None:
        group = Group(self.version, self.commit_clock.next_version(self.version))
        try:
            with only_own_cancellations():
                await self._gather(group)
                await self._commit_group(group)
        except Outrun:
            self._must_follow = True
            group.put_back(self._queue)
            await self.turns.claim()
        except Fenced:
            self.hold.begin(group)
        except Exception as error:
            if not isinstance(error, BaasError):
                _log.exception("a group of commits failed")
            self._must_follow = True
            self._engine.end_turn()
            group.refuse(error)
        finally:
            if group.snapshot is not None:
                await group.snapshot.close()

    # Other nodes ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Publishes what others committed. If that fails, the next commit does too, and asks again;
        a node that only listens asks again by itself."""
        self._is_behind = False
        before = self.version
        try:
            foreign = self._engine.count_foreign()
            self.version = await self._follower.follow(before)
            self._foreign = foreign
            self._must_follow = False
            if not self._is_behind:  # again, meanwhile
                self._lateness.end()
        except StoreMissing as error:
            self._give_up(as_baas_error(error))
        except Exception as error:
            self._must_follow = True
            if self._is_shared and not self._is_closed:
                self._follower.repeat(error, self.notice_others)
        if self.version != before:
            self.turns.note_others()

    def _publish(self, event: CommitEvent) -> None:
        self.version = event.version
        self._feed.publish(event)
        self._recent.add(event)

    def _publish_paths(self, records: Sequence[LogRecord]) -> None:
        """Commits of others of which nobody wants to know more than what they touched."""
        self.version = records[-1].version
        self._recent.add_paths(records)
        self._feed.publish(CommitEvent(self.version, ()))

    async def _skip_to(self, snapshot: Snapshot) -> None:
        """The log tells no more what happened since: whoever follows has to look again."""
        _log.warning("this node was behind for longer than the log reaches back")
        await self._skip(snapshot)
        self.version = snapshot.version
        self._recent.forget_all(snapshot.version)
        self._feed.lose()

    def _give_up(self, error: BaasError) -> None:
        """The database is gone, or another one has its name."""
        was_closed, self._is_closed = self._is_closed, True
        self._lateness.end()
        while self._queue:
            settle(self._queue.popleft(), error)
        if not was_closed:
            self._on_removed()

    # Gathering ------------------------------------------------------------------------------------

    async def _gather(self, group: Group) -> None:
        queue = self._queue
        most = self._limits.commit_group_max
        while queue and len(group.records) < most and group.bytes < GROUP_BYTES_MAX:
            attempt = queue.popleft()
            if attempt.future.done():
                continue  # cancelled
            group.taken.append(attempt)
            if attempt.request is not None:
                if attempt.request.id in group.request_ids:
                    # The same request again: once the group is durable it has its answer.
                    queue.appendleft(group.taken.pop())
                    return
                if await _find_replay(self._engine, attempt, group):
                    continue
            if self._is_stale(attempt, group):
                try:
                    if not await self._evaluate_again(attempt, group):
                        continue
                except TouchedByGroup:
                    queue.appendleft(group.taken.pop())
                    return
            group.add(attempt, self._indexes, self._limits.document_index_entries_max)
            if attempt.ends_group:
                return

    def _is_stale(self, attempt: Attempt, group: Group) -> bool:
        return is_stale(attempt, group, self._recent, self.version)

    async def _evaluate_again(self, attempt: Attempt, group: Group) -> bool:
        """Runs the body on the head with the group's changes. False: there is nothing to commit,
        and the answer is known."""
        head = await _open_head(group, self._open_snapshot) if self._is_shared else self._latest
        view = GroupView(head, group)
        transaction = Transaction(view, attempt.transaction.request_time, self._limits)
        self._is_evaluating = True
        try:
            async with asyncio.timeout(REEVALUATION_SECONDS_MAX) as deadline:
                attempt.value = await attempt.body(transaction)
            staged = transaction.stage()
        except BaseException as error:
            if view.met_group and isinstance(error, Exception):
                raise TouchedByGroup from None
            group.answer(attempt, as_refusal(error, timed_out=deadline.expired()))
            return False
        finally:
            self._is_evaluating = False
        if view.met_group:
            raise TouchedByGroup
        attempt.staged = staged
        attempt.transaction = transaction
        attempt.read_at = group.version
        attempt.is_tentative = True
        if attempt.staged or attempt.request_id is not None:
            return True
        results = transaction.write_results(group.version, [])
        version = group.records[-1].version if group.records else group.version
        group.answer(attempt, CommitResult(version, results, attempt.value))
        return False

    # Committing -----------------------------------------------------------------------------------

    async def _commit_group(self, group: Group) -> None:
        if group.records:
            started = self._clock.monotonic_seconds()
            self._is_behind = self._must_follow  # unless it fails, nobody was ahead of it
            made = CommitGroup(group.version, group.records, group.stands_upon)
            missed: Sequence[LogRecord] = ()
            try:
                missed = await self._engine.commit(made)
            except EngineConflict as error:
                raise Outrun from error
            except EngineFenced as error:
                raise Fenced from error
            except StorageError as error:
                if self._is_shared or not await self._has_committed(group):
                    self._fail(group, error)
                    return
            if not self._is_behind:
                self._lateness.end()
            if missed and not await self._follower.take_missed(
                self.version, missed, self.notice_others
            ):
                # The group is told with what is below it, later, as if others had made it.
                self._is_behind = self._must_follow = True
            else:
                for record in group.records:
                    self._publish(record)
        else:
            self._engine.end_turn()
        for attempt, result in group.committed:
            settle(attempt, result)
        for attempt, outcome in group.answered:
            settle(attempt, outcome)
        if group.records and self._is_shared:
            await self.turns.leave_gap(self._clock.monotonic_seconds() - started)

    async def _has_committed(self, group: Group) -> bool:
        """Whether a commit that raised has happened all the same: here nobody else commits."""
        self._must_follow = True
        try:
            head = await self._engine.read_head()
        except StorageError:
            return False
        self._must_follow = head.version not in (self.version, group.records[-1].version)
        return head.version == group.records[-1].version

    def _fail(self, group: Group, error: StorageError) -> None:
        _log.error("a group of commits was not written", error=str(error))
        if self._is_shared:
            self._is_behind = self._must_follow = True
        if isinstance(error, EngineUnknown):
            # With a request id, the next turn finds it done, or does it: one of them for good.
            group.put_back(self._queue, only_requests=True)
        group.refuse(error)


def _closed() -> Unavailable:
    return Unavailable("the database is closed", reason="DatabaseClosed")


async def _open_head(group: Group, open_snapshot: OpenSnapshot) -> ReadSnapshot:
    """What is read again is of one state, the one that the group will be written upon."""
    snapshot = group.snapshot = group.snapshot or await open_snapshot()
    if snapshot.version != group.version:
        raise Outrun
    return snapshot


async def _find_replay(engine: StorageEngine, attempt: Attempt, group: Group) -> bool:
    """Whether the attempt is answered already: it was made before, or that cannot be told."""
    assert attempt.request is not None
    try:
        found = await engine.find_request(attempt.request.id)
    except StorageError as error:
        group.answered.append((attempt, as_baas_error(error)))
        return True
    if found is None:
        return False
    settle(attempt, replay(*found, attempt.request.digest))
    return True
