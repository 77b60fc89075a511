"""Ports for servers of tests and measurements, which are started, killed and started again."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

PORTS_FIRST = 10_000  # up to those of `_first_of_kernel`
_kept_locks: list[int] = []  # one of each port that was given: they end with this process


def free_port() -> int:
    """A port that nobody else is given while this process lives, so that a server may be started on
    it, killed, and started again. The kernel gives it to nobody who asks for any port, as clients
    do, and processes that call this tell each other by locked files."""
    folder = Path(tempfile.gettempdir()) / f"baas-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    count = _first_of_kernel() - PORTS_FIRST
    start = os.getpid() * 97 + len(_kept_locks)
    for number in range(start, start + count):
        port = PORTS_FIRST + number % count
        lock = os.open(folder / str(port), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        if _is_locked(lock) and _can_listen(port):
            _kept_locks.append(lock)
            return port
        os.close(lock)
    raise AssertionError("no port is free")


def _first_of_kernel() -> int:
    """The first port that the kernel gives to who asks for any."""
    try:
        told = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return 32_768
    return max(PORTS_FIRST + 1_000, int(told.split()[0]))


def _is_locked(lock: int) -> bool:
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _can_listen(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
