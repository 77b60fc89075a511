"""Documents as lines of a backup: created, version, path, the stored bytes as they are; with tabs
between them. Nothing of it holds a raw tab or line break, since path and fields are JSON."""

from __future__ import annotations

import orjson

from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss
from baas.model.paths import DocumentPath


def encode_document(document: StoredDocument) -> bytes:
    """One line, without its end."""
    path = orjson.dumps(document.name)
    return b"%d\t%d\t%b\t%b" % (document.created, document.version, path, document.data)


def decode_document(line: bytes) -> StoredDocument:
    """The inverse. Raises DataLoss (`BackupDamaged`)."""
    try:
        created, version, path, data = line.split(b"\t")
        segments = tuple(orjson.loads(path).split("/"))
        if len(segments) % 2 or "" in segments:
            raise ValueError("no path of a document")
        return StoredDocument(DocumentPath(segments), data, int(created), int(version))
    except (ValueError, AttributeError) as error:
        raise DataLoss(
            f"a line of the backup holds no document: {error}", reason="BackupDamaged"
        ) from error
