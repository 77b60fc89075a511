"""Earlier versions: the same answers that the database gave then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.clock import VirtualClock
from baas.database import past
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.past import PastSnapshot
from baas.database.retention import Reach
from baas.encoding.documents import StoredDocument
from baas.errors import OutOfRange, ResumeTokenExpired
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.query_matching import matches
from baas.model.query_order import document_order
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite
from baas.settings import Settings
from baas.storage.engine import Change
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.acts import write
from tests.baas.database.arbitrary import fields, paths, queries
from tests.effort import examples

COMMITS = st.lists(
    st.dictionaries(paths, st.none() | fields, min_size=1, max_size=5), min_size=1, max_size=8
)
ALL = Query(CollectionPath.parse("c"))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(tmp_path)
    yield opened
    await opened.close()


async def open_database(folder: Path) -> Database:
    clock = VirtualClock()
    engine = SqliteEngine.open(folder / "test.sqlite", clock=clock, synchronous="normal")
    return await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())


def answer(query: Query, state: dict[DocumentPath, StoredDocument]) -> list[StoredDocument]:
    """The answer as the model defines it."""
    found = sorted(
        (document for document in state.values() if matches(query, document)),
        key=document_order(query),
    )
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def shown(documents: list[StoredDocument]) -> list[tuple[str, int]]:
    return [(document.name, document.version) for document in documents]


async def apply(database: Database, changed: dict[DocumentPath, Fields | None]) -> int:
    result = await write(
        database,
        *[
            DeleteWrite(path) if content is None else SetWrite(path, content)
            for path, content in changed.items()
        ],
    )
    return result.version


@pytest.mark.slow
@given(commits=COMMITS, asked=st.lists(queries(), min_size=1, max_size=4), bytes_max=st.integers(1))
@settings(max_examples=examples(25))
async def test_every_version_answers_as_it_did(
    commits: list[dict[DocumentPath, Fields | None]], asked: list[Query], bytes_max: int
) -> None:
    with TemporaryDirectory() as folder:
        database = await open_database(Path(folder))
        states: dict[int, dict[DocumentPath, StoredDocument]] = {0: {}}
        for changed in commits:
            version = await apply(database, changed)
            everything = list({path for one in commits for path in one})
            found = await database.get_documents(everything)
            states[version] = {
                path: document
                for path, document in zip(everything, found, strict=True)
                if document is not None
            }
        async with database.snapshot() as snapshot:
            for version, state in states.items():
                then = PastSnapshot(snapshot, version)
                read = await then.get_documents(everything)
                assert [document and document.version for document in read] == [
                    state[path].version if path in state else None for path in everything
                ]
                for query in asked:
                    expected = shown(answer(query, state))
                    assert shown((await then.run_query(query)).documents) == expected
                    first, is_cut = await then.read_first(query, bytes_max=bytes_max)
                    assert shown(first) == expected[: len(first)]
                    assert is_cut or len(first) == len(expected)
                    assert first or not expected
        await database.close()


async def test_a_selection_is_of_the_image_of_then(database: Database) -> None:
    path = DocumentPath.parse("c/a")
    version = await apply(database, {path: {"n": 1, "m": 1}})
    await apply(database, {path: {"n": 2}})
    async with database.snapshot() as snapshot:
        query = Query(CollectionPath.parse("c"), select=(FieldPath(("n",)),))
        (document,) = (await PastSnapshot(snapshot, version).run_query(query)).documents
    assert document.fields == {"n": 1}


async def test_what_is_too_far_back_is_said_to_be(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = DocumentPath.parse("c/a")
    version = await apply(database, {path: {"n": 0}})
    for n in range(1, 4):
        await apply(database, {path: {"n": n}})
    monkeypatch.setattr(past, "RECORDS_MAX", 3)
    async with database.snapshot() as snapshot:
        assert len((await PastSnapshot(snapshot, version).run_query(ALL)).documents) == 1
        with pytest.raises(OutOfRange) as caught:
            await PastSnapshot(snapshot, version - 1).run_query(ALL)
        assert caught.value.reason == "TooFarBack"


async def test_what_is_put_back_has_a_bound_and_is_read_a_few_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [DocumentPath.parse(f"c/{n:03}") for n in range(past._READ_PATHS * 2 + 1)]
    version = await apply(database, {path: {"n": "x" * 100} for path in places})
    await apply(database, {path: {"n": 1} for path in places})
    asked: list[int] = []
    async with database.snapshot() as snapshot:
        read_changes = snapshot.read_changes

        async def read(paths: Sequence[DocumentPath], after: int) -> list[Change]:
            asked.append(len(paths))
            return await read_changes(paths, after)

        monkeypatch.setattr(snapshot, "read_changes", read)
        then = PastSnapshot(snapshot, version)
        documents = (await then.run_query(ALL)).documents
        assert [document.path for document in documents] == places
        size = sum(len(document.data) for document in documents)
        monkeypatch.setattr(past, "IMAGES_BYTES_MAX", size)
        assert len((await then.read_first(ALL, bytes_max=size))[0]) == len(places)
        monkeypatch.setattr(past, "IMAGES_BYTES_MAX", size - 1)
        with pytest.raises(OutOfRange) as caught:
            await then.run_query(ALL)
        assert caught.value.reason == "TooFarBack"
        few = replace(ALL, where=FieldFilter(FieldPath(("n",)), Operator.EQUAL, 2))
        assert (await then.run_query(few)).documents == []
    assert max(asked) == past._READ_PATHS


async def test_what_history_has_forgotten_is_not_made_up(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = SqliteEngine.open(tmp_path / "t.sqlite", clock=clock, synchronous="normal")
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    path = DocumentPath.parse("c/a")
    version = await apply(database, {path: {"n": 1}})
    clock.advance(60)
    await apply(database, {path: {"n": 2}})
    await database.retention.trim(Reach(10, 2**30))
    async with database.snapshot() as snapshot:
        then = PastSnapshot(snapshot, version)
        with pytest.raises(ResumeTokenExpired):
            await then.get_documents([path])
        with pytest.raises(ResumeTokenExpired):
            await then.run_query(ALL)
    await database.close()


async def test_the_first_document_comes_however_little_may(database: Database) -> None:
    """Also where only later ones stand before it now."""
    version = await apply(database, {DocumentPath.parse("c/z"): {"text": "x" * 1_000}})
    await apply(database, {DocumentPath.parse(f"c/{n}"): {"n": n} for n in range(9)})
    async with database.snapshot() as snapshot:
        found, is_cut = await PastSnapshot(snapshot, version).read_first(ALL, bytes_max=1)
    assert ([document.path.id for document in found], is_cut) == (["z"], False)


async def test_what_is_behind_the_limit_is_not_left_out_for_its_size(database: Database) -> None:
    """It is read where something may have to be taken out, and the answer was said to be cut."""
    version = await apply(
        database,
        {DocumentPath.parse("c/a"): {"n": 1}, DocumentPath.parse("c/b"): {"text": "x" * 1_000}},
    )
    await apply(database, {DocumentPath.parse("c/c"): {"n": 1}})
    async with database.snapshot() as snapshot:
        first = replace(ALL, limit=1)
        found, is_cut = await PastSnapshot(snapshot, version).read_first(first, bytes_max=50)
    assert ([document.path.id for document in found], is_cut) == (["a"], False)
