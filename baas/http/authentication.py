"""From the headers of a request to its caller."""

from __future__ import annotations

from enum import Enum

from baas.errors import PermissionDenied, TokenInvalid, Unauthenticated
from baas.http.requests import Request
from baas.services.authentication import check_api_key, identify, recognize
from baas.services.caller import ANONYMOUS, Caller, CallerKind


class Access(Enum):
    """Who may call a route at all. What a caller may do there is the use case's to decide."""

    PUBLIC = "public"  # credentials are not looked at
    CALLER = "caller"  # anybody; credentials that are given must be good; rules decide
    API_KEY = "api-key"  # an app that shows a key of the project
    USER = "user"  # a signed-in user of the project
    ADMIN = "admin"  # administrators and the operator


def recognize_caller(request: Request, access: Access) -> Caller | None:
    """As `authenticate`, for the most frequent callers alone, on routes for anybody: who shows
    nothing, and users who were recognized before. None says nothing."""
    headers = request.headers
    if access is not Access.CALLER or b"x-api-key" in headers:
        return None
    authorization = headers.get(b"authorization")
    if authorization is None:
        return ANONYMOUS
    assert request.project is not None, "only administrative routes are outside of projects"
    return recognize(request.context, request.project, bearer_token(authorization))


async def authenticate(request: Request, access: Access) -> Caller:
    """The request's caller. Raises Unauthenticated or PermissionDenied with a precise reason."""
    headers = request.headers
    if access is Access.PUBLIC:
        return ANONYMOUS
    authorization = headers.get(b"authorization")
    api_key = headers.get(b"x-api-key")
    if access is Access.CALLER and authorization is None and api_key is None:
        return ANONYMOUS
    project = request.project
    token = None if authorization is None else bearer_token(authorization)
    if access is Access.ADMIN:
        return await _administrator(request, token)
    if access is Access.API_KEY and api_key is None:
        raise Unauthenticated(
            "this call needs the header `X-Api-Key` with a key of the project",
            reason="ApiKeyMissing",
        )
    assert project is not None, "only administrative routes are outside of projects"
    if api_key is not None:
        await check_api_key(request.context, project, _text(api_key, "X-Api-Key"))
    if token is None:
        caller = ANONYMOUS
    else:
        context = request.context
        caller = recognize(context, project, token) or await identify(context, project, token)
    if access is Access.USER and caller.kind is not CallerKind.USER:
        raise Unauthenticated(
            "this call needs `Authorization: Bearer` with an id token", reason="TokenMissing"
        )
    return caller


def bearer_token(authorization: bytes) -> str:
    """The token of an `Authorization` header. Raises TokenInvalid if it is no bearer token."""
    if authorization[:7] == b"Bearer " and b" " not in authorization[7:] and authorization[7:]:
        return _text(authorization[7:], "Authorization")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise TokenInvalid(
            "the header `Authorization` must be `Bearer <token>`", reason="AuthorizationMalformed"
        )
    token = token.strip()
    if not token or b" " in token:
        raise TokenInvalid(
            "the header `Authorization` must hold one token after `Bearer`",
            reason="AuthorizationMalformed",
        )
    return _text(token, "Authorization")


async def _administrator(request: Request, token: str | None) -> Caller:
    if token is None:
        raise Unauthenticated(
            "this call needs `Authorization: Bearer` with an administrator's token",
            reason="TokenMissing",
        )
    caller = await identify(request.context, None, token)
    if caller.kind is not CallerKind.ADMIN:
        raise PermissionDenied(reason="AdministratorNeeded")
    return caller


def _text(value: bytes, header: str) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise TokenInvalid(
            f"the header `{header}` holds characters that no token has",
            reason="AuthorizationMalformed",
        ) from error
