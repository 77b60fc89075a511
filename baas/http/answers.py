"""What a handler gives back, and how it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import orjson
from starlette.types import Receive, Scope, Send

from baas.errors import BaasError
from baas.http.exchange import Exchange, Header, encode_headers
from baas.http.object_answers import ObjectAnswer
from baas.wire.errors import encode_error, http_status

STALL_SECONDS = 60.0
JSON = b"application/json"
JSON_LINES = b"application/x-ndjson"

REQUEST_ID = b"x-request-id"
_CONTENT_TYPE = b"content-type"
_CONTENT_LENGTH = b"content-length"
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_USUAL: tuple[Header, ...] = (_NO_STORE,)
# As most answers have them, ready to be sent.
_USUAL_LINES = b"".join(
    [b"%b: %b\r\n" % header for header in ((_CONTENT_TYPE, JSON), _NOSNIFF, *_USUAL)]
)


class Answer:
    """A whole body, sent in one piece."""

    __slots__ = ("_headers", "body", "status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = JSON,
        headers: tuple[Header, ...] = _USUAL,
    ) -> None:
        self.body = body
        self.status = status
        self._headers: list[Header] | None = None
        if content_type is not JSON or headers is not _USUAL:
            self._headers = self._make_headers(content_type, headers)

    @property
    def headers(self) -> list[Header]:
        """All of them, to be added to. Most answers have the usual ones, and none is made."""
        if self._headers is None:
            self._headers = self._make_headers(JSON, _USUAL)
        return self._headers

    @headers.setter
    def headers(self, headers: list[Header]) -> None:
        self._headers = headers

    def _make_headers(self, content_type: bytes, more: tuple[Header, ...]) -> list[Header]:
        length = (_CONTENT_LENGTH, b"%d" % len(self.body))
        return [(_CONTENT_TYPE, content_type), length, _NOSNIFF, *more]

    def send_whole(self, exchange: Exchange, request_id: str, more: Sequence[Header] = ()) -> bool:
        """Sends it in one write, without waiting, with the request's id and more headers. False:
        nothing was sent, and `send` has to. Raises RuntimeError for a header with a line break."""
        if exchange.method == "HEAD":
            return False
        if self._headers is None:
            head = b"%bcontent-length: %d\r\nx-request-id: %b\r\n" % (
                _USUAL_LINES,
                len(self.body),
                request_id.encode(),
            )
        else:
            head = b"%bx-request-id: %b\r\n" % (encode_headers(self._headers), request_id.encode())
        if more:
            head += encode_headers(more)
        return exchange.send_whole(self.status, head, self.body)

    async def send(self, scope: Scope, receive: Receive, send: Send) -> int:
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

    async def send(self, scope: Scope, receive: Receive, send: Send) -> int:
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
    headers = _USUAL
    status = http_status(error)
    if status == 401:
        headers = (_NO_STORE, (b"www-authenticate", b'Bearer realm="baas"'))
    elif error.retryable and status in (429, 503):
        headers = (_NO_STORE, (b"retry-after", b"1"))
    body = orjson.dumps(encode_error(error, request_id), default=str)
    return Answer(body, status=status, headers=headers)
