"""BM25 by its definition: every document is looked at, every word is counted anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b
from math import log

from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model import sampling
from baas.model.documents import DocumentLike
from baas.model.paths import DocumentPath, FieldPath, path_key
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


def drawn(path: DocumentPath) -> int:
    """The document's number of 32 bits."""
    key = keys.document_key(path)
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big")


def told(lengths: dict[DocumentPath, int]) -> tuple[int, int]:
    """How many documents there are, and how long they are, as it is told of documents with these
    lengths."""
    counted: Collection[DocumentPath] = lengths
    power = 1
    if len(lengths) > sampling.EXACT_MAX:
        power = 2**sampling.FIRST_LEVEL
        while True:
            counted = [one for one in lengths if drawn(one) < 2**32 // power]
            if len(counted) <= sampling.EXACT_MAX:
                break
            power *= 2
    number, length = len(counted) * power, sum(lengths[one] for one in counted) * power
    if power > 1 and number <= sampling.EXACT_MAX:
        more = sampling.EXACT_MAX + 1
        length = more * (length // power) // max(1, len(counted))
        number = more
    return number, length


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
    lengths = {document.path: rounded(len(words)) for document, words in texts.items()}
    corpus, whole_length = told(lengths)
    mean = whole_length / corpus if corpus else 0
    phrases = [phrase.split() for phrase in query.search.text.split('"')[1::2]]
    for asked in dict.fromkeys(query.search.text.replace('"', " ").split()):
        prefix = asked.removesuffix("*")
        counts = {
            document: sum(
                word.startswith(prefix) if prefix != asked else word == asked for word in words
            )
            for document, words in texts.items()
        }
        holders = {document.path: 0 for document, count in counts.items() if count}
        # Of a prefix all entries are read.
        having = len(holders) if prefix != asked else told(holders)[0]
        having = min(having, corpus)
        weight = log(1 + (corpus - having + 0.5) / (having + 0.5))
        for document, count in counts.items():
            relative = lengths[document.path] / mean if mean else 0
            scores[document] += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * relative))
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
