"""Databases opened on demand, closed when idle, never while in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.database import registry
from baas.database.database import Database
from baas.database.follower import STALE_SECONDS_MAX
from baas.database.names import DatabaseName, check_database_id, check_project_id
from baas.database.registry import (
    CLOSED_AT_ONCE,
    CROWDED_IDLE_SECONDS_MIN,
    IDLE_SECONDS_MIN,
    Databases,
)
from baas.database.retention import Reach
from baas.database.transaction import Transaction
from baas.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from baas.model.paths import DocumentPath
from baas.settings import Settings
from baas.storage.engine import CommitGroup, StorageEngine
from baas.storage.sqlite_store import SqliteStore
from baas.storage.store import StoreMissing, StoreName
from tests.baas.database.acts import fields, put, run, write
from tests.waiting import settle, until


def named(number: int) -> DatabaseName:
    return DatabaseName(f"project-{number}")


@pytest.fixture
async def databases(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Databases]:
    settings = replace(Settings(), data=tmp_path / "data", open_databases_max=3)
    databases = Databases(SqliteStore(settings.data, clock), settings, clock)
    yield databases
    await databases.close()


async def fill(databases: Databases, clock: VirtualClock, first: int = 1, last: int = 3) -> None:
    """Opens projects in turn, and lets them become idle."""
    for number in range(first, last + 1):
        await databases.open(named(number), create=True)
        clock.advance(1.0)
    clock.advance(IDLE_SECONDS_MIN)


def open_names(databases: Databases) -> list[str]:
    return [database.name.project for database in databases.open_databases()]


async def test_one_object_per_name_even_if_asked_at_once(databases: Databases) -> None:
    found = await asyncio.gather(*[databases.open(named(1), create=True) for _ in range(10)])
    assert len({id(database) for database in found}) == 1
    assert await databases.open(named(1)) is found[0]


async def test_one_who_gives_up_waiting_does_not_spoil_it_for_others(databases: Databases) -> None:
    impatient = asyncio.create_task(databases.open(named(1), create=True))
    patient = asyncio.create_task(databases.open(named(1), create=True))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).name == named(1)


async def test_missing_database_is_not_found_and_not_made(databases: Databases) -> None:
    with pytest.raises(NotFound) as caught:
        await databases.open(named(1))
    assert caught.value.reason == "DatabaseNotFound"
    with pytest.raises(NotFound) as caught:
        await databases.system("project-1")
    assert caught.value.reason == "ProjectNotFound"
    with pytest.raises(NotFound):
        await databases.open(named(1))


async def test_who_makes_a_database_may_come_as_another_one_hears_that_there_is_none(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the very moment: the event loop would be asked for nothing else from then on."""
    looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    open_store = databases._store.open

    async def look_first(name: StoreName, *, create: bool) -> StorageEngine:
        if not create:
            await looked
            raise StoreMissing("there is none")
        return await open_store(name, create=create)

    async def make() -> Database:
        await looked
        return await databases.open(named(1), create=True)

    monkeypatch.setattr(databases._store, "open", look_first)
    asker = asyncio.create_task(databases.open(named(1)))
    await settle()
    maker = asyncio.create_task(make())
    await settle()
    looked.set_result(None)
    assert (await maker).name == named(1)
    with pytest.raises(NotFound):
        await asker


async def test_files_are_where_they_belong(databases: Databases, tmp_path: Path) -> None:
    await databases.system(None, create=True)
    await databases.system("project-1", create=True)
    await databases.open(named(1), create=True)
    await databases.open(DatabaseName("project-1", "second"), create=True)
    data = tmp_path / "data"
    files = await asyncio.to_thread(lambda: sorted(data.rglob("*.sqlite")))
    assert [str(file.relative_to(data)) for file in files] == [
        "projects/project-1/databases/default.sqlite",
        "projects/project-1/databases/second.sqlite",
        "projects/project-1/system.sqlite",
        "server/system.sqlite",
    ]
    assert await databases.list_databases("project-1") == ["(default)", "second"]
    assert await databases.list_databases("project-2") == []


async def test_databases_are_apart(databases: Databases) -> None:
    one = await databases.open(named(1), create=True)
    two = await databases.open(named(2), create=True)
    await write(one, put("c/a", {"n": 1}))
    assert await fields(two, "c/a") == [None]
    assert one.incarnation != two.incarnation


async def test_longest_idle_database_is_closed_past_the_limit(
    databases: Databases, clock: VirtualClock
) -> None:
    await fill(databases, clock)
    await write(await databases.open(named(1)), put("c/a", {"n": 1}))
    await databases.open(named(4), create=True)
    assert open_names(databases) == ["project-3", "project-1", "project-4"]
    again = await databases.open(named(2))
    assert again.name == named(2)


async def test_closed_database_comes_back_with_its_data(
    databases: Databases, clock: VirtualClock
) -> None:
    first = await databases.open(named(1), create=True)
    version = (await write(first, put("c/a", {"n": 1}))).version
    await fill(databases, clock, 2, 5)
    await databases.open(named(6), create=True)
    assert "project-1" not in open_names(databases)
    again = await databases.open(named(1))
    assert again is not first
    assert (again.version, again.incarnation) == (version, first.incarnation)
    assert await fields(again, "c/a") == [{"n": 1}]
    await write(first, put("c/a", {"n": 2}))  # goes on where the database is open
    assert await fields(again, "c/a") == [{"n": 2}]


async def test_database_that_was_just_handed_out_stays_open(
    databases: Databases, clock: VirtualClock
) -> None:
    for number in range(1, 8):
        await databases.open(named(number), create=True)
    assert len(open_names(databases)) == 7
    clock.advance(CROWDED_IDLE_SECONDS_MIN - 0.1)
    await databases.open(named(1))
    await databases.open(named(9), create=True)
    assert len(open_names(databases)) == 8
    clock.advance(IDLE_SECONDS_MIN + 1)
    await databases.open(named(8), create=True)
    assert len(open_names(databases)) == 3


async def test_a_commit_that_is_in_the_file_but_not_yet_told_can_be_read(
    databases: Databases, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the database has been open for long: nobody else can have changed it."""
    database = await databases.open(named(1), create=True)
    clock.advance(2 * STALE_SECONDS_MAX)
    commit, found = database._engine.commit, []

    async def commit_and_look(group: CommitGroup) -> None:
        await commit(group)
        async with database.snapshot() as snapshot:
            found.extend(await snapshot.get_documents([DocumentPath(("c", "a"))]))

    monkeypatch.setattr(database._engine, "commit", commit_and_look)
    await write(database, put("c/a", {"n": 1}))
    assert len([document for document in found if document is not None]) == 1


async def test_database_in_use_is_never_closed(databases: Databases, clock: VirtualClock) -> None:
    may_go = asyncio.Event()

    async def body(transaction: Transaction) -> None:
        await transaction.write([put("c/a", {})])
        await may_go.wait()

    held, busy, heard = [await databases.open(named(number), create=True) for number in (1, 2, 3)]
    unsubscribe = heard.subscribe(lambda event: None)
    transaction = asyncio.create_task(run(busy, body))
    async with held.snapshot() as snapshot:
        await fill(databases, clock, 4, 9)
        assert open_names(databases)[:3] == ["project-1", "project-2", "project-3"]
        assert await snapshot.get_documents([]) == []
    may_go.set()
    await transaction
    unsubscribe()
    clock.advance(IDLE_SECONDS_MIN + 1)
    await databases.open(named(10), create=True)
    assert not {"project-1", "project-2", "project-3"} & set(open_names(databases))


async def test_subscriber_that_need_not_hear_does_not_keep_open(
    databases: Databases, clock: VirtualClock
) -> None:
    database = await databases.open(named(1), create=True)
    database.subscribe(lambda event: None, keep_open=False)
    await fill(databases, clock, 2, 5)
    await databases.open(named(6), create=True)
    assert "project-1" not in open_names(databases)


async def test_idle_databases_are_closed_though_nobody_opens_another(
    databases: Databases, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baas.database.registry.TRIM_SECONDS", 0.02)
    count = CLOSED_AT_ONCE + 6
    await asyncio.gather(*[databases.open(named(n), create=True) for n in range(1, count + 1)])
    await asyncio.sleep(0.1)
    assert len(open_names(databases)) == count
    clock.advance(IDLE_SECONDS_MIN + 1)
    await until(lambda: len(open_names(databases)) <= 3)
    await asyncio.sleep(0.1)
    assert len(open_names(databases)) == 3


async def test_a_crowd_has_to_be_idle_for_less_long(
    databases: Databases, clock: VirtualClock
) -> None:
    for number in range(1, 7):  # twice the limit
        await databases.open(named(number), create=True)
    clock.advance(CROWDED_IDLE_SECONDS_MIN + 1)
    await databases.open(named(6))
    await databases.open(named(7), create=True)
    assert open_names(databases) == ["project-5", "project-6", "project-7"]


async def test_one_opening_does_not_close_all_idle_ones_at_once(
    databases: Databases, clock: VirtualClock
) -> None:
    count = 3 + 2 * CLOSED_AT_ONCE
    await asyncio.gather(*[databases.open(named(n), create=True) for n in range(1, count + 1)])
    clock.advance(IDLE_SECONDS_MIN + 1)
    for number in (1, 2, 3):
        await databases.open(named(count + number), create=True)
        assert len(open_names(databases)) == max(3, count + number - number * CLOSED_AT_ONCE)


async def test_deleted_project_is_gone_and_may_come_back_empty(
    databases: Databases, tmp_path: Path
) -> None:
    database = await databases.open(named(1), create=True)
    await databases.system("project-1", create=True)
    await write(database, put("c/a", {}))
    await databases.delete_project("project-1")
    await databases.delete_project("project-1")
    left = await asyncio.to_thread(lambda: list((tmp_path / "data" / "projects").iterdir()))
    assert left == []
    with pytest.raises(NotFound):
        await databases.open(named(1))
    again = await databases.open(named(1), create=True)
    assert await fields(again, "c/a") == [None]
    assert again.incarnation != database.incarnation


async def test_closing_ends_a_look_that_loses_its_cancellation(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def visit() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):  # as MongoDB's driver may
            await asyncio.Event().wait()

    monkeypatch.setattr(registry, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(databases, "_visit_unused", visit)
    await databases.open(named(1), create=True)
    await begun.wait()
    await databases.close()


async def test_after_close_nothing_opens(databases: Databases) -> None:
    await databases.open(named(1), create=True)
    await databases.close()
    with pytest.raises(Unavailable):
        await databases.open(named(1))


async def test_damaged_file_is_data_loss_and_others_go_on(
    databases: Databases, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "projects" / "project-1" / "databases"
    await asyncio.to_thread(folder.mkdir, parents=True)
    await asyncio.to_thread((folder / "default.sqlite").write_text, "no database at all" * 1_000)
    with pytest.raises(DataLoss):
        await databases.open(named(1))
    await databases.open(named(2), create=True)


@pytest.mark.parametrize("project", ["", "ab", "Abc", "1abc", "a" * 31, "a/b", "..", "abc\n"])
def test_project_ids_that_are_refused(project: str) -> None:
    with pytest.raises(InvalidArgument):
        check_project_id(project)


@pytest.mark.parametrize(
    "database", ["", "abc", "default", "system", "__system__", "Abcd", "../etc", "abcd-", "a" * 64]
)
async def test_database_ids_that_are_refused(databases: Databases, database: str) -> None:
    with pytest.raises(InvalidArgument):
        check_database_id(database)
    with pytest.raises(InvalidArgument):
        await databases.open(DatabaseName("project-1", database), create=True)


@pytest.mark.parametrize("database", ["(default)", "abcd", "second-1", "a" * 63])
def test_database_ids_that_are_taken(database: str) -> None:
    check_database_id(database)


async def test_what_nobody_asks_for_keeps_its_past_no_longer_than_others(
    databases: Databases, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did for as long as nobody opened it."""
    monkeypatch.setattr(registry, "TRIM_SECONDS", 0.01)
    monkeypatch.setattr(registry, "VISITED_AT_ONCE", 2)
    names = [named(number) for number in range(1, 4)]

    async def reach(name: DatabaseName) -> Reach:
        return Reach(seconds=3_600, bytes=10**9)

    async def list_all() -> list[DatabaseName]:
        return [*names, named(9)]  # one is gone

    for name in names:
        database = await databases.open(name, create=True)
        await write(database, put("c/a", {"n": 1}))
        await write(database, put("c/a", {"n": 2}))
    await databases._close_one(names[0])
    await databases._close_one(names[1])
    clock.advance(7_200)
    opened: list[str] = []
    databases.watch_opened(lambda database: opened.append(database.name.project))
    databases.reach_of, databases.list_all = reach, list_all
    await until(
        lambda: opened == ["project-1", "project-2"] and open_names(databases) == ["project-3"]
    )
    databases.list_all = None
    clock.advance(1)
    for name in names:
        database = await databases.open(name)
        async with database.snapshot() as snapshot:
            assert await snapshot.read_history(DocumentPath(("c", "a")), below=2**62, limit=2) == []
        assert await fields(database, "c/a") == [{"n": 2}]


async def test_what_was_asked_for_after_a_visit_stays_open(
    databases: Databases, clock: VirtualClock
) -> None:
    async def list_all() -> list[DatabaseName]:
        return [named(1), named(2)]

    for number in (1, 2):
        await databases.open(named(number), create=True)
        await databases._close_one(named(number))
    databases.list_all = list_all
    await databases._visit_unused()
    assert open_names(databases) == ["project-1", "project-2"]
    clock.advance(1)
    await databases.open(named(2))
    await databases._visit_unused()
    assert open_names(databases) == ["project-2"]
    await databases._visit_unused()  # the next round is not yet due
    assert open_names(databases) == ["project-2"]
