"""Searches over HTTP: a query with `search`, its pages, how it was answered, and its refusals."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from baas.database.names import DatabaseName
from tests.baas.http.conftest import ADMIN, BASE, World, world
from tests.security.reads import listen, refusal

__all__ = ["world"]

SEARCH = {"text": "red app*", "fields": ["title", "body"]}
QUERY: dict[str, Any] = {"collection": "notes", "search": SEARCH}


async def fill(world: World) -> None:
    for name, fields in {
        "a": {"title": "Apples", "body": "are red, " + "mostly " * 20},
        "b": {"title": "Red apple", "tags": ["x"]},
        "c": {"title": "Red"},
        "d": {"body": "red appliances, application forms"},
    }.items():
        answer = await world.secret.put(f"{BASE}/notes/{name}", json={"fields": fields})
        assert answer.is_success


async def ids(world: World, **members: Any) -> list[str]:
    answer = await world.secret.post(f"{BASE}:query", json={"query": {**QUERY, **members}})
    assert answer.status_code == 200, answer.text
    return [one["path"].removeprefix("notes/") for one in answer.json()["documents"]]


async def test_documents_are_found_by_their_words(world: World) -> None:
    await fill(world)
    assert await ids(world) == ["d", "b", "a"]
    assert await ids(world, limit=1, offset=1) == ["b"]
    assert await ids(world, where={"field": "tags", "op": "array-contains", "value": "x"}) == ["b"]
    assert await ids(world, search={**SEARCH, "fields": ["body"]}) == ["d"]
    counted = await world.secret.post(f"{BASE}:count", json={"query": QUERY})
    assert counted.json()["count"] == 3
    lines = await world.secret.post(
        f"{BASE}:query", json={"query": QUERY}, headers={"accept": "application/x-ndjson"}
    )
    first, *_, last = lines.text.splitlines()
    assert orjson.loads(first)["document"]["path"] == "notes/d"
    assert orjson.loads(last)["count"] == 3


async def test_pages_and_explanations(world: World) -> None:
    await fill(world)
    body = {"query": QUERY, "page_size": 2, "explain": True}
    page = (await world.secret.post(f"{BASE}:query", json=body)).json()
    assert [one["path"] for one in page["documents"]] == ["notes/d", "notes/b"]
    (missing,) = page["explain"]["missing_indexes"]
    assert missing["fields"] == [
        {"field": name, "direction": "asc", "array": False, "kind": "words"}
        for name in ("body", "title")
    ]
    built = await world.operator.post(
        f"{ADMIN}/databases/(default)/indexes",
        json={
            "collection": "notes",
            "fields": [{"field": name, "kind": "words"} for name in ("title", "body")],
        },
    )
    assert built.status_code == 201, built.text
    database = await world.app.context.databases.open(DatabaseName("demo"))
    await database._builder.wait_idle()
    body["page_token"] = page["next_page_token"]
    page = (await world.secret.post(f"{BASE}:query", json=body)).json()
    assert [one["path"] for one in page["documents"]] == ["notes/a"]
    assert "next_page_token" not in page
    explain = page["explain"]
    assert (explain["scans"][0]["kind"], explain["documents_read"]) == ("words", 1)
    assert explain["missing_indexes"] == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"search": {"text": "?", "fields": ["a"]}}, "NoSearchTerms"),
        ({"search": {"text": "x", "fields": []}}, "NoSearchFields"),
        ({"search": {"text": "x", "fields": [f"f{n}" for n in range(11)]}}, "TooManySearchFields"),
        (
            {"search": {"text": " ".join(map(str, range(17))), "fields": ["a"]}},
            "TooManySearchTerms",
        ),
        ({"search": {"text": "x" * 1_001, "fields": ["a"]}}, "SearchTextTooLong"),
        ({"order_by": [{"field": "a"}]}, "SearchWithOrder"),
        ({"start": {"values": [1]}}, "SearchWithCursor"),
    ],
)
async def test_a_search_that_cannot_be_is_refused(
    world: World, members: dict[str, Any], reason: str
) -> None:
    for verb in ("query", "count"):
        answer = await world.secret.post(f"{BASE}:{verb}", json={"query": {**QUERY, **members}})
        assert answer.status_code == 400
        assert refusal(answer) == ("INVALID_ARGUMENT", reason)


async def test_nobody_listens_to_a_search(world: World) -> None:
    code, reason = await listen(world, world.secret_key, query=QUERY)
    assert (code, reason) == ("INVALID_ARGUMENT", "SearchNotSupported")


@pytest.mark.parametrize(
    "fields",
    [
        [{"field": "a", "kind": "cells of old"}],
        [{"field": "a", "kind": "words", "array": True}],
        [{"field": "a", "kind": "words", "direction": "desc"}],
        [{"field": "a", "kind": "words"}, {"field": "b", "kind": "array"}],
        [{"field": "a", "kind": "words"}, {"field": "a"}],
    ],
)
async def test_an_index_of_words_that_cannot_be_is_refused(
    world: World, fields: list[dict[str, Any]]
) -> None:
    answer = await world.operator.post(
        f"{ADMIN}/databases/(default)/indexes", json={"collection": "notes", "fields": fields}
    )
    assert answer.status_code == 400
