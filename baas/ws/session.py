"""The server's side of the listen protocol as a state machine: messages in, commands out; events
in, messages out. No sockets, tasks or clocks: whoever drives it moves the bytes and does the
commands.

    GREETING ──hello──> OPEN ──────────────────┐
        └───────── error, or the end ──────────┴──> CLOSED

What a client sends is checked against the state: `hello` comes first and once, a number stands for
one target at a time. What is wrong raises, and the connection is of no more use then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

from baas.database.listeners import DocumentsTarget, QueryTarget, Target, Update
from baas.errors import BaasError, InvalidArgument
from baas.model.queries import Query
from baas.services.listen import ListenEvent, TargetAdded, TargetRemoved, TargetUpdated
from baas.settings import Limits
from baas.wire import listen as wire
from baas.wire.errors import close_code

# Beyond them the encoded changes are not kept for the next receiver, and made as they are sent.
_SHARED_CHANGES_MAX = 1_000
_SHARED_BYTES_MAX = 4 * 1024 * 1024


class Phase(Enum):
    GREETING = "greeting"  # hello has not come yet
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Greet:
    """Find out who this is, then welcome."""

    token: str | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class AddTarget:
    target: int
    wanted: Target
    resume_token: str | None


@dataclass(frozen=True, slots=True)
class RemoveTarget:
    target: int


@dataclass(frozen=True, slots=True)
class Authenticate:
    token: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Send this."""

    message: str


Command: TypeAlias = Greet | AddTarget | RemoveTarget | Authenticate | Answer


@dataclass(frozen=True, slots=True)
class Farewell:
    """Send the message, then close with the code."""

    message: str
    code: int
    reason: str


class ListenProtocol:
    """One connection. `request_id` stands in every error, for whoever searches the log; `note` is
    told of it and of each error that ends a target."""

    def __init__(
        self,
        limits: Limits,
        *,
        request_id: str,
        note: Callable[[str, BaasError], None] = lambda request_id, error: None,
    ) -> None:
        self.phase = Phase.GREETING
        self._limits = limits
        self._request_id = request_id
        self._note = note
        # Numbers in use on the wire: from `listen` until `removed` is on its way.
        self._targets: set[int] = set()

    # From the client ------------------------------------------------------------------------------

    def receive(self, data: str | bytes | None) -> Command | None:
        """What a message asks for; None if there is nothing to do. Raises InvalidArgument."""
        if not isinstance(data, str):
            raise InvalidArgument("messages are text, not binary", reason="MalformedMessage")
        maximum = self._limits.listen_message_bytes_max
        if len(data) > maximum:
            raise InvalidArgument(
                f"the message is longer than {maximum} bytes", reason="MessageTooLarge"
            )
        message = wire.decode_client_message(data)
        if isinstance(message, wire.Hello):
            if self.phase is not Phase.GREETING:
                raise _out_of_turn("`hello` was said already")
            return Greet(message.token, message.api_key)
        if self.phase is not Phase.OPEN:
            raise _out_of_turn("the first message must be `hello`")
        match message:
            case wire.Listen():
                return self._listen(message)
            case wire.Unlisten():
                # One that the server has ended meanwhile needs nothing more.
                return RemoveTarget(message.target) if message.target in self._targets else None
            case wire.Auth():
                return Authenticate(message.token)
            case wire.Ping():
                return Answer(wire.encode_pong().decode("ascii"))
            case _:
                assert_never(message)

    def _listen(self, message: wire.Listen) -> AddTarget | Answer:
        if message.target in self._targets:
            raise InvalidArgument(f"target `{message.target}` is in use", reason="TargetInUse")
        try:
            wanted = wire.decode_target(message, documents_max=self._limits.batch_get_documents_max)
        except BaasError as error:
            # A query that is none is its own listener's trouble, and nobody else's.
            return Answer(self.refuse(message.target, error))
        self._targets.add(message.target)
        target: Target
        target = QueryTarget(wanted) if isinstance(wanted, Query) else DocumentsTarget(wanted)
        return AddTarget(message.target, target, message.resume_token)

    # To the client --------------------------------------------------------------------------------

    def welcome(self) -> str:
        """The client is known; it may listen now."""
        assert self.phase is Phase.GREETING, self.phase
        self.phase = Phase.OPEN
        return wire.encode_welcome().decode("ascii")

    def refuse(self, target: int, error: BaasError) -> str:
        """The message for a target that cannot be started."""
        return self._removed(target, error)

    def tell(self, event: ListenEvent) -> Iterator[str]:
        """The messages for an event, made one by one: a large snapshot comes in parts."""
        match event:
            case TargetAdded():
                yield wire.encode_added(event.target).decode("ascii")
            case TargetRemoved():
                yield self._removed(event.target, event.error)
            case TargetUpdated():
                yield from _snapshot(event)
            case _:
                assert_never(event)

    def farewell(self, error: BaasError) -> Farewell:
        """The connection ends because of the error."""
        self.phase = Phase.CLOSED
        message = wire.encode_connection_error(error, self._request_id).decode()
        return Farewell(message, close_code(error), error.reason)

    def _removed(self, target: int, error: BaasError | None) -> str:
        self._targets.discard(target)
        if error is not None:
            self._note(self._request_id, error)
        return wire.encode_removed(target, error, self._request_id).decode()


def _snapshot(event: TargetUpdated) -> Iterator[str]:
    update = event.update
    last: bytes | None = None
    reset = update.reset
    for part in _parts(update):
        if last is not None:
            yield wire.encode_snapshot_part(
                event.target, update.version, last, reset=reset
            ).decode()
            reset = False  # said once: a later part must not forget the earlier ones
        last = part
    assert last is not None
    yield wire.encode_snapshot(
        event.target,
        update.version,
        last,
        reset=reset,
        read_time=event.read_time,
        resume_token=event.resume_token,
        count=update.count,
    ).decode()


def _parts(update: Update) -> Iterator[bytes] | tuple[bytes, ...]:
    kept: tuple[bytes, ...] | None = update.encoded.value
    if kept is not None:
        return kept
    if len(update.changes) > _SHARED_CHANGES_MAX or update.size_bytes > _SHARED_BYTES_MAX:
        return wire.encode_changes(update.changes)
    kept = tuple(wire.encode_changes(update.changes))
    update.encoded.value = kept
    return kept


def _out_of_turn(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="MessageOutOfTurn")
