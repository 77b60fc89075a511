"""Connections that can be hurt: a TCP proxy that drops them, refuses them, or swallows what is sent
and delivers it late."""

from __future__ import annotations

import asyncio
from contextlib import suppress

PIECE_BYTES = 64 * 1024


class Wire:
    """A port of loopback that leads to another one. Lives on one event loop."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> Wire:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self._flows.set()
        for task in tuple(self._carriers):
            task.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Resets all connections, and every new one."""
        self._is_cut = True
        for writer in tuple(self._connections):
            writer.transport.abort()

    def silence(self) -> None:
        """Connections stay and can be made; nothing gets through, in either direction."""
        self._flows.clear()

    def heal(self) -> None:
        """What was swallowed meanwhile arrives now."""
        self._is_cut = False
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carriers.add(task)
        self._connections.add(writer)
        try:
            if self._is_cut:
                return
            await self._flows.wait()
            with suppress(OSError):
                await self._carry_both(reader, writer)
        except asyncio.CancelledError:
            pass  # closed
        finally:
            self._connections.discard(writer)
            self._carriers.discard(task)
            writer.transport.abort()

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._connections.add(far_writer)
        ways = [
            asyncio.ensure_future(self._carry(reader, far_writer)),
            asyncio.ensure_future(self._carry(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._connections.discard(far_writer)
            far_writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE_BYTES):
                await self._flows.wait()
                target.write(piece)
                await target.drain()
