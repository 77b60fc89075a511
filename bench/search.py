"""Searches beside SQLite's own full-text index (FTS5) on the same texts, in one process, in turns.

The product is the database layer with its index of words: planning, ranking, reading 20 documents.
The floor is one statement of FTS5, which ranks by BM25 in C, joined with the same documents; it has
no filters, no rules and no versions. Processor time of each, since a machine's other work moves it
less. Words are as rare as in natural text: the second occurs half as often as the first.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import apsw

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.planner import plan_query
from baas.database.transaction import Transaction
from baas.encoding.documents import encode_fields
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import Query
from baas.model.search import Search
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import SetWrite
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine

DOCUMENTS = 10_000
WORDS = 40  # of a document, give or take 20
VOCABULARY = 20_000
AT_ONCE = 500  # documents of a commit
REPEATS = 5
NOTES = CollectionPath(("notes",))
SEARCHES = {
    "one rare word": "w3000",
    "one common word": "w20",
    "a rare word and the commonest": "w3000 w1",
    "three common words": "w10 w20 w30",
    "a prefix of 1,100 words": "w2*",
}
_FTS = (
    "SELECT data FROM texts JOIN documents ON documents.id = texts.rowid"
    " WHERE texts MATCH ? ORDER BY rank LIMIT 20"
)


def table(folder: Path, *, rounds: int) -> str:
    """A Markdown table: processor time of one search, and its ratio to that of FTS5."""
    folder.mkdir()
    return asyncio.run(_table(folder, rounds))


async def _table(folder: Path, rounds: int) -> str:
    random = Random(5)
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    names = [f"w{rank}" for rank in range(1, VOCABULARY + 1)]
    texts = [
        " ".join(random.choices(names, weights, k=WORDS + random.randint(-20, 20)))
        for _ in range(DOCUMENTS)
    ]
    floor = _open_floor(folder / "floor.sqlite")
    engine = SqliteEngine.open(folder / "baas.sqlite", clock=SystemClock())
    database = await Database.open(
        DatabaseName("bench"), engine, clock=SystemClock(), settings=Settings()
    )
    writes = await _write_rows(database, floor, texts)
    lines = [await _row(database, floor, name, text, rounds) for name, text in SEARCHES.items()]
    await database.close()
    floor.close()
    head = "| search | found | FTS5 CPU us | baas CPU us | **FTS5 / baas** |"
    return "\n".join(
        [
            f"## Searches, {DOCUMENTS:,} documents of about {WORDS} words",
            "",
            head,
            "|---|---|---|---|---|",
            *lines,
            "",
            f"### Writes, {AT_ONCE} documents of about {WORDS} words in a commit, CPU us of each",
            "",
            "| write | without index | with index | **times** | FTS5 beside a table |",
            "|---|---|---|---|---|",
            *writes,
            "",
        ]
    )


async def _write_rows(database: Database, floor: apsw.Connection, texts: list[str]) -> list[str]:
    """The texts are in both afterwards."""
    half = len(texts) // 2
    bare = await _write(database, texts[:half], 0)
    others = [f"{text} w7" for text in texts[:half]]
    bare_changed = await _write(database, others, 0)
    await _write(database, texts[:half], 0)
    filled = await _fill(database)
    indexed = await _write(database, texts[half:], half)
    changed = await _write(database, others, 0)
    _write_floor(floor, texts[:half], 0, [])
    floor_added = _write_floor(floor, texts[half:], half, [])
    floor_changed = _write_floor(floor, others, 0, texts[:half])
    await _write(database, texts[:half], 0)
    _write_floor(floor, texts[:half], 0, others)
    return [
        f"| created | {bare:.1f} | {indexed:.1f} | **{indexed / bare:.1f}** | {floor_added:.1f} |",
        f"| one word added | {bare_changed:.1f} | {changed:.1f} |"
        f" **{changed / bare_changed:.1f}** | {floor_changed:.1f} |",
        f"| filling the index | | {filled:.1f} | | |",
    ]


async def _fill(database: Database) -> float:
    """Processor microseconds, of each document that is there."""
    plan = plan_query(_query("x"), database.indexes, 0)
    started = time.process_time()
    database._builder.request(getattr(plan, "missing", ()))
    await database._builder.wait_idle()
    return (time.process_time() - started) / (DOCUMENTS // 2) * 1e6


def _query(text: str) -> Query:
    return Query(NOTES, limit=20, search=Search(text, (FieldPath(("text",)),)))


def _open_floor(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE documents(id INTEGER PRIMARY KEY, data TEXT)")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='', prefix='2')")
    return connection


def _write_floor(
    connection: apsw.Connection, texts: list[str], first: int, old: list[str]
) -> float:
    """Processor microseconds of each. `old`: the texts that are there, which FTS5 has to be told
    of."""
    started = time.process_time()
    for start in range(0, len(texts), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(texts)))
        with connection:
            if old:
                gone = [("delete", first + at, old[at]) for at in numbers]
                connection.executemany(
                    "INSERT INTO texts(texts, rowid, text) VALUES (?, ?, ?)", gone
                )
            rows: list[tuple[int, str]] = []
            for at in numbers:
                fields: Fields = {"text": texts[at], "n": first + at}
                rows.append((first + at, encode_fields(fields).decode()))
            connection.executemany("REPLACE INTO documents VALUES (?, ?)", rows)
            added = [(first + at, texts[at]) for at in numbers]
            connection.executemany("INSERT INTO texts(rowid, text) VALUES (?, ?)", added)
    return (time.process_time() - started) / len(texts) * 1e6


async def _write(database: Database, texts: list[str], first: int) -> float:
    """Processor microseconds of each."""
    now = Timestamp(SystemClock().now_microseconds())
    started = time.process_time()
    for start in range(0, len(texts), AT_ONCE):
        writes = [
            SetWrite(
                NOTES.document(f"n{first + start + at:06}"), {"text": text, "n": first + start + at}
            )
            for at, text in enumerate(texts[start : start + AT_ONCE])
        ]

        async def body(transaction: Transaction, writes: list[SetWrite] = writes) -> None:
            await transaction.write(writes)

        await database.run_transaction(body, request_time=now)
    return (time.process_time() - started) / len(texts) * 1e6


async def _row(
    database: Database, floor: apsw.Connection, name: str, text: str, rounds: int
) -> str:
    query = _query(text)
    matched = text.replace(" ", " AND ") if "*" not in text else text

    async def ask_floor() -> int:
        return len(floor.execute(_FTS, (matched,)).fetchall())

    async def ask() -> int:
        return len((await database.run_query(query)).documents)

    assert await ask() == await ask_floor(), name
    async with database.snapshot() as snapshot:
        found = await snapshot.count(Query(NOTES, search=query.search))
    figures = [(await _measure(ask_floor), await _measure(ask)) for _ in range(rounds)]
    bare, whole = (statistics.median(pair[side] for pair in figures) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in figures)
    return f"| {name} | {found:,} | {bare:,.0f} | {whole:,.0f} | **{ratio:.2f}** |"


async def _measure(ask: Callable[[], Awaitable[int]]) -> float:
    """Microseconds of processor time, of threads too."""
    started = time.process_time()
    for _ in range(REPEATS):
        await ask()
    return (time.process_time() - started) / REPEATS * 1e6
