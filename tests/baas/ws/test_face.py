"""The listen protocol against the whole application, in process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from baas.ws import face
from tests.baas.http.conftest import ADMIN, BASE, RULES, World, dev_world, world
from tests.baas.ws.client import Client, Closed

__all__ = ["dev_world", "world"]


async def connect(world: World, token: str | None = None) -> Client:
    client = Client(world.app)
    await client.hello(token)
    return client


async def put(world: World, path: str, **fields: Any) -> None:
    answer = await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
    assert answer.status_code == 200, answer.text


async def delete(world: World, path: str) -> None:
    assert (await world.secret.delete(f"{BASE}/{path}")).status_code == 200


async def deploy(world: World, source: str) -> None:
    answer = await world.operator.put(f"{ADMIN}/rules", json={"source": source, "allow_open": True})
    assert answer.status_code == 200, answer.text


async def test_a_query_is_followed(world: World) -> None:
    await put(world, "cities/b", size=2)
    client = await connect(world, world.secret_key)
    query = {"collection": "cities", "order_by": [{"field": "size"}]}
    first = await client.listen(1, query=query)
    assert first["changes"][0]["document"]["fields"] == {"size": 2}
    assert not first["reset"]
    await put(world, "cities/a", size=1)
    second = await client.snapshot(1)
    assert second["version"] > first["version"]
    assert client.names(1) == ["a", "b"]
    await delete(world, "cities/b")
    third = await client.snapshot(1)
    assert third["changes"] == [
        {"kind": "removed", "old_index": 1, "new_index": -1, "document": {"path": "cities/b"}}
    ]
    await client.close()


async def test_documents_are_followed_as_the_rules_allow(world: World) -> None:
    client = await connect(world, world.id_token)
    mine = f"users/{world.uid}"
    first = await client.listen(3, documents=[mine])
    assert first["count"] == 0
    await put(world, mine, name="Ada")
    assert (await client.snapshot(3))["changes"][0]["document"]["fields"] == {"name": "Ada"}
    client.send({"type": "listen", "target": 4, "documents": ["users/somebody-else"]})
    refused = await client.receive()
    assert (refused["type"], refused["target"]) == ("removed", 4)
    assert refused["error"]["code"] == "PERMISSION_DENIED"
    await client.close()


async def test_a_query_is_followed_if_the_rules_prove_it(world: World) -> None:
    await put(world, "owned/a", owner=world.uid)
    await put(world, "owned/b", owner="somebody else")
    client = await connect(world, world.id_token)
    mine = {"field": "owner", "op": "==", "value": world.uid}
    await client.listen(1, query={"collection": "owned", "where": mine})
    assert client.names(1) == ["a"]
    client.send({"type": "listen", "target": 2, "query": {"collection": "owned"}})
    refused = await client.receive()
    assert (refused["target"], refused["error"]["code"]) == (2, "PERMISSION_DENIED")
    await put(world, "owned/b", owner=world.uid)
    await client.snapshot(1)
    assert client.names(1) == ["a", "b"]
    await client.close()


async def test_a_proof_that_rests_on_a_document_is_made_again_with_it(world: World) -> None:
    member = f"members/{world.uid}"
    await put(world, member)
    client = await connect(world, world.id_token)
    await client.listen(1, query={"collection": "guarded"})
    writes = [{"delete": member}, {"set": "guarded/g", "fields": {"n": 2}}]
    await world.secret.post(f"{BASE}:commit", json={"writes": writes})
    assert (await client.receive())["error"]["code"] == "PERMISSION_DENIED"
    await client.close()


async def test_a_query_is_proved_again_by_another_ruleset(world: World) -> None:
    client = await connect(world)
    await client.listen(1, query={"collection": "public"})
    await deploy(world, RULES.replace("/public/", "/secluded/"))
    await put(world, "public/p", n=1)
    message = await client.receive()
    assert (message["type"], message["error"]["code"]) == ("removed", "PERMISSION_DENIED")
    await client.close()


async def test_a_new_image_that_may_not_be_read_ends_the_target(world: World) -> None:
    await put(world, "owned/x", owner=world.uid)
    client = await connect(world, world.id_token)
    await client.listen(1, documents=["owned/x"])
    await put(world, "owned/x", owner="somebody else")
    message = await client.receive()
    assert (message["type"], message["error"]["code"]) == ("removed", "PERMISSION_DENIED")
    await client.close()


async def test_a_looked_up_document_that_changes_is_asked_again(world: World) -> None:
    member = f"members/{world.uid}"
    await put(world, member)
    await put(world, "guarded/g", n=1)
    client = await connect(world, world.id_token)
    await client.listen(1, documents=["guarded/g"])
    await delete(world, member)
    assert (await client.receive())["error"]["code"] == "PERMISSION_DENIED"
    await put(world, "guarded/g", n=2)
    client.send({"type": "ping"})
    assert await client.receive() == {"type": "pong"}
    await client.close()


async def test_what_follows_a_revoking_write_in_the_same_commit_is_not_sent(world: World) -> None:
    member = f"members/{world.uid}"
    await put(world, member)
    await put(world, "guarded/g", n=1)
    client = await connect(world, world.id_token)
    await client.listen(1, documents=["guarded/g"])
    writes = [{"delete": member}, {"set": "guarded/g", "fields": {"n": 2}}]
    await world.secret.post(f"{BASE}:commit", json={"writes": writes})
    assert (await client.receive())["type"] == "removed"
    await client.close()


async def test_another_ruleset_is_asked_before_anything_else_is_sent(world: World) -> None:
    client = await connect(world)
    await client.listen(1, documents=["public/p"])
    await deploy(world, RULES.replace("/public/", "/secluded/"))
    await put(world, "public/p", n=1)
    message = await client.receive()
    assert (message["type"], message["error"]["code"]) == ("removed", "PERMISSION_DENIED")
    await client.close()


async def test_a_disabled_user_hears_nothing_more(world: World) -> None:
    client = await connect(world, world.id_token)
    await client.listen(1, documents=["public/p"])
    await world.operator.patch(f"{ADMIN}/users/{world.uid}", json={"disabled": True})
    assert (await client.receive())["error"]["code"] == "UNAUTHENTICATED"
    client.send({"type": "listen", "target": 2, "documents": ["public/p"]})
    assert (await client.receive())["error"]["code"] == "UNAUTHENTICATED"
    client.send({"type": "auth", "token": None})
    await client.listen(3, documents=["public/p"])
    await client.close()


async def test_a_session_that_is_signed_out_hears_nothing_more(world: World) -> None:
    client = await connect(world, world.id_token)
    await client.listen(1, documents=["public/p"])
    await world.anonymous.post(
        "/api/v1/projects/demo/accounts:sign-out",
        json={"refresh_token": world.refresh_token},
        headers={"x-api-key": world.api_key},
    )
    assert (await client.receive())["error"]["code"] == "UNAUTHENTICATED"
    await client.close()


async def test_a_revoked_secret_key_hears_nothing_more(world: World) -> None:
    made = (await world.operator.post(f"{ADMIN}/keys", json={"kind": "secret"})).json()
    client = await connect(world, made["key"])
    await client.listen(1, query={"collection": "cities"})
    identifier = made["id"]
    revoked = await world.operator.delete(f"{ADMIN}/keys/{identifier}")
    assert revoked.is_success, revoked.text
    assert (await client.receive())["error"]["code"] == "UNAUTHENTICATED"
    await client.close()


async def test_another_user_on_the_connection_is_asked_again(world: World) -> None:
    client = await connect(world, world.id_token)
    await client.listen(1, documents=[f"users/{world.uid}"])
    client.send({"type": "auth", "token": None})
    message = await client.receive()
    assert (message["type"], message["error"]["code"]) == ("removed", "PERMISSION_DENIED")
    await client.close()


async def test_a_deleted_project_ends_its_listeners(world: World) -> None:
    client = await connect(world, world.secret_key)
    await client.listen(1, query={"collection": "cities"})
    await world.operator.delete(ADMIN)
    assert (await client.receive())["type"] == "removed"
    await client.close()


async def test_resuming_sends_what_changed(world: World) -> None:
    for name in "abc":
        await put(world, f"cities/{name}", size=1)
    client = await connect(world, world.secret_key)
    token = (await client.listen(1, query={"collection": "cities"}))["resume_token"]
    await client.close()
    await put(world, "cities/b", size=2)
    known = client.lists[1]
    client = await connect(world, world.secret_key)
    client.lists[7] = known
    again = await client.listen(7, query={"collection": "cities"}, resume_token=token)
    assert not again["reset"]
    assert [change["document"]["path"] for change in again["changes"]] == ["cities/b"]
    await client.close()


@pytest.mark.parametrize("change", ["another query", "another caller", "tampered", "nonsense"])
async def test_a_token_that_does_not_fit_resets(world: World, change: str) -> None:
    await put(world, "public/a", size=1)
    client = await connect(world, world.id_token)
    wanted = {"documents": ["public/a"]}
    token = (await client.listen(1, **wanted))["resume_token"]
    if change == "another query":
        wanted = {"documents": ["public/a", "public/b"]}
    elif change == "another caller":
        client.send({"type": "auth", "token": None})
    elif change == "tampered":
        token = ("A" if token[4] != "A" else "B").join((token[:4], token[5:]))
    else:
        token = "é😀" * 20
    snapshot = await client.listen(2, **wanted, resume_token=token)
    assert snapshot["reset"]
    assert client.names(2) == ["a"]
    await client.close()


async def test_an_ended_target_is_confirmed_and_silent(world: World) -> None:
    client = await connect(world, world.secret_key)
    await client.listen(1, query={"collection": "cities"})
    client.send({"type": "unlisten", "target": 1})
    assert await client.receive() == {"type": "removed", "target": 1, "error": None}
    client.send({"type": "unlisten", "target": 1})
    await put(world, "cities/a", size=1)
    client.send({"type": "ping"})
    assert await client.receive() == {"type": "pong"}
    await client.listen(1, query={"collection": "cities"})
    await client.close()


async def test_a_large_snapshot_comes_in_parts(world: World) -> None:
    text = "x" * 60_000
    for number in range(10):
        await put(world, f"cities/{number}", text=text)
    client = await connect(world, world.secret_key)
    client.send({"type": "listen", "target": 1, "query": {"collection": "cities"}})
    await client.receive()
    parts = [await client.receive()]
    while not parts[-1]["final"]:
        parts.append(await client.receive())
    assert len(parts) == 3
    assert sum(len(part["changes"]) for part in parts) == 10
    assert all("resume_token" not in part for part in parts[:-1])
    await client.close()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"collection": "a/b"}, "InvalidPath"),
        ({"collection": "a", "limit": -1}, "OutOfBounds"),
        ({"collection": "a", "where": {"or": []}}, "InvalidBody"),
        ({"collection": "a", "end": {"values": [1, 2]}}, "InvalidQuery"),
        ({}, "MissingField"),
        ([], "InvalidBody"),
        ("{", "InvalidBody"),
    ],
)
async def test_a_bad_query_ends_only_its_target(world: World, query: Any, reason: str) -> None:
    client = await connect(world, world.secret_key)
    client.send({"type": "listen", "target": 1, "query": query})
    refused = await client.receive()
    assert (refused["type"], refused["target"]) == ("removed", 1)
    assert refused["error"]["reason"] == reason
    await client.listen(1, query={"collection": "a"})
    await client.close()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "MalformedMessage"),
        ("[]", "MalformedMessage"),
        ('{"type":"shout"}', "MalformedMessage"),
        ('{"type":"ping","extra":1}', "MalformedMessage"),
        ('{"type":"listen","target":"1"}', "MalformedMessage"),
        ('{"type":"listen","target":0,"query":{}}', "MalformedMessage"),
        ('{"type":"unlisten","target":99999999999999999999999}', "MalformedMessage"),
        ('{"type":"hello"}', "MessageOutOfTurn"),
        ('{"type":"auth","token":"nonsense"}', "IdTokenInvalid"),
        ('{"type":"ping"' + " " * 1024 * 1024 + "}", "MessageTooLarge"),
        ('{"type":"listen","target":1,"query":' + "[" * 100_000 + "}", "MalformedMessage"),
    ],
)
async def test_a_message_that_is_none_ends_the_connection(
    world: World, message: str, reason: str
) -> None:
    client = await connect(world, world.id_token)
    client.send(message)
    found, code = await client.error()
    assert found == reason
    assert code in (4400, 4401)
    await client.close()


async def test_binary_messages_are_refused(world: World) -> None:
    client = await connect(world)
    client.send_bytes(b'{"type":"ping"}')
    assert await client.error() == ("MalformedMessage", 4400)
    await client.close()


async def test_a_number_stands_for_one_target(world: World) -> None:
    client = await connect(world, world.secret_key)
    await client.listen(1, query={"collection": "a"})
    client.send({"type": "listen", "target": 1, "query": {"collection": "b"}})
    assert await client.error() == ("TargetInUse", 4400)
    await client.close()


async def test_the_first_message_is_hello(world: World) -> None:
    client = Client(world.app)
    await client.accepted()
    client.send({"type": "ping"})
    assert await client.error() == ("MessageOutOfTurn", 4400)
    await client.close()


@pytest.mark.parametrize(
    "place", ["ws.face.is_origin_allowed", "ws.face.check_api_key", "services.listen.identify"]
)
async def test_what_hangs_behind_a_connection_is_told_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(f"baas.{place}", hang)
    monkeypatch.setattr(face, "_seconds_max", lambda hub: 0.05)
    origin = "http://elsewhere.example" if "origin" in place else None
    client = Client(world.app, origin=origin)
    await client.accepted()
    if origin is None:
        client.send({"type": "hello", "token": world.id_token, "api_key": world.api_key})
    assert await client.error() == ("AnswerTooLate", 4504)


async def test_hello_comes_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "HELLO_SECONDS", 0.01)
    client = Client(world.app)
    await client.accepted()
    assert await client.error() == ("HelloTimeout", 4401)
    await client.close()


@pytest.mark.parametrize(
    ("hello", "reason", "code"),
    [
        ({"token": "nonsense"}, "IdTokenInvalid", 4401),
        ({"api_key": "baas_pk_nonsense"}, "ApiKeyInvalid", 4401),
    ],
)
async def test_bad_credentials_are_refused(
    world: World, hello: dict[str, str], reason: str, code: int
) -> None:
    client = Client(world.app)
    await client.accepted()
    client.send({"type": "hello", **hello})
    assert await client.error() == (reason, code)
    await client.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/api/v1/projects/unknown/documents:listen", "ProjectNotFound"),
        ("/api/v1/projects/demo/databases/other/documents:listen", "DatabaseNotFound"),
        ("/api/v1/projects/demo/documents:watch", "RouteNotFound"),
    ],
)
async def test_what_is_not_there_is_said(world: World, path: str, reason: str) -> None:
    client = Client(world.app, path=path)
    await client.accepted()
    client.send({"type": "hello"})
    assert await client.error() == (reason, 4404)
    await client.close()


async def test_pages_of_strangers_are_not_let_in(world: World) -> None:
    client = Client(world.app, origin="https://stranger.example")
    with pytest.raises(Closed, match="OriginNotAllowed"):
        await client.accepted()
    own = Client(world.app, origin="http://testserver")
    await own.hello()
    await own.close()
    await world.operator.patch(ADMIN, json={"origins": ["https://app.example"]})
    listed = Client(world.app, origin="https://app.example")
    await listed.hello()
    await listed.close()


async def test_a_client_that_never_reads_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(face, "CLOSE_SECONDS", 0.02)
    client = await connect(world, world.secret_key)
    client.may_read.clear()
    client.send({"type": "ping"})
    await client.ended()


async def test_the_full_path_names_the_default_database(world: World) -> None:
    client = Client(world.app, path="/api/v1/projects/demo/databases/(default)/documents:listen")
    await client.hello(world.secret_key)
    await client.close()


async def test_the_server_says_goodbye_when_it_stops(world: World) -> None:
    client = await connect(world, world.secret_key)
    await client.listen(1, query={"collection": "cities"})
    draining = asyncio.create_task(world.app.drain())
    assert await client.error() == ("ShuttingDown", 4503)
    await client.close()
    await draining
    late = Client(world.app)
    await late.accepted()
    late.send({"type": "hello"})
    assert await late.error() == ("ShuttingDown", 4503)
    await late.close()


async def test_a_client_that_does_not_read_is_reset_and_holds_nobody_up(
    world: World,
) -> None:
    slow, quick = await connect(world, world.secret_key), await connect(world, world.secret_key)
    for client in (slow, quick):
        await client.listen(1, query={"collection": "cities"})
    slow.may_read.clear()
    for number in range(1_100):
        await put(world, "cities/a", n=number)
        assert (await quick.snapshot(1))["changes"][0]["document"]["fields"] == {"n": number}
    slow.may_read.set()
    while slow.lists[1] != quick.lists[1]:
        message = await slow.snapshot(1)
    assert message["reset"]
    await quick.close()
    await slow.close()
