"""A write that is sent twice with one key is done once, and answered the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, RULES, World, open_world

INCREMENT = {"fields": {}, "merge": True, "transforms": [{"field": "n", "increment": 1}]}
WRITES: dict[str, tuple[str, str, Any]] = {
    "set": ("PUT", "a/x", INCREMENT),
    "update": ("PATCH", "a/x", {"transforms": [{"field": "n", "increment": 1}]}),
    "create": ("POST", "a", {"fields": {"n": 1}}),
    "create with an id": ("POST", "a?id=y", {"fields": {"n": 1}}),
    "delete": ("DELETE", "a/x?exists=true", None),
    "commit": (
        "POST",
        ":commit",
        {"writes": [{"update": "a/x", "transforms": [{"field": "n", "increment": 1}]}]},
    ),
}


def key(text: str) -> dict[str, str]:
    return {"idempotency-key": text}


async def _seed(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"{BASE}/a/x", json={"fields": {"n": 0}})).is_success


def _url(tail: str) -> str:
    return BASE + ("" if tail.startswith(":") else "/") + tail


@pytest.mark.parametrize("name", WRITES)
async def test_a_repeated_key_writes_once(world: World, name: str) -> None:
    await _seed(world.secret)
    method, tail, body = WRITES[name]
    answers = [
        await world.secret.request(method, _url(tail), json=body, headers=key("k"))
        for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert answers[0].content == answers[1].content == answers[2].content
    found = (await world.secret.get(f"{BASE}/a")).json()["documents"]
    assert sum(item["fields"]["n"] for item in found) == (0 if name == "delete" else 1)
    other = await world.secret.request(method, _url(tail), json=body, headers=key("another"))
    assert other.content != answers[0].content


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("PUT", "a/x", {"fields": {"n": 7}}),
        ("PUT", "a/other", INCREMENT),
        ("PATCH", "a/x", {"fields": {"m": 1}}),
        ("DELETE", "a/x", None),
    ],
)
async def test_a_key_is_of_one_request_only(
    world: World, method: str, tail: str, body: Any
) -> None:
    await _seed(world.secret)
    first = await world.secret.put(f"{BASE}/a/x", json=INCREMENT, headers=key("k"))
    assert first.is_success
    refused = await world.secret.request(method, _url(tail), json=body, headers=key("k"))
    assert refused.json()["error"]["reason"] == "IdempotencyKeyReused"
    assert (await world.secret.get(f"{BASE}/a/x")).json()["fields"] == {"n": 1}
    assert (await world.secret.get(f"{BASE}/a/other")).status_code == 404


async def test_a_request_id_in_the_body_is_of_one_body_only(world: World) -> None:
    await _seed(world.secret)
    body = {"writes": [{"set": "a/x", "fields": {"n": 1}}], "request_id": "once"}
    assert (await world.secret.post(f"{BASE}:commit", json=body)).is_success
    other = {**body, "writes": [{"set": "a/x", "fields": {"n": 2}}]}
    refused = await world.secret.post(f"{BASE}:commit", json=other)
    assert refused.json()["error"]["reason"] == "IdempotencyKeyReused"
    both = await world.secret.post(f"{BASE}:commit", json=body, headers=key("k"))
    assert both.json()["error"]["reason"] == "InvalidIdempotencyKey"


async def test_a_key_belongs_to_its_caller(world: World) -> None:
    mine = f"{BASE}/users/{world.uid}"
    assert (await world.user.put(mine, json=INCREMENT, headers=key("k"))).is_success
    assert (await world.secret.put(mine, json=INCREMENT, headers=key("k"))).is_success
    assert (await world.secret.get(mine)).json()["fields"] == {"n": 2}
    denied = await world.anonymous.put(mine, json=INCREMENT, headers=key("k"))
    assert denied.json()["error"]["code"] == "PERMISSION_DENIED"


async def test_a_key_of_one_signed_out_caller_is_not_used_up_for_another(world: World) -> None:
    source = RULES.replace("match /public/{id} {", "match /public/{id} {\n allow create: if true;")
    deployed = await world.operator.put(
        f"{ADMIN}/rules", json={"source": source, "allow_open": True}
    )
    assert deployed.is_success, deployed.text
    mine, theirs = {"fields": {"text": "mine"}}, {"fields": {"text": "theirs"}}
    first = await world.anonymous.post(f"{BASE}/public", json=mine, headers=key("1"))
    other = await world.anonymous.post(f"{BASE}/public", json=theirs, headers=key("1"))
    again = await world.anonymous.post(f"{BASE}/public", json=theirs, headers=key("1"))
    assert (first.status_code, other.status_code, again.status_code) == (201, 201, 201)
    assert first.json()["path"] != other.json()["path"]
    assert other.content == again.content
    found = (await world.anonymous.get(f"{BASE}/public")).json()["documents"]
    assert sorted(item["fields"]["text"] for item in found) == ["mine", "theirs"]


async def test_a_key_does_not_meet_a_part_of_a_bulk_write(world: World) -> None:
    writes = [{"set": "owned/a", "fields": {"owner": world.uid}}, {"delete": "owned/none"}]
    bulk = {"writes": writes, "request_id": "k"}
    for one in ("k/0", "k/0.1", "0:k", "/0:k"):
        assert (await world.user.post(f"{BASE}:bulk-write", json=bulk)).is_success
        body = {"writes": [{"set": f"users/{world.uid}", "fields": {}}], "request_id": one}
        answer = await world.user.post(f"{BASE}:commit", json=body)
        assert answer.is_success, answer.text


async def test_what_was_refused_is_asked_anew(world: World) -> None:
    body = {"fields": {"n": 1}}
    missing = await world.secret.patch(f"{BASE}/a/x", json=body, headers=key("k"))
    assert missing.status_code == 404
    await _seed(world.secret)
    assert (await world.secret.patch(f"{BASE}/a/x", json=body, headers=key("k"))).is_success


@pytest.mark.parametrize(("length", "is_right"), [(0, False), (1, True), (128, True), (129, False)])
async def test_the_length_of_a_key_is_bounded(world: World, length: int, is_right: bool) -> None:
    answer = await world.secret.put(f"{BASE}/a/x", json=INCREMENT, headers=key("k" * length))
    assert answer.is_success == is_right
    assert is_right or answer.json()["error"]["reason"] == "InvalidIdempotencyKey"


async def test_a_key_of_other_characters_is_refused(world: World) -> None:
    answer = await world.secret.put(
        f"{BASE}/a/x", json=INCREMENT, headers={b"idempotency-key": b"k\xe9y"}
    )
    assert answer.json()["error"]["reason"] == "InvalidIdempotencyKey"


async def test_the_answer_is_given_again_after_a_restart(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with started_app(settings) as app, open_world(app) as world:
        token = world.secret_key
        first = await world.secret.put(f"{BASE}/a/x", json=INCREMENT, headers=key("k"))
    async with started_app(settings) as app:
        client = app_client(app, token)
        again = await client.put(f"{BASE}/a/x", json=INCREMENT, headers=key("k"))
        other = await client.put(f"{BASE}/a/x", json={"fields": {}}, headers=key("k"))
        fields = (await client.get(f"{BASE}/a/x")).json()["fields"]
        await client.aclose()
    assert again.content == first.content
    assert other.json()["error"]["reason"] == "IdempotencyKeyReused"
    assert fields == {"n": 1}
