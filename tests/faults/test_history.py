"""Concurrent clients, faults, and one order that has to explain all that they saw."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from baas.clock import SystemClock
from baas.database.committer import Committer
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.engines import SteeredEngine
from tests.faults.history import History, Unknown, Verdict, check_history
from tests.faults.history_clients import (
    DatabaseClient,
    HttpClient,
    find_witnesses,
    read_witnesses,
)
from tests.faults.history_load import step, work
from tests.faults.seeds import RULES, new_seed
from tests.processes import ServerProcess

ROUNDS = int(os.environ.get("BAAS_CRASH_ROUNDS", "3"))
CLIENTS = 8
STEPS = 120

pytestmark = pytest.mark.slow


# Within one process: the server's own transactions, on an engine that fails ---------------------


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Database, SteeredEngine]]:
    clock = SystemClock()
    engine = SteeredEngine(SqliteEngine.open(path, clock=clock, synchronous="off"))
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    try:
        yield database, engine
    finally:
        await database.close()


async def run_inside(path: Path, seed: int, *, failures: bool) -> tuple[History, Verdict]:
    """Clients with transactions that read documents and queries; commits that fail, before and
    after they have happened."""
    chance = random.Random(seed)
    history = History()
    async with opened(path) as (database, engine):
        clients = [
            DatabaseClient(history, f"client{number}", lambda: database)
            for number in range(CLIENTS)
        ]

        async def run(client: DatabaseClient, own: random.Random) -> None:
            for number in range(STEPS):
                if failures and number % 10 == 0:
                    engine.failures = own.choice((0, 1))
                    engine.failures_after = own.choice((0, 1))
                await step(client, own)

        await asyncio.gather(*[run(client, random.Random(chance.random())) for client in clients])
        engine.failures = engine.failures_after = 0
        return history, check_history(history, await find_witnesses(database))


@pytest.mark.parametrize("failures", [False, True])
async def test_transactions_are_as_if_one_after_another(tmp_path: Path, failures: bool) -> None:
    history, verdict = await run_inside(tmp_path / "d.sqlite", new_seed(), failures=failures)
    assert verdict.violations == []
    assert verdict.happened > CLIENTS * STEPS / 4
    assert verdict.checked_reads > CLIENTS * STEPS / 4
    if failures:
        assert any(isinstance(commit.outcome, Unknown) for commit in history.commits)


async def test_a_committer_that_ignores_what_was_read_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Committer, "_is_stale", lambda self, attempt, group: False)
    _, verdict = await run_inside(tmp_path / "d.sqlite", new_seed(), failures=False)
    assert verdict.violations


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
    _, verdict = await run_inside(tmp_path / "d.sqlite", new_seed(), failures=False)
    assert verdict.violations
    assert all("queried" in violation for violation in verdict.violations)


# The real server, killed and started again -------------------------------------------------------


async def run_against(server: ServerProcess, rounds: int, seed: int) -> tuple[History, Verdict]:
    """Clients over HTTP while the server is killed and started again at random moments."""
    chance = random.Random(seed)
    history, stopped = History(), asyncio.Event()
    clients = [
        HttpClient(
            history,
            f"client{number}",
            lambda: server.url,
            random.Random(chance.random()),
            project="crash",
        )
        for number in range(CLIENTS)
    ]
    tasks = [
        asyncio.create_task(work(client, random.Random(chance.random()), stopped, pause=0.002))
        for client in clients
    ]
    for _ in range(rounds):
        await asyncio.sleep(chance.uniform(0.3, 0.9))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(0.3)
    stopped.set()
    for client in clients:
        client.is_ending = True
    await asyncio.gather(*tasks)
    for client in clients:
        await client.close()
    async with httpx.AsyncClient(timeout=60) as reader:
        witnesses = await read_witnesses(reader, server.url, "crash", server.operator_token)
    return history, check_history(history, witnesses)


@pytest.mark.timeout(60 + 20 * ROUNDS)
async def test_history_over_http_holds_through_kills(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await asyncio.to_thread(server.start)
    try:
        server.create_project("crash", RULES, allow_open=True)
        history, verdict = await run_against(server, ROUNDS, new_seed())
    finally:
        await asyncio.to_thread(server.stop)
    print(f"{history.describe()}; {verdict.resolved} unknown outcomes had happened")  # noqa: T201
    assert verdict.violations == []
    assert verdict.happened > ROUNDS * CLIENTS


async def test_a_server_that_ignores_what_was_read_is_caught(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", module="tests.faults.forgetful_server")
    await asyncio.to_thread(server.start)
    try:
        server.create_project("crash", RULES, allow_open=True)
        _, verdict = await run_against(server, 1, new_seed())
    finally:
        await asyncio.to_thread(server.stop)
    assert verdict.violations
