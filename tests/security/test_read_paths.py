"""Families 1 and 2: every way to read obeys the same rule, and a denial is no oracle."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.baas.http.conftest import ADMIN, BASE, World, world
from tests.security.reads import ALLOWED, GETS, LISTS, Read, outcome, refusal

__all__ = ["world"]

DENIED = ("PERMISSION_DENIED", "PermissionDenied")
READS = {**GETS, **LISTS}


async def _seed(world: World) -> None:
    for path in ("closed/x", "owned/x", "public/p"):
        fields = {"owner": "somebody else", "secret": "s3cret"}
        answer = await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
        assert answer.status_code == 200


@pytest.mark.parametrize("name", READS)
async def test_what_is_closed_is_closed_on_every_way(world: World, name: str) -> None:
    await _seed(world)
    read: Read = READS[name]
    for token in (None, world.id_token):
        assert await read(world, token, "closed/x") == DENIED
        assert await read(world, token, "owned/x") == DENIED
    assert await read(world, world.secret_key, "closed/x") == ALLOWED


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_allowed_or_denied_by_its_constraints_alone(
    world: World, name: str
) -> None:
    """Were it denied for what is stored, it would tell what is stored."""
    empty = await LISTS[name](world, world.id_token, "owned/x")
    await _seed(world)
    assert await LISTS[name](world, world.id_token, "owned/x") == empty == DENIED


@pytest.mark.parametrize("way", ["now", "then", "in a transaction"])
async def test_large_documents_are_denied_like_small_ones(world: World, way: str) -> None:
    """Were an answer refused for its size first, that would tell what is stored."""
    fields = {"a": "x" * 1_000_000}
    assert (await world.secret.put(f"{BASE}/closed/x", json={"fields": fields})).is_success
    wanted: dict[str, Any] = {"documents": ["closed/x"] * 40}
    if way == "then":
        wanted["read_time"] = (await world.secret.get(f"{BASE}/closed/x")).json()["update_time"]
    elif way != "now":
        begun = await world.user.post(f"{BASE}:begin-transaction", json={})
        wanted["transaction"] = begun.json()["transaction"]
    assert refusal(await world.user.post(f"{BASE}:batch-get", json=wanted)) == DENIED


@pytest.mark.parametrize("name", GETS)
async def test_a_missing_document_is_denied_like_one_that_is_there(world: World, name: str) -> None:
    await _seed(world)
    for token in (None, world.id_token):
        missing = await GETS[name](world, token, "closed/missing")
        assert missing == await GETS[name](world, token, "closed/x") == DENIED


BIG = "y" * 200_000
WRITES: dict[str, tuple[str, str, Any]] = {
    "merge": ("PUT", "{path}", {"fields": {"b": 1}, "merge": True}),
    "too large together": ("PUT", "{path}", {"fields": {"b": BIG}, "merge": True}),
    "update": ("PATCH", "{path}", {"fields": {"b": 1}}),
    "delete": ("DELETE", "{path}", None),
    "delete what exists": ("DELETE", "{path}?exists=true", None),
    "delete what does not": ("DELETE", "{path}?exists=false", None),
    "delete by time": ("DELETE", "{path}?update_time=2026-01-01T00:00:00Z", None),
    "create": ("POST", "closed?id={id}", {"fields": {}}),
    "set what exists": ("PUT", "{path}", {"fields": {}, "precondition": {"exists": True}}),
    "increment": ("PATCH", "{path}", {"transforms": [{"field": "n", "increment": 0}]}),
    "union": (
        "PUT",
        "{path}",
        {"fields": {}, "merge": True, "transforms": [{"field": "l", "array_union": [BIG]}]},
    ),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_denied_write_tells_nothing_of_what_is_stored(world: World, name: str) -> None:
    """Neither whether there is a document, nor how large it is, nor when it was written."""
    method, url, body = WRITES[name]
    fields = {"a": "x" * 900_000, "l": ["x"]}
    await world.secret.put(f"{BASE}/closed/there", json={"fields": fields})
    answers = []
    for identifier in ("there", "missing"):
        address = url.format(path=f"closed/{identifier}", id=identifier)
        answer = await world.user.request(method, f"{BASE}/{address}", json=body)
        error = answer.json()["error"]
        error.pop("request_id")
        answers.append((answer.status_code, error))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


async def test_who_may_write_is_told_what_is_wrong(world: World) -> None:
    mine = f"{BASE}/users/{world.uid}"
    await world.user.put(mine, json={"fields": {"a": "x" * 900_000}})
    answer = await world.user.put(mine, json={"fields": {"b": BIG}, "merge": True})
    assert refusal(answer) == ("INVALID_ARGUMENT", "DocumentTooLarge")


async def test_a_page_token_opens_no_other_collection(world: World) -> None:
    await _seed(world)
    await world.secret.put(f"{BASE}/public/q", json={"fields": {}})
    page = (await world.anonymous.get(f"{BASE}/public?page_size=1")).json()
    token = page["next_page_token"]
    assert await outcome(world, None, "GET", f"{BASE}/closed?page_token={token}") == DENIED
    for bad in ("", "x", "Li4", "YS9i", "X19pbmRleGVzX18", "%00", token + "A" * 4000):
        found = await outcome(world, None, "GET", f"{BASE}/public?page_token={bad}")
        assert found[0] == "INVALID_ARGUMENT", bad


async def test_export_is_for_administrators(world: World) -> None:
    await _seed(world)
    url = f"{ADMIN}/databases/(default)/documents:export"
    for token in (None, world.id_token, world.secret_key):
        assert (await outcome(world, token, "GET", url))[0] == "UNAUTHENTICATED"
        assert (await outcome(world, token, "POST", url.replace("export", "import")))[
            0
        ] == "UNAUTHENTICATED"


async def test_another_callers_request_id_gives_no_answer(world: World) -> None:
    body = {"writes": [{"set": "closed/x", "fields": {}}], "request_id": "one"}
    assert (await world.secret.post(f"{BASE}:commit", json=body)).is_success
    assert refusal(await world.user.post(f"{BASE}:commit", json=body)) == DENIED
    assert refusal(await world.anonymous.post(f"{BASE}:commit", json=body)) == DENIED


async def test_a_large_answer_is_cut_and_says_so(world: World) -> None:
    fields = {"a": "x" * 1_000_000}
    for number in range(40):
        await world.secret.put(f"{BASE}/public/{number:02}", json={"fields": fields})
    query = {"query": {"collection": "public"}}
    page = orjson.loads((await world.anonymous.post(f"{BASE}:query", json=query)).content)
    assert page["more"] is True
    assert 30 <= len(page["documents"]) <= 33
    listed = orjson.loads((await world.anonymous.get(f"{BASE}/public")).content)
    rest = await world.anonymous.get(f"{BASE}/public?page_token={listed['next_page_token']}")
    assert len(listed["documents"]) + len(rest.json()["documents"]) == 40
    same = {"documents": ["public/00"] * 40}
    found = await outcome(world, None, "POST", f"{BASE}:batch-get", json=same)
    assert found == ("RESOURCE_EXHAUSTED", "AnswerTooLarge")
