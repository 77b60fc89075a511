"""Files of databases: where they are, and how they come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.storage.sqlite_store import SqliteStore
from baas.storage.store import DEFAULT_DATABASE, StoreMissing, StoreName


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path, VirtualClock())


async def make(store: SqliteStore, *names: StoreName) -> None:
    for name in names:
        await (await store.open(name, create=True)).close()


async def test_missing_database_is_told_and_not_made(store: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        await store.open(StoreName("demo", DEFAULT_DATABASE), create=False)
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


async def test_databases_are_listed_without_the_system_database(store: SqliteStore) -> None:
    names = [StoreName("demo", database) for database in ("zeta", DEFAULT_DATABASE, "able", None)]
    await make(store, *names, StoreName(None, None), StoreName("other", "able"))
    assert await store.list_databases("demo") == [DEFAULT_DATABASE, "able", "zeta"]
    assert await store.list_databases("none") == []


async def test_deletion_that_was_cut_off_is_finished(store: SqliteStore, tmp_path: Path) -> None:
    await make(store, StoreName("demo", DEFAULT_DATABASE))
    folder = tmp_path / "projects"
    await asyncio.to_thread((folder / "demo").rename, folder / ".deleted-demo")
    await store.delete_project("demo")
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []
    await store.delete_project("demo")
