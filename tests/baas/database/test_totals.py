"""Totals of whole collections: always what counting would give, and counted once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from baas.database.database import Database
from baas.database.kept_numbers import CHANGES_MAX
from baas.database.log import CommitEvent
from baas.database.read_snapshot import ReadSnapshot
from baas.database.totals import TOTALS_MAX, Totals, is_whole_collection
from baas.encoding.documents import StoredDocument
from baas.errors import Unavailable
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import NAME, Cursor, Order, Query
from baas.model.values import Reference
from baas.storage.engine import Change
from tests.baas.database.acts import count, delete, doc, put, where, write

POSTS = CollectionPath(("posts",))
WHOLE = Query(POSTS)


async def listed(snapshot: ReadSnapshot, query: Query = WHOLE) -> int:
    return len((await snapshot.run_query(query)).documents)


async def test_totals_equal_the_lists_through_random_commits(database: Database) -> None:
    chosen = random.Random(7)
    held: list[ReadSnapshot] = []
    for _ in range(300):
        names = chosen.sample(range(40), chosen.randrange(1, 4))
        writes = [
            delete(f"posts/{name}") if chosen.random() < 0.4 else put(f"posts/{name}", {"n": name})
            for name in names
        ]
        await write(database, *writes, put(f"others/{names[0]}", {}), put(f"posts/1/sub/{1}", {}))
        if chosen.random() < 0.2:
            held.append(await database.snapshot().open())
        for snapshot in chosen.sample(held, min(2, len(held))):
            assert await snapshot.count(WHOLE) == await listed(snapshot)
        if len(held) > 5:
            await held.pop(0).close()
        async with database.snapshot() as snapshot:
            assert await snapshot.count(WHOLE) == await listed(snapshot)
    for snapshot in held:
        await snapshot.close()


async def test_totals_equal_the_lists_while_others_write(database: Database) -> None:
    async def writer(name: int) -> None:
        for number in range(60):
            await write(database, put(f"posts/{name}-{number}", {}))
            if number % 3 == 0:
                await write(database, delete(f"posts/{name}-{number}"))

    async def reader() -> None:
        for _ in range(60):
            async with database.snapshot() as snapshot:
                await asyncio.sleep(0)
                assert await snapshot.count(WHOLE) == await listed(snapshot)
                if random.random() < 0.1:
                    database.totals.lose()

    await asyncio.gather(*(writer(name) for name in range(4)), *(reader() for _ in range(4)))
    assert await count(database, WHOLE) == 4 * 40


async def test_second_count_is_told_without_counting(database: Database) -> None:
    await write(database, *[put(f"posts/{name}", {}) for name in range(10)])
    assert database.totals.known(POSTS.segments, database.version) is None
    assert await count(database, WHOLE) == 10
    assert database.totals.known(POSTS.segments, database.version) == 10
    await write(database, put("posts/new", {}), delete("posts/3"), delete("posts/4"))
    assert database.totals.known(POSTS.segments, database.version) == 9
    assert await count(database, replace(WHOLE, offset=4)) == 5
    assert await count(database, replace(WHOLE, limit=3, offset=4)) == 3
    assert await count(database, WHOLE, up_to=2) == 2


async def test_count_to_a_bound_does_not_count_the_rest(database: Database) -> None:
    await write(database, *[put(f"posts/{name}", {}) for name in range(10)])
    assert await count(database, replace(WHOLE, limit=3)) == 3
    assert database.totals.known(POSTS.segments, database.version) is None


async def test_what_is_missed_is_counted_again(database: Database) -> None:
    await write(database, put("posts/a", {}))
    assert await count(database, WHOLE) == 1
    database.totals.lose()
    assert database.totals.known(POSTS.segments, database.version) is None
    assert await count(database, WHOLE) == 1


async def test_older_snapshots_than_what_is_remembered_count(database: Database) -> None:
    await write(database, put("posts/a", {}))
    assert await count(database, WHOLE) == 1
    async with database.snapshot() as early:
        for number in range(CHANGES_MAX + 1):
            await write(database, put(f"posts/{number}", {}))
        assert database.totals.known(POSTS.segments, early.version) is None
        assert await early.count(WHOLE) == 1
    assert await count(database, WHOLE) == CHANGES_MAX + 2


def test_which_queries_have_a_whole_collection() -> None:
    cursor = Cursor((Reference(doc("posts/a")),), before=True)
    assert is_whole_collection(WHOLE)
    assert is_whole_collection(replace(WHOLE, order_by=(Order(NAME, descending=True),), limit=3))
    assert not is_whole_collection(replace(WHOLE, order_by=(Order(FieldPath(("n",))),)))
    assert not is_whole_collection(replace(WHOLE, all_descendants=True))
    assert not is_whole_collection(replace(WHOLE, order_by=(Order(NAME),), start=cursor))
    assert not is_whole_collection(replace(WHOLE, order_by=(Order(NAME),), end=cursor))
    assert not is_whole_collection(where("posts", "n", 1))


def counting(number: int, calls: list[int]) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        calls.append(number)
        await asyncio.sleep(0)
        return number

    return count


async def test_many_at_once_are_counted_once() -> None:
    totals, calls = Totals(lambda: 5), list[int]()
    found = await asyncio.gather(
        *(totals.count(POSTS.segments, 5, counting(9, calls)) for _ in range(50))
    )
    assert (found, calls) == ([9] * 50, [9])


async def test_when_the_counting_fails_the_next_one_counts() -> None:
    totals, calls = Totals(lambda: 5), list[int]()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise Unavailable("gone")

    first = asyncio.create_task(totals.count(POSTS.segments, 5, fail))
    others = [
        asyncio.create_task(totals.count(POSTS.segments, 5, counting(9, calls))) for _ in range(5)
    ]
    with pytest.raises(Unavailable):
        await first
    assert await asyncio.gather(*others) == [9] * 5
    assert calls == [9]


async def test_readers_ahead_of_what_is_told_wait_for_it_and_need_not_count() -> None:
    version = 5
    totals, calls = Totals(lambda: version), list[int]()
    assert await totals.count(POSTS.segments, 5, counting(9, calls)) == 9
    readers = [
        asyncio.create_task(totals.count(POSTS.segments, 6, counting(0, calls))) for _ in range(5)
    ]
    await asyncio.sleep(0)
    version = 6
    made = StoredDocument(doc("posts/new"), b"{}", 6, 6)
    totals.on_commit(CommitEvent(6, [Change(b"posts//new", made.path, None, made)]))
    assert await asyncio.gather(*readers) == [10] * 5
    assert calls == [9]


async def test_a_version_that_is_not_published_in_time_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("baas.database.kept_numbers.AHEAD_SECONDS_MAX", 0.01)
    totals, calls = Totals(lambda: 5), list[int]()
    assert await totals.count(POSTS.segments, 6, counting(9, calls)) == 9
    assert totals.known(POSTS.segments, 6) is None
    assert await totals.count(POSTS.segments, 5, counting(8, calls)) == 8
    assert await totals.count(POSTS.segments, 6, counting(9, calls)) == 9
    assert calls == [9, 8, 9]


async def test_totals_kept_are_bounded() -> None:
    totals, calls = Totals(lambda: 5), list[int]()
    for number in range(TOTALS_MAX + 1):
        await totals.count((f"c{number}",), 5, counting(number, calls))
    assert totals.known(("c0",), 5) is None
    assert totals.known(("c1",), 5) == 1
