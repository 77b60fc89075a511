"""Export and import of a database as JSON lines. For administrators: rules do not apply.

One document per line: {"path": "users/ada", "fields": {…}, "create_time": "…", "update_time": "…"},
in path order, fields in native JSON. The times are for people; an import gives documents new ones.
A last line may tell what was before it, {"end": {"documents": 2, "sha256": "…", "version": 17}}:
who has it knows that nothing is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import IO, Any

import orjson

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.log import check_resumable
from baas.database.names import DatabaseName
from baas.database.scan import scan_documents
from baas.database.transaction import Transaction
from baas.encoding import json_values
from baas.encoding.documents import StoredDocument
from baas.encoding.end_lines import END_LINE, end_line, is_end_of
from baas.errors import BaasError, InvalidArgument, InvalidValue
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, check_document
from baas.model.writes import SetWrite, Write
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.schema_guard import check_schemas, prepare

LINE_BYTES_MAX = 16 * 1024 * 1024  # a document at its limit, with every character escaped
CHUNK_BYTES_MAX = 4 * 1024 * 1024
_MEMBERS = frozenset({"path", "fields", "create_time", "update_time"})
_READ_BYTES = 256 * 1024


# Export


async def export_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    *,
    collection: CollectionPath | None = None,
    version: int | None = None,
    after: DocumentPath | None = None,
    has_end: bool = False,
) -> Export:
    """Every document of one instant, in chunks of whole lines; of one collection with everything
    below it if `collection` is given. `has_end`: with the line that tells what was before it.

    An export that was cut off goes on with the `version` of the first try, behind its last whole
    line: `after`. Raises ResumeTokenExpired for a version that history does not reach back to; in
    place of the first chunk OutOfRange (`TooFarBack`) if too much was changed since.

    The snapshot is read at full speed into a temporary file from which the chunks come, so that a
    slow reader holds no snapshot (and with it the write-ahead log) open. Memory is constant.
    Raises PermissionDenied, NotFound before the first chunk.
    """
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await context.databases.open(name)
    await database.catch_up()
    asked = database.version if version is None else version
    if asked > database.version:
        raise InvalidArgument(
            f"version {asked} is none of this database yet", reason="InvalidVersion"
        )
    oldest = await database.read_oldest_version()
    check_resumable(asked, oldest)
    batches = scan_documents(database, collection, version=asked, after=after)
    return Export(asked, database.incarnation, _export(batches, asked if has_end else None))


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported, and as of which version of which incarnation."""

    version: int
    incarnation: str
    chunks: AsyncIterator[bytes]


async def _export(
    batches: AsyncGenerator[list[StoredDocument]], version: int | None
) -> AsyncIterator[bytes]:
    with tempfile.TemporaryFile(prefix="baas-export-") as file:
        spool = _Spool(file)
        writer = asyncio.create_task(_fill(spool, batches, version))
        try:
            async for chunk in spool.read():
                yield chunk
            await writer
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


async def _fill(
    spool: _Spool, batches: AsyncGenerator[list[StoredDocument]], version: int | None
) -> None:
    count, digest = 0, hashlib.sha256()
    try:
        async with aclosing(batches):
            async for documents in batches:
                lines = b"".join(map(_encode_line, documents))
                count += len(documents)
                digest.update(lines)
                await spool.write(lines)
        if version is not None:
            await spool.write(end_line(count, digest.hexdigest(), version))
    finally:
        spool.end()


def _encode_line(document: StoredDocument) -> bytes:
    # The stored bytes are native JSON already: they are spliced in, not decoded.
    return b'{"path":%b,"fields":%b,"create_time":"%b","update_time":"%b"}\n' % (
        orjson.dumps(str(document.path)),
        document.data,
        document.create_time.isoformat().encode("ascii"),
        document.update_time.isoformat().encode("ascii"),
    )


class _Spool:
    """A file that one task fills and another reads while it grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._written = 0
        self._ended = False
        self._grown = asyncio.Event()

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(_write_all, self._descriptor, data, self._written)
        self._written += len(data)
        self._grown.set()

    def end(self) -> None:
        self._ended = True
        self._grown.set()

    async def read(self) -> AsyncIterator[bytes]:
        """What is written, until the end. Chunks may end within a line."""
        at = 0
        while True:
            self._grown.clear()
            while at < self._written:
                size = min(_READ_BYTES, self._written - at)
                data = await asyncio.to_thread(os.pread, self._descriptor, size, at)
                at += len(data)
                yield data
            if self._ended:
                return
            await self._grown.wait()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest = rest[count:]
        offset += count


# Import


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`lines` counts all lines that are done with, blank and skipped ones too."""

    documents: int
    lines: int


async def import_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    lines: AsyncIterator[bytes],
    *,
    skip_lines: int = 0,
    progress: Callable[[ImportResult], None] | None = None,
) -> ImportResult:
    """Writes each line's document, replacing one that is there.

    **Not atomic**: lines are committed in order, in chunks of at most 500 documents. If it ends
    early, `details["committed_lines"]` of the error says how many lines are in the database, and
    `skip_lines` of the next import goes on from there. A line twice does no harm.

    Raises InvalidArgument (`InvalidLine`) with `details["line"]`, PermissionDenied, NotFound, and
    for a document that the schemas in force do not take `SchemaViolation` or `UniqueViolation`,
    with its line, too.
    """
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await context.databases.open(name)
    work = _Import(context, database, skip_lines, progress)
    try:
        async for line in lines:
            await work.take(line)
        await work.commit()
    except BaasError as error:
        raise work.located(error) from error
    return work.result


class _Import:
    """One import under way: a chunk that grows, and what is committed."""

    def __init__(
        self,
        context: Context,
        database: Database,
        skip_lines: int,
        progress: Callable[[ImportResult], None] | None,
    ) -> None:
        self.result = ImportResult(0, 0)
        self._context = context
        self._limits = context.settings.limits
        self._clock = context.clock
        self._database = database
        self._skip_lines = skip_lines
        self._progress = progress
        self._digest = hashlib.sha256()
        self._seen = 0
        self._is_ended = False
        self._number = 0  # of the line that is looked at; the first is 1
        self._is_reading = False
        self._writes: list[Write] = []
        self._numbers: list[int] = []  # of their lines
        self._bytes = 0

    async def take(self, line: bytes) -> None:
        self._number += 1
        line = line.strip()
        if not line:
            return
        if line.startswith(END_LINE):
            self._is_reading = True
            self._check_end(line)
            self._is_reading = False
            return
        self._seen += 1
        self._digest.update(line + b"\n")
        if self._number <= self._skip_lines:
            return
        self._is_reading = True
        if self._is_ended:
            raise InvalidValue("comes after the line that ends the file")
        path, fields = _decode_line(line)
        check_document(path, fields, self._limits)
        self._is_reading = False
        if self._bytes + len(line) > CHUNK_BYTES_MAX:
            await self._commit_before(self._number)
        self._writes.append(SetWrite(path, fields))
        self._numbers.append(self._number)
        self._bytes += len(line)
        if len(self._writes) >= self._limits.commit_writes_max:
            await self.commit()

    def _check_end(self, line: bytes) -> None:
        self._is_ended = True
        if not is_end_of(line, self._seen, self._digest.hexdigest()):
            raise InvalidValue(
                f"says that other lines than these {self._seen} are before it: some were lost, or "
                "changed"
            )

    async def commit(self) -> None:
        """Commits what has been taken."""
        await self._commit_before(self._number + 1)

    def located(self, error: BaasError) -> BaasError:
        """The error, with how far the import came, and the line if the error is of one."""
        done: dict[str, Any] = {
            "committed_lines": self.result.lines,
            "committed_documents": self.result.documents,
        }
        if not self._is_reading:
            # Of the same class and reason, so that faces answer as they would without an import.
            message, details = error.message, {**(error.details or {}), **done}
            line = self._line_of(details.get("document"))
            if line is not None:
                message, details = f"line {line}: {message}", {**details, "line": line}
            return type(error)(message, reason=error.reason, details=details)
        return InvalidArgument(
            f"line {self._number}: {error.message}",
            reason="InvalidLine",
            details={"line": self._number, "cause": error.reason, **(error.details or {}), **done},
        )

    def _line_of(self, document: object) -> int | None:
        """The line that a document has in the chunk; the last of several, which counts."""
        for write, number in zip(reversed(self._writes), reversed(self._numbers), strict=True):
            if str(write.path) == document:
                return number
        return None

    async def _commit_before(self, number: int) -> None:
        writes = self._writes
        if writes:
            await self._write(writes)
        self.result = ImportResult(self.result.documents + len(writes), number - 1)
        self._writes, self._numbers = [], []
        self._bytes = 0
        if self._progress is not None:
            self._progress(self.result)

    async def _write(self, writes: list[Write]) -> None:
        """In order, by halves where the documents that they replace do not fit into one commit:
        only the database knows how large those are."""

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)
            await check_schemas(self._context, self._database.name.project, transaction)

        await prepare(self._context, self._database)
        now = Timestamp(milliseconds_only(self._clock.now_microseconds()))
        try:
            await self._database.run_transaction(body, request_time=now)
        except InvalidArgument as error:
            if error.reason != "CommitTooLarge" or len(writes) == 1:
                raise
            half = len(writes) // 2
            await self._write(writes[:half])
            await self._write(writes[half:])


def _decode_line(line: bytes) -> tuple[DocumentPath, Fields]:
    try:
        tree = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidValue(f"not valid JSON: {error.msg}", reason="MalformedJson") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("path"), str) or "fields" not in tree:
        raise InvalidValue('must be an object with "path" and "fields"')
    strangers = sorted(tree.keys() - _MEMBERS)
    if strangers:
        raise InvalidValue(f"has the member `{strangers[0][:80]}`, which means nothing here")
    return DocumentPath.parse(tree["path"]), json_values.decode_fields_tree(tree["fields"])
