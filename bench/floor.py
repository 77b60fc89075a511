"""A bare ASGI app on the same server and engine; docs/decisions/0003 says why it is fair."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import orjson

from baas.clock import SystemClock
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import Change, CommitGroup, CommitRecord, Entries, KeyRange
from baas.storage.sqlite import SqliteEngine

SPANS = {"/list": KeyRange(b"posts/", b"posts0"), "/query": KeyRange(b"", (500_000).to_bytes(8))}
engine: Any = SqliteEngine.open(Path(os.environ["BENCH_DATA"]), clock=SystemClock())
waiting: asyncio.Queue[tuple[Change, asyncio.Future[int]]] = asyncio.Queue()
sockets: set[asyncio.Queue[str]] = set()
tasks: set[asyncio.Task[None]] = set()


async def batches() -> None:
    last = (await engine.read_head()).version
    while True:
        group = [await waiting.get()]
        group += [waiting.get_nowait() for _ in range(min(999, waiting.qsize()))]
        first = max(time.time_ns() // 1000, last + 1)
        records = [CommitRecord(first + n, (change,)) for n, (change, _) in enumerate(group)]
        await engine.commit(CommitGroup(last, records))
        for record, (_, future) in zip(records, group, strict=True):
            future.set_result(last := record.version)


async def create(body: bytes) -> bytes:
    fields = orjson.loads(body)["fields"]
    path = DocumentPath(("posts", f"document{time.time_ns()}"))
    key, data = "/".join(path.segments).encode(), orjson.dumps(fields)
    entry = Entries(1, [fields["score"].to_bytes(8) + key])
    stored = StoredDocument(path, data, created=0, version=0)
    future = asyncio.get_running_loop().create_future()
    waiting.put_nowait((Change(key, path, None, stored, (), (entry,)), future))
    version = await future
    for queue in sockets:
        queue.put_nowait(data.decode())
    return b'{"version":%d}' % version


async def read(path: str) -> bytes:
    if path not in SPANS:
        return bytes((await engine.get_documents([path[1:].encode()]))[0].data)
    snapshot = await engine.open_snapshot()
    if path == "/list":
        found = await snapshot.scan_documents(SPANS[path], limit=20)
    else:
        rows = await snapshot.scan_entries(1, SPANS[path], limit=20, descending=True)
        found = [row.document for row in rows]
    await snapshot.close()
    return b'{"documents":[%b]}' % b",".join(document.data for document in found)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        tasks.add(asyncio.create_task(batches()))
        await send({"type": "lifespan.startup.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        sockets.add(queue := asyncio.Queue[str]())
        try:
            while True:
                await send({"type": "websocket.send", "text": await queue.get()})
        finally:
            sockets.discard(queue)
    else:
        body = (await receive())["body"]
        body = await (create(body) if body else read(scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
