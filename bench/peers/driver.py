"""The bare driver: AsyncMongoClient in a process of its own, without HTTP, rules or anything else.

python -m bench.peers.driver URI ROW SECONDS      one figure as JSON
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeAlias

import uvloop
from pymongo import AsyncMongoClient, MongoClient, WriteConcern

from bench import processes
from bench.peers.loads import (
    AUTHOR,
    AUTHORS,
    BOUND_MAX,
    BOUND_MIN,
    DOCUMENT_ID,
    PAGE,
    ROWS,
    Row,
    Seed,
    author_of,
    seeded,
)
from bench.peers.measure import Figure, expect

DATABASE = "driver"
ME = "author000000000"
DRIVEN = frozenset(
    row.name for row in ROWS if row.check == "in turns" or not (row.is_write or row.check == "file")
)
SEED_BATCH = 5_000
Documents: TypeAlias = Any  # pymongo's collections are generic in what a document is


class Driver:
    """The same documents in a database of their own, each as one BSON document."""

    name = "driver"
    title = "the bare driver"

    def __init__(self, mongodb: Callable[[], str]) -> None:
        self._mongodb = mongodb

    def seed(self, seed: Seed) -> None:
        mongo: MongoClient[dict[str, Any]]
        with MongoClient(self._mongodb()) as mongo:
            for name, size in seed.sizes().items():
                if name == "doomed":
                    continue
                collection: Documents = mongo[DATABASE][name]
                for start in range(0, size, SEED_BATCH):
                    collection.insert_many(
                        [
                            {"_id": DOCUMENT_ID % number}
                            | seeded(number, author_of(name, number, ME))
                            for number in range(start, min(start + SEED_BATCH, size))
                        ]
                    )
            mongo[DATABASE]["owned"].create_index("author")
            for name in ("asked", "vast"):
                mongo[DATABASE][name].create_index([("author", 1), ("score", 1)])
                mongo[DATABASE][name].create_index("score")

    def measure(self, row: Row, seconds: float) -> Figure:
        """Raises RuntimeError with what the child said."""
        command = [sys.executable, "-m", "bench.peers.driver"]
        command += [self._mongodb(), row.name, str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the driver failed: {done.stderr[-2000:]}")
        return Figure(**json.loads(done.stdout))


async def measure(uri: str, row: Row, seconds: float) -> Figure:
    """As many tasks as the row has connections, each asking again and again."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, maxPoolSize=row.connections)
    collection: Documents = client[DATABASE][row.collection]
    ask = _turn(client, collection) if row.check == "in turns" else _question(row, collection)
    beside = asyncio.create_task(_update(collection, row))
    await _repeat(ask, row.connections, 0.5)  # connects, and warms up
    processes.reset_peaks(processes.own_pid())
    cpu = time.process_time()
    began = time.perf_counter()
    delays = sorted(await _repeat(ask, row.connections, seconds))
    took = time.perf_counter() - began
    cpu = time.process_time() - cpu
    beside.cancel()
    await asyncio.gather(beside, return_exceptions=True)
    await client.close()
    return Figure(
        rate=len(delays) / took,
        p50_ms=delays[len(delays) // 2] * 1000,
        p99_ms=delays[int(len(delays) * 0.99)] * 1000,
        cpu_us=cpu * 1e6 / len(delays),
        peak_mib=processes.peak_memory_mib(processes.own_pid()),
        failed=0,
        beside_rate=float(row.beside),
    )


def _question(row: Row, collection: Documents) -> Callable[[], Awaitable[None]]:
    async def get() -> None:
        number = random.randrange(row.count)
        found = await collection.find_one({"_id": DOCUMENT_ID % number})
        expect(found["title"] == f"title {number}", "another document")

    async def page() -> None:
        where: dict[str, Any] = {"author": ME} if row.name == "list-mine" else {}
        if row.name.startswith("query"):
            where = {"author": AUTHOR % random.randrange(1, AUTHORS)}
        elif row.name.startswith("range"):
            where = {"score": {"$lt": random.randint(BOUND_MIN, BOUND_MAX)}}
        cursor = collection.find(where).limit(PAGE)
        if row.name.startswith(("query", "range")):
            cursor = cursor.sort("score")
        found = await cursor.to_list()
        expect(len(found) == PAGE, f"{len(found)} documents")
        if row.total is not None:
            expect(await collection.count_documents({}) == row.total, "another total")

    return get if row.check == "document" else page


def _turn(client: Documents, collection: Documents) -> Callable[[], Awaitable[None]]:
    where = {"_id": DOCUMENT_ID % 0}

    async def add(session: Any) -> None:
        found = await collection.find_one(where, session=session)
        await collection.update_one(where, {"$set": {"score": found["score"] + 1}}, session=session)

    async def take() -> None:
        async with client.start_session() as session:
            await session.with_transaction(add, write_concern=WriteConcern("majority"))

    return take


async def _repeat(ask: Callable[[], Awaitable[None]], tasks: int, seconds: float) -> list[float]:
    delays: list[float] = []
    deadline = time.perf_counter() + seconds

    async def work() -> None:
        while (began := time.perf_counter()) < deadline:
            await ask()
            delays.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(tasks)))
    return delays


async def _update(collection: Documents, row: Row) -> None:
    """Updates at the row's pace, until it is cancelled; each waits for the one before."""
    if not row.beside:
        return
    number, due = 0, time.perf_counter()
    while True:
        due += 1 / row.beside
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        where = {"_id": DOCUMENT_ID % (number % row.count)}
        await collection.update_one(where, {"$set": {"score": number}})
        number += 1


if __name__ == "__main__":
    wanted = next(row for row in ROWS if row.name == sys.argv[2])
    figure = uvloop.run(measure(sys.argv[1], wanted, float(sys.argv[3])))
    print(json.dumps(asdict(figure)))
