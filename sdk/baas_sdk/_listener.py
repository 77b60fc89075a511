"""Drives the listen machine: one WebSocket per client, on an asyncio loop.

`ListenDriver` moves messages; `ListenThread` gives the blocking client a loop of its own, in a
daemon thread that starts with the first listener. Mailboxes carry states from the loop to the app
and bound what waits there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from baas_sdk._listen import Failed, ListedDocument, ListenMachine, Shown, SnapshotBuffer, State
from baas_sdk._options import CONNECT_SECONDS_MAX, USER_AGENT, Options
from baas_sdk._requests import Answer, listen_url
from baas_sdk._session import Session
from baas_sdk._values import Tree
from baas_sdk.errors import FailedPrecondition, Internal, InvalidArgument, SdkError, Unavailable

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
SEND_SECONDS_MAX = 30.0
CLOSE_SECONDS_MAX = 2.0
REFRESH_PAUSE_SECONDS = 5.0
D = TypeVar("D", bound=ListedDocument)
_log = logging.getLogger("baas_sdk")
# At DEBUG websockets logs every message, the token in `hello` too.
_socket_log = logging.getLogger("baas_sdk.socket")
_socket_log.setLevel(logging.INFO)


class Mailbox(Protocol[D]):
    """Where a target's states and its end arrive. All three are called on the driver's loop."""

    def put(self, state: State[D]) -> None: ...
    def fail(self, error: SdkError) -> None: ...
    def end(self) -> None: ...


class AsyncMailbox(Generic[D]):
    """For a consumer on the same loop."""

    def __init__(self) -> None:
        self._buffer: SnapshotBuffer[D] = SnapshotBuffer()
        self._news = asyncio.Event()
        self._error: SdkError | None = None
        self._is_over = False

    def put(self, state: State[D]) -> None:
        self._buffer.push(state)
        self._news.set()

    def fail(self, error: SdkError) -> None:
        self._error = error
        self.end()

    def end(self) -> None:
        self._is_over = True
        self._news.set()

    async def get(self) -> State[D] | None:
        """The next state; None after the end. Raises the error that ended the target, once all
        states before it have been taken. Cancelling loses nothing."""
        while True:
            state = self._buffer.pop()
            if state is not None:
                return state
            if self._error is not None:
                raise self._error
            if self._is_over:
                return None
            self._news.clear()
            await self._news.wait()


class ThreadMailbox(Generic[D]):
    """For a consumer in another thread."""

    def __init__(self) -> None:
        self._buffer: SnapshotBuffer[D] = SnapshotBuffer()
        self._changed = threading.Condition()
        self._error: SdkError | None = None
        self._is_over = False

    def put(self, state: State[D]) -> None:
        with self._changed:
            self._buffer.push(state)
            self._changed.notify_all()

    def fail(self, error: SdkError) -> None:
        with self._changed:
            self._error = error
            self._is_over = True
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def get(self) -> State[D] | None:
        """The next state; None after the end. Raises the error that ended the target, once all
        states before it have been taken."""
        with self._changed:
            while True:
                state = self._buffer.pop()
                if state is not None:
                    return state
                if self._error is not None:
                    raise self._error
                if self._is_over:
                    return None
                self._changed.wait()


class ListenDriver:
    """All methods are called on one loop, on which `run` is running."""

    def __init__(
        self,
        options: Options,
        session: Session,
        id_token: Callable[[str | None], Awaitable[str | None]],
    ) -> None:
        self._options = options
        self._session = session
        self._id_token = id_token
        self._machine = ListenMachine(api_key=options.api_key, random=random.random)
        self._wake = asyncio.Event()
        self._mailboxes: dict[int, Mailbox[Any]] = {}
        self._keys: dict[Mailbox[Any], int] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refresh_not_before = 0.0

    def add(
        self,
        mailbox: Mailbox[D],
        request: Tree,
        parse: Callable[[Tree], D],
        *,
        flipped: bool = False,
    ) -> None:
        """Starts a target whose states and end go to the mailbox."""
        key = self._machine.add(request, parse, time.monotonic(), flipped=flipped)
        self._mailboxes[key] = mailbox
        self._keys[mailbox] = key
        self._wake.set()

    def remove(self, mailbox: Mailbox[Any]) -> None:
        """Ends a target, whose mailbox then gets nothing but its end. Harmless when it has
        ended."""
        key = self._keys.pop(mailbox, None)
        if key is not None:
            del self._mailboxes[key]
            self._machine.remove(key, time.monotonic())
            self._wake.set()
        mailbox.end()

    def token_changed(self) -> None:
        """Someone signed in or out, or the token was refreshed."""
        self._machine.token_changed(self._present_token(), time.monotonic())
        self._wake.set()

    async def run(self) -> None:
        """Connects whenever there are targets; ends only by being cancelled, which ends all
        targets."""
        try:
            while True:
                await self._wait_until_due()
                error = await self._guarded_connection()
                if error is not None:
                    _log.info("listen connection ended: %s", error.message)
                self._machine.lost(error, time.monotonic())
                self._deliver()
        finally:
            if self._refreshing is not None:
                self._refreshing.cancel()
            for mailbox in self._mailboxes.values():
                mailbox.end()

    async def _wait_until_due(self) -> None:
        while True:
            at, now = self._machine.connect_at, time.monotonic()
            if at is not None and at <= now:
                return
            await self._wait(None if at is None else at - now)

    async def _wait(self, seconds: float | None) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _guarded_connection(self) -> SdkError | None:
        try:
            return await self._connection()
        except Exception as error:
            # A defect here must reach the app: without this its listeners would fall silent.
            _log.exception("listening failed")
            failure = Internal(f"listening failed: {error!r}")
            self._machine.fail_all(failure)
            return failure

    async def _connection(self) -> SdkError | None:
        """One connection from its making to its end; why it ended."""
        try:
            await self._id_token(self._machine.rejected_token)
        except SdkError as error:
            return error
        try:
            socket = await self._connect()
            try:
                if self._machine.connect_at is None:
                    return None  # the last target went away meanwhile
                self._machine.connected(self._present_token(), time.monotonic())
                return await self._converse(socket)
            finally:
                try:
                    await socket.close()
                finally:
                    # Cancelled during the closing handshake, websockets leaves the transport open.
                    socket.transport.abort()
        except (OSError, TimeoutError, WebSocketException) as error:
            return _connection_error(error)

    async def _connect(self) -> ClientConnection:
        return await connect(
            listen_url(self._options.base_url, self._options.home),
            open_timeout=CONNECT_SECONDS_MAX,
            close_timeout=CLOSE_SECONDS_MAX,
            ping_interval=None,  # the machine has its own
            max_size=MESSAGE_BYTES_MAX,
            compression=None,
            proxy=None if self._options.is_loopback else True,
            user_agent_header=USER_AGENT,
            logger=_socket_log,
        )

    async def _converse(self, socket: ClientConnection) -> SdkError | None:
        machine = self._machine
        reader = asyncio.create_task(self._read(socket))
        reader.add_done_callback(lambda task: self._wake.set())
        try:
            while machine.broken_by is None and not reader.done():
                async with asyncio.timeout(SEND_SECONDS_MAX):
                    for message in machine.take_messages():
                        await socket.send(message)
                self._deliver()
                await self._wait_for_news()
                machine.time_passed(time.monotonic())
        finally:
            reader.cancel()
            ended = (await asyncio.gather(reader, return_exceptions=True))[0]
        if machine.broken_by is not None:
            return machine.broken_by
        if isinstance(ended, Exception) and not isinstance(ended, ConnectionClosed):
            raise ended
        return Unavailable("the server closed the connection", reason="ConnectionLost")

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            self._machine.received(message, time.monotonic())
            self._deliver()
            self._wake.set()

    async def _wait_for_news(self) -> None:
        now = time.monotonic()
        ends = [end for end in (self._machine.deadline, self._refresh_at()) if end is not None]
        if self._wake.is_set():
            self._wake.clear()  # something happened while messages were being sent
        else:
            await self._wait(max(0.0, min(ends) - now) if ends else None)
        due = self._refresh_at()
        if due is not None and due <= time.monotonic() and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())

    def _refresh_at(self) -> float | None:
        tokens = self._session.tokens
        if tokens is None or self._refreshing is not None:
            return None
        return max(tokens.refresh_at, self._refresh_not_before)

    async def _refresh(self) -> None:
        """Keeps the token of an open connection fresh; the session tells the driver of the new
        one."""
        try:
            await self._id_token(None)
        except SdkError as error:
            _log.warning("the id token could not be refreshed: %s", error.message)
        finally:
            self._refresh_not_before = time.monotonic() + REFRESH_PAUSE_SECONDS
            self._refreshing = None
            self._wake.set()

    def _present_token(self) -> str | None:
        return self._session.id_token or self._options.bearer

    def _deliver(self) -> None:
        for event in self._machine.take_events():
            mailbox = self._mailboxes.get(event.key)
            if mailbox is None:
                continue
            match event:
                case Shown():
                    mailbox.put(event.state)
                case Failed():
                    del self._mailboxes[event.key]
                    del self._keys[mailbox]
                    mailbox.fail(event.error)


class ListenThread:
    """A loop in a daemon thread, for the blocking client. Its methods may be called from any
    thread."""

    def __init__(
        self, options: Options, session: Session, id_token: Callable[[str | None], str | None]
    ) -> None:
        self._options = options
        self._session = session
        self._id_token = id_token
        # Re-entrant: the collector may end a forgotten listener while this thread holds it.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._driver: ListenDriver | None = None
        self._is_closed = False

    def add(
        self,
        mailbox: Mailbox[D],
        request: Tree,
        parse: Callable[[Tree], D],
        *,
        flipped: bool = False,
    ) -> None:
        """Starts a target; starts the thread if need be."""
        with self._lock:
            if self._is_closed:
                raise FailedPrecondition("the client is closed", reason="ClientClosed")
            if self._thread is None:
                self._start()
            assert self._loop is not None
            assert self._driver is not None
            driver = self._driver
            self._loop.call_soon_threadsafe(
                lambda: driver.add(mailbox, request, parse, flipped=flipped)
            )

    def remove(self, mailbox: Mailbox[Any]) -> None:
        """Ends a target, soon."""
        if not self._call(lambda driver: driver.remove(mailbox)):
            mailbox.end()

    def token_changed(self) -> None:
        """Someone signed in or out, or the token was refreshed."""
        self._call(lambda driver: driver.token_changed())

    def close(self) -> None:
        """Ends all targets and the thread; returns when it has ended (at once within a
        callback)."""
        with self._lock:
            self._is_closed = True
            thread, loop = self._thread, self._loop
        if thread is not None and loop is not None:
            with suppress(RuntimeError):  # it has stopped already
                loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join()

    def _call(self, action: Callable[[ListenDriver], None]) -> bool:
        with self._lock:
            loop, driver = self._loop, self._driver
            if loop is None or driver is None or self._is_closed:
                return False
            loop.call_soon_threadsafe(action, driver)
            return True

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()

        async def token(stale: str | None) -> str | None:
            return await asyncio.to_thread(self._id_token, stale)

        self._driver = ListenDriver(self._options, self._session, token)
        self._thread = threading.Thread(
            target=_run_loop, args=(self._loop, self._driver), name="baas-sdk-listen", daemon=True
        )
        self._thread.start()


def _run_loop(loop: asyncio.AbstractEventLoop, driver: ListenDriver) -> None:
    asyncio.set_event_loop(loop)
    task = loop.create_task(driver.run())
    try:
        loop.run_forever()
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _connection_error(error: Exception) -> SdkError:
    found: SdkError
    if isinstance(error, InvalidStatus):
        response = error.response
        found = Answer(response.status_code, bytes(response.body or b"")).error()
    elif isinstance(error, InvalidURI):
        found = InvalidArgument(f"the server's address cannot be listened at: {error}")
    else:
        words = str(error) or type(error).__name__
        found = Unavailable(f"the server cannot be reached: {words}", reason="ConnectionFailed")
    found.__cause__ = error
    return found
