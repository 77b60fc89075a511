"""A real S3-compatible server for the tests: versitygw on a free port, keeping its buckets in a
folder, that can be killed and started again. It ends with this process, however that ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.find_s3 import find_s3
from scripts.free_ports import free_port

NOT_RUN = "S3 tests: NOT RUN: no versitygw (python scripts/find_s3.py --install)"
START_SECONDS = 100.0
ACCESS_KEY = "tests"
SECRET_KEY = "tests-secret"
BUCKET = "objects"
# A server of which nobody takes leave: the shell outlives this process by a moment.
_WATCH = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'


class S3Server:
    """One server with one bucket. `environment` is what its clients need."""

    def __init__(self, folder: Path) -> None:
        found = find_s3()
        assert found is not None, NOT_RUN
        self._program = found
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What the setting `objects` takes."""
        return f"s3://{BUCKET}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> S3Server:
        """Returns when it takes connections."""
        (self._folder / BUCKET).mkdir(parents=True, exist_ok=True)
        log = self._folder.with_suffix(".log").open("ab")
        command = [self._program, "--port", f"127.0.0.1:{self._port}", "--quiet"]
        command += ["--access", ACCESS_KEY, "--secret", SECRET_KEY, "posix", str(self._folder)]
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", str(self._process.pid)], stdin=subprocess.PIPE
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return self
            time.sleep(0.02)
        text = self._folder.with_suffix(".log").read_text(errors="replace")
        raise AssertionError(f"the S3 server did not start:\n{text[-2000:]}")

    def kill(self) -> None:
        """SIGKILL; its folder stays."""
        for process in (self._process, self._watch):
            if process is not None:
                process.kill()
                process.wait(60)
        if self._watch is not None and self._watch.stdin is not None:
            self._watch.stdin.close()
        self._process = self._watch = None

    def stop(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def check_s3() -> None:
    """Fails the test where there is no server, or skips it if BAAS_EXCUSE says that it may be so.
    A check that silently does not run looks like one that passed."""
    if find_s3() is not None:
        return
    if "s3" in os.environ.get("BAAS_EXCUSE", "").split(","):
        pytest.skip(NOT_RUN)
    pytest.fail(NOT_RUN, pytrace=False)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests of this process; its clients' environment is set."""
    check_s3()
    server = S3Server(tmp_path_factory.mktemp("s3") / "buckets").start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()
