"""What scores rest on: how many documents are searched, how long they are, how many have a word.

Kept are the sizes of corpora and how many have common words; rare ones are counted as they come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from baas.database.indexes import NO_WORD, Index, Indexes
from baas.database.kept_numbers import KeptNumbers
from baas.database.log import CommitEvent
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.settings import Limits
from baas.storage.engine import KeyRange, Snapshot

KEPT_MAX = 500  # the last ones asked for
RARE_MAX = 1_000  # documents with a word that is not kept
_BATCH = 5_000
_NO_WORD = keys.word_key(NO_WORD)
_Key: TypeAlias = tuple[int, bytes]  # the index, and what its entries of the word start with


@dataclass(frozen=True, slots=True)
class Size:
    """Of a corpus, or of the documents in it that have a word: their length is not counted."""

    documents: int
    length: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.documents + other.documents, self.length + other.length)

    def __sub__(self, other: Size) -> Size:
        return Size(self.documents - other.documents, self.length - other.length)


class Corpora(KeptNumbers[_Key, Size]):
    """Of one database's indexes of words. `prefix_entries_max`: as many entries the prefixes of
    a text may stand for."""

    def __init__(self, indexes: Indexes, read_version: Callable[[], int], limits: Limits) -> None:
        super().__init__(read_version, zero=Size(0), kept_max=KEPT_MAX)
        self._indexes = indexes
        self.prefix_entries_max = limits.search_prefix_entries_max

    async def size(self, snapshot: Snapshot, index: Index, head: bytes) -> Size:
        """Of the corpus whose entries start with `head`. Raises StorageError."""
        start = head + _NO_WORD

        async def read() -> Size:
            return await _read_size(snapshot, index.number, start)

        return await self.count((index.number, start), snapshot.version, read)

    async def frequency(self, snapshot: Snapshot, index: Index, start: bytes) -> int:
        """How many documents have the word whose entries start with `start`. Raises
        StorageError."""
        key = index.number, start
        known = self.known(key, snapshot.version)
        if known is not None:
            return known.documents
        span = word_span(start)
        number = await snapshot.count_entries(index.number, span, limit=RARE_MAX + 1)
        if number <= RARE_MAX:
            return number

        async def count() -> Size:
            return Size(await snapshot.count_entries(index.number, span))

        return (await self.count(key, snapshot.version, count)).documents

    def note(self, event: CommitEvent) -> None:
        if not self._kept:
            return
        kept = {index for index, _ in self._kept}
        for change in event.changes:
            for index in self._indexes.of_collection(change.path.segments[-2]):
                old, new = change.old, change.new
                if index.number not in kept:
                    continue
                if old and new and index.is_unaffected(old.fields, new.fields):
                    continue
                self._note_image(index, event.version, change.key, old, -1)
                self._note_image(index, event.version, change.key, new, 1)

    def _note_image(
        self,
        index: Index,
        version: int,
        document_key: bytes,
        image: StoredDocument | None,
        sign: int,
    ) -> None:
        if image is None:
            return
        for head, _, counts, length in index.words(image.path, image.fields, document_key):
            for word in counts:
                key = index.number, head + keys.word_key(word)
                if key in self._kept:
                    self.change(key, version, Size(sign, 0 if word else sign * length))


def word_span(start: bytes) -> KeyRange:
    """The entries of a word."""
    return KeyRange(start, keys.prefix_end(start))


async def _read_size(snapshot: Snapshot, index: int, start: bytes) -> Size:
    documents = length = 0
    span = word_span(start)
    while True:
        found = await snapshot.scan_keys(index, [span], limit=_BATCH)
        documents += len(found)
        length += keys.sum_lengths(found)
        if len(found) < _BATCH:
            return Size(documents, length)
        span = KeyRange(found[-1] + b"\x00", span.end)
