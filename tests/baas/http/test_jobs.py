"""Jobs below a project: for secret keys and administrators."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.baas.http.conftest import ADMIN, BASE, World

JOBS = BASE.removesuffix("documents") + "jobs"
UPDATE = {
    "query": {"collection": "a"},
    "update": {"transforms": [{"field": "n", "increment": 1}]},
}
STARTS: dict[str, Any] = {"delete-recursive": {"path": "a"}, "update-by-query": UPDATE}


async def fill(world: World) -> None:
    writes = [{"set": f"a/{n}", "fields": {"n": n}} for n in range(3)]
    writes.append({"set": "a/1/b/x", "fields": {}})
    assert (await world.secret.post(f"{BASE}:commit", json={"writes": writes})).is_success


async def over(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while job["state"] == "running":
            await asyncio.sleep(0.01)
            job = (await client.get(f"{JOBS}/{job['id']}")).json()
    return job


async def test_a_secret_key_has_everything_below_deleted(world: World) -> None:
    await fill(world)
    begun = await world.secret.post(f"{BASE}:delete-recursive", json={"path": "a"})
    assert begun.status_code == 202
    job = await over(world.secret, begun.json())
    assert (job["state"], job["progress"]["written"]) == ("done", 4)
    assert job["author"].startswith("secret-key:")
    assert (await world.secret.get(f"{BASE}/a?show_missing=true")).json()["documents"] == []
    listed = (await world.secret.get(JOBS)).json()["jobs"]
    assert [one["id"] for one in listed] == [job["id"]]
    refused = await world.secret.post(f"{JOBS}/{job['id']}:cancel")
    assert refused.json()["error"]["reason"] == "JobIsOver"


async def test_an_administrators_jobs_are_not_told_to_secret_keys(world: World) -> None:
    begun = await world.operator.post(f"{BASE}:delete-recursive", json={"path": "a"})
    url = f"{JOBS}/{begun.json()['id']}"
    assert (await world.secret.get(JOBS)).json() == {"jobs": []}
    for answer in (await world.secret.get(url), await world.secret.post(f"{url}:cancel")):
        assert answer.json()["error"]["reason"] == "JobNotFound"
    assert (await world.operator.get(url)).is_success
    assert len((await world.operator.get(JOBS)).json()["jobs"]) == 1


async def test_jobs_are_for_those_above_the_rules(world: World) -> None:
    await fill(world)
    made = (await world.secret.post(f"{BASE}:delete-recursive", json={"path": "z"})).json()
    for client in (world.user, world.anonymous):
        answers = [await client.post(f"{BASE}:{verb}", json=body) for verb, body in STARTS.items()]
        answers += [await client.get(JOBS), await client.get(f"{JOBS}/{made['id']}")]
        answers += [await client.post(f"{JOBS}/{made['id']}:cancel")]
        errors = [one.json()["error"] for one in answers]
        assert {(one["code"], one["reason"]) for one in errors} == {
            ("PERMISSION_DENIED", "SecretKeyNeeded")
        }
        assert len({one["message"] for one in errors}) == 1
    url = f"{ADMIN}/databases/(default)/documents"
    for verb, body in STARTS.items():  # nor does the administrator's door open to secret keys
        assert (await world.secret.post(f"{url}:{verb}", json=body)).status_code == 401


async def test_a_secret_key_opens_no_other_project(world: World) -> None:
    await world.operator.post("/api/v1/admin/projects", json={"id": "other"})
    for verb, body in STARTS.items():
        url = f"{BASE.replace('demo', 'other')}:{verb}"
        assert (await world.secret.post(url, json=body)).status_code == 401
    assert (await world.secret.get(JOBS.replace("demo", "other"))).status_code == 401


@pytest.mark.parametrize("verb", STARTS)
async def test_a_repeated_key_begins_one_job(world: World, verb: str) -> None:
    await fill(world)
    headers = {"idempotency-key": "k"}
    for base in (BASE, f"{ADMIN}/databases/(default)/documents"):
        client = world.secret if base == BASE else world.operator
        answers = [
            await client.post(f"{base}:{verb}", json=STARTS[verb], headers=headers)
            for _ in range(2)
        ]
        assert {answer.status_code for answer in answers} == {202}
        assert answers[0].json()["id"] == answers[1].json()["id"]
    listed = (await world.operator.get(JOBS)).json()["jobs"]
    assert len(listed) == 2
    other = {
        "delete-recursive": {"path": "z"},
        "update-by-query": {**UPDATE, "update": {"fields": {"n": 1}}},
    }[verb]
    refused = await world.secret.post(f"{BASE}:{verb}", json=other, headers=headers)
    assert refused.json()["error"]["reason"] == "IdempotencyKeyReused"


async def test_jobs_of_a_database_that_is_not_there(world: World) -> None:
    for verb, body in STARTS.items():
        url = f"{BASE.replace('documents', 'databases/none/documents')}:{verb}"
        answer = await world.secret.post(url, json=body)
        assert answer.json()["error"]["reason"] == "DatabaseNotFound"
