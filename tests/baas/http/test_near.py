"""Near queries over HTTP, on both engines: distances, pages, lines, live queries, transactions,
numbers, and rules."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.baas.ws.client import Client
from tests.mongo import engine_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

CENTER = {"$geo": [48.2, 16.4]}
STEP = 111.19510117748393  # metres of a thousandth of a degree to the north


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One world for all tests of the module, each in a collection of its own."""
    more = engine_settings(request, request.param)
    settings = make_settings(tmp_path_factory.mktemp("near") / "data", **more)
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def room(shared: World) -> str:
    """A collection of ten places, each a step further north, the last ones in the middle."""
    name = f"r{secrets.token_hex(5)}"
    writes = [
        {"set": f"{name}/p{number}", "fields": place(number, kind="even" if number % 2 else "odd")}
        for number in range(10)
    ]
    writes.append({"set": f"{name}/nowhere", "fields": {"at": "48.2, 16.4"}})
    await commit(shared, *writes)
    return name


def place(steps: float, **fields: Any) -> dict[str, Any]:
    return {"at": {"$geo": [48.2 + steps / 1_000, 16.4]}, **fields}


def near(room: str, radius: float | None = None, **members: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"field": "at", "center": CENTER}
    if radius is not None:
        wanted["radius_meters"] = radius
    return {"collection": room, "near": wanted, **members}


async def commit(world: World, *writes: dict[str, Any]) -> None:
    answer = await world.secret.post(f"{BASE}:commit", json={"writes": list(writes)})
    assert answer.is_success, answer.text


async def ask(
    client: httpx.AsyncClient, query: dict[str, Any], verb: str = "query", **members: Any
) -> Any:
    answer = await client.post(f"{BASE}:{verb}", json={"query": query, **members})
    assert answer.is_success, answer.text
    return answer.json()


def ids(documents: list[dict[str, Any]]) -> list[str]:
    return [one["path"].rpartition("/")[2] for one in documents]


async def test_the_nearest_come_first_and_tell_how_far_they_are(shared: World, room: str) -> None:
    found = (await ask(shared.secret, near(room, 2.5 * STEP)))["documents"]
    assert ids(found) == ["p0", "p1", "p2"]
    assert [one["distance_meters"] for one in found] == [
        pytest.approx(steps * STEP, abs=1e-6) for steps in range(3)
    ]
    assert found[0]["fields"] == place(0, kind="odd")
    everywhere = (await ask(shared.secret, near(room)))["documents"]
    assert len(everywhere) == 10  # whatever is no place is not in it
    plain = (await ask(shared.secret, {"collection": room}))["documents"]
    assert "distance_meters" not in plain[0]


async def test_filters_limits_offsets_and_selected_fields(shared: World, room: str) -> None:
    odd = {"field": "kind", "op": "==", "value": "odd"}
    query = near(room, where=odd, limit=2, offset=1, select=["kind"])
    found = (await ask(shared.secret, query))["documents"]
    assert ids(found) == ["p2", "p4"]
    assert found[0]["fields"] == {"kind": "odd"}
    assert found[0]["distance_meters"] == pytest.approx(2 * STEP)


async def test_pages_go_on_by_token(shared: World, room: str) -> None:
    # Three at one distance: names decide, and a page may end between them.
    await commit(shared, *[{"set": f"{room}/same{n}", "fields": place(4)} for n in "ab"])
    query = near(room, 6.5 * STEP, limit=8)
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = await ask(shared.secret, query, page_size=3, **more)
        seen += ids(page["documents"])
        if "next_page_token" not in page:
            break
        # Whoever moves away meanwhile does not move the place where the next page begins.
        last = page["documents"][-1]["path"]
        await commit(shared, {"update": last, "fields": {"at": {"$geo": [0, 0]}}})
        more = {"page_token": page["next_page_token"]}
    assert seen == ["p0", "p1", "p2", "p3", "p4", "samea", "sameb", "p5"]
    other = near(room, 6.25 * STEP, limit=8)
    answer = await shared.secret.post(f"{BASE}:query", json={"query": other, **more})
    assert answer.json()["error"]["reason"] == "InvalidPageToken"


async def test_lines_numbers_and_the_past(shared: World, room: str) -> None:
    query = near(room, 2.5 * STEP)
    headers = {"accept": "application/x-ndjson"}
    answer = await shared.secret.post(f"{BASE}:query", json={"query": query}, headers=headers)
    *lines, end = [orjson.loads(line) for line in answer.content.splitlines()]
    assert ids([line["document"] for line in lines]) == ["p0", "p1", "p2"]
    assert lines[2]["document"]["distance_meters"] == pytest.approx(2 * STEP)
    assert end["count"] == 3

    assert (await ask(shared.secret, query, "count"))["count"] == 3
    assert (await ask(shared.secret, {**query, "limit": 2}, "count"))["count"] == 2
    aggregates = [{"op": "count", "alias": "n"}, {"op": "maximum", "field": "kind", "alias": "k"}]
    found = await ask(shared.secret, query, "aggregate", aggregates=aggregates)
    assert found["results"] == {"n": 3, "k": "odd"}
    for limit, numbers in ((None, [1, 2]), (2, [1, 1])):
        limited = query if limit is None else {**query, "limit": limit}
        found = await ask(
            shared.secret, limited, "aggregate", aggregates=aggregates[:1], group_by=["kind"]
        )
        assert [group["results"]["n"] for group in found["groups"]] == numbers
        assert [group["group"]["kind"] for group in found["groups"]] == ["even", "odd"]

    before = (await ask(shared.secret, query))["read_time"]
    await commit(shared, {"update": f"{room}/p1", "fields": {"at": {"$geo": [0, 0]}}})
    await commit(shared, {"update": f"{room}/p7", "fields": place(0.5)})
    assert ids((await ask(shared.secret, query))["documents"]) == ["p0", "p7", "p2"]
    then = (await ask(shared.secret, query, read_time=before))["documents"]
    assert ids(then) == ["p0", "p1", "p2"]
    assert then[1]["distance_meters"] == pytest.approx(STEP)


async def test_a_live_query_follows_whoever_moves(shared: World, room: str) -> None:
    client = Client(shared.app)
    await client.hello(shared.secret_key)
    first = await client.listen(1, query=near(room, 3.5 * STEP, limit=3, select=["kind"]))
    assert client.names(1) == ["p0", "p1", "p2"]
    assert [change["document"]["distance_meters"] for change in first["changes"]] == [
        pytest.approx(steps * STEP, abs=1e-6) for steps in range(3)
    ]
    await commit(shared, {"update": f"{room}/p9", "fields": place(0.5)})
    second = await client.snapshot(1)
    assert client.names(1) == ["p0", "p9", "p1"]
    (added,) = [change for change in second["changes"] if change["kind"] == "added"]
    assert added["document"]["distance_meters"] == pytest.approx(STEP / 2)
    assert added["document"]["fields"] == {"kind": "even"}
    await commit(shared, {"update": f"{room}/p0", "fields": place(3)})
    await client.snapshot(1)
    assert client.names(1) == ["p9", "p1", "p2"]
    await commit(shared, *[{"delete": f"{room}/p{n}"} for n in range(1, 10)])
    await client.snapshot(1)
    assert client.names(1) == ["p0"]
    await client.close()


@pytest.mark.parametrize(
    ("steps", "is_conflict"), [(1.5, True), (2.49, True), (2.51, False), (30.0, False)]
)
async def test_a_transaction_notices_who_comes_within_the_radius(
    shared: World, room: str, steps: float, is_conflict: bool
) -> None:
    query = near(room, 2.5 * STEP)
    begun = (await shared.secret.post(f"{BASE}:begin-transaction", json={})).json()
    read = await ask(shared.secret, query, transaction=begun["transaction"])
    assert ids(read["documents"]) == ["p0", "p1", "p2"]
    await commit(shared, {"set": f"{room}/new", "fields": place(steps)})
    body = {
        "writes": [{"set": f"{room}/written", "fields": {}}],
        "transaction": read["transaction"],
        "queries": [{"query": query, "seen": read["seen"]}],
    }
    answer = await shared.secret.post(f"{BASE}:commit", json=body)
    assert answer.is_success is not is_conflict, answer.text


async def test_its_index_is_made_listed_and_told(shared: World) -> None:
    room = f"r{secrets.token_hex(5)}"
    writes = [{"set": f"{room}/p{n:03}", "fields": place(n / 10)} for n in range(300)]
    await commit(shared, *writes)
    query = near(room, limit=4)
    for kind in ("collection", "near"):
        told = await ask(shared.secret, query, explain=True)
        assert ids(told["documents"]) == ["p000", "p001", "p002", "p003"]
        assert [scan["kind"] for scan in told["explain"]["scans"]] == [kind]
    assert told["explain"]["returned"] == 4
    assert told["explain"]["entries_scanned"] < 60
    url = f"{ADMIN}/databases/(default)/indexes"
    (index,) = (await shared.operator.get(url, params={"collection": room})).json()["indexes"]
    field = {"field": "at", "direction": "asc", "kind": "cell", "array": False}
    assert (index["fields"], index["uses"]) == ([field], 1)
    assert (await shared.operator.delete(f"{url}/{index['id']}")).is_success
    built = {"collection": room, "fields": [{"field": "kind"}, {"field": "at", "kind": "cell"}]}
    assert (await shared.operator.post(url, json=built)).status_code == 201


@pytest.mark.parametrize(
    "fields",
    [
        [{"field": "at", "kind": "cell"}, {"field": "kind"}],
        [{"field": "at", "kind": "cell", "direction": "desc"}],
        [{"field": "at", "kind": "call"}],
        [{"field": "at", "kind": "cell", "array": True}],
    ],
)
async def test_an_index_of_cells_that_serves_nothing_is_refused(
    shared: World, fields: list[dict[str, Any]]
) -> None:
    url = f"{ADMIN}/databases/(default)/indexes"
    answer = await shared.operator.post(url, json={"collection": "x", "fields": fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_ARGUMENT"


async def test_rules_are_those_of_any_list(shared: World) -> None:
    """What is proved is proved by the filters; being near says nothing."""
    mine, theirs = f"m{secrets.token_hex(4)}", f"t{secrets.token_hex(4)}"
    await commit(
        shared,
        {"set": f"owned/{mine}", "fields": place(1, owner=shared.uid)},
        {"set": f"owned/{theirs}", "fields": place(0, owner="somebody else")},
    )
    own = {"field": "owner", "op": "==", "value": shared.uid}
    allowed = near("owned", 50_000.0, where=own)
    assert ids((await ask(shared.user, allowed))["documents"]) == [mine]
    assert (await ask(shared.user, allowed, "count"))["count"] == 1
    begun = (await shared.user.post(f"{BASE}:begin-transaction", json={})).json()
    for query in (near("owned"), near("owned", 0.0), near("owned", 5.0, limit=1)):
        for verb, more in (
            ("query", {}),
            ("query", {"page_size": 1}),
            ("query", {"transaction": begun["transaction"]}),
            ("count", {}),
            ("aggregate", {"aggregates": [{"op": "count"}]}),
        ):
            answer = await shared.user.post(f"{BASE}:{verb}", json={"query": query, **more})
            assert answer.json()["error"]["code"] == "PERMISSION_DENIED", verb
    answer = await shared.user.post(f"{BASE}:query", json={"query": allowed, "explain": True})
    assert answer.json()["error"]["reason"] == "ExplainNotAllowed"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"order_by": [{"field": "a"}]}, "NearWithOrder"),
        ({"start": {"values": [1]}}, "NearWithCursor"),
        ({"end": {"values": [1]}}, "NearWithCursor"),
        ({"search": {"text": "a", "fields": ["a"]}}, "SearchWithOrder"),
        ({"near": {"field": "at", "center": CENTER, "radius_meters": -1}}, "InvalidRadius"),
        ({"near": {"field": "__name__", "center": CENTER}}, "InvalidQuery"),
        ({"near": {"field": "at", "center": {"$geo": [0, 181]}}}, "InvalidValue"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    shared: World, members: dict[str, Any], reason: str
) -> None:
    answer = await shared.secret.post(f"{BASE}:query", json={"query": near("x") | members})
    assert answer.status_code == 400
    assert answer.json()["error"]["reason"] == reason


@pytest.mark.parametrize("radius", [b"1e999", b"-1e999", b"NaN", b"1" * 400])
async def test_a_radius_of_no_size_is_refused(shared: World, radius: bytes) -> None:
    body = orjson.dumps({"query": near("x", 12345.5)}).replace(b"12345.5", radius)
    answer = await shared.secret.post(f"{BASE}:query", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "INVALID_ARGUMENT"
