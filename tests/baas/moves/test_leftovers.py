"""Fences that nobody has any more, as files of different moments hold them."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from baas.errors import Unavailable
from baas.moves import leftovers
from baas.moves.leftovers import Leftovers
from baas.services import moves, projects
from tests.baas.moves.test_moves import SHOP, Stopper, fill, get, over, put, server
from tests.baas.services.worlds import OPERATOR


@pytest.fixture
def settings(mongodb_uri: str, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    return {"mongodb_uri": mongodb_uri, "mongodb_database": name, "data": tmp_path / "data"}


async def test_a_fence_of_a_move_that_is_no_more_is_lifted_when_its_database_is_opened(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "RETRY_SECONDS", 0.0)
    find, failures = Leftovers._find_move, [3]

    async def find_late(self: Leftovers, project: str) -> str | None:
        if failures[0]:
            failures[0] -= 1
            raise Unavailable("the store cannot be reached")
        return await find(self, project)

    monkeypatch.setattr(Leftovers, "_find_move", find_late)
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await put(context, "counters/0", n=1)
        await (await context.databases.open(SHOP)).fences.put_up("forgotten")
        await (await context.databases.system("shop")).fences.put_up("forgotten")
    async with server(settings) as app:
        context = app.context
        async with asyncio.timeout(20):
            await put(context, "counters/0", n=2)
        assert await get(context, "counters/0") == {"n": 2}
        assert failures == [0]


async def test_the_fence_of_a_move_that_goes_on_stays(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened again in the middle of the pause, and looked at."""
    looked = asyncio.Event()
    look = Leftovers._look

    async def note_looked(self: Leftovers, *arguments: Any) -> None:
        await look(self, *arguments)
        looked.set()

    monkeypatch.setattr(Leftovers, "_look", note_looked)
    stopper = Stopper(monkeypatch)
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        stopper.stop_at("_switch")
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), 20)
        await context.databases.close_project("shop")
        database = await context.databases.open(SHOP)
        assert database.fences.at_opening == move.id
        await asyncio.wait_for(looked.wait(), 20)
        assert await database.fences.read() == move.id
    monkeypatch.undo()
    async with server(settings) as app:
        assert (await over(app.context, move.id)).error is None
