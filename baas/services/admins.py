"""Use cases on administrators of this server."""

from __future__ import annotations

from baas.accounts.admins import Admin, AdminSession
from baas.errors import PermissionDenied
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context


async def set_up(context: Context, token: object, email: object, password: object) -> AdminSession:
    """Makes the first administrator with the one-time token that was printed at start. Raises
    TokenInvalid (`SetupTokenInvalid`), InvalidArgument."""
    return await context.accounts.admins.set_up(token, email, password)


async def sign_in(
    context: Context, email: object, password: object, *, address: str | None
) -> AdminSession:
    """Raises Unauthenticated (`InvalidCredentials`), ResourceExhausted, InvalidArgument."""
    return await context.accounts.admins.sign_in(email, password, address=address)


async def sign_out(context: Context, caller: Caller) -> None:
    """Ends the session that the caller came with. The operator has none to end."""
    check_is_admin(caller)
    if caller.session is not None:
        await context.accounts.admins.sign_out(caller.session)


async def get_me(context: Context, caller: Caller) -> Admin | None:
    """The administrator who calls; None for the operator, who is the machine's and no account."""
    check_is_admin(caller)
    if caller.session is None:
        return None
    return (await context.accounts.admins.authenticate(caller.session)).admin


async def create_admin(context: Context, caller: Caller, email: object, password: object) -> Admin:
    """Makes a further administrator. Raises AlreadyExists (`EmailExists`), InvalidArgument."""
    check_is_admin(caller)
    return await context.accounts.admins.create(email, password)


async def list_admins(context: Context, caller: Caller) -> tuple[Admin, ...]:
    check_is_admin(caller)
    return await context.accounts.admins.list_all()


def check_is_admin(caller: Caller) -> None:
    """Raises PermissionDenied."""
    if caller.kind is not CallerKind.ADMIN:
        raise PermissionDenied()
