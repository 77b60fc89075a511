"""Coroutines that are begun before there is a task for them. Most of those that are run so end in
their first step, and a task costs more than that."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Begun(Coroutine[Any, Any, T]):
    """A coroutine whose first step has been taken outside of a task, for a task to go on with."""

    __slots__ = ("_coroutine", "_is_known", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._is_known = False  # the task knows what is waited for

    @property
    def cr_await(self) -> Coroutine[Any, Any, T]:
        """For who asks what a task waits for, as of any coroutine."""
        return self._coroutine

    def send(self, value: Any) -> Any:
        if self._is_known:
            return self._coroutine.send(value)
        self._is_known = True
        return self._waits_for

    def throw(self, *error: Any) -> Any:
        self._is_known = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        raise NotImplementedError("it is for a task only")


class Unbroken:
    """Runs what may not be broken off: whoever waits for it may be cancelled, and it goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        end: float,
        if_left: Callable[[T], Coroutine[Any, Any, object]] | None = None,
    ) -> T:
        """What the coroutine gives, or raises. It is awaited until `end`, by the loop's time, and
        then cancelled; who awaits gets TimeoutError. `if_left` is run with what it gives to nobody,
        for whoever waited was cancelled."""
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 12):
            # There a time-out belongs to the task that it is begun in, and has to end in it.
            task = asyncio.Task(coroutine, loop=loop, eager_start=True)
        else:
            try:
                waits_for = coroutine.send(None)
            except StopIteration as stop:
                result: T = stop.value
                return result
            task = loop.create_task(Begun(coroutine, waits_for))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(task)
        except BaseException as error:
            task.add_done_callback(lambda task: self._note_left(task, if_left))
            if isinstance(error, TimeoutError):
                task.cancel()
            raise

    async def close(self, *, seconds: float) -> None:
        """Returns when nothing is under way. What takes longer than that is cancelled."""
        end = asyncio.get_running_loop().time() + seconds
        while self._tasks:
            left = max(end - asyncio.get_running_loop().time(), 0.0)
            _, late = await asyncio.wait(self._tasks, timeout=left)
            for task in late:
                task.cancel()

    def _note_left(
        self, task: asyncio.Task[T], if_left: Callable[[T], Coroutine[Any, Any, object]] | None
    ) -> None:
        if task.cancelled() or task.exception() is not None or if_left is None:
            return
        tidying = asyncio.ensure_future(if_left(task.result()))
        self._tasks.add(tidying)
        tidying.add_done_callback(self._tasks.discard)
