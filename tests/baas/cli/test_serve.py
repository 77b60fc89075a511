"""The real command, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from baas.testing import running_server
from tests.processes import ServerProcess, write_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
WAIT_SECONDS = 120
BAAS = [sys.executable, "-m", "baas"]


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same, without its start-up."""
    return [write_command(tmp_path_factory.mktemp("bin"))]


def baas(
    *arguments: str, command: list[str] = BAAS, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BAAS_")}
    return subprocess.run(
        [*command, *arguments],
        input=stdin,
        capture_output=True,
        env={**clean, **environment},
        check=False,
        timeout=WAIT_SECONDS,
    )


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command with pipes, that ends with the block at the latest."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*BAAS, *arguments], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(count: int) -> bytes:
    return b"".join(
        json.dumps({"path": f"a/{n:06}", "fields": {"n": n}}).encode() + b"\n" for n in range(count)
    )


def test_commands_find_the_server_that_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_server(data) as server:
        made = baas("project", "create", "chat", "--data", str(data))
        assert (made.returncode, made.stdout, made.stderr) == (0, b"created project chat\n", b"")
        done = baas("import", "-", "-p", "chat", "--data", str(data), stdin=lines(20_000))
        assert done.stdout == b"imported 20000 documents\n"
        got = baas("export", "-", "-p", "chat", "--data", str(data))
        assert len(got.stdout.splitlines()) == 20_001, "the last line tells count and checksum"
        assert (data / "server.json").stat().st_mode & 0o777 == 0o600
        assert server.terminate() == 0
    assert not (data / "server.json").exists()
    # And the data folder when none runs.
    got = baas("project", "list", "--json", "--data", str(data))
    assert [one["id"] for one in json.loads(got.stdout)] == ["chat"]


def test_a_remote_server_takes_address_and_token(tmp_path: Path, forked: list[str]) -> None:
    with ServerProcess(tmp_path / "data") as server:
        url, token = server.url, server.operator_token
        run = partial(baas, command=forked)
        made = run("project", "create", "chat", "--url", url, BAAS_TOKEN=token)
        assert made.returncode == 0
        listed = run("project", "list", "--json", BAAS_URL=url, BAAS_TOKEN=token)
        assert len(json.loads(listed.stdout)) == 1
        for wrong in ("baas_op_wrong", "nonsense", "baas_pk_x"):
            refused = run("project", "list", "--url", url, BAAS_TOKEN=wrong)
            assert refused.returncode == 1
            assert refused.stderr.count(b"\n") == 1
            assert wrong.encode() not in refused.stderr


def test_what_a_killed_server_left_behind_is_not_believed(
    tmp_path: Path, forked: list[str]
) -> None:
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        server.kill()
        assert (data / "server.json").exists()
        made = baas("project", "create", "chat", "--data", str(data), command=forked)
        assert (made.returncode, made.stderr) == (0, b"")


def test_a_second_server_on_the_folder_is_refused(tmp_path: Path, forked: list[str]) -> None:
    data = tmp_path / "data"
    with ServerProcess(data):
        second = baas("serve", "--data", str(data), "--port", "0", command=forked)
        assert second.returncode == 1
        assert second.stderr.count(b"\n") == 1
        assert b"in use" in second.stderr


def test_serve_tells_where_everything_is(tmp_path: Path) -> None:
    with started("serve", "--dev", "--port", "0", "--data", str(tmp_path / "data")) as process:
        assert process.stdout is not None
        shown = b"".join(process.stdout.readline() for _ in range(6)).decode()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    assert "development mode" in shown
    for part in ("/api/v1/", "/docs", "/console/", "/console/#/setup?token=baas_setup_"):
        assert part in shown


def test_a_reader_who_has_seen_enough(tmp_path: Path, forked: list[str]) -> None:
    data = tmp_path / "data"
    run = partial(baas, command=forked)
    assert run("project", "create", "chat", "--data", str(data)).returncode == 0
    made = run("import", "-", "-p", "chat", "--data", str(data), stdin=lines(20_000))
    assert made.returncode == 0
    with started("export", "-", "-p", "chat", "--data", str(data)) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        export.stdout.readline()
        export.stdout.close()
        err = export.stderr.read()
        assert export.wait(timeout=WAIT_SECONDS) == 1
    assert b"Traceback" not in err
    assert b"Exception" not in err


def test_an_interrupted_command_is_130(tmp_path: Path, forked: list[str]) -> None:
    data = tmp_path / "data"
    made = baas("project", "create", "chat", "--data", str(data), command=forked)
    assert made.returncode == 0
    with started("import", "-", "-p", "chat", "--data", str(data)) as process:
        assert process.stdin is not None
        line = json.dumps({"path": "a/1", "fields": {"pad": "x" * 10_000}}).encode() + b"\n"
        process.stdin.write(line * 600)  # more than one request: the first is on its way
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert err.splitlines()[-1] == b"error: interrupted"
    # Nothing is left in the way of the next one.
    assert baas("project", "list", "--data", str(data), command=forked).returncode == 0
