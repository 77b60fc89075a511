"""What nothing refers to is deleted, in its time; what somebody has is not, whatever happens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from baas.app import App
from baas.buckets.collector import Collector
from baas.buckets.names import BucketName
from baas.buckets.objects import NO_CONDITION, Declared, Objects
from baas.buckets.records import StoredObject
from baas.buckets.uploads import Uploads
from baas.clock import VirtualClock
from baas.services import projects as project_cases
from baas.services.caller import Caller, CallerKind
from baas.testing import make_settings, started_app
from tests.s3 import S3Server

BUCKET = BucketName("demo", "default")
HOUR = 3_600
OPERATOR = Caller(CallerKind.ADMIN)


async def allow(method: str, old: StoredObject | None, new: StoredObject | None) -> None:
    """Everything."""


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@dataclass
class Place:
    app: App
    objects: Objects
    uploads: Uploads
    collector: Collector
    clock: VirtualClock

    async def put(self, name: str, content: bytes = b"hello") -> StoredObject:
        written = await self.objects.write(BUCKET, chunks(content), Declared())
        return await self.objects.publish(BUCKET, name, written, Declared(), NO_CONDITION, allow)

    async def count(self) -> int:
        """The blobs in the store."""
        return sum([len(batch) async for batch in self.objects.store.list("")])


@pytest_asyncio.fixture(params=["local", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    objects = "local"
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        objects = f"{server.url}/{uuid4().hex}"
    # Stores have clocks of their own, so this one begins at their time.
    clock = VirtualClock(time.time_ns() // 1_000)
    async with started_app(make_settings(tmp_path / "data", objects=objects), clock) as app:
        context = app.context
        await project_cases.create_project(context, OPERATOR, "demo")
        await context.objects.create_bucket("demo", "default")
        assert app.collector is not None
        yield Place(app, context.objects, context.uploads, app.collector, clock)


async def test_replaced_and_deleted_bytes_are_kept_for_the_grace_time(place: Place) -> None:
    await place.put("a")
    await place.put("a", b"other")
    await place.put("b")
    await place.objects.delete(BUCKET, "b", NO_CONDITION, allow)
    await place.collector.collect("demo")
    await place.collector.sweep()
    assert await place.count() == 3
    place.clock.advance(2 * HOUR)
    assert await place.collector.collect("demo") == 2
    assert await place.count() == 1
    assert await place.collector.collect("demo") == 0


async def test_shared_bytes_live_as_long_as_the_last_copy(place: Place) -> None:
    await place.put("a")
    for name in ("b", "c"):
        await place.objects.copy(BUCKET, "a", BUCKET, name, NO_CONDITION, allow, allow)
    for name in ("a", "b"):
        await place.objects.delete(BUCKET, name, NO_CONDITION, allow)
    place.clock.advance(2 * HOUR)
    await place.collector.collect("demo")
    await place.collector.sweep()
    assert await place.count() == 1
    await place.objects.delete(BUCKET, "c", NO_CONDITION, allow)
    place.clock.advance(2 * HOUR)
    await place.collector.collect("demo")
    assert await place.count() == 0


async def test_the_sweep_finds_orphans_and_leaves_what_is_young(place: Place) -> None:
    kept = await place.put("kept")
    await place.objects.write(BUCKET, chunks(b"orphan"), Declared())
    swept = await place.collector.sweep()
    assert (swept.seen, swept.orphans) == (2, 0)
    place.clock.advance(2 * HOUR)
    swept = await place.collector.sweep()
    assert (swept.orphans, swept.bytes) == (1, 6)
    assert await place.count() == 1
    assert kept == await place.objects.find(BUCKET, "kept")


async def test_the_sweep_leaves_what_an_upload_in_progress_owns(place: Place) -> None:
    upload = await place.uploads.start(BUCKET, "up", "server", Declared())
    upload = await place.uploads.append("demo", upload, 0, chunks(b"x" * 6_000_000))
    place.clock.advance(20 * HOUR)
    assert (await place.collector.sweep()).orphans == 0
    upload = await place.uploads.append("demo", upload, 6_000_000, chunks(b"y"))
    place.clock.advance(20 * HOUR)
    assert (await place.collector.sweep()).orphans == 0
    assert len(upload.parts) == 2
    assert await place.count() == 2


async def test_the_sweep_leaves_old_bytes_that_were_deleted_just_now(place: Place) -> None:
    """Somebody may still be reading them."""
    await place.put("a")
    place.clock.advance(5 * HOUR)
    await place.objects.delete(BUCKET, "a", NO_CONDITION, allow)
    assert (await place.collector.sweep()).orphans == 0
    assert await place.count() == 1


async def test_an_unfinished_blob_is_removed_once_it_is_old(place: Place) -> None:
    writer = await place.objects.store.open_writer("demo/content/part")
    await writer.write(b"x" * 1000)
    await place.collector.sweep()
    place.clock.advance(2 * HOUR)
    await place.collector.sweep()
    assert await place.count() == 0
    await writer.abort()


async def test_many_parts_of_one_put_are_held_while_it_goes_on(place: Place) -> None:
    place.objects.store.part_bytes_max = 1_000_000

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 900_000
            place.clock.advance(10 * HOUR)
            assert (await place.collector.sweep()).orphans == 0

    written = await place.objects.write(BUCKET, slow(), Declared())
    assert len(written.parts) > 1
    await place.objects.publish(BUCKET, "a", written, Declared(), NO_CONDITION, allow)
    place.clock.advance(20 * 24 * HOUR)
    assert (await place.collector.sweep()).orphans == 0
    assert len(written.parts) == await place.count()


async def test_bytes_of_a_deleted_project_are_orphans(place: Place) -> None:
    await place.put("a")
    await project_cases.delete_project(place.app.context, OPERATOR, "demo")
    place.clock.advance(2 * HOUR)
    await project_cases.create_project(place.app.context, OPERATOR, "demo")
    await place.objects.create_bucket("demo", "default")
    made = await place.put("a", b"of the new project")
    await place.collector.sweep("demo")
    assert made == await place.objects.find(BUCKET, "a")
    # What was put just now is as old as the rest, by the store's own clock; only it is referred to.
    assert await place.count() == 1
    await place.objects.delete(BUCKET, "a", NO_CONDITION, allow)
    place.clock.advance(2 * HOUR)
    await place.collector.collect("demo")
    assert await place.count() == 0


async def test_nothing_is_swept_in_the_store_of_another_installation(
    place: Place, tmp_path: Path
) -> None:
    await place.put("a")
    await place.collector.sweep()
    other_settings = make_settings(tmp_path / "other")
    clock = VirtualClock(place.clock.now_microseconds())
    async with started_app(other_settings, clock) as other:
        other.context.objects.store = place.objects.store
        assert other.collector is not None
        clock.advance(10 * HOUR)
        assert (await other.collector.sweep()).orphans == 0
    assert await place.count() == 1


async def test_a_store_that_fails_loses_no_object(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault between the bytes and the commit leaves the object as it was."""
    await place.put("a", b"before")

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(place.objects, "stage", fail)
        with suppress(RuntimeError):
            await place.put("a", b"after")
    stored = await place.objects.find(BUCKET, "a")
    assert stored is not None
    assert stored.size == 6
    place.clock.advance(2 * HOUR)
    await place.collector.sweep()
    assert await place.count() == 1


async def test_bytes_are_held_until_the_last_one_lets_go(place: Place) -> None:
    """A node that had lost its task to another one lets go of what that one still holds."""
    holds = place.objects.holds
    async with holds.hold("demo"):
        async with holds.hold("demo"):
            pass
        assert await holds.is_held("demo")
        await place.put("a")
        await place.objects.delete(BUCKET, "a", NO_CONDITION, allow)
        place.clock.advance(120)
        async with holds.hold("demo"):  # renewed, by somebody
            place.clock.advance(250)
            assert await holds.is_held("demo")
    assert not await holds.is_held("demo")
