"""Reading a whole database, or all that is below one collection, as of one version."""

from __future__ import annotations

import bisect
from collections.abc import AsyncGenerator, Sequence

from baas.database.batch_size import BatchSize
from baas.database.database import Database
from baas.database.failures import as_baas_error
from baas.database.indexes import is_reserved
from baas.database.log import read_touched
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import CollectionPath, DocumentPath
from baas.storage.engine import KeyRange, Snapshot, StorageError

SCAN_DOCUMENTS = 500
SCAN_CHANGES_MAX = 100_000  # since the version that is read: their paths are in memory


async def scan_documents(
    database: Database,
    below: CollectionPath | DocumentPath | None = None,
    *,
    version: int | None = None,
    after: DocumentPath | None = None,
) -> AsyncGenerator[list[StoredDocument]]:
    """Every document of one instant in batches, in the order of their keys; those below a document,
    those of a collection with everything below, or all. To be read to its end, or closed.

    `version`: as they were then, without what was erased; `after`: those behind this one only.
    Raises ResumeTokenExpired past retention, OutOfRange (`TooFarBack`) if there were more than
    SCAN_CHANGES_MAX changes.

    The snapshot is held meanwhile, which keeps the store from tidying up: do not wait for a slow
    reader between batches.
    """
    start, end = (b"", None) if below is None else keys.subtree_span(below)
    if after is not None:
        start = max(start, keys.document_key(after) + b"\x00")
    snapshot, _ = await database.open_snapshot()
    try:
        batch_size = BatchSize(SCAN_DOCUMENTS)
        changed: list[bytes] = []
        if version is not None:
            oldest = await database.read_oldest_version()
            touched = await read_touched(snapshot, version, oldest, limit=SCAN_CHANGES_MAX)
            changed = sorted([keys.document_key(path) for path in touched])
        while True:
            documents = await snapshot.scan_documents(KeyRange(start, end), limit=batch_size.limit)
            batch_size.note(documents)
            # The smallest key above the last one.
            stop = keys.document_key(documents[-1].path) + b"\x00" if documents else end
            if version is not None and changed:
                past = _between(changed, start, stop)
                visible = await _as_of(snapshot, documents, past, version)
            else:
                visible = documents
            visible = [one for one in visible if not is_reserved(one.path)]
            if visible:
                yield visible
            if not documents:
                return
            assert stop is not None
            start = stop
    except StorageError as error:
        raise as_baas_error(error) from error
    finally:
        await database.close_snapshot(snapshot)


def _between(ordered: Sequence[bytes], start: bytes, stop: bytes | None) -> Sequence[bytes]:
    first = bisect.bisect_left(ordered, start)
    return ordered[first:] if stop is None else ordered[first : bisect.bisect_left(ordered, stop)]


async def _as_of(
    snapshot: Snapshot,
    documents: Sequence[StoredDocument],
    changed: Sequence[bytes],
    version: int,
) -> list[StoredDocument]:
    """What there was at the version in a stretch of keys, from what there is and what changed."""
    found = {keys.document_key(one.path): one for one in documents if one.version <= version}
    for at in range(0, len(changed), SCAN_DOCUMENTS):
        some = changed[at : at + SCAN_DOCUMENTS]
        images = await snapshot.get_images([(key, version) for key in some])
        found |= {
            key: image
            for key, image in zip(some, images, strict=True)
            if image is not None and not image.is_erased
        }
    return [found[key] for key in sorted(found)]
