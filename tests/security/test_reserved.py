"""Families 14, 17 and 3: reserved paths and databases through every route, privileged keys in the
wrong place, and names that mean something elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from baas.http.authentication import Access
from baas.http.routes import ROUTES
from tests.baas.http.conftest import ADMIN, BASE, World, world
from tests.security.reads import fill, listen, outcome, refusal

__all__ = ["world"]

RESERVED = ("__indexes__/x", "a/__b__", "a/b/__c__/d", "__id05__/x", "____/x")
ROUTES_TO_A_PATH: dict[str, Callable[[str], tuple[str, str, Any]]] = {
    "get": lambda path: ("GET", f"{BASE}/{path}", None),
    "set": lambda path: ("PUT", f"{BASE}/{path}", {"fields": {}}),
    "update": lambda path: ("PATCH", f"{BASE}/{path}", {"fields": {"a": 1}}),
    "delete": lambda path: ("DELETE", f"{BASE}/{path}", None),
    "list": lambda path: ("GET", f"{BASE}/{path}/c", None),
    "create": lambda path: ("POST", f"{BASE}/{path}/c", {"fields": {}}),
    "batch get": lambda path: ("POST", f"{BASE}:batch-get", {"documents": [path]}),
    "commit": lambda path: ("POST", f"{BASE}:commit", {"writes": [{"set": path, "fields": {}}]}),
    "commit delete": lambda path: ("POST", f"{BASE}:commit", {"writes": [{"delete": path}]}),
    "reference": lambda path: ("PUT", f"{BASE}/a/r", {"fields": {"r": {"$ref": path}}}),
    "query": lambda path: ("POST", f"{BASE}:query", {"query": {"collection": path + "/c"}}),
    "query group": lambda path: (
        "POST",
        f"{BASE}:query",
        {"query": {"collection": path.split("/")[0], "group": True}}
        if path.startswith("__")
        else {"query": {"collection": path + "/c", "group": True}},
    ),
    "count": lambda path: ("POST", f"{BASE}:count", {"query": {"collection": path + "/c"}}),
    "cursor": lambda path: (
        "POST",
        f"{BASE}:query",
        {
            "query": {
                "collection": "a",
                "order_by": [{"field": "__name__"}],
                "start": {"values": [{"$ref": path}]},
            }
        },
    ),
    "collections": lambda path: (
        "GET",
        f"{ADMIN}/databases/(default)/collections?parent={path}",
        None,
    ),
    "export": lambda path: (
        "GET",
        f"{ADMIN}/databases/(default)/documents:export?collection={path}/c",
        None,
    ),
}


@pytest.mark.parametrize("path", RESERVED)
@pytest.mark.parametrize("route", ROUTES_TO_A_PATH)
async def test_a_reserved_path_is_refused_to_everybody(world: World, route: str, path: str) -> None:
    method, url, body = ROUTES_TO_A_PATH[route](path)
    found = await outcome(world, world.app.operator_token, method, url, json=body)
    assert found == ("INVALID_ARGUMENT", "ReservedId")


@pytest.mark.parametrize("path", RESERVED)
async def test_import_and_listen_refuse_reserved_paths(world: World, path: str) -> None:
    url = f"{ADMIN}/databases/(default)/documents:import"
    line = orjson.dumps({"path": path, "fields": {}})
    answer = await world.operator.post(url, content=line)
    assert refusal(answer) == ("INVALID_ARGUMENT", "InvalidLine")
    assert answer.json()["error"]["details"]["cause"] == "ReservedId"
    for wanted in ({"documents": [path]}, {"query": {"collection": f"{path}/c"}}):
        assert (await listen(world, world.secret_key, **wanted))[1] == "ReservedId"


DATABASES = ("__system__", "system", "default", "%2e%2e", "__SYSTEM__", "(default)%00", "a" * 300)


@pytest.mark.parametrize("database", DATABASES)
async def test_a_database_that_was_not_created_is_reached_by_nothing(
    world: World, database: str
) -> None:
    documents = f"/api/v1/projects/demo/databases/{database}/documents"
    admin = f"{ADMIN}/databases/{database}"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{documents}/users/x", {}),
        ("PUT", f"{documents}/users/x", {"json": {"fields": {}}}),
        ("POST", f"{documents}:query", {"json": {"query": {"collection": "users"}}}),
        ("POST", f"{documents}:count", {"json": {"query": {"collection": "users"}}}),
        ("POST", f"{documents}:batch-get", {"json": {"documents": ["users/x"]}}),
        ("POST", f"{documents}:commit", {"json": {"writes": []}}),
        ("GET", f"{admin}/collections", {}),
        ("GET", f"{admin}/documents:export", {}),
        ("POST", f"{admin}/documents:import", {"content": b'{"path":"a/b","fields":{}}'}),
    ]
    for method, url, send in requests:
        found = await outcome(world, world.app.operator_token, method, url, **send)
        assert found == ("NOT_FOUND", "DatabaseNotFound"), url


async def test_the_servers_own_database_has_no_project(world: World) -> None:
    for project in ("", "__system__", "%00", "%2e%2e", "DEMO", "demo%20", "."):
        url = f"/api/v1/projects/{project}/databases/__system__/documents/projects/demo"
        found = await outcome(world, world.app.operator_token, "GET", url)
        assert found[0] == "NOT_FOUND", project


async def test_a_reserved_database_cannot_be_made(world: World) -> None:
    for identifier in ("__system__", "system", "default", "../x", "a/b", "x.sqlite", ""):
        answer = await world.operator.post(f"{ADMIN}/databases", json={"id": identifier})
        assert refusal(answer) == ("INVALID_ARGUMENT", "InvalidDatabaseId"), identifier


@pytest.mark.parametrize(
    "route",
    [one for one in ROUTES if one.access is Access.ADMIN],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_no_key_and_no_user_administrates(world: World, route: Any) -> None:
    url = fill(route.path, project="demo", database="(default)", uid=world.uid)
    for token in (None, world.id_token, world.secret_key, world.api_key, world.refresh_token):
        found = await outcome(world, token, route.method, url)
        assert found[0] == "UNAUTHENTICATED"


async def test_credentials_of_one_project_open_no_other(world: World) -> None:
    await world.operator.post("/api/v1/admin/projects", json={"id": "other"})
    other = "/api/v1/projects/other"
    for token in (world.secret_key, world.id_token):
        found = await outcome(world, token, "GET", f"{other}/documents/a/b")
        assert found[0] == "UNAUTHENTICATED"
    credentials = {"email": "ada@example.com", "password": "difference engine"}
    for key in (world.api_key, world.secret_key):
        found = await outcome(
            world,
            None,
            "POST",
            f"{other}/accounts:sign-in",
            headers={"x-api-key": key},
            json=credentials,
        )
        assert found == ("UNAUTHENTICATED", "ApiKeyInvalid")
    body = {"refresh_token": world.refresh_token}
    made = await world.operator.post(
        "/api/v1/admin/projects/other/keys", json={"kind": "publishable"}
    )
    headers = {"x-api-key": made.json()["key"]}
    url = f"{other}/accounts:refresh"
    assert (await outcome(world, None, "POST", url, headers=headers, json=body))[0] == (
        "UNAUTHENTICATED"
    )


NAMES = (
    "__proto__",
    "constructor",
    "a.b",
    "a`b",
    "$where",
    "$ref",
    "\x00",
    "a\x00b",
    "'; DROP TABLE documents; --",
    "<img src=x onerror=alert(1)>",
    "\u202eabc",
    "\u0430",  # Cyrillic, and looks like a Latin a
    "\U0001f4a9",
    " ",
    "%2e%2e",
    "\\",
    "x" * 1_500,
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_strange_names_are_names_and_nothing_else(world: World, name: str) -> None:
    """As a field, as a key of a map, as an id: what is written is what is read."""
    quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
    write = {"set": f"odd/{name}", "fields": {_escaped(name): 1, "m": {_escaped(name): 2}}}
    answer = await world.secret.post(f"{BASE}:commit", json={"writes": [write]})
    if name == "__proto__":
        assert refusal(answer) == ("INVALID_ARGUMENT", "ReservedId")
        return
    assert answer.is_success, answer.text
    where = {"field": f"m.{quoted}", "op": "==", "value": 2}
    query = {"query": {"collection": "odd", "where": where, "order_by": [{"field": quoted}]}}
    found = (await world.secret.post(f"{BASE}:query", json=query)).json()
    (document,) = found["documents"]
    assert document["path"] == f"odd/{name}"
    assert document["fields"] == write["fields"]


def _escaped(name: str) -> str:
    return f"${name}" if name.startswith("$") else name
