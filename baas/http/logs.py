"""Logs: events through structlog, requests through a buffer of their own (see AccessLog).

Both go to standard error, one JSON object per line; in development mode events are for people.
Neither holds a token, a key, a password or a body.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO, TypeAlias, cast

import orjson
import structlog

from baas.clock import Clock
from baas.http.requests import Request
from baas.services.caller import Caller
from baas.wire.documents import time_text

FLUSH_SECONDS = 0.25
FLUSH_LINES = 500


# When it was answered, its id, method, path, status, bytes and seconds, project, caller, client.
_Note: TypeAlias = tuple[int, str, str, str, int, int, float, str | None, Caller, str | None]


class AccessLog:
    """One line per request, gathered and written a few times a second: a write per request would
    cost a tenth of the rate. The lines are made then too: one after the other they cost half.

    Bound to one event loop. A drain flushes; a kill -9 loses the rest.
    """

    def __init__(self, clock: Clock, write: Callable[[bytes], Any]) -> None:
        self._clock = clock
        self._write = write
        self._notes: list[_Note] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, request: Request, status: int, size: int, seconds: float) -> None:
        """Notes one answered request."""
        self._notes.append(
            (
                self._clock.now_microseconds(),
                request.id,
                request.method,
                request.path,
                status,
                size,
                seconds,
                request.project,
                request.caller,
                request.address,
            )
        )
        if len(self._notes) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        notes, self._notes = self._notes, []
        if notes:
            self._write(b"".join([_line(note) for note in notes]))


@lru_cache(maxsize=16)
def _second_text(second: int) -> str:
    return time_text(second * 1_000_000)[:-7]


def _line(note: _Note) -> bytes:
    now, request_id, method, path, status, size, seconds, project, caller, client = note
    second, fraction = divmod(now, 1_000_000)
    return orjson.dumps(
        {
            "event": "request",
            "time": f"{_second_text(second)}{fraction:06d}Z",
            "request_id": request_id,
            "method": method,
            "path": path,
            "status": status,
            "bytes": size,
            "milliseconds": int(seconds * 1_000_000) / 1000,  # `round` is slow
            "project": project,
            "caller": caller.kind._value_,  # `value` is a function in disguise
            "uid": caller.uid,
            "client": client,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


class LogOutput:
    """A text stream to which writing never fails. With a full disk behind it, lines are lost, and
    nothing else is: what is logged must not stop who logs it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def configure_logs(level: str, *, for_people: bool) -> None:
    """Sets up the process's logs; libraries that use `logging` come out the same way."""
    number = logging.getLevelNamesMapping()[level.upper()]
    output = cast(TextIO, LogOutput(sys.stderr))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if for_people:
        shared += [_explanation_last]
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        # Plain tracebacks: those with local variables would print tokens and bodies.
        shared += [structlog.processors.format_exc_info]
        renderer = structlog.processors.JSONRenderer(serializer=_dump)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))


def _explanation_last(
    logger: Any, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Puts a rules explanation, which is several lines with carets, on lines of its own."""
    explanation = event.pop("explanation", None)
    if explanation is not None:
        event["event"] = f"{event['event']}\n{explanation}\n"
    return event


def _dump(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
