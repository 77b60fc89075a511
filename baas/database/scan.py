"""Reading a whole database, or all that is below one collection, as of one instant."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from baas.database.database import Database
from baas.database.failures import as_baas_error
from baas.database.indexes import is_reserved
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import CollectionPath, DocumentPath
from baas.storage.engine import KeyRange, StorageError

SCAN_DOCUMENTS = 500


async def scan_documents(
    database: Database, below: CollectionPath | DocumentPath | None = None
) -> AsyncGenerator[list[StoredDocument]]:
    """Every document of one instant in batches, in the order of their keys; those below a document,
    those of a collection with everything below, or all. To be read to its end, or closed.

    The snapshot is held meanwhile, which keeps the store from tidying up: do not wait for a slow
    reader between batches.
    """
    start, end = (b"", None) if below is None else keys.subtree_span(below)
    snapshot, _ = await database.open_snapshot()
    try:
        while True:
            documents = await snapshot.scan_documents(KeyRange(start, end), limit=SCAN_DOCUMENTS)
            if not documents:
                return
            # The smallest key above the last one.
            start = keys.document_key(documents[-1].path) + b"\x00"
            visible = [one for one in documents if not is_reserved(one.path)]
            if visible:
                yield visible
    except StorageError as error:
        raise as_baas_error(error) from error
    finally:
        await database.close_snapshot(snapshot)
