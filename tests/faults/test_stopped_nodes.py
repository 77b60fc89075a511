"""A node that stands still for longer than its claim, amid jobs, backups, restores, indexes and
moves: the other one takes over and comes to the end, and what the first one still does when it
goes on changes nothing, is done by nobody twice, and is told to nobody."""

from __future__ import annotations

import secrets
import signal
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
DATABASE = f"{ADMIN}/databases/(default)/documents"
INDEXES = f"{ADMIN}/databases/(default)/indexes"
DOCUMENTS = 30
OVER = ("done", "failed", "cancelled")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@dataclass
class Nodes:
    """Two, one of which may be stopped at a step of its work."""

    servers: list[ServerProcess]
    deaths: Path

    @contextmanager
    def stopped(
        self, point: str, begin: Callable[[httpx.Client], object], passes: int = 0
    ) -> Iterator[ServerProcess]:
        """`begin` is asked of the first node. Whoever comes to the step stands still until the end
        of this, and has left off its work when it is over; meanwhile gives the other node."""
        doom(self.deaths, point, passes, by=signal.SIGSTOP)
        # Its answer may come from a node that stands still.
        asking = threading.Thread(target=self._ask, args=(begin,))
        asking.start()
        try:
            wait_until(lambda: any(map(_is_stopped, self.servers)), f"nobody came to {point}")
            sleeping, other = sorted(self.servers, key=_is_stopped, reverse=True)
            yield other
            _signal(sleeping, signal.SIGCONT)
            wait_until(lambda: _pid(sleeping) in self._ends(), f"{point}: it goes on for ever")
        finally:
            self.deaths.unlink(missing_ok=True)
            for one in self.servers:
                _signal(one, signal.SIGCONT)
            asking.join()
        assert "Traceback" not in sleeping.output(), sleeping.output()[-3000:]

    def _ask(self, begin: Callable[[httpx.Client], object]) -> None:
        with suppress(httpx.TransportError), self.servers[0].admin() as admin:
            begin(admin)

    def _ends(self) -> list[int]:
        file = self.deaths.with_suffix(".ends")
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def forget_ends(self) -> None:
        self.deaths.with_suffix(".ends").unlink(missing_ok=True)


def _pid(server: ServerProcess) -> int:
    assert server.process is not None
    return server.process.pid


def _signal(server: ServerProcess, which: signal.Signals) -> None:
    assert server.process is not None
    server.process.send_signal(which)


def _is_stopped(server: ServerProcess) -> bool:
    stat = Path(f"/proc/{_pid(server)}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


@pytest.fixture(scope="module")
def started(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("stopped")
    flags = ["--engine", "mongodb", "--mongodb-uri", mongodb_uri]
    flags += ["--mongodb-database", f"stopped_{secrets.token_hex(6)}"]
    flags += ["--backups", str(folder / "backups")]
    deaths = folder / "dies-at"
    with pytest.MonkeyPatch.context() as patch, Nursery("tests.faults.sleep_nursery") as nursery:
        patch.setenv(VARIABLE, str(deaths))
        patch.setenv("BAAS_SECRET_KEY", b64encode(secrets.token_bytes(32)).decode())
        servers = [ServerProcess(folder / name, *flags, nursery=nursery) for name in ("one", "two")]
        try:
            for one in servers:
                one.start()
            servers[0].create_project(PROJECT, RULES, allow_open=True)
            yield Nodes(servers, deaths)
        finally:
            statuses = [one.stop() for one in servers]
    assert statuses == [0, 0]


@pytest.fixture
def nodes(started: Nodes) -> Nodes:
    started.forget_ends()
    return started


# Jobs


def update(room: str) -> tuple[str, dict[str, Any]]:
    change = {"transforms": [{"field": "n", "increment": 1}]}
    return "update-by-query", {"query": {"collection": room}, "update": change}


def delete(room: str) -> tuple[str, dict[str, Any]]:
    return "delete-recursive", {"path": room}


def erase(room: str) -> tuple[str, dict[str, Any]]:
    return "erase-by-query", {"query": {"collection": room}, "present": True}


JOBS = ((update, "planned"), (erase, "erase"), (delete, "planned"))


@pytest.mark.parametrize(("ask", "point"), JOBS if IS_LONG else JOBS[:2])
def test_a_chunk_of_who_slept_is_done_already(
    nodes: Nodes, ask: Callable[[str], tuple[str, dict[str, Any]]], point: str
) -> None:
    """What others write after the job's end stays as they wrote it."""
    room = ask.__name__
    commit(nodes.servers[0], *[set_(f"{room}/d{n:02}", n=0) for n in range(DOCUMENTS)])
    verb, body = ask(room)
    with nodes.stopped(
        point, lambda admin: admin.post(f"{DATABASE}:{verb}", json=body), 1
    ) as other:
        job = wait_job(other, room)
        assert (job["state"], job["error"]) == ("done", None)
        expected = [1] * DOCUMENTS if ask is update else []
        assert [one["fields"]["n"] for one in documents(other, room)] == expected
        commit(other, *[set_(f"{room}/d{n:02}", n=50) for n in range(DOCUMENTS)])
        commit(other, *[set_(f"{room}/d{n:02}", n=51) for n in range(DOCUMENTS)])
    for server in nodes.servers:
        wait_until(lambda: len(documents(server, room)) == DOCUMENTS)  # noqa: B023 - is called here
        assert {one["fields"]["n"] for one in documents(server, room)} == {51}
    assert wait_job(other, room) == job
    assert "a job failed" not in nodes.servers[0].output()


# Backups


def test_a_backup_of_who_slept_is_the_other_ones(nodes: Nodes) -> None:
    commit(nodes.servers[0], *[set_(f"saved/d{n:02}", n=n) for n in range(DOCUMENTS)])
    with nodes.stopped("part", back_up, 2) as other:
        task = wait_task(other, "backup")
        assert (task["state"], task["error"]) == ("done", None)
    with other.admin() as admin:
        assert [one["id"] for one in checked(admin.get("/backups"))["backups"]] == [task["backup"]]
        checked(admin.post(f"/backups/{task['backup']}:verify"))
        assert wait_task(other, "verify")["state"] == "done"
        assert task_of(other, "backup") == task
        checked(admin.delete(f"/backups/{task['backup']}"))
        wait_task(other, "delete")


def test_a_backup_that_was_deleted_while_one_slept_does_not_come_back(nodes: Nodes) -> None:
    with nodes.stopped("confirm", back_up) as other:
        backup = wait_task(other, "backup")["backup"]
        with other.admin() as admin:
            checked(admin.delete(f"/backups/{backup}"))
            wait_task(other, "delete")
    with other.admin() as admin:
        assert checked(admin.get("/backups"))["backups"] == []
    for server in nodes.servers:
        assert "backup failed" not in server.output()


# "confirm" comes once before what is at the target is deleted, then before each database.
RESTORES = (("load", 1), ("confirm", 0), ("confirm", 1), ("loaded", 0))


@pytest.mark.parametrize(("point", "passes"), RESTORES if IS_LONG else RESTORES[:1])
def test_a_project_that_was_restored_while_one_slept_stays(
    nodes: Nodes, point: str, passes: int
) -> None:
    """And whatever is written to it then."""
    one = nodes.servers[0]
    commit(one, *[set_(f"kept/d{n:02}", n=n) for n in range(DOCUMENTS)])
    with one.admin() as admin:
        back_up(admin)
        backup = wait_task(one, "backup")["backup"]
    copy = f"copy-{point}-{passes}"

    def restore(admin: httpx.Client) -> None:
        checked(admin.post(f"/backups/{backup}:restore", json={"project": PROJECT, "as": copy}))

    nodes.forget_ends()
    with nodes.stopped(point, restore, passes) as other:
        task = wait_task(other, "restore")
        assert (task["state"], task["error"]) == ("done", None)
        commit(other, set_("kept/d00", n=100), {"delete": "kept/d01"}, project=copy)
    expected = [100, *range(2, DOCUMENTS)]
    for server in nodes.servers:
        with server.admin() as admin:
            wait_until(lambda: admin.get(f"/projects/{copy}").is_success)
        found = documents(server, "kept", project=copy)
        assert [one["fields"]["n"] for one in found] == expected
    assert task_of(other, "restore") == task
    with other.admin() as admin:
        checked(admin.delete(f"/projects/{copy}"))
        checked(admin.delete(f"/backups/{backup}"))
        wait_task(other, "delete")


# Indexes and moves


def test_an_index_that_one_slept_over_is_whole(nodes: Nodes) -> None:
    room = "indexed"
    for n in range(0, 300, 100):
        commit(nodes.servers[0], *[set_(f"{room}/d{m:03}", n=m) for m in range(n, n + 100)])
    body = {"collection": room, "fields": [{"field": "n"}, {"field": "m"}]}
    with nodes.stopped("fill", lambda admin: admin.post(INDEXES, json=body)) as other:
        with other.admin() as admin:

            def is_ready() -> bool:
                ask(other, room)
                params = {"collection": room}
                found = checked(admin.get(INDEXES, params=params))["indexes"]
                return any(len(one["fields"]) == 2 and one["state"] == "ready" for one in found)

            wait_until(is_ready, "nobody goes on with the index")
        commit(other, set_(f"{room}/d007", n=7, m=8), {"delete": f"{room}/d008"})
        expected = ask(other, room)
    assert [one["path"] for one in expected][:8] == [f"{room}/d{n:03}" for n in range(8)]
    for server in nodes.servers:
        assert ask(server, room) == expected


def ask(server: ServerProcess, room: str) -> list[dict[str, Any]]:
    body = {"query": {"collection": room, "order_by": [{"field": "n"}, {"field": "m"}]}}
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:query"
    found: list[dict[str, Any]] = checked(httpx.post(url, json=body, timeout=30))["documents"]
    return found


def test_a_move_that_one_slept_in_can_be_taken_back(nodes: Nodes) -> None:
    """With writes held up, of which the other node lets go."""
    begin = {"to": "sqlite", "here": True}
    commit(nodes.servers[0], *[set_(f"moved/d{n:02}", n=n) for n in range(DOCUMENTS)])
    with nodes.stopped("fenced", lambda admin: admin.post(f"{ADMIN}:move", json=begin)) as other:
        with other.admin() as admin:
            (move, *_) = checked(admin.get("/moves"))["moves"]
            checked(admin.post(f"/moves/{move['id']}:cancel"))
        wait_until(lambda: can_write(other, set_("moved/d00", n=100)), "writes are held up")
    with other.admin() as admin:
        wait_until(lambda: checked(admin.get(f"/moves/{move['id']}"))["state"] in OVER)
        assert checked(admin.get(f"/moves/{move['id']}"))["state"] == "cancelled"
        assert checked(admin.get(ADMIN))["engine"] == "mongodb"
    for server in nodes.servers:
        wait_until(lambda: can_write(server, set_("moved/d01", n=100)))  # noqa: B023
        found = [one["fields"]["n"] for one in documents(server, "moved")]
        assert found == [100, 100, *range(2, DOCUMENTS)]


# What is asked of a node


def back_up(admin: httpx.Client) -> None:
    checked(admin.post("/backups", json={"project": PROJECT}))


def wait_job(server: ServerProcess, room: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_over() -> bool:
        with server.admin() as admin:
            for job in checked(admin.get(f"{ADMIN}/jobs"))["jobs"]:
                if f'"{room}"' in str(job["asked"]).replace("'", '"'):
                    found.update(job)
        return found.get("state") in OVER

    wait_until(is_over, f"the job on {room} has no end")
    return found


def task_of(server: ServerProcess, kind: str) -> dict[str, Any]:
    """The last one of its kind."""
    with server.admin() as admin:
        tasks = checked(admin.get("/backup-tasks"))["tasks"]
    return next((one for one in tasks if one["kind"] == kind), {})


def wait_task(server: ServerProcess, kind: str) -> dict[str, Any]:
    wait_until(lambda: task_of(server, kind).get("state") in OVER, f"{kind} has no end")
    return task_of(server, kind)


def set_(path: str, **fields: Any) -> dict[str, Any]:
    return {"set": path, "fields": {"m": 0, **fields}}


def commit(server: ServerProcess, *writes: dict[str, Any], project: str = PROJECT) -> None:
    url = f"{server.url}/api/v1/projects/{project}/documents:commit"
    checked(httpx.post(url, json={"writes": list(writes)}, timeout=30))


def can_write(server: ServerProcess, write: dict[str, Any]) -> bool:
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:commit"
    return httpx.post(url, json={"writes": [write]}, timeout=30).is_success


def documents(
    server: ServerProcess, collection: str, project: str = PROJECT
) -> list[dict[str, Any]]:
    url = f"{server.url}/api/v1/projects/{project}/documents:query"
    body = {"query": {"collection": collection}}
    found: list[dict[str, Any]] = checked(httpx.post(url, json=body, timeout=30))["documents"]
    return found
