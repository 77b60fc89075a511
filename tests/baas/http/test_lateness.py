"""Whatever hangs behind a request: it gets an answer, in time for those who wait a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.clock import VirtualClock
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.http import lateness
from baas.http.lateness import LateRequests
from baas.model.queries import Query
from baas.settings import Limits
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, World, open_world
from tests.baas.http.test_bad_input import check_error
from tests.baas.http.test_connection import SocketServer
from tests.waiting import settle, until

LONGEST = Limits().request_seconds_max
ACCOUNTS = "/api/v1/projects/demo/accounts"


class Late:
    """A world whose time a test moves, and a place in it where everybody waits for ever."""

    def __init__(self, world: World, clock: VirtualClock, client: httpx.AsyncClient) -> None:
        self.world = world
        self.clock = clock
        self.client = client
        self.waiting = asyncio.Event()
        self.go_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self, *_: Any, **__: Any) -> Any:
        self.waiting.set()
        await asyncio.shield(self.go_on)

    @property
    def requests(self) -> LateRequests:
        return self.world.app._http._requests

    async def look(self, seconds: float) -> None:
        """So long after everything before."""
        self.clock.advance(seconds)
        self.requests._look()
        await settle()

    async def began(self, call: Awaitable[httpx.Response]) -> asyncio.Task[httpx.Response]:
        task = asyncio.ensure_future(call)
        await until(self.waiting.is_set)
        return task


@pytest_asyncio.fixture(params=["ASGI", "sockets"])
async def late(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Late]:
    monkeypatch.setattr(lateness, "LOOK_SECONDS", 3_600.0)  # tests look themselves
    clock = VirtualClock()
    settings = make_settings(tmp_path / "data")
    async with started_app(settings, clock) as app, open_world(app) as world:
        if request.param == "ASGI":
            made = Late(world, clock, world.operator)
            yield made
        else:
            server = SocketServer(app)
            async with (
                server as port,
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"authorization": f"Bearer {app.operator_token}"},
                    timeout=60,
                ) as client,
            ):
                made = Late(world, clock, client)
                yield made
        made.go_on.cancel()


@pytest.mark.parametrize("what", ["document", "query", "write", "sign-up", "administration"])
async def test_request_behind_which_something_hangs_is_answered(
    late: Late, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    world, client = late.world, late.client
    calls: dict[str, tuple[str, Callable[[], Awaitable[httpx.Response]]]] = {
        "document": (
            "services.documents.open_database",
            lambda: client.post(f"{BASE}:batch-get", json={"documents": ["a/b"]}),
        ),
        "query": (
            "services.queries.open_allowed",
            lambda: client.post(f"{BASE}:query", json={"query": {"collection": "a"}}),
        ),
        "write": (
            "database.database.Database.run_transaction",
            lambda: client.put(f"{BASE}/a/b", json={"fields": {}}),
        ),
        "sign-up": (
            "accounts.passwords.PasswordPool.hash",
            lambda: client.post(
                f"{ACCOUNTS}:sign-up",
                json={"email": "eve@example.com", "password": PASSWORD},
                headers={"x-api-key": world.api_key},
            ),
        ),
        "administration": (
            "projects.projects.Projects.list_projects",
            lambda: client.get("/api/v1/admin/projects"),
        ),
    }
    place, call = calls[what]
    with monkeypatch.context() as patch:
        patch.setattr(f"baas.{place}", late.wait)
        task = await late.began(call())
        await late.look(LONGEST)
        assert not task.done()
        await late.look(0.001)
        error = check_error(await task, 504)
    assert (error["code"], error["reason"]) == ("DEADLINE_EXCEEDED", "AnswerTooLate")
    await until(lambda: not len(late.requests))
    assert (await call()).status_code != 504


async def test_answer_that_stands_still_ends_with_an_error_line(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    await late.world.operator.put(f"{BASE}/a/b", json={"fields": {}})

    async def halting(self: ReadSnapshot, query: Query) -> AsyncGenerator[list[StoredDocument]]:
        yield (await self.run_query(query)).documents
        await late.wait()

    monkeypatch.setattr(ReadSnapshot, "stream_query", halting)
    headers = {"accept": "application/x-ndjson"}
    query = {"query": {"collection": "a"}}
    task = await late.began(late.client.post(f"{BASE}:query", json=query, headers=headers))
    await late.look(LONGEST + 0.001)
    answer = await task
    assert answer.status_code == 200
    last = orjson.loads(answer.content.splitlines()[-1])
    assert last["error"]["reason"] == "AnswerTooLate"


async def test_what_loses_its_interruption_is_interrupted_again(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[bool] = []

    async def lose(*_: Any) -> Any:
        while len(lost) < 2:
            try:
                await late.wait()
            except asyncio.CancelledError:
                lost.append(True)
        await late.wait()

    monkeypatch.setattr("baas.projects.projects.Projects.list_projects", lose)
    task = await late.began(late.client.get("/api/v1/admin/projects"))
    await late.look(LONGEST + 0.001)
    await late.look(1)
    assert (len(lost), task.done()) == (2, False)
    await late.look(1)
    check_error(await task, 504)


async def test_late_request_is_answered_though_nobody_can_be_told_of_it(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(lateness, "tell_waits", fail)
    monkeypatch.setattr("baas.projects.projects.Projects.list_projects", late.wait)
    for _ in range(2):
        task = await late.began(late.client.get("/api/v1/admin/projects"))
        await late.look(LONGEST + 0.001)
        check_error(await task, 504)
        late.waiting.clear()


async def test_work_of_any_size_may_take_its_time(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "baas.services.transfer.import_documents"

    class Result:
        documents = lines = 1

    async def import_slowly(*_: Any, **__: Any) -> Result:
        await late.wait()
        return Result()

    monkeypatch.setattr(commit, import_slowly)
    task = await late.began(
        late.client.post(f"{ADMIN}/databases/(default)/documents:import", content=b"{}")
    )
    await late.look(10 * LONGEST)
    late.go_on.set_result(None)
    assert (await task).status_code == 200


async def test_slow_client_is_none_of_the_servers_lateness(late: Late) -> None:
    """A body has bounds of its own, and what is done with it the whole time."""
    come: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"fields"'
        yield await come

    headers = {"content-length": "13"}
    task = asyncio.ensure_future(late.client.put(f"{BASE}/a/b", content=body(), headers=headers))
    await until(lambda: [one for one in late.requests._open if one.waits_since is None])
    await late.look(2 * LONGEST)
    come.set_result(b":{}}")
    assert (await task).status_code == 200


async def test_late_requests_are_looked_for_while_there_are_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "LOOK_SECONDS", 0.01)
    settings = make_settings(tmp_path / "data", limits=Limits(request_seconds_max=0.05))

    async def hang(*_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("baas.projects.projects.Projects.list_projects", hang)
    # Nothing is asked but what is to be late: a busy machine takes longer for the rest.
    async with started_app(settings) as app, app_client(app, app.operator_token) as operator:
        for _ in range(2):
            check_error(await operator.get("/api/v1/admin/projects"), 504)
        await until(lambda: app._http._requests._timer is None)
