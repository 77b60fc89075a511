"""The MongoDB engine: one database among many on a replica set, shared by any number of servers.
See DESIGN.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pymongo.errors import OperationFailure

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    BackfillRow,
    CommitGroup,
    EngineConflict,
    EngineCorrupt,
    EngineUnavailable,
    FirstScan,
    Head,
    KeyRange,
    LogRecord,
    Page,
    RequestAnswer,
)
from baas.storage.mongo_batches import OPENING_ROWS_MAX
from baas.storage.mongo_claim import TurnClaim
from baas.storage.mongo_client import is_conflict, is_duplicate, is_without_room
from baas.storage.mongo_head import HeadRow
from baas.storage.mongo_layout import Row, Rows
from baas.storage.mongo_lines import MongoLines
from baas.storage.mongo_reads import MongoSnapshot
from baas.storage.mongo_requests import add_requests, forget_requests, keep_requests
from baas.storage.mongo_shared import Shared
from baas.storage.mongo_transactions import HeadMoved, Repeat
from baas.storage.mongo_wire import Document, Session
from baas.storage.mongo_writes import (
    GroupCommands,
    empty_history,
    fill_entries,
    run_group,
)
from baas.storage.store import StoreMissing

T = TypeVar("T")

_MAJORITY_READ = {"level": "majority"}
_ALL = KeyRange(b"", None)
# After another server was met, the head goes first for so long: who is outrun is in nobody's way
# then. Locks of what it wrote already would end the other one's transactions.
OTHERS_SECONDS = 5.0
ERASED_TOGETHER = 20  # documents, each with all that it was within retention
_FORGOTTEN_ROWS_MAX = 100  # at a time; each may hold as many answers as a group has commits


class _FarEngine:
    """What an engine behind a network is."""

    is_shared = True
    is_near = False

    def count_foreign(self) -> int:
        return 0


class MongoEngine(_FarEngine):
    """A StorageEngine on one database of a store. Its writes follow each other; those of several
    servers are put in order by the head, which every one of them changes first."""

    def __init__(self, shared: Shared, head_id: str, head: Row) -> None:
        self._shared = shared
        self._connection = shared.connection
        self._head = HeadRow(shared, head_id, head)
        self._rows = Rows(self._head.number)
        self.lines = MongoLines(self._connection, self._head.number)
        self._others_until = 0.0  # by the loop's time, another server is taken to commit here, too
        self._claim = TurnClaim(shared, self._head)
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[Any]] = set()
        self._watches: set[Callable[[], None]] = set()

    def watch(self, notify: Callable[[], None]) -> Callable[[], None]:
        if self._head.is_closed:
            return lambda: None
        stop = self._shared.watcher.watch(self._head.id, self, notify)
        self._watches.add(stop)

        def end() -> None:
            self._watches.discard(stop)
            stop()

        return end

    async def read_head(self) -> Head:
        head = await self._head.read()
        return Head(self._head.incarnation, head["version"], head.get("fence"))

    async def read_oldest_version(self) -> int:
        return int((await self._head.read())["oldest"])

    async def read_history_bytes(self) -> int:
        return int((await self._head.read())["history_bytes"])

    async def read_log_bytes(self) -> int:
        return int((await self._head.read()).get("log_bytes", 0))

    async def read_request_bytes(self) -> int:
        return int((await self._head.read()).get("request_bytes", 0))

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        self._head.check_open()
        if not keys:
            return []
        ids = [self._rows.document(key) for key in keys]
        found, _ = await self._shared.documents.get(ids)
        return [found.get(row_id) for row_id in ids]

    def get_documents_nowait(self, keys: Sequence[bytes]) -> list[StoredDocument | None] | None:
        return None

    def read_page_nowait(self, scan: FirstScan) -> Page | None:
        return None  # every read is a round trip

    async def open_snapshot(self, first: FirstScan | None = None) -> MongoSnapshot:
        self._head.check_open()
        connection, rows = self._connection, self._rows
        if first is None or not 0 < first.limit <= OPENING_ROWS_MAX:
            found, time = await self._shared.heads.get([self._head.id])
            return MongoSnapshot(connection, rows, self._head.check(found.get(self._head.id)), time)
        opened = await self._shared.openings.open(self._head.id, rows.scan(first))
        head = self._head.check(opened.head)
        known = None if opened.found is None else (first, opened.found)
        return MongoSnapshot(connection, rows, head, opened.time, known)

    async def commit(self, group: CommitGroup) -> Sequence[LogRecord]:
        await self._write(lambda: self._commit(group))
        self._claim.may_stand = False
        self._shared.watcher.note_commit(self._head.id, self)
        return ()

    async def claim_turn(self, seconds: float) -> None:
        """A claim is judged by the clock of the primary, and ended by the next commit."""
        self._head.check_open()
        await self._claim.make(seconds)

    def end_turn(self) -> None:
        if self._claim.may_stand and not self._head.is_closed:
            self._claim.may_stand = False
            self._begin(self._claim.drop())

    async def fence(self, token: str) -> int:
        return await self._write(
            lambda: self._transact(lambda session: self._head.fence(session, token))
        )

    async def unfence(self, token: str) -> bool:
        return await self._write(
            lambda: self._transact(lambda session: self._head.unfence(session, token))
        )

    async def backfill(self, rows: Sequence[BackfillRow]) -> int:
        self._head.check_open()
        if not rows:
            return 0
        return await self._write(lambda: self._transact(lambda session: self._fill(session, rows)))

    async def drop_index(self, index: int, *, limit: int) -> int:
        self._head.check_open()
        found = await self._connection.read(
            {
                "find": "entries",
                "filter": {"_id": self._rows.entry_span(index, _ALL)},
                "sort": {"_id": 1},
                "limit": limit,
                "projection": {"_id": 1},
                "readConcern": _MAJORITY_READ,
            }
        )
        if found:
            span = {"$gte": found[0]["_id"], "$lte": found[-1]["_id"]}
            deletion = {"q": {"_id": span}, "limit": 0}
            await self._connection.write({"delete": "entries", "deletes": [deletion]}, is_slow=True)
        return len(found)

    async def find_request(self, request_id: str) -> tuple[int, bytes] | None:
        self._head.check_open()
        name = self._rows.request(request_id)
        found, _ = await self._shared.requests.get([name])
        row = found.get(name)
        if row is None:
            return None
        for commit in row["commits"]:
            if commit.get("request") == request_id:
                return commit["version"], bytes(commit["response"])
        raise EngineCorrupt(f"the log names request `{request_id}` and does not hold it")

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        async def add(session: Session) -> int:
            await self._head.touch(session)
            count, size = await add_requests(self._connection, self._rows, session, answers)
            if count:
                await self._head.change(session, {"$inc": {"request_bytes": size}})
            return count

        return await self._write(lambda: self._transact(add))

    async def erase(self, keys: Sequence[bytes]) -> list[int]:
        """How long MongoDB keeps deleted bytes in its files and its oplog is its own affair. Each
        transaction is of ERASED_TOGETHER documents."""
        ids = [self._rows.document(key) for key in keys]
        counts: list[int] = []
        for start in range(0, len(ids), ERASED_TOGETHER):
            counts += await self._erase_some(ids[start : start + ERASED_TOGETHER])
        return counts

    async def scrub(self, *, rewrite: bool = False) -> bool:
        return True

    async def note_traces(self) -> None:
        """See `erase`."""

    async def _erase_some(self, row_ids: Sequence[str]) -> list[int]:
        return await self._write(
            lambda: self._transact(lambda session: self._erase(session, row_ids))
        )

    async def start_incarnation(self, incarnation: str) -> None:
        self._head.check_open()
        query = {"_id": self._head.id, "number": self._head.number}
        update = {"q": query, "u": {"$set": {"incarnation": incarnation}}}
        await self._connection.write({"update": "heads", "updates": [update]})
        self._head.incarnation = incarnation

    async def trim(self, before: int, *, limit: int, requests_before: int | None = None) -> int:
        requests = before if requests_before is None else min(before, requests_before)

        async def trim() -> int:
            if await self._is_trimmed(before, requests):
                return 0
            return await self._transact(
                lambda session: self._trim(session, before, requests, limit)
            )

        return await self._write(trim)

    async def forget_requests(self, *, limit: int) -> int:
        """A row holds the answers of a group of commits."""

        async def forget(session: Session) -> int:
            await self._head.touch(session)
            most = min(limit, _FORGOTTEN_ROWS_MAX)
            count, change = await forget_requests(
                self._connection, self._rows, session, self._head.id, most
            )
            if count:
                await self._head.change(session, change)
            return count

        return await self._write(lambda: self._transact(forget))

    async def close(self) -> None:
        """Waits for what is being written."""
        self._head.is_closed = True
        for stop in self._watches:
            stop()
        self._watches.clear()
        while self._writes:
            await asyncio.wait(self._writes)

    # Writes -----------------------------------------------------------------------------------

    async def _write(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """One after another, to the end even if whoever waits is cancelled."""
        self._head.check_open()
        return await asyncio.shield(self._begin(self._take_turn(call)))

    def _begin(self, write: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(write)
        self._writes.add(task)
        task.add_done_callback(self._note_written)
        return task

    async def _take_turn(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with _held(self._turn, self._connection.timeout_seconds):
            return await call()

    def _note_written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # the waiter may be gone

    async def _commit(self, group: CommitGroup) -> None:
        commit_id = self._head.fresh_id()
        commands = GroupCommands(self._rows, group, commit_id)
        version = group.commits[-1].version
        update = {
            "$set": {"version": version, "touched": self._head.touched(commit_id)},
            "$inc": {
                "history_bytes": commands.history_bytes,
                "log_bytes": commands.log_bytes,
                "request_bytes": commands.request_bytes,
            },
            "$unset": {"claim": ""},
        }
        expected = {
            "version": group.expected_version,
            "fence": None,
            **self._claim.others_have_none,
        }
        head = self._head.command(update, expected)
        loop = asyncio.get_running_loop()

        async def body(session: Session) -> None:
            first = loop.time() < self._others_until
            try:
                if not await run_group(self._connection, commands, head, session, head_first=first):
                    raise HeadMoved
            except OperationFailure as error:
                if is_conflict(error) and not is_without_room(error):
                    self._others_until = loop.time() + OTHERS_SECONDS
                if not is_duplicate(error) or commands.replaces_entries:
                    raise
                commands.replace_entries()
                raise Repeat from error

        async def was_written(session: Session) -> bool:
            await self._head.touch(session)
            command = {
                "find": "log",
                "filter": {"_id": self._rows.log(version)},
                "projection": {"commit": 1},
            }
            rows = await self._connection.read_in(session, command)
            return [row["commit"] for row in rows] == [commit_id]

        try:
            await self._shared.transactions.run_once(body, was_written, size=commands.bytes)
        except HeadMoved as error:
            self._others_until = loop.time() + OTHERS_SECONDS
            found = await self._head.read()
            if found.get("fence") is not None:
                raise self._head.fenced(found) from error
            version = found["version"]
            if version == group.expected_version:
                raise EngineConflict("another server has claimed the next commit") from error
            raise EngineConflict(
                f"the head is at {version}, not {group.expected_version}"
            ) from error

    async def _transact(self, body: Callable[[Session], Awaitable[T]]) -> T:
        try:
            return await self._shared.transactions.run_repeatable(body)
        except HeadMoved as error:
            raise StoreMissing("the database was deleted") from error

    async def _fill(self, session: Session, rows: Sequence[BackfillRow]) -> int:
        await self._head.touch(session)
        return await fill_entries(self._connection, self._rows, session, rows)

    async def _is_trimmed(self, before: int, requests_before: int) -> bool:
        """Whether there is nothing to forget, at the price of a few small reads."""
        if (await self._head.read())["oldest"] < before:
            return False
        for collection, span in self._rows.old_spans(before, requests_before):
            if await self._find_old(collection, span, 1):
                return False
        return True

    async def _find_old(
        self, collection: str, span: dict[str, str], limit: int, session: Session | None = None
    ) -> list[Document]:
        command: Document = {
            "find": collection,
            "filter": {"_id": span},
            "projection": {"bytes": 1, "path_bytes": 1, "answers": 1},
            "sort": {"_id": 1},
            "limit": limit,
        }
        if session is not None:
            return await self._connection.read_in(session, command)
        return await self._connection.read(command)

    async def _trim(self, session: Session, before: int, requests_before: int, limit: int) -> int:
        """Rows of history, then of log; a row of log holds the requests of its commits."""
        await self._head.touch(session, {"$max": {"oldest": before}})
        freed = logged = answers = 0
        deleted = 0
        for collection, where in self._rows.old_spans(before, requests_before):
            if deleted >= limit:
                break
            rows = await self._find_old(collection, where, limit - deleted, session)
            if not rows:
                continue
            deleted += len(rows)
            freed += sum(row.get("bytes", 0) for row in rows)
            span = {"$gte": rows[0]["_id"], "$lte": rows[-1]["_id"]}
            if collection == "log":
                logged += sum(row.get("path_bytes", 0) for row in rows)
                answers += sum(row.get("answers", 0) for row in rows)
                answers -= await keep_requests(
                    self._connection, self._rows, session, span, requests_before
                )
            deletion = {"q": {"_id": span}, "limit": 0}
            await self._connection.write_in(session, {"delete": collection, "deletes": [deletion]})
        if freed or logged or answers:
            change = {"history_bytes": -freed, "log_bytes": -logged, "request_bytes": -answers}
            await self._head.change(session, {"$inc": change})
        return deleted

    async def _erase(self, session: Session, row_ids: Sequence[str]) -> list[int]:
        await self._head.touch(session)
        counts, freed = await empty_history(self._connection, row_ids, session)
        if counts:
            await self._head.change(session, {"$inc": {"history_bytes": -freed}})
        return [counts.pop(row_id, 0) for row_id in row_ids]


@asynccontextmanager
async def _held(turn: asyncio.Lock, seconds: float) -> AsyncIterator[None]:
    """Those before may be waiting for a primary, each of them for as long as it may."""
    try:
        async with asyncio.timeout(seconds):
            await turn.acquire()
    except TimeoutError as error:
        raise EngineUnavailable("what is written before is not done yet") from error
    try:
        yield
    finally:
        turn.release()
