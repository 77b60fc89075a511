"""Three real mongods: the primary steps down, is stopped, is killed, while two owners commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress

import pytest

from baas.clock import SystemClock
from baas.storage.engine import (
    CommitGroup,
    CommitRecord,
    EngineConflict,
    StorageError,
)
from baas.storage.mongo import MongoEngine
from baas.storage.mongo_store import MongoStore
from baas.storage.store import StoreName
from tests.mongo import ReplicaSet, check_mongod
from tests.storage.commits import change, document, texts

pytestmark = pytest.mark.timeout(600)
MEND_SECONDS = 90.0  # that a replica set gets for an election on a busy machine


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    check_mongod()
    started = ReplicaSet(tmp_path_factory.mktemp("mongods") / "set", 3).start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
async def engines(three: ReplicaSet) -> AsyncIterator[list[MongoEngine]]:
    """One database, opened by two servers."""
    clock = SystemClock()
    name = StoreName(f"test-{clock.random_bytes(8).hex()}", "failover")
    stores = [
        MongoStore(three.uri, "baas_failover", clock, timeout_seconds=MEND_SECONDS)
        for _ in range(2)
    ]
    try:
        yield [await store.open(name, create=True) for store in stores]
    finally:
        for store in stores:
            await store.close()


class Load:
    """Owners that commit in turns until told to end, and what they were told."""

    def __init__(self, engines: list[MongoEngine]) -> None:
        self.engines = engines
        self.acknowledged: dict[int, str] = {}
        self.failures: list[StorageError] = []
        self.is_over = False
        self._committed = asyncio.Event()

    async def run(self, number: int) -> None:
        engine = self.engines[number]
        while not self.is_over:
            after = (await engine.read_head()).version
            version = after + 1
            name = f"n{version}"
            image = document(name, f"by {number}", version=version)
            group = CommitGroup(after, [CommitRecord(version, [change(name, None, image)])])
            try:
                await engine.commit(group)
            except EngineConflict:
                continue
            except StorageError as error:
                self.failures.append(error)
                continue
            assert version not in self.acknowledged, "two commits of one version"
            self.acknowledged[version] = f"by {number}"
            self._committed.set()

    async def wait_commits(self, count: int) -> None:
        for _ in range(count):
            self._committed.clear()
            await asyncio.wait_for(self._committed.wait(), MEND_SECONDS)


async def check_log(engine: MongoEngine, load: Load) -> None:
    """Every acknowledged commit is there once, as it was made; and the log has no other holes."""
    head = await engine.read_head()
    names = [f"n{version}" for version in range(1, head.version + 1)]
    found = await texts(engine, *names)
    assert None not in found
    assert set(load.acknowledged) <= set(range(1, head.version + 1))
    for version, text in load.acknowledged.items():
        assert found[version - 1] == text
    snapshot = await engine.open_snapshot()
    logged = [record.version for record in await snapshot.read_log(0, limit=1_000_000)]
    assert logged == list(range(1, head.version + 1))


def step_down(three: ReplicaSet) -> Callable[[], None]:
    three.step_down()
    return lambda: None


def stop_primary(three: ReplicaSet) -> Callable[[], None]:
    primary = three.wait_primary()
    three.pause(primary)
    three.wait_primary(other_than=primary)
    return lambda: three.resume(primary)


def kill_primary(three: ReplicaSet) -> Callable[[], None]:
    primary = three.wait_primary()
    three.kill(primary)
    three.wait_primary(other_than=primary)
    return lambda: three.restart(primary)


@pytest.mark.parametrize("hurt", [step_down, stop_primary, kill_primary])
async def test_acknowledged_commits_outlive_the_primary_and_nothing_is_doubled(
    three: ReplicaSet, engines: list[MongoEngine], hurt: Callable[[ReplicaSet], Callable[[], None]]
) -> None:
    load = Load(engines)
    running = [asyncio.create_task(load.run(number)) for number in range(2)]
    try:
        await load.wait_commits(5)
        mend = await asyncio.to_thread(hurt, three)
        try:
            await load.wait_commits(5)
        finally:
            await asyncio.to_thread(mend)
        await load.wait_commits(5)
    finally:
        load.is_over = True
        await asyncio.gather(*running)
    assert load.failures == []  # a pause at most
    for engine in engines:
        await check_log(engine, load)


async def test_primary_that_slept_through_its_successor_shows_no_past(
    three: ReplicaSet, engines: list[MongoEngine]
) -> None:
    """A server that reaches only that one asks it while it sleeps; woken, it answers at once."""
    image = document("a", "old", version=1)
    await engines[0].commit(CommitGroup(0, [CommitRecord(1, [change("a", None, image)])]))
    name = StoreName(*engines[0]._head.id.split("/"))
    async with AsyncExitStack() as stack:
        while True:  # a busy machine may have an election at any time
            number = await asyncio.to_thread(three.wait_primary)
            uri = f"mongodb://{three.address(number)}/?directConnection=true"
            store = MongoStore(uri, "baas_failover", SystemClock(), timeout_seconds=3)
            stack.push_async_callback(store.close)
            with suppress(StorageError):
                lonely = await store.open(name, create=False)
                assert await texts(lonely, "a") == ["old"]
                break
        three.pause(number)
        try:
            await asyncio.to_thread(three.wait_primary, other_than=number)
            newer = document("a", "new", version=2, created=1)
            await engines[0].commit(CommitGroup(1, [CommitRecord(2, [change("a", image, newer)])]))
            reading = asyncio.create_task(texts(lonely, "a"))
            await asyncio.sleep(0.2)  # the question waits in the sleeper's socket
        finally:
            three.resume(number)
        with suppress(StorageError):
            assert await reading == ["new"]
