"""The one way from a command to a server: its administration API over HTTP.

With `--url` and BAAS_TOKEN: that server. Else the server that runs on the data folder, which it
made known in `<data>/server.json`. Else the application is started in this process, on the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import orjson

from baas.cli.failures import UNREACHABLE, CommandFailed, Refused
from baas.cli.options import Target
from baas.model.paths import CollectionPath, DocumentPath
from baas.settings import Settings

TOKEN_VARIABLE = "BAAS_TOKEN"
API = "/api/v1/admin"
APPS_API = "/api/v1"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 600.0
T = TypeVar("T")


class Client:
    """Calls of the administration API. Raises Refused for an error that the server answers."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @property
    def server(self) -> str:
        """The server's address."""
        return str(self._http.base_url)

    async def call(
        self, method: str, path: str, *, api: str = API, **request: Any
    ) -> dict[str, Any]:
        """The JSON object that the server answers; `path` begins behind the API's own."""
        with _reaching():
            answer = await self._http.request(method, api + path, **request)
        _check(answer, answer.content)
        return _parse(answer.content)

    async def pages(
        self, method: str, path: str, *, api: str = API, **request: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """The pages of a list, one after the other, until the last. What is asked stands in `json`
        or in `params`, which may be changed between two of them."""
        asked = request["json"] if "json" in request else request.setdefault("params", {})
        while True:
            page = await self.call(method, path, api=api, **request)
            yield page
            token = page.get("next_page_token")
            if token is None:
                return
            asked["page_token"] = token

    async def gather(
        self,
        path: str,
        member: str,
        *,
        page_size: int,
        limit: int | None = None,
        params: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """What all pages of a list have in this member, but no more than `limit`."""
        found: list[dict[str, Any]] = []
        first = page_size if limit is None else min(page_size, limit)
        asked = {**(params or {}), "page_size": str(first)}
        async for page in self.pages("GET", path, params=asked):
            found += page[member]
            if limit is not None:
                if len(found) >= limit:
                    break
                asked["page_size"] = str(min(page_size, limit - len(found)))
        return found

    @contextlib.asynccontextmanager
    async def open(
        self, path: str, *, api: str = API, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is still to be read."""
        with _reaching():
            async with self._http.stream("GET", api + path, **request) as answer:
                if not answer.is_success:
                    _check(answer, await answer.aread())
                yield answer

    async def stream(self, path: str, **request: Any) -> AsyncIterator[bytes]:
        """The body of an answer as it arrives."""
        with _reaching():
            async with self._http.stream("GET", API + path, **request) as answer:
                if not answer.is_success:
                    _check(answer, await answer.aread())
                async for chunk in answer.aiter_bytes():
                    yield chunk


def run(target: Target, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs a command's work against the server that the options name."""

    async def main() -> T:
        async with connect(target) as client:
            return await work(client)

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    """A client of the server that the options name."""
    if target.url is not None:
        async with _remote(target.url, _token_for(target.url)) as client:
            yield client
        return
    settings = target.load_settings()
    running = await _find_running(settings)
    if running is not None:
        async with _remote(*running) as client:
            yield client
        return
    async with _in_process(settings) as client:
        yield client


def path_of(*segments: str) -> str:
    """A path of the API from segments that may hold anything."""
    return "".join("/" + quote(segment, safe="()") for segment in segments)


def documents_path(
    project: str, database: str, at: DocumentPath | CollectionPath | None = None
) -> str:
    """The documents of a database in the API for apps, or one of them, or a collection."""
    segments = () if at is None else at.segments
    return path_of("projects", project, "databases", database, "documents", *segments)


def _token_for(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandFailed(f"`{url}` is no address of a server; it looks like https://example.com")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise CommandFailed(
            f"`{url}` would carry the token in the clear; use https, or a tunnel to this machine"
        )
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise CommandFailed(f"--url needs an administrator's token in {TOKEN_VARIABLE}")
    return token


async def _find_running(settings: Settings) -> tuple[str, str] | None:
    """Address and token of the server that runs on the data folder. A file that a killed server
    left behind leads nowhere; it is not believed."""
    try:
        told = orjson.loads((settings.data / "server.json").read_bytes())
        url, token = str(told["url"]), str(told["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    url = url.replace("://0.0.0.0", "://127.0.0.1").replace("://[::]", "://[::1]")
    try:
        async with httpx.AsyncClient(
            timeout=_CONNECT_SECONDS, trust_env=False, verify=_trusted(url)
        ) as http:
            await http.get(url + "/healthz")
    except httpx.HTTPError:
        return None
    return url, token


@contextlib.asynccontextmanager
async def _remote(url: str, token: str) -> AsyncIterator[Client]:
    timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    # A proxy from the environment must not see what goes to this very machine.
    trust_env = urlsplit(url).hostname not in _LOOPBACK
    async with httpx.AsyncClient(
        base_url=url.rstrip("/"),
        headers=_headers(token),
        timeout=timeout,
        trust_env=trust_env,
        verify=_trusted(url),
    ) as http:
        yield Client(http)


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Whom connections trust. Without TLS that is nobody: reading the system's certificates takes
    a sixth of the time of a command."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http:") else True


@contextlib.asynccontextmanager
async def _in_process(settings: Settings) -> AsyncIterator[Client]:
    # The whole server: two thirds of a second, which commands do without that ask a running one.
    from baas.app import create_app
    from baas.cli.transport import AppTransport
    from baas.http.logs import configure_logs

    # A command says what went wrong in one line; who wants the server's log asks for all of it.
    configure_logs("debug" if settings.log_level == "debug" else "critical", for_people=True)
    app = create_app(replace(settings, access_log=False))
    await app.start()
    try:
        async with httpx.AsyncClient(
            transport=AppTransport(app),
            base_url="http://127.0.0.1",
            headers=_headers(app.operator_token),
        ) as http:
            yield Client(http)
    finally:
        await app.drain()
        await app.stop()


def _headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "user-agent": "baas-cli"}


@contextlib.contextmanager
def _reaching() -> Any:
    try:
        yield
    except httpx.TimeoutException as error:
        raise CommandFailed("the server did not answer in time", exit_code=UNREACHABLE) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = str(error) or type(error).__name__
        raise CommandFailed(
            f"the server cannot be reached: {text}", exit_code=UNREACHABLE
        ) from error


def _check(answer: httpx.Response, body: bytes) -> None:
    if answer.is_success:
        return
    try:
        error = orjson.loads(body)["error"]
        message, reason = str(error["message"]), str(error["reason"])
        details = error.get("details") or {}
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(
            f"{answer.request.url} answered {answer.status_code}, and not as a baas server does",
            exit_code=UNREACHABLE,
        ) from None
    raise Refused(message, reason=reason, details=details)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        tree = orjson.loads(body or b"{}")
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise CommandFailed("the server's answer is no JSON object", exit_code=UNREACHABLE)
    return tree
