"""The real server as a child process: started, killed, started again on the same data folder."""

from __future__ import annotations

import atexit
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import httpx

from scripts.free_ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 100.0
STOP_SECONDS = 60.0


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
    """Forks servers and commands; see `tests.nursery`. They end with it."""

    def __init__(self, module: str = "tests.nursery") -> None:
        self.address = os.path.join(tempfile.mkdtemp(prefix="baas-nursery-"), "socket")
        command = [sys.executable, "-m", module, self.address]
        # A session of its own: Ctrl-C is for the tests, which end what they started.
        self._parent = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            self._wait()
        except BaseException:
            self._parent.kill()
            self.stop()
            raise

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._parent.communicate()

    def fork(self, arguments: list[str], log: Path, environment: dict[str, str]) -> ForkedProcess:
        asked = {"arguments": arguments, "folder": str(ROOT), "environment": environment}
        nursery = socket.socket(socket.AF_UNIX)  # the process holds it
        try:
            nursery.connect(self.address)
            with log.open("ab") as out, open(os.devnull, "rb") as nothing:
                files = [nothing.fileno(), out.fileno(), out.fileno()]
                socket.send_fds(nursery, [json.dumps(asked).encode() + b"\n"], files)
            return ForkedProcess(nursery)
        except BaseException:
            nursery.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(self.address):
            assert self._parent.poll() is None, "the nursery did not start"
            assert time.monotonic() < deadline, "the nursery does not start"
            time.sleep(0.02)


@cache
def shared_nursery() -> Nursery:
    """The one of this process, for all that is as `python -m baas` would have it."""
    nursery = Nursery()
    atexit.register(nursery.stop)
    return nursery


class ForkedProcess:
    """A Process that is a nursery's child."""

    def __init__(self, nursery: socket.socket) -> None:
        self._nursery = nursery
        self._poll = select.poll()  # `select` takes small numbers of files only
        self._poll.register(nursery, select.POLLIN)
        self._told = b""
        self.returncode: int | None = None
        self.pid = self._read_number(START_SECONDS)

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._read_number(timeout)
            self._nursery.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read_number(self, timeout: float | None) -> int:
        while b"\n" not in self._told:
            if not self._poll.poll(None if timeout is None else timeout * 1_000):
                raise subprocess.TimeoutExpired("a server", timeout or 0)
            told = self._nursery.recv(64)
            assert told, "the nursery is gone"
            self._told += told
        line, _, self._told = self._told.partition(b"\n")
        return int(line)


def write_command(folder: Path) -> str:
    """A `baas` for shells in `folder`, which starts in a hundredth of the time."""
    words = [sys.executable, "-IS", str(ROOT / "tests" / "forked.py"), shared_nursery().address]
    command = folder / "baas"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return str(command)


class ServerProcess:
    """`baas serve` on one data folder and one port. Its output goes to `<data>.log`. It comes from
    a nursery, where it starts in a tenth of the time, unless a `module` is named."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        port: int | None = None,
        module: str | None = None,
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
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.output()[-3000:]}")

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self) -> Process:
        arguments = ["serve", "--data", str(self.data), "--port", str(self.port), *self.flags]
        # Most tests let anybody in, and start again.
        environment = {"BAAS_OPEN_RULES": "*", **os.environ}
        if self.module is None:
            nursery = self._nursery or shared_nursery()
            return nursery.fork(arguments, self.log, environment)
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
            return httpx.get(self.url + "/readyz", timeout=30).is_success
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
