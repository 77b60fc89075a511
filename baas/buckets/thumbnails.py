"""Thumbnails of images, made when first asked for, kept beside the stored bytes, deleted with them.
There are five sizes, so what is kept of an image is bounded; and so is what making one costs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import aclosing

from baas.buckets.blobs import BlobStore
from baas.buckets.contents import read_range
from baas.buckets.records import StoredObject
from baas.buckets.thumbnailer import SECONDS
from baas.errors import (
    FailedPrecondition,
    ResourceExhausted,
    Unavailable,
)
from baas.settings import Settings

SIZES = (64, 128, 256, 512, 1024)
THUMBNAIL_BYTES_MAX = 4 * 1024 * 1024
_SOURCES = frozenset(
    {
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "image/tiff",
    }
)


def thumbnail_id(size: int) -> str:
    """The last part of a thumbnail's key."""
    return f"t{size}"


THUMBNAIL_IDS = tuple(thumbnail_id(size) for size in SIZES)


class Thumbnails:
    """Makes and keeps them. Of one thumbnail that many ask for at once, one is made."""

    def __init__(self, store: BlobStore, settings: Settings) -> None:
        self._store = store
        self._limits = settings.limits
        self._gate = asyncio.Semaphore(max(settings.thumbnail_processes, 1))
        self._making: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, project: str, stored: StoredObject, size: int) -> bytes:
        """WebP. Raises FailedPrecondition (`NoThumbnail`) for what is no image, or too large a
        one; ResourceExhausted (`ThumbnailQueueFull`)."""
        maximum = self._limits.thumbnail_source_bytes_max
        if stored.sniffed_type not in _SOURCES or stored.size > maximum:
            raise no_thumbnail()
        key = f"{project}/{stored.content}/{thumbnail_id(size)}"
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= self._limits.thumbnail_queue_max:
                raise ResourceExhausted(
                    "too many thumbnails wait to be made", reason="ThumbnailQueueFull"
                )
            making = asyncio.create_task(self._obtain(key, project, stored, size))
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(making)

    async def _obtain(self, key: str, project: str, stored: StoredObject, size: int) -> bytes:
        kept = await self._store.get(key)
        if kept is not None:
            return kept
        async with self._gate:
            source = bytearray()
            chunks = read_range(self._store, project, stored.content, stored.parts, 0, stored.size)
            async with aclosing(chunks):
                async for chunk in chunks:
                    source += chunk
            made = await self._make(bytes(source), size)
        await self._store.put(key, made)
        return made

    async def _make(self, source: bytes, size: int) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "baas.buckets.thumbnailer",
            str(size),
            str(self._limits.thumbnail_pixels_max),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(SECONDS * 2):
                made, _ = await process.communicate(source)
        except TimeoutError:
            raise no_thumbnail() from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0 or not made or len(made) > THUMBNAIL_BYTES_MAX:
            raise no_thumbnail()
        return made

    async def close(self) -> None:
        for making in tuple(self._making.values()):
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unavailable, FailedPrecondition):
                await making


def no_thumbnail() -> FailedPrecondition:
    return FailedPrecondition(
        "there is no thumbnail of this object: it is no image, a damaged or too large one",
        reason="NoThumbnail",
    )
