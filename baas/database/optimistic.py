"""What the first run of a transaction reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from baas.database.transaction import QueryResult, Transaction
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.tallies import GroupPage, PageBounds
from baas.model.timestamps import Timestamp
from baas.settings import Limits
from baas.storage.engine import Change, StorageEngine

T = TypeVar("T")


class ReadSnapshot(Protocol):
    """A snapshot that is open."""

    @property
    def version(self) -> int: ...

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]: ...

    async def run_query(self, query: Query) -> QueryResult: ...

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage: ...

    async def close(self) -> None: ...


class OpenSnapshot(Protocol):
    async def __call__(self) -> ReadSnapshot: ...


class Torn(Exception):
    """A commit came between the first read and the second: the body has to run again."""


class OptimisticView:
    """One consistent state, without a snapshot if the body reads once, as most do.

    A single read is of one instant by itself, and costs half of what a snapshot does. At the second
    read a snapshot is opened; unless it shows what the first read saw, `Torn` is raised and
    `is_torn` set: then `reset`, and run the body again on that snapshot.

    `read_at` is a version that was current at or before the first read: every commit above it may
    have been missed, and no other.
    """

    __slots__ = (
        "_engine",
        "_first",
        "_open_snapshot",
        "_snapshot",
        "_version",
        "is_torn",
        "read_at",
    )

    def __init__(
        self, engine: StorageEngine, version: Callable[[], int], open_snapshot: OpenSnapshot
    ) -> None:
        self._engine = engine
        self._version = version
        self._open_snapshot = open_snapshot
        self._first: tuple[Sequence[DocumentPath], list[StoredDocument | None]] | None = None
        self._snapshot: ReadSnapshot | None = None
        self.read_at = version()
        self.is_torn = False

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        if self._first is None and self._snapshot is None:
            # Taken before the read: what is committed in between counts as missed.
            self.read_at = self._version()
            found = await self._engine.get_documents([keys.document_key(path) for path in paths])
            self._first = paths, found
            return found
        return await (await self.settle()).get_documents(paths)

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        if self._first is not None or self._snapshot is not None:
            return None
        read_at = self._version()
        found = self._engine.get_documents_nowait([keys.document_key(path) for path in paths])
        if found is not None:
            self.read_at = read_at
            self._first = paths, found
        return found

    async def run_query(self, query: Query) -> QueryResult:
        return await (await self.settle()).run_query(query)

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        return await (await self.settle()).aggregate(aggregation, bounds)

    async def settle(self) -> ReadSnapshot:
        """A snapshot that shows all as it was read; `read_at` is its version. Raises Torn."""
        snapshot = self._snapshot
        if snapshot is not None:
            return snapshot
        snapshot = self._snapshot = await self._open_snapshot()
        if self._first is not None and snapshot.version != self.read_at:
            paths, found = self._first
            if not _are_same(found, await snapshot.get_documents(paths)):
                self.is_torn = True
                raise Torn
        self.read_at = snapshot.version
        return snapshot

    @property
    def is_open(self) -> bool:
        """Whether there is a snapshot, and so something to close."""
        return self._snapshot is not None

    async def close(self) -> None:
        if self._snapshot is not None:
            await self._snapshot.close()

    def reset(self) -> None:
        """Nothing has been read yet, and all will be of the snapshot."""
        assert self._snapshot is not None
        self._first = None
        self.is_torn = False
        self.read_at = self._snapshot.version


def _are_same(
    some: Sequence[StoredDocument | None], others: Sequence[StoredDocument | None]
) -> bool:
    return [document and document.version for document in some] == [
        document and document.version for document in others
    ]


async def run_first(
    body: Callable[[Transaction], Awaitable[T]],
    view: OptimisticView,
    request_time: Timestamp,
    limits: Limits,
    *,
    needs_commit: bool,
) -> tuple[Transaction, list[Change], T]:
    """Runs a body for the first time, and once more if it read two states, whatever it made of
    them. Closes the view."""
    try:
        while True:
            transaction = Transaction(view, request_time, limits)
            try:
                value = await body(transaction)
                staged = transaction.stage()
                if not staged and not needs_commit:
                    # Nobody looks at the read set any more: it has to be true at one version.
                    await view.settle()
            except Exception:
                if not view.is_torn:
                    raise
            if not view.is_torn:
                return transaction, staged, value
            view.reset()  # what is read from now on is of one snapshot
    finally:
        if view.is_open:
            await view.close()
