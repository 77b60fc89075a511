"""How requests reach the server: the seam between the clients and the HTTP libraries below them.

`PooledTransport` sends with urllib3, `AsyncPooledTransport` with aiohttp; both keep connections
open. Whatever goes wrong below comes out of here as an SdkError.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
import urllib3
import yarl

from baas_sdk._flow import NEVER_SENT, timed_out
from baas_sdk.errors import Internal, SdkError, Unavailable

CONNECTIONS_MAX = 100
IDLE_SECONDS_MAX = 30.0
PIECE_BYTES = 64 * 1024
HEAD_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, addressed and signed. `timeout_seconds` bounds the wait for the answer's
    beginning and for each piece of it. `is_raw`: pieces of the answer are wanted as they are sent,
    not unpacked."""

    method: str
    url: str  # percent-encoded
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout_seconds: float
    connect_seconds: float
    is_raw: bool = False


class Response(Protocol):
    """An answer whose body is still to be read. Reading raises Unavailable (`ConnectionLost`),
    DeadlineExceeded and Internal."""

    status: int
    headers: Mapping[str, str]  # names in any case

    def read_piece(self) -> bytes:
        """What has arrived, at least a byte; nothing at the end."""
        ...

    def close(self) -> None:
        """Keeps the connection for the next request, if all of the body was read."""
        ...


class Transport(Protocol):
    """Sends requests from any thread."""

    def send(self, request: Outgoing) -> Response:
        """Raises Unavailable (`ConnectionFailed` if the server cannot have seen it) and
        DeadlineExceeded."""
        ...

    def close(self) -> None: ...


class AsyncResponse(Protocol):
    """An answer whose body is still to be read. Reading raises Unavailable (`ConnectionLost`),
    DeadlineExceeded and Internal."""

    status: int
    headers: Mapping[str, str]  # names in any case

    async def read(self) -> bytes:
        """The whole body."""
        ...

    async def read_piece(self) -> bytes:
        """What has arrived, at least a byte; nothing at the end."""
        ...

    async def close(self) -> None:
        """Keeps the connection for the next request, if all of the body was read."""
        ...


class AsyncTransport(Protocol):
    """Sends requests within one event loop. Cancelling gives up the request."""

    async def send(self, request: Outgoing) -> AsyncResponse:
        """Raises Unavailable (`ConnectionFailed` if the server cannot have seen it) and
        DeadlineExceeded."""
        ...

    async def close(self) -> None: ...


# urllib3 ------------------------------------------------------------------------------------------


class PooledTransport:
    """A Transport. `trust_env`: the proxies of the environment are asked."""

    def __init__(self, base_url: str, *, trust_env: bool) -> None:
        proxy = _proxy_of(base_url) if trust_env else None
        self._pools: urllib3.PoolManager
        if proxy is None:
            self._pools = urllib3.PoolManager(maxsize=CONNECTIONS_MAX, block=True)
        else:
            self._pools = urllib3.ProxyManager(
                proxy,
                maxsize=CONNECTIONS_MAX,
                block=True,
                proxy_headers=_proxy_credentials(proxy),
            )
        self._is_closed = False

    def send(self, request: Outgoing) -> PooledResponse:
        with _blocking_errors(request.timeout_seconds):
            answer = self._pools.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                redirect=False,  # one could carry credentials to another place
                retries=False,
                preload_content=False,
                pool_timeout=request.timeout_seconds,
                timeout=urllib3.Timeout(
                    connect=request.connect_seconds, read=request.timeout_seconds
                ),
            )
        if self._is_closed:  # meanwhile, and the connection's pool may be newer than that
            self._pools.clear()
        return PooledResponse(answer, request)

    def close(self) -> None:
        self._is_closed = True
        self._pools.clear()


class PooledResponse:
    """A Response."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, request: Outgoing) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._answer = answer
        self._timeout_seconds = request.timeout_seconds
        self._is_raw = request.is_raw

    def read_piece(self) -> bytes:
        with _blocking_errors(self._timeout_seconds):
            while True:
                piece = self._answer.read1(PIECE_BYTES, decode_content=not self._is_raw)
                # A packed piece may give nothing yet.
                if piece or self._answer.closed or not self._answer.length_remaining:
                    return piece

    def close(self) -> None:
        if not self._answer.closed:
            self._answer.close()
        self._answer.release_conn()


@contextmanager
def _blocking_errors(timeout_seconds: float) -> Iterator[None]:
    try:
        yield
    except (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.ProxyError,
    ) as error:
        raise _unreachable(error) from error
    except urllib3.exceptions.SSLError as error:
        # Of a handshake or of what came later: only of certificates it is known.
        is_certificate = isinstance(error.args[0], ssl.SSLCertVerificationError)
        raise (_unreachable if is_certificate else _lost)(error) from error
    except (urllib3.exceptions.TimeoutError, urllib3.exceptions.EmptyPoolError) as error:
        raise timed_out(timeout_seconds) from error
    except urllib3.exceptions.DecodeError as error:
        raise _unreadable(error) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _lost(error) from error


def _proxy_credentials(proxy: str) -> dict[str, str]:
    """urllib3 does not look for them in the address."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return dict(urllib3.make_headers(proxy_basic_auth=user))


def _proxy_of(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


# aiohttp ------------------------------------------------------------------------------------------


class AsyncPooledTransport:
    """An AsyncTransport. `trust_env`: the proxies of the environment are asked."""

    def __init__(self, base_url: str, *, trust_env: bool) -> None:
        # Asked once, and here: aiohttp would look into ~/.netrc, too, in a thread for each request,
        # and show the server what it finds there.
        self._proxy = _proxy_of(base_url) if trust_env else None
        self._answers: WeakSet[aiohttp.ClientResponse] = WeakSet()  # that may still be read
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Outgoing) -> AsyncPooledResponse:
        session = self._session or self._open()
        body = request.body
        try:
            answer = await session.request(
                request.method,
                yarl.URL(request.url, encoded=True),
                data=_pieces(body) if body is not None and len(body) > PIECE_BYTES else body,
                headers=request.headers,
                allow_redirects=False,  # one could carry credentials to another place
                auto_decompress=not request.is_raw,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=request.timeout_seconds,
                    sock_connect=request.connect_seconds,
                    sock_read=request.timeout_seconds,
                ),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _async_error(error, request.timeout_seconds) from error
        except RuntimeError as error:
            raise _closed_or(error, session) from error
        self._answers.add(answer)
        return AsyncPooledResponse(answer, session, request.timeout_seconds)

    async def close(self) -> None:
        for answer in tuple(self._answers):  # aiohttp leaves those waiting who read one
            answer.content.set_exception(aiohttp.ClientConnectionError("the client is closed"))
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """With the first request: it belongs to the event loop that runs."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_SECONDS_MAX
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )
        # Else it would send some methods again by itself, whether that may be done twice or not.
        self._session._retry_connection = False
        return self._session


class AsyncPooledResponse:
    """An AsyncResponse."""

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        session: aiohttp.ClientSession,
        timeout_seconds: float,
    ) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._answer = answer
        self._session = session
        self._timeout_seconds = timeout_seconds

    async def read(self) -> bytes:
        try:
            return await self._answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _async_error(error, self._timeout_seconds) from error
        except RuntimeError as error:
            raise _closed_or(error, self._session) from error

    async def read_piece(self) -> bytes:
        try:
            return await self._answer.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _async_error(error, self._timeout_seconds) from error
        except RuntimeError as error:
            raise _closed_or(error, self._session) from error

    async def close(self) -> None:
        self._answer.close()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A large body, which else would be written in one go, however slowly it is taken."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


def _closed_or(error: RuntimeError, session: aiohttp.ClientSession) -> Exception:
    """So aiohttp says that the client was closed meanwhile; anything else is a defect."""
    return _lost(error) if session.closed else Internal(str(error))


def _async_error(error: Exception, timeout_seconds: float) -> SdkError:
    connecting = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    if isinstance(error, connecting):
        return _unreachable(error)
    if isinstance(error, asyncio.TimeoutError):
        return timed_out(timeout_seconds)
    if isinstance(error, aiohttp.ClientPayloadError) and isinstance(
        error.__cause__, aiohttp.http_exceptions.ContentEncodingError
    ):
        return _unreadable(error)
    return _lost(error)


# Both ---------------------------------------------------------------------------------------------


def _unreachable(error: Exception) -> Unavailable:
    return Unavailable(f"the server cannot be reached: {_words(error)}", reason=NEVER_SENT)


def _lost(error: Exception) -> Unavailable:
    return Unavailable(f"the connection was lost: {_words(error)}", reason="ConnectionLost")


def _unreadable(error: Exception) -> Internal:
    return Internal(f"the server's answer cannot be read: {_words(error)}")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
