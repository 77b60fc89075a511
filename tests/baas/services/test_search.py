"""Searches by callers: pages, rights, what an order may tell, and where there is no search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baas.errors import InvalidQuery, OutOfRange, PermissionDenied
from baas.model.aggregates import Aggregate, AggregateOperator, Aggregation
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import Cursor, Order, Query
from baas.model.query_checks import check_query
from baas.model.search import Search
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite
from baas.services import aggregations, documents, past, queries, transactions
from baas.services.queries import PageRequest
from baas.settings import Limits
from tests.baas.services.worlds import ADA, OPERATOR, SECRET, World, open_world, query
from tests.baas.services.worlds import NAME as DATABASE

NOTES = CollectionPath(("notes",))
TEXT = FieldPath(("text",))
OWN_RULE = "match /notes/{n} { allow list: if resource.data.owner == request.auth.uid; }"
MEMBERS_RULE = "match /notes/{n} { allow list: if request.auth.uid in resource.data.members; }"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


def search(text: str, *filters: tuple[str, str, Any], **more: Any) -> Query:
    return replace(query("notes", *filters), search=Search(text, (TEXT,)), **more)


async def run(world: World, asked: Query, caller: Any = SECRET) -> list[str]:
    page = await queries.run_query(world.context, caller, DATABASE, asked)
    return [document.path.id for document in page.documents]


async def put(world: World, **fields: dict[str, Any]) -> None:
    await world.put(**{f"notes__{name}": value for name, value in fields.items()})


async def make_index(world: World, asked: Query) -> None:
    """The second query of a shape has its index made, where there are many documents."""
    database = await world.context.databases.open(DATABASE)
    async with database.snapshot() as snapshot:
        plan = snapshot._queries.plan(asked)
        database._builder.request(getattr(plan, "missing", ()))
    await database._builder.wait_idle()


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
async def test_the_best_come_first(world: World, indexed: bool) -> None:
    await put(
        world,
        long={"text": "red apples, green pears and a red house" + " more" * 40, "n": 1},
        twice={"text": "Red, red!", "n": 2},
        once={"text": "a red ápple", "n": 3},
        other={"text": "redder", "n": 4},
        none={"n": 5},
        listed={"text": ["green", "RED"], "n": 6},
    )
    if indexed:
        await make_index(world, search("red"))
    assert await run(world, search("red")) == ["twice", "listed", "once", "long"]
    assert await run(world, search("red apple")) == ["once"]
    assert await run(world, search("app*")) == ["once", "long"]
    assert await run(world, search("red* -", limit=2)) == ["twice", "other"]
    assert await run(world, search("red", ("n", ">", 2), offset=1)) == ["once"]
    assert await run(world, search("red", ("n", "==", 3))) == ["once"]
    assert await run(world, search("blue")) == []
    chosen = await queries.run_query(
        world.context, SECRET, DATABASE, search("redder", select=(FieldPath(("n",)),))
    )
    assert [document.fields for document in chosen.documents] == [{"n": 4}]
    counted = await aggregations.count(world.context, SECRET, DATABASE, search("red"))
    assert counted.count == 4


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("size", [1, 4, 100])
async def test_pages_give_the_whole_answer_in_order(world: World, indexed: bool, size: int) -> None:
    for number in range(23):
        await put(world, **{f"n{number:02}": {"text": "red " * (number % 5 + 1), "n": number}})
    asked = search("red", ("n", ">=", 3), offset=1, limit=15)
    if indexed:
        await make_index(world, asked)
    found: list[str] = []
    token = None
    while True:
        page = await queries.run_query_page(
            world.context, SECRET, DATABASE, asked, PageRequest(size, token)
        )
        found += [document.path.id for document in page.documents]
        token = page.next_token
        if token is None:
            break
    assert found == await run(world, asked)
    assert len(set(found)) == 15


async def test_a_page_begins_where_its_last_document_was(world: World) -> None:
    """Though its text is another one since, or it is gone."""
    for number in range(5):
        await put(world, **{f"n{number}": {"text": "red " + "x " * number}})
    page = await queries.run_query_page(
        world.context, SECRET, DATABASE, search("red"), PageRequest(2)
    )
    path = DocumentPath(("notes", "n1"))
    for write in (SetWrite(path, {"text": "green"}), DeleteWrite(path)):
        await documents.commit(world.context, OPERATOR, DATABASE, [write])
        following = await queries.run_query_page(
            world.context, SECRET, DATABASE, search("red"), PageRequest(2, page.next_token)
        )
        assert [document.path.id for document in following.documents] == ["n2", "n3"]
    database = await world.context.databases.open(DATABASE)
    await put(world, last={"text": "red"})
    await database._engine.trim(database.version, limit=1_000)
    with pytest.raises(OutOfRange):
        await queries.run_query_page(
            world.context, SECRET, DATABASE, search("red"), PageRequest(2, page.next_token)
        )


# What an order may tell ---------------------------------------------------------------------------


async def order_of(world: World, caller: Any, *filters: tuple[str, str, Any]) -> list[str]:
    return await run(world, search("ant bee", *filters), caller)


@pytest.mark.parametrize("indexed", [False, True])
async def test_an_order_does_not_tell_of_what_the_caller_may_not_list(
    world: World, indexed: bool
) -> None:
    """Which of two words is rarer shows in the order of two documents that have both: among all
    documents it would tell whether somebody else's have one of them."""
    await world.deploy(OWN_RULE)
    await put(
        world,
        ants={"text": "ant ant bee", "owner": "ada"},
        bees={"text": "ant bee bee", "owner": "ada"},
        mine={"text": "ant", "owner": "ada"},
    )
    own = ("owner", "==", "ada")
    if indexed:
        await make_index(world, search("x", own))
    assert await order_of(world, ADA, own) == ["bees", "ants"]  # bees are rarer
    for number in range(9):
        await put(world, **{f"eve{number}": {"text": "bee", "owner": "eve"}})
    assert await order_of(world, ADA, own) == ["bees", "ants"]
    assert await order_of(world, SECRET) == ["ants", "bees"]  # among all they are common
    # One definition for everybody: an equality narrows for those, too, who may see all.
    assert await order_of(world, SECRET, own) == ["bees", "ants"]


async def test_who_may_list_by_more_than_equalities_searches_among_that(world: World) -> None:
    await world.deploy(MEMBERS_RULE)
    await put(
        world,
        ants={"text": "ant ant bee", "members": ["ada", "eve"]},
        bees={"text": "ant bee bee", "members": ["ada"]},
        mine={"text": "ant", "members": ["ada"]},
    )
    for number in range(9):
        await put(world, **{f"eve{number}": {"text": "bee", "members": ["eve"]}})
    mine = ("members", "array-contains", "ada")
    assert await order_of(world, ADA, mine) == ["bees", "ants"]
    assert await order_of(world, SECRET, mine) == ["ants", "bees"]
    counted = await aggregations.count(world.context, ADA, DATABASE, search("bee", mine))
    assert counted.count == 2
    assert world.context.denials.counts("demo").denied == 0


@pytest.mark.parametrize("indexed", [False, True])
async def test_a_search_is_allowed_as_any_list(world: World, indexed: bool) -> None:
    await world.deploy(
        "match /notes/{n} { allow list: if resource.data.owner == request.auth.uid"
        " && request.query.limit <= 5; }"
    )
    await put(world, a={"text": "secret", "owner": "eve"}, b={"text": "secret", "owner": "ada"})
    if indexed:
        await make_index(world, search("x"))
        await make_index(world, search("x", ("owner", "==", "ada")))
    assert await run(world, search("secret", ("owner", "==", "ada"), limit=5), ADA) == ["b"]
    for asked in (
        search("secret"),
        search("secret", limit=5),
        search("nowhere", limit=5),
        search("secret", ("owner", "==", "ada")),
        search("secret", ("owner", "==", "ada"), limit=6),
        search("secret", ("owner", "==", "eve"), limit=5),
        search("secret", ("owner", ">=", "ada"), limit=5),
    ):
        with pytest.raises(PermissionDenied):
            await run(world, asked, ADA)
        with pytest.raises(PermissionDenied):
            await aggregations.count(world.context, ADA, DATABASE, asked)
        with pytest.raises(PermissionDenied):
            await queries.stream_query(world.context, ADA, DATABASE, asked)


# Where there is none ------------------------------------------------------------------------------


async def refusal_of(call: Any) -> str:
    with pytest.raises(InvalidQuery) as caught:
        await call
    assert caught.value.reason is not None
    return caught.value.reason


async def test_where_there_is_no_search(world: World) -> None:
    context = world.context
    asked = search("red")
    now = Timestamp(context.clock.now_microseconds())
    grouped = Aggregation(asked, (), group_by=(TEXT,))
    summed = Aggregation(asked, (Aggregate("n", AggregateOperator.SUM, FieldPath(("n",))),))
    counted = Aggregation(asked, (Aggregate("n", AggregateOperator.COUNT),))
    begun = await transactions.begin(context, SECRET, DATABASE)
    for call in (
        past.run_query_at(context, SECRET, DATABASE, asked, now),
        past.aggregate_at(context, SECRET, DATABASE, counted, now),
        transactions.run_query(context, SECRET, DATABASE, asked, begun.token),
        transactions.aggregate(context, SECRET, DATABASE, counted, begun.token),
        aggregations.aggregate(context, SECRET, DATABASE, grouped),
        aggregations.aggregate(context, SECRET, DATABASE, summed),
    ):
        assert await refusal_of(call) == "SearchNotSupported"


def test_a_search_has_limits_and_an_order_of_its_own() -> None:
    limits = Limits(search_terms_max=3, search_fields_max=2, search_text_characters_max=20)
    fields = tuple(FieldPath((name,)) for name in "abc")

    def reason(asked: Query) -> str | None:
        with pytest.raises(InvalidQuery) as caught:
            check_query(asked, limits)
        return caught.value.reason

    for allowed in (
        Search("a b c", (TEXT,)),
        Search("a a a a b* c", (TEXT,)),
        Search("東京都に", (TEXT,)),
        Search("x", fields[:2]),
        Search("x" * 20, (TEXT,)),
    ):
        check_query(Query(NOTES, search=allowed), limits)
    for refused, why in (
        (Search("a b c d", (TEXT,)), "TooManySearchTerms"),
        (Search("東京都には", (TEXT,)), "TooManySearchTerms"),
        (Search("x", fields), "TooManySearchFields"),
        (Search("x", ()), "NoSearchFields"),
        (Search("x" * 21, (TEXT,)), "SearchTextTooLong"),
        (Search("", (TEXT,)), "NoSearchTerms"),
        (Search(" *!?* ", (TEXT,)), "NoSearchTerms"),
    ):
        assert reason(Query(NOTES, search=refused)) == why
    assert reason(search("x", order_by=(Order(TEXT),))) == "SearchWithOrder"
    assert reason(search("x", start=Cursor(("a",), True))) == "SearchWithCursor"
    assert reason(search("x", end=Cursor(("a",), True))) == "SearchWithCursor"
    for wrong in ((FieldPath(("__name__",)),), (TEXT, TEXT)):
        with pytest.raises(InvalidQuery):
            check_query(Query(NOTES, search=Search("x", wrong)), limits)
