"""A node to which nothing gets through any more, on connections that stay: it stops trusting what
it keeps in memory within two seconds, and knows what it missed when it hears again."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

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
ROUNDS = 2

pytestmark = pytest.mark.slow


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
    took: list[float] = []
    for number in range(ROUNDS):
        async with asyncio.timeout(20):
            await ours.catch_up()
        assert len(node.events) == number  # what was missed is told
        node.late_at.clear()
        await asyncio.sleep(QUIET_SECONDS)
        assert node.late_at == []
        node.is_late.clear()
        wire.silence()
        began = loop.time()
        await write(theirs, put(f"c/{number}", {"n": number}))
        async with asyncio.timeout(10):
            await node.is_late.wait()
        took.append(node.late_at[0] - began)
        wire.heal()
    assert min(took) <= STALE_SECONDS_MAX, took
    async with asyncio.timeout(20):
        await ours.catch_up()
    assert [event.version for event in node.events] == [event.version for event in others.events]
    await ours.close()
    await theirs.close()
    await others.store.delete_project(project)
    for one in (node, others):
        await one.store.close()
    await wire.close()
