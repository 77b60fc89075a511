"""Requests whose header lines are known: they are what the parser would have made of them, and
nothing is taken for known that the parser may read otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from baas.http import heads
from baas.http.heads import KnownHeads
from baas.http.protocol import HEAD_BYTES_MAX, BoundedHttpProtocol
from tests.baas.http.test_connection import Connection

LINES = b"Host: x\r\nContent-Length: 2\r\nX-Note: a: b"
POST = b"POST /a?b=c HTTP/1.1\r\n" + LINES + b"\r\n\r\nhi"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> KnownHeads:
    known = KnownHeads()
    monkeypatch.setattr(BoundedHttpProtocol, "_known", known)
    return known


class Counted(Connection):
    """Counts what its parser is given."""

    def __init__(self) -> None:
        super().__init__(handle=self._note)
        self.parsed = 0
        self.seen: list[tuple[Any, ...]] = []
        parser = self.protocol.parser

        class Parser:
            def feed_data(_, data: bytes) -> None:
                self.parsed += 1
                parser.feed_data(data)

            def __getattr__(_, name: str) -> Any:
                return getattr(parser, name)

        self.protocol.parser = Parser()  # type: ignore[assignment]

    async def _note(self, exchange: Any) -> None:
        body = exchange.take_body()
        self.seen.append(
            (
                exchange.method,
                exchange.path,
                exchange.raw_path,
                exchange.query_string,
                list(exchange.head.lines),
                exchange.head.fields,
                exchange.keep_alive,
                exchange.http_version,
                body,
            )
        )


async def know(data: bytes) -> None:
    """Makes the lines known, as far as they may be: at the second time."""
    for _ in range(2):
        await Connection().feed(data)


async def test_known_lines_are_not_parsed_and_tell_the_same() -> None:
    connection = Counted()
    for _ in range(4):
        await connection.feed(POST)
    assert connection.parsed == 2  # once to be seen, once to be learnt
    assert len(connection.seen) == 4
    assert all(seen == connection.seen[0] for seen in connection.seen)
    assert connection.seen[0][:4] == ("POST", "/a", b"/a", b"b=c")
    assert connection.seen[0][-1] == b"hi"
    written = connection.transport.written
    assert len(written) == 4
    assert set(written) == {written[0]}


async def test_lines_are_known_to_all_connections_and_under_other_first_lines() -> None:
    await know(POST)
    connection = Counted()
    await connection.feed(b"PATCH /a%20b HTTP/1.1\r\n" + LINES + b"\r\n\r\nho")
    assert connection.parsed == 0
    ((method, path, raw_path, *_, body),) = connection.seen
    assert (method, path, raw_path, body) == ("PATCH", "/a b", b"/a%20b", b"ho")


@pytest.mark.parametrize(
    "data",
    [
        POST[:-1],  # the body is not whole
        POST + b"x",  # more than the lines say
        POST + POST,  # two requests
        b"\r\n" + POST,
        POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        POST.replace(b"HTTP/1.1", b"HTTP/1.1 "),
        POST.replace(b"POST ", b"POST  "),
        POST.replace(b"POST", b"HEAD"),
        POST.replace(b"POST", b"CONNECT"),
        POST.replace(b"POST", b"post"),
        POST.replace(b"/a?b=c", b"http://y/a"),
        POST.replace(b"/a?b=c", b"//y/a"),
        POST.replace(b"/a?b=c", b"/a#b"),
        POST.replace(b"/a?b=c", b"/a\xff"),
        POST.replace(b"/a?b=c", b"/a\tb"),
        POST.replace(b"Host", b"Hos"),
        POST.replace(b"a: b", b"a: c"),
        POST.replace(b"\r\nX-Note", b"\nX-Note"),
        POST.replace(b"X-Note: a: b", b"Content-Length: 2"),
        POST.replace(b"X-Note: a: b", b"Transfer-Encoding: chunked"),
    ],
)
async def test_what_differs_in_anything_is_for_the_parser(data: bytes) -> None:
    await know(POST)
    connection = Counted()
    await connection.feed(data)
    await connection.settle()
    assert connection.parsed == 1
    plain = Connection()
    plain.protocol._known = KnownHeads()
    await plain.feed(data)
    await plain.settle()
    assert plain.transport.written == connection.transport.written
    assert plain.transport.closed == connection.transport.closed


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: x\r\nConnection: close",
        b"Host: x\r\nConnection: keep-alive, x",
        b"Host: x\r\nProxy-Connection: close",
        b"Host: x\r\nTransfer-Encoding: chunked",
        b"Host: x\r\nExpect: 100-continue",
        b"Host: x\r\nUpgrade: h2c",
        b"Host:x",
        b"Host:  x",
        b"Host: x\r\nLong: " + b"y" * heads.LINES_BYTES_MAX,
    ],
)
async def test_unusual_lines_are_never_known(fresh: KnownHeads, lines: bytes) -> None:
    for _ in range(3):
        connection = Connection()
        await connection.feed(b"GET /a HTTP/1.1\r\n" + lines + b"\r\n\r\n")
    assert fresh._known == {}


async def test_keep_alive_is_usual(fresh: KnownHeads) -> None:
    await know(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n")
    assert len(fresh._known) == 1


async def test_what_is_remembered_is_bounded(
    fresh: KnownHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "KNOWN_MAX", 3)
    monkeypatch.setattr(heads, "SEEN_MAX", 4)
    for number in range(10):
        await know(b"GET /a HTTP/1.1\r\nHost: %d\r\n\r\n" % number)
        assert 1 <= len(fresh._known) <= 3
        assert len(fresh._seen) <= 4


async def test_a_head_in_parts_is_not_taken_for_whole_however_long_its_body() -> None:
    """Its length less three was what the lines say, and the rest was read as another request."""
    lines = b"Host: x\r\nContent-Length: 60"
    await know(b"POST /a HTTP/1.1\r\n" + lines + b"\r\n\r\n" + b"-" * 60)
    first = b"POST /" + b"a" * (63 - 17 - len(lines) - 1) + b" HTTP/1.1\r\n" + lines + b"\r"
    assert len(first) == 63
    connection = Counted()
    await connection.feed(first)
    assert not connection.transport.written
    await connection.feed(b"\n\r\n" + b"-" * 60)
    await connection.settle()
    (seen,) = connection.seen
    assert seen[0] == "POST"
    assert connection.parsed == 2


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX - 100, HEAD_BYTES_MAX + 1])
async def test_known_lines_do_not_lift_the_bound_on_a_head(size: int) -> None:
    await know(POST)
    connection = Connection()
    await connection.feed(POST.replace(b"/a?b=c", b"/" + b"a" * size))
    await connection.settle()
    is_refused = connection.transport.written[0].startswith(b"HTTP/1.1 431 ")
    assert is_refused == (size > HEAD_BYTES_MAX)


async def test_a_known_request_behind_one_that_waits_takes_its_turn() -> None:
    await know(POST)
    connection = Counted()
    await connection.feed(POST[:-1])
    await connection.feed(POST[-1:])
    await connection.feed(POST)
    await connection.settle()
    assert [seen[-1] for seen in connection.seen] == [None, b"hi"]  # the first came in parts
    assert connection.parsed == 2
    assert connection.transport.written[0] == connection.transport.written[1]


async def test_a_known_request_ends_the_waiting_for_a_head() -> None:
    await know(POST)
    connection = Connection()
    assert connection.protocol._head_timer
    await connection.feed(POST)
    assert not connection.protocol._head_timer
    connection.transport.close()
    await connection.feed(POST)
    assert len(connection.exchanges) == 1
