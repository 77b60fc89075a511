"""What is erased is in no file of the server any more: not in the database, its indexes of words,
places and numbers, nor in what is kept of requests, jobs, refusals and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.stored_bytes import files_with
from tests.waiting import PATIENCE_SECONDS, until

DATABASE = f"{ADMIN}/databases/(default)"
SECRET = "wombatgirder"  # one word, in all lower case, as an index of words has it
SCHEMA = {
    "x-collection": "users",
    "properties": {"n": {"type": "integer"}},
    "x-unique": [["code"]],
}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with started_app(make_settings(tmp_path / "data")) as app, open_world(app) as opened:
        yield opened


async def ok(answer: Any) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def files_with_text(folder: Path, text: str) -> list[str]:
    return files_with(folder, text.encode(), text.encode("utf-16-le"), text.upper().encode())


async def store(world: World) -> None:
    """Puts the word wherever something of a document may be kept."""
    for asked in ("title:words", "tags", "code", "n,code"):
        names = [{"field": one.partition(":")[0]} for one in asked.split(",")]
        if ":words" in asked:
            names[0]["kind"] = "words"
        elif asked == "tags":
            names[0]["kind"] = "array"
        wanted = {"collection": "users", "fields": names}
        await ok(await world.operator.post(f"{DATABASE}/indexes", json=wanted))
    await ok(await world.operator.put(f"{ADMIN}/schemas", json={"schemas": [SCHEMA]}))
    mine = f"users/{world.uid}"
    fields = {
        "title": f"a {SECRET} here " * 50,
        "code": SECRET,
        "tags": [SECRET, "x"],
        "at": {"$geo": [1, 2]},
        "n": 1,
        "deep": {SECRET: "x" * 5_000 + SECRET},
    }
    commit = {"writes": [{"set": mine, "fields": fields}], "request_id": "r1"}
    await ok(await world.user.post(f"{BASE}:commit", json=commit))
    await ok(await world.user.post(f"{BASE}:bulk-write", json={**commit, "request_id": "r2"}))
    union = {
        "set": mine,
        "fields": {},
        "merge": True,
        "transforms": [{"field": "tags", "array_union": [f"{SECRET}2"]}],
    }
    await ok(await world.user.post(f"{BASE}:commit", json={"writes": [union], "request_id": "r3"}))
    # Refused, each for another reason.
    wrong = {"writes": [{"set": mine, "fields": {**fields, "n": SECRET}}], "request_id": "r4"}
    for asker, body in (
        (world.user, wrong),
        (world.secret, {"writes": [{"set": "users/eve", "fields": fields}], "request_id": "r5"}),
        (world.anonymous, commit),
    ):
        assert not (await asker.post(f"{BASE}:commit", json=body)).is_success
        found = await asker.post(f"{BASE}:bulk-write", json={**body, "request_id": "b"})
        assert found.is_success
    for query in (
        {"search": {"text": SECRET, "fields": ["title"]}},
        {"where": {"field": "code", "op": "==", "value": SECRET}},
        {"order_by": [{"field": "code"}]},
    ):
        for _ in range(2):
            await ok(
                await world.secret.post(
                    f"{BASE}:query", json={"query": {"collection": "users", **query}}
                )
            )


@pytest.mark.parametrize("by_query", [False, True])
async def test_what_was_erased_is_in_no_file(world: World, tmp_path: Path, by_query: bool) -> None:
    await store(world)
    folder = tmp_path / "data"
    assert files_with_text(folder, SECRET) != []
    if by_query:
        query = {"collection": "users", "where": {"field": "n", "op": "==", "value": 1}}
        body = {"query": query, "present": True}
        job = await ok(await world.operator.post(f"{DATABASE}/documents:erase-by-query", json=body))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while job["state"] == "running":
                await asyncio.sleep(0.02)
                job = await ok(await world.operator.get(f"{ADMIN}/jobs/{job['id']}"))
        assert job["state"] == "done"
    else:
        body = {"path": f"users/{world.uid}", "present": True}
        await ok(await world.operator.post(f"{DATABASE}/documents:erase", json=body))
    # Once nobody reads what there was before, as whoever fills an index may.
    await until(lambda: not files_with_text(folder, SECRET), "it is still there")
