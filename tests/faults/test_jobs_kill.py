"""kill -9 of whoever is at a job, at every step of every kind of job, also while the project moves
to the other engine: what a job does is done to each document once, what it erases is gone from
history and files, and each job comes to its end."""

from __future__ import annotations

import random
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from tests.faults.job_points import CHUNK, EACH_CHUNK, PLANT, PLANTS
from tests.faults.mortal import VARIABLE, doom
from tests.faults.seeds import IS_LONG, RULES, new_seed, rounds
from tests.processes import Nursery, ServerProcess, checked
from tests.stored_bytes import files_with

PROJECT = "shop"
ADMIN = f"/projects/{PROJECT}"
DATABASE = f"{ADMIN}/databases/(default)/documents"
DOCUMENTS = 30
COMMON = ("created", "chunk", "saved")
MOVING = ("begun", "copied", "following", "compared", "fenced", "complete", "switched", "cleaning")
OVER = ("done", "failed", "cancelled")
SECONDS = 40.0
ROUNDS = rounds(1, 6)
PLACES = ("sqlite", "mongodb", "workers", "moving")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("tests.faults.job_nursery") as started:
        yield started


class Work(ABC):
    """A kind of job on documents of a collection of its own. `points`: at which it may be killed.
    `needs_past`: which does not move with a project."""

    points: tuple[str, ...] = COMMON
    needs_past = False

    def __init__(self, number: int) -> None:
        self.room = f"{type(self).__name__.lower()}{number:03}"

    def fill(self, server: ServerProcess) -> None:
        for round_ in range(2):  # so that there is a past
            fields = {"n": 0, "round": round_, "text": self.room * 9}
            commit(server, [{"set": path, "fields": fields} for path in self.paths])

    @property
    def paths(self) -> list[str]:
        return [f"{self.room}/d{number:02}" for number in range(DOCUMENTS)]

    @abstractmethod
    def request(self) -> tuple[str, dict[str, Any]]:
        """What is asked of the database, and how."""

    @abstractmethod
    def check(self, server: ServerProcess) -> None:
        """After the end of the job."""


Kind: TypeAlias = type[Work]
Death: TypeAlias = tuple[
    Kind, str, int
]  # of which job, at which step, and how often that is passed


class Update(Work):
    def request(self) -> tuple[str, dict[str, Any]]:
        update = {"transforms": [{"field": "n", "increment": 1}]}
        return "update-by-query", {"query": {"collection": self.room}, "update": update}

    def check(self, server: ServerProcess) -> None:
        assert [one["fields"]["n"] for one in documents(server, self.room)] == [1] * DOCUMENTS


class Deletion(Work):
    @property
    def paths(self) -> list[str]:
        return [*super().paths[::2], *[f"{path}/below/x" for path in super().paths[1::2]]]

    def request(self) -> tuple[str, dict[str, Any]]:
        return "delete-recursive", {"path": self.room}

    def check(self, server: ServerProcess) -> None:
        left = [path for path in self.paths if get(server, path).status_code != 404]
        assert left == []


class Erasure(Work):
    points = (*COMMON, "deleted", "erased", "scrubbing", "scrubbed")

    def request(self) -> tuple[str, dict[str, Any]]:
        return "erase-by-query", {"query": {"collection": self.room}, "present": True}

    def check(self, server: ServerProcess) -> None:
        assert documents(server, self.room) == []
        with server.admin() as admin:
            for path in self.paths:
                found = checked(admin.get(f"{DATABASE}:history?path={path}"))["versions"]
                kept = [one for one in found if one["kind"] != "deleted" and not one["erased"]]
                assert kept == [], path
        # A copy that was erased from while it was made is cleaned soon after the move.
        text = (self.room * 9).encode()
        wait(lambda: files_with(server.data, text) == [], f"{self.room} is in a file")


class Restoration(Work):
    needs_past = True

    def fill(self, server: ServerProcess) -> None:
        super().fill(server)
        (last,) = documents(server, self.room)[-1:]
        self._at = last["update_time"]
        some = self.paths[::3]
        commit(server, [{"delete": path} for path in some])
        others = [{"set": path, "fields": {"n": 5}} for path in self.paths if path not in some]
        commit(server, [*others, *[{"set": f"{self.room}/e{n}", "fields": {}} for n in range(9)]])

    def request(self) -> tuple[str, dict[str, Any]]:
        return "restore", {"path": self.room, "at": self._at}

    def check(self, server: ServerProcess) -> None:
        found = documents(server, self.room)
        assert [one["path"] for one in found] == self.paths
        assert {one["fields"].get("round") for one in found} == {1}


WORKS: tuple[Kind, ...] = (Update, Deletion, Erasure, Restoration)
# For `make test`; in `make crash` all are killed everywhere.
SOME: dict[str, list[Death]] = {
    "sqlite": [
        (Update, "chunk", 1),
        (Deletion, "saved", 1),
        (Erasure, "deleted", 1),
        (Restoration, "chunk", 0),
    ],
    "mongodb": [(Update, "created", 0), (Erasure, "erased", 1)],
    "workers": [(Update, "chunk", 1), (Erasure, "scrubbing", 0)],
    "moving": [(Deletion, "fenced", 0), (Erasure, "chunk", 1)],
}


@pytest.mark.timeout(120 + 240 * ROUNDS)
@pytest.mark.parametrize("place", PLACES)
def test_jobs_survive_kills_at_every_step(
    tmp_path: Path,
    mongodb_uri: str,
    nursery: Nursery,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    place: str,
) -> None:
    deaths = tmp_path / "dies-at"
    monkeypatch.setenv(VARIABLE, str(deaths))
    flags = ["--mongodb-uri", mongodb_uri, "--mongodb-database", f"jobs_{secrets.token_hex(6)}"]
    flags += ["--engine", "mongodb"] if place == "mongodb" else []
    flags += ["--workers", "2"] if place == "workers" else []
    kills = choose_all(place, new_seed()) if IS_LONG else SOME[place]
    with running(ServerProcess(tmp_path / "data", *flags, nursery=nursery)) as server:
        for number, (kind, point, passes) in enumerate(kills):
            one = kind(number)
            one.fill(server)
            doom(deaths, point, passes)
            run_through_kill(server, deaths, one, is_moving=place == "moving")
            one.check(server)
    record_property("summary", f"kill -9 amid {len(kills)} jobs ({place}): each document done once")


@pytest.mark.parametrize("bug", PLANTS)
def test_planted_bugs_are_caught(
    tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    """A chunk that is done twice, and a file that keeps what was erased."""
    deaths = tmp_path / "dies-at"
    monkeypatch.setenv(VARIABLE, str(deaths))
    monkeypatch.setenv(PLANT, bug)
    one = Update(0) if bug == "no ids" else Erasure(0)
    with running(ServerProcess(tmp_path / "data", nursery=nursery)) as server:
        one.fill(server)
        doom(deaths, "chunk")
        run_through_kill(server, deaths, one, is_moving=False)
        monkeypatch.setattr(sys.modules[__name__], "SECONDS", 0.0)
        with pytest.raises(AssertionError, match=r"\[2, 2|is in a file"):
            one.check(server)


@contextmanager
def running(server: ServerProcess) -> Iterator[ServerProcess]:
    server.start()
    try:
        server.create_project(PROJECT, RULES, allow_open=True)
        yield server
    finally:
        code = server.stop()
    assert (code, "Traceback" in server.output()) == (0, False), server.output()[-3000:]


def choose_all(place: str, seed: int) -> list[Death]:
    """Each kind of job is killed at each of its steps."""
    chance = random.Random(seed)
    found = [
        (kind, point, chance.randrange(3) if point in EACH_CHUNK else 0)
        for _ in range(ROUNDS)
        for kind in WORKS
        if not (kind.needs_past and place == "moving")
        for point in (*kind.points, *(MOVING if place == "moving" else ()))
    ]
    chance.shuffle(found)
    return found


def run_through_kill(server: ServerProcess, deaths: Path, one: Work, *, is_moving: bool) -> None:
    has_workers = "--workers" in server.flags
    move = begin_move(server) if is_moving else None
    job = begin(server, one)
    wait(lambda: not deaths.exists(), f"{one.room}: nobody came to {deaths}")
    if not has_workers:
        assert server.process is not None
        server.process.wait(20)
        server.start()
    job = job or find_job(server, one) or begin(server, one)  # killed before there was one
    assert job is not None
    found = wait_over(server, f"{ADMIN}/jobs/{job}")
    assert (found["state"], found["error"]) == ("done", None)
    assert found["progress"]["failed"] == 0, found
    assert found["progress"]["seen"] >= DOCUMENTS - CHUNK, found
    if move is not None:
        moved = wait_over(server, f"/moves/{move}")
        assert (moved["state"], moved["error"]) == ("done", None)


def begin(server: ServerProcess, one: Work) -> str | None:
    """The job's id, None if the answer was lost."""
    verb, body = one.request()
    with suppress(httpx.TransportError), server.admin() as admin:
        return str(checked(admin.post(f"{DATABASE}:{verb}", json=body))["id"])
    return None


def begin_move(server: ServerProcess) -> str | None:
    with server.admin() as admin:
        engine = checked(admin.get(ADMIN))["engine"]
        other = {"sqlite": "mongodb", "mongodb": "sqlite"}[engine]
        return str(checked(admin.post(f"{ADMIN}:move", json={"to": other}))["id"])


def find_job(server: ServerProcess, one: Work) -> str | None:
    with server.admin() as admin:
        jobs = checked(admin.get(f"{ADMIN}/jobs"))["jobs"]
    return next((str(job["id"]) for job in jobs if one.room in str(job["asked"])), None)


def wait_over(server: ServerProcess, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_over() -> bool:
        with suppress(httpx.TransportError), server.admin() as admin:
            found.update(checked(admin.get(path)))
        return found.get("state") in OVER

    wait(is_over, f"{path} has no end: {found}")
    return found


# Documents


def commit(server: ServerProcess, writes: list[dict[str, Any]]) -> None:
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:commit"
    checked(httpx.post(url, json={"writes": writes}, timeout=30))


def get(server: ServerProcess, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/api/v1/projects/{PROJECT}/documents/{path}", timeout=30)


def documents(server: ServerProcess, collection: str) -> list[dict[str, Any]]:
    url = f"{server.url}/api/v1/projects/{PROJECT}/documents:query"
    body = {"query": {"collection": collection}}
    found: list[dict[str, Any]] = checked(httpx.post(url, json=body, timeout=30))["documents"]
    return found


def wait(condition: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)
