"""Page tokens of queries: behind which document the next page begins.

    format (1) · version (8) · left (8) · digest (16) · seal (16) · path, in URL-safe base64

The document is named, not its values: a page begins where the document stood at `version`, so it
may have changed or be gone meanwhile. `left` is what the query's limit still allows, or -1. The
digest binds a token to the database's incarnation and the query; the seal is an HMAC over
everything else. So any node goes on where another one stopped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from functools import lru_cache

from baas.accounts.sealing import ServerSecret
from baas.errors import BaasError, InvalidArgument
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query

_FORMAT = 1
_HEAD = struct.Struct(">BQq16s")
_SEAL_BYTES = 16
_TOKEN_CHARACTERS_MAX = 9_000  # of a path of 6 KiB


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The last document of a page, as it was at `version`; `left` None: without a limit."""

    path: DocumentPath
    version: int
    left: int | None


class PageTokens:
    """Makes and reads the tokens of one query, or aggregation, on one database."""

    __slots__ = ("_digest", "_key")

    def __init__(
        self, secret: ServerSecret, *, incarnation: str, query: Query | Aggregation
    ) -> None:
        self._key = _sealing_key(secret)
        # The text of a query is made of all its parts, values with their types.
        text = f"{incarnation}\0{query!r}".encode("utf-8", "surrogatepass")
        self._digest = hashlib.blake2b(text, digest_size=16).digest()

    def make(self, position: PagePosition) -> str:
        left = -1 if position.left is None else position.left
        head = _HEAD.pack(_FORMAT, position.version, left, self._digest)
        path = str(position.path).encode()
        data = head + self._seal(head, path) + path
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

    def read(self, token: str) -> PagePosition:
        """Raises InvalidArgument (`InvalidPageToken`) for what was not made here for this query."""
        position = self._parse(token)
        if position is None:
            raise InvalidArgument(
                "`page_token` is not a token that this query has given", reason="InvalidPageToken"
            )
        return position

    def _parse(self, token: str) -> PagePosition | None:
        if len(token) > _TOKEN_CHARACTERS_MAX:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        head, rest = data[: _HEAD.size], data[_HEAD.size :]
        seal, path = rest[:_SEAL_BYTES], rest[_SEAL_BYTES:]
        if len(head) != _HEAD.size or not hmac.compare_digest(seal, self._seal(head, path)):
            return None
        form, version, left, digest = _HEAD.unpack(head)
        if form != _FORMAT or digest != self._digest:
            return None
        try:
            named = DocumentPath.parse(path.decode())
        except (BaasError, UnicodeDecodeError):
            return None
        return PagePosition(named, version, None if left < 0 else left)

    def _seal(self, head: bytes, path: bytes) -> bytes:
        return hmac.digest(self._key, head + path, "sha256")[:_SEAL_BYTES]


@lru_cache(maxsize=8)
def _sealing_key(secret: ServerSecret) -> bytes:
    return secret.derive("page-tokens")
