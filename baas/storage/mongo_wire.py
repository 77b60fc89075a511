"""Commands to the primary, as bytes: one message there and one back.

The driver's own way of a command costs 0.3 to 0.5 ms of processor time, most of it in tasks and
time-outs that are made for each message; a group of commits is six of them, one after the other.
The driver still finds the primary, keeps the pool, signs in, encrypts, and is told what failed.
What is used here of it that is not public is this file's alone; `tests/storage/test_mongo_wire.py`
tells when a version of the driver has changed it.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn

import bson
import pymongo
from bson import Binary, CodecOptions, Int64
from bson.binary import UUID_SUBTYPE
from pymongo import AsyncMongoClient
from pymongo.errors import (
    DocumentTooLarge,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    WriteConcernError,
)

from baas.begun import Unbroken

Document = dict[str, Any]

_HEADER = struct.Struct("<iiiiIB")  # length, request, answered request, code, flags, section
_START = struct.Struct("<iiii")  # of it, as far as any message has it
_OP_MSG = 2013
_OVERHEAD_BYTES = 16 * 1024  # that a command may have beyond the greatest document
_LOOK_SECONDS = 0.5
_SPARE_SECONDS = 2.0  # the driver looks at its deadline every half second
# Of the time that a command is given, so that the server's word comes before nobody waits for it.
_SERVER_SHARE = 0.9
_NOT_PRIMARY = {91, 189, 10058, 10107, 11600, 11602, 13435, 13436}
_STRICT: CodecOptions[Document] = CodecOptions()
# Of writes. What an error tells of a row is cut after so many bytes, be it within a character.
_LENIENT: CodecOptions[Document] = CodecOptions(unicode_decode_error_handler="replace")


def new_session_id(random: bytes) -> Document:
    """Sixteen bytes as servers take them for a session."""
    return {"id": Binary(random, UUID_SUBTYPE)}


class Session:
    """Transactions of one server, one after the other. Beginning one ends what the session left
    open on a server that takes it."""

    __slots__ = ("_id", "_number", "deadline", "is_open")

    def __init__(self, random: bytes) -> None:
        self._id = new_session_id(random)
        self._number = 0
        self.is_open = False  # something was sent of a transaction, and its end was not heard
        self.deadline = 0.0  # of the transaction's commands, by the loop's time

    def begin(self, deadline: float) -> None:
        self._number += 1
        self.is_open = False
        self.deadline = deadline

    def mark(self, command: Document) -> Document:
        """The command as a part of the transaction."""
        marked = command | {
            "lsid": self._id,
            "txnNumber": Int64(self._number),
            "autocommit": False,
        }
        if not self.is_open:
            self.is_open = True
            marked["startTransaction"] = True
            marked["readConcern"] = {"level": "snapshot"}
        return marked

    @property
    def seconds_left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()


class Wire:
    """Sends commands to whichever server is primary."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._database = database
        self._request_ids = itertools.count(1)
        self._unbroken = Unbroken()

    async def close(self) -> None:
        """To be done once the client is closed."""
        await self._unbroken.close(seconds=_SPARE_SECONDS)

    async def call(
        self, command: Document, seconds: float, *, database: str | None = None
    ) -> Document:
        """The answer to one command, which is sent once. Raises PyMongoError if there is none in
        time, if it is an error, or if a write was not acknowledged as it wants to be."""
        (answer,) = await self.call_all([command], seconds, database=database)
        check_answer(answer)
        return answer

    async def call_all(
        self, commands: Sequence[Document], seconds: float, *, database: str | None = None
    ) -> list[Document]:
        """The answers to commands that are sent together, on one connection, and done in order:
        unchecked, so each is for `check_answer`."""
        if seconds <= 0:
            raise NetworkTimeout("there is no time left for the command")
        bodies = [self._encode(command, seconds, database) for command in commands]
        end = asyncio.get_running_loop().time() + seconds
        with pymongo.timeout(seconds):  # for the driver's part
            async with _Lent(self._client, self._unbroken, end) as connection:
                try:
                    async with asyncio.timeout_at(end):
                        answered = await self._exchange(connection, bodies)
                except TimeoutError as error:
                    raise NetworkTimeout(f"no answer within {seconds:.1f} s") from error
        return [
            bson.decode(body, _STRICT if _is_read(command) else _LENIENT)
            for command, body in zip(commands, answered, strict=True)
        ]

    def _encode(self, command: Document, seconds: float, database: str | None) -> bytes:
        command = command | {"$db": database or self._database}
        if "getMore" not in command:
            command["maxTimeMS"] = max(1, int(seconds * _SERVER_SHARE * 1_000))
        return bson.encode(command)

    async def _exchange(self, connection: Any, bodies: Sequence[bytes]) -> list[memoryview]:
        """Messages there, as many back. The connection is closed if that does not come to its end:
        the answers could yet come."""
        first = 0
        parts: list[bytes] = []
        for body in bodies:
            if len(body) > connection.max_bson_size + _OVERHEAD_BYTES:
                raise DocumentTooLarge(f"the command has {len(body):,} bytes")
            request_id = next(self._request_ids) & 0x7FFFFFFF
            first = first or request_id
            parts.append(_HEADER.pack(_HEADER.size + len(body), request_id, 0, _OP_MSG, 0, 0))
            parts.append(body)
        protocol = connection.conn.get_conn
        watch = _Watch(connection)
        try:
            transport = protocol.transport
            if transport is None or transport.is_closing():
                raise OSError("the connection is closed")
            answers = _Answers(protocol, len(bodies), first, connection.max_message_size)
            transport.set_protocol(answers)
            try:
                transport.write(b"".join(parts))
                transport.resume_reading()
                found = await answers.done
                transport.pause_reading()
            finally:
                transport.set_protocol(protocol)
            return found
        except BaseException as error:
            await _fail(connection, error)
        finally:
            watch.stop()


class _Lent:
    """A connection to the primary, of the driver's pool. Cancelled while it waits for one of its
    locks, the driver may leave it locked for ever (Python 3.11's `asyncio.wait_for` leaves its
    condition without waiting until that has the lock again), and nobody would get a connection any
    more. So it is never cancelled, but where it is far past its own deadline."""

    __slots__ = ("_checkout", "_client", "_end", "_unbroken")

    def __init__(self, client: AsyncMongoClient[Document], unbroken: Unbroken, end: float) -> None:
        self._client = client
        self._unbroken = unbroken
        self._end = end + _SPARE_SECONDS
        self._checkout: Any = None

    async def __aenter__(self) -> Any:
        try:
            self._checkout, connection = await self._unbroken.run(
                self._check_out(), end=self._end, if_left=_check_in
            )
        except TimeoutError as error:
            raise NetworkTimeout("the driver gives no connection") from error
        return connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end = max(self._end, asyncio.get_running_loop().time() + _SPARE_SECONDS)
        try:
            await self._unbroken.run(self._checkout.__aexit__(kind, error, traceback), end=end)
        except TimeoutError as late:
            raise NetworkTimeout("the driver takes no connection back") from late

    async def _check_out(self) -> tuple[Any, Any]:
        checkout = await self._client._conn_for_writes(None, "command")
        return checkout, await checkout.__aenter__()


async def _check_in(lent: tuple[Any, Any]) -> None:
    await lent[0].__aexit__(None, None, None)


class _Answers(asyncio.Protocol):
    """Stands in for the driver's protocol while answers come: that one stops reading after each."""

    def __init__(self, driver: Any, count: int, first: int, size_max: int) -> None:
        self.done: asyncio.Future[list[memoryview]] = asyncio.get_running_loop().create_future()
        self._driver = driver
        self._count = count
        self._next = first
        self._size_max = size_max
        self._found: list[memoryview] = []
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while len(self._found) < self._count and len(self._buffer) >= _START.size:
                length, _, answered, code = _START.unpack_from(self._buffer)
                if code != _OP_MSG or answered != self._next:
                    raise ProtocolError(f"an answer of kind {code} to request {answered}")
                if not _HEADER.size < length <= self._size_max:
                    raise ProtocolError(f"an answer of {length:,} bytes")
                if len(self._buffer) < length:
                    return
                self._found.append(memoryview(self._take(length))[_HEADER.size : length])
                self._next = (self._next + 1) & 0x7FFFFFFF
        except ProtocolError as error:
            self._end(error)
            return
        if self._buffer and len(self._found) == self._count:
            self._end(ProtocolError("more came than was asked for"))
        elif len(self._found) == self._count and not self.done.done():
            self.done.set_result(self._found)

    def _take(self, length: int) -> bytearray:
        """What begins with one whole message. Most often that is all, and need not be copied."""
        message, self._buffer = self._buffer, bytearray()
        if len(message) > length:
            self._buffer += memoryview(message)[length:]
        return message

    def connection_lost(self, error: Exception | None) -> None:
        self._driver.connection_lost(error)
        self._end(error or OSError("the connection was closed"))

    def _end(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Watch:
    """Looks now and then whether the driver has given up the server: it asks it every two seconds
    for its state, on a connection of its own."""

    __slots__ = ("_connection", "_timer")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if self._connection.cancel_context.cancelled:
            self._connection.conn.get_conn.close(OSError("the server was given up"))
        else:
            self._wait()


async def _fail(connection: Any, error: BaseException) -> NoReturn:
    """Closes the connection; raises AutoReconnect for what went wrong with it."""
    await connection._raise_connection_failure(error)
    raise AssertionError("unreachable") from error


def _is_read(command: Document) -> bool:
    return "find" in command or "aggregate" in command or "getMore" in command


def check_answer(answer: Document) -> None:
    """Raises what a command met, or its first row that failed."""
    if not answer["ok"]:
        code = answer.get("code")
        if code in _NOT_PRIMARY:
            raise NotPrimaryError(answer.get("errmsg", ""), answer)
        raise OperationFailure(answer.get("errmsg", "command failed"), code, answer)
    if errors := answer.get("writeErrors"):
        raise OperationFailure(*_described(errors[0], answer))
    if error := answer.get("writeConcernError"):
        raise WriteConcernError(*_described(error, answer))


def _described(error: Document, answer: Document) -> tuple[str, int | None, Document]:
    details = error | {"errorLabels": answer.get("errorLabels", [])}
    return error.get("errmsg", "write failed"), error.get("code"), details
