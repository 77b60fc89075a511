"""Objects over real sockets, on both HTTP servers."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.processes import ServerProcess, checked
from tests.waiting import PATIENCE_SECONDS, wait_until

BASE = "/api/v1/projects/demo/buckets/default/objects"
CONTENT = os.urandom(3_000_000)
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{d}/documents { match /{x=**} { allow read, write: if false; } }
}"""
pytestmark = pytest.mark.slow


@pytest.fixture(params=["uvicorn", "granian"], scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("objects") / "data"
    # Granian's worker says so itself once it serves; the pid in the file is the parent's.
    with ServerProcess(data, "--server", request.param) as made:
        made.create_project("demo", RULES)
        with made.admin() as admin:
            checked(admin.post("/projects/demo/buckets", json={"id": "default"}))
        yield made


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.operator_token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as made:
        yield made


def test_up_and_down(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(CONTENT), 70_000):
            yield CONTENT[at : at + 70_000]

    checked(client.put(f"{BASE}/a%2Fb%3Ac.bin", content=pieces()))
    assert client.get(f"{BASE}/a/b%3Ac.bin").content == CONTENT
    part = client.get(f"{BASE}/a/b%3Ac.bin", headers={"range": "bytes=1000-2999999"})
    assert (206, CONTENT[1000:]) == (part.status_code, part.content)
    head = client.head(f"{BASE}/a/b%3Ac.bin")
    assert (str(len(CONTENT)), b"") == (head.headers["content-length"], head.content)
    empty = client.put(f"{BASE}/empty", content=b"")
    assert checked(empty)["size"] == 0
    assert client.get(f"{BASE}/empty").content == b""


def test_a_client_sees_that_damaged_bytes_are_not_whole(
    server: ServerProcess, client: httpx.Client
) -> None:
    checked(client.put(f"{BASE}/damaged", content=CONTENT))
    folder = server.data / "objects" / "demo"
    # The latest of those that are as large: what is small lies elsewhere, and may change any time.
    large = [one for one in folder.rglob("*.*") if one.stat().st_size == len(CONTENT)]
    file = max(large, key=lambda one: one.stat().st_mtime_ns)
    with file.open("r+b") as out:
        out.seek(2_000_000)
        out.write(b"damage")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{BASE}/damaged")
    wait_until(lambda: "stored bytes are damaged" in server.output())
    # The server goes on.
    assert client.get("/healthz").status_code == 200


def test_a_cut_upload_leaves_no_object(server: ServerProcess, client: httpx.Client) -> None:
    head = (
        f"PUT {BASE}/cut HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n"
        f"authorization: Bearer {server.operator_token}\r\n\r\n"
    ).encode()
    partial = server.data / "objects" / ".partial"
    with connect(server) as connection:
        connection.sendall(head + b"x" * 700_000)  # more than is held in memory
        wait_until(lambda: any(partial.iterdir()))
    assert client.get(f"{BASE}/cut").status_code == 404
    wait_until(lambda: not any(partial.iterdir()), "what came of it stays")
    assert client.get(f"{BASE}/cut").status_code == 404


def test_what_follows_a_large_body_is_the_next_request(server: ServerProcess) -> None:
    token = f"authorization: Bearer {server.operator_token}\r\n"
    head = f"PUT {BASE}/followed HTTP/1.1\r\nhost: x\r\n{token}content-length: {len(CONTENT)}\r\n"
    again = f"GET {BASE}/followed HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\n\r\n"
    with connect(server) as connection, connection.makefile("rb") as file:
        connection.sendall(f"{head}expect: 100-continue\r\n\r\n".encode())
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        connection.sendall(CONTENT + again.encode())
        told = file.read()
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert told.count(hashlib.sha256(CONTENT).hexdigest().encode()) == 2
    assert told.endswith(CONTENT)


def test_a_denied_upload_is_answered_before_its_body(server: ServerProcess) -> None:
    head = f"PUT {BASE}/denied HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n".encode()
    with connect(server) as connection:
        with suppress(OSError):
            connection.sendall(head + b"x" * 1_000)
        assert b" 403 " in connection.recv(4_096)


def test_a_reader_that_leaves_is_let_go(server: ServerProcess, client: httpx.Client) -> None:
    """Its file is closed, whatever was left to send."""
    checked(client.put(f"{BASE}/left", content=CONTENT * 5))
    with client.stream("GET", f"{BASE}/left") as answer:
        next(answer.iter_bytes())
    folder = str(server.data / "objects")
    wait_until(
        lambda: not any(folder in one for one in _open_files(server)),
        "an object's file stays open",
    )


def test_answers_to_requests_that_come_at_once_keep_their_order(
    server: ServerProcess, client: httpx.Client
) -> None:
    """Large ones go into the socket by another way than small ones."""
    bodies = {"large": CONTENT, "small": b"small", "middle": CONTENT[:100_000]}
    for name, body in bodies.items():
        checked(client.put(f"{BASE}/{name}", content=body))
    names = ["small", "large", "middle", "large", "small", "missing", "middle"]
    token = f"authorization: Bearer {server.operator_token}\r\n"
    lines = [f"GET {BASE}/{name} HTTP/1.1\r\nhost: x\r\n{token}" for name in names]
    lines[-1] += "connection: close\r\n"
    with connect(server) as connection:
        connection.sendall("".join(f"{one}\r\n" for one in lines).encode())
        with connection.makefile("rb") as file:
            for name in names:
                head = []
                while line := file.readline().strip():
                    head.append(line.lower())
                length = next(int(one.split()[1]) for one in head if b"content-length" in one)
                body = file.read(length)
                assert name == "missing" or body == bodies[name]
                assert (b"404" in head[0]) == (name == "missing")
            assert file.read() == b""


def _open_files(server: ServerProcess) -> list[str]:
    assert server.process is not None
    pids = [server.process.pid]
    children = Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
    found: list[str] = []
    for pid in [*pids, *map(int, children)]:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(link))
    return found
