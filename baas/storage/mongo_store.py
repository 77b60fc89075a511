"""All databases of a server, or of several, in one MongoDB database. See DESIGN.md."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from pymongo import ReturnDocument
from pymongo.errors import CollectionInvalid, OperationFailure

from baas.clock import Clock
from baas.storage.engine import EngineUnavailable, StorageError
from baas.storage.mongo import MongoEngine
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_layout import COLLECTIONS, FORMAT, INDEXES, Row, Rows, head_id
from baas.storage.mongo_shared import Shared
from baas.storage.mongo_transactions import HeadMoved
from baas.storage.mongo_wire import Document, Session
from baas.storage.store import DEFAULT_DATABASE, StoreForeign, StoreMissing, StoreName

OWN = StoreName(None, None)  # the server's own database
SERVER_VERSION_MIN = (6, 0)
# Elections take about twelve, by the defaults of MongoDB; where the old primary hangs instead of
# ending, the others go on fetching from it, and a majority is back after up to twenty-two.
TIMEOUT_SECONDS = 30.0
_SWEEP_ROWS = 5_000
_SWEEP_END_SECONDS = 1.0  # that closing waits for what is being swept
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NAMESPACE_EXISTS = 48


async def _know_kinds(connection: MongoConnection) -> None:
    """From format 2 on the records of indexes tell the kind of each field: servers from before
    would take those that they do not know for plain ones. What is stored is read as it is."""


async def _know_fences(connection: MongoConnection) -> None:
    """From format 3 on heads may have a fence, which servers from before would not see."""


async def _know_log_bytes(connection: MongoConnection) -> None:
    """From format 4 on heads count the bytes of the log, of which servers from before would take
    none away. What there is already is not counted, and goes when it is old."""


async def _know_small_objects(connection: MongoConnection) -> None:
    """From format 5 on small objects in the folder of a node share a file, in which servers from
    before would not look."""


# By the format that each one leads away from, to the next one. Each may be broken off at any place
# and begun again, by several servers at once, so what it does twice changes nothing.
MIGRATIONS: dict[int, Callable[[MongoConnection], Awaitable[None]]] = {
    1: _know_kinds,
    2: _know_fences,
    3: _know_log_bytes,
    4: _know_small_objects,
}

_log = structlog.get_logger("baas.mongo")


class MongoStore:
    """A Store on a replica set. Connects with the first call; one client serves all databases."""

    def __init__(
        self, uri: str, database: str, clock: Clock, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._uri = uri
        self._database = database
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._shared: Shared | None = None
        self._connecting = asyncio.Lock()
        self._sweeping: asyncio.Task[None] | None = None
        self._is_closed = False
        self._server: str | None = None  # whose databases these have to be
        self._is_home = False  # of a server, whose own database is here

    @property
    def is_shared(self) -> bool:
        return True

    @property
    def is_near(self) -> bool:
        return False

    async def claim(self, server: str) -> None:
        """Says so in a row of the collection `store`, which older servers did not have: what they
        left is of the server whose own database is there."""
        self._server = server
        if self._shared is not None:
            await self._check_owner(self._shared.connection)

    async def open(self, name: StoreName, *, create: bool) -> MongoEngine:
        shared = await self._connect()
        self._is_home = self._is_home or name == OWN
        row_id = head_id(name)
        head = await self._find_head(shared, row_id)
        if head is None:
            if not create:
                raise StoreMissing(f"there is no database `{name}`")
            if name == OWN and await find_owner(shared.connection) is not None:
                raise self._foreign()
            await self._create_head(shared, name)
            head = await self._find_head(shared, row_id)
            if head is None:
                raise EngineUnavailable(f"database `{name}` was deleted as it was made")
        return MongoEngine(shared, row_id, head)

    async def list_databases(self, project: str) -> list[str]:
        shared = await self._connect()
        heads = await _find_heads(shared.connection, project)
        names = sorted([head["database"] for head in heads if head["database"] is not None])
        first = [DEFAULT_DATABASE] if DEFAULT_DATABASE in names else []
        return first + [name for name in names if name != DEFAULT_DATABASE]

    async def delete_project(self, project: str) -> None:
        """With the heads the databases are gone at once; their rows go in steps."""
        shared = await self._connect()
        for head in await _find_heads(shared.connection, project):
            await _doom(shared, head)
        await self._sweep(shared.connection)

    async def close(self) -> None:
        self._is_closed = True
        shared, self._shared = self._shared, None
        if shared is None:
            return
        if self._sweeping is not None:
            # Cancelled while it connects, the driver would leave the socket open.
            await asyncio.wait([self._sweeping], timeout=_SWEEP_END_SECONDS)
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await shared.watcher.close()
        await shared.connection.close()

    async def _connect(self) -> Shared:
        if self._is_closed:
            raise EngineUnavailable("the store is closed")
        if self._shared is not None:
            return self._shared
        async with self._connecting:
            if self._shared is None:
                connection = MongoConnection(
                    self._uri, self._database, timeout_seconds=self._timeout_seconds
                )
                try:
                    await connection.repeat(lambda: _prepare(connection))
                    if self._server is not None:
                        await self._check_owner(connection)
                    if self._is_closed:  # meanwhile
                        raise EngineUnavailable("the store is closed")
                except BaseException:
                    await connection.close()
                    raise
                self._shared = Shared.make(connection, self._clock)
                self._sweeping = asyncio.create_task(self._sweep_quietly(connection))
            return self._shared

    async def _check_owner(self, connection: MongoConnection) -> None:
        assert self._server is not None
        owner = await find_owner(connection)
        if owner is None:
            if not self._is_home and await connection.read(_find_head_row(head_id(OWN))):
                raise self._foreign()
            owner = await take_over(connection, self._server)
        if owner != self._server:
            raise self._foreign()

    def _foreign(self) -> StoreForeign:
        return StoreForeign(
            f"the MongoDB database `{self._database}` holds the databases of another server; set"
            " `mongodb_database` to a name that only this server uses"
        )

    async def _find_head(self, shared: Shared, row_id: str) -> Row | None:
        found, _ = await shared.heads.get([row_id])
        return found.get(row_id)

    async def _create_head(self, shared: Shared, name: StoreName) -> None:
        """Does nothing where there is one, made by another at the same time."""
        head = {
            "project": name.project,
            "database": name.database,
            "number": await _take_number(shared.connection),
            "incarnation": self._clock.random_bytes(12).hex(),
            "version": 0,
            "oldest": 0,
            "history_bytes": 0,
            "log_bytes": 0,
            "request_bytes": 0,
        }
        update = {"q": {"_id": head_id(name)}, "u": {"$setOnInsert": head}, "upsert": True}
        await shared.connection.write({"update": "heads", "updates": [update]})

    async def _sweep_quietly(self, connection: MongoConnection) -> None:
        try:
            await self._sweep(connection)
        except StorageError as error:
            _log.warning("rows of deleted databases are left", error=str(error))

    async def _sweep(self, connection: MongoConnection) -> None:
        """Removes what deleted databases left, be it after a crash. Several may do it at once."""
        while doomed := await connection.read({"find": "doomed", "limit": 1}):
            number = doomed[0]["_id"]
            for collection in ("documents", "entries", "history", "log"):
                await _delete_rows(connection, collection, Rows(number))
            deletion = {"q": {"_id": number}, "limit": 1}
            await connection.write({"delete": "doomed", "deletes": [deletion]})


async def _prepare(connection: MongoConnection) -> None:
    """Makes the collections where they are missing. Raises EngineUnavailable for a server that
    cannot do what is needed, and for a newer format."""
    database = connection.database
    hello = await database.command("hello")
    if "setName" not in hello:
        raise EngineUnavailable(
            "MongoDB runs alone; transactions need a replica set, if only of one member"
        )
    version = (await database.command("buildInfo"))["versionArray"]
    if tuple(version[:2]) < SERVER_VERSION_MIN:
        raise EngineUnavailable(f"MongoDB {version[0]}.{version[1]} is too old: 6.0 is needed")
    found = await database.store.find_one_and_update(
        {"_id": "format"},
        {"$setOnInsert": {"format": FORMAT}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    assert found is not None
    if not 1 <= found["format"] <= FORMAT:
        raise EngineUnavailable(
            f"the data has format {found['format']}, and this server reads formats up to {FORMAT}:"
            " start the newer server that wrote it, or restore a backup from before"
        )
    for number in range(found["format"], FORMAT):
        await MIGRATIONS[number](connection)
        await database.store.update_one(
            {"_id": "format", "format": number}, {"$set": {"format": number + 1}}
        )
    existing = await database.list_collection_names()
    for collection in COLLECTIONS:
        if collection not in existing:
            await _create_collection(connection, collection)
    for collection, index in INDEXES:
        await database.command({"createIndexes": collection, "indexes": [index]})


async def find_owner(connection: MongoConnection) -> str | None:
    """The server whose databases these are, if that was said."""
    command = {"find": "store", "filter": {"_id": "server"}, "readConcern": {"level": "majority"}}
    rows = await connection.read(command)
    return rows[0]["server"] if rows else None


async def take_over(connection: MongoConnection, server: str) -> str:
    """Says whose they are, unless that was said; whose they are now."""
    row = await connection.repeat(
        lambda: connection.database.store.find_one_and_update(
            {"_id": "server"},
            {"$setOnInsert": {"server": server}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    )
    assert row is not None
    return str(row["server"])


def _find_head_row(row_id: str) -> Document:
    return {"find": "heads", "filter": {"_id": row_id}, "readConcern": {"level": "majority"}}


async def _create_collection(connection: MongoConnection, collection: str) -> None:
    try:
        await connection.database.create_collection(collection)
    except CollectionInvalid:
        pass
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # another server was quicker
            raise


async def _take_number(connection: MongoConnection) -> str:
    row = await connection.repeat(
        lambda: connection.database.store.find_one_and_update(
            {"_id": "numbers"},
            {"$inc": {"last": 1}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    )
    assert row is not None
    number: int = row["last"]
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


async def _find_heads(connection: MongoConnection, project: str) -> list[Document]:
    return await connection.read(
        {
            "find": "heads",
            "filter": {"project": project},
            "readConcern": {"level": "majority"},
        }
    )


async def _doom(shared: Shared, head: Document) -> None:
    """Removes a head, and remembers in the same step that its rows are to go."""
    write_in = shared.connection.write_in
    number = head["number"]

    async def body(session: Session) -> None:
        query = {"_id": head["_id"], "number": number}
        deletion = {"delete": "heads", "deletes": [{"q": query, "limit": 1}]}
        answer = await write_in(session, deletion)
        if answer["n"] != 1:
            raise HeadMoved
        await write_in(session, {"insert": "doomed", "documents": [{"_id": number}]})

    with suppress(HeadMoved):  # deleted by another
        await shared.transactions.run_repeatable(body)


async def _delete_rows(connection: MongoConnection, collection: str, rows: Rows) -> None:
    while True:
        bound = await connection.read(
            {
                "find": collection,
                "filter": {"_id": rows.all()},
                "sort": {"_id": 1},
                "skip": _SWEEP_ROWS,
                "limit": 1,
                "projection": {"_id": 1},
            }
        )
        span = rows.all() | ({"$lt": bound[0]["_id"]} if bound else {})
        deletion = {"q": {"_id": span}, "limit": 0}
        await connection.write({"delete": collection, "deletes": [deletion]}, is_slow=True)
        if not bound:
            return
