"""kill -9 of the server at every step of a project's move, both ways, while clients of the SDK
write, read and listen: nobody of them sees an error, nothing that was acknowledged is lost or done
twice, and there is one copy that is served."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from baas_sdk import AsyncClient, Increment, RetryPolicy

from tests.faults.mortal import VARIABLE, doom
from tests.faults.move_points import PLANT, PLANTS, POINTS
from tests.faults.seeds import IS_LONG, RULES, new_seed, rounds
from tests.processes import Nursery, ServerProcess, checked

ROUNDS = rounds(1, 8)
STEPS = len(POINTS) if IS_LONG else 8  # others each time
STEPS_OF_WORKERS = len(POINTS) if IS_LONG else 2
DOCUMENTS = 120
MOVE_SECONDS = 180.0
PAUSE_SECONDS = 0.005  # of clients; without, they would cost more than what they watch
OTHER = {"sqlite": "mongodb", "mongodb": "sqlite"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("tests.faults.move_nursery") as started:
        yield started


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(600 + 300 * ROUNDS)
def test_a_move_survives_kills_at_every_step(
    tmp_path: Path,
    mongodb_uri: str,
    nursery: Nursery,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    workers: int,
) -> None:
    """Of the whole server, or of the worker that is at it: then the others serve meanwhile."""
    seed = new_seed()
    chance = random.Random(seed)
    deaths = tmp_path / "dies-at"
    monkeypatch.setenv(VARIABLE, str(deaths))
    name = f"kill_{workers}_{seed}"
    server = mongodb_server(tmp_path, mongodb_uri, name, nursery, workers)
    steps = STEPS if workers == 1 else STEPS_OF_WORKERS
    points = [one for _ in range(ROUNDS) for one in chance.sample(POINTS, steps)]
    try:
        load = asyncio.run(move_through_kills(server, deaths, points))
        assert server.stop() == 0
    finally:
        server.kill()
    record_property(
        "summary",
        f"kill -9 amid {len(points)} moves of a project between engines: {load.acknowledged} writes"
        f" acknowledged, none lost or doubled, no client saw an error ({workers} worker(s), seed"
        f" {seed})",
    )


@pytest.mark.parametrize("bug", PLANTS)
@pytest.mark.timeout(400)
def test_planted_bugs_are_caught(
    tmp_path: Path, mongodb_uri: str, nursery: Nursery, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    """A fence that lets a commit by, and a round that is left out."""
    monkeypatch.setenv(PLANT, bug)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "never"))
    database = f"{bug.replace(' ', '_')}_{new_seed()}"
    server = mongodb_server(tmp_path, mongodb_uri, database, nursery)
    try:
        with pytest.raises(AssertionError, match=r"additions|went back"):
            asyncio.run(move_once(server))
    finally:
        server.kill()


async def move_once(server: ServerProcess) -> None:
    async with load_of(server) as load:
        await load.wait_for(50)
        with server.admin() as admin:
            body = {"to": "mongodb"}
            move = str(checked(admin.post("/projects/shop:move", json=body))["id"])
        found = await asyncio.to_thread(wait_over, server, move)
        assert found["state"] == "done", found["reason"]
        await load.wait_for(load.acknowledged + 10)
        load.check_alive()


def mongodb_server(
    folder: Path, uri: str, database: str, nursery: Nursery, workers: int = 1
) -> ServerProcess:
    flags = ("--mongodb-uri", uri, "--mongodb-database", database, "--workers", str(workers))
    server = ServerProcess(folder / "data", *flags, nursery=nursery).start()
    server.create_project("shop", RULES, allow_open=True)
    return server


async def move_through_kills(server: ServerProcess, deaths: Path, points: list[str]) -> Load:
    engine = "sqlite"
    async with load_of(server) as load:
        for point in points:
            engine = OTHER[engine]
            before = load.acknowledged
            move = await asyncio.to_thread(begin_move, server, engine, deaths, point)
            await asyncio.to_thread(restart_dead, server, deaths, move)
            found = await asyncio.to_thread(wait_over, server, move)
            assert found["state"] == "done", (point, found)
            with server.admin() as admin:
                project = checked(admin.get("/projects/shop"))
            assert (project["engine"], project["moving"]) == (engine, None), point
            await load.wait_for(before + 10)
            load.check_alive()
    return load


def begin_move(server: ServerProcess, engine: str, deaths: Path, point: str) -> str:
    doom(deaths, point)
    with server.admin() as admin:
        return str(checked(admin.post("/projects/shop:move", json={"to": engine}))["id"])


def restart_dead(server: ServerProcess, deaths: Path, move: str) -> None:
    """Once it is dead; a worker is started again by its parent."""
    deadline = time.monotonic() + MOVE_SECONDS
    while deaths.exists():
        assert time.monotonic() < deadline, f"it lives: {wait_over(server, move)}"
        time.sleep(0.01)
    if not has_workers(server):
        assert server.process is not None
        server.process.wait(MOVE_SECONDS)
        server.start()


def has_workers(server: ServerProcess) -> bool:
    return server.flags[-2:] != ("--workers", "1")


def wait_over(server: ServerProcess, move: str) -> dict[str, Any]:
    deadline = time.monotonic() + MOVE_SECONDS
    found: dict[str, Any] = {}
    while found.get("state") not in ("done", "failed", "cancelled"):
        assert time.monotonic() < deadline, f"the move has no end: {found}"
        with suppress(httpx.TransportError), server.admin() as admin:  # by a worker that died
            found = checked(admin.get(f"/moves/{move}"))
        time.sleep(0.02)
    return found


# Clients ------------------------------------------------------------------------------------------


class Load:
    """Writers, readers and a listener, each of which goes on through whatever happens; the first
    error of one ends it, and is told by `check_alive`."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.acknowledged = 0
        self.counts = [0, 0]
        self.notes: dict[str, int] = {}
        self.told: dict[str, int] = {}
        self._more = asyncio.Condition()
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        batch = self.client.batch()
        for number in range(DOCUMENTS):
            batch.set(self.client.document(f"old/o{number}"), {"number": number, "text": "x" * 200})
        await batch.commit()
        works = [self._count(0), self._count(1), self._change_notes(), self._read(), self._listen()]
        self._tasks = [asyncio.create_task(one) for one in works]

    async def wait_for(self, acknowledged: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.acknowledged >= acknowledged or self._ended())

    def check_alive(self) -> None:
        for task in self._ended():
            task.result()

    async def end(self) -> None:
        """Stops, and compares what is there with what was acknowledged."""
        self._is_stopped = True
        *working, listening = self._tasks
        await asyncio.gather(*working)
        for number, count in enumerate(self.counts):
            snapshot = await self.client.document(f"counters/{number}").get()
            assert snapshot.to_dict() == {"n": count}, f"of {count} additions"
        found = await self.client.collection("notes").get()
        assert {one.id: one.get("number") for one in found} == self.notes
        found = await self.client.collection("old").where("number", ">=", 0).get()
        assert sorted(one.get("number") for one in found) == list(range(DOCUMENTS))
        async with asyncio.timeout(60):
            while self.told != self.notes:
                assert not listening.done(), listening.result()
                await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.wait([listening])

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _ended(self) -> list[asyncio.Task[None]]:
        return [task for task in self._tasks if task.done()]

    async def _note(self) -> None:
        async with self._more:
            self.acknowledged += 1
            self._more.notify_all()
        await asyncio.sleep(PAUSE_SECONDS)

    async def _count(self, number: int) -> None:
        document = self.client.document(f"counters/{number}")
        while not self._is_stopped:
            await document.set({"n": Increment(1)}, merge=True)
            self.counts[number] += 1
            await self._note()

    async def _change_notes(self) -> None:
        number = 0
        while not self._is_stopped:
            name = f"n{number % 17}"
            document = self.client.document(f"notes/{name}")
            if number % 5 == 4:
                await document.delete()
                self.notes.pop(name, None)
            else:
                await document.set({"number": number})
                self.notes[name] = number
            number += 1
            await self._note()

    async def _read(self) -> None:
        """What was acknowledged before a read is in it."""
        while not self._is_stopped:
            for number in range(2):
                least = self.counts[number]
                snapshot = await self.client.document(f"counters/{number}").get()
                count = snapshot.get("n") if snapshot.exists else 0
                assert count >= least, f"counter {number} went back from {least} to {count}"
            found = await self.client.collection("old").where("number", ">=", 100).get()
            assert len(found) == DOCUMENTS - 100
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with self.client.collection("notes").listen() as listener:
            async for snapshot in listener:
                self.told = {one.id: one.get("number") for one in snapshot}


@asynccontextmanager
async def load_of(server: ServerProcess) -> AsyncIterator[Load]:
    retry = RetryPolicy(attempts_max=1_000, pause_seconds_first=0.02, pause_seconds_max=0.2)
    async with AsyncClient(server.url, project="shop", retry=retry, timeout=60) as client:
        load = Load(client)
        await load.begin()
        try:
            yield load
            await load.end()
        finally:
            await load.cancel()
