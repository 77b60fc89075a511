"""What every store of blobs does: the same on the local disk and on S3."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from obstore.store import LocalStore

from baas.buckets.blobs import READ_BYTES, BlobInfo, BlobStore
from baas.buckets.local_blobs import LocalBlobs
from baas.buckets.remote_blobs import PIECE_BYTES, RemoteBlobs
from baas.errors import DataLoss, InvalidArgument, Unavailable
from tests.open_files import open_files
from tests.raw_servers import raw_server
from tests.s3 import S3Server

KEY = "demo/contentcontent/part"
LARGE = bytes(range(256)) * 4096 * 20  # 20 MiB: several pieces on S3


async def write(store: BlobStore, key: str, *chunks: bytes) -> None:
    writer = await store.open_writer(key)
    for chunk in chunks:
        await writer.write(chunk)
    await writer.finish()


async def read(store: BlobStore, key: str, start: int, end: int) -> bytes:
    async with aclosing(cast(Any, store.read(key, start, end))) as chunks:
        return b"".join([bytes(chunk) async for chunk in chunks])


async def listed(store: BlobStore, prefix: str = "") -> list[BlobInfo]:
    return [info async for batch in store.list(prefix) for info in batch]


async def test_what_is_written_is_read(store: BlobStore) -> None:
    await write(store, KEY, b"hello ", b"world")
    assert await read(store, KEY, 0, 11) == b"hello world"
    assert await read(store, KEY, 3, 8) == b"lo wo"


async def test_a_large_blob_is_written_in_pieces_and_read_in_ranges(store: BlobStore) -> None:
    chunks = [LARGE[at : at + 500_000] for at in range(0, len(LARGE), 500_000)]
    await write(store, KEY, *chunks)
    assert await read(store, KEY, 0, len(LARGE)) == LARGE
    at = PIECE_BYTES
    assert LARGE[at - 5 : at + 5] == await read(store, KEY, at - 5, at + 5)


async def test_a_small_blob_is_added_at_once(store: BlobStore) -> None:
    await store.add(KEY, b"hello")
    assert await read(store, KEY, 1, 5) == b"ello"
    assert [(info.key, info.is_partial) for info in await listed(store)] == [(KEY, False)]


@pytest.mark.parametrize(("start", "end"), [(0, len(LARGE)), (5, 9), (7, 7 + READ_BYTES + 1)])
async def test_what_is_read_is_seen_before_in_its_order(
    store: BlobStore, start: int, end: int
) -> None:
    await store.add(KEY, LARGE)
    seen: list[bytes] = []
    given = 0
    async for chunk in store.read(KEY, start, end, lambda chunk: seen.append(bytes(chunk))):
        assert seen[given] == chunk
        given += 1
    assert b"".join(seen) == LARGE[start:end]
    assert len(seen) == given


async def test_an_unfinished_blob_cannot_be_read(store: BlobStore) -> None:
    writer = await store.open_writer(KEY)
    await writer.write(b"x" * 1_000_000)
    with pytest.raises(DataLoss, match="missing"):
        await read(store, KEY, 0, 1)
    await writer.abort()
    assert await listed(store) == []


async def test_an_aborted_large_blob_leaves_nothing(store: BlobStore) -> None:
    writer = await store.open_writer(KEY)
    for _ in range(20):
        await writer.write(b"x" * 1_000_000)
    await writer.abort()
    assert await listed(store) == []


async def test_a_blob_that_is_too_short_is_data_loss(store: BlobStore) -> None:
    await write(store, KEY, b"hello")
    with pytest.raises(DataLoss):
        await read(store, KEY, 0, 100)


async def test_deleting_is_repeatable(store: BlobStore) -> None:
    await write(store, KEY, b"hello")
    await store.delete([KEY, "demo/nothing/here"])
    await store.delete([KEY])
    assert await listed(store) == []


async def test_listing_shows_keys_sizes_and_ages(store: BlobStore) -> None:
    await write(store, "demo/aaaa/one", b"1")
    await write(store, "demo/bbbb/two", b"22")
    await write(store, "other/cccc/three", b"333")
    found = {info.key: info.size for info in await listed(store)}
    assert found == {"demo/aaaa/one": 1, "demo/bbbb/two": 2, "other/cccc/three": 3}
    assert {"demo/aaaa/one", "demo/bbbb/two"} == {info.key for info in await listed(store, "demo/")}


async def test_small_blobs_are_put_replaced_and_got(store: BlobStore) -> None:
    assert await store.get(KEY) is None
    await store.put(KEY, b"one")
    await store.put(KEY, b"two")
    assert await store.get(KEY) == b"two"


async def test_a_store_is_claimed_by_one_installation(store: BlobStore) -> None:
    assert await store.claim("first")
    assert await store.claim("first")
    assert not await store.claim("second")


async def test_a_full_or_absent_disk_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalBlobs(tmp_path / "file")
    with pytest.raises(Unavailable, match="object store fails"):
        await store.check()
    await store.close()


async def test_a_killed_s3_server_is_unavailable_and_comes_back(
    s3_server: S3Server, tmp_path: Path
) -> None:
    store = RemoteBlobs(f"{s3_server.url}/killed")
    await write(store, KEY, b"hello")
    s3_server.kill()
    try:
        with pytest.raises(Unavailable, match="object store fails"):
            async with asyncio.timeout(60):
                await read(store, KEY, 0, 5)
    finally:
        s3_server.start()
    assert await read(store, KEY, 0, 5) == b"hello"


async def test_one_that_is_missing_does_not_keep_the_others_of_a_store_that_ends_there(
    tmp_path: Path,
) -> None:
    store = RemoteBlobs("s3://stands-in-for-another")
    store._store = LocalStore(tmp_path)
    keys = [f"p/b/{number:03}" for number in range(40)]
    for key in keys[1:]:
        await store.put(key, b"x")
    await store.delete(keys)
    assert [await store.get(key) for key in keys] == [None] * 40


@pytest.mark.parametrize(
    ("url", "settings", "told"),
    [
        (
            "gs://files/prod",
            {"GOOGLE_BASE_URL": "{url}", "GOOGLE_BEARER_TOKEN": "abc", "GOOGLE_ALLOW_HTTP": "true"},
            ("PUT /files/prod%2Fa HTTP/1.1", "authorization: Bearer abc"),
        ),
        (
            "az://files/prod",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "company",
                "AZURE_STORAGE_ACCOUNT_KEY": "a2V5",
                "AZURE_STORAGE_ENDPOINT": "{url}",
                "AZURE_ALLOW_HTTP": "true",
            },
            ("PUT /files/prod/a HTTP/1.1", "authorization: SharedKey company:"),
        ),
    ],
)
async def test_other_stores_are_asked_as_their_environment_says(
    url: str, settings: dict[str, str], told: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address, the names and the credentials; the stores themselves are not tested."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        assert await reader.readexactly(1) == b"x"
        writer.write(
            b'HTTP/1.1 200 OK\r\netag: "1"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'
        )

    async with raw_server(answer) as port:
        for name, value in settings.items():
            monkeypatch.setenv(name, value.format(url=f"http://127.0.0.1:{port}"))
        await RemoteBlobs(url).put("a", b"x")
    assert heads[0].startswith(told[0])
    assert told[1] in heads[0]


def test_a_store_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="it takes"):
        RemoteBlobs("ftp://somewhere")


async def test_a_full_disk_leaves_nothing_of_a_small_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    store = LocalBlobs(tmp_path / "objects", synced=False)
    await store.check()
    before = open_files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(Unavailable, match="full"):
            await store.add(KEY, b"hello")
    assert open_files(tmp_path) == before
    assert await listed(store) == []
    await store.close()


async def test_a_large_blob_is_read_in_small_chunks(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "objects", synced=False)
    await store.add(KEY, LARGE)
    sizes = [len(chunk) async for chunk in store.read(KEY, 0, len(LARGE))]
    assert max(sizes) == READ_BYTES
    await store.close()


async def test_a_cancelled_read_closes_its_file_once_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread goes on: the file is not closed under it, and not left open after it."""
    has_begun, goes_on = threading.Event(), threading.Event()
    read_really, close_really = os.preadv, os.close
    reads: list[int] = []
    closed: list[int] = []

    def read_slowly(descriptor: int, buffers: Any, offset: int) -> int:
        reads.append(descriptor)
        has_begun.set()
        goes_on.wait(30)
        return read_really(descriptor, buffers, offset)

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        close_really(descriptor)

    store = LocalBlobs(tmp_path / "objects", synced=False)
    await store.add(KEY, LARGE)
    monkeypatch.setattr(os, "preadv", read_slowly)
    monkeypatch.setattr(os, "close", close)
    reading = asyncio.create_task(read(store, KEY, 0, len(LARGE)))
    assert await asyncio.to_thread(has_begun.wait, 30)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert reads[0] not in closed
    goes_on.set()
    await store.close()
    assert len(reads) == 1
    assert closed.count(reads[0]) == 1


async def test_a_cancelled_write_reaches_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread goes on, and the number of its file may be another file's by then."""
    has_begun, goes_on = threading.Event(), threading.Event()
    write_really = os.write

    def write_slowly(descriptor: int, data: Any) -> int:
        has_begun.set()
        goes_on.wait(30)
        return write_really(descriptor, data)

    store = LocalBlobs(tmp_path / "objects", synced=False)
    writer = await store.open_writer(KEY)
    monkeypatch.setattr(os, "write", write_slowly)
    writing = asyncio.create_task(writer.write(b"of an upload"))
    assert await asyncio.to_thread(has_begun.wait, 30)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    threading.Timer(0.3, goes_on.set).start()
    await writer.abort()
    with ExitStack() as stack:
        others = [
            stack.enter_context((tmp_path / f"other{number}").open("w+b")) for number in range(20)
        ]
        goes_on.set()
        await store.close()
        assert [os.fstat(other.fileno()).st_size for other in others] == [0] * 20
    assert [one for one in (tmp_path / "objects").rglob("*") if one.is_file()] == []


async def test_a_stray_file_between_unfinished_ones_is_passed_over(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "objects", synced=False)
    writer = await store.open_writer(KEY)
    await writer.write(b"x")
    (tmp_path / "objects" / ".partial" / ".DS_Store").write_bytes(b"stray")
    assert [(info.key, info.is_partial) for info in await listed(store)] == [(KEY, True)]
    await writer.abort()
    await store.close()
