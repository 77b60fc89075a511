"""Objects through two server nodes on one replica set and one object store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from baas.accounts.sealing import SECRET_VARIABLE
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.objects_world import ADMIN, OBJECTS, UPLOADS, ok
from tests.mongo import mongodb_uri, replica_set
from tests.s3 import S3Server, s3_server

__all__ = ["mongodb_uri", "replica_set", "s3_server"]
pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def nodes(
    tmp_path: Path, mongodb_uri: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[httpx.AsyncClient]]:
    monkeypatch.setenv(SECRET_VARIABLE, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    place = uuid4().hex[:12]
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(2):
            settings = make_settings(
                tmp_path / f"node{number}",
                engine="mongodb",
                mongodb_uri=mongodb_uri,
                mongodb_database=f"objects{place}",
                objects=f"{s3_server.url}/{place}",
            )
            app = await stack.enter_async_context(started_app(settings))
            clients.append(await stack.enter_async_context(app_client(app, app.operator_token)))
        ok(await clients[0].post("/api/v1/admin/projects", json={"id": "demo"}))
        ok(await clients[0].post(f"{ADMIN}/buckets", json={"id": "default"}))
        yield clients


async def test_what_one_node_takes_the_other_gives(nodes: list[httpx.AsyncClient]) -> None:
    one, other = nodes
    names = ["a", "a-b", "a.b", "a/1", "a/2/x", "a0", "é/🙂"]
    for name in names:
        ok(await one.put(f"{OBJECTS}/{name}", content=name.encode()))
    listed = ok(await other.get(OBJECTS))["objects"]
    assert names == [item["name"] for item in listed]
    page = ok(await other.get(OBJECTS, params={"delimiter": "/", "page_size": "2"}))
    assert [item["name"] for item in page["objects"]] == ["a", "a-b"]
    assert "é/🙂".encode() == (await other.get(f"{OBJECTS}/é/🙂")).content
    ok(await other.delete(f"{OBJECTS}/a"))
    assert (await one.get(f"{OBJECTS}/a")).status_code == 404


async def test_an_upload_goes_on_at_another_node(nodes: list[httpx.AsyncClient]) -> None:
    one, other = nodes
    content = b"0123456789" * 100_000
    made = ok(await one.post(f"{OBJECTS}/up:upload", json={"size": len(content)}))
    path = f"{UPLOADS}/{made['upload']}"
    for client, start in ((one, 0), (other, 300_000), (one, 600_000)):
        piece = content[start : start + 300_000]
        ok(await client.patch(path, content=piece, headers={"upload-offset": str(start)}))
    rest = {"upload-offset": "900000"}
    ok(await other.patch(path, content=content[900_000:], headers=rest))
    stored = ok(await one.post(f"{path}:finish"))
    assert hashlib.sha256(content).hexdigest() == stored["sha256"]
    assert stored == ok(await other.post(f"{path}:finish"))
    assert content == (await other.get(f"{OBJECTS}/up")).content


async def test_a_url_that_one_node_signs_opens_at_the_other(nodes: list[httpx.AsyncClient]) -> None:
    one, other = nodes
    ok(await one.put(f"{OBJECTS}/a", content=b"hello"))
    sign = {"method": "GET", "expires_in": 3_600}
    url = ok(await one.post(f"{OBJECTS}/a:sign", json=sign))["url"]
    del other.headers["authorization"]
    assert (await other.get(url)).content == b"hello"
    ok(await one.post(f"{ADMIN}/buckets:revoke-signed-urls"))
    assert (await other.get(url)).status_code == 401
