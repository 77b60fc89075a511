"""Documents over HTTP: every route, with what it answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from tests.baas.http.conftest import BASE, World

ODD_NAMES = [
    "a.b",
    'quo"te',
    "back`tick",
    "$set",
    "$",
    "proto__",
    "constructor",
    "nul\x00",
    "é\u2028",
]


async def test_a_document_is_created_got_set_updated_and_deleted(world: World) -> None:
    client = world.secret
    created = await client.post(f"{BASE}/cities", params={"id": "paris"}, json={"fields": {"n": 1}})
    assert created.status_code == 201
    assert created.json()["path"] == "cities/paris"

    got = await client.get(f"{BASE}/cities/paris")
    assert got.status_code == 200
    assert got.headers["content-type"] == "application/json"
    document = got.json()
    assert document["fields"] == {"n": 1}
    assert document["create_time"] == document["update_time"] == created.json()["update_time"]

    again = await client.post(f"{BASE}/cities", params={"id": "paris"}, json={"fields": {}})
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "DocumentExists")

    updated = await client.patch(
        f"{BASE}/cities/paris",
        json={
            "fields": {"area.km2": 105.4},
            "transforms": [
                {"field": "n", "increment": 2},
                {"field": "seen", "server_time": True},
            ],
        },
    )
    assert updated.status_code == 200, updated.text
    results = updated.json()["transform_results"]
    assert results[0] == 3
    fields = (await client.get(f"{BASE}/cities/paris")).json()["fields"]
    assert fields == {"area": {"km2": 105.4}, "n": 3, "seen": results[1]}

    merged = await client.put(
        f"{BASE}/cities/paris", json={"fields": {"area": {"rank": 1}}, "merge": True}
    )
    assert merged.status_code == 200
    fields = (await client.get(f"{BASE}/cities/paris")).json()["fields"]
    assert fields["area"] == {"km2": 105.4, "rank": 1}

    replaced = await client.put(f"{BASE}/cities/paris", json={"fields": {"only": True}})
    assert replaced.status_code == 200
    assert (await client.get(f"{BASE}/cities/paris")).json()["fields"] == {"only": True}

    deleted = await client.delete(f"{BASE}/cities/paris")
    assert deleted.status_code == 200
    assert deleted.json().keys() == {"path", "commit_time"}
    gone = await client.get(f"{BASE}/cities/paris")
    assert (gone.status_code, gone.json()["error"]["reason"]) == (404, "DocumentNotFound")


async def test_an_automatic_id_has_twenty_characters(world: World) -> None:
    created = await world.secret.post(f"{BASE}/cities", json={"fields": {}})
    _, identifier = created.json()["path"].split("/")
    assert len(identifier) == 20


async def test_preconditions_in_the_address_of_a_delete(world: World) -> None:
    written = (await world.secret.put(f"{BASE}/a/b", json={"fields": {}})).json()
    wrong = await world.secret.delete(f"{BASE}/a/b", params={"update_time": "2020-01-01T00:00:00Z"})
    assert wrong.status_code == 412
    both = await world.secret.delete(
        f"{BASE}/a/b", params={"update_time": written["update_time"], "exists": "true"}
    )
    assert both.status_code == 400
    right = await world.secret.delete(f"{BASE}/a/b", params={"update_time": written["update_time"]})
    assert right.status_code == 200
    missing = await world.secret.delete(f"{BASE}/a/b", params={"exists": "true"})
    assert missing.status_code == 404
    assert (await world.secret.delete(f"{BASE}/a/b")).status_code == 200


async def test_update_of_a_missing_document(world: World) -> None:
    answer = await world.secret.patch(f"{BASE}/a/b", json={"fields": {"x": 1}})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("no document to update: ")


async def test_a_commit_is_all_or_nothing(world: World) -> None:
    writes: list[dict[str, Any]] = [
        {"set": "a/1", "fields": {"n": 1}},
        {"create": "a/2", "fields": {"n": 2}},
        {"update": "a/missing", "fields": {"n": 3}},
    ]
    failed = await world.secret.post(f"{BASE}:commit", json={"writes": writes})
    assert failed.status_code == 404
    assert (await world.secret.get(f"{BASE}/a/1")).status_code == 404
    done = await world.secret.post(f"{BASE}:commit", json={"writes": writes[:2]})
    assert done.status_code == 200
    body = done.json()
    assert [item["update_time"] for item in body["write_results"]] == [body["commit_time"]] * 2


async def test_a_commit_of_nothing_has_a_time(world: World) -> None:
    answer = await world.secret.post(f"{BASE}:commit", json={"writes": []})
    assert answer.status_code == 200
    assert answer.json()["commit_time"] > "2026"


async def test_a_repeated_request_id_writes_once(world: World) -> None:
    body = {
        "writes": [{"set": "a/n", "fields": {}, "transforms": [{"field": "n", "increment": 1}]}],
        "request_id": "once",
    }
    first = await world.secret.post(f"{BASE}:commit", json=body)
    second = await world.secret.post(f"{BASE}:commit", json=body)
    assert first.json() == second.json()


async def test_batch_get_keeps_the_order_and_names_what_is_missing(world: World) -> None:
    await world.secret.put(f"{BASE}/a/1", json={"fields": {"n": 1}})
    answer = await world.secret.post(f"{BASE}:batch-get", json={"documents": ["a/2", "a/1", "a/2"]})
    assert answer.status_code == 200
    found = answer.json()["documents"]
    assert [item["path"] for item in found] == ["a/2", "a/1", "a/2"]
    assert found[0]["document"] is None
    assert found[1]["document"]["fields"] == {"n": 1}


async def _fill(client: httpx.AsyncClient, count: int) -> None:
    writes = [
        {"set": f"cities/c{n:03}", "fields": {"n": n, "even": n % 2 == 0}} for n in range(count)
    ]
    answer = await client.post(f"{BASE}:commit", json={"writes": writes})
    assert answer.status_code == 200, answer.text


async def test_documents_are_got_with_some_of_their_fields(world: World) -> None:
    fields = {"n": 1, "a,b": 2, "at": {"x": 1, "y": [{"z": 2}]}, "c": {"d": 1}}
    before = (await world.secret.put(f"{BASE}/some/a", json={"fields": fields})).json()
    whole = (await world.secret.get(f"{BASE}/some/a")).json()

    async def got(select: str, **params: str) -> Any:
        params["select"] = select
        answer = await world.secret.get(f"{BASE}/some/a", params=params)
        assert answer.json().items() >= {"create_time": whole["create_time"]}.items(), answer.text
        return answer.json()["fields"]

    some = {"a,b": 2, "at": {"y": [{"z": 2}]}}
    assert await got("`a,b`, at.y,nothing") == some
    assert await got("at.y,at") == {"at": fields["at"]}
    assert await got("__name__") == {}
    await world.secret.put(f"{BASE}/some/a", json={"fields": {"n": 2}})
    assert await got("n") == {"n": 2}
    assert await got("n", read_time=before["update_time"]) == {"n": 1}

    body = {"documents": ["some/a", "some/none"], "select": ["n", "`a,b`"]}
    for more in ({}, {"read_time": before["update_time"]}):
        answer = (await world.secret.post(f"{BASE}:batch-get", json={**body, **more})).json()
        first, second = answer["documents"]
        assert first["document"]["fields"] == ({"n": 1, "a,b": 2} if more else {"n": 2})
        assert second["document"] is None
    begun = (await world.secret.post(f"{BASE}:begin-transaction", json={})).json()
    told = {**body, "transaction": begun["transaction"]}
    answer = (await world.secret.post(f"{BASE}:batch-get", json=told)).json()
    assert answer["documents"][0]["document"]["fields"] == {"n": 2}


@pytest.mark.parametrize("select", ["", ",", "a,", "a..b", "a b", "`a", "a,,b", "*", "`a`b"])
async def test_fields_that_are_no_fields_are_refused(world: World, select: str) -> None:
    answer = await world.secret.get(f"{BASE}/some/a", params={"select": select})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "InvalidPath"), error
    assert error["details"]["field"] == "select"
    body = {"documents": ["some/a"], "select": select}
    answer = await world.secret.post(f"{BASE}:batch-get", json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "InvalidBody")


async def test_more_fields_than_may_be_named_are_refused(world: World) -> None:
    await world.secret.put(f"{BASE}/some/a", json={"fields": {"f0": 1}})
    for count, status in ((1_000, 200), (1_001, 400)):
        names = [f"f{number}" for number in range(count)]
        params = {"select": ",".join(names)}
        answer = await world.secret.get(f"{BASE}/some/a", params=params)
        assert answer.status_code == status, answer.text
        body = {"documents": ["some/a"], "select": names}
        answer = await world.secret.post(f"{BASE}:batch-get", json=body)
        assert answer.status_code == status, answer.text


async def test_a_query_filters_orders_and_limits(world: World) -> None:
    await _fill(world.secret, 20)
    query = {
        "collection": "cities",
        "where": {"field": "even", "op": "==", "value": True},
        "order_by": [{"field": "n", "direction": "desc"}],
        "limit": 3,
        "select": ["n"],
    }
    answer = await world.secret.post(f"{BASE}:query", json={"query": query})
    assert answer.status_code == 200, answer.text
    assert [item["fields"] for item in answer.json()["documents"]] == [
        {"n": 18},
        {"n": 16},
        {"n": 14},
    ]
    assert "more" not in answer.json()
    counted = await world.secret.post(
        f"{BASE}:count", json={"query": {"collection": "cities", "where": query["where"]}}
    )
    assert counted.json()["count"] == 10


async def test_a_query_streams_lines_and_ends_with_done(world: World) -> None:
    await _fill(world.secret, 20)
    answer = await world.secret.post(
        f"{BASE}:query",
        json={"query": {"collection": "cities"}},
        headers={"accept": "application/x-ndjson"},
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [line["document"]["path"] for line in lines[:-1]] == [
        f"cities/c{n:03}" for n in range(20)
    ]
    assert lines[-1]["done"] is True
    assert lines[-1]["count"] == 20


async def test_a_bad_query_fails_before_the_stream_starts(world: World) -> None:
    answer = await world.secret.post(
        f"{BASE}:query",
        json={"query": {"collection": "cities", "limit": 0}},
        headers={"accept": "application/x-ndjson"},
    )
    assert answer.status_code == 400


async def test_a_collection_is_listed_page_by_page(world: World) -> None:
    await _fill(world.secret, 5)
    paths: list[str] = []
    params: dict[str, str] = {"page_size": "2"}
    while True:
        answer = await world.secret.get(f"{BASE}/cities", params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["documents"]) <= 2
        paths += [item["path"] for item in body["documents"]]
        if "next_page_token" not in body:
            break
        params["page_token"] = body["next_page_token"]
    assert paths == [f"cities/c{n:03}" for n in range(5)]


async def test_a_list_says_how_many_there_are_in_all(world: World) -> None:
    await _fill(world.secret, 5)
    answer = await world.secret.get(f"{BASE}/cities", params={"page_size": "2", "total": "true"})
    assert (len(answer.json()["documents"]), answer.json()["total"]) == (2, 5)
    answer = await world.secret.get(f"{BASE}/cities", params={"page_size": "2", "total": "false"})
    assert "total" not in answer.json()
    answer = await world.secret.get(f"{BASE}/cities", params={"total": "yes"})
    assert answer.status_code == 400


@pytest.mark.parametrize("token", ["!", "AAAA!", "", "Li4", "_w"])
async def test_a_made_up_page_token_is_refused(world: World, token: str) -> None:
    answer = await world.secret.get(f"{BASE}/cities", params={"page_token": token})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "InvalidPageToken")


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_field_names_are_data(world: World, name: str) -> None:
    escaped = "$" + name if name.startswith("$") else name
    quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
    path = f"{BASE}/odd/one"
    put = await world.secret.put(path, json={"fields": {escaped: {escaped: 1}}})
    assert put.status_code == 200, put.text
    patched = await world.secret.patch(path, json={"fields": {f"{quoted}.{quoted}": 2}})
    assert patched.status_code == 200, patched.text
    assert (await world.secret.get(path)).json()["fields"] == {escaped: {escaped: 2}}
    query = {
        "collection": "odd",
        "where": {"field": f"{quoted}.{quoted}", "op": "==", "value": 2},
        "order_by": [{"field": f"{quoted}.{quoted}"}],
        "select": [quoted],
    }
    answer = await world.secret.post(f"{BASE}:query", json={"query": query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["documents"][0]["fields"] == {escaped: {escaped: 2}}
    removed = await world.secret.patch(path, json={"delete": [quoted]})
    assert removed.status_code == 200
    assert (await world.secret.get(path)).json()["fields"] == {}


@pytest.mark.parametrize("identifier", ["a b", "é", "a%b", "a?b#c", "a+b", "..a", "日本"])
async def test_odd_ids_are_data(world: World, identifier: str) -> None:
    created = await world.secret.post(
        f"{BASE}/odd", params={"id": identifier}, json={"fields": {"n": 1}}
    )
    assert created.status_code == 201, created.text
    got = await world.secret.get(f"{BASE}/odd/{quote(identifier, safe='')}")
    assert got.status_code == 200, got.text
    assert got.json()["path"] == f"odd/{identifier}"


async def test_a_named_database_is_apart_from_the_default_one(world: World) -> None:
    base = "/api/v1/projects/demo/databases/archive/documents"
    unknown = await world.secret.get(f"{base}/a/b")
    assert (unknown.status_code, unknown.json()["error"]["reason"]) == (404, "DatabaseNotFound")
    created = await world.operator.post(
        "/api/v1/admin/projects/demo/databases", json={"id": "archive"}
    )
    assert created.status_code == 201, created.text
    await world.secret.put(f"{base}/a/b", json={"fields": {"n": 1}})
    assert (await world.secret.get(f"{base}/a/b")).status_code == 200
    assert (await world.secret.get(f"{BASE}/a/b")).status_code == 404
    full = "/api/v1/projects/demo/databases/(default)/documents"
    await world.secret.put(f"{full}/a/c", json={"fields": {}})
    assert (await world.secret.get(f"{BASE}/a/c")).status_code == 200


async def test_in_development_mode_a_database_is_made_on_first_use(dev_world: World) -> None:
    base = "/api/v1/projects/demo/databases/archive/documents"
    assert (await dev_world.secret.put(f"{base}/a/b", json={"fields": {}})).status_code == 200
    unknown = "/api/v1/projects/nobody/databases/archive/documents"
    assert (await dev_world.operator.get(f"{unknown}/a/b")).status_code == 404


async def test_reserved_databases_and_collections_cannot_be_named(world: World) -> None:
    system = "/api/v1/projects/demo/databases/__system__/documents"
    assert (await world.operator.get(f"{system}/users/x")).status_code in (400, 404)
    assert (await world.operator.get(f"{BASE}/__indexes__/x")).status_code == 400


async def test_head_answers_without_a_body(world: World) -> None:
    await world.secret.put(f"{BASE}/a/b", json={"fields": {}})
    answer = await world.secret.head(f"{BASE}/a/b")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 0
