"""A WebSocket client of an ASGI application in this process: what a server would do, by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.types import ASGIApp, Message

LISTEN = "/api/v1/projects/demo/documents:listen"


class Closed(Exception):
    """The server closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Client:
    """One connection. With `reads` False the server waits at its first message, as it would for a
    client that does not read."""

    def __init__(
        self, app: ASGIApp, *, path: str = LISTEN, origin: str | None = None, reads: bool = True
    ) -> None:
        headers = [(b"host", b"testserver")]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        self._scope = {"type": "websocket", "path": path, "headers": headers, "scheme": "ws"}
        self._app = app
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._from_server: asyncio.Queue[Message] = asyncio.Queue()
        self.may_read = asyncio.Event()
        if reads:
            self.may_read.set()
        self.lists: dict[int, list[Any]] = {}
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._app(self._scope, self._to_server.get, self._send)

    async def _send(self, message: Message) -> None:
        if message["type"] != "websocket.close":
            await self.may_read.wait()
        self._from_server.put_nowait(message)

    async def accepted(self) -> None:
        """Waits for the handshake."""
        message = await self._from_server.get()
        if message["type"] == "websocket.close":
            raise Closed(message["code"], message.get("reason", ""))
        assert message["type"] == "websocket.accept", message

    async def hello(self, token: str | None = None, api_key: str | None = None) -> None:
        """The handshake and the greeting."""
        await self.accepted()
        self.send({"type": "hello", "token": token, "api_key": api_key})
        assert await self.receive() == {"type": "welcome", "ping_seconds": 30}

    def send(self, message: Any) -> None:
        """A message to the server: JSON, or as it is."""
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", "bytes": data})

    async def receive(self) -> Any:
        """The next message. Raises Closed."""
        message = await self._from_server.get()
        if message["type"] == "websocket.close":
            raise Closed(message["code"], message.get("reason", ""))
        return orjson.loads(message["text"])

    async def listen(self, target: int, **wanted: Any) -> Any:
        """Starts a target; its first snapshot."""
        self.send({"type": "listen", "target": target, **wanted})
        message = await self.receive()
        assert message == {"type": "added", "target": target}, message
        return await self.snapshot(target)

    async def snapshot(self, target: int) -> Any:
        """The next message, which has to be a final snapshot of the target; its changes are applied
        to `lists`."""
        while True:
            message = await self.receive()
            assert message["type"] == "snapshot", message
            assert message["target"] == target
            self._apply(message)
            if message["final"]:
                assert message["count"] == len(self.lists[target])
                return message

    def names(self, target: int) -> list[str]:
        """The ids in the target's list."""
        return [document["path"].rpartition("/")[2] for document in self.lists[target]]

    def _apply(self, message: Any) -> None:
        documents = self.lists.setdefault(message["target"], [])
        if message["reset"]:
            documents.clear()
        for change in message["changes"]:
            if change["kind"] != "added":
                taken = documents.pop(change["old_index"])
                assert taken["path"] == change["document"]["path"]
            if change["kind"] != "removed":
                documents.insert(change["new_index"], change["document"])

    async def error(self) -> tuple[str, int]:
        """The reason and the code with which the server ends the connection."""
        message = await self.receive()
        assert message["type"] == "error", message
        closing = await self._from_server.get()
        assert closing["type"] == "websocket.close", closing
        assert closing["reason"] == message["error"]["reason"]
        return message["error"]["reason"], closing["code"]

    async def ended(self) -> None:
        """Returns when the server has let go of the connection."""
        await self._task

    async def close(self) -> None:
        """Goes away, and waits until the server has noticed."""
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1000})
        self.may_read.set()
        await self._task
