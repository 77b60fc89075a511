"""What our own uvicorn protocol offers in a request's scope, beside ASGI. Other servers offer none
of it, and everything works without.

ASGI hands a request and its answer over in parts, each a dictionary behind a coroutine. Most
requests are small and whole, and for those the parts cost more than the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

Header: TypeAlias = tuple[bytes, bytes]

SEND_WHOLE = "baas.send_whole"
SendWhole: TypeAlias = Callable[[int, Sequence[Header], bytes], bool]
"""(status, headers with the body's length, body) in one write. False: nothing was sent, and it has
to go the ordinary way."""

TAKE_BODY = "baas.take_body"
TakeBody: TypeAlias = Callable[[], bytes | None]
"""The request's body if all of it has arrived, once; None: it has to be received."""
