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
WORDS = 40  # of a document
VOCABULARY = 20_000
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
    texts = [" ".join(random.choices(names, weights, k=WORDS)) for _ in range(DOCUMENTS)]
    floor = _fill_floor(folder / "floor.sqlite", texts)
    engine = SqliteEngine.open(folder / "baas.sqlite", clock=SystemClock())
    database = await Database.open(
        DatabaseName("bench"), engine, clock=SystemClock(), settings=Settings()
    )
    bare = await _write(database, texts[: DOCUMENTS // 2], 0)
    query = _query("x")
    database._builder.request(getattr(plan_query(query, database.indexes, 0), "missing", ()))
    await database._builder.wait_idle()
    indexed = await _write(database, texts[DOCUMENTS // 2 :], DOCUMENTS // 2)
    lines = [await _row(database, floor, name, text, rounds) for name, text in SEARCHES.items()]
    await database.close()
    floor.close()
    head = "| search | found | FTS5 CPU us | baas CPU us | **FTS5 / baas** |"
    return "\n".join(
        [
            f"## Searches, {DOCUMENTS:,} documents of {WORDS} words",
            "",
            head,
            "|---|---|---|---|---|",
            *lines,
            "",
            f"writing a document with an index of its words: {indexed / bare:.1f} times the"
            " processor time of one without",
            "",
        ]
    )


def _query(text: str) -> Query:
    return Query(NOTES, limit=20, search=Search(text, (FieldPath(("text",)),)))


def _fill_floor(file: Path, texts: list[str]) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE documents(id INTEGER PRIMARY KEY, data TEXT)")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='', prefix='2')")
    with connection:
        for number, text in enumerate(texts):
            fields: Fields = {"text": text, "n": number}
            connection.execute(
                "INSERT INTO documents VALUES (?, ?)", (number, encode_fields(fields).decode())
            )
            connection.execute("INSERT INTO texts(rowid, text) VALUES (?, ?)", (number, text))
    return connection


async def _write(database: Database, texts: list[str], first: int) -> float:
    """Processor seconds."""
    now = Timestamp(SystemClock().now_microseconds())
    started = time.process_time()
    for start in range(0, len(texts), 500):
        writes = [
            SetWrite(NOTES.document(f"n{first + start + at:06}"), {"text": text, "n": first + at})
            for at, text in enumerate(texts[start : start + 500])
        ]

        async def body(transaction: Transaction, writes: list[SetWrite] = writes) -> None:
            await transaction.write(writes)

        await database.run_transaction(body, request_time=now)
    return time.process_time() - started


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
