"""The loads: wrk for HTTP, a compiled WebSocket client (picows) for fan-out, the SDK apart."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.servers import Target

WRK = Path(__file__).parent / "wrk"


@dataclass(frozen=True)
class Figure:
    """What one load gave. `rate` is answers (or deliveries) per second; `cpu_us` the server's
    processor time for each, which other programs on the machine disturb less."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: float


def wrk(
    target: Target, script: str, arguments: tuple[str, ...], *, connections: int, seconds: float
) -> Figure:
    """Runs wrk once. Raises RuntimeError where wrk is missing or says nothing."""
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("`wrk` is missing: install the package `wrk`, then run again")
    command = [
        program,
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    command += ["-s", str(WRK / f"{script}.lua"), target.url, "--", *arguments]
    cpu = target.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu = target.cpu_seconds() - cpu
    line = next((text for text in done.stdout.splitlines() if text.startswith("JSON ")), None)
    if line is None:
        raise RuntimeError(f"wrk said nothing: {done.stdout}{done.stderr}")
    said = json.loads(line[5:])
    return Figure(
        said["requests"] / said["seconds"],
        said["p50_ms"],
        said["p99_ms"],
        said["failed"],
        cpu * 1e6 / max(1, said["requests"]),
    )


def create(target: Target, *, connections: int, seconds: float) -> Figure:
    arguments = (target.create_path, target.token, target.uid)
    return wrk(target, "create", arguments, connections=connections, seconds=seconds)


def get(
    target: Target, *, connections: int, seconds: float, documents: int, collection: str = "posts"
) -> Figure:
    prefix = (
        target.get_prefix
        if target.name == "floor"
        else target.get_prefix.replace("posts", collection)
    )
    return wrk(
        target,
        "get",
        (prefix, target.token, str(documents)),
        connections=connections,
        seconds=seconds,
    )


def fixed(
    target: Target, request: tuple[str, str, str], *, connections: int, seconds: float
) -> Figure:
    method, path, body = request
    return wrk(
        target,
        "fixed",
        (method, path, target.token, body),
        connections=connections,
        seconds=seconds,
    )


@dataclass
class Deliveries:
    """What all listening sockets received."""

    sent: dict[int, float] = field(default_factory=dict)
    delays_ms: list[float] = field(default_factory=list)
    count: int = 0


class _Listener(WSListener):
    def __init__(self, target: Target, deliveries: Deliveries, ready: asyncio.Event) -> None:
        self.target = target
        self.deliveries = deliveries
        self.ready = ready
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        for message in self.target.hello:
            transport.send(WSMsgType.TEXT, message.encode())
        if not self.target.hello:
            self.ready.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        text = frame.get_payload_as_ascii_text()
        if '"snapshot"' in text and '"type"' in text:
            self.ready.set()
        at = text.find('"stamp":')
        if at < 0:
            return
        stamp = int(text[at + 8 : at + 24].split(",")[0].split("}")[0])
        sent = self.deliveries.sent.get(stamp)
        if sent is not None:
            self.deliveries.count += 1
            self.deliveries.delays_ms.append((time.perf_counter() - sent) * 1000)


async def fan_out(
    target: Target, *, sockets: int, seconds: float, writes_per_second: float
) -> tuple[Figure, float]:
    """One writer, `sockets` listeners on one query: (deliveries, KiB of memory per open socket)."""
    deliveries = Deliveries()
    before = target.memory_mib()
    listeners: list[_Listener] = []
    for _ in range(sockets):
        listener = _Listener(target, deliveries, asyncio.Event())
        await ws_connect(lambda listener=listener: listener, target.listen_url)
        await asyncio.wait_for(listener.ready.wait(), 30)
        listeners.append(listener)
    per_socket = (target.memory_mib() - before) * 1024 / sockets
    cpu = target.cpu_seconds()
    began = time.perf_counter()
    failed = await _write_stamps(target, deliveries, seconds, writes_per_second)
    expected = len(deliveries.sent) * sockets
    deadline = time.perf_counter() + 10
    # Polled: an event set at each delivery would be part of what is measured.
    while deliveries.count < expected and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    for listener in listeners:
        if listener.transport is not None:
            listener.transport.disconnect()
    delays = sorted(deliveries.delays_ms) or [0.0]
    figure = Figure(
        deliveries.count / took,
        delays[len(delays) // 2],
        delays[int(len(delays) * 0.99)],
        failed + expected - deliveries.count,
        (target.cpu_seconds() - cpu) * 1e6 / max(1, deliveries.count),
    )
    return figure, per_socket


async def _write_stamps(target: Target, deliveries: Deliveries, seconds: float, rate: float) -> int:
    path = (
        target.create_path if target.name == "floor" else target.create_path.replace("posts", "fan")
    )
    headers = {"Content-Type": "application/json"}
    if target.hello:
        headers["Authorization"] = f"Bearer {json.loads(target.hello[0])['token']}"
    failed = 0
    async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as client:
        for number in range(int(seconds * rate)):
            stamp = 1_000_000 + number
            fields: dict[str, Any] = {"stamp": stamp, "score": number, "text": "x" * 200}
            deliveries.sent[stamp] = time.perf_counter()
            answer = await client.post(path, json={"fields": fields})
            failed += not answer.is_success
            await asyncio.sleep(max(0.0, deliveries.sent[stamp] + 1 / rate - time.perf_counter()))
    return failed
