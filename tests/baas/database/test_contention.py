"""Lines of transactions: in order, bounded, and never a deadlock."""

from __future__ import annotations

import asyncio

import pytest

from baas.database import contention
from baas.database.contention import Contention, SharedLines
from baas.errors import TransactionConflict
from baas.storage.engine import EngineUnavailable
from tests.waiting import LoopTime, loop_time, settle

__all__ = ["loop_time"]

A, B = ("c", "a"), ("c", "b")


class Lines:
    """As a store keeps them, and says what was asked of it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.is_reachable = True

    async def enter(self, line: str, place: str, seconds: float) -> None:
        self.told.append(("enter", place))
        await asyncio.sleep(0)
        if not self.is_reachable:
            raise EngineUnavailable("away")

    async def leave(self, line: str, place: str) -> None:
        await asyncio.sleep(0)
        self.told.append(("leave", place))
        if not self.is_reachable:
            raise EngineUnavailable("away")


def make(
    *,
    lease: float = 60.0,
    wait: float = 60.0,
    waiting: int = 100,
    slow: int = 5,
    shared: SharedLines | None = None,
) -> Contention:
    return Contention(
        lease_seconds=lease, wait_seconds=wait, waiting_max=waiting, slow_max=slow, shared=shared
    )


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

    await asyncio.gather(*[take(number) for number in range(20)])
    assert lines.is_idle


async def test_a_lease_runs_out(loop_time: LoopTime) -> None:
    lines = make(lease=2.0)
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    turn = asyncio.create_task(lines.wait("2", "two"))
    await loop_time.advance(1.9)
    assert not turn.done()
    await loop_time.advance(0.2)
    assert await turn
    lines.release("one")  # late, and of no effect on the next one's
    lines.check("two", [A])


async def test_waiting_is_bounded(loop_time: LoopTime) -> None:
    lines = make(wait=2.0)
    for name in ("1", "2"):
        lines.note(name, {A})
    assert await lines.wait("1", "one")
    waiting = asyncio.create_task(lines.wait("2", "two"))
    await settle()
    await loop_time.advance(1.9)
    assert not waiting.done()
    await loop_time.advance(0.2)
    assert not await waiting
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


async def test_callers_take_turns_however_many_transactions_one_has() -> None:
    lines = make()
    served: list[str] = []

    async def take(caller: str, number: int) -> None:
        name = f"{caller}{number}"
        lines.note(f"old {name}", {A})
        assert await lines.wait(f"old {name}", name, caller)
        served.append(name)
        await asyncio.sleep(0)
        lines.release(name)

    many = [asyncio.create_task(take("many", number)) for number in range(6)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(take(caller, 0)) for caller in ("ada", "bob")]
    await asyncio.sleep(0)
    few.append(asyncio.create_task(take("ada", 1)))
    await asyncio.gather(*many, *few)
    assert served[:5] == ["many0", "many1", "ada0", "bob0", "many2"]
    assert served.index("ada1") == 5  # of the next round, behind the one who was there
    assert [name for name in served if name.startswith("many")] == [f"many{n}" for n in range(6)]
    assert lines.is_idle


async def test_places_of_one_caller_are_bounded_and_leave_room_for_others() -> None:
    lines = make(waiting=3)
    for number in range(5):
        lines.note(str(number), {A})
    assert await lines.wait("0", "a", "greedy")
    waiting = [asyncio.create_task(lines.wait(str(n), f"b{n}", "greedy")) for n in (1, 2)]
    await asyncio.sleep(0)
    assert not await lines.wait("3", "c", "greedy")
    honest = asyncio.create_task(lines.wait("4", "d", "honest"))
    await asyncio.sleep(0)
    lines.release("a")
    assert await honest
    lines.release("d")
    for number, task in zip((1, 2), waiting, strict=True):
        assert await task
        lines.release(f"b{number}")
    lines.note("6", {A})
    assert await lines.wait("6", "e", "greedy")  # there is room again


async def test_who_keeps_others_waiting_has_no_turns_for_a_while(loop_time: LoopTime) -> None:
    """A caller that begs for turn after turn and uses none; the other one gets on."""
    lines = make(lease=contention.SLOW_SECONDS, slow=3)
    is_over = False
    taken = 0

    async def beg(number: int) -> None:
        nonlocal taken
        aborted = f"beg {number}"
        lines.note(aborted, {A})
        while not is_over:
            name = f"{aborted}."
            if await lines.wait(aborted, name, "hostile"):
                taken += 1
                while name in lines._leases:  # noqa: ASYNC110 - for as long as it may
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            lines.note(name, {A})
            aborted = name

    beggars = [asyncio.create_task(beg(number)) for number in range(20)]
    await settle()
    for number in range(50):
        lines.note(f"old {number}", {A})
        turn = asyncio.create_task(lines.wait(f"old {number}", f"new {number}", "honest"))
        await settle()
        if not turn.done():
            await loop_time.advance(contention.SLOW_SECONDS)
        assert await turn
        lines.check(f"new {number}", [A])
        await settle()  # long enough for the hostile one to get in line
        lines.release(f"new {number}")
    is_over = True
    await asyncio.gather(*beggars)
    assert taken == 3


async def test_slow_turns_count_only_while_others_wait_and_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contention, "SLOW_SECONDS", 0.0)
    lines = make(slow=1)

    async def take(caller: str) -> bool:
        lines.note("old", {A})
        return await lines.wait("old", "new", caller)

    for _ in range(3):  # nobody waits
        assert await take("slow")
        lines.release("new")
    assert await take("slow")
    lines.note("other", {A})
    other = asyncio.create_task(lines.wait("other", "theirs", "other"))
    await asyncio.sleep(0)
    lines.release("new")
    assert await other
    lines.release("theirs")
    assert not await take("slow")
    monkeypatch.setattr(contention, "SLOW_WINDOW_SECONDS", 0.0)
    assert await take("slow")


async def test_turns_between_nodes_are_asked_for_while_others_are_near() -> None:
    lines, near = Lines(), False
    contention = make(shared=SharedLines(lines, lambda: near))
    for name in ("1", "2", "3", "4"):
        contention.note(name, {A})
    assert await contention.wait("1", "alone")
    contention.release("alone")
    assert lines.told == []
    near = True
    assert await contention.wait("2", "two")
    following = asyncio.create_task(contention.wait("3", "three"))
    await asyncio.sleep(0)
    contention.release("two")
    assert await following
    # This node has left before it enters again, else it would wait for itself.
    assert lines.told == [("enter", "two"), ("leave", "two"), ("enter", "three")]
    lines.is_reachable = False
    contention.release("three")
    assert await contention.wait("4", "four")  # without the store each node has its own lines
    contention.release("four")
    await contention.close()
    assert lines.told[-1] == ("leave", "four")
    assert contention.is_idle
