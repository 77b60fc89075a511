"""Who may call what: every kind of credential against every kind of route."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from baas.clock import VirtualClock
from baas.http.authentication import Access
from baas.http.description import expand
from baas.http.routes import ROUTES
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, World, open_world
from tests.baas.http.test_bad_input import check_error


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Basic YTpi", "AuthorizationMalformed"),
        ("Bearer", "AuthorizationMalformed"),
        ("Bearer ", "AuthorizationMalformed"),
        ("Bearer a b", "AuthorizationMalformed"),
        ("Bearer x", "IdTokenInvalid"),
        ("Bearer a.b.c", "IdTokenInvalid"),
        ("Bearer " + "x" * 20_000, "IdTokenInvalid"),
        ("Bearer owner", "IdTokenInvalid"),
        ("Bearer null", "IdTokenInvalid"),
        ("Bearer baas_sk_" + "x" * 32, "ApiKeyInvalid"),
        ("Bearer baas_pk_" + "x" * 32, "TokenKind"),
        ("Bearer baas_as_x", "AdminSessionInvalid"),
        ("Bearer baas_op_x", "TokenInvalid"),
        ("Bearer baas_xx_x", "TokenKind"),
    ],
)
async def test_a_bad_token_is_refused_even_where_none_is_needed(
    world: World, header: str, reason: str
) -> None:
    await world.secret.put(f"{BASE}/public/a", json={"fields": {}})
    assert (await world.anonymous.get(f"{BASE}/public/a")).status_code == 200
    answer = await world.anonymous.get(f"{BASE}/public/a", headers={"authorization": header})
    error = check_error(answer, 401)
    assert error["reason"] == reason
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert header.removeprefix("Bearer ")[:40] not in error["message"] or len(header) < 20


async def test_a_header_that_is_no_text_is_refused(world: World) -> None:
    answer = await world.anonymous.get(
        f"{BASE}/public/a", headers=[(b"authorization", b"Bearer \xff\xfe")]
    )
    assert check_error(answer, 401)["reason"] == "AuthorizationMalformed"


def _segments(token: str) -> list[dict[str, Any]]:
    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    ]


def _pack(tree: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(tree).encode()).decode().rstrip("=")


def _forgeries(token: str, jwks: dict[str, Any]) -> dict[str, str]:
    header, claims = _segments(token)
    signature = token.rsplit(".", 1)[1]
    hashed = f"{_pack({**header, 'alg': 'HS256'})}.{_pack(claims)}"
    public = json.dumps(jwks["keys"][0]).encode()
    mac = base64.urlsafe_b64encode(hmac.digest(public, hashed.encode(), hashlib.sha256))
    return {
        "alg none": f"{_pack({'alg': 'none', 'typ': 'JWT'})}.{_pack(claims)}.",
        "alg none, kid kept": f"{_pack({**header, 'alg': 'none'})}.{_pack(claims)}.",
        "public key as secret": f"{hashed}.{mac.decode().rstrip('=')}",
        "another user": f"{_pack(header)}.{_pack({**claims, 'sub': 'eve'})}.{signature}",
        "kid traversal": f"{_pack({**header, 'kid': '../../x'})}.{_pack(claims)}.{signature}",
        "kid object": f"{_pack({**header, 'kid': {'a': 1}})}.{_pack(claims)}.{signature}",
        "cut": token[:-4],
    }


async def test_forged_tokens_are_refused(world: World) -> None:
    jwks = (await world.anonymous.get("/api/v1/projects/demo/accounts/jwks.json")).json()
    for name, token in _forgeries(world.id_token, jwks).items():
        answer = await world.anonymous.get(f"{BASE}/users/{world.uid}", headers=_bearer(token))
        assert check_error(answer, 401)["reason"] == "IdTokenInvalid", name


async def test_an_expired_token_is_refused_also_when_it_was_seen_before(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with (
        started_app(make_settings(tmp_path / "data"), clock) as app,
        open_world(app) as world,
    ):
        path = f"{BASE}/users/{world.uid}"
        assert (await world.user.put(path, json={"fields": {}})).status_code == 200
        clock.advance(app.settings.id_token_lifetime_seconds + 120)
        answer = await world.user.get(path)
        assert check_error(answer, 401)["reason"] == "IdTokenExpired"


async def test_credentials_of_one_project_mean_nothing_in_another(world: World) -> None:
    created = await world.operator.post("/api/v1/admin/projects", json={"id": "other"})
    assert created.status_code == 201
    other = "/api/v1/projects/other/documents/public/a"
    assert check_error(await world.user.get(other), 401)["reason"] == "IdTokenInvalid"
    assert check_error(await world.secret.get(other), 401)["reason"] == "ApiKeyInvalid"
    answer = await world.anonymous.get(other, headers={"x-api-key": world.api_key})
    assert check_error(answer, 401)["reason"] == "ApiKeyInvalid"
    # An administrator has rights in every project.
    assert check_error(await world.operator.get(other), 404)["reason"] == "DocumentNotFound"


async def test_api_keys(world: World) -> None:
    good = await world.anonymous.get(f"{BASE}/public/a", headers={"x-api-key": world.api_key})
    assert good.status_code == 404
    secret = await world.anonymous.get(f"{BASE}/public/a", headers={"x-api-key": world.secret_key})
    assert check_error(secret, 401)["reason"] == "ApiKeyKind"
    bad = await world.anonymous.get(f"{BASE}/public/a", headers={"x-api-key": "nonsense"})
    assert check_error(bad, 401)["reason"] == "ApiKeyInvalid"
    body = {"email": "bob@example.com", "password": PASSWORD}
    without = await world.anonymous.post("/api/v1/projects/demo/accounts:sign-in", json=body)
    assert check_error(without, 401)["reason"] == "ApiKeyMissing"


async def test_a_revoked_key_is_refused_at_once(world: World) -> None:
    assert (await world.secret.get(f"{BASE}/a/b")).status_code == 404
    keys = (await world.operator.get(f"{ADMIN}/keys")).json()["keys"]
    (secret,) = [key for key in keys if key["kind"] == "secret"]
    assert secret["key"] is None
    assert (await world.operator.delete(f"{ADMIN}/keys/{secret['id']}")).status_code == 200
    assert check_error(await world.secret.get(f"{BASE}/a/b"), 401)["reason"] == "ApiKeyInvalid"


async def test_a_signed_out_session_is_refused_at_once(world: World) -> None:
    me = "/api/v1/projects/demo/accounts/me"
    assert (await world.user.get(me)).json()["uid"] == world.uid
    signed_out = await world.user.post(
        "/api/v1/projects/demo/accounts:sign-out",
        json={"refresh_token": world.refresh_token},
        headers={"x-api-key": world.api_key},
    )
    assert signed_out.status_code == 200, signed_out.text
    assert check_error(await world.user.get(me), 401)["reason"] == "IdTokenInvalid"


async def test_a_disabled_user_is_refused_at_once(world: World) -> None:
    path = f"{BASE}/users/{world.uid}"
    assert (await world.user.put(path, json={"fields": {}})).status_code == 200
    disabled = await world.operator.patch(f"{ADMIN}/users/{world.uid}", json={"disabled": True})
    assert disabled.json()["disabled"] is True
    assert check_error(await world.user.get(path), 401)["reason"] == "IdTokenInvalid"


def _url(path: str) -> str:
    for name, value in {
        "project": "demo",
        "database": "(default)",
        "collection": "users",
        "id": "x",
        "uid": "x",
        "asset": "x",
    }.items():
        path = path.replace("{" + name + "}", value)
    return path


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.access is Access.ADMIN],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_administration_is_for_administrators_only(world: World, route: Any) -> None:
    for path in expand(route.path):
        for client, status in (
            (world.anonymous, 401),
            (world.user, 401),
            (world.secret, 401),
        ):
            answer = await client.request(route.method, _url(path), json={})
            check_error(answer, status)


def test_every_administrative_route_asks_for_an_administrator() -> None:
    open_ones = {
        route.path.removeprefix("/api/v1/admin/")
        for route in ROUTES
        if route.path.startswith("/api/v1/admin") and route.access is not Access.ADMIN
    }
    assert open_ones == {"setup", "sign-in"}


async def test_the_first_administrator_is_made_with_the_token_of_the_start_and_once(
    world: World,
) -> None:
    token = world.app.setup_token
    assert token is not None
    body = {"token": token, "email": "root@example.com", "password": PASSWORD}
    wrong = await world.anonymous.post("/api/v1/admin/setup", json={**body, "token": "x"})
    check_error(wrong, 401)
    made = await world.anonymous.post("/api/v1/admin/setup", json=body)
    assert made.status_code == 201, made.text
    check_error(await world.anonymous.post("/api/v1/admin/setup", json=body), 401)
    async with app_client(world.app, made.json()["token"]) as admin:
        assert (await admin.get("/api/v1/admin/me")).json()["email"] == "root@example.com"
        assert (await admin.get(f"{BASE}/a/b")).status_code == 404
        assert (await admin.post("/api/v1/admin/sign-out")).status_code == 200
        check_error(await admin.get("/api/v1/admin/me"), 401)
    signed_in = await world.anonymous.post(
        "/api/v1/admin/sign-in", json={"email": "root@example.com", "password": PASSWORD}
    )
    assert signed_in.status_code == 200


async def test_sign_in_and_refresh(world: World) -> None:
    accounts = "/api/v1/projects/demo/accounts"
    headers = {"x-api-key": world.api_key}
    body = {"email": "ada@example.com", "password": PASSWORD}

    async def post(verb: str, tree: dict[str, Any]) -> httpx.Response:
        return await world.anonymous.post(f"{accounts}:{verb}", json=tree, headers=headers)

    signed_in = (await post("sign-in", body)).json()
    assert signed_in["user"]["uid"] == world.uid
    refreshed = await post("refresh", {"refresh_token": signed_in["refresh_token"]})
    assert refreshed.status_code == 200
    assert refreshed.json()["refresh_token"] != signed_in["refresh_token"]

    unknown = await post("sign-in", {**body, "email": "nobody@example.com"})
    wrong = await post("sign-in", {**body, "password": "something else"})
    for answer in (unknown, wrong):
        assert check_error(answer, 401)["reason"] == "InvalidCredentials"
    assert unknown.json()["error"]["message"] == wrong.json()["error"]["message"]

    taken = await post("sign-up", {**body, "email": "ADA@example.com"})
    assert check_error(taken, 409)["reason"] == "EmailExists"
    for tree in (
        {"email": {"a": 1}, "password": PASSWORD},
        {"email": ["ada@example.com"], "password": PASSWORD},
        {"email": "bob@example.com", "password": {"$ne": None}},
        {"email": "bob@example.com", "password": "x"},
    ):
        check_error(await post("sign-up", tree), 400)


async def test_an_administrator_finds_a_user_by_address_and_nobody_else_does(world: World) -> None:
    address = f"{ADMIN}/users"
    found = await world.operator.get(address, params={"email": "ADA@example.com"})
    assert [user["uid"] for user in found.json()["users"]] == [world.uid]
    none = await world.operator.get(address, params={"email": "nobody@example.com"})
    assert none.json() == {"users": []}
    for wrong in ("ada", "", "a@b.c\0"):
        refused = await world.operator.get(address, params={"email": wrong})
        assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "InvalidEmail")
    for client in (world.anonymous, world.user, world.secret):
        answer = await client.get(address, params={"email": "ada@example.com"})
        assert answer.status_code in (401, 403)
        assert world.uid not in answer.text
