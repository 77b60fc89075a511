"""Bodies and answers that do not go the ordinary way of ASGI, on a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.processes import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("protocol") / "data")
    try:
        server.start()
        server.create_project("demo")
        yield server
    finally:
        status = server.stop()
    assert status == 0


def talk(server: ServerProcess, *pieces: bytes, until: bytes) -> bytes:
    """What the server says to these bytes, up to `until` or the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        said = b""
        while not said.endswith(until):
            got = connection.recv(65_536)
            if not got:
                break
            said += got
        return said


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    two = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    said = talk(server, one + one + two, until=b"never")
    statuses = [part.split(b" ")[1] for part in said.split(b"HTTP/1.1")[1:]]
    assert statuses == [b"200", b"200", b"404"]
    assert b"connection: close" in said.rpartition(b"HTTP/1.1")[2]


def test_an_answer_to_head_has_the_length_and_no_body(server: ServerProcess) -> None:
    said = talk(
        server, b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", until=b"-"
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-length: 15" in head
    assert body == b""


@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_a_body_is_the_same_whole_and_in_pieces(server: ServerProcess, cut: int) -> None:
    body = b'{"writes":[{"set":"cities/a","fields":{"n":1}}]}'
    head = (
        b"POST /api/v1/projects/demo/documents:commit HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/json\r\nconnection: close\r\n"
        b"authorization: Bearer " + server.operator_token.encode() + b"\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    said = talk(server, head + body[:cut], body[cut:], until=b"never")
    assert said.startswith(b"HTTP/1.1 200 "), said
    assert b'"write_results":[{' in said


def test_expect_continue_is_told_to_go_on(server: ServerProcess) -> None:
    body = b'{"writes":[]}'
    head = (
        b"POST /api/v1/projects/demo/documents:commit HTTP/1.1\r\nhost: x\r\n"
        b"expect: 100-continue\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"authorization: Bearer " + server.operator_token.encode() + b"\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 ")
