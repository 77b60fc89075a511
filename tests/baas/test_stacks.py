"""A server says what it is doing when it is asked by SIGUSR2, and goes on."""

import gc
import signal
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import httpx
import pytest

from baas import stacks
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


async def test_what_is_gone_is_passed_over() -> None:
    """The collector knows of weak proxies of it, which raise when they are asked."""
    proxies = [weakref.proxy(type("Gone", (), {})) for _ in range(2)]
    gc.collect()
    with pytest.raises(ReferenceError):
        isinstance(proxies[0], Path)
    assert list(stacks._describe_waits())[-1].startswith("\nThis was all of process")


STUCK = """
import asyncio, sys, time
from baas import stacks

stacks.STUCK_SECONDS, stacks.LOOK_SECONDS = 0.1, 0.01

def is_told():
    return "in stand_still" in open(sys.argv[1]).read()

def stand_still():
    end = time.monotonic() + 1
    while time.monotonic() < end and not is_told():
        time.sleep(0.01)

async def main():
    stacks.tell_stacks_if_stuck()
    while not is_told():  # a busy machine lets the loop stand still elsewhere, too
        await asyncio.sleep(0.05)
        stand_still()

asyncio.run(main())
"""


def test_event_loop_that_stands_still_is_told_of(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [sys.executable, "-c", STUCK, str(log)]
        assert subprocess.run(command, stderr=out, timeout=120, check=False).returncode == 0
    assert "Timeout" in log.read_text()
