"""Use cases on accounts: apps sign users up, in and out; administrators look after users."""

from __future__ import annotations

from typing import Any

from baas.accounts.accounts import SignedIn
from baas.accounts.users import User, UserPage
from baas.errors import PermissionDenied, Unauthenticated
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context


async def sign_up(
    context: Context, project: str, email: object, password: object, *, address: str | None
) -> SignedIn:
    """Makes a user and signs it in. `address` is the client's IP address, for the throttle.

    Raises AlreadyExists (`EmailExists`), InvalidArgument (`InvalidEmail`, `WeakPassword`,
    `InvalidPassword`), ResourceExhausted (`TooManyAttempts`, `PasswordQueueFull`), NotFound
    (`ProjectNotFound`).
    """
    await context.projects.get_project(project)
    return await context.accounts.sign_up(project, email, password, address=address)


async def sign_in(
    context: Context, project: str, email: object, password: object, *, address: str | None
) -> SignedIn:
    """Opens a session. An unknown address and a wrong password are one and the same answer.

    Raises Unauthenticated (`InvalidCredentials`, `UserDisabled`), ResourceExhausted
    (`TooManyAttempts`, `PasswordQueueFull`), InvalidArgument, NotFound (`ProjectNotFound`).
    """
    await context.projects.get_project(project)
    return await context.accounts.sign_in(project, email, password, address=address)


async def refresh(context: Context, project: str, refresh_token: object) -> SignedIn:
    """The next refresh token and a fresh id token. Raises TokenInvalid (`RefreshTokenInvalid`,
    `RefreshTokenReused`), Unauthenticated (`UserDisabled`), NotFound (`ProjectNotFound`)."""
    await context.projects.get_project(project)
    return await context.accounts.refresh(project, refresh_token)


async def sign_out(context: Context, project: str, refresh_token: object) -> None:
    """Ends the session of a refresh token; its id tokens are refused from then on."""
    await context.projects.get_project(project)
    await context.accounts.sign_out(project, refresh_token)


async def get_me(context: Context, caller: Caller) -> User:
    """The user who calls."""
    if caller.kind is not CallerKind.USER or caller.uid is None or caller.project is None:
        raise Unauthenticated("this call needs an id token", reason="TokenMissing")
    return await context.accounts.users.get(caller.project, caller.uid)


async def get_jwks(context: Context, project: str) -> dict[str, Any]:
    """The public keys that verify the project's id tokens; no secret, open to everybody."""
    await context.projects.get_project(project)
    return await context.accounts.get_jwks(project)


# For administrators


async def list_users(
    context: Context,
    caller: Caller,
    project: str,
    *,
    page_size: int = 100,
    page_token: str | None = None,
) -> UserPage:
    """Users by uid, a page at a time."""
    await _check_may_administrate(context, caller, project)
    return await context.accounts.users.list_page(
        project, page_size=page_size, page_token=page_token
    )


async def find_user(context: Context, caller: Caller, project: str, email: object) -> User | None:
    """The user with this address, if there is one."""
    await _check_may_administrate(context, caller, project)
    return await context.accounts.users.find(project, email)


async def create_user(
    context: Context, caller: Caller, project: str, email: object, password: object
) -> User:
    """Makes a user who signs in later. Raises as `sign_up`."""
    await _check_may_administrate(context, caller, project)
    return await context.accounts.users.create(project, email, password)


async def get_user(context: Context, caller: Caller, project: str, uid: str) -> User:
    """Raises NotFound (`UserNotFound`)."""
    await _check_may_administrate(context, caller, project)
    return await context.accounts.users.get(project, uid)


async def update_user(
    context: Context,
    caller: Caller,
    project: str,
    uid: str,
    *,
    disabled: bool | None = None,
    email_verified: bool | None = None,
    password: object = None,
    claims: object = None,
) -> User:
    """Changes what is not None. Disabling, or a new password, ends the user's sessions and refuses
    the id tokens at once. Raises NotFound (`UserNotFound`), InvalidArgument."""
    await _check_may_administrate(context, caller, project)
    return await context.accounts.users.update(
        project,
        uid,
        disabled=disabled,
        email_verified=email_verified,
        password=password,
        claims=claims,
    )


async def delete_user(context: Context, caller: Caller, project: str, uid: str) -> None:
    """Deletes the user; documents that the app keeps about the user stay."""
    await _check_may_administrate(context, caller, project)
    await context.accounts.users.delete(project, uid)


async def rotate_signing_key(context: Context, caller: Caller, project: str) -> None:
    """Signs id tokens with a new key from now on; those of the old one stay good until they
    expire."""
    await _check_may_administrate(context, caller, project)
    await context.accounts.rotate_signing_key(project)


async def _check_may_administrate(context: Context, caller: Caller, project: str) -> None:
    if caller.kind is not CallerKind.ADMIN:
        raise PermissionDenied()
    await context.projects.get_project(project)
