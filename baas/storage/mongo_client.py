"""The connection to a replica set: time-outs on everything, errors in the engine's own terms, reads
that are repeated while a new primary is found."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from bson import Int64, Timestamp
from bson.errors import BSONError
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from baas.storage.engine import EngineCorrupt, EngineUnavailable, StorageError
from baas.storage.mongo_lease import Lease
from baas.storage.mongo_wire import Document, Session, Wire, new_session_id

T = TypeVar("T")

# Whoever waits for a connection of the pool may starve; fewer operations than connections never do.
POOL_CONNECTIONS = 64
OPERATIONS_MAX = 56
# One answer of a server. Counting or removing much gets longer, see `longer`.
ANSWER_SECONDS = 5.0
SLOW_SECONDS = 30.0
BATCH_ROWS = 10_000  # one answer holds 16 MiB at most, whatever is asked for
MAJORITY = WriteConcern("majority", j=True)

_WRITE_CONFLICT = 112
_DUPLICATE_KEY = 11000
_NO_ROOM = {365, 388}  # TemporarilyUnavailable, TransactionTooLargeForCache
_TOO_OLD = {239, 246}  # SnapshotTooOld, SnapshotUnavailable
# What passes by itself when a primary steps down, shuts down, or was changed.
_PASSING = {6, 7, 24, 50, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
_PASSING |= {133, 43, 237}


def is_conflict(error: PyMongoError) -> bool:
    """Another transaction holds or has changed what this one wrote."""
    return isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT


class ConflictWithNobody(OperationFailure):
    """A conflict over a row of a database whose head this transaction holds, as whoever else
    commits there would have to: the server has ended it for want of room in its cache."""


def is_without_room(error: PyMongoError) -> bool:
    """What a transaction has written does not fit into the server's cache, from which it can go
    only when it is committed. MongoDB 6.0 calls that a conflict, too, and does not always say of
    which kind."""
    if not isinstance(error, OperationFailure):
        return False
    if isinstance(error, ConflictWithNobody):
        return True
    return error.code in _NO_ROOM or (is_conflict(error) and "cache full" in str(error).lower())


def is_duplicate(error: PyMongoError) -> bool:
    """A row that was to be new exists already."""
    return isinstance(error, OperationFailure) and error.code == _DUPLICATE_KEY


def is_passing(error: PyMongoError) -> bool:
    """Whether the same call may go through a little later: the primary was lost or changed."""
    if isinstance(error, ConnectionFailure | ExecutionTimeout):
        return True
    return isinstance(error, OperationFailure) and error.code in _PASSING


def as_storage_error(error: PyMongoError | BSONError) -> StorageError:
    text = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, OperationFailure):
        if error.code in _TOO_OLD:
            return EngineUnavailable("the snapshot was held for too long; read in smaller steps")
        if is_duplicate(error):
            return EngineCorrupt(f"a row that was to be new exists already: {text}")
    if isinstance(error, DocumentTooLarge):
        return EngineUnavailable(f"MongoDB takes no document of that size: {text}")
    if isinstance(error, BSONError):
        return EngineCorrupt(text)
    return EngineUnavailable(text)


class _Stale(AutoReconnect):
    """A server that is primary no longer, and does not know it yet, answered."""


def _count_cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class Deadline:
    """How long one call of an engine may go on trying."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._end = self._start + seconds
        self._pause = 0.002

    @property
    def elapsed_seconds(self) -> float:
        return self._loop.time() - self._start

    @property
    def left_seconds(self) -> float:
        return self._end - self._loop.time()

    @property
    def is_over(self) -> bool:
        return self.left_seconds <= 0

    async def pause(self) -> None:
        """Waits before another try, longer each time, up to a quarter of a second."""
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, 0.25)


class Answer(NamedTuple):
    """`time` is the instant of which the rows are, where it was asked for. `is_cut`: there are
    more."""

    rows: list[Document]
    time: Any
    is_cut: bool


class _Readers:
    """Sessions of reads, each used by one at a time: so what a read that was given up has left open
    on the server, a cursor whose number nobody has heard, can be ended. It would stay for ten
    minutes."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._idle: list[Document] = []
        self._abandoned: list[Document] = []
        self._ending: asyncio.Task[None] | None = None

    def take(self) -> Document:
        return self._idle.pop() if self._idle else new_session_id(os.urandom(16))

    def give_back(self, reader: Document) -> None:
        self._idle.append(reader)

    def abandon(self, reader: Document) -> None:
        self._abandoned.append(reader)
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait([self._ending])

    async def _end(self) -> None:
        """By one command at a time. Where it fails the server ends them by itself."""
        try:
            while self._abandoned:
                ended, self._abandoned = self._abandoned, []
                with suppress(PyMongoError):
                    await self._wire.call({"killSessions": ended}, ANSWER_SECONDS)
                    self._idle += ended
        finally:
            self._ending = None


class MongoConnection:
    """One client for all databases of a server. Safe to use from one event loop."""

    def __init__(self, uri: str, database: str, *, timeout_seconds: float) -> None:
        milliseconds = int(ANSWER_SECONDS * 1_000)
        self.timeout_seconds = timeout_seconds
        self.is_closed = False
        try:
            self._client: AsyncMongoClient[Document] = AsyncMongoClient(
                uri,
                appname="baas",
                maxPoolSize=POOL_CONNECTIONS,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                waitQueueTimeoutMS=milliseconds,
                heartbeatFrequencyMS=2_000,
                retryReads=False,
                retryWrites=False,
                readPreference="primary",
            )
            self.database: AsyncDatabase[Document] = self._client.get_database(
                database, write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
            )
        except (PyMongoError, ValueError) as error:
            # The text may hold the password of the URI's user.
            raise EngineUnavailable(f"the MongoDB URI is not valid: {_describe(error)}") from None
        self._wire = Wire(self._client, database)
        self._sessions: list[Session] = []  # that nobody uses, and that have nothing open
        self._operations = asyncio.Semaphore(OPERATIONS_MAX)
        self._readers = _Readers(self._wire)
        self._seen = Timestamp(0, 0)  # no later read may be older
        self.lease = Lease(self._confirm)

    async def close(self) -> None:
        self.is_closed = True
        await self._readers.close()
        await self.lease.close()
        await self._client.close()
        await self._wire.close()

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """A place among those that use connections. Turns errors into the engine's own."""
        if self.is_closed:
            raise EngineUnavailable("the store is closed")
        await self._take_place()
        try:
            yield
        except (PyMongoError, BSONError) as error:
            raise as_storage_error(error) from error
        finally:
            self._operations.release()

    async def _take_place(self) -> None:
        """Those that have one may be waiting for a primary, all of them."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._operations.acquire()
        except TimeoutError as error:
            raise EngineUnavailable("all connections to the store are in use") from error

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """For transactions. Used again, unless something of it may be open on a server."""
        session = self._sessions.pop() if self._sessions else Session(os.urandom(16))
        try:
            yield session
        finally:
            if not session.is_open:
                self._sessions.append(session)

    async def read(
        self, command: Document, *, is_slow: bool = False, bytes_max: int | None = None
    ) -> list[Document]:
        """All rows that a find or aggregate answers, or the first of them that have `bytes_max` of
        `data`. Repeated until the time is over while there is no primary."""
        seconds = SLOW_SECONDS if is_slow else ANSWER_SECONDS
        answer = await self.repeat(lambda: self._read_once(command, seconds, bytes_max=bytes_max))
        return answer.rows

    async def read_latest(self, command: Document, *, bytes_max: int | None = None) -> Answer:
        """What a find or aggregate answers as of one instant, which is not before what was read or
        committed here, or acknowledged by anybody, until now. `bytes_max` as in `read`."""
        command["readConcern"] = {"level": "snapshot"}

        async def call() -> Answer:
            await self.lease.hold()
            answer = await self._read_once(command, ANSWER_SECONDS, bytes_max=bytes_max)
            self.note_time(answer.time)
            return answer

        return await self.repeat(call)

    def note_time(self, time: Timestamp) -> None:
        """Raises what is repeated if the time is before one that was noted."""
        if time < self._seen:
            raise _Stale(f"the primary is at {time}, and {self._seen} was seen")
        self._seen = time

    async def repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls until it goes through or the time is over, while there is no primary."""
        deadline = Deadline(self.timeout_seconds)
        cancellations = _count_cancellations()
        while True:
            async with self.operation():
                try:
                    result = await call()
                    if _count_cancellations() > cancellations:
                        raise asyncio.CancelledError  # the driver swallows some
                    return result
                except PyMongoError as error:
                    if _count_cancellations() > cancellations:
                        raise asyncio.CancelledError from error
                    may_pass = is_passing(error) or is_conflict(error)
                    if not may_pass or deadline.is_over or self.is_closed:
                        raise
            await deadline.pause()

    async def read_in(self, session: Session, command: Document) -> list[Document]:
        """All rows that a find answers, as a part of a transaction."""
        answer = await self._read_all(command, session.seconds_left, session)
        return answer.rows

    async def _read_once(
        self, command: Document, seconds: float, *, bytes_max: int | None = None
    ) -> Answer:
        reader = self._readers.take()
        try:
            found = await self._read_all(command | {"lsid": reader}, seconds, bytes_max=bytes_max)
        except OperationFailure:
            self._readers.give_back(reader)  # the server has ended it
            raise
        except BaseException:
            self._readers.abandon(reader)
            raise
        if found.is_cut:
            self._readers.abandon(reader)
        else:
            self._readers.give_back(reader)
        return found

    async def _read_all(
        self,
        command: Document,
        seconds: float,
        session: Session | None = None,
        *,
        bytes_max: int | None = None,
    ) -> Answer:
        deadline = asyncio.get_running_loop().time() + seconds
        cursor = (await self._send(command, seconds, session))["cursor"]
        time = cursor.get("atClusterTime")
        rows: list[Document] = cursor["firstBatch"]
        size = 0
        while cursor_id := cursor["id"]:
            if bytes_max is not None:
                batch = cursor.get("nextBatch", rows)
                size += sum([len(row.get("data", "")) for row in batch])
                if size >= bytes_max:
                    return Answer(rows, time, True)
            more = {"getMore": Int64(cursor_id), "collection": cursor["ns"].partition(".")[2]}
            if "lsid" in command:
                more["lsid"] = command["lsid"]
            left = deadline - asyncio.get_running_loop().time()
            cursor = (await self._send(more, left, session))["cursor"]
            rows += cursor["nextBatch"]
        return Answer(rows, time, False)

    async def write(
        self, command: Document, *, is_slow: bool = False, concern: Document = MAJORITY.document
    ) -> Document:
        """A write outside of transactions that may be repeated without harm; it is, until the time
        is over, while there is no primary."""
        seconds = SLOW_SECONDS if is_slow else ANSWER_SECONDS
        return await self.repeat(lambda: self.write_once(command, seconds, concern=concern))

    async def write_once(
        self, command: Document, seconds: float = ANSWER_SECONDS, *, concern: Document
    ) -> Document:
        """As `write`, for who repeats it by himself."""
        return await self._send(command | {"writeConcern": concern}, seconds)

    async def write_in(self, session: Session, command: Document) -> Document:
        """One write, once, as a part of a transaction."""
        return await self._send(command, session.seconds_left, session)

    async def write_all_in(
        self, session: Session, commands: Sequence[Document]
    ) -> Sequence[Document]:
        """The answers to writes of a transaction that are sent together, in order. They are
        unchecked: where one has failed the server has refused those after it."""
        marked = [session.mark(command) for command in commands]
        return await self._wire.call_all(marked, session.seconds_left)

    async def end_transaction(self, session: Session, command: str, seconds: float) -> Document:
        """Asks once for `commitTransaction`, to a majority, or for `abortTransaction`."""
        asked = session.mark({command: 1, "writeConcern": MAJORITY.document})
        answer = await self._wire.call(asked, seconds, database="admin")
        session.is_open = False
        return answer

    async def _send(
        self, command: Document, seconds: float, session: Session | None = None
    ) -> Document:
        marked = command if session is None else session.mark(command)
        return await self._wire.call(marked, seconds)

    async def _confirm(self) -> None:
        """For the lease: a row that nobody reads, written to a majority."""
        update = {"q": {"_id": "lease"}, "u": {"$inc": {"renewed": 1}}, "upsert": True}
        command = {"update": "store", "updates": [update], "writeConcern": MAJORITY.document}
        answer = await self._send(command, ANSWER_SECONDS)
        self.note_time(answer["operationTime"])

    async def kill_idle_transactions(self, seconds: float) -> int:
        """Ends transactions of servers like this one that have done nothing for so long: whoever
        began them was killed or cut off, and the locks would stay for a minute."""
        admin = self._client.admin
        pipeline: list[Document] = [
            {"$currentOp": {"idleSessions": True}},
            {
                "$match": {
                    "appName": "baas",
                    "transaction.timeInactiveMicros": {"$gte": int(seconds * 1e6)},
                    "active": False,
                }
            },
        ]
        cursor = await admin.aggregate(pipeline)
        sessions = [{"id": row["lsid"]["id"]} for row in await cursor.to_list()]
        if sessions:
            await admin.command({"killSessions": sessions})
        return len(sessions)


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigurationError) else type(error).__name__
