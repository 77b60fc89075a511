"""A fake server on a real socket: it speaks the documented protocol as a test's script tells it.

It knows nothing of the real server's code, so that the SDK is held to the protocol and not to one
implementation of it. `reply` answers HTTP requests; `next_listen` waits for the next WebSocket,
whose other end the test then plays by hand.
"""

from __future__ import annotations

import asyncio
import queue
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn

WAIT_SECONDS = 60.0
TIME = "2026-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str  # as sent: percent-encoded
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Reply:
    """An answer. `chunks` are sent one by one; `cut` then ends the connection without an end."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] | None = None
    cut: bool = False
    hold: threading.Event | None = None  # waits for it before it answers


def error_reply(status: int, code: str, reason: str | None = None, **headers: str) -> Reply:
    body = {"error": {"code": code, "reason": reason or code, "message": "m", "request_id": "q1"}}
    return Reply(status, body, headers)


class ListenSession:
    """The server's end of one WebSocket. May be used from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, headers: dict[str, str]) -> None:
        self.headers = headers
        self._loop = loop
        self._incoming: queue.Queue[Any] = queue.Queue()
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue()

    def receive(self) -> Any:
        """The client's next message; None when it has closed the connection."""
        return self._incoming.get(timeout=WAIT_SECONDS)

    def arrived(self, message: Any) -> None:
        self._incoming.put(message)

    def send(self, **message: Any) -> None:
        self._loop.call_soon_threadsafe(self.outgoing.put_nowait, message)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self.outgoing.put_nowait, None)

    def welcome(self, *, ping_seconds: float = 30) -> Any:
        """Plays the greeting; the client's hello."""
        hello = self.receive()
        assert hello["type"] == "hello"
        self.send(type="welcome", ping_seconds=ping_seconds)
        return hello

    def snapshot(self, target: int, changes: list[Any], **rest: Any) -> None:
        message = {
            "version": 1,
            "read_time": TIME,
            "resume_token": "r1",
            "reset": False,
            "final": True,
            **rest,
        }
        self.send(type="snapshot", target=target, changes=changes, **message)


Answerer = Callable[[Received], Reply]


class Peer:
    """A server in a thread; `with Peer() as peer`."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._replies: queue.Queue[Reply | Answerer] = queue.Queue()
        self._listens: queue.Queue[ListenSession] = queue.Queue()
        self.refuse_listens: Reply | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._test = 0
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            log_level="critical",
            loop="asyncio",
            ws="websockets-sansio",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    @property
    def url(self) -> str:
        """Of this test: what clients of tests before it still send is not taken for its."""
        return f"{self.origin}/test{self._test}"

    def forget(self) -> None:
        """Back to the start, for the next test."""
        self._test += 1
        self.requests = []
        self._replies = queue.Queue()
        self._listens = queue.Queue()
        self.refuse_listens = None

    def reply(self, *replies: Reply | Answerer) -> None:
        """What to answer next, in order. A function is asked, and stays for all that follow."""
        for item in replies:
            self._replies.put(item)

    def next_listen(self) -> ListenSession:
        return self._listens.get(timeout=WAIT_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    async def _app(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["raw_path"].decode()
        # Who asks by way of a proxy names another server, and no test.
        named = re.match(r"/test(\d+)(?=/)", path)
        if named is not None and int(named[1]) != self._test:
            return
        path = path[named.end() :] if named else path
        if scope["type"] == "websocket":
            await self._listen(headers, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode()
        received = Received(scope["method"], path, headers, body)
        self.requests.append(received)
        await self._answer(self._next_reply(received), send)

    def _next_reply(self, received: Received) -> Reply:
        item = self._replies.get_nowait()
        if isinstance(item, Reply):
            return item
        self._replies.put(item)
        return item(received)

    async def _answer(
        self, reply: Reply, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        if reply.hold is not None:
            await asyncio.to_thread(reply.hold.wait, WAIT_SECONDS)
        chunks = reply.chunks if reply.chunks is not None else [orjson.dumps(reply.json)]
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        if reply.cut and "Content-Length" not in reply.headers:
            headers.append((b"content-length", b"1000000"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not reply.cut:  # else uvicorn finds the answer unfinished and cuts the connection
            await send({"type": "http.response.body", "body": b""})

    async def _listen(
        self,
        headers: dict[str, str],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        await receive()
        if self.refuse_listens is not None:
            reply = self.refuse_listens
            await send(
                {"type": "websocket.http.response.start", "status": reply.status, "headers": []}
            )
            body = orjson.dumps(reply.json)
            await send({"type": "websocket.http.response.body", "body": body})
            return
        await send({"type": "websocket.accept"})
        session = ListenSession(asyncio.get_running_loop(), headers)
        self._listens.put(session)
        reader = asyncio.create_task(self._read(session, receive))
        writer = asyncio.create_task(self._write(session, send))
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(
        self, session: ListenSession, receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                session.arrived(None)
                return
            session.arrived(orjson.loads(message["text"]))

    async def _write(
        self, session: ListenSession, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        while (message := await session.outgoing.get()) is not None:
            await send({"type": "websocket.send", "text": orjson.dumps(message).decode()})
        await send({"type": "websocket.close", "code": 1001})


def document(path: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    """A document's tree."""
    return {
        "path": path,
        "fields": fields,
        "create_time": TIME,
        "update_time": f"2026-01-01T00:00:00.{version:06}Z",
    }


def added(path: str, index: int, version: int = 1, **fields: Any) -> dict[str, Any]:
    """The change that inserts a document."""
    tree = document(path, version, **fields)
    return {"kind": "added", "old_index": -1, "new_index": index, "document": tree}


def lines(*trees: Any) -> list[bytes]:
    """JSON lines, each in a chunk of its own."""
    return [orjson.dumps(tree) + b"\n" for tree in trees]


def committed(*times: str | None, **rest: Any) -> Reply:
    """The answer of a commit."""
    results = [{"update_time": time, **rest} for time in times]
    return Reply(json={"commit_time": TIME, "write_results": results})


def signed_in(
    number: int = 1, *, expires_in: float = 3600, uid: str = "u1", refresh: str | None = None
) -> dict[str, Any]:
    """The answer of sign-in and refresh."""
    return {
        "user": {"uid": uid, "email": "ada@example.com", "email_verified": True},
        "id_token": f"id{number}",
        "refresh_token": refresh or f"refresh{number}",
        "expires_in": expires_in,
    }
