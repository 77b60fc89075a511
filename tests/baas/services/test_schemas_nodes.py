"""Schemas on several nodes of one MongoDB: what is unique is unique among all, and nodes hear of a
deployment; and what becomes of commits that wait while schemas change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from baas.database.transaction import Transaction
from baas.errors import AlreadyExists, BaasError, FailedPrecondition, InvalidArgument
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.writes import SetWrite
from baas.projects.schema_releases import SchemaDeployment
from baas.services import schema_deployments
from baas.services.bulk_writes import bulk_write
from baas.services.context import Context
from baas.services.documents import commit
from baas.services.schema_deployments import deploy_schemas
from tests.baas.services.worlds import NAME, OPERATOR, World


async def deploy(context: Context, *sources: dict[str, Any], allow: bool = False) -> None:
    await deploy_schemas(
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

    told = await asyncio.gather(*[create(number) for number in range(100)])
    assert sorted(told) == ["UniqueViolation"] * 99 + ["won"]
    one, two = await asyncio.gather(bulk(0), bulk(1))
    for pair in zip(one, two, strict=True):
        assert sorted(pair) == ["UniqueViolation", "won"]
    assert await count(nodes[0]) == 21


def make_deaf(context: Context) -> None:
    """The node hears nothing of what others do to projects, as it may for two seconds."""
    context.projects._store._observer = lambda project, event: None


async def test_a_deployment_holds_on_all_nodes_when_it_returns(nodes: list[Context]) -> None:
    for context in nodes:
        await commit(context, OPERATOR, NAME, [put("people/a", name=1)])
    make_deaf(nodes[1])
    await deploy(nodes[0], {"x-collection": "people", "required": ["age"]}, allow=True)
    with pytest.raises(InvalidArgument) as caught:
        await commit(nodes[1], OPERATOR, NAME, [put("people/a", name=1)])
    assert caught.value.reason == "SchemaViolation"


async def test_what_another_node_writes_while_schemas_are_deployed(
    nodes: list[Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its database has the signal, the check sees it; after that, it is refused."""
    wanted = {"x-collection": "people", "x-unique": [["email"]]}
    await commit(nodes[0], OPERATOR, NAME, [put("people/a", email="one")])
    await commit(nodes[1], OPERATOR, NAME, [put("people/b", email="two")])
    make_deaf(nodes[1])
    hold: Any = schema_deployments._Step._hold
    verify: Any = schema_deployments._Step._verify

    async def write_then_hold(step: Any) -> bool:
        if step._place.database == 0:
            await commit(nodes[1], OPERATOR, NAME, [put("people/b", email="one")])
        held: bool = await hold(step)
        return held

    async def write_then_verify(step: Any) -> bool:
        with pytest.raises(AlreadyExists):
            await commit(nodes[1], OPERATOR, NAME, [put("people/b", email="one")])
        verified: bool = await verify(step)
        return verified

    with monkeypatch.context() as patch:
        patch.setattr(schema_deployments._Step, "_hold", write_then_hold)
        with pytest.raises(FailedPrecondition) as caught:
            await deploy(nodes[0], wanted)
    assert caught.value.reason == "ExistingViolations"
    assert (caught.value.details or {})["found"][0]["document"] == "people/b"
    await commit(nodes[0], OPERATOR, NAME, [put("people/b", email="two")])
    monkeypatch.setattr(schema_deployments._Step, "_verify", write_then_verify)
    await deploy(nodes[0], wanted)
    assert await count(nodes[0]) == 2


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
    original = database._committer.queue

    async def queue_later(*args: Any, **more: Any) -> Any:
        database._committer.queue = original  # type: ignore[method-assign]
        await deploy(context, {"x-collection": "people", "properties": {"name": {"type": "null"}}})
        return await original(*args, **more)

    database._committer.queue = queue_later  # type: ignore[method-assign, assignment]
    may_go_on.set()
    with pytest.raises(InvalidArgument) as caught:
        await late
    assert caught.value.reason == "SchemaViolation"
    assert await count(context) == 0
