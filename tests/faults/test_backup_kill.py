"""kill -9 of the server amid backups and restores, at random moments: no part of a backup is taken
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
from tests.faults.seeds import RULES, new_seed, rounds
from tests.processes import Nursery, ServerProcess, checked, write_command

ROUNDS = rounds(2, 40)
KILLS = 4  # of one task at most
DOCUMENTS = 600
PAIRS = 40
OBJECTS = {"a.txt": b"some bytes", "b/c.bin": bytes(range(256)) * 400}
COMMIT = "/api/v1/projects/crash/documents:commit"
OVER = ("done", "failed", "cancelled")

pytestmark = pytest.mark.slow


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_backups_and_restores_survive_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(new_seed())
    with Nursery("tests.faults.backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        expected = export(server, "crash")
        kills = [0, 0]
        for number in range(ROUNDS):
            with writing(server):
                backup, killed = back_up(server, chance)
            kills[0] += killed
            kills[1] += restore(server, chance, backup, f"copy{number}", expected)
        check_every_backup(server)
        check_killed_command(server, backup, expected)
        assert server.stop() == 0
    assert min(kills) > 0, "no kill met anything"
    record_property(
        "summary",
        f"kill -9 amid {ROUNDS} backups ({kills[0]} kills) and {ROUNDS} restores ({kills[1]}): "
        "none was lost, torn, or served in part",
    )


@pytest.mark.timeout(60)
def test_a_project_that_is_served_in_part_is_caught(tmp_path: Path) -> None:
    with Nursery("tests.faults.leaky_backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        expected = export(server, "crash")
        with server.admin() as admin:
            made = checked(admin.post("/backups", json={"project": "crash"}))
            _wait(admin, made["id"])
            body = {"project": "crash", "as": "copy"}
            checked(admin.post(f"/backups/{made['backup']}:restore", json=body))
        with pytest.raises(AssertionError):
            _look_until_whole(server, expected)
        assert server.stop() == 0


def _look_until_whole(server: ServerProcess, expected: dict[str, Any]) -> None:
    while not check_whole_or_absent(server, "copy", expected):
        pass


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
        with httpx.Client(base_url=server.url, timeout=5) as client:
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


def back_up(server: ServerProcess, chance: random.Random) -> tuple[str, int]:
    """A backup that is made through kills; its id, and how many there were."""
    with server.admin() as admin:
        task = checked(admin.post("/backups", json={"project": "crash"}))
    killed = finish(server, chance, task["id"], lambda: check_listed(server, task["backup"]))
    return str(task["backup"]), killed


def check_listed(server: ServerProcess, backup: str) -> None:
    """What is listed is whole: one whose manifest can be read has all its sections."""
    with server.admin() as admin:
        for one in checked(admin.get("/backups"))["backups"]:
            assert one["problem"] is None
            assert one["documents"] >= DOCUMENTS
            assert one["objects"] == len(OBJECTS)


def restore(
    server: ServerProcess, chance: random.Random, backup: str, target: str, expected: dict[str, Any]
) -> int:
    with server.admin() as admin:
        body = {"project": "crash", "as": target}
        task = checked(admin.post(f"/backups/{backup}:restore", json=body))
    killed = finish(
        server, chance, task["id"], lambda: check_whole_or_absent(server, target, expected)
    )
    assert check_whole_or_absent(server, target, expected), "it was done, and is not there"
    with server.admin() as admin:
        checked(admin.delete(f"/projects/{target}"))
    return killed


def check_whole_or_absent(server: ServerProcess, target: str, expected: dict[str, Any]) -> bool:
    with server.admin() as admin:
        found = admin.get(f"/projects/{target}")
        if found.status_code == 404:
            assert admin.get(_export_path(target)).status_code == 404
            return False
    documents = export(server, target)
    left = {path[5:]: one for path, one in documents.items() if path.startswith("left/")}
    right = {path[6:]: one for path, one in documents.items() if path.startswith("right/")}
    assert left == right, "a commit was torn"
    assert {path: one for path, one in documents.items() if path.startswith("c/")} == expected
    for name, data in OBJECTS.items():
        url = f"{server.url}/api/v1/projects/{target}/buckets/files/objects/{name}"
        assert httpx.get(url).content == data
    return True


def finish(
    server: ServerProcess, chance: random.Random, task: str, check: Callable[[], object]
) -> int:
    """Waits until the task is done, and kills the server meanwhile; how often."""
    killed = 0
    while True:
        if killed < KILLS:
            time.sleep(chance.uniform(0.0, 0.35))
            server.kill()
            server.start()
            check()
        with server.admin() as admin:
            known = checked(admin.get(f"/backup-tasks/{task}"))
        if known["state"] in OVER:
            assert known["state"] == "done", known["error"]
            return killed
        killed += 1
        time.sleep(0.05)


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


@pytest.mark.timeout(60)
def test_a_command_whose_server_is_killed_tells_how_to_wait_on(tmp_path: Path) -> None:
    with Nursery("tests.faults.backup_nursery") as nursery:
        server = ServerProcess(tmp_path / "data", nursery=nursery).start()
        fill(server)
        command = [write_command(tmp_path), "backup", "--data", str(server.data)]
        status = 0
        while status == 0:  # a backup that was made before the kill came
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
                assert process.stderr is not None
                task = process.stderr.readline().split()[-1]
                server.kill()
                told = process.stderr.read()
            status = process.returncode
            server.start()
        assert status == UNREACHABLE
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
