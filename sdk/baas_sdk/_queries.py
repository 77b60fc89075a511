"""Queries: what was asked, immutable, and its JSON. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from baas_sdk._paths import DOCUMENT_ID, DatabaseName, FieldPath, document_path
from baas_sdk._snapshots import DocumentSnapshot
from baas_sdk._values import GeoPoint, Reference, Tree, encode_value, reference_text
from baas_sdk.errors import InvalidQuery

ASCENDING = "ASCENDING"
DESCENDING = "DESCENDING"
_OPERATORS = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "array-contains", "array-contains-any", "in", "not-in"}
)
_INEQUALITIES = frozenset({"!=", "<", "<=", ">", ">=", "not-in"})
_LIST_OPERATORS = frozenset({"in", "not-in", "array-contains-any"})
_INT32_MAX = 2**31 - 1
_DOUBLE_MAX = sys.float_info.max


class FieldFilter:
    """One condition: `FieldFilter("population", ">", 1_000_000)`.

    Operators: `==` `!=` `<` `<=` `>` `>=` `array_contains` `array_contains_any` `in` `not-in`. The
    document's id is addressed by `FieldPath.document_id()`, with an id or a reference as the value.
    """

    __slots__ = ("field_path", "op_string", "value")

    def __init__(self, field_path: str | FieldPath, op_string: str, value: Any) -> None:
        self.field_path = _field(field_path)
        self.op_string = _operator(op_string)
        self.value = value
        if self.op_string in _LIST_OPERATORS and (
            isinstance(value, str | bytes) or not isinstance(value, Iterable)
        ):
            raise InvalidQuery(f"`{op_string}` takes a list of values, not `{value!r}`")

    def __repr__(self) -> str:
        return f"FieldFilter({str(self.field_path)!r}, {self.op_string!r}, {self.value!r})"


class _Composite:
    __slots__ = ("filters",)

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)
        if not self.filters:
            raise InvalidQuery(f"{type(self).__name__} needs at least one filter")
        for item in self.filters:
            if not isinstance(item, FieldFilter | _Composite):
                raise InvalidQuery(
                    f"{type(self).__name__} takes FieldFilter, And and Or, not `{item!r}`"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.filters)!r})"


class And(_Composite):
    """All of the filters: `And([FieldFilter(…), Or([…])])`."""

    __slots__ = ()


class Or(_Composite):
    """At least one of the filters."""

    __slots__ = ()


Filter: TypeAlias = "FieldFilter | And | Or | _Composite"
CursorSource: TypeAlias = "DocumentSnapshot[Any] | Mapping[str, Any] | Sequence[Any]"


@dataclass(frozen=True, slots=True)
class _Order:
    field: FieldPath
    descending: bool


@dataclass(frozen=True, slots=True)
class _Cursor:
    source: DocumentSnapshot[Any] | dict[str, Any] | tuple[Any, ...]
    before: bool


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """A query as it was built. Every `with_` method returns a changed copy, and raises InvalidQuery
    or InvalidValue for what could never be right."""

    home: DatabaseName
    collection: str
    group: bool = False
    filters: tuple[Tree, ...] = ()
    orders: tuple[_Order, ...] = ()
    start: _Cursor | None = None
    end: _Cursor | None = None
    offset: int = 0
    limit: int | None = None
    to_last: bool = False
    select: tuple[FieldPath, ...] | None = None
    search: tuple[str, tuple[FieldPath, ...]] | None = None
    near: Tree | None = None

    def with_filter(self, condition: object) -> QuerySpec:
        if not isinstance(condition, FieldFilter | _Composite):
            raise InvalidQuery(
                f"`filter` is a FieldFilter, And or Or, not `{condition!r}`; for example"
                ' where(filter=FieldFilter("country", "==", "CH"))'
            )
        return replace(self, filters=(*self.filters, self._encode_filter(condition)))

    def with_order(self, field_path: str | FieldPath, direction: str) -> QuerySpec:
        if direction not in (ASCENDING, DESCENDING):
            raise InvalidQuery(
                f"`direction` is Query.ASCENDING or .DESCENDING, not `{direction!r}`"
            )
        order = _Order(_field(field_path), direction == DESCENDING)
        return replace(self, orders=(*self.orders, order))

    def with_limit(self, count: int, *, to_last: bool) -> QuerySpec:
        return replace(self, limit=_count(count, "limit", minimum=1), to_last=to_last)

    def with_offset(self, count: int) -> QuerySpec:
        return replace(self, offset=_count(count, "offset", minimum=0))

    def with_select(self, field_paths: Iterable[str | FieldPath]) -> QuerySpec:
        return replace(self, select=selected_fields(field_paths, "select()"))

    def with_search(self, text: str, fields: Iterable[str | FieldPath]) -> QuerySpec:
        if not isinstance(text, str):
            raise InvalidQuery(f"search() takes a text, not `{text!r}`")
        if isinstance(fields, str | FieldPath):
            raise InvalidQuery(f"search() takes a list of fields, not `{fields!r}`")
        if self.search is not None:
            raise InvalidQuery("a query has one search(): put all words into one text")
        paths = tuple(_field(path) for path in fields)
        if not paths:
            raise InvalidQuery("search() needs at least one field")
        return replace(self, search=(text, paths))

    def with_near(
        self, field_path: str | FieldPath, center: GeoPoint, radius_meters: float | None
    ) -> QuerySpec:
        if not isinstance(center, GeoPoint):
            raise InvalidQuery(
                f"near() takes a center such as GeoPoint(48.2, 16.4), not `{center!r}`"
            )
        if self.near is not None:
            raise InvalidQuery("a query has one near()")
        field = _field(field_path)
        near = {"field": str(field), "center": encode_value(center, self.home, field.parts)}
        if radius_meters is not None:
            near["radius_meters"] = _radius(radius_meters)
        return replace(self, near=near)

    def with_start(self, source: CursorSource, *, before: bool) -> QuerySpec:
        return replace(self, start=_Cursor(_cursor_source(source), before))

    def with_end(self, source: CursorSource, *, before: bool) -> QuerySpec:
        return replace(self, end=_Cursor(_cursor_source(source), before))

    @property
    def is_flipped(self) -> bool:
        """With limit_to_last the server is asked for the first ones in the opposite order, and what
        comes back must be turned round."""
        return self.to_last

    def encode(self) -> dict[str, Tree]:
        """The query's JSON. Raises InvalidQuery for what contradicts itself."""
        is_ordered = bool(self.orders or self.start or self.end or self.to_last)
        if self.search is not None and (is_ordered or self.near is not None):
            raise InvalidQuery(
                "search() has an order of its own, the best first: it goes with neither order_by()"
                " nor limit_to_last() nor positions nor near()"
            )
        if self.near is not None and is_ordered:
            raise InvalidQuery(
                "near() has an order of its own, the nearest first: it goes with neither order_by()"
                " nor limit_to_last() nor positions"
            )
        orders = self._sent_orders()
        start = self._encode_cursor(self.start, orders, "start")
        end = self._encode_cursor(self.end, orders, "end")
        if self.to_last:
            if not self.orders:
                raise InvalidQuery("limit_to_last() needs an order_by()")
            orders = tuple(_Order(order.field, not order.descending) for order in orders)
            start, end = _flip(end), _flip(start)
        tree: dict[str, Tree] = {"collection": self.collection}
        if self.group:
            tree["group"] = True
        if self.filters:
            alone = len(self.filters) == 1
            tree["where"] = self.filters[0] if alone else {"and": list(self.filters)}
        if orders:
            tree["order_by"] = [
                {"field": str(order.field), "direction": "desc" if order.descending else "asc"}
                for order in orders
            ]
        if start is not None:
            tree["start"] = start
        if end is not None:
            tree["end"] = end
        if self.offset:
            tree["offset"] = self.offset
        if self.limit is not None:
            tree["limit"] = self.limit
        if self.select is not None:
            tree["select"] = [str(field) for field in self.select]
        if self.search is not None:
            text, fields = self.search
            tree["search"] = {"text": text, "fields": [str(field) for field in fields]}
        if self.near is not None:
            tree["near"] = self.near
        return tree

    def _sent_orders(self) -> tuple[_Order, ...]:
        """A position given by a document needs a total order: the implicit ones are spelt out."""
        cursors = [cursor for cursor in (self.start, self.end) if cursor is not None]
        if not any(isinstance(cursor.source, DocumentSnapshot) for cursor in cursors):
            return self.orders
        named = {order.field for order in self.orders}
        descending = self.orders[-1].descending if self.orders else False
        implicit = sorted(
            {field for item in self.filters for field in _inequality_fields(item)}
            - named
            - {_NAME},
            key=lambda field: field.parts,
        )
        full = self.orders + tuple(_Order(field, descending) for field in implicit)
        return full if _NAME in named else (*full, _Order(_NAME, descending))

    def _encode_filter(self, condition: object) -> Tree:
        if isinstance(condition, And):
            return {"and": [self._encode_filter(item) for item in condition.filters]}
        if isinstance(condition, _Composite):
            return {"or": [self._encode_filter(item) for item in condition.filters]}
        assert isinstance(condition, FieldFilter)
        field, operator, value = condition.field_path, condition.op_string, condition.value
        if operator in _LIST_OPERATORS:
            value = list(value)
        if field == _NAME:
            encoded = self._encode_name_operand(operator, value)
        else:
            if operator in _INEQUALITIES - {"!=", "not-in"} and _is_null_or_nan(value):
                raise InvalidQuery(f"`{value}` can only be compared by `==` and `!=`")
            encoded = self._encode_operand(operator, value, field)
        return {"field": str(field), "op": operator, "value": encoded}

    def _encode_operand(self, operator: str, value: Any, field: FieldPath) -> Tree:
        if operator in ("in", "not-in"):
            # Each is a value by itself, and may be an array, which no array may hold.
            return [encode_value(item, self.home, field.parts) for item in value]
        return encode_value(value, self.home, field.parts)

    def _encode_name_operand(self, operator: str, value: object) -> Tree:
        if operator in ("array-contains", "array-contains-any"):
            raise InvalidQuery(f"`{operator}` does not apply to a document's id")
        if isinstance(value, list):
            return [self._encode_name(item) for item in value]
        return self._encode_name(value)

    def _encode_name(self, value: object) -> Tree:
        if isinstance(value, Reference):
            return {"$ref": reference_text(value, self.home)}
        if not isinstance(value, str) or not value:
            raise InvalidQuery(
                f"a document's id is compared with an id or a DocumentReference, not `{value!r}`"
            )
        if self.group:
            return {"$ref": document_path(value)}
        if "/" in value:
            raise InvalidQuery(
                f"within `{self.collection}` documents have an id without `/`, not `{value}`"
            )
        return {"$ref": document_path(self.collection, value)}

    def _encode_cursor(
        self, cursor: _Cursor | None, orders: tuple[_Order, ...], name: str
    ) -> dict[str, Tree] | None:
        if cursor is None:
            return None
        source = cursor.source
        if isinstance(source, DocumentSnapshot):
            values: Sequence[Any] = [_snapshot_value(source, order.field) for order in orders]
        else:
            values = self._plain_cursor_values(source, name)
        encoded = [
            self._encode_name(value)
            if order.field == _NAME
            else encode_value(value, self.home, order.field.parts)
            for value, order in zip(values, orders, strict=False)
        ]
        return {"values": encoded, "before": cursor.before}

    def _plain_cursor_values(
        self, source: dict[str, Any] | tuple[Any, ...], name: str
    ) -> Sequence[Any]:
        if not self.orders:
            raise InvalidQuery(f"{name}_… with values needs an order_by() that they belong to")
        if isinstance(source, dict):
            values = []
            for order in self.orders:
                if str(order.field) not in source:
                    raise InvalidQuery(f"{name}_…: `{order.field}` is ordered by and not given")
                values.append(source[str(order.field)])
            return values
        if len(source) > len(self.orders):
            raise InvalidQuery(
                f"{name}_… has {len(source)} values for {len(self.orders)} order_by() fields"
            )
        return source


_NAME = FieldPath(DOCUMENT_ID)


def field_filter(field_path: object, op_string: object, value: object) -> FieldFilter:
    """The short form: `where("country", "==", "CH")`."""
    if field_path is None or op_string is None:
        raise InvalidQuery(
            'where() takes filter=FieldFilter("country", "==", "CH"), or a field, an operator'
            " and a value"
        )
    return FieldFilter(field_path, op_string, value)  # type: ignore[arg-type]  # it checks


def selected_fields(field_paths: Iterable[str | FieldPath], what: str) -> tuple[FieldPath, ...]:
    """The fields that are asked for; of none at all the name, which stands in no document. Raises
    InvalidQuery that names `what` takes them."""
    if isinstance(field_paths, str | FieldPath) or not isinstance(field_paths, Iterable):
        raise InvalidQuery(f"{what} takes a list of field paths, not `{field_paths!r}`")
    return tuple(_field(path) for path in field_paths) or (_NAME,)


def selected_names(field_paths: Iterable[str | FieldPath] | None, what: str) -> list[str] | None:
    """The same as texts; None for all fields."""
    if field_paths is None:
        return None
    return [str(path) for path in selected_fields(field_paths, what)]


def _field(path: str | FieldPath) -> FieldPath:
    return FieldPath.parse(path)


def _operator(text: object) -> str:
    plain = str(text).replace("_", "-")
    if plain not in _OPERATORS:
        known = ", ".join(f"`{name}`" for name in sorted(_OPERATORS))
        raise InvalidQuery(f"`{text}` is no operator; known are {known}")
    return plain


def _count(number: object, name: str, *, minimum: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidQuery(f"`{name}` is a whole number, not `{number!r}`")
    if not minimum <= number <= _INT32_MAX:
        raise InvalidQuery(f"`{name}` is at least {minimum} and at most {_INT32_MAX}, not {number}")
    return number


def _radius(meters: object) -> float:
    if isinstance(meters, bool) or not isinstance(meters, int | float):
        raise InvalidQuery(f"`radius_meters` is a number, not `{meters!r}`")
    if not 0 <= meters <= _DOUBLE_MAX:
        raise InvalidQuery(f"`radius_meters` is at least 0 and finite, not {meters}")
    return float(meters)


def _is_null_or_nan(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _inequality_fields(tree: Tree) -> Iterable[FieldPath]:
    for name in ("and", "or"):
        if name in tree:
            for inner in tree[name]:
                yield from _inequality_fields(inner)
            return
    if tree["op"] in _INEQUALITIES:
        yield FieldPath.parse(tree["field"])


def _cursor_source(source: object) -> DocumentSnapshot[Any] | dict[str, Any] | tuple[Any, ...]:
    if isinstance(source, DocumentSnapshot):
        if not source.exists:
            raise InvalidQuery(f"`{source.reference.path}` does not exist and marks no position")
        return source
    if isinstance(source, Mapping):
        return {str(FieldPath.parse(field)): value for field, value in source.items()}
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        if not source:
            raise InvalidQuery("a position needs at least one value")
        return tuple(source)
    raise InvalidQuery(
        f"a position is a DocumentSnapshot, a dict by field or a list of values, not `{source!r}`"
    )


def _snapshot_value(snapshot: DocumentSnapshot[Any], field: FieldPath) -> Any:
    if field == _NAME:
        return snapshot.reference
    try:
        return snapshot.get(field)
    except KeyError:
        raise InvalidQuery(
            f"`{snapshot.reference.path}` has no field `{field}`, by which the query is ordered"
        ) from None


def _flip(cursor: dict[str, Tree] | None) -> dict[str, Tree] | None:
    return None if cursor is None else {**cursor, "before": not cursor["before"]}
