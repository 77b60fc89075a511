"""Which queries a changed document concerns: found by collection and by a field held equal, so that
a commit costs as much as the queries it touches, not as much as there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from baas.database.indexes import is_reserved
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import FieldPath
from baas.model.queries import NAME, Operator, Query
from baas.model.query_disjunctions import disjunctions
from baas.model.query_matching import matches
from baas.model.query_order import get_field
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
        self._fields: dict[T, FieldPath] = {}  # under which field an item was put

    @property
    def is_empty(self) -> bool:
        return not self._all and not self._by_value

    def add(self, query: Query, item: T) -> None:
        choices = _required_values(query)
        if not choices:
            self._all.add(item)
            return
        # Where there are the fewest others, an image leads to the fewest queries.
        field = min(choices, key=lambda path: (self._crowd(path, choices[path]), path.segments))
        self._fields[item] = field
        by_value = self._by_value.setdefault(field, {})
        for value in choices[field]:
            by_value.setdefault(value, set()).add(item)

    def remove(self, query: Query, item: T) -> None:
        field = self._fields.pop(item, None)
        if field is None:
            self._all.discard(item)
            return
        by_value = self._by_value[field]
        for value in _required_values(query)[field]:
            by_value[value].discard(item)
            if not by_value[value]:
                del by_value[value]
        if not by_value:
            del self._by_value[field]

    def find(self, image: StoredDocument) -> Iterator[T]:
        yield from tuple(self._all)
        for field, by_value in tuple(self._by_value.items()):
            try:
                value: Any = get_field(image.fields, field)
            except KeyError:
                continue
            yield from tuple(by_value.get(keys.encode_value(value), ()))

    def _crowd(self, field: FieldPath, values: set[bytes]) -> int:
        by_value = self._by_value.get(field, {})
        return sum([1 + len(by_value.get(value, ())) for value in values])


def _required_values(query: Query) -> dict[FieldPath, set[bytes]]:
    """Fields that every matching document holds equal to one of a few values, with the values'
    keys."""
    values: dict[FieldPath, set[bytes]] | None = None
    for filters in disjunctions(query.where):
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
    return values or {}
