"""Concurrent clients, faults, and one order that has to explain all that they saw."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from baas.clock import SystemClock
from baas.database.committer import Committer
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.settings import Settings
from baas.storage.engine import StorageEngine
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.engines import SteeredEngine
from tests.faults.history import Acknowledged, History, Unknown, Verdict, check_history
from tests.faults.history_clients import (
    DatabaseClient,
    HttpClient,
    find_witnesses,
    read_witnesses,
)
from tests.faults.history_load import bump, step, work
from tests.faults.seeds import RULES, new_seed, rounds
from tests.processes import ServerProcess
from tests.storage.conftest import ENGINES

ROUNDS = rounds(3, 40)
CLIENTS = 8
STEPS = 120
ATTEMPTS_MAX = 30  # to meet a planted bug

pytestmark = pytest.mark.slow


# Within one process: the server's own transactions, on an engine that fails ---------------------


async def run_inside(
    engine: StorageEngine, seed: int, *, failures: bool = False
) -> tuple[History, Verdict]:
    """Clients with transactions that read documents and queries; commits that fail, before and
    after they have happened."""
    chance = random.Random(seed)
    history = History()
    steered, clock = SteeredEngine(engine), SystemClock()
    database = await Database.open(DatabaseName("demo"), steered, clock=clock, settings=Settings())
    clients = [
        DatabaseClient(history, f"client{number}", lambda: database) for number in range(CLIENTS)
    ]

    async def run(client: DatabaseClient, own: random.Random) -> None:
        for number in range(STEPS):
            if failures and number % 10 == 0:
                steered.failures = own.choice((0, 1))
                steered.failures_after = own.choice((0, 1))
            await step(client, own)

    try:
        await asyncio.gather(*[run(client, random.Random(chance.random())) for client in clients])
        steered.failures = steered.failures_after = 0
        return history, check_history(history, await find_witnesses(database))
    finally:
        await database.close()


@pytest.mark.parametrize("failures", [False, True])
@pytest.mark.parametrize("engine", list(ENGINES))
async def test_transactions_are_as_if_one_after_another(
    engine: str, failures: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seed = new_seed()
    async with ENGINES[engine](request, tmp_path) as open_database:
        for number in range(rounds(1, 20)):
            opened = await open_database(f"history-{number}")
            history, verdict = await run_inside(opened, seed + number, failures=failures)
            assert verdict.violations == []
            assert verdict.happened > CLIENTS * STEPS / 4
            assert verdict.checked_reads > CLIENTS * STEPS / 4
            if failures:
                assert any(isinstance(commit.outcome, Unknown) for commit in history.commits)


async def find_violations(folder: Path) -> list[str]:
    """Of a bug that is planted: runs until one meets it, as the first one nearly always does."""
    seed = new_seed()
    for number in range(ATTEMPTS_MAX):
        file = folder / f"history{number}.sqlite"
        engine = SqliteEngine.open(file, clock=SystemClock(), synchronous="off")
        _, verdict = await run_inside(engine, seed + number)
        if verdict.violations:
            return verdict.violations
    return []


async def test_a_committer_that_ignores_what_was_read_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Committer, "_is_stale", lambda self, attempt, group: False)
    assert await find_violations(tmp_path)


async def test_a_committer_that_looks_at_documents_and_not_at_queries_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stale = Committer._is_stale

    def ignore_queries(self: Committer, attempt, group) -> bool:  # type: ignore[no-untyped-def]
        queries, attempt.transaction.queries = attempt.transaction.queries, []
        try:
            return is_stale(self, attempt, group)
        finally:
            attempt.transaction.queries = queries

    monkeypatch.setattr(Committer, "_is_stale", ignore_queries)
    violations = await find_violations(tmp_path)
    assert violations
    assert all("queried" in violation for violation in violations)


# The real server, killed and started again -------------------------------------------------------


async def run_against(
    server: ServerProcess, rounds: int, seed: int, project: str = "crash"
) -> tuple[History, Verdict]:
    """Clients over HTTP while the server is killed and started again at random moments."""
    chance = random.Random(seed)
    history, stopped = History(), asyncio.Event()
    clients = [
        HttpClient(
            history,
            f"client{number}",
            lambda: server.url,
            random.Random(chance.random()),
            project=project,
        )
        for number in range(CLIENTS)
    ]
    # An empty database tells the clock's time as that of a read, which is nobody's version.
    while not isinstance((await clients[0].commit([bump("counters/c0")])), Acknowledged):
        pass
    tasks = [
        asyncio.create_task(work(client, random.Random(chance.random()), stopped, pause=0.002))
        for client in clients
    ]
    for _ in range(rounds):
        await asyncio.sleep(chance.uniform(0.3, 0.9))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    wanted = len(history.commits) + 15 * CLIENTS
    while len(history.commits) < wanted:
        await asyncio.wait(tasks, timeout=0.05)
    stopped.set()
    for client in clients:
        client.is_ending = True
    await asyncio.gather(*tasks)
    for client in clients:
        await client.close()
    async with httpx.AsyncClient(timeout=60) as reader:
        witnesses = await read_witnesses(reader, server.url, project, server.operator_token)
    return history, check_history(history, witnesses)


@pytest.mark.timeout(300 + 60 * ROUNDS)
async def test_history_over_http_holds_through_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    server = ServerProcess(tmp_path / "data")
    await asyncio.to_thread(server.start)
    try:
        server.create_project("crash", RULES, allow_open=True)
        history, verdict = await run_against(server, ROUNDS, seed)
    finally:
        await asyncio.to_thread(server.stop)
    assert verdict.violations == []
    assert verdict.happened > ROUNDS * CLIENTS
    record_property(
        "summary",
        f"history check over HTTP, {ROUNDS} kills: {history.describe()}; {verdict.resolved} of the "
        f"unknown had happened, one order explains all (seed {seed})",
    )


async def test_a_server_that_ignores_what_was_read_is_caught(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", module="tests.faults.forgetful_server")
    await asyncio.to_thread(server.start)
    try:
        seed, violations = new_seed(), list[str]()
        for number in range(ATTEMPTS_MAX):
            project = f"crash{number}"
            await asyncio.to_thread(server.create_project, project, RULES, allow_open=True)
            _, verdict = await run_against(server, 0, seed + number, project)
            violations += verdict.violations
            if violations:
                break
        assert violations
    finally:
        await asyncio.to_thread(server.stop)
