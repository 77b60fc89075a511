"""Uploads and downloads beside the floor of bench/floor_files.py, both up, in turns.

The product takes and gives objects of a bucket by rules that allow them to anybody. What it answers
with 200 is on the disk, bytes and record; the floor syncs the bytes and their name, and has no
record.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.peers.loads import FILE_LARGE, FILE_SMALL, Call, file_bytes
from bench.peers.wrk import Wrk
from bench.processes import cpu_seconds, peak_memory_mib, reset_peaks, running
from scripts.free_ports import free_port

WARM_SECONDS = 1.0
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents { match /none/{document} { allow get: if false; } }
}
service firebase.storage {
  match /b/{bucket}/o { match /files/{file} { allow get, create: if true; } }
}
"""


@dataclass(frozen=True)
class Load:
    name: str
    method: str
    size: int
    connections: int


LOADS = (
    Load("download of 10 KB, 100 connections", "GET", FILE_SMALL, 100),
    Load("download of 10 MB, 8 connections", "GET", FILE_LARGE, 8),
    Load("upload of 10 KB, 50 connections", "PUT", FILE_SMALL, 50),
    Load("upload of 10 KB, 1 connection", "PUT", FILE_SMALL, 1),
    Load("upload of 10 MB, 4 connections", "PUT", FILE_LARGE, 4),
)


@dataclass(frozen=True)
class Served:
    url: str
    pid: int
    path: str


@dataclass(frozen=True)
class Figure:
    rate: float
    p50_ms: float
    cpu_us: float
    peak_mib: float
    failed: int


def table(folder: Path, *, rounds: int, seconds: float, only: str = "") -> str:
    """A Markdown table of the loads whose name contains `only`."""
    folder.mkdir()
    lines = []
    with _floor(folder / "floor") as bare, _product(folder / "data") as whole:
        for load in [load for load in LOADS if only in load.name]:
            for served in (bare, whole):
                _run(served, load, WARM_SECONDS)
            found = [(_run(bare, load, seconds), _run(whole, load, seconds)) for _ in range(rounds)]
            lines.append(_row(load.name, found))
    head = (
        "| files | floor/s | baas/s | **ratio** | CPU us floor / baas: ratio "
        "| p50 ms floor / baas | peak MiB of baas | failed |\n|---|---|---|---|---|---|---|---|"
    )
    return "\n".join(["## Uploads and downloads", "", head, *lines, ""])


def _row(name: str, found: list[tuple[Figure, Figure]]) -> str:
    ratio = statistics.median(whole.rate / bare.rate for bare, whole in found)
    cost = statistics.median(bare.cpu_us / whole.cpu_us for bare, whole in found)
    rate, cpu, delay = (
        [statistics.median(getattr(pair[side], field) for pair in found) for side in (0, 1)]
        for field in ("rate", "cpu_us", "p50_ms")
    )
    peak = max(whole.peak_mib for _, whole in found)
    failed = sum(figure.failed for pair in found for figure in pair)
    return (
        f"| {name} | {rate[0]:,.0f} | {rate[1]:,.0f} | **{ratio:.2f}** "
        f"| {cpu[0]:.0f} / {cpu[1]:.0f}: {cost:.2f} "
        f"| {delay[0]:.1f} / {delay[1]:.1f} | {peak:.0f} | {failed} |"
    )


_taken = 0  # numbers of uploads: each has a name of its own


def _run(served: Served, load: Load, seconds: float) -> Figure:
    global _taken
    if load.method == "GET":
        call = Call("GET", f"{served.path}/{load.size}", {})
    else:
        body = file_bytes(load.size).decode()
        call = Call("PUT", served.path + "/up{n}", {"Content-Type": "text/plain"}, body)
    reset_peaks(served.pid)
    cpu = cpu_seconds(served.pid)
    _taken += 1_000_000
    connections = load.connections
    with Wrk(served.url, [call], connections=connections, seconds=seconds, first=_taken) as wrk:
        said = wrk.wait()
    cpu = cpu_seconds(served.pid) - cpu
    return Figure(
        rate=said.good / said.seconds,
        p50_ms=said.p50_ms,
        cpu_us=cpu * 1e6 / max(1, said.good),
        peak_mib=peak_memory_mib(served.pid),
        failed=said.refused + said.broken,
    )


@contextlib.contextmanager
def _floor(folder: Path) -> Iterator[Served]:
    folder.mkdir()
    for size in (FILE_SMALL, FILE_LARGE):
        (folder / str(size)).write_bytes(file_bytes(size))
    port = free_port()
    command = [sys.executable, "-m", "bench.floor_files", str(port), str(folder)]
    url = f"http://127.0.0.1:{port}"
    with running(command, os.environ, url + "/probe") as process:
        yield Served(url, process.pid, "/files")


@contextlib.contextmanager
def _product(folder: Path) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "baas", "serve", "--data", str(folder), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "BAAS_OPEN_RULES": "bench"}
    with running(command, environment, url + "/readyz") as process:
        operator = json.loads((folder / "server.json").read_text(encoding="utf-8"))["token"]
        headers = {"Authorization": f"Bearer {operator}"}
        admin = "/api/v1/admin/projects"
        path = "/api/v1/projects/bench/buckets/bench/objects/files"
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            for method, target, body in (
                ("POST", admin, {"id": "bench", "name": "bench"}),
                ("PUT", f"{admin}/bench/rules", {"source": RULES, "allow_open": True}),
                ("POST", f"{admin}/bench/buckets", {"id": "bench"}),
            ):
                client.request(method, target, json=body).raise_for_status()
            for size in (FILE_SMALL, FILE_LARGE):
                client.put(f"{path}/{size}", content=file_bytes(size)).raise_for_status()
        yield Served(url, process.pid, path)
