"""Accounts over HTTP: apps sign users up, in and out."""

from __future__ import annotations

from typing import Any

from baas.accounts.accounts import SignedIn
from baas.accounts.users import User
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.model.timestamps import Timestamp
from baas.services import accounts
from baas.wire.documents import time_text
from baas.wire.objects import check_object

NO_PARAMETERS: frozenset[str] = frozenset()
_CREDENTIALS = frozenset({"email", "password"})
_REFRESH = frozenset({"refresh_token"})


async def sign_up(request: Request) -> Answer:
    email, password = await read_credentials(request)
    signed_in = await accounts.sign_up(
        request.context, request.params["project"], email, password, address=request.address
    )
    return json_answer(_encode_signed_in(signed_in), status=201)


async def sign_in(request: Request) -> Answer:
    email, password = await read_credentials(request)
    signed_in = await accounts.sign_in(
        request.context, request.params["project"], email, password, address=request.address
    )
    return json_answer(_encode_signed_in(signed_in))


async def refresh(request: Request) -> Answer:
    token = await _read_refresh_token(request)
    signed_in = await accounts.refresh(request.context, request.params["project"], token)
    return json_answer(_encode_signed_in(signed_in))


async def sign_out(request: Request) -> Answer:
    token = await _read_refresh_token(request)
    await accounts.sign_out(request.context, request.params["project"], token)
    return json_answer({})


async def get_me(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    return json_answer(encode_user(await accounts.get_me(request.context, request.caller)))


async def get_jwks(request: Request) -> Answer:
    """Verifiers fetch it often and may keep it for a while: retired keys stay in it for longer."""
    request.query(NO_PARAMETERS)
    keys = json_answer(await accounts.get_jwks(request.context, request.params["project"]))
    return Answer(keys.body, headers=((b"cache-control", b"public, max-age=300"),))


async def read_credentials(request: Request) -> tuple[Any, Any]:
    """E-mail address and password of a body, of whatever type: the use cases check them."""
    request.query(NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_CREDENTIALS, required=("email", "password")
    )
    return members["email"], members["password"]


def encode_user(user: User) -> dict[str, Any]:
    """A user in JSON."""
    return {
        "uid": user.uid,
        "email": user.email,
        "email_verified": user.email_verified,
        "disabled": user.disabled,
        "created": encode_moment(user.created),
        "last_sign_in": encode_moment(user.last_sign_in),
        "claims": dict(user.claims),
    }


def encode_moment(moment: Timestamp | None) -> str | None:
    return None if moment is None else time_text(moment.microseconds)


def _encode_signed_in(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "user": encode_user(signed_in.user),
        "id_token": signed_in.id_token,
        "refresh_token": signed_in.refresh_token,
        "expires_in": signed_in.expires_in,
    }


async def _read_refresh_token(request: Request) -> Any:
    request.query(NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_REFRESH, required=("refresh_token",)
    )
    return members["refresh_token"]
