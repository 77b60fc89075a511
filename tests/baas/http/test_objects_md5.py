"""MD5 of objects: computed where somebody asks for it, null elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.baas.http.objects_world import (
    ADMIN,
    DENIED,
    OBJECTS,
    UPLOADS,
    ObjectWorld,
    object_world,
    ok,
    reason,
)

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents { match /none/{document} { allow get: if false; } }
}
service firebase.storage {
  match /b/{bucket}/o { match /{file=**} { allow get, create, update: if true; } }
}
"""
HELLO = hashlib.md5(b"hello").hexdigest()
ENCODED = base64.b64encode(bytes.fromhex(HELLO)).decode()
LOOKING = RULES.replace("if true", f"if resource == null || resource.md5Hash == '{ENCODED}'")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    async with object_world(tmp_path / "data", rules=RULES, users=False) as made:
        yield made


async def deploy(world: ObjectWorld, rules: str) -> None:
    ok(await world.operator.put(f"{ADMIN}/rules", json={"source": rules, "allow_open": True}))


async def put(world: ObjectWorld, name: str, **headers: str) -> Any:
    answer = await world.anonymous.put(f"{OBJECTS}/{name}", content=b"hello", headers=headers)
    return ok(answer)["md5"]


async def test_nobody_asked(world: ObjectWorld) -> None:
    assert await put(world, "a") is None
    assert ok(await world.operator.get(f"{OBJECTS}/a:metadata"))["md5"] is None
    assert ok(await world.operator.get(OBJECTS))["objects"][0]["md5"] is None
    assert (await world.anonymous.get(f"{OBJECTS}/a")).content == b"hello"


async def test_the_upload_asked_and_copies_have_it_too(world: ObjectWorld) -> None:
    assert await put(world, "a", **{"content-md5": ENCODED}) == HELLO
    assert ok(await world.operator.post(f"{OBJECTS}/a:copy", json={"to": "b"}))["md5"] == HELLO
    # Other bytes of the same name have none again.
    assert await put(world, "a") is None


async def test_rules_ask_for_it_and_deny_where_it_is_not_known(world: ObjectWorld) -> None:
    await put(world, "before")
    await deploy(world, LOOKING)
    assert reason(await world.anonymous.get(f"{OBJECTS}/before")) == DENIED
    assert reason(await world.anonymous.put(f"{OBJECTS}/before", content=b"x")) == DENIED
    # Whoever uploads, since all rules look at it later.
    made = ok(await world.operator.put(f"{OBJECTS}/before", content=b"hello"))
    assert made["md5"] == HELLO
    assert (await world.anonymous.get(f"{OBJECTS}/before")).content == b"hello"
    assert await put(world, "new") == HELLO
    assert (await world.anonymous.get(f"{OBJECTS}/new")).content == b"hello"


async def test_resumable_uploads_have_it_where_rules_ask(world: ObjectWorld) -> None:
    client = world.anonymous

    async def begin(name: str) -> str:
        started = ok(await client.post(f"{OBJECTS}/{name}:upload", json={"size": 5}))
        return f"{UPLOADS}/{started['upload']}"

    async def append(upload: str, offset: int, content: bytes) -> None:
        ok(await client.patch(upload, content=content, headers={"upload-offset": str(offset)}))

    plain, overtaken = await begin("plain"), await begin("overtaken")
    for upload in (plain, overtaken):
        await append(upload, 0, b"hel")
    await append(plain, 3, b"lo")
    assert ok(await client.post(f"{plain}:finish"))["md5"] is None
    await deploy(world, LOOKING)
    # Of what came before nobody has the MD5: the stored bytes are read once more.
    await append(overtaken, 3, b"lo")
    assert ok(await client.post(f"{overtaken}:finish"))["md5"] == HELLO
    asked = await begin("asked")
    await append(asked, 0, b"hello")
    assert ok(await client.post(f"{asked}:finish"))["md5"] == HELLO
