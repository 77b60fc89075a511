"""Indexes: ordered entries that let a query read its answer and nothing else.

An index belongs to a collection id and serves every collection with that id. Its fields are named
in a fixed sequence; a document that lacks one of them has no entry. Scope *collection*: the key of
an entry starts with the collection, so that one collection's entries are contiguous. Scope *group*:
it does not, and entries of all collections with the id lie in one order.

    collection   collection's key prefix · key of each field · document key
    group        key of each field · key of the document's name · document key
    below        key of the name of a document above · as group; one entry for each document above

Fields of the kind `words` come last. What follows on the other fields is the same in every scope:

    words        word · document key (of a collection: what follows its prefix) · how often · of how
                 many words; with no word and zero times once for each document that has any.
                 One document in sixteen has all of these twice: SAMPLE word · its number · as above

Records of indexes are documents of the reserved collection `__indexes__`, made on demand by queries
(see `index_builder`). What commits need of this is `entries_for`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from baas.encoding import keys
from baas.encoding.cells import encode_place
from baas.errors import DataLoss, InvalidArgument
from baas.model import sampling
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.sampling import level_of
from baas.model.search import WORDS_MAX, count_words
from baas.model.values import Fields, GeoPoint, Reference, Value
from baas.storage.engine import Entries

INDEXES = CollectionPath(("__indexes__",))
SIGNALS = CollectionPath(("__signals__",))
_RESERVED = frozenset((INDEXES.id, SIGNALS.id))

_MISSING: Any = object()
NO_WORD = ""  # in place of a word, for the document itself
SAMPLE = "\x01"  # before a word, of documents that tell how many have it (`model.sampling`)
_NOTHING: tuple[tuple[Entries, ...], tuple[Entries, ...]] = ((), ())


class IndexKind(Enum):
    """What of a field stands in an entry; the values are stored."""

    PLAIN = "plain"  # the value
    ARRAY = "array"  # one entry per distinct element of an array, none for anything else
    WORDS = "words"  # one entry per word of all fields of this kind, and one for the document
    CELL = "cell"  # where a geo point lies (`encoding.cells`), none for anything else


@dataclass(frozen=True, slots=True)
class IndexField:
    path: FieldPath
    descending: bool = False
    kind: IndexKind = IndexKind.PLAIN

    def __str__(self) -> str:
        kind = "" if self.kind is IndexKind.PLAIN else f":{self.kind.value}"
        return f"{self.path}{kind}{':desc' if self.descending else ''}"


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """What an index holds. `group`: for queries over all collections with the id at once; with
    `below`, over those below one document. `tokenizer`: how words are found, if it holds any."""

    collection_id: str
    group: bool
    fields: tuple[IndexField, ...]
    below: bool = False
    tokenizer: str = ""

    @property
    def words(self) -> tuple[FieldPath, ...]:
        """The fields of which it holds the words."""
        return tuple([field.path for field in self.fields if field.kind is IndexKind.WORDS])

    @property
    def scope(self) -> str:
        """`collection`, `group` or `below`."""
        return "below" if self.below else "group" if self.group else "collection"

    def __str__(self) -> str:
        return f"{self.collection_id} ({self.scope}): {', '.join(map(str, self.fields))}"


class Index:
    """One index of one database. `number` is its name in the engine and is never used again.

    `uses` counts the queries that this node planned on it; `used_at` is when, in microseconds since
    1970, some node last told of one.
    """

    __slots__ = (
        "_getters",
        "_only",
        "_words",
        "array",
        "definition",
        "has_elements",
        "is_pinned",
        "noted_uses",
        "number",
        "ready_at",
        "scanned",
        "told_at",
        "used_at",
        "uses",
    )

    def __init__(self, number: int, definition: IndexDefinition) -> None:
        self.number = number
        self.definition = definition
        self.is_pinned = False
        self.scanned = 0  # documents that filling it has looked at, on this node
        self.uses = self.noted_uses = 0
        self.used_at = self.told_at = 0  # what this node knows, and what its record says
        # The generation from which on it is complete; None while it is being filled.
        self.ready_at: int | None = None
        self._getters = [(field, field.path.segments) for field in definition.fields]
        self._only = _only_field(definition)
        self._words = definition.words
        arrays = [field.path for field in definition.fields if field.kind is IndexKind.ARRAY]
        self.array = arrays[0].segments if arrays else ()  # whose elements have entries, or none
        self.has_elements = bool(self.array or self._words)

    def entry_keys(
        self, path: DocumentPath, fields: Fields, document_key: bytes | None = None
    ) -> Sequence[bytes]:
        """The keys of a document's entries: none, one, or one per distinct array element.
        `document_key` is the document's own, given by who has it."""
        if document_key is None:
            document_key = keys.document_key(path)
        if self._only is not None:
            name, descending = self._only
            value = fields.get(name, _MISSING)
            if value is _MISSING:
                return ()
            # The document's key begins with its collection's prefix, up to its only `//`.
            head = document_key[: document_key.index(b"//") + 2]
            return (head + keys.encode_value(value, descending) + document_key,)
        if self._words:
            return [
                key
                for head, place, counts, length in self.words(path, fields, document_key)
                for key in keys.word_keys(head, counts, place, length)
            ]
        parts: list[bytes] = []
        elements: set[bytes] | None = None
        place = 0
        for field, segments in self._getters:
            value = _get(fields, segments)
            if value is _MISSING:
                return ()
            if field.kind is IndexKind.ARRAY:
                if type(value) is not list or not value:
                    return ()
                elements = {keys.encode_value(item, field.descending) for item in value}
                place = len(parts)
                parts.append(b"")
            elif field.kind is IndexKind.CELL:
                if type(value) is not GeoPoint:
                    return ()
                parts.append(encode_place(value))
            else:
                parts.append(keys.encode_value(value, field.descending))
        tail = document_key
        if self.definition.group:
            # Document keys are in `__name__` order within a collection only.
            tail = keys.encode_value(Reference(path)) + document_key
        if self.definition.below:
            return _keys_below(path, parts, place, elements, tail)
        head = b"" if self.definition.group else collection_prefix(path.segments[:-1])
        if elements is None:
            return (b"".join((head, *parts, tail)),)
        before, after = b"".join((head, *parts[:place])), b"".join((*parts[place + 1 :], tail))
        return [before + element + after for element in sorted(elements)]

    def changed_keys(
        self, path: DocumentPath, old: Fields, new: Fields | None, document_key: bytes | None
    ) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """The keys that only the old fields of a document have, and those that only the new have,
        if there are any."""
        if document_key is None:
            document_key = keys.document_key(path)
        if self._words and new is not None:
            changed = self._changed_words(path, old, new, document_key)
            if changed is not None:
                return changed
        before = self.entry_keys(path, old, document_key)
        after = () if new is None else self.entry_keys(path, new, document_key)
        return list(set(before).difference(after)), list(set(after).difference(before))

    def _changed_words(
        self, path: DocumentPath, old: Fields, new: Fields, document_key: bytes
    ) -> tuple[list[bytes], list[bytes]] | None:
        """As `changed_keys`, where entries of the words that stay are the same."""
        gone: list[bytes] = []
        come: list[bytes] = []
        before = self.words(path, old, document_key)
        for start, end in zip_longest(before, self.words(path, new, document_key)):
            if start is None or end is None:
                return None
            (head, place, counts, length), (*same, counts_now, length_now) = start, end
            if same != [head, place] or length_now != length:
                return None
            were = dict(counts.items() - counts_now.items())
            now = dict(counts_now.items() - counts.items())
            gone += keys.word_keys(head, were, place, length)
            come += keys.word_keys(head, now, place, length)
        return gone, come

    def elements_max(self, path: DocumentPath) -> int:
        """As many entries `count_elements` may tell of whatever document there is; 0 where no
        document has more than one for each document above."""
        if self._words:
            return (WORDS_MAX + 1) * self._heads_max(path)
        return sys.maxsize if self.array else 0

    def count_elements(self, path: DocumentPath, fields: Fields) -> int:
        """At most how many entries the elements of an array, or the words, lead to; 0 where there
        are none. Those for the sample are left out: a name does not decide what is too much."""
        if self._words:
            count = len(count_words(fields, self._words)[0]) + 1
        else:
            value = _get(fields, self.array)
            count = len(value) if type(value) is list else 0
        return count * self._heads_max(path)

    def _heads_max(self, path: DocumentPath) -> int:
        return len(path.segments) // 2 if self.definition.below else 1

    def is_usable(self, generation: int) -> bool:
        """Whether it was complete before a snapshot of that generation was opened."""
        return self.ready_at is not None and self.ready_at <= generation

    def words(
        self, path: DocumentPath, fields: Fields, document_key: bytes
    ) -> Iterator[tuple[bytes, bytes, Mapping[str, int], int]]:
        """What a document has in an index of words: what its entries start with up to the word, its
        place among those of a word, how often it has each word, and how many there are; the same
        again for the sample, if it is in it."""
        fixed = b""
        for field, segments in self._getters[: -len(self._words)]:
            value = _get(fields, segments)
            if value is _MISSING:
                return
            fixed += keys.encode_value(value, field.descending)
        counts, length = count_words(fields, self._words)
        if not length:
            return
        counts[NO_WORD] = 0
        sample = _find_sample(document_key)
        sampled = {} if sample is None else {SAMPLE + word: counts[word] for word in counts}
        for head in _heads(path, self.definition):
            # Within one collection the ids say which document it is.
            own = (
                document_key[len(head) :] if self.definition.scope == "collection" else document_key
            )
            place = keys.place_key(own)
            yield head + fixed, place, counts, length
            if sample is not None:
                yield head + fixed, sample + place, sampled, length

    def is_unaffected(self, old: Fields, new: Fields) -> bool:
        """Whether the entries are plainly the same; False only means that they have to be made."""
        for _, segments in self._getters:
            before, after = _get(old, segments), _get(new, segments)
            if before is after:
                continue
            kind = type(before)
            if kind is not type(after) or kind not in _PLAIN or before != after:
                return False
        return True

    @property
    def is_spare(self) -> bool:
        """Whether it may be dropped once nobody uses it."""
        return self.ready_at is not None and not self.is_pinned


_PLAIN = frozenset({str, int, bool, bytes})


def _only_field(definition: IndexDefinition) -> tuple[str, bool] | None:
    """Name and direction, of an index of the simplest kind, as most are: one field at the top of
    the documents of a collection, one entry each."""
    if definition.group or len(definition.fields) != 1:
        return None
    (first,) = definition.fields
    if first.kind is not IndexKind.PLAIN or len(first.path.segments) != 1:
        return None
    return first.path.segments[0], first.descending


def new_entries(
    indexes: Sequence[Index],
    path: DocumentPath,
    fields: Fields,
    document_key: bytes | None,
    *,
    most: int,
) -> list[Entries]:
    """The entries of a document that was not there before, as `Indexes.entries_for`."""
    added: list[Entries] = []
    elements = 0
    for index in indexes:
        if index.has_elements and index.elements_max(path) > most // len(indexes):
            elements += index.count_elements(path, fields)
            if elements > most:
                raise _too_many_entries(path, most)
        found = index.entry_keys(path, fields, document_key)
        if found:
            added.append(Entries(index.number, found))
    return added


class Indexes:
    """All indexes of one database, as commits and queries see them. Not persistent by itself.

    An index serves a query only if it was complete **before** the query's snapshot was opened:
    back-filling writes no versions, so a snapshot cannot tell. Whoever opens a snapshot takes
    `generation` first and hands both to the planner.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._by_collection: dict[str, tuple[Index, ...]] = {}
        self._by_definition: dict[IndexDefinition, Index] = {}

    def __iter__(self) -> Iterator[Index]:
        return iter(list(self._by_definition.values()))

    def entries_for(
        self,
        path: DocumentPath,
        old: Fields | None,
        new: Fields | None,
        document_key: bytes | None = None,
        *,
        most: int = sys.maxsize,
    ) -> tuple[Sequence[Entries], Sequence[Entries]]:
        """The entries that a change of one document removes and adds: those that differ, and while
        an index is being filled all that it adds. An image that is None does not exist.
        `document_key` is the document's own, given by who has it. Raises InvalidArgument
        (`TooManyIndexEntries`) for arrays or words that lead to more than `most` new ones."""
        indexes = self._by_collection.get(path.segments[-2])
        if indexes is None:
            return _NOTHING
        if old is None:
            return [], new_entries(indexes, path, new or {}, document_key, most=most)
        removed: list[Entries] = []
        added: list[Entries] = []
        elements = 0
        share = most // len(indexes)  # within which no index has to be counted
        for index in indexes:
            # Back-filling passes over documents that change under it, so that their entries have
            # to come from here, even if they are what they would have been before.
            is_building = index.ready_at is None
            can_stay = not is_building and new is not None
            if can_stay and index.is_unaffected(old, new or {}):
                continue
            if new is not None and index.elements_max(path) > share:
                elements += index.count_elements(path, new)
                if elements > most:
                    raise _too_many_entries(path, most)
            gone, come = index.changed_keys(path, old, new, document_key)
            if is_building and new is not None:
                come = index.entry_keys(path, new, document_key)
            if gone:
                removed.append(Entries(index.number, gone))
            if come:
                added.append(Entries(index.number, come))
        return removed, added

    def find(self, definition: IndexDefinition) -> Index | None:
        """The index of exactly this definition, complete or not."""
        return self._by_definition.get(definition)

    def of_collection(self, collection_id: str) -> tuple[Index, ...]:
        """All indexes of a collection id, complete or not."""
        return self._by_collection.get(collection_id, ())

    def add(self, index: Index) -> None:
        """From now on every commit maintains the index; queries use it once it is ready."""
        definition = index.definition
        assert definition not in self._by_definition, definition
        self._by_definition[definition] = index
        others = self._by_collection.get(definition.collection_id, ())
        self._by_collection[definition.collection_id] = (*others, index)

    def remove(self, index: Index) -> None:
        """No commit maintains the index any more, and no plan that is made from now on uses it.
        Snapshots that were opened before still see all of its entries."""
        if self._by_definition.get(index.definition) is not index:
            return
        self.generation += 1  # plans that are kept are made anew
        collection_id = index.definition.collection_id
        self._by_definition.pop(index.definition, None)
        others = tuple([item for item in self.of_collection(collection_id) if item is not index])
        if others:
            self._by_collection[collection_id] = others
        else:
            self._by_collection.pop(collection_id, None)

    def note_uses(self, now_microseconds: int) -> None:
        """What was used since the last call was used now."""
        for index in self:
            if index.uses != index.noted_uses:
                index.noted_uses = index.uses
                index.used_at = now_microseconds

    def mark_ready(self, index: Index) -> None:
        """The index is complete; snapshots opened from now on may use it."""
        self.generation += 1
        index.ready_at = self.generation


# Keys --------------------------------------------------------------------------------------------


def _too_many_entries(path: DocumentPath, most: int) -> InvalidArgument:
    return InvalidArgument(
        f"the arrays and words of `{path}` would have more than {most:,} entries in indexes"
        " (`document_index_entries_max`): make them shorter, or drop indexes",
        reason="TooManyIndexEntries",
    )


@lru_cache(maxsize=4_096)
def collection_prefix(segments: tuple[str, ...]) -> bytes:
    """What every entry of one collection starts with, and no entry of another one with its id."""
    return keys.collection_span(CollectionPath(segments))[0]


def _heads(path: DocumentPath, definition: IndexDefinition) -> Sequence[bytes]:
    """What a document's entries start with, by the scope."""
    if definition.below:
        return _keys_above(path)
    return (b"" if definition.group else collection_prefix(path.segments[:-1]),)


def _keys_above(path: DocumentPath) -> Sequence[bytes]:
    """The keys of the documents above a path; equal ones, cut in the same place, once."""
    segments = path.segments
    return sorted({above_key(DocumentPath(segments[:end])) for end in range(2, len(segments), 2)})


def _keys_below(
    path: DocumentPath, parts: list[bytes], place: int, elements: set[bytes] | None, tail: bytes
) -> Sequence[bytes]:
    """One key for each document above the path (and array element)."""
    made: list[bytes] = []
    for head in _keys_above(path):
        for element in sorted(elements) if elements is not None else (b"",):
            if elements is not None:
                parts[place] = element
            made.append(b"".join((head, *parts, tail)))
    return made


def _find_sample(document_key: bytes) -> bytes | None:
    """The document's number, if it is in the sample."""
    sample = keys.sample_key(document_key)
    return sample if level_of(sample) >= sampling.FIRST_LEVEL else None


def above_key(path: DocumentPath) -> bytes:
    """What the entries of all that is below a document start with, where the scope is `below`."""
    return keys.encode_value(Reference(path))


def is_reserved_collection(collection_id: str) -> bool:
    """Whether the collection is the server's own."""
    return collection_id in _RESERVED


def is_reserved(path: DocumentPath) -> bool:
    """Whether the document is the server's own, and in no query's answer."""
    return path.segments[0] in _RESERVED


def _get(fields: Fields, segments: tuple[str, ...]) -> Any:
    if len(segments) == 1:
        return fields.get(segments[0], _MISSING)
    found: Any = fields
    for segment in segments:
        if type(found) is not dict:
            return _MISSING
        found = found.get(segment, _MISSING)
    return found


# Records as documents ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """What is kept of an index. `used`: microseconds since 1970, to the day or so. Of a dropped one
    entries may be left; nobody maintains or uses them. A restored one is nobody's to fill until
    some node opens the database."""

    definition: IndexDefinition
    is_ready: bool = False
    is_pinned: bool = False
    is_dropped: bool = False
    used: int = 0
    is_restored: bool = False


def definition_path(number: int) -> DocumentPath:
    """The document that holds an index's record."""
    return INDEXES.document(str(number))


def encode_record(record: IndexRecord) -> Fields:
    """The record as a document's fields."""
    definition = record.definition
    fields: list[Value] = [
        {"field": str(field.path), "descending": field.descending, "kind": field.kind.value}
        for field in definition.fields
    ]
    return {
        "collection": definition.collection_id,
        "group": definition.group,
        "below": definition.below,
        "tokenizer": definition.tokenizer,
        "fields": fields,
        "ready": record.is_ready,
        "pinned": record.is_pinned,
        "dropped": record.is_dropped,
        "used": record.used,
        "restored": record.is_restored,
    }


def decode_record(fields: Mapping[str, Any], *, written: int = 0) -> IndexRecord:
    """The record of a document that was written at version `written`. Raises DataLoss if it is
    damaged."""
    try:
        return IndexRecord(
            IndexDefinition(
                fields["collection"],
                fields["group"],
                tuple(_decode_fields(fields["fields"])),
                bool(fields.get("below", False)),
                str(fields.get("tokenizer", "")),
            ),
            is_ready=bool(fields["ready"]),
            # Records of the first format know no more than that.
            is_pinned=bool(fields.get("pinned", False)),
            is_dropped=bool(fields.get("dropped", False)),
            used=int(fields.get("used", written)),
            is_restored=bool(fields.get("restored", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataLoss(f"an index definition is damaged: {error!r}") from error


def _decode_fields(items: Iterable[Mapping[str, Any]]) -> Iterator[IndexField]:
    for item in items:
        if "kind" in item:
            kind = IndexKind(item["kind"])
        else:  # a record from before there were more than these two
            kind = IndexKind.ARRAY if item["array"] else IndexKind.PLAIN
        yield IndexField(FieldPath.parse(item["field"]), item["descending"], kind)
