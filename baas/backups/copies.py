"""Bytes on their way from one store to another: a few at a time, and again where a store says that
it is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

from baas.buckets.blobs import BlobStore, Chunk
from baas.errors import BaasError

TRIES = 8
PAUSE_SECONDS_MAX = 10.0
COPIES_AT_ONCE = 8
T = TypeVar("T")


async def copy_blob(
    source: BlobStore, source_key: str, target: BlobStore, target_key: str, size: int
) -> AsyncGenerator[Chunk]:
    """Copies one blob, handing on its bytes as they pass. To be read to its end: a copy that is
    left early is none."""
    await target.delete_partial(target_key)
    writer = await target.open_writer(target_key)
    try:
        async for chunk in source.read(source_key, 0, size):
            await writer.write(chunk)
            yield chunk
    except BaseException:
        await writer.abort()
        raise
    await writer.finish()


async def trying(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, which may be repeated. Raises what it raises the last time."""
    for attempt in range(1, TRIES):
        try:
            return await work()
        except BaasError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(min(0.1 * 2**attempt, PAUSE_SECONDS_MAX))
    return await work()


async def run_some(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Runs all, a few at a time, each as `trying` does. Raises the first error, and ends the
    others."""
    gate = asyncio.Semaphore(COPIES_AT_ONCE)

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await trying(work)

    tasks = [asyncio.create_task(run(work)) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
