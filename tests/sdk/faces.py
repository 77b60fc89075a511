"""Lets one test drive the blocking and the asyncio client alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from baas_sdk import AsyncClient, Client, RetryPolicy

FAST = RetryPolicy(pause_seconds_first=0.001, pause_seconds_max=0.002)


class Face:
    """A client, and how its methods are waited for. Blocking calls run in threads, so that the test
    itself never blocks its loop."""

    def __init__(self, url: str, *, is_async: bool, **settings: Any) -> None:
        settings = {"project": "demo", "api_key": "baas_pk_x", "retry": FAST, **settings}
        self.is_async = is_async
        self.client: Any = AsyncClient(url, **settings) if is_async else Client(url, **settings)

    async def call(self, method: Callable[..., Any], /, *args: Any, **rest: Any) -> Any:
        """Calls a method that sends something."""
        if self.is_async:
            return await method(*args, **rest)
        return await asyncio.to_thread(method, *args, **rest)

    async def collect(self, stream: Any) -> list[Any]:
        """All items of an iterator that sends something."""
        if self.is_async:
            return [item async for item in stream]
        return await asyncio.to_thread(list, stream)

    async def next(self, listener: Any) -> Any:
        """The next item of a listener or stream."""
        if self.is_async:
            return await anext(listener)
        return await asyncio.to_thread(_next, listener)

    async def close(self) -> None:
        await self.call(self.client.close)


OpenFace: TypeAlias = Callable[..., Face]


def _next(iterator: Any) -> Any:
    # A StopIteration cannot pass through a future.
    try:
        return next(iterator)
    except StopIteration:
        raise StopAsyncIteration from None
