"""The users of projects: making, finding, changing and deleting them. No tokens here."""

from __future__ import annotations

from collections.abc import Callable

from baas.accounts.emails import normalise_email
from baas.accounts.passwords import PasswordPool, check_password
from baas.accounts.sessions import sessions_of
from baas.accounts.users import (
    USERS,
    User,
    UserPage,
    check_claims,
    email_path,
    new_uid,
    open_user,
    user_fields,
    user_not_found,
    user_of_fields,
    user_path,
)
from baas.clock import Clock
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import AlreadyExists, InvalidArgument
from baas.model.queries import NAME, Cursor, Order, Query
from baas.model.values import Fields, Reference
from baas.model.writes import DeleteWrite, Precondition, SetWrite, Write

PAGE_SIZE_MAX = 1_000


class Users:
    """Users by project. What ends a session here also ends its id tokens."""

    def __init__(self, store: SystemStore, passwords: PasswordPool, clock: Clock) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock

    async def create(
        self,
        project: str,
        email: object,
        password: object,
        *,
        also: Callable[[str], Write] | None = None,
    ) -> User:
        """Makes a user, in one commit with what `also` makes of the uid, which is the user's first
        sign-in. Of any number at once for one address, exactly one wins.

        Raises AlreadyExists (`EmailExists`), InvalidArgument (`InvalidEmail`, `WeakPassword`,
        `InvalidPassword`), ResourceExhausted (`PasswordQueueFull`).
        """
        normalised = normalise_email(email)
        # Hashed before the address is looked up: the same work whether it is taken or not.
        hashed = await self._passwords.hash(check_password(password))

        async def body(transaction: Transaction) -> User:
            (taken,) = await transaction.get_documents([email_path(normalised)])
            if taken is not None:
                raise AlreadyExists(
                    "an account with this e-mail address exists",
                    reason="EmailExists",
                    details={"field": "email"},
                )
            uid = new_uid(self._clock)
            fields = user_fields(normalised, hashed, transaction.request_time)
            absent = Precondition(exists=False)
            writes: list[Write] = [
                SetWrite(email_path(normalised), {"uid": uid}, precondition=absent)
            ]
            if also is not None:
                fields["last_sign_in"] = transaction.request_time
                writes.append(also(uid))
            writes.append(SetWrite(user_path(uid), fields, precondition=absent))
            await transaction.write(writes)
            return user_of_fields(uid, fields)

        return await self._store.run(project, body)

    async def get(self, project: str, uid: str) -> User:
        """Raises NotFound (`UserNotFound`)."""
        document = await self._store.read(project, user_path(uid))
        if document is None:
            raise user_not_found(uid)
        return open_user(document)

    async def find_document(self, project: str, email: str) -> StoredDocument | None:
        """The stored user with an address in its normal form."""
        database = await self._store.open(project)
        (entry,) = await database.get_documents([email_path(email)])
        # An unknown address reads a second time as well, so that both take alike.
        uid = "none" if entry is None else str(entry.fields["uid"])
        (document,) = await database.get_documents([user_path(uid)])
        return document

    async def find(self, project: str, email: object) -> User | None:
        """The user with this address. Raises InvalidArgument (`InvalidEmail`)."""
        document = await self.find_document(project, normalise_email(email))
        return None if document is None else open_user(document)

    async def list_page(
        self, project: str, *, page_size: int = 100, page_token: str | None = None
    ) -> UserPage:
        """Users by uid. `page_token` is the last page's `next_page_token`."""
        if not 1 <= page_size <= PAGE_SIZE_MAX:
            raise InvalidArgument(
                f"`page_size` must be from 1 to {PAGE_SIZE_MAX}", reason="InvalidPageSize"
            )
        start = None
        if page_token is not None:
            if not (page_token.isalnum() and page_token.isascii() and len(page_token) <= 64):
                raise InvalidArgument("`page_token` is malformed", reason="InvalidPageToken")
            start = Cursor((Reference(user_path(page_token)),), before=False)
        query = Query(USERS, order_by=(Order(NAME),), start=start, limit=page_size + 1)
        documents = await self._store.run_query(project, query)
        users = tuple(open_user(document) for document in documents[:page_size])
        return UserPage(users, users[-1].uid if len(documents) > page_size else None)

    async def update(
        self,
        project: str,
        uid: str,
        *,
        disabled: bool | None = None,
        email_verified: bool | None = None,
        password: object = None,
        claims: object = None,
    ) -> User:
        """Changes what is not None. Disabling, or a new password, ends all sessions of the user.

        Raises NotFound (`UserNotFound`), InvalidArgument.
        """
        changes: Fields = {}
        if disabled is not None:
            changes["disabled"] = disabled
        if email_verified is not None:
            changes["email_verified"] = email_verified
        if claims is not None:
            changes["claims"] = check_claims(claims)
        if password is not None:
            changes["password_hash"] = await self._passwords.hash(check_password(password))

        async def body(transaction: Transaction) -> User:
            (document,) = await transaction.get_documents([user_path(uid)])
            if document is None:
                raise user_not_found(uid)
            fields: Fields = {**document.fields, **changes}
            writes: list[Write] = [SetWrite(document.path, fields)]
            if disabled is True or password is not None:
                writes += await _session_deletions(transaction, uid)
            await transaction.write(writes)
            return user_of_fields(uid, fields)

        return await self._store.run(project, body)

    async def delete(self, project: str, uid: str) -> None:
        """Deletes the user with all sessions; the address is free again. Documents that the app
        keeps about the user stay. Raises NotFound (`UserNotFound`)."""

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([user_path(uid)])
            if document is None:
                raise user_not_found(uid)
            await transaction.write(
                [
                    DeleteWrite(document.path),
                    DeleteWrite(email_path(str(document.fields["email"]))),
                    *await _session_deletions(transaction, uid),
                ]
            )

        await self._store.run(project, body)


async def _session_deletions(transaction: Transaction, uid: str) -> list[Write]:
    documents = (await transaction.run_query(Query(sessions_of(uid)))).documents
    return [DeleteWrite(document.path) for document in documents]
