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

Document = dict[str, Any]

_HEADER = struct.Struct("<iiiiIB")  # length, request, answered request, code, flags, section
_OP_MSG = 2013
_FLAGS = 5  # bytes of the answer's body before its document: flags and the kind of section
_OVERHEAD_BYTES = 16 * 1024  # that a command may have beyond the greatest document
_LOOK_SECONDS = 0.5
# Of the time that a command is given, so that the server's word comes before nobody waits for it.
_SERVER_SHARE = 0.9
_NOT_PRIMARY = {91, 189, 10058, 10107, 11600, 11602, 13435, 13436}
_STRICT: CodecOptions[Document] = CodecOptions()
# Of writes. What an error tells of a row is cut after so many bytes, be it within a character.
_LENIENT: CodecOptions[Document] = CodecOptions(unicode_decode_error_handler="replace")


class Session:
    """Transactions of one server, one after the other. Beginning one ends what the session left
    open on a server that takes it."""

    __slots__ = ("_id", "_number", "deadline", "is_open")

    def __init__(self, random: bytes) -> None:
        self._id = {"id": Binary(random, UUID_SUBTYPE)}
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

    async def call(
        self, command: Document, seconds: float, *, database: str | None = None
    ) -> Document:
        """The answer to one command, which is sent once. Raises PyMongoError if there is none in
        time, if it is an error, or if a write was not acknowledged as it wants to be."""
        command = command | {"$db": database or self._database}
        if "getMore" not in command:
            command["maxTimeMS"] = max(1, int(seconds * _SERVER_SHARE * 1_000))
        is_read = "find" in command or "aggregate" in command or "getMore" in command
        body = bson.encode(command)
        end = asyncio.get_running_loop().time() + seconds
        with pymongo.timeout(max(seconds, 0.0)):  # for the driver's part
            async with await self._client._conn_for_writes(None, "command") as connection:
                try:
                    async with asyncio.timeout_at(end):
                        answered = await self._exchange(connection, body)
                except TimeoutError as error:
                    raise NetworkTimeout(f"no answer within {seconds:.1f} s") from error
                answer = bson.decode(answered, _STRICT if is_read else _LENIENT)
                check_answer(answer)
                return answer

    async def _exchange(self, connection: Any, body: bytes) -> memoryview:
        """One message there, one back. The connection is closed if that does not come to its end:
        the answer could yet come."""
        if len(body) > connection.max_bson_size + _OVERHEAD_BYTES:
            raise DocumentTooLarge(f"the command has {len(body):,} bytes")
        protocol = connection.conn.get_conn
        request_id = next(self._request_ids) & 0x7FFFFFFF
        header = _HEADER.pack(_HEADER.size + len(body), request_id, 0, _OP_MSG, 0, 0)
        watch = _Watch(connection)
        try:
            await protocol.write(header + body)
            data, code = await protocol.read(request_id, connection.max_message_size)
            if code != _OP_MSG:
                raise ProtocolError(f"an answer of kind {code}")
            return memoryview(data)[_FLAGS:]
        except BaseException as error:
            await _fail(connection, error)
        finally:
            watch.stop()


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
