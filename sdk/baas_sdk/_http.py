"""Sends calls over HTTP: a blocking and an asyncio driver of the same flow."""

# ruff: noqa: ASYNC109  the timeout is the whole call's, retries included
from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeVar

import httpx

from baas_sdk import _requests
from baas_sdk._flow import (
    NEVER_SENT,
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
from baas_sdk.errors import DeadlineExceeded, FailedPrecondition, Internal, SdkError, Unavailable

T = TypeVar("T")
CONNECTIONS_MAX = 100
PIECE_BYTES = 64 * 1024


class SyncHttp:
    """Calls from any thread; each blocks its own."""

    def __init__(
        self, options: Options, session: Session, transport: httpx.BaseTransport | None
    ) -> None:
        self._options = options
        self._session = session
        self._refresh_lock = threading.Lock()
        self._http = httpx.Client(
            **_http_settings(options),
            transport=transport
            or httpx.HTTPTransport(limits=_LIMITS, trust_env=not options.is_loopback),
        )

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
            asked = self._http.build_request(**_http_request(self._options, attempt, _pieces))
            try:
                response = self._http.send(asked, stream=True)
                if not response.is_success:
                    with closing(response):
                        return _answer(response, response.read())
            except httpx.HTTPError as error:
                return _connection_error(error, attempt)
            opened.append(SyncBody(response, attempt))
            return Answer(response.status_code, b"")

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
        self._http.close()

    def _refresh(self, used: Tokens, stale: str | None) -> None:
        call = _requests.refresh(self._options.home, used.refresh_token, time.monotonic())
        try:
            self._session.refresh(used, self.run(call))
        except SdkError as error:
            if not _may_go_on(self._session, used, stale, error):
                raise

    def _flow(self, request: Request, timeout: float | None) -> Flow:
        _check_open(self._http)
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
                    outcome = send(step)
                case Pause():
                    time.sleep(step.seconds)
                    outcome = None

    def _send(self, attempt: Attempt) -> Answer | SdkError:
        deadline = time.monotonic() + attempt.timeout_seconds
        try:
            with self._http.stream(**_http_request(self._options, attempt, _pieces)) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > deadline:
                        return timed_out(attempt.timeout_seconds)
                return _answer(response, b"".join(parts))
        except httpx.HTTPError as error:
            return _connection_error(error, attempt)

    def _open(
        self, attempt: Attempt, call: StreamCall[Any], opened: list[Iterator[QueryLine]]
    ) -> Answer | SdkError:
        lines = self._lines(attempt, call)
        try:
            first = next(lines)
        except httpx.HTTPError as error:
            return _connection_error(error, attempt)
        except SdkError as error:
            return error
        if isinstance(first, Answer):
            return first
        opened.append(_followed(first, lines, attempt))
        return Answer(200, b"")

    def _lines(self, attempt: Attempt, call: StreamCall[Any]) -> Iterator[QueryLine | Answer]:
        with self._http.stream(**_http_request(self._options, attempt, _pieces)) as response:
            if not response.is_success:
                yield _answer(response, response.read())
                return
            rest = b""
            for part in response.iter_bytes():
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    read = call.parse_line(line)
                    yield read
                    if read.read_time is not None:
                        return
            if not rest:
                raise _broken_off()
            yield call.parse_line(rest)


def _followed(
    first: QueryLine, rest: Iterator[QueryLine | Answer], attempt: Attempt
) -> Iterator[QueryLine]:
    with closing(rest):  # type: ignore[type-var]  # a generator
        yield first
        try:
            for line in rest:
                assert isinstance(line, QueryLine)
                yield line
        except httpx.HTTPError as error:
            raise _connection_error(error, attempt) from error


class SyncBody:
    """The body of an answer, to be read piece by piece."""

    def __init__(self, response: httpx.Response, attempt: Attempt) -> None:
        self._response = response
        self._attempt = attempt
        self._pieces = response.iter_raw()  # as it arrives: nothing is lost with the connection
        self.head = Head(response.status_code, response.headers)

    def read(self) -> bytes:
        """The next piece, empty at the end. Raises Unavailable when the connection is lost."""
        try:
            return next(self._pieces, b"")
        except httpx.HTTPError as error:
            raise _piece_error(error, self._attempt) from error

    def close(self) -> None:
        self._response.close()


class AsyncBody:
    """The body of an answer, to be read piece by piece."""

    def __init__(self, response: httpx.Response, attempt: Attempt) -> None:
        self._response = response
        self._attempt = attempt
        self._pieces = response.aiter_raw()
        self.head = Head(response.status_code, response.headers)

    async def read(self) -> bytes:
        """The next piece, empty at the end. Raises Unavailable when the connection is lost."""
        try:
            return await anext(self._pieces, b"")
        except httpx.HTTPError as error:
            raise _piece_error(error, self._attempt) from error

    async def close(self) -> None:
        await self._response.aclose()


class AsyncHttp:
    """Calls within one event loop. Cancelling a call gives up its request; a refresh under way goes
    on, because its answer must not be lost."""

    def __init__(
        self, options: Options, session: Session, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._options = options
        self._session = session
        self._refreshing: asyncio.Task[None] | None = None
        self._http = httpx.AsyncClient(
            **_http_settings(options),
            transport=transport
            or httpx.AsyncHTTPTransport(limits=_LIMITS, trust_env=not options.is_loopback),
        )

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
            asked = self._http.build_request(**_http_request(self._options, attempt, _pieces_async))
            try:
                response = await self._http.send(asked, stream=True)
                if not response.is_success:
                    async with aclosing(response):
                        return _answer(response, await response.aread())
            except httpx.HTTPError as error:
                return _connection_error(error, attempt)
            opened.append(AsyncBody(response, attempt))
            return Answer(response.status_code, b"")

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
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._http.aclose()

    async def _refresh(self, used: Tokens, stale: str | None) -> None:
        call = _requests.refresh(self._options.home, used.refresh_token, time.monotonic())
        try:
            self._session.refresh(used, await self.run(call))
        except SdkError as error:
            if not _may_go_on(self._session, used, stale, error):
                raise

    def _flow(self, request: Request, timeout: float | None) -> Flow:
        _check_open(self._http)
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
                    outcome = await send(step)
                case Pause():
                    await asyncio.sleep(step.seconds)
                    outcome = None

    async def _send(self, attempt: Attempt) -> Answer | SdkError:
        try:
            async with asyncio.timeout(attempt.timeout_seconds):
                async with self._http.stream(
                    **_http_request(self._options, attempt, _pieces_async)
                ) as response:
                    return _answer(response, await response.aread())
        except TimeoutError:
            return timed_out(attempt.timeout_seconds)
        except httpx.HTTPError as error:
            return _connection_error(error, attempt)

    async def _open(
        self, attempt: Attempt, call: StreamCall[Any], opened: list[AsyncIterator[QueryLine]]
    ) -> Answer | SdkError:
        lines = self._lines(attempt, call)
        try:
            first = await anext(lines)
        except httpx.HTTPError as error:
            return _connection_error(error, attempt)
        except SdkError as error:
            return error
        if isinstance(first, Answer):
            return first
        opened.append(_followed_async(first, lines, attempt))
        return Answer(200, b"")

    async def _lines(
        self, attempt: Attempt, call: StreamCall[Any]
    ) -> AsyncIterator[QueryLine | Answer]:
        async with self._http.stream(
            **_http_request(self._options, attempt, _pieces_async)
        ) as response:
            if not response.is_success:
                yield _answer(response, await response.aread())
                return
            rest = b""
            async for part in response.aiter_bytes():
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
    first: QueryLine, rest: AsyncIterator[QueryLine | Answer], attempt: Attempt
) -> AsyncIterator[QueryLine]:
    async with aclosing(rest):  # type: ignore[type-var]  # a generator
        yield first
        try:
            async for line in rest:
                assert isinstance(line, QueryLine)
                yield line
        except httpx.HTTPError as error:
            raise _connection_error(error, attempt) from error


# --- both -----------------------------------------------------------------------------------------

_LIMITS = httpx.Limits(
    max_connections=CONNECTIONS_MAX,
    max_keepalive_connections=CONNECTIONS_MAX,
    keepalive_expiry=30.0,
)


def _http_settings(options: Options) -> dict[str, Any]:
    return {
        "base_url": options.base_url,
        "headers": {"User-Agent": USER_AGENT},
        "follow_redirects": False,  # a redirect could carry credentials to another place
        "trust_env": not options.is_loopback,
    }


def _attempts(options: Options, request: Request, timeout: float | None) -> Flow:
    return attempts(
        request,
        timeout_seconds=check_timeout(timeout, options.timeout_seconds),
        policy=options.retry,
        now=time.monotonic,
        random=random.random,
    )


def _pieces(body: bytes) -> Iterator[bytes]:
    """A large body. Given whole, it would live as long as httpx's answer to it, which refers to
    itself: until the garbage is collected, which may be never."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def _pieces_async(body: bytes) -> AsyncIterator[bytes]:
    """The same for asyncio."""
    for piece in _pieces(body):
        yield piece


def _http_request(
    options: Options, attempt: Attempt, pieces: Callable[[bytes], Any]
) -> dict[str, Any]:
    request = attempt.request
    headers = {"Accept": request.accept, **options.headers(attempt.token), **dict(request.headers)}
    if request.body is not None and request.content_type:
        headers["Content-Type"] = request.content_type
    content: Any = request.body
    if content is not None and len(content) > PIECE_BYTES:
        headers["Content-Length"] = str(len(content))
        content = pieces(content)
    return {
        "method": request.method,
        "url": request.path,
        "params": request.params or None,
        "content": content,
        "headers": headers,
        "timeout": httpx.Timeout(
            attempt.timeout_seconds, connect=min(CONNECT_SECONDS_MAX, attempt.timeout_seconds)
        ),
    }


def _answer(response: httpx.Response, body: bytes) -> Answer:
    retry_after = response.headers.get("Retry-After", "")
    return Answer(
        status=response.status_code,
        body=body,
        request_id=response.headers.get("X-Request-Id"),
        retry_after_seconds=float(retry_after) if retry_after.isdecimal() else None,
    )


def _connection_error(error: httpx.HTTPError, attempt: Attempt) -> SdkError:
    found: SdkError
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        found = Unavailable(f"the server cannot be reached: {_words(error)}", reason=NEVER_SENT)
    elif isinstance(error, httpx.TimeoutException):
        found = timed_out(attempt.timeout_seconds)
    elif isinstance(error, httpx.DecodingError | httpx.TooManyRedirects):
        found = Internal(f"the server's answer cannot be read: {_words(error)}")
    else:
        found = Unavailable(f"the connection was lost: {_words(error)}", reason="ConnectionLost")
    found.__cause__ = error
    return found


def _piece_error(error: httpx.HTTPError, attempt: Attempt) -> SdkError:
    """A pause that is too long between two pieces of a body is a lost connection: the rest can be
    asked for."""
    found = _connection_error(error, attempt)
    if isinstance(found, DeadlineExceeded):
        return Unavailable(found.message, reason="ConnectionLost")
    return found


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _broken_off() -> Unavailable:
    return Unavailable("the answer broke off before its end", reason="ConnectionLost")


def _check_open(http: httpx.Client | httpx.AsyncClient) -> None:
    if http.is_closed:
        raise FailedPrecondition("the client is closed", reason="ClientClosed")


def _may_go_on(session: Session, used: Tokens, stale: str | None, error: SdkError) -> bool:
    """A refresh that failed for now does no harm while the token is good."""
    if session.refresh_failed(used, error):
        return False
    return used.id_token != stale and time.monotonic() < used.ends_at
