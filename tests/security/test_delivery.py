"""Family 6: nothing is delivered to a listener after its right to it has gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.baas.http.conftest import ADMIN, BASE, RULES, World, world
from tests.baas.ws.client import Client

__all__ = ["world"]

LOSSES: dict[str, tuple[str, str, Callable[[World], Awaitable[object]]]] = {}
"""Name -> the document that is listened to, the code of the end, and what takes the right away."""


def _loss(
    path: str, code: str
) -> Callable[[Callable[[World], Awaitable[object]]], Callable[[World], Awaitable[object]]]:
    def add(take: Callable[[World], Awaitable[object]]) -> Callable[[World], Awaitable[object]]:
        LOSSES[take.__name__] = (path, code, take)
        return take

    return add


@_loss("owned/x", "PERMISSION_DENIED")
async def rules_redeployed(world: World) -> None:
    body = {"source": RULES.replace("/owned/", "/other/"), "allow_open": True}
    await world.operator.put(f"{ADMIN}/rules", json=body)


@_loss("owned/x", "UNAUTHENTICATED")
async def user_disabled(world: World) -> None:
    await world.operator.patch(f"{ADMIN}/users/{world.uid}", json={"disabled": True})


@_loss("owned/x", "UNAUTHENTICATED")
async def user_deleted(world: World) -> None:
    await world.operator.delete(f"{ADMIN}/users/{world.uid}")


@_loss("owned/x", "UNAUTHENTICATED")
async def password_changed(world: World) -> None:
    body = {"password": "another password"}
    await world.operator.patch(f"{ADMIN}/users/{world.uid}", json=body)


@_loss("owned/x", "UNAUTHENTICATED")
async def signed_out(world: World) -> None:
    await world.anonymous.post(
        "/api/v1/projects/demo/accounts:sign-out",
        json={"refresh_token": world.refresh_token},
        headers={"x-api-key": world.api_key},
    )


@_loss("owned/x", "UNAUTHENTICATED")
async def token_used_again(world: World) -> None:
    """A refresh token that comes back two generations later ends the session."""
    token = world.refresh_token
    for _ in range(3):
        answer = await world.anonymous.post(
            "/api/v1/projects/demo/accounts:refresh",
            json={"refresh_token": token},
            headers={"x-api-key": world.api_key},
        )
        token = answer.json()["refresh_token"]
    await world.anonymous.post(
        "/api/v1/projects/demo/accounts:refresh",
        json={"refresh_token": world.refresh_token},
        headers={"x-api-key": world.api_key},
    )


@_loss("guarded/x", "PERMISSION_DENIED")
async def looked_up_document_deleted(world: World) -> None:
    await world.secret.delete(f"{BASE}/members/{world.uid}")


@_loss("owned/x", "NOT_FOUND")
async def project_deleted(world: World) -> None:
    await world.operator.delete("/api/v1/admin/projects/demo")


@pytest.mark.parametrize("name", LOSSES)
async def test_a_listener_without_its_right_hears_no_more(world: World, name: str) -> None:
    path, code, take = LOSSES[name]
    collection = path.partition("/")[0]
    await world.secret.put(f"{BASE}/members/{world.uid}", json={"fields": {}})
    fields = {"owner": world.uid, "secret": "old"}
    await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
    client = Client(world.app)
    await client.hello(world.id_token)
    await client.listen(1, documents=[path])
    where = {"field": "owner", "op": "==", "value": world.uid}
    await client.listen(2, query={"collection": collection, "where": where})
    await take(world)
    # Answered with 404 once the project is gone.
    after = {"owner": world.uid, "secret": "new"}
    await world.secret.put(f"{BASE}/{path}", json={"fields": after})
    ends = {code, "UNAUTHENTICATED", "UNAVAILABLE"} if name == "project_deleted" else {code}
    for _ in (1, 2):
        removed = await client.receive()
        assert removed["type"] == "removed", removed
        assert removed["error"]["code"] in ends
    await client.close()


async def test_a_document_that_leaves_is_named_and_not_shown(world: World) -> None:
    await world.secret.put(f"{BASE}/owned/x", json={"fields": {"owner": world.uid}})
    client = Client(world.app)
    await client.hello(world.id_token)
    where = {"field": "owner", "op": "==", "value": world.uid}
    await client.listen(1, documents=["owned/x"])
    await client.listen(2, query={"collection": "owned", "where": where})
    await world.secret.put(f"{BASE}/owned/x", json={"fields": {"owner": "b", "secret": "new"}})
    for message in (await client.receive(), await client.receive()):
        if message["target"] == 1:
            assert message["error"]["code"] == "PERMISSION_DENIED"
        else:
            assert [change["document"] for change in message["changes"]] == [{"path": "owned/x"}]
    await client.close()


async def test_a_secret_key_that_is_revoked_hears_no_more(world: World) -> None:
    keys = (await world.operator.get(f"{ADMIN}/keys")).json()["keys"]
    (secret,) = [key["id"] for key in keys if key["kind"] == "secret"]
    client = Client(world.app)
    await client.hello(world.secret_key)
    await client.listen(1, query={"collection": "closed"})
    await world.operator.delete(f"{ADMIN}/keys/{secret}")
    assert (await client.receive())["error"]["code"] == "UNAUTHENTICATED"
    await client.close()


async def test_another_token_on_the_connection_takes_the_rights_of_the_first(
    world: World,
) -> None:
    await world.secret.put(f"{BASE}/owned/x", json={"fields": {"owner": world.uid}})
    client = Client(world.app)
    await client.hello(world.id_token)
    await client.listen(1, documents=["owned/x"])
    client.send({"type": "auth", "token": None})
    assert (await client.receive())["error"]["code"] == "PERMISSION_DENIED"
    await client.close()


async def test_a_resume_token_is_of_its_listener(world: World) -> None:
    """Another caller's token gives a full snapshot under the second one's rights, or nothing."""
    await world.secret.put(f"{BASE}/public/p", json={"fields": {"n": 1}})
    first = Client(world.app)
    await first.hello(world.id_token)
    token = (await first.listen(1, query={"collection": "public"}))["resume_token"]
    await first.close()
    second = Client(world.app)
    await second.hello(world.secret_key)
    for target, collection in ((1, "public"), (2, "closed")):
        query = {"collection": collection}
        assert (await second.listen(target, query=query, resume_token=token))["reset"]
    await second.close()


@pytest.mark.parametrize("loss", ["rules", "looked up", "image"])
async def test_nobody_resumes_what_is_not_allowed_any_more(world: World, loss: str) -> None:
    """What happened while the listener was away is judged by the rights of now."""
    await world.secret.put(f"{BASE}/members/{world.uid}", json={"fields": {}})
    path = "guarded/x" if loss == "looked up" else "owned/x"
    await world.secret.put(f"{BASE}/{path}", json={"fields": {"owner": world.uid}})
    wanted: list[dict[str, Any]] = [{"documents": [path]}]
    where = {"field": "owner", "op": "==", "value": world.uid}
    if loss != "image":
        wanted.append({"query": {"collection": path.partition("/")[0], "where": where}})
    first = Client(world.app)
    await first.hello(world.id_token)
    tokens = [
        (await first.listen(target, **one))["resume_token"] for target, one in enumerate(wanted, 1)
    ]
    await first.close()
    if loss == "rules":
        await rules_redeployed(world)
    elif loss == "looked up":
        await looked_up_document_deleted(world)
    owner = "b" if loss == "image" else world.uid
    fields = {"owner": owner, "secret": "new"}
    await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
    second = Client(world.app)
    await second.hello(world.id_token)
    for target, (one, token) in enumerate(zip(wanted, tokens, strict=True), 1):
        second.send({"type": "listen", "target": target, "resume_token": token, **one})
        message = await second.receive()
        assert (message["type"], message["error"]["code"]) == ("removed", "PERMISSION_DENIED")
    await second.close()
