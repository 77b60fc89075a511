"""Searches on every engine: through commits of all kinds they are what BM25 says, they leave
nothing behind, and what they read follows the rarest word and not the collection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from baas.clock import SystemClock
from baas.database import corpora
from baas.database.database import Database
from baas.database.explain import Explanation
from baas.database.names import DatabaseName
from baas.database.planner import WordScan, plan_query
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.model import sampling
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.search import Search
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.settings import Settings
from baas.storage.engine import KeyRange, StorageEngine
from tests.baas.database import search_oracle
from tests.baas.database.acts import write
from tests.effort import examples
from tests.storage.conftest import ENGINES

NOTES = CollectionPath(("notes",))
TEXT, OWNER = FieldPath(("text",)), FieldPath(("owner",))
ALL = KeyRange(b"", None)
WORDS = ("red", "green", "blue", "re")


@pytest.fixture(params=list(ENGINES))
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with ENGINES[request.param](request, tmp_path) as open_database:
        database = await opened(await open_database("search"))
        yield database
        await database.close()


async def opened(engine: StorageEngine) -> Database:
    return await Database.open(
        DatabaseName("demo"), engine, clock=SystemClock(), settings=Settings()
    )


def asked(text: str, owner: int | None = None) -> Query:
    where = None if owner is None else FieldFilter(OWNER, Operator.EQUAL, owner)
    return Query(NOTES, where=where, search=Search(text, (TEXT,)))


PHRASE = asked('"red green" blue')


async def make_index(database: Database, query: Query) -> None:
    plan = plan_query(query, database.indexes, database.indexes.generation)
    database._builder.request(getattr(plan, "missing", ()))
    await database._builder.wait_idle()
    (scan,) = plan_query(query, database.indexes, database.indexes.generation)  # type: ignore[misc]
    assert isinstance(scan, WordScan)


def make_samples_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of thousands of documents by some is told of three."""
    monkeypatch.setattr(sampling, "EXACT_MAX", 2)
    monkeypatch.setattr(sampling, "FIRST_LEVEL", 1)
    monkeypatch.setattr(corpora, "SLACK", 1)
    monkeypatch.setattr(corpora, "RARE_MAX", 1)


def some_writes(random: Random) -> list[Write]:
    found: dict[str, Write] = {}
    for _ in range(random.randrange(1, 6)):
        name = f"n{random.randrange(20)}"
        text = " ".join(random.choices(WORDS, k=random.randrange(5)))
        path = NOTES.document(name)
        found[name] = SetWrite(path, {"text": text, "owner": random.randrange(2)})
        if random.random() < 0.3:
            found[name] = DeleteWrite(path)
    return list(found.values())


async def check(snapshot: ReadSnapshot) -> None:
    documents: list[StoredDocument] = (await snapshot.run_query(Query(NOTES))).documents
    for query in (asked("red"), asked("red green"), asked("re*", 1), asked("blue red", 0), PHRASE):
        wanted = [one.path for one in search_oracle.search(query, documents)]
        assert [one.path for one in (await snapshot.run_query(query)).documents] == wanted
        assert await snapshot.count(query) == len(wanted)


async def test_searches_are_right_through_random_commits(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes and frequencies are kept up; snapshots of before see theirs. Before there is an index
    the answers are no others."""
    make_samples_small(monkeypatch)
    random = Random(7)
    for _ in range(4):
        await write(database, *some_writes(random))
        async with database.snapshot() as snapshot:
            await check(snapshot)
    await make_index(database, asked("red"))
    await write(database, *some_writes(random))
    await make_index(database, asked("red", 0))
    for _ in range(examples(12)):
        async with database.snapshot() as before:
            await write(database, *some_writes(random))
            async with database.snapshot() as after:
                await check(after)
            await write(database, *some_writes(random))
            await check(before)
    assert database._corpora._kept
    await _remove_all(database)


@pytest.mark.parametrize("engine", ["sqlite-shared", "mongodb"])
async def test_what_another_node_commits_counts(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node keeps its own numbers, and hears of the commits of the others."""
    make_samples_small(monkeypatch)
    random = Random(11)
    async with ENGINES[engine](request, tmp_path) as open_database:
        nodes = [await opened(await open_database("shared")) for _ in range(2)]
        await write(nodes[0], *some_writes(random))
        await make_index(nodes[0], asked("red"))
        await nodes[1].catch_up()
        for number in range(8):
            await write(nodes[number % 2], *some_writes(random), *some_writes(random)[:1])
            for node in nodes:
                async with node.snapshot() as snapshot:
                    await check(snapshot)
        assert all(node._corpora._kept for node in nodes)
        for node in nodes:
            await node.close()


async def _remove_all(database: Database) -> None:
    """No entry is left, of any word."""
    found = (await database.run_query(Query(NOTES))).documents
    await write(database, *[DeleteWrite(one.path) for one in found])
    async with database.snapshot() as snapshot:
        numbers = [index.number for index in database.indexes if index.definition.words]
        assert len(numbers) == 2
        for number in numbers:
            assert await snapshot._open.count_entries(number, ALL) == 0
        assert (await snapshot.run_query(asked("red"))).documents == []


async def test_entries_that_an_older_tokenizer_made_do_no_harm(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a newer one would take away is not there; what it leaves behind answers nothing."""
    await write(database, *[_note(number) for number in range(5)])
    with monkeypatch.context() as older:
        older.setattr("baas.model.search.words_of", lambda text: tuple(text.upper().split()))
        older.setattr("baas.database.planner.TOKENIZER", "older")
        await make_index(database, asked("rare"))
    assert (await database.run_query(asked("rare"))).documents != []
    await write(
        database,
        SetWrite(NOTES.document("n0000"), {"text": "rare rare"}),
        DeleteWrite(NOTES.document("n0001")),
    )
    await make_index(database, asked("rare"))
    (newer,) = [one for one in database.indexes if one.definition.tokenizer != "older"]
    (found,) = (await database.run_query(asked("rare"))).documents
    assert found.fields == {"text": "rare rare"}
    assert newer.uses == 1


async def test_what_is_read_follows_the_rarest_word_and_not_the_collection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first and ever after: what nobody has counted yet is told by a few documents."""
    monkeypatch.setattr(sampling, "EXACT_MAX", 20)
    monkeypatch.setattr(corpora, "SLACK", 5)
    query = asked("common rare")
    for part in range(3):
        await write(database, *[_note(number) for number in range(300 * part, 300 * (part + 1))])
        if part == 0:
            await make_index(database, query)
        database._corpora.lose()  # as after a start
        first, again = [await _metered(database, query) for _ in range(2)]
        # Of the collection and of `common` at most 25 at each of a few levels, and some twice.
        assert first.keys_counted + first.entries_scanned <= 2 * 6 * 25
        assert (again.keys_counted, again.entries_scanned, again.documents_read) == (5, 10, 5)
        assert [scan.kind for scan in again.scans] == ["words"]


async def _metered(database: Database, query: Query) -> Explanation:
    async with database.snapshot() as snapshot:
        snapshot.meter()
        found = await snapshot.run_query(query)
        assert len(found.documents) == 5
        return snapshot.explain(query, returned=5, seconds=0)


async def test_what_nobody_has_counted_yet_gives_the_same_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was just started, and one that has kept its numbers up all the time."""
    make_samples_small(monkeypatch)
    random = Random(3)
    query = asked("red green")
    await write(database, *some_writes(random))
    await make_index(database, query)
    for _ in range(examples(10)):
        await write(database, *some_writes(random))
        kept = [one.path for one in (await database.run_query(query)).documents]
        database._corpora.lose()
        assert [one.path for one in (await database.run_query(query)).documents] == kept


async def test_one_document_in_sixteen_has_its_entries_twice(database: Database) -> None:
    await write(database, *[_note(number) for number in range(1, 401) if number % 60])
    await make_index(database, asked("common"))
    (index,) = list(database.indexes)
    async with database.snapshot() as snapshot:
        entries = await snapshot._open.count_entries(index.number, ALL)
    single = 394 * 4  # three words, and that it is there
    assert single / 32 < entries - single < single / 8


def _note(number: int) -> SetWrite:
    rare = " rare" if number < 300 and number % 60 == 0 else ""
    return SetWrite(NOTES.document(f"n{number:04}"), {"text": f"common other words{rare}"})
