"""An S3 server that answers late, half, wrongly, or not at all: nobody waits without end or is told
what is not so, no object is lost or half, and no bytes stay that belong to nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from baas.app import App
from baas.buckets import remote_blobs
from baas.buckets.blobs import BlobInfo
from baas.buckets.names import BucketName
from baas.buckets.remote_blobs import PIECE_BYTES, RemoteBlobs
from baas.clock import VirtualClock
from baas.database.names import DatabaseName
from baas.errors import Unavailable
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.services import backup_runner, objects, projects
from baas.testing import make_settings, started_app
from tests.baas.backups.test_backups import back_up, put, put_object
from tests.baas.backups.test_drill import read as read_object
from tests.baas.backups.test_drill import restore
from tests.baas.http.objects_world import OBJECTS, UPLOADS, ObjectWorld, object_world, ok, reason
from tests.baas.services.worlds import OPERATOR
from tests.faults.s3_wire import Fault, S3Wire, through
from tests.faults.seeds import IS_LONG
from tests.s3 import S3Server, s3_server
from tests.undisturbed import undisturbed

__all__ = ["s3_server", "undisturbed"]
KEY, OTHER = "demo/content/part", "demo/content/other"
LARGE = bytes(range(256)) * 4096 * 9  # 9 MiB: two pieces of an upload, three answers of a download
FAILS = (503, "ObjectStoreUnavailable")
HOURS = 2 * 3_600

pytestmark = pytest.mark.slow


def some(*faults: Fault) -> tuple[Fault, ...]:
    """The first one, in `make crash` all of them."""
    return faults if IS_LONG else faults[:1]


@pytest_asyncio.fixture
async def wire(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Wire]:
    port = urlsplit(s3_server.environment["AWS_ENDPOINT_URL"]).port
    assert port is not None
    async with S3Wire(port) as opened:
        for name, value in through(opened, s3_server.environment).items():
            monkeypatch.setenv(name, value)
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is made again once."""
    monkeypatch.setattr(remote_blobs, "REPEATS_MAX", 1)


class Store(RemoteBlobs):
    """A place of its own in the bucket, below `prefix`."""

    def __init__(self, prefix: str | None = None) -> None:
        self.prefix = prefix or uuid4().hex
        super().__init__(f"s3://objects/{self.prefix}")

    def hurried(self) -> Store:
        """The same place, for who does not wait long for an answer."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote_blobs, "REQUEST_SECONDS", 2)
            return Store(self.prefix)

    def hurried_once(self) -> Store:
        """The same, for who does not ask again."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote_blobs, "REPEATS_MAX", 0)
            return self.hurried()


async def write(store: RemoteBlobs, key: str, content: bytes) -> None:
    writer = await store.open_writer(key)
    try:
        for at in range(0, len(content), 500_000):
            await writer.write(content[at : at + 500_000])
    except BaseException:
        await writer.abort()
        raise
    await writer.finish()


async def read(store: RemoteBlobs, key: str, start: int, end: int) -> bytes:
    async with aclosing(cast(Any, store.read(key, start, end))) as chunks:
        return b"".join([bytes(chunk) async for chunk in chunks])


async def listed(store: RemoteBlobs) -> list[BlobInfo]:
    return [info async for batch in store.list("") for info in batch]


# Requests

Do = Callable[[RemoteBlobs], Awaitable[object]]
# What is done, by which request, and what comes of it.
DEEDS: dict[str, tuple[str, str, Do, object]] = {
    "put": ("PUT", "new", lambda store: store.put("demo/content/new", b"new"), None),
    "add": ("PUT", "new", lambda store: store.add("demo/content/new", b"new"), None),
    "read": ("GET", "part", lambda store: read(store, KEY, 2, 6), b"2345"),
    "get": ("GET", "part", lambda store: store.get(KEY), b"0123456789"),
    "size": ("HEAD", "part", lambda store: store.find_size(KEY), 10),
    "delete": ("POST", "delete", lambda store: store.delete([OTHER, "demo/content/none"]), None),
}


async def filled_store() -> Store:
    store = Store()
    await store.put(KEY, b"0123456789")
    await store.put(OTHER, b"x")
    return store


@pytest.mark.parametrize(
    "fault", [Fault.SLOW_DOWN, Fault.ERROR, Fault.LOST, Fault.HALF_RESET, Fault.SHORT]
)
async def test_what_fails_once_is_asked_again(wire: S3Wire, fault: Fault) -> None:
    store = await filled_store()
    is_half = fault in (Fault.HALF_RESET, Fault.SHORT)
    for deed in ("read", "get") if is_half else tuple(DEEDS):
        method, part, do, expected = DEEDS[deed]
        wire.hurt(fault, method, part, times=1)
        assert await do(store) == expected, deed
    assert wire.count("GET", fault) == 2
    if not is_half:
        assert await store.get("demo/content/new") == b"new"


async def test_what_is_late_once_is_asked_again(wire: S3Wire) -> None:
    async def meet(fault: Fault, deed: str) -> None:
        method, _, do, expected = DEEDS[deed]
        store = (await filled_store()).hurried()
        wire.hurt(fault, method, store.prefix, times=1)
        assert await do(store) == expected, (fault, deed)

    met = [(Fault.HALF_SILENT, "read"), (Fault.HALF_SILENT, "get")]
    met += [(fault, deed) for fault in (Fault.UNASKED, Fault.LATE) for deed in ("put", "size")]
    await asyncio.gather(*[meet(*one) for one in met])
    assert sum(one.fault is not None for one in wire.seen) == len(met)


@pytest.mark.parametrize("fault", some(Fault.UNASKED, Fault.LATE, Fault.HALF_SILENT, Fault.ERROR))
async def test_a_store_that_fails_for_long_is_unavailable_in_time(
    wire: S3Wire, fault: Fault
) -> None:
    """Also nobody is told where it is."""
    store = await filled_store()
    deeds = ("read", "get", "delete") if fault is Fault.HALF_SILENT else tuple(DEEDS)
    for deed in deeds:
        wire.hurt(fault, *DEEDS[deed][:2])

    async def fail(deed: str) -> None:
        with pytest.raises(Unavailable) as told:
            await DEEDS[deed][2](store.hurried_once())
        assert told.value.reason == "ObjectStoreUnavailable"
        assert "://" not in told.value.message

    async with asyncio.timeout(60):  # a request of a minute would be too much already
        await asyncio.gather(*[fail(deed) for deed in deeds])
    wire.heal()
    await DEEDS["delete"][2](store)
    assert OTHER not in [info.key for info in await listed(store)]


async def test_a_blob_that_is_cut_is_told_from_an_answer_that_is(wire: S3Wire) -> None:
    store = Store()
    await store.put(KEY, b"0123456789")
    wire.hurt(Fault.SHORT, "GET")
    for do in (read(store, KEY, 0, 10), store.get(KEY)):
        with pytest.raises(Unavailable, match="shorter"):
            await do
    assert wire.count("GET", Fault.SHORT) == 4
    await store.put(OTHER, b"")
    wire.heal()
    assert await store.get(OTHER) == b""


# Large blobs


@pytest.mark.parametrize("fault", some(Fault.LOST, Fault.HALF_RESET, Fault.SHORT))
async def test_a_large_blob_is_there_though_its_last_answer_is_lost(
    wire: S3Wire, impatient: None, fault: Fault
) -> None:
    """However often it is asked: the server knows nothing of an upload that it has ended."""
    store = Store()
    wire.hurt(fault, "POST", "uploadId")
    await write(store, KEY, LARGE)
    assert wire.count("POST", fault) >= 1
    assert await read(store, KEY, PIECE_BYTES - 5, len(LARGE)) == LARGE[PIECE_BYTES - 5 :]


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_large_blob_that_fails_leaves_nothing(
    wire: S3Wire, impatient: None, method: str
) -> None:
    """One of its pieces, or the end; nothing is taken for there that is not."""
    store = Store()
    wire.hurt(Fault.SLOW_DOWN, method, "uploadId")
    with pytest.raises(Unavailable):
        await write(store, KEY, LARGE)
    assert [one.method for one in wire.seen if one.method == "DELETE"] == ["DELETE"]
    wire.heal()
    assert await listed(store) == []
    await write(store, OTHER, LARGE)
    assert [info.size for info in await listed(store)] == [len(LARGE)]


# Objects


@pytest_asyncio.fixture
async def world(wire: S3Wire, impatient: None, tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    clock = VirtualClock(time.time_ns() // 1_000)  # stores have clocks of their own
    place = f"s3://objects/{uuid4().hex}"
    async with object_world(tmp_path / "data", clock=clock, users=False, objects=place) as made:
        yield made


async def names(world: ObjectWorld) -> list[str]:
    return [one["name"] for one in ok(await world.operator.get(OBJECTS))["objects"]]


async def blobs(world: ObjectWorld) -> list[int]:
    """Their sizes, after what belongs to nothing is gone."""
    app: App = world.app
    assert app.collector is not None
    clock = app.context.clock
    assert isinstance(clock, VirtualClock)
    clock.advance(HOURS * 1_000_000)
    await app.collector.sweep()
    sizes = [info.size async for batch in app.context.objects.store.list("") for info in batch]
    return sorted(sizes)


@pytest.mark.parametrize("fault", some(Fault.LOST, Fault.SLOW_DOWN, Fault.ERROR))
async def test_an_object_that_fails_is_none_and_the_one_before_stays(
    world: ObjectWorld, wire: S3Wire, fault: Fault
) -> None:
    """With LOST the store has the bytes each time, and nobody refers to them."""
    client = world.operator
    ok(await client.put(f"{OBJECTS}/old", content=b"before"))
    wire.hurt(fault, "PUT")
    for name, content in (("old", b"after it"), ("new", b"fresh"), ("large", LARGE)):
        assert reason(await client.put(f"{OBJECTS}/{name}", content=content)) == FAILS
    assert await names(world) == ["old"]
    assert (await client.get(f"{OBJECTS}/new")).status_code == 404
    wire.heal()
    assert (await client.get(f"{OBJECTS}/old")).content == b"before"
    ok(await client.put(f"{OBJECTS}/old", content=b"after it"))
    assert await blobs(world) == [8]
    assert (await client.get(f"{OBJECTS}/old")).content == b"after it"


@pytest.mark.parametrize("fault", some(Fault.LOST, Fault.SLOW_DOWN, Fault.ERROR))
async def test_a_resumable_upload_goes_on_where_it_was_told(
    world: ObjectWorld, wire: S3Wire, fault: Fault
) -> None:
    client = world.operator
    content = LARGE + b"and more"
    started = ok(await client.post(f"{OBJECTS}/up:upload", json={"size": len(content)}))
    upload = f"{UPLOADS}/{started['upload']}"

    async def send(offset: int, end: int) -> httpx.Response:
        headers = {"upload-offset": str(offset)}
        return await client.patch(upload, content=content[offset:end], headers=headers)

    assert ok(await send(0, 1_000))["offset"] == 1_000
    wire.hurt(fault, "PUT")
    assert reason(await send(1_000, 2_000)) == FAILS  # with the last part once more
    assert reason(await send(1_000, len(LARGE))) == FAILS
    assert (await client.head(upload)).headers["upload-offset"] == "1000"
    wire.heal()
    wire.hurt(Fault.SLOW_DOWN, "GET")
    assert reason(await send(1_000, 2_000)) == FAILS  # the last part cannot be read
    wire.heal()
    assert ok(await send(1_000, len(content)))["offset"] == len(content)
    wire.hurt(Fault.SLOW_DOWN, "GET")
    assert reason(await client.post(f"{upload}:finish")) == FAILS  # its bytes are read again
    assert await names(world) == []
    wire.heal()
    told = ok(await client.post(f"{upload}:finish"))
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert await blobs(world) == [len(content)]
    assert (await client.get(f"{OBJECTS}/up")).content == content


@pytest.mark.parametrize("fault", some(Fault.HALF_RESET, Fault.SHORT, Fault.SLOW_DOWN))
async def test_a_download_that_breaks_off_is_not_taken_for_whole(
    world: ObjectWorld, wire: S3Wire, fault: Fault
) -> None:
    client = world.operator
    ok(await client.put(f"{OBJECTS}/large", content=LARGE))
    whole = f"{OBJECTS}/large"
    wire.hurt(fault, "GET", times=1)
    assert (await client.get(whole)).content == LARGE
    wire.hurt(fault, "GET", times=1)
    part = await client.get(whole, headers={"range": f"bytes=5-{PIECE_BYTES + 5}"})
    assert (part.status_code, part.content) == (206, LARGE[5 : PIECE_BYTES + 6])
    wire.hurt(fault, "GET")
    assert reason(await client.get(whole)) == FAILS
    wire.heal()
    wire.seen.clear()
    wire.hurt(fault, "GET", after=2)
    with pytest.raises(AssertionError):  # the server's protocol is not ended
        await client.get(whole)
    assert wire.count("GET", None) == 2
    wire.heal()
    assert (await client.get(whole)).content == LARGE


async def test_bytes_whose_deletion_fails_are_deleted_soon(
    world: ObjectWorld, wire: S3Wire
) -> None:
    """Nobody who deletes objects is told of it; the next round, a minute later, does it."""
    client, app = world.operator, world.app
    assert app.collector is not None
    for name in ("a", "b"):
        ok(await client.put(f"{OBJECTS}/{name}", content=name.encode()))
    wire.hurt(Fault.SLOW_DOWN, "POST", "delete")
    assert (await client.delete(f"{OBJECTS}/a")).is_success
    clock = app.context.clock
    assert isinstance(clock, VirtualClock)
    clock.advance(HOURS * 1_000_000)
    await app.collector.run_round()
    assert wire.count("POST", Fault.SLOW_DOWN) > 0
    wire.heal()
    wire.seen.clear()
    await app.collector.run_round()
    assert wire.count("POST") == 1
    store = app.context.objects.store
    assert sum([len(batch) async for batch in store.list("")]) == 1


# Backups


async def test_backups_and_restores_go_on_where_the_store_failed(
    wire: S3Wire, impatient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no answer that is cut short is taken for a damaged backup."""
    monkeypatch.setattr(backup_runner, "LOOK_SECONDS", 0.05)
    settings = make_settings(tmp_path / "data", backups=f"s3://objects/{uuid4().hex}")
    async with started_app(settings) as app:
        await projects.create_project(app.context, OPERATOR, "demo")
        await objects.create_bucket(app.context, OPERATOR, "demo", "files")
        await put(app, 30)
        await put_object(app, "a", LARGE)
        wire.hurt(Fault.LOST, "PUT", "sets", times=1)
        wire.hurt(Fault.ERROR, "PUT", "objects-", times=1)
        wire.hurt(Fault.SLOW_DOWN, "PUT", "manifest", times=3)  # more than it is asked at once
        backup = (await back_up(app, "demo")).backup
        assert wire.is_done_with
        wire.hurt(Fault.SHORT, "GET", "objects-", times=1)
        wire.hurt(Fault.SLOW_DOWN, "GET", "sets", after=2, times=3)
        wire.hurt(Fault.SHORT, "GET", "manifest", times=1)
        await restore(app, backup, project="demo", target="copy")
        assert await read_object(app, BucketName("copy", "files"), "a") == LARGE
        database = await app.context.databases.open(DatabaseName("copy"))
        query = Query(CollectionPath(("c",)))
        assert len((await database.run_query(query)).documents) == 30
    assert wire.is_done_with
