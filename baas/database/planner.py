"""From a query to the key ranges that hold its answer. Pure: no I/O.

A query is brought into disjunctive normal form. Each disjunct becomes one scan that yields its
documents in the query's order: the fields held equal come first in the index, then the fields that
the query is ordered by; inequalities and cursors narrow the range. The executor merges the scans
and checks every document against the whole query again: a range may hold too much, never too
little.

If one disjunct has no index that serves it exactly, the whole query is answered by reading the
collection, and the plan says which indexes are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from baas.database.indexes import (
    Index,
    IndexDefinition,
    Indexes,
    IndexField,
    IndexKind,
    above_key,
    collection_prefix,
)
from baas.encoding import keys
from baas.encoding.cells import Center, cell_key
from baas.model.documents import DocumentLike
from baas.model.geo import EARTH_RADIUS_METERS
from baas.model.near import Near
from baas.model.order import compare, is_equal
from baas.model.paths import DocumentPath, FieldPath
from baas.model.queries import (
    NAME,
    Cursor,
    FieldFilter,
    Operator,
    Order,
    Query,
    effective_orders,
    field_filters,
    is_inequality,
    searched_query,
)
from baas.model.query_disjunctions import disjunctions
from baas.model.query_matching import accepts
from baas.model.query_order import get_field
from baas.model.search import Search
from baas.model.values import Reference, Value
from baas.model.words import TOKENIZER
from baas.storage.engine import KeyRange


class Gaps(Protocol):
    """Where inequalities on the second field leave nothing, among the entries of one value of the
    first."""

    def around(self, document: DocumentLike) -> tuple[KeyRange, list[KeyRange]] | None:
        """The keys of all entries that share the document's value, and those of them that can be in
        the answer; None if that cannot be told."""
        ...


@dataclass(frozen=True, slots=True)
class IndexScan:
    """Entries of one index. `spans` are disjoint and ascending; `descending` reads them backwards.
    `exact`: every entry within them is a document of the disjunct, and occurs once. If not, `gaps`
    may say where reading on is of no use."""

    index: Index
    spans: tuple[KeyRange, ...]
    descending: bool
    exact: bool
    gaps: Gaps | None = None


@dataclass(frozen=True, slots=True)
class NearScan:
    """Entries of an index of cells. `prefix` is what they all begin with, before the cell; `spans`
    hold whatever is within the radius, and more. `exact`: all that is within it is in the answer,
    each document once; if not, documents are checked. They come in the query's order as
    `near.NearReader` reads them."""

    index: Index
    prefix: bytes
    center: Center
    spans: tuple[KeyRange, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class NameScan:
    """Documents of one collection by name."""

    spans: tuple[KeyRange, ...]
    descending: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class PointGet:
    """One document by name."""

    path: DocumentPath


@dataclass(frozen=True, slots=True)
class WordScan:
    """Entries of an index of words: of each word those that start with `head` and go on with it.
    They name documents by what follows `collection` in their keys. `exact`: every document that has
    all words is in the answer, and none is looked at for more."""

    index: Index
    head: bytes
    collection: bytes
    exact: bool


@dataclass(frozen=True, slots=True)
class CollectionScan:
    """Every document within `span`, each looked at. `is_ordered`: they come in the query's order.
    `missing`: the indexes that would have served."""

    span: KeyRange
    is_ordered: bool
    missing: tuple[IndexDefinition, ...]


_NAME_FIELD = IndexField(NAME)

Scan: TypeAlias = IndexScan | NearScan | NameScan | PointGet | WordScan
Plan: TypeAlias = "tuple[Scan, ...] | CollectionScan"


def plan_query(query: Query, indexes: Indexes, generation: int) -> Plan:
    """The plan for a checked query, on indexes that were ready at `generation`. No scans at all:
    nothing can match. A search is a WordScan, or the plan of its `searched_query`."""
    if query.search is not None:
        return _plan_search(query, query.search, indexes, generation)
    orders = effective_orders(query)
    if _is_all_by_name(query, orders):
        prefix = collection_prefix(query.collection.segments)
        span = KeyRange(prefix, keys.prefix_end(prefix))
        return (NameScan((span,), orders[0].descending, True),)
    if query.all_descendants and not query.collection.id:
        return CollectionScan(_whole_span(query), False, ())
    scans: list[Scan] = []
    missing: list[IndexDefinition] = []
    for filters in disjunctions(query.where):
        disjunct = _Disjunct(query, filters, orders)
        if disjunct.is_empty:
            continue
        found = disjunct.plan(indexes, generation)
        if found is None:
            missing.append(disjunct.definition)
        else:
            scans.append(found)
    if missing:
        return CollectionScan(
            _whole_span(query),
            not query.all_descendants and query.near is None and orders == (Order(NAME),),
            tuple(dict.fromkeys(missing)),
        )
    return tuple(scans)


def _plan_search(query: Query, search: Search, indexes: Indexes, generation: int) -> Plan:
    searched = searched_query(query)
    if search.is_narrow:
        return plan_query(searched, indexes, generation)
    (filters,) = disjunctions(searched.where)
    disjunct = _Disjunct(searched, filters, effective_orders(searched))
    if disjunct.is_empty:
        return ()
    head = disjunct.collection if query.parent is None else above_key(query.parent)
    parts = [head, *map(keys.encode_value, disjunct.equal.values())]
    if not query.collection.id or any(map(keys.is_cut, parts)):
        return CollectionScan(_whole_span(query), False, ())
    definition = _words_definition(query, search, disjunct.equal)
    index = _find_words(definition, indexes, generation)
    if index is None:
        return CollectionScan(_whole_span(query), False, (definition,))
    for field in index.definition.fields[: len(disjunct.equal)]:
        head += keys.encode_value(disjunct.equal[field.path], field.descending)
    is_filtered = len(filters) != sum(1 for _ in field_filters(query.where))
    is_exact = not is_filtered and not search.phrases
    return (WordScan(index, head, disjunct.collection, is_exact),)


def _words_definition(query: Query, search: Search, equal: Iterable[FieldPath]) -> IndexDefinition:
    """The index that serves a search: the fields that are held equal, and the words."""
    fixed = [IndexField(path) for path in sorted(equal, key=lambda path: path.segments)]
    words = [IndexField(path, kind=IndexKind.WORDS) for path in search.paths]
    return IndexDefinition(
        query.collection.id,
        query.all_descendants,
        (*fixed, *words),
        query.parent is not None,
        TOKENIZER,
    )


def _find_words(wanted: IndexDefinition, indexes: Indexes, generation: int) -> Index | None:
    for index in indexes.of_collection(wanted.collection_id):
        definition = index.definition
        if (
            index.is_usable(generation)
            and definition.scope == wanted.scope
            and definition.tokenizer == wanted.tokenizer
            and definition.words == wanted.words
            and len(definition.fields) == len(wanted.fields)
            and _regardless_of_direction(definition.fields)
            == _regardless_of_direction(wanted.fields)
        ):
            return index
    return None


def _is_all_by_name(query: Query, orders: tuple[Order, ...]) -> bool:
    """The commonest query of all: the documents of one collection, from its start or its end."""
    return (
        query.where is None
        and query.near is None
        and len(orders) == 1
        and query.start is None
        and query.end is None
        and not query.all_descendants
        and not query.existing
    )


def is_countable(query: Query, plan: Plan) -> bool:
    """Whether the number of keys in the plan's spans is the number of matching documents."""
    if isinstance(plan, CollectionScan) or len(plan) != 1:
        return False
    scan = plan[0]
    return not isinstance(scan, PointGet | NearScan | WordScan) and scan.exact


def _whole_span(query: Query) -> KeyRange:
    if not query.all_descendants:
        return KeyRange(*keys.collection_span(query.collection))
    if query.parent is None:
        return KeyRange(b"", None)
    return KeyRange(*keys.subtree_span(query.parent))


class _Disjunct:
    """One `and` of filters on its way to a scan."""

    def __init__(
        self, query: Query, filters: tuple[FieldFilter, ...], orders: tuple[Order, ...]
    ) -> None:
        self.query = query
        self.orders = orders
        self.is_group = query.all_descendants
        # What is below one document, in an order by a field, lies together in entries of its own.
        self.below: DocumentPath | None = None
        # With it starts every entry, and every document key, of the one collection that is asked.
        self.collection = b"" if self.is_group else collection_prefix(query.collection.segments)
        self.equal: dict[FieldPath, Value] = {}
        self.name: DocumentPath | None = None
        self.element: FieldFilter | None = None
        self.inequalities: list[FieldFilter] = []
        self.exact = True
        self.is_empty = False  # no document can pass all of its filters
        for item in filters:
            self._sort_in(item)
        self._decide_equal()
        name_order = orders[-1]
        # Names always ascend in an index: a query that wants them descending reads it backwards.
        self.descending = name_order.descending
        self.ordered = [
            IndexField(order.field, order.descending != self.descending)
            for order in orders[:-1]
            if order.field not in self.equal
        ]
        if query.near is not None:
            self.ordered = [IndexField(query.near.field, kind=IndexKind.CELL)]
        if self.is_group and (self.equal or self.element or self.ordered):
            self.below = query.parent
        held = {*self.equal, *[field.path for field in self.ordered]}
        if not held.issuperset(query.existing):
            self.exact = False

    def _sort_in(self, item: FieldFilter) -> None:
        if item.operator is Operator.EQUAL:
            if item.field == NAME:
                assert isinstance(item.value, Reference)
                self.name = item.value.path
            elif item.field not in self.equal:
                self.equal[item.field] = item.value
            elif not is_equal(self.equal[item.field], item.value):
                self.is_empty = True
        elif item.operator is Operator.ARRAY_CONTAINS and self.element is None:
            self.element = item
        elif is_inequality(item):
            self.inequalities.append(item)
        else:
            self.exact = False

    def _decide_equal(self) -> None:
        """Inequalities on fields that are held equal hold of all documents, or of none."""
        decided = [item for item in self.inequalities if item.field in self.equal]
        self.inequalities = [item for item in self.inequalities if item.field not in self.equal]
        if not all(accepts(item, self.equal[item.field]) for item in decided):
            self.is_empty = True

    @property
    def definition(self) -> IndexDefinition:
        """The index that serves this disjunct exactly."""
        fixed = [IndexField(path) for path in sorted(self.equal, key=lambda path: path.segments)]
        if self.element is not None:
            fixed.append(IndexField(self.element.field, kind=IndexKind.ARRAY))
        fields = (*fixed, *self.ordered)
        is_below = self.below is not None
        return IndexDefinition(self.query.collection.id, self.is_group, fields, is_below)

    def plan(self, indexes: Indexes, generation: int) -> Scan | None:
        """The scan, or None if an index is missing."""
        if self.name is not None:
            return PointGet(self.name)
        if not (self.equal or self.element or self.ordered or self.is_group):
            spans = tuple(self._spans(self.collection, ()))
            return NameScan(spans, self.descending, self.exact)
        index = self._find_index(indexes, generation)
        if index is None:
            return None
        prefix = self.collection
        if self.below is not None:
            prefix = above_key(self.below)
            self.exact = self.exact and not keys.is_cut(prefix)
        fixed = len(index.definition.fields) - len(self.ordered)
        for field in index.definition.fields[:fixed]:
            if field.kind is IndexKind.ARRAY:
                assert self.element is not None
                value = self.element.value
            else:
                value = self.equal[field.path]
            prefix += self._encode(value, field.descending)
        if self.query.near is not None:
            return self._near_scan(index, prefix, self.query.near)
        ordered = index.definition.fields[fixed:]
        spans = tuple(self._spans(prefix, ordered))
        return IndexScan(index, spans, self.descending, self.exact, self._gaps(prefix, ordered))

    def _near_scan(self, index: Index, prefix: bytes, near: Near) -> NearScan:
        center = Center(near.center)
        spans = [
            KeyRange(prefix + cell_key(first), prefix + cell_key(end))
            for first, end in center.spans(near.radius / EARTH_RADIUS_METERS)
        ]
        return NearScan(index, prefix, center, tuple(spans), self.exact and not self.inequalities)

    def _gaps(self, prefix: bytes, ordered: Sequence[IndexField]) -> Gaps | None:
        if len(ordered) < 2:
            return None
        second = [item for item in self.inequalities if item.field == ordered[1].path]
        return _Gaps(self, prefix, ordered, second) if second else None

    def _find_index(self, indexes: Indexes, generation: int) -> Index | None:
        wanted = self.definition
        for index in indexes.of_collection(wanted.collection_id):
            if index.is_usable(generation) and self._is_served_by(index.definition, wanted):
                return index
        return None

    def _is_served_by(self, definition: IndexDefinition, wanted: IndexDefinition) -> bool:
        """Whether the same fields are held equal, however arranged, before the same order."""
        if definition == wanted:
            return True
        fixed = len(wanted.fields) - len(self.ordered)
        return (
            definition.scope == wanted.scope
            and len(definition.fields) == len(wanted.fields)
            and definition.fields[fixed:] == wanted.fields[fixed:]
            and _regardless_of_direction(definition.fields[:fixed])
            == _regardless_of_direction(wanted.fields[:fixed])
        )

    def _encode(self, value: Value, descending: bool) -> bytes:
        key = keys.encode_value(value, descending)
        if keys.is_cut(key):
            self.exact = False
        return key

    # Ranges --------------------------------------------------------------------------------------

    def _spans(self, prefix: bytes, fields: Sequence[IndexField]) -> Iterator[KeyRange]:
        """What follows `prefix` in the index: `fields`, then the name."""
        whole = self._whole(prefix, fields)
        spans = [whole]
        head = fields[0] if fields else _NAME_FIELD
        for item in self.inequalities:
            if item.field != head.path:
                self.exact = False
            elif head.path == NAME:
                spans = self._narrow_by_name(spans, prefix, item)
            else:
                spans = self.narrow(spans, prefix, head, item)
        lower, upper = whole.start, whole.end
        for cursor, is_start in ((self.query.start, True), (self.query.end, False)):
            if cursor is None:
                continue
            at, end = self._cursor_bound(cursor, prefix, fields, is_start=is_start)
            lower = max(lower, at)
            if end is not None:
                upper = end if upper is None else min(upper, end)
        yield from _clip(spans, lower, upper)

    def _whole(self, prefix: bytes, fields: Sequence[IndexField]) -> KeyRange:
        parent = self.query.parent
        if self.is_group and parent is not None and self.below is None:
            # What is below the parent lies together only where the name follows at once.
            above = keys.encode_value(Reference(parent))
            if keys.is_cut(above):
                self.exact = False
            else:
                # Without the byte that ends a path, which is below all that go on with a segment.
                prefix += above[:-1]
                return KeyRange(prefix + b"\x02", keys.prefix_end(prefix))
        return KeyRange(prefix, keys.prefix_end(prefix))

    def narrow(
        self, spans: list[KeyRange], prefix: bytes, field: IndexField, item: FieldFilter
    ) -> list[KeyRange]:
        operator, value = item.operator, item.value
        if operator is Operator.NOT_EQUAL:
            return self._exclude(spans, prefix, field, (None, value))
        if operator is Operator.NOT_IN:
            assert isinstance(value, list)
            return [] if None in value else self._exclude(spans, prefix, field, (None, *value))
        of_type = prefix + keys.type_prefix(value, field.descending)
        key = self._encode(value, field.descending)
        is_cut = keys.is_cut(key)
        at, above = prefix + key, keys.prefix_end(prefix + key)
        assert above is not None
        with_equal = is_cut or operator in (Operator.LESS_OR_EQUAL, Operator.GREATER_OR_EQUAL)
        is_above = operator in (Operator.GREATER, Operator.GREATER_OR_EQUAL)
        # A range holds values of one type only.
        if is_above != field.descending:
            return list(_clip(spans, at if with_equal else above, keys.prefix_end(of_type)))
        return list(_clip(spans, of_type, above if with_equal else at))

    def _exclude(
        self, spans: list[KeyRange], prefix: bytes, field: IndexField, values: Iterable[Value]
    ) -> list[KeyRange]:
        for value in values:
            key = self._encode(value, field.descending)
            if keys.is_cut(key):
                continue
            at, above = prefix + key, keys.prefix_end(prefix + key)
            assert above is not None
            # Nothing is below null.
            below = [] if value is None and not field.descending else _clip(spans, b"", at)
            over = [] if value is None and field.descending else _clip(spans, above, None)
            spans = [*below, *over]
        return sorted(spans, key=lambda span: span.start)

    def _narrow_by_name(
        self, spans: list[KeyRange], prefix: bytes, item: FieldFilter
    ) -> list[KeyRange]:
        if item.operator in (Operator.NOT_EQUAL, Operator.NOT_IN):
            # At most ten names: reading and dropping them costs next to nothing.
            self.exact = False
            return spans
        assert isinstance(item.value, Reference)
        found = self._name_span(prefix, item.value.path)
        if found is None:
            return spans
        at, above = found
        match item.operator:
            case Operator.GREATER:
                return list(_clip(spans, above, None))
            case Operator.GREATER_OR_EQUAL:
                return list(_clip(spans, at, None))
            case Operator.LESS:
                return list(_clip(spans, b"", at))
            case _:
                return list(_clip(spans, b"", above))

    def _name_span(self, prefix: bytes, path: DocumentPath) -> tuple[bytes, bytes] | None:
        """The keys of one document behind `prefix`; None if its place there cannot be told."""
        if self.is_group:
            name = self._encode(Reference(path), descending=False)
            above = keys.prefix_end(prefix + name)
            assert above is not None
            return None if keys.is_cut(name) else (prefix + name, above)
        if path.segments[:-1] != self.query.collection.segments:
            self.exact = False
            return None
        key = keys.document_key(path)
        if prefix != self.collection:
            key = prefix + key
        # Nothing lies between a key and the same key with a zero behind it.
        return key, key + b"\x00"

    # Cursors -------------------------------------------------------------------------------------

    def _cursor_bound(
        self, cursor: Cursor, prefix: bytes, fields: Sequence[IndexField], *, is_start: bool
    ) -> tuple[bytes, bytes | None]:
        """The least key and the end that the cursor leaves; only one of them is a bound."""
        at, above = prefix, keys.prefix_end(prefix)
        remaining = list(fields)
        is_cut = False
        for order, value in zip(self.orders, cursor.values, strict=False):
            if order.field in self.equal:
                # All documents of the disjunct are at one point of this order.
                side = compare(self.equal[order.field], value)
                if side == 0:
                    continue
                is_after = (side > 0) != order.descending
                return self._sides(at, above, with_equal=is_after == is_start, is_start=is_start)
            if order.field == NAME:
                assert isinstance(value, Reference)
                found = self._name_span(at, value.path)
                if found is None:
                    is_cut = True
                    break
                at, above = found
            else:
                field = remaining.pop(0)
                key = self._encode(value, field.descending)
                at += key
                above = keys.prefix_end(at)
                if keys.is_cut(key):
                    is_cut = True
                    break
        with_equal = is_cut or cursor.before == is_start
        return self._sides(at, above, with_equal=with_equal, is_start=is_start)

    def _sides(
        self, at: bytes, above: bytes | None, *, with_equal: bool, is_start: bool
    ) -> tuple[bytes, bytes | None]:
        """Bounds that keep what is after (start) or before (end) the keys [at, above)."""
        if is_start != self.descending:
            lower = at if with_equal else above
            assert lower is not None
            return lower, None
        return b"", above if with_equal else at


class _Gaps:
    """See `Gaps`."""

    def __init__(
        self,
        disjunct: _Disjunct,
        prefix: bytes,
        ordered: Sequence[IndexField],
        second: Sequence[FieldFilter],
    ) -> None:
        self._disjunct = disjunct
        self._prefix = prefix
        self._first_field, self._second_field = ordered[0], ordered[1]
        self._second = second

    def around(self, document: DocumentLike) -> tuple[KeyRange, list[KeyRange]] | None:
        field = self._first_field
        key = keys.encode_value(get_field(document.fields, field.path), field.descending)
        if keys.is_cut(key):
            return None
        base = self._prefix + key
        whole = KeyRange(base, keys.prefix_end(base))
        spans = [whole]
        for item in self._second:
            spans = self._disjunct.narrow(spans, base, self._second_field, item)
        return whole, spans


def _regardless_of_direction(fields: Iterable[IndexField]) -> set[tuple[FieldPath, IndexKind]]:
    return {(field.path, field.kind) for field in fields}


def _clip(spans: Iterable[KeyRange], lower: bytes, upper: bytes | None) -> Iterator[KeyRange]:
    """The parts of the spans within [lower, upper)."""
    for span in spans:
        start = max(span.start, lower)
        end = span.end
        if upper is not None and (end is None or upper < end):
            end = upper
        if end is None or start < end:
            yield KeyRange(start, end)
