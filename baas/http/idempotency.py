"""The header `Idempotency-Key`: a write that is repeated with it is done once.

The answer of the first one is given again, for 24 hours at least. A key belongs to its
caller, and to one request: what else is asked under it is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from baas.errors import InvalidArgument
from baas.http.requests import Request

HEADER = b"idempotency-key"
KEY_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class RequestKey:
    """`digest` stands for the method, the path and the body."""

    id: str | None = None
    digest: bytes = b""


NO_KEY = RequestKey()


def read_key(request: Request, body: bytes) -> RequestKey:
    """The request's key, or NO_KEY. Raises InvalidArgument (`InvalidIdempotencyKey`)."""
    key = request.headers.get(HEADER)
    if key is None:
        return NO_KEY
    text = key.decode("latin-1")
    if not (1 <= len(text) <= KEY_CHARACTERS_MAX and text.isascii() and text.isprintable()):
        raise InvalidArgument(
            f"`Idempotency-Key` has 1 to {KEY_CHARACTERS_MAX} printable ASCII characters; a random "
            "UUID is a good one",
            reason="InvalidIdempotencyKey",
        )
    return RequestKey(text, digest(request, body))


def digest(request: Request, body: bytes) -> bytes:
    """Of what is asked: the same for the same request, however often it is sent."""
    asked = hashlib.blake2b(digest_size=16)
    query = request.exchange.query_string
    for part in (request.method.encode(), request.path.encode(), query, body):
        asked.update(len(part).to_bytes(8) + part)
    return asked.digest()
