import asyncio
import threading
from functools import partial

import pytest

from baas.storage.worker import Worker


async def test_calls_run_in_order_on_one_other_thread() -> None:
    worker = Worker("test")
    seen: list[int] = []
    threads: set[int] = set()

    def note(number: int) -> int:
        seen.append(number)
        threads.add(threading.get_ident())
        return number * 2

    results = await asyncio.gather(*[worker.submit(partial(note, number)) for number in range(100)])
    assert results == [number * 2 for number in range(100)]
    assert seen == list(range(100))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


async def test_error_goes_to_whoever_waits_and_the_next_call_runs() -> None:
    worker = Worker("test")

    def fail() -> None:
        raise ValueError("no")

    failing, next_one = worker.submit(fail), worker.submit(lambda: "yes")
    with pytest.raises(ValueError, match="no"):
        await failing
    assert await next_one == "yes"


async def test_call_runs_even_if_whoever_waits_is_cancelled() -> None:
    worker = Worker("test")
    may_go = threading.Event()
    seen: list[str] = []
    first = worker.submit(may_go.wait)
    second = worker.submit(lambda: seen.append("second"))
    second.cancel()
    may_go.set()
    await first
    await worker.submit(lambda: None)
    assert seen == ["second"]


async def test_thread_ends_when_idle_and_comes_back() -> None:
    worker = Worker("short-lived", idle_seconds=0.001)
    first = await worker.submit(threading.current_thread)
    await asyncio.to_thread(first.join)
    second = await worker.submit(threading.current_thread)
    assert second is not first
    await asyncio.to_thread(second.join)
