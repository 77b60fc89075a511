"""Processes that are measured: started, awaited, ended; their memory and processor time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

START_SECONDS = 60.0


@contextlib.contextmanager
def running(
    command: list[str],
    environment: Mapping[str, str],
    probe: str,
    *,
    folder: Path | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers at `probe`, until the block ends. Raises RuntimeError with the end of
    its output if it does not start."""
    with contextlib.ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab")).fileno()
        process = subprocess.Popen(
            command, env=dict(environment), cwd=folder, stdout=output, stderr=output
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + START_SECONDS
        while not _answers(probe):
            if process.poll() is not None or time.monotonic() > deadline:
                said = "" if log is None else ":\n" + log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"`{' '.join(command)}` did not start{said}")
            time.sleep(0.05)
        yield process


def _answers(probe: str) -> bool:
    try:
        httpx.get(probe, timeout=1)
    except httpx.HTTPError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def own_pid() -> int:
    return os.getpid()


def family(pid: int) -> list[int]:
    """A process and its children."""
    tasks = Path(f"/proc/{pid}/task")
    children = " ".join(task.read_text() for task in tasks.glob("*/children")).split()
    return [pid, *map(int, children)]


def memory_mib(pid: int) -> float:
    """Resident memory of a process and its children."""
    return sum(_status_kib(member, "VmRSS") for member in family(pid)) / 1024


def peak_memory_mib(pid: int) -> float:
    """The sum of the peaks since `reset_peaks`; those of several processes need not coincide."""
    return sum(_status_kib(member, "VmHWM") for member in family(pid)) / 1024


def reset_peaks(pid: int) -> None:
    """Peaks of resident memory count from now on."""
    for member in family(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5", encoding="ascii")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its children have used so far."""
    return sum(_cpu_seconds(member) for member in family(pid))


def descriptors(pid: int) -> int:
    """Open files and sockets of a process and its children."""
    return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(pid))


def thread_count(pid: int) -> int:
    """Threads of a process and its children."""
    return sum(len(os.listdir(f"/proc/{member}/task")) for member in family(pid))


def _status_kib(pid: int, word: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(word))
    return int(line.split()[1])


def _cpu_seconds(pid: int) -> float:
    # After the name in parentheses: field 12 is user time, 13 system time, in clock ticks.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
