"""Sends calls over HTTP: a blocking and an asyncio driver of the same flow."""

# ruff: noqa: ASYNC109  the timeout is the whole call's, retries included
from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from typing import Any, TypeVar
from urllib.parse import urlencode

from baas_sdk import _requests
from baas_sdk._flow import (
    Attempt,
    Authorize,
    Flow,
    Pause,
    attempts,
    check_timeout,
    timed_out,
)
from baas_sdk._options import CONNECT_SECONDS_MAX, USER_AGENT, Options
from baas_sdk._requests import Answer, Call, Head, QueryLine, Request, StreamCall
from baas_sdk._session import Session, Tokens
from baas_sdk._transport import (
    AsyncPooledTransport,
    AsyncResponse,
    AsyncTransport,
    Outgoing,
    PooledTransport,
    Response,
    Transport,
)
from baas_sdk.errors import DeadlineExceeded, FailedPrecondition, SdkError, Unavailable

T = TypeVar("T")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class SyncHttp:
    """Calls from any thread; each blocks its own."""

    def __init__(self, options: Options, session: Session, transport: Transport | None) -> None:
        self._options = options
        self._session = session
        self._refresh_lock = threading.Lock()
        self._transport: Transport = transport or PooledTransport(
            options.base_url, trust_env=not options.is_loopback
        )
        self._is_closed = False

    def run(self, call: Call[T], timeout: float | None = None) -> T:
        """One call, with its retries."""
        flow = self._flow(call.request, timeout)
        try:
            return call.result(self._drive(flow, self._send))
        except SdkError as error:
            if call.recover is None:
                raise
            return call.recover(error)

    def stream(self, call: StreamCall[T], timeout: float | None = None) -> Iterator[T]:
        """The documents as they arrive. Retried only while none has arrived; `timeout` bounds the
        wait for the first and for each further piece."""
        flow = self._flow(call.request, timeout)
        opened: list[Iterator[QueryLine]] = []

        def open_stream(attempt: Attempt) -> Answer | SdkError:
            return self._open(attempt, call, opened)

        self._drive(flow, open_stream)
        with closing(opened[-1]) as lines:  # type: ignore[type-var]  # a generator
            for line in lines:
                if line.document is not None:
                    yield call.parse(line.document)

    def open(self, request: Request, timeout: float | None = None) -> SyncBody:
        """An answer whose body is still to be read. Retried until it has begun; `timeout` then
        bounds the wait for each piece."""
        opened: list[SyncBody] = []

        def begin(attempt: Attempt) -> Answer | SdkError:
            try:
                response = self._transport.send(_outgoing(self._options, attempt, is_raw=True))
                if not _is_success(response):
                    with closing(response):
                        return _answer(response, _read(response))
            except SdkError as error:
                return error
            opened.append(SyncBody(response))
            return Answer(response.status, b"")

        self._drive(self._flow(request, timeout), begin)
        return opened[-1]

    def id_token(self, stale: str | None = None) -> str | None:
        """The token to send, refreshed if it is about to end or `stale`: once, however many ask."""
        if self._session.needs_refresh(stale, time.monotonic()):
            with self._refresh_lock:
                used = self._session.tokens
                if used is not None and self._session.needs_refresh(stale, time.monotonic()):
                    self._refresh(used, stale)
        return self._session.id_token or self._options.bearer

    def close(self) -> None:
        self._is_closed = True
        self._transport.close()

    def _refresh(self, used: Tokens, stale: str | None) -> None:
        call = _requests.refresh(self._options.home, used.refresh_token, time.monotonic())
        try:
            self._session.refresh(used, self.run(call))
        except SdkError as error:
            if not _may_go_on(self._session, used, stale, error):
                raise

    def _flow(self, request: Request, timeout: float | None) -> Flow:
        if self._is_closed:
            raise _closed()
        return _attempts(self._options, request, timeout)

    def _drive(self, flow: Flow, send: Callable[[Attempt], Answer | SdkError]) -> Answer:
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            match step:
                case Authorize():
                    outcome = self.id_token(step.stale)
                case Attempt():
                    if self._is_closed:  # since the attempt before
                        raise _closed()
                    outcome = send(step)
                case Pause():
                    time.sleep(step.seconds)
                    outcome = None

    def _send(self, attempt: Attempt) -> Answer | SdkError:
        deadline = time.monotonic() + attempt.timeout_seconds
        try:
            with closing(self._transport.send(_outgoing(self._options, attempt))) as response:
                parts = []
                while part := response.read_piece():
                    parts.append(part)
                    if time.monotonic() > deadline:
                        return timed_out(attempt.timeout_seconds)
                return _answer(response, b"".join(parts))
        except SdkError as error:
            return error

    def _open(
        self, attempt: Attempt, call: StreamCall[Any], opened: list[Iterator[QueryLine]]
    ) -> Answer | SdkError:
        lines = self._lines(attempt, call)
        try:
            first = next(lines)
        except SdkError as error:
            return error
        if isinstance(first, Answer):
            return first
        opened.append(_followed(first, lines))
        return Answer(200, b"")

    def _lines(self, attempt: Attempt, call: StreamCall[Any]) -> Iterator[QueryLine | Answer]:
        with closing(self._transport.send(_outgoing(self._options, attempt))) as response:
            if not _is_success(response):
                yield _answer(response, _read(response))
                return
            rest = b""
            while part := response.read_piece():
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    read = call.parse_line(line)
                    yield read
                    if read.read_time is not None:
                        return
            if not rest:
                raise _broken_off()
            yield call.parse_line(rest)


def _followed(first: QueryLine, rest: Iterator[QueryLine | Answer]) -> Iterator[QueryLine]:
    with closing(rest):  # type: ignore[type-var]  # a generator
        yield first
        for line in rest:
            assert isinstance(line, QueryLine)
            yield line


class SyncBody:
    """The body of an answer, to be read piece by piece."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.head = Head(response.status, response.headers)

    def read(self) -> bytes:
        """The next piece as it arrives, empty at the end: nothing is lost with the connection.
        Raises Unavailable when the connection is lost."""
        try:
            return self._response.read_piece()
        except SdkError as error:
            raise _piece_error(error) from error

    def close(self) -> None:
        self._response.close()


class AsyncBody:
    """The body of an answer, to be read piece by piece."""

    def __init__(self, response: AsyncResponse) -> None:
        self._response = response
        self.head = Head(response.status, response.headers)

    async def read(self) -> bytes:
        """The next piece as it arrives, empty at the end: nothing is lost with the connection.
        Raises Unavailable when the connection is lost."""
        try:
            return await self._response.read_piece()
        except SdkError as error:
            raise _piece_error(error) from error

    async def close(self) -> None:
        await self._response.close()


class AsyncHttp:
    """Calls within one event loop. Cancelling a call gives up its request; a refresh under way goes
    on, because its answer must not be lost."""

    def __init__(
        self, options: Options, session: Session, transport: AsyncTransport | None
    ) -> None:
        self._options = options
        self._session = session
        self._refreshing: asyncio.Task[None] | None = None
        self._transport: AsyncTransport = transport or AsyncPooledTransport(
            options.base_url, trust_env=not options.is_loopback
        )
        self._is_closed = False

    async def run(self, call: Call[T], timeout: float | None = None) -> T:
        """One call, with its retries."""
        flow = self._flow(call.request, timeout)
        try:
            return call.result(await self._drive(flow, self._send))
        except SdkError as error:
            if call.recover is None:
                raise
            return call.recover(error)

    async def stream(self, call: StreamCall[T], timeout: float | None = None) -> AsyncIterator[T]:
        """The documents as they arrive. Retried only while none has arrived; `timeout` bounds the
        wait for the first and for each further piece."""
        flow = self._flow(call.request, timeout)
        opened: list[AsyncIterator[QueryLine]] = []

        async def open_stream(attempt: Attempt) -> Answer | SdkError:
            return await self._open(attempt, call, opened)

        await self._drive(flow, open_stream)
        async with aclosing(opened[-1]) as lines:  # type: ignore[type-var]  # a generator
            async for line in lines:
                if line.document is not None:
                    yield call.parse(line.document)

    async def open(self, request: Request, timeout: float | None = None) -> AsyncBody:
        """An answer whose body is still to be read. Retried until it has begun; `timeout` then
        bounds the wait for each piece."""
        opened: list[AsyncBody] = []

        async def begin(attempt: Attempt) -> Answer | SdkError:
            asked = _outgoing(self._options, attempt, is_raw=True)
            try:
                response = await self._transport.send(asked)
                if not _is_success(response):
                    async with _closing(response):
                        return _answer(response, await response.read())
            except SdkError as error:
                return error
            opened.append(AsyncBody(response))
            return Answer(response.status, b"")

        await self._drive(self._flow(request, timeout), begin)
        return opened[-1]

    async def id_token(self, stale: str | None = None) -> str | None:
        """The token to send, refreshed if it is about to end or `stale`: once, however many ask."""
        used = self._session.tokens
        if used is not None and self._session.needs_refresh(stale, time.monotonic()):
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh(used, stale))
            await asyncio.shield(self._refreshing)
        return self._session.id_token or self._options.bearer

    async def close(self) -> None:
        self._is_closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._transport.close()

    async def _refresh(self, used: Tokens, stale: str | None) -> None:
        call = _requests.refresh(self._options.home, used.refresh_token, time.monotonic())
        try:
            self._session.refresh(used, await self.run(call))
        except SdkError as error:
            if not _may_go_on(self._session, used, stale, error):
                raise

    def _flow(self, request: Request, timeout: float | None) -> Flow:
        if self._is_closed:
            raise _closed()
        return _attempts(self._options, request, timeout)

    async def _drive(self, flow: Flow, send: Callable[[Attempt], Any]) -> Answer:
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            match step:
                case Authorize():
                    outcome = await self.id_token(step.stale)
                case Attempt():
                    if self._is_closed:  # since the attempt before
                        raise _closed()
                    outcome = await send(step)
                case Pause():
                    await asyncio.sleep(step.seconds)
                    outcome = None

    async def _send(self, attempt: Attempt) -> Answer | SdkError:
        try:
            async with asyncio.timeout(attempt.timeout_seconds):
                response = await self._transport.send(_outgoing(self._options, attempt))
                async with _closing(response):
                    return _answer(response, await response.read())
        except TimeoutError:
            return timed_out(attempt.timeout_seconds)
        except SdkError as error:
            return error

    async def _open(
        self, attempt: Attempt, call: StreamCall[Any], opened: list[AsyncIterator[QueryLine]]
    ) -> Answer | SdkError:
        lines = self._lines(attempt, call)
        try:
            first = await anext(lines)
        except SdkError as error:
            return error
        if isinstance(first, Answer):
            return first
        opened.append(_followed_async(first, lines))
        return Answer(200, b"")

    async def _lines(
        self, attempt: Attempt, call: StreamCall[Any]
    ) -> AsyncIterator[QueryLine | Answer]:
        response = await self._transport.send(_outgoing(self._options, attempt))
        async with _closing(response):
            if not _is_success(response):
                yield _answer(response, await response.read())
                return
            rest = b""
            while part := await response.read_piece():
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    read = call.parse_line(line)
                    yield read
                    if read.read_time is not None:
                        return
            if not rest:
                raise _broken_off()
            yield call.parse_line(rest)


async def _followed_async(
    first: QueryLine, rest: AsyncIterator[QueryLine | Answer]
) -> AsyncIterator[QueryLine]:
    async with aclosing(rest):  # type: ignore[type-var]  # a generator
        yield first
        async for line in rest:
            assert isinstance(line, QueryLine)
            yield line


@asynccontextmanager
async def _closing(response: AsyncResponse) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await response.close()


# --- both -----------------------------------------------------------------------------------------


def _attempts(options: Options, request: Request, timeout: float | None) -> Flow:
    return attempts(
        request,
        timeout_seconds=check_timeout(timeout, options.timeout_seconds),
        policy=options.retry,
        now=time.monotonic,
        random=random.random,
    )


def _outgoing(options: Options, attempt: Attempt, *, is_raw: bool = False) -> Outgoing:
    request = attempt.request
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": request.accept,
        "Accept-Encoding": "identity" if is_raw else "gzip, deflate",
        **options.headers(attempt.token),
    }
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
        if request.content_type:
            headers["Content-Type"] = request.content_type
    elif request.method in _WITH_BODY:
        headers["Content-Length"] = "0"
    headers.update(request.headers)
    query = f"?{urlencode(request.params)}" if request.params else ""
    return Outgoing(
        request.method,
        f"{options.base_url}{request.path}{query}",
        headers,
        request.body,
        timeout_seconds=attempt.timeout_seconds,
        connect_seconds=min(CONNECT_SECONDS_MAX, attempt.timeout_seconds),
        is_raw=is_raw,
    )


def _is_success(response: Response | AsyncResponse) -> bool:
    return 200 <= response.status < 300


def _read(response: Response) -> bytes:
    parts = []
    while part := response.read_piece():
        parts.append(part)
    return b"".join(parts)


def _answer(response: Response | AsyncResponse, body: bytes) -> Answer:
    retry_after = response.headers.get("Retry-After", "")
    return Answer(
        status=response.status,
        body=body,
        request_id=response.headers.get("X-Request-Id"),
        retry_after_seconds=float(retry_after) if retry_after.isdecimal() else None,
    )


def _piece_error(error: SdkError) -> SdkError:
    """A pause that is too long between two pieces of a body is a lost connection: the rest can be
    asked for."""
    if isinstance(error, DeadlineExceeded):
        return Unavailable(error.message, reason="ConnectionLost")
    return error


def _broken_off() -> Unavailable:
    return Unavailable("the answer broke off before its end", reason="ConnectionLost")


def _closed() -> FailedPrecondition:
    return FailedPrecondition("the client is closed", reason="ClientClosed")


def _may_go_on(session: Session, used: Tokens, stale: str | None, error: SdkError) -> bool:
    """A refresh that failed for now does no harm while the token is good."""
    if session.refresh_failed(used, error):
        return False
    return used.id_token != stale and time.monotonic() < used.ends_at
