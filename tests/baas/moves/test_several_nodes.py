"""A project of several nodes that becomes one node's: the others write until the pause, and not
after it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from baas.app import App
from baas.errors import Unavailable
from baas.model.paths import FieldPath
from baas.model.writes import FieldTransform, Increment, SetWrite
from baas.services import documents, moves, projects
from baas.services.context import Context
from tests.baas.moves.test_moves import SECONDS, SHOP, fill, get, server
from tests.baas.services.worlds import OPERATOR, path


@pytest.fixture
def settings(mongodb_uri: str) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    return {"engine": "mongodb", "mongodb_uri": mongodb_uri, "mongodb_database": name}


class Counter:
    """Adds to a counter by one node, until that refuses it for being another one's."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self.acknowledged = 0
        self.is_stopped = False

    async def run(self) -> str | None:
        write = SetWrite(
            path("counters/0"),
            {},
            mask=(),
            transforms=(FieldTransform(FieldPath.parse("n"), Increment(1)),),
        )
        while not self.is_stopped:
            key = f"{self._name}-{self.acknowledged}"
            try:
                await documents.commit(self._context, OPERATOR, SHOP, [write], request_id=key)
            except Unavailable as error:
                return error.reason
            self.acknowledged += 1
        return None

    async def reach(self, count: int) -> None:
        while self.acknowledged < count:  # noqa: ASYNC110 - no more is told of it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def two_nodes(settings: dict[str, Any], folder: Path) -> AsyncIterator[tuple[App, App]]:
    async with server({**settings, "data": folder / "one"}) as one:
        secret = (folder / "one" / "secret.key").read_bytes()
        (folder / "two").mkdir(mode=0o700)
        (folder / "two" / "secret.key").write_bytes(secret)
        async with server({**settings, "data": folder / "two"}) as two:
            yield one, two


async def test_nothing_that_another_node_was_told_is_written_gets_lost(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    async with two_nodes(settings, tmp_path) as (one, two):
        await projects.create_project(one.context, OPERATOR, "shop")
        await fill(one.context, 100)
        here, there = Counter(one.context, "one"), Counter(two.context, "two")
        tasks = [asyncio.create_task(counter.run()) for counter in (here, there)]
        async with asyncio.timeout(SECONDS):
            await there.reach(1)
        move = await moves.start_move(one.context, OPERATOR, "shop", "sqlite", here=True)
        assert await tasks[1] == "ProjectElsewhere"
        async with asyncio.timeout(SECONDS):
            await here.reach(here.acknowledged + 10)
        here.is_stopped = True
        assert await tasks[0] is None
        assert there.acknowledged > 0
        total = here.acknowledged + there.acknowledged
        assert await get(one.context, "counters/0") == {"n": total}
        with pytest.raises(Unavailable):
            await get(two.context, "counters/0")
        found = await one.context.moves.get(move.id)
        assert (found.error, found.reason) == (None, None)


def hear_late(monkeypatch: pytest.MonkeyPatch, app: App, seconds: float) -> None:
    """What others commit to the server's own database is known to it so much later."""
    places = app.context.projects.places
    note, loop = places.note, asyncio.get_running_loop()
    monkeypatch.setattr(places, "note", lambda *told: loop.call_later(seconds, note, *told))


async def test_no_node_reads_what_was_before_once_a_later_write_is_acknowledged(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears of the move late, though no later than nodes may."""
    async with two_nodes(settings, tmp_path) as (one, two):
        await projects.create_project(one.context, OPERATOR, "shop")
        await fill(one.context, 100)
        assert await get(two.context, "counters/0") == {"n": 0}
        hear_late(monkeypatch, two, 0.5)  # a busy machine may add to it
        counter = Counter(one.context, "one")
        counting = asyncio.create_task(counter.run())
        reads = 0

        async def read_on() -> None:
            nonlocal reads
            while True:
                acknowledged = counter.acknowledged
                found = await get(two.context, "counters/0")
                assert found is not None
                assert found["n"] >= acknowledged
                reads += 1

        reading = asyncio.create_task(read_on())
        async with asyncio.timeout(SECONDS):
            while not reads and not reading.done():  # noqa: ASYNC110 - no more is told of it
                await asyncio.sleep(0.001)
        await moves.start_move(one.context, OPERATOR, "shop", "sqlite", here=True)
        with pytest.raises(Unavailable):
            await reading
        assert reads
        await counter.reach(counter.acknowledged + 10)
        counter.is_stopped = True
        assert await counting is None
