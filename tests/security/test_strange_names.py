"""Family 3: names of fields that mean something to somebody are names wherever one is asked for: of
groups, totals, searches, places, indexes, policies and schemas; on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.mongo import engine_settings
from tests.security.test_reserved import NAMES, _escaped

pytestmark = pytest.mark.asyncio(loop_scope="module")
DATABASE = f"{ADMIN}/databases/(default)"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    more = engine_settings(request, request.param)
    settings = make_settings(tmp_path_factory.mktemp("names") / "data", **more)
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


@pytest.mark.parametrize("number", range(len(NAMES)))
async def test_a_strange_name_is_a_field_to_all_that_asks_for_one(
    world: World, number: int
) -> None:
    name, room = NAMES[number], f"odd{number}"
    if name == "__proto__":
        name = "proto"
    quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"

    async def ask(client: Any, method: str, url: str, body: dict[str, Any]) -> Any:
        answer = await client.request(method, url, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    values = [1, 2, "red ant", {"$geo": [1, 2]}]
    writes = [
        {"set": f"{room}/d{place}", "fields": {_escaped(name): value}}
        for place, value in enumerate(values)
    ]
    await ask(world.secret, "POST", f"{BASE}:commit", {"writes": writes})
    query = {"collection": room}
    for kind in ("plain", "words", "cell"):
        body = {"collection": room, "fields": [{"field": quoted, "kind": kind}]}
        await ask(world.operator, "POST", f"{DATABASE}/indexes", body)
    url = f"{BASE}:aggregate"
    grouped = await ask(
        world.secret,
        "POST",
        url,
        {"query": query, "group_by": [quoted], "aggregates": [{"op": "count", "alias": "c"}]},
    )
    assert [group["results"] for group in grouped["groups"]] == [{"c": 1}] * 4
    sums = [{"op": "sum", "field": quoted, "alias": "s"}]
    total = await ask(world.secret, "POST", url, {"query": query, "aggregates": sums})
    assert total["results"] == {"s": 3}
    for asked, found in (
        ({"search": {"text": "ant", "fields": [quoted]}}, ["d2"]),
        ({"near": {"field": quoted, "center": {"$geo": [1, 2]}, "radius_meters": 5}}, ["d3"]),
        ({"order_by": [{"field": quoted, "direction": "desc"}], "limit": 1}, ["d3"]),
        ({"where": {"field": quoted, "op": "!=", "value": 1}, "select": [quoted]}, None),
    ):
        page = await ask(world.secret, "POST", f"{BASE}:query", {"query": {**query, **asked}})
        ids = [one["path"].rpartition("/")[2] for one in page["documents"]]
        assert ids == found or (found is None and len(ids) == 3)
    await ask(world.operator, "PUT", f"{DATABASE}/ttl/{room}", {"field": quoted})
    schema = {"x-collection": room, "x-unique": [[quoted]]}
    await ask(world.operator, "PUT", f"{ADMIN}/schemas", {"schemas": [schema]})
    twice = {"writes": [{"set": f"{room}/again", "fields": {_escaped(name): 2}}]}
    refused = await world.secret.post(f"{BASE}:commit", json=twice)
    assert refused.json()["error"]["reason"] == "UniqueViolation"
    await ask(world.operator, "PUT", f"{ADMIN}/schemas", {"schemas": []})
    assert (await world.operator.delete(f"{DATABASE}/ttl/{room}")).is_success
