from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.clock import VirtualClock
from baas.database import executor, index_demand, index_filling, index_room, sources
from baas.database.budget import ReadBudget
from baas.database.database import Database
from baas.database.index_builder import IndexBuilder
from baas.database.index_demand import IndexDemand
from baas.database.indexes import (
    Index,
    IndexDefinition,
    Indexes,
    IndexField,
    IndexKind,
    IndexRecord,
    decode_record,
    encode_record,
)
from baas.database.names import DatabaseName
from baas.database.planner import CollectionScan, IndexScan, plan_query
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss, DeadlineExceeded, InvalidArgument
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.words import TOKENIZER
from baas.model.writes import DeleteWrite, SetWrite
from baas.settings import Limits, Settings
from baas.storage.engine import BackfillRow, Entries, KeyRange, StorageError
from tests.baas.database import arbitrary
from tests.baas.database.engines import SteeredEngine
from tests.baas.database.store import IDLE_SECONDS as IDLE
from tests.baas.database.store import Store
from tests.effort import examples

CITIES = CollectionPath(("cities",))
SIZE = FieldPath(("size",))
TAGS = FieldPath(("tags",))
BY_SIZE = IndexDefinition("cities", False, (IndexField(SIZE),))
BIG = Query(CITIES, where=FieldFilter(SIZE, Operator.GREATER, 900), order_by=(Order(SIZE),))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.close()


def city(name: str) -> DocumentPath:
    return CITIES.document(name)


def made(*definitions: IndexDefinition) -> Indexes:
    indexes = Indexes()
    for number, definition in enumerate(definitions, start=1):
        index = Index(number, definition)
        indexes.add(index)
        indexes.mark_ready(index)
    return indexes


def count(found: Sequence[Entries]) -> int:
    return sum([len(one.keys) for one in found])


def test_a_document_without_a_field_has_no_entry() -> None:
    indexes = made(BY_SIZE)
    assert indexes.entries_for(city("a"), None, {"name": "A"}) == ([], [])
    assert indexes.entries_for(city("a"), None, {"size": {"x": 1}})[1]
    assert indexes.entries_for(CollectionPath(("towns",)).document("a"), None, {"size": 1}) == (
        (),
        (),
    )


def test_only_entries_that_differ_are_written() -> None:
    indexes = made(
        BY_SIZE, IndexDefinition("cities", False, (IndexField(TAGS, kind=IndexKind.ARRAY),))
    )
    old: Fields = {"size": 1, "tags": ["a", "b", "a"]}
    assert count(indexes.entries_for(city("x"), None, old)[1]) == 3
    removed, added = indexes.entries_for(city("x"), old, {"size": 1.0, "tags": ["b", "c"]})
    assert [(one.number, len(one.keys)) for one in removed] == [(2, 1)]
    assert [(one.number, len(one.keys)) for one in added] == [(2, 1)]
    removed, added = indexes.entries_for(city("x"), old, None)
    assert (count(removed), added) == (3, [])


def test_of_words_only_those_that_changed_are_written() -> None:
    field = IndexField(FieldPath(("text",)), kind=IndexKind.WORDS)
    indexes = made(IndexDefinition("cities", False, (field,), tokenizer=TOKENIZER))
    old = " ".join([f"w{number}" for number in range(40)])

    def written(new: str) -> tuple[int, int]:
        removed, added = indexes.entries_for(city("x"), {"text": old}, {"text": new})
        return count(removed), count(added)

    assert written(old.replace("w7", "w99")) == (1, 1)
    assert written(f"{old} w7") == (1, 1)  # twice now
    assert written(f"{old} more and more") == (0, 2)
    assert written(f"{old} so much more than") == (41, 45)  # it is a longer text now
    assert written(f"{old}!") == (0, 0)


def test_subcollections_share_the_index_but_not_the_range() -> None:
    indexes = made(BY_SIZE)
    below = DocumentPath(("states", "x", "cities", "a"))
    (first,) = indexes.entries_for(city("a"), None, {"size": 1})[1]
    (second,) = indexes.entries_for(below, None, {"size": 1})[1]
    assert first.number == second.number
    assert first.keys != second.keys


@given(
    fields=st.lists(
        st.builds(
            IndexField,
            st.sampled_from(arbitrary.FIELDS),
            st.booleans(),
            st.sampled_from(IndexKind),
        ),
        max_size=3,
    ),
    group=st.booleans(),
    is_ready=st.booleans(),
)
def test_definitions_survive_as_documents(
    fields: list[IndexField], group: bool, is_ready: bool
) -> None:
    definition = IndexDefinition("c", group, tuple(fields), below=group and is_ready)
    record = IndexRecord(definition, is_ready, is_pinned=group, is_dropped=not group, used=7)
    assert decode_record(encode_record(record)) == record


def test_records_of_the_first_format_are_read() -> None:
    fields: Fields = {
        "collection": "cities",
        "group": False,
        "fields": [{"field": "size", "descending": False, "array": False}],
        "ready": True,
    }
    assert decode_record(fields, written=5) == IndexRecord(BY_SIZE, is_ready=True, used=5)
    fields["fields"] = [{"field": "tags", "descending": True, "array": True}]
    (field,) = decode_record(fields).definition.fields
    assert field == IndexField(TAGS, descending=True, kind=IndexKind.ARRAY)


def test_a_damaged_definition_is_data_loss() -> None:
    with pytest.raises(DataLoss):
        decode_record({"collection": "c"})
    record = encode_record(IndexRecord(BY_SIZE))
    with pytest.raises(DataLoss):
        decode_record({**record, "fields": [{"field": "a", "descending": False, "kind": "x"}]})


# Building ----------------------------------------------------------------------------------------


async def fill(store: Store, count: int) -> None:
    for start in range(0, count, 200):
        changes: dict[DocumentPath, Fields | None] = {
            city(f"c{number:04}"): {"size": number} for number in range(start, start + 200)
        }
        await store.commit(changes)


async def test_a_query_that_comes_again_has_its_index_made(store: Store) -> None:
    await fill(store, 1_000)
    assert len(await run(store, BIG)) == 99
    await store.builder.wait_idle()
    assert list(store.indexes) == []
    assert len(await run(store, BIG)) == 99
    await store.builder.wait_idle()
    assert uses_index(store, BIG)
    assert len(await run(store, BIG)) == 99


def uses_index(store: Store, query: Query) -> bool:
    plan = plan_query(query, store.indexes, store.indexes.generation)
    return not isinstance(plan, CollectionScan) and isinstance(plan[0], IndexScan)


async def run(store: Store, query: Query) -> list[Any]:
    found = await store.run_query(query)
    assert [document.path for document in found] == [
        document.path for document in store.expected(query)
    ]
    return [document.fields for document in found]


async def test_a_small_collection_needs_no_index(store: Store) -> None:
    await store.commit({city(str(number)): {"size": number} for number in range(100)})
    await run(store, BIG)
    await store.builder.wait_idle()
    assert list(store.indexes) == []


async def test_a_snapshot_from_before_the_index_does_not_use_it(store: Store) -> None:
    generation = store.indexes.generation
    store.builder.request([BY_SIZE])
    await store.builder.wait_idle()
    assert isinstance(plan_query(BIG, store.indexes, generation), CollectionScan)


async def test_the_number_of_indexes_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path, indexes_max=2)
    names = [FieldPath((name,)) for name in "abc"]
    wanted = [IndexDefinition("cities", False, (IndexField(name),)) for name in names]
    store.builder.request(wanted)
    store.builder.request(wanted)
    store.builder.request([IndexDefinition("towns", False, (IndexField(SIZE),))])
    await store.builder.wait_idle()
    assert len(store.indexes.of_collection("cities")) == 2
    assert len(store.indexes.of_collection("towns")) == 1
    await store.close()


async def test_commits_during_the_build_are_in_the_index(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_filling, "SLICE_FIRST", 10)
    monkeypatch.setattr(index_filling, "SLICE_MAX", 10)
    monkeypatch.setattr(index_filling, "NEAR_PIECE_ENTRIES_MAX", 10)
    await fill(store, 400)
    store.builder.request([BY_SIZE])
    for number in range(0, 400, 7):
        await store.commit(
            {
                city(f"c{number:04}"): {"size": 2_000 + number},
                city(f"c{399 - number:04}"): None,
                city(f"d{number:04}"): {"size": number},
            }
        )
        await asyncio.sleep(0)
    await store.builder.wait_idle()
    await check_entries(store)


async def test_a_document_that_changes_under_the_build_is_not_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit({city(name): {"size": 1} for name in "abc"})
    backfill = store.engine.backfill

    async def change_first(rows: Sequence[BackfillRow]) -> int:
        monkeypatch.setattr(store.engine, "backfill", backfill)
        await store.commit({city("b"): {"size": 1, "name": "B"}})  # the entries stay the same
        return await backfill(rows)

    monkeypatch.setattr(store.engine, "backfill", change_first)
    store.builder.request([BY_SIZE])
    await store.builder.wait_idle()
    await check_entries(store)


@pytest.mark.parametrize("change", [None, {"tags": [3, 99]}, {"size": 1}, "deleted"])
async def test_a_document_of_many_entries_is_filled_in_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """Documents of a MiB have a hundred thousand entries each, and slices of a hundred such
    documents were written in one go: the server stood still for a minute."""
    monkeypatch.setattr(index_filling, "NEAR_PIECE_ENTRIES_MAX", 4)
    await store.commit({city(name): {"tags": list(range(10)), "size": 1} for name in "abc"})
    backfill = store.engine.backfill
    sizes: list[int] = []

    async def between(rows: Sequence[BackfillRow]) -> int:
        if len(sizes) == 1 and change is not None:
            await store.commit({city("a"): None if change == "deleted" else change})
        sizes.append(sum([count(row.entries) for row in rows]))
        return await backfill(rows)

    monkeypatch.setattr(store.engine, "backfill", between)
    tags = IndexField(FieldPath(("tags",)), kind=IndexKind.ARRAY)
    store.builder.request([IndexDefinition("cities", False, (tags,))])
    await store.builder.wait_idle()
    assert (max(sizes), sum(sizes)) == (4, 30)
    await check_entries(store)


async def test_arrays_that_lead_to_too_many_entries_are_refused(
    engine: SteeredEngine, clock: VirtualClock
) -> None:
    """A MiB of array under many indexes is millions of entries, made on the event loop."""
    limits = Limits(document_index_entries_max=20)
    database = await Database.open(
        DatabaseName("demo"), engine, clock=clock, settings=Settings(limits=limits)
    )
    tags = IndexField(TAGS, kind=IndexKind.ARRAY)
    for more in ((), (IndexField(SIZE),)):
        await database.index_keeper.build(IndexDefinition("cities", False, (tags, *more)))
    await database.index_keeper.wait()

    async def put(name: str, count: int, size: int = 1) -> None:
        fields: Fields = {"tags": list(range(count)), "size": size}
        write = SetWrite(city(name), fields)
        await database.run_transaction(lambda one: one.write([write]), request_time=Timestamp(1))

    await put("a", 10)
    await put("a", 10, size=2)
    with pytest.raises(InvalidArgument) as caught:
        await put("b", 11)
    assert caught.value.reason == "TooManyIndexEntries"
    with pytest.raises(InvalidArgument):
        await put("a", 11)
    (a, b) = await database.get_documents([city("a"), city("b")])
    assert (a is not None and len(a.fields["tags"]), b) == (10, None)  # type: ignore[arg-type]
    delete = DeleteWrite(city("a"))
    await database.run_transaction(lambda one: one.write([delete]), request_time=Timestamp(1))
    await put("towns", 1)
    await database.close()


@pytest.mark.parametrize("is_below", [False, True])
async def test_words_that_lead_to_too_many_entries_are_refused(
    engine: SteeredEngine, clock: VirtualClock, is_below: bool
) -> None:
    """Ten thousand words under fifty documents under some indexes took gigabytes."""
    database = await Database.open(
        DatabaseName("demo"),
        engine,
        clock=clock,
        settings=Settings(limits=Limits(document_index_entries_max=20)),
    )
    words = IndexField(FieldPath(("text",)), kind=IndexKind.WORDS)
    for more in ((), (IndexField(SIZE),)):
        definition = IndexDefinition("cities", is_below, (*more, words), is_below, TOKENIZER)
        await database.index_keeper.build(definition)
    await database.index_keeper.wait()
    above = "a/b/" if is_below else ""
    most = 4 if is_below else 9  # and one for the document, under each of the two above it

    async def put(name: str, count: int) -> None:
        path = DocumentPath.parse(f"{above}cities/{name}")
        fields: Fields = {"text": " ".join(map(str, range(count))), "size": 1}
        write = SetWrite(path, fields)
        await database.run_transaction(lambda one: one.write([write]), request_time=Timestamp(1))

    await put("a", most)
    for name in "ab":
        with pytest.raises(InvalidArgument) as caught:
            await put(name, most + 1)
        assert caught.value.reason == "TooManyIndexEntries"
    await put("a", most - 1)
    await database.close()


async def test_an_index_that_a_document_has_too_many_entries_for_is_not_made(store: Store) -> None:
    store.builder._filler._document_entries_max = 9
    await store.commit({city(name): {"tags": list(range(10)), "size": 1} for name in "abc"})
    await store.commit({city("d"): {"text": "0 1 2 3 4 5 6 7 8", "size": 1}})
    array = IndexDefinition("cities", False, (IndexField(TAGS, kind=IndexKind.ARRAY),))
    text = IndexField(FieldPath(("text",)), kind=IndexKind.WORDS)
    words = IndexDefinition("cities", False, (text,), tokenizer=TOKENIZER)
    store.builder.request([array, words, BY_SIZE])
    await store.builder.wait_idle()
    assert store.indexes.find(array) is None
    assert store.indexes.find(words) is None
    index = store.indexes.find(BY_SIZE)
    assert index is not None
    assert index.ready_at is not None
    await check_entries(store)


async def test_building_reads_little_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_filling, "SLICE_BYTES_MAX", 2_000)
    text = "x" * 900
    await store.commit({city(f"{n:02}"): {"size": n, "text": text} for n in range(20)})
    rows_of = index_filling._rows
    counts: list[int] = []

    def noted(documents: Sequence[StoredDocument], *others: Any) -> list[BackfillRow]:
        counts.append(len(documents))
        return rows_of(documents, *others)

    monkeypatch.setattr(index_filling, "_rows", noted)
    store.builder.request([BY_SIZE])
    await store.builder.wait_idle()
    assert max(counts) <= 4  # the records of the index come first, and are short
    assert sum(counts) == 20 + 2
    await check_entries(store)


@pytest.mark.parametrize("pinned", [False, True])
async def test_words_that_were_found_in_another_way_are_found_anew_when_the_server_starts(
    store: Store, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    """Of the old entries none is left: those of a text that is erased could not be found."""
    await store.commit({city(name): {"name": f"the city {name}"} for name in "abc"})
    field = IndexField(FieldPath(("name",)), kind=IndexKind.WORDS)
    now = IndexDefinition("cities", False, (field,), tokenizer=TOKENIZER)
    with monkeypatch.context() as older:
        older.setattr("baas.model.search.words_of", lambda text: tuple(text.upper().split()))
        store.builder.request([replace(now, tokenizer="older")], pinned=pinned)
        await store.builder.wait_idle()
    (old,) = store.indexes
    await reopened(store)
    await store.builder.wait_idle()
    (new,) = store.indexes
    assert (new.definition, new.is_pinned) == (now, pinned)
    await check_entries(store)
    snapshot = await store.engine.open_snapshot()
    assert await snapshot.count_entries(old.number, KeyRange(b"", None)) == 0
    await snapshot.close()


async def check_entries(store: Store) -> None:
    """The entries of every index are exactly those of the documents that there are."""
    snapshot = await store.engine.open_snapshot()
    for index in store.indexes:
        rows = await snapshot.scan_entries(index.number, KeyRange(b"", None), limit=100_000)
        wanted = [
            key
            for path, document in store.documents.items()
            if path.segments[-2] == index.definition.collection_id
            for key in index.entry_keys(path, document.fields)
        ]
        assert [row.key for row in rows] == sorted(wanted)
    await snapshot.close()


async def reopened(store: Store) -> None:
    """The indexes as a new process would find them."""
    await store.builder.close()
    store.indexes = store.listeners._indexes = Indexes()
    store.builder = IndexBuilder(
        store.engine,
        store.indexes,
        store.run_alone,
        clock=store.clock,
        collection_indexes_max=64,
    )
    store.keeper = store.make_keeper()
    snapshot = await store.engine.open_snapshot()
    await store.builder.load(snapshot)
    await snapshot.close()


async def test_a_ready_index_is_there_after_reopening(store: Store) -> None:
    await fill(store, 200)
    store.builder.request([BY_SIZE])
    await store.builder.wait_idle()
    await reopened(store)
    assert len(await run(store, BIG)) == 0
    assert uses_index(store, BIG)
    store.builder.request([IndexDefinition("cities", False, (IndexField(TAGS),))])
    await store.builder.wait_idle()
    assert sorted(index.number for index in store.indexes) == [1, 2]


async def test_a_build_that_was_cut_off_goes_on_after_reopening(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_filling, "SLICE_FIRST", 10)
    monkeypatch.setattr(index_filling, "SLICE_MAX", 10)
    monkeypatch.setattr(index_filling, "NEAR_PIECE_ENTRIES_MAX", 10)
    await fill(store, 400)
    backfilled: list[int] = []
    backfill = store.engine.backfill
    is_in_the_middle = asyncio.Event()

    async def count(rows: Sequence[BackfillRow]) -> int:
        backfilled.append(len(rows))
        return await backfill(rows)

    async def stop(rows: Sequence[BackfillRow]) -> int:
        if len(backfilled) == 7:
            is_in_the_middle.set()
            await asyncio.Event().wait()
        return await count(rows)

    monkeypatch.setattr(store.engine, "backfill", stop)
    store.builder.request([BY_SIZE])
    await is_in_the_middle.wait()
    monkeypatch.setattr(store.engine, "backfill", count)
    backfilled.clear()
    await reopened(store)
    await store.commit({city("late"): {"size": 5}})
    await store.builder.wait_idle()
    assert sum(backfilled) == 401  # all over again, which changes nothing
    assert uses_index(store, BIG)
    await check_entries(store)


async def test_a_failing_store_leaves_the_index_for_the_next_query(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 200)

    async def fail(rows: object) -> int:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store.engine, "backfill", fail)
        store.builder.request([BY_SIZE])
        await store.builder.wait_idle()
    assert not uses_index(store, BIG)
    store.builder.request([BY_SIZE])
    await store.builder.wait_idle()
    assert uses_index(store, BIG)
    await check_entries(store)


@pytest.mark.slow
@given(
    queries=st.lists(arbitrary.queries(), min_size=1, max_size=3),
    commits=st.lists(
        st.dictionaries(
            arbitrary.paths, st.one_of(st.none(), arbitrary.fields), min_size=1, max_size=8
        ),
        min_size=1,
        max_size=8,
    ),
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
async def test_queries_on_a_real_engine_return_what_filtering_and_sorting_would(
    queries: list[Query], commits: list[dict[DocumentPath, Fields | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_filling, "SLICE_FIRST", 2)
        patch.setattr(index_filling, "SLICE_MAX", 2)
        patch.setattr(sources, "BATCH_FIRST", 2)
        store = Store(Path(folder), index_after_scanned=0)
        for commit in commits:
            await store.commit(commit)
            for query in queries:
                await run(store, query)  # by scanning, beside a build, or by index
        await store.builder.wait_idle()
        for query in queries:
            await run(store, query)
        await store.builder.wait_idle()
        for query in queries:
            await run(store, query)
        await check_entries(store)
        await store.close()


# Dropping, pinning, making room ------------------------------------------------------------------


async def build(store: Store, definition: IndexDefinition) -> Index:
    store.builder.request([definition])
    await store.builder.wait_idle()
    index = store.indexes.find(definition)
    assert index is not None
    return index


async def count_entries(store: Store, number: int) -> int:
    snapshot = await store.engine.open_snapshot()
    found = await snapshot.count_entries(number, KeyRange(b"", None))
    await snapshot.close()
    return found


async def test_a_dropped_index_is_deleted_in_slices_and_its_number_is_not_used_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 1_000)
    index = await build(store, BY_SIZE)
    assert await count_entries(store, index.number) == 1_000
    slices: list[int] = []
    drop_index = store.engine.drop_index

    async def note(number: int, *, limit: int) -> int:
        slices.append(limit)
        return await drop_index(number, limit=limit)

    monkeypatch.setattr(store.engine, "drop_index", note)
    await store.keeper.drop(index)
    assert not uses_index(store, BIG)
    await store.commit({city("late"): {"size": 950}})  # nobody maintains it
    await store.builder.wait_idle()
    assert await count_entries(store, index.number) == 0
    assert slices[:3] == [100, 200, 400]
    assert len(await run(store, BIG)) == 100
    again = await build(store, BY_SIZE)
    assert again.number > index.number
    assert uses_index(store, BIG)
    assert len(await run(store, BIG)) == 100


async def test_a_query_that_runs_on_a_dropped_index_stays_right(store: Store) -> None:
    await fill(store, 1_000)
    index = await build(store, BY_SIZE)
    generation = store.indexes.generation
    snapshot = await store.engine.open_snapshot()
    reader = executor.QueryExecutor(snapshot, store.indexes, generation)
    whole = Query(CITIES, order_by=(Order(SIZE),))
    batches = reader.stream(whole)
    found = [document.path for document in await anext(batches)]
    await store.keeper.drop(index)
    await store.builder.wait_idle()
    assert await count_entries(store, index.number) == 0
    async for batch in batches:
        found += [document.path for document in batch]
    await snapshot.close()
    assert found == [document.path for document in store.expected(whole)]


async def test_a_drop_that_was_cut_off_goes_on_after_reopening(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 400)
    index = await build(store, BY_SIZE)

    async def fail(number: int, *, limit: int) -> int:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store.engine, "drop_index", fail)
        await store.keeper.drop(index)
        await store.builder.wait_idle()
    assert await count_entries(store, index.number) == 400
    await reopened(store)
    assert list(store.indexes) == []
    await store.builder.wait_idle()
    assert await count_entries(store, index.number) == 0


async def test_an_index_that_is_dropped_while_it_is_filled_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_filling, "SLICE_FIRST", 10)
    monkeypatch.setattr(index_filling, "SLICE_MAX", 10)
    monkeypatch.setattr(index_filling, "NEAR_PIECE_ENTRIES_MAX", 10)
    await fill(store, 400)
    backfill = store.engine.backfill
    is_in_the_middle = asyncio.Event()
    may_go = asyncio.Event()

    async def wait(rows: Sequence[BackfillRow]) -> int:
        is_in_the_middle.set()
        await may_go.wait()
        return await backfill(rows)

    monkeypatch.setattr(store.engine, "backfill", wait)
    store.builder.request([BY_SIZE])
    await is_in_the_middle.wait()
    index = store.indexes.find(BY_SIZE)
    assert index is not None
    await store.keeper.drop(index)
    may_go.set()
    await store.builder.wait_idle()
    assert list(store.indexes) == []
    assert await count_entries(store, index.number) == 0


async def test_idle_indexes_are_dropped_and_pinned_ones_stay(store: Store) -> None:
    await fill(store, 200)
    used, idle = await build(store, BY_SIZE), IndexDefinition("cities", False, (IndexField(TAGS),))
    pinned = IndexDefinition("cities", True, (IndexField(SIZE),))
    await build(store, idle)
    await store.keeper.build(pinned)
    await store.builder.wait_idle()
    store.clock.advance(IDLE - 10)
    await run(store, BIG)
    await store.keeper.tidy()
    store.clock.advance(20)
    await store.keeper.tidy()
    await store.builder.wait_idle()
    assert {index.definition for index in store.indexes} == {used.definition, pinned}
    assert all(index.is_pinned == (index.definition == pinned) for index in store.indexes)


async def test_zero_keeps_idle_indexes_for_ever(store: Store) -> None:
    await fill(store, 200)
    await build(store, BY_SIZE)
    store.clock.advance(100 * IDLE)
    await store.make_keeper(0).tidy()
    assert store.indexes.find(BY_SIZE) is not None


async def test_uses_are_told_to_records_about_once_a_day(store: Store) -> None:
    await fill(store, 200)
    index = await build(store, BY_SIZE)
    versions = []
    for _ in range(48):
        store.clock.advance(3_600)
        await run(store, BIG)
        await store.keeper.tidy()
        versions.append(store.version)
    assert len(set(versions)) == 2  # and the first, when nothing was told yet
    await reopened(store)
    known = store.indexes.find(BY_SIZE)
    assert known is not None
    assert 0 < index.used_at - known.used_at < 2 * 86_400 * 1_000_000


async def test_an_unpinned_index_may_be_dropped_again(store: Store) -> None:
    await fill(store, 200)
    await store.keeper.build(BY_SIZE)
    await store.builder.wait_idle()
    index = store.indexes.find(BY_SIZE)
    assert index is not None
    await store.keeper.pin(index, pinned=False)
    store.clock.advance(IDLE + 10)
    await store.keeper.tidy()
    assert store.indexes.find(BY_SIZE) is None


async def test_an_idle_index_makes_room_for_one_that_is_wanted(tmp_path: Path) -> None:
    store = Store(tmp_path, indexes_max=2)
    names = [IndexDefinition("cities", False, (IndexField(FieldPath((name,))),)) for name in "abc"]
    await build(store, names[0])
    store.clock.advance(10)
    await build(store, names[1])
    store.builder.request([names[2]])
    await store.builder.wait_idle()
    assert store.indexes.find(names[2]) is None  # both were used within the hour
    store.clock.advance(index_room.IDLE_SECONDS + 1)
    await build(store, names[2])
    assert [index.definition for index in store.indexes] == [names[1], names[2]]
    await store.close()


async def test_a_collection_is_passed_over_that_no_index_wants(store: Store) -> None:
    other = CollectionPath(("towns",))
    await store.commit({other.document(f"t{number:04}"): {"size": 1} for number in range(2_000)})
    await fill(store, 200)
    index = await build(store, BY_SIZE)
    assert index.scanned <= 400
    await check_entries(store)


async def test_a_query_that_no_index_serves_reads_for_a_limited_time(store: Store) -> None:
    await fill(store, 1_000)
    snapshot = await store.engine.open_snapshot()
    for on_missing, reason in ((store.builder.want, "IndexBeingBuilt"), (None, "QueryTooSlow")):
        reader = executor.QueryExecutor(
            snapshot, Indexes(), 0, on_missing=on_missing, budget=ReadBudget(store.clock, 0.0)
        )
        with pytest.raises(DeadlineExceeded) as caught:
            await reader.run_query(BIG)
        assert caught.value.reason == reason
        assert caught.value.details == {"seconds": 0.0, "indexes": ["cities (collection): size"]}
    await snapshot.close()
    await store.builder.wait_idle()
    assert uses_index(store, BIG)


async def test_a_large_collection_has_its_index_made_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_demand, "LARGE_DOCUMENTS", 500)
    monkeypatch.setattr(executor, "LARGE_DOCUMENTS", 500)
    await fill(store, 600)
    await run(store, BIG)
    await store.builder.wait_idle()
    assert uses_index(store, BIG)


def test_a_shape_that_comes_again_after_days_is_a_new_one() -> None:
    clock = VirtualClock()
    demand = IndexDemand(clock)
    assert demand.note(BY_SIZE, 200) is None
    clock.advance(86_401)
    assert demand.note(BY_SIZE, 200) is None
    clock.advance(86_400)
    assert demand.note(BY_SIZE, 200) is not None
    demand.forget(BY_SIZE)
    assert demand.note(BY_SIZE, 200) is None
    for number in range(index_demand.SHAPES_MAX):
        demand.note(IndexDefinition(str(number), False, (IndexField(SIZE),)), 200)
    assert demand.note(BY_SIZE, 200) is None  # it was forgotten
