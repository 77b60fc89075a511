"""Files through both clients and the real server: a child process, which is killed at times."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from baas_sdk import (
    Client,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RetryPolicy,
    TransferProgress,
)
from baas_sdk._paths import new_document_id

from tests.processes import ServerProcess, checked
from tests.sdk.faces import Face

pytestmark = pytest.mark.slow

RULES = """
rules_version = '2';
service cloud.firestore { match /databases/{database}/documents {} }
service firebase.storage {
  match /b/{bucket}/o {
    match /open/{path=**} { allow read, write: if true; }
    match /users/{user}/{file} {
      allow read: if request.auth != null && request.auth.uid == user;
      allow create: if request.auth != null && request.auth.uid == user
        && request.resource.size < 1000
        && request.resource.contentType.matches('image/.*');
    }
  }
}
"""
PASSWORD = "correct horse battery"
CHUNK = 64 * 1024
DATA = random.Random(5).randbytes(300_000)


class World:
    """A running server with a project and its bucket."""

    def __init__(self, data: Path) -> None:
        self.server = ServerProcess(data).start()
        try:
            self.api_key = self.server.create_project("demo", RULES, allow_open=True)
            with self.server.admin() as admin:
                checked(admin.post("/projects/demo/buckets", json={"id": "default"}))
                checked(admin.post("/projects/demo/buckets", json={"id": "other"}))
        except BaseException:
            self.server.kill()
            raise

    def face(self, *, is_async: bool, **settings: Any) -> Face:
        return Face(self.server.url, is_async=is_async, api_key=self.api_key, **settings)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("files") / "data")
    yield made
    assert made.server.stop() == 0


@pytest.fixture(params=["blocking", "asyncio"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "asyncio")


@pytest.fixture
async def face(world: World, is_async: bool) -> AsyncIterator[Face]:
    made = world.face(is_async=is_async)
    yield made
    await made.close()


def blob_of(face: Face, name: str, bucket: str = "default") -> Any:
    return face.client.bucket(bucket).blob(name, chunk_size=CHUNK)


def room() -> str:
    return f"open/{new_document_id()}"


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 300_000])
async def test_there_and_back(face: Face, tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "näme.png", tmp_path / "back"
    source.write_bytes(DATA[:size])
    blob = blob_of(face, f"{room()}/ü b?#%&:x.png")

    await face.call(blob.upload_from_filename, source, metadata={"who": "Zoë", "k": 'a"b'})
    await face.call(blob.download_to_filename, target)

    assert target.read_bytes() == DATA[:size]
    assert (blob.size, blob.content_type) == (size, "image/png")
    assert blob.sha256 == hashlib.sha256(DATA[:size]).hexdigest()
    seen = await face.call(face.client.bucket().get_blob, blob.name)
    assert (seen, seen.metadata, seen.etag) == (blob, {"who": "Zoë", "k": 'a"b'}, blob.etag)
    assert seen.time_created == blob.time_created
    assert seen.updated is not None


async def test_parts_of_an_object(face: Face) -> None:
    blob = blob_of(face, room())
    await face.call(blob.upload_from_string, DATA, "application/x-y")
    assert await face.call(blob.download_as_bytes, start=10, end=19) == DATA[10:20]
    assert await face.call(blob.download_as_bytes, start=299_999) == DATA[299_999:]
    assert b"".join(await face.collect(blob.stream(start=5))) == DATA[5:]
    await face.call(blob.upload_from_string, "größe")
    assert await face.call(blob.download_as_text) == "größe"
    assert blob.content_type == "text/plain"


async def test_a_file_of_the_standard_library_reads_and_writes_objects(world: World) -> None:
    with world.server.admin() as admin:  # without a size: not for whom the rules bind
        body = {"kind": "secret", "name": "test"}
        key = checked(admin.post("/projects/demo/keys", json=body))["key"]
    with Client(world.server.url, project="demo", api_key=key) as client:
        blob = client.bucket("default").blob(f"{room()}.zip", chunk_size=CHUNK)
        with blob.open("wb") as raw, zipfile.ZipFile(raw, "w") as archive:
            archive.writestr("a.bin", DATA)
            archive.writestr("b.txt", "hello")
        with blob.open() as read, zipfile.ZipFile(read) as archive:
            assert archive.read("b.txt") == b"hello"
            assert archive.read("a.bin") == DATA


async def test_lists_by_prefix_and_folder(face: Face) -> None:
    base, bucket = room(), face.client.bucket("default")
    names = [f"{base}/{name}" for name in ("a", "b/1", "b/2", "b/c/3", "é")]
    for name in names:
        await face.call(bucket.blob(name).upload_from_string, name)

    found = await face.collect(bucket.list_blobs(base, page_size=2))
    assert [item.name for item in found] == names
    assert [item.size for item in found] == [len(name.encode()) for name in names]
    listed = bucket.list_blobs(f"{base}/", delimiter="/", page_size=1)
    assert [item.name for item in await face.collect(listed)] == [f"{base}/a", f"{base}/é"]
    assert listed.prefixes == {f"{base}/b/"}
    assert listed.next_page_token is None
    first = bucket.list_blobs(base, page_size=3, max_results=3)
    await face.collect(first)
    rest = bucket.list_blobs(base, page_token=first.next_page_token)
    assert [item.name for item in await face.collect(rest)] == names[3:]


async def test_metadata_copies_and_deletion(face: Face) -> None:
    blob = blob_of(face, room())
    await face.call(blob.upload_from_string, "x", metadata={"a": "1"})
    before = (blob.etag, blob.generation)
    blob.metadata = {"b": "2"}
    blob.content_type = "text/x-note"
    assert blob.metadata == {"b": "2"}
    await face.call(blob.patch, if_generation_match=blob.generation)
    assert (blob.metadata, blob.content_type, blob.generation) == (
        {"b": "2"},
        "text/x-note",
        before[1],
    )
    assert blob.etag != before[0]
    with pytest.raises(FailedPrecondition):
        await face.call(blob.patch, if_etag_match=before[0])

    other = face.client.bucket("other")
    bucket = face.client.bucket("default")
    copy = await face.call(bucket.copy_blob, blob, other, f"{blob.name}-copy")
    assert (copy.bucket.name, copy.metadata) == ("other", {"b": "2"})
    assert await face.call(copy.download_as_bytes) == b"x"
    moved = await face.call(bucket.rename_blob, blob, f"{blob.name}-moved")
    assert await face.call(blob.exists) is False
    with pytest.raises(FailedPrecondition):
        await face.call(moved.delete, if_generation_match=1)
    await face.call(moved.delete, if_generation_match=moved.generation)
    with pytest.raises(NotFound) as caught:
        await face.call(bucket.delete_blob, moved.name)
    assert caught.value.reason == "ObjectNotFound"


async def test_only_what_was_seen_is_replaced(face: Face) -> None:
    for size in (10, 300_000):
        blob = blob_of(face, room())
        upload = blob.upload_from_file
        await face.call(upload, io.BytesIO(DATA[:size]), if_generation_match=0)
        with pytest.raises(FailedPrecondition):
            await face.call(upload, io.BytesIO(b"y" * size), if_generation_match=0)
        seen = blob.generation
        await face.call(upload, io.BytesIO(DATA[1 : size + 1]), if_generation_match=seen)
        with pytest.raises(FailedPrecondition):
            await face.call(upload, io.BytesIO(b"z" * size), if_generation_match=seen)
        assert await face.call(blob.download_as_bytes) == DATA[1 : size + 1]


async def test_rules_hold_for_files(world: World, face: Face) -> None:
    user = await face.call(
        face.client.auth.sign_up, f"{new_document_id()}@example.com".lower(), PASSWORD
    )
    mine = blob_of(face, f"users/{user.uid}/face.png")
    await face.call(mine.upload_from_string, b"x" * 10, "image/png")
    assert await face.call(mine.download_as_bytes) == b"x" * 10
    theirs = blob_of(face, "users/somebody/face.png")
    for refused in (
        lambda: face.call(theirs.download_as_bytes),
        lambda: face.call(theirs.reload),
        lambda: face.call(theirs.exists),
        lambda: face.call(theirs.generate_signed_url, 60),
        lambda: face.call(theirs.upload_from_string, b"x", "image/png"),
        lambda: face.call(mine.delete),
        lambda: face.call(blob_of(face, f"users/{user.uid}/b").upload_from_string, "t"),
        lambda: face.call(
            blob_of(face, f"users/{user.uid}/big").upload_from_string, b"x" * 300_000, "image/png"
        ),
        lambda: face.collect(face.client.bucket().list_blobs("users/")),
    ):
        with pytest.raises(PermissionDenied):
            await refused()


async def test_signed_addresses_serve_strangers(face: Face) -> None:
    blob = blob_of(face, f"{room()}/a b.txt")
    await face.call(blob.upload_from_string, "shared")
    async with httpx.AsyncClient() as stranger:
        url = await face.call(blob.generate_signed_url, 60)
        assert (await stranger.get(url)).text == "shared"
        target = blob_of(face, room())
        said = {"content_type": "text/x-note", "size": 12}
        url = await face.call(target.generate_signed_url, 60, method="PUT", **said)
        headers = {"Content-Type": "text/x-note"}
        assert (await stranger.put(url, content=b"too long by far", headers=headers)).is_error
        assert (await stranger.put(url, content=b"from outside", headers=headers)).is_success
        assert (await stranger.put(url, content=b"a second one", headers=headers)).is_error
        assert (await stranger.get(url)).status_code in (401, 403)
    assert await face.call(target.download_as_bytes) == b"from outside"
    for wrong in ({"expiration": 0}, {"expiration": 700_000}, {"expiration": 9, "method": "POST"}):
        with pytest.raises(InvalidArgument):
            await face.call(blob.generate_signed_url, **wrong)


# --- what breaks ----------------------------------------------------------------------------------

PATIENT = RetryPolicy(attempts_max=200, pause_seconds_first=0.05, pause_seconds_max=0.3)
IMPATIENT = RetryPolicy(attempts_max=2, pause_seconds_first=0.001, pause_seconds_max=0.001)


async def test_transfers_outlive_a_server_that_is_killed(tmp_path: Path, is_async: bool) -> None:
    world = World(tmp_path / "data")
    face = world.face(is_async=is_async, retry=PATIENT)
    told: list[TransferProgress] = []
    at = [100_000]
    restarting: list[asyncio.Task[Any]] = []
    loop = asyncio.get_running_loop()

    def kill_on_the_way(progress: TransferProgress) -> None:
        told.append(progress)
        if at and progress.transferred >= at[0]:
            at.clear()
            world.server.kill()
            loop.call_soon_threadsafe(restart)

    def restart() -> None:
        restarting.append(asyncio.create_task(asyncio.to_thread(world.server.start)))

    try:
        blob = blob_of(face, room())
        await face.call(blob.upload_from_file, io.BytesIO(DATA), progress=kill_on_the_way)
        await asyncio.gather(*restarting)
        assert len(restarting) == 1
        assert len({item.upload for item in told}) == 1
        assert [item.transferred for item in told] == sorted(item.transferred for item in told)
        at[:] = [50_000]
        assert await face.call(blob.download_as_bytes, progress=kill_on_the_way) == DATA
        await asyncio.gather(*restarting)
    finally:
        await face.close()
        assert world.server.stop() == 0


UPLOADER = """
import os, signal, sys
from baas_sdk import Client

url, key, name, file = sys.argv[1:]

def progress(told):
    print(told.upload, told.transferred, flush=True)
    if told.transferred >= 150_000:
        os.kill(os.getpid(), signal.SIGKILL)

with Client(url, project="demo", api_key=key) as client:
    blob = client.bucket("default").blob(name, chunk_size=65536)
    blob.upload_from_filename(file, progress=progress)
"""


def test_an_upload_goes_on_in_another_process(world: World, tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    name = room()
    command = [sys.executable, "-c", UPLOADER, world.server.url, world.api_key, name, str(file)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    upload, transferred = killed.stdout.splitlines()[-1].split()
    assert 150_000 <= int(transferred) < len(DATA)

    told: list[TransferProgress] = []
    with Client(world.server.url, project="demo", api_key=world.api_key) as client:
        blob = client.bucket("default").blob(name, chunk_size=CHUNK)
        assert blob.exists() is False
        blob.resume_upload(upload, file, progress=told.append)
        assert told[0].transferred == int(transferred)
        assert blob.download_as_bytes() == DATA
        with pytest.raises(NotFound):
            blob.resume_upload(upload, file)
        # Other bytes of the same length are not taken for those that were begun.
        with pytest.raises(OSError, match="the disk is away"):
            blob.upload_from_file(_Failing(DATA), progress=told.append)
        file.write_bytes(DATA[::-1])
        upload = str(told[-1].upload)
        with pytest.raises(InvalidArgument, match=r"(?i)sha-256|checksum"):
            blob.resume_upload(upload, file)
        assert blob.download_as_bytes() == DATA


class _Failing(io.BytesIO):
    """A source that cannot be read to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 150_000:
            raise OSError("the disk is away")
        return super().read(size)


# --- memory ---------------------------------------------------------------------------------------

ROUND_TRIP = """
import re, sys
from pathlib import Path
from baas_sdk import Client

def peak():  # kibibytes; of this program alone, which getrusage's is not: it begins at the parent's
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

url, key, name, folder = sys.argv[1:]
source, target = Path(folder, "source"), Path(folder, "target")
with Client(url, project="demo", api_key=key) as client:
    client.bucket("default").blob("open/warm").upload_from_string("x")
    before = peak()
    blob = client.bucket("default").blob(name)
    blob.upload_from_filename(source)
    blob.download_to_filename(target)
    print(blob.size, blob.sha256, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="NOT RUN: no /proc")
def test_a_hundred_megabytes_pass_through_little_memory(world: World, tmp_path: Path) -> None:
    source, digest = tmp_path / "source", hashlib.sha256()
    noise = random.Random(9)
    with source.open("wb") as file:
        for _ in range(100):
            block = noise.randbytes(1_000_000)
            digest.update(block)
            file.write(block)
    command = [sys.executable, "-c", ROUND_TRIP, world.server.url, world.api_key, room()]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, sha256, grown = done.stdout.split()
    assert (int(size), sha256) == (100_000_000, digest.hexdigest())
    target = tmp_path / "target"
    assert target.stat().st_size == 100_000_000
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sha256
    assert int(grown) < 40 * 1024, f"{grown} KiB more than before"
    source.unlink()
    target.unlink()
