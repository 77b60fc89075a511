"""Small blobs that share a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio

from baas.buckets.blobs import BlobInfo, Stretch
from baas.buckets.local_blobs import LocalBlobs
from baas.buckets.small_blobs import GROUP_MAX, SMALL_BYTES_MAX, SmallBlobs
from baas.errors import DataLoss, Unavailable

KEY = "demo/contentcontent/1"


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalBlobs]:
    made = LocalBlobs(tmp_path / "objects", packed=True)
    yield made
    await made.close()


def files(tmp_path: Path) -> list[str]:
    return sorted(one.name for one in (tmp_path / "objects").rglob("content*"))


@pytest.mark.parametrize("size", [1, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1])
async def test_only_small_ones_are_no_files(store: LocalBlobs, tmp_path: Path, size: int) -> None:
    await store.add(KEY, b"x" * size)
    assert len(files(tmp_path)) == (size > SMALL_BYTES_MAX)
    assert await store.find_size(KEY) == size
    assert await store.get(KEY) == b"x" * size


async def test_they_are_read_in_every_way(store: LocalBlobs) -> None:
    assert store.read_at_once(KEY, 0, 1) is None
    await store.add(KEY, b"hello")
    assert store.read_at_once(KEY, 1, 3) == b"el"
    assert store.read_at_once(KEY, 1, 6) is None
    assert store.open_sender([Stretch(KEY, 0, 5)], None) is None
    with pytest.raises(DataLoss):
        async for _ in store.read(KEY, 0, 6):
            pass


async def test_what_was_packed_is_read_by_who_packs_nothing(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "objects", packed=True)
    await store.add(KEY, b"hello")
    await store.close()
    store = LocalBlobs(tmp_path / "objects")
    assert await store.get(KEY) == b"hello"
    await store.delete([KEY])
    assert await store.get(KEY) is None
    await store.close()


async def test_nothing_is_made_where_nothing_is_added(store: LocalBlobs, tmp_path: Path) -> None:
    assert await store.get(KEY) is None
    await store.delete([KEY])
    assert [batch async for batch in store.list("")] == []
    assert not (tmp_path / "objects").exists()


async def test_many_are_listed_once_beside_files(store: LocalBlobs) -> None:
    keys = {f"{project}/c{number:09}/1" for project in ("a", "ab") for number in range(600)}
    await asyncio.gather(*(store.add(key, b"x") for key in keys))
    await store.add("a/large/1", b"x" * (SMALL_BYTES_MAX + 1))
    for prefix, wanted in (("", {*keys, "a/large/1"}), ("ab/", {k for k in keys if k[:2] == "ab"})):
        found: list[BlobInfo] = [info async for batch in store.list(prefix) for info in batch]
        assert {info.key for info in found} == wanted
        assert len(found) == len(wanted)


async def test_those_that_come_together_are_one_commit(
    store: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    insert_really = SmallBlobs._insert

    def insert(self: SmallBlobs, group: Any) -> None:
        groups.append(len(group))
        insert_really(self, group)

    monkeypatch.setattr(SmallBlobs, "_insert", insert)
    count = 2 * GROUP_MAX + 1
    await asyncio.gather(*(store.add(f"demo/c{number}/1", b"x") for number in range(count)))
    assert groups == [1, GROUP_MAX, GROUP_MAX]


async def test_a_group_that_fails_is_told_to_each_and_the_next_is_written(
    store: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert(self: SmallBlobs, group: Any) -> None:
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SmallBlobs, "_insert", insert)
        adding = [store.add(f"demo/c{number}/1", b"x") for number in range(3)]
        found = await asyncio.gather(*adding, return_exceptions=True)
    assert [getattr(one, "reason", None) for one in found] == ["ObjectStoreFull"] * 3
    await store.add(KEY, b"hello")
    assert await store.get(KEY) == b"hello"


async def test_one_whose_client_is_gone_does_not_keep_the_others(store: LocalBlobs) -> None:
    tasks = [asyncio.create_task(store.add(f"demo/c{number}/1", b"x")) for number in range(3)]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await tasks[2]
    assert await store.get("demo/c2/1") == b"x"


async def test_two_processes_write_and_see_each_others(tmp_path: Path) -> None:
    one, other = (LocalBlobs(tmp_path / "objects", packed=True) for _ in range(2))
    writes = [made.add(f"demo/{id(made)}-{n}/1", b"x") for n in range(50) for made in (one, other)]
    await asyncio.gather(*writes)
    for made in (one, other):
        found = [info async for batch in made.list("") for info in batch]
        assert len(found) == 100
    await one.close()
    await other.close()


async def test_a_broken_database_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    (folder / ".small.sqlite").write_bytes(b"no database" * 1000)
    store = LocalBlobs(folder, packed=True)
    with pytest.raises(Unavailable, match="not a database"):
        await store.add(KEY, b"hello")
    with pytest.raises(Unavailable, match="not a database"):
        await store.get(KEY)
    await store.close()
