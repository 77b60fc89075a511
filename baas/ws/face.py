"""The WebSocket face: an ASGI callable that moves the bytes of the listen protocol.

Two tasks serve a connection. The server's own reads and does what the client asks; a second one
writes everything, in one order, and waits for slow readers without holding up anybody else. When
one of them ends, so does the other, and the last word says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Awaitable, Iterable
from itertools import count
from typing import TypeVar, assert_never

import structlog
from starlette.types import Message, Receive, Scope, Send

from baas.database.names import DatabaseName
from baas.errors import (
    BaasError,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    answer_too_late,
)
from baas.services.authentication import check_api_key
from baas.services.listen import ListenHub, ListenSession
from baas.services.origins import is_origin_allowed
from baas.ws.session import (
    AddTarget,
    Answer,
    Authenticate,
    Greet,
    ListenProtocol,
    RemoveTarget,
)

T = TypeVar("T")

HELLO_SECONDS = 10.0
SEND_SECONDS = 60.0  # a message that is not taken for so long, or twice that, is the last
CLOSE_SECONDS = 5.0  # for the last word
ANSWERS_MAX = 1_000  # unsent answers of a client that asks and does not read
_PATH = re.compile(r"/api/v1/projects/([^/]+)/(?:databases/([^/]+)/)?documents:listen")
_log = structlog.get_logger("baas.ws")


class ListenFace:
    """Serves WebSocket connections. `hub` is None until start-up is done."""

    def __init__(self, *, instance: str) -> None:
        self.hub: ListenHub | None = None
        self._instance = instance
        self._ids = count(1)
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "websocket.connect", message
        request_id = f"{self._instance}w{next(self._ids):x}"
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(scope, receive, send, request_id)
        except OSError:
            pass  # the client is gone
        finally:
            self._connections.discard(task)

    async def drain(self, seconds: float) -> None:
        """Tells every client that the server goes away, and waits until they are gone."""
        if self.hub is not None:
            self.hub.drain()
        if self._connections:
            await asyncio.wait(self._connections, timeout=seconds)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        hub = self.hub
        if hub is None:
            await send({"type": "websocket.close", "code": 1013, "reason": "NotReady"})
            return
        problem: BaasError | None = None
        name: DatabaseName | None = None
        try:
            name = await _in_time(hub, _check_request(hub, scope))
        except PermissionDenied as error:
            # Not even accepted: a page of a stranger gets nothing but HTTP 403.
            await send({"type": "websocket.close", "code": 1008, "reason": error.reason})
            return
        except BaasError as error:
            problem = error
        await send({"type": "websocket.accept"})
        connection = _Connection(hub, receive, send, request_id)
        if name is None:
            assert problem is not None
            await connection.part(problem)
        else:
            await connection.run(name)


async def _check_request(hub: ListenHub, scope: Scope) -> DatabaseName:
    """The database that the path names. Raises NotFound, and PermissionDenied for the origin."""
    found = _PATH.fullmatch(scope["path"])
    project = None if found is None else found[1]
    await hub.context.databases.keep_up(project)
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    if origin is not None:
        host = headers.get(b"host", b"").decode("latin-1")
        text = origin.decode("latin-1")
        if not await is_origin_allowed(hub.context, project, text, host):
            raise PermissionDenied(reason="OriginNotAllowed")
    if found is None:
        raise NotFound(f"there is no `{scope['path'][:200]}` to listen on", reason="RouteNotFound")
    return DatabaseName(found[1], found[2] or "(default)")


class _Connection:
    """One accepted connection."""

    def __init__(self, hub: ListenHub, receive: Receive, send: Send, request_id: str) -> None:
        self._hub = hub
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._protocol = ListenProtocol(
            hub.context.settings.limits, request_id=request_id, note=hub.context.denials.note
        )
        self._answers: deque[str] = deque()
        self._is_sending = False
        self._sent = 0  # messages taken from us
        self._seen = -1  # the same, when somebody last looked
        self._is_stuck = False
        self._watchdog: asyncio.TimerHandle

    async def run(self, name: DatabaseName) -> None:
        """From the greeting to the end."""
        try:
            session = await self._greet(name)
        except BaasError as error:
            await self.part(error)
            return
        except Exception:
            _log.exception("connection failed", request_id=self._request_id)
            await self.part(Internal("internal error"))
            return
        if session is None:
            return
        try:
            await self._talk(session)
        finally:
            await session.close()

    async def part(self, error: BaasError) -> None:
        """Says why, and closes."""
        if isinstance(error, Internal):
            _log.error("connection failed", request_id=self._request_id, error=error.message)
        farewell = self._protocol.farewell(error)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.send", "text": farewell.message})
                await self._send(
                    {
                        "type": "websocket.close",
                        "code": farewell.code,
                        "reason": farewell.reason,
                    }
                )
        except (TimeoutError, OSError, RuntimeError):
            pass  # the client does not read, or is gone: the server drops the connection

    async def _greet(self, name: DatabaseName) -> ListenSession | None:
        """The session, once the client has said who it is; None if it went away."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise Unauthenticated(
                f"no `hello` came within {HELLO_SECONDS:g} seconds", reason="HelloTimeout"
            ) from None
        if message["type"] == "websocket.disconnect":
            return None
        command = self._protocol.receive(_payload(message))
        assert isinstance(command, Greet), command
        session = await _in_time(self._hub, self._open_session(name, command))
        try:
            await self._send({"type": "websocket.send", "text": self._protocol.welcome()})
        except BaseException:
            await session.close()
            raise
        return session

    async def _open_session(self, name: DatabaseName, command: Greet) -> ListenSession:
        if command.api_key is not None:
            await self._hub.context.databases.keep_up(name.project)
            await check_api_key(self._hub.context, name.project, command.api_key)
        return await self._hub.open_session(name, command.token)

    async def _talk(self, session: ListenSession) -> None:
        """Until one of the two tasks ends; then the last word."""
        loop = asyncio.get_running_loop()
        writer = asyncio.create_task(self._write(session), name="listen writer")

        def stop_reading(_: object) -> None:
            # Both may end in the same turn; the timeout of a read that has ended is closed.
            with contextlib.suppress(RuntimeError):
                reading.reschedule(loop.time())

        problem: BaasError | None = None
        self._watch_sending(writer)
        try:
            async with asyncio.timeout(None) as reading:
                writer.add_done_callback(stop_reading)
                await self._read(session)
        except TimeoutError:
            problem = writer.result()
        finally:
            self._watchdog.cancel()
            writer.remove_done_callback(stop_reading)
            writer.cancel()
            await asyncio.wait([writer])
        if problem is not None:
            # Granian closes only while nobody is reading.
            await self.part(problem)

    # Reading --------------------------------------------------------------------------------------

    async def _read(self, session: ListenSession) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            try:
                await self._obey(session, _payload(message))
            except BaasError as error:
                session.end(error)
            except Exception:
                _log.exception("connection failed", request_id=self._request_id)
                session.end(Internal("internal error"))

    async def _obey(self, session: ListenSession, data: str | bytes | None) -> None:
        if session.has_ended:
            return  # nobody listens to what comes behind an error
        command = self._protocol.receive(data)
        match command:
            case None:
                pass
            case AddTarget():
                try:
                    session.add_target(command.target, command.wanted, command.resume_token)
                except BaasError as error:
                    self._answer(session, self._protocol.refuse(command.target, error))
            case RemoveTarget():
                session.remove_target(command.target)
            case Authenticate():
                await _in_time(self._hub, session.authenticate(command.token))
            case Answer():
                self._answer(session, command.message)
            case Greet():
                raise AssertionError("the protocol greets once")
            case _:
                assert_never(command)

    def _answer(self, session: ListenSession, message: str) -> None:
        if len(self._answers) >= ANSWERS_MAX:
            raise ResourceExhausted("the client does not read its answers", reason="SlowReader")
        self._answers.append(message)
        session.interrupt()

    # Writing --------------------------------------------------------------------------------------

    async def _write(self, session: ListenSession) -> BaasError | None:
        """Why the connection is to be closed; None if it is gone."""
        try:
            while True:
                event = await session.next_event()
                if event is None:
                    answers, self._answers = self._answers, deque()
                    await self._send_all(session, answers)
                else:
                    await self._send_all(session, self._protocol.tell(event))
        except BaasError as error:
            return error
        except asyncio.CancelledError:
            if not self._is_stuck:
                raise
            return Unavailable("the client reads too slowly", reason="SlowReader")
        except (OSError, RuntimeError):
            return None
        except Exception:
            _log.exception("connection failed", request_id=self._request_id)
            return Internal("internal error")

    async def _send_all(self, session: ListenSession, messages: Iterable[str]) -> None:
        for message in messages:
            if session.has_ended:
                return
            self._is_sending = True
            await self._send({"type": "websocket.send", "text": message})
            self._is_sending = False
            self._sent += 1

    def _watch_sending(self, writer: asyncio.Task[BaasError | None]) -> None:
        """Looks now and then whether a message is stuck: cheaper than a timer for each."""
        if self._is_sending and self._sent == self._seen:
            self._is_stuck = True
            writer.cancel()
            return
        self._seen = self._sent
        loop = asyncio.get_running_loop()
        self._watchdog = loop.call_later(SEND_SECONDS, self._watch_sending, writer)


async def _in_time(hub: ListenHub, work: Awaitable[T]) -> T:
    """Raises DeadlineExceeded (`AnswerTooLate`): as with requests, nobody waits for ever for what
    hangs."""
    seconds = _seconds_max(hub)
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        _log.exception("a connection waited for too long")
        raise answer_too_late(seconds) from None


def _seconds_max(hub: ListenHub) -> float:
    return hub.context.settings.limits.request_seconds_max


def _payload(message: Message) -> str | bytes | None:
    text: str | None = message.get("text")
    return message.get("bytes") if text is None else text
