"""What the bare driver does behind the same HTTP server: one find_one for each read, and inserts
that share a transaction with a row of a log, majority and journal as ours. No rules, no index."""

import asyncio
import os
import time
from typing import Any

import orjson
from pymongo import AsyncMongoClient, WriteConcern

from bench.floor_mongo_seed import COLLECTION, DATABASE, LOG

client: Any = None
waiting: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[int]]] = asyncio.Queue()
tasks: set[asyncio.Task[None]] = set()


async def batches() -> None:
    database = client[DATABASE]
    durable = WriteConcern("majority", j=True)
    while True:
        group = [await waiting.get()]
        group += [waiting.get_nowait() for _ in range(min(999, waiting.qsize()))]
        version = time.time_ns()
        rows = [row for row, _ in group]
        log = {"_id": version, "ids": [row["_id"] for row in rows]}
        session = client.start_session()
        async with session, await session.start_transaction(write_concern=durable):
            await database[COLLECTION].insert_many(rows, session=session)
            await database[LOG].insert_one(log, session=session)
        for _, future in group:
            future.set_result(version)


async def create(body: bytes) -> bytes:
    row = orjson.loads(body)["fields"]
    row["_id"] = f"document{time.time_ns()}"
    future = asyncio.get_running_loop().create_future()
    waiting.put_nowait((row, future))
    return b'{"version":%d}' % await future


async def read(path: str) -> bytes:
    rows = client[DATABASE][COLLECTION]
    if path == "/list":
        found: Any = await rows.find({}).sort("_id", 1).limit(20).to_list()
    elif path == "/query":
        found = await rows.find({"score": {"$lt": 500_000}}).sort("score", -1).limit(20).to_list()
    else:
        found = await rows.find_one({"_id": path.rpartition("/")[2]})
    return orjson.dumps(found)


async def app(scope: Any, receive: Any, send: Any) -> None:
    global client
    if scope["type"] == "lifespan":
        await receive()
        client = AsyncMongoClient(os.environ["BENCH_MONGODB_URI"])
        tasks.add(asyncio.create_task(batches()))
        await send({"type": "lifespan.startup.complete"})
    else:
        body = await receive()
        body = await (create(body["body"]) if body["body"] else read(scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
