"""Header lines of requests, and which of them are known already.

A client sends the same lines again and again. To take them apart anew costs as much as the rest of
a small request, and the more the more a browser adds. So what the parser made of lines is
remembered, and a request that has come whole, with known lines, is not given to the parser at all.

Nothing is taken for known that the parser might read otherwise: lines are remembered only if they
are `Name: value` to the letter as the parser told them, if none changes how a message ends or
what becomes of the connection, and only for a first line of the plainest form and a body of exactly
the length that they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Header: TypeAlias = tuple[bytes, bytes]

KNOWN_MAX = 1_000  # heads, of all connections
SEEN_MAX = 10_000
LINES_BYTES_MAX = 2_048
HEAD_BYTES_MAX = 16 * 1024  # with a longer target, the parser's side sees whether it is too long
REQUEST_BYTES_MAX = 64 * 1024  # of a request with known lines; a larger body is worth its parsing
_END = b"\r\n\r\n"
_METHODS = {name.encode(): name for name in ("GET", "POST", "PUT", "PATCH", "DELETE")}
_TARGET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~!$&'()*+,;=:@%?"
_NOT_KNOWN = frozenset(
    {b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"proxy-connection"}
)


class Head:
    """The header lines of a request, names in lower case. Requests that sent the same share it, so
    nobody may change it. `body_bytes`: what follows, if the lines may be remembered."""

    __slots__ = ("body_bytes", "fields", "has_repeats", "lines")

    def __init__(self, lines: Sequence[Header], body_bytes: int = 0) -> None:
        self.lines = lines
        self.fields: Mapping[bytes, bytes] = dict(lines)
        self.has_repeats = len(self.fields) != len(lines)
        self.body_bytes = body_bytes


# Method, target, header lines, body.
KnownRequest: TypeAlias = tuple[str, bytes, Head, bytes]


class KnownHeads:
    """Of all connections of one server. Lines that come once only, such as credentials that are
    used up, are not kept: the second time makes them known."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._seen: set[int] = set()  # hashes of lines that came once

    def split(self, data: bytes) -> KnownRequest | None:
        """Takes apart what came if it is one whole request with known lines; None says nothing."""
        end = data.find(_END)
        if not 0 < end <= HEAD_BYTES_MAX:
            return None
        start = data.find(b"\r\n") + 2
        head = self._known.get(data[start:end])
        if head is None or len(data) - end - 4 != head.body_bytes:
            return None
        parts = data[: start - 2].split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            return None
        target = parts[1]
        method = _METHODS.get(parts[0])
        if method is None or target[:1] != b"/" or target[1:2] == b"/":
            return None
        if target.translate(None, _TARGET):
            return None
        return method, target, head, data[end + 4 :]

    def learn(self, data: bytes, lines: Sequence[Header]) -> None:
        """Remembers the lines of what came, which the parser took for one whole request."""
        end = data.find(_END)
        start = data.find(b"\r\n") + 2
        raw = data[start:end]
        if end < 0 or not 0 < len(raw) <= LINES_BYTES_MAX or raw in self._known:
            return
        number = hash(raw)
        if number not in self._seen:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen.add(number)
            return
        if not data[: start - 2].endswith(b" HTTP/1.1"):
            return
        body_bytes = _body_bytes(raw, lines)
        if body_bytes is None or len(data) - end - 4 != body_bytes:
            return
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[raw] = Head(lines, body_bytes)


def _body_bytes(raw: bytes, lines: Sequence[Header]) -> int | None:
    """How long the body is that follows these lines; None if they may not be remembered."""
    rows = raw.split(b"\r\n")
    if len(rows) != len(lines):
        return None
    length: int | None = None
    for row, (name, value) in zip(rows, lines, strict=True):
        if row[: len(name)].lower() + row[len(name) :] != b"%b: %b" % (name, value):
            return None
        if name in _NOT_KNOWN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > 8:
                return None
            length = int(value)
    return length or 0
