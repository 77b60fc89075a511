"""Commits without end, each told once it is acknowledged; and what has to be there afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.indexes import INDEXES
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.encoding import keys
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, FieldTransform, Increment, SetWrite
from baas.settings import Settings
from baas.storage.engine import KeyRange
from baas.storage.sqlite import SqliteEngine

Tell = Callable[[int, str, str], None]  # version, name, counter

ORDERED = Query(
    CollectionPath(("made",)),
    where=FieldFilter(FieldPath(("group",)), Operator.EQUAL, 1),
    order_by=(Order(FieldPath(("step",))),),
    limit=3,
)


@dataclass
class Acknowledged:
    """What those who were cut off had been told."""

    names: set[str] = field(default_factory=set)
    versions: list[int] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def note(self, version: int, name: str, counter: str) -> None:
        self.versions.append(version)
        self.names.add(name)
        self.counters[counter] = self.counters.get(counter, 0) + 1


async def write_without_end(database: Database, client: str, counter: str, tell: Tell) -> None:
    """Commits of two documents and more, one after another; raises what the first failure does."""
    step = 0
    while True:
        step += 1
        await commit_step(database, client, step, counter, tell)


async def commit_step(database: Database, client: str, step: int, counter: str, tell: Tell) -> None:
    """One of those commits: a document is made, a counter goes up, an older document goes."""
    name = f"{client}-{step}"

    async def body(transaction: Transaction) -> None:
        writes: list[SetWrite | DeleteWrite] = [
            SetWrite(
                DocumentPath(("made", name)), {"text": "x" * 200, "step": step, "group": step % 3}
            ),
            SetWrite(
                DocumentPath(("counters", counter)),
                {},
                mask=(),
                transforms=(FieldTransform(FieldPath(("n",)), Increment(1)),),
            ),
        ]
        if step > 3:
            writes.append(DeleteWrite(DocumentPath(("made", f"{client}-{step - 3}"))))
        await transaction.write(writes)

    result = await database.run_transaction(
        body, request_time=Timestamp(SystemClock().now_microseconds()), request_id=name
    )
    tell(result.version, name, counter)


async def check_file(file: Path, said: Acknowledged) -> None:
    """Opened as the server would: every acknowledged commit is there, and documents, counters,
    history, log, requests and indexes tell the same story."""
    clock = SystemClock()
    engine = SqliteEngine.open(file, clock=clock)
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    try:
        assert database.version >= max(said.versions, default=0)
        for counter, count in said.counters.items():
            (found,) = await database.get_documents([DocumentPath(("counters", counter))])
            assert found is not None
            number = found.fields["n"]
            assert isinstance(number, int)
            assert number >= count
        for name in said.names:
            request = await engine.find_request(name)
            assert request is not None, f"acknowledged commit {name} is lost"
        await check_log(database, said)
        await database.index_keeper.wait()
        await check_entries(database)
    finally:
        await database.close()
    check_integrity(file)


def check_integrity(file: Path) -> None:
    """By SQLite's own means."""
    connection = apsw.Connection(str(file))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def check_log(database: Database, said: Acknowledged) -> None:
    """Replaying all commits gives the documents, each image as the commit before it left it."""
    state: dict[str, int] = {}
    versions: set[int] = set()
    made: set[str] = set()
    documents: dict[str, int] = {}
    async with database.snapshot() as snapshot:
        position = 0
        while events := await snapshot.read_commits(position, limit=1_000):
            for event in events:
                versions.add(event.version)
                for change in event.changes:
                    path = str(change.path)
                    before = None if change.old is None else change.old.version
                    assert state.get(path) == before
                    if change.new is None:
                        del state[path]
                    else:
                        assert change.new.version == event.version
                        state[path] = event.version
                        made.add(change.path.id)
            position = events[-1].version
        assert position == snapshot.version
        for collection in await snapshot.list_collection_ids(None):
            found = await snapshot.run_query(Query(CollectionPath((collection,))))
            documents |= {str(document.path): document.version for document in found.documents}
    assert versions >= set(said.versions)
    assert made >= said.names
    visible = {path: at for path, at in state.items() if not path.startswith(f"{INDEXES}/")}
    assert documents == visible


async def check_entries(database: Database) -> None:
    """Every index holds the entries of the documents, and no others."""
    snapshot, _ = await database.open_snapshot()
    try:
        documents = await snapshot.scan_documents(KeyRange(b"", None), limit=1_000_000)
        for index in database.indexes:
            rows = await snapshot.scan_entries(index.number, KeyRange(b"", None), limit=1_000_000)
            found = {row.key: keys.document_key(row.document.path) for row in rows}
            wanted = {
                key: keys.document_key(document.path)
                for document in documents
                if document.path.segments[-2] == index.definition.collection_id
                for key in index.entry_keys(document.path, document.fields)
            }
            assert found == wanted, f"index {index.number} and the documents differ"
    finally:
        await database.close_snapshot(snapshot)
