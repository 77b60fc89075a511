"""Queries under rules: allowed or denied as a whole, and pages that miss and repeat nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from baas.errors import InvalidArgument, InvalidQuery, PermissionDenied
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.services import aggregations, queries
from baas.services.caller import Caller
from tests.baas.services.worlds import ADA, EVE, NAME, OPERATOR, World, query

OWNED = "match /a/{id} { allow list: if resource.data.owner == request.auth.uid; }"


async def allowed(world: World, caller: Caller, wanted: Query) -> bool:
    """Whether the query is allowed; every way to ask has to agree."""
    outcomes: set[bool] = set()
    for ask in (queries.run_query, aggregations.count, queries.stream_query):
        try:
            answer = await ask(world.context, caller, NAME, wanted)
        except PermissionDenied:
            outcomes.add(False)
        else:
            outcomes.add(True)
            if isinstance(answer, queries.DocumentStream):
                async for _ in answer.batches:
                    pass
    (outcome,) = outcomes
    return outcome


async def test_a_query_is_proved_from_its_filters(world: World) -> None:
    await world.deploy(OWNED)
    await world.put(a__1={"owner": "ada"}, a__2={"owner": "eve"})
    mine = query("a", ("owner", "==", "ada"))
    assert await allowed(world, ADA, mine)
    assert not await allowed(world, EVE, mine)
    assert not await allowed(world, ADA, query("a"))
    assert not await allowed(world, ADA, query("a", ("other", "==", "ada")))
    assert await allowed(world, ADA, query("a", ("owner", "==", "ada"), ("x", "==", 1)))
    assert await allowed(world, OPERATOR, query("a"))


async def test_a_query_is_not_allowed_because_its_answer_happens_to_be(world: World) -> None:
    await world.deploy(OWNED)
    await world.put(a__1={"owner": "ada"})
    assert not await allowed(world, ADA, query("a"))


async def test_the_right_to_get_is_not_the_right_to_list(world: World) -> None:
    await world.deploy("match /a/{id} { allow get: if true; }")
    assert not await allowed(world, ADA, query("a"))


async def test_a_limit_can_be_a_condition(world: World) -> None:
    await world.deploy("match /a/{id} { allow list: if request.query.limit <= 10; }")
    assert await allowed(world, ADA, query("a", limit=10))
    assert not await allowed(world, ADA, query("a", limit=11))
    assert not await allowed(world, ADA, query("a"))


async def test_lists_may_rest_on_other_documents(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow list: if"
        " exists(/databases/$(database)/documents/members/$(request.auth.uid)); }"
    )
    await world.put(members__ada={}, a__1={})
    assert await allowed(world, ADA, query("a"))
    assert not await allowed(world, EVE, query("a"))


async def test_listing_asks_for_the_same_right(world: World) -> None:
    await world.deploy("match /a/{id} { allow list: if request.query.limit <= 2; }")
    await world.put(a__1={}, a__2={}, a__3={})
    collection = CollectionPath(("a",))
    page = await queries.list_documents(world.context, ADA, NAME, collection, page_size=2)
    assert [str(document.path) for document in page.documents] == ["a/1", "a/2"]
    with pytest.raises(PermissionDenied):
        await queries.list_documents(world.context, ADA, NAME, collection, page_size=3)
    with pytest.raises(PermissionDenied):  # a total is of all, and all may not be listed
        await queries.list_documents(
            world.context, ADA, NAME, collection, page_size=2, with_total=True
        )


async def test_pages_of_a_list_miss_and_repeat_nothing(world: World) -> None:
    names = ["A", "a", "a b", "zz", "é", "日本"]
    await world.put(**{f"a__{name}": {} for name in names})
    collection = CollectionPath(("a",))
    seen: list[str] = []
    token: str | None = None
    while True:
        page = await queries.list_documents(
            world.context, OPERATOR, NAME, collection, page_size=1, page_token=token
        )
        seen += [document.path.id for document in page.documents]
        token = page.next_token
        if token is None:
            break
    assert seen == names


async def test_an_answer_stops_at_the_limit_and_says_so(world: World) -> None:
    limits = replace(world.context.settings.limits, query_page_documents_max=3)
    context = replace(world.context, settings=replace(world.context.settings, limits=limits))
    await world.put(**{f"a__{number}": {} for number in range(4)})
    page = await queries.run_query(context, OPERATOR, NAME, query("a"))
    assert (len(page.documents), page.more) == (3, True)
    page = await queries.run_query(context, OPERATOR, NAME, query("a", limit=3))
    assert (len(page.documents), page.more) == (3, False)
    page = await queries.run_query(context, OPERATOR, NAME, query("a", limit=4))
    assert (len(page.documents), page.more) == (3, True)
    stream = await queries.stream_query(context, OPERATOR, NAME, query("a"))
    assert sum([len(batch) async for batch in stream.batches]) == 4


async def test_a_stream_shows_one_instant(world: World) -> None:
    await world.put(**{f"a__{number}": {"n": 1} for number in range(50)})
    stream = await queries.stream_query(world.context, OPERATOR, NAME, query("a"))
    await world.put(**{f"a__{number}": {"n": 2} for number in range(60)})
    found = [document.fields["n"] async for batch in stream.batches for document in batch]
    assert found == [1] * 50


async def test_bad_queries_and_tokens_are_refused_before_anything_is_read(world: World) -> None:
    many = query("a", ("n", "in", list(range(31))))
    for ask in (queries.run_query, aggregations.count, queries.stream_query):
        with pytest.raises(InvalidQuery):
            await ask(world.context, OPERATOR, NAME, many)
    with pytest.raises(InvalidArgument):
        await queries.list_documents(
            world.context, OPERATOR, NAME, CollectionPath(("a",)), page_size=1, page_token="?"
        )


async def test_in_development_mode_a_denied_list_names_what_would_prove_it(
    dev_world: World,
) -> None:
    await dev_world.deploy(OWNED)
    with pytest.raises(PermissionDenied) as caught:
        await queries.run_query(dev_world.context, ADA, NAME, query("a"))
    assert caught.value.details is not None
    explanation = caught.value.details["explanation"]
    assert "owner" in explanation
    assert "hint" in explanation


async def test_a_total_follows_every_commit(world: World) -> None:
    """Counted once, then told at once, with the page of the same instant."""
    await world.deploy("match /a/{id} { allow list: if true; }")
    collection = CollectionPath(("a",))
    for number in range(1, 6):
        await world.put(**{f"a__{number}": {}})
        for size in (2, 2, 10):
            page = await queries.list_documents(
                world.context, ADA, NAME, collection, page_size=size, with_total=True
            )
            assert page.total == number
            assert len(page.documents) == min(size, number)
            assert (page.next_token is None) == (size >= number)


async def test_a_long_answer_without_a_limit_is_cut_and_says_so(world: World) -> None:
    await world.deploy("match /a/{id} { allow list: if true; }")
    await world.put(**{f"a__{number:03}": {} for number in range(150)})
    limits = replace(world.context.settings.limits, query_page_documents_max=140)
    context = replace(world.context, settings=replace(world.context.settings, limits=limits))
    page = await queries.run_query(context, ADA, NAME, query("a"))
    assert (len(page.documents), page.more) == (140, True)
    limits = replace(limits, query_page_documents_max=100)
    context = replace(world.context, settings=replace(world.context.settings, limits=limits))
    for wanted, more in ((query("a", limit=120), True), (query("a", limit=100), False)):
        page = await queries.run_query(context, ADA, NAME, wanted)
        assert (len(page.documents), page.more) == (100, more)
