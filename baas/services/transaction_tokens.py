"""Transaction tokens: all that the server knows of a transaction, in a form that only it can have
made. So any node serves any step, and a restart loses nothing.

    format (1) · flags (1) · version (8) · started (8) · used (8) · id (12) · digest (16) · seal

in URL-safe base64. The digest binds a token to the database's incarnation and the caller; the seal
is an HMAC over all before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from baas.errors import InvalidArgument
from baas.services.caller import Caller

_FORMAT = 1
_READ_ONLY = 1
_HEAD = struct.Struct(">BBQQQ12s16s")
_SEAL_BYTES = 16
_TOKEN_CHARACTERS_MAX = 120
ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class TransactionState:
    """`version` is what it reads; `started` and `used` are in microseconds since 1970."""

    id: bytes
    version: int
    started: int
    used: int
    read_only: bool


class TransactionTokens:
    """Makes and reads the tokens of one caller in one database."""

    __slots__ = ("_digest", "_key")

    def __init__(self, key: bytes, *, incarnation: str, caller: Caller) -> None:
        self._key = key
        digest = hashlib.blake2b(digest_size=16)
        for part in (incarnation, caller.kind.value, caller.uid or "", caller.project or ""):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8) + data)
        self._digest = digest.digest()

    def make(self, state: TransactionState) -> str:
        flags = _READ_ONLY if state.read_only else 0
        head = _HEAD.pack(
            _FORMAT, flags, state.version, state.started, state.used, state.id, self._digest
        )
        return base64.urlsafe_b64encode(head + self._seal(head)).rstrip(b"=").decode("ascii")

    def read(self, token: str) -> TransactionState:
        """Raises InvalidArgument (`InvalidTransaction`) for what was not made here for this caller
        and for this incarnation of the database."""
        state = self._parse(token)
        if state is None:
            raise InvalidArgument(
                "`transaction` is not a token that this database has given to this caller; begin "
                "a transaction first",
                reason="InvalidTransaction",
            )
        return state

    def _parse(self, token: str) -> TransactionState | None:
        if len(token) > _TOKEN_CHARACTERS_MAX:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        head, seal = data[: _HEAD.size], data[_HEAD.size :]
        if len(head) != _HEAD.size or not hmac.compare_digest(seal, self._seal(head)):
            return None
        form, flags, version, started, used, identifier, digest = _HEAD.unpack(head)
        if form != _FORMAT or digest != self._digest:
            return None
        return TransactionState(identifier, version, started, used, bool(flags & _READ_ONLY))

    def _seal(self, head: bytes) -> bytes:
        return hmac.digest(self._key, head, "sha256")[:_SEAL_BYTES]
