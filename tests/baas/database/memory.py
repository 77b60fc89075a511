"""A snapshot in memory: what a storage engine promises, in the simplest possible way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from baas.clock import VirtualClock
from baas.database.indexes import Indexes
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.storage.engine import EntryRow, KeyRange, LogRecord, PastImage, RequestAnswer


class MemorySnapshot:
    """Documents and their entries, sorted at every scan. Counts what it reads."""

    def __init__(self, documents: Iterable[StoredDocument], indexes: Indexes) -> None:
        self.documents = {keys.document_key(document.path): document for document in documents}
        self.entries: dict[int, dict[bytes, StoredDocument]] = {}
        self.rows_read = 0
        for document in self.documents.values():
            removed, added = indexes.entries_for(document.path, None, document.fields)
            assert not removed
            for index, entry_keys in added:
                found = self.entries.setdefault(index, {})
                found.update(dict.fromkeys(entry_keys, document))

    @property
    def version(self) -> int:
        return max((document.version for document in self.documents.values()), default=0)

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        return [self.documents.get(key) for key in keys]

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        raise NotImplementedError

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        raise NotImplementedError

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        raise NotImplementedError

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        raise NotImplementedError

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        chosen = _within(self.documents, span, descending)[:limit]
        found = _until([self.documents[key] for key in chosen], bytes_max)
        self.rows_read += len(found)
        return found

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        entries = self.entries.get(index, {})
        chosen = _within(entries, span, descending)[:limit]
        found = _until([entries[key] for key in chosen], bytes_max)
        self.rows_read += len(found)
        return [EntryRow(key, one) for key, one in zip(chosen, found, strict=False)]

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        entries = self.entries.get(index, {})
        chosen = [key for span in spans for key in _within(entries, span, False)][:limit]
        self.rows_read += len(chosen)
        return chosen

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return len(_within(self.documents, span, False)[:limit])

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return len(_within(self.entries.get(index, {}), span, False)[:limit])

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        raise NotImplementedError

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is held."""


def scan_slowly(snapshot: MemorySnapshot, clock: VirtualClock) -> None:
    """Each look at entries takes a second from now on."""
    scan_entries = snapshot.scan_entries

    async def slowly(*args: Any, **more: Any) -> list[EntryRow]:
        clock.advance(1.0)
        return await scan_entries(*args, **more)

    snapshot.scan_entries = slowly  # type: ignore[method-assign]


def _within(keys: Iterable[bytes], span: KeyRange, descending: bool) -> list[bytes]:
    return sorted(
        (key for key in keys if key >= span.start and (span.end is None or key < span.end)),
        reverse=descending,
    )


def _until(documents: list[StoredDocument], bytes_max: int | None) -> list[StoredDocument]:
    """As few as it takes to reach so many bytes: what an engine may do at the most."""
    size = 0
    for count, document in enumerate(documents, 1):
        size += len(document.data)
        if bytes_max is not None and size >= bytes_max:
            return documents[:count]
    return documents
