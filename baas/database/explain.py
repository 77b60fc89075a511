"""How a query was answered: on which indexes, and what that read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from baas.database.indexes import Index, IndexDefinition
from baas.database.planner import CollectionScan, IndexScan, NameScan, Plan, PointGet
from baas.encoding.documents import StoredDocument
from baas.storage.engine import EntryRow, KeyRange, LogRecord, PastImage, Snapshot


class MeteredSnapshot:
    """A snapshot that counts what is read through it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.entries_scanned = 0
        self.documents_read = 0

    @property
    def version(self) -> int:
        return self._snapshot.version

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        self.documents_read += len(keys)
        return await self._snapshot.get_documents(keys)

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        self.documents_read += len(keys)
        return await self._snapshot.get_documents_at(keys, version)

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        self.documents_read += len(wanted)
        return await self._snapshot.get_images(wanted)

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        found = await self._snapshot.read_history(key, below=below, limit=limit)
        self.documents_read += len(found)
        return found

    async def scan_documents(
        self, span: KeyRange, *, limit: int, descending: bool = False
    ) -> list[StoredDocument]:
        found = await self._snapshot.scan_documents(span, limit=limit, descending=descending)
        self.documents_read += len(found)
        return found

    async def scan_entries(
        self, index: int, span: KeyRange, *, limit: int, descending: bool = False
    ) -> list[EntryRow]:
        found = await self._snapshot.scan_entries(index, span, limit=limit, descending=descending)
        self.entries_scanned += len(found)
        self.documents_read += len(found)
        return found

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._snapshot.count_documents(span, limit=limit)

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return await self._snapshot.count_entries(index, span, limit=limit)

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        return await self._snapshot.read_log(after, limit=limit)

    async def close(self) -> None:
        await self._snapshot.close()


@dataclass(frozen=True, slots=True)
class ExplainedScan:
    """One scan of a plan. `kind`: `index`, `names` (the documents of a collection by name),
    `document` (one by name) or `collection` (all that there are, each looked at). `exact`: what
    lies in the ranges is the answer; if not, each document is checked against the whole query."""

    kind: str
    index: Index | None
    ranges: int
    descending: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """`entries_scanned` and `documents_read` are what was read for the documents `returned`.
    `missing`: indexes that would have spared reading a collection; `building`: those of them that
    are being made."""

    scans: tuple[ExplainedScan, ...]
    missing: tuple[IndexDefinition, ...]
    building: tuple[IndexDefinition, ...]
    entries_scanned: int
    documents_read: int
    returned: int
    seconds: float


def explain_plan(plan: Plan) -> tuple[ExplainedScan, ...]:
    """The scans of a plan; none if nothing can match."""
    if isinstance(plan, CollectionScan):
        return (ExplainedScan("collection", None, 1, False, False),)
    return tuple([_explain_scan(scan) for scan in plan])


def _explain_scan(scan: IndexScan | NameScan | PointGet) -> ExplainedScan:
    match scan:
        case PointGet():
            return ExplainedScan("document", None, 1, False, False)
        case NameScan():
            return ExplainedScan("names", None, len(scan.spans), scan.descending, scan.exact)
        case IndexScan():
            return ExplainedScan("index", scan.index, len(scan.spans), scan.descending, scan.exact)
