"""A server says what it is doing when it is asked by SIGUSR2, and goes on."""

import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.processes import ServerProcess
from tests.waiting import wait_until


@pytest.mark.parametrize("flags", [(), ("--workers", "2")])
def test_every_process_tells_its_threads_and_what_it_waits_for(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with ServerProcess(tmp_path / "data", "--dev", *flags) as server:
        assert server.process is not None
        server.process.send_signal(signal.SIGUSR2)
        processes = 2 if flags else 1
        wait_until(lambda: server.output().count("This was all of process") == processes)
        told = server.output()
        assert told.count("Current thread") == processes
        assert told.count("Task committer:") >= processes
        assert httpx.get(server.url + "/readyz").is_success
        assert server.stop() == 0


def test_a_request_that_waits_is_among_them(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--dev") as server:
        lines = (
            "POST /api/v1/projects/slow/accounts:sign-in HTTP/1.1",
            "host: localhost",
            f"x-api-key: {server.create_project('slow')}",
            "content-length: 2",
            "",
            "{",
        )
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall("\r\n".join(lines).encode())

            def is_told() -> bool:
                assert server.process is not None
                server.process.send_signal(signal.SIGUSR2)
                return "read_credentials" in server.output()

            wait_until(is_told)
