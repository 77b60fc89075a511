"""A denial's reason reaches the app's developer by its request id, and no caller of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from baas.errors import PermissionDenied
from tests.baas.http.conftest import ADMIN, BASE, World, dev_world, world
from tests.baas.http.objects_world import OBJECTS, object_world
from tests.baas.ws.client import Client

__all__ = ["dev_world", "world"]
MESSAGE = PermissionDenied().message


async def traced(operator: httpx.AsyncClient, request_id: str) -> dict[str, Any]:
    answer = await operator.get(f"{ADMIN}/denials", params={"request_id": request_id})
    assert answer.status_code == 200, answer.text
    (denial,) = answer.json()["denials"]
    assert denial["request_id"] == request_id
    return dict(denial)


def request_id_of(answer: httpx.Response) -> str:
    """Of a denial, which says nothing else."""
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert error == {
        "code": "PERMISSION_DENIED",
        "reason": "PermissionDenied",
        "message": MESSAGE,
        "details": None,
        "request_id": answer.headers["x-request-id"],
    }
    return str(error["request_id"])


async def test_every_way_to_be_denied_on_documents_is_traced(world: World) -> None:
    secret = {"owner": "somebody", "text": "shibboleth"}
    await world.secret.put(f"{BASE}/owned/x", json={"fields": secret})
    query = {"query": {"collection": "owned"}}
    ways = [
        ("get", await world.user.get(f"{BASE}/owned/x")),
        ("update", await world.user.put(f"{BASE}/owned/x", json={"fields": {}})),
        ("create", await world.user.put(f"{BASE}/owned/y", json={"fields": {}})),
        ("delete", await world.user.delete(f"{BASE}/owned/x")),
        ("list", await world.user.get(f"{BASE}/owned")),
        ("list", await world.user.post(f"{BASE}:query", json=query)),
        (
            "list",
            await world.user.post(
                f"{BASE}:query", json=query, headers={"accept": "application/x-ndjson"}
            ),
        ),
        ("list", await world.user.post(f"{BASE}:count", json=query)),
        ("get", await world.user.post(f"{BASE}:batch-get", json={"documents": ["owned/x"]})),
    ]
    for method, answer in ways:
        assert "shibboleth" not in answer.text
        denial = await traced(world.operator, request_id_of(answer))
        assert (denial["method"], denial["uid"]) == (method, world.uid)
        assert denial["path"].startswith("owned")
        assert denial["reasons"], denial
        assert denial["release"]


async def test_a_denied_listener_is_traced(world: World) -> None:
    client = Client(world.app)
    await client.hello(world.id_token)
    client.send({"type": "listen", "target": 7, "query": {"collection": "owned"}})
    removed = await client.receive()
    error = removed["error"]
    assert (removed["type"], error["message"], error["details"]) == ("removed", MESSAGE, None)
    denial = await traced(world.operator, error["request_id"])
    assert (denial["method"], denial["path"]) == ("list", "owned")
    assert 'where("owner", "==", request.auth.uid)' in denial["explanation"]
    await client.close()


async def test_denials_on_objects_are_traced(tmp_path: Path) -> None:
    async with object_world(tmp_path / "data", users=False) as world:
        for method, path, answer in (
            ("get", "users/ada/a.png", await world.anonymous.get(f"{OBJECTS}/users/ada/a.png")),
            ("create", "users/ada/b", await world.anonymous.put(f"{OBJECTS}/users/ada/b")),
            ("delete", "users/ada/a", await world.anonymous.delete(f"{OBJECTS}/users/ada/a")),
            ("list", "users", await world.anonymous.get(f"{OBJECTS}?prefix=users/")),
            ("list", "", await world.anonymous.get(f"{OBJECTS}?delimiter=/")),
        ):
            denial = await traced(world.operator, request_id_of(answer))
            assert (denial["service"], denial["place"]) == ("firebase.storage", "default")
            assert (denial["method"], denial["path"]) == (method, path)
            assert (denial["caller"], denial["uid"]) == ("anonymous", None)


async def test_nobody_but_an_administrator_reads_traces(world: World) -> None:
    for client in (world.anonymous, world.user, world.secret):
        answer = await client.get(f"{ADMIN}/denials")
        assert answer.status_code in (401, 403)


async def test_an_allowed_request_leaves_no_trace(world: World) -> None:
    await world.user.put(f"{BASE}/users/{world.uid}", json={"fields": {}})
    assert (await world.user.get(f"{BASE}/users/{world.uid}")).status_code == 200
    answer = (await world.operator.get(f"{ADMIN}/denials")).json()
    assert answer == {"denials": [], "counts": {"denied": 0, "unexplained": 0, "dropped": 0}}


async def test_in_development_mode_there_are_traces_too(dev_world: World) -> None:
    answer = await dev_world.user.get(f"{BASE}/owned/x")
    denial = await traced(dev_world.operator, answer.headers["x-request-id"])
    assert denial["explanation"].startswith("get of /owned/x is denied")
