"""Clients that misbehave on the wire, against the real server: it neither waits for them for ever,
nor fills its memory, nor prints a traceback, and serves everybody else meanwhile."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.processes import ServerProcess
from tests.waiting import PATIENCE_SECONDS, wait_until

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /public/{id} { allow read: if true; }
  }
}
"""
LISTEN = "/api/v1/projects/demo/documents:listen"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HEAD = b"Host: localhost\r\n"
SIGN_IN = b"POST /api/v1/admin/sign-in HTTP/1.1\r\n" + HEAD
HELLO = b'{"type":"hello"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("connections")
    process = ServerProcess(folder / "data").start()
    try:
        process.create_project("demo", RULES, allow_open=True)
        yield process
        assert httpx.get(process.url + "/healthz", timeout=PATIENCE_SECONDS).is_success
    finally:
        status = process.stop()
    assert status == 0
    output = process.output()
    assert "Traceback" not in output, output[-5_000:]
    assert '"level":"error"' not in output, output[-5_000:]
    assert process.operator_token not in output


def _connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def _read(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def _exchange(server: ServerProcess, request: bytes) -> bytes:
    with _connect(server) as connection:
        # It may answer and hang up before it has all.
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(request)
        return _read(connection)


def _get(path: bytes, *headers: bytes) -> bytes:
    head = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + path + b" HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n" + head + b"\r\n"


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "bytes beyond ascii": (_get(b"/\xff\xfe"), b"400"),
    "no target": (_get(b""), b"400"),
    "broken escape": (_get(b"/api/v1/projects/demo/documents/a/%ff"), b"400"),
    "overlong dot": (_get(b"/api/v1/projects/demo/documents/a/%c0%ae"), b"400"),
    "nul": (_get(b"/%00"), b"404"),
    "dots": (_get(b"/console/../../pages.py"), b"404"),
    "escaped dots": (_get(b"/docs/%2e%2e/pages.py"), b"404"),
    "two slashes": (_get(b"//api/v1/admin/me"), b"404"),
    "upper case": (_get(b"/API/V1/admin/me"), b"404"),
    "trailing slash": (_get(b"/api/v1/admin/me/"), b"404"),
    "another host's address": (_get(b"http://evil.example/api/v1/admin/me"), b"401"),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n", b"400"),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    "length and chunks": (
        SIGN_IN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"400",
    ),
    "two lengths": (SIGN_IN + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", b"400"),
    "negative length": (SIGN_IN + b"Content-Length: -5\r\n\r\n", b"400"),
    "huge length": (SIGN_IN + b"Connection: close\r\nContent-Length: 9999999999\r\n\r\n", b"413"),
    "bad chunk": (SIGN_IN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "folded header": (_get(b"/healthz", b"X-A: a\r\n b"), b"400"),
    "space before the colon": (_get(b"/healthz", b"Authorization : x"), b"400"),
    "nul in a header": (_get(b"/healthz", b"X-A: a\x00b"), b"400"),
    "two authorizations": (
        _get(b"/api/v1/admin/me", b"Authorization: Bearer a", b"Authorization: Bearer b"),
        b"400",
    ),
    "two origins": (_get(b"/healthz", b"Origin: http://a", b"Origin: http://b"), b"400"),
    "two hosts": (_get(b"/healthz", b"Host: evil.example"), b"400"),
    "method in a header": (
        b"POST /api/v1/projects/demo/documents/public/p HTTP/1.1\r\nConnection: close\r\n"
        b"Host: localhost\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 2\r\n\r\n{}",
        b"405",
    ),
    "large head": (_get(b"/healthz", b"X-A: " + b"a" * 40_000), b"431"),
    "long address": (_get(b"/" + b"a" * 40_000), b"431"),
    "many headers": (_get(b"/healthz", *[b"X-%d: a" % number for number in range(5_000)]), b"431"),
    "websocket without a key": (
        _get(LISTEN.encode(), b"Connection: Upgrade\r\nUpgrade: websocket"),
        b"400",
    ),
    "websocket by post": (
        b"POST " + LISTEN.encode() + b" HTTP/1.1\r\n" + HEAD + UPGRADE + b"\r\n",
        b"405",
    ),
    "websocket with a body": (
        _get(LISTEN.encode(), b"Content-Length: 3\r\n" + UPGRADE[:-2]) + b"abc",
        b"400",
    ),
    "websocket with many headers": (
        _get(LISTEN.encode(), *[b"X-%d: a" % number for number in range(300)], UPGRADE[:-2]),
        b"400",
    ),
    "websocket of another origin": (
        _get(LISTEN.encode(), b"Origin: https://evil.example\r\n" + UPGRADE[:-2]),
        b"403",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_malformed_request_is_answered_and_closed(server: ServerProcess, name: str) -> None:
    request, status = REQUESTS[name]
    if name.startswith("websocket with"):
        request = request.replace(b"Connection: close\r\n", b"", 1)
    answer = _exchange(server, request)
    assert answer.split(b" ", 2)[1] == status, answer[:200]
    assert b"Traceback" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_without_end_is_cut_off(server: ServerProcess) -> None:
    with _connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        _send_without_end(connection)


def _send_without_end(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(b"a" * 65_536)
    except (ConnectionResetError, BrokenPipeError):
        pass


@pytest.mark.slow
def test_nobody_is_waited_for_for_ever(server: ServerProcess) -> None:
    """Silence, half a head, half a body, a handshake without a greeting: all at once."""
    openings = [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        SIGN_IN + b"Connection: close\r\nContent-Length: 10\r\n\r\nab",
        b"GET " + LISTEN.encode() + b" HTTP/1.1\r\n" + HEAD + UPGRADE + b"\r\n",
    ]
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in openings]
        for connection, opening in zip(connections, openings, strict=True):
            connection.sendall(opening)
        assert httpx.get(server.url + "/healthz", timeout=PATIENCE_SECONDS).is_success
        ends = [_read(connection) for connection in connections]
    assert ends[:2] == [b"", b""]
    assert ends[2].startswith(b"HTTP/1.1 408 ")
    assert b"HelloTimeout" in ends[3]


def _frame(code: int, data: bytes, *, is_last: bool = True) -> bytes:
    first = bytes([(0x80 if is_last else 0) | code])
    if len(data) < 126:
        length = bytes([0x80 | len(data)])
    else:
        length = bytes([0x80 | 127]) + struct.pack(">Q", len(data))
    return first + length + bytes(4) + data


def _say(message: object) -> bytes:
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return _frame(1, text)


def _listen(target: int, collection: str = "public") -> bytes:
    return _say({"type": "listen", "target": target, "query": {"collection": collection}})


DEEP = b'{"a":' * 100_000
FRAMES: dict[str, tuple[bytes, bytes]] = {
    "invalid utf-8": (_frame(1, b"\xff\xfe"), b"\x03\xef"),
    "no mask": (b"\x81\x02ab", b"\x03\xea"),
    "unknown code": (_frame(3, b""), b"\x03\xea"),
    "reserved bits": (b"\xff" + bytes(5), b"\x03\xea"),
    "frame of 2^62": (b"\x81\xff" + struct.pack(">Q", 2**62) + bytes(4), b"\x03\xf1"),
    "frame of 2^63": (b"\x81\xff" + struct.pack(">Q", 2**63) + bytes(4), b"\x03\xf1"),
    "continuation of nothing": (_frame(0, b"x"), b"\x03\xea"),
    "long ping": (_frame(9, b"x" * 126), b"\x03\xea"),
    "bad close": (_frame(8, b"\x00"), b"\x03\xea"),
    "giant message": (_say(b'"' + b"x" * 1_500_000 + b'"'), b"\x03\xf1"),
    "empty pieces without end": (
        _frame(1, b"", is_last=False) + _frame(0, b"", is_last=False) * 5_000,
        b"\x03\xf1",
    ),
    "binary": (_frame(2, b"{}"), b"MalformedMessage"),
    "no hello": (_say({"type": "ping"}), b"MessageOutOfTurn"),
    "hello twice": (_say(HELLO) * 2, b"MessageOutOfTurn"),
    "deep": (_say(HELLO) + _say(b'{"type":"listen","target":1,"query":' + DEEP), b"Malformed"),
    "surrogate": (_say(b'{"type":"hello","token":"\\ud800"}'), b"MalformedMessage"),
    "65k digits": (
        _say(HELLO) + _say(b'{"type":"listen","target":' + b"9" * 65_000 + b"}"),
        b"MalformedMessage",
    ),
    "made-up token": (_say({"type": "hello", "token": "e30.e30.e30"}), b"IdTokenInvalid"),
    "made-up kid": (
        _say({"type": "hello", "token": "eyJhbGciOiJFUzI1NiIsImtpZCI6WzFdfQ.e30.e30"}),
        b"IdTokenInvalid",
    ),
    "made-up operator": (_say({"type": "hello", "token": "baas_op_\u00e9"}), b"TokenInvalid"),
    "target in use": (_say(HELLO) + _listen(1) * 5_000, b"TargetInUse"),
    "pings and no reading": (
        _say(HELLO) + _say({"type": "ping"}) * 10_000,
        b"SlowReader",
    ),
}


def _handshake(server: ServerProcess) -> socket.socket:
    connection = _connect(server)
    connection.sendall(b"GET " + LISTEN.encode() + b" HTTP/1.1\r\n" + HEAD + UPGRADE + b"\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return connection


@pytest.mark.parametrize("name", FRAMES)
def test_a_misbehaving_listener_is_told_and_closed(server: ServerProcess, name: str) -> None:
    frames, last_word = FRAMES[name]
    with _handshake(server) as connection:
        # It may answer and hang up before it has all.
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(frames)
        received = b""
        with suppress(ConnectionResetError):
            while last_word not in received and (piece := connection.recv(65_536)):
                received += piece
        is_cut_off = name in ("giant message", "empty pieces without end")
        assert last_word in received or is_cut_off, received[-300:]


def test_a_listener_that_only_asks_too_much_is_refused_that(server: ServerProcess) -> None:
    with _handshake(server) as connection:
        frames = b"".join(_listen(number) for number in range(1, 202))
        denied = _listen(300, "closed") + _say({"type": "unlisten", "target": 77})
        connection.sendall(_say(HELLO) + denied + frames + _say({"type": "ping"}))
        received = b""
        wanted = (b"TooManyListeners", b"PERMISSION_DENIED", b'"pong"')
        while not all(word in received for word in wanted):
            piece = connection.recv(65_536)
            assert piece, received[-300:]
            received += piece
        assert b'"type":"error"' not in received


def test_a_storm_of_reconnects_leaves_nothing_behind(server: ServerProcess) -> None:
    """Clients that vanish at every point of the protocol."""
    openings = (b"", _say(HELLO), _say(HELLO) + _listen(1), _say(HELLO) + _listen(1) * 2)
    for number in range(200):
        with _handshake(server) as connection:
            connection.sendall(openings[number % len(openings)])
            if number % 3 == 0:
                linger = struct.pack("ii", 1, 0)  # a reset instead of a close
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wait_until(lambda: httpx.get(server.url + "/readyz", timeout=PATIENCE_SECONDS).is_success)
