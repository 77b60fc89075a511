"""Several workers of one server: what one commits all show, and one that is killed is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

CLIENTS = 8
PATH = "/api/v1/projects/demo/documents/notes"


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[httpx.Client]]]:
    command = [sys.executable, "-m", "baas", "serve", "--data", str(tmp_path), "--port", "0"]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL)
    file = tmp_path / "server.json"
    try:
        wait(file.exists)
        told = json.loads(file.read_text())
        assert told["pid"] == process.pid
        headers = {"Authorization": f"Bearer {told['token']}"}
        clients = [httpx.Client(base_url=told["url"], headers=headers) for _ in range(CLIENTS)]
        yield process, clients
        for client in clients:
            client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not file.exists()


def test_workers_are_one_server(
    server: tuple[subprocess.Popen[bytes], list[httpx.Client]],
) -> None:
    process, clients = server
    first = clients[0]
    assert first.post("/api/v1/admin/projects", json={"id": "demo", "name": "Demo"}).is_success
    for number in range(60):
        made = clients[number % CLIENTS].put(f"{PATH}/{number}", json={"fields": {"n": number}})
        assert made.is_success, made.text
        for other in clients:
            assert other.get(f"{PATH}/{number}").json()["fields"] == {"n": number}
    before = children(process.pid)
    assert len(before) == 2
    os.kill(before[1], signal.SIGKILL)
    wait(lambda: len(children(process.pid)) == 2 and before[1] not in children(process.pid))
    with httpx.Client(base_url=first.base_url, headers=first.headers, timeout=30) as fresh:
        for number in range(60):
            assert fresh.get(f"{PATH}/{number}").is_success
        assert fresh.delete("/api/v1/admin/projects/demo").is_success

    def is_gone() -> bool:
        with httpx.Client(base_url=first.base_url, headers=first.headers, timeout=30) as fresh:
            return fresh.get(f"{PATH}/1").status_code == 404

    wait(lambda: all(is_gone() for _ in range(CLIENTS)), seconds=5)
