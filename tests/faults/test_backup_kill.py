"""kill -9 of the server amid backups and restores, at random parts: no part of a backup is taken
for a whole one, no half of a project is ever served, and both go on until they are done."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from baas.cli.failures import UNREACHABLE
from tests.faults.halting import VARIABLE, Halt
from tests.faults.seeds import RULES, new_seed, rounds
from tests.processes import Nursery, ServerProcess, checked, write_command
from tests.waiting import wait_until

ROUNDS = rounds(2, 40)
KILLS = 4  # of one task at most
DOCUMENTS = 600
PAIRS = 40
OBJECTS = {"a.txt": b"some bytes", "b/c.bin": bytes(range(256)) * 400}
COMMIT = "/api/v1/projects/crash/documents:commit"
PARTS_MAX = 12  # of those that a task comes to before it is killed: it has more
OVER = ("done", "failed", "cancelled")

pytestmark = pytest.mark.slow


@pytest.fixture
def halt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halt:
    made = Halt(tmp_path / "halts-at")
    monkeypatch.setenv(VARIABLE, str(made.file))
    return made


@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_backups_and_restores_survive_kills(
    tmp_path: Path, halt: Halt, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(new_seed())
    with Nursery("tests.faults.backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        expected = export(server, "crash")
        kills = [0, 0]
        for number in range(ROUNDS):
            killer = Killer(server, halt, chance)
            with writing(server):
                backup = back_up(server, killer)
            kills[0] += killer.met
            killer = Killer(server, halt, chance)
            restore(server, killer, backup, f"copy{number}", expected)
            kills[1] += killer.met
        check_every_backup(server)
        check_killed_command(server, backup, expected)
        assert server.stop() == 0
    assert min(kills) >= ROUNDS
    record_property(
        "summary",
        f"kill -9 amid {ROUNDS} backups ({kills[0]} kills) and {ROUNDS} restores ({kills[1]}): "
        "none was lost, torn, or served in part",
    )


def test_a_project_that_is_served_in_part_is_caught(tmp_path: Path, halt: Halt) -> None:
    with Nursery("tests.faults.leaky_backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        expected = export(server, "crash")
        with server.admin() as admin:
            made = checked(admin.post("/backups", json={"project": "crash"}))
            _wait(admin, made["id"])
            halt.at_part(8)
            body = {"project": "crash", "as": "copy"}
            checked(admin.post(f"/backups/{made['backup']}:restore", json=body))
        wait_until(lambda: halt.is_reached)
        with pytest.raises(AssertionError):
            check_whole_or_absent(server, "copy", expected)
        halt.lift()
        assert server.stop() == 0


def fill(server: ServerProcess) -> None:
    server.create_project("crash", RULES, allow_open=True)
    lines = [
        orjson.dumps({"path": f"c/{n:05}", "fields": {"n": n, "text": "x" * 30}})
        for n in range(DOCUMENTS)
    ]
    with server.admin() as admin:
        checked(
            admin.post(
                "/projects/crash/databases/(default)/documents:import",
                content=b"\n".join(lines),
                headers={"content-type": "application/x-ndjson"},
            )
        )
        checked(admin.post("/projects/crash/buckets", json={"id": "files"}))
    for name, data in OBJECTS.items():
        url = f"{server.url}/api/v1/projects/crash/buckets/files/objects/{name}"
        checked(httpx.put(url, content=data))


@contextmanager
def writing(server: ServerProcess) -> Iterator[None]:
    """Somebody changes pairs of documents meanwhile, each pair by one commit."""
    stopped = threading.Event()

    def write() -> None:
        number = 0
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stopped.is_set():
                number += 1
                fields = {"number": number}
                sides = [f"{side}/p{number % PAIRS}" for side in ("left", "right")]
                kind = "delete" if number % 7 == 0 else "set"
                more = {} if kind == "delete" else {"fields": fields}
                try:
                    client.post(COMMIT, json={"writes": [{kind: one, **more} for one in sides]})
                except httpx.HTTPError:
                    time.sleep(0.02)  # it was killed, and comes again

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class Killer:
    """Kills the server in the midst of a task, again and again. `met` counts the kills that met the
    task while it halted, as the first one always does."""

    def __init__(self, server: ServerProcess, halt: Halt, chance: random.Random) -> None:
        self.met = 0
        self._server = server
        self._halt = halt
        self._chance = chance
        self._kills = 0
        halt.at_part(chance.randint(1, PARTS_MAX))

    def finish(self, task: str, check: Callable[[], object]) -> None:
        """Waits until the task is done, and kills the server meanwhile."""
        while self._wait_halted(task):
            if self._kills and self._chance.random() < 0.5:
                self._halt.lift()  # and it runs on, maybe to its end
            else:
                self.met += 1
            time.sleep(self._chance.uniform(0.0, 0.05))  # the moment of the kill, no wait
            self._server.kill()
            self._kills += 1
            if self._kills < KILLS:
                self._halt.at_part(self._chance.randint(1, PARTS_MAX))
            else:
                self._halt.lift()
            self._server.start()
            check()
        self._halt.lift()

    def _wait_halted(self, task: str) -> bool:
        """False where it comes to its end before."""
        with self._server.admin() as admin:
            while True:
                # The file of a kill that is behind us does not count.
                if self._halt.file.exists() and self._halt.is_reached:
                    return True
                known = checked(admin.get(f"/backup-tasks/{task}"))
                if known["state"] in OVER:
                    assert known["state"] == "done", known["error"]
                    return False
                time.sleep(0.01)


def back_up(server: ServerProcess, killer: Killer) -> str:
    """The id of a backup that is made through kills."""
    with server.admin() as admin:
        task = checked(admin.post("/backups", json={"project": "crash"}))
    killer.finish(task["id"], lambda: check_listed(server, task["backup"]))
    return str(task["backup"])


def check_listed(server: ServerProcess, backup: str) -> None:
    """What is listed is whole: one whose manifest can be read has all its sections."""
    with server.admin() as admin:
        for one in checked(admin.get("/backups"))["backups"]:
            assert one["problem"] is None
            assert one["documents"] >= DOCUMENTS
            assert one["objects"] == len(OBJECTS)


def restore(
    server: ServerProcess, killer: Killer, backup: str, target: str, expected: dict[str, Any]
) -> None:
    with server.admin() as admin:
        body = {"project": "crash", "as": target}
        task = checked(admin.post(f"/backups/{backup}:restore", json=body))
    killer.finish(task["id"], lambda: check_whole_or_absent(server, target, expected))
    assert check_whole_or_absent(server, target, expected), "it was done, and is not there"
    with server.admin() as admin:
        checked(admin.delete(f"/projects/{target}"))


def check_whole_or_absent(server: ServerProcess, target: str, expected: dict[str, Any]) -> bool:
    with server.admin() as admin:
        found = admin.get(f"/projects/{target}")
        if found.status_code == 404 and admin.get(_export_path(target)).status_code == 404:
            return False
        # It may have been done just now; then it is whole.
        assert admin.get(f"/projects/{target}").is_success, "absent, and yet it can be read"
    documents = export(server, target)
    left = {path[5:]: one for path, one in documents.items() if path.startswith("left/")}
    right = {path[6:]: one for path, one in documents.items() if path.startswith("right/")}
    assert left == right, "a commit was torn"
    assert {path: one for path, one in documents.items() if path.startswith("c/")} == expected
    for name, data in OBJECTS.items():
        url = f"{server.url}/api/v1/projects/{target}/buckets/files/objects/{name}"
        assert httpx.get(url).content == data
    return True


def check_every_backup(server: ServerProcess) -> None:
    with server.admin() as admin:
        found = checked(admin.get("/backups"))["backups"]
        assert len(found) == ROUNDS
        for one in found:
            task = checked(admin.post(f"/backups/{one['id']}:verify"))
            _wait(admin, task["id"])


def check_killed_command(server: ServerProcess, backup: str, expected: dict[str, Any]) -> None:
    """The command line is only one that waits: the server goes on without it."""
    command = [write_command(server.data.parent), "restore", backup, "-p", "crash", "--as", "other"]
    command += ["--data", str(server.data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        task = process.stderr.readline().split()[-1]
        process.kill()
    with server.admin() as admin:
        _wait(admin, task)
    assert check_whole_or_absent(server, "other", expected)


def test_a_command_whose_server_is_killed_tells_how_to_wait_on(tmp_path: Path, halt: Halt) -> None:
    with Nursery("tests.faults.backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        command = [write_command(tmp_path), "backup", "--data", str(server.data)]
        halt.at_part(3)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            task = process.stderr.readline().split()[-1]
            wait_until(lambda: halt.is_reached)
            server.kill()
            told = process.stderr.read()
        assert process.returncode == UNREACHABLE
        halt.lift()
        server.start()
        assert f"baas backup wait {task}" in told
        with server.admin() as admin:
            _wait(admin, task)
        assert server.stop() == 0


def _wait(admin: httpx.Client, task: str) -> None:
    while (known := checked(admin.get(f"/backup-tasks/{task}")))["state"] not in OVER:
        time.sleep(0.02)
    assert known["state"] == "done", known["error"]


def export(server: ServerProcess, project: str) -> dict[str, Any]:
    with server.admin() as admin:
        answer = admin.get(_export_path(project))
        assert answer.is_success, answer.text
        lines = [orjson.loads(line) for line in answer.text.splitlines()]
    return {one["path"]: (one["fields"], one["create_time"], one["update_time"]) for one in lines}


def _export_path(project: str) -> str:
    return f"/projects/{project}/databases/(default)/documents:export"
