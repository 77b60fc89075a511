"""Tasks that have to end when they are cancelled, and tasks that must end for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import structlog

PAUSE_SECONDS = 1.0  # after what should not have happened

_log = structlog.get_logger("baas")


class GivenUp(Exception):
    """What was waited for was cancelled, and the task that waited was not."""


def end_if_cancelled() -> None:
    """Raises CancelledError if the running task was cancelled and that was lost on the way, as it
    is by `asyncio.wait_for` of Python 3.11, through which MongoDB's driver reads and writes, if the
    answer comes at the same moment. For loops without end, at each round: whoever cancels them
    waits until they are over."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def only_own_cancellations() -> Iterator[None]:
    """Raises GivenUp for a CancelledError that was not for the running task: a task that others
    rest on must not end because something else was cancelled, and nobody would hear of it."""
    try:
        yield
    except asyncio.CancelledError as error:
        end_if_cancelled()
        raise GivenUp from error


async def repeat_until_cancelled(what: str, work: Callable[[], Awaitable[object]]) -> NoReturn:
    """Does the work again and again. What it raises is logged, and it is done again after a pause:
    nobody looks whether a task that should never end has ended."""
    while True:
        end_if_cancelled()
        try:
            with only_own_cancellations():
                await work()
        except Exception:
            _log.exception(f"{what} failed")
            await asyncio.sleep(PAUSE_SECONDS)
