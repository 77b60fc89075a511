"""CORS: only listed origins, the server's own pages, and in development mode this machine's."""

from __future__ import annotations

import httpx
import pytest

from baas.testing import app_client
from tests.baas.http.conftest import ADMIN, BASE, World
from tests.baas.http.test_bad_input import check_error

APP = "https://app.example.com"


async def _list_origins(world: World, *origins: str) -> None:
    answer = await world.operator.patch(ADMIN, json={"origins": list(origins)})
    assert answer.status_code == 200, answer.text


async def _preflight(client: httpx.AsyncClient, origin: str, **headers: str) -> httpx.Response:
    return await client.options(
        f"{BASE}/a/b",
        headers={
            "origin": origin,
            "access-control-request-method": "PUT",
            "access-control-request-headers": "authorization,content-type",
            **headers,
        },
    )


async def test_a_listed_origin_may_call(world: World) -> None:
    await _list_origins(world, APP)
    preflight = await _preflight(world.anonymous, APP)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == APP
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-private-network" not in preflight.headers
    answer = await world.secret.get(f"{BASE}/a/b", headers={"origin": APP})
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "origin"
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_errors_too_can_be_read_by_a_listed_origin(world: World) -> None:
    await _list_origins(world, APP)
    answer = await world.anonymous.get(
        f"{BASE}/a/b", headers={"origin": APP, "authorization": "Bearer x"}
    )
    check_error(answer, 401)
    assert answer.headers["access-control-allow-origin"] == APP


async def test_a_private_network_is_opened_only_to_listed_origins(world: World) -> None:
    await _list_origins(world, APP)
    asked = {"access-control-request-private-network": "true"}
    listed = await _preflight(world.anonymous, APP, **asked)
    assert listed.headers["access-control-allow-private-network"] == "true"
    other = await _preflight(world.anonymous, "https://evil.example", **asked)
    check_error(other, 403)
    assert "access-control-allow-private-network" not in other.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://APP.example.com/",
        "null",
        "",
        "file://",
        "http://localhost:3000",
        "https://app.example.com\\@evil.example",
    ],
)
async def test_other_origins_are_refused_before_anything_happens(world: World, origin: str) -> None:
    await _list_origins(world, APP)
    answer = await world.secret.put(f"{BASE}/a/b", json={"fields": {}}, headers={"origin": origin})
    assert check_error(answer, 403)["reason"] == "OriginNotAllowed"
    assert "access-control-allow-origin" not in answer.headers
    assert (await world.secret.get(f"{BASE}/a/b")).status_code == 404


async def test_credentials_are_never_allowed_by_cors(world: World) -> None:
    await _list_origins(world, "*")
    answer = await world.secret.get(f"{BASE}/a/b", headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "https://any.example"
    assert "access-control-allow-credentials" not in answer.headers


async def test_the_servers_own_pages_may_call(world: World) -> None:
    answer = await world.operator.get(
        "/api/v1/admin/projects", headers={"origin": "http://127.0.0.1"}
    )
    assert answer.status_code == 200


async def test_administration_takes_no_other_origin(world: World) -> None:
    await _list_origins(world, APP)
    for path in ("/api/v1/admin/projects", ADMIN):
        answer = await world.operator.get(path, headers={"origin": APP})
        assert check_error(answer, 403)["reason"] == "OriginNotAllowed"


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080"]
)
async def test_in_development_mode_this_machine_may_call(dev_world: World, origin: str) -> None:
    answer = await dev_world.secret.get(f"{BASE}/a/b", headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin


async def test_in_development_mode_a_rebound_name_is_not_our_own(dev_world: World) -> None:
    async with app_client(dev_world.app, dev_world.app.operator_token) as client:
        answer = await client.get(
            "/api/v1/admin/projects",
            headers={"origin": "http://evil.example:8080", "host": "evil.example:8080"},
        )
    check_error(answer, 403)


async def test_unknown_projects_have_no_origins(world: World) -> None:
    answer = await world.anonymous.options(
        "/api/v1/projects/nobody/documents/a/b",
        headers={"origin": APP, "access-control-request-method": "GET"},
    )
    check_error(answer, 404)


async def test_options_without_an_origin_names_the_methods(world: World) -> None:
    answer = await world.anonymous.options(f"{BASE}/a/b")
    assert answer.status_code == 204
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
