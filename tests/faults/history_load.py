"""The load of the history check: few documents, so that everybody is in everybody's way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Order, Query
from baas.model.writes import (
    DeleteWrite,
    FieldTransform,
    Increment,
    Precondition,
    SetWrite,
    Write,
)
from tests.faults.history import Image
from tests.faults.history_clients import Client, Found

COUNTERS = 3
ACCOUNTS = 6
ITEMS = 12
GROUPS = 3
_N = FieldPath(("n",))
_GROUP = FieldPath(("group",))


async def work(
    client: Client, chance: random.Random, stopped: asyncio.Event, pause: float = 0.0
) -> None:
    """One client's operations, one after another, until it is stopped."""
    while not stopped.is_set():
        await step(client, chance)
        await asyncio.sleep(pause * chance.random())


async def step(client: Client, chance: random.Random) -> None:
    """One operation, or a read and a commit that rests on it."""
    kind = chance.randrange(10)
    group = chance.randrange(GROUPS)
    item = f"items/i{chance.randrange(ITEMS)}"
    if kind <= 1:
        chosen = chance.sample(range(COUNTERS), chance.randint(1, 2))
        await client.commit([bump(f"counters/c{number}") for number in chosen])
    elif kind == 2:
        await client.commit([_random_write(item, group, chance)])
    elif kind == 3:
        # The same in two documents: a reader that sees them differ has seen half a commit.
        fields = {"group": group, "n": chance.randrange(100)}
        await client.commit(
            [_set(f"pairs/left{group}", fields), _set(f"pairs/right{group}", fields)]
        )
    elif kind <= 5:
        await _transfer(client, chance)
    elif kind == 6:
        await client.transact([], members(group), lambda _, members: _tally(group, members))
    elif kind == 7:
        await client.read(f"pairs/left{group}", f"pairs/right{group}", "counters/c0")
    elif kind == 8:
        await client.read(item)
    elif chance.random() < 0.7:
        await client.query(members(group, limit=chance.choice((None, 2, 4))))
    else:
        await client.count(members(group))


async def _transfer(client: Client, chance: random.Random) -> None:
    paths = [f"accounts/a{number}" for number in chance.sample(range(ACCOUNTS), 2)]
    amount = chance.randrange(1, 10)

    def move(found: Found, _: Sequence[Image]) -> Sequence[Write]:
        balances = [_number(found[path]) for path in paths]
        return [
            _set(paths[0], {"n": balances[0] - amount}),
            _set(paths[1], {"n": balances[1] + amount}),
        ]

    await client.transact(paths, None, move)


def _tally(group: int, members: Sequence[Image]) -> Sequence[Write]:
    """How many there are, and one more: it is wrong as soon as another one comes in between."""
    total = sum(_number(image) for image in members)
    writes: list[Write] = [_set(f"tallies/t{group}", {"count": len(members), "total": total})]
    if len(members) < 4:
        path = f"items/i{(total + group) % ITEMS}"
        writes.append(_set(path, {"group": group, "n": len(members)}))
    return writes


def members(group: int, limit: int | None = None) -> Query:
    return Query(
        CollectionPath(("items",)),
        where=FieldFilter(_GROUP, Operator.EQUAL, group),
        order_by=(Order(_N, descending=True),),
        limit=limit,
    )


def _random_write(path: str, group: int, chance: random.Random) -> Write:
    kind = chance.randrange(4)
    fields = {"group": group, "n": chance.randrange(100)}
    if kind == 0:
        return DeleteWrite(DocumentPath.parse(path))
    if kind == 1:
        return _set(path, fields, Precondition(exists=False))
    if kind == 2:
        return SetWrite(
            DocumentPath.parse(path),
            {"group": group},
            mask=(_GROUP,),
            precondition=Precondition(exists=True),
        )
    return _set(path, fields)


def bump(path: str) -> SetWrite:
    """One more in the document's `n`."""
    transform = FieldTransform(_N, Increment(1))
    return SetWrite(DocumentPath.parse(path), {}, mask=(), transforms=(transform,))


def _set(path: str, fields: dict[str, int], precondition: Precondition | None = None) -> SetWrite:
    return SetWrite(
        DocumentPath.parse(path), {**fields}, precondition=precondition or Precondition()
    )


def _number(image: Image | None) -> int:
    if image is None:
        return 0
    number = image.decode().fields["n"]
    assert isinstance(number, int)
    return number
