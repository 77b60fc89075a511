"""What a process is doing, for people who look at a server that does not answer."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import os
import signal
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any, TypeGuard

STUCK_SECONDS = 20.0  # that the event loop stands still, until it is told where
LOOK_SECONDS = 5.0


def tell_stacks() -> None:
    """From now on this process tells what it is doing: when it is asked, and when it is stuck. To
    be called on the event loop."""
    tell_stacks_on_signal()
    tell_stacks_if_stuck()


def tell_stacks_on_signal() -> None:
    """From now on SIGUSR2 has this process write to its standard error where each of its threads
    is, even if the event loop is stuck, and where everything waits that the event loop goes on
    with, if it is not. To be called on the event loop. Nothing where there is no such signal."""
    number = getattr(signal, "SIGUSR2", None)
    out = sys.__stderr__
    if number is None or out is None:
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, tell_waits)
    faulthandler.register(number, file=out, all_threads=True, chain=True)


def tell_stacks_if_stuck() -> None:
    """From now on this process writes to its standard error where each of its threads is, once,
    whenever its event loop has stood still for STUCK_SECONDS: nobody gets an answer meanwhile, and
    nobody else may be looking. To be called on the event loop."""
    out = sys.__stderr__
    if out is None:
        return
    loop = asyncio.get_running_loop()

    def look() -> None:
        faulthandler.dump_traceback_later(STUCK_SECONDS, file=out)  # in place of the one before
        loop.call_later(LOOK_SECONDS, look)

    look()


def tell_waits() -> None:
    """Writes to standard error where everything waits that the event loop goes on with. To be
    called on the event loop, and seldom: it looks at all objects that there are."""
    if sys.__stderr__ is not None:
        print(*_describe_waits(), sep="\n", file=sys.__stderr__, flush=True)


def _describe_waits() -> Iterator[str]:
    """Tasks, and what goes on outside of tasks, as most answers to requests do: each from where it
    began to what it waits for."""
    told: set[int] = set()
    for task in asyncio.all_tasks():
        yield f"\nTask {task.get_name()}:"
        yield from _describe_wait(task.get_coro(), told)
    # Those that were there when the collector was told to leave the rest alone are tasks.
    suspended = [found for found in gc.get_objects() if _is_suspended(found)]
    awaited = {id(found.cr_await) for found in suspended}
    for found in suspended:
        if id(found) not in told and id(found) not in awaited:
            yield "\nOutside of tasks:"
            yield from _describe_wait(found, told)
    yield f"\nThis was all of process {os.getpid()}."


def _is_suspended(found: object) -> TypeGuard[types.CoroutineType[Any, Any, Any]]:
    # Asked by `isinstance`, a weak proxy of what is gone raises.
    if type(found) is not types.CoroutineType:
        return False
    return inspect.getcoroutinestate(found) == inspect.CORO_SUSPENDED


def _describe_wait(coroutine: Any, told: set[int]) -> Iterator[str]:
    waits = coroutine
    while waits is not None:
        told.add(id(waits))
        frame = _first_of(waits, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            yield f"  {waits!r}"[:300]
        else:
            yield from map(str.rstrip, traceback.format_list(traceback.extract_stack(frame, 1)))
        waits = _first_of(waits, "cr_await", "gi_yieldfrom", "ag_await")


def _first_of(owner: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(owner, name, None))), None)
