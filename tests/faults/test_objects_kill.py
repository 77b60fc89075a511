"""kill -9 of the server during resumable uploads, on either store: an offset that was told is
durable, what is finished has the bytes that were sent, and nothing half is ever an object."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.faults.seeds import RULES, new_seed, rounds
from tests.processes import ServerProcess, checked
from tests.s3 import S3Server, s3_server

__all__ = ["s3_server"]
ROUNDS = rounds(2, 40)
UPLOADERS = 3
PIECE_BYTES_MAX = 400_000
SIZE_MAX = 2_000_000
BASE = "/api/v1/projects/crash/buckets/default"

pytestmark = pytest.mark.slow


@dataclass
class Uploading:
    """One upload: what it is to be, and the largest offset that was told."""

    name: str
    content: bytes
    path: str = ""
    told: int = 0
    is_finished: bool = False


@dataclass
class Load:
    """What is going on, and what is done."""

    chance: random.Random
    going: dict[int, Uploading] = field(default_factory=dict)
    done: list[Uploading] = field(default_factory=list)
    resumed: int = 0
    held: asyncio.Event | None = None  # set by an upload that waits, in its midst, for the kill

    async def run(self, number: int, client: httpx.AsyncClient) -> None:
        """Until the server is gone."""
        with suppress(httpx.HTTPError):
            while True:
                upload = self.going.get(number)
                if upload is None:
                    content = self.chance.randbytes(self.chance.randrange(1, SIZE_MAX))
                    upload = Uploading(f"u{number}/{len(self.done)}", content)
                    self.going[number] = upload
                await self._go_on(upload, client)
                self.done.append(upload)
                del self.going[number]

    async def _go_on(self, upload: Uploading, client: httpx.AsyncClient) -> None:
        if not upload.path:
            start = f"{BASE}/objects/{upload.name}:upload"
            made = checked(await client.post(start, json={"size": len(upload.content)}))
            upload.path = f"{BASE}/uploads/{made['upload']}"
        else:
            await self._check_offset(upload, client)
        while upload.told < len(upload.content):
            piece = self.chance.randrange(1, PIECE_BYTES_MAX)
            content = upload.content[upload.told : upload.told + piece]
            headers = {"upload-offset": str(upload.told)}
            answer = await client.patch(upload.path, content=content, headers=headers)
            upload.told = checked(answer)["offset"]
            if self.held is not None and upload.told < len(upload.content):
                self.held.set()
                raise httpx.ReadError("it waits for the kill, to go on after it")
        stored = checked(await client.post(f"{upload.path}:finish"))
        assert stored["sha256"] == hashlib.sha256(upload.content).hexdigest()

    async def _check_offset(self, upload: Uploading, client: httpx.AsyncClient) -> None:
        """After a kill: as far as was told, or further, if the answer was lost."""
        answer = await client.get(upload.path)
        if answer.status_code == 404:
            # Finished, and the answer was lost: finishing again tells.
            assert upload.told == len(upload.content)
            return
        offset = checked(answer)["offset"]
        assert upload.told <= offset <= len(upload.content)
        upload.told = offset
        self.resumed += 1


@pytest.mark.parametrize("store", ["local", "s3"])
@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_acknowledged_offsets_hold(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    chance = random.Random(new_seed())
    flags: tuple[str, ...] = ()
    if store == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        flags = ("--objects", f"{s3.url}/crash")
    with ServerProcess(tmp_path / "data", *flags) as server:
        server.create_project("crash", RULES, allow_open=True)
        with server.admin() as admin:
            checked(admin.post("/projects/crash/buckets", json={"id": "default"}))
        load = Load(chance)
        for _ in range(ROUNDS):
            asyncio.run(_load_until_killed(server, load, chance.uniform(0.2, 1.2)))
            server.start()
            _check_done(server, load)
        asyncio.run(_finish(server, load))
        _check_done(server, load)
        assert server.stop() == 0
    assert load.resumed >= ROUNDS


async def _load_until_killed(server: ServerProcess, load: Load, seconds: float) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        tasks = [asyncio.create_task(load.run(number, client)) for number in range(UPLOADERS)]
        await asyncio.sleep(seconds)  # the moment of the kill, not a wait for anything
        load.held = asyncio.Event()
        held = asyncio.create_task(load.held.wait())
        await asyncio.wait([held, *tasks], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(server.kill)
        load.held = None
        await asyncio.gather(held, *tasks)


async def _finish(server: ServerProcess, load: Load) -> None:
    """What was going on goes on to its end."""
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        for upload in load.going.values():
            await load._go_on(upload, client)
            load.done.append(upload)


def _check_done(server: ServerProcess, load: Load) -> None:
    """Each finished object is what was sent; each that is listed can be read, whole."""
    known = {one.name: one.content for one in [*load.done, *load.going.values()]}
    with httpx.Client(base_url=server.url, timeout=120) as client:
        params = {"page_size": "1000"}
        listed = checked(client.get(f"{BASE}/objects", params=params))["objects"]
        names = {one["name"] for one in listed}
        assert {one.name for one in load.done} <= names
        for name in names:
            answer = client.get(f"{BASE}/objects/{name}")
            assert answer.status_code == 200
            assert known[name] == answer.content
