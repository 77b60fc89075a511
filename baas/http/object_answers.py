"""An answer that streams an object: of known length, in constant memory, ended when the client is
gone. Where the stored bytes turn out to be damaged, or the store fails, the connection is cut, so
that no client takes what it has for the whole; an error is answered where nothing was sent yet."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog
from starlette.types import Receive, Scope, Send

from baas.buckets.blobs import Chunk
from baas.errors import BaasError
from baas.http.exchange import Exchange, Header, encode_headers
from baas.services.objects import OpenedObject

STALL_SECONDS = 60.0
_log = structlog.get_logger("baas.http")


class AnswerCut(OSError):
    """The answer ended before its announced length."""


class ObjectAnswer:
    """The bytes of an object from `start` up to `end`; `headers` are all there are."""

    __slots__ = ("_end", "_opened", "_start", "headers", "status")

    def __init__(
        self, opened: OpenedObject, start: int, end: int, *, status: int, headers: list[Header]
    ) -> None:
        self._opened = opened
        self._start = start
        self._end = end
        self.status = status
        self.headers = headers

    @property
    def length(self) -> int:
        """Of the body."""
        return self._end - self._start

    async def send_to(self, exchange: Exchange) -> int:
        """Sends it by the shortest way; returns the size of the body. Raises AnswerCut; BaasError
        where nothing was sent yet."""
        sender = None
        if exchange.method != "HEAD":
            sender = self._opened.open_sender(self._start, self._end)
        if sender is not None:
            try:
                if await exchange.send_file(self.status, encode_headers(self.headers), sender):
                    return self.length
            except BaasError as error:
                raise _cut(exchange.path, error) from error
        return await self.send(*exchange.as_asgi())

    async def send(self, scope: Scope, receive: Receive, send: Send) -> int:
        """As `send_to`."""
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return 0
        size = 0
        gone = asyncio.ensure_future(_wait_gone(receive))
        try:
            async with aclosing(self._opened.read(self._start, self._end)) as chunks:
                chunk: Chunk | None = await anext(chunks, None)
                # Not before: that there are bytes is what the head says.
                await send(start)
                while chunk is not None:
                    if gone.done():
                        return size
                    size += len(chunk)
                    # A reader that stands still would hold its place for ever.
                    async with asyncio.timeout(STALL_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    chunk = await anext(chunks, None)
        except BaasError as error:
            if not size:
                raise
            raise _cut(scope["path"], error) from error
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})
        return size


def _cut(path: str, error: BaasError) -> AnswerCut:
    _log.error("object cut", path=path, reason=error.reason, error=error.message)
    return AnswerCut(error.message)


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
