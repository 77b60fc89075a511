"""What our own uvicorn protocol offers in a request's scope, beside ASGI. Other servers offer none
of it, and everything works without.

ASGI hands a request and its answer over in parts, each a dictionary behind a coroutine. Most
requests are small and whole, and for those the parts cost more than the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Header: TypeAlias = tuple[bytes, bytes]

EXCHANGE = "baas.exchange"


class Exchange(Protocol):
    """One request and its answer, each in one piece."""

    def take_body(self) -> bytes | None:
        """The request's body if all of it has arrived, once; None: it has to be received."""
        ...

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Sends a whole answer in one write; `headers` have to name the length of the body. False:
        nothing was sent, and it has to go the ordinary way, in two messages. Raises RuntimeError
        for a header with a line break in it."""
        ...
