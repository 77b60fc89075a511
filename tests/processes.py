"""The real server as a child process: started, killed, started again on the same data folder."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import httpx

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 40.0
STOP_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process(Protocol):
    """As much of a child process as a server's is asked for."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class Nursery:
    """Forks servers, one at a time; see `tests.nursery`."""

    def __init__(self, module: str = "tests.nursery") -> None:
        command = [sys.executable, "-m", module]
        self._parent = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.kill()
        self._parent.communicate()

    def fork(self, arguments: list[str], log: Path, environment: dict[str, str]) -> ForkedProcess:
        asked = {"arguments": arguments, "log": str(log), "environment": environment}
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(asked).encode() + b"\n")
        self._parent.stdin.flush()
        return ForkedProcess(self.read_number(START_SECONDS), self)

    def read_number(self, seconds: float) -> int:
        """What the parent tells next. Raises subprocess.TimeoutExpired."""
        told = self._parent.stdout
        assert told is not None
        if not select.select([told], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired("a server", seconds)
        line = told.readline()
        assert line, "the parent of servers is gone"
        return int(line)


class ForkedProcess:
    """A Process that is another one's child."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._nursery.read_number(timeout or 0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ServerProcess:
    """`baas serve` on one data folder and one port. Its output goes to `<data>.log`. From a
    `nursery` it starts in a tenth of the time."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        port: int | None = None,
        module: str = "baas",
        nursery: Nursery | None = None,
    ) -> None:
        self.data = data
        self.module = module  # a test's own may change the server before it starts
        self.port = port or free_port()
        self.flags = flags
        self.log = data.with_suffix(".log")
        self.process: Process | None = None
        self.operator_token = ""
        self._nursery = nursery

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> ServerProcess:
        """Returns when the server answers; fails with the end of its output if it does not."""
        self.process = self._begin()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return self
            time.sleep(0.03)
        raise AssertionError(f"the server did not start:\n{self.output()[-3000:]}")

    def _begin(self) -> Process:
        arguments = ["serve", "--data", str(self.data), "--port", str(self.port), *self.flags]
        # Most tests let anybody in, and start again.
        environment = {"BAAS_OPEN_RULES": "*", **os.environ}
        if self._nursery is not None:
            return self._nursery.fork(arguments, self.log, environment)
        command = [sys.executable, "-m", self.module, *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)

    def _answers(self) -> bool:
        assert self.process is not None
        try:
            running = json.loads((self.data / "server.json").read_text(encoding="utf-8"))
            if running["pid"] != self.process.pid:
                return False  # the file of a server that was killed
            self.operator_token = running["token"]
            return httpx.get(self.url + "/readyz", timeout=5).is_success
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return False

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL: no clean-up of any kind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM and the exit status; killed where it does not end by itself, which is -9."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def admin(self) -> httpx.Client:
        """A client of the admin API with the operator's token."""
        headers = {"Authorization": f"Bearer {self.operator_token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1/admin", headers=headers, timeout=60)

    def create_project(self, project: str, rules: str | None = None, **options: Any) -> str:
        """Creates a project with its rules; a new publishable key."""
        with self.admin() as admin:
            checked(admin.post("/projects", json={"id": project, "name": project}))
            if rules is not None:
                checked(admin.put(f"/projects/{project}/rules", json={"source": rules, **options}))
            body = {"kind": "publishable", "name": "test"}
            return str(checked(admin.post(f"/projects/{project}/keys", json=body))["key"])


def checked(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must have succeeded."""
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    body: dict[str, Any] = answer.json()
    return body
