"""Id tokens: ES256 JSON Web Tokens, signed and verified here, and the cache of verified ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jwt

from baas.accounts.signing import ALGORITHM, SigningKeys
from baas.errors import TokenExpired, TokenInvalid

TOKEN_CHARACTERS_MAX = 8_192
CACHED_TOKENS_MAX = 10_000
CLAIM = "baas"  # holds what is ours: {"session": id, "sign_in_provider": "password"}
# Claims that this server writes; an app's own claims can have no such name.
RESERVED_CLAIMS = frozenset(
    {
        *("acr", "amr", "at_hash", "aud", "auth_time", "azp", "c_hash", "cnf", "exp", "iat", "iss"),
        *("jti", "nbf", "nonce", "sub"),
        *("baas", "email", "email_verified", "firebase", "phone_number", "user_id"),
    }
)
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "auth_time", CLAIM]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """An id token that is good now. `expires_at` is in seconds since 1970."""

    project: str
    uid: str
    session: str
    expires_at: int
    claims: Mapping[str, Any]


def issuer(project: str) -> str:
    """The `iss` of a project's tokens. No address: tokens outlive the name of a server."""
    return f"baas/projects/{project}"


def sign_id_token(
    keys: SigningKeys,
    *,
    project: str,
    uid: str,
    session: str,
    claims: Mapping[str, Any],
    auth_time: int,
    issued_at: int,
    lifetime_seconds: int,
) -> str:
    """A signed token; times in seconds since 1970. `claims` cannot replace what is ours."""
    payload = id_token_claims(
        project=project,
        uid=uid,
        session=session,
        claims=claims,
        auth_time=auth_time,
        issued_at=issued_at,
        lifetime_seconds=lifetime_seconds,
    )
    key = keys.current
    return jwt.encode(payload, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})


def id_token_claims(
    *,
    project: str,
    uid: str,
    session: str,
    claims: Mapping[str, Any],
    auth_time: int,
    issued_at: int,
    lifetime_seconds: int,
) -> dict[str, Any]:
    """What a token says: `request.auth.token` of the rules."""
    return {
        **claims,
        "iss": issuer(project),
        "aud": project,
        "sub": uid,
        "user_id": uid,
        "auth_time": auth_time,
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
        CLAIM: {"session": session, "sign_in_provider": "password"},
    }


def verify_signature(token: str, keys: SigningKeys, *, project: str, now: int) -> VerifiedToken:
    """Signature, issuer, audience and times; whether the session still stands is not looked at.

    The algorithm is ours, never the token's; a key id only picks among our keys.
    Raises TokenExpired, or TokenInvalid with one reason for everything else.
    """
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise invalid_token()
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = keys.by_id.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise invalid_token()
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],
            audience=project,
            issuer=issuer(project),
            # The times are checked below, against the server's own clock.
            options={
                "require": _REQUIRED,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise invalid_token() from error
    match claims:
        case {"sub": str(uid), "exp": int(expires_at), "baas": {"session": str(session)}} if uid:
            check_expiry(expires_at, now)
            return VerifiedToken(project, uid, session, expires_at, MappingProxyType(claims))
    raise invalid_token()


def has_known_key(token: str, keys: SigningKeys) -> bool:
    """Whether the key that the token names is among these. True for what is no token at all."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        return True
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return True
    return not isinstance(kid, str) or kid in keys.by_id


def check_expiry(expires_at: int, now: int) -> None:
    """Raises TokenExpired from the very second of `expires_at` on."""
    if now >= expires_at:
        raise TokenExpired("the id token has expired; refresh it", reason="IdTokenExpired")


def invalid_token() -> TokenInvalid:
    """The same for every cause, so that a forger learns nothing."""
    return TokenInvalid("the id token is not valid", reason="IdTokenInvalid")


class TokenCache:
    """Verified tokens by their text, the least recently used forgotten.

    Whatever takes a token's validity away must call `evict_user` or `evict_project`. Time does so
    by itself, which is why a hit is checked for expiry.
    """

    def __init__(self, *, tokens_max: int = CACHED_TOKENS_MAX) -> None:
        self._tokens_max = tokens_max
        self._tokens: OrderedDict[str, VerifiedToken] = OrderedDict()
        self._by_user: dict[tuple[str, str], set[str]] = {}
        # Counts evictions: who verified while one took place must not put the outcome in.
        self.epoch = 0

    def get(self, token: str, project: str, now_microseconds: int) -> VerifiedToken | None:
        """The cached outcome for this project. Raises TokenExpired."""
        verified = self._tokens.get(token)
        if verified is None or verified.project != project:
            return None
        if now_microseconds >= verified.expires_at * 1_000_000:
            self._remove(token, verified)
            check_expiry(verified.expires_at, now_microseconds // 1_000_000)
        self._tokens.move_to_end(token)
        return verified

    def put(self, token: str, verified: VerifiedToken, *, epoch: int) -> None:
        """Keeps an outcome that was established since the cache was at `epoch`."""
        if epoch != self.epoch:
            return
        self._tokens[token] = verified
        self._by_user.setdefault((verified.project, verified.uid), set()).add(token)
        if len(self._tokens) > self._tokens_max:
            oldest = next(iter(self._tokens))
            self._remove(oldest, self._tokens[oldest])

    def evict_user(self, project: str, uid: str) -> None:
        """Forgets all tokens of one user."""
        self.epoch += 1
        for token in self._by_user.pop((project, uid), ()):
            del self._tokens[token]

    def evict_project(self, project: str) -> None:
        """Forgets all tokens of one project."""
        for owner, uid in [user for user in self._by_user if user[0] == project]:
            self.evict_user(owner, uid)
        self.epoch += 1

    def __len__(self) -> int:
        return len(self._tokens)

    def _remove(self, token: str, verified: VerifiedToken) -> None:
        del self._tokens[token]
        user = (verified.project, verified.uid)
        tokens = self._by_user[user]
        tokens.discard(token)
        if not tokens:
            del self._by_user[user]
