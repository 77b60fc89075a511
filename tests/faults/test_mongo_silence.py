"""A node to which nothing gets through any more, on connections that stay: it stops trusting what
it keeps in memory within two seconds, and knows what it missed when it hears again."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.settings import Settings
from baas.storage.mongo_store import MongoStore
from baas.storage.store import StoreName
from tests.baas.database.acts import put, write
from tests.faults.network import Wire
from tests.mongo import ReplicaSet

STALE_SECONDS_MAX = 2.0
QUIET_SECONDS = 2.5  # longer than it takes to doubt
ROUNDS = 2  # in which the machine let everybody have their turns
ROUNDS_MAX = 8
STALL_SECONDS = 0.3

pytestmark = pytest.mark.slow


class Pulse:
    """Whether the machine gives this process and mongod their turns: where it does not, who doubts
    for it is right, and nobody is to be blamed for being late."""

    def __init__(self, uri: str) -> None:
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
        self._longest = 0.0
        self._task = asyncio.create_task(self._beat())

    def begin(self) -> None:
        self._longest = 0.0

    def is_steady(self) -> bool:
        """Since `begin`."""
        return self._longest < STALL_SECONDS

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._client.admin.command("ping")
            await asyncio.sleep(0.02)
            self._longest = max(self._longest, loop.time() - began)


class Node:
    """One database, opened over a connection that can be silenced."""

    def __init__(self, uri: str, clock: SystemClock) -> None:
        self.store = MongoStore(uri, "baas_silence", clock, timeout_seconds=10)
        self.events: list[CommitEvent] = []
        self.late_at: list[float] = []
        self.is_late = asyncio.Event()
        self._clock = clock

    async def open(self, project: str) -> Database:
        engine = await self.store.open(StoreName(project, "main"), create=True)
        database = await Database.open(
            DatabaseName(project), engine, clock=self._clock, settings=Settings()
        )
        database.subscribe(self.events.append, on_late=self._note_late)
        return database

    def _note_late(self) -> None:
        self.late_at.append(asyncio.get_running_loop().time())
        self.is_late.set()


async def test_silence_is_noticed_in_two_seconds_and_quiet_is_not_taken_for_it(
    replica_set: ReplicaSet,
) -> None:
    clock, loop = SystemClock(), asyncio.get_running_loop()
    project = f"test-{clock.random_bytes(8).hex()}"
    port = urlsplit(replica_set.uri).port
    assert port is not None
    wire = await Wire(port).open()
    others = Node(replica_set.uri, clock)
    node = Node(f"mongodb://127.0.0.1:{wire.port}/?directConnection=true", clock)
    theirs, ours = await others.open(project), await node.open(project)
    pulse = Pulse(replica_set.uri)
    took: list[float] = []
    for number in range(ROUNDS_MAX):
        async with asyncio.timeout(60):
            await ours.catch_up()
        assert len(node.events) == number  # what was missed is told
        node.late_at.clear()
        pulse.begin()
        await asyncio.sleep(QUIET_SECONDS)  # nothing is to happen in it
        assert node.late_at == [] or not pulse.is_steady()
        node.is_late.clear()
        node.late_at.clear()
        wire.silence()
        began = loop.time()
        await write(theirs, put(f"c/{number}", {"n": number}))
        async with asyncio.timeout(60):
            await node.is_late.wait()
        if pulse.is_steady():
            took.append(node.late_at[0] - began)
        wire.heal()
        if len(took) == ROUNDS:
            break
    assert min(took, default=0.0) <= STALE_SECONDS_MAX, took
    async with asyncio.timeout(60):
        await ours.catch_up()
    await pulse.close()
    assert [event.version for event in node.events] == [event.version for event in others.events]
    await ours.close()
    await theirs.close()
    await others.store.delete_project(project)
    for one in (node, others):
        await one.store.close()
    await wire.close()
