"""Queries for equal values, such as those that keep values unique, as sets of values: whether any
of many was touched by any of many changes is then asked change by change, not for each pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from baas.model.documents import DocumentLike
from baas.model.order import SortKey, sort_key
from baas.model.paths import FieldPath
from baas.model.queries import And, FieldFilter, Operator, Query
from baas.model.query_matching import matches
from baas.model.query_order import get_field
from baas.storage.engine import Change

# Where it looks (a collection, or a group's id), and the fields that it compares.
Shape: TypeAlias = tuple[tuple[str, ...], bool, tuple[FieldPath, ...]]
Values: TypeAlias = tuple[SortKey, ...]
_PLAIN = (str, int, float, bool)  # equal for filters if and only if their keys are


def shape_of(query: Query) -> tuple[Shape, Values] | None:
    """Shape and values of a query for equal plain values, whatever else it asks for; None for any
    other."""
    where = query.where
    filters = where.filters if isinstance(where, And) else (where,)
    fields, values = [], []
    for item in filters:
        if not isinstance(item, FieldFilter) or item.operator is not Operator.EQUAL:
            return None
        if type(item.value) not in _PLAIN or item.field.segments[0] == "__name__":
            return None
        fields.append(item.field)
        values.append(sort_key(item.value))
    if query.parent is not None or (query.all_descendants and not query.collection.id):
        return None
    shape = (query.collection.segments, query.all_descendants, tuple(fields))
    return shape, tuple(values)


def touched_values(shape: Shape, change: Change) -> Iterable[Values]:
    """The values that a document had, and has, in the fields of a shape; none if it is elsewhere or
    lacks one."""
    place, is_group, fields = shape
    segments = change.path.segments
    if segments[-2] != place[-1] or not (is_group or segments[:-1] == place):
        return ()
    images = (_values(image, fields) for image in (change.old, change.new) if image is not None)
    return [values for values in images if values is not None]


def _values(image: DocumentLike, fields: Sequence[FieldPath]) -> Values | None:
    try:
        return tuple([sort_key(get_field(image.fields, path)) for path in fields])
    except KeyError:
        return None


def touches_query(query: Query, change: Change) -> bool:
    """Whether a change may alter the query's answer: the document matches before or after."""
    old, new = change.old, change.new
    return (old is not None and matches(query, old)) or (new is not None and matches(query, new))


class QueriesRead:
    """The queries of one transaction."""

    def __init__(self, queries: Iterable[Query]) -> None:
        self._values: dict[Shape, set[Values]] = {}
        self._others: list[Query] = []
        for query in queries:
            found = shape_of(query)
            if found is None:
                self._others.append(query)
            else:
                self._values.setdefault(found[0], set()).add(found[1])

    def touched_by(self, change: Change) -> bool:
        for shape, values in self._values.items():
            if any(one in values for one in touched_values(shape, change)):
                return True
        return any(touches_query(query, change) for query in self._others)


class ChangesMade:
    """The changes of a group of commits, in their order, as it grows."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._known: dict[Shape, tuple[int, set[Values]]] = {}

    def add(self, changes: Iterable[Change]) -> None:
        self._changes += changes

    def touch(self, query: Query) -> bool:
        """Whether any of them may alter the query's answer."""
        found = shape_of(query)
        if found is None:
            return any(touches_query(query, change) for change in self._changes)
        shape, wanted = found
        count, values = self._known.get(shape, (0, set()))
        for change in self._changes[count:]:
            values.update(touched_values(shape, change))
        self._known[shape] = (len(self._changes), values)
        return wanted in values
