"""How many commands an operation costs on MongoDB: each is a round trip. The figure that no other
program on the machine can disturb."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.services import restores
from baas.services.restores import Restore, next_restores
from baas.settings import Settings
from baas.storage.mongo_batches import BATCH_ROWS_MAX, BATCHES_AT_ONCE
from baas.storage.mongo_store import MongoStore
from baas.storage.mongo_wire import Wire
from baas.storage.store import StoreName

SMALL = CollectionPath(("small",))
SIZE = 120
PAGE = 20
BY_INDEX = {"aggregate heads": 1, "find documents": 1}
COMMIT = {"commitTransaction": 1, "insert log": 1, "update heads": 1}


@dataclass
class Sent:
    """Commands by name and collection, but for those that go by themselves."""

    commands: Counter[str] = field(default_factory=Counter)

    def note(self, command: dict[str, Any]) -> None:
        name = next(iter(command))
        of = command[name]
        if name == "getMore" or of == "store":  # the lease, twice a second
            return
        self.commands[name if name == "commitTransaction" else f"{name} {of}"] += 1


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    sent = Sent()
    call_all = Wire.call_all

    async def noted(
        wire: Wire, commands: Sequence[dict[str, Any]], *args: Any, **options: Any
    ) -> Any:
        for command in commands:
            sent.note(command)
        return await call_all(wire, commands, *args, **options)

    monkeypatch.setattr(Wire, "call_all", noted)
    return sent


@pytest.fixture
async def database(sent: Sent, mongodb_uri: str) -> AsyncIterator[Database]:
    """With documents, an index on `group`, and nothing going on."""
    clock = SystemClock()
    store = MongoStore(mongodb_uri, "baas_tests", clock)
    project = f"test-{clock.random_bytes(8).hex()}"
    engine = await store.open(StoreName(project, "commands"), create=True)
    opened = await Database.open(DatabaseName(project), engine, clock=clock, settings=Settings())
    await commit(opened, *[set_document(number) for number in range(SIZE)])
    by_group = IndexDefinition(SMALL.id, group=False, fields=(IndexField(FieldPath(("group",))),))
    await opened.index_keeper.build(by_group)
    await opened.index_keeper.wait()
    await opened.catch_up()
    yield opened
    await opened.close()
    await store.delete_project(project)
    await store.close()


def path(number: int) -> DocumentPath:
    return SMALL.document(f"n{number:04}")


def set_document(number: int, text: str = "") -> SetWrite:
    return SetWrite(path(number), {"number": number, "group": number % 6, "text": text})


def in_group(group: int) -> Query:
    where = FieldFilter(FieldPath(("group",)), Operator.EQUAL, group)
    return Query(SMALL, where=where, limit=PAGE)


async def commit(database: Database, *writes: Write, fresh: bool = False) -> None:
    async def body(transaction: Transaction) -> None:
        if fresh:
            transaction.assume_missing([write.path for write in writes])
        await transaction.write(writes)

    now = Timestamp(SystemClock().now_microseconds())
    await database.run_transaction(body, request_time=now)


async def read_page(database: Database, query: Query) -> list[str]:
    async with database.snapshot(query) as snapshot:
        found, is_cut = await snapshot.read_first(query, bytes_max=10_000_000)
    assert not is_cut
    return [document.path.id for document in found]


async def count(sent: Sent, call: Awaitable[Any]) -> dict[str, int]:
    sent.commands.clear()
    await call
    return dict(sent.commands)


async def test_get_is_one_command(database: Database, sent: Sent) -> None:
    assert await count(sent, database.get_documents([path(1)])) == {"find documents": 1}


async def test_first_page_of_a_list_is_one_command(database: Database, sent: Sent) -> None:
    query = Query(SMALL, limit=PAGE)
    assert await count(sent, read_page(database, query)) == {"aggregate heads": 1}
    assert await read_page(database, query) == [path(number).id for number in range(PAGE)]


async def test_first_page_by_an_index_is_two_commands(database: Database, sent: Sent) -> None:
    assert await count(sent, read_page(database, in_group(3))) == BY_INDEX
    assert await read_page(database, in_group(3)) == [path(n).id for n in range(3, SIZE, 6)]


async def test_lists_that_are_asked_for_at_once_share_commands(
    database: Database, sent: Sent
) -> None:
    pages = [read_page(database, in_group(number % 6)) for number in range(300)]
    assert await count(sent, asyncio.gather(*pages)) == BY_INDEX
    found = await asyncio.gather(*[read_page(database, in_group(number)) for number in range(6)])
    for group, ids in enumerate(found):
        assert ids == [path(number).id for number in range(group, SIZE, 6)]


async def test_commands_of_many_lists_are_bounded(database: Database, sent: Sent) -> None:
    limits = range(1, 101)
    pages = [read_page(database, Query(SMALL, limit=limit)) for limit in limits]
    told = await count(sent, asyncio.gather(*pages))
    least = -(-sum(limits) // BATCH_ROWS_MAX)
    assert least <= told["aggregate heads"] <= least + BATCHES_AT_ONCE
    assert set(told) == {"aggregate heads"}


async def test_create_is_a_transaction_of_five_commands_and_no_read(
    database: Database, sent: Sent
) -> None:
    told = await count(sent, commit(database, set_document(SIZE + 1), fresh=True))
    assert told == COMMIT | {"insert documents": 1, "insert entries": 1}


async def test_update_is_a_read_and_a_transaction_of_five_commands(
    database: Database, sent: Sent
) -> None:
    told = await count(sent, commit(database, set_document(1, "changed")))
    assert told == COMMIT | {"find documents": 1, "update documents": 1, "insert history": 1}


async def test_delete_is_a_read_and_a_transaction_of_six_commands(
    database: Database, sent: Sent
) -> None:
    told = await count(sent, commit(database, DeleteWrite(path(1))))
    assert told == COMMIT | {
        "find documents": 1,
        "delete documents": 1,
        "delete entries": 1,
        "insert history": 1,
    }


async def test_writes_at_once_share_their_commands(database: Database, sent: Sent) -> None:
    """The first one goes alone; those that come meanwhile are one group."""
    calls = [commit(database, DeleteWrite(path(number))) for number in range(SIZE)]
    told = await count(sent, asyncio.gather(*calls))
    assert all(number <= BATCHES_AT_ONCE for number in told.values()), told


async def test_a_restore_of_deletions_asks_for_many_of_them_at_once(
    database: Database, sent: Sent
) -> None:
    before = database.version
    await commit(database, *[DeleteWrite(path(number)) for number in range(SIZE)])
    wanted = Restore(SMALL, is_recursive=False, to=before, until=database.version)
    sent.commands.clear()
    step = await next_restores(database, None, wanted)
    assert len(step.paths) == SIZE
    asked = -(-SIZE // restores._IMAGES)
    assert sent.commands["aggregate history"] == asked
    assert sent.commands["find history"] <= 2 * asked
    assert sum(sent.commands.values()) <= 8 * asked < SIZE
