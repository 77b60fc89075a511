"""kill -9 of the server under load: no acknowledged commit is lost, log and documents agree."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from tests.processes import ServerProcess

ROUNDS = int(os.environ.get("BAAS_CRASH_ROUNDS", "10"))
WRITERS = 16
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} { allow read, write: if true; }
  }
}
"""
BASE = "/api/v1/projects/crash/documents"

pytestmark = pytest.mark.slow


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_no_acknowledged_commit_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("BAAS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed} (BAAS_SEED)")  # noqa: T201 (shown by pytest when the test fails)
    chance = random.Random(seed)
    server = ServerProcess(tmp_path / "data").start()
    server.create_project("crash", RULES, allow_open=True)
    acknowledged: dict[str, int] = {}
    for round_number in range(ROUNDS):
        pause = chance.uniform(0.05, 0.8)
        told = asyncio.run(_load_until_killed(server, round_number, pause))
        acknowledged |= told
        server.start()
        _check_everything_is_there(server, acknowledged)
    assert server.stop() == 0
    assert len(acknowledged) > ROUNDS * WRITERS
    _check_log_and_documents_agree(tmp_path / "data")


async def _load_until_killed(
    server: ServerProcess, round_number: int, pause: float
) -> dict[str, int]:
    """Document id -> number of each commit that was answered with success before the kill."""
    told: dict[str, int] = {}
    stopped = asyncio.Event()

    async def write(writer: int, client: httpx.AsyncClient) -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            name = f"r{round_number}w{writer}n{number}"
            # Two documents a commit: half of one would be a torn commit.
            writes = [
                {"set": f"left/{name}", "fields": {"number": number}},
                {"set": f"right/{name}", "fields": {"number": number}},
                {"set": f"latest/w{writer}", "fields": {"name": name}},
            ]
            try:
                answer = await client.post(f"{BASE}:commit", json={"writes": writes})
            except httpx.HTTPError:
                return  # killed before it answered: either outcome is right
            assert answer.status_code == 200, answer.text
            told[name] = number

    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        tasks = [asyncio.create_task(write(writer, client)) for writer in range(WRITERS)]
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.kill)
        stopped.set()
        await asyncio.gather(*tasks)
    return told


def _check_everything_is_there(server: ServerProcess, acknowledged: dict[str, int]) -> None:
    found: dict[str, dict[str, int]] = {side: _numbers(server, side) for side in ("left", "right")}
    assert found["left"] == found["right"], "a commit was torn"
    lost = {name for name, number in acknowledged.items() if found["left"].get(name) != number}
    assert not lost


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


def _check_log_and_documents_agree(data: Path) -> None:
    """Read with SQLite alone: the newest log record of each path is the document's own version."""
    file = data / "projects" / "crash" / "databases" / "default.sqlite"
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
    head = connection.execute("SELECT version FROM head").get
    newest = connection.execute("SELECT max(version) FROM log").get
    assert head == newest
    disagreeing = connection.execute(
        """SELECT count(*) FROM documents d
           LEFT JOIN (SELECT path, max(version) AS version FROM log GROUP BY path) l USING (path)
           WHERE l.version IS NOT d.version"""
    ).get
    assert disagreeing == 0
    superseded_twice = connection.execute(
        "SELECT count(*) FROM (SELECT key, version FROM history GROUP BY 1, 2 HAVING count(*) > 1)"
    ).get
    assert superseded_twice == 0
    connection.close()
