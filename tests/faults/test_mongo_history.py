"""Two nodes on three mongods: members are killed, stopped and cut off while clients write, read and
listen. One order explains all that they saw, nothing acknowledged is lost or doubled, and listeners
are told of everything, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.faults.history import Acknowledged, History, Verdict, check_history, now
from tests.faults.history_clients import HttpClient, read_witnesses
from tests.faults.history_listeners import Listening
from tests.faults.history_load import bump, work
from tests.faults.mongo_nodes import NODES, MongoNodes
from tests.faults.seeds import RULES, new_seed, rounds
from tests.mongo import check_mongod

ROUNDS = rounds(3, 50)
CLIENTS = 8
ATTEMPTS_MAX = 20  # to meet a planted bug
COMMITS_BETWEEN = 15  # acknowledged before, during and after each fault
PATIENCE_SECONDS = 3.0  # of a client, who then asks another node
GOES_ON_SECONDS = 180.0  # far above what is wanted: it tells a pause from a standstill
PRIMARY_FAULTS = ("kill_primary", "pause_primary")
NODE_FAULTS = ("kill_node", "silence_node", "cut_node")

pytestmark = pytest.mark.slow


@pytest.fixture(name="topology")
async def make_topology(tmp_path: Path) -> AsyncIterator[MongoNodes]:
    check_mongod()
    topology = MongoNodes(tmp_path)
    try:
        yield await topology.start()
    finally:
        await topology.stop()


@dataclass(slots=True)
class Round:
    """The clients of one round, in a project of their own."""

    topology: MongoNodes
    project: str
    chance: random.Random
    history: History = field(default_factory=History)
    clients: list[HttpClient] = field(default_factory=list)
    listening: list[Listening] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        first = self.topology.nodes[0]
        await asyncio.to_thread(first.create_project, self.project, RULES, allow_open=True)
        for number in range(CLIENTS):
            chance = random.Random(self.chance.random())
            client = HttpClient(
                self.history,
                f"client{number}",
                lambda chance=chance: self.topology.url(chance),  # type: ignore[misc]
                chance,
                project=self.project,
                timeout_seconds=PATIENCE_SECONDS,
            )
            self.clients.append(client)
        # A database without a commit has no version to tell: its reads are as of now.
        assert isinstance(await self.clients[0].commit([bump("counters/c0")]), Acknowledged)
        for number, node in enumerate(self.topology.nodes):
            self.listening.append(
                Listening(self.history, f"listener{number}", node.url, self.project)
            )
        for client in self.clients:
            chance = random.Random(self.chance.random())
            self.tasks.append(asyncio.create_task(work(client, chance, self.stopped, pause=0.01)))

    async def wait_more(self, what: str) -> None:
        """Until so many commits that begin from now on were acknowledged."""
        begin, place, found = now(), len(self.history.commits), 0
        deadline = asyncio.get_running_loop().time() + GOES_ON_SECONDS
        while found < COMMITS_BETWEEN:
            for task in self.tasks:
                if task.done():
                    task.result()
            for commit in self.history.commits[place:]:
                found += isinstance(commit.outcome, Acknowledged) and commit.invoked >= begin
            place = len(self.history.commits)
            assert asyncio.get_running_loop().time() < deadline, f"{what}: nothing went on"
            await asyncio.sleep(0.05)

    async def finish(self) -> Verdict:
        """Ends the clients and looks at what they saw."""
        self.stopped.set()
        for client in self.clients:
            client.is_ending = True
        await asyncio.gather(*self.tasks)
        for client in self.clients:
            await client.close()
        node = self.topology.nodes[-1]
        async with httpx.AsyncClient(timeout=60) as reader:
            witnesses = await read_witnesses(reader, node.url, self.project, node.operator_token)
        names = {image.path.rpartition("/")[2] for image in witnesses}
        violations: list[str] = []
        for listening in self.listening:
            await listening.wait_for(names, seconds=GOES_ON_SECONDS)
            await listening.close()
            violations += listening.violations
        verdict = check_history(self.history, witnesses)
        verdict.violations += violations
        return verdict

    async def abandon(self) -> None:
        """After a failure: ends what still goes on."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for client in self.clients:
            await client.close()
        for listening in self.listening:
            await listening.close()

    def longest_pause_seconds(self) -> float:
        """Between two acknowledgements, whosever."""
        told = sorted(
            commit.responded
            for commit in self.history.commits
            if isinstance(commit.outcome, Acknowledged)
        )
        return max(after - before for before, after in pairwise(told)) / 1e9


async def break_and_heal(topology: MongoNodes, kind: str, number: int, current: Round) -> None:
    """One fault, through which and after which commits go on."""
    await current.wait_more(f"before {kind}")
    heal: Callable[[], Awaitable[object]]
    if kind in PRIMARY_FAULTS:
        mend = await getattr(topology, kind)()
        heal = lambda: asyncio.to_thread(mend)  # noqa: E731
    elif kind == "kill_node":
        await topology.kill_node(number)
        heal = lambda: topology.start_node(number)  # noqa: E731
    else:
        heal = getattr(topology, kind)(number)
    try:
        await current.wait_more(f"during {kind}")
    finally:
        await heal()
    await current.wait_more(f"after {kind}")


@pytest.mark.timeout(600 + 120 * ROUNDS)
async def test_nothing_acknowledged_is_lost_or_doubled_whatever_breaks(
    topology: MongoNodes, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    lines: list[str] = []
    for number in range(ROUNDS):
        current = Round(topology, f"round{number}", chance)
        try:
            await current.start()
            for kind in (PRIMARY_FAULTS[number % 2], NODE_FAULTS[number % 3]):
                await break_and_heal(topology, kind, chance.randrange(NODES), current)
            verdict = await current.finish()
        except BaseException:
            await current.abandon()
            raise
        lines.append(
            f"round {number} ({PRIMARY_FAULTS[number % 2]}, {NODE_FAULTS[number % 3]}): "
            f"{current.history.describe()}; {verdict.resolved} of the unknown had happened; "
            f"longest pause {current.longest_pause_seconds():.1f} s"
        )
        print(lines[-1])  # noqa: T201
        assert verdict.violations == []
        assert verdict.happened > COMMITS_BETWEEN * 6
    record_property("summary", "MongoDB with faults:\n" + "\n".join(lines) + f"\n(seed {seed})")


@pytest.mark.timeout(900)
async def test_nodes_that_ignore_what_was_read_are_caught(tmp_path: Path) -> None:
    check_mongod()
    topology = MongoNodes(tmp_path, module="tests.faults.forgetful_node_nursery")
    try:
        await topology.start()
        chance, violations = random.Random(new_seed()), list[str]()
        for number in range(ATTEMPTS_MAX):
            violations += await run_quietly(Round(topology, f"forgetful{number}", chance))
            if violations:
                break
        assert violations
    finally:
        await topology.stop()


async def run_quietly(current: Round) -> list[str]:
    try:
        await current.start()
        for _ in range(6):
            await current.wait_more("without a fault")
        return (await current.finish()).violations
    except BaseException:
        await current.abandon()
        raise
