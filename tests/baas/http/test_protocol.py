"""Bodies and answers that do not go the ordinary way of ASGI, on a real server."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import httpx
import pytest

from baas.http.protocol import PROMPT_REQUESTS_MAX
from tests.processes import ServerProcess
from tests.waiting import PATIENCE_SECONDS

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


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def talk(server: ServerProcess, *pieces: bytes, until: bytes) -> bytes:
    """What the server says to these bytes, up to `until` or the end."""
    with connect(server) as connection:
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
    with connect(server) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 ")


DOCUMENTS = b"/api/v1/projects/demo/documents"


def get(path: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n"


def put(server: ServerProcess, name: str, number: int, *headers: bytes) -> bytes:
    body = b'{"fields":{"n":%d}}' % number
    lines = b"".join(header + b"\r\n" for header in headers)
    return (
        b"PUT " + DOCUMENTS + b"/numbers/" + name.encode() + b" HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/json\r\n"
        b"authorization: Bearer " + server.operator_token.encode() + b"\r\n" + lines + b""
        b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


def read(server: ServerProcess, name: str, *headers: bytes) -> bytes:
    token = b"authorization: Bearer " + server.operator_token.encode()
    return get(DOCUMENTS + b"/numbers/" + name.encode(), token, *headers)


def split_answers(said: bytes) -> list[tuple[bytes, bytes]]:
    """Status and body of each, by their declared lengths."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        (length,) = [int(line[16:]) for line in lines if line.startswith(b"content-length: ")]
        found.append((lines[0].split(b" ")[1], rest[:length]))
        said = rest[length:]
    return found


CLOSE = b"connection: close"


@pytest.mark.parametrize("is_split", [False, True])
def test_what_is_read_after_a_write_in_one_packet_is_what_was_written(
    server: ServerProcess, is_split: bool
) -> None:
    """Writes wait for the disk, reads do not: those that come behind wait for their turn."""
    requests = b""
    for number in range(1, 25):
        requests += put(server, "behind", number) + read(server, "behind")
    requests += read(server, "missing", CLOSE)
    pieces = [requests[start : start + 997] for start in range(0, len(requests), 997)]
    said = talk(server, *(pieces if is_split else [requests]), until=b"never")
    answers = split_answers(said)
    assert [status for status, _ in answers] == [b"200"] * 48 + [b"404"]
    for number, (_, body) in enumerate(answers[1:48:2], 1):
        assert b'"fields":{"n":%d}' % number in body


def test_more_requests_in_one_packet_than_are_begun_at_once(server: ServerProcess) -> None:
    talk(server, put(server, "many", 7, CLOSE), until=b"never")
    many = PROMPT_REQUESTS_MAX * 4
    requests = b"".join(read(server, "many") for _ in range(many)) + read(server, "many", CLOSE)
    answers = split_answers(talk(server, requests, until=b"never"))
    assert len(answers) == many + 1
    assert all(status == b"200" and b'{"n":7}' in body for status, body in answers)


def test_what_follows_a_close_is_not_done(server: ServerProcess) -> None:
    talk(server, put(server, "kept", 1, CLOSE), until=b"never")
    for last in (read(server, "kept", CLOSE), put(server, "kept", 2, CLOSE)):
        said = talk(server, last + put(server, "kept", 3) + put(server, "new", 3), until=b"never")
        assert [status for status, _ in split_answers(said)] == [b"200"]
    said = talk(server, read(server, "kept") + read(server, "new", CLOSE), until=b"never")
    (first, second) = split_answers(said)
    assert b'"fields":{"n":2}' in first[1]
    assert second[0] == b"404"


def test_http_1_0_is_answered_and_closed(server: ServerProcess) -> None:
    said = talk(server, b"GET /healthz HTTP/1.0\r\n\r\n", until=b"never")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in said


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_client_that_is_gone_before_its_commit_is_through(
    server: ServerProcess, pause: float
) -> None:
    """Each commit happens or does not; the server serves on, and has nothing to say about it."""
    for number in range(20):
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(put(server, f"gone{number}", number) + read(server, "kept"))
            if number == 0:
                time.sleep(pause)
    said = talk(server, put(server, "after", 1) + read(server, "after", CLOSE), until=b"never")
    assert [status for status, _ in split_answers(said)] == [b"200", b"200"]
    assert "Traceback" not in server.output()


def test_a_client_that_does_not_read_is_waited_for_and_gets_everything(
    server: ServerProcess,
) -> None:
    """Others are served meanwhile."""
    body = b'{"fields":{"text":"%b"}}' % (b"x" * 200_000)
    token = server.operator_token.encode()
    large = (
        b"PUT " + DOCUMENTS + b"/numbers/large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"authorization: Bearer " + token + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    assert talk(server, large + body, until=b"never").startswith(b"HTTP/1.1 200 ")
    with connect(server) as connection:
        connection.sendall(read(server, "large") * 60 + read(server, "large", CLOSE))
        assert httpx.get(server.url + "/healthz", timeout=PATIENCE_SECONDS).is_success
        said = bytearray()
        while piece := connection.recv(1 << 20):
            said += piece
    answers = split_answers(bytes(said))
    assert len(answers) == 61
    assert {status for status, _ in answers} == {b"200"}


def test_an_upgrade_behind_a_request_on_the_same_connection(server: ServerProcess) -> None:
    upgrade = get(
        DOCUMENTS + b":listen",
        b"connection: upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 13",
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with connect(server) as connection:
        connection.sendall(read(server, "missing"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(upgrade)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 101 ")
    # Together with requests that wait for the disk, it waits for their answers.
    with connect(server) as connection:
        connection.sendall(put(server, "before", 1) + read(server, "before") + upgrade)
        said = b""
        while b"HTTP/1.1 101 " not in said:
            got = connection.recv(65_536)
            assert got, said
            said += got
        first, switched, _ = said.partition(b"HTTP/1.1 101 ")
        assert [status for status, _ in split_answers(first)] == [b"200", b"200"]
        connection.sendall(b"\x81\x80\0\0\0\0")  # a message that is no hello
        assert b"Hello" in connection.recv(65_536) or switched
    # What ends the connection ends what waits behind it, too.
    said = talk(server, put(server, "before", 2, CLOSE) + upgrade, until=b"never")
    assert [status for status, _ in split_answers(said)] == [b"200"]
    # An upgrade to what is not offered is an ordinary request.
    said = talk(
        server, get(b"/healthz", b"connection: upgrade, close", b"upgrade: h2c"), until=b"never"
    )
    assert said.startswith(b"HTTP/1.1 200 ")
