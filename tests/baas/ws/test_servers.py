"""The listen protocol on real sockets, on both HTTP servers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from baas.testing import RunningServer, running_server
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
DOCUMENTS = "/api/v1/projects/demo/documents"


@pytest.fixture(params=["uvicorn", "granian"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "data", "--server", request.param) as running:
        headers = {"authorization": f"Bearer {running.token}"}
        answer = httpx.post(
            f"{running.url}/api/v1/admin/projects",
            json={"id": "demo"},
            headers=headers,
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 201, answer.text
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE_SECONDS) as client:
        yield client


def address(server: RunningServer) -> str:
    return server.url.replace("http", "ws", 1) + DOCUMENTS + ":listen"


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(orjson.dumps(message).decode())


def hear(socket: ClientConnection) -> Any:
    text = socket.recv(timeout=PATIENCE_SECONDS)
    assert isinstance(text, str)
    return orjson.loads(text)


@contextlib.contextmanager
def greeted(server: RunningServer, **options: Any) -> Iterator[ClientConnection]:
    with connect(address(server), open_timeout=PATIENCE_SECONDS, **options) as socket:
        say(socket, type="hello", token=server.token)
        assert hear(socket)["type"] == "welcome"
        yield socket


def test_a_listener_from_greeting_to_goodbye(server: RunningServer, client: httpx.Client) -> None:
    with greeted(server) as socket:
        say(socket, type="listen", target=1, query={"collection": "cities"})
        assert hear(socket) == {"type": "added", "target": 1}
        assert hear(socket)["count"] == 0
        client.put(f"{DOCUMENTS}/cities/a", json={"fields": {"n": 1}})
        assert hear(socket)["changes"][0]["document"]["fields"] == {"n": 1}
        stopping = threading.Thread(target=server.terminate)
        stopping.start()
        assert hear(socket)["error"]["reason"] == "ShuttingDown"
        with pytest.raises(ConnectionClosedError) as closed:
            hear(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4503
        stopping.join()
    assert server.process.returncode == 0


def test_what_is_wrong_closes_with_its_code(server: RunningServer) -> None:
    with greeted(server) as socket:
        socket.send("nonsense")
        assert hear(socket)["error"]["reason"] == "MalformedMessage"
        with pytest.raises(ConnectionClosedError) as closed:
            hear(socket)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4400, "MalformedMessage")


def test_pages_of_strangers_get_no_connection(server: RunningServer) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(
            address(server),
            origin=Origin("https://stranger.example"),
            open_timeout=PATIENCE_SECONDS,
        ),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_reader_that_stops_holds_nobody_up(server: RunningServer, client: httpx.Client) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    small = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    with contextlib.closing(small):
        small.connect((host, int(port)))
        _listen_beside_who_stops(server, client, small)


def _listen_beside_who_stops(
    server: RunningServer, client: httpx.Client, small: socket.socket
) -> None:
    target = {"type": "listen", "target": 1, "query": {"collection": "cities"}}
    with greeted(server, sock=small, max_queue=1) as stopped, greeted(server) as quick:
        for either in (stopped, quick):
            say(either, **target)
        hear(quick)
        hear(quick)
        for number in range(300):
            fields = {"n": number, "text": "x" * 100_000}
            client.put(f"{DOCUMENTS}/cities/a", json={"fields": fields})
            assert hear(quick)["changes"][0]["document"]["fields"]["n"] == number
        stopped.close_socket()


def test_a_killed_server_leaves_nobody_who_holds_its_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with running_server(tmp_path / "data", "--server", "granian") as running:
            running.process.kill()
