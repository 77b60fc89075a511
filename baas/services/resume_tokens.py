"""Resume tokens: where a listener was, in a form that only this server can have made.

    format (1) · version (8) · digest (16) · seal (16), in URL-safe base64

The digest binds a token to the database's incarnation, the target and the caller; the seal is an
HMAC over all before it. A token that does not hold is no error: the listener gets everything anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct

_FORMAT = 1
_HEAD = struct.Struct(">BQ16s")
_SEAL_BYTES = 16
_TOKEN_CHARACTERS_MAX = 100


class ResumeTokens:
    """Makes and reads the tokens of one listener on one target."""

    __slots__ = ("_digest", "_key")

    def __init__(self, key: bytes, *, incarnation: str, target: str, caller: str) -> None:
        self._key = key
        digest = hashlib.blake2b(digest_size=16)
        for part in (incarnation, target, caller):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        self._digest = digest.digest()

    def make(self, version: int) -> str:
        """A token for the answer at `version`."""
        head = _HEAD.pack(_FORMAT, version, self._digest)
        return base64.urlsafe_b64encode(head + self._seal(head)).rstrip(b"=").decode("ascii")

    def read(self, token: str) -> int | None:
        """The version of a token that this listener may resume from; None for any other text."""
        if len(token) > _TOKEN_CHARACTERS_MAX:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        head, seal = data[: _HEAD.size], data[_HEAD.size :]
        if len(head) != _HEAD.size or not hmac.compare_digest(seal, self._seal(head)):
            return None
        form, version, digest = _HEAD.unpack(head)
        if form != _FORMAT or digest != self._digest:
            return None
        return int(version)

    def _seal(self, head: bytes) -> bytes:
        return hmac.digest(self._key, head, "sha256")[:_SEAL_BYTES]
