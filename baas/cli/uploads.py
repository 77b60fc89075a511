"""Bytes between this machine and a bucket: uploads that go on after whatever cut them off,
downloads that go on where they were, both held to a checksum."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from baas.cli.client import APPS_API, Client, path_of
from baas.cli.failures import UNREACHABLE, CommandFailed, Refused
from baas.cli.progress import Bar

PART_BYTES = 8 * 1024 * 1024
SLICE_BYTES = 64 * 1024
ATTEMPTS_MAX = 6
PAUSE_SECONDS_FIRST = 0.2
CHECKSUM = "X-Baas-Sha256"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and its API."""

    project: str
    bucket: str

    @property
    def path(self) -> str:
        return path_of("projects", self.project, "buckets", self.bucket)

    def object(self, name: str, verb: str = "") -> str:
        """The path of an object: its name is one segment, whatever it holds."""
        return self.path + "/objects" + path_of(name) + verb


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of the bytes."""

    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    must_be_new: bool = False

    @property
    def condition(self) -> dict[str, str]:
        return {"If-None-Match": "*"} if self.must_be_new else {}


# --- up -------------------------------------------------------------------------------------------


async def put(
    client: Client, place: Place, name: str, source: BinaryIO, said: Said, bar: Bar
) -> dict[str, Any]:
    """Uploads a file, or what comes through a pipe; the object that was made. A file that is longer
    than a part goes in parts, and goes on where it was when the command is run again."""
    first = source.read(PART_BYTES)
    if len(first) < PART_BYTES:
        return await _put_at_once(client, place, name, first, said, bar)
    memory = _Memory.of(client, place, name, source)
    upload = await _begin(client, place, name, source, said, memory)
    digest = hashlib.sha256(first)
    data, offset = first, 0
    known = await _attempt(lambda: _offset(client, place, upload))
    while data:
        end = offset + len(data)
        reached = max(offset, min(known, end))
        while reached < end:
            reached = await _append(client, place, upload, reached, data[reached - offset :])
            if not offset <= reached <= end:
                raise CommandFailed("somebody else goes on with the same upload")
        bar.advance(len(data))
        offset = end
        data = source.read(PART_BYTES)
        digest.update(data)
    finish = _upload_path(place, upload) + ":finish"
    body = {"sha256": digest.hexdigest()}
    try:
        made = await _attempt(
            lambda: client.call("POST", finish, api=APPS_API, json=body, headers=said.condition)
        )
    except Refused:
        memory.forget()  # what was refused once is not gone on with
        raise
    memory.forget()
    return _checked(made, digest.hexdigest())


async def _put_at_once(
    client: Client, place: Place, name: str, body: bytes, said: Said, bar: Bar
) -> dict[str, Any]:
    sha256 = hashlib.sha256(body).hexdigest()
    headers = {CHECKSUM: sha256, "Content-Length": str(len(body)), **said.condition}
    if said.content_type is not None:
        headers["Content-Type"] = said.content_type
    if said.metadata:
        headers["X-Baas-Meta"] = json.dumps(dict(said.metadata))  # all ASCII, as headers are
    path = place.object(name)

    async def send() -> dict[str, Any]:
        content = _slices(body)
        return await client.call("PUT", path, api=APPS_API, content=content, headers=headers)

    made = await (send() if said.must_be_new else _attempt(send))
    bar.advance(len(body))
    return _checked(made, sha256)


async def _begin(
    client: Client, place: Place, name: str, source: BinaryIO, said: Said, memory: _Memory
) -> str:
    """An upload to send parts to: the one that was cut off, if the server still has it."""
    before = memory.upload
    if before is not None:
        with contextlib.suppress(Refused):
            await _attempt(lambda: _offset(client, place, before))
            return before
    body: dict[str, Any] = {}
    if memory.size is not None:
        body["size"] = memory.size
    if said.content_type is not None:
        body["content_type"] = said.content_type
    if said.metadata:
        body["metadata"] = dict(said.metadata)
    path = place.object(name, ":upload")
    begun = await _attempt(
        lambda: client.call("POST", path, api=APPS_API, json=body, headers=said.condition)
    )
    upload = str(begun["upload"])
    memory.keep(upload)
    return upload


def _upload_path(place: Place, upload: str) -> str:
    return place.path + "/uploads" + path_of(upload)


async def _offset(client: Client, place: Place, upload: str) -> int:
    return int((await client.call("GET", _upload_path(place, upload), api=APPS_API))["offset"])


async def _append(client: Client, place: Place, upload: str, offset: int, data: bytes) -> int:
    headers = {
        "Upload-Offset": str(offset),
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(data)),
    }
    path = _upload_path(place, upload)
    try:
        answer = await _attempt(
            lambda: client.call("PATCH", path, api=APPS_API, content=_slices(data), headers=headers)
        )
    except Refused as refused:
        # The answer to an earlier attempt was lost: the server says where it is.
        if isinstance(refused.details.get("offset"), int):
            return int(str(refused.details["offset"]))
        raise
    return int(answer["offset"])


async def _slices(data: bytes) -> AsyncIterator[bytes]:
    # Given whole, a part would live as long as httpx's answer to it, which refers to itself.
    for start in range(0, len(data), SLICE_BYTES):
        yield data[start : start + SLICE_BYTES]


def _checked(made: dict[str, Any], sha256: str) -> dict[str, Any]:
    if made.get("sha256") != sha256:
        raise CommandFailed(f"`{made.get('name')}` was stored with another checksum than was sent")
    return made


class _Memory:
    """Which upload a file's bytes are on their way in, kept in the user's cache folder: a command
    that was killed is simply run again. A file that was touched since is another one."""

    def __init__(self, file: Path | None, size: int | None) -> None:
        self._file = file
        self.size = size

    @classmethod
    def of(cls, client: Client, place: Place, name: str, source: BinaryIO) -> _Memory:
        try:
            about = os.fstat(source.fileno())
            path = os.path.realpath(str(source.name))
        except (OSError, ValueError, AttributeError):
            return cls(None, None)
        if not os.path.isfile(path):
            return cls(None, None)
        parts = (client.server, place.path, name, path, about.st_size, about.st_mtime_ns)
        key = hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return cls(cache_folder() / key, about.st_size)

    @property
    def upload(self) -> str | None:
        if self._file is None:
            return None
        try:
            return self._file.read_text(encoding="ascii") or None
        except (OSError, ValueError):
            return None

    def keep(self, upload: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # then it cannot go on: no reason not to begin
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file.write_text(upload, encoding="ascii")

    def forget(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where the uploads under way are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "baas" / "uploads"


# --- down -----------------------------------------------------------------------------------------


async def get(client: Client, place: Place, name: str, out: BinaryIO, bar: Bar) -> int:
    """Writes an object's bytes; how many. A lost connection is made again, and bytes of two
    generations are never mixed. Raises CommandFailed if they are not those of the checksum."""
    digest = hashlib.sha256()
    done = failures = 0
    first: httpx.Headers | None = None
    while True:
        before = done
        try:
            async with _opened(client, place, name, done, first) as answer:
                first = first or answer.headers
                async for data in _pieces(answer):
                    digest.update(data)
                    out.write(data)
                    done += len(data)
                    bar.advance(len(data))
            break
        except CommandFailed as failed:
            if failed.exit_code != UNREACHABLE or first is None:
                raise
            failures = 1 if done > before else failures + 1
            if failures >= ATTEMPTS_MAX:
                raise
            await asyncio.sleep(_pause(failures))
    if digest.hexdigest() != first.get(CHECKSUM, digest.hexdigest()):
        raise CommandFailed(f"`{name}` did not arrive as it was stored: its checksum is wrong")
    return done


@contextlib.asynccontextmanager
async def _opened(
    client: Client, place: Place, name: str, start: int, first: httpx.Headers | None
) -> AsyncIterator[httpx.Response]:
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if first is not None:
        headers["If-Match"] = first["ETag"]
    try:
        async with client.open(place.object(name), api=APPS_API, headers=headers) as answer:
            if start and answer.status_code != 206:
                raise CommandFailed("the server does not go on where the download was cut off")
            yield answer
    except Refused as refused:
        if first is None:
            raise
        raise CommandFailed(f"`{name}` was changed while it was downloaded") from refused


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for data in answer.aiter_raw():
        yield data


# --- both -----------------------------------------------------------------------------------------


async def _attempt(work: Any) -> Any:
    """Tries what may be repeated, for as long as the server cannot be reached."""
    for failures in range(1, ATTEMPTS_MAX):
        try:
            return await work()
        except CommandFailed as failed:
            if failed.exit_code != UNREACHABLE:
                raise
            await asyncio.sleep(_pause(failures))
    return await work()


def _pause(failures: int) -> float:
    return float(PAUSE_SECONDS_FIRST * 2 ** (failures - 1))
