"""Commits for the tests of engines, with keys and data that are easy to read."""

from __future__ import annotations

from collections.abc import Sequence

from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import (
    Change,
    CommitGroup,
    CommitRecord,
    Entries,
    KeyRange,
    Snapshot,
    StorageEngine,
)

ALL = KeyRange(b"", None)


def path(name: str) -> DocumentPath:
    return DocumentPath(("c", name))


def key(name: str) -> bytes:
    return name.encode()


def document(name: str, text: str, *, version: int, created: int | None = None) -> StoredDocument:
    return StoredDocument(
        path(name),
        text.encode(),
        created=version if created is None else created,
        version=version,
    )


def change(
    name: str,
    old: StoredDocument | None,
    new: StoredDocument | None,
    *,
    removed: Sequence[Entries] = (),
    added: Sequence[Entries] = (),
) -> Change:
    return Change(key(name), path(name), old, new, removed, added)


class Writer:
    """Commits step by step and remembers the current images, as the database above would."""

    def __init__(self, engine: StorageEngine, version: int = 0) -> None:
        self.engine = engine
        self.version = version
        self.images: dict[str, StoredDocument] = {}

    def record(
        self,
        version: int,
        texts: dict[str, str | None],
        *,
        request_id: str | None = None,
        response: bytes = b"",
    ) -> CommitRecord:
        """One commit that sets documents to texts, or deletes them for None."""
        changes = []
        for name, text in texts.items():
            old = self.images.get(name)
            new = None
            if text is not None:
                created = version if old is None else old.created
                new = document(name, text, version=version, created=created)
                self.images[name] = new
            else:
                self.images.pop(name, None)
            changes.append(change(name, old, new))
        return CommitRecord(version, changes, request_id, response)

    async def write(self, version: int, texts: dict[str, str | None]) -> None:
        await self.commit(self.record(version, texts))

    async def commit(self, *records: CommitRecord) -> None:
        await self.engine.commit(CommitGroup(self.version, records))
        self.version = records[-1].version


async def texts(engine: StorageEngine, *names: str) -> list[str | None]:
    return [
        None if found is None else found.data.decode()
        for found in await engine.get_documents([key(name) for name in names])
    ]


async def texts_at(snapshot: Snapshot, version: int, *names: str) -> list[str | None]:
    return [
        None if found is None else found.data.decode()
        for found in await snapshot.get_documents_at([key(name) for name in names], version)
    ]


async def names_in(snapshot: Snapshot, span: KeyRange = ALL) -> list[str]:
    return [found.path.id for found in await snapshot.scan_documents(span, limit=1_000_000)]
