"""Aggregations over HTTP, on both engines: in transactions, in groups and pages, explained."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import BASE, World, open_world
from tests.mongo import engine_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")
COUNT = {"op": "count", "alias": "n"}
GROUPS_MAX = 50


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    more = engine_settings(request, request.param)
    settings = make_settings(tmp_path_factory.mktemp("world") / "data", **more)
    limits = settings.limits
    object.__setattr__(limits, "aggregation_groups_max", GROUPS_MAX)
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


@pytest.fixture
def room() -> str:
    return f"r{secrets.token_hex(5)}"


async def put(world: World, path: str, **fields: Any) -> None:
    answer = await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
    assert answer.is_success, answer.text


async def fill(world: World, room: str, number: int, groups: int) -> None:
    writes = [
        {"set": f"{room}/d{at:04}", "fields": {"g": at % groups, "n": at}} for at in range(number)
    ]
    for start in range(0, number, 500):
        answer = await world.secret.post(
            f"{BASE}:commit", json={"writes": writes[start : start + 500]}
        )
        assert answer.is_success, answer.text


async def ask(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    answer = await client.post(f"{BASE}:aggregate", json=members)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def reason(answer: httpx.Response) -> str:
    assert not answer.is_success, answer.text
    return str(answer.json()["error"]["reason"])


class Transaction:
    """A transaction of aggregations, as a client drives it."""

    def __init__(self, world: World) -> None:
        self.client = world.secret
        self.seen: list[dict[str, Any]] = []

    async def begin(self, **members: Any) -> Transaction:
        answer = await self.client.post(f"{BASE}:begin-transaction", json=members)
        self.token = answer.json()["transaction"]
        return self

    async def ask(self, **members: Any) -> dict[str, Any]:
        found = await ask(self.client, **members, transaction=self.token)
        self.token = found["transaction"]
        self.seen.append({**members, "seen": found["seen"]})
        return found

    async def commit(self, path: str) -> httpx.Response:
        body = {
            "writes": [{"set": path, "fields": {}}],
            "transaction": self.token,
            "aggregations": self.seen,
        }
        return await self.client.post(f"{BASE}:commit", json=body)


WAYS: dict[str, dict[str, Any]] = {
    "a count": {"aggregates": [COUNT]},
    "a sum": {"aggregates": [{"op": "sum", "field": "n"}]},
    "a maximum": {"aggregates": [{"op": "maximum", "field": "n"}]},
    "groups": {"aggregates": [COUNT], "group_by": ["g"]},
    "distinct values": {"group_by": ["n"]},
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_phantom_aborts_and_what_does_not_concern_it_does_not(
    shared: World, room: str, way: str
) -> None:
    await fill(shared, room, 4, 2)
    query = {"collection": room, "where": {"field": "n", "op": ">=", "value": 1}}
    one = await Transaction(shared).begin()
    first = await one.ask(query=query, **WAYS[way])
    await put(shared, f"{room}/outside", n=0, g=7)
    assert (await one.commit(f"{room}x/a")).is_success
    two = await Transaction(shared).begin()
    again = await two.ask(query=query, **WAYS[way])
    assert again["seen"] == first["seen"]
    await put(shared, f"{room}/phantom", n=99, g=5)
    assert reason(await two.commit(f"{room}x/b")) == "TransactionConflict"
    assert (await shared.secret.get(f"{BASE}/{room}x/b")).status_code == 404
    three = await Transaction(shared).begin()
    assert (await three.ask(query=query, **WAYS[way]))["seen"] != first["seen"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", [None, 3])
async def test_what_is_aggregated_is_of_the_transactions_moment(
    shared: World, room: str, way: str, limit: int | None
) -> None:
    await fill(shared, room, 4, 2)
    query: dict[str, Any] = {"collection": room}
    if limit is not None:
        query |= {"limit": limit, "order_by": [{"field": "n"}]}
    before = await ask(shared.secret, query=query, **WAYS[way])
    one = await Transaction(shared).begin(read_only=True)
    await put(shared, f"{room}/d0001", n=-5, g=9)
    await put(shared, f"{room}/new", n=77, g=8)
    for gone in ("d0002", "d0003"):
        await shared.secret.delete(f"{BASE}/{room}/{gone}")
    found = await one.ask(query=query, **WAYS[way])
    for member in ("results", "groups"):
        assert found.get(member) == before.get(member)
    past = await ask(shared.secret, query=query, **WAYS[way], read_time=before["read_time"])
    assert {**past, "read_time": ""} == {**before, "read_time": ""}
    now = await ask(shared.secret, query=query, **WAYS[way])
    is_same = (now.get("results"), now.get("groups")) == (found.get("results"), found.get("groups"))
    assert is_same == (way == "a count" and limit is not None)


async def test_numbers_of_a_transaction_take_the_right_to_list(shared: World, room: str) -> None:
    begun = await shared.user.post(f"{BASE}:begin-transaction", json={})
    token = begun.json()["transaction"]
    asked = {"query": {"collection": room}, "aggregates": [COUNT]}
    body = {**asked, "transaction": token}
    assert reason(await shared.user.post(f"{BASE}:aggregate", json=body)) == "PermissionDenied"
    for grouped in ({"group_by": ["n"]}, {"aggregates": [{"op": "minimum", "field": "n"}]}):
        body = {"query": {"collection": room}, **grouped}
        assert reason(await shared.user.post(f"{BASE}:aggregate", json=body)) == "PermissionDenied"
        mine = {"field": "owner", "op": "==", "value": shared.uid}
        await ask(shared.user, query={"collection": "owned", "where": mine}, **grouped)
    # Nor does a commit tell a number to who may not ask: whatever it claims, it is denied.
    for seen in ("0" * 32, "1" * 32):
        commit = {
            "writes": [{"set": f"users/{shared.uid}", "fields": {}}],
            "transaction": token,
            "aggregations": [{**asked, "seen": seen}],
        }
        assert reason(await shared.user.post(f"{BASE}:commit", json=commit)) == "PermissionDenied"


async def test_groups_come_in_pages(shared: World, room: str) -> None:
    await fill(shared, room, 3 * 120, 120)
    body = {"query": {"collection": room}, "group_by": ["g"], "aggregates": [COUNT]}
    total = {"aggregates": [{"op": "sum", "field": "n"}, {"op": "maximum", "field": "n"}]}
    mores: list[dict[str, Any]] = [{}, total, {"aggregates": []}]
    for more in mores:
        seen, token = [], None
        while True:
            page = await ask(
                shared.secret, **body | more, **({} if token is None else {"page_token": token})
            )
            assert len(page["groups"]) <= GROUPS_MAX
            seen += page["groups"]
            if "next_page_token" not in page:
                break
            token = page["next_page_token"]
        assert [group["group"]["g"] for group in seen] == list(range(120))
        if more is total:
            assert seen[7]["results"] == {"field_1": 3 * 7 + 360, "field_2": 247}
        elif not more:
            assert all(group["results"] == {"n": 3} for group in seen)
    refused = await shared.secret.post(
        f"{BASE}:aggregate", json={**body, "group_by": ["n"], "page_token": token}
    )
    assert reason(refused) == "InvalidPageToken"
    one = await Transaction(shared).begin()
    large = await shared.secret.post(f"{BASE}:aggregate", json={**body, "transaction": one.token})
    assert reason(large) == "AnswerTooLarge"


async def test_what_an_aggregation_costs_is_explained(shared: World, room: str) -> None:
    """The end of an index is one entry, and distinct values are stepped through."""
    await fill(shared, room, 600, 6)
    query = {"collection": room}
    ends = [{"op": "minimum", "field": "n"}, {"op": "maximum", "field": "n"}]
    for fields in (["n"], ["g"]):
        index = {"collection": room, "fields": [{"field": field} for field in fields]}
        path = "/api/v1/admin/projects/demo/databases/(default)/indexes"
        built = await shared.operator.post(path, json=index)
        assert built.status_code == 201, built.text
        async with asyncio.timeout(60):
            while True:
                listed = await shared.operator.get(path, params={"collection": room})
                if all(one["state"] == "ready" for one in listed.json()["indexes"]):
                    break
                await asyncio.sleep(0.01)
    told = await ask(shared.secret, query=query, aggregates=ends, explain=True)
    assert told["results"] == {"field_1": 0, "field_2": 599}
    assert [scan["kind"] for scan in told["explain"]["scans"]] == ["index", "index"]
    assert told["explain"]["entries_scanned"] <= 2
    told = await ask(shared.secret, query=query, group_by=["g"], aggregates=[], explain=True)
    assert told["explain"]["returned"] == 6
    assert told["explain"]["entries_scanned"] <= 6 * 4 + 8
    told = await ask(shared.secret, query=query, group_by=["g"], aggregates=[COUNT], explain=True)
    assert [group["results"]["n"] for group in told["groups"]] == [100] * 6
    assert told["explain"]["entries_scanned"] <= 6 * 4 + 8
    assert told["explain"]["keys_counted"] <= 600
    some = {**query, "where": {"field": "n", "op": "<", "value": 40}}
    told = await ask(shared.secret, query=some, aggregates=[COUNT], explain=True)
    assert told["explain"]["keys_counted"] == 40
    for _ in "ab":  # the first one counts, what comes then is known
        told = await ask(shared.secret, query=query, aggregates=[COUNT], explain=True)
    assert [scan["kind"] for scan in told["explain"]["scans"]] == ["total"]
    page = await shared.secret.post(
        f"{BASE}:query", json={"query": {**query, "offset": 30, "limit": 1}, "explain": True}
    )
    assert "offset" in page.json()["explain"]["hints"][0]
    denied = {"query": {"collection": "public"}, "aggregates": [COUNT], "explain": True}
    assert reason(await shared.user.post(f"{BASE}:aggregate", json=denied)) == "ExplainNotAllowed"


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"group_by": "g"}, "group_by"),
        ({"group_by": [1]}, "group_by[0]"),
        ({"group_by": ["a..b"]}, "group_by[0]"),
        ({"aggregates": [COUNT], "page_size": 3}, "page_size"),
        ({"group_by": ["g"], "page_size": GROUPS_MAX + 1}, "page_size"),
        ({"group_by": ["g"], "page_size": 2, "transaction": "x"}, "transaction"),
        ({"aggregates": [{"op": "minimum"}]}, "aggregates[0]"),
        ({"aggregates": [{"op": "median", "field": "n"}]}, "aggregates[0].op"),
        ({"aggregates": [COUNT], "explain": 1}, "explain"),
    ],
)
async def test_what_is_wrong_is_named(shared: World, members: dict[str, Any], place: str) -> None:
    answer = await shared.secret.post(
        f"{BASE}:aggregate", content=orjson.dumps({"query": {"collection": "x"}, **members})
    )
    assert answer.status_code == 400
    assert place in answer.json()["error"]["message"]
