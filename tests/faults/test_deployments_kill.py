"""kill -9 of whoever is at a deployment of schemas, or of rules, at every step of it: afterwards
the old ones are in force or the new ones, on every node, and once somebody was told that new
schemas are, nobody gets past them."""

from __future__ import annotations

import secrets
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.mortal import VARIABLE, doom
from tests.faults.seeds import IS_LONG, RULES
from tests.processes import Nursery, ServerProcess, checked
from tests.waiting import wait_until

PROJECT = "shop"
ADMIN = f"/projects/{PROJECT}"
DOCUMENTS = 30
OVER = ("done", "failed", "cancelled")
CLOSED = RULES.replace("if true", "if request.auth.uid == 'nobody'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def schema_for(room: str, minimum: int) -> dict[str, Any]:
    fields = {"n": {"type": "integer", "minimum": minimum}}
    return {"x-collection": room, "type": "object", "properties": fields}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("tests.faults.job_nursery") as started:
        yield started


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "dies-at"
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setenv("BAAS_SECRET_KEY", b64encode(secrets.token_bytes(32)).decode())
    return file


@contextmanager
def running(folder: Path, uri: str, nursery: Nursery, engine: str) -> Iterator[list[ServerProcess]]:
    """One server, on MongoDB two nodes of one."""
    flags: list[str] = []
    if engine == "mongodb":
        flags = ["--engine", "mongodb", "--mongodb-uri", uri]
        flags += ["--mongodb-database", f"deploy_{secrets.token_hex(6)}"]
    names = ("one", "two") if engine == "mongodb" else ("one",)
    servers = [ServerProcess(folder / name, *flags, nursery=nursery) for name in names]
    try:
        for one in servers:
            one.start()
        servers[0].create_project(PROJECT, RULES, allow_open=True)
        yield servers
    finally:
        codes = [one.stop() for one in servers]
    assert codes == [0] * len(servers)
    for one in servers:
        assert "Traceback" not in one.output(), one.output()[-3000:]


def start_dead(servers: list[ServerProcess]) -> None:
    for one in servers:
        if is_dead(one):
            one.start()


def is_dead(server: ServerProcess) -> bool:
    assert server.process is not None
    return server.process.poll() is not None


# Schemas


class Writer:
    """Writes what the new schema forbids, through one node, until it was refused after somebody
    was told that the schema is in force. `odd`: accepted after that."""

    def __init__(self, server: ServerProcess, room: str, is_told: threading.Event) -> None:
        self.odd = 0
        self._server = server
        self._room = room
        self._is_told = is_told
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._ended.is_set():
            was_told = self._is_told.is_set()
            with suppress(httpx.TransportError):  # it is killed, and comes again
                answer = put(self._server, f"{self._room}/odd", 1)
                self.odd += was_told and answer.is_success
                if was_told and answer.status_code == 400:
                    return
            self._ended.wait(0.01)


# "created": there is a job. "advance": a step of it is done, "saved": and noted. "held": the draft
# is obeyed; "signal": by everybody. "dropping": it is in force.
POINTS = ("created", "advance", "held", "signal", "saved", "dropping")
CHOSEN = {"sqlite": (("held", True),), "mongodb": (("signal", False), ("saved", True))}


def choose(engine: str) -> tuple[tuple[str, bool], ...]:
    if not IS_LONG:
        return CHOSEN[engine]
    return tuple((point, checks) for point in POINTS for checks in (True, False))


@pytest.mark.parametrize("engine", ["sqlite", "mongodb"])
def test_schemas_are_the_old_or_the_new_ones_whoever_is_killed(
    tmp_path: Path,
    mongodb_uri: str,
    nursery: Nursery,
    deaths: Path,
    record_property: Callable[[str, object], None],
    engine: str,
) -> None:
    kills = choose(engine)
    with running(tmp_path, mongodb_uri, nursery, engine) as servers:
        for number, (point, checks) in enumerate(kills):
            check_kill(servers, deaths, f"room{number:02}", point, checks=checks)
    record_property("summary", f"kill -9 amid {len(kills)} deployments of schemas ({engine})")


def check_kill(
    servers: list[ServerProcess], deaths: Path, room: str, point: str, *, checks: bool
) -> None:
    """With `checks` nothing is stored that does not fit; else somebody writes it all the time,
    until the schema is in force."""
    deploy(servers[0], [schema_for(room, 0)])
    for n in range(10, 10 + DOCUMENTS):
        checked(put(servers[0], f"{room}/d{n}", n))
    is_told = threading.Event()
    writers = [Writer(one, room, is_told) for one in servers]
    doom(deaths, point)
    body = {"schemas": [schema_for(room, 10)], "allow_existing": not checks}
    if not checks:
        for writer in writers:
            writer.start()
    try:
        with suppress(httpx.TransportError), servers[0].admin() as admin:
            checked(admin.post(f"{ADMIN}/schemas:deploy", json=body))
        wait_until(lambda: any(map(is_dead, servers)), f"nobody died at {point}")
        start_dead(servers)
        wait_until(lambda: is_over(servers[0]), "the deployment has no end")
        is_told.set()
        for one in servers:
            assert minimum_in_force(one, room) == 10
            assert put(one, f"{room}/odd", 1).status_code == 400
            assert put(one, f"{room}/even", 11).is_success
    finally:
        for writer in writers:
            if not checks:
                writer.end()
    assert [writer.odd for writer in writers] == [0] * len(servers)
    if checks:
        assert min(numbers(servers[0], room)) == 10


def deploy(server: ServerProcess, schemas: list[dict[str, Any]]) -> None:
    with server.admin() as admin:
        checked(admin.put(f"{ADMIN}/schemas", json={"schemas": schemas}))


def is_over(server: ServerProcess) -> bool:
    with server.admin() as admin:
        (job, *_) = checked(admin.get(f"{ADMIN}/jobs"))["jobs"]
    assert job["state"] in ("running", "done"), job
    return bool(job["state"] == "done")


def minimum_in_force(server: ServerProcess, room: str) -> int:
    with server.admin() as admin:
        (schema,) = checked(admin.get(f"{ADMIN}/schemas"))["schemas"]
    assert schema["x-collection"] == room
    return int(schema["properties"]["n"]["minimum"])


# Rules


@pytest.mark.parametrize("point", ["deploying", "deployed"])
@pytest.mark.parametrize("engine", ["sqlite", "mongodb"] if IS_LONG else ["mongodb"])
def test_rules_are_the_old_or_the_new_ones_whoever_is_killed(
    tmp_path: Path, mongodb_uri: str, nursery: Nursery, deaths: Path, engine: str, point: str
) -> None:
    with running(tmp_path, mongodb_uri, nursery, engine) as servers:
        doom(deaths, point)
        with pytest.raises(httpx.TransportError), servers[0].admin() as admin:
            admin.put(f"{ADMIN}/rules", json={"source": CLOSED})
        servers[0].process.wait(20)  # type: ignore[union-attr]
        start_dead(servers)
        is_new = point != "deploying"
        for one in servers:
            # Of another node's deployment a node hears soon, and then once and for all.
            wait_until(lambda: rules_in_force(one) == (CLOSED if is_new else RULES))  # noqa: B023
            assert put(one, "c/a", 1).status_code == (403 if is_new else 200)
        with servers[-1].admin() as admin:  # once more, after a deployment that broke off
            checked(admin.put(f"{ADMIN}/rules", json={"source": CLOSED}))
        for one in servers:
            wait_until(lambda: put(one, "c/a", 1).status_code == 403)  # noqa: B023


def rules_in_force(server: ServerProcess) -> str:
    with server.admin() as admin:
        return str(checked(admin.get(f"{ADMIN}/rules"))["source"])


# What is asked of a server


def put(server: ServerProcess, path: str, n: int) -> httpx.Response:
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:commit"
    writes = [{"set": path, "fields": {"n": n}}]
    return httpx.post(url, json={"writes": writes}, timeout=30)


def numbers(server: ServerProcess, room: str) -> list[int]:
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:query"
    answer = httpx.post(url, json={"query": {"collection": room}}, timeout=30)
    return [one["fields"]["n"] for one in checked(answer)["documents"]]
