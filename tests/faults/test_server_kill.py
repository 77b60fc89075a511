"""kill -9 of the server under load: no acknowledged commit and no acknowledged object is lost, log
and documents agree, objects and their metadata agree."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.files import check_log_and_documents_agree
from tests.faults.object_load import BUCKET, ObjectLoad
from tests.faults.seeds import RULES, new_seed, rounds
from tests.processes import ServerProcess, checked
from tests.waiting import until

ROUNDS = rounds(20, 200)
WRITERS = 8
OBJECT_WRITERS = 2
BASE = "/api/v1/projects/crash/documents"

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300 + 30 * ROUNDS)
def test_no_acknowledged_commit_or_object_is_lost(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    with ServerProcess(tmp_path / "data") as server:
        server.create_project("crash", RULES, allow_open=True)
        with server.admin() as admin:
            checked(admin.post("/projects/crash/buckets", json={"id": BUCKET}))
        acknowledged: list[dict[str, int]] = []
        objects = ObjectLoad("crash", chance)
        for number in range(ROUNDS):
            pause = chance.uniform(0.02, 0.4)
            acknowledged.append(asyncio.run(_load_until_killed(server, number, pause, objects)))
            server.start()
            _check_round(server, number, acknowledged[-1])
            with httpx.Client(base_url=server.url, timeout=60) as client:
                objects.check(client)
        for number, told in enumerate(acknowledged):
            _check_round(server, number, told)
        assert server.stop() == 0
    commits = sum(map(len, acknowledged))
    assert commits > ROUNDS * WRITERS
    assert objects.puts > ROUNDS * OBJECT_WRITERS
    check_log_and_documents_agree(tmp_path / "data", "crash")
    record_property(
        "summary",
        f"kill -9 of the server: {ROUNDS} rounds, {commits} commits and {objects.puts} puts of "
        f"objects acknowledged, none lost, torn or doubled (seed {seed})",
    )


async def _load_until_killed(
    server: ServerProcess, round_number: int, pause: float, objects: ObjectLoad
) -> dict[str, int]:
    """Document id -> number of each commit that was answered with success before the kill."""
    told: dict[str, int] = {}
    stopped, puts = asyncio.Event(), objects.puts

    async def write(writer: int, client: httpx.AsyncClient) -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            name = f"w{writer}n{number}"
            # Two documents a commit: half of one would be a torn commit.
            writes = [
                {"set": f"left{round_number}/{name}", "fields": {"number": number}},
                {"set": f"right{round_number}/{name}", "fields": {"number": number}},
                {"set": f"latest/w{writer}", "fields": {"name": name}},
            ]
            try:
                answer = await client.post(f"{BASE}:commit", json={"writes": writes})
            except httpx.HTTPError:
                return  # killed before it answered: either outcome is right
            assert answer.status_code == 200, answer.text
            told[name] = number

    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        tasks = [asyncio.create_task(write(writer, client)) for writer in range(WRITERS)]
        tasks += [
            asyncio.create_task(objects.write(writer, client, stopped))
            for writer in range(OBJECT_WRITERS)
        ]
        await until(lambda: len(told) > WRITERS and objects.puts - puts > OBJECT_WRITERS)
        await asyncio.sleep(pause)  # the moment of the kill, not a wait for anything
        await asyncio.to_thread(server.kill)
        stopped.set()
        await asyncio.gather(*tasks)
    return told


def _check_round(server: ServerProcess, number: int, acknowledged: dict[str, int]) -> None:
    left, right = _numbers(server, f"left{number}"), _numbers(server, f"right{number}")
    assert left == right, "a commit was torn"
    assert {name for name, told in acknowledged.items() if left.get(name) != told} == set()


def _numbers(server: ServerProcess, collection: str) -> dict[str, int]:
    headers = {"Accept": "application/x-ndjson", "Authorization": f"Bearer {server.operator_token}"}
    body = {"query": {"collection": collection}}
    answer = httpx.post(f"{server.url}{BASE}:query", json=body, headers=headers, timeout=60)
    lines: list[dict[str, Any]] = [
        httpx.Response(200, text=line).json() for line in answer.text.splitlines()
    ]
    assert lines[-1].get("done") is True, answer.text[-500:]
    documents = [line["document"] for line in lines if "document" in line]
    return {document["path"].split("/")[1]: document["fields"]["number"] for document in documents}
