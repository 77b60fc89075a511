"""A large object costs the server no more memory than a small one, on either store."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.baas.buckets.large import (
    BASE,
    MEGABYTE,
    Content,
    Peak,
    download_sha256,
    open_large_project,
    put,
    upload_with_kill,
)
from tests.processes import ServerProcess
from tests.s3 import S3Server

GROWTH_MAX = 40 * MEGABYTE
SIZE = 100 * MEGABYTE
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("store", ["local", "s3"])
def test_100_megabytes_are_streamed(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    flags: tuple[str, ...] = ()
    if store == "s3":
        server_s3: S3Server = request.getfixturevalue("s3_server")
        flags = ("--objects", f"{server_s3.url}/large")
    content = Content(SIZE)
    wanted = content.sha256()
    server = ServerProcess(tmp_path / "data", *flags).start()
    try:
        with closing(open_large_project(server)) as client:
            assert server.process is not None
            peak = Peak(server.process.pid)
            assert wanted == put(client, "large", content)["sha256"]
            assert peak.growth < GROWTH_MAX
            assert (wanted, SIZE) == download_sha256(client, "large")
            assert peak.growth < GROWTH_MAX
        assert wanted == upload_with_kill(server, content)["sha256"]
    finally:
        server.stop()


def test_clients_that_do_not_read_cost_no_memory(tmp_path: Path) -> None:
    """Ten clients ask for 100 MB each and take nothing in; others are served meanwhile."""
    server = ServerProcess(tmp_path / "data").start()
    sockets: list[socket.socket] = []
    try:
        with closing(open_large_project(server)) as client:
            put(client, "large", Content(SIZE))
            assert server.process is not None
            peak = Peak(server.process.pid)
            head = (
                f"GET {BASE}/objects/large HTTP/1.1\r\nhost: x\r\n"
                f"authorization: Bearer {server.operator_token}\r\n\r\n"
            ).encode()
            for _ in range(10):
                stuck = socket.create_connection(("127.0.0.1", server.port))
                sockets.append(stuck)
                stuck.sendall(head)
                assert stuck.recv(16).startswith(b"HTTP/1.1 200")
            done = threading.Thread(target=client.get, args=(f"{BASE}/objects/warm",))
            done.start()
            done.join(60)
            assert not done.is_alive()
            assert peak.growth < GROWTH_MAX
    finally:
        for stuck in sockets:
            stuck.close()
        server.stop()
