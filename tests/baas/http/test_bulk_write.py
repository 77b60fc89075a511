"""Bulk writes: each succeeds or fails alone, in order per document, under rules as if alone."""

from __future__ import annotations

from typing import Any

import pytest

from baas.database.database import Database
from baas.database.transaction import CommitResult
from baas.errors import Unavailable
from tests.baas.http.conftest import ADMIN, BASE, World


def set_to(path: str, **fields: Any) -> dict[str, Any]:
    return {"set": path, "fields": fields}


def add(path: str, amount: int = 1) -> dict[str, Any]:
    transforms = [{"field": "n", "increment": amount}]
    return {"set": path, "fields": {}, "merge": True, "transforms": transforms}


async def bulk(client: Any, *writes: dict[str, Any], **members: Any) -> list[str]:
    """For each write `done`, or the reason why not."""
    body = {"writes": list(writes), **members}
    answer = await client.post(f"{BASE}:bulk-write", json=body)
    assert answer.is_success, answer.text
    return [("error" in r and r["error"]["reason"]) or "done" for r in answer.json()["results"]]


async def ids(world: World, collection: str) -> list[str]:
    found = (await world.secret.get(f"{BASE}/{collection}")).json()["documents"]
    return [document["path"].rpartition("/")[2] for document in found]


async def fields_of(world: World, path: str) -> Any:
    return (await world.secret.get(f"{BASE}/{path}")).json().get("fields")


async def test_every_write_has_a_status_of_its_own(world: World) -> None:
    found = await bulk(
        world.secret,
        set_to("a/1", n=1),
        {"update": "a/missing", "fields": {"n": 1}},
        {"create": "a/2", "fields": {}},
        {"delete": "a/missing", "precondition": {"exists": True}},
        {"verify": "a/3", "precondition": {"exists": False}},
        set_to("a/large", one="x" * 600_000, two="x" * 600_000),
        add("a/4"),
    )
    wrong = ["DocumentNotFound", "DocumentNotFound", "DocumentTooLarge"]
    assert found == ["done", wrong[0], "done", wrong[1], "done", wrong[2], "done"]
    assert await ids(world, "a") == ["1", "2", "4"]


@pytest.mark.parametrize("lost", [0, 1], ids=["first commit", "second commit"])
async def test_a_commit_of_which_nothing_is_known_is_found_out_by_the_same_request(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Told as a failure of its writes, they would be tried again under another key, and done
    twice."""
    run = Database.run_transaction
    runs = 0

    async def lose_answer(database: Database, *args: Any, **named: Any) -> CommitResult[Any]:
        nonlocal runs
        result = await run(database, *args, **named)
        runs += 1
        if runs == lost + 1:
            raise Unavailable("it is not known", reason="CommitOutcomeUnknown")
        return result

    writes = [add("a/1"), add("a/2"), add("a/1")]
    body = {"writes": writes, "request_id": "one"}
    monkeypatch.setattr(Database, "run_transaction", lose_answer)
    answer = await world.secret.post(f"{BASE}:bulk-write", json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["reason"] == "CommitOutcomeUnknown"
    assert await bulk(world.secret, *writes, request_id="one") == ["done"] * 3
    assert [await fields_of(world, f"a/{n}") for n in (1, 2)] == [{"n": 2}, {"n": 1}]
    # Without a key nobody can find out, so what is known is told.
    runs = 0
    told = ["done" if lost else "CommitOutcomeUnknown"] * 2 + ["CommitOutcomeUnknown"]
    assert await bulk(world.secret, *writes) == told


async def test_results_are_those_of_single_writes(world: World) -> None:
    body = {"writes": [set_to("a/1", n=1), add("a/2", 5), {"delete": "a/3"}]}
    answer = (await world.secret.post(f"{BASE}:bulk-write", json=body)).json()
    one, two, three = answer["results"]
    assert one["update_time"] == (await world.secret.get(f"{BASE}/a/1")).json()["update_time"]
    assert two["transform_results"] == [5]
    assert three == {"update_time": None}


async def test_writes_to_one_document_happen_in_order(world: World) -> None:
    writes = [set_to("a/1", n=1), add("a/1"), set_to("a/2", n=1), add("a/1"), {"delete": "a/2"}]
    again = [*writes, {"create": "a/2", "fields": {"n": 9}}, {"create": "a/1", "fields": {}}]
    assert await bulk(world.secret, *again) == ["done"] * 6 + ["DocumentExists"]
    assert await fields_of(world, "a/1") == {"n": 3}
    assert await fields_of(world, "a/2") == {"n": 9}


async def test_rules_decide_on_every_write(world: World) -> None:
    await world.secret.put(f"{BASE}/owned/theirs", json={"fields": {"owner": "somebody"}})
    mine, denied = {"owner": world.uid}, ["PermissionDenied"]
    found = await bulk(
        world.user,
        set_to(f"users/{world.uid}", n=1),
        set_to("users/somebody", n=1),
        set_to("owned/mine", **mine),
        set_to("owned/theirs", **mine),
        {"create": "owned/theirs", "fields": mine},
        {"update": "owned/missing", "fields": {"n": 1}},
        {"verify": "owned/theirs", "precondition": {"exists": True}},
        {"delete": "owned/theirs"},
    )
    assert found == ["done", *denied, "done", *denied, "DocumentExists", *denied * 3]
    assert await fields_of(world, "owned/theirs") == {"owner": "somebody"}
    assert await fields_of(world, "users/somebody") is None
    told = (await world.operator.get(f"{ADMIN}/denials")).json()["denials"]
    assert {"users/somebody", "owned/theirs"} <= {item["path"] for item in told}


async def test_rules_see_no_other_write_of_the_request(world: World) -> None:
    """`paired` may be written if `public` is so after the commit: its write is denied, so it will
    not be."""
    found = await bulk(world.user, set_to("public/x", n=1), set_to("paired/x", n=1))
    assert found == ["PermissionDenied", "PermissionDenied"]
    assert await fields_of(world, "paired/x") is None
    await world.secret.put(f"{BASE}/public/x", json={"fields": {"n": 1}})
    assert await bulk(world.user, set_to("paired/x", n=1)) == ["done"]


async def test_what_an_earlier_write_allows_is_allowed(world: World) -> None:
    rules = """
    service cloud.firestore { match /databases/{d}/documents {
      match /teams/{id} { allow write: if true; }
      match /notes/{id} { allow write: if exists(/databases/$(d)/documents/teams/$(id)); }
      match /firsts/{id} { allow write: if !exists(/databases/$(d)/documents/seconds/$(id)); }
      match /seconds/{id} { allow write: if !exists(/databases/$(d)/documents/firsts/$(id)); }
    } }"""
    deployed = await world.operator.put(
        f"{ADMIN}/rules", json={"source": rules, "allow_open": True}
    )
    assert deployed.is_success, deployed.text
    writes = [set_to("teams/t", n=1), set_to("notes/t", n=1), set_to("notes/none", n=1)]
    assert await bulk(world.user, *writes) == ["done", "done", "PermissionDenied"]
    # Each would be allowed beside the state before; together they may not be.
    both = await bulk(world.user, set_to("firsts/x", n=1), set_to("seconds/x", n=1))
    assert sorted(both) == ["PermissionDenied", "done"]


async def test_what_follows_a_write_that_is_to_be_sent_again_waits_for_it(world: World) -> None:
    """Done now, it would be undone when the one before it is sent again."""
    for number in range(40):
        large = {"fields": {"t": "x" * 1_000_000}}
        assert (await world.secret.put(f"{BASE}/a/{number}", json=large)).is_success
    first = [set_to(f"a/{number}", n=1) for number in range(40)]
    writes = [*first, set_to("a/0", n=2), set_to("a/39", n=2), set_to("a/39", n=3)]
    for _ in range(2):
        found = await bulk(world.secret, *writes, request_id="once")
        assert found[39:] == ["CommitFull", "done", "CommitFull", "CommitFull"]
    assert await fields_of(world, "a/0") == {"n": 2}
    assert len((await fields_of(world, "a/39"))["t"]) == 1_000_000
    await bulk(world.secret, *first[33:], *writes[41:])
    assert await fields_of(world, "a/39") == {"n": 3}


async def test_a_repeated_request_is_answered_the_same(world: World) -> None:
    writes = [
        add("a/1"),
        add("a/1"),
        {"create": "a/2", "fields": {}},
        {"update": "a/missing", "fields": {"n": 1}},
    ]
    body = {"writes": writes, "request_id": "once"}
    answers = [await world.secret.post(f"{BASE}:bulk-write", json=body) for _ in range(2)]
    assert await fields_of(world, "a/1") == {"n": 2}
    await world.secret.put(f"{BASE}/a/missing", json={"fields": {}})
    answers.append(await world.secret.post(f"{BASE}:bulk-write", json=body))
    told = []
    for answer in answers:
        results = answer.json()["results"]
        results[3]["error"].pop("request_id")
        told.append(results)
    assert told[0] == told[1] == told[2]
    assert told[0][3]["error"]["reason"] == "DocumentNotFound"
    other = {**body, "writes": writes[:1]}
    refused = (await world.secret.post(f"{BASE}:bulk-write", json=other)).json()["results"]
    assert refused[0]["error"]["reason"] == "IdempotencyKeyReused"


async def test_a_repeated_request_under_rules(world: World) -> None:
    mine = {"owner": world.uid}
    writes = [set_to("owned/a", **mine), set_to("closed/x"), {"create": "owned/a", "fields": mine}]
    for _ in range(2):
        found = await bulk(world.user, *writes, request_id="once")
        assert found == ["done", "PermissionDenied", "DocumentExists"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "MissingField"),
        ({"writes": 1}, "InvalidBody"),
        ({"writes": [{"set": "a"}]}, "MissingField"),
        ({"writes": [{"set": "a/1", "fields": {}}], "atomic": True}, "UnknownField"),
        ({"writes": [{"set": "a/1", "fields": {}}] * 501}, "TooMany"),
    ],
)
async def test_a_body_that_is_wrong_writes_nothing(
    world: World, body: dict[str, Any], reason: str
) -> None:
    answer = await world.secret.post(f"{BASE}:bulk-write", json=body)
    assert answer.json()["error"]["reason"] == reason
    assert await ids(world, "a") == []


async def test_a_full_request(world: World) -> None:
    writes = [set_to(f"a/{number:03}", n=number) for number in range(500)]
    assert await bulk(world.secret, *writes) == ["done"] * 500
    assert await bulk(world.secret) == []


async def test_a_denied_write_tells_nothing_of_what_is_stored(world: World) -> None:
    """Neither whether there is a document, nor when it was written."""
    await world.secret.put(f"{BASE}/closed/there", json={"fields": {"a": 1}})
    kinds: list[dict[str, Any]] = [
        {"create": "closed/{}", "fields": {}},
        {"update": "closed/{}", "fields": {"a": 1}},
        {"set": "closed/{}", "fields": {}, "precondition": {"exists": True}},
        {"delete": "closed/{}", "precondition": {"exists": False}},
        {"verify": "closed/{}", "precondition": {"exists": True}},
        add("closed/{}"),
    ]
    for name in ("there", "missing"):
        writes = [
            {key: value.format(name) if value == "closed/{}" else value for key, value in w.items()}
            for w in kinds
        ]
        for write in writes:
            assert await bulk(world.user, write) == ["PermissionDenied"]
