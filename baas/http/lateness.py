"""Requests that get no answer in time. Everything that a request waits for has a bound of its own;
this is the last resort, for what none of them has kept: nobody is to wait for ever, and the log is
to tell where."""

from __future__ import annotations

import asyncio
import math

import structlog

from baas.errors import DeadlineExceeded, answer_too_late
from baas.http.requests import Request
from baas.stacks import tell_waits

LOOK_SECONDS = 1.0
TOLD_SECONDS = 600.0  # between two descriptions of what everything waits for

_log = structlog.get_logger("baas.http")


class LateRequests:
    """All requests that are open. Those that have waited for too long are interrupted, by one timer
    for all of them, and again with each look until they have ended."""

    def __init__(self) -> None:
        self._open: set[Request] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = -math.inf

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: Request, now: float) -> None:
        request.waits_since = now
        self._open.add(request)
        if self._timer is None:
            self._look_later()

    def discard(self, request: Request) -> None:
        self._open.discard(request)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for request in tuple(self._open):
            if request.has_waited_too_long():
                if not request.is_late:
                    self._tell(request)
                request.is_late = True
                request.exchange.interrupt()
        if self._open:
            self._look_later()

    def _tell(self, request: Request) -> None:
        _log.error("a request is late", request_id=request.id, path=request.path)
        now = request.context.clock.monotonic_seconds()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            try:
                tell_waits()
            except Exception:  # requests are to be answered though nobody can be told
                _log.exception("what everything waits for cannot be told")


def late_error(request: Request, cancelled: asyncio.CancelledError) -> DeadlineExceeded:
    """What a request is told that was interrupted. Raises `cancelled` if it was not."""
    if not request.is_late:
        raise cancelled
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    request.waits_since = None
    _log.error(
        "a late request was given up", request_id=request.id, path=request.path, exc_info=cancelled
    )
    return answer_too_late(request.context.settings.limits.request_seconds_max)
