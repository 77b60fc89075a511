"""How many documents to read at a time, not knowing how large they are."""

from __future__ import annotations

from collections.abc import Sequence

from baas.encoding.documents import StoredDocument

_FIRST_DOCUMENTS = 8
_BATCH_BYTES = 4 * 1024 * 1024


class BatchSize:
    """How many documents to read next, `most` at most, so that they have some MiB: it follows the
    size of those that came last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(_FIRST_DOCUMENTS, most)

    def note(self, documents: Sequence[StoredDocument]) -> None:
        size = sum([len(one.data) for one in documents])
        if size > _BATCH_BYTES:
            self.limit = max(1, len(documents) * _BATCH_BYTES // size)
        elif 2 * size <= _BATCH_BYTES:
            self.limit = min(2 * self.limit, self._most)
