"""Schemas on several nodes of one MongoDB: what is unique is unique among all, and nodes hear of a
deployment; and what becomes of commits that wait while schemas change."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from baas.accounts.sealing import SECRET_VARIABLE
from baas.database.transaction import Transaction
from baas.errors import AlreadyExists, BaasError, InvalidArgument
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.writes import SetWrite
from baas.projects.schema_releases import SchemaDeployment
from baas.services import schemas
from baas.services.bulk_writes import bulk_write
from baas.services.context import Context
from baas.services.documents import commit
from baas.testing import make_settings, started_app
from tests.baas.services.worlds import NAME, OPERATOR, World


@pytest.fixture
async def nodes(
    tmp_path: Path, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Context]]:
    monkeypatch.setenv(SECRET_VARIABLE, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    name = f"t{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        contexts = []
        for number in range(2):
            settings = make_settings(
                tmp_path / f"node{number}",
                engine="mongodb",
                mongodb_uri=mongodb_uri,
                mongodb_database=name,
            )
            app = await stack.enter_async_context(started_app(settings))
            contexts.append(app.context)
        await contexts[0].projects.create_project("demo")
        yield contexts


async def deploy(context: Context, *sources: dict[str, Any], allow: bool = False) -> None:
    await schemas.deploy_schemas(
        context, OPERATOR, "demo", list(sources), SchemaDeployment(), allow_existing=allow
    )


def put(path: str, **fields: Any) -> SetWrite:
    return SetWrite(DocumentPath.parse(path), fields)


async def count(context: Context) -> int:
    database = await context.databases.open(NAME)
    return len((await database.run_query(Query(CollectionPath(("people",))))).documents)


async def test_one_of_a_hundred_wins_on_two_nodes(nodes: list[Context]) -> None:
    await deploy(nodes[0], {"x-collection": "people", "x-unique": [["email"]]})

    async def create(number: int) -> str:
        try:
            await commit(nodes[number % 2], OPERATOR, NAME, [put(f"people/{number}", email="one")])
        except AlreadyExists as error:
            return error.reason
        return "won"

    async def bulk(node: int) -> list[str]:
        writes = [put(f"people/{node}-{number}", email=number) for number in range(20)]
        found = await bulk_write(nodes[node], OPERATOR, NAME, writes)
        return [one.reason if isinstance(one, BaasError) else "won" for one in found]

    async with asyncio.timeout(2):  # what is promised of the other node
        while True:
            if await nodes[1].projects.schemas.get("demo"):
                break
            await asyncio.sleep(0.01)
    told = await asyncio.gather(*[create(number) for number in range(100)])
    assert sorted(told) == ["UniqueViolation"] * 99 + ["won"]
    one, two = await asyncio.gather(bulk(0), bulk(1))
    for pair in zip(one, two, strict=True):
        assert sorted(pair) == ["UniqueViolation", "won"]
    assert await count(nodes[0]) == 21


async def test_the_other_node_hears_of_a_deployment(nodes: list[Context]) -> None:
    for context in nodes:
        await commit(context, OPERATOR, NAME, [put("people/a", name=1)])
    await deploy(nodes[0], {"x-collection": "people", "required": ["age"]}, allow=True)
    async with asyncio.timeout(2):
        while True:
            try:
                await commit(nodes[1], OPERATOR, NAME, [put("people/a", name=1)])
            except InvalidArgument:
                break
            await asyncio.sleep(0.01)


async def test_a_commit_that_waits_is_checked_anew(world: World) -> None:
    """Its first run knew no schema; the deployment comes before its turn."""
    context = world.context
    await context.projects.schemas.get("demo")
    database = await context.databases.open(NAME)
    first_ran, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold(transaction: Transaction, make: Any) -> None:
        if not first_ran.is_set():
            first_ran.set()
            await may_go_on.wait()

    late = asyncio.create_task(
        commit(context, OPERATOR, NAME, [put("people/late", name=5)], first=hold)
    )
    await first_ran.wait()
    original = database._committer.commit

    async def commit_later(*args: Any, **more: Any) -> Any:
        await deploy(context, {"x-collection": "people", "properties": {"name": {"type": "null"}}})
        return await original(*args, **more)

    database._committer.commit = commit_later  # type: ignore[method-assign]
    may_go_on.set()
    with pytest.raises(InvalidArgument) as caught:
        await late
    assert caught.value.reason == "SchemaViolation"
    assert await count(context) == 0
