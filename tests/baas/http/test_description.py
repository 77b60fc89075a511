"""The OpenAPI description: every route and nothing else is in it, and real answers are so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jsonschema_rs
import orjson
import pytest
import pytest_asyncio

from baas.http.description import describe, expand
from baas.http.routes import ROUTES
from baas.http.schemas import SCHEMAS, collect_schemas
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, World

DESCRIPTION = describe(ROUTES)


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    described = {(method.upper(), path) for path, method, _ in _operations()}
    routed = {(route.method, path) for route in ROUTES for path in expand(route.path)}
    assert described == routed


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(names) == len(set(names))


def test_every_schema_is_used_and_every_reference_leads_to_one() -> None:
    text = orjson.dumps(DESCRIPTION).decode()
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == SCHEMAS.keys()


def test_no_two_schemas_have_one_name() -> None:
    """Within one table ruff finds them."""
    assert collect_schemas({"A": {}}, {"B": {}}) == {"A": {}, "B": {}}
    with pytest.raises(AssertionError, match="two schemas are called A"):
        collect_schemas({"A": {}, "B": {}}, {"A": {}})


def test_every_path_parameter_is_described() -> None:
    for path, _, operation in _operations():
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_tag_is_described() -> None:
    known = {tag["name"] for tag in DESCRIPTION["tags"]}
    assert {tag for _, _, operation in _operations() for tag in operation["tags"]} == known


def test_the_description_is_valid_openapi() -> None:
    jsonschema_rs.meta.validate({"$defs": SCHEMAS})
    assert DESCRIPTION["openapi"] == "3.1.0"
    for _, _, operation in _operations():
        assert operation["summary"]
        assert "default" in operation["responses"]


def _pattern(path: str) -> str:
    """A regular expression for addresses of a path with parameters."""
    return "[^/?]+".join(re.escape(part) for part in re.split(r"{\w+}", path))


class DescribedClient:
    """Sends requests and holds each answer against the description."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._patterns = [
            (method.upper(), re.compile(_pattern(path)), operation)
            for path, method, operation in _operations()
        ]

    async def send(self, client: httpx.AsyncClient, method: str, url: str, **options: Any) -> Any:
        answer = await client.request(method, url, **options)
        operation = self._operation(method, url)
        self.seen.add(operation["operationId"])
        responses = operation["responses"]
        described = responses.get(str(answer.status_code), responses["default"])
        if answer.is_success:
            assert str(answer.status_code) in responses, answer.text
        kind = answer.headers.get("content-type", "").partition(";")[0]
        content = described.get("content", {})
        if "*/*" in content:
            return answer  # bytes of any kind
        if kind not in content:
            assert not content, (kind, operation["operationId"])
            return answer
        for line in answer.content.splitlines() if "ndjson" in kind else [answer.content]:
            tree = orjson.loads(line)
            check(content[kind]["schema"], tree)
        return answer.json() if kind == "application/json" else answer

    def _operation(self, method: str, url: str) -> dict[str, Any]:
        bare = url.partition("?")[0]
        found = [
            operation
            for wanted, pattern, operation in self._patterns
            if wanted == method and pattern.fullmatch(bare)
        ]
        assert found, (method, url)
        # The most specific one: with most path that is no parameter.
        return min(found, key=lambda operation: len(operation["parameters"]))


def check(schema: dict[str, Any], tree: Any) -> None:
    """Raises if the tree is not as the schema says."""
    jsonschema_rs.validator_for({**schema, "components": {"schemas": SCHEMAS}}).validate(tree)


@pytest_asyncio.fixture
async def described() -> AsyncIterator[DescribedClient]:
    yield DescribedClient()


async def use_schemas(operator: httpx.AsyncClient, described: DescribedClient) -> None:
    send, base = described.send, "/api/v1/admin/projects/demo"
    schema = {"x-collection": "people", "required": ["name"], "x-unique": [["name"]]}
    await send(operator, "GET", f"{base}/schemas")
    made = await send(operator, "PUT", f"{base}/schemas", json={"schemas": [schema]})
    await send(operator, "GET", f"{base}/schemas/releases")
    await send(operator, "GET", f"{base}/schemas/releases/{made['release']}")
    await send(operator, "POST", f"{BASE}/people", json={"fields": {"name": "Ada"}})
    await send(operator, "POST", f"{BASE}/people", json={"fields": {"name": "Ada"}})
    wrong = await send(operator, "POST", f"{BASE}/people", json={"fields": {}})
    assert wrong["error"]["details"]["violations"][0]["field"] == "name"
    check = f"{base}/databases/(default)/schemas:check"
    await send(operator, "POST", check, json={})
    strict = {"x-collection": "people", "required": ["age"]}
    page = await send(operator, "POST", check, json={"schemas": [strict], "page_size": 1})
    assert (page["checked"], page["failed"]) == (1, 1)
    refused = await send(operator, "PUT", f"{base}/schemas", json={"schemas": [strict]})
    assert refused["error"]["reason"] == "ExistingViolations"
    job = await send(
        operator, "POST", f"{base}/schemas:deploy", json={"schemas": [], "dry_run": True}
    )
    assert (job["kind"], job["database"]) == ("check-schemas", None)
    told = await send(operator, "POST", f"{base}/schemas:diff", json={"schemas": [strict]})
    assert (told["changed"], told["to"]) == (["people"], None)
    told = await send(operator, "GET", f"{base}/schemas:diff?from=none")
    assert (told["added"], told["from"]) == (["people"], "none")
    await send(operator, "PUT", f"{base}/schemas", json={"schemas": []})


async def test_real_answers_are_as_described(world: World, described: DescribedClient) -> None:
    operator, anonymous, send = world.operator, world.anonymous, described.send
    for base in (BASE, "/api/v1/projects/demo/databases/(default)/documents"):
        await send(operator, "POST", f"{base}/cities", json={"fields": {"n": 1}})
        path = f"{base}/cities/paris"
        transforms = [{"field": "n", "increment": 1}]
        await send(operator, "PUT", path, json={"fields": {"n": 1}, "transforms": transforms})
        await send(
            operator, "PATCH", path, json={"fields": {"m": {"$timestamp": "2020-01-01T00:00:00Z"}}}
        )
        await send(operator, "GET", path)
        await send(operator, "GET", f"{base}/cities?page_size=1")
        await send(operator, "GET", f"{base}/cities?show_missing=true")
        await send(operator, "POST", f"{base}:list-collections", json={"page_size": 1})
        await send(
            operator, "POST", f"{base}:batch-get", json={"documents": ["cities/paris", "a/b"]}
        )
        query = {"query": {"collection": "cities"}}
        await send(operator, "POST", f"{base}:query", json=query)
        await send(
            operator,
            "POST",
            f"{base}:query",
            json=query,
            headers={"accept": "application/x-ndjson"},
        )
        await send(operator, "POST", f"{base}:count", json=query)
        await send(operator, "POST", f"{base}:query", json={**query, "explain": True})
        paged = {**query, "page_size": 1}
        token = (await send(operator, "POST", f"{base}:query", json=paged))["next_page_token"]
        await send(operator, "POST", f"{base}:query", json={**paged, "page_token": token})
        numbers = [{"op": "sum", "field": "n"}, {"op": "average", "field": "n", "alias": "mean"}]
        await send(operator, "POST", f"{base}:aggregate", json={**query, "aggregates": numbers})
        writes = [{"set": "a/b", "fields": {}}, {"delete": "a/c"}]
        await send(operator, "POST", f"{base}:commit", json={"writes": writes})
        writes = [{"set": "a/b", "fields": {}}, {"update": "a/missing", "fields": {"n": 1}}]
        await send(operator, "POST", f"{base}:bulk-write", json={"writes": writes})
        await use_transactions(operator, described, base)
        await send(operator, "DELETE", path)
        await send(operator, "GET", path)

    await use_schemas(operator, described)
    accounts = "/api/v1/projects/demo/accounts"
    key = {"x-api-key": world.api_key}
    body = {"email": "bob@example.com", "password": PASSWORD}
    await send(anonymous, "POST", f"{accounts}:sign-up", json=body, headers=key)
    session = await send(anonymous, "POST", f"{accounts}:sign-in", json=body, headers=key)
    token = {"refresh_token": session["refresh_token"]}
    session = await send(anonymous, "POST", f"{accounts}:refresh", json=token, headers=key)
    bearer = {"authorization": f"Bearer {session['id_token']}"}
    await send(anonymous, "GET", f"{accounts}/me", headers=bearer)
    await send(anonymous, "GET", f"{accounts}/jwks.json")
    token = {"refresh_token": session["refresh_token"]}
    await send(anonymous, "POST", f"{accounts}:sign-out", json=token, headers=key)

    admin = "/api/v1/admin"
    setup = {"token": world.app.setup_token, **body}
    await send(anonymous, "POST", f"{admin}/setup", json=setup)
    session = await send(anonymous, "POST", f"{admin}/sign-in", json=body)
    bearer = {"authorization": f"Bearer {session['token']}"}
    await send(anonymous, "GET", f"{admin}/me", headers=bearer)
    await send(operator, "GET", f"{admin}/me")
    await send(operator, "POST", f"{admin}/admins", json={**body, "email": "eve@example.com"})
    await send(operator, "GET", f"{admin}/admins")
    await send(anonymous, "POST", f"{admin}/sign-out", headers=bearer)

    await send(operator, "POST", f"{admin}/projects", json={"id": "other", "origins": []})
    await send(operator, "GET", f"{admin}/projects")
    await send(operator, "GET", ADMIN)
    await send(operator, "PATCH", ADMIN, json={"name": "Demo"})
    made = await send(operator, "POST", f"{ADMIN}/keys", json={"kind": "publishable"})
    await send(operator, "DELETE", f"{ADMIN}/keys/{made['id']}")
    await send(operator, "GET", f"{ADMIN}/keys")
    await send(operator, "POST", f"{ADMIN}/databases", json={"id": "archive"})
    await send(operator, "GET", f"{ADMIN}/databases")
    await send(operator, "GET", f"{ADMIN}/databases/(default)/collections")
    indexes = f"{ADMIN}/databases/(default)/indexes"
    fields = [{"field": "n", "direction": "desc"}]
    wanted = {"collection": "cities", "fields": fields}
    index = (await send(operator, "POST", indexes, json=wanted))["id"]
    await send(operator, "GET", f"{indexes}?collection=cities")
    await send(operator, "PATCH", f"{indexes}/{index}", json={"pinned": False})
    await send(operator, "DELETE", f"{indexes}/{index}")
    await send(operator, "GET", f"{ADMIN}/databases/(default)/documents:export")
    line = orjson.dumps({"path": "a/z", "fields": {}})
    await send(operator, "POST", f"{ADMIN}/databases/(default)/documents:import", content=line)
    await use_jobs(operator, described)
    expiry = f"{ADMIN}/databases/(default)/ttl"
    policies = {"policies": {"tickets": "expires"}, "dry_run": True}
    await send(operator, "PUT", expiry, json=policies)
    await send(operator, "PUT", f"{expiry}/sessions", json={"field": "expires"})
    await send(operator, "GET", expiry)
    await send(operator, "DELETE", f"{expiry}/sessions")
    retention = f"{ADMIN}/databases/(default)/retention"
    await send(operator, "PUT", retention, json={"seconds": 86_400})
    await send(operator, "GET", retention)
    await use_history(operator, described)
    await use_objects(world, described)
    rules = await send(operator, "GET", f"{ADMIN}/rules")
    source = {"source": rules["source"]}
    deployed = await send(operator, "PUT", f"{ADMIN}/rules", json={**source, "allow_open": True})
    old = {"release": deployed["ruleset"], "message": "as before", "allow_open": True}
    await send(operator, "POST", f"{ADMIN}/rules:rollback", json=old)
    await send(operator, "GET", f"{ADMIN}/rules/releases?page_size=1")
    await send(operator, "GET", f"{ADMIN}/rules/releases/{deployed['ruleset']}")
    await send(operator, "GET", f"{ADMIN}/rules:diff?from=default")
    await send(operator, "GET", f"{ADMIN}/rules:diff")
    await send(operator, "GET", f"{ADMIN}/rules:audit?sample=2")
    await send(world.anonymous, "GET", f"{BASE}/denied/x")
    assert (await send(operator, "GET", f"{ADMIN}/denials?path=denied"))["denials"]
    await send(operator, "POST", f"{ADMIN}/rules:check", json=source)
    trial = {"method": "get", "path": "guarded/x", "caller": {"user": world.uid}}
    assert (await send(operator, "POST", f"{ADMIN}/rules:explain", json=trial))["lookups"]
    batch = {"writes": [{"method": "delete", "path": "guarded/x"}], "caller": {"uid": "ada"}}
    assert (await send(operator, "POST", f"{ADMIN}/rules:explain-batch", json=batch))["writes"]
    tests = "tests: [{get: public/x, expect: allow}, {get: users/x, expect: allow}]"
    run = await send(operator, "POST", f"{ADMIN}/rules:test", json={**source, "tests": tests})
    assert (run["passed"], run["failed"]) == (1, 1)
    await send(operator, "POST", f"{ADMIN}/rules:check", json={"source": "service"})
    user = await send(operator, "POST", f"{ADMIN}/users", json={**body, "email": "z@example.com"})
    await send(operator, "GET", f"{ADMIN}/users?page_size=1")
    assert len((await send(operator, "GET", f"{ADMIN}/users?email=z@example.com"))["users"]) == 1
    await send(operator, "GET", f"{ADMIN}/users/{user['uid']}")
    await send(operator, "PATCH", f"{ADMIN}/users/{user['uid']}", json={"disabled": True})
    await send(operator, "DELETE", f"{ADMIN}/users/{user['uid']}")
    await send(operator, "DELETE", f"{admin}/projects/other")
    await use_backups(operator, described)
    await refuse_moves(operator, described)
    await send(operator, "POST", f"{admin}/data:new-incarnation")

    await send(anonymous, "GET", "/healthz")
    await send(anonymous, "GET", "/readyz")
    api = {
        operation["operationId"]
        for path, _, operation in _operations()
        if operation["tags"] != ["server"]
    }
    assert api - described.seen == set()


async def use_backups(operator: httpx.AsyncClient, described: DescribedClient) -> None:
    send, base = described.send, "/api/v1/admin"

    async def wait(task: dict[str, Any]) -> None:
        while task["state"] == "running":
            await asyncio.sleep(0.02)
            task = await send(operator, "GET", f"{base}/backup-tasks/{task['id']}")
        assert task["state"] == "done", task

    made = await send(operator, "POST", f"{base}/backups", json={"project": "demo"})
    await wait(made)
    path = f"{base}/backups/{made['backup']}"
    assert (await send(operator, "GET", f"{base}/backups?page_size=1"))["backups"]
    await send(operator, "GET", path)
    await wait(await send(operator, "POST", f"{path}:verify"))
    await wait(
        await send(operator, "POST", f"{path}:restore", json={"project": "demo", "as": "twin"})
    )
    await wait(await send(operator, "DELETE", path))
    assert (await send(operator, "GET", f"{base}/backup-tasks"))["tasks"]
    over = await send(operator, "POST", f"{base}/backup-tasks/{made['id']}:cancel")
    assert over["error"]["reason"] == "BackupTaskIsOver"
    schedule = {"every_seconds": 86_400, "keep_last": 1}
    await send(operator, "PUT", f"{base}/backup-schedules", json=schedule)
    assert (await send(operator, "GET", f"{base}/backup-schedules"))["schedules"]
    await send(operator, "DELETE", f"{base}/backup-schedules")
    none = await send(
        operator, "PUT", f"{base}/backup-schedules", json={**schedule, "keep_last": 0}
    )
    assert none["error"]["message"] == "`keep_last` must be from 1 to 1000, not 0"


async def refuse_moves(operator: httpx.AsyncClient, described: DescribedClient) -> None:
    """A server without MongoDB has none to tell of; see tests/baas/moves."""
    send, base = described.send, "/api/v1/admin"
    refused = await send(operator, "POST", f"{base}/projects/demo:move", json={"to": "mongodb"})
    assert refused["error"]["reason"] == "EngineNotConfigured"
    assert (await send(operator, "GET", f"{base}/moves"))["moves"] == []
    for method, path in (("GET", "/moves/none"), ("POST", "/moves/none:cancel")):
        answer = await send(operator, method, base + path)
        assert answer["error"]["reason"] == "MoveNotFound"


async def use_transactions(
    client: httpx.AsyncClient, described: DescribedClient, base: str
) -> None:
    """Every step of a transaction."""
    send = described.send
    token = (await send(client, "POST", f"{base}:begin-transaction", json={}))["transaction"]
    body = {"documents": ["cities/paris"], "transaction": token}
    await send(client, "POST", f"{base}:batch-get", json=body)
    query = {"collection": "cities"}
    asked = {"query": query, "transaction": token}
    seen = (await send(client, "POST", f"{base}:query", json=asked))["seen"]
    body = {"writes": [], "transaction": token, "queries": [{"query": query, "seen": seen}]}
    await send(client, "POST", f"{base}:commit", json=body)
    await send(client, "POST", f"{base}:rollback", json={"transaction": token})


async def use_jobs(operator: httpx.AsyncClient, described: DescribedClient) -> None:
    """Every operation on jobs, once."""
    send, base = described.send, f"{ADMIN}/databases/(default)/documents"
    job = await send(operator, "POST", f"{base}:delete-recursive", json={"path": "a/z"})
    update = {"query": {"collection": "cities"}, "update": {"fields": {"n": 2}}}
    await send(operator, "POST", f"{base}:update-by-query", json=update)
    erasure = {"query": {"collection": "cities"}, "present": False, "deleted": True}
    await send(operator, "POST", f"{base}:erase-by-query", json=erasure)
    await send(operator, "GET", f"{ADMIN}/jobs")
    await send(operator, "GET", f"{ADMIN}/jobs/{job['id']}")
    await send(operator, "POST", f"{ADMIN}/jobs/{job['id']}:cancel")
    own = BASE.removesuffix("/documents") + "/jobs"
    starts = {"delete-recursive": {"path": "a/z"}, "update-by-query": update}
    for form in (BASE, BASE.replace("documents", "databases/(default)/documents")):
        for verb, body in starts.items():
            job = await send(operator, "POST", f"{form}:{verb}", json=body)
            # So that there are never more of them than a project may have at a time.
            await send(operator, "POST", f"{own}/{job['id']}:cancel")
    await send(operator, "GET", own)
    await send(operator, "GET", f"{own}/{job['id']}")


async def use_history(operator: httpx.AsyncClient, described: DescribedClient) -> None:
    """Every operation on what documents were, once."""
    send, base = described.send, f"{ADMIN}/databases/(default)"
    path = f"{BASE}/past/x"
    time = (await send(operator, "PUT", path, json={"fields": {"n": 1}}))["update_time"]
    await send(operator, "PUT", path, json={"fields": {"n": 2}})
    assert (await send(operator, "GET", f"{path}?read_time={time}"))["fields"] == {"n": 1}
    at = {"read_time": time}
    await send(operator, "POST", f"{BASE}:batch-get", json={"documents": ["past/x"], **at})
    await send(operator, "POST", f"{BASE}:query", json={"query": {"collection": "past"}, **at})
    await send(operator, "GET", f"{base}/documents:history?path=past/x&page_size=1")
    wanted = {"path": "past/x", "at": time}
    await send(operator, "POST", f"{base}/documents:plan-restore", json=wanted)
    paged = {**wanted, "page_token": f"{2**50}-1"}
    await send(operator, "POST", f"{base}/documents:plan-restore", json=paged)
    await send(operator, "POST", f"{base}/documents:restore", json=wanted)
    erased = {"path": "past/x", "present": True}
    await send(operator, "POST", f"{base}/documents:erase", json=erased)
    several = {"documents": ["past/x", "past/y"]}
    await send(operator, "POST", f"{base}/documents:batch-erase", json=several)
    await send(operator, "GET", f"{base}/erasures?page_size=1")
    await send(operator, "GET", f"{ADMIN}/retention")
    await send(operator, "PUT", f"{ADMIN}/retention", json={"seconds": None, "bytes": 2_000_000})


async def use_objects(world: World, described: DescribedClient) -> None:
    """Every operation on buckets and objects, once."""
    operator, send = world.operator, described.send
    base = "/api/v1/projects/demo/buckets/default/objects"
    await send(operator, "POST", f"{ADMIN}/buckets", json={"id": "default"})
    await send(operator, "GET", f"{ADMIN}/buckets")
    await send(operator, "PUT", f"{base}/a.txt", content=b"hello")
    await send(operator, "GET", f"{base}/a.txt")
    await send(operator, "GET", f"{base}/missing.txt")
    await send(operator, "GET", f"{base}/a.txt:metadata")
    await send(operator, "PATCH", f"{base}/a.txt:metadata", json={"metadata": {"k": "v"}})
    await send(operator, "POST", f"{base}/a.txt:copy", json={"to": "b/c.txt"})
    await send(operator, "GET", f"{base}?delimiter=/&page_size=1")
    await send(operator, "DELETE", f"{base}/a.txt")
    signed = {"method": "GET", "expires_in": 60}
    await send(operator, "POST", f"{base}/b%2Fc.txt:sign", json=signed)
    await send(operator, "POST", f"{ADMIN}/buckets:revoke-signed-urls")
    uploads = "/api/v1/projects/demo/buckets/default/uploads"
    for _ in range(2):
        made = await send(operator, "POST", f"{base}/up:upload", json={"size": 5})
        path = f"{uploads}/{made['upload']}"
        headers = {"upload-offset": "0"}
        await send(operator, "PATCH", path, content=b"hello", headers=headers)
        await send(operator, "PATCH", path, content=b"hello", headers=headers)
        await send(operator, "GET", path)
        await send(operator, "POST", f"{path}:finish", json={})
    made = await send(operator, "POST", f"{base}/up:upload", json={"size": 5})
    await send(operator, "DELETE", f"{uploads}/{made['upload']}")
    await send(operator, "DELETE", f"{ADMIN}/buckets/default?recursive=true")
