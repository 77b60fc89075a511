"""A project of several nodes that becomes one node's: the others write until the pause, and not
after it."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from baas.errors import Unavailable
from baas.model.paths import FieldPath
from baas.model.writes import FieldTransform, Increment, SetWrite
from baas.services import documents, moves, projects
from baas.services.context import Context
from tests.baas.moves.test_moves import SHOP, fill, get, server
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


async def test_nothing_that_another_node_was_told_is_written_gets_lost(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    async with server({**settings, "data": tmp_path / "one"}) as one:
        secret = (tmp_path / "one" / "secret.key").read_bytes()
        (tmp_path / "two").mkdir(mode=0o700)
        (tmp_path / "two" / "secret.key").write_bytes(secret)
        async with server({**settings, "data": tmp_path / "two"}) as two:
            await projects.create_project(one.context, OPERATOR, "shop")
            await fill(one.context, 100)
            here, there = Counter(one.context, "one"), Counter(two.context, "two")
            tasks = [asyncio.create_task(counter.run()) for counter in (here, there)]
            move = await moves.start_move(one.context, OPERATOR, "shop", "sqlite", here=True)
            assert await tasks[1] == "ProjectElsewhere"
            before = here.acknowledged
            while here.acknowledged < before + 10:
                assert not tasks[0].done(), tasks[0].result()
                await asyncio.sleep(0.001)
            here.is_stopped = True
            assert await tasks[0] is None
            assert there.acknowledged > 0
            total = here.acknowledged + there.acknowledged
            assert await get(one.context, "counters/0") == {"n": total}
            with pytest.raises(Unavailable):
                await get(two.context, "counters/0")
            found = await one.context.moves.get(move.id)
            assert (found.error, found.reason) == (None, None)
