"""Who has all words of a search, by an index of words.

The entries of one word are in the order of documents. So the entries of the rarest word are read,
and what the other words have between the first and the last of a batch of them: all of it, or, of a
word that is much more frequent, one entry for each document. The words that begin with a prefix lie
one after the other, each in an order of its own: all of their entries are read, and kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from baas.database.budget import ReadBudget
from baas.database.corpora import Corpora, word_span
from baas.database.planner import WordScan
from baas.database.sources import count_within
from baas.encoding import keys
from baas.errors import DeadlineExceeded, QuotaExceeded
from baas.model.sampling import is_exact
from baas.model.search import Corpus, Term
from baas.storage.engine import KeyRange, Snapshot

BATCH = 2_000  # entries that are read at a time, and decoded on the loop
SEEK_RATIO = 8  # entries that are read to find one; where it takes more, each is looked up
LARGE = 10_000  # entries: who reads more waits for one of a few places

# By documents' places: how often they have a word, and how many words they have.
_Postings: TypeAlias = dict[bytes, tuple[int, int]]
# A document's place, how often it has each term, how many words it has.
Found: TypeAlias = tuple[bytes, tuple[int, ...], int]


@dataclass(frozen=True, slots=True)
class _Word:
    """A term by its number, what its entries start with, and how many documents have it, as it is
    told; those of a prefix are read already."""

    number: int
    start: bytes
    frequency: int
    postings: _Postings | None = None


class PostingsReader:
    """Reads indexes of words in one snapshot. `gate` bounds how many read much at a time."""

    def __init__(
        self,
        snapshot: Snapshot,
        corpora: Corpora,
        *,
        gate: asyncio.Semaphore,
        budget: ReadBudget | None,
    ) -> None:
        self._snapshot = snapshot
        self._corpora = corpora
        self.gate = gate
        self._budget = budget
        self.prefix_entries_max = corpora.prefix_entries_max

    async def find(
        self, scan: WordScan, terms: Sequence[Term]
    ) -> AsyncGenerator[tuple[Corpus, list[Found]]]:
        """The documents that have all terms, in batches, each with the corpus. To be read to its
        end, or closed, soon.

        Raises QuotaExceeded (`SearchTooBroad`), DeadlineExceeded (`QueryTooSlow`), StorageError."""
        started = 0.0 if self._budget is None else self._budget.start()
        prefixes = [(number, term) for number, term in enumerate(terms) if term.is_prefix]
        entries: list[int] = []
        for _, term in prefixes:
            entries.append(await self._count_prefix(scan, term, sum(entries)))
        words = []
        for number, term in enumerate(terms):
            if not term.is_prefix:
                words.append(await self._weigh(scan, number, term))
        spend(self._budget, started)
        frequencies = [word.frequency for word in words]
        if not all(frequencies) or not all(entries):
            return
        is_large = sum(entries) > LARGE or min(frequencies, default=0) > LARGE
        async with self.gate if is_large else nullcontext():
            for (number, term), expected in zip(prefixes, entries, strict=True):
                words.append(await self._read_prefix(scan, number, term, expected))
            corpus = await self._measure(scan, words)
            words.sort(key=lambda word: word.frequency)
            async with aclosing(self._batches(scan, words[0])) as batches:
                async for batch in batches:
                    found = await self._narrow(scan, words, batch)
                    if found:
                        yield corpus, found

    async def count(self, scan: WordScan, term: Term, wanted: int | None) -> int:
        """How many documents have a term that is no prefix, counting no further than `wanted`.
        Raises DeadlineExceeded (`QueryTooSlow`), StorageError."""
        snapshot, index, head, word = self._snapshot, scan.index, scan.head, term.word

        async def count(most: int | None) -> int:
            if most is None:
                return await self._corpora.count_all(snapshot, index, head, word)
            span = word_span(head + keys.word_key(word))
            return await snapshot.count_entries(index.number, span, limit=most)

        return await count_within(self._budget, count, wanted)

    async def _count_prefix(self, scan: WordScan, term: Term, before: int) -> int:
        """Its entries, with `before` of the prefixes in front of it: all are held at once."""
        most = self.prefix_entries_max - before
        span = word_span(scan.head + keys.word_prefix(term.word))
        number = await self._snapshot.count_entries(scan.index.number, span, limit=most + 1)
        if number > most:
            raise too_broad(term, self.prefix_entries_max)
        return number

    async def _weigh(self, scan: WordScan, number: int, term: Term) -> _Word:
        start = scan.head + keys.word_key(term.word)
        frequency = await self._corpora.frequency(self._snapshot, scan.index, scan.head, term.word)
        return _Word(number, start, frequency)

    async def _read_prefix(self, scan: WordScan, number: int, term: Term, entries: int) -> _Word:
        start = scan.head + keys.word_prefix(term.word)
        found: _Postings = {}
        async with aclosing(self._scan(scan, word_span(start), entries)) as batches:
            async for batch in batches:
                keys.add_postings(batch, len(scan.head), found)
        return _Word(number, start, len(found), found)

    async def _measure(self, scan: WordScan, words: Sequence[_Word]) -> Corpus:
        started = 0.0 if self._budget is None else self._budget.start()
        size = await self._corpora.size(self._snapshot, scan.index, scan.head)
        spend(self._budget, started)
        in_order = sorted(words, key=lambda word: word.number)
        frequencies = tuple([word.frequency for word in in_order])
        return Corpus(size.documents, size.length, frequencies)

    async def _batches(self, scan: WordScan, word: _Word) -> AsyncGenerator[_Postings]:
        """The entries of a word in the order of documents."""
        if word.postings is not None:
            places = sorted(word.postings)
            for start in range(0, len(places), BATCH):
                yield {place: word.postings[place] for place in places[start : start + BATCH]}
            return
        expected = word.frequency if is_exact(word.frequency) else None
        async with aclosing(self._scan(scan, word_span(word.start), expected)) as batches:
            async for batch in batches:
                yield keys.decode_postings(batch, len(word.start))

    async def _narrow(
        self, scan: WordScan, words: Sequence[_Word], batch: _Postings
    ) -> list[Found]:
        """The documents of a batch of the first word's that have all others."""
        counts: dict[int, _Postings] = {words[0].number: batch}
        left = batch
        for word in words[1:]:
            found = word.postings
            if found is None:
                found = await self._look_up(scan, word, list(left), words[0].frequency)
            counts[word.number] = found
            left = {place: posting for place, posting in left.items() if place in found}
            if not left:
                return []
        if len(words) == 1:
            return [(place, (count,), length) for place, (count, length) in batch.items()]
        by_number = [counts[number] for number in range(len(words))]
        return [
            (place, tuple([postings[place][0] for postings in by_number]), length)
            for place, (_, length) in left.items()
        ]

    async def _look_up(
        self, scan: WordScan, word: _Word, places: Sequence[bytes], frequency: int
    ) -> _Postings:
        """The entries of a word for some documents, perhaps with others; of these, given in order,
        one in so many in the index has another word."""
        if word.frequency > SEEK_RATIO * frequency:
            spans = [word_span(word.start + place) for place in places]
            started = 0.0 if self._budget is None else self._budget.start()
            found = await self._snapshot.scan_keys(scan.index.number, spans, limit=len(spans))
            spend(self._budget, started)
            return keys.decode_postings(found, len(word.start))
        whole = KeyRange(word.start + places[0], keys.prefix_end(word.start + places[-1]))
        wanted = frozenset(places)
        found_all: _Postings = {}
        async with aclosing(self._scan(scan, whole)) as batches:
            async for batch in batches:
                for place, posting in keys.decode_postings(batch, len(word.start)).items():
                    if place in wanted:
                        found_all[place] = posting
        return found_all

    async def _scan(
        self, scan: WordScan, span: KeyRange, expected: int | None = None
    ) -> AsyncGenerator[list[bytes]]:
        """The entries within a span. `expected`: how many there are, if that is known: few are read
        without waiting for a thread."""
        left = expected
        while left is None or left > 0:
            size = BATCH if left is None else min(BATCH, left)
            started = 0.0 if self._budget is None else self._budget.start()
            found = await self._snapshot.scan_keys(scan.index.number, [span], limit=size)
            spend(self._budget, started)
            if found:
                yield found
            if len(found) < size:
                return
            span = KeyRange(found[-1] + b"\x00", span.end)
            left = None if left is None else left - size


def spend(budget: ReadBudget | None, started: float) -> None:
    """Raises DeadlineExceeded (`QueryTooSlow`) once a search has read for too long."""
    if budget is not None and not budget.spend(started):
        raise DeadlineExceeded(
            f"reading what this search needs took over {budget.seconds_max:g} s; search for rarer"
            " words, or among fewer documents",
            reason="QueryTooSlow",
            details={"seconds": budget.seconds_max},
        )


def too_broad(term: Term, entries_max: int) -> QuotaExceeded:
    """Of a prefix that, with the others of its text, stands for too much."""
    return QuotaExceeded(
        f"the words that begin with `{term.word}`, and with the text's other prefixes, have more"
        f" than {entries_max:,} entries (`search_prefix_entries_max`): give them more letters",
        reason="SearchTooBroad",
        details={"term": str(term), "entries_max": entries_max},
    )
