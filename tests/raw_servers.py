"""Servers that speak no more than a test says, byte by byte, and leave nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that leaves each connection to `answer`, and closes it when that is
    over. At the end all are closed: `answer` is cancelled where it still waits, and a client that
    hangs up is no error."""
    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for _ in range(10):  # whoever has just connected gets a task
                await asyncio.sleep(0)
            for task in handling:
                task.cancel()
            for outcome in await asyncio.gather(*handling, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
