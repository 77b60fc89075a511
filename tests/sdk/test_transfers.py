"""Uploads and downloads through what a network does to them, over real sockets to a fake bucket."""

# ruff: noqa: ASYNC240  a test may look into a folder

from __future__ import annotations

import asyncio
import io
import random
from pathlib import Path
from typing import Any

import pytest
from baas_sdk import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    InvalidPath,
    NotFound,
    TransferProgress,
    Unavailable,
)

from tests.sdk.bucket_peer import FakeBucket, cut_download, half_arrived, lost_answer
from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import Peer, Received, Reply, error_reply

CHUNK = 1_000
DATA = random.Random(7).randbytes(3_500)


@pytest.fixture
def fake(peer: Peer) -> FakeBucket:
    made = FakeBucket()
    peer.reply(made)
    return made


@pytest.fixture
def blob(face: Face, fake: FakeBucket) -> Any:
    return face.client.bucket("default").blob("a/ü b.bin", chunk_size=CHUNK)


async def upload(face: Face, blob: Any, data: bytes = DATA, **rest: Any) -> None:
    await face.call(blob.upload_from_file, io.BytesIO(data), **rest)


async def test_a_small_object_goes_in_one_request(face: Face, fake: FakeBucket, blob: Any) -> None:
    await upload(face, blob, DATA[:CHUNK], size=CHUNK, content_type="image/png")

    assert fake.seen == ["PUT /objects/a%2F%C3%BC%20b.bin"]
    assert fake.bytes["a/ü b.bin"] == DATA[:CHUNK]
    assert (blob.size, blob.content_type, blob.generation) == (CHUNK, "image/png", 1)


async def test_a_large_one_goes_in_parts_and_tells_how_far_it_is(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    told: list[TransferProgress] = []

    await upload(face, blob, metadata={"k": "v"}, progress=told.append)

    assert fake.bytes["a/ü b.bin"] == DATA
    assert blob.metadata == {"k": "v"}
    assert [item.transferred for item in told] == [0, 1000, 2000, 3000, 3500]
    assert {item.upload for item in told} == {"u0"}
    assert {item.total for item in told} == {3500}
    assert len([line for line in fake.seen if line.startswith("PATCH")]) == 4


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 3500])
@pytest.mark.parametrize("is_known", [True, False])
async def test_every_length_arrives_whole(
    face: Face, fake: FakeBucket, blob: Any, size: int, is_known: bool
) -> None:
    await upload(face, blob, DATA[:size], size=size if is_known else None)
    assert await face.call(blob.download_as_bytes) == DATA[:size]


async def test_lost_connections_cost_nothing_but_time(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    fake.faults = [
        lost_answer(fake, "PATCH", "/uploads/"),
        half_arrived(fake),
        lost_answer(fake, "POST", ":finish"),
    ]

    await upload(face, blob)

    assert fake.faults == []
    assert fake.bytes["a/ü b.bin"] == DATA
    assert blob.sha256 == fake.objects["a/ü b.bin"]["sha256"]


async def test_a_killed_upload_goes_on_where_it_was(
    face: Face, fake: FakeBucket, blob: Any, tmp_path: Path
) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    fake.faults = [only_parts_until(1)]
    with pytest.raises(Unavailable) as caught:
        await face.call(blob.upload_from_filename, file)
    details = caught.value.details
    assert details == {"upload": "u0", "offset": 1000}
    fake.faults = []
    before = len(fake.seen)
    told: list[TransferProgress] = []

    await face.call(blob.resume_upload, "u0", file, progress=told.append)

    assert fake.bytes["a/ü b.bin"] == DATA
    assert [item.transferred for item in told] == [1000, 2000, 3000, 3500]
    assert [line.partition(" ")[0] for line in fake.seen[before:]] == [
        "GET", "PATCH", "PATCH", "PATCH", "POST",
    ]  # fmt: skip


async def test_another_file_is_not_taken_for_the_rest(
    face: Face, fake: FakeBucket, blob: Any, tmp_path: Path
) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    fake.faults = [only_parts_until(2)]
    with pytest.raises(Unavailable):
        await face.call(blob.upload_from_filename, file)
    fake.faults = []

    file.write_bytes(DATA + b"more")
    with pytest.raises(InvalidArgument, match="is of 3500 bytes, and the source has 3504"):
        await face.call(blob.resume_upload, "u0", file)
    fake.uploads["u0"]["size"] = None
    file.write_bytes(DATA[:1500])
    with pytest.raises(InvalidArgument, match="is at byte 2000, and the source ends at 1500"):
        await face.call(blob.resume_upload, "u0", file)
    with pytest.raises(NotFound):
        await face.call(blob.resume_upload, "gone", file)


async def test_an_upload_is_given_up(face: Face, fake: FakeBucket, blob: Any) -> None:
    def stop(progress: TransferProgress) -> None:
        if progress.transferred >= 2000:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        await upload(face, blob, progress=stop)
    assert list(fake.uploads) == ["u0"]
    await face.call(face.client.bucket("default").cancel_upload, "u0")
    await face.call(face.client.bucket("default").cancel_upload, "u0")
    assert (fake.uploads, fake.objects) == ({}, {})


async def test_a_conditional_upload_is_not_repeated_blindly(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    fake.faults = [lost_answer(fake, "PUT", "/objects/")]

    with pytest.raises(Unavailable):
        await upload(face, blob, b"x", if_generation_match=0)
    with pytest.raises(FailedPrecondition):
        await upload(face, blob, b"y", if_generation_match=0)
    assert fake.bytes["a/ü b.bin"] == b"x"


async def test_changes_are_of_the_generation_that_was_seen(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    await upload(face, blob, b"one")
    seen = blob.generation
    fake.store("a/ü b.bin", b"two")

    for change in (blob.delete, blob.patch, blob.download_as_bytes):
        with pytest.raises(FailedPrecondition):
            await face.call(change, if_generation_match=seen)
    with pytest.raises(FailedPrecondition, match="is not of generation 77: it is of generation 2"):
        await face.call(blob.delete, if_generation_match=77)
    with pytest.raises(InvalidArgument, match="not both"):
        await face.call(blob.delete, if_generation_match=1, if_etag_match="e")
    await face.call(blob.reload)
    await face.call(blob.delete, if_etag_match=blob.etag)
    assert fake.objects == {}


async def test_a_source_that_lies_about_its_size_makes_no_object(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    with pytest.raises(InvalidArgument, match="the source ended after 3500 of 4000 bytes"):
        await upload(face, blob, size=4000)
    with pytest.raises(InvalidArgument, match="the source ended after 3 of 4 bytes"):
        await upload(face, blob, b"abc", size=4)
    with pytest.raises(InvalidArgument, match="gave str instead of bytes; open files as `rb`"):
        await face.call(blob.upload_from_file, io.StringIO("text"))
    assert fake.objects == {}
    source = io.BytesIO(DATA)
    source.seekable = lambda: False  # type: ignore[method-assign]
    told: list[TransferProgress] = []
    await face.call(blob.upload_from_file, source, progress=told.append)
    assert {item.total for item in told} == {None}
    await upload(face, blob, size=2500)
    assert fake.bytes["a/ü b.bin"] == DATA[:2500]


async def test_what_the_server_stored_is_held_to_the_checksum(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    def garble(received: Received) -> Reply | None:
        if received.method != "PUT":
            return None
        return Reply(json=fake.store("a/ü b.bin", b"other"))

    fake.faults = [garble]
    with pytest.raises(DataLoss, match="stored with the checksum"):
        await upload(face, blob, b"mine")


async def test_a_download_that_is_cut_off_goes_on(
    face: Face, fake: FakeBucket, blob: Any, tmp_path: Path
) -> None:
    fake.store("a/ü b.bin", DATA)
    fake.faults = [cut_download(fake, 1200), cut_download(fake, 0), cut_download(fake, 700)]
    told: list[TransferProgress] = []
    target = tmp_path / "got.bin"

    await face.call(blob.download_to_filename, target, progress=told.append)

    assert fake.faults == []
    assert target.read_bytes() == DATA
    assert (told[0].transferred, told[-1].transferred, told[-1].fraction) == (0, 3500, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["got.bin"]


async def test_a_part_that_is_cut_off_goes_on(face: Face, fake: FakeBucket, blob: Any) -> None:
    fake.store("a/ü b.bin", DATA)
    fake.faults = [cut_download(fake, 300)]
    assert await face.call(blob.download_as_bytes, start=100, end=999) == DATA[100:1000]


async def test_bytes_of_two_generations_are_never_mixed(
    face: Face, fake: FakeBucket, blob: Any, tmp_path: Path
) -> None:
    fake.store("a/ü b.bin", DATA)
    cut = cut_download(fake, 1200)

    def replace_then_pass(received: Received) -> Reply | None:
        if "range" in received.headers:
            fake.store("a/ü b.bin", b"new" * 2000)
        return None

    fake.faults = [cut, replace_then_pass]
    target = tmp_path / "got.bin"
    target.write_bytes(b"before")
    with pytest.raises(Aborted, match="was replaced or deleted while it was downloaded"):
        await face.call(blob.download_to_filename, target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["got.bin"]


async def test_a_damaged_download_is_found_and_leaves_no_file(
    face: Face, fake: FakeBucket, blob: Any, tmp_path: Path
) -> None:
    fake.store("a/ü b.bin", DATA, sha256="0" * 64)
    with pytest.raises(DataLoss, match="arrived with the checksum"):
        await face.call(blob.download_to_filename, tmp_path / "got.bin")
    assert list(tmp_path.iterdir()) == []


async def test_a_download_that_never_gets_on_ends(face: Face, fake: FakeBucket, blob: Any) -> None:
    fake.store("a/ü b.bin", DATA)

    def cut(received: Received) -> Reply | None:
        headers = {"ETag": '"e1"', "Content-Length": "3500"}
        status = 206 if "range" in received.headers else 200
        return Reply(status, headers=headers, chunks=[b""], cut=True)

    fake.faults = [cut]
    with pytest.raises(Unavailable, match="connection was lost"):
        await face.call(blob.download_as_bytes)


async def test_files_are_written_and_read_bit_by_bit(
    face: Face, fake: FakeBucket, blob: Any
) -> None:
    if face.is_async:
        async with await blob.open("wb", content_type="x/y") as writer:
            for start in range(0, 3500, 7):
                await writer.write(DATA[start : start + 7])
        async with await blob.open() as reader:
            assert await reader.read(5) == DATA[:5]
            await reader.seek(-10, io.SEEK_END)
            assert await reader.read() == DATA[-10:]
            await reader.seek(1)
            assert b"".join([piece async for piece in reader]) == DATA[1:]
    else:
        with blob.open("wb", content_type="x/y") as writer:
            for start in range(0, 3500, 7):
                writer.write(DATA[start : start + 7])
        with blob.open() as reader:
            assert reader.read(5) == DATA[:5]
            reader.seek(-10, io.SEEK_END)
            assert reader.read() == DATA[-10:]
            reader.seek(1)
            assert b"".join(iter(lambda: reader.read(500), b"")) == DATA[1:]
    assert (blob.size, blob.content_type) == (3500, "x/y")


async def test_a_writer_that_fails_makes_no_object(face: Face, fake: FakeBucket, blob: Any) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        if face.is_async:
            async with await blob.open("wb") as writer:
                await writer.write(DATA)
                raise KeyError
        else:
            with blob.open("wb") as writer:
                writer.write(DATA)
                raise KeyError
    assert (fake.objects, fake.uploads) == ({}, {})
    with pytest.raises(InvalidArgument, match="`mode` is `rb` or `wb`, not `r`"):
        await face.call(blob.open, "r")


async def test_lists_are_read_page_by_page(face: Face, fake: FakeBucket) -> None:
    for number in range(7):
        fake.store(f"n/{number}", b"")
    bucket = face.client.bucket("default")

    assert [item.name for item in await face.collect(bucket.list_blobs("n/", page_size=3))] == [
        f"n/{number}" for number in range(7)
    ]
    assert len(fake.seen) == 3
    listed = bucket.list_blobs("n/", page_size=3)
    await face.next(listed)
    assert len(fake.seen) == 4
    assert [len(page) for page in await face.collect(bucket.list_blobs(page_size=5).pages)] == [
        5,
        2,
    ]
    assert len(await face.collect(bucket.list_blobs(page_size=3, max_results=4))) == 4
    for arguments in ({"page_size": 0}, {"max_results": True}, {"prefix": 3}):
        with pytest.raises(InvalidArgument):
            bucket.list_blobs(**arguments)


async def test_what_does_not_exist(face: Face, fake: FakeBucket, blob: Any) -> None:
    assert await face.call(blob.exists) is False
    assert await face.call(face.client.bucket("default").get_blob, "x") is None
    for read in (blob.reload, blob.delete, blob.download_as_bytes, blob.open):
        with pytest.raises(NotFound):
            await face.call(read)
    assert (blob.size, blob.etag, blob.metadata, blob.updated) == (None, None, None, None)


async def test_a_refusal_is_not_taken_for_absence(face: Face, fake: FakeBucket, blob: Any) -> None:
    fake.faults = [lambda received: error_reply(404, "NOT_FOUND", "BucketNotFound")]
    with pytest.raises(NotFound):
        await face.call(blob.exists)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "a non-empty string"),
        ("a\nb", "a control character"),
        ("x" * 1025, "has 1025 bytes; at most 1024"),
        ("..", "is not allowed"),
        ("\ud800", "lone surrogate"),
        (3, "a non-empty string"),
    ],
)
def test_names_are_checked_before_anything_is_sent(
    fake: FakeBucket, face: Face, name: Any, text: str
) -> None:
    with pytest.raises(InvalidPath, match=text):
        face.client.bucket("default").blob(name)
    with pytest.raises(InvalidPath, match="no bucket's id"):
        face.client.bucket("Nope!")
    assert fake.seen == []


def only_parts_until(count: int) -> Any:
    """Lets so many parts of an upload pass, and then nothing at all."""
    left = [count]

    def fault(received: Received) -> Reply | None:
        if received.method != "PATCH":
            return None
        left[0] -= 1
        return None if left[0] >= 0 else error_reply(503, "UNAVAILABLE", "Unavailable")

    return fault


@pytest.mark.parametrize("seed", range(4))
async def test_any_run_of_faults_is_outlived(
    face: Face, fake: FakeBucket, blob: Any, seed: int
) -> None:
    luck = random.Random(seed)
    data = luck.randbytes(luck.randrange(1, 9_000))

    def fault(received: Received) -> Reply | None:
        chance = luck.random()
        if chance > 0.4:
            return None
        if chance < 0.1:
            return error_reply(503, "UNAVAILABLE", "Unavailable")
        if received.method == "PUT" or (chance < 0.2 and received.method != "GET"):
            return Reply(cut=True, chunks=[b""])  # never done
        upload = fake.uploads.get(received.path.rpartition("/")[2])
        if received.method == "PATCH" and upload is not None and chance < 0.3:
            if int(received.headers["upload-offset"]) == len(upload["data"]):
                upload["data"] += received.body[: luck.randrange(len(received.body) + 1)]
            return Reply(cut=True, chunks=[b""])
        fake.faults.clear()
        reply = fake(received)
        fake.faults.append(fault)
        if reply.chunks is None:
            return Reply(cut=True, chunks=[b""])  # done, and its answer lost
        reply.chunks = [reply.chunks[0][: luck.randrange(len(reply.chunks[0]) + 1)]]
        reply.cut = True
        return reply

    fake.faults.append(fault)
    for _ in range(3):
        await patiently(face, blob.upload_from_file, io.BytesIO(data), rewind=True)
        assert fake.bytes["a/ü b.bin"] == data
        assert await patiently(face, blob.download_as_bytes) == data


async def patiently(face: Face, work: Any, *args: Any, **rest: Any) -> Any:
    """Again where even all attempts of one request failed; any other error is a defect."""
    for _ in range(20):
        try:
            return await face.call(work, *args, **rest)
        except Unavailable:
            continue
    raise AssertionError("no luck in 20 attempts")


async def test_a_cancelled_upload_can_be_resumed(
    peer: Peer, open_face: OpenFace, fake: FakeBucket, tmp_path: Path
) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    arrived = asyncio.Event()
    face = open_face(peer.url, is_async=True)
    blob = face.client.bucket("default").blob("x", chunk_size=CHUNK)

    async def stand_still(progress: TransferProgress) -> None:
        if progress.transferred == 2000:
            arrived.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(blob.upload_from_filename(file, progress=stand_still))
    await arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await blob.resume_upload("u0", file)
    assert fake.bytes["x"] == DATA
    await face.close()
