"""What scores rest on: how many documents are searched, how long they are, how many have a word.

They are told by `model.sampling`, from entries: of each level no more are looked at than it takes
to know that there are too many. So the cost is bounded, however many documents there are. What is
asked for again is kept up by the commits meanwhile, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from baas.database.indexes import NO_WORD, SAMPLE, Index, Indexes
from baas.database.kept_numbers import KeptNumbers
from baas.database.log import CommitEvent
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model import sampling
from baas.model.sampling import SAMPLE_BYTES, Size, level_of
from baas.settings import Limits
from baas.storage.engine import KeyRange, Snapshot

KEPT_MAX = 1_000  # the last ones asked for; of a common word two
SLACK = 500  # documents beyond `EXACT_MAX`: so many may go before it is counted again
RARE_MAX = 1_000  # documents with a word that is not kept
_ALL = -1  # in place of a level: all documents, counted to the end
# The index, what its entries of the word start with, and the level.
_Key: TypeAlias = tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class _Number:
    """How many documents there are at a level, and how long they are, of a corpus. `floors`: 1 if
    that was too many to count to the end: there may be more, and their length is not known."""

    documents: int
    length: int = 0
    floors: int = 0

    def __add__(self, other: _Number) -> _Number:
        return _Number(
            self.documents + other.documents,
            self.length + other.length,
            self.floors + other.floors,
        )

    def __sub__(self, other: _Number) -> _Number:
        return _Number(
            self.documents - other.documents,
            self.length - other.length,
            self.floors - other.floors,
        )

    @property
    def is_over(self) -> bool:
        """Whether there are more than are told of exactly."""
        return not sampling.is_exact(self.documents)

    @property
    def is_unknown(self) -> bool:
        """Whether too many went since there were certainly more than that."""
        return bool(self.floors) and not self.is_over


class Corpora(KeptNumbers[_Key, _Number]):
    """Of one database's indexes of words. `prefix_entries_max`: as many entries the prefixes of
    a text may stand for."""

    def __init__(self, indexes: Indexes, read_version: Callable[[], int], limits: Limits) -> None:
        super().__init__(read_version, zero=_Number(0), kept_max=KEPT_MAX)
        self._indexes = indexes
        self.prefix_entries_max = limits.search_prefix_entries_max

    async def size(self, snapshot: Snapshot, index: Index, head: bytes) -> Size:
        """Of the corpus whose entries start with `head`. Raises StorageError."""
        return await self._tell(snapshot, index, head, NO_WORD)

    async def frequency(self, snapshot: Snapshot, index: Index, head: bytes, word: str) -> int:
        """How many documents of the corpus have a word. Raises StorageError."""
        return (await self._tell(snapshot, index, head, word)).documents

    async def count_all(self, snapshot: Snapshot, index: Index, head: bytes, word: str) -> int:
        """As `frequency`, but exactly of however many. Raises StorageError."""
        start = head + keys.word_key(word)
        key = (index.number, start, _ALL)
        known = self.known(key, snapshot.version)
        if known is not None:
            return known.documents
        span = word_span(start)
        number = await snapshot.count_entries(index.number, span, limit=RARE_MAX + 1)
        if number <= RARE_MAX:
            return number

        async def count() -> _Number:
            return _Number(await snapshot.count_entries(index.number, span))

        return (await self.count(key, snapshot.version, count)).documents

    async def _tell(self, snapshot: Snapshot, index: Index, head: bytes, word: str) -> Size:
        """By the first level that has few documents, which is looked for from the one that it was
        last on."""
        levels = list(sampling.levels())
        at = self._find_kept(index, head, word, levels)
        number = await self._number_at(snapshot, index, head, word, levels[at])
        while number.is_over and at + 1 < len(levels):
            at += 1
            number = await self._number_at(snapshot, index, head, word, levels[at])
        while at:
            before = await self._number_at(snapshot, index, head, word, levels[at - 1])
            if before.is_over:
                break
            at, number = at - 1, before
        return Size(number.documents, number.length).at_level(levels[at])

    def _find_kept(self, index: Index, head: bytes, word: str, levels: list[int]) -> int:
        """The place of a level of which it is known how many documents it has."""
        starts = [head + keys.word_key(word), head + keys.word_key(SAMPLE + word)]
        for at, level in enumerate(levels):
            kept = self._kept.get((index.number, starts[level > 0], level))
            if kept is not None and not kept.number.floors:
                return at
        return 0

    async def _number_at(
        self, snapshot: Snapshot, index: Index, head: bytes, word: str, level: int
    ) -> _Number:
        """How many documents there are at a level: exactly up to `EXACT_MAX` and somewhat more."""
        start = head + keys.word_key(SAMPLE + word if level else word)
        key, span = (index.number, start, level), _level_span(start, level)
        most = sampling.EXACT_MAX

        if word and not level and self.known(key, snapshot.version) is None:
            # Most words are rare. These are counted as they come, and not kept.
            rare = min(RARE_MAX, most)
            few = await snapshot.count_entries(index.number, span, limit=rare + 1)
            if few <= rare:
                return _Number(few)

        async def read() -> _Number:
            number = await snapshot.count_entries(index.number, span, limit=most + SLACK)
            if number > most:
                return _Number(number, floors=1)
            if word:
                return _Number(number)
            found = await snapshot.scan_keys(index.number, [span], limit=most)
            return _Number(number, keys.sum_lengths(found))

        while (number := await self.count(key, snapshot.version, read)).is_unknown:
            self.forget(key)
        return number

    # Commits --------------------------------------------------------------------------------------

    def note(self, event: CommitEvent) -> None:
        kept = {index for index, _, _ in self._kept}
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
        for head, place, counts, length in index.words(image.path, image.fields, document_key):
            difference = _Number(sign, sign * length)
            levels: Sequence[int] = _levels_above(place) if SAMPLE in counts else (_ALL, 0)
            for word in counts:
                start = head + keys.word_key(word)
                for level in levels:
                    key = index.number, start, level
                    if key in self._kept:
                        self.change(key, version, difference)


def word_span(start: bytes) -> KeyRange:
    """The entries of a word."""
    return KeyRange(start, keys.prefix_end(start))


def _level_span(start: bytes, level: int) -> KeyRange:
    return KeyRange(start, start + keys.sample_end(level)) if level else word_span(start)


def _levels_above(place: bytes) -> list[int]:
    """The levels above 0 at which a document of the sample is."""
    highest = level_of(place[:SAMPLE_BYTES])
    return [level for level in sampling.levels() if 0 < level <= highest]
