"""Indexes as an administrator sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from baas.database.names import DatabaseName
from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world

INDEXES = f"{ADMIN}/databases/(default)/indexes"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    settings = make_settings(tmp_path_factory.mktemp("indexes"))
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def fill(world: World, collection: str) -> None:
    writes = [{"set": f"{collection}/c{n:03}", "fields": {"n": n}} for n in range(200)]
    assert (await world.secret.post(f"{BASE}:commit", json={"writes": writes})).is_success


async def ask(client: httpx.AsyncClient, collection: str) -> httpx.Response:
    where = {"field": "n", "op": ">=", "value": 198}
    return await client.post(
        f"{BASE}:query", json={"query": {"collection": collection, "where": where}}
    )


async def listed(world: World, collection: str) -> list[dict[str, Any]]:
    answer = await world.operator.get(INDEXES, params={"collection": collection})
    found: list[dict[str, Any]] = answer.json()["indexes"]
    return found


async def settle(world: World) -> None:
    database = await world.app.context.databases.open(DatabaseName("demo"))
    await database.index_keeper.wait()


async def test_a_query_that_comes_again_has_an_index_that_is_listed(shared: World) -> None:
    await fill(shared, "recurring")
    for _ in range(3):
        found = await ask(shared.secret, "recurring")
        assert [one["fields"]["n"] for one in found.json()["documents"]] == [198, 199]
    (index,) = await listed(shared, "recurring")
    assert index["state"] == "ready"
    assert index["fields"] == [{"field": "n", "direction": "asc", "array": False, "kind": "plain"}]
    assert (index["scope"], index["pinned"], index["uses"] > 0) == ("collection", False, True)
    assert index["used"] is not None


async def test_a_query_that_is_denied_makes_none(shared: World) -> None:
    await fill(shared, "denied")
    for _ in range(3):
        assert (await ask(shared.user, "denied")).status_code == 403
    await settle(shared)
    assert await listed(shared, "denied") == []


async def test_an_index_is_built_pinned_and_dropped(shared: World) -> None:
    await fill(shared, "built")
    body = {"collection": "built", "fields": [{"field": "n", "direction": "desc"}]}
    made = await shared.operator.post(INDEXES, json=body)
    assert (made.status_code, made.json()["pinned"]) == (201, True)
    assert (await shared.operator.post(INDEXES, json=body)).json()["error"]["reason"] == (
        "IndexExists"
    )
    await settle(shared)
    url = f"{INDEXES}/{made.json()['id']}"
    assert (await shared.operator.patch(url, json={"pinned": False})).json()["pinned"] is False
    assert (await listed(shared, "built"))[0]["pinned"] is False
    assert (await shared.operator.delete(url)).json() == {}
    assert await listed(shared, "built") == []
    for method in ("DELETE", "PATCH"):
        answer = await shared.operator.request(method, url, json={"pinned": True})
        assert answer.status_code in (400, 404)
    assert len((await ask(shared.secret, "built")).json()["documents"]) == 2


async def test_the_list_has_pages(shared: World) -> None:
    for name in "abc":
        body = {"collection": "paged", "fields": [{"field": name}]}
        await shared.operator.post(INDEXES, json=body)
    found: list[str] = []
    params = {"collection": "paged", "page_size": "2"}
    while True:
        page = (await shared.operator.get(INDEXES, params=params)).json()
        found += [one["fields"][0]["field"] for one in page["indexes"]]
        if "next_page_token" not in page:
            break
        params["page_token"] = page["next_page_token"]
    assert found == ["a", "b", "c"]
    refused = await shared.operator.get(INDEXES, params={"page_token": "x"})
    assert refused.json()["error"]["reason"] == "InvalidPageToken"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"collection": "x"}, "MissingField"),
        ({"collection": "x", "fields": []}, "InvalidIndex"),
        ({"collection": "x", "fields": [{"field": "a"}] * 2}, "InvalidIndex"),
        ({"collection": "x", "fields": [{"field": f"f{n}"} for n in range(21)]}, "InvalidIndex"),
        ({"collection": "x", "fields": [{"field": "__name__"}]}, "InvalidIndex"),
        ({"collection": "x", "fields": [{"field": "a..b"}]}, "InvalidPath"),
        ({"collection": "x/y/z", "fields": [{"field": "a"}]}, "InvalidPath"),
        ({"collection": "__indexes__", "fields": [{"field": "a"}]}, "ReservedId"),
        ({"collection": "x", "fields": [{"field": "a"}], "scope": "all"}, "InvalidBody"),
        ({"collection": "x", "fields": [{"field": "a", "direction": "up"}]}, "InvalidBody"),
        (
            {"collection": "x", "fields": [{"field": name, "array": True} for name in "ab"]},
            "InvalidIndex",
        ),
    ],
)
async def test_what_is_no_index(shared: World, body: dict[str, Any], reason: str) -> None:
    refused = await shared.operator.post(INDEXES, json=body)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, reason)


async def test_a_collection_has_as_many_as_it_may(shared: World) -> None:
    limit = shared.app.settings.limits.collection_indexes_max
    answers = [
        await shared.operator.post(
            INDEXES, json={"collection": "full", "fields": [{"field": f"f{number}"}]}
        )
        for number in range(limit + 1)
    ]
    assert [answer.status_code for answer in answers] == [201] * limit + [429]
    assert answers[-1].json()["error"]["reason"] == "TooManyIndexes"


async def test_callers_share_the_places_and_leave_some(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may list a collection could have all indexes made that it may have."""
    await fill(shared, "public")
    builder = (await shared.app.context.databases.open(DatabaseName("demo")))._builder
    monkeypatch.setattr(builder, "collection_indexes_max", 6)  # 5 for those under rules, 2 for each

    async def take(client: httpx.AsyncClient, start: str, verb: str = ":query") -> int:
        """How many indexes more there are when everything was asked for."""
        before = len(await listed(shared, "public"))
        for place in range(6):
            where = {"field": f"{start}{place}", "op": ">=", "value": 1}
            body: dict[str, Any] = {"query": {"collection": "public", "where": where}}
            for _ in range(3):
                answer = await client.post(f"{BASE}{verb}", json=body)
                assert answer.is_success, answer.text
            await settle(shared)
        return len(await listed(shared, "public")) - before

    assert await take(shared.anonymous, "a") == 2
    assert await take(shared.anonymous, "b", ":count") == 0
    assert await take(shared.user, "c") == 2
    assert await take(shared.user, "a") == 1  # what two ask for is not the wish of one
    assert await take(shared.secret, "d") == 1
    pinned = {"collection": "public", "fields": [{"field": "pinned"}]}
    assert (await shared.operator.post(INDEXES, json=pinned)).status_code == 201


async def test_large_counts_take_turns(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not small waits for a place before it holds a snapshot."""
    await fill(shared, "counted")
    monkeypatch.setattr("baas.services.aggregations.COUNTED_AT_ONCE_MAX", 10)
    database = await shared.app.context.databases.open(DatabaseName("demo"))
    body = {
        "query": {"collection": "counted", "where": {"field": "n", "op": ">", "value": 1}},
        "aggregates": [{"op": "count"}, {"op": "sum", "field": "n"}],
    }
    gate = asyncio.Semaphore(0)
    monkeypatch.setattr(database, "count_gate", gate)
    asked = [asyncio.create_task(shared.secret.post(f"{BASE}:aggregate", json=body)) for _ in "ab"]
    small = await shared.secret.post(f"{BASE}:count", json={"query": {"collection": "nothing"}})
    assert small.json()["count"] == 0
    assert not any(task.done() for task in asked)
    gate.release()
    for answer in await asyncio.gather(*asked):
        assert answer.json()["results"] == {"field_1": 198, "field_2": sum(range(2, 200))}
