"""Filling a new database with documents that were read elsewhere: fields and times stay what they
were, there is no history, and the incarnation is a new one, so that resume tokens of the old
database are answered with a reset."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from baas.database.batch_size import BatchSize
from baas.database.failures import as_baas_error
from baas.database.index_records import COUNTER
from baas.database.indexes import decode_record, encode_record
from baas.database.scan import SCAN_DOCUMENTS
from baas.encoding import keys
from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import FailedPrecondition
from baas.storage.engine import (
    Change,
    CommitGroup,
    CommitRecord,
    KeyRange,
    RequestAnswer,
    StorageEngine,
    StorageError,
)

_TRIM_ROWS = 10_000
CHUNK_DOCUMENTS = 500
CHUNK_BYTES = 4 * 1024 * 1024


class Loader:
    """Fills one database that nobody else has open. `version` is what the documents were read at:
    none of them is later. `goes_on`: an earlier one was cut off, which has added some of what comes
    now."""

    def __init__(self, engine: StorageEngine, version: int, *, goes_on: bool = False) -> None:
        self._engine = engine
        self._floor = version
        self._goes_on = goes_on
        self._head: int | None = None

    async def begin(self) -> None:
        """From now on nothing is added once somebody else has: that is Unavailable."""
        try:
            self._head = (await self._engine.read_head()).version
        except StorageError as error:
            raise as_baas_error(error) from error
        if self._head and not self._goes_on:
            raise FailedPrecondition("the database is not empty", reason="DatabaseNotEmpty")

    async def add(self, documents: Sequence[StoredDocument]) -> None:
        """Adds documents, some MiB of them at most, in one commit."""
        if self._head is None:
            await self.begin()
        assert self._head is not None
        try:
            changes = await self._changes(documents)
            if not changes:
                return
            version = max(self._head, self._floor) + 1
            record = CommitRecord(version, changes)
            await self._engine.commit(CommitGroup(self._head, [record]))
            self._head = version
        except StorageError as error:
            raise as_baas_error(error) from error

    async def _changes(self, documents: Sequence[StoredDocument]) -> list[Change]:
        """What it takes to have the documents as they are given."""
        paths = [keys.document_key(one.path) for one in documents]
        there: list[StoredDocument | None] = [None] * len(paths)
        if self._goes_on:
            there = await self._engine.get_documents(paths)
            # They come in the same order each time: what is behind these was not added, either.
            self._goes_on = any(there)
        return [
            Change(key, new.path, old, new)
            for key, old, new in zip(paths, there, documents, strict=True)
            if old is None or _image(old) != _image(new)
        ]

    async def add_indexes(self, records: Sequence[StoredDocument]) -> None:
        """Adds records of indexes, to be filled with entries when the database is opened."""
        documents = []
        for one in records:
            data = one.data
            if one.path != COUNTER:
                record = decode_record(one.fields, written=one.version)
                if record.is_dropped:
                    continue
                data = encode_fields(
                    encode_record(replace(record, is_ready=False, is_restored=True))
                )
            documents.append(StoredDocument(one.path, data, one.created, one.version))
        await self.add(documents)

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        """Keeps answers to requests, so that who repeats one there gets the same answer here; how
        many were not here yet."""
        try:
            return await self._engine.add_requests(answers)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def finish(self) -> None:
        """Forgets how the documents came here: no version before can be asked for."""
        try:
            if self._head is None:
                self._head = (await self._engine.read_head()).version
            while self._head and await self._engine.trim(
                self._head, limit=_TRIM_ROWS, requests_before=0
            ):
                pass
        except StorageError as error:
            raise as_baas_error(error) from error

    async def read(self) -> AsyncGenerator[list[StoredDocument]]:
        """What the database holds now, in batches."""
        start = b""
        batch_size = BatchSize(SCAN_DOCUMENTS)
        try:
            snapshot = await self._engine.open_snapshot()
            try:
                while documents := await snapshot.scan_documents(
                    KeyRange(start, None), limit=batch_size.limit
                ):
                    batch_size.note(documents)
                    yield documents
                    start = keys.document_key(documents[-1].path) + b"\x00"
            finally:
                await snapshot.close()
        except StorageError as error:
            raise as_baas_error(error) from error


def in_chunks(documents: Sequence[StoredDocument]) -> list[list[StoredDocument]]:
    """As many as one commit takes."""
    chunks: list[list[StoredDocument]] = []
    size = CHUNK_BYTES
    for one in documents:
        if size + len(one.data) > CHUNK_BYTES or len(chunks[-1]) >= CHUNK_DOCUMENTS:
            chunks.append([])
            size = 0
        chunks[-1].append(one)
        size += len(one.data)
    return chunks


def _image(document: StoredDocument) -> tuple[int, int, bytes]:
    return document.created, document.version, document.data
