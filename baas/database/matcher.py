"""Which queries a changed document concerns: found by collection and by a field held equal, so that
a commit costs as much as the queries it touches, not as much as there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from baas.database.indexes import is_reserved
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import FieldPath
from baas.model.queries import NAME, Operator, Query, disjunctions, get_field, matches
from baas.storage.engine import Change

T = TypeVar("T", bound=Hashable)


def is_touched(query: Query, change: Change) -> bool:
    """Whether a change may alter the query's answer: the old or the new image is in it. Documents
    beyond the query's limit count as in it."""
    return is_in_query(query, change.old) or is_in_query(query, change.new)


def is_in_query(query: Query, image: StoredDocument | None) -> bool:
    """Whether an image, if there is one, belongs to the query's answer, its limit aside."""
    return image is not None and not is_reserved(image.path) and matches(query, image)


class QueryMatcher(Generic[T]):
    """Queries with what is to be told about them. `find` gives all whose filters may hold of an
    image, and few others."""

    def __init__(self) -> None:
        self._places: dict[tuple[bool, Hashable], _Place[T]] = {}

    def add(self, query: Query, item: T) -> None:
        """Adds a query under an item; an item stands for one query."""
        self._places.setdefault(_place(query), _Place()).add(query, item)

    def remove(self, query: Query, item: T) -> None:
        """Takes back one `add`."""
        at = _place(query)
        place = self._places.get(at)
        if place is not None:
            place.remove(query, item)
            if place.is_empty:
                del self._places[at]

    def find(self, image: StoredDocument) -> Iterator[T]:
        """Items of queries that the image may be in, each once."""
        segments = image.path.segments
        for at in ((False, segments[:-1]), (True, segments[-2]), (True, "")):
            place = self._places.get(at)
            if place is not None:
                yield from place.find(image)


def _place(query: Query) -> tuple[bool, Hashable]:
    if query.all_descendants:
        return True, query.collection.id
    return False, query.collection.segments


class _Place(Generic[T]):
    """The queries on one collection or one group."""

    def __init__(self) -> None:
        self._all: set[T] = set()
        self._by_value: dict[FieldPath, dict[bytes, set[T]]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._all and not self._by_value

    def add(self, query: Query, item: T) -> None:
        pairs = _required_values(query)
        if pairs is None:
            self._all.add(item)
            return
        field, values = pairs
        by_value = self._by_value.setdefault(field, {})
        for value in values:
            by_value.setdefault(value, set()).add(item)

    def remove(self, query: Query, item: T) -> None:
        pairs = _required_values(query)
        if pairs is None:
            self._all.discard(item)
            return
        field, values = pairs
        by_value = self._by_value.get(field, {})
        for value in values:
            items = by_value.get(value, set())
            items.discard(item)
            if not items:
                by_value.pop(value, None)
        if not by_value:
            self._by_value.pop(field, None)

    def find(self, image: StoredDocument) -> Iterator[T]:
        yield from tuple(self._all)
        for field, by_value in tuple(self._by_value.items()):
            try:
                value: Any = get_field(image.fields, field)
            except KeyError:
                continue
            yield from tuple(by_value.get(keys.encode_value(value), ()))


def _required_values(query: Query) -> tuple[FieldPath, set[bytes]] | None:
    """A field that every matching document holds equal to one of a few values; None if there is no
    such field."""
    options = disjunctions(query.where)
    if not options:
        return None
    values: dict[FieldPath, set[bytes]] | None = None
    for filters in options:
        equal = {
            item.field: keys.encode_value(item.value)
            for item in filters
            if item.operator is Operator.EQUAL and item.field != NAME
        }
        if values is None:
            values = {field: {key} for field, key in equal.items()}
        else:
            values = {
                field: held | {equal[field]} for field, held in values.items() if field in equal
            }
    if not values:
        return None
    # The field with the fewest values at once tells queries apart best; ties by path.
    field = min(values, key=lambda path: (len(values[path]), path.segments))
    return field, values[field]
