"""Clients that read and write one counter in transactions, all at the same time, with the SDK.

python -m bench.peers.turns URL PROJECT TOKEN TASKS SECONDS      delays in seconds, as JSON
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import uvloop
from baas_sdk import AsyncClient, AsyncTransaction

from bench import processes
from bench.peers.loads import DOCUMENT_ID
from bench.peers.measure import Figure

ATTEMPTS_MAX = 50


def take_turns(
    url: str, project: str, token: str, pid: int, *, tasks: int, seconds: float
) -> tuple[Figure, int]:
    """What it gave, and how often the counter was raised. Raises RuntimeError with what the child
    said."""
    processes.reset_peaks(pid)
    cpu = processes.cpu_seconds(pid)
    command = [sys.executable, "-m", "bench.peers.turns", url, project, token]
    done = subprocess.run(
        [*command, str(tasks), str(seconds)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the clients failed: {done.stderr[-2000:]}")
    cpu = processes.cpu_seconds(pid) - cpu
    said = json.loads(done.stdout)
    delays = sorted(said["delays"])
    figure = Figure(
        rate=len(delays) / said["seconds"],
        p50_ms=delays[len(delays) // 2] * 1000,
        p99_ms=delays[int(len(delays) * 0.99)] * 1000,
        cpu_us=cpu * 1e6 / len(delays),
        peak_mib=processes.peak_memory_mib(pid),
        failed=0,
    )
    return figure, len(delays)


async def _take_turns(url: str, project: str, token: str, tasks: int, seconds: float) -> None:
    delays: list[float] = []
    async with AsyncClient(url, project=project, token=token) as client:
        counter = client.collection("counter").document(DOCUMENT_ID % 0)

        async def add(transaction: AsyncTransaction) -> None:
            score = (await counter.get(transaction=transaction)).get("score")
            transaction.update(counter, {"score": score + 1})

        deadline = time.perf_counter() + seconds

        async def work() -> None:
            while (began := time.perf_counter()) < deadline:
                await client.run_transaction(add, max_attempts=ATTEMPTS_MAX)
                delays.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(tasks)))
        took = time.perf_counter() - began
    print(json.dumps({"seconds": took, "delays": delays}))


if __name__ == "__main__":
    URL, PROJECT, TOKEN, TASKS, SECONDS = sys.argv[1:]
    uvloop.run(_take_turns(URL, PROJECT, TOKEN, int(TASKS), float(SECONDS)))
