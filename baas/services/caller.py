"""Who calls. Faces establish it (`http/authentication`, the listen handshake); use cases get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

_NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})


class CallerKind(Enum):
    ANONYMOUS = "anonymous"  # no credentials: `request.auth == null`
    USER = "user"  # a signed-in user of one project, by id token
    SECRET_KEY = "secret-key"  # a project's own server, by secret API key
    ADMIN = "admin"  # an administrator of this server, or its operator


# Made on every request, so not frozen, which would triple its cost; nobody changes one.
@dataclass(slots=True)
class Caller:
    """A caller with rights in exactly one project, or (administrators) in all of them.

    `expires_at` is in seconds since 1970; a listener of this caller is cut off then. `session` is
    the id of a user's session, or the token of an administrator's. `revocations` is the count of
    `Accounts` when a user's session was last known to stand; -1: not known.
    """

    kind: CallerKind
    uid: str | None = None
    claims: Mapping[str, Any] = field(default_factory=lambda: _NO_CLAIMS)
    expires_at: int | None = None
    session: str | None = field(default=None, repr=False)
    project: str | None = None
    revocations: int = -1

    @property
    def bypasses_rules(self) -> bool:
        """Secret keys and administrators answer to no ruleset."""
        return self.kind is CallerKind.SECRET_KEY or self.kind is CallerKind.ADMIN


ANONYMOUS = Caller(CallerKind.ANONYMOUS)
