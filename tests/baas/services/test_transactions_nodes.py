"""Transactions on several nodes of one MongoDB: nobody starves, whichever node he is on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from baas.model.paths import DocumentPath
from baas.model.writes import SetWrite
from baas.services.context import Context
from baas.services.documents import commit
from tests.baas.services.counting import count_up
from tests.baas.services.worlds import NAME, OPERATOR
from tests.effort import examples

CLIENTS = 50
PATH = DocumentPath.parse("counters/one")


async def count_together(nodes: Sequence[Context], times: int) -> list[int]:
    """How many attempts each increment took, of clients spread over the nodes."""

    async def client(context: Context) -> list[int]:
        return [await count_up(context, OPERATOR, PATH) for _ in range(times)]

    clients = [client(nodes[number % len(nodes)]) for number in range(CLIENTS)]
    return [attempt for attempts in await asyncio.gather(*clients) for attempt in attempts]


async def test_fifty_clients_on_two_nodes_need_no_more_attempts_than_the_sdk_makes(
    nodes: list[Context],
) -> None:
    """Where each node has lines of its own, those who are first on each abort each other."""
    times = min(20, examples(3))
    await commit(nodes[0], OPERATOR, NAME, [SetWrite(PATH, {"n": 0})])
    attempts = await count_together(nodes, times)
    for context in nodes:
        database = await context.databases.open(NAME)
        await database.catch_up()
        (found,) = await database.get_documents([PATH])
        assert found is not None
        assert found.fields == {"n": CLIENTS * times}
    assert len(attempts) == CLIENTS * times
