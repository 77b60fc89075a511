"""Our own way over uvicorn's HTTP protocol: it hands a whole request over at once and takes a whole
answer back (see `exchange`), and it has bounds that uvicorn lacks, on the size of a request's head
and on the time that a client may take for one.

Without the bounds a client that sends headers without end fills the memory, and one that sends half
a head, or nothing at all, holds its connection for ever.

A request that has arrived whole, with nothing before it that waits for its answer, is begun where
its last byte is read. Most reads are answered right there, most writes when their commit is
durable; what has to wait more often goes on in a task. Everything else is a task from the
beginning. Where an answer goes out in parts, uvicorn's cycle of request and response sends them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from typing import Any, ClassVar, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from baas.begun import Begun
from baas.buckets.blobs import Receiver, Sender
from baas.http.exchange import Asgi, Exchange
from baas.http.heads import REQUEST_BYTES_MAX, Head, Header, KnownHeads, KnownRequest

HEAD_BYTES_MAX = 32 * 1024  # request line and headers; the largest token is 8 KiB
HEAD_SECONDS = 20.0
STALL_SECONDS = 60.0
PROMPT_REQUESTS_MAX = 16  # begun at once of those that came together; then others get their turn
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 34\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"The head of the request is too big"
)
_MALFORMED = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"Invalid HTTP request received."
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 21\r\n"
    b"connection: close\r\n"
    b"\r\n"
    b"Internal Server Error"
)


class Application(Protocol):
    """What this protocol serves."""

    def answer(self, exchange: Exchange, /) -> Coroutine[Any, Any, None]:
        """Answers one request. Is begun outside of a task, and goes on in one at the latest when it
        suspends for the second time, or at the first for nothing, as `asyncio.sleep(0)` does."""
        ...


class _TimedHttpProtocol(HttpToolsProtocol):
    """What a client may take its time for, and how long."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stall_timer()

    def _watch_stall(self) -> None:
        """What is not sent is held in memory, even while the connection is closing."""
        left = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._end_stall, left)

    def _end_stall(self, left_before: int) -> None:
        if self.transport.get_write_buffer_size() < left_before:
            self._watch_stall()
        else:
            self.transport.abort()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        self._head_timer = None
        self.transport.close()


class BoundedHttpProtocol(_TimedHttpProtocol):
    """One connection. Requests are answered one after the other, in the order they came.

    A head that is too large is answered with 431; a client that takes longer than HEAD_SECONDS for
    a head, or for a body that nobody reads any more, is cut off, and so is one that takes nothing
    of a large answer within STALL_SECONDS, though it were closing. Trailers are not looked at: what
    is in front of the server has not, either.
    """

    cycle: HttpExchange | None  # type: ignore[assignment]  # in hand, or the last one that was
    _receiving: HttpExchange | None = None  # its body is not whole yet
    _chunk_bytes = 0
    _is_in_head = False
    _unparsed = 0  # bytes of a body that are still to come, of which the parser is not told
    # Of an incomplete head, without what came together with an earlier request; or without any byte
    # of a body that is to come, as trailers are.
    _head_bytes = 0
    _is_refused = False  # what comes is not read any more
    _upgrade_waits = False  # for the answers to the requests before it
    _idle_since = 0.0
    address: str | None = None
    _known = KnownHeads()  # of all connections
    _ended = 0  # requests, of the bytes that were received last
    _prompt_requests = 0  # begun at once, of the bytes that were received last

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._answer = cast(Application, config.app).answer

    # The connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.address = None if self.client is None else self.client[0]
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_stall_timer()
        self._unset_keepalive_if_required()
        for waiting, _ in self.pipeline:
            waiting.disconnected = True
        self.pipeline.clear()
        self._upgrade_waits = False
        super().connection_lost(exc)
        if self.cycle is not None:
            self.cycle.give_up()
        self.cycle = self._receiving = None  # they lead back here

    def shutdown(self) -> None:
        self._upgrade_waits = False
        if self.pipeline:
            self.pipeline[0][0].keep_alive = False  # the one that came last
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self._upgrade_waits:
            self.flow.pause_reading()
            return
        if self._unparsed:
            data = self._take_unparsed(data)
            if not data:
                return
        is_between = self._receiving is None and not self._is_in_head
        is_small = len(data) <= REQUEST_BYTES_MAX
        if is_between and is_small and (self.cycle is None or self.cycle.response_complete):
            known = self._known.split(data)
            if known is not None:
                self._begin_known(known)
                return
        self._chunk_bytes = len(data)
        self._prompt_requests = self._ended = 0
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
            is_one = self._ended == 1 and not self._is_in_head and self._receiving is None
            if is_between and is_small and is_one:
                self._known.learn(data, self.headers)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(_MALFORMED)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._upgrade()
            else:
                self._unsupported_upgrade_warning()
        if self._is_in_head:
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
            else:
                self._start_timer()
        elif (receiving := self._receiving) is not None:
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
            elif receiving.response_complete:
                self._start_timer()
            elif receiving is self.cycle and not receiving.is_begun:
                self._begin_in_task(receiving)

    def _upgrade(self) -> None:
        """Requests before it have their answers first, and nothing behind it is read as HTTP."""
        self._unset_keepalive_if_required()
        if self.cycle is None or self.cycle.response_complete:
            self._hand_over()
        elif not self.transport.is_closing():
            self._upgrade_waits = True
            self.flow.pause_reading()

    def _hand_over(self) -> None:
        self._stop_stall_timer()
        self.handle_websocket_upgrade()

    def _begin_known(self, known: KnownRequest) -> None:
        """What the parser's news would come to, of a request that it need not see."""
        if self._head_timer is not None:
            self._stop_timer()
        if self.transport.is_closing():
            return
        method, url, head, body = known
        exchange = self.cycle = HttpExchange(self, method, url, head)
        exchange.body = body
        exchange.more_body = False
        self._begin(exchange)

    # The parser's news ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        # Only what came in many bytes can be too large, so most heads are not measured.
        if self._head_bytes > HEAD_BYTES_MAX or self._chunk_bytes > HEAD_BYTES_MAX:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
                raise ValueError("the head is too large")
        self._is_in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        parser = self.parser
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade() and self._should_upgrade():
            self.scope = {"method": method, "headers": self.headers}  # type: ignore[typeddict-item]
            return
        if self.transport.is_closing():
            return  # what follows a `Connection: close`, or a request that was refused
        http_version: str = parser.get_http_version()
        exchange = HttpExchange(self, method, self.url, Head(self.headers))
        if http_version == "1.0" or not parser.should_keep_alive():
            exchange.keep_alive = False
        exchange.http_version = http_version
        exchange.waiting_for_100_continue = self.expect_100_continue
        self._receiving = exchange
        if self.cycle is None or self.cycle.response_complete:
            self.cycle = exchange
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        exchange = self._receiving
        if exchange is not None and not exchange.response_complete:
            exchange.add_body(body)

    def on_message_complete(self) -> None:
        if self._head_timer is not None:
            self._stop_timer()
        self._ended += 1
        exchange, self._receiving = self._receiving, None
        if exchange is None or exchange.response_complete:
            return
        exchange.more_body = False
        if exchange.is_begun:
            exchange.message_event.set()
        elif exchange is self.cycle:
            self._prompt_requests += 1
            if self._prompt_requests <= PROMPT_REQUESTS_MAX:
                self._begin(exchange)
            else:
                self._begin_in_task(exchange)

    # Bodies that the parser does not see ----------------------------------------------------------

    def part_from_parser(self, size: int) -> None:
        """The next `size` bytes are the rest of a body; those behind them are told to a parser that
        is as new."""
        self._unparsed = size
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def note_taken(self, left: int) -> None:
        """All but so many of these bytes were taken out of the socket by somebody else."""
        self._unparsed = left
        if not left:
            self.on_message_complete()

    def _take_unparsed(self, data: bytes) -> bytes:
        """What is behind the body."""
        body, rest = data[: self._unparsed], data[self._unparsed :]
        self._unparsed -= len(body)
        self.on_body(body)
        if not self._unparsed:
            self.on_message_complete()
        return rest

    # Answering ------------------------------------------------------------------------------------

    def _begin(self, exchange: HttpExchange) -> None:
        exchange.is_begun = True
        self._step(exchange, self._answer(exchange))

    def _step(
        self,
        exchange: HttpExchange,
        answering: Coroutine[Any, Any, None],
        waited_for: asyncio.Future[Any] | None = None,
    ) -> None:
        """A step outside of a task: the first, and if it waits for one thing, as a commit does, the
        second. Whoever waits more often gets a task."""
        exchange.waits_for = None
        try:
            waits_for = answering.send(None)
        except StopIteration:
            if not (exchange.response_complete or exchange.disconnected):
                self._fail(exchange, None)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(exchange, error)
        else:
            if waited_for is None and isinstance(waits_for, asyncio.Future):
                # As a task does with what its coroutine waits for.
                waits_for._asyncio_future_blocking = False
                exchange.waits_for = waits_for
                waits_for.add_done_callback(partial(self._step, exchange, answering))
            else:
                self._add_task(exchange, Begun(answering, waits_for))

    def _begin_in_task(self, exchange: HttpExchange) -> None:
        exchange.is_begun = True
        self._add_task(exchange, self._answer(exchange))

    def _add_task(self, exchange: HttpExchange, answering: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(answering)
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._note_end(exchange, task))
        exchange.waits_for = task
        if exchange.disconnected:
            exchange.give_up()

    def _note_end(self, exchange: HttpExchange, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        exchange.waits_for = None
        error = None if task.cancelled() else task.exception()
        if error is not None or not (exchange.response_complete or exchange.disconnected):
            self._fail(exchange, error)

    def _fail(self, exchange: HttpExchange, error: BaseException | None) -> None:
        """A defect, or an answer that was given up: nobody may take what has gone out for whole."""
        if exchange.is_given_up:
            return
        self.logger.error("a request was not answered", exc_info=error)
        if not exchange.response_started and not exchange.disconnected:
            self.transport.write(_FAILED)
        self.transport.close()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self.cycle = cast(HttpExchange, self.pipeline.pop()[0])
            self._begin_in_task(self.cycle)
            return
        if self._upgrade_waits:
            self._upgrade_waits = False
            self._hand_over()
            return
        if self._receiving is not None:
            self._start_timer()  # for the rest of a body that nobody reads
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._watch_idle(self.timeout_keep_alive)

    def _watch_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """One timer serves many requests: to set one for each costs more than to look again."""
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        is_busy = self._is_in_head or self._receiving is not None
        if is_busy or (self.cycle is not None and not self.cycle.response_complete):
            self._watch_idle(self.timeout_keep_alive)
        elif left > 0:
            self._watch_idle(left)
        elif not self.transport.is_closing():
            self.transport.close()

    # Bounds ---------------------------------------------------------------------------------------

    def _refuse(self, answer: bytes) -> None:
        """What has come last is not read on. Requests before it have their answers first: a client
        would take the refusal for one of them."""
        if self._is_refused:
            return
        self._is_refused = True
        self._is_in_head = False
        self._stop_timer()
        unread, self._receiving = self._receiving, None
        cycle = self.cycle
        if cycle is not None and cycle is not unread and not cycle.response_complete:
            if unread is not None:
                self.pipeline.popleft()  # the one that came last
            self.flow.pause_reading()
            self.shutdown()
            return
        if not (self.transport.is_closing() or (unread is not None and unread.response_started)):
            self.transport.write(answer)
        self.transport.close()


class _NoEvent:
    """Nobody waits."""

    def set(self) -> None:
        pass


class HttpExchange(RequestResponseCycle):
    """See `exchange`. It is uvicorn's cycle, of which it makes only as much as is needed: the rest
    if an answer goes out in parts, or a body comes in parts.

    It leads to its connection, and the connection to it until the next request: once the answer is
    out the way there is cut, or every request would be left to the cyclic collector.
    """

    # Uvicorn's `__init__` sets them anew on every request.
    disconnected = False
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    access_log = False
    body: bytes | bytearray = b""  # type: ignore[assignment]
    more_body = True
    # The real one is made when somebody receives the body in parts.
    message_event: asyncio.Event | _NoEvent = _NoEvent()  # type: ignore[assignment]
    scope: HTTPScope | None = None  # type: ignore[assignment]
    is_begun = False
    waits_for: asyncio.Future[Any] | None = None  # the task that answers, or what to wait for first
    is_given_up = False
    _ends_with_client = False
    _ready: asyncio.Future[None] | None = None  # what waits for the socket
    _received = 0  # bytes of the body

    http_version = "1.1"
    keep_alive = True
    waiting_for_100_continue = False
    _protocol: BoundedHttpProtocol | None
    _encoded_defaults: ClassVar[tuple[list[Header], bytes]] = ([], b"")

    def __init__(self, protocol: BoundedHttpProtocol, method: str, url: bytes, head: Head) -> None:
        self.method = method
        self.raw_path, self.query_string = _split_url(url)
        path = self.raw_path.decode("ascii")
        self.path = unquote(path) if "%" in path else path
        self.head = head
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.default_headers = protocol.server_state.default_headers
        self.address = protocol.address
        self._protocol = protocol

    def add_body(self, part: bytes) -> None:
        self._received += len(part)
        if not self.body:
            self.body = part  # the whole of it, mostly
        else:
            if type(self.body) is bytes:
                self.body = bytearray(self.body)
            self.body += part
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        if self.scope is not None:
            self.message_event.set()

    @property
    def is_gone(self) -> bool:
        return self.disconnected

    def end_with_client(self) -> None:
        self._ends_with_client = True
        if self.disconnected:
            self.give_up()

    def give_up(self) -> None:
        """The client is gone: ends a read, once, so that it can tidy up."""
        self._note_ready()
        if self._ends_with_client and not self.is_given_up and self.waits_for is not None:
            self.is_given_up = True
            self.waits_for.cancel()

    def interrupt(self) -> None:
        if self.waits_for is not None:
            self.waits_for.cancel()

    def take_body(self) -> bytes | None:
        if self.more_body or self.disconnected or self.response_complete:
            return None
        if self.flow.read_paused:
            self.flow.resume_reading()
        body, self.body = self.body, b""
        return bytes(body)

    def hold_body(self, minimum: int) -> tuple[bytes, int] | None:
        fields = self.head.fields
        size = int(fields.get(b"content-length", b"0"))
        left = size - self._received
        if size < minimum or not self.more_body or left <= 0 or b"transfer-encoding" in fields:
            return None
        if self.disconnected or self.response_complete or self._find_socket() is None:
            return None
        self.flow.pause_reading()
        arrived, self.body = self.body, b""
        return bytes(arrived), left

    async def receive_into(self, receiver: Receiver, *, stall_seconds: float) -> None:
        found, protocol = self._find_socket(), self._protocol
        if found is None or protocol is None or self.disconnected:
            receiver.close()
            raise ConnectionResetError
        if self.waiting_for_100_continue:
            self.transport.write(_CONTINUE)
            self.waiting_for_100_continue = False
        protocol.part_from_parser(receiver.left)
        connection = socket.fromfd(found.fileno(), found.family, found.type)
        receiver.begin(connection)
        try:
            while await receiver.receive():
                await self._wait_ready(connection, stall_seconds, is_reading=True)
                if self.disconnected:
                    raise ConnectionResetError
        except (ConnectionError, asyncio.CancelledError):
            self.transport.abort()
            raise
        finally:
            protocol.note_taken(receiver.left)
            receiver.close()

    def send_whole(self, status: int, head: bytes, body: bytes) -> bool:
        if self.flow.write_paused or self.disconnected or self.response_started:
            return False
        self.response_started = True
        self.waiting_for_100_continue = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(
            b"%b%b%b%b%b" % (STATUS_LINE[status], self._encode_defaults(), head, end, body)
        )
        self._end_response()
        return True

    async def send_file(self, status: int, head: bytes, sender: Sender) -> bool:
        connection = self._open_socket()
        if connection is None:
            sender.close()
            return False
        self.response_started = True
        self.waiting_for_100_continue = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        lines = b"%b%b%b%b" % (STATUS_LINE[status], self._encode_defaults(), head, end)
        sender.begin(connection, lines)
        try:
            while await sender.send():
                await self._wait_ready(connection, STALL_SECONDS)
                if self.disconnected:
                    raise ConnectionResetError
        except BaseException:
            self.transport.abort()
            raise
        finally:
            sender.close()
        self._end_response()
        return True

    def _open_socket(self) -> socket.socket | None:
        """Another name for the connection's socket, for who writes to it behind the transport's
        back; None while the transport has something to write, and for what is encrypted."""
        if self.flow.write_paused or self.disconnected or self.response_started:
            return None
        found = self._find_socket()
        if found is None or self.transport.get_write_buffer_size():
            return None
        return socket.fromfd(found.fileno(), found.family, found.type)

    def _find_socket(self) -> Any:
        """The connection's socket as the transport has it; None for what is encrypted."""
        transport = self.transport
        if transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
            return None
        return transport.get_extra_info("socket")

    async def _wait_ready(
        self, connection: socket.socket, seconds: float, *, is_reading: bool = False
    ) -> None:
        """Raises TimeoutError for a client that takes or sends nothing within so many seconds."""
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        if is_reading:
            loop.add_reader(connection, self._note_ready)
        else:
            loop.add_writer(connection, self._note_ready)
        try:
            async with asyncio.timeout(seconds):
                await self._ready
        finally:
            (loop.remove_reader if is_reading else loop.remove_writer)(connection)

    def _note_ready(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _end_response(self) -> None:
        self.response_complete = True
        if self.scope is not None:
            self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def on_response(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.on_response_complete()

    def as_asgi(self) -> Asgi:
        if self.scope is None:
            assert self._protocol is not None, "the answer is out"
            self.scope = self._make_scope(self._protocol)
            self.message_event = asyncio.Event()
            if self.body or not self.more_body or self.disconnected:
                self.message_event.set()
        return cast(Asgi, (self.scope, self.receive, self.send))

    def _make_scope(self, protocol: BoundedHttpProtocol) -> HTTPScope:
        return {
            "type": "http",
            "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
            "http_version": self.http_version,
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme or "http",
            "method": self.method,
            "root_path": "",
            "path": self.path,
            "raw_path": self.raw_path,
            "query_string": self.query_string,
            "headers": list(self.head.lines),
            "state": {},
        }

    def _encode_defaults(self) -> bytes:
        """The date, above all, of which uvicorn makes a new list every second."""
        defaults = self.default_headers
        known, encoded = HttpExchange._encoded_defaults
        if known is not defaults:
            encoded = b"".join([b"%b: %b\r\n" % header for header in defaults])
            HttpExchange._encoded_defaults = defaults, encoded
        return encoded


def _split_url(url: bytes) -> tuple[bytes, bytes]:
    """Path and query, both as they came."""
    if url[:1] == b"/" and b"#" not in url and url[:2] != b"//":
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
