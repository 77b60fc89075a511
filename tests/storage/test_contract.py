"""What every engine must do. Runs over all engines of conftest.py."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    LOG_ROW_BYTES,
    REQUEST_ROW_BYTES,
    REQUESTS_PAGE_BYTES,
    BackfillRow,
    CommitGroup,
    CommitRecord,
    EngineConflict,
    EngineFenced,
    Entries,
    FirstScan,
    KeyRange,
    RequestAnswer,
    Snapshot,
    StorageEngine,
    StorageError,
    are_last,
)
from tests.effort import examples
from tests.storage.commits import (
    ALL,
    Writer,
    change,
    document,
    key,
    names_in,
    path,
    texts,
    texts_at,
)
from tests.storage.conftest import ENGINES, OpenDatabase, OpenEngine


@asynccontextmanager
async def snapshot_of(engine: StorageEngine) -> AsyncIterator[Snapshot]:
    snapshot = await engine.open_snapshot()
    try:
        yield snapshot
    finally:
        await snapshot.close()


async def entry_keys(snapshot: Snapshot, index: int, span: KeyRange = ALL) -> list[bytes]:
    return [row.key for row in await snapshot.scan_entries(index, span, limit=1_000_000)]


# Head ---------------------------------------------------------------------------------------------


async def test_new_database_is_at_version_0_and_has_an_incarnation(engine: StorageEngine) -> None:
    head = await engine.read_head()
    assert head.version == 0
    assert len(head.incarnation) >= 16
    assert await engine.read_oldest_version() == 0


async def test_incarnation_and_everything_else_outlives_a_reopening(
    open_engine: OpenEngine,
) -> None:
    engine = await open_engine()
    await Writer(engine).write(7, {"a": "one"})
    before = await engine.read_head()
    await engine.close()
    engine = await open_engine()
    assert await engine.read_head() == before
    assert before.version == 7
    assert await texts(engine, "a") == ["one"]


# Documents ----------------------------------------------------------------------------------------


async def test_get_documents_answers_in_order_and_none_where_there_is_none(
    engine: StorageEngine,
) -> None:
    await Writer(engine).write(5, {"b": "two", "a": "one"})
    assert await texts(engine, "a", "x", "b", "a") == ["one", None, "two", "one"]
    (found,) = await engine.get_documents([key("a")])
    assert found is not None
    assert (found.path, found.created, found.version, found.data) == (path("a"), 5, 5, b"one")
    assert await engine.get_documents([]) == []


async def test_get_documents_takes_many_keys(engine: StorageEngine) -> None:
    names = [f"n{number:04}" for number in range(700)]
    await Writer(engine).write(1, {name: name for name in names})
    assert await texts(engine, *names, "x") == [*names, None]


async def test_changes_replace_and_delete_and_keep_the_creation(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "one", "b": "b"})
    await writer.write(2, {"a": "two", "b": None})
    (found,) = await engine.get_documents([key("a")])
    assert found is not None
    assert (found.created, found.version, found.data) == (1, 2, b"two")
    assert await texts(engine, "b") == [None]


async def test_data_is_any_text(engine: StorageEngine) -> None:
    text = '{"ü€😀":"\\u0000' + "x" * 100_000 + '"}'
    await Writer(engine).write(1, {"a": text})
    assert await texts(engine, "a") == [text]


async def test_scan_documents_is_in_key_order_within_the_span(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {name: name for name in ("b", "a", "d", "c", "e")})
    async with snapshot_of(engine) as snapshot:
        assert await names_in(snapshot) == ["a", "b", "c", "d", "e"]
        assert await names_in(snapshot, KeyRange(b"b", b"d")) == ["b", "c"]
        assert await names_in(snapshot, KeyRange(b"d", None)) == ["d", "e"]
        assert await names_in(snapshot, KeyRange(b"d", b"b")) == []
        last = await snapshot.scan_documents(KeyRange(b"", b"e"), limit=2, descending=True)
        assert [found.path.id for found in last] == ["d", "c"]
        assert await snapshot.scan_documents(ALL, limit=0) == []


async def test_count_documents_stops_at_its_limit(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {f"n{number:04}": "" for number in range(2_500)})
    async with snapshot_of(engine) as snapshot:
        assert await snapshot.count_documents(ALL) == 2_500
        assert await snapshot.count_documents(ALL, limit=2_400) == 2_400
        assert await snapshot.count_documents(ALL, limit=10) == 10
        assert await snapshot.count_documents(KeyRange(b"n1", b"n2"), limit=9_999) == 1_000


# Snapshots ----------------------------------------------------------------------------------------


async def test_snapshot_stands_still_while_commits_go_on(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "one"})
    async with snapshot_of(engine) as before:
        await writer.write(2, {"a": "two", "b": "new"})
        async with snapshot_of(engine) as after:
            assert (before.version, after.version) == (1, 2)
            assert await names_in(before) == ["a"]
            assert await names_in(after) == ["a", "b"]
            (found,) = await before.get_documents([key("a")])
            assert found is not None
            assert found.data == b"one"


async def test_many_snapshots_at_once(engine: StorageEngine) -> None:
    writer = Writer(engine)
    snapshots = []
    for version in range(1, 31):
        await writer.write(version, {"a": str(version)})
        snapshots.append(await engine.open_snapshot())
    for version, snapshot in enumerate(snapshots, 1):
        (found,) = await snapshot.get_documents([key("a")])
        assert found is not None
        assert (snapshot.version, found.data) == (version, str(version).encode())
        await snapshot.close()


async def test_reads_of_one_snapshot_may_overlap(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {f"n{number:04}": "" for number in range(3_000)})
    async with snapshot_of(engine) as snapshot:
        results = await asyncio.gather(
            *[snapshot.scan_documents(ALL, limit=5_000) for _ in range(4)],
            snapshot.scan_documents(ALL, limit=5),
            snapshot.scan_documents(ALL, limit=5_000),
        )
        assert [len(result) for result in results] == [3_000, 3_000, 3_000, 3_000, 5, 3_000]


async def test_cancelled_scan_leaves_the_engine_usable(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {f"n{number:04}": "x" * 1_000 for number in range(3_000)})

    async def scan() -> None:
        async with snapshot_of(engine) as snapshot:
            while True:
                await snapshot.scan_documents(ALL, limit=5_000)

    scans = [asyncio.create_task(scan()) for _ in range(3)]
    await asyncio.sleep(0.02)
    for task in scans:
        task.cancel()
    await asyncio.wait(scans)
    assert all(task.cancelled() for task in scans)
    async with snapshot_of(engine) as snapshot:
        assert await snapshot.count_documents(ALL) == 3_000


async def test_closed_snapshot_raises(engine: StorageEngine) -> None:
    snapshot = await engine.open_snapshot()
    await snapshot.close()
    await snapshot.close()
    with pytest.raises(StorageError):
        await snapshot.get_documents([key("a")])


# Commits ------------------------------------------------------------------------------------------


async def test_group_is_one_step_whose_commits_keep_their_versions(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.commit(
        writer.record(1, {"a": "1"}),
        writer.record(2, {"a": "2", "b": "2"}),
        writer.record(5, {"b": None, "c": "5"}),
        writer.record(6, {"c": None}),
        writer.record(9, {"c": "9"}),
    )
    assert (await engine.read_head()).version == 9
    assert await texts(engine, "a", "b", "c") == ["2", None, "9"]
    async with snapshot_of(engine) as snapshot:
        assert await texts_at(snapshot, 1, "a", "b", "c") == ["1", None, None]
        assert await texts_at(snapshot, 2, "a", "b", "c") == ["2", "2", None]
        assert await texts_at(snapshot, 5, "a", "b", "c") == ["2", None, "5"]
        assert await texts_at(snapshot, 8, "a", "b", "c") == ["2", None, None]
        (found,) = await snapshot.get_documents([key("c")])
        assert found is not None
        assert (found.created, found.version) == (9, 9)


@pytest.mark.parametrize("size", [63, 64, 85, 150])
async def test_a_large_group_is_written_whole(engine: StorageEngine, size: int) -> None:
    """Rows go to the store many at a time: none is left out at the seams."""
    writer = Writer(engine)
    names = [f"n{number:03d}" for number in range(size)]
    await writer.commit(*[writer.record(at, {name: "1"}) for at, name in enumerate(names, 1)])
    await writer.commit(
        *[writer.record(size + at, {name: f"new {name}"}) for at, name in enumerate(names, 1)]
    )
    assert await texts(engine, *names) == [f"new {name}" for name in names]
    last = 2 * size + 1
    await writer.commit(writer.record(last, dict.fromkeys(names)))
    assert await texts(engine, *names) == [None] * size
    async with snapshot_of(engine) as snapshot:
        assert await texts_at(snapshot, size, *names) == ["1"] * size
        assert await texts_at(snapshot, last - 1, *names) == [f"new {name}" for name in names]
        assert len(await snapshot.read_log(0, limit=1_000)) == 3 * size


async def test_commit_from_another_head_writes_nothing(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(3, {"a": "one"})
    group = CommitGroup(2, [CommitRecord(4, [change("b", None, document("b", "x", version=4))])])
    with pytest.raises(EngineConflict):
        await engine.commit(group)
    assert (await engine.read_head()).version == 3
    assert await texts(engine, "a", "b") == ["one", None]
    async with snapshot_of(engine) as snapshot:
        assert [record.version for record in await snapshot.read_log(0, limit=10)] == [3]


async def test_commit_that_changes_nothing_moves_the_head(engine: StorageEngine) -> None:
    await engine.commit(CommitGroup(0, [CommitRecord(4, [], "request", b"answer")]))
    assert (await engine.read_head()).version == 4
    assert await engine.find_request("request") == (4, b"answer")


async def test_cancelled_commit_happens_whole_or_not_at_all(engine: StorageEngine) -> None:
    writer = Writer(engine)
    record = writer.record(1, {"a": "1", "b": "1"})
    task = asyncio.create_task(writer.commit(record))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    head = await engine.read_head()
    # The next write waits for the first one, whatever became of it.
    await engine.trim(0, limit=1)
    head = await engine.read_head()
    expected = ["1", "1"] if head.version == 1 else [None, None]
    assert await texts(engine, "a", "b") == expected


async def test_request_id_is_found_with_its_response(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.commit(
        writer.record(1, {"a": "1"}, request_id="first", response=b"\x00one"),
        writer.record(2, {"a": "2"}, request_id="second", response=b""),
    )
    assert await engine.find_request("first") == (1, b"\x00one")
    assert await engine.find_request("second") == (2, b"")
    assert await engine.find_request("third") is None


# History and log ----------------------------------------------------------------------------------


async def test_old_images_tell_creation_from_absence(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(10, {"a": "ten"})
    await writer.write(20, {"a": None, "b": "twenty"})
    await writer.write(30, {"a": "thirty"})
    await writer.write(40, {"a": "forty"})
    async with snapshot_of(engine) as snapshot:
        seen = {
            at: await texts_at(snapshot, at, "a", "b") for at in (5, 10, 15, 20, 29, 30, 40, 99)
        }
        (at_35,) = await snapshot.get_documents_at([key("a")], 35)
    assert seen == {
        5: [None, None],
        10: ["ten", None],
        15: ["ten", None],
        20: [None, "twenty"],
        29: [None, "twenty"],
        30: ["thirty", "twenty"],
        40: ["forty", "twenty"],
        99: ["forty", "twenty"],
    }
    assert at_35 is not None
    assert (at_35.created, at_35.version, at_35.path) == (30, 30, path("a"))


async def test_images_of_many_versions_come_in_one_go(engine: StorageEngine) -> None:
    writer = Writer(engine)
    for version in range(10, 60, 10):
        await writer.write(version, {"hot": f"h{version}", "cold": "c" if version < 30 else None})
    async with snapshot_of(engine) as snapshot:
        wanted = [
            (key(name), version)
            for version in (50, 9, 10, 29, 30)
            for name in ("hot", "cold", "no")
        ]
        found = await snapshot.get_images([*wanted, wanted[0]])
        told = [None if image is None else image.data.decode() for image in found]
        assert told == [
            *("h50", None, None),
            *(None, None, None),
            *("h10", "c", None),
            *("h20", "c", None),
            *("h30", None, None),
            "h50",
        ]
        assert await snapshot.get_images([]) == []


async def test_log_tells_every_change_in_order(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(10, {"b": "1", "a": "1"})
    await writer.write(20, {"b": None})
    async with snapshot_of(engine) as snapshot:
        told = [
            (record.version, record.ordinal, record.path.id, record.deleted)
            for record in await snapshot.read_log(0, limit=10)
        ]
        assert told == [(10, 0, "b", False), (10, 1, "a", False), (20, 0, "b", True)]
        assert [record.version for record in await snapshot.read_log(10, limit=10)] == [20]
        assert await snapshot.read_log(20, limit=10) == []


async def test_log_never_splits_a_commit(engine: StorageEngine) -> None:
    writer = Writer(engine)
    for version in range(1, 6):
        await writer.write(version, {f"{version}-{number}": "" for number in range(3)})
    async with snapshot_of(engine) as snapshot:
        for limit, commits in ((1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (1_000, 5)):
            records = await snapshot.read_log(0, limit=limit)
            expected = [version for version in range(1, commits + 1) for _ in range(3)]
            assert [record.version for record in records] == expected


async def test_trim_forgets_what_is_older_and_says_so(engine: StorageEngine) -> None:
    writer = Writer(engine)
    for version in range(1, 11):
        await writer.commit(
            writer.record(version, {"a": str(version)}, request_id=f"request {version}")
        )
    assert await engine.trim(6, limit=3) == 3
    assert await engine.read_oldest_version() == 6
    while await engine.trim(6, limit=3):
        pass
    await engine.trim(2, limit=3)
    assert await engine.read_oldest_version() == 6
    async with snapshot_of(engine) as snapshot:
        assert [record.version for record in await snapshot.read_log(0, limit=99)] == [
            6,
            7,
            8,
            9,
            10,
        ]
        assert [await texts_at(snapshot, at, "a") for at in (6, 7, 10)] == [["6"], ["7"], ["10"]]
    assert await engine.find_request("request 5") is None
    assert await engine.find_request("request 6") is not None
    assert await texts(engine, "a") == ["10"]


async def test_requests_may_be_kept_longer_than_the_log(engine: StorageEngine) -> None:
    writer = Writer(engine)
    for version in range(1, 9):
        request = None if version == 4 else f"request {version}"
        await writer.commit(
            writer.record(version, {"a": str(version)}, request_id=request, response=b"r")
        )

    async def found() -> list[int]:
        numbers = range(1, 9)
        known = [await engine.find_request(f"request {number}") for number in numbers]
        return [number for number, one in zip(numbers, known, strict=True) if one is not None]

    while await engine.trim(7, limit=2, requests_before=3):
        pass
    assert await found() == [3, 5, 6, 7, 8]
    assert await engine.find_request("request 5") == (5, b"r")
    async with snapshot_of(engine) as snapshot:
        assert [record.version for record in await snapshot.read_log(0, limit=99)] == [7, 8]
    assert await engine.trim(7, limit=9, requests_before=3) == 0
    while await engine.trim(7, limit=2, requests_before=6):
        pass
    assert await found() == [6, 7, 8]
    while await engine.trim(8, limit=9):
        pass
    assert await found() == [8]
    assert await engine.find_request("request 8") == (8, b"r")


# Entries ------------------------------------------------------------------------------------------


async def test_entries_lead_to_their_documents(engine: StorageEngine) -> None:
    ada, bob = document("ada", "A", version=1), document("bob", "B", version=1)
    await engine.commit(
        CommitGroup(
            0,
            [
                CommitRecord(
                    1,
                    [
                        change("ada", None, ada, added=[Entries(1, [b"k2"]), Entries(2, [b"z"])]),
                        change("bob", None, bob, added=[Entries(1, [b"k1"]), Entries(1, [b"k3"])]),
                    ],
                )
            ],
        )
    )
    async with snapshot_of(engine) as snapshot:
        rows = await snapshot.scan_entries(1, ALL, limit=10)
        assert [(row.key, row.document.data) for row in rows] == [
            (b"k1", b"B"),
            (b"k2", b"A"),
            (b"k3", b"B"),
        ]
        assert rows[0].document.path == path("bob")
        assert await entry_keys(snapshot, 1, KeyRange(b"k2", b"k3")) == [b"k2"]
        assert await entry_keys(snapshot, 2) == [b"z"]
        last = await snapshot.scan_entries(1, ALL, limit=2, descending=True)
        assert [row.key for row in last] == [b"k3", b"k2"]
        assert await snapshot.count_entries(1, ALL) == 3
        assert await snapshot.count_entries(1, ALL, limit=2) == 2
        assert await snapshot.count_entries(3, ALL) == 0


async def test_keys_are_scanned_in_many_spans_at_once(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {"a": "A"})
    made = [b"\xff\x00%04d" % number for number in range(1_000)]
    await engine.backfill([BackfillRow(key("a"), 1, [Entries(1, [one]) for one in made])])
    await engine.backfill([BackfillRow(key("a"), 1, [Entries(2, [b"other"])])])
    async with snapshot_of(engine) as snapshot:
        assert await snapshot.scan_keys(1, [ALL], limit=2_000) == made
        assert await snapshot.scan_keys(1, [ALL], limit=3) == made[:3]
        assert await snapshot.scan_keys(1, [KeyRange(made[998], None)], limit=3) == made[998:]
        spans = [KeyRange(one, one + b"\x00") for one in made[::2]]
        assert await snapshot.scan_keys(1, spans, limit=2_000) == made[::2]
        assert await snapshot.scan_keys(1, spans, limit=301) == made[:601:2]
        between = [KeyRange(made[4], made[6]), KeyRange(b"\xff\x01", b"\xff\x02")]
        assert await snapshot.scan_keys(1, between, limit=9) == made[4:6]
        assert await snapshot.scan_keys(1, [], limit=9) == []
        assert await snapshot.scan_keys(3, [ALL], limit=9) == []


async def test_a_page_at_once_is_what_a_snapshot_would_give(engine: StorageEngine) -> None:
    """An engine that would have to wait gives none; so does SQLite, of nothing and of too much."""
    writer = Writer(engine)
    for version in range(1, 4):
        await writer.write(version, {f"{version}{number}": "" for number in range(9)})
    rows = [Entries(1, [bytes([9 - at])]) for at in range(9)]
    await engine.backfill([BackfillRow(key(f"1{at}"), 1, [row]) for at, row in enumerate(rows)])
    given = 0
    async with snapshot_of(engine) as snapshot:
        for span in (ALL, KeyRange(b"12", b"25"), KeyRange(b"", b"20"), KeyRange(b"\x03", b"\x07")):
            for limit, descending in ((1, False), (5, True), (100, False)):
                documents = await snapshot.scan_documents(span, limit=limit, descending=descending)
                page = engine.read_page_nowait(FirstScan(None, span, limit, descending))
                if page is not None:
                    assert (page.version, page.longest_key) == (3, 0)
                    assert page_of(page.documents) == page_of(documents)
                    given += 1
                entries = await snapshot.scan_entries(1, span, limit=limit, descending=descending)
                page = engine.read_page_nowait(FirstScan(1, span, limit, descending))
                if page is not None:
                    assert (page.version, page.longest_key) == (3, 1)
                    assert page_of(page.documents) == page_of([row.document for row in entries])
                    given += 1
    assert given == (18 if engine.is_near else 0)
    assert engine.read_page_nowait(FirstScan(None, KeyRange(b"x", None), 5, False)) is None
    assert engine.read_page_nowait(FirstScan(None, ALL, 1_000_000, False)) is None


@pytest.mark.parametrize("index", [None, 1])
async def test_a_scan_that_is_bounded_in_bytes_goes_on_where_it_ended(
    engine: StorageEngine, index: int | None
) -> None:
    """It reads little more than the bound, or than one answer of a server: 16 MiB."""
    bound = 4_000_000
    large, small = [f"{at:02}" for at in range(24)], ["x", "y"]
    writer = Writer(engine)
    for at in range(3):
        await writer.write(at + 1, dict.fromkeys(large[8 * at :][:8], "x" * 1_000_000))
    await writer.write(4, dict.fromkeys(small, "small"))
    in_order = [*large, *small]
    if index is not None:
        in_order = [*large[::-2], *large[::2], *small]
        places = {name: b"%02d" % at for at, name in enumerate(in_order)}
        rows = [
            BackfillRow(key(name), image.version, [Entries(index, [places[name]])])
            for name, image in writer.images.items()
        ]
        await engine.backfill(rows)
    for first in (None, FirstScan(index, ALL, 100, False)):
        snapshot = await engine.open_snapshot(first)
        for descending in (False, True):
            found, sizes = await _scan_all(snapshot, index, bound, descending=descending)
            assert found == in_order[:: -1 if descending else 1]
            assert max(sizes) < 17_000_000
        await snapshot.close()


async def _scan_all(
    snapshot: Snapshot, index: int | None, bound: int, *, descending: bool
) -> tuple[list[str], list[int]]:
    """The names of all, scan after scan, and how many bytes each gave."""
    found: list[str] = []
    sizes: list[int] = []
    span = ALL
    while True:
        if index is None:
            documents = await snapshot.scan_documents(
                span, limit=100, descending=descending, bytes_max=bound
            )
            last = key(documents[-1].path.id) if documents else b""
        else:
            rows = await snapshot.scan_entries(
                index, span, limit=100, descending=descending, bytes_max=bound
            )
            documents = [row.document for row in rows]
            last = rows[-1].key if rows else b""
        found += [document.path.id for document in documents]
        sizes.append(sum(len(document.data) for document in documents))
        if are_last(documents, 100, bound):
            return found, sizes
        span = KeyRange(span.start, last) if descending else KeyRange(last + b"\x00", span.end)


async def test_documents_at_once_are_what_waiting_for_them_would_give(
    engine: StorageEngine,
) -> None:
    """An engine that would have to wait gives none; so does SQLite, of many."""
    await Writer(engine).write(1, {"a": "1", "b": "2"})
    for wanted in ([key("a")], [key("b"), key("x"), key("a")], [key("x")], []):
        found = engine.get_documents_nowait(wanted)
        if not engine.is_near:
            assert found is None
        else:
            assert found is not None
            waited = await engine.get_documents(wanted)
            assert [one and one.data for one in found] == [one and one.data for one in waited]
    assert engine.get_documents_nowait([key("a")] * 1_000) is None


def page_of(documents: list[StoredDocument]) -> list[tuple[object, ...]]:
    return [(one.name, one.data, one.created, one.version) for one in documents]


async def test_entries_move_with_their_document(engine: StorageEngine) -> None:
    one = document("a", "1", version=1)
    two = document("a", "2", version=2, created=1)
    three = document("a", "3", version=4)
    await engine.commit(
        CommitGroup(0, [CommitRecord(1, [change("a", None, one, added=[Entries(1, [b"x"])])])])
    )
    # Within one group: moved, deleted, created again.
    await engine.commit(
        CommitGroup(
            1,
            [
                CommitRecord(
                    2,
                    [
                        change(
                            "a", one, two, removed=[Entries(1, [b"x"])], added=[Entries(1, [b"y"])]
                        )
                    ],
                ),
                CommitRecord(3, [change("a", two, None, removed=[Entries(1, [b"y"])])]),
                CommitRecord(4, [change("a", None, three, added=[Entries(1, [b"x"])])]),
            ],
        )
    )
    async with snapshot_of(engine) as snapshot:
        rows = await snapshot.scan_entries(1, ALL, limit=10)
        assert [(row.key, row.document.data) for row in rows] == [(b"x", b"3")]
    await engine.commit(
        CommitGroup(4, [CommitRecord(5, [change("a", three, None, removed=[Entries(1, [b"x"])])])])
    )
    async with snapshot_of(engine) as snapshot:
        assert await entry_keys(snapshot, 1) == []


async def test_backfill_takes_only_documents_at_their_version(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "1", "b": "1", "c": "1"})
    await writer.write(2, {"b": "2", "c": None})
    rows = [
        BackfillRow(key("a"), 1, [Entries(1, [b"a"]), Entries(1, [b"aa"])]),
        BackfillRow(key("b"), 1, [Entries(1, [b"b"])]),
        BackfillRow(key("c"), 1, [Entries(1, [b"c"])]),
        BackfillRow(key("x"), 1, [Entries(1, [b"x"])]),
    ]
    assert await engine.backfill(rows) == 1
    assert await engine.backfill(rows) == 1
    assert await engine.backfill([]) == 0
    async with snapshot_of(engine) as snapshot:
        assert await entry_keys(snapshot, 1) == [b"a", b"aa"]


async def test_commit_adds_entries_that_filling_has_added_already(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(1, {"a": "1"})
    await engine.backfill([BackfillRow(key("a"), 1, [Entries(1, [b"x"]), Entries(1, [b"y"])])])
    old, new = writer.images["a"], document("a", "2", version=2, created=1)
    entries = {"removed": [Entries(1, [b"y"])], "added": [Entries(1, [b"x"]), Entries(1, [b"z"])]}
    await engine.commit(CommitGroup(1, [CommitRecord(2, [change("a", old, new, **entries)])]))
    async with snapshot_of(engine) as snapshot:
        rows = await snapshot.scan_entries(1, ALL, limit=10)
        assert [(row.key, row.document.data) for row in rows] == [(b"x", b"2"), (b"z", b"2")]


async def test_drop_index_goes_in_steps_and_leaves_others(engine: StorageEngine) -> None:
    await Writer(engine).write(1, {"a": "1"})
    entries = [Entries(1, [bytes([number])]) for number in range(25)]
    await engine.backfill([BackfillRow(key("a"), 1, [*entries, Entries(2, [b"x"])])])
    assert [await engine.drop_index(1, limit=10) for _ in range(4)] == [10, 10, 5, 0]
    async with snapshot_of(engine) as snapshot:
        assert await entry_keys(snapshot, 1) == []
        assert await entry_keys(snapshot, 2) == [b"x"]


# Fences -------------------------------------------------------------------------------------------


async def test_nothing_is_committed_behind_a_fence(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(5, {"a": "before"})
    assert (await engine.read_head()).fence is None
    assert await engine.fence("move") == 5
    assert await engine.fence("move") == 5
    assert await engine.read_head() == replace(await engine.read_head(), version=5, fence="move")
    for group in (
        CommitGroup(5, [CommitRecord(6, [])]),
        CommitGroup(5, [CommitRecord(6, [], "request", b"")]),
        CommitGroup(5, [CommitRecord(6, [change("b", None, document("b", "1", version=6))])]),
        CommitGroup(4, [CommitRecord(6, [])], lambda missed: True),
    ):
        with pytest.raises(EngineFenced):
            await engine.commit(group)
    assert (await engine.read_head()).version == 5
    assert await texts(engine, "a", "b") == ["before", None]
    assert await engine.find_request("request") is None
    assert not await engine.unfence("another")
    with pytest.raises(EngineFenced):
        await engine.commit(CommitGroup(5, [CommitRecord(6, [])]))
    assert await engine.unfence("move")
    assert not await engine.unfence("move")
    await writer.write(6, {"a": "after"})
    assert await texts(engine, "a") == ["after"]


async def test_a_fence_is_of_one_owner_and_stands_when_that_is_gone(
    open_engine: OpenEngine,
) -> None:
    first = await open_engine()
    await Writer(first).write(5, {"a": "1"})
    await first.fence("first")
    with pytest.raises(EngineFenced, match="first"):
        await first.fence("second")
    await first.close()  # without lifting it
    second = await open_engine()
    assert (await second.read_head()).fence == "first"
    with pytest.raises(EngineFenced):
        await second.commit(CommitGroup(5, [CommitRecord(6, [])]))
    with pytest.raises(EngineFenced):
        await second.fence("second")
    assert await second.unfence("first")
    assert await second.fence("second") == 5


async def test_what_changes_no_document_goes_on_behind_a_fence(engine: StorageEngine) -> None:
    writer = Writer(engine)
    for version in range(1, 6):
        await writer.commit(
            writer.record(version, {"a": str(version), "b": "b"}, request_id=f"r{version}")
        )
    await engine.fence("move")
    assert await engine.backfill([BackfillRow(key("b"), 5, [Entries(1, [b"x"])])]) == 1
    assert await engine.drop_index(1, limit=5) == 1
    await engine.claim_turn(0.01)
    engine.end_turn()
    assert await engine.erase([key("a")]) == [4]
    await engine.scrub()
    assert await engine.forget_requests(limit=1) == 1
    assert await engine.add_requests([RequestAnswer(9, "r9", b"")]) == 1
    while await engine.trim(3, limit=2):
        pass
    head = await engine.read_head()
    assert (head.version, head.fence) == (5, "move")
    assert await texts(engine, "a", "b") == ["5", "b"]
    async with snapshot_of(engine) as snapshot:
        assert [one.version for one in await snapshot.read_log(4, limit=9)] == [5, 5]
    with pytest.raises(EngineFenced):
        await engine.commit(CommitGroup(5, [CommitRecord(6, [])]))


async def test_what_was_under_way_is_before_the_fence_or_nowhere(open_engine: OpenEngine) -> None:
    """Owners that commit as fast as they can; a fence among them, at every place."""
    first, second = await open_engine(), await open_engine()
    writers = [first, second] if first.is_shared else [first]
    if not first.is_shared:
        await second.close()
    acknowledged: list[int] = []
    enough = asyncio.Semaphore(0)

    async def write(engine: StorageEngine) -> None:
        while True:
            version = (await engine.read_head()).version
            commit = CommitRecord(version + 1, [], f"{id(engine)}/{version}", b"")
            try:
                await engine.commit(CommitGroup(version, [commit]))
            except EngineConflict:
                continue
            except EngineFenced:
                return
            acknowledged.append(version + 1)
            enough.release()

    for number in range(6):
        enough = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(write(one)) for one in writers]
        for _ in range(number):
            await enough.acquire()
        fenced_at = await writers[-1].fence("move")
        await asyncio.gather(*tasks)
        assert max(acknowledged, default=0) == fenced_at
        assert [(await one.read_head()).version for one in writers] == [fenced_at] * len(writers)
        assert await writers[0].unfence("move")
    assert sorted(acknowledged) == list(range(1, len(acknowledged) + 1))


async def test_a_cancelled_fence_stands_or_does_not(engine: StorageEngine) -> None:
    for turns in range(4):
        task = asyncio.create_task(engine.fence("move"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await engine.trim(0, limit=1)  # waits for it, whatever became of it
        stood = (await engine.read_head()).fence == "move"
        assert await engine.unfence("move") == stood
    version = (await engine.read_head()).version
    await engine.commit(CommitGroup(version, [CommitRecord(version + 1, [])]))


# Failure ------------------------------------------------------------------------------------------


async def test_every_method_raises_storage_error_after_close(engine: StorageEngine) -> None:
    await engine.close()
    await engine.close()
    group = CommitGroup(0, [CommitRecord(1, [])])
    for call in (
        engine.read_head,
        engine.read_oldest_version,
        lambda: engine.get_documents([key("a")]),
        lambda: engine.get_documents([key("a"), key("b")]),
        engine.open_snapshot,
        lambda: engine.commit(group),
        lambda: engine.backfill([]),
        lambda: engine.drop_index(1, limit=1),
        lambda: engine.find_request("x"),
        lambda: engine.trim(1, limit=1),
        lambda: engine.add_requests([]),
        lambda: engine.fence("token"),
        lambda: engine.unfence("token"),
    ):
        with pytest.raises(StorageError):
            await call()


# Model --------------------------------------------------------------------------------------------

_steps = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.none() | st.text("xyz", max_size=3), max_size=4),
    min_size=1,
    max_size=12,
)


@pytest.fixture(params=list(ENGINES))
def open_in_loop(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[asyncio.Runner, OpenDatabase]]:
    """An event loop for all examples, and what opens databases in it."""
    place = ENGINES[request.param](request, tmp_path)
    with asyncio.Runner() as runner:
        yield runner, runner.run(place.__aenter__())
        runner.run(place.__aexit__(None, None, None))


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(groups=st.lists(_steps, min_size=1, max_size=4))
def test_history_log_and_documents_tell_the_same_story(
    groups: list[list[dict[str, str | None]]], open_in_loop: tuple[asyncio.Runner, OpenDatabase]
) -> None:
    """Against a dictionary per version: any version can be read back, and replaying the log with
    the images at each version gives the documents."""
    runner, open_database = open_in_loop

    async def check() -> None:
        engine = await open_database(f"model-{uuid4().hex}")
        try:
            writer = Writer(engine)
            states: list[dict[str, str]] = [{}]
            for group in groups:
                records = []
                for texts_of_commit in group:
                    # Deleting what does not exist is no change.
                    state = dict(states[-1])
                    real = {
                        name: text
                        for name, text in texts_of_commit.items()
                        if text is not None or name in state
                    }
                    for name, text in real.items():
                        if text is None:
                            del state[name]
                        else:
                            state[name] = text
                    states.append(state)
                    records.append(writer.record(len(states) - 1, real))
                await writer.commit(*records)
            async with snapshot_of(engine) as snapshot:
                for version, state in enumerate(states):
                    found = await texts_at(snapshot, version, *"abcdef")
                    assert found == [state.get(name) for name in "abcdef"]
                replayed: dict[str, str] = {}
                for record in await snapshot.read_log(0, limit=100_000):
                    (text,) = await texts_at(snapshot, record.version, record.path.id)
                    assert record.deleted == (text is None)
                    if text is None:
                        del replayed[record.path.id]
                    else:
                        replayed[record.path.id] = text
                assert replayed == states[-1]
                assert await names_in(snapshot) == sorted(states[-1])
        finally:
            await engine.close()

    runner.run(check())


# History, erasing, incarnations -------------------------------------------------------------------


async def test_history_of_one_document_newest_first(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(5, {"a": "one", "b": "other"})
    await writer.write(7, {"a": "second"})
    await writer.write(8, {"a": None})
    await writer.write(9, {"a": "three"})
    async with snapshot_of(engine) as snapshot:
        found = await snapshot.read_history(key("a"), below=100, limit=10)
        assert [(one.size, one.created, one.version, one.superseded) for one in found] == [
            (len("second"), 5, 7, 8),
            (len("one"), 5, 5, 7),
        ]
        assert not any(one.is_erased for one in found)
        below = await snapshot.read_history(key("a"), below=8, limit=10)
        assert [one.superseded for one in below] == [7]
        assert len(await snapshot.read_history(key("a"), below=100, limit=1)) == 1
        assert await snapshot.read_history(key("a"), below=100, limit=0) == []
        assert await snapshot.read_history(key("b"), below=100, limit=10) == []
        names = [key("b"), key("a"), key("nobody"), key("a")]
        for version, last in ((100, 8), (9, 8), (8, 7), (0, None)):
            ends = await snapshot.find_superseded(names, below=version)
            assert ends == [None, last, None, last]
        assert await snapshot.find_superseded([], below=100) == []


async def test_bytes_of_the_log_are_counted_up_and_down(engine: StorageEngine) -> None:
    assert await engine.read_log_bytes() == 0
    writer = Writer(engine)
    names = ["a", "é" * 10, "a" * 100]
    sizes = [LOG_ROW_BYTES + len(f"c/{name}".encode()) for name in names]
    await writer.commit(
        writer.record(1, dict.fromkeys(names, "x")), writer.record(2, {names[1]: None})
    )
    await writer.write(3, {names[0]: "y"})
    assert await engine.read_log_bytes() == sum(sizes) + sizes[1] + sizes[0]
    while await engine.trim(3, limit=1, requests_before=0):
        pass
    assert await engine.read_log_bytes() == sizes[0]
    await writer.write(5, {names[2]: None})
    while await engine.trim(9, limit=100):
        pass
    assert await engine.read_log_bytes() == 0


async def test_answers_to_requests_are_counted_and_forgotten_the_oldest_first(
    engine: StorageEngine,
) -> None:
    assert await engine.read_request_bytes() == 0
    assert await engine.forget_requests(limit=10) == 0
    version = 0
    for number in range(6):
        commit = CommitRecord(
            number + 1,
            [change(f"d{number}", None, document(f"d{number}", "x", version=number + 1))],
            f"r{number}",
            b"12",
        )
        await engine.commit(CommitGroup(version, [commit]))
        version = number + 1
    row = REQUEST_ROW_BYTES + 4
    assert await engine.read_request_bytes() == 6 * row
    # Of rows that were trimmed, younger answers stay.
    while await engine.trim(4, limit=100, requests_before=2):
        pass
    assert await engine.read_request_bytes() == 5 * row
    for forgotten in range(1, 6):
        assert await engine.forget_requests(limit=1) == 1
        assert await engine.read_request_bytes() == (5 - forgotten) * row
        known = [await engine.find_request(f"r{number}") is not None for number in range(6)]
        assert known == [False] * (1 + forgotten) + [True] * (5 - forgotten)
    assert await engine.forget_requests(limit=10) == 0
    # The log and history are where they were, and new answers are found.
    async with snapshot_of(engine) as snapshot:
        assert [one.version for one in await snapshot.read_log(3, limit=9)] == [4, 5, 6]
    await engine.commit(CommitGroup(6, [CommitRecord(7, [], "r7", b"7")]))
    assert await engine.find_request("r7") == (7, b"7")
    assert await engine.forget_requests(limit=10) == 1
    while await engine.trim(8, limit=100):
        pass
    assert await engine.read_request_bytes() == 0


async def answers_of(engine: StorageEngine, *, limit: int = 1_000) -> list[RequestAnswer]:
    """All of them, page by page."""
    found: list[RequestAnswer] = []
    async with snapshot_of(engine) as snapshot:
        while page := await snapshot.read_requests(found[-1].version if found else 0, limit=limit):
            assert len(page) <= limit
            found += page
    return found


async def write_requests(engine: StorageEngine) -> list[RequestAnswer]:
    """Commits 1 to 12, in groups, of which each third carries no request id; some are trimmed, and
    of those the oldest answer is forgotten. The answers that are left."""
    writer = Writer(engine)
    for first in range(1, 13, 3):
        await writer.commit(
            *(
                writer.record(
                    version,
                    {"a": str(version)},
                    request_id=None if version % 3 == 0 else f"é-{20 - version}",
                    response=b"\x00%d" % version,
                )
                for version in range(first, first + 3)
            )
        )
    while await engine.trim(7, limit=100, requests_before=4):
        pass
    versions = [4, 5, 7, 8, 10, 11]
    return [RequestAnswer(one, f"é-{20 - one}", b"\x00%d" % one) for one in versions]


async def test_answers_to_requests_are_listed_in_pages_in_the_order_of_their_versions(
    engine: StorageEngine,
) -> None:
    assert await answers_of(engine) == []
    expected = await write_requests(engine)
    for limit in (1, 2, 3, 5, 100):
        assert await answers_of(engine, limit=limit) == expected
    async with snapshot_of(engine) as snapshot:
        assert await snapshot.read_requests(5, limit=2) == expected[2:4]
        # As of the snapshot, whatever comes later.
        await engine.commit(CommitGroup(12, [CommitRecord(13, [], "later", b"")]))
        assert await snapshot.read_requests(11, limit=5) == []
    later = RequestAnswer(13, "later", b"")
    assert await answers_of(engine) == [*expected, later]
    assert await engine.forget_requests(limit=1)
    left = await answers_of(engine)
    assert left[-1] == later
    assert sum(one.size for one in left) == await engine.read_request_bytes()


async def test_a_page_of_answers_is_bounded_in_bytes(engine: StorageEngine) -> None:
    third = b"x" * (REQUESTS_PAGE_BYTES // 3)
    for version, size in enumerate((1, 1, 1, 1, 4, 1)):
        commit = CommitRecord(version + 1, [], f"r{version}", third * size)
        await engine.commit(CommitGroup(version, [commit]))
    async with snapshot_of(engine) as snapshot:
        pages = []
        after = 0
        while page := await snapshot.read_requests(after, limit=100):
            pages.append([one.version for one in page])
            after = page[-1].version
    assert pages == [[1, 2, 3], [4, 5], [6]]


async def test_answers_are_carried_over_to_another_database(open_named: OpenDatabase) -> None:
    source, target = await open_named("source"), await open_named("target")
    answers = await write_requests(source)
    assert await target.add_requests([]) == 0
    assert await target.add_requests(answers[:2]) == 2
    assert await target.add_requests(answers) == len(answers) - 2
    assert await target.add_requests(answers) == 0
    assert await answers_of(target) == answers
    assert await target.read_request_bytes() == sum(one.size for one in answers)
    assert (await target.read_head()).version == 0
    for one in answers:
        assert await target.find_request(one.id) == (one.version, one.response)
    # They grow old as the others do.
    await target.commit(CommitGroup(0, [CommitRecord(20, [], "own", b"")]))
    while await target.trim(20, limit=2, requests_before=8):
        pass
    assert [one.version for one in await answers_of(target)] == [8, 10, 11, 20]
    while await target.trim(30, limit=2):
        pass
    assert await answers_of(target) == []
    assert await target.read_request_bytes() == 0


async def test_erasing_empties_the_images_and_keeps_their_versions(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(5, {"a": "one", "b": "first"})
    await writer.write(7, {"a": "second", "b": "last"})
    await writer.write(8, {"a": None})
    assert await engine.read_history_bytes() == len("one" + "first" + "second")
    assert await engine.erase([key("a"), key("nobody")]) == [2, 0]
    assert await engine.scrub()
    assert await engine.erase([key("a")]) == [0]
    assert await engine.scrub(rewrite=True)
    await engine.note_traces()
    assert await engine.scrub()
    assert await engine.erase([]) == []
    assert await engine.read_history_bytes() == len("first")
    async with snapshot_of(engine) as snapshot:
        for version, expected in ((4, None), (5, True), (7, True), (8, None)):
            (image,) = await snapshot.get_documents_at([key("a")], version)
            assert (None if image is None else image.is_erased) is expected
        found = await snapshot.read_history(key("a"), below=100, limit=10)
        assert [(one.is_erased, one.superseded) for one in found] == [(True, 8), (True, 7)]
        assert await texts_at(snapshot, 5, "b") == ["first"]
        records = await snapshot.read_log(0, limit=10)
        assert [record.version for record in records] == [5, 5, 7, 7, 8]
    await writer.write(9, {"b": "more"})  # the head is where it was
    assert await engine.erase([key("b"), key("a")]) == [2, 0]  # in the order that was asked for


async def test_many_documents_are_erased_in_one_call(engine: StorageEngine) -> None:
    writer = Writer(engine)
    await writer.write(1, {f"n{n}": "xy" for n in range(45)})
    await writer.write(2, {f"n{n}": None for n in range(45) if n % 2})
    assert await engine.read_history_bytes() == 2 * 22
    counts = await engine.erase([key(f"n{n % 45}") for n in range(50)])  # some of them twice
    assert counts == [n % 2 for n in range(45)] + [0] * 5
    assert await engine.read_history_bytes() == 0


async def test_a_new_incarnation_changes_nothing_else(open_engine: OpenEngine) -> None:
    engine = await open_engine()
    await Writer(engine).write(7, {"a": "one"})
    before = await engine.read_head()
    await engine.start_incarnation("another")
    assert (await engine.read_head()).incarnation == "another"
    await engine.close()
    engine = await open_engine()
    head = await engine.read_head()
    assert (head.incarnation, head.version) == ("another", before.version)
    assert await texts(engine, "a") == ["one"]
