"""Use cases on documents that HTTP's tests do not show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.errors import NotFound, PermissionDenied, TokenInvalid
from baas.model.paths import CollectionPath
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite
from baas.services import documents
from baas.services.authentication import identify, recognize
from tests.baas.services.worlds import ADA, EVE, NAME, OPERATOR, World, path


async def test_the_time_of_a_request_is_in_whole_milliseconds(world: World) -> None:
    assert documents.request_time(world.context).microseconds % 1000 == 0


async def test_a_new_path_has_an_automatic_id(world: World) -> None:
    made = documents.new_document_path(world.context, CollectionPath(("a",)))
    assert made.collection == CollectionPath(("a",))
    assert len(made.id) == 20


async def test_a_batch_get_is_of_one_instant(world: World) -> None:
    await world.put(a__1={"n": 1})
    found = await documents.get_documents(world.context, OPERATOR, NAME, [path("a/1"), path("a/2")])
    first, second = found.documents
    assert first is not None
    assert second is None
    assert found.read_time.microseconds >= first.version


async def test_a_read_time_is_never_1970(world: World) -> None:
    found = await documents.get_documents(world.context, OPERATOR, NAME, [path("a/1")])
    assert found.read_time.microseconds > 10**15


async def test_a_request_id_belongs_to_its_caller(world: World) -> None:
    await world.deploy("match /a/{id} { allow write: if request.auth != null; }")
    write = SetWrite(path("a/b"), {"n": 1})
    commit = documents.commit
    first = await commit(world.context, ADA, NAME, [write], request_id="r")
    again = await commit(world.context, ADA, NAME, [write], request_id="r")
    other = await commit(world.context, EVE, NAME, [SetWrite(path("a/c"), {})], request_id="r")
    assert again.version == first.version
    assert other.version > first.version


@asynccontextmanager
async def commits_held_up(world: World) -> AsyncIterator[None]:
    """What is committed in the block waits for its turn, which comes at the block's end."""
    database = await world.context.databases.open(NAME)
    is_in_turn, may_go_on = asyncio.Event(), asyncio.Event()
    runs = 0

    async def hold_up(transaction: Transaction) -> None:
        nonlocal runs
        await transaction.get_documents([path("c/n")])
        runs += 1
        if runs == 1:
            await world.put(c__n={"n": 2})  # so that it runs again, in its turn
        else:
            is_in_turn.set()
            await may_go_on.wait()
        await transaction.write([SetWrite(path("c/n"), {"n": 3})])

    holding = asyncio.ensure_future(database.run_transaction(hold_up, request_time=Timestamp(0)))
    try:
        await is_in_turn.wait()
        yield
    finally:
        may_go_on.set()
        await holding


async def test_rules_that_are_replaced_while_a_commit_waits_decide_it(world: World) -> None:
    await world.deploy("match /{all=**} { allow read, write; }")
    async with commits_held_up(world):
        waiting = asyncio.ensure_future(
            documents.commit(world.context, EVE, NAME, [SetWrite(path("c/eve"), {})])
        )
        await asyncio.sleep(0.05)
        await world.deploy("match /{all=**} { allow read; }")
    with pytest.raises(PermissionDenied):
        await waiting


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_user_who_is_disabled_while_a_commit_waits_commits_nothing(
    world: World, is_known: bool
) -> None:
    await world.deploy("match /{all=**} { allow read, write; }")
    context = world.context
    signed_in = await context.accounts.sign_up("demo", "eve@example.com", "a-long-password")
    caller = await identify(context, "demo", signed_in.id_token)
    if is_known:
        caller = recognize(context, "demo", signed_in.id_token) or caller
        assert caller.revocations == context.accounts.revocations
    await documents.commit(context, caller, NAME, [SetWrite(path("c/before"), {})])
    async with commits_held_up(world):
        waiting = asyncio.ensure_future(
            documents.commit(context, caller, NAME, [SetWrite(path("c/eve"), {})])
        )
        await asyncio.sleep(0.05)
        await context.accounts.users.update("demo", signed_in.user.uid, disabled=True)
    with pytest.raises(TokenInvalid):
        await waiting
    with pytest.raises(TokenInvalid):
        await documents.commit(context, caller, NAME, [SetWrite(path("c/later"), {})])


async def test_unknown_projects_and_databases(world: World) -> None:
    for name, reason in (
        (DatabaseName("nobody"), "ProjectNotFound"),
        (DatabaseName("demo", "archive"), "DatabaseNotFound"),
        (DatabaseName("demo", "__system__"), "DatabaseNotFound"),
        (DatabaseName("", "__system__"), "ProjectNotFound"),
        (DatabaseName("../x"), "ProjectNotFound"),
    ):
        with pytest.raises(NotFound) as caught:
            await documents.get_document(world.context, OPERATOR, name, path("a/b"))
        assert caught.value.reason == reason


async def test_collection_ids_are_for_those_above_the_rules(world: World) -> None:
    await world.deploy("match /{document=**} { allow read: if true; }")
    await world.put(a__b={}, c__d={}, a__b__deep__x={})
    listed = documents.list_collection_ids
    assert await listed(world.context, OPERATOR, NAME, None) == ["a", "c"]
    assert await listed(world.context, OPERATOR, NAME, path("a/b")) == ["deep"]
    with pytest.raises(PermissionDenied):
        await listed(world.context, ADA, NAME, None)
