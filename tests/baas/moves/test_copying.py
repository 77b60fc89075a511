"""A copy is what its source is, byte by byte, whatever is done to that in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.past_scan import ScanPlace
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.moves import copying
from baas.moves.copying import DatabaseCopy, Position, SumsLost
from baas.settings import Settings
from baas.storage.engine import KeyRange, RequestAnswer, StorageEngine
from baas.storage.sqlite import SqliteEngine
from tests.baas.database.acts import doc
from tests.effort import examples
from tests.storage.conftest import ENGINES, OpenDatabase
from tests.stored_bytes import bytes_below

NAMES = [f"c/{name}" for name in "abcdefgh"]
PAIRS = [("sqlite", "mongodb"), ("mongodb", "sqlite")]

_written = st.dictionaries(st.sampled_from(NAMES), st.none() | st.text("xyz", max_size=3))
_acts = st.one_of(
    _written.map(lambda texts: ("write", texts)),
    st.sampled_from(NAMES).map(lambda name: ("erase", name)),
    st.just(("copy", None)),
    st.just(("follow", None)),
    st.just(("compare", None)),
    st.just(("begin again", None)),
)
_Act = tuple[str, object]


@pytest.fixture(params=PAIRS, ids="-to-".join)
def places(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[asyncio.Runner, OpenDatabase, OpenDatabase]]:
    monkeypatch.setattr(copying, "WINDOW_BYTES", 1)
    stack = AsyncExitStack()

    async def enter() -> list[OpenDatabase]:
        return [
            await stack.enter_async_context(ENGINES[name](request, tmp_path / name))
            for name in request.param
        ]

    for name in request.param:
        (tmp_path / name).mkdir()
    with asyncio.Runner() as runner:
        source, target = runner.run(enter())
        yield runner, source, target
        runner.run(stack.aclose())


class Copying:
    """One database, its copy on the way, and how the two come on."""

    def __init__(self, database: Database, engine: StorageEngine) -> None:
        self.database = database
        self.engine = engine
        self.copy: DatabaseCopy | None = None
        self.sent = 0

    async def act(self, kind: str, told: object) -> None:
        copy = self.copy
        if kind == "write":
            assert isinstance(told, dict)
            await self.write(told)
        elif kind == "erase":
            await self.database.eraser.erase([doc(str(told))])
        elif copy is None:
            self.begin(Position(ScanPlace(self.database.version, b"")), is_new=True)
        elif kind == "begin again":
            self.begin(copy.position, is_new=False)  # as after a restart
        elif copy.position.followed is None:
            await copy.copy_some()
        elif kind == "follow":
            await self.follow()
        elif kind == "compare":
            await self.compare()

    def begin(self, position: Position, *, is_new: bool) -> None:
        async def source() -> Database:
            return self.database

        name = self.database.name
        self.copy = DatabaseCopy(name, source, self.engine, position, is_new=is_new)

    async def write(self, texts: dict[str, str | None]) -> None:
        writes: list[Write] = [
            DeleteWrite(doc(name)) if text is None else SetWrite(doc(name), {"text": text})
            for name, text in texts.items()
        ]

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        self.sent += 1
        await self.database.run_transaction(
            body, request_time=Timestamp(1), request_id=f"r{self.sent}"
        )

    async def follow(self) -> None:
        assert self.copy is not None
        try:
            await self.copy.follow()
        except SumsLost:
            await self.copy.follow()

    async def compare(self) -> None:
        assert self.copy is not None
        try:
            await self.copy.read_whole()
        except SumsLost:
            # What was erased since is missing on one side, until it is followed.
            await self.follow()
            await self.copy.read_whole()

    async def end(self) -> None:
        """As in the pause."""
        if self.copy is None:
            await self.act("copy", None)
        assert self.copy is not None
        while self.copy.position.followed is None:
            await self.copy.copy_some()
        await self.follow()
        await self.compare()
        await self.database.fences.put_up("move")
        await self.copy.follow()
        self.copy.compare()
        await self.copy.complete()


async def documents_of(engine: StorageEngine) -> list[tuple[str, bytes, int, int]]:
    snapshot = await engine.open_snapshot()
    try:
        found: list[StoredDocument] = await snapshot.scan_documents(
            KeyRange(b"", None), limit=1_000
        )
        return [(one.name, one.data, one.created, one.version) for one in found]
    finally:
        await snapshot.close()


async def answers_of(engine: StorageEngine) -> list[RequestAnswer]:
    snapshot = await engine.open_snapshot()
    try:
        return await snapshot.read_requests(0, limit=1_000)
    finally:
        await snapshot.close()


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(acts=st.lists(_acts, min_size=4, max_size=24))
def test_a_copy_is_what_its_source_is(
    acts: list[_Act], places: tuple[asyncio.Runner, OpenDatabase, OpenDatabase]
) -> None:
    runner, open_source, open_target = places

    async def check() -> None:
        clock, name = VirtualClock(), uuid4().hex
        source, target = await open_source(name), await open_target(name)
        database = await Database.open(
            DatabaseName("demo"), source, clock=clock, settings=Settings()
        )
        state = Copying(database, target)
        try:
            await state.write(dict.fromkeys(NAMES[:5], "first"))
            for act in acts:
                await state.act(*act)
            await state.end()
            assert await documents_of(target) == await documents_of(source)
            assert await answers_of(target) == await answers_of(source)
            before, after = await source.read_head(), await target.read_head()
            assert after.version > before.version
            assert after.incarnation == before.incarnation
            assert await target.read_oldest_version() == after.version
        finally:
            await database.close()
            await target.close()

    runner.run(check())


async def test_what_was_erased_meanwhile_is_looked_for_in_files_of_the_copy(tmp_path: Path) -> None:
    """Rows that SQLite has moved leave copies of themselves behind, and nothing of the source's
    history tells the copy which ones to look for."""
    clock, chance = VirtualClock(), Random(2)
    file = tmp_path / "copy" / "copy.sqlite"
    source = SqliteEngine.open(tmp_path / "source.sqlite", clock=clock, synchronous="normal")
    target = SqliteEngine.open(file, clock=clock, synchronous="normal")
    database = await Database.open(DatabaseName("demo"), source, clock=clock, settings=Settings())
    state = Copying(database, target)
    names = [f"c/{number:04}" for number in range(1_500)]

    def left() -> bool:
        return b"s3cret" in bytes_below(file.parent)

    try:
        await state.write(dict.fromkeys(names[:400], "kept"))
        await state.act("copy", None)
        for _ in range(25):
            texts = {one: chance.choice(["kept", "s3cret"]) for one in chance.sample(names, 300)}
            await state.write({one: text * chance.randrange(1, 40) for one, text in texts.items()})
            await state.act("copy", None)  # to its end
            await state.act("follow", None)
        async with database.snapshot() as snapshot:
            found = await snapshot.get_documents([doc(one) for one in names])
        there = [str(one.path) for one in found if one is not None and b"s3cret" in one.data]
        for start in range(0, len(there), 400):
            await state.write(dict.fromkeys(there[start : start + 400]))
        await database.eraser.erase([doc(one) for one in names])
        await state.end()
    finally:
        await database.close()
        await target.close()
    opened = SqliteEngine.open(file, clock=clock, synchronous="normal")
    try:
        await opened.read_head()
        async with asyncio.timeout(60):
            while left():  # noqa: ASYNC110 - they are files
                await asyncio.sleep(0.05)
    finally:
        await opened.close()
