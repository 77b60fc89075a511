"""Families 15, 17, 18, 19 and 20: what pages say to browsers, what leaves the server, what a thing
made again inherits, and rules that let everybody in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from baas.clock import VirtualClock
from baas.http.routes import ROUTES
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, RULES, World, open_world, world
from tests.baas.ws.client import Client
from tests.processes import ServerProcess, checked
from tests.security.reads import fill, outcome, refusal
from tests.waiting import PATIENCE_SECONDS

__all__ = ["world"]

ACCOUNTS = "/api/v1/projects/demo/accounts"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("path", sorted({one.path for one in ROUTES if one.method == "GET"}))
async def test_every_answer_says_what_it_is(world: World, path: str) -> None:
    url = fill(path, documents=BASE, project="demo", database="(default)", asset="docs.js")
    for token in (None, world.app.operator_token):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = await world.anonymous.get(url, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        kind = answer.headers["content-type"].partition(";")[0]
        if kind == "text/html":
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        elif url.startswith("/api/"):
            assert kind in ("application/json", "application/x-ndjson")
            if "jwks" not in url:
                assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        assert answer.headers.get("access-control-allow-credentials") is None


async def test_stored_markup_comes_back_as_json_only(world: World) -> None:
    write = {"set": f"a/{MARKUP}", "fields": {MARKUP: MARKUP}}
    assert (await world.secret.post(f"{BASE}:commit", json={"writes": [write]})).is_success
    await world.operator.patch(ADMIN, json={"name": MARKUP})
    reads = (f"{BASE}/a", f"{BASE}/{MARKUP}/x", ADMIN, f"/api/v1/{MARKUP}", f"/{MARKUP}")
    for url in reads:
        answer = await world.operator.get(url, headers={"accept": "text/html"})
        assert answer.headers["content-type"].startswith("application/json"), url


async def test_a_page_of_a_stranger_gets_no_answer(world: World) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "x", "http://"):
        headers = {"origin": origin, "host": "127.0.0.1"}
        for url in (f"{BASE}/public/p", "/api/v1/admin/me", "/healthz"):
            answer = await world.operator.get(url, headers=headers)
            assert refusal(answer) == ("PERMISSION_DENIED", "OriginNotAllowed")
            assert "access-control-allow-origin" not in answer.headers


async def test_of_fifty_uses_of_the_setup_link_one_wins(tmp_path: Path) -> None:
    async with started_app(make_settings(tmp_path / "new")) as app, app_client(app) as client:
        bodies = [
            {"token": app.setup_token, "email": f"a{n}@example.com", "password": PASSWORD}
            for n in range(50)
        ]
        answers = await asyncio.gather(
            *(client.post("/api/v1/admin/setup", json=body) for body in bodies)
        )
        assert sorted({answer.status_code for answer in answers}) == [201, 401]
        assert [answer.status_code for answer in answers].count(201) == 1
        async with app_client(app, app.operator_token) as operator:
            admins = (await operator.get("/api/v1/admin/admins")).json()["admins"]
        assert len(admins) == 1


async def test_guessing_is_slowed_down_whatever_the_requests_look_like(tmp_path: Path) -> None:
    """In parallel, and with another spelling, header or address each time. No time goes by, in
    which there would be room for one more."""
    async with (
        started_app(make_settings(tmp_path / "data"), VirtualClock()) as app,
        open_world(app) as world,
    ):
        await _guess(world)


async def _guess(world: World) -> None:
    spellings = ("ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.Com", "ada@EXAMPLE.com")
    attempts = [
        world.anonymous.post(
            f"{ACCOUNTS}:sign-in" + ("" if number % 2 else "?"),
            json={"email": spellings[number % 4], "password": f"wrong {number:08}"},
            headers={"x-api-key": world.api_key, "x-forwarded-for": f"10.0.0.{number}"},
        )
        for number in range(40)
    ]
    found = [refusal(answer)[1] for answer in await asyncio.gather(*attempts)]
    assert found.count("InvalidCredentials") == 10
    assert found.count("TooManyAttempts") == 30


TYPES: tuple[Any, ...] = (None, 1, True, [], {}, [""], {"$ne": ""}, {"$gt": ""}, 1.5)


@pytest.mark.parametrize("value", TYPES, ids=repr)
async def test_a_credential_of_another_type_is_none(world: World, value: Any) -> None:
    headers = {"x-api-key": world.api_key}
    bodies: dict[str, dict[str, Any]] = {
        f"{ACCOUNTS}:sign-in": {"email": "ada@example.com", "password": value},
        f"{ACCOUNTS}:sign-up": {"email": value, "password": PASSWORD},
        f"{ACCOUNTS}:refresh": {"refresh_token": value},
        f"{ACCOUNTS}:sign-out": {"refresh_token": value},
        "/api/v1/admin/sign-in": {"email": value, "password": value},
        "/api/v1/admin/setup": {"token": value, "email": "a@b.cc", "password": PASSWORD},
    }
    for url, body in bodies.items():
        answer = await world.anonymous.post(url, json=body, headers=headers)
        assert answer.status_code in (400, 401), (url, answer.text)


async def test_an_export_holds_documents_and_nothing_else(world: World) -> None:
    await world.secret.put(f"{BASE}/a/b", json={"fields": {"n": 1, "m": 2}})
    where = {"field": "n", "op": "==", "value": 1}
    query = {"collection": "a", "where": where, "order_by": [{"field": "m"}]}
    assert (await world.secret.post(f"{BASE}:query", json={"query": query})).is_success
    lines = (await world.operator.get(f"{ADMIN}/databases/(default)/documents:export")).text
    assert [line for line in lines.splitlines() if '"path":"a/b"' not in line] == []


@pytest.mark.slow
def test_secrets_stand_in_no_log(tmp_path: Path) -> None:
    """Of a real server at its most talkative, through failures of every kind."""
    server = ServerProcess(tmp_path / "data", "--log-level", "debug").start()
    try:
        key = server.create_project("demo", RULES, allow_open=True)
        with server.admin() as admin:
            made = admin.post("/projects/demo/keys", json={"kind": "secret"})
            secret = checked(made)["key"]
        client = httpx.Client(
            base_url=server.url, headers={"x-api-key": key}, timeout=PATIENCE_SECONDS
        )
        body = {"email": "ada@example.com", "password": "a password never told"}
        session = checked(client.post(f"{ACCOUNTS}:sign-up", json=body))
        tokens = [session["id_token"], session["refresh_token"], secret, server.operator_token]
        for token in tokens:
            headers = {"authorization": f"Bearer {token}", "x-api-key": token}
            for url in (f"{BASE}/a/b", f"{BASE}/a/b?x=1", "/api/v1/admin/me", "/nowhere"):
                assert token not in client.get(url, headers=headers).text
            for url in (f"{ACCOUNTS}:refresh", f"{ACCOUNTS}:sign-in", "/api/v1/admin/setup"):
                wrong = {"refresh_token": token + "x", "password": token, "token": token}
                assert token not in client.post(url, json=wrong, headers=headers).text
        client.close()
    finally:
        assert server.stop() == 0
    output = server.output()
    assert output.count('"event":"request"') > 20
    for text in (*tokens, body["password"], "$argon2"):
        assert text not in output


async def test_a_project_made_again_inherits_nothing(world: World) -> None:
    await world.secret.put(f"{BASE}/public/p", json={"fields": {"n": 1}})
    client = Client(world.app)
    await client.hello(world.id_token)
    resume = (await client.listen(1, query={"collection": "public"}))["resume_token"]
    await world.operator.delete("/api/v1/admin/projects/demo")
    await world.operator.post("/api/v1/admin/projects", json={"id": "demo"})
    assert (await client.receive())["type"] == "removed"
    client.send({"type": "listen", "target": 2, "query": {"collection": "public"}})
    assert (await client.receive())["type"] == "removed"
    await client.close()
    for token in (world.id_token, world.secret_key):
        found = await outcome(world, token, "GET", f"{BASE}/public/p")
        assert found[0] == "UNAUTHENTICATED"
    assert (await outcome(world, None, "GET", f"{BASE}/public/p"))[0] == "PERMISSION_DENIED"
    assert (await world.operator.get(f"{BASE}/public")).json()["documents"] == []
    assert (await world.operator.get(f"{ADMIN}/users")).json()["users"] == []
    assert (await world.operator.get(f"{ADMIN}/keys")).json()["keys"] == []
    assert "if false" in (await world.operator.get(f"{ADMIN}/rules")).json()["source"]
    fresh = await world.operator.post(f"{ADMIN}/keys", json={"kind": "publishable"})
    headers = {"x-api-key": fresh.json()["key"]}
    body = {"refresh_token": world.refresh_token}
    answer = await world.anonymous.post(f"{ACCOUNTS}:refresh", json=body, headers=headers)
    assert refusal(answer)[0] == "UNAUTHENTICATED"
    again = Client(world.app)
    await again.hello(world.app.operator_token)
    first = await again.listen(1, query={"collection": "public"}, resume_token=resume)
    assert (first["reset"], first["count"]) == (True, 0)
    await again.close()


async def test_a_user_made_again_is_another(world: World) -> None:
    await world.operator.delete(f"{ADMIN}/users/{world.uid}")
    made = await world.operator.post(
        f"{ADMIN}/users", json={"email": "ada@example.com", "password": PASSWORD}
    )
    assert made.json()["uid"] != world.uid
    assert (await outcome(world, world.id_token, "GET", f"{BASE}/users/{world.uid}"))[0] == (
        "UNAUTHENTICATED"
    )


OPEN = (
    "true",
    "1 == 1",
    "!false",
    "true || request.auth != null",
    "request.auth == null || request.auth != null",
    "request.time < timestamp.date(2100, 1, 1)",
    "resource == null || resource != null",
    "open()",
)


@pytest.mark.parametrize("condition", OPEN)
async def test_rules_that_let_everybody_in_are_refused(world: World, condition: str) -> None:
    source = (
        "rules_version = '2'; service cloud.firestore { match /databases/{d}/documents {"
        "function open() { let answer = true; return answer; }"
        f"match /a/{{b}} {{ allow read: if {condition}; }} }} }}"
    )
    answer = await world.operator.put(f"{ADMIN}/rules", json={"source": source})
    assert refusal(answer) == ("FAILED_PRECONDITION", "OpenRules")
    assert answer.json()["error"]["details"]["open"][0]["path"].endswith("/a/{b}")
