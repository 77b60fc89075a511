"""Requests to an application in this process, both bodies streamed (httpx's own transport keeps the
whole answer in memory, which an export may not fit)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

QUEUED_CHUNKS_MAX = 4


class AppTransport(httpx.AsyncBaseTransport):
    """Calls an ASGI application. Closing an answer early tells the application so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(self._app, request)
        return await exchange.start()


class _Exchange(httpx.AsyncByteStream):
    """One request and its answer, whose body this is."""

    def __init__(self, app: ASGIApp, request: httpx.Request) -> None:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self._app = app
        self._request = request
        self._body = request.stream.__aiter__()
        self._is_sent = False
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(QUEUED_CHUNKS_MAX)
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> httpx.Response:
        self._task = asyncio.create_task(self._run())
        message = await self._messages.get()
        if message is None:
            await self._task  # raises what the application raised
            raise httpx.RemoteProtocolError("the application did not answer")
        return httpx.Response(message["status"], headers=message.get("headers", []), stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._task is not None
        while (message := await self._messages.get()) is not None:
            yield message.get("body", b"")
        await self._task

    async def aclose(self) -> None:
        self._closed.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        url = self._request.url
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        try:
            await self._app(scope, self._receive, self._messages.put)
        finally:
            await self._messages.put(None)

    async def _receive(self) -> Message:
        if self._is_sent:
            await self._closed.wait()
            return {"type": "http.disconnect"}
        try:
            chunk = await self._body.__anext__()
        except StopAsyncIteration:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": chunk, "more_body": True}
