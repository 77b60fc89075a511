"""Bytes of objects stay where they are while their project moves; what is on its way arrives."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from baas.services import projects
from baas.services.context import Context
from baas.testing import app_client
from tests.baas.moves.test_moves import move_to, server
from tests.baas.services.worlds import OPERATOR

OBJECTS = "/api/v1/projects/shop/buckets/files/objects"
HALF = b"x" * 100_000


@pytest.fixture
def settings(mongodb_uri: str, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    data = tmp_path / "data"
    return {
        "mongodb_uri": mongodb_uri,
        "mongodb_database": name,
        "data": data,
        "object_grace_seconds": 0,
    }


def checked(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, answer.text
    return answer


def files(folder: Path) -> set[Path]:
    return {one for one in (folder / "objects").rglob("*") if one.is_file()}


async def test_objects_uploads_and_bytes_on_their_way(settings: dict[str, Any]) -> None:
    async with server(settings) as app, app_client(app, app.operator_token) as client:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        buckets = "/api/v1/admin/projects/shop/buckets"
        checked(await client.post(buckets, json={"id": "files"}))
        for name, content in (("kept", b"kept"), ("gone", HALF + HALF)):  # a file of its own
            checked(await client.put(f"{OBJECTS}/{name}", content=content))
        for engine in ("mongodb", "sqlite"):
            before = files(settings["data"])
            size = {"size": 2 * len(HALF)}
            begun = checked(await client.post(f"{OBJECTS}/resumed-{engine}:upload", json=size))
            upload = f"/api/v1/projects/shop/buckets/files/uploads/{begun.json()['upload']}"
            checked(await client.patch(upload, content=HALF, headers={"Upload-Offset": "0"}))
            body, length = across_a_move(context, engine), {"Content-Length": str(2 * len(HALF))}
            checked(await client.put(f"{OBJECTS}/streamed-{engine}", content=body, headers=length))
            offset = {"Upload-Offset": str(len(HALF))}
            checked(await client.patch(upload, content=HALF, headers=offset))
            checked(await client.post(f"{upload}:finish"))
            assert before <= files(settings["data"])
            assert (await client.get(f"{OBJECTS}/resumed-{engine}")).content == HALF + HALF
            assert (await client.get(f"{OBJECTS}/streamed-{engine}")).content == HALF + HALF
        assert (await client.get(f"{OBJECTS}/kept")).content == b"kept"
        checked(await client.delete(f"{OBJECTS}/gone"))
        count = len(files(settings["data"]))
        assert app.collector is not None
        assert await app.collector.collect("shop")
        assert len(files(settings["data"])) < count
        assert (await client.get(f"{OBJECTS}/kept")).content == b"kept"


async def across_a_move(context: Context, engine: str) -> AsyncIterator[bytes]:
    yield HALF
    await move_to(context, engine)
    yield HALF
