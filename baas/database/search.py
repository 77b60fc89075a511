"""Runs a search over one engine snapshot: who has all words, in the order of scores.

By an index of words: the entries of each word are in the order of documents, so the rarest one is
read, and of the others only what lies around it; documents are read once it is known which ones the
answer has. Without one: every document among which is searched is read, and its words are counted.
Both count the same whole numbers, from which the same scores come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeAlias

from baas.database.batch_size import BatchSize
from baas.database.budget import ReadBudget
from baas.database.planner import Plan, WordScan
from baas.database.postings import Found, PostingsReader, spend, too_broad
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import path_key
from baas.model.queries import Query, field_filters, searched_query, unsearched_query
from baas.model.query_matching import matches
from baas.model.sampling import Tally, level_of
from baas.model.search import Corpus, Scorer, Search, count_terms, count_words, has_phrases
from baas.storage.engine import Snapshot

BATCH = 2_000  # documents whose places are sorted on the loop
PLACES_MAX = 50_000  # that are kept; for what lies behind the last of them all are ranked again
DOCUMENTS_MAX = 500  # of the answer that are read at a time
READ_AT_ONCE_MAX = 2_000  # documents: who has to read more waits for one of a few places
COUNT_ON_LOOP_MAX = 50  # documents whose words are counted on the loop

Documents: TypeAlias = list[StoredDocument]
# Where a document stands in the answer: its score turned over, what orders its name, and its place
# among the entries of a word.
_Place: TypeAlias = tuple[float, Any, bytes]
ReadSearched: TypeAlias = Callable[[Query], AsyncGenerator[Documents]]


class SearchRun:
    """One search, by its plan. `postings` reads a WordScan; `read_searched` gives the documents of
    a `searched_query`, in any order, where no index of words serves."""

    def __init__(
        self,
        snapshot: Snapshot,
        query: Query,
        plan: Plan,
        *,
        postings: PostingsReader,
        read_searched: ReadSearched,
        budget: ReadBudget | None,
    ) -> None:
        assert query.search is not None
        self._snapshot = snapshot
        self._query = query
        self._search: Search = query.search
        self._postings = postings
        self._read_searched = read_searched
        self._budget = budget
        self._scan = _word_scan(plan)
        self._collection = b"" if self._scan is None else self._scan.collection
        self._searched = searched_query(query)
        self._rest = _rest_of(query, self._searched)
        # Whether there is more to know of documents that have all words.
        self._is_checked = self._rest is not None or bool(self._search.phrases)

    async def documents(self, wanted: int | None) -> AsyncGenerator[Documents]:
        """The answer in order. `wanted`: how many will be asked for."""
        most = PLACES_MAX
        if wanted is not None and not self._is_checked:
            most = min(wanted, most)
        last: _Place | None = None
        while True:
            places = await self._rank(most, last)
            async with aclosing(self._read([place for *_, place in places])) as batches:
                async for documents in batches:
                    yield documents
            if len(places) < most:
                return
            last = places[-1]

    async def count(self, wanted: int | None) -> int:
        """How many documents the answer has, counting no further than `wanted`."""
        (term, *others), total = self._search.terms, 0
        is_one_word = not others and not term.is_prefix
        if self._scan is not None and is_one_word and not self._is_checked:
            return await self._postings.count(self._scan, term, wanted)
        async with aclosing(self._find()) as batches:
            async for _, found in batches:
                if not self._is_checked:
                    total += len(found)
                else:
                    async with aclosing(self._read([place for place, _, _ in found])) as read:
                        async for documents in read:
                            total += len(documents)
                if wanted is not None and total >= wanted:
                    return wanted
        return total

    async def _read(self, places: Sequence[bytes]) -> AsyncGenerator[Documents]:
        """Those of the documents that are in the answer."""
        wanted = [self._collection + keys.document_key_at(place) for place in places]
        size, start = BatchSize(DOCUMENTS_MAX), 0
        while start < len(wanted):
            some = wanted[start : start + size.limit]
            started = 0.0 if self._budget is None else self._budget.start()
            documents = [one for one in await self._snapshot.get_documents(some) if one is not None]
            start += len(some)
            size.note(documents)
            if not self._is_checked:
                yield documents
                continue
            if self._search.phrases and len(documents) > COUNT_ON_LOOP_MAX:
                kept = await asyncio.to_thread(self._check, documents)
            else:
                kept = self._check(documents)
            spend(self._budget, started)
            yield kept

    def _check(self, documents: Documents) -> Documents:
        """Those that are in the answer, of documents that have all words."""
        rest, search = self._rest, self._search
        if rest is not None:
            documents = [document for document in documents if matches(rest, document)]
        if search.phrases:
            documents = [one for one in documents if has_phrases(one.fields, search)]
        return documents

    # The order ------------------------------------------------------------------------------------

    async def _rank(self, most: int, last: _Place | None) -> list[_Place]:
        """The places of the best documents behind `last`, at most so many, in order."""
        best: list[_Place] = []
        async with aclosing(self._find()) as batches:
            async for corpus, found in batches:
                scorer = Scorer(corpus)
                behind = last or self._start(scorer)
                places = [self._place(scorer, *one) for one in found]
                best += places if behind is None else [one for one in places if one > behind]
                if len(best) > 2 * most + BATCH:
                    best = (await _sort(best))[:most]
        return (await _sort(best))[:most]

    def _start(self, scorer: Scorer) -> _Place | None:
        """Where the document would stand behind which the search begins."""
        after = self._search.after
        if after is None:
            return None
        own = keys.document_key(after.path)[len(self._collection) :]
        return self._place(scorer, keys.place_key(own), after.counts, after.length)

    def _place(self, scorer: Scorer, place: bytes, counts: tuple[int, ...], length: int) -> _Place:
        name: Any = place  # in the order of names within a collection
        if self._query.all_descendants:
            name = path_key(keys.decode_document_key(keys.document_key_at(place)).segments)
        return -scorer.score(counts, length), name, place

    # Who has all words ----------------------------------------------------------------------------

    def _find(self) -> AsyncGenerator[tuple[Corpus, list[Found]]]:
        """The documents that have all terms, with the corpus in which they were found."""
        if self._scan is not None:
            return self._postings.find(self._scan, self._search.terms)
        return self._find_by_reading()

    async def _find_by_reading(self) -> AsyncGenerator[tuple[Corpus, list[Found]]]:
        counted = _Counted(self._search, self._postings.prefix_entries_max)
        read = 0
        async with AsyncExitStack() as stack:
            batches = self._read_searched(self._searched)
            await stack.enter_async_context(aclosing(batches))
            async for documents in batches:
                started = 0.0 if self._budget is None else self._budget.start()
                if len(documents) <= COUNT_ON_LOOP_MAX:
                    counted.add(documents)
                else:
                    await asyncio.to_thread(counted.add, documents)
                spend(self._budget, started)
                before, read = read, read + len(documents)
                if before <= READ_AT_ONCE_MAX < read:
                    # The index that spares all this must get its turn to be filled.
                    await stack.enter_async_context(self._postings.gate)
        if counted.found:
            yield counted.corpus, counted.found


class _Counted:
    """A corpus, counted document by document."""

    def __init__(self, search: Search, prefix_entries_max: int) -> None:
        self._terms = search.terms
        self._paths = search.paths
        self._prefix_entries_max = prefix_entries_max
        self._all = Tally()
        self._having = [Tally() for _ in search.terms]
        self._entries = 0  # of all prefixes
        self.found: list[Found] = []

    @property
    def corpus(self) -> Corpus:
        size = self._all.size
        frequencies = [
            tally.count if term.is_prefix else tally.size.documents
            for term, tally in zip(self._terms, self._having, strict=True)
        ]
        return Corpus(size.documents, size.length, tuple(frequencies))

    def add(self, documents: Documents) -> None:
        """Raises QuotaExceeded (`SearchTooBroad`)."""
        for document in documents:
            words, length = count_words(document.fields, self._paths)
            if not length:
                continue
            own = keys.document_key(document.path)
            level = level_of(keys.sample_key(own))
            self._all.add(level, length)
            counts = count_terms(words, self._terms)
            for tally, count in zip(self._having, counts, strict=True):
                if count:
                    tally.add(level)
            if all(counts):
                self.found.append((keys.place_key(own), counts, length))
            self._count_entries(words)

    def _count_entries(self, words: dict[str, int]) -> None:
        """As many as an index would have to read."""
        for term in self._terms:
            if term.is_prefix:
                self._entries += sum([word.startswith(term.word) for word in words])
                if self._entries > self._prefix_entries_max:
                    raise too_broad(term, self._prefix_entries_max)


async def _sort(places: list[_Place]) -> list[_Place]:
    if len(places) <= BATCH:
        return sorted(places)
    return await asyncio.to_thread(sorted, places)


def _word_scan(plan: Plan) -> WordScan | None:
    if isinstance(plan, tuple) and len(plan) == 1 and isinstance(plan[0], WordScan):
        return plan[0]
    return None


def _rest_of(query: Query, searched: Query) -> Query | None:
    """What is left to check of documents that are searched and have all words; None: nothing."""
    if len(list(field_filters(query.where))) == len(list(field_filters(searched.where))):
        return None
    return unsearched_query(query)
