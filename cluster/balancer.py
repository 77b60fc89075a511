"""What stands before the nodes in production, in its smallest form: one address, whose connections
go to any node that takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

PIECE_BYTES = 64 * 1024
CONNECT_SECONDS = 2.0

Address = tuple[str, int]
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer:
    """Takes turns. A connection whose node dies is reset, and its client comes again."""

    def __init__(self, nodes: Sequence[Address]) -> None:
        self._nodes = list(nodes)
        self._turn = count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def open(self, port: int = 0) -> Balancer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            found = await self._connect()
            if found is not None:
                far_reader, far = found
                await _first_of(_carry(reader, far), _carry(far_reader, writer))
        except asyncio.CancelledError:
            pass  # closed
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.close()

    async def _connect(self) -> Ends | None:
        """The next node in turn that takes a connection."""
        first = next(self._turn)
        for step in range(len(self._nodes)):
            host, port = self._nodes[(first + step) % len(self._nodes)]
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(host, port)
        return None


async def _first_of(*ways: asyncio.Task[None]) -> None:
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> asyncio.Task[None]:
    async def carry() -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE_BYTES):
                target.write(piece)
                await target.drain()

    return asyncio.ensure_future(carry())
