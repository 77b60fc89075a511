"""The HTTP face: one ASGI callable for every request, from its first byte to its access-log line.

Document routes are found by hand, before Starlette's router: on uvicorn that doubles the rate of a
point read. All others are found by Starlette. Finding only notes the routes of the path; `_answer`
is the one place where origins are checked, callers established, handlers called, and errors
become answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from itertools import count

import orjson
import structlog
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from baas.errors import BaasError, Internal, NotFound, Unavailable, Unimplemented
from baas.http.answers import REQUEST_ID, Answer, AnyAnswer, StreamAnswer, error_answer
from baas.http.authentication import authenticate, recognize_caller
from baas.http.exchange import AsgiExchange, Exchange, Header, in_task
from baas.http.lateness import LateRequests, late_error
from baas.http.logs import AccessLog
from baas.http.object_answers import ObjectAnswer
from baas.http.origins import check_origin, cors_headers, preflight_headers
from baas.http.paths import (
    OBJECTS,
    UPLOADS,
    ObjectsPath,
    split_documents_path,
    split_objects_path,
)
from baas.http.requests import ClientGone, Request
from baas.http.route import Route
from baas.http.routes import ROUTES
from baas.services.context import Context
from baas.wire.errors import encode_error

_log = structlog.get_logger("baas.http")
_PROJECTS = "/api/v1/projects/"
_PLACES_MAX, _PLACE_CHARACTERS_MAX = 1_000, 300


class HttpFace:
    """Answers HTTP requests. `context` is None until start-up is done and once the drain begins."""

    def __init__(self, access_log: AccessLog | None, *, instance: str) -> None:
        self.context: Context | None = None
        self._requests = LateRequests()
        self._access_log = access_log
        self._ids = count(1)
        self._instance = instance
        by_path = _by_path(ROUTES)
        self._documents = by_path.pop("{documents}/{collection}/{id}")
        self._collections = by_path.pop("{documents}/{collection}")
        self._verbs = {
            path.removeprefix("{documents}:"): by_path.pop(path)
            for path in list(by_path)
            if path.startswith("{documents}:")
        }
        self._objects = {
            path: by_path.pop(path) for path in list(by_path) if path.startswith((OBJECTS, UPLOADS))
        }
        # What the path of a document, or of a collection, says up to its last slash: it is the same
        # for many of them. Project, database, the path above, routes.
        self._places: dict[str, tuple[str, str, str, Mapping[str, Route]]] = {}
        self._router = Router(
            routes=[
                StarletteRoute(path, endpoint=_Endpoint(routes)) for path, routes in by_path.items()
            ],
            redirect_slashes=False,
            default=_no_route,
        )

    @property
    def open_requests(self) -> int:
        return len(self._requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(AsgiExchange(scope, receive, send, asyncio.current_task()))

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request, from its first byte to its line in the log. May be begun outside of
        a task, and has to be given one where it asks for it; see `in_task`."""
        request_id = f"{self._instance}{next(self._ids):x}"
        context = self.context
        if context is None:
            await in_task()
            starting = Unavailable("the server is starting or shutting down", reason="NotReady")
            await error_answer(starting, request_id).send(*exchange.as_asgi())
            return
        request = Request(context, exchange, request_id)
        started = context.clock.monotonic_seconds()
        self._requests.add(request, started)
        status, size = 499, 0
        try:
            try:
                answer = await self._answer(request)
            except asyncio.CancelledError as error:
                answer = self._error(request, late_error(request, error))
            request.waits_since = None
            status = answer.status
            headers: list[Header] = []
            if request.allowed_origin is not None:
                headers = cors_headers(request)
            if type(answer) is Answer and answer.send_whole(exchange, request_id, headers):
                size = len(answer.body)
            else:
                await in_task()
                answer.headers.extend([(REQUEST_ID, request_id.encode()), *headers])
                if type(answer) is ObjectAnswer:
                    try:
                        size = await answer.send_to(exchange)
                    except BaasError as error:
                        status, size = await self._send_error(request, error, headers)
                else:
                    size = await answer.send(*exchange.as_asgi())
        except (ClientGone, OSError, TimeoutError):
            # Nobody is left to answer; the line in the log says 499.
            status = 499
        finally:
            self._requests.discard(request)
            if self._access_log is not None:
                seconds = context.clock.monotonic_seconds() - started
                self._access_log.add(request, status, size, seconds)

    async def _answer(self, request: Request) -> AnyAnswer:
        answer: AnyAnswer
        try:
            request.check_headers()
            routes = self._find_by_hand(request) or await self._find_other(request)
            route = routes.get(request.method)
            databases = request.context.databases
            if (
                route is None
                or not route.is_prompt
                or not databases.is_near
                or request.project in databases.far_projects
            ):
                await in_task()
            if route is not None and route.ends_with_client:
                request.exchange.end_with_client()
            if databases.has_workers and not databases.is_current(request.project):
                await in_task()
                await databases.keep_up(request.project)
            if request.origin is not None:
                await check_origin(request)
            if route is None:
                return _other_method(request, routes)
            access = route.access
            request.caller = recognize_caller(request, access) or await authenticate(
                request, access
            )
            if route.takes_its_time:
                request.take_time()
            answer = await route.handler(request)
        except BaasError as error:
            return self._error(request, error)
        except ClientGone:
            raise
        except Exception:
            _log.exception("request failed", request_id=request.id, path=request.path)
            return error_answer(Internal("internal error"), request.id)
        if isinstance(answer, StreamAnswer):
            answer.chunks = _guarded(answer.chunks, request)
        return answer

    def _find_by_hand(self, request: Request) -> Mapping[str, Route] | None:
        """The routes of a path into documents or objects, by method; sets on the request what the
        path names."""
        path = request.path
        if not path.startswith(_PROJECTS):
            return None
        raw_path = request.exchange.raw_path
        end = path.rfind("/") + 1
        place = self._places.get(path[:end])
        if place is not None and raw_path is not None and b"%" not in raw_path:
            request.project, request.database, above, routes = place
            request.document_path = above + path[end:]
            return routes
        found = split_documents_path(path, raw_path)
        if found is None:
            objects = split_objects_path(path, raw_path)
            return None if objects is None else self._find_object(request, objects)
        request.project, request.database, tail = found
        if tail[:1] == "/":
            request.document_path = tail[1:]
            # An odd number of slashes leads to a document, an even one to a collection.
            routes = self._collections if tail.count("/") & 1 else self._documents
            if raw_path is not None and b"%" not in raw_path and end <= _PLACE_CHARACTERS_MAX:
                if len(self._places) >= _PLACES_MAX:
                    self._places.clear()
                above = tail[1 : tail.rfind("/") + 1]
                self._places[path[:end]] = request.project, request.database, above, routes
            return routes
        verb = self._verbs.get(tail[1:])
        if verb is None:
            raise _unknown_route(request)
        return verb

    async def _find_other(self, request: Request) -> Mapping[str, Route]:
        """The routes of any other path, by method; sets the request's project and params."""
        await in_task()
        scope, receive, _ = request.exchange.as_asgi()
        scope["baas.request"] = request
        try:
            await self._router(scope, receive, _no_send)
        finally:
            del scope["baas.request"]  # it leads back to the scope
        request.project = request.params.get("project")
        return request.routes

    def _find_object(self, request: Request, path: ObjectsPath) -> Mapping[str, Route]:
        request.project = path.project
        request.params = {"bucket": path.bucket, "name": path.name, "upload": path.name}
        routes = self._objects.get(path.route)
        if routes is None:
            raise NotFound(
                f"there is no `:{path.route.rpartition(':')[2][:80]}` here; a colon in an object's "
                "name is written `%3A`",
                reason="RouteNotFound",
            )
        return routes

    async def _send_error(
        self, request: Request, error: BaasError, headers: list[Header]
    ) -> tuple[int, int]:
        """Its status, and the size of its body."""
        answer = self._error(request, error)
        answer.headers.extend(headers)
        return answer.status, await answer.send(*request.exchange.as_asgi())

    def _error(self, request: Request, error: BaasError) -> Answer:
        request.context.denials.note(request.id, error)
        if error.code.value in ("INTERNAL", "DATA_LOSS"):
            _log.error(
                "request failed",
                request_id=request.id,
                path=request.path,
                reason=error.reason,
                error=error.message,
            )
        return error_answer(error, request.id)


class _Endpoint:
    """Notes on the request which routes its path has; Starlette sees a plain ASGI app."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request = scope["baas.request"]
        request.routes = self._routes
        request.params = scope["path_params"]


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise _unknown_route(scope["baas.request"])


async def _no_send(message: object) -> None:
    raise AssertionError("routing sends nothing")


def _unknown_route(request: Request) -> NotFound:
    return NotFound(f"there is no `{request.path[:200]}` here; see /docs", reason="RouteNotFound")


def _by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """The table by path, then by method; HEAD is answered as GET without its body."""
    found: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = found.setdefault(route.path, {})
        methods[route.method] = route
        if route.method == "GET":
            methods["HEAD"] = route
    return found


def _other_method(request: Request, routes: Mapping[str, Route]) -> Answer:
    """Preflights, OPTIONS, and methods that the path does not have."""
    allow = ", ".join(sorted({*routes, "OPTIONS"})).encode("ascii")
    if request.method == "OPTIONS":
        answer = Answer(b"", status=204, headers=((b"allow", allow),))
        if request.allowed_origin is not None:
            answer.headers.extend(preflight_headers(request, allow))
        return answer
    where = "this path"
    if path := request.document_path[:200]:
        kind = "collection" if request.document_path.count("/") % 2 == 0 else "document"
        where = f"a path to a {kind}, as `{path}` is (documents and collections alternate)"
    error = Unimplemented(
        f"`{request.method}` is not offered on {where}; offered are {allow.decode()}",
        reason="MethodNotAllowed",
        details={"allowed": sorted(routes)},
    )
    answer = error_answer(error, request.id)
    answer.headers.append((b"allow", allow))
    return answer


async def _guarded(chunks: AsyncGenerator[bytes], request: Request) -> AsyncGenerator[bytes]:
    """The stream, whose error after its start is one more line."""
    try:
        async with aclosing(chunks):
            request.wait_anew()
            async for chunk in chunks:
                request.waits_since = None  # but for the client
                yield chunk
                request.wait_anew()
    except asyncio.CancelledError as error:
        late = late_error(request, error)
        yield orjson.dumps(encode_error(late, request.id), option=orjson.OPT_APPEND_NEWLINE)
    except BaasError as error:
        yield orjson.dumps(encode_error(error, request.id), option=orjson.OPT_APPEND_NEWLINE)
    except Exception:
        _log.exception("stream failed", request_id=request.id, path=request.path)
        hidden = Internal("internal error")
        yield orjson.dumps(encode_error(hidden, request.id), option=orjson.OPT_APPEND_NEWLINE)
