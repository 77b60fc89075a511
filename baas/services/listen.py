"""Listening under rules: the use case behind every live query.

A session is one caller on one connection with its targets. Documents are allowed by `get`, queries
by proof of `list`, before the first update; and **again before anything else is sent** when what
the permission rested on may have changed:

    another ruleset is in force                 every target is proved again
    the token expires                           every target ends with TokenExpired
    the user is disabled, the session revoked   every target ends with the reason
    a document that the rules looked up changes that target is proved again
    a document target gets a new image          that image is checked

Signals only set flags, at the commit that causes them; `next_event` acts on them before it gives
out the next update. Updates wait in one bounded queue per session: beyond it they are dropped, and
the targets concerned get everything anew once the reader keeps up again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from baas.database.database import Database
from baas.database.listeners import (
    DocumentsTarget,
    QueryTarget,
    Subscription,
    Target,
    Update,
    Watch,
    target_key,
)
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.views import ChangeKind
from baas.errors import (
    BaasError,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    TokenExpired,
    TooManyListeners,
    Unavailable,
)
from baas.model.paths import DocumentPath
from baas.model.query_checks import check_query, refuse_search
from baas.projects.records import PROJECTS
from baas.services.authentication import identify
from baas.services.authorizer import Authorizer
from baas.services.caller import ANONYMOUS, Caller
from baas.services.context import Context
from baas.services.documents import make_authorizer, open_database, read_time
from baas.services.resume_tokens import ResumeTokens
from baas.services.update_queue import UpdateQueue

HEARTBEAT_SECONDS = 30.0
_NEVER = -1  # a version that no log reaches back to
_log = structlog.get_logger("baas.listen")


@dataclass(frozen=True, slots=True)
class TargetAdded:
    """The target is allowed; its first update follows."""

    target: int


@dataclass(frozen=True, slots=True)
class TargetUpdated:
    """`read_time` in microseconds; `resume_token` stands for the answer after the update."""

    target: int
    update: Update
    read_time: int
    resume_token: str


@dataclass(frozen=True, slots=True)
class TargetRemoved:
    """Nothing more comes of the target. No error: the client asked for it."""

    target: int
    error: BaasError | None


ListenEvent: TypeAlias = TargetAdded | TargetUpdated | TargetRemoved


class ListenHub:
    """All listening sessions of this process."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.resume_key = context.secret.derive("resume-tokens")
        self._sessions: dict[str, set[ListenSession]] = {}
        self._is_watching = False
        self._unwatch: list[Callable[[], None]] = []
        # A project's users may be changed by other nodes: while somebody listens, that is heard.
        self._kept_open: dict[str, Callable[[], None]] = {}
        self._drained: BaasError | None = None

    @property
    def session_count(self) -> int:
        return sum(map(len, self._sessions.values()))

    async def open_session(self, name: DatabaseName, token: str | None) -> ListenSession:
        """A session of whoever shows the token. Raises Unauthenticated, NotFound, Unavailable, and
        ResourceExhausted (`TooManyConnections`)."""
        if self._drained is not None:
            raise self._drained
        await self._watch()
        session = ListenSession(self, name)
        await open_database(self.context, name)
        # Known before the token is looked at: a revocation from then on reaches it.
        sessions = self._sessions.setdefault(name.project, set())
        if len(sessions) >= self.context.settings.limits.project_connections_max:
            raise ResourceExhausted(
                "the project has as many open listen connections as it may",
                reason="TooManyConnections",
            )
        sessions.add(session)
        try:
            await self.keep_open(name.project)
            await session.authenticate(token)
        except BaseException:
            await session.close()
            raise
        return session

    def forget(self, session: ListenSession) -> None:
        """The session is closed."""
        project = session.name.project
        sessions = self._sessions.get(project, set())
        sessions.discard(session)
        if not sessions:
            self._sessions.pop(project, None)
            self._let_go(project)

    def drain(self) -> None:
        """Ends every session with a word that says why, and refuses newcomers."""
        self._drained = Unavailable("the server is shutting down", reason="ShuttingDown")
        for session in self._all():
            session.end(self._drained)
        for unwatch in self._unwatch:
            unwatch()
        self._unwatch.clear()

    def _all(self) -> list[ListenSession]:
        return [session for sessions in self._sessions.values() for session in sessions]

    async def keep_open(self, project: str) -> None:
        """What other nodes do to the project's users is heard from now on, while somebody listens:
        also where the project has moved to an engine that they share."""
        if project in self._kept_open:
            return
        database = await self.context.databases.system(project)
        if database.is_shared and project not in self._kept_open:
            self._kept_open[project] = database.subscribe(
                lambda event: None, on_lost=lambda: self._let_go(project)
            )

    def _let_go(self, project: str) -> None:
        let_go = self._kept_open.pop(project, None)
        if let_go is not None:
            let_go()

    async def _watch(self) -> None:
        if self._is_watching:
            return
        database = await self.context.databases.system(None)
        if not self._is_watching:
            self._is_watching = True
            self._unwatch = [
                database.subscribe(self._on_system_commit, on_lost=self._on_system_lost),
                self.context.accounts.watch_revocations(self._on_revocation),
            ]

    def _on_system_commit(self, event: CommitEvent) -> None:
        """A release, a key, an administrator's session: whom it may concern looks again."""
        projects: set[str] = set()
        concerns_holders = False
        for change in event.changes:
            collection, identifier = change.path.segments[:2]
            if collection == PROJECTS.id:
                projects.add(identifier)
            else:
                concerns_holders = True
        for project in projects:
            for session in tuple(self._sessions.get(project, ())):
                session.recheck(rules=True)
        if concerns_holders:
            for session in self._all():
                if session.caller.bypasses_rules:
                    session.recheck(rules=False)

    def _on_system_lost(self) -> None:
        """Whatever may have happened: all look again."""
        for session in self._all():
            session.recheck(rules=True)

    def _on_revocation(self, project: str, uid: str | None) -> None:
        for session in tuple(self._sessions.get(project, ())):
            if uid is None or session.caller.uid == uid:
                session.recheck(rules=False)


class _Target:
    """One target of a session."""

    __slots__ = (
        "id",
        "incarnation",
        "subscription",
        "target",
        "task",
        "tokens",
        "watch",
    )

    def __init__(self, identifier: int, target: Target) -> None:
        self.id = identifier
        self.target = target
        self.subscription: Subscription | None = None
        self.incarnation = ""
        self.tokens: ResumeTokens | None = None
        self.watch: Watch | None = None
        self.task: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
        if self.subscription is not None:
            self.subscription.close()
        if self.watch is not None:
            self.watch.close()


class ListenSession:
    """One caller's targets. One task asks for `next_event`; the rest may come from others."""

    def __init__(self, hub: ListenHub, name: DatabaseName) -> None:
        self.name = name
        self.caller: Caller = ANONYMOUS
        self._hub = hub
        self._context = hub.context
        self._limits = hub.context.settings.limits
        self._token: str | None = None
        self._targets: dict[int, _Target] = {}
        self._told: deque[ListenEvent] = deque()
        self._queue: UpdateQueue[_Target] = UpdateQueue(
            messages_max=self._limits.listen_queue_messages_max,
            bytes_max=self._limits.listen_queue_bytes_max,
        )
        self._wake = asyncio.Event()
        # What the permission of these rested on may have changed.
        self._stale: dict[_Target, None] = {}
        self._must_identify = False
        self._refusal: BaasError | None = None  # why new targets are refused: the token is no good
        self._ended: BaasError | None = None
        self._is_interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat_at = hub.context.clock.monotonic_seconds() + HEARTBEAT_SECONDS

    # What the client does -------------------------------------------------------------------------

    async def authenticate(self, token: str | None) -> None:
        """Another user, or a fresh token of the same one: every target is proved again.
        Raises TokenInvalid, TokenExpired."""
        caller = ANONYMOUS
        await self._context.databases.keep_up(self.name.project)
        if token is not None:
            caller = await identify(self._context, self.name.project, token)
        self._token, self.caller, self._refusal = token, caller, None
        for target in self._targets.values():
            target.tokens = None
        # Once more, from memory: a revocation that came meanwhile looked for another caller.
        self.recheck(rules=True)

    def add_target(self, identifier: int, target: Target, resume_token: str | None) -> None:
        """Starts listening; what becomes of it are events. Raises InvalidArgument for a number that
        is in use, or a query that is none."""
        if identifier in self._targets:
            raise InvalidArgument(f"target `{identifier}` is in use", reason="TargetInUse")
        if isinstance(target, QueryTarget):
            check_query(target.query, self._limits)
            refuse_search(target.query, "by a listener: ask again, or listen to the documents")
        if len(self._targets) >= self._limits.connection_targets_max:
            error = TooManyListeners(
                f"a connection has at most {self._limits.connection_targets_max} targets"
            )
            self._tell(TargetRemoved(identifier, error))
            return
        made = _Target(identifier, target)
        self._targets[identifier] = made
        made.task = asyncio.create_task(self._start(made, resume_token), name="start of a target")

    def remove_target(self, identifier: int) -> None:
        """Ends a target at the client's wish; nothing of it is given out but the confirmation. One
        that has ended already is not confirmed again."""
        target = self._targets.get(identifier)
        if target is not None:
            self._remove(target, None)

    def has_target(self, identifier: int) -> bool:
        """Whether the number is in use."""
        return identifier in self._targets

    # What happens around --------------------------------------------------------------------------

    def recheck(self, *, rules: bool) -> None:
        """Before the next update: is the token still good; with `rules`, does each target hold?"""
        self._must_identify = True
        if rules:
            self._stale = dict.fromkeys(self._targets.values())
        self._wake.set()

    def end(self, error: BaasError) -> None:
        """`next_event` raises the error as soon as it can; what is queued is dropped."""
        if self._ended is None:
            self._ended = error
        self._wake.set()

    @property
    def has_ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended is not None

    def interrupt(self) -> None:
        """Whoever waits for the next event has something else to do first."""
        self._is_interrupted = True
        self._wake.set()

    async def close(self) -> None:
        """Frees everything. May be called twice."""
        self._hub.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        targets, self._targets = self._targets, {}
        for target in targets.values():
            target.close()
        tasks = [target.task for target in targets.values() if target.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    # What the client is told ----------------------------------------------------------------------

    async def next_event(self) -> ListenEvent | None:
        """Waits for the next thing to tell the client; None after `interrupt`. Raises the error
        that ended the session."""
        while True:
            self._wake.clear()
            if self._ended is not None:
                raise self._ended
            if self._is_interrupted:
                self._is_interrupted = False
                return None
            if self._must_identify or self._has_expired():
                await self._identify_again()
                continue
            # One that is being started is proved before its first update.
            stale = next((target for target in self._stale if target.task is None), None)
            if stale is not None:
                await self._prove_again(stale)
                continue
            if self._told:
                return self._told.popleft()
            if self._queue:
                event = await self._next_update()
                if event is not None:
                    return event
                continue
            await self._wait()

    async def _next_update(self) -> TargetUpdated | None:
        """The first of the queue; None if there is something to be looked at before."""
        first = self._queue.first
        assert first is not None
        target, update = first
        databases = self._context.databases
        if databases.has_workers and not databases.is_current(self.name.project):
            # Another worker may have taken the right to it before it made the update.
            await databases.keep_up(self.name.project)
            if self._must_look_round() or self._queue.first is not first:
                return None
        try:
            if update is None:
                await self._catch_up(target)
                return None
            if isinstance(target.target, DocumentsTarget) and not self.caller.bypasses_rules:
                await self._check_images(target, update)
                if self._must_look_round() or self._queue.first is not first:
                    return None
        except BaasError as error:
            self._remove(target, error)
            return None
        self._queue.pop()
        return self._updated(target, update)

    async def _catch_up(self, target: _Target) -> None:
        """In place of the updates that were dropped, puts the whole answer in front."""
        self._queue.pop()
        assert target.subscription is not None
        update = await target.subscription.full_update()
        if self._targets.get(target.id) is target:
            self._queue.push_whole(target, update)

    def _must_look_round(self) -> bool:
        """Whether something came up that goes before any update."""
        if self._must_identify or self._ended is not None:
            return True
        return any(target.task is None for target in self._stale)

    def _updated(self, target: _Target, update: Update) -> TargetUpdated:
        if target.tokens is None:
            target.tokens = self._resume_tokens(target)
        time = read_time(self._context, update.version).microseconds
        return TargetUpdated(target.id, update, time, target.tokens.make(update.version))

    async def _wait(self) -> None:
        clock = self._context.clock
        delay = self._heartbeat_at - clock.monotonic_seconds()
        if delay <= 0:
            self._beat()
            return
        if self.caller.expires_at is not None and self._refusal is None:
            left = self.caller.expires_at - clock.now_microseconds() / 1_000_000
            delay = min(delay, max(left, 0.001))
        # One timer that mostly stays, instead of one for every wait.
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        timer = self._timer
        if timer is None or timer.when() < loop.time() or timer.when() > due + 0.01:
            if timer is not None:
                timer.cancel()
            self._timer = loop.call_at(due, self._wake.set)
        await self._wake.wait()

    def _beat(self) -> None:
        """A fresh resume token for targets that have been still while the database went on."""
        self._heartbeat_at = self._context.clock.monotonic_seconds() + HEARTBEAT_SECONDS
        for target in self._targets.values():
            subscription = target.subscription
            if subscription is not None and subscription.version >= 0:
                update = subscription.progress()
                if update is not None:
                    self._enqueue(target, update)

    # Updates --------------------------------------------------------------------------------------

    async def _start(self, target: _Target, resume_token: str | None) -> None:
        try:
            if self._refusal is not None:
                raise self._refusal
            await self._hub.keep_open(self.name.project)
            await self._prove(target)
            database = await self._open()
            self._tell(TargetAdded(target.id))
            target.incarnation = database.incarnation
            resume_from = None
            if resume_token is not None:
                version = self._resume_tokens(target).read(resume_token)
                resume_from = _NEVER if version is None else version
            target.subscription = await database.listeners.listen(
                target.target,
                lambda update: self._enqueue(target, update),
                lambda error: self._remove(target, error),
                resume_from=resume_from,
            )
        except BaasError as error:
            self._remove(target, error)
        except Exception:
            _log.exception("a target could not be started")
            self._remove(target, Internal("internal error"))
        finally:
            target.task = None
        self._wake.set()

    def _enqueue(self, target: _Target, update: Update) -> None:
        """Takes an update from the listeners. Neither waits nor raises."""
        if not self._queue.push(target, update, is_first=target.subscription is None):
            _log.info("a slow listener is reset", project=self.name.project)
        self._wake.set()

    def _tell(self, event: ListenEvent) -> None:
        self._told.append(event)
        self._wake.set()

    def _remove(self, target: _Target, error: BaasError | None) -> None:
        if self._targets.get(target.id) is not target:
            return
        del self._targets[target.id]
        self._stale.pop(target, None)
        self._queue.forget(target)
        target.close()
        self._tell(TargetRemoved(target.id, error))

    def _resume_tokens(self, target: _Target) -> ResumeTokens:
        return ResumeTokens(
            self._hub.resume_key,
            incarnation=target.incarnation,
            target=target_key(target.target),
            caller=f"{self.caller.kind.value}/{self.caller.uid or ''}",
        )

    async def _open(self) -> Database:
        return await open_database(self._context, self.name)

    # Rights ---------------------------------------------------------------------------------------

    def _has_expired(self) -> bool:
        expires_at = self.caller.expires_at
        if expires_at is None or self._refusal is not None:
            return False
        return self._context.clock.now_microseconds() >= expires_at * 1_000_000

    async def _identify_again(self) -> None:
        """Ends all targets if the token is no good any more."""
        self._must_identify = False
        token = self._token
        if token is None or self._refusal is not None:
            return
        try:
            if self._has_expired():
                raise TokenExpired("the token has expired")
            caller = await identify(self._context, self.name.project, token)
        except BaasError as error:
            if token == self._token:
                self._refusal = error
                for target in list(self._targets.values()):
                    self._remove(target, error)
            return
        if token == self._token:
            self.caller = caller

    async def _prove_again(self, target: _Target) -> None:
        try:
            await self._prove(target)
        except BaasError as error:
            self._remove(target, error)

    async def _prove(self, target: _Target) -> None:
        """Raises PermissionDenied unless the rules allow the target as of now. From then on a
        change of what they looked up makes it stale."""
        while True:
            self._stale.pop(target, None)
            if self.caller.bypasses_rules:
                return
            database = await self._open()
            authorizer = await make_authorizer(self._context, self.caller, self.name)
            lookups = await _ask(authorizer, target.target, database)
            if self._watches(target, lookups):
                return
            # Asked once more: what changed before it was watched would go unnoticed.
            self._watch(target, lookups, database)

    async def _check_images(self, target: _Target, update: Update) -> None:
        """Raises PermissionDenied unless every image in the update may be sent. Makes the target
        stale if that rests on documents that are not watched."""
        authorizer = await make_authorizer(self._context, self.caller, self.name)
        for change in update.changes:
            path = change.document.path
            image = None if change.kind is ChangeKind.REMOVED else change.document
            if authorizer.check_get_nowait(path, image):
                continue
            database = await self._open()
            async with database.snapshot() as snapshot:
                grant = await authorizer.check_get(path, image, snapshot)
            if not self._watches(target, grant.lookups):
                self._stale[target] = None

    def _watches(self, target: _Target, lookups: Iterable[DocumentPath]) -> bool:
        watched = frozenset() if target.watch is None else target.watch.paths
        return watched.issuperset(lookups)

    def _watch(self, target: _Target, lookups: frozenset[DocumentPath], database: Database) -> None:
        def notify(version: int) -> None:
            if self._targets.get(target.id) is target:
                self._stale[target] = None
                self._wake.set()

        if target.watch is not None:
            target.watch.close()
        target.watch = database.listeners.watch(lookups, notify)


async def _ask(
    authorizer: Authorizer, target: Target, database: Database
) -> frozenset[DocumentPath]:
    """What the rules looked up to allow a target as of now. Raises PermissionDenied."""
    if isinstance(target, QueryTarget):
        async with database.snapshot() as snapshot:
            return (await authorizer.check_list(target.query, snapshot)).lookups
    found: frozenset[DocumentPath] = frozenset()
    async with database.snapshot() as snapshot:
        documents = await snapshot.get_documents(target.paths)
        for path, document in zip(target.paths, documents, strict=True):
            found |= (await authorizer.check_get(path, document, snapshot)).lookups
    return found
