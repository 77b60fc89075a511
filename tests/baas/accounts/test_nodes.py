"""What one node keeps in memory follows what another one does: users, keys, rules, projects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from baas.accounts.accounts import Accounts
from baas.accounts.passwords import PasswordPool
from baas.accounts.sealing import ServerSecret, check_secret
from baas.database import follower
from baas.database.names import DatabaseName
from baas.database.registry import IDLE_SECONDS_MIN, Databases
from baas.database.system import SystemStore
from baas.errors import BaasError, FailedPrecondition, NotFound, TokenInvalid, Unavailable
from baas.projects.deletions import DELETION_SECONDS
from baas.projects.projects import Projects
from baas.projects.records import ApiKeyKind
from baas.projects.rulesets import DENY_ALL
from baas.settings import Settings
from tests.baas.accounts.conftest import EMAIL, PASSWORD, PROJECT, SECRET, TestClock
from tests.baas.database.acts import fields, put, write
from tests.baas.database.shared import SharedState, SharedStore

OPEN = DENY_ALL.replace("if false", "if true")


@dataclass
class Node:
    store: SharedStore
    databases: Databases
    accounts: Accounts
    projects: Projects
    clock: TestClock


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    states: dict[Any, SharedState] = {}
    passwords = PasswordPool(threads=2, queue_max=200)
    settings = replace(Settings(), open_databases_max=2)
    nodes = []
    for name in ("one", "two"):
        clock, store = TestClock(), SharedStore(states)
        databases = Databases(store, settings, clock)
        await databases.system(None, create=True)
        accounts = Accounts(
            databases, secret=SECRET, passwords=passwords, settings=settings, clock=clock
        )
        projects = Projects(databases, settings=settings, clock=clock, node=name)
        projects.watch_deletions(accounts.forget_project)
        nodes.append(Node(store, databases, accounts, projects, clock))
    await nodes[0].projects.create_project(PROJECT)
    yield nodes
    for node in nodes:
        node.store.rejoin()
        await node.projects.close()
        await node.databases.close()
    passwords.close()


async def until_refused(call: Callable[[], Awaitable[object]], *kinds: type[BaasError]) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                await call()
            except kinds:
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("change", ["disable", "password", "delete", "sign out"])
async def test_tokens_end_on_the_other_node(nodes: list[Node], change: str) -> None:
    one, two = nodes
    signed_in = await one.accounts.sign_up(PROJECT, EMAIL, PASSWORD)
    token, uid = signed_in.id_token, signed_in.user.uid
    await two.accounts.verify_id_token(PROJECT, token)
    told: list[str | None] = []
    two.accounts.watch_revocations(lambda project, user: told.append(user))
    users = one.accounts.users
    match change:
        case "disable":
            await users.update(PROJECT, uid, disabled=True)
        case "password":
            await users.update(PROJECT, uid, password="another password")
        case "delete":
            await users.delete(PROJECT, uid)
        case _:
            await one.accounts.sign_out(PROJECT, signed_in.refresh_token)
    await until_refused(lambda: two.accounts.verify_id_token(PROJECT, token), TokenInvalid)
    async with asyncio.timeout(90):
        while uid not in told:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_token_of_a_key_that_was_made_just_now_is_good_on_the_other_node(
    nodes: list[Node],
) -> None:
    one, two = nodes
    first = await one.accounts.sign_up(PROJECT, EMAIL, PASSWORD)
    await two.accounts.verify_id_token(PROJECT, first.id_token)
    for engine in two.store.engines:
        engine.watchers.clear()  # nobody wakes it
    await one.accounts.rotate_signing_key(PROJECT)
    second = await one.accounts.sign_in(PROJECT, EMAIL, PASSWORD)
    await two.accounts.verify_id_token(PROJECT, second.id_token)
    await two.accounts.verify_id_token(PROJECT, first.id_token)


async def test_tokens_that_were_known_when_a_database_was_closed_are_looked_at_again(
    nodes: list[Node],
) -> None:
    """A closed database hears nothing of what the other node does."""
    one, two = nodes
    signed_in = await one.accounts.sign_up(PROJECT, EMAIL, PASSWORD)
    token = signed_in.id_token
    await two.accounts.verify_id_token(PROJECT, token)
    for number in range(4):
        await one.projects.create_project(f"other-{number}")
    await (await two.databases.system(PROJECT)).catch_up()  # and reads nothing any more
    two.clock.advance(IDLE_SECONDS_MIN + 1)
    for number in range(4):
        await two.databases.open(DatabaseName(f"other-{number}"))
    open_names = [database.name for database in two.databases.open_databases()]
    assert DatabaseName.system(PROJECT) not in open_names
    await one.accounts.sign_out(PROJECT, signed_in.refresh_token)
    with pytest.raises(TokenInvalid):
        await two.accounts.verify_id_token(PROJECT, token)


async def test_node_that_cannot_look_trusts_no_token_that_it_knows(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor any rules: what it cannot read anew it does not answer."""
    monkeypatch.setattr(follower, "LATE_SECONDS", 0.05)
    one, two = nodes
    signed_in = await one.accounts.sign_up(PROJECT, EMAIL, PASSWORD)
    token, name = signed_in.id_token, DatabaseName(PROJECT)
    for project in (None, PROJECT):
        await (await two.databases.system(project)).catch_up()
    await two.accounts.verify_id_token(PROJECT, token)
    await two.projects.ruleset(name)
    two.store.cut_off()
    await two.accounts.verify_id_token(PROJECT, token)  # it has not heard of anything yet
    await one.accounts.sign_out(PROJECT, signed_in.refresh_token)
    for engine in two.store.engines:
        engine.wake()  # as MongoDB's does when it hears nothing any more
    await until_refused(lambda: two.accounts.verify_id_token(PROJECT, token), Unavailable)
    await until_refused(lambda: two.projects.ruleset(name), Unavailable)
    two.store.rejoin()
    await until_refused(lambda: two.accounts.verify_id_token(PROJECT, token), TokenInvalid)


async def test_administrators_sessions_end_on_the_other_node(nodes: list[Node]) -> None:
    one, two = nodes
    await one.accounts.admins.create(EMAIL, PASSWORD)
    session = await one.accounts.admins.sign_in(EMAIL, PASSWORD)
    await two.accounts.admins.authenticate(session.token)
    await one.accounts.admins.sign_out(session.token)
    await until_refused(lambda: two.accounts.admins.authenticate(session.token), TokenInvalid)


async def test_project_whose_id_another_node_made_and_deleted_meanwhile_is_whole(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are made before the project's record, and went with the other's."""
    one, two = nodes
    run = one.projects._store.run

    async def outrun(project: str | None, body: Any) -> Any:
        monkeypatch.setattr(one.projects._store, "run", run)
        await two.projects.create_project("contested")
        await two.projects.delete_project("contested")
        return await run(project, body)

    monkeypatch.setattr(one.projects._store, "run", outrun)
    await one.projects.create_project("contested")
    name = DatabaseName("contested")
    for node in (one, two):
        await write(await node.databases.open(name), put("c/a", {"n": 1}))
        await node.databases.system("contested")


async def test_revoked_key_is_refused_on_the_other_node(nodes: list[Node]) -> None:
    one, two = nodes
    key, text = await one.projects.keys.create(PROJECT, ApiKeyKind.SECRET, "server")
    await two.projects.keys.authenticate(PROJECT, text)
    await one.projects.keys.revoke(PROJECT, key.id)
    await until_refused(lambda: two.projects.keys.authenticate(PROJECT, text), TokenInvalid)


async def test_origins_databases_and_rules_reach_the_other_node(nodes: list[Node]) -> None:
    one, two = nodes
    name = DatabaseName(PROJECT)
    before = await two.projects.ruleset(name)
    assert (await two.projects.get_project(PROJECT)).origins == ()
    await one.projects.update_project(PROJECT, origins=["https://app.example.com"])
    await one.projects.create_database(PROJECT, "second")
    await one.projects.rulesets.deploy(PROJECT, OPEN, allow_open=True)
    async with asyncio.timeout(90):
        while two.projects.find_ruleset(name) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert await two.projects.ruleset(name) is not before
    project = await two.projects.get_project(PROJECT)
    assert project.origins == ("https://app.example.com",)
    assert project.databases == ("(default)", "second")


async def test_node_that_missed_commits_reads_what_it_kept_again(nodes: list[Node]) -> None:
    one, two = nodes
    name = DatabaseName(PROJECT)
    _, text = await one.projects.keys.create(PROJECT, ApiKeyKind.SECRET, "server")
    await (await two.databases.system(None)).catch_up()
    key = await two.projects.keys.authenticate(PROJECT, text)
    before = await two.projects.ruleset(name)
    two.store.cut_off()
    await one.projects.keys.revoke(PROJECT, key.id)
    await one.projects.rulesets.deploy(PROJECT, OPEN, allow_open=True)
    server = await one.databases.system(None)
    engine = one.store.engines[0]
    await engine.trim(server.version + 1, limit=1_000)
    two.store.rejoin()
    await until_refused(lambda: two.projects.keys.authenticate(PROJECT, text), TokenInvalid)
    assert await two.projects.ruleset(name) is not before


async def test_deleted_project_is_closed_on_the_other_node(nodes: list[Node]) -> None:
    one, two = nodes
    name = DatabaseName(PROJECT)
    database = await two.databases.open(name)
    await write(database, put("c/a", {}))
    await two.projects.get_project(PROJECT)
    await one.projects.delete_project(PROJECT)
    await until_refused(lambda: two.projects.get_project(PROJECT), NotFound)
    async with asyncio.timeout(90):
        while two.databases.find(name) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    with pytest.raises(NotFound):
        await two.databases.open(name)
    await two.projects.create_project(PROJECT)
    assert await fields(await one.databases.open(name), "c/a") == [None]


async def test_deletion_that_another_node_is_at_is_left_to_it(nodes: list[Node]) -> None:
    one, two = nodes
    held = asyncio.Event()

    async def hang(project: str) -> None:
        held.set()
        await asyncio.Event().wait()

    one.store.delete_project = hang  # type: ignore[method-assign]
    deletion = asyncio.create_task(one.projects.delete_project(PROJECT))
    await held.wait()
    assert await two.projects.finish_deletions() == []
    with pytest.raises(FailedPrecondition):
        await two.projects.delete_project(PROJECT)
    with pytest.raises(FailedPrecondition):
        await two.projects.create_project(PROJECT)
    await one.projects.close()  # it dies
    await asyncio.wait([deletion])
    two.clock.advance(DELETION_SECONDS + 1)
    assert await two.projects.finish_deletions() == [PROJECT]
    await two.projects.create_project(PROJECT)


async def test_node_that_slept_while_deleting_leaves_the_next_project_of_the_id_alone(
    nodes: list[Node],
) -> None:
    one, two = nodes
    asleep, wake = asyncio.Event(), asyncio.Event()
    close_project = one.databases.close_project

    async def fall_asleep(project: str) -> None:
        asleep.set()
        await wake.wait()
        await close_project(project)

    one.databases.close_project = fall_asleep  # type: ignore[method-assign]
    deletion = asyncio.ensure_future(one.projects.delete_project(PROJECT))
    await asleep.wait()
    for node in nodes:
        node.clock.advance(DELETION_SECONDS + 1)
    await two.projects.delete_project(PROJECT)
    await two.projects.create_project(PROJECT)
    await write(await two.databases.open(DatabaseName(PROJECT)), put("c/a", {}))
    wake.set()
    with pytest.raises(NotFound):
        await deletion
    await two.projects.get_project(PROJECT)
    assert await fields(await two.databases.open(DatabaseName(PROJECT)), "c/a") == [{}]


async def test_two_who_delete_at_once_delete_once(nodes: list[Node]) -> None:
    one, _ = nodes
    await asyncio.gather(*[one.projects.delete_project(PROJECT) for _ in range(3)])
    with pytest.raises(NotFound):
        await one.projects.delete_project(PROJECT)


async def test_the_first_node_makes_the_link_and_others_only_after_a_while(
    nodes: list[Node],
) -> None:
    one, two = nodes
    token = await one.accounts.admins.make_setup_token("one")
    assert token is not None
    assert await two.accounts.admins.make_setup_token("two") is None
    assert await one.accounts.admins.make_setup_token("one") is not None
    two.clock.advance(601)
    assert await two.accounts.admins.make_setup_token("two") is not None


async def test_another_secret_is_refused(nodes: list[Node]) -> None:
    one, two = nodes
    await check_secret(SECRET, await one.databases.system(None), one.clock)
    await check_secret(SECRET, await two.databases.system(None), two.clock)
    with pytest.raises(FailedPrecondition) as caught:
        await check_secret(ServerSecret(b"x" * 32), await two.databases.system(None), two.clock)
    assert caught.value.reason == "SecretKeyMismatch"


async def test_observer_hears_of_a_database_that_is_closed(nodes: list[Node]) -> None:
    _, two = nodes
    lost: list[str | None] = []
    store = SystemStore(two.databases, two.clock, lambda project, event: None, lost.append)
    await store.open(PROJECT)
    await two.databases.close_project(PROJECT)
    assert lost == [PROJECT]
