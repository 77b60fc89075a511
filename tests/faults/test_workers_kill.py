"""kill -9 of workers under load, then of their parent: no acknowledged commit is lost or torn,
listeners go on, each hearing of every document once, and nobody is left who holds the folder."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from baas_sdk import AsyncClient

from tests.faults.files import check_log_and_documents_agree
from tests.faults.seeds import IS_LONG, RULES, new_seed, rounds
from tests.processes import ServerProcess

KILLS = rounds(5, 60)
WORKERS = 3
WRITERS = 6
LISTENERS = 3
PROJECT = "crash"
BASE = f"/api/v1/projects/{PROJECT}/documents"

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600 + 60 * KILLS)
def test_no_acknowledged_commit_is_lost_with_a_worker(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    flags = ("--workers", str(WORKERS))
    server = ServerProcess(tmp_path / "data", *flags).start()
    try:
        key = server.create_project(PROJECT, RULES, allow_open=True)
        load = Load(server, key, random.Random(seed))
        asyncio.run(load.run())
        assert server.process is not None
        workers = children(server.process.pid)
        server.kill()
        server.start()  # at once: it waits until they let go of the folder
        wait(lambda: not any(map(is_running, workers)))
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for side in ("left", "right"):
                missing = [name for name in load.told if not has(client, f"{side}/{name}")]
                assert missing == []
        assert server.stop() == 0
        check_log_and_documents_agree(tmp_path / "data", PROJECT)
    finally:
        server.stop()
    record_property(
        "summary",
        f"kill -9 of {KILLS} workers under load, and of their parent: {len(load.told)} commits "
        f"acknowledged, none lost or torn, {LISTENERS} listeners heard of each once (seed {seed})",
    )


class Load:
    """Writers, listeners, and kills among the workers that serve them."""

    def __init__(self, server: ServerProcess, key: str, chance: random.Random) -> None:
        self.told: list[str] = []  # acknowledged
        self._server = server
        self._key = key
        self._chance = chance
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        async with AsyncClient(self._server.url, project=PROJECT, api_key=self._key) as client:
            heard = [Counter[str]() for _ in range(LISTENERS)]
            watches = [client.collection("left").on_snapshot(hear(one)) for one in heard]
            writers = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
            for _ in range(KILLS):
                before = len(self.told)
                await self._until(lambda: len(self.told) > before + WRITERS)  # noqa: B023
                await asyncio.sleep(self._chance.uniform(0.02, 0.3))
                await self._kill_one()
            self._stopped.set()
            await asyncio.gather(*writers)
            for one in heard:
                await self._until(lambda: set(one) >= set(self.told))  # noqa: B023
                assert set(one.values()) == {1}
            for watch in watches:
                watch.unsubscribe()

    async def _write(self, writer: int) -> None:
        """Each commit on a connection of its own, so that all workers are asked."""
        number = 0
        while not self._stopped.is_set():
            number += 1
            name = f"w{writer}n{number}"
            sides = [f"{side}/{name}" for side in ("left", "right")]
            writes: list[Any] = [{"set": path, "fields": {"n": number}} for path in sides]
            writes.append({"set": f"latest/{writer % 2}", "fields": {"name": name}})
            try:
                async with httpx.AsyncClient(base_url=self._server.url, timeout=120) as client:
                    answer = await client.post(f"{BASE}:commit", json={"writes": writes})
            except httpx.HTTPError:
                continue  # killed before it answered: either outcome is right
            assert answer.status_code == 200, answer.text
            self.told.append(name)

    async def _kill_one(self) -> None:
        assert self._server.process is not None
        parent = self._server.process.pid
        await self._until(lambda: len(children(parent)) > 1)
        # One that is stopped is killed for its silence, which takes a while.
        is_stopped = IS_LONG and self._chance.random() < 0.2
        number = signal.SIGSTOP if is_stopped else signal.SIGKILL
        with suppress(ProcessLookupError):  # it was killed before, and is gone by now
            os.kill(self._chance.choice(children(parent)), number)

    async def _until(self, condition: Callable[[], bool], seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def hear(counts: Counter[str]) -> Callable[[Sequence[Any], Sequence[Any], Any], None]:
    """Counts how often each document was added."""

    def note(documents: Sequence[Any], changes: Sequence[Any], time: Any) -> None:
        counts.update(one.document.id for one in changes if one.type.name == "ADDED")

    return note


def has(client: httpx.Client, path: str) -> bool:
    return client.get(f"{BASE}/{path}").status_code == 200


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
