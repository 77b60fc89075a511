"""Administrators of the server: the first one by a one-time token, further ones by each other.

Documents of the server's system database: `admins/{id}`, `admin_emails/{address}`,
`admin_sessions/{hash of the token}`, `setup/link`. Session tokens are stored hashed; they are 256
random bits, so a plain SHA-256 is as good as a slow hash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from baas.accounts.emails import normalise_email
from baas.accounts.passwords import PasswordPool, check_password
from baas.accounts.throttle import Throttle, sign_in_charges
from baas.clock import Clock, new_document_id
from baas.database.log import CommitEvent
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import (
    AlreadyExists,
    FailedPrecondition,
    TokenExpired,
    TokenInvalid,
    Unauthenticated,
)
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, Precondition, SetWrite, Write
from baas.settings import Settings

SESSION_PREFIX = "baas_as_"
SETUP_PREFIX = "baas_setup_"
SETUP_LINK_SECONDS = 600
ADMINS = CollectionPath(("admins",))
_SETUP = DocumentPath(("setup", "link"))
_SESSIONS = "admin_sessions"
_TOKEN_BYTES = 32
_TOKEN_CHARACTERS_MAX = 200
_SERVER = ""  # in the throttle's keys, where a project would stand
_ABSENT = Precondition(exists=False)


@dataclass(frozen=True, slots=True)
class Admin:
    id: str
    email: str
    created: Timestamp


@dataclass(frozen=True, slots=True)
class AdminSession:
    """`token` is shown to its holder only; `expires_at` is in seconds since 1970."""

    admin: Admin
    token: str
    expires_at: int


class Admins:
    """The administrators. Safe to use from one event loop."""

    def __init__(
        self,
        databases: Databases,
        passwords: PasswordPool,
        throttle: Throttle,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = SystemStore(databases, clock, self._observe, self._forget)
        self._passwords = passwords
        self._throttle = throttle
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, AdminSession] = {}  # by token; emptied when one of them ends
        self._epoch = 0

    # The first administrator

    async def make_setup_token(self, node: str = "") -> str | None:
        """A new one-time token that makes the first administrator, or None if there is one.

        Earlier tokens end: only the one that was printed last is good. Of several nodes that start
        together, the first prints one; another's is replaced only after SETUP_LINK_SECONDS.
        """
        token = self._new_token(SETUP_PREFIX)

        async def body(transaction: Transaction) -> bool:
            if await _has_admins(transaction):
                return False
            (link,) = await transaction.get_documents([_SETUP])
            now = self._clock.now_microseconds()
            if link is not None and link.fields.get("node", node) != node:
                made = link.fields["made"]
                assert isinstance(made, int)
                if now - made < SETUP_LINK_SECONDS * 1_000_000:
                    return False
            fields: Fields = {"hash": _hash(token), "node": node, "made": now}
            await transaction.write([SetWrite(_SETUP, fields)])
            return True

        return token if await self._store.run(None, body) else None

    async def set_up(self, token: object, email: object, password: object) -> AdminSession:
        """Makes the first administrator and signs it in; the token ends. Of any number at once,
        exactly one wins.

        Raises TokenInvalid (`SetupTokenInvalid`) also when the server is set up already.
        """
        await self._check_setup_token(token)
        normalised = normalise_email(email)
        hashed = await self._passwords.hash(check_password(password))
        wanted = _hash(token) if isinstance(token, str) else ""

        async def body(transaction: Transaction) -> Admin:
            (link,) = await transaction.get_documents([_SETUP])
            if link is None or link.fields["hash"] != wanted or await _has_admins(transaction):
                raise _invalid_setup()
            admin, writes = self._new_admin(normalised, hashed, transaction.request_time)
            await transaction.write([*writes, DeleteWrite(_SETUP)])
            return admin

        return await self._open_session(await self._store.run(None, body))

    async def _check_setup_token(self, token: object) -> None:
        """Before any password is hashed: strangers get no work done."""
        database = await self._store.open(None)
        (link,) = await database.get_documents([_SETUP])
        if link is None or not isinstance(token, str) or len(token) > _TOKEN_CHARACTERS_MAX:
            raise _invalid_setup()
        if not hmac.compare_digest(_hash(token), str(link.fields["hash"])):
            raise _invalid_setup()

    # Signing in and out

    async def sign_in(
        self, email: object, password: object, *, address: str | None = None
    ) -> AdminSession:
        """Opens a session. Raises as `Accounts.sign_in`."""
        normalised = normalise_email(email)
        charges = sign_in_charges(_SERVER, normalised, address)
        self._throttle.take(charges)
        database = await self._store.open(None)
        (entry,) = await database.get_documents([_email_path(normalised)])
        identifier = "none" if entry is None else str(entry.fields["admin"])
        (document,) = await database.get_documents([_admin_path(identifier)])
        hashed = None if document is None else str(document.fields["password_hash"])
        is_right = await self._passwords.verify(password, hashed)
        if document is None or not is_right:
            raise Unauthenticated(
                "the e-mail address or the password is wrong", reason="InvalidCredentials"
            )
        self._throttle.give_back(charges)
        return await self._open_session(_open_admin(document))

    async def sign_out(self, token: str) -> None:
        """Ends the session. Repeating it changes nothing."""

        async def body(transaction: Transaction) -> None:
            await transaction.write([DeleteWrite(_session_path(token))])

        await self._store.run(None, body)

    async def authenticate(self, token: str) -> AdminSession:
        """The session of a token. Raises TokenExpired (`AdminSessionExpired`), TokenInvalid
        (`AdminSessionInvalid`)."""
        session = self._sessions.get(token)
        if session is None:
            session = await self._find_session(token)
        if self._clock.now_microseconds() >= session.expires_at * 1_000_000:
            raise TokenExpired(
                "the session has expired; sign in again", reason="AdminSessionExpired"
            )
        return session

    # Administrators

    async def create(self, email: object, password: object) -> Admin:
        """Makes a further administrator (the first too, for the operator): a set-up token that is
        still open ends. Raises AlreadyExists (`EmailExists`), InvalidArgument."""
        normalised = normalise_email(email)
        hashed = await self._passwords.hash(check_password(password))

        async def body(transaction: Transaction) -> Admin:
            (taken,) = await transaction.get_documents([_email_path(normalised)])
            if taken is not None:
                raise AlreadyExists(
                    "an administrator with this e-mail address exists", reason="EmailExists"
                )
            admin, writes = self._new_admin(normalised, hashed, transaction.request_time)
            await transaction.write([*writes, DeleteWrite(_SETUP)])
            return admin

        return await self._store.run(None, body)

    async def list_all(self) -> tuple[Admin, ...]:
        documents = (await (await self._store.open(None)).run_query(Query(ADMINS))).documents
        return tuple(_open_admin(document) for document in documents)

    async def delete(self, identifier: str) -> None:
        """Deletes an administrator with all sessions. Raises FailedPrecondition (`LastAdmin`)."""

        async def body(transaction: Transaction) -> None:
            admins = (await transaction.run_query(Query(ADMINS))).documents
            doomed = [one for one in admins if one.path.segments[-1] == identifier]
            if len(admins) == len(doomed):
                raise FailedPrecondition(
                    "the last administrator cannot be deleted", reason="LastAdmin"
                )
            writes: list[Write] = []
            for document in doomed:
                writes.append(DeleteWrite(document.path))
                writes.append(DeleteWrite(_email_path(str(document.fields["email"]))))
            await transaction.write(writes)

        await self._store.run(None, body)

    # Within

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        if any(change.path.segments[0] in (_SESSIONS, "admins") for change in event.changes):
            self._forget(project)

    def _forget(self, project: str | None) -> None:
        self._sessions.clear()
        self._epoch += 1

    def _new_admin(
        self, email: str, password_hash: str, now: Timestamp
    ) -> tuple[Admin, list[Write]]:
        admin = Admin(new_document_id(self._clock), email, now)
        fields: Fields = {"email": email, "password_hash": password_hash, "created": now}
        return admin, [
            SetWrite(_admin_path(admin.id), fields, precondition=_ABSENT),
            SetWrite(_email_path(email), {"admin": admin.id}, precondition=_ABSENT),
        ]

    async def _open_session(self, admin: Admin) -> AdminSession:
        token = self._new_token(SESSION_PREFIX)
        now = self._clock.now_microseconds() // 1_000_000
        expires_at = now + self._settings.admin_session_lifetime_seconds
        database = await self._store.open(None)
        documents = (await database.run_query(Query(CollectionPath((_SESSIONS,))))).documents
        expired = [one.path for one in documents if _expiry(one) <= now]

        async def body(transaction: Transaction) -> None:
            fields: Fields = {"admin": admin.id, "expires_at": expires_at}
            await transaction.write(
                [
                    SetWrite(_session_path(token), fields),
                    *(DeleteWrite(path) for path in expired[:400]),
                ]
            )

        await self._store.run(None, body)
        return AdminSession(admin, token, expires_at)

    async def _find_session(self, token: str) -> AdminSession:
        invalid = TokenInvalid("the session has ended; sign in again", reason="AdminSessionInvalid")
        if not token.startswith(SESSION_PREFIX) or len(token) > _TOKEN_CHARACTERS_MAX:
            raise invalid
        epoch = self._epoch
        database = await self._store.open(None)
        (document,) = await database.get_documents([_session_path(token)])
        if document is None:
            raise invalid
        (admin,) = await database.get_documents([_admin_path(str(document.fields["admin"]))])
        if admin is None:
            raise invalid
        session = AdminSession(_open_admin(admin), token, _expiry(document))
        if epoch == self._epoch:
            self._sessions[token] = session
        return session

    def _new_token(self, prefix: str) -> str:
        random = self._clock.random_bytes(_TOKEN_BYTES)
        return prefix + base64.urlsafe_b64encode(random).rstrip(b"=").decode("ascii")


async def _has_admins(transaction: Transaction) -> bool:
    return bool((await transaction.run_query(Query(ADMINS, limit=1))).documents)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _session_path(token: str) -> DocumentPath:
    return DocumentPath((_SESSIONS, _hash(token)))


def _admin_path(identifier: str) -> DocumentPath:
    return DocumentPath(("admins", identifier))


def _email_path(email: str) -> DocumentPath:
    return DocumentPath(("admin_emails", email.replace("%", "%25").replace("/", "%2F")))


def _expiry(document: DocumentLike) -> int:
    expires_at = document.fields["expires_at"]
    assert isinstance(expires_at, int)
    return expires_at


def _open_admin(document: DocumentLike) -> Admin:
    created = document.fields["created"]
    assert isinstance(created, Timestamp)
    return Admin(document.path.segments[-1], str(document.fields["email"]), created)


def _invalid_setup() -> TokenInvalid:
    return TokenInvalid(
        "the set-up link is not valid, or was used already", reason="SetupTokenInvalid"
    )
