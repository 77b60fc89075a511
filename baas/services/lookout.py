"""What those who carry out work in the background share: to look for it again and again, and to
watch one piece of it until it is over, or not wanted any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from baas.ending import end_if_cancelled, repeat_until_cancelled
from baas.errors import BaasError, Internal


class Lookout:
    """Looks at once, again when so many seconds have passed, and sooner when it is woken. What
    `look` raises is logged, and the next look comes all the same. `name`: what is looked after."""

    def __init__(
        self, name: str, look: Callable[[], Awaitable[None]], seconds: Callable[[], float]
    ) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._log = structlog.get_logger(f"baas.{name}")
        self._wakeup = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(
            repeat_until_cancelled(f"looking after {self._name}", self._run), name=self._name
        )

    def wake(self) -> None:
        """There is something new."""
        self._wakeup.set()

    async def close(self) -> None:
        """Cancels a look that is going on, and returns when it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        self._wakeup.clear()
        try:
            await self._look()
        except BaasError as error:
            self._log.warning(f"{self._name} cannot be looked after", error=error.message)
        except Exception:
            self._log.exception(f"looking after {self._name} failed")
        end_if_cancelled()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds()):
                await self._wakeup.wait()


async def attend(
    work: asyncio.Task[None], is_wanted: Callable[[], Awaitable[bool]], *, every: float
) -> bool:
    """Whether the work has come to its end by itself. `is_wanted` is asked every so many seconds;
    when it says no, or raises, or whoever attends is cancelled, the work is. In any case it is over
    when this returns."""
    try:
        while not work.done():
            await asyncio.wait([work], timeout=every)
            if not work.done() and not await is_wanted():
                return False
        return True
    finally:
        work.cancel()
        await asyncio.wait([work])


def failure_of(work: asyncio.Task[None]) -> BaseException | None:
    """Why work that is over has failed, if it has."""
    return Internal("it was given up") if work.cancelled() else work.exception()
