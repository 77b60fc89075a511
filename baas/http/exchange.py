"""One HTTP request and its answer, as the face sees them, whatever HTTP server is in front.

ASGI hands both over in parts, each a dictionary behind a coroutine. Most requests are small and
whole, and for those the parts cost more than the work: our own uvicorn protocol (`protocol`) gives
them in one piece, and knows ASGI only where an answer is a stream. Other servers speak ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from starlette.types import Receive, Scope, Send

from baas.buckets.blobs import Receiver, Sender
from baas.http.heads import Head
from baas.http.heads import Header as Header

Asgi: TypeAlias = tuple[Scope, Receive, Send]


class Exchange(Protocol):
    """One request and its answer."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def raw_path(self) -> bytes | None:
        """The path as it came, if the server tells."""
        ...

    @property
    def query_string(self) -> bytes: ...

    @property
    def head(self) -> Head:
        """The header lines."""
        ...

    @property
    def address(self) -> str | None:
        """The client's IP address, as the connection has it."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether the client is known to have closed the connection."""
        ...

    def end_with_client(self) -> None:
        """Nobody but the client needs the answer: when the client is known to be gone, answering
        is cancelled."""
        ...

    def interrupt(self) -> None:
        """Cancels what the answer waits for."""
        ...

    def take_body(self) -> bytes | None:
        """The request's body if all of it has arrived, once; None: it has to be received."""
        ...

    def send_whole(self, status: int, head: bytes, body: bytes) -> bool:
        """Sends a whole answer in one write; `head` are its header lines, each with its line break,
        that of the body's length among them. False: nothing was sent, and it has to go the ordinary
        way."""
        ...

    async def send_file(self, status: int, head: bytes, sender: Sender) -> bool:
        """Sends an answer whose body comes from `sender`; `head` as above. False: nothing was sent,
        and it has to go the ordinary way. Raises OSError once the connection is gone, and what
        `sender` raises: the connection is cut then. Closes `sender`. In a task."""
        ...

    def hold_body(self, minimum: int) -> tuple[bytes, int] | None:
        """What has come of the body, and how much is still to come, if that can be received with
        `receive_into`; it stays in the connection until then, or until it is received the ordinary
        way. None for bodies of fewer bytes than `minimum`, or whose size nobody told."""
        ...

    async def receive_into(self, receiver: Receiver, *, stall_seconds: float) -> None:
        """Has `receiver` take what is still to come of the body. Raises ConnectionError once the
        client is gone, TimeoutError if it sends nothing for so long, and what `receiver` raises:
        the request can be answered after these two. Closes `receiver`. In a task."""
        ...

    def as_asgi(self) -> Asgi:
        """The same request in parts, and where the parts of its answer go."""
        ...


class AsgiExchange:
    """An exchange with an ASGI server."""

    __slots__ = (
        "_receive",
        "_scope",
        "_send",
        "_task",
        "head",
        "method",
        "path",
        "query_string",
        "raw_path",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        """`task`: the one that answers."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._task = task
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes | None = scope.get("raw_path")
        self.query_string: bytes = scope.get("query_string", b"")
        self.head = Head(scope["headers"])

    @property
    def address(self) -> str | None:
        client = self._scope.get("client")
        return None if client is None else client[0]

    @property
    def is_gone(self) -> bool:
        return False  # who asks ASGI waits for the answer

    def end_with_client(self) -> None:
        """The server does not tell."""

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def take_body(self) -> bytes | None:
        return None

    def send_whole(self, status: int, head: bytes, body: bytes) -> bool:
        return False

    async def send_file(self, status: int, head: bytes, sender: Sender) -> bool:
        sender.close()
        return False

    def hold_body(self, minimum: int) -> tuple[bytes, int] | None:
        return None

    async def receive_into(self, receiver: Receiver, *, stall_seconds: float) -> None:
        raise NotImplementedError("its bodies are not held")

    def as_asgi(self) -> Asgi:
        return self._scope, self._receive, self._send


def encode_headers(headers: Sequence[Header]) -> bytes:
    """Header lines. Raises RuntimeError for a line break in one: it would begin another."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines):
        raise RuntimeError("a header holds a line break")
    return head


async def in_task() -> None:
    """What follows runs in a task. An answer may be begun outside of one (see `protocol`): where
    nothing has to be waited for, a task costs more than it gives."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
