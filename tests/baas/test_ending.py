"""What is to end ends, and what is not goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import structlog.testing

from baas import ending
from baas.ending import GivenUp, only_own_cancellations, repeat_until_cancelled
from tests.waiting import until


async def wait_for_cancelled() -> None:
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    await cancelled


async def test_cancellation_of_something_else_is_an_error_like_others() -> None:
    with pytest.raises(GivenUp), only_own_cancellations():
        await wait_for_cancelled()


async def test_own_cancellation_stays_one() -> None:
    async def wait() -> None:
        with only_own_cancellations():
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_time_out_within_stays_one() -> None:
    async def wait() -> None:
        with only_own_cancellations():
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await asyncio.create_task(wait())


async def test_task_without_end_goes_on_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "PAUSE_SECONDS", 0)
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise KeyError("a defect")
        if rounds == 2:
            await wait_for_cancelled()
        if rounds == 4:
            await asyncio.get_running_loop().create_future()

    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(repeat_until_cancelled("counting", work))
        await until(lambda: rounds == 4)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert [entry["event"] for entry in logs] == ["counting failed"] * 2


async def test_task_without_end_ends_though_its_cancellation_was_lost() -> None:
    going_on = asyncio.Event()

    async def lose() -> None:
        going_on.set()
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(repeat_until_cancelled("losing", lose))
    await going_on.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
