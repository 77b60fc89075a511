"""The application and the process that serves it: start, drain, what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import orjson
import pytest
from starlette.types import Message
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from baas.app import allow_descriptors, bind, check_settings, create_app, lock_folder
from baas.errors import FailedPrecondition, InvalidArgument
from baas.testing import RunningServer, app_client, make_settings, running_server, started_app
from tests.waiting import PATIENCE_SECONDS, wait_until

SERVERS = ("uvicorn", "granian")


async def test_the_lifespan_starts_and_stops(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path / "data"), url="http://127.0.0.1:1")
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    told = orjson.loads((tmp_path / "data" / "server.json").read_bytes())
    assert told == {"url": "http://127.0.0.1:1", "token": app.operator_token, "pid": os.getpid()}
    await incoming.put({"type": "lifespan.shutdown"})
    assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
    await running
    assert not (tmp_path / "data" / "server.json").exists()


async def test_a_data_folder_has_one_server(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with started_app(settings):
        with pytest.raises(FailedPrecondition, match=f"in use by the process {os.getpid()}"):
            await create_app(settings).start()
    async with started_app(settings):
        pass


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999\n")
    with lock_folder(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@contextlib.contextmanager
def lock_of_dead(folder: Path) -> Iterator[IO[bytes]]:
    """As workers hold it whose parent was killed, until they end: until it is closed."""
    with (folder / "lock").open("wb", buffering=0) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(b"99999999\n")
        yield lock


def test_a_server_waits_for_workers_whose_parent_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock_of_dead(tmp_path) as lock:
        monkeypatch.setattr("baas.app.time.sleep", lambda seconds: lock.close())
        with lock_folder(tmp_path):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_server_does_not_wait_for_ever_for_what_a_dead_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baas.app.LOCK_WAIT_SECONDS", 0.05)
    with (
        lock_of_dead(tmp_path),
        pytest.raises(FailedPrecondition, match="in use by the process 99999999"),
        lock_folder(tmp_path),
    ):
        pass


async def test_what_is_secret_is_for_the_owner_only(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path / "data"), url="http://127.0.0.1:1")
    await app.start()
    try:
        for name in ("server.json", "secret.key"):
            assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    finally:
        await app.stop()


async def test_a_failed_start_leaves_nothing_open(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    (tmp_path / "data" / "server").mkdir(parents=True)
    (tmp_path / "data" / "server" / "system.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(Exception):  # noqa: PT011 - whatever the engine says
        await create_app(settings).start()
    with lock_folder(tmp_path / "data"):
        pass


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        with capture_logs() as logs:
            allow_descriptors(make_settings(tmp_path, open_databases_max=1))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        assert logs == []
        with capture_logs() as logs:
            allow_descriptors(make_settings(tmp_path, open_databases_max=10**9))
        assert (logs[0]["limit"], logs[0]["wanted"]) == (before[1], 14 * 10**9 + 500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_the_set_up_token_is_made_until_there_is_an_administrator(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with started_app(settings) as app:
        first = app.setup_token
        assert first is not None
    async with started_app(settings) as app:
        assert app.setup_token not in (None, first)
        await app.context.accounts.admins.create("root@example.com", "difference engine")
    async with started_app(settings) as app:
        assert app.setup_token is None


async def test_data_is_found_again(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    document = "/api/v1/projects/demo/documents/a/b"
    async with started_app(settings) as app, app_client(app, app.operator_token) as client:
        await client.post("/api/v1/admin/projects", json={"id": "demo"})
        written = await client.put(document, json={"fields": {"n": 1}})
        assert written.status_code == 200
    async with started_app(settings) as app, app_client(app, app.operator_token) as client:
        assert (await client.get(document)).json()["fields"] == {"n": 1}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com"])
def test_development_mode_listens_on_loopback_only(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidArgument, match="loopback only"):
        check_settings(make_settings(tmp_path, dev=True, host=host))
    check_settings(make_settings(tmp_path, host=host))


def test_the_engine_mongodb_needs_to_know_where(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="mongodb_uri"):
        check_settings(make_settings(tmp_path, engine="mongodb"))
    uri = "mongodb://localhost/?replicaSet=rs"
    check_settings(make_settings(tmp_path, engine="mongodb", mongodb_uri=uri))


@pytest.mark.parametrize("objects", ["", "s3", "s3://", "s3:///", "ftp://x", "/data/objects"])
def test_objects_are_kept_somewhere_that_exists(tmp_path: Path, objects: str) -> None:
    with pytest.raises(InvalidArgument, match="objects"):
        check_settings(make_settings(tmp_path, objects=objects))
    check_settings(make_settings(tmp_path, objects="s3://bucket/prefix"))


async def test_data_of_another_secret_is_not_served(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with started_app(settings):
        node = (settings.data / "node").read_text()
    async with started_app(settings):
        assert (settings.data / "node").read_text() == node
    (settings.data / "secret.key").unlink()
    with pytest.raises(FailedPrecondition) as caught:
        await create_app(settings).start()
    assert caught.value.reason == "SecretKeyMismatch"


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with contextlib.closing(bind(make_settings(tmp_path, port=0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FailedPrecondition, match=str(port)):
            bind(make_settings(tmp_path, port=port))


# The real server, in a process of its own


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "data", "--server", request.param) as running:
        yield running


def _admin(server: RunningServer) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"authorization": f"Bearer {server.token}"}, timeout=30
    )


@pytest.mark.slow
def test_both_servers_serve_and_leave_nothing(server: RunningServer) -> None:
    with _admin(server) as client:
        assert client.post("/api/v1/admin/projects", json={"id": "demo"}).status_code == 201
        document = "/api/v1/projects/demo/documents/a/b"
        assert client.put(document, json={"fields": {"n": 1}}).status_code == 200
        assert client.get(document).json()["fields"] == {"n": 1}
        assert client.get("/api/v1/projects/demo/documents/a/%ff").status_code == 400
        assert client.get("/api/v1/projects/demo/documents/a/b%2Fc").status_code == 400
        created = client.post(
            "/api/v1/projects/demo/documents/a", params={"id": "é b"}, json={"fields": {}}
        )
        assert created.json()["path"] == "a/é b"
        assert client.get("/api/v1/projects/demo/documents/a/é%20b").status_code == 200
        too_large = client.put(document, content=b"x" * (10 * 1024 * 1024 + 1))
        assert too_large.status_code == 413
        lines = client.post(
            "/api/v1/projects/demo/documents:query",
            json={"query": {"collection": "a"}},
            headers={"accept": "application/x-ndjson"},
        )
        assert len(lines.text.splitlines()) == 3
    assert server.terminate() == 0
    assert not (server.data / "server.json").exists()
    with lock_folder(server.data):
        pass


@pytest.mark.slow
def test_a_listener_is_told_before_the_server_ends(server: RunningServer) -> None:
    with _admin(server) as client:
        client.post("/api/v1/admin/projects", json={"id": "demo"})
    url = server.url.replace("http", "ws") + "/api/v1/projects/demo/documents:listen"
    with connect(url, open_timeout=PATIENCE_SECONDS) as listener:
        listener.send(orjson.dumps({"type": "hello", "token": server.token}).decode())
        assert orjson.loads(listener.recv(timeout=PATIENCE_SECONDS))["type"] == "welcome"
        query = {"collection": "a"}
        listener.send(orjson.dumps({"type": "listen", "target": 1, "query": query}).decode())
        server.process.send_signal(signal.SIGTERM)
        # Iterating ends when the server closes in order, and raises when the connection is cut.
        told: list[dict[str, Any]] = []
        with contextlib.suppress(ConnectionClosed):
            told.extend(orjson.loads(message) for message in listener)
        assert told[-1]["type"] == "error"
        assert told[-1]["error"]["code"] == "UNAVAILABLE"
    assert server.process.wait(timeout=30) == 0


@pytest.mark.slow
def test_an_open_request_is_finished_and_its_write_is_kept(server: RunningServer) -> None:
    with _admin(server) as client:
        client.post("/api/v1/admin/projects", json={"id": "demo"})
        signalled = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield b'{"fields":'
            server.process.send_signal(signal.SIGTERM)
            # The server has been told once it takes nobody new.
            host, port = server.url.removeprefix("http://").split(":")
            while True:
                try:
                    socket.create_connection((host, int(port)), timeout=5).close()
                except OSError:
                    break
            signalled.set()
            yield b'{"n":1}}'

        answer = client.put("/api/v1/projects/demo/documents/a/b", content=slowly())
        assert signalled.is_set()
        assert answer.status_code == 200
    assert server.process.wait(timeout=30) == 0
    with running_server(server.data) as again, _admin(again) as client:
        found = client.get("/api/v1/projects/demo/documents/a/b")
        assert found.json()["fields"] == {"n": 1}


@pytest.mark.slow
def test_a_second_server_on_the_same_data_says_who_has_it(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        second = subprocess.run(
            [sys.executable, "-m", "baas", "serve", "--data", str(server.data), "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode != 0
        assert f"in use by the process {server.process.pid}" in second.stdout + second.stderr
        assert "Traceback" not in second.stderr
        with _admin(server) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)


@pytest.mark.slow
def test_production_does_not_start_on_open_rules_unless_they_are_named(tmp_path: Path) -> None:
    rules = (
        "rules_version = '2'; service cloud.firestore { match /databases/{d}/documents {"
        " match /all/{id} { allow read, write; } } }"
    )
    with running_server(tmp_path / "data") as server, _admin(server) as client:
        assert client.post("/api/v1/admin/projects", json={"id": "wide"}).status_code == 201
        body = {"source": rules, "allow_open": True}
        assert client.put("/api/v1/admin/projects/wide/rules", json=body).status_code == 200
    command = [sys.executable, "-m", "baas", "serve", "--data", str(tmp_path / "data")]
    refused = subprocess.run(
        [*command, "--port", "0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode != 0
    assert "OpenRulesInForce" in refused.stderr
    assert "/databases/{d}/documents/all/{id}" in refused.stderr
    assert "Traceback" not in refused.stderr
    with running_server(tmp_path / "data", "--open-rules", "wide"):
        pass
    with running_server(tmp_path / "data", "--dev"):
        pass
