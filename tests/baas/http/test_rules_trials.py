"""The playground and the runner of tests over HTTP: what they say is what real requests meet."""

from __future__ import annotations

import functools
from typing import Any

import httpx

from baas.http.rules_trials import DOCUMENTS_MAX, STEPS_MAX
from tests.baas.http.conftest import ADMIN, BASE, World
from tests.baas.http.objects_world import OBJECTS, object_world

EXPLAIN, TEST = f"{ADMIN}/rules:explain", f"{ADMIN}/rules:test"
DRAFT = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    function member() {
      return exists(/databases/$(database)/documents/members/$(request.auth.uid));
    }
    match /notes/{note} {
      allow get: if resource.data.owner == request.auth.uid
                    && member();
      allow create: if getAfter(/databases/$(database)/documents/notes/$(note)).data.n == 1;
      allow update: if request.time < timestamp.value(0);
      allow list: if resource.data.owner == request.auth.uid;
      allow delete: if request.auth.token.email == 'ada@example.com'
                       && request.auth.token.admin == true;
    }
  }
}
"""


async def explain(client: httpx.AsyncClient, **trial: Any) -> dict[str, Any]:
    answer = await client.post(EXPLAIN, json=trial)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refusal(client: httpx.AsyncClient, **trial: Any) -> tuple[int, str]:
    answer = await client.post(EXPLAIN, json=trial)
    return answer.status_code, answer.json()["error"]["reason"]


async def store(world: World, path: str, **fields: Any) -> None:
    answer = await world.operator.put(f"{BASE}/{path}", json={"fields": fields})
    assert answer.status_code == 200, answer.text


async def test_a_trial_shows_every_step_of_the_decision(world: World) -> None:
    await store(world, "notes/n1", owner="ada", text="<b>x</b>")
    await store(world, "members/ada", since=1)
    trial = {"source": DRAFT, "method": "get", "path": "notes/n1"}
    told = await explain(world.operator, **trial, caller={"uid": "ada"})
    assert told["allowed"]
    assert told["release"] is None
    assert told["before"] == {"owner": "ada", "text": "<b>x</b>"}
    assert told["lookups"] == [
        {"path": "members/ada", "database": None, "after": False, "fields": {"since": 1}}
    ]
    (attempt,) = told["attempts"]
    assert attempt["captures"] == {"database": "'(default)'", "note": "'n1'"}
    assert (attempt["line"], attempt["outcome"]) == (8, "granted")
    root, left, *_ = attempt["steps"]
    assert (root["depth"], root["value"]) == (0, "true")
    assert left["text"] == "resource.data.owner == request.auth.uid"
    assert (left["depth"], left["line"], left["column"], left["value"]) == (1, 8, 21, "true")
    assert told["expressions"] > 0

    denied = await explain(world.operator, **trial, caller={"uid": "eve"})
    assert not denied["allowed"]
    assert denied["reasons"][0]["values"] == [
        {"text": "resource.data.owner", "value": "'ada'"},
        {"text": "request.auth.uid", "value": "'eve'"},
    ]
    assert (await explain(world.operator, **trial))["auth"] is None


async def test_what_is_given_takes_the_place_of_what_is_stored(world: World) -> None:
    await store(world, "notes/n1", owner="ada")
    ada = {"source": DRAFT, "caller": {"uid": "ada"}, "path": "notes/n1"}
    assert not (await explain(world.operator, **ada, method="get"))["allowed"]
    joined: dict[str, Any] = {"members/ada": {}}
    assert (await explain(world.operator, **ada, method="get", documents=joined))["allowed"]
    await store(world, "members/ada", a=1)
    gone: dict[str, Any] = {"members/ada": None}
    assert not (await explain(world.operator, **ada, method="get", documents=gone))["allowed"]
    other = await explain(world.operator, **ada, method="get", before={"owner": "eve"})
    assert not other["allowed"]
    assert other["before"] == {"owner": "eve"}
    none = await explain(world.operator, **ada, method="get", before=None)
    assert none["before"] is None


async def test_writes_see_what_is_to_be_stored(world: World) -> None:
    trial = {"source": DRAFT, "method": "create", "path": "notes/n2"}
    told = await explain(world.operator, **trial, after={"n": 1})
    assert told["allowed"]
    assert told["lookups"][0] == {
        "path": "notes/n2",
        "database": None,
        "after": True,
        "fields": {"n": 1},
    }
    assert not (await explain(world.operator, **trial, after={"n": 2}))["allowed"]
    assert await refusal(world.operator, **trial) == (400, "MissingField")
    update = {**trial, "method": "update", "after": {}}
    assert await refusal(world.operator, **update) == (412, "NothingToUpdate")
    early = await explain(world.operator, **update, before={}, time="1969-12-31T00:00:00.000000Z")
    assert early["allowed"]
    assert early["time"] == "1969-12-31T00:00:00.000000Z"
    assert not (await explain(world.operator, **update, before={}))["allowed"]


async def test_a_user_of_the_project_and_claims_made_up(world: World) -> None:
    trial = {"source": DRAFT, "method": "delete", "path": "notes/n1"}
    real = await explain(world.operator, **trial, caller={"user": world.uid})
    assert not real["allowed"]
    assert real["auth"]["uid"] == world.uid
    assert real["auth"]["token"]["email"] == "ada@example.com"
    assert {"iss", "aud", "sub", "user_id", "auth_time", "iat", "exp"} <= set(real["auth"]["token"])
    by_email = await explain(world.operator, **trial, caller={"user": "ada@example.com"})
    assert by_email["auth"]["uid"] == world.uid
    nobody = {"user": "nobody@example.com"}
    assert await refusal(world.operator, **trial, caller=nobody) == (404, "UserNotFound")
    raised = {"user": world.uid, "claims": {"admin": True}}
    assert (await explain(world.operator, **trial, caller=raised))["allowed"]
    assert (await refusal(world.operator, **trial, caller={"user": "nobody"}))[0] == 404
    both = {"user": world.uid, "uid": "x"}
    assert await refusal(world.operator, **trial, caller=both) == (400, "InvalidBody")


async def test_a_list_is_proved(world: World) -> None:
    query: dict[str, Any] = {"collection": "notes"}
    trial = {"source": DRAFT, "method": "list", "caller": {"uid": "ada"}}
    denied = await explain(world.operator, **trial, query=query)
    assert not denied["allowed"]
    assert denied["reasons"][0]["hint"] == (
        'add where("owner", "==", request.auth.uid) to the query'
    )
    query["where"] = {"field": "owner", "op": "==", "value": "ada"}
    assert (await explain(world.operator, **trial, query=query))["allowed"]
    assert await refusal(world.operator, **trial) == (400, "MissingField")
    bad = {**query, "limit": 0}
    assert (await refusal(world.operator, **trial, query=bad))[0] == 400


async def test_trials_of_the_rules_in_force_agree_with_requests(world: World) -> None:
    await store(world, f"owned/{world.uid}", owner=world.uid)
    await store(world, f"members/{world.uid}", a=1)
    mine = [f"users/{world.uid}", f"owned/{world.uid}"]
    for path in (*mine, "users/x", "guarded/x", "public/p", "no/x"):
        await _agree(world, path)


async def _agree(world: World, path: str) -> None:
    url = f"{BASE}/{path}"
    for client, caller in ((world.user, {"user": world.uid}), (world.anonymous, None)):
        real = await client.get(url)
        told = await explain(world.operator, method="get", path=path, caller=caller)
        assert told["release"] is not None
        assert told["allowed"] == (real.status_code in (200, 404))
        after = {"owner": world.uid}
        existed = (await world.operator.get(url)).status_code == 200
        told = await explain(
            world.operator,
            method="update" if existed else "create",
            path=path,
            caller=caller,
            after=after,
        )
        real = await client.put(url, json={"fields": after})
        assert told["allowed"] == (real.status_code == 200)


async def test_trials_of_objects_agree_with_requests(tmp_path: Any) -> None:
    async with object_world(tmp_path) as world:
        body = {"method": "get", "service": "objects", "bucket": "default"}
        path = f"users/{world.uid}/a.txt"
        assert (await world.user.put(f"{OBJECTS}/{path}", content=b"hello")).is_success
        told = await explain(world.operator, **body, path=path, caller={"user": world.uid})
        assert told["allowed"]
        assert told["before"]["size"] == 5
        assert "$timestamp" in told["before"]["timeCreated"]
        assert not (await explain(world.operator, **body, path=path))["allowed"]
        made = {**body, "method": "create", "caller": {"user": world.uid}, "path": path}
        assert (await explain(world.operator, **made, after={"size": 999}))["allowed"]
        assert not (await explain(world.operator, **made, after={"size": 1000}))["allowed"]
        listed = {**body, "method": "list", "caller": {"uid": "x"}}
        assert (await explain(world.operator, **listed, path="listed/", by_folder=True))["allowed"]
        assert not (await explain(world.operator, **listed, path="listed/"))["allowed"]
        asked = {"path": "members/a", "caller": {"uid": "x"}}
        crossed = await explain(world.operator, **body, **asked)
        assert (crossed["allowed"], crossed["lookups"][0]["database"]) == (False, "(default)")
        joined: dict[str, Any] = {"members/x": {}}
        assert (await explain(world.operator, **body, **asked, documents=joined))["allowed"]
        missing = {**body, "bucket": "nowhere"}
        assert (await refusal(world.operator, **missing, path="a"))[0] == 404


async def test_only_administrators_may_try(world: World) -> None:
    await store(world, "secret/s", text="hidden")
    for url, body in (
        (EXPLAIN, {"method": "get", "path": "secret/s", "source": DRAFT}),
        (TEST, {"tests": "tests: [{get: a/b, expect: deny}]"}),
    ):
        for client in (world.anonymous, world.user, world.secret):
            answer = await client.post(url, json=body)
            assert answer.status_code == 401, answer.text
            assert "hidden" not in answer.text
        nowhere = url.replace("/demo/", "/nowhere/")
        assert (await world.operator.post(nowhere, json=body)).status_code == 404


_NESTED: dict[str, Any] = functools.reduce(lambda inner, _: {"a": inner}, range(300), {})
DEEP = {"uid": "x", "claims": _NESTED}
BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"method": "read"}, 400, "InvalidBody"),
    ({"method": "get"}, 400, "MissingField"),
    ({"method": "get", "path": "notes"}, 400, "InvalidPath"),
    ({"method": "get", "path": "__system__/x"}, 400, "ReservedId"),
    ({"method": "get", "path": "a/b", "database": "nowhere"}, 404, "DatabaseNotFound"),
    ({"method": "get", "path": "a/b", "bucket": "default"}, 400, "InvalidBody"),
    ({"method": "get", "path": "a/b", "service": "objects"}, 400, "MissingField"),
    ({"method": "get", "path": "a/b", "service": "mail"}, 400, "InvalidBody"),
    ({"method": "get", "path": "a/b", "source": "service"}, 400, "RulesetRejected"),
    ({"method": "get", "path": "a/b", "source": 5}, 400, "InvalidSource"),
    ({"method": "get", "path": "a/b", "documents": {"a": {}}}, 400, "InvalidPath"),
    ({"method": "get", "path": "a/b", "caller": {"uid": "x" * 129}}, 400, "TooLong"),
    (
        {"method": "get", "path": "a/b", "caller": {"uid": "x", "claims": DEEP}},
        400,
        "InvalidClaims",
    ),
    ({"method": "get", "path": "users/x", "database": "__system__"}, 404, "DatabaseNotFound"),
]


async def test_bad_trials(world: World) -> None:
    for trial, status, reason in BAD:
        assert await refusal(world.operator, **trial) == (status, reason), trial


async def test_trials_have_bounds(world: World) -> None:
    many = {f"a/{number}": None for number in range(DOCUMENTS_MAX)}
    trial = {"method": "get", "path": "notes/x", "source": DRAFT}
    assert not (await explain(world.operator, **trial, documents=many))["allowed"]
    many["a/more"] = None
    assert await refusal(world.operator, **trial, documents=many) == (400, "TooMany")
    wide = " || ".join(f"request.auth.uid == '{number}'" for number in range(300))
    matches = "".join(f"match /notes/{{n{at}}} {{ allow get: if {wide}; }}" for at in range(9))
    source = f"""service cloud.firestore {{
      match /databases/{{database}}/documents {{ {matches} }} }}"""
    told = await explain(world.operator, **{**trial, "source": source}, caller={"uid": "x"})
    assert sum(len(attempt["steps"]) for attempt in told["attempts"]) <= STEPS_MAX
    # One past the bound is where it ends.
    assert told["expressions"] == told["expressions_max"] + 1 == 1001


TESTS = """
documents:
  notes/n1: {owner: ada}
  members/ada: {}
tests:
  - {name: hers, as: {uid: ada}, get: notes/n1, expect: allow}
  - {name: not his, as: {uid: bob}, get: notes/n1, expect: allow}
  - {name: none, update: notes/none, merge: {a: 1}, expect: deny}
"""


async def run_tests(world: World, tests: str, **more: Any) -> httpx.Response:
    return await world.operator.post(TEST, json={"tests": tests, **more})


async def test_tests_run_against_a_draft_with_coverage(world: World) -> None:
    run = (await run_tests(world, TESTS, source=DRAFT)).json()
    assert (run["passed"], run["failed"], run["not_run"], run["release"]) == (1, 2, 0, None)
    hers, his, none = run["results"]
    assert (hers["passed"], hers["failure"]) == (True, None)
    assert his["line"] == 7
    assert his["failure"].startswith("expected allow for bob\nget of /notes/n1 is denied")
    assert none["failure"] == "it cannot be run: line 8: `notes/none` does not exist"
    by_text = {one["text"]: one for one in reversed(run["coverage"]["expressions"])}
    owner = by_text["resource.data.owner == request.auth.uid"]
    assert (owner["true"], owner["false"], owner["gap"]) == (1, 1, None)
    assert by_text["member()"]["gap"] == "never false"
    assert by_text["request.time < timestamp.value(0)"]["gap"] == "never evaluated"
    tried = [one["true"] + one["false"] for one in run["coverage"]["statements"]]
    assert tried == [2, 0, 0, 0, 0]
    assert (await run_tests(world, TESTS)).json()["release"] is not None


async def test_tests_that_cannot_be_read_say_where(world: World) -> None:
    answer = await run_tests(world, "tests:\n  - {get: a/b}\n")
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "RulesTestsInvalid")
    assert error["details"]["line"] == 2
    answer = await run_tests(world, TESTS, source="service")
    assert answer.json()["error"]["reason"] == "RulesetRejected"


async def test_tests_are_bounded_in_size(world: World) -> None:
    maximum = world.app.context.settings.limits.rules_tests_bytes_max
    fitting = TESTS + "#" * (maximum - len(TESTS))
    assert (await run_tests(world, fitting)).status_code == 200
    answer = await run_tests(world, fitting + "#")
    assert answer.json()["error"]["reason"] == "RulesTestsTooLarge"
