"""Many projects on one server, few of them active: memory, descriptors, threads, start-up, and what
the first request to a project costs whose databases are closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bench.processes import (
    cpu_seconds,
    descriptors,
    memory_mib,
    running,
    thread_count,
)
from bench.servers import RULES, seed_fields
from scripts.free_ports import free_port

ROUNDS = 2  # of further starts, empty and full in turn
WRITES = 20  # and as many gets, of every active project
WARM_GETS = 5
CREATED_AT_ONCE = 8
CLOSED_SECONDS = 30 + 60 + 5  # idle long enough, and a look at what is idle
HEARD_SECONDS = 30.0
_DOCUMENT = "post"


@dataclass(frozen=True)
class Size:
    """How many projects there are, how many of them active, and how long idle ones are awaited."""

    projects: int = 1_000
    active: int = 50
    settle_seconds: float = CLOSED_SECONDS
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Footprint:
    """What a server holds at one moment."""

    name: str
    memory_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Start:
    """From the command until the server says that it is ready."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Server:
    url: str
    pid: int
    operator: str
    start: Start

    def footprint(self, name: str) -> Footprint:
        return Footprint(name, memory_mib(self.pid), descriptors(self.pid), thread_count(self.pid))


@dataclass(frozen=True)
class ActiveProject:
    """A project with a user who is signed in."""

    id: str
    key: str
    token: str
    uid: str

    @property
    def path(self) -> str:
        return f"/api/v1/projects/{self.id}/documents"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Report:
    size: Size
    footprints: list[Footprint]
    heard: int  # of WRITES in every active project, by its listener
    starts: list[tuple[Start, Start]]  # of an empty folder, of the one with all projects
    cold_ms: list[float]
    warm_ms: list[float]

    def table(self, engine: str) -> str:
        """Markdown."""
        base = self.footprints[0]
        lines = [
            f"## {self.size.projects:,} projects, {self.size.active} active, {engine}\n",
            "| | MiB | ratio | descriptors | threads |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {one.name} | {one.memory_mib:.0f} | {one.memory_mib / base.memory_mib:.2f} "
            f"| {one.descriptors:,} | {one.threads} |"
            for one in self.footprints
        ]
        cold, warm = statistics.median(self.cold_ms), statistics.median(self.warm_ms)
        wait = statistics.median(full.seconds / empty.seconds for empty, full in self.starts)
        cpu = statistics.median(full.cpu_seconds / empty.cpu_seconds for empty, full in self.starts)
        return "\n".join(
            [
                *lines,
                "",
                "| | ratio |",
                "|---|---|",
                f"| first get in a project that was closed ({cold:.1f} ms) to a later one "
                f"({warm:.1f} ms) | **{cold / warm:.1f}** |",
                f"| start with all projects to one with none: time | **{wait:.2f}** |",
                f"| the same: processor time | **{cpu:.2f}** |",
                "",
                f"Every listener heard its {WRITES} writes: {self.heard:,} of "
                f"{self.size.active * WRITES:,}.\n",
            ]
        )


def measure(
    folder: Path, size: Size, *, flags: tuple[str, ...] = (), empty: tuple[str, ...] = ()
) -> Report:
    """`flags` are of the server with the projects, `empty` of the one without."""
    folder.mkdir()
    full = folder / "full"
    with _server(full, flags) as server:
        footprints = [server.footprint("no project")]
        active = asyncio.run(_make_projects(server, size))
        footprints.append(server.footprint("all projects, just made"))
        time.sleep(size.settle_seconds)
        footprints.append(server.footprint("all projects, idle"))
        heard, busy = asyncio.run(_be_active(server, active))
        footprints.append(busy)
        time.sleep(size.settle_seconds)
        footprints.append(server.footprint("idle again"))
    with _server(full, flags) as again:
        cold, warm = _time_first_gets(again, active)
    starts = [(server.start, again.start)]
    for _ in range(size.rounds):
        with _server(folder / "empty", empty or flags) as bare, _server(full, flags) as whole:
            starts.append((bare.start, whole.start))
    return Report(size, footprints, heard, starts, cold, warm)


@contextlib.contextmanager
def _server(data: Path, flags: tuple[str, ...]) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "baas", "serve", "--data", str(data), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    log = data.with_suffix(".log")
    began = time.perf_counter()
    environment = {**os.environ, "BAAS_OPEN_RULES": "*"}
    with running([*command, *flags], environment, url + "/readyz", log=log) as process:
        start = Start(time.perf_counter() - began, cpu_seconds(process.pid))
        operator = json.loads((data / "server.json").read_text(encoding="utf-8"))["token"]
        try:
            yield Server(url, process.pid, operator, start)
        except Exception as error:
            error.add_note(f"the server said:\n{log.read_text(errors='replace')[-5000:]}")
            raise


async def _make_projects(server: Server, size: Size) -> list[ActiveProject]:
    """All projects; the active ones, evenly among them, get rules, a key and a user."""
    gate = asyncio.Semaphore(CREATED_AT_ONCE)
    step = max(1, size.projects // size.active)
    chosen = {f"p{number:05}" for number in range(0, step * size.active, step)}

    headers = {"Authorization": f"Bearer {server.operator}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as admin:

        async def make(identifier: str) -> ActiveProject | None:
            async with gate:
                await _ask(admin, "POST", "/api/v1/admin/projects", {"id": identifier})
                return await _open_project(admin, identifier) if identifier in chosen else None

        names = [f"p{number:05}" for number in range(size.projects)]
        made = await asyncio.gather(*map(make, names))
    return [project for project in made if project is not None]


async def _open_project(admin: httpx.AsyncClient, identifier: str) -> ActiveProject:
    place = f"/api/v1/admin/projects/{identifier}"
    await _ask(admin, "PUT", f"{place}/rules", {"source": RULES, "allow_open": True})
    key = await _ask(admin, "POST", f"{place}/keys", {"kind": "publishable", "name": "bench"})
    account = {"email": "bench@example.com", "password": "a-long-password"}
    path = f"/api/v1/projects/{identifier}/accounts:sign-up"
    headers = {"X-Api-Key": str(key["key"])}
    async with httpx.AsyncClient(base_url=admin.base_url, timeout=60) as anybody:
        signed_up = await _ask(anybody, "POST", path, account, headers)
    uid = signed_up["user"]["uid"]
    return ActiveProject(identifier, headers["X-Api-Key"], signed_up["id_token"], uid)


async def _be_active(server: Server, projects: list[ActiveProject]) -> tuple[int, Footprint]:
    """Writes and gets in all projects at once, each with a listener: how many writes the listeners
    heard, and what the server holds while they listen."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
        sockets = [await stack.enter_async_context(_listener(server, one)) for one in projects]
        hearing = [asyncio.create_task(_hear(socket)) for socket in sockets]
        await asyncio.gather(*(_write_and_get(client, project) for project in projects))
        heard = sum(await asyncio.gather(*hearing))
        return heard, server.footprint("active, a listener each")


@contextlib.asynccontextmanager
async def _listener(server: Server, project: ActiveProject) -> AsyncIterator[ClientConnection]:
    url = f"{server.url.replace('http', 'ws', 1)}{project.path}:listen"
    async with connect(url) as socket:
        hello = {"type": "hello", "token": project.token, "api_key": project.key}
        query = {"collection": "posts", "limit": 100}
        for message in (hello, {"type": "listen", "target": 1, "query": query}):
            await socket.send(json.dumps(message))
        while json.loads(await asyncio.wait_for(socket.recv(), HEARD_SECONDS))["type"] != "added":
            pass
        yield socket


async def _hear(socket: ClientConnection) -> int:
    """The count of documents in the last list that came."""
    count = 0
    with contextlib.suppress(TimeoutError):
        while count < WRITES:
            message = json.loads(await asyncio.wait_for(socket.recv(), HEARD_SECONDS))
            if message["type"] == "snapshot" and message["final"]:
                count = message["count"]
    return count


async def _write_and_get(client: httpx.AsyncClient, project: ActiveProject) -> None:
    for number in range(WRITES):
        body = {"fields": seed_fields(number, project.uid)}
        path = f"{project.path}/posts"
        await _ask(client, "POST", f"{path}?id={_DOCUMENT}{number}", body, project.headers)
        await _ask(client, "GET", f"{path}/{_DOCUMENT}{number}", None, project.headers)


def _time_first_gets(
    server: Server, projects: list[ActiveProject]
) -> tuple[list[float], list[float]]:
    """Milliseconds of a user's first get in every project since the start, and of later ones."""
    cold, warm = [], []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        client.get("/readyz")  # the connection is there
        for project in projects:
            path = f"{project.path}/posts/{_DOCUMENT}0"
            times = []
            for _ in range(1 + WARM_GETS):
                began = time.perf_counter()
                answer = client.get(path, headers=project.headers)
                times.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
            cold.append(times[0])
            warm += times[1:]
    return cold, warm


async def _ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    answer = await client.request(method, path, json=body, headers=headers)
    if not answer.is_success:
        raise RuntimeError(f"{method} {path}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found
