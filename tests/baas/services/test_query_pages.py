"""Pages of queries, by token; and what explains a query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baas.errors import InvalidArgument, OutOfRange, PermissionDenied
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import NAME, Cursor, FieldFilter, Operator, Or, Order, Query
from baas.model.values import Value
from baas.model.writes import DeleteWrite, SetWrite
from baas.services import documents, queries
from baas.services.queries import PageRequest
from tests.baas.services.worlds import ADA, OPERATOR, SECRET, World, open_world
from tests.baas.services.worlds import NAME as DATABASE

CITIES = CollectionPath(("cities",))
N, LAND = FieldPath(("n",)), FieldPath(("land",))
COUNT = 23


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        cities: dict[str, Mapping[str, Value]] = {
            f"cities__c{n:02}": {"n": n, "land": n % 3, "x": "é" * 9} for n in range(COUNT)
        }
        await world.put(**cities)
        yield world


async def read_pages(world: World, query: Query, size: int, caller: Any = SECRET) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    token = None
    while True:
        page = await queries.run_query_page(
            world.context, caller, DATABASE, query, PageRequest(size, token)
        )
        assert page.more == (page.next_token is not None)
        assert len(page.documents) <= size
        found += [document.path.id for document in page.documents]
        token = page.next_token
        if token is None:
            return found


BOTH = Or((FieldFilter(LAND, Operator.EQUAL, 1), FieldFilter(N, Operator.LESS, 4)))
QUERIES = [
    Query(CITIES),
    Query(CITIES, limit=9),
    Query(CITIES, offset=4, limit=9),
    Query(CITIES, order_by=(Order(LAND, True), Order(N))),
    Query(CITIES, order_by=(Order(LAND), Order(NAME, True)), limit=17),
    Query(CITIES, where=FieldFilter(N, Operator.GREATER, 5), select=(LAND,)),
    Query(CITIES, where=BOTH),
    Query(CITIES, order_by=(Order(N),), start=Cursor((3,), True), end=Cursor((19,), True)),
    Query(CITIES, all_descendants=True, where=FieldFilter(LAND, Operator.IN, [0, 2])),
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("size", [1, 4, 100])
async def test_pages_give_the_whole_answer_in_order(world: World, query: Query, size: int) -> None:
    whole = await queries.run_query(world.context, SECRET, DATABASE, query)
    assert await read_pages(world, query, size) == [one.path.id for one in whole.documents]


async def first_token(world: World, query: Query, **more: Any) -> str:
    page = await queries.run_query_page(
        world.context, more.get("caller", SECRET), DATABASE, query, PageRequest(2)
    )
    assert page.next_token is not None
    return page.next_token


async def test_a_page_begins_where_its_last_document_was(world: World) -> None:
    """Though it has changed its place since, or is gone."""
    query = Query(CITIES, order_by=(Order(N),))
    token = await first_token(world, query)  # behind c01, with n 1
    path = DocumentPath(("cities", "c01"))
    for write in (SetWrite(path, {"n": 50}), DeleteWrite(path)):
        await documents.commit(world.context, OPERATOR, DATABASE, [write])
        page = await queries.run_query_page(
            world.context, SECRET, DATABASE, query, PageRequest(2, token)
        )
        assert [document.path.id for document in page.documents] == ["c02", "c03"]


async def test_a_token_serves_its_own_query_only(world: World) -> None:
    query = Query(CITIES, order_by=(Order(N),))
    token = await first_token(world, query)
    wrong = [
        (Query(CITIES, order_by=(Order(N, True),)), token),
        (Query(CITIES, order_by=(Order(N),), limit=5), token),
        (query, token[:-1]),
        (query, ("B" if token[0] == "A" else "A") + token[1:]),
        (query, "A" * 9_001),
        (query, "é"),
        (query, ""),
    ]
    for asked, told in wrong:
        with pytest.raises(InvalidArgument) as caught:
            await queries.run_query_page(
                world.context, SECRET, DATABASE, asked, PageRequest(2, told)
            )
        assert caught.value.reason == "InvalidPageToken"


async def test_a_token_of_what_is_not_kept_has_expired(world: World) -> None:
    query = Query(CITIES, order_by=(Order(N),))
    token = await first_token(world, query)
    database = await world.context.databases.open(DATABASE)
    await world.put(cities__c01={"n": 7})
    await database._engine.trim(database.version, limit=1_000)
    with pytest.raises(OutOfRange) as caught:
        await queries.run_query_page(world.context, SECRET, DATABASE, query, PageRequest(2, token))
    assert caught.value.reason == "PageTokenExpired"


async def test_a_token_gives_no_right(world: World) -> None:
    await world.deploy("match /cities/{id} { allow list: if request.auth.uid == 'eve'; }")
    token = await first_token(world, Query(CITIES))
    with pytest.raises(PermissionDenied):
        await queries.run_query_page(
            world.context, ADA, DATABASE, Query(CITIES), PageRequest(2, token)
        )


async def test_rules_see_the_limit_of_the_query_and_not_of_the_page(world: World) -> None:
    await world.deploy("match /cities/{id} { allow list: if request.query.limit <= 10; }")
    query = Query(CITIES, limit=10)
    assert len(await read_pages(world, query, 3, ADA)) == 10
    with pytest.raises(PermissionDenied):
        await read_pages(world, Query(CITIES), 3, ADA)


# Explanations ------------------------------------------------------------------------------------


async def explain(world: World, query: Query, caller: Any = SECRET) -> Any:
    page = await queries.run_query_page(
        world.context, caller, DATABASE, query, PageRequest(explain=True)
    )
    assert page.explanation is not None
    return page.explanation


async def test_a_query_is_explained(world: World) -> None:
    await world.put(**{f"many__m{n:03}": {"n": n, "land": n % 7} for n in range(300)})
    many = CollectionPath(("many",))
    by_name = await explain(world, Query(many, limit=5))
    assert [scan.kind for scan in by_name.scans] == ["names"]
    assert (by_name.entries_scanned, by_name.documents_read, by_name.returned) == (0, 5, 5)
    query = Query(many, where=FieldFilter(N, Operator.GREATER, 290), order_by=(Order(N),))
    first = await explain(world, query)
    assert [scan.kind for scan in first.scans] == ["collection"]
    assert (first.documents_read, first.returned, first.building) == (300, 9, ())
    assert [str(item) for item in first.missing] == ["many (collection): n"]
    second = await explain(world, query)
    (scan,) = second.scans
    assert (scan.kind, scan.exact, scan.ranges, scan.descending) == ("index", True, 1, False)
    assert str(scan.index.definition) == "many (collection): n"
    assert (second.entries_scanned, second.documents_read, second.returned) == (9, 9, 9)
    assert second.missing == ()
    nothing = await explain(world, Query(many, where=FieldFilter(N, Operator.IN, [None])))
    assert (nothing.scans, nothing.documents_read) == ((), 0)


async def test_queries_are_not_explained_to_users_in_production(world: World) -> None:
    await world.deploy("match /cities/{id} { allow list; }")
    with pytest.raises(PermissionDenied) as caught:
        await explain(world, Query(CITIES), ADA)
    assert caught.value.reason == "ExplainNotAllowed"


async def test_in_development_they_are_explained_to_who_may_run_them(tmp_path: Path) -> None:
    async with open_world(tmp_path, dev=True) as world:
        await world.put(cities__a={"n": 1})
        with pytest.raises(PermissionDenied) as caught:
            await explain(world, Query(CITIES), ADA)
        assert caught.value.reason != "ExplainNotAllowed"
        await world.deploy("match /cities/{id} { allow list; }")
        assert (await explain(world, Query(CITIES), ADA)).returned == 1
