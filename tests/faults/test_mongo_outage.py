"""No majority of mongods: what cannot be done is said in words and in time, and then goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.mongo_nodes import MEMBERS, MongoNodes
from tests.faults.seeds import RULES
from tests.mongo import check_mongod
from tests.waiting import PATIENCE_SECONDS

DOCUMENTS = "/api/v1/projects/outage/documents"

pytestmark = pytest.mark.slow


def write_of(number: int) -> dict[str, Any]:
    return {
        "writes": [{"set": f"things/t{number}", "fields": {"number": number}}],
        "request_id": f"write-{number}",
    }


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


async def until_ready(client: httpx.AsyncClient) -> None:
    """The node says no where it has no answer within two seconds, as on a busy machine."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await client.get("/readyz")).is_success:  # noqa: ASYNC110 - it is a server
            await asyncio.sleep(0.1)


@pytest.mark.timeout(600)
async def test_without_a_majority_calls_end_in_words_and_with_one_they_go_on(
    tmp_path: Path,
) -> None:
    check_mongod()
    topology = MongoNodes(tmp_path, "--mongodb-timeout-seconds", "8")
    try:
        await topology.start()
        node = topology.nodes[0]
        await asyncio.to_thread(node.create_project, "outage", RULES, allow_open=True)
        async with httpx.AsyncClient(base_url=node.url, timeout=180) as client:
            first = await client.post(f"{DOCUMENTS}:commit", json=write_of(1))
            assert first.status_code == 200, first.text
            primary = await asyncio.to_thread(topology.mongods.wait_primary)
            dead = [primary, (primary + 1) % MEMBERS]
            for number in dead:
                topology.mongods.kill(number)
            written, read, ready, alive = await asyncio.gather(
                client.post(f"{DOCUMENTS}:commit", json=write_of(2)),
                client.get(f"{DOCUMENTS}/things/t1"),
                client.get("/readyz"),
                client.get("/healthz"),
            )
            assert reason_of(written) == (503, "StorageUnavailable")
            assert reason_of(read) == (503, "StorageUnavailable")
            assert reason_of(ready) == (503, "NotReady")
            assert alive.status_code == 200
            for number in dead:
                await asyncio.to_thread(topology.mongods.restart, number)
            # An election takes its time on a busy machine, which is not the node's.
            await asyncio.to_thread(topology.mongods.wait_primary)
            # The very same request: done once, whether or not it had come through.
            again = await client.post(f"{DOCUMENTS}:commit", json=write_of(2))
            assert again.status_code == 200, again.text
            for number in (1, 2):
                found = await client.get(f"{DOCUMENTS}/things/t{number}")
                assert found.json()["fields"] == {"number": number}
            await until_ready(client)
    finally:
        await topology.stop()
