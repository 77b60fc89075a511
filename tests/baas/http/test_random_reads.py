"""Every way to read over HTTP gives what the model says, on both engines, whatever is asked for
together: whole, in pages to the end, as lines, in numbers, explained, in transactions, of an
earlier moment, and to listeners."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.encoding.json_values import encode_fields_tree, encode_value
from baas.errors import InvalidQuery
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.documents import Document
from baas.model.near import compile_distance
from baas.model.order import sort_key
from baas.model.paths import FieldPath
from baas.model.queries import And, FieldFilter, Filter, Operator, Or, Query, check_query
from baas.model.tallies import Group
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.settings import Limits
from baas.testing import make_settings, started_app
from baas.wire.documents import time_text
from baas.wire.queries import encode_query
from baas.wire.writes import decode_time
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.baas.ws.client import Client
from tests.effort import FACTOR, examples
from tests.faults.seeds import new_seed
from tests.model_based.generate import Generator
from tests.model_based.oracle import Oracle, State, answer, groups, in_order
from tests.model_based.small import make_everything_small
from tests.mongo import engine_settings

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(7_200),
]
QUERIES = 8  # of a run, and as many aggregations
LINES = {"accept": "application/x-ndjson"}
Tree = dict[str, Any]
# Whoever is signed in sees less.
GUARDED = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{path=**}/c/{id} {
      allow read: if request.auth == null || resource.data.a == 1;
    }
    match /{path=**}/d/{id} {
      allow read: if request.auth == null || resource.data.b in ['a', 2];
    }
    match /{path=**}/e/{id} {
      allow read: if request.auth == null || resource.data.a > 0;
    }
  }
}
"""
A, B = FieldPath(("a",)), FieldPath(("b",))
_POSITIVE = (
    FieldFilter(A, Operator.GREATER, 0),
    FieldFilter(A, Operator.GREATER_OR_EQUAL, 1),
    FieldFilter(A, Operator.IN, [2, 1.0]),
)
PROOFS: dict[str, tuple[Filter, ...]] = {
    "c": (
        FieldFilter(A, Operator.EQUAL, 1),
        FieldFilter(A, Operator.EQUAL, 1.0),
        FieldFilter(A, Operator.IN, [1, 1.0]),
        _POSITIVE[0],  # is none
    ),
    "d": (
        FieldFilter(B, Operator.EQUAL, "a"),
        FieldFilter(B, Operator.IN, ["a", 2]),
        Or((FieldFilter(B, Operator.EQUAL, 2), FieldFilter(B, Operator.EQUAL, "a"))),
        FieldFilter(B, Operator.IN, ["a", 2, True]),  # is none
    ),
    "e": _POSITIVE,
}


def is_seen(document: Document) -> bool:
    """What the rules allow to whoever is signed in."""
    a, b = document.fields.get("a"), document.fields.get("b")
    match document.path.segments[-2]:
        case "c":
            return type(a) in (int, float) and a == 1
        case "d":
            return (type(b) in (int, float) and b == 2) or b == "a"
        case _:
            return type(a) in (int, float) and a > 0  # type: ignore[operator]


@pytest.fixture(scope="module", autouse=True)
def everything_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_everything_small(patch.setattr, patch.setitem)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    more = engine_settings(request, request.param)
    settings = make_settings(tmp_path_factory.mktemp("reads") / "data", **more)
    async with started_app(settings) as app, open_world(app) as opened:
        body = {"source": GUARDED, "allow_open": True}
        assert (await opened.operator.put(f"{ADMIN}/rules", json=body)).is_success
        yield opened


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


class Run:
    """Random commits and reads from one seed, in a database that knows what runs before left."""

    def __init__(self, world: World, oracle: Oracle, seed: int) -> None:
        self._world = world
        self._oracle = oracle
        self._chance = random.Random(seed)
        self._make = Generator(self._chance, Limits())

    async def go(self) -> None:
        await self._commit([DeleteWrite(path) for path in self._oracle.now])
        for _ in range(self._chance.randint(1, 3)):
            await self._commit(self._writes(6))
        for _ in range(QUERIES):
            state = self._oracle.now
            query = self._make.query(state, searches=True)
            await self._check_query(query, state)
            await self._check_aggregation(self._make.aggregation(state), state)
            await self._check_rights()
            if self._chance.random() < 0.5:
                continue
            if query.search is None:
                await self._chance.choice((self._listen, self._query_in_transaction))(query)
            else:
                await self._check_refused(query)
            await self._follow_pages()
            await self._follow_groups()
            await self._check_the_past()
            await self._aggregate_in_transaction()

    # Writing --------------------------------------------------------------------------------------

    def _writes(self, most: int) -> list[Write]:
        made: dict[Any, Write] = {}
        for _ in range(self._chance.randint(1, most)):
            path = self._make.path()
            is_delete = self._chance.random() < 0.2
            fields = self._make.fields()
            if self._chance.random() < 0.5:
                fields["a"] = self._chance.choice((1, 1.0, 2, True))
                fields["b"] = self._chance.choice(("a", 2, 2.0, True))
            made[path] = DeleteWrite(path) if is_delete else SetWrite(path, fields)
        return list(made.values())

    async def _commit(self, writes: Sequence[Write], **members: Any) -> httpx.Response:
        """With what goes into the oracle, if it is done."""
        trees = [
            {"set": str(one.path), "fields": encode_fields_tree(one.fields)}
            if isinstance(one, SetWrite)
            else {"delete": str(one.path)}
            for one in writes
        ]
        told = await self._world.secret.post(f"{BASE}:commit", json={"writes": trees, **members})
        assert told.is_success or members, told.text
        evaluation = self._oracle.evaluate(writes, Timestamp(0), self._oracle.now)
        if told.is_success and evaluation.changed():
            time = decode_time(told.json()["commit_time"], "commit_time")
            self._oracle.commit(evaluation, time.microseconds)
        return told

    # Reading --------------------------------------------------------------------------------------

    async def _ask(self, verb: str, body: Tree) -> Any:
        """As an administrator, or as anybody, by the proof that the rules allow it."""
        client = self._world.anonymous
        if body.keys() & {"explain", "read_time"} or self._chance.random() < 0.5:
            client = self._world.secret
        told = await client.post(f"{BASE}:{verb}", json=body)
        assert told.is_success, f"{verb} {body}: {told.text}"
        return told.json()

    async def _check_query(self, query: Query, state: State) -> None:
        wanted = trees_of(query, state)
        body: Tree = {"query": encode_query(query)}
        check_same(f"{query}", (await self._ask("query", body))["documents"], wanted)
        assert (await self._ask("count", body))["count"] == len(wanted)
        lines = await self._world.secret.post(f"{BASE}:query", json=body, headers=LINES)
        *documents, end = [orjson.loads(line) for line in lines.content.splitlines()]
        check_same(f"lines of {query}", [one["document"] for one in documents], wanted)
        assert end["count"] == len(wanted)
        size = self._chance.randint(1, 3)
        found: list[Tree] = []
        body |= {"page_size": size, "explain": self._chance.random() < 0.3}
        while True:
            page = await self._ask("query", body)
            assert len(page["documents"]) == min(size, len(wanted) - len(found)), query
            found += page["documents"]
            if "next_page_token" not in page:
                break
            body["page_token"] = page["next_page_token"]
        check_same(f"pages of {query}", found, wanted)

    async def _check_aggregation(self, aggregation: Aggregation, state: State) -> None:
        wanted, body = numbers_of(aggregation, state), encode_aggregation(aggregation)
        if not aggregation.group_by:
            body["explain"] = self._chance.random() < 0.3
            results = (await self._ask("aggregate", body))["results"]
            check_same(f"{aggregation}", [{"group": {}, "results": results}], wanted)
            return
        check_same(f"{aggregation}", (await self._ask("aggregate", body))["groups"], wanted)
        size = self._chance.randint(1, 3)
        found: list[Tree] = []
        body |= {"page_size": size, "explain": self._chance.random() < 0.3}
        while True:
            page = await self._ask("aggregate", body)
            assert len(page["groups"]) == min(size, len(wanted) - len(found)), aggregation
            found += page["groups"]
            if "next_page_token" not in page:
                break
            body["page_token"] = page["next_page_token"]
        check_same(f"pages of {aggregation}", found, wanted)

    async def _check_rights(self) -> None:
        """A query is refused in every way, or shows in every way what it does to others, and
        nothing that its reader may not see."""
        state = self._oracle.now
        query = self._make.query(state, searches=True)
        proof = self._chance.choice(PROOFS[query.collection.id])
        query = replace(query, where=proof if query.where is None else And((proof, query.where)))
        try:
            check_query(query, Limits())
        except InvalidQuery:
            return
        body: Tree = {"query": encode_query(query)}
        ways: list[tuple[str, Tree]] = [
            ("query", body),
            ("query", {**body, "page_size": 1}),
            ("count", body),
        ]
        if query.search is None:
            begun = await self._world.user.post(f"{BASE}:begin-transaction", json={})
            ways.append(("query", {**body, "transaction": begun.json()["transaction"]}))
            ways.append(("aggregate", {**body, "group_by": ["a"]}))
        told = [await self._world.user.post(f"{BASE}:{verb}", json=more) for verb, more in ways]
        lines = await self._world.user.post(f"{BASE}:query", json=body, headers=LINES)
        statuses = {one.status_code for one in (*told, lines)}
        assert statuses in ({200}, {403}), f"{query}: {statuses}"
        if statuses == {403}:
            return
        wanted = answer(replace(query, select=None), state)
        assert all(map(is_seen, wanted)), query
        shown = told[0].json()["documents"]
        if query.search is None:  # whose order rests on what its reader may see
            check_same(f"{query} under rules", shown, trees_of(query, state))
        elif query.limit is None and not query.offset:
            assert sorted(one["path"] for one in shown) == sorted(str(one.path) for one in wanted)
        assert told[2].json()["count"] == len(wanted)

    async def _follow_pages(self) -> None:
        """While others commit: each begins behind where the last document was, or the last group,
        and is of its own moment."""
        query = self._make.query(self._oracle.now, searches=True)
        size = self._chance.randint(1, 3)
        body: Tree = {"query": encode_query(query), "page_size": size}
        last: Document | None = None
        left = query.limit
        while True:
            state = self._oracle.now
            rest = self._behind(query, last, left, state)
            page = await self._ask("query", body)
            trees = [tree_of(query, one, state) for one in rest[:size]]
            check_same(f"pages of {query} behind {last}", page["documents"], trees)
            assert ("next_page_token" in page) == (len(rest) > size)
            if len(rest) <= size:
                return
            last = state[rest[size - 1].path]
            left = None if left is None else left - size
            body["page_token"] = page["next_page_token"]
            await self._maybe_commit()

    def _behind(
        self, query: Query, last: Document | None, left: int | None, state: State
    ) -> list[Document]:
        if last is None:
            return answer(query, state)
        order = in_order(query, state)
        whole = answer(replace(query, limit=None, offset=0, select=None), state)
        behind = [one.path for one in whole if order(one) > order(last)]
        shown = {one.path: one for one in answer(replace(query, limit=None, offset=0), state)}
        return [shown[path] for path in behind][:left]

    async def _follow_groups(self) -> None:
        aggregation = self._make.aggregation(self._oracle.now)
        size = self._chance.randint(1, 3)
        body: Tree = {**encode_aggregation(aggregation), "page_size": size}
        last: Any = None
        while aggregation.group_by:
            found = all_groups(aggregation, self._oracle.now)
            rest = [one for one in found if last is None or key_of(one) > last]
            page = await self._ask("aggregate", body)
            trees = [tree_of_group(aggregation, one) for one in rest[:size]]
            check_same(f"pages of {aggregation} behind {last}", page["groups"], trees)
            assert ("next_page_token" in page) == (len(rest) > size)
            if len(rest) <= size:
                return
            last = key_of(rest[size - 1])
            body["page_token"] = page["next_page_token"]
            await self._maybe_commit()

    async def _check_the_past(self) -> None:
        version = self._chance.choice(self._oracle.versions[-4:])
        state = self._oracle.at(version)
        time = {"read_time": time_text(version)}
        query, aggregation = self._make.query(state), self._make.aggregation(state)
        found = await self._ask("query", {"query": encode_query(query), **time})
        check_same(f"{query} of {version}", found["documents"], trees_of(query, state))
        if aggregation.query.search is None:
            found = await self._ask("aggregate", {**encode_aggregation(aggregation), **time})
            shown = found.get("groups", [{"group": {}, "results": found.get("results")}])
            check_same(f"{aggregation} of {version}", shown, numbers_of(aggregation, state))

    async def _check_refused(self, query: Query) -> None:
        """There are no searches in transactions or of an earlier moment."""
        begun = await self._ask("begin-transaction", {})
        time = time_text(self._oracle.version)
        for more in ({"transaction": begun["transaction"]}, {"read_time": time}):
            body = {"query": encode_query(query), **more}
            told = await self._world.secret.post(f"{BASE}:query", json=body)
            assert told.json()["error"]["reason"] == "SearchNotSupported"

    async def _query_in_transaction(self, query: Query) -> None:
        """It is committed if nobody has changed its answer meanwhile, and only then."""
        begun, before = await self._ask_secret("begin-transaction", {}), self._oracle.now
        await self._maybe_commit()  # the transaction reads what was there when it began
        body = {"query": encode_query(query)}
        read = await self._ask_secret("query", {**body, "transaction": begun["transaction"]})
        wanted = trees_of(query, before)
        check_same(f"{query} in a transaction", read["documents"], wanted)
        await self._maybe_commit()
        is_changed = trees_of(query, self._oracle.now) != wanted
        await self._end(read, is_changed, queries=[{**body, "seen": read["seen"]}])

    async def _aggregate_in_transaction(self) -> None:
        aggregation = self._make.aggregation(self._oracle.now)
        if aggregation.query.search is not None:
            return
        begun, before = await self._ask_secret("begin-transaction", {}), self._oracle.now
        await self._maybe_commit()
        body = encode_aggregation(aggregation)
        read = await self._ask_secret("aggregate", {**body, "transaction": begun["transaction"]})
        shown = read.get("groups", [{"group": {}, "results": read.get("results")}])
        wanted = numbers_of(aggregation, before)
        check_same(f"{aggregation} in a transaction", shown, wanted)
        await self._maybe_commit()
        now = numbers_of(aggregation, self._oracle.now)
        is_changed = orjson.dumps(now) != orjson.dumps(wanted)
        await self._end(read, is_changed, aggregations=[{**body, "seen": read["seen"]}])

    async def _maybe_commit(self) -> None:
        if self._chance.random() < 0.5:
            await self._commit(self._writes(3))

    async def _end(self, read: Tree, is_changed: bool, **reads: Any) -> None:
        told = await self._commit(self._writes(2), transaction=read["transaction"], **reads)
        assert told.is_success is not is_changed, f"{reads}: {told.text}"
        if is_changed:
            assert told.json()["error"]["reason"] == "TransactionConflict"

    async def _ask_secret(self, verb: str, body: Tree) -> Any:
        told = await self._world.secret.post(f"{BASE}:{verb}", json=body)
        assert told.is_success, f"{verb} {body}: {told.text}"
        return told.json()

    async def _listen(self, query: Query) -> None:
        """The first answer, and the one after each of some commits."""
        client = Client(self._world.app)
        await client.hello(self._world.secret_key)
        await client.listen(1, query=encode_query(query))
        for commits in range(3):
            if commits:
                await self._commit(self._writes(3))
            wanted = trees_of(query, self._oracle.now)
            async with asyncio.timeout(10):
                while client.lists[1] != wanted:
                    await client.snapshot(1)
            check_same(f"listener to {query}", client.lists[1], wanted)
        await client.close()


async def test_every_way_to_read_gives_what_the_model_says(shared: World) -> None:
    oracle, first = Oracle(Limits()), 1 if FACTOR == 1 else new_seed()
    for number in range(examples(4)):
        seed = first + number
        try:
            await Run(shared, oracle, seed).go()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{error}\nrepeat with SEED={seed}") from error
