"""Sessions and their refresh tokens.

A refresh token is used once: a refresh gives the next one. It is a MAC over the session, a nonce of
the session and a running number, under a key that is not in the database; so nothing that is stored
can be presented as a token, and every token that was ever issued is recognised for what it is.

Presenting a token that was already exchanged revokes the session, since two holders are then at
work. Excepted is the one just before the current, for `GRACE_SECONDS` after the exchange: a client
whose answer was lost, or two tabs at once, get the same successor again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from baas.clock import Clock, new_document_id
from baas.errors import TokenInvalid
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.values import Fields

REFRESH_TOKEN_PREFIX = "baas_rt_"
GRACE_SECONDS = 30
SESSIONS_PER_USER_MAX = 100
_TOKEN = re.compile(r"baas_rt_([A-Za-z0-9]{28})\.([A-Za-z0-9]{20})\.([0-9]{1,12})\.([\w-]{43})")


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in on one device. Times are microseconds since 1970.

    `generation` is the number of the refresh token that is good now.
    """

    id: str
    uid: str
    nonce: bytes
    generation: int
    created: int
    rotated: int
    expires: int

    @property
    def path(self) -> DocumentPath:
        return session_path(self.uid, self.id)

    @property
    def auth_time(self) -> int:
        """When the password was given, in seconds since 1970."""
        return self.created // 1_000_000

    def to_fields(self) -> Fields:
        return {
            "nonce": self.nonce,
            "generation": self.generation,
            "created": self.created,
            "rotated": self.rotated,
            "expires": self.expires,
        }


def new_session(uid: str, clock: Clock, *, lifetime_seconds: int) -> Session:
    now = clock.now_microseconds()
    return Session(
        id=new_document_id(clock),
        uid=uid,
        nonce=clock.random_bytes(16),
        generation=0,
        created=now,
        rotated=now,
        expires=now + lifetime_seconds * 1_000_000,
    )


def open_session(document: DocumentLike) -> Session:
    """The session that a document holds."""
    _, uid, _, session_id = document.path.segments
    fields = document.fields
    nonce = fields["nonce"]
    assert isinstance(nonce, bytes)
    numbers = [fields[name] for name in ("generation", "created", "rotated", "expires")]
    generation, created, rotated, expires = (n for n in numbers if isinstance(n, int))
    return Session(session_id, uid, nonce, generation, created, rotated, expires)


def session_path(uid: str, session: str) -> DocumentPath:
    return DocumentPath(("users", uid, "sessions", session))


def sessions_of(uid: str) -> CollectionPath:
    return CollectionPath(("users", uid, "sessions"))


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The parts of a presented token; not yet known to be genuine."""

    uid: str
    session: str
    generation: int
    mac: str


class RefreshTokens:
    """Makes and recognises the refresh tokens of all projects."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, project: str, session: Session, generation: int) -> str:
        """The token of one generation; the same one however often it is asked for."""
        mac = self._mac(project, session, generation)
        return f"{REFRESH_TOKEN_PREFIX}{session.uid}.{session.id}.{generation}.{mac}"

    def is_genuine(self, project: str, session: Session, token: RefreshToken) -> bool:
        """Whether this server issued the token for this very session."""
        return hmac.compare_digest(self._mac(project, session, token.generation), token.mac)

    def _mac(self, project: str, session: Session, generation: int) -> str:
        text = f"{project}\n{session.uid}\n{session.id}\n{generation}\n".encode()
        digest = hmac.new(self._key, text + session.nonce, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def parse_refresh_token(text: object) -> RefreshToken:
    """Raises TokenInvalid (reason `RefreshTokenInvalid`)."""
    found = _TOKEN.fullmatch(text) if isinstance(text, str) and text.isascii() else None
    if found is None:
        raise invalid_refresh_token()
    uid, session, generation, mac = found.groups()
    return RefreshToken(uid, session, int(generation), mac)


def invalid_refresh_token() -> TokenInvalid:
    """The same for a session that never was, has ended, or was revoked."""
    return TokenInvalid("the session has ended; sign in again", reason="RefreshTokenInvalid")
