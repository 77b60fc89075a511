"""What is known of collections that queries read without an index."""

from __future__ import annotations

import asyncio

import pytest

from baas.database.index_demand import LARGE_DOCUMENTS, Sizes
from baas.storage.engine import EngineUnavailable, KeyRange

SPAN = KeyRange(b"a", b"b")


class Counter:
    def __init__(self, size: int) -> None:
        self.size = size
        self.calls = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        self.begun.set()
        await self.may_end.wait()
        if self.size < 0:
            raise EngineUnavailable("told to fail")
        return self.size


async def test_those_who_ask_at_once_wait_for_one_count() -> None:
    sizes, count = Sizes(), Counter(5)
    asking = [asyncio.create_task(sizes.count(SPAN, count)) for _ in range(50)]
    await count.begun.wait()
    asking[7].cancel()
    count.may_end.set()
    assert await asyncio.gather(*asking[:7], *asking[8:]) == [5] * 49
    assert count.calls == 1
    assert await sizes.count(SPAN, count) == 5
    assert count.calls == 2  # it may have grown


async def test_large_collection_is_not_counted_again() -> None:
    sizes, count = Sizes(), Counter(LARGE_DOCUMENTS)
    count.may_end.set()
    assert not sizes.is_large(SPAN)
    for _ in range(3):
        assert await sizes.count(SPAN, count) == LARGE_DOCUMENTS
    assert count.calls == 1
    assert sizes.is_large(SPAN)
    assert not sizes.is_large(KeyRange(b"b", b"c"))


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
async def test_who_waited_for_a_count_that_came_to_nothing_counts(ends: str) -> None:
    sizes, first, second = Sizes(), Counter(-1), Counter(5)
    leading = asyncio.create_task(sizes.count(SPAN, first))
    await first.begun.wait()
    waiting = asyncio.create_task(sizes.count(SPAN, second))
    await asyncio.sleep(0)
    if ends == "cancelled":
        leading.cancel()
    first.may_end.set()
    second.may_end.set()
    assert await waiting == 5
    with pytest.raises((asyncio.CancelledError, EngineUnavailable)):
        await leading
