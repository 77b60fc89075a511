"""The floor: what this machine gives a bare ASGI app on the same server and the same engine call.

Raw ASGI, the engine's own commit and read, one batcher, orjson. No paths, no values, no rules, no
accounts, no errors. docs/decisions/0003 says why it is fair. At most 80 lines (a test counts).
"""

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Any

import orjson
from baas.storage.sqlite import SqliteEngine

from baas.clock import SystemClock
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import Change, CommitGroup, CommitRecord, Entry, KeyRange

HEADERS = [(b"content-type", b"application/json")]
engine: SqliteEngine
last = 0
waiting: list[tuple[Change, asyncio.Future[int]]] = []
busy: asyncio.Task[None] | None = None
sockets: set[asyncio.Queue[str]] = set()


async def batches() -> None:
    global last, busy
    while waiting:
        group, waiting[:] = waiting[:1000], waiting[1000:]
        first = max(time.time_ns() // 1000, last + 1)
        records = [CommitRecord(first + n, (change,)) for n, (change, _) in enumerate(group)]
        await engine.commit(CommitGroup(last, records))
        last = records[-1].version
        for record, (_, future) in zip(records, group, strict=True):
            future.set_result(record.version)
    busy = None


async def create(data: bytes) -> int:
    global busy
    fields = orjson.loads(data)["fields"]
    name, data = secrets.token_urlsafe(15), orjson.dumps(fields)
    path, key = DocumentPath(("posts", name)), b"posts/" + name.encode()
    entry = Entry(1, int(fields["score"]).to_bytes(8, "big") + key)
    stored = StoredDocument(path, data, created=0, version=0)
    future = asyncio.get_running_loop().create_future()
    waiting.append((Change(key, path, None, stored, (), (entry,)), future))
    if busy is None:
        busy = asyncio.create_task(batches())
    version = await future
    for queue in sockets:
        queue.put_nowait(data.decode())
    return int(version)


async def read(path: str) -> bytes:
    if path == "/list":
        snapshot = await engine.open_snapshot()
        rows = await snapshot.scan_documents(KeyRange(b"posts/", b"posts0"), limit=20)
    elif path == "/query":
        snapshot = await engine.open_snapshot()
        span = KeyRange(b"", (500_000).to_bytes(8, "big"))
        rows = [
            row.document for row in await snapshot.scan_entries(1, span, limit=20, descending=True)
        ]
    else:
        return b'{"fields":%b}' % (await engine.get_documents([path[1:].encode()]))[0].data  # type: ignore[union-attr]
    await snapshot.close()
    return b'{"documents":[%b]}' % b",".join(row.data for row in rows)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        if scope["method"] == "GET":
            body = await read(scope["path"])
        else:
            body = b'{"version":%d}' % await create((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": body})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        sockets.add(queue := asyncio.Queue())
        while True:
            await send({"type": "websocket.send", "text": await queue.get()})
    else:
        global engine
        await receive()
        engine = await SqliteEngine.open(Path(os.environ["BENCH_DATA"]), clock=SystemClock())
        await send({"type": "lifespan.startup.complete"})
