"""A pytest plugin for those who test against a server: `pytest_plugins = ["baas.testing"]`.

`baas_app` is a started application in this process, `baas_client` an HTTP client of it with an
administrator's rights. `running_server` starts the real server in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest_asyncio

from baas.app import App, create_app
from baas.clock import Clock
from baas.settings import Settings

START_SECONDS = 60.0


def make_settings(data: Path, **changes: Any) -> Settings:
    """Settings for tests: no log of requests, and no waiting for the disk."""
    return Settings(**{"data": data, "access_log": False, "synchronous": "normal", **changes})


@contextlib.asynccontextmanager
async def started_app(settings: Settings, clock: Clock | None = None) -> AsyncIterator[App]:
    """An application in this process, started and stopped."""
    app = create_app(settings, clock)
    await app.start()
    try:
        yield app
    finally:
        await app.drain()
        await app.stop()


def app_client(app: App, token: str | None = None) -> httpx.AsyncClient:
    """An HTTP client of an application in this process."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        # What the application raises is a failed test, not an answer.
        transport=httpx.ASGITransport(app, raise_app_exceptions=True),
        base_url="http://127.0.0.1",
        headers=headers,
    )


@pytest_asyncio.fixture
async def baas_app(tmp_path: Path) -> AsyncIterator[App]:
    """A started application on an empty data folder."""
    async with started_app(make_settings(tmp_path / "data")) as app:
        yield app


@pytest_asyncio.fixture
async def baas_client(baas_app: App) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the operator's rights."""
    async with app_client(baas_app, baas_app.operator_token) as client:
        yield client


@dataclass(slots=True)
class RunningServer:
    """A server in a process of its own."""

    url: str
    token: str
    data: Path
    process: subprocess.Popen[bytes]

    def terminate(self) -> int:
        """Asks it to end and waits; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def running_server(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """`baas serve` on a free port, with its token from `<data>/server.json`; killed at the end
    if it still runs."""
    command = [sys.executable, "-m", "baas", "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen([*command, *arguments], env={**os.environ, **(environment or {})})
    try:
        told = _wait_until_ready(data, process)
        yield RunningServer(told["url"], told["token"], data, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_until_ready(data: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
            told: dict[str, Any] = orjson.loads((data / "server.json").read_bytes())
            if told["pid"] == process.pid and httpx.get(told["url"] + "/readyz").is_success:
                return told
        time.sleep(0.02)
    raise RuntimeError(f"the server did not answer within {START_SECONDS:.0f} s")
