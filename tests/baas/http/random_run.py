"""Random commits over HTTP, and what the model says of what is read then."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from baas.encoding.json_values import encode_fields_tree, encode_value
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.documents import Document
from baas.model.near import compile_distance
from baas.model.order import sort_key
from baas.model.queries import Query
from baas.model.tallies import Group
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.settings import Limits
from baas.wire.documents import time_text
from baas.wire.queries import encode_query
from baas.wire.writes import decode_time
from tests.baas.http.conftest import BASE, World
from tests.model_based.generate import Generator
from tests.model_based.oracle import Oracle, State, answer, groups

Tree = dict[str, Any]


def tree_of(query: Query, document: Document, state: State) -> Tree:
    tree: Tree = {
        "path": str(document.path),
        "fields": encode_fields_tree(document.fields),
        "create_time": time_text(document.create_time.microseconds),
        "update_time": time_text(document.update_time.microseconds),
    }
    if query.near is not None:
        tree["distance_meters"] = compile_distance(query.near)(state[document.path])
    return tree


def trees_of(query: Query, state: State) -> list[Tree]:
    return [tree_of(query, document, state) for document in answer(query, state)]


def all_groups(aggregation: Aggregation, state: State) -> list[Group]:
    return groups(aggregation, answer(aggregated_query(aggregation), state))


def key_of(group: Group) -> tuple[Any, ...]:
    return tuple(map(sort_key, group.values))


def tree_of_group(aggregation: Aggregation, group: Group) -> Tree:
    names = [str(path) for path in aggregation.group_by]
    return {
        "group": dict(zip(names, map(encode_value, group.values), strict=True)),
        "results": {name: encode_value(value) for name, value in group.results.items()},
    }


def numbers_of(aggregation: Aggregation, state: State) -> list[Tree]:
    """The groups of an answer, or the one with its results."""
    return [tree_of_group(aggregation, one) for one in all_groups(aggregation, state)]


def encode_aggregation(aggregation: Aggregation) -> Tree:
    return {
        "query": encode_query(aggregation.query),
        "group_by": [str(path) for path in aggregation.group_by],
        "aggregates": [
            {"op": item.operator.value, "alias": item.alias}
            | ({} if item.field is None else {"field": str(item.field)})
            | ({} if item.up_to is None else {"up_to": item.up_to})
            for item in aggregation.aggregates
        ],
    }


def check_same(told: str, found: Any, wanted: Any) -> None:
    """As text: 1, 1.0 and true are each other's equals."""
    shown, right = [orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in (found, wanted)]
    assert shown == right, f"{told}:\n  found  {shown.decode()}\n  wanted {right.decode()}"


class RandomRun:
    """Random commits and reads from one seed, in a database that knows what runs before left."""

    def __init__(self, world: World, oracle: Oracle, seed: int) -> None:
        self.world = world
        self.oracle = oracle
        self.chance = random.Random(seed)
        self.make = Generator(self.chance, Limits())

    # Writing --------------------------------------------------------------------------------------

    def writes(self, most: int) -> list[Write]:
        made: dict[Any, Write] = {}
        for _ in range(self.chance.randint(1, most)):
            path = self.make.path()
            is_delete = self.chance.random() < 0.2
            fields = self.make.fields()
            if self.chance.random() < 0.5:
                fields["a"] = self.chance.choice((1, 1.0, 2, True))
                fields["b"] = self.chance.choice(("a", 2, 2.0, True))
            made[path] = DeleteWrite(path) if is_delete else SetWrite(path, fields)
        return list(made.values())

    async def commit(self, writes: Sequence[Write], **members: Any) -> httpx.Response:
        """With what goes into the oracle, if it is done."""
        trees = [
            {"set": str(one.path), "fields": encode_fields_tree(one.fields)}
            if isinstance(one, SetWrite)
            else {"delete": str(one.path)}
            for one in writes
        ]
        told = await self.world.secret.post(f"{BASE}:commit", json={"writes": trees, **members})
        assert told.is_success or members, told.text
        evaluation = self.oracle.evaluate(writes, Timestamp(0), self.oracle.now)
        if told.is_success and evaluation.changed():
            time = decode_time(told.json()["commit_time"], "commit_time")
            self.oracle.commit(evaluation, time.microseconds)
        return told

    # Reading --------------------------------------------------------------------------------------

    async def ask(self, verb: str, body: Tree) -> Any:
        """As an administrator, or as anybody, by the proof that the rules allow it."""
        client = self.world.anonymous
        if body.keys() & {"explain", "read_time"} or self.chance.random() < 0.5:
            client = self.world.secret
        told = await client.post(f"{BASE}:{verb}", json=body)
        assert told.is_success, f"{verb} {body}: {told.text}"
        return told.json()

    async def maybe_commit(self) -> None:
        if self.chance.random() < 0.5:
            await self.commit(self.writes(3))

    async def ask_secret(self, verb: str, body: Tree) -> Any:
        told = await self.world.secret.post(f"{BASE}:{verb}", json=body)
        assert told.is_success, f"{verb} {body}: {told.text}"
        return told.json()
