"""Workers that are killed, stopped, or have lost their parent: real processes, which do little."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from baas.workers.supervisor import LOOK_SECONDS, Place, Supervisor
from tests.processes import ROOT

SILENT_SECONDS = 5.0  # a busy machine leaves a process without a turn for a while
WORKERS = 2


def run(place: Place, folder: Path) -> int:
    """Takes the lock, for as long as it writes one line, again and again."""
    with (folder / "lock").open("w") as lock:
        place.ready(b"ready")
        threading.Thread(target=beat_on, args=[place], daemon=True).start()
        while True:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / f"stop{place.index}").exists():
                (folder / f"stop{place.index}").unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
            (folder / f"worker{place.index}").write_text(f"{os.getpid()}.")
            fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(0.01)


def beat_on(place: Place) -> None:
    while True:
        place.beat()
        time.sleep(LOOK_SECONDS / 2)


def main(folder: Path) -> int:
    """The parent."""
    return Supervisor(
        WORKERS,
        lambda place: run(place, folder),
        on_ready=lambda word: (folder / "ready").touch(),
        on_death=lambda: (folder / "died").touch(),
        drain_seconds=1.0,
        silent_seconds=SILENT_SECONDS,
    ).serve()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.baas.workers.test_supervisor", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait((tmp_path / "ready").exists)
        yield process
    finally:
        process.kill()
        process.wait()


def wait(condition: object, seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pid_of(folder: Path, index: int) -> int:
    """Of who wrote last."""
    file = folder / f"worker{index}"
    pids: list[int] = []

    def read() -> bool:
        text = file.read_text() if file.exists() else ""
        if text.endswith("."):  # all of it is written
            pids.append(int(text[:-1]))
        return bool(pids)

    wait(read)
    return pids[-1]


def is_alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_is_stopped_within_its_turn_is_killed_and_replaced(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    stopped, other = pid_of(tmp_path, 1), pid_of(tmp_path, 0)
    (tmp_path / "stop1").touch()
    began = time.monotonic()
    wait(lambda: not is_alive(stopped))
    assert time.monotonic() - began > SILENT_SECONDS / 2
    wait((tmp_path / "died").exists)
    wait(lambda: pid_of(tmp_path, 1) != stopped)
    (tmp_path / "worker0").write_text("")
    assert pid_of(tmp_path, 0) == other  # which waited for the lock
    parent.send_signal(signal.SIGTERM)
    parent.wait(100)


def test_workers_that_were_stopped_with_their_parent_go_on(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    pids = [pid_of(tmp_path, index) for index in range(WORKERS)]
    for pid in (parent.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SILENT_SECONDS + 1)
    for pid in (*pids, parent.pid):
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "worker0").write_text("")
    assert pid_of(tmp_path, 0) == pids[0]
    assert all(map(is_alive, pids))
    assert not (tmp_path / "died").exists()


def test_workers_end_when_their_parent_is_killed(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    pids = [pid_of(tmp_path, index) for index in range(WORKERS)]
    parent.kill()
    wait(lambda: not any(map(is_alive, pids)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
