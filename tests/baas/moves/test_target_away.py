"""A target that hangs in the middle of the pause: writes go on where the project is."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from baas.moves import mover
from baas.moves.copying import DatabaseCopy
from baas.moves.mover import Mover
from baas.moves.tasks import MoveState
from baas.services import move_runner, moves, projects
from tests.baas.moves.test_moves import SHOP, fill, get, over, put, server
from tests.baas.services.worlds import OPERATOR
from tests.mongo import ReplicaSet


@pytest.fixture
def settings(replica_set: ReplicaSet, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    data = tmp_path / "data"
    return {"mongodb_uri": replica_set.uri, "mongodb_database": name, "data": data}


@pytest.mark.parametrize("method", ["follow", "complete"])
async def test_writes_go_on_when_the_target_hangs_in_the_pause(
    settings: dict[str, Any],
    replica_set: ReplicaSet,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr(mover, "PAUSE_SECONDS_MAX", 0.3)
    monkeypatch.setattr(move_runner, "LOOK_SECONDS", 0.05)
    pause, original = Mover._pause, getattr(DatabaseCopy, method)
    is_pause, hangs = False, asyncio.Event()

    async def note_pause(one: Mover, *arguments: Any) -> float:
        nonlocal is_pause
        is_pause = True
        return await pause(one, *arguments)

    async def hang(copy: DatabaseCopy, **options: Any) -> Any:
        if is_pause and not hangs.is_set():
            replica_set.pause(0)
            hangs.set()
        return await original(copy, **options)

    monkeypatch.setattr(Mover, "_pause", note_pause)
    monkeypatch.setattr(DatabaseCopy, method, hang)
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await hangs.wait()
        try:
            await put(context, "counters/0", n=1)  # waits for the end of the pause
            assert (await context.projects.read_project("shop")).place is None
            assert (await context.databases.open(SHOP)).is_near
            await put(context, "old/o1", number="late")
        finally:
            replica_set.resume(0)
        found = await over(context, move.id)
        assert (found.state, found.error) == (MoveState.DONE, None)
        assert not (await context.databases.open(SHOP)).is_near
        assert await get(context, "counters/0") == {"n": 1}
        assert await get(context, "old/o1") == {"number": "late"}
