"""The client's side of the listen protocol as a state machine: events in, messages and events out.

No sockets, tasks, threads or clocks: whoever drives it (`_listener`) tells it the time, hands it
what arrives, sends what `take_messages` gives, delivers what `take_events` gives, connects when
`connect_at` says so and drops the connection when there is a `broken_by`.

    IDLE ──add──> WAITING ──connected──> GREETING ──welcome──> OPEN
      ^              ^ └──────────── lost, with backoff ──────────┘
      └── the last target removed

What holds whatever the network does:
- an app sees only states that the server called final: parts of an unfinished snapshot are
  forgotten with the connection that carried them;
- after a reconnection each target resumes from the last state that the app was given; where the
  server cannot resume (`reset`), the difference to that state is worked out here, so nothing is
  lost or repeated;
- changes that do not fit the list they claim to change make the target start afresh, never a wrong
  list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import orjson

from baas_sdk._snapshots import ChangeType
from baas_sdk._values import Tree
from baas_sdk.errors import (
    Aborted,
    Code,
    Internal,
    OutOfRange,
    SdkError,
    TokenExpired,
    Unauthenticated,
    Unavailable,
    error_from_wire,
)

WELCOME_SECONDS_MAX = 10.0
BACKOFF_SECONDS_FIRST = 0.25
BACKOFF_SECONDS_MAX = 30.0
BACKOFF_FACTOR = 2.0
RESYNCS_MAX = 3  # in a row, for one target
REFRESHES_MAX = 2  # in a row, of a token that the server calls expired
PENDING_SNAPSHOTS_MAX = 100

_NOBODY_LISTENS = Unavailable("no target is left")
_PASSING = frozenset(
    {
        Code.UNAVAILABLE,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.DEADLINE_EXCEEDED,
        Code.CANCELLED,
        Code.UNKNOWN,
    }
)


class ListedDocument(Protocol):
    """What the machine needs of a document; it never looks into its values."""

    @property
    def path(self) -> str: ...
    @property
    def update_time(self) -> Any: ...


D = TypeVar("D", bound=ListedDocument)


@dataclass(frozen=True, slots=True)
class Change(Generic[D]):
    """As DocumentChange."""

    type: ChangeType
    document: D
    old_index: int
    new_index: int


@dataclass(frozen=True, slots=True)
class State(Generic[D]):
    """A target's documents at one version, and how they came out of the state shown before."""

    documents: tuple[D, ...]
    changes: tuple[Change[D], ...]
    read_time: str


@dataclass(frozen=True, slots=True)
class Shown(Generic[D]):
    """A target has a new state for the app."""

    key: int
    state: State[D]


@dataclass(frozen=True, slots=True)
class Failed:
    """A target ended with an error; nothing more will come of it."""

    key: int
    error: SdkError


ListenEvent: TypeAlias = "Shown[Any] | Failed"


class Phase(Enum):
    IDLE = "idle"  # no targets: no connection is wanted
    WAITING = "waiting"  # not connected; to be connected at `connect_at`
    GREETING = "greeting"  # hello is sent, welcome not yet received
    OPEN = "open"


@dataclass(slots=True)
class _Target(Generic[D]):
    key: int
    request: Tree  # {"query": …} or {"documents": […]}
    parse: Callable[[Tree], D]
    flipped: bool
    shown: tuple[D, ...] | None = None  # what the app has, in the server's order
    working: list[D] = field(default_factory=list)  # with the parts of an unfinished snapshot
    steps: list[Change[D]] = field(default_factory=list)
    was_reset: bool = False
    resume_token: str | None = None
    token: str | None = None  # the connection's when it was asked for
    wire_id: int | None = None  # None while the server does not know it
    resyncs: int = 0
    failures: int = 0
    retry_at: float | None = None  # set while the server has it not, for now

    def forget_unfinished(self) -> None:
        self.working = list(self.shown or ())
        self.steps = []
        self.was_reset = False


class _Misfit(Exception):
    """Changes that do not fit the list that they claim to change."""


class ListenMachine:
    """All targets of one client, on one connection. `random` gives numbers in [0, 1)."""

    def __init__(self, *, api_key: str | None, random: Callable[[], float]) -> None:
        self.phase = Phase.IDLE
        self.broken_by: SdkError | None = None  # why the connection is of no more use
        self.rejected_token: str | None = None  # to be refreshed before the next connection
        self._api_key = api_key
        self._random = random
        self._targets: dict[int, _Target[Any]] = {}
        self._by_wire_id: dict[int, _Target[Any]] = {}
        self._next_key = 1
        self._next_wire_id = 1
        self._messages: deque[str] = deque()
        self._events: deque[ListenEvent] = deque()
        self._token: str | None = None  # the one that the server has
        self._wanted_token: str | None = None
        self._connect_at = 0.0
        self._failures = 0
        self._refreshes = 0
        self._ping_seconds = 30.0
        self._sent_at = 0.0
        self._received_at = 0.0

    # --- what the driver asks ---------------------------------------------------------------------

    @property
    def connect_at(self) -> float | None:
        """When a connection is due; None while there is one or none is wanted."""
        return self._connect_at if self.phase is Phase.WAITING else None

    @property
    def deadline(self) -> float | None:
        """When `time_passed` is to be called if nothing else happens; None if not connected."""
        if self.phase is Phase.GREETING:
            return self._sent_at + WELCOME_SECONDS_MAX
        if self.phase is Phase.OPEN:
            return min(self._sent_at + self._ping_seconds, self._silent_at, *self._retries())
        return None

    @property
    def _silent_at(self) -> float:
        # Each ping is answered, so a connection that is alive is never silent for two of them.
        return self._received_at + 2.5 * self._ping_seconds

    def take_messages(self) -> list[str]:
        """What is to be sent now, in order."""
        taken = list(self._messages)
        self._messages.clear()
        return taken

    def take_events(self) -> list[ListenEvent]:
        """What is to be delivered now, in order."""
        taken = list(self._events)
        self._events.clear()
        return taken

    # --- what the app does ------------------------------------------------------------------------

    def add(
        self, request: Tree, parse: Callable[[Tree], Any], now: float, *, flipped: bool = False
    ) -> int:
        """Starts a target; its key is in its events. `flipped`: the app wants the opposite
        order."""
        target: _Target[Any] = _Target(self._next_key, request, parse, flipped)
        self._next_key += 1
        self._targets[target.key] = target
        if self.phase is Phase.IDLE:
            self.phase = Phase.WAITING
            self._connect_at = now
        elif self.phase is Phase.OPEN:
            self._listen(target, now)
        return target.key

    def remove(self, key: int, now: float) -> None:
        """Ends a target: no event of it is given out from now on. Unknown keys are ignored."""
        target = self._targets.pop(key, None)
        if target is None:
            return
        self._events = deque(event for event in self._events if event.key != key)
        self._unlisten(target, now)
        self._rest_if_empty()

    def token_changed(self, token: str | None, now: float) -> None:
        """Another user, or a fresh token of the same one: an open connection is told."""
        self._wanted_token = token
        if self.phase is Phase.OPEN and token != self._token:
            self._token = token
            self._send({"type": "auth", "token": token}, now)

    # --- what the connection does -----------------------------------------------------------------

    def connected(self, token: str | None, now: float) -> None:
        """A connection stands, to be opened with this token."""
        assert self.phase is Phase.WAITING, self.phase
        self.phase = Phase.GREETING
        self.broken_by = None
        self.rejected_token = None
        self._token = self._wanted_token = token
        self._received_at = now
        self._send({"type": "hello", "token": token, "api_key": self._api_key}, now)

    def lost(self, error: SdkError | None, now: float) -> None:
        """The connection ended or could not be made. An error that will not pass ends all
        targets."""
        self._messages.clear()
        self._by_wire_id.clear()
        for target in self._targets.values():
            target.wire_id = None
            target.retry_at = None
            target.forget_unfinished()
        if error is not None and not _is_passing(error):
            self._fail_all(error)
        self.broken_by = None
        if not self._targets:
            self.phase = Phase.IDLE
            return
        self.phase = Phase.WAITING
        if error is _NOBODY_LISTENS:
            self._connect_at = now  # nothing failed: the last target went, and a new one has come
            return
        self._connect_at = now + self._pause_seconds(self._failures)
        self._failures += 1

    def received(self, text: str | bytes, now: float) -> None:
        """A message arrived."""
        if self.broken_by is not None or self.phase not in (Phase.GREETING, Phase.OPEN):
            return
        self._received_at = now
        try:
            message = orjson.loads(text)
            kind = message["type"]
            handle = _HANDLERS.get(kind)
            if handle is not None:  # else: a newer server says something that can be ignored
                handle(self, message, now)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            self._break(Internal(f"the server sent a message that cannot be read: {error!r}"))

    def time_passed(self, now: float) -> None:
        """To be called at `deadline`; harmless at other times."""
        if self.phase is Phase.GREETING and now >= self._sent_at + WELCOME_SECONDS_MAX:
            self._break(Unavailable("the server did not welcome the connection in time"))
        elif self.phase is Phase.OPEN:
            if now >= self._silent_at:
                self._break(Unavailable("the server has fallen silent"))
            elif now >= self._sent_at + self._ping_seconds:
                self._send({"type": "ping"}, now)
            for target in self._targets.values():
                if target.retry_at is not None and now >= target.retry_at:
                    self._listen(target, now)

    def fail_all(self, error: SdkError) -> None:
        """Ends every target, such as when the user's session is over."""
        self._fail_all(error)
        self._rest_if_empty()

    # --- messages ---------------------------------------------------------------------------------

    def _welcome(self, message: Tree, now: float) -> None:
        if self.phase is not Phase.GREETING:
            return
        self.phase = Phase.OPEN
        self._ping_seconds = max(1.0, float(message.get("ping_seconds", 30.0)))
        self.token_changed(self._wanted_token, now)
        for target in self._targets.values():
            self._listen(target, now)

    def _snapshot(self, message: Tree, now: float) -> None:
        target = self._by_wire_id.get(message["target"])
        if target is None:
            return  # ended, or started afresh, while this was under way
        try:
            self._apply(target, message)
        except _Misfit as misfit:
            self._resync(target, str(misfit), now)
            return
        if message.get("final", True):
            self._finish(target, message)

    def _removed(self, message: Tree, now: float) -> None:
        target = self._by_wire_id.pop(message["target"], None)
        if target is None:
            return
        target.wire_id = None
        target.forget_unfinished()
        body = message.get("error")
        error = Internal("the server ended a listener") if body is None else error_from_wire(body)
        if isinstance(error, Unauthenticated) and target.token != self._token:
            # Signing out, the server may hear of the session's end before it hears of the token
            # that takes its place, and ends what others may go on to see, too.
            self._listen(target, now)
        elif isinstance(error, TokenExpired):
            self._token_expired(error)
        elif isinstance(error, OutOfRange):
            target.resume_token = None
            self._listen(target, now)
        elif isinstance(error, Unavailable | Aborted):
            target.retry_at = now + self._pause_seconds(target.failures)
            target.failures += 1
        else:
            self._fail(target, error)
            self._rest_if_empty()

    def _error(self, message: Tree, now: float) -> None:
        error = error_from_wire(message.get("error"))
        if isinstance(error, TokenExpired):
            self._token_expired(error)
        else:
            self._break(error)

    def _ignore(self, message: Tree, now: float) -> None:
        """`added` and `pong` say only that the server is there."""

    # --- a target's list --------------------------------------------------------------------------

    def _apply(self, target: _Target[D], message: Tree) -> None:
        if message.get("reset"):
            target.working = []
            target.steps = []
            target.was_reset = True
        for change in message["changes"]:
            kind = change["kind"]
            if kind == "removed":
                old = _take_out(target.working, change)
                target.steps.append(Change(ChangeType.REMOVED, old, change["old_index"], -1))
            elif kind == "added":
                new = target.parse(change["document"])
                _put_in(target.working, change, new)
                target.steps.append(Change(ChangeType.ADDED, new, -1, change["new_index"]))
            elif kind == "modified":
                _take_out(target.working, change)
                new = target.parse(change["document"])
                _put_in(target.working, change, new)
                target.steps.append(
                    Change(ChangeType.MODIFIED, new, change["old_index"], change["new_index"])
                )
            else:
                raise _Misfit(f"the change `{kind}` is of no known kind")
        count = message.get("count")
        if count is not None and message.get("final", True) and count != len(target.working):
            raise _Misfit(f"{count} documents were announced, {len(target.working)} are there")

    def _finish(self, target: _Target[D], message: Tree) -> None:
        self._failures = 0
        self._refreshes = 0
        target.resyncs = target.failures = 0
        target.resume_token = message.get("resume_token", target.resume_token)
        before = target.shown
        documents = tuple(target.working)
        steps = tuple(target.steps)
        if target.flipped or target.was_reset or before is None:
            steps = difference(_facing(target, before or ()), _facing(target, documents))
        target.shown = documents
        target.steps = []
        target.was_reset = False
        if steps or before is None:
            state = State(_facing(target, documents), steps, message["read_time"])
            self._events.append(Shown(target.key, state))

    def _resync(self, target: _Target[Any], why: str, now: float) -> None:
        target.resyncs += 1
        if target.resyncs > RESYNCS_MAX:
            self._unlisten(target, now)
            self._fail(target, Internal(f"the server's snapshots contradict themselves: {why}"))
            self._rest_if_empty()
            return
        self._unlisten(target, now)
        target.resume_token = None
        target.forget_unfinished()
        self._listen(target, now)

    # --- small steps ------------------------------------------------------------------------------

    def _listen(self, target: _Target[Any], now: float) -> None:
        # A new number each time: what is still under way for the old one is then known to be old.
        target.wire_id = self._next_wire_id
        self._next_wire_id += 1
        self._by_wire_id[target.wire_id] = target
        target.token = self._token
        target.retry_at = None
        if target.resume_token is None:
            target.working = []
            target.was_reset = True
        message = {"type": "listen", "target": target.wire_id, **target.request}
        if target.resume_token is not None:
            message["resume_token"] = target.resume_token
        self._send(message, now)

    def _unlisten(self, target: _Target[Any], now: float) -> None:
        if target.wire_id is not None:
            self._by_wire_id.pop(target.wire_id, None)
            if self.phase is Phase.OPEN:
                self._send({"type": "unlisten", "target": target.wire_id}, now)
            target.wire_id = None

    def _send(self, message: Tree, now: float) -> None:
        self._messages.append(orjson.dumps(message).decode())
        self._sent_at = now

    def _pause_seconds(self, failures: int) -> float:
        longest = BACKOFF_SECONDS_FIRST * BACKOFF_FACTOR ** min(failures, 20)
        return min(BACKOFF_SECONDS_MAX, longest) * (0.5 + 0.5 * self._random())

    def _retries(self) -> list[float]:
        return [item.retry_at for item in self._targets.values() if item.retry_at is not None]

    def _token_expired(self, error: TokenExpired) -> None:
        self._refreshes += 1
        if self._token is None or self._refreshes > REFRESHES_MAX:
            self._fail_all(error)
            self._rest_if_empty()
            return
        self.rejected_token = self._token
        self._break(Unavailable("the token expired under the connection"))

    def _break(self, error: SdkError) -> None:
        self.broken_by = error

    def _fail(self, target: _Target[Any], error: SdkError) -> None:
        del self._targets[target.key]
        self._events.append(Failed(target.key, error))

    def _fail_all(self, error: SdkError) -> None:
        for target in list(self._targets.values()):
            self._fail(target, error)

    def _rest_if_empty(self) -> None:
        if self._targets:
            return
        if self.phase is Phase.WAITING:
            self.phase = Phase.IDLE
        elif self.phase is not Phase.IDLE:
            self._break(_NOBODY_LISTENS)


_HANDLERS: dict[str, Callable[[ListenMachine, Tree, float], None]] = {
    "welcome": ListenMachine._welcome,
    "snapshot": ListenMachine._snapshot,
    "removed": ListenMachine._removed,
    "error": ListenMachine._error,
    "added": ListenMachine._ignore,
    "pong": ListenMachine._ignore,
}


def difference(before: Sequence[D], after: Sequence[D]) -> tuple[Change[D], ...]:
    """The changes that turn one list into the other: removals from the end, then in the new order
    what was added or modified. Documents are told apart by path, versions by update time."""
    wanted = {document.path: document for document in after}
    steps: list[Change[D]] = []
    now = list(before)
    for index in range(len(now) - 1, -1, -1):
        if now[index].path not in wanted:
            old = now.pop(index)
            steps.append(Change(ChangeType.REMOVED, old, index, -1))
    known = {document.path: document for document in now}
    place = 0  # where in `now` the next document of `after` belongs
    for document in after:
        known_as = known.get(document.path)
        if known_as is None:
            now.insert(place, document)
            steps.append(Change(ChangeType.ADDED, document, -1, place))
        else:
            found = _place_of(known_as, now, place)
            if found < place or known_as.update_time != document.update_time:
                del now[found]
                place -= found < place
                now.insert(place, document)
                steps.append(Change(ChangeType.MODIFIED, document, found, place))
            else:
                place = found
        place += 1
    return tuple(steps)


def _place_of(document: D, documents: Sequence[D], start: int) -> int:
    """Its index, sought from `start` on and then before it."""
    for index in range(start, len(documents)):
        if documents[index] is document:
            return index
    return next(index for index in range(start) if documents[index] is document)


class SnapshotBuffer(Generic[D]):
    """States on their way to an app that may be slow. Up to `PENDING_SNAPSHOTS_MAX` wait; beyond
    that the newest two are made one, whose changes lead over both: the app skips states, memory
    stays bounded, and applying the changes still gives the documents."""

    def __init__(self, *, maximum: int = PENDING_SNAPSHOTS_MAX) -> None:
        self._maximum = maximum
        self._pending: deque[State[D]] = deque()
        self._base: tuple[D, ...] = ()  # the documents before the newest pending state
        self._last: tuple[D, ...] | None = None  # the documents of the state popped last

    def push(self, state: State[D]) -> None:
        """Adds a state behind the others."""
        if len(self._pending) < self._maximum:
            if self._pending:
                self._base = self._pending[-1].documents
            elif self._last is not None:
                self._base = self._last
            self._pending.append(state)
            return
        changes = difference(self._base, state.documents)
        is_first = self._last is None and len(self._pending) == 1
        if changes or is_first:
            self._pending[-1] = replace(state, changes=changes)
        else:
            self._pending.pop()

    def pop(self) -> State[D] | None:
        """The oldest state; None if there is none."""
        if not self._pending:
            return None
        state = self._pending.popleft()
        self._last = state.documents
        return state


def _facing(target: _Target[D], documents: Sequence[D]) -> tuple[D, ...]:
    return tuple(reversed(documents)) if target.flipped else tuple(documents)


def _take_out(documents: list[D], change: Tree) -> D:
    index = change["old_index"]
    if not 0 <= index < len(documents):
        raise _Misfit(f"there is no document at {index}")
    document = change.get("document")
    found = documents.pop(index)
    if document is not None and document["path"] != found.path:
        raise _Misfit(f"`{found.path}` is at {index}, not `{document['path']}`")
    return found


def _put_in(documents: list[D], change: Tree, document: D) -> None:
    index = change["new_index"]
    if not 0 <= index <= len(documents):
        raise _Misfit(f"there is no place {index} among {len(documents)} documents")
    documents.insert(index, document)


def _is_passing(error: SdkError) -> bool:
    return error.code in _PASSING
