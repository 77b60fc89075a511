"""One operation of the HTTP API, as a row of the table in `routes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from baas.http.answers import AnyAnswer
from baas.http.authentication import Access
from baas.http.requests import Request

Handler: TypeAlias = Callable[[Request], Awaitable[AnyAnswer]]

BYTES = "*bytes*"  # in the place of a schema: a body or an answer of any bytes


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: `body` and `answer` name schemas, the handler's name is the operation's id."""

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    body: str | None = None
    answer: str | None = None
    parameters: tuple[str, ...] = ()
    status: int = 200
    # The handler may run outside of a task: it asks for none, as `asyncio.timeout` does.
    is_prompt: bool = False
    # Nothing but the answer comes of it: it is given up when the client is gone.
    ends_with_client: bool = False
    # A body, or work, of any size: nobody says that the answer is late (see `lateness`).
    takes_its_time: bool = False
