"""One HTTP request, read strictly and within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Message

from baas.buckets.blobs import CHUNK_BYTES, Piece, Receiver
from baas.database.names import DatabaseName
from baas.errors import DeadlineExceeded, InvalidArgument, QuotaExceeded
from baas.http.exchange import Exchange, in_task
from baas.services.caller import ANONYMOUS, Caller
from baas.services.context import Context
from baas.wire.objects import invalid

STALL_SECONDS = 30.0  # without a piece of the body
BODY_SECONDS = 600.0  # for a whole body that is kept in memory
_name_database = lru_cache(maxsize=1024)(DatabaseName)
_SINGLE_HEADERS = (b"authorization", b"x-api-key", b"origin", b"host", b"content-type")
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
_NO_ROUTES: Mapping[str, Any] = MappingProxyType({})


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nobody waits for an answer."""


class Request:
    """What a handler sees of one request. `params` are the path's parts that the route names."""

    # As most requests have them, so that they need not be set.
    params: Mapping[str, str] = _NO_PARAMS
    project: str | None = None
    database = ""
    document_path = ""
    routes: Mapping[str, Any] = _NO_ROUTES
    allowed_origin: bytes | None = None
    caller: Caller = ANONYMOUS
    waits_since: float | None = None  # for the server; None: it does not, or may take its time
    is_late = False
    _takes_time = False

    def __init__(self, context: Context, exchange: Exchange, request_id: str) -> None:
        self.context = context
        self.exchange = exchange
        self.id = request_id
        self.method = exchange.method
        self.path = exchange.path
        self.headers = exchange.head.fields
        self.origin = self.headers.get(b"origin")

    @property
    def database_name(self) -> DatabaseName:
        """The database that the path names."""
        assert self.project is not None, "the route names no project"
        return _name_database(self.project, self.database)

    @property
    def address(self) -> str | None:
        """The client's IP address, as the connection has it."""
        return self.exchange.address

    def check_headers(self) -> None:
        """Raises InvalidArgument for a header that is given twice and may not be: of two
        credentials or origins, a proxy in front might have looked at the other one."""
        if self.exchange.head.has_repeats:
            names = [name for name, _ in self.exchange.head.lines]
            for name in _SINGLE_HEADERS:
                if names.count(name) > 1:
                    raise InvalidArgument(
                        f"the header `{name.decode()}` is given twice", reason="HeaderTwice"
                    )

    def take_time(self) -> None:
        """The answer may come whenever it does."""
        self._takes_time = True
        self.waits_since = None

    def wait_anew(self) -> None:
        """The client has done its part: it waits for the server from now on."""
        if not self._takes_time:
            self.waits_since = self.context.clock.monotonic_seconds()

    def has_waited_too_long(self) -> bool:
        if self.waits_since is None:
            return False
        waited = self.context.clock.monotonic_seconds() - self.waits_since
        return waited > self.context.settings.limits.request_seconds_max

    async def read_body(self) -> bytes:
        """The whole body. Raises QuotaExceeded (413) past the limit, declared or not."""
        maximum = self.context.settings.limits.request_bytes_max
        self._check_encoding()
        taken = self.exchange.take_body()
        if taken is not None:
            if len(taken) > maximum:
                raise _too_large(maximum)
            return taken
        declared = self.headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared[:18]) > maximum:
            raise _too_large(maximum)
        await in_task()
        self.waits_since = None
        body = await self._receive_body(maximum)
        self.wait_anew()
        return body

    async def _receive_body(self, maximum: int) -> bytes:
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > maximum:
                raise _too_large(maximum)
            return body
        parts = [body]
        size = len(body)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in self._rest():
                    size += len(part)
                    if size > maximum:
                        raise _too_large(maximum)
                    parts.append(part)
        except TimeoutError:
            raise _too_slow() from None
        return b"".join(parts)

    async def read_json(self) -> Any:
        """The body as a JSON tree. Raises InvalidArgument with the offset of what is malformed."""
        return parse_body(await self.read_body())

    async def stream_lines(self, *, line_bytes_max: int) -> AsyncIterator[bytes]:
        """The body's lines as they arrive; the body may be of any length, a line may not."""
        self._check_encoding()
        rest = b""
        number = 0
        async for part in self._rest():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                number += 1
                yield line
            if len(rest) > line_bytes_max:
                raise QuotaExceeded(
                    f"line {number + 1} is longer than {line_bytes_max} bytes",
                    reason="RequestTooLarge",
                )
        if rest:
            yield rest

    async def stream_body(self) -> AsyncIterator[bytes]:
        """The body as it comes, of any length. Who does not ask for more gets no more: the client
        has to wait."""
        self._check_encoding()
        taken = self.exchange.take_body()
        if taken is not None:
            if taken:
                yield taken
            return
        await in_task()
        async for part in self._rest():
            yield part

    async def stream_pieces(self) -> AsyncIterator[Piece]:
        """The same, for who can take bytes out of the connection: what is still to come of a large
        body is one piece, the last."""
        self._check_encoding()
        held = self.exchange.hold_body(CHUNK_BYTES)
        if held is None:
            async for part in self.stream_body():
                yield part
            return
        await in_task()
        arrived, size = held
        if arrived:
            yield arrived
        yield _Rest(self.exchange, size, self._rest)

    def query(self, allowed: frozenset[str]) -> dict[str, str]:
        """The parameters after `?`. Raises InvalidArgument for unknown and for repeated ones."""
        text = self.exchange.query_string
        if not text:
            return {}
        try:
            pairs = parse_qsl(
                text.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=20,
            )
        except ValueError as error:
            raise InvalidArgument(
                "the part of the address after `?` is malformed", reason="InvalidParameter"
            ) from error
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in allowed:
                known = ", ".join(f"`{word}`" for word in sorted(allowed)) or "none"
                raise InvalidArgument(
                    f"parameter `{name[:80]}` is not known here; known are {known}",
                    reason="UnknownParameter",
                    details={"parameter": name[:80]},
                )
            if name in found:
                raise InvalidArgument(
                    f"parameter `{name}` is given twice",
                    reason="InvalidParameter",
                    details={"parameter": name},
                )
            found[name] = value
        return found

    def accepts(self, media_type: bytes) -> bool:
        """Whether the client asks for this media type by name."""
        return media_type in self.headers.get(b"accept", b"")

    async def _rest(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            part = message.get("body", b"")
            if part:
                yield part
            if not message.get("more_body", False):
                return

    async def _receive(self) -> Message:
        """The next piece. Raises DeadlineExceeded if none comes: a client that stops halfway would
        hold its request, and what that has gathered, for ever."""
        _, receive, _ = self.exchange.as_asgi()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                message = await receive()
        except TimeoutError:
            raise _too_slow() from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def _check_encoding(self) -> None:
        encoding = self.headers.get(b"content-encoding")
        if encoding is not None and encoding != b"identity":
            raise InvalidArgument(
                "a compressed body is not accepted; send it without Content-Encoding",
                reason="UnsupportedMediaType",
            )


class _Rest:
    """An Inflow: what is still to come of a body."""

    def __init__(
        self, exchange: Exchange, size: int, chunks: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        self.size = size
        self.chunks = chunks
        self._exchange = exchange

    async def pour(self, receiver: Receiver) -> None:
        try:
            await self._exchange.receive_into(receiver, stall_seconds=STALL_SECONDS)
        except TimeoutError:
            raise _too_slow() from None
        except ConnectionError as error:
            raise ClientGone from error


def parse_body(body: bytes) -> Any:
    """A whole body as a JSON tree. Raises InvalidArgument, also for none at all."""
    if not body:
        raise InvalidArgument("the body is empty; a JSON object is needed", reason="EmptyBody")
    return parse_json(body)


def parse_json(body: bytes) -> Any:
    """Strict JSON: no NaN, no trailing text, valid UTF-8, bounded nesting."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(
            f"the body is not valid JSON at offset {error.pos}: {_plain(error.msg)}",
            reason="MalformedJson",
            details={"offset": error.pos, "line": error.lineno, "column": error.colno},
        ) from error


def integer_parameter(
    query: Mapping[str, str], name: str, default: int, *, minimum: int, maximum: int
) -> int:
    """A whole number from the address. Raises InvalidArgument with what would be right."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise invalid(name, f"must be a whole number from {minimum} to {maximum}")
    number = int(text)
    if not minimum <= number <= maximum:
        raise invalid(name, f"must be from {minimum} to {maximum}, not {number}")
    return number


def boolean_parameter(query: Mapping[str, str], name: str) -> bool | None:
    text = query.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise invalid(name, "must be `true` or `false`")
    return text == "true"


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _too_slow() -> DeadlineExceeded:
    return DeadlineExceeded("the body did not come in time", reason="BodyTimeout")


def _too_large(maximum: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"the body is larger than {maximum} bytes",
        reason="RequestTooLarge",
        details={"request_bytes_max": maximum},
    )
