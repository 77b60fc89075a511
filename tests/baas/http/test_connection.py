"""One connection's protocol by itself, over a transport in memory, before an application that does
as the test says."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
import uvicorn
from uvicorn.server import ServerState

from baas.app import App
from baas.database.names import DatabaseName
from baas.http.answers import Answer
from baas.http.exchange import Exchange, in_task
from baas.http.protocol import HEAD_BYTES_MAX, HEAD_SECONDS, STALL_SECONDS, BoundedHttpProtocol
from baas.http.routes import ROUTES
from baas.services import aggregations
from tests.baas.conftest import Pair
from tests.baas.http.conftest import ADMIN, BASE, PROJECT, World
from tests.waiting import settle, until

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE_SECONDS = 1_000


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.unsent = 0
        self.extra: dict[str, Any] = {"peername": ("127.0.0.1", 5)}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.extra.get(name, default)

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """A connection to an application that answers with `done` after what the test does."""

    def __init__(
        self, handle: Callable[[Exchange], Awaitable[Any]] | None = None, app: App | None = None
    ) -> None:
        config = uvicorn.Config(app or self, log_config=None, timeout_keep_alive=IDLE_SECONDS)  # type: ignore[arg-type]
        config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]
        self.exchanges: list[Exchange] = []
        self._handle = handle
        self.transport = FakeTransport()
        loop = asyncio.get_running_loop()
        self.protocol = BoundedHttpProtocol(config, self.state, {}, loop)
        self.protocol.connection_made(self.transport)

    async def answer(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        if self._handle is not None:
            await self._handle(exchange)
        answer = Answer(b"done")
        if not answer.send_whole(exchange, "r1"):
            await in_task()
            await answer.send(*exchange.as_asgi())

    async def feed(self, data: bytes) -> None:
        """As the event loop does: outside of any task."""
        asyncio.get_running_loop().call_soon(self.protocol.data_received, data)
        await asyncio.sleep(0)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_what_needs_not_wait_is_answered_at_once_in_one_write() -> None:
    connection = Connection()
    await connection.feed(GET)
    (written,) = connection.transport.written
    assert written == (
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: application/json\r\n"
        b"x-content-type-options: nosniff\r\ncache-control: no-store\r\ncontent-length: 4\r\n"
        b"x-request-id: r1\r\n\r\ndone"
    )
    assert not connection.state.tasks
    (exchange,) = connection.exchanges
    assert (exchange.method, exchange.path, exchange.query_string) == ("GET", "/a", b"b=c")
    assert exchange.address == "127.0.0.1"
    assert connection.state.total_requests == 1


OBJECT = f"/api/v1/projects/{PROJECT}/buckets/default/objects/a"
PROMPT: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "get_document": ("GET", "/a/b", None),
    "set_document": ("PUT", "/a/b", {"fields": {}}),
    "update_document": ("PATCH", "/a/b", {"fields": {"n": 1}}),
    "delete_document": ("DELETE", "/a/b", None),
    "list_documents": ("GET", "/a?total=true", None),
    "create_document": ("POST", "/a", {"fields": {}}),
    "batch_get": ("POST", ":batch-get", {"documents": ["a/b"]}),
    "commit": ("POST", ":commit", {"writes": [{"set": "a/b", "fields": {}}]}),
    "run_query": (
        "POST",
        ":query",
        {"query": {"collection": "a", "where": {"field": "n", "op": ">", "value": 0}}},
    ),
    "count": ("POST", ":count", {"query": {"collection": "a"}}),
    "get_object": ("GET", OBJECT, None),
    "put_object": ("PUT", OBJECT, {}),
}


@pytest.mark.parametrize("token", ["operator", "user"])
async def test_prompt_routes_ask_for_no_task(world: World, token: str) -> None:
    """Nor does what they need for the first time: databases that are opened, tokens, indexes."""
    assert {route.handler.__name__ for route in ROUTES if route.is_prompt} == set(PROMPT)
    await world.operator.post(f"{ADMIN}/buckets", json={"id": "default"})
    assert (await world.operator.put(OBJECT, content=b"hello")).is_success
    connection = Connection(app=world.app)
    secret = world.app.operator_token if token == "operator" else world.id_token
    for name, (method, place, tree) in PROMPT.items():
        body = b"" if tree is None else orjson.dumps(tree)
        target = place if place is OBJECT else BASE + place
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
        length = f"Content-Length: {len(body)}\r\n\r\n"
        connection.transport.written.clear()
        await connection.feed((head + length).encode() + body)
        await until(lambda: connection.transport.written)
        status = int(connection.transport.written[0][9:12])
        allowed = {200, 201, 404} if token == "operator" else {200, 201, 403, 404}
        assert status in allowed, (name, connection.transport.written)


async def test_a_large_count_waits_for_its_place_in_a_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregations, "COUNTED_AT_ONCE_MAX", 0)
    connection = Connection(app=world.app)
    for place, tree in [
        (":commit", {"writes": [{"set": f"many/{n}", "fields": {"n": n}} for n in range(3)]}),
        (":count", {"query": {"collection": "many", "order_by": [{"field": "n"}]}}),
    ]:
        body = orjson.dumps(tree)
        head = f"POST {BASE}{place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        head += f"{world.app.operator_token}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.transport.written.clear()
        await connection.feed(head.encode() + body)
        await until(lambda: connection.transport.written)
    assert b'"count":3' in b"".join(connection.transport.written)


async def test_what_waits_goes_on_in_a_task_and_others_behind_it_wait() -> None:
    may_answer = asyncio.Event()
    tasks: list[asyncio.Task[Any] | None] = []

    async def wait(exchange: Exchange) -> None:
        for _ in range(3):
            tasks.append(asyncio.current_task())
            await may_answer.wait()
            may_answer.clear()
        tasks.append(asyncio.current_task())

    connection = Connection(wait)
    await connection.feed(GET + GET)
    await connection.settle()
    assert len(connection.exchanges) == 1
    assert not connection.transport.written
    for number in range(6):
        assert len(connection.transport.written) == number // 3
        may_answer.set()
        await connection.settle()
    assert len(connection.transport.written) == len(connection.exchanges) == 2
    # Only who waits for a second time gets one; who had to wait for another's answer has one.
    assert tasks[:2] == [None, None]
    assert None not in tasks[2:]
    assert len(set(tasks)) == 3
    assert not connection.state.tasks


async def test_a_body_in_pieces_is_received_and_one_in_one_piece_is_there() -> None:
    bodies: list[bytes | None] = []

    async def take(exchange: Exchange) -> None:
        body = exchange.take_body()
        bodies.append(body)
        if body is None:
            _, receive, _ = exchange.as_asgi()
            while (message := await receive())["more_body"]:
                bodies.append(message["body"])
            bodies.append(message["body"])

    connection = Connection(take)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    await connection.feed(head + b"whol")
    await connection.feed(head + b"ha")
    await connection.settle()
    await connection.feed(b"lf")
    await connection.settle()
    assert bodies == [b"whol", None, b"ha", b"lf"]
    assert len(connection.transport.written) == 2


async def test_a_client_that_goes_while_it_is_answered_hinders_nothing() -> None:
    may_answer = asyncio.Event()
    connection = Connection(lambda exchange: may_answer.wait())
    await connection.feed(GET + GET + GET)
    connection.protocol.connection_lost(ConnectionResetError())
    may_answer.set()
    await connection.settle()
    assert len(connection.exchanges) == 1, "the others were never begun"
    assert not connection.transport.written
    assert not connection.state.tasks
    assert not connection.state.connections


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_a_defect_is_logged_and_the_connection_ends(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(exchange: Exchange) -> None:
        if when == "later":
            await asyncio.sleep(0)
        raise KeyError("the inside")

    connection = Connection(fail)
    # Uvicorn's own is as whoever set up its logs before has left it.
    connection.protocol.logger = logging.getLogger("tests.connection")
    await connection.feed(GET + GET)
    await connection.settle()
    assert len(connection.exchanges) == 1
    (written,) = connection.transport.written
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"inside" not in written
    assert connection.transport.closed
    assert "KeyError" in caplog.text


async def test_a_header_with_a_line_break_is_never_sent() -> None:
    async def fail(exchange: Exchange) -> None:
        Answer(b"").send_whole(exchange, "r1", [(b"etag", b"a\r\nset-cookie: b")])

    connection = Connection(fail)
    await connection.feed(GET)
    (written,) = connection.transport.written
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in written


async def test_a_writer_that_is_full_is_waited_for() -> None:
    connection = Connection()
    connection.protocol.pause_writing()
    await connection.feed(GET)
    await connection.settle()
    assert not connection.transport.written
    connection.protocol.resume_writing()
    await connection.settle()
    written = b"".join(connection.transport.written)
    assert written.startswith(b"HTTP/1.1 200 ")
    assert written.endswith(b"\r\n\r\ndone")


async def test_an_idle_connection_is_closed_and_no_other() -> None:
    may_answer = asyncio.Event()
    busy = Connection(lambda exchange: may_answer.wait())
    idle = Connection()
    for connection in (busy, idle):
        await connection.feed(GET)
    closed = []
    for _ in range(2):
        for connection in (idle, busy):
            # As if so much time had gone by, and the timer had come.
            connection.protocol._idle_since -= IDLE_SECONDS * 0.6
            connection.protocol.timeout_keep_alive_handler()
            closed.append(connection.transport.closed)
    assert closed == [False, False, True, False]
    may_answer.set()
    await busy.settle()
    busy.protocol._idle_since -= IDLE_SECONDS
    busy.protocol.timeout_keep_alive_handler()
    assert busy.transport.closed


async def test_at_shutdown_what_has_come_is_answered() -> None:
    may_answer = asyncio.Event()
    idle, busy = Connection(), Connection(lambda exchange: may_answer.wait())
    await idle.feed(GET)
    await busy.feed(GET + GET)
    for connection in (idle, busy):
        connection.protocol.shutdown()
    assert idle.transport.closed
    assert not busy.transport.closed
    may_answer.set()
    await busy.settle()
    first, last = busy.transport.written
    assert b"connection: close" not in first
    assert b"connection: close" in last
    assert busy.transport.closed


async def test_what_is_no_http_is_refused_after_the_answers_that_come_before_it() -> None:
    may_answer = asyncio.Event()
    connection = Connection(lambda exchange: may_answer.wait())
    await connection.feed(GET + b"\x00 nonsense\r\n\r\n")
    closed = [connection.transport.closed]
    assert not connection.transport.written
    may_answer.set()
    await connection.settle()
    closed.append(connection.transport.closed)
    (written,) = connection.transport.written
    assert written.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in written
    assert closed == [False, True]
    alone = Connection()
    await alone.feed(b"\x00 nonsense\r\n\r\n")
    assert alone.transport.written[0].startswith(b"HTTP/1.1 400 ")


CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "unreadable",
    [
        CHUNKED + b"no size\r\n",
        GET[:-2] + b"a: " + b"b" * 2 * HEAD_BYTES_MAX + b"\r\n\r\n",
        CHUNKED + b"0\r\na: " + b"b" * 2 * HEAD_BYTES_MAX,
    ],
    ids=["chunk", "head", "trailers"],
)
async def test_a_refusal_is_not_taken_for_the_answer_of_a_request_before(unreadable: bytes) -> None:
    may_answer = asyncio.Event()
    connection = Connection(lambda exchange: may_answer.wait())
    await connection.feed(GET + GET)
    await connection.feed(unreadable[:60])
    await connection.feed(unreadable[60:])
    assert not connection.transport.written
    closed = [connection.transport.closed]
    may_answer.set()
    await connection.settle()
    first, last = connection.transport.written
    assert first.startswith(b"HTTP/1.1 200 ")
    assert last.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in last
    assert [*closed, connection.transport.closed] == [False, True]
    assert len(connection.exchanges) == 2


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX - 1_000, HEAD_BYTES_MAX + 1_000])
async def test_trailers_are_no_headers_and_have_a_bound(size: int) -> None:
    may_answer = asyncio.Event()
    connection = Connection(lambda exchange: may_answer.wait())
    await connection.feed(CHUNKED + b"2\r\nhi\r\n")
    await connection.feed(b"0\r\nOrigin: elsewhere\r\n")
    for _ in range(size // 1_000):
        await connection.feed(b"a: " + b"b" * 995 + b"\r\n")
    assert (b"HTTP/1.1 431 " in b"".join(connection.transport.written)) == (size > HEAD_BYTES_MAX)
    may_answer.set()
    await connection.settle()
    assert connection.transport.closed == (size > HEAD_BYTES_MAX)
    (exchange,) = connection.exchanges
    assert [name for name, _ in exchange.head.lines] == [b"host", b"transfer-encoding"]


async def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for_long() -> None:
    connection = Connection()
    await connection.feed(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
    await connection.settle()
    assert connection.transport.written[0].startswith(b"HTTP/1.1 200 ")
    timers = [connection.protocol._head_timer]
    await connection.feed(b"-" * 46)
    timers.append(connection.protocol._head_timer)
    assert timers[0] is not None
    assert timers[0].when() <= asyncio.get_running_loop().time() + HEAD_SECONDS
    assert timers[1] is None
    await connection.feed(GET)
    assert len(connection.exchanges) == 2


async def test_who_takes_nothing_of_an_answer_is_cut_off_and_nobody_slow() -> None:
    still, slow, prompt = Connection(), Connection(), Connection()
    for connection in (still, slow, prompt):
        connection.transport.unsent = 1_000_000
        connection.protocol.pause_writing()
    prompt.protocol.resume_writing()
    assert prompt.protocol._stall_timer is None
    for left in (900_000, 800_000):
        slow.transport.unsent = left
        for connection in (still, slow):
            timer = connection.protocol._stall_timer
            assert timer is not None
            assert timer.when() <= asyncio.get_running_loop().time() + STALL_SECONDS
            connection.protocol._end_stall(*timer._args)
    assert [one.transport.aborted for one in (still, slow, prompt)] == [True, False, False]
    slow.protocol.connection_lost(None)
    assert slow.protocol._stall_timer is None


class FilledSender:
    """A Sender into a socket that has no more room, until somebody reads from it."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_closed = False

    def begin(self, connection: socket.socket, head: bytes) -> None:
        self.connection = connection
        self.head = head
        with suppress(BlockingIOError):
            while True:
                connection.send(bytes(100_000))

    async def send(self) -> bool:
        self.calls += 1
        return self.calls < 3

    def close(self) -> None:
        self.is_closed = True
        self.connection.close()


async def sending_a_file(
    ours: socket.socket,
) -> tuple[Connection, FilledSender, asyncio.Future[bool]]:
    sender = FilledSender()
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handle(exchange: Exchange) -> None:
        await in_task()
        try:
            outcome.set_result(await exchange.send_file(200, b"a: b\r\n", sender))
        except BaseException as error:
            outcome.set_exception(error)
            raise

    connection = Connection(handle)
    connection.transport.extra["socket"] = ours
    await connection.feed(GET)
    await connection.settle()
    return connection, sender, outcome


async def test_a_file_goes_on_when_its_reader_has_made_room(pair: Pair) -> None:
    ours, theirs = pair
    connection, sender, outcome = await sending_a_file(ours)
    assert sender.head == b"HTTP/1.1 200 OK\r\ndate: today\r\na: b\r\n\r\n"
    assert sender.calls == 1
    while not outcome.done():
        with suppress(BlockingIOError):
            theirs.recv(1_000_000)
        await asyncio.sleep(0.001)
    assert await outcome
    assert sender.is_closed
    assert connection.protocol.cycle is not None
    assert connection.protocol.cycle.response_complete
    assert not connection.transport.aborted


@pytest.mark.parametrize("end", ["gone", "still"])
async def test_a_file_ends_with_a_reader_who_is_gone_or_takes_nothing(
    monkeypatch: pytest.MonkeyPatch, pair: Pair, end: str
) -> None:
    if end == "still":
        monkeypatch.setattr("baas.http.protocol.STALL_SECONDS", 0.01)
    connection, sender, outcome = await sending_a_file(pair[0])
    if end == "gone":
        connection.protocol.connection_lost(None)
    with pytest.raises(ConnectionResetError if end == "gone" else TimeoutError):
        await outcome
    assert sender.is_closed
    assert connection.transport.aborted


@pytest.mark.parametrize("extra", [{}, {"sslcontext": object()}, {"unsent": 1}])
async def test_only_a_plain_socket_with_nothing_before_it_takes_a_file(
    pair: Pair,
    extra: dict[str, Any],
) -> None:
    ours, _ = pair
    taken: list[bool] = []
    sender = FilledSender()
    sender.connection = ours

    async def handle(exchange: Exchange) -> None:
        await in_task()
        taken.append(await exchange.send_file(200, b"", sender))

    connection = Connection(handle)
    if extra:
        connection.transport.extra.update(extra, socket=ours)
        connection.transport.unsent = extra.get("unsent", 0)
    await connection.feed(GET)
    await connection.settle()
    assert taken == [False]
    assert sender.is_closed
    assert connection.transport.written[0].endswith(b"done")


async def test_nothing_is_left_to_the_cyclic_collector() -> None:
    connection = Connection()
    await connection.feed(GET)
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            connection.exchanges.clear()
            await connection.feed(GET)
        assert gc.collect() < 50
    finally:
        gc.enable()


class SocketServer:
    """An application on a real socket, in this process."""

    def __init__(self, app: App) -> None:
        self._config = uvicorn.Config(app, log_config=None)
        self._config.load()
        self._state = ServerState()

    async def __aenter__(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: BoundedHttpProtocol(self._config, self._state, {}, loop), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await until(lambda: not self.connections)

    @property
    def connections(self) -> set[Any]:
        return self._state.connections


COUNT: dict[str, Any] = {
    "query": {"collection": "b", "where": {"field": "n", "op": "!=", "value": -1}}
}


@pytest.mark.parametrize("verb", [":count", ":query", "write"])
async def test_reads_of_a_client_that_is_gone_are_given_up_and_writes_are_not(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """It would wait for 30 s otherwise, and hold what others wait for."""
    context = world.app.context
    database = await context.databases.open(DatabaseName("demo"))
    await world.operator.put(f"{BASE}/b/c", json={"fields": {"n": 1}})
    waiting, go_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        waiting.set()
        try:
            await go_on.wait()
        finally:
            over.set()

    place, tree, method = verb, COUNT, b"POST"
    if verb == "write":
        place, tree, method = "/b/gone", {"fields": {"n": 2}}, b"PUT"
        commit = database.run_transaction

        async def slow_commit(*arguments: Any, **named: Any) -> Any:
            await wait()
            return await commit(*arguments, **named)

        monkeypatch.setattr(database, "run_transaction", slow_commit)
    else:
        module = "aggregations" if verb == ":count" else "queries"
        monkeypatch.setattr(f"baas.services.{module}.open_allowed", wait)
    body = orjson.dumps(tree)
    token = world.app.operator_token
    head = f"{BASE}{place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    server = SocketServer(world.app)
    async with server as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"%b %bContent-Length: %d\r\n\r\n%b" % (method, head, len(body), body))
            await until(waiting.is_set)
        finally:
            writer.close()
        if verb == "write":
            await until(lambda: not server.connections)  # it has heard that the client is gone
            await settle()
            assert not over.is_set()
            go_on.set()
        await until(over.is_set)
        await until(lambda: world.app._http.open_requests == 0)
    assert not database.is_in_use
    if verb == "write":
        assert (await world.operator.get(f"{BASE}/b/gone")).is_success


async def test_who_is_given_up_can_tidy_up() -> None:
    """Be it given up before it has a task, and want one for that."""
    ended: list[str] = []

    async def handle(exchange: Exchange) -> None:
        exchange.end_with_client()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ended.append("tidied up")

    connection = Connection(handle)
    await connection.feed(GET)
    assert not connection.state.tasks
    connection.protocol.connection_lost(None)
    await connection.settle()
    assert ended == ["tidied up"]
    assert not connection.state.tasks


async def test_who_hears_late_that_the_client_is_gone_is_given_up() -> None:
    ended: list[str] = []
    begun = asyncio.get_running_loop().create_future()

    async def handle(exchange: Exchange) -> None:
        await begun
        exchange.end_with_client()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("given up")
            raise

    connection = Connection(handle)
    await connection.feed(GET)
    connection.protocol.connection_lost(None)
    begun.set_result(None)
    await connection.settle()
    assert ended == ["given up"]
