"""Lines of transactions: in order, bounded, and never a deadlock."""

from __future__ import annotations

import asyncio

import pytest

from baas.database import contention
from baas.database.contention import Contention
from baas.errors import TransactionConflict

A, B = ("c", "a"), ("c", "b")


def make(*, lease: float = 60.0, wait: float = 60.0) -> Contention:
    return Contention(lease_seconds=lease, wait_seconds=wait)


async def test_nobody_waits_who_was_not_aborted_here() -> None:
    assert not await make().wait("unknown", "x")


async def test_turns_go_by_in_order() -> None:
    lines = make()
    for name in ("1", "2", "3"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    waiting = [asyncio.create_task(lines.wait(old, new)) for old, new in (("2", "two"), ("3", "x"))]
    await asyncio.sleep(0)
    lines.check("one", [A])
    for other in ("two", "x", "stranger"):
        with pytest.raises(TransactionConflict):
            lines.check(other, [B, A])
        lines.check(other, [B])
    lines.release("one")
    assert await waiting[0]
    assert not waiting[1].done()
    lines.check("two", [A])
    lines.release("two")
    assert await waiting[1]
    lines.release("x")
    assert lines.is_idle
    lines.check("stranger", [A])


async def test_between_two_turns_nobody_slips_in() -> None:
    lines = make()
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    task = asyncio.create_task(lines.wait("2", "two"))
    await asyncio.sleep(0)
    lines.release("one")
    with pytest.raises(TransactionConflict):
        lines.check("stranger", [A])  # before `two` has even heard of its turn
    assert await task


async def test_what_one_is_aborted_over_adds_up() -> None:
    lines = make()
    lines.note("1", {A})
    assert await lines.wait("1", "one")
    lines.note("one", {B})
    assert lines.is_idle
    assert await lines.wait("one", "two")
    for key in (A, B):
        with pytest.raises(TransactionConflict):
            lines.check("stranger", [key])


async def test_two_who_want_the_same_things_do_not_wait_for_each_other() -> None:
    lines = make()
    for number in range(20):
        lines.note(f"old {number}", (A, B) if number % 2 else (B, A))

    async def take(number: int) -> None:
        assert await lines.wait(f"old {number}", f"new {number}")
        await asyncio.sleep(0)
        lines.release(f"new {number}")

    async with asyncio.timeout(5):
        await asyncio.gather(*[take(number) for number in range(20)])
    assert lines.is_idle


async def test_a_lease_runs_out() -> None:
    lines = make(lease=0.02)
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    async with asyncio.timeout(5):
        assert await lines.wait("2", "two")
    lines.release("one")  # late, and of no effect on the next one's
    lines.check("two", [A])


async def test_waiting_is_bounded() -> None:
    lines = make(wait=0.02)
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    assert not await lines.wait("2", "two")
    lines.release("one")
    assert lines.is_idle


async def test_who_is_cancelled_leaves_the_line() -> None:
    lines = make()
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    task = asyncio.create_task(lines.wait("2", "two"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lines.release("one")
    assert lines.is_idle


async def test_lines_and_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "LINE_MAX", 2)
    monkeypatch.setattr(contention, "REMEMBERED_MAX", 3)
    lines = make()
    for number in range(5):
        lines.note(str(number), {A})
    assert not await lines.wait("1", "forgotten")
    assert await lines.wait("2", "a")
    task = asyncio.create_task(lines.wait("3", "b"))
    await asyncio.sleep(0)
    assert not await lines.wait("4", "c")
    lines.release("a")
    assert await task
