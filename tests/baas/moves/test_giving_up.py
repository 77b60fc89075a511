"""Moves that are given up, where even that does not go through at first."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from baas.errors import Unavailable
from baas.moves.mover import Mover
from baas.moves.tasks import ATTEMPTS_MAX, MoveState
from baas.services import move_runner, moves, projects
from tests.baas.moves.test_moves import SHOP, fill, get, move_to, over, put, server
from tests.baas.services.worlds import OPERATOR


@pytest.fixture
def settings(mongodb_uri: str, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    return {"mongodb_uri": mongodb_uri, "mongodb_database": name, "data": tmp_path / "data"}


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_what_is_given_up_is_undone_however_long_that_takes(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    """The target is away for longer than a move waits for it; writes go on at once."""
    monkeypatch.setattr(move_runner, "LOOK_SECONDS", 0.0)
    undo, failures = Mover._undo, [0, 0]
    copied = asyncio.Event()

    async def be_away(mover: Mover) -> None:
        failures[0] += 1
        copied.set()
        raise Unavailable("the store cannot be reached")

    async def undo_late(mover: Mover) -> None:
        failures[1] += 1
        if failures[1] <= 2 * ATTEMPTS_MAX:
            raise Unavailable("the store cannot be reached")
        await undo(mover)

    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        monkeypatch.setattr(Mover, "_copy_all", be_away)
        monkeypatch.setattr(Mover, "_undo", undo_late)
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await copied.wait()
        if is_cancelled:
            await moves.cancel_move(context, OPERATOR, move.id)
        await put(context, "counters/0", n=1)
        found = await over(context, move.id)
        assert found.state is (MoveState.CANCELLED if is_cancelled else MoveState.FAILED)
        assert failures[0] <= ATTEMPTS_MAX
        assert failures[1] == 2 * ATTEMPTS_MAX + 1
        assert (await context.projects.read_project("shop")).moving is None
        assert await (await context.databases.open(SHOP)).fences.read() is None
        monkeypatch.undo()
        await move_to(context, "mongodb")
        assert await get(context, "counters/0") == {"n": 1}
