"""The SDK's own figures, apart from the server's: one Python process, the real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from baas_sdk import AsyncClient

from bench.servers import product, seed_fields

DOCUMENTS = 5_000


def table(folder: Path, *, seconds: float) -> str:
    """A Markdown table of calls per second through AsyncClient, at 1 and 32 tasks."""
    folder.mkdir()
    with product("uvicorn", folder, documents=DOCUMENTS, delay=(None, 0)) as target:
        rows = asyncio.run(_measure(target.url, target.api_key, target.uid, seconds))
    title = "## The Python SDK (AsyncClient, client and server share the machine)"
    return "\n".join([title, "", "| call | 1 task/s | 32 tasks/s |", "|---|---|---|", *rows, ""])


async def _measure(url: str, api_key: str, uid: str, seconds: float) -> list[str]:
    async with AsyncClient(url, project="bench", api_key=api_key) as client:
        await client.auth.sign_in("bench@example.com", "a-long-password")
        posts = client.collection("posts")

        async def get(number: int) -> None:
            await posts.document(f"seed{number % DOCUMENTS}").get()

        async def create(number: int) -> None:
            await posts.add(seed_fields(number, uid))

        async def query(number: int) -> None:
            await posts.order_by("score").limit(20).get()

        rows = []
        for name, call in (("get", get), ("add", create), ("query, order, limit 20", query)):
            rates = [await _rate(call, tasks, seconds) for tasks in (1, 32)]
            rows.append(f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
        return rows


async def _rate(call: Callable[[int], Awaitable[None]], tasks: int, seconds: float) -> float:
    done = 0
    deadline = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await call(done)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return done / (time.perf_counter() - began)
