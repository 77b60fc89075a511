"""Establishing who calls, from the credentials that a face was shown. Every kind of token is known
by its prefix; what has none is an id token."""

from __future__ import annotations

import hmac

from baas.accounts.admins import SESSION_PREFIX
from baas.accounts.tokens import VerifiedToken
from baas.errors import TokenInvalid
from baas.projects.keys import PREFIXES
from baas.projects.records import ApiKeyKind
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context

OPERATOR_PREFIX = "baas_op_"
_SECRET_PREFIX = PREFIXES[ApiKeyKind.SECRET]
_OPERATOR = Caller(CallerKind.ADMIN, uid="operator")


def recognize(context: Context, project: str, token: str) -> Caller | None:
    """As `identify`, for an id token that was verified before; None for all others. Raises
    TokenExpired."""
    verified = context.accounts.recall_id_token(project, token)
    return None if verified is None else _user(verified, context.accounts.revocations)


async def identify(context: Context, project: str | None, token: str) -> Caller:
    """The caller that shows this token to `project` (None: to the server itself).

    Raises TokenInvalid, also for good tokens of other projects, and TokenExpired.
    """
    if not token.startswith("baas_"):
        if project is None:
            raise TokenInvalid(
                "an id token is of no use here; an administrator's token is needed",
                reason="AdministratorNeeded",
            )
        return _user(await context.accounts.verify_id_token(project, token))
    if token.startswith(SESSION_PREFIX):
        session = await context.accounts.admins.authenticate(token)
        return Caller(
            CallerKind.ADMIN,
            uid=session.admin.id,
            claims={"email": session.admin.email},
            expires_at=session.expires_at,
            session=token,
        )
    if token.startswith(OPERATOR_PREFIX):
        if not hmac.compare_digest(token.encode(), context.operator_token.encode()):
            raise TokenInvalid("the operator's token is of another run of the server")
        return _OPERATOR
    if token.startswith(_SECRET_PREFIX) and project is not None:
        key = await context.projects.keys.authenticate(project, token)
        return Caller(CallerKind.SECRET_KEY, session=key.id, project=project)
    raise TokenInvalid("the token is of a kind that gives no rights here", reason="TokenKind")


def _user(verified: VerifiedToken, revocations: int = -1) -> Caller:
    return Caller(
        CallerKind.USER,
        verified.uid,
        verified.claims,
        verified.expires_at,
        verified.session,
        verified.project,
        revocations,
    )


async def check_api_key(context: Context, project: str, text: str) -> None:
    """Raises TokenInvalid unless it is a publishable key of the project."""
    key = await context.projects.keys.authenticate(project, text)
    if key.kind is not ApiKeyKind.PUBLISHABLE:
        raise TokenInvalid(
            "a secret key goes into `Authorization: Bearer`, and never into an app",
            reason="ApiKeyKind",
        )
