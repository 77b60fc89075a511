"""Waiting for what a test needs, never for a while: what holds the test up is the machine.

A condition that comes true is noticed at once. The deadline is for what is broken, and so it is
far beyond what a busy machine takes; and while a virtual machine stands still, as it does for a
minute when a copy of it is made, nobody loses patience.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

PATIENCE_SECONDS = 60.0
_LOOK_SECONDS_MAX = 1.0  # from one look to the next, where the machine does not stand still


class _Patience:
    def __init__(self) -> None:
        self._left = PATIENCE_SECONDS
        self._looked = time.monotonic()

    @property
    def is_over(self) -> bool:
        now = time.monotonic()
        self._left -= min(now - self._looked, _LOOK_SECONDS_MAX)
        self._looked = now
        return self._left <= 0


async def until(condition: Callable[[], object], what: str = "it never came to that") -> None:
    """Returns when the condition is true, which others on this loop make it, or their threads."""
    patience = _Patience()
    while not condition():
        assert not patience.is_over, what
        await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], object], what: str = "it never came to that") -> None:
    """The same without a loop: others are processes."""
    patience = _Patience()
    while not condition():
        assert not patience.is_over, what
        time.sleep(0.01)


async def settle() -> None:
    """Lets every task go on that waits for nothing but other tasks. What waits for a thread, a
    socket or a timer is waited for by `until`."""
    for _ in range(20):
        await asyncio.sleep(0)


class LoopTime:
    """The event loop's time, which stands still until the test moves it: no timer is early or late,
    however long anything takes."""

    def __init__(self, now: float) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    async def advance(self, seconds: float) -> None:
        """Timers that are due then have run when this returns."""
        self._now += seconds
        await settle()


@pytest.fixture
async def loop_time() -> AsyncIterator[LoopTime]:
    loop = asyncio.get_running_loop()
    told = LoopTime(loop.time())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", told, raising=False)
        yield told
