"""Every way to read over HTTP gives what the model says, on both engines, whatever is asked for
together: whole, in pages to the end, as lines, in numbers, explained, in transactions, of an
earlier moment, and to listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import pytest_asyncio

from baas.errors import InvalidQuery
from baas.model.aggregates import Aggregation
from baas.model.documents import Document
from baas.model.paths import FieldPath
from baas.model.queries import And, FieldFilter, Filter, Operator, Or, Query
from baas.model.query_checks import check_query
from baas.model.writes import DeleteWrite
from baas.settings import Limits
from baas.testing import make_settings, started_app
from baas.wire.documents import time_text
from baas.wire.queries import encode_query
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.baas.http.random_places import check_batch_get, check_lists, check_update_by_query
from tests.baas.http.random_run import (
    RandomRun,
    Tree,
    all_groups,
    check_same,
    encode_aggregation,
    key_of,
    numbers_of,
    tree_of,
    tree_of_group,
    trees_of,
)
from tests.baas.ws.client import Client
from tests.effort import FACTOR, examples
from tests.faults.seeds import new_seed
from tests.model_based.oracle import Oracle, State, answer, in_order
from tests.model_based.small import make_everything_small
from tests.mongo import engine_settings
from tests.waiting import PATIENCE_SECONDS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(7_200),
]
QUERIES = 8  # of a run, and as many aggregations
LINES = {"accept": "application/x-ndjson"}
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


class Run(RandomRun):
    """Every way to read, tried again and again."""

    async def go(self) -> None:
        await self.commit([DeleteWrite(path) for path in self.oracle.now])
        for _ in range(self.chance.randint(1, 3)):
            await self.commit(self.writes(6))
        for _ in range(QUERIES):
            state = self.oracle.now
            query = self.make.query(state, searches=True)
            await self._check_query(query, state)
            await self._check_aggregation(self.make.aggregation(state), state)
            await self._check_rights()
            if self.chance.random() < 0.5:
                continue
            await check_lists(self)
            await check_batch_get(self)
            if query.search is None:
                await self.chance.choice((self._listen, self._query_in_transaction))(query)
            else:
                await self._check_refused(query)
            await self._follow_pages()
            await self._follow_groups()
            await self._check_the_past()
            await self._aggregate_in_transaction()
        await check_update_by_query(self)

    async def _check_query(self, query: Query, state: State) -> None:
        wanted = trees_of(query, state)
        body: Tree = {"query": encode_query(query)}
        check_same(f"{query}", (await self.ask("query", body))["documents"], wanted)
        assert (await self.ask("count", body))["count"] == len(wanted)
        lines = await self.world.secret.post(f"{BASE}:query", json=body, headers=LINES)
        *documents, end = [orjson.loads(line) for line in lines.content.splitlines()]
        check_same(f"lines of {query}", [one["document"] for one in documents], wanted)
        assert end["count"] == len(wanted)
        size = self.chance.randint(1, 3)
        found: list[Tree] = []
        body |= {"page_size": size, "explain": self.chance.random() < 0.3}
        while True:
            page = await self.ask("query", body)
            assert len(page["documents"]) == min(size, len(wanted) - len(found)), query
            found += page["documents"]
            if "next_page_token" not in page:
                break
            body["page_token"] = page["next_page_token"]
        check_same(f"pages of {query}", found, wanted)

    async def _check_aggregation(self, aggregation: Aggregation, state: State) -> None:
        wanted, body = numbers_of(aggregation, state), encode_aggregation(aggregation)
        if not aggregation.group_by:
            body["explain"] = self.chance.random() < 0.3
            results = (await self.ask("aggregate", body))["results"]
            check_same(f"{aggregation}", [{"group": {}, "results": results}], wanted)
            return
        check_same(f"{aggregation}", (await self.ask("aggregate", body))["groups"], wanted)
        size = self.chance.randint(1, 3)
        found: list[Tree] = []
        body |= {"page_size": size, "explain": self.chance.random() < 0.3}
        while True:
            page = await self.ask("aggregate", body)
            assert len(page["groups"]) == min(size, len(wanted) - len(found)), aggregation
            found += page["groups"]
            if "next_page_token" not in page:
                break
            body["page_token"] = page["next_page_token"]
        check_same(f"pages of {aggregation}", found, wanted)

    async def _check_rights(self) -> None:
        """A query is refused in every way, or shows in every way what it does to others, and
        nothing that its reader may not see."""
        state = self.oracle.now
        query = self.make.query(state, searches=True)
        proof = self.chance.choice(PROOFS[query.collection.id])
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
            begun = await self.world.user.post(f"{BASE}:begin-transaction", json={})
            ways.append(("query", {**body, "transaction": begun.json()["transaction"]}))
            ways.append(("aggregate", {**body, "group_by": ["a"]}))
        told = [await self.world.user.post(f"{BASE}:{verb}", json=more) for verb, more in ways]
        lines = await self.world.user.post(f"{BASE}:query", json=body, headers=LINES)
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
        query = self.make.query(self.oracle.now, searches=True)
        size = self.chance.randint(1, 3)
        body: Tree = {"query": encode_query(query), "page_size": size}
        last: Document | None = None
        left = query.limit
        while True:
            state = self.oracle.now
            rest = self._behind(query, last, left, state)
            page = await self.ask("query", body)
            trees = [tree_of(query, one, state) for one in rest[:size]]
            check_same(f"pages of {query} behind {last}", page["documents"], trees)
            assert ("next_page_token" in page) == (len(rest) > size)
            if len(rest) <= size:
                return
            last = state[rest[size - 1].path]
            left = None if left is None else left - size
            body["page_token"] = page["next_page_token"]
            await self.maybe_commit()

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
        aggregation = self.make.aggregation(self.oracle.now)
        size = self.chance.randint(1, 3)
        body: Tree = {**encode_aggregation(aggregation), "page_size": size}
        last: Any = None
        while aggregation.group_by:
            found = all_groups(aggregation, self.oracle.now)
            rest = [one for one in found if last is None or key_of(one) > last]
            page = await self.ask("aggregate", body)
            trees = [tree_of_group(aggregation, one) for one in rest[:size]]
            check_same(f"pages of {aggregation} behind {last}", page["groups"], trees)
            assert ("next_page_token" in page) == (len(rest) > size)
            if len(rest) <= size:
                return
            last = key_of(rest[size - 1])
            body["page_token"] = page["next_page_token"]
            await self.maybe_commit()

    async def _check_the_past(self) -> None:
        version = self.chance.choice(self.oracle.versions[-4:])
        state = self.oracle.at(version)
        time = {"read_time": time_text(version)}
        query, aggregation = self.make.query(state), self.make.aggregation(state)
        found = await self.ask("query", {"query": encode_query(query), **time})
        check_same(f"{query} of {version}", found["documents"], trees_of(query, state))
        if aggregation.query.search is None:
            found = await self.ask("aggregate", {**encode_aggregation(aggregation), **time})
            shown = found.get("groups", [{"group": {}, "results": found.get("results")}])
            check_same(f"{aggregation} of {version}", shown, numbers_of(aggregation, state))

    async def _check_refused(self, query: Query) -> None:
        """There are no searches in transactions or of an earlier moment."""
        begun = await self.ask("begin-transaction", {})
        time = time_text(self.oracle.version)
        for more in ({"transaction": begun["transaction"]}, {"read_time": time}):
            body = {"query": encode_query(query), **more}
            told = await self.world.secret.post(f"{BASE}:query", json=body)
            assert told.json()["error"]["reason"] == "SearchNotSupported"

    async def _query_in_transaction(self, query: Query) -> None:
        """It is committed if nobody has changed its answer meanwhile, and only then."""
        begun, before = await self.ask_secret("begin-transaction", {}), self.oracle.now
        await self.maybe_commit()  # the transaction reads what was there when it began
        body = {"query": encode_query(query)}
        read = await self.ask_secret("query", {**body, "transaction": begun["transaction"]})
        wanted = trees_of(query, before)
        check_same(f"{query} in a transaction", read["documents"], wanted)
        await self.maybe_commit()
        is_changed = trees_of(query, self.oracle.now) != wanted
        await self._end(read, is_changed, queries=[{**body, "seen": read["seen"]}])

    async def _aggregate_in_transaction(self) -> None:
        aggregation = self.make.aggregation(self.oracle.now)
        if aggregation.query.search is not None:
            return
        begun, before = await self.ask_secret("begin-transaction", {}), self.oracle.now
        await self.maybe_commit()
        body = encode_aggregation(aggregation)
        read = await self.ask_secret("aggregate", {**body, "transaction": begun["transaction"]})
        shown = read.get("groups", [{"group": {}, "results": read.get("results")}])
        wanted = numbers_of(aggregation, before)
        check_same(f"{aggregation} in a transaction", shown, wanted)
        await self.maybe_commit()
        now = numbers_of(aggregation, self.oracle.now)
        is_changed = orjson.dumps(now) != orjson.dumps(wanted)
        await self._end(read, is_changed, aggregations=[{**body, "seen": read["seen"]}])

    async def _end(self, read: Tree, is_changed: bool, **reads: Any) -> None:
        told = await self.commit(self.writes(2), transaction=read["transaction"], **reads)
        assert told.is_success is not is_changed, f"{reads}: {told.text}"
        if is_changed:
            assert told.json()["error"]["reason"] == "TransactionConflict"

    async def _listen(self, query: Query) -> None:
        """The first answer, and the one after each of some commits."""
        client = Client(self.world.app)
        await client.hello(self.world.secret_key)
        await client.listen(1, query=encode_query(query))
        for commits in range(3):
            if commits:
                await self.commit(self.writes(3))
            wanted = trees_of(query, self.oracle.now)
            async with asyncio.timeout(PATIENCE_SECONDS):
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
