"""Who is signed in, as a value: tokens, their end, the user. No I/O, no locks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from baas_sdk.errors import Internal, NotFound, PermissionDenied, SdkError, Unauthenticated

REFRESH_SECONDS_BEFORE = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """The signed-in user, as the server described it at sign-in."""

    uid: str
    email: str | None = None
    email_verified: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Everything that the server said of the user."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in or a refresh brought. Times are in the clock of `now`, which is monotonic."""

    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    refresh_at: float
    ends_at: float

    def is_due(self, now: float) -> bool:
        """True from shortly before the id token ends."""
        return now >= self.refresh_at


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The answer of sign-up, sign-in and refresh."""

    tokens: Tokens
    user: User | None


def parse_user(tree: Any) -> User:
    """Raises Internal for what is no user."""
    if not isinstance(tree, Mapping) or not isinstance(tree.get("uid"), str):
        raise Internal("the server sent no user where one is due")
    email = tree.get("email")
    return User(
        uid=tree["uid"],
        email=email if isinstance(email, str) else None,
        email_verified=bool(tree.get("email_verified", False)),
        profile=dict(tree),
    )


def parse_signed_in(tree: Any, now: float) -> SignedIn:
    """`now`: when the request was sent, so that the end is never placed too late."""
    lifetime = float(tree["expires_in"])
    margin = min(REFRESH_SECONDS_BEFORE, lifetime / 4)
    tokens = Tokens(
        tree["id_token"], tree["refresh_token"], now + lifetime - margin, now + lifetime
    )
    user = tree.get("user")
    return SignedIn(tokens, None if user is None else parse_user(user))


class Session:
    """The present tokens and user of one client, and who is told when the token changes."""

    def __init__(self) -> None:
        self.tokens: Tokens | None = None
        self.user: User | None = None
        self.on_change: Callable[[], None] | None = None

    @property
    def id_token(self) -> str | None:
        """The present one, which may be past its time."""
        return None if self.tokens is None else self.tokens.id_token

    def sign_in(self, signed_in: SignedIn) -> User:
        """Takes the place of whoever was signed in before."""
        if signed_in.user is None:
            raise Internal("the server named no user at sign-in")
        self.tokens, self.user = signed_in.tokens, signed_in.user
        self._tell()
        return signed_in.user

    def refresh(self, used: Tokens, signed_in: SignedIn) -> None:
        """Takes fresh tokens in place of the used ones, unless those are gone: someone has signed
        in or out meanwhile."""
        if self.tokens is used:
            self.tokens = signed_in.tokens
            self.user = signed_in.user or self.user
            self._tell()

    def refresh_failed(self, used: Tokens, error: SdkError) -> bool:
        """Whether this ended the session: the server will not have the refresh token any more."""
        is_over = isinstance(error, Unauthenticated | PermissionDenied | NotFound)
        if is_over and self.tokens is used:
            self.clear()
        return is_over

    def clear(self) -> None:
        """Nobody is signed in any more."""
        if self.tokens is not None or self.user is not None:
            self.tokens = None
            self.user = None
            self._tell()

    def needs_refresh(self, stale: str | None, now: float) -> bool:
        """True if the present token is about to end, or is the one that the server has refused."""
        return self.tokens is not None and (
            self.tokens.is_due(now) or self.tokens.id_token == stale
        )

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()
