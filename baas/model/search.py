"""Full-text search: what is asked, which documents have it, and how well (BM25).

A document is searched as one text: all strings in the fields that are named, and strings in arrays
there, one after the other. It is found if it has every term. Scores rest on whole numbers that are
told the same way by whoever counts: so whatever way a search is answered, its order is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import log

from baas.errors import InvalidQuery
from baas.model.paths import DocumentPath, FieldPath
from baas.model.values import Fields, Value
from baas.model.words import asked_words, sequence_of, words_of
from baas.settings import Limits

# Of a document: what is behind is not found. Both are part of `TOKENIZER`.
WORDS_MAX = 10_000
CHARACTERS_MAX = 100_000
SATURATION = 1.2  # k1 of BM25: how soon a word's coming again stops to matter
LENGTH_WEIGHT = 0.75  # b of BM25: how much the same words count less in a longer text


@dataclass(frozen=True, slots=True)
class Term:
    """A word; with `is_prefix`, any word that begins with it."""

    word: str
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{self.word}*" if self.is_prefix else self.word


@dataclass(frozen=True, slots=True)
class Standing:
    """What a document's place in an answer rests on: its name, how often it has each term, and its
    length."""

    path: DocumentPath
    counts: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class Search:
    """Documents with all words of `text` in their `fields`, the best first. A word right before a
    `*` stands for all words that begin with it. Words between `"` have to stand one right after the
    other, in one string.

    How rare a word is, is counted among the documents that the query's equalities hold; with
    `is_narrow`, among those that all of its filter holds. `after`: only what comes behind."""

    text: str
    fields: tuple[FieldPath, ...]
    is_narrow: bool = False
    after: Standing | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of phrases, too."""
        return _read(self.text).terms

    @property
    def phrases(self) -> tuple[str, ...]:
        """As they are found in what `_sequence` makes of a string."""
        return _read(self.text).phrases

    @property
    def paths(self) -> tuple[FieldPath, ...]:
        """The fields in the order in which they are read, whatever order they were named in."""
        return tuple(sorted(self.fields, key=lambda path: path.segments))


def check_search(search: Search, limits: Limits) -> None:
    """Raises InvalidQuery."""
    fields = search.fields
    if not 0 < len(fields) <= limits.search_fields_max:
        raise InvalidQuery(
            f"`search` names {len(fields)} fields; it needs 1 to {limits.search_fields_max}",
            reason="TooManySearchFields" if fields else "NoSearchFields",
        )
    for place, path in enumerate(fields):
        if path.segments == ("__name__",):
            raise InvalidQuery("`search` cannot look at `__name__`, which is no text")
        if path in fields[:place]:
            raise InvalidQuery(f"`search` names `{path}` twice")
    if len(search.text) > limits.search_text_characters_max:
        raise InvalidQuery(
            f"`search` has a text of {len(search.text):,} characters; at most"
            f" {limits.search_text_characters_max:,} are allowed",
            reason="SearchTextTooLong",
        )
    terms = search.terms
    if not terms:
        raise InvalidQuery("the text of `search` has no word", reason="NoSearchTerms")
    if len(terms) > limits.search_terms_max:
        raise InvalidQuery(
            f"the text of `search` has {len(terms)} terms; at most {limits.search_terms_max} are"
            " allowed",
            reason="TooManySearchTerms",
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    terms: tuple[Term, ...]
    phrases: tuple[str, ...]


@lru_cache(maxsize=1_024)
def _read(text: str) -> _Asked:
    """What is between two `"` is a phrase; one that nothing closes means nothing."""
    pieces = text.split('"')
    if not len(pieces) % 2:
        pieces[-2:] = [" ".join(pieces[-2:])]
    terms: list[Term] = []
    phrases: list[str] = []
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            terms += _read_terms(piece)
            continue
        terms += map(Term, asked_words(piece))
        if len(sequence_of(piece)) > 1:
            phrases.append(_sequence(piece))
    return _Asked(tuple(dict.fromkeys(terms)), tuple(dict.fromkeys(phrases)))


def _sequence(text: str) -> str:
    """Words have no NUL: so a phrase is found in a text if this of one is found in that of both."""
    return "\0".join(["", *sequence_of(text), ""])


def _read_terms(text: str) -> list[Term]:
    *before_stars, last = text.split("*")
    found: list[Term] = []
    for piece in before_stars:
        words = asked_words(piece)
        found += map(Term, words[:-1])
        if words:
            # Characters without spaces between them are found within any run as it is.
            ends_word = bool(words_of(piece[-1])) and len(words_of(words[-1])) == 1
            found.append(Term(words[-1], ends_word))
    found += map(Term, asked_words(last))
    return found


# Documents ----------------------------------------------------------------------------------------


def count_words(fields: Fields, paths: Sequence[FieldPath]) -> tuple[dict[str, int], int]:
    """How often each word stands in a document's fields, which are in the order of `Search.paths`,
    and how many words there are, rounded."""
    counts: Counter[str] = Counter()
    length, characters = 0, CHARACTERS_MAX
    for text in _texts(fields, paths):
        words = words_of(text[:characters])[: WORDS_MAX - length]
        length += len(words)
        counts.update(words)
        characters -= len(text)
        if length == WORDS_MAX or characters <= 0:
            break
    return counts, round_length(length)


def round_length(words: int) -> int:
    """With its first four binary digits only. Entries of words tell the length of their document:
    this way most of them stay when a word is added, and scores hardly know."""
    rest = max(0, words.bit_length() - 4)
    return words >> rest << rest


def count_terms(counts: Mapping[str, int], terms: Sequence[Term]) -> tuple[int, ...]:
    """How often a document with these words has each term; 0 for one that it lacks."""
    return tuple(
        [
            sum([number for word, number in counts.items() if word.startswith(term.word)])
            if term.is_prefix
            else counts.get(term.word, 0)
            for term in terms
        ]
    )


def has_terms(fields: Fields, search: Search) -> bool:
    """Whether a document is found."""
    counts = count_terms(count_words(fields, search.paths)[0], search.terms)
    return all(counts) and has_phrases(fields, search)


def has_phrases(fields: Fields, search: Search) -> bool:
    """Whether a document has each of the phrases in one of its strings."""
    left, characters = list(search.phrases), CHARACTERS_MAX
    for text in _texts(fields, search.paths):
        if not left or characters <= 0:
            break
        sequence = _sequence(text[:characters])
        left = [phrase for phrase in left if phrase not in sequence]
        characters -= len(text)
    return not left


def _texts(fields: Fields, paths: Sequence[FieldPath]) -> Iterator[str]:
    for path in paths:
        found: Value = fields
        for segment in path.segments:
            found = found.get(segment) if isinstance(found, dict) else None
        if isinstance(found, str):
            yield found
        elif isinstance(found, list):
            yield from islice((item for item in found if isinstance(item, str)), WORDS_MAX)


# Scores -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents among which is searched: those that have words in the fields. `frequencies`:
    how many of them have each term. Of many documents they are what `model.sampling` tells."""

    documents: int
    length: int
    frequencies: tuple[int, ...]


class Scorer:
    """BM25 over one corpus: `score` of a document by its counts of each term, and its length. What
    differs by less than a billionth is equal, so that no order rests on how numbers are added."""

    __slots__ = ("_base", "_per_word", "_weights")

    def __init__(self, corpus: Corpus) -> None:
        documents = corpus.documents
        self._weights = [
            (SATURATION + 1) * log(1 + (documents - number + 0.5) / (number + 0.5))
            for frequency in corpus.frequencies
            # What is told of by samples may be more than all.
            for number in [min(frequency, documents)]
        ]
        mean = corpus.length / documents if documents else 1.0
        self._base = SATURATION * (1 - LENGTH_WEIGHT)
        self._per_word = SATURATION * LENGTH_WEIGHT / mean if mean else 0.0

    def score(self, counts: Sequence[int], length: int) -> float:
        by_length = self._base + self._per_word * length
        total = 0.0
        for weight, count in zip(self._weights, counts, strict=True):
            total += weight * count / (count + by_length)
        return round(total, 9)
