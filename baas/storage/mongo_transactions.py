"""Transactions whose outcome is always found out: repeated while the primary changes, committed
until the answer is known, and looked up where no answer came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from pymongo.errors import PyMongoError, WriteConcernError

from baas.storage.engine import (
    EngineOverloaded,
    EngineUnavailable,
    EngineUnknown,
)
from baas.storage.mongo_client import (
    ANSWER_SECONDS,
    SLOW_SECONDS,
    Deadline,
    MongoConnection,
    is_conflict,
    is_passing,
    is_without_room,
)
from baas.storage.mongo_wire import Session

T = TypeVar("T")
Body = Callable[[Session], Awaitable[T]]

_ABORT_SECONDS = 1.0
# Whose server was killed in the middle of a transaction: its locks would stay for a minute.
_ORPHAN_SECONDS = 2.0
_ORPHAN_LOOK_SECONDS = 1.0
_NO_ROOM_SECONDS = 4.0  # what others have in the cache may be gone by then
_BYTES_PER_SECOND = 1_000_000  # slower servers are taken for dead
_TRANSIENT = "TransientTransactionError"
_RETRYABLE = "RetryableWriteError"

_log = structlog.get_logger("baas.mongo")


class HeadMoved(Exception):
    """The head is not where the transaction expects it; nothing was written."""


class Repeat(Exception):
    """The body has learned something, and wants to be run again from the beginning."""


class _Doubtful(Exception):
    """The commit was asked for, and it is not known whether it happened."""


class Transactions:
    """Runs transactions, each of which changes the head of its database first."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._looked_for_orphans = 0.0

    async def run_once(self, body: Body[None], was_written: Body[bool], *, size: int) -> None:
        """Returns when the transaction is durable on a majority. `was_written` is asked, within a
        transaction that changes the head too, if that is in doubt. Raises HeadMoved or
        EngineUnavailable (EngineOverloaded) with nothing written for good, or EngineUnknown."""
        seconds = ANSWER_SECONDS + size / _BYTES_PER_SECOND
        deadline = Deadline(self._connection.timeout_seconds)
        async with self._connection.operation(), self._connection.session() as session:
            while True:
                try:
                    return await self._attempt(session, body, deadline, seconds)
                except Repeat:
                    continue
                except _Doubtful as doubt:
                    # Past the deadline, too: better late than not known.
                    if await self._find_out(session, was_written, deadline):
                        return
                    if deadline.is_over:
                        raise EngineUnavailable(f"not committed: {doubt}") from doubt
                except PyMongoError as error:
                    await self._weigh(error, deadline)
                await deadline.pause()

    async def run_repeatable(self, body: Body[T]) -> T:
        """As `run_once`, for what may be done twice without harm."""
        deadline = Deadline(self._connection.timeout_seconds)
        async with self._connection.operation(), self._connection.session() as session:
            while True:
                try:
                    return await self._attempt(session, body, deadline, SLOW_SECONDS)
                except _Doubtful as doubt:
                    if deadline.is_over:
                        raise EngineUnknown(str(doubt)) from doubt
                except PyMongoError as error:
                    await self._weigh(error, deadline)
                await deadline.pause()

    async def _attempt(
        self, session: Session, body: Body[T], deadline: Deadline, seconds: float
    ) -> T:
        """One transaction. It ends what the session left open on the server before."""
        result = await self._run_body(session, body, seconds)
        while True:
            try:
                await self._commit(session)
                return result
            except PyMongoError as error:
                if not _may_be_committed(error) or deadline.is_over:
                    raise _Doubtful(str(error)[:500]) from error
            await deadline.pause()

    async def _find_out(
        self, session: Session, was_written: Body[bool], deadline: Deadline
    ) -> bool:
        """Whether the session's last transaction was written, for good.

        By a transaction of the same session: no primary that takes it can still have the doubtful
        one open. And it is answered by a majority, which then has what was committed before it.
        """
        deadline = Deadline(max(deadline.left_seconds, ANSWER_SECONDS))
        while True:
            try:
                written = await self._run_body(session, was_written, ANSWER_SECONDS)
                await self._commit(session)
                return written
            except HeadMoved as error:
                raise EngineUnknown("the database was deleted meanwhile") from error
            except PyMongoError as error:
                if deadline.is_over:
                    raise EngineUnknown(f"not known whether committed: {error}"[:500]) from error
                if is_conflict(error):
                    await self._end_orphans(deadline)
            await deadline.pause()

    async def _commit(self, session: Session) -> None:
        """Acknowledged by a majority: nothing older is read from now on."""
        began = asyncio.get_running_loop().time()
        answer = await self._connection.end_transaction(
            session, "commitTransaction", ANSWER_SECONDS
        )
        with suppress(PyMongoError):  # already
            self._connection.note_time(answer["operationTime"])
        self._connection.lease.note(began)

    async def _run_body(self, session: Session, body: Body[T], seconds: float) -> T:
        session.begin(asyncio.get_running_loop().time() + seconds)
        try:
            return await body(session)
        except BaseException:
            with suppress(PyMongoError):
                if session.is_open:
                    await self._connection.end_transaction(
                        session, "abortTransaction", _ABORT_SECONDS
                    )
            raise

    async def _weigh(self, error: PyMongoError, deadline: Deadline) -> None:
        """Returns if another attempt makes sense. Nothing was written."""
        if is_without_room(error):
            if deadline.elapsed_seconds > min(_NO_ROOM_SECONDS, self._connection.timeout_seconds):
                raise EngineOverloaded("the primary's cache is too small for it") from error
        elif is_conflict(error):
            # Another server is in the middle of a commit. It moves the head, or gives up.
            if deadline.is_over:
                raise EngineUnavailable("another server holds the head") from error
            await self._end_orphans(deadline)
        elif deadline.is_over or not (error.has_error_label(_TRANSIENT) or is_passing(error)):
            raise error

    async def _end_orphans(self, deadline: Deadline) -> None:
        """A server that was killed in the middle of a transaction leaves its locks."""
        now = asyncio.get_running_loop().time()
        since = now - self._looked_for_orphans
        if deadline.elapsed_seconds < _ORPHAN_LOOK_SECONDS or since < _ORPHAN_LOOK_SECONDS:
            return
        self._looked_for_orphans = now
        try:
            ended = await self._connection.kill_idle_transactions(_ORPHAN_SECONDS)
        except PyMongoError as error:
            _log.warning("transactions of lost servers cannot be ended", error=str(error)[:500])
            return
        if ended:
            _log.warning("transactions of lost servers were ended", count=ended)


def _may_be_committed(error: PyMongoError) -> bool:
    """Whether a commit that was answered so is to be asked for again."""
    if isinstance(error, WriteConcernError) or error.has_error_label(_RETRYABLE):
        return True
    return is_passing(error)
