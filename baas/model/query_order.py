"""The order of a query's documents, and where its cursors lie in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from baas.model.documents import DocumentLike
from baas.model.near import Near, compile_distance
from baas.model.order import SortKey, sort_key
from baas.model.paths import FieldPath
from baas.model.queries import NAME, Cursor, Matcher, Order, Query, effective_orders
from baas.model.values import Fields, Reference, Value

MISSING: Any = object()


def document_order(query: Query) -> Callable[[DocumentLike], Any]:
    """A key for `sorted` that puts matching documents in the query's order."""
    if query.near is not None:
        return _compile_near_order(query.near)
    return _compile_order(effective_orders(query))


def position_of(query: Query, document: DocumentLike) -> tuple[Value, ...]:
    """Where a document stands in the query's order, as the values of a cursor. Raises KeyError if
    it lacks one of them."""
    values: list[Value] = []
    if query.near is not None:
        distance = compile_distance(query.near)(document)
        if distance is None:
            raise KeyError(str(query.near.field))
        values.append(distance)
    for order in effective_orders(query):
        is_name = order.field == NAME
        values.append(
            Reference(document.path) if is_name else get_field(document.fields, order.field)
        )
    return tuple(values)


def near_start(query: Query) -> tuple[float, SortKey] | None:
    """The distance and the name behind which a near query begins."""
    if query.start is None:
        return None
    distance, name = query.start.values
    assert isinstance(distance, float)
    return distance, sort_key(name)


def get_field(fields: Fields, path: FieldPath) -> Value:
    """The value at `path`. Raises KeyError if there is none; null is a value."""
    found: Value = fields
    for segment in path.segments:
        if not isinstance(found, dict):
            raise KeyError(segment)
        found = found[segment]
    return found


def getter(path: FieldPath) -> Callable[[DocumentLike], Any]:
    """What a document has at a path, its name included; MISSING if nothing."""
    if path == NAME:
        return lambda document: Reference(document.path)
    if len(path.segments) == 1:
        name = path.segments[0]
        return lambda document: document.fields.get(name, MISSING)
    segments = path.segments

    def get_nested(document: DocumentLike) -> Any:
        found: Any = document.fields
        for segment in segments:
            if type(found) is not dict:
                return MISSING
            found = found.get(segment, MISSING)
        return found

    return get_nested


def local_names(value: Value) -> Value:
    """References as `__name__` operands: a full name means the same document as a short one."""
    if isinstance(value, Reference):
        return Reference(value.path)
    if isinstance(value, list):
        return [local_names(item) for item in value]
    return value


class _Descending:
    """A sort key turned round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.key < self.key)

    def __le__(self, other: _Descending) -> bool:
        return bool(other.key <= self.key)

    def __gt__(self, other: _Descending) -> bool:
        return bool(other.key > self.key)

    def __ge__(self, other: _Descending) -> bool:
        return bool(other.key >= self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _position(order: Order, value: Value) -> Any:
    key = sort_key(local_names(value) if order.field == NAME else value)
    return _Descending(key) if order.descending else key


def _compile_order(orders: tuple[Order, ...]) -> Callable[[DocumentLike], Any]:
    getters = [(order, getter(order.field)) for order in orders]

    def key(document: DocumentLike) -> Any:
        return tuple([_position(order, get(document)) for order, get in getters])

    return key


def _compile_near_order(near: Near) -> Callable[[DocumentLike], Any]:
    distance_of = compile_distance(near)
    return lambda document: (distance_of(document), sort_key(Reference(document.path)))


def compile_start(cursor: Cursor, orders: tuple[Order, ...]) -> Matcher:
    """Whether a document stands where the cursor lets an answer begin, or behind."""
    bound, key = _compile_cursor(cursor, orders)
    if cursor.before:
        return lambda document: bool(key(document) >= bound)
    return lambda document: bool(key(document) > bound)


def compile_end(cursor: Cursor, orders: tuple[Order, ...]) -> Matcher:
    """Whether a document stands before where the cursor makes an answer end."""
    bound, key = _compile_cursor(cursor, orders)
    if cursor.before:
        return lambda document: bool(key(document) < bound)
    return lambda document: bool(key(document) <= bound)


def _compile_cursor(
    cursor: Cursor, orders: tuple[Order, ...]
) -> tuple[Any, Callable[[DocumentLike], Any]]:
    """The cursor's position, and the matching prefix of a document's."""
    prefix = orders[: len(cursor.values)]
    bound = tuple(
        [_position(order, value) for order, value in zip(prefix, cursor.values, strict=True)]
    )
    return bound, _compile_order(prefix)
