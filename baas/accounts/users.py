"""Users of a project, as documents of its system database: `users/{uid}`, and `emails/{address}`
which makes each address unique."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from baas.accounts.tokens import RESERVED_CLAIMS
from baas.clock import Clock, new_document_id
from baas.errors import InvalidArgument, NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields

USERS = CollectionPath(("users",))
_UID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # ours, and imported ones
UID_LENGTH = 28  # as Firebase's
CLAIMS_BYTES_MAX = 1_000  # Firebase's limit: they travel with every request
CLAIMS_DEPTH_MAX = 32  # far below what JSON encoders take


@dataclass(frozen=True, slots=True)
class User:
    """A user as others may see it: no hash, no session."""

    uid: str
    email: str
    email_verified: bool
    disabled: bool
    created: Timestamp
    last_sign_in: Timestamp | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def to_claims(self) -> dict[str, Any]:
        """What an id token says about the user."""
        return {**self.claims, "email": self.email, "email_verified": self.email_verified}


@dataclass(frozen=True, slots=True)
class UserPage:
    """`next_page_token` None: there are no more."""

    users: tuple[User, ...]
    next_page_token: str | None = None


def new_uid(clock: Clock) -> str:
    return (new_document_id(clock) + new_document_id(clock))[:UID_LENGTH]


def user_path(uid: str) -> DocumentPath:
    """Raises NotFound (`UserNotFound`) for what can be no uid: it comes from callers, and paths
    that are made without parsing are taken as good."""
    if not _UID.fullmatch(uid):
        raise user_not_found(uid)
    return DocumentPath(("users", uid))


def email_path(email: str) -> DocumentPath:
    """Of an address in its normal form. A slash can stand in an address, and in no id."""
    return DocumentPath(("emails", email.replace("%", "%25").replace("/", "%2F")))


def user_fields(email: str, password_hash: str, now: Timestamp) -> Fields:
    return {
        "email": email,
        "email_verified": False,
        "disabled": False,
        "password_hash": password_hash,
        "created": now,
        "last_sign_in": None,
        "claims": "{}",
    }


def open_user(document: DocumentLike) -> User:
    """The user that a document holds."""
    return user_of_fields(document.path.segments[-1], document.fields)


def user_of_fields(uid: str, fields: Fields) -> User:
    created, last_sign_in = fields["created"], fields["last_sign_in"]
    assert isinstance(created, Timestamp)
    assert last_sign_in is None or isinstance(last_sign_in, Timestamp)
    return User(
        uid=uid,
        email=str(fields["email"]),
        email_verified=fields["email_verified"] is True,
        disabled=fields["disabled"] is True,
        created=created,
        last_sign_in=last_sign_in,
        claims=json.loads(str(fields["claims"])),
    )


def check_claims(claims: object) -> str:
    """An app's own claims as JSON text. Raises InvalidArgument (`InvalidClaims`)."""
    if not isinstance(claims, dict) or not all(isinstance(name, str) for name in claims):
        raise _invalid_claims("must be an object")
    reserved = sorted(RESERVED_CLAIMS & claims.keys())
    if reserved:
        raise _invalid_claims(f"have the name `{reserved[0]}`, which is the server's own")
    check_claims_depth(claims)
    try:
        text = json.dumps(claims, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid_claims("must be plain JSON") from error
    if len(text) > CLAIMS_BYTES_MAX:
        raise _invalid_claims(f"are longer than {CLAIMS_BYTES_MAX} bytes")
    return text


def user_not_found(uid: str) -> NotFound:
    return NotFound(f"there is no user `{uid[:80]}`", reason="UserNotFound")


def check_claims_depth(claims: Mapping[str, Any]) -> None:
    """Raises InvalidArgument (`InvalidClaims`)."""
    level: list[Any] = [claims]
    for _ in range(CLAIMS_DEPTH_MAX + 1):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise _invalid_claims(f"are nested deeper than {CLAIMS_DEPTH_MAX} levels")


def _invalid_claims(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"the user's claims {what}", reason="InvalidClaims", details={"field": "claims"}
    )
