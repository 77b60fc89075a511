"""What a handler gives back, and how it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeAlias

import orjson
from starlette.types import Receive, Scope, Send

from baas.errors import BaasError
from baas.http.extensions import EXCHANGE, Exchange, Header
from baas.http.object_answers import ObjectAnswer
from baas.wire.errors import encode_error, http_status

STALL_SECONDS = 60.0
JSON = b"application/json"
JSON_LINES = b"application/x-ndjson"

_CONTENT_TYPE = b"content-type"
_CONTENT_LENGTH = b"content-length"
_JSON_HEADER = (_CONTENT_TYPE, JSON)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Answer:
    """A whole body, sent in one piece."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = JSON,
        headers: tuple[Header, ...] = (_NO_STORE,),
    ) -> None:
        self.body = body
        self.status = status
        kind = _JSON_HEADER if content_type is JSON else (_CONTENT_TYPE, content_type)
        self.headers = [
            kind,
            (_CONTENT_LENGTH, b"%d" % len(body)),
            _NOSNIFF,
            *headers,
        ]

    def send_whole(self, scope: Scope) -> bool:
        """Sends it in one write, without waiting. False: nothing was sent, and `send` has to."""
        exchange: Exchange | None = scope.get(EXCHANGE)
        if exchange is None or scope["method"] == "HEAD":
            return False
        return exchange.send_whole(self.status, self.headers, self.body)

    async def send(self, scope: Scope, send: Send, receive: Receive) -> int:
        """Sends it; returns the size of the body. An answer to HEAD goes without one."""
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": body})
        return len(body)


class StreamAnswer:
    """A body in pieces, sent as they are made. An error after the start is one more piece: the
    status has gone out and cannot be taken back."""

    __slots__ = ("chunks", "headers", "status")

    def __init__(self, chunks: AsyncGenerator[bytes], *, content_type: bytes = JSON_LINES) -> None:
        self.chunks = chunks
        self.status = 200
        self.headers = [(_CONTENT_TYPE, content_type), _NOSNIFF, _NO_STORE]

    async def send(self, scope: Scope, send: Send, receive: Receive) -> int:
        """Sends it; returns the size of the body. An answer to HEAD goes without one."""
        with_body = scope["method"] != "HEAD"
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        size = 0
        gone = asyncio.ensure_future(_wait_gone(receive))
        try:
            async with aclosing(self.chunks) as chunks:
                async for chunk in chunks:
                    if gone.done() or not with_body:
                        break
                    size += len(chunk)
                    # A reader that stands still would hold its snapshot, and so the log, open.
                    async with asyncio.timeout(STALL_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    # Others get their turn even where neither reading nor sending has to wait.
                    await asyncio.sleep(0)
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})
        return size


async def _wait_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection; servers do not say so on send."""
    while (await receive())["type"] != "http.disconnect":
        pass


AnyAnswer: TypeAlias = Answer | StreamAnswer | ObjectAnswer


def json_answer(tree: Any, *, status: int = 200) -> Answer:
    """A JSON tree as an answer."""
    return Answer(orjson.dumps(tree), status=status)


def error_answer(error: BaasError, request_id: str) -> Answer:
    """The one error shape."""
    headers: tuple[Header, ...] = (_NO_STORE,)
    status = http_status(error)
    if status == 401:
        headers = (_NO_STORE, (b"www-authenticate", b'Bearer realm="baas"'))
    elif error.retryable and status in (429, 503):
        headers = (_NO_STORE, (b"retry-after", b"1"))
    body = orjson.dumps(encode_error(error, request_id), default=str)
    return Answer(body, status=status, headers=headers)
