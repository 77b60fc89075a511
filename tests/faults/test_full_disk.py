"""The real server on a disk that is really full: it says so, stays up, loses nothing, and goes on
when there is room again."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.seeds import RULES
from tests.processes import ROOT, ServerProcess, checked

SIZE_BYTES = 8 * 1024 * 1024
DOCUMENT = {"text": "x" * 60_000}
BASE = "/api/v1/projects/full/documents"

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; see the test with a limit on files")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Takes all the room that is left."""
    file = place / "ballast"
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(65_536))
        except OSError:
            pass
    return file


def make_room(place: Path) -> None:
    size = f"remount,size={8 * SIZE_BYTES}"
    subprocess.run(["mount", "-o", size, str(place)], check=True)


def write_until_refused(server: ServerProcess, name: str) -> tuple[int, httpx.Response]:
    """How many documents were taken, and the refusal."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        for number in range(1_000):
            answer = client.put(f"{BASE}/{name}/d{number}", json={"fields": DOCUMENT})
            if not answer.is_success:
                return number, answer
    raise AssertionError("the disk is never full")


def count(server: ServerProcess, collection: str) -> int:
    body = {"query": {"collection": collection}}
    return int(checked(httpx.post(f"{server.url}{BASE}:count", json=body))["count"])


def run_cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "baas", *words], capture_output=True, text=True, cwd=ROOT, timeout=60
    )


def check_refusal(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "StorageFull")
    assert "disk is full" in error["message"]


def test_a_full_disk_is_told_and_survived(small_disk: Path) -> None:
    # The log is on the same disk: what cannot be logged must not keep anybody from working.
    server = ServerProcess(small_disk / "data").start()
    try:
        server.create_project("full", RULES, allow_open=True)
        taken, answer = write_until_refused(server, "first")
        check_refusal(answer)
        assert taken > 10
        ballast = fill(small_disk)
        for number in range(50):  # logged, or not
            assert httpx.get(f"{server.url}{BASE}/first/d{number % taken}").status_code == 200
        assert count(server, "first") == taken
        _, answer = write_until_refused(server, "second")
        check_refusal(answer)
        assert httpx.get(f"{server.url}/healthz").is_success
        told = run_cli("project", "create", "another", "--data", str(server.data))
        assert told.returncode != 0
        assert "disk is full" in told.stderr
        assert "Traceback" not in told.stderr
        ballast.unlink()
        make_room(small_disk)
        with httpx.Client(base_url=server.url) as client:
            checked(client.put(f"{BASE}/third/one", json={"fields": {"n": 1}}))
        assert count(server, "first") == taken
    finally:
        status = server.stop()
    assert status == 0
    assert "Traceback" not in server.output()
    server.start()
    assert (count(server, "first"), count(server, "third")) == (taken, 1)
    assert server.stop() == 0


def test_starting_on_a_full_disk_is_refused_in_words(small_disk: Path) -> None:
    fill(small_disk)
    ended = run_cli("serve", "--data", str(small_disk / "data"), "--port", "0")
    told = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Traceback" not in told
    assert "full" in told or "No space left" in told


def test_starting_again_on_a_full_disk_is_refused_in_words_and_loses_nothing(
    small_disk: Path,
) -> None:
    server = ServerProcess(small_disk / "data").start()
    server.log = small_disk.with_suffix(".log")  # not on the full disk
    server.create_project("full", RULES, allow_open=True)
    taken, _ = write_until_refused(server, "first")
    server.kill()
    fill(small_disk)
    data = str(small_disk / "data")
    ended = run_cli("serve", "--data", data, "--port", "0", "--open-rules", "full")
    told = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Traceback" not in told
    assert "full" in told or "No space left" in told
    make_room(small_disk)
    server.start()
    assert count(server, "first") == taken
    assert server.stop() == 0


def test_a_limit_on_the_size_of_files_is_survived(tmp_path: Path) -> None:
    """As a quota does it: a write past the limit is an I/O error."""
    server = ServerProcess(tmp_path / "data", module="baas")  # it takes over this process's limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE_BYTES, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    try:
        server.create_project("full", RULES, allow_open=True)
        taken, answer = write_until_refused(server, "first")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "UNAVAILABLE"
        assert count(server, "first") == taken
    finally:
        assert server.stop() == 0
    server.start()
    assert count(server, "first") == taken
    with httpx.Client(base_url=server.url) as client:
        checked(client.put(f"{BASE}/second/one", json={"fields": {"n": 1}}))
    assert server.stop() == 0
