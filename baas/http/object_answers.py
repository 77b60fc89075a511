"""An answer that streams an object: of known length, in constant memory, ended when the client is
gone. Where the stored bytes turn out to be damaged the connection is cut, so that no client takes
what it has for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from starlette.types import Receive, Scope, Send

from baas.buckets.blobs import Chunk
from baas.errors import BaasError
from baas.http.exchange import Header

STALL_SECONDS = 60.0
_log = structlog.get_logger("baas.http")


class AnswerCut(OSError):
    """The answer ended before its announced length."""


class ObjectAnswer:
    """`length` bytes of `chunks`."""

    __slots__ = ("chunks", "headers", "length", "status")

    def __init__(
        self,
        chunks: AsyncGenerator[Chunk],
        length: int,
        *,
        status: int,
        headers: list[Header],
    ) -> None:
        self.chunks = chunks
        self.length = length
        self.status = status
        self.headers = [*headers, (b"content-length", b"%d" % length)]

    async def send(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Sends it; returns the size of the body. Raises AnswerCut."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if scope["method"] == "HEAD":
            await self.chunks.aclose()
            await send({"type": "http.response.body", "body": b""})
            return 0
        size = 0
        gone = asyncio.ensure_future(_wait_gone(receive))
        try:
            async with aclosing(self.chunks) as chunks:
                async for chunk in chunks:
                    if gone.done():
                        return size
                    size += len(chunk)
                    # A reader that stands still would hold its place for ever.
                    async with asyncio.timeout(STALL_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except BaasError as error:
            _log.error("object cut", path=scope["path"], reason=error.reason, error=error.message)
            raise AnswerCut(error.message) from error
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})
        return size


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
