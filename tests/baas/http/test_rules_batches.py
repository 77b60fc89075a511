"""Batches in the playground over HTTP: what they say is what a commit meets."""

from __future__ import annotations

from typing import Any

import httpx

from baas.http.rules_batches import WRITES_MAX
from baas.services.authorizer import BATCH_LOOKUPS_MAX
from tests.baas.http.conftest import ADMIN, BASE, World

EXPLAIN = f"{ADMIN}/rules:explain-batch"
COMMIT = f"{BASE}:commit"
# An order may be made only where the same commit takes the item from the shelf, and the other way.
WIDE = " && ".join(
    f"!exists(/databases/$(database)/documents/seen/$(id + '{at}'))" for at in range(10)
)
DRAFT = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    function left(id) { return get(/databases/$(database)/documents/items/$(id)).data.left; }
    function leftAfter(id) {
      return getAfter(/databases/$(database)/documents/items/$(id)).data.left;
    }
    match /orders/{order} {
      allow create: if request.auth != null
        && leftAfter(request.resource.data.item) == left(request.resource.data.item) - 1;
    }
    match /items/{item} {
      allow update: if request.resource.data.left == resource.data.left - 1
        && existsAfter(/databases/$(database)/documents/orders/$(item));
      allow get: if resource.data.left > 0;
      allow delete: if !existsAfter(/databases/$(database)/documents/items/$(item));
    }
    match /wide/{id} { allow create: if WIDE; }
  }
}
""".replace("WIDE", WIDE)
ORDER = {"method": "create", "path": "orders/i1", "after": {"item": "i1"}}
TAKEN = {"method": "update", "path": "items/i1", "after": {"left": 4}}


async def explain(client: httpx.AsyncClient, *writes: Any, **more: Any) -> dict[str, Any]:
    answer = await client.post(EXPLAIN, json={"writes": writes, "source": DRAFT, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def store(world: World, path: str, **fields: Any) -> None:
    answer = await world.operator.put(f"{BASE}/{path}", json={"fields": fields})
    assert answer.status_code == 200, answer.text


async def test_writes_see_each_other_after_the_commit(world: World) -> None:
    await store(world, "items/i1", left=5)
    ada = {"caller": {"uid": "ada"}}
    both = await explain(world.operator, ORDER, TAKEN, **ada)
    assert both["allowed"]
    order, taken = both["writes"]
    assert (order["allowed"], order["subject"]) == (True, "create of /orders/i1")
    assert (order["before"], taken["before"]) == (None, {"left": 5})
    assert {(one["path"], one["after"], one["fields"]["left"]) for one in order["lookups"]} == {
        ("items/i1", False, 5),
        ("items/i1", True, 4),
    }
    assert (both["looked_up"], both["looked_up_max"]) == (3, BATCH_LOOKUPS_MAX)
    assert (both["release"], both["auth"]["uid"]) == (None, "ada")

    alone = await explain(world.operator, ORDER, **ada)
    assert not alone["allowed"]
    (told,) = alone["writes"]
    assert told["attempts"][0]["outcome"] == "false"

    nobody = await explain(world.operator, ORDER, TAKEN)
    assert [one["allowed"] for one in nobody["writes"]] == [False, True]
    assert not nobody["allowed"]


async def test_what_is_given_takes_the_place_of_what_is_stored(world: World) -> None:
    ada = {"caller": {"uid": "ada"}}
    made_up = await explain(world.operator, ORDER, {**TAKEN, "before": {"left": 5}}, **ada)
    assert made_up["allowed"]
    given = await explain(world.operator, ORDER, TAKEN, documents={"items/i1": {"left": 5}}, **ada)
    assert given["allowed"]
    assert given["writes"][1]["before"] == {"left": 5}
    verified = {"method": "get", "path": "items/i1", "before": {"left": 0}}
    assert not (await explain(world.operator, verified))["allowed"]
    gone = {"method": "delete", "path": "items/i1", "before": {"left": 1}}
    assert (await explain(world.operator, gone))["allowed"]


async def test_a_batch_has_a_bound_on_lookups(world: World) -> None:
    wide = [{"method": "create", "path": f"wide/{at}", "after": {}} for at in "abc"]
    fitting = await explain(world.operator, *wide[:2])
    assert (fitting["allowed"], fitting["looked_up"]) == (True, BATCH_LOOKUPS_MAX)
    beyond = await explain(world.operator, *wide)
    assert all(one["allowed"] for one in beyond["writes"])
    assert (beyond["allowed"], beyond["looked_up"]) == (False, BATCH_LOOKUPS_MAX + 10)


async def test_batches_agree_with_commits(world: World) -> None:
    answer = await world.operator.put(f"{ADMIN}/rules", json={"source": DRAFT})
    assert answer.is_success, answer.text
    await store(world, "items/i1", left=5)
    wide = [{"method": "create", "path": f"wide/{at}", "after": {}} for at in "abc"]
    batches: list[list[dict[str, Any]]] = [
        [ORDER],
        [TAKEN],
        [{**TAKEN, "after": {"left": 3}}, ORDER],
        [ORDER, {"method": "get", "path": "items/none"}],
        wide,
        wide[:2],
        [ORDER, TAKEN],
        [{"method": "delete", "path": "items/i1"}],
    ]
    seen = []
    for batch in batches:
        told = await explain(world.operator, *batch, source=None, caller={"user": world.uid})
        real = await world.user.post(COMMIT, json={"writes": [_write(one) for one in batch]})
        assert told["release"] is not None
        assert told["allowed"] == (real.status_code == 200), (batch, real.text)
        seen.append(told["allowed"])
    assert set(seen) == {True, False}


def _write(trial: dict[str, Any]) -> dict[str, Any]:
    match trial["method"]:
        case "delete":
            return {"delete": trial["path"]}
        case "get":
            return {"verify": trial["path"], "precondition": {"exists": False}}
    return {"set": trial["path"], "fields": trial["after"]}


async def test_only_administrators_may_try(world: World) -> None:
    await store(world, "items/i1", left=5, text="hidden")
    body = {"writes": [TAKEN], "source": DRAFT}
    for client in (world.anonymous, world.user, world.secret):
        answer = await client.post(EXPLAIN, json=body)
        assert answer.status_code == 401, answer.text
        assert "hidden" not in answer.text
    nowhere = EXPLAIN.replace("/demo/", "/nowhere/")
    assert (await world.operator.post(nowhere, json=body)).status_code == 404


async def test_nothing_is_written_and_no_denial_is_noted(world: World) -> None:
    await store(world, "items/i1", left=5)
    assert (await explain(world.operator, ORDER, TAKEN, caller={"uid": "ada"}))["allowed"]
    await explain(world.operator, ORDER, caller={"uid": "ada"})
    assert (await world.operator.get(f"{BASE}/orders/i1")).status_code == 404
    assert (await world.operator.get(f"{BASE}/items/i1")).json()["fields"] == {"left": 5}
    denials = (await world.operator.get(f"{ADMIN}/denials")).json()
    assert denials["denials"] == []


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, "MissingField"),
    ({"writes": []}, 400, "InvalidBody"),
    ({"writes": {}}, 400, "InvalidBody"),
    ({"writes": [5]}, 400, "InvalidBody"),
    ({"writes": [{"path": "a/b"}]}, 400, "MissingField"),
    ({"writes": [{"method": "list", "path": "a/b"}]}, 400, "InvalidBody"),
    ({"writes": [{"method": "create", "path": "a/b"}]}, 400, "MissingField"),
    ({"writes": [{"method": "delete", "path": "a"}]}, 400, "InvalidPath"),
    ({"writes": [{"method": "delete", "path": "__system__/x"}]}, 400, "ReservedId"),
    ({"writes": [{"method": "update", "path": "a/b", "after": {}}]}, 412, "NothingToUpdate"),
    ({"writes": [ORDER, ORDER]}, 400, "DuplicatePath"),
    ({"writes": [ORDER], "database": "nowhere"}, 404, "DatabaseNotFound"),
    ({"writes": [ORDER], "database": "__system__"}, 404, "DatabaseNotFound"),
    ({"writes": [ORDER], "bucket": "default"}, 400, "UnknownField"),
    ({"writes": [ORDER], "source": "service"}, 400, "RulesetRejected"),
    ({"writes": [ORDER], "caller": {"user": "nobody"}}, 404, "UserNotFound"),
]


async def test_bad_batches(world: World) -> None:
    for body, status, reason in BAD:
        answer = await world.operator.post(EXPLAIN, json=body)
        told = answer.status_code, answer.json()["error"]["reason"]
        assert told == (status, reason), (body, answer.text)


async def test_batches_have_bounds(world: World) -> None:
    many = [{"method": "delete", "path": f"no/{at}"} for at in range(WRITES_MAX + 1)]
    assert len((await explain(world.operator, *many[:-1]))["writes"]) == WRITES_MAX
    answer = await world.operator.post(EXPLAIN, json={"writes": many})
    assert answer.json()["error"]["reason"] == "TooMany"
