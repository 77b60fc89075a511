"""BM25 by its definition: every document is looked at, every word is counted anew."""

from __future__ import annotations

from collections.abc import Iterable
from math import log

from baas.encoding.documents import StoredDocument
from baas.model.documents import DocumentLike
from baas.model.paths import FieldPath, path_key
from baas.model.queries import NAME, Order, Query, searched_query
from baas.model.query_matching import matches

K1, B = 1.2, 0.75


def searched_text(document: DocumentLike, fields: Iterable[FieldPath]) -> list[str]:
    """The words of fields that hold words with nothing but single spaces in between."""
    return [word for text in searched_strings(document, fields) for word in text]


def searched_strings(document: DocumentLike, fields: Iterable[FieldPath]) -> list[list[str]]:
    """The same, of each string by itself."""
    values = [document.fields.get(path.segments[0]) for path in fields]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return [text.split() for text in texts if isinstance(text, str)]


def has_phrase(document: DocumentLike, fields: Iterable[FieldPath], phrase: list[str]) -> bool:
    return any(
        words[start : start + len(phrase)] == phrase
        for words in searched_strings(document, fields)
        for start in range(len(words))
    )


def rounded(length: int) -> int:
    """Down to sixteenths of the next power of two."""
    step = 1
    while length >= 16 * step:
        step *= 2
    return length // step * step


def search(query: Query, documents: Iterable[StoredDocument]) -> list[StoredDocument]:
    """The answer, of a query whose text is words, prefixes and phrases of words, with single spaces
    in between."""
    assert query.search is not None
    searched = searched_query(query)
    texts = {
        document: words
        for document in documents
        if matches(searched, document) and (words := searched_text(document, query.search.fields))
    }
    scores = dict.fromkeys(texts, 0.0)
    found = set(texts)
    phrases = [phrase.split() for phrase in query.search.text.split('"')[1::2]]
    for asked in dict.fromkeys(query.search.text.replace('"', " ").split()):
        prefix = asked.removesuffix("*")
        counts = {
            document: sum(
                word.startswith(prefix) if prefix != asked else word == asked for word in words
            )
            for document, words in texts.items()
        }
        having = sum(count > 0 for count in counts.values())
        weight = log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        mean = sum(rounded(len(words)) for words in texts.values()) / max(1, len(texts))
        for document, count in counts.items():
            length = rounded(len(texts[document]))
            scores[document] += (
                weight * count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean))
            )
            if not count:
                found.discard(document)
    rest = [
        document
        for document in found
        if all(matches(one, document) for one in [searched, _unsearched(query)])
        and all(has_phrase(document, query.search.fields, phrase) for phrase in phrases)
    ]
    # The same numbers, multiplied in another order, differ in their last digits.
    rest.sort(key=lambda one: (-round(scores[one], 9), path_key(one.path.segments)))
    end = None if query.limit is None else query.offset + query.limit
    return rest[query.offset : end]


def _unsearched(query: Query) -> Query:
    # An order by scores asks for no field of an inequality.
    by_name = (Order(NAME),)
    return Query(query.collection, query.all_descendants, query.parent, query.where, by_name)
