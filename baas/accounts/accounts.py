"""Accounts of all projects: signing up, in and out, and the id tokens that come of it.

Each project's users live in its own system database and have signing keys of their own, so an
account, a session or a token of one project means nothing in another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from baas.accounts.admins import Admins
from baas.accounts.directory import Users
from baas.accounts.emails import normalise_email
from baas.accounts.passwords import PasswordPool, is_outdated
from baas.accounts.sealing import ServerSecret
from baas.accounts.sessions import (
    GRACE_SECONDS,
    SESSIONS_PER_USER_MAX,
    RefreshTokens,
    Session,
    invalid_refresh_token,
    new_session,
    open_session,
    parse_refresh_token,
    session_path,
    sessions_of,
)
from baas.accounts.signing import (
    COLLECTION,
    SigningKeys,
    open_signing_keys,
    rotate_signing_keys,
    signing_keys_query,
)
from baas.accounts.throttle import Throttle, sign_in_charges, sign_up_charges
from baas.accounts.tokens import (
    TokenCache,
    VerifiedToken,
    has_known_key,
    invalid_token,
    sign_id_token,
    verify_signature,
)
from baas.accounts.users import User, open_user, user_path
from baas.clock import Clock
from baas.database.log import CommitEvent
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import TokenInvalid, Unauthenticated
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.settings import Settings

RevocationWatcher = Callable[[str, str | None], None]
"""Called with (project, uid) when tokens of that user may have lost their validity; None: those of
any user of the project."""

_KEPT_AFTER_RETIREMENT_SECONDS = 2 * 3_600


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What an app gets for a sign-in or a refresh. `expires_in` is in seconds."""

    user: User
    id_token: str
    refresh_token: str
    expires_in: int


class Accounts:
    """The façade; `users` and `admins` hold the rest. Safe to use from one event loop."""

    def __init__(
        self,
        databases: Databases,
        *,
        secret: ServerSecret,
        passwords: PasswordPool,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._secret = secret
        self._passwords = passwords
        self._settings = settings
        self._clock = clock
        self._throttle = Throttle(clock, workers=settings.workers)
        self._refresh_tokens = RefreshTokens(secret.derive("refresh-tokens"))
        self._cache = TokenCache()
        self._keys: dict[str, SigningKeys] = {}
        self._keys_epoch = 0
        self._reloaded: dict[str, float] = {}  # keys of a project, because of one that is unknown
        self._watchers: list[RevocationWatcher] = []
        self._store = SystemStore(databases, clock, self._observe, self._forget)
        self.users = Users(self._store, passwords, clock)
        self.admins = Admins(databases, passwords, self._throttle, settings, clock)

    # Signing up, in and out

    async def sign_up(
        self, project: str, email: object, password: object, *, address: str | None = None
    ) -> SignedIn:
        """Makes a user and signs it in. `address` is the client's IP address.

        Raises AlreadyExists (`EmailExists`): as with Firebase, sign-up tells that an address is
        taken. Raises as `Users.create`, and ResourceExhausted (`TooManyAttempts`).
        """
        self._throttle.take(sign_up_charges(project, address))
        sessions: dict[str, Session] = {}

        def add_session(uid: str) -> Write:
            session = sessions[uid] = self._new_session(uid)
            return SetWrite(session.path, session.to_fields())

        user = await self.users.create(project, email, password, also=add_session)
        return await self._signed_in(project, user, sessions[user.uid])

    async def sign_in(
        self, project: str, email: object, password: object, *, address: str | None = None
    ) -> SignedIn:
        """Opens a session. An unknown address and a wrong password are told apart neither by the
        error nor by the work that is done.

        Raises Unauthenticated (`InvalidCredentials`, or `UserDisabled` once the password was
        right), ResourceExhausted (`TooManyAttempts`, `PasswordQueueFull`), InvalidArgument.
        """
        normalised = normalise_email(email)
        charges = sign_in_charges(project, normalised, address)
        self._throttle.take(charges)
        document = await self.users.find_document(project, normalised)
        hashed = None if document is None else str(document.fields["password_hash"])
        is_right = await self._passwords.verify(password, hashed)
        if document is None or hashed is None or not is_right:
            raise invalid_credentials()
        self._throttle.give_back(charges)
        uid = document.path.segments[-1]
        fresh = await self._passwords.hash(str(password)) if is_outdated(hashed) else hashed
        session = self._new_session(uid)

        async def body(transaction: Transaction) -> User:
            (current,) = await transaction.get_documents([user_path(uid)])
            if current is None or current.fields["password_hash"] != hashed:
                raise invalid_credentials()
            user = open_user(current)
            if user.disabled:
                raise _user_disabled()
            now = transaction.request_time
            fields: Fields = {**current.fields, "last_sign_in": now, "password_hash": fresh}
            await transaction.write(
                [SetWrite(current.path, fields), SetWrite(session.path, session.to_fields())]
            )
            return replace(user, last_sign_in=now)

        user = await self._store.run(project, body)
        await self._drop_old_sessions(project, uid)
        return await self._signed_in(project, user, session)

    async def refresh(self, project: str, refresh_token: object) -> SignedIn:
        """Exchanges a refresh token for the next one and a fresh id token; durable on return.

        Any number of exchanges of one token within the grace time give the same successor. Raises
        TokenInvalid (`RefreshTokenInvalid`; `RefreshTokenReused`, which has revoked the session)
        and Unauthenticated (`UserDisabled`).
        """
        token = parse_refresh_token(refresh_token)

        async def body(transaction: Transaction) -> tuple[User, Session, int] | None:
            now = self._clock.now_microseconds()
            paths = [user_path(token.uid), session_path(token.uid, token.session)]
            user_document, document = await transaction.get_documents(paths)
            if user_document is None or document is None:
                raise invalid_refresh_token()
            session = open_session(document)
            is_genuine = self._refresh_tokens.is_genuine(project, session, token)
            if not is_genuine or now >= session.expires:
                raise invalid_refresh_token()
            user = open_user(user_document)
            if user.disabled:
                raise _user_disabled()
            used, current = token.generation, session.generation
            if used == current - 1 and now - session.rotated <= GRACE_SECONDS * 1_000_000:
                return user, session, current
            if used < current:
                await transaction.write([DeleteWrite(session.path)])
                return None
            # A number above the current one is genuine too: the database was restored to an
            # earlier state, and the client is ahead of it.
            expires = now + self._settings.refresh_token_lifetime_seconds * 1_000_000
            moved = replace(session, generation=used + 1, rotated=now, expires=expires)
            await transaction.write([SetWrite(session.path, moved.to_fields())])
            return user, moved, used + 1

        outcome = await self._store.run(project, body)
        if outcome is None:
            raise TokenInvalid(
                "the refresh token was used before, so the session is revoked; sign in again",
                reason="RefreshTokenReused",
            )
        user, session, generation = outcome
        return await self._signed_in(project, user, session, generation)

    async def sign_out(self, project: str, refresh_token: object) -> None:
        """Ends the session; its id tokens are refused from then on. Repeating it changes nothing.

        Raises TokenInvalid (`RefreshTokenInvalid`) for a token that was made up.
        """
        token = parse_refresh_token(refresh_token)
        path = session_path(token.uid, token.session)

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([path])
            if document is None:
                return
            if not self._refresh_tokens.is_genuine(project, open_session(document), token):
                raise invalid_refresh_token()
            await transaction.write([DeleteWrite(path)])

        await self._store.run(project, body)

    # Id tokens

    def recall_id_token(self, project: str, token: str) -> VerifiedToken | None:
        """As `verify_id_token`, for a token that was verified before; None for all others. Raises
        TokenExpired."""
        return self._cache.get(token, project, self._clock.now_microseconds())

    async def verify_id_token(self, project: str, token: str) -> VerifiedToken:
        """What a good token says. A token that was verified before costs a look into a table; it
        is refused from the moment it expires, its session ends, or its user is disabled, deleted
        or given another password.

        Raises TokenExpired (`IdTokenExpired`), TokenInvalid (`IdTokenInvalid`).
        """
        verified = self._cache.get(token, project, self._clock.now_microseconds())
        if verified is not None:
            return verified
        epoch = self._cache.epoch
        keys = await self._load_keys_for(project, token)
        now = self._clock.now_microseconds() // 1_000_000
        verified = verify_signature(token, keys, project=project, now=now)
        await self.check_session(project, verified.uid, verified.session)
        self._cache.put(token, verified, epoch=epoch)
        return verified

    @property
    def revocations(self) -> int:
        """Counts what may have ended the validity of somebody's tokens: while it stays as it is,
        all that were good are good."""
        return self._cache.epoch

    async def check_session(self, project: str, uid: str, session: str) -> None:
        """Raises TokenInvalid (`IdTokenInvalid`) unless the session still stands."""
        database = await self._store.open(project)
        paths = [user_path(uid), session_path(uid, session)]
        user, found = await database.get_documents(paths)
        if user is None or found is None or user.fields["disabled"] is True:
            raise invalid_token()

    async def get_jwks(self, project: str) -> dict[str, Any]:
        """The public keys that verify the project's id tokens (RFC 7517)."""
        return (await self._load_keys(project)).to_jwks()

    async def rotate_signing_key(self, project: str) -> None:
        """Signs with a new key from now on; tokens of the old one stay good until they expire."""
        keep = self._settings.id_token_lifetime_seconds + _KEPT_AFTER_RETIREMENT_SECONDS

        async def body(transaction: Transaction) -> None:
            await rotate_signing_keys(
                transaction, self._secret, project, self._clock, keep_seconds=keep
            )

        await self._store.run(project, body)

    def watch_revocations(self, watcher: RevocationWatcher) -> Callable[[], None]:
        """Calls `watcher` at each commit that may end the validity of a user's tokens; it may then
        ask `verify_id_token` again. The returned function ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    # Life

    async def open_project(self, project: str) -> None:
        """Makes the project's first signing key, so that no sign-in has to wait for it."""
        await self._load_keys(project)

    def forget_project(self, project: str) -> None:
        """The project is gone: nothing of it is answered from memory."""
        self._forget(project)
        self._store.forget(project)

    # Within

    def _forget(self, project: str | None) -> None:
        """Nothing of the project is answered from memory, until it is read again."""
        assert project is not None
        self._cache.evict_project(project)
        self._forget_keys(project)
        for watcher in tuple(self._watchers):
            watcher(project, None)

    def _forget_keys(self, project: str) -> None:
        self._keys.pop(project, None)
        self._keys_epoch += 1

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        """Keeps what is in memory true to a commit."""
        assert project is not None
        affected: set[str] = set()
        for change in event.changes:
            segments = change.path.segments
            if segments[0] == COLLECTION:
                self._forget_keys(project)
            elif segments[0] == "users" and (len(segments) == 2 or change.new is None):
                affected.add(segments[1])
        for uid in affected:
            self._cache.evict_user(project, uid)
            for watcher in tuple(self._watchers):
                watcher(project, uid)

    async def _signed_in(
        self, project: str, user: User, session: Session, generation: int = 0
    ) -> SignedIn:
        lifetime = self._settings.id_token_lifetime_seconds
        id_token = sign_id_token(
            await self._load_keys(project),
            project=project,
            uid=user.uid,
            session=session.id,
            claims=user.to_claims(),
            auth_time=session.auth_time,
            issued_at=self._clock.now_microseconds() // 1_000_000,
            lifetime_seconds=lifetime,
        )
        refresh_token = self._refresh_tokens.make(project, session, generation)
        return SignedIn(user, id_token, refresh_token, lifetime)

    def _new_session(self, uid: str) -> Session:
        lifetime = self._settings.refresh_token_lifetime_seconds
        return new_session(uid, self._clock, lifetime_seconds=lifetime)

    async def _drop_old_sessions(self, project: str, uid: str) -> None:
        """Deletes the user's expired sessions, and the longest unused past the limit."""
        database = await self._store.open(project)
        documents = (await database.run_query(Query(sessions_of(uid)))).documents
        now = self._clock.now_microseconds()
        sessions = sorted(map(open_session, documents), key=lambda found: found.rotated)
        excess = max(len(sessions) - SESSIONS_PER_USER_MAX, 0)
        doomed = sessions[:excess] + [one for one in sessions[excess:] if one.expires <= now]

        async def body(transaction: Transaction) -> None:
            await transaction.write([DeleteWrite(session.path) for session in doomed[:500]])

        if doomed:
            await self._store.run(project, body)

    async def _load_keys(self, project: str) -> SigningKeys:
        keys = self._keys.get(project)
        while keys is None:
            epoch = self._keys_epoch
            database = await self._store.open(project)
            result = await database.run_query(signing_keys_query())
            keys = open_signing_keys(list(result.documents), self._secret, project)
            if keys is None:
                await self._store.run(project, self._make_first_key(project))
            elif epoch == self._keys_epoch:
                self._keys[project] = keys
        return keys

    async def _load_keys_for(self, project: str, token: str) -> SigningKeys:
        """The keys, read again if the token names another one: it may have been made a moment ago,
        on another node. Not more than once a second, whatever strangers send."""
        keys = await self._load_keys(project)
        if has_known_key(token, keys):
            return keys
        now = self._clock.monotonic_seconds()
        if now - self._reloaded.get(project, -1.0) >= 1.0:
            self._reloaded[project] = now
            self._forget_keys(project)
            keys = await self._load_keys(project)
        return keys

    def _make_first_key(self, project: str) -> Callable[[Transaction], Awaitable[None]]:
        async def body(transaction: Transaction) -> None:
            await rotate_signing_keys(
                transaction, self._secret, project, self._clock, keep_seconds=0, only_if_none=True
            )

        return body


def invalid_credentials() -> Unauthenticated:
    """The same for an unknown address and a wrong password."""
    return Unauthenticated(
        "the e-mail address or the password is wrong", reason="InvalidCredentials"
    )


def _user_disabled() -> Unauthenticated:
    return Unauthenticated("the account is disabled", reason="UserDisabled")
