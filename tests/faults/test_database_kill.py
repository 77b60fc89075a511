"""Kill -9 of a process that commits under load: what it acknowledged is there, and documents,
history, log and requests tell the same story."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 4
COMMITS_PER_ROUND = 150


@dataclass
class Acknowledged:
    """What the killed processes said."""

    names: set[str] = field(default_factory=set)
    versions: list[int] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def note(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            return  # cut off by the kill: nobody has read it
        version, name, counter = line.decode().split()
        self.versions.append(int(version))
        self.names.add(name)
        self.counters[counter] = self.counters.get(counter, 0) + 1


async def run_and_kill(file: Path, round_number: int, said: Acknowledged) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.writer_process",
        str(file),
        str(round_number),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        for _ in range(COMMITS_PER_ROUND):
            said.note(await process.stdout.readline())
    finally:
        process.kill()
    # Lines that were on their way are acknowledgements as well.
    while line := await process.stdout.readline():
        said.note(line)
    await process.wait()


async def check(file: Path, said: Acknowledged) -> None:
    clock = SystemClock()
    engine = SqliteEngine.open(file, clock=clock)
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    try:
        assert database.version >= max(said.versions)
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
    finally:
        await database.close()


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
    assert documents == state


@pytest.mark.slow
async def test_killed_process_loses_no_acknowledged_commit(tmp_path: Path) -> None:
    file = tmp_path / "database.sqlite"
    said = Acknowledged()
    for round_number in range(ROUNDS):
        await run_and_kill(file, round_number, said)
        await check(file, said)
    connection = apsw.Connection(str(file))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert len(said.names) >= ROUNDS * COMMITS_PER_ROUND
