"""Queries in JSON.

    {"collection": "cities" | "users/ada/orders", "group": true, "where": F,
     "order_by": [{"field", "direction"}], "start": {"values": [...], "before": true}, "end": {...},
     "offset": 0, "limit": 10, "select": ["a.b"], "search": {"text": "red app*", "fields": ["a"]},
     "near": {"field", "center": {"$geo": [48.2, 16.4]}, "radius_meters": 5000}}
    F = {"field", "op", "value"} | {"and": [F]} | {"or": [F]}

With `"group": true` the last segment of `collection` is the group's id and the rest the document
under which it is searched: `orders` anywhere, `users/ada/orders` below that user.
"""

from __future__ import annotations

from typing import Any, assert_never

from baas.encoding import json_values
from baas.errors import BaasError, InvalidQuery
from baas.model.near import Near
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import And, Cursor, FieldFilter, Filter, Operator, Or, Order, Query
from baas.model.search import Search
from baas.model.values import GeoPoint, Value
from baas.wire.objects import (
    check_array,
    check_boolean,
    check_integer,
    check_number,
    check_object,
    check_string,
    invalid,
    join,
    kind_of,
)

_QUERY = frozenset(
    {
        "collection",
        "group",
        "where",
        "order_by",
        "start",
        "end",
        "offset",
        "limit",
        "select",
        "search",
        "near",
    }
)
_NEAR = frozenset({"field", "center", "radius_meters"})
_FIELD_FILTER = frozenset({"field", "op", "value"})
_AND = frozenset({"and"})
_OR = frozenset({"or"})
_ORDER = frozenset({"field", "direction"})
_CURSOR = frozenset({"values", "before"})
_SEARCH = frozenset({"text", "fields"})
_OPERATORS = {operator.value: operator for operator in Operator}
_VALUES_OPERATORS = frozenset({Operator.IN, Operator.NOT_IN})
_INT32_MAX = 2**31 - 1
# Filters may nest far deeper than any use, and never so deep that reading them ends the stack.
FILTER_DEPTH_MAX = 32
FILTER_ITEMS_MAX = 1_000


def decode_query(tree: Any, at: str = "query") -> Query:
    """Reads one query. Raises InvalidArgument that names the place; contradictions within the
    query are `model.queries.check_query`'s to find."""
    members = check_object(tree, at, allowed=_QUERY, required=("collection",))
    segments = decode_collection(members["collection"], join(at, "collection"))
    group = check_boolean(members.get("group", False), join(at, "group"))
    parent = None
    if group:
        parent = segments.parent
    where = members.get("where")
    limit = members.get("limit")
    select = members.get("select")
    return Query(
        collection=segments,
        all_descendants=group,
        parent=parent,
        where=None if where is None else _decode_filter(where, join(at, "where"), 0),
        order_by=_decode_orders(members.get("order_by"), join(at, "order_by")),
        start=_decode_cursor(members.get("start"), join(at, "start")),
        end=_decode_cursor(members.get("end"), join(at, "end")),
        offset=check_integer(
            members.get("offset", 0), join(at, "offset"), minimum=0, maximum=_INT32_MAX
        ),
        limit=None
        if limit is None
        else check_integer(limit, join(at, "limit"), minimum=1, maximum=_INT32_MAX),
        select=None if select is None else decode_field_paths(select, join(at, "select")),
        search=_decode_search(members.get("search"), join(at, "search")),
        near=_decode_near(members.get("near"), join(at, "near")),
    )


def encode_query(query: Query) -> dict[str, Any]:
    """The inverse of `decode_query`."""
    tree: dict[str, Any] = {"collection": str(query.collection)}
    if query.all_descendants:
        tree["group"] = True
    if query.where is not None:
        tree["where"] = encode_filter(query.where)
    if query.order_by:
        tree["order_by"] = [
            {"field": str(order.field), "direction": "desc" if order.descending else "asc"}
            for order in query.order_by
        ]
    for name, cursor in (("start", query.start), ("end", query.end)):
        if cursor is not None:
            values = [json_values.encode_value(value) for value in cursor.values]
            tree[name] = {"values": values, "before": cursor.before}
    if query.offset:
        tree["offset"] = query.offset
    if query.limit is not None:
        tree["limit"] = query.limit
    if query.select is not None:
        tree["select"] = [str(path) for path in query.select]
    if query.search is not None:
        fields = [str(path) for path in query.search.fields]
        tree["search"] = {"text": query.search.text, "fields": fields}
    if query.near is not None:
        tree["near"] = _encode_near(query.near)
    return tree


def _encode_near(near: Near) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "field": str(near.field),
        "center": json_values.encode_value(near.center),
    }
    if near.radius_meters is not None:
        tree["radius_meters"] = near.radius_meters
    return tree


def encode_filter(where: Filter) -> dict[str, Any]:
    """One filter in JSON."""
    match where:
        case FieldFilter():
            return {
                "field": str(where.field),
                "op": where.operator.value,
                "value": json_values.encode_value(where.value),
            }
        case And():
            return {"and": [encode_filter(item) for item in where.filters]}
        case Or():
            return {"or": [encode_filter(item) for item in where.filters]}
        case _:
            assert_never(where)


def decode_collection(tree: Any, at: str) -> CollectionPath:
    """A collection path, with the place in the error."""
    text = check_string(tree, at)
    try:
        return CollectionPath.parse(text)
    except BaasError as error:
        raise _placed(error, at) from error


def decode_field_path(tree: Any, at: str) -> FieldPath:
    """A field path, with the place in the error."""
    text = check_string(tree, at)
    try:
        return FieldPath.parse(text)
    except BaasError as error:
        raise _placed(error, at) from error


def decode_field_paths(tree: Any, at: str) -> tuple[FieldPath, ...]:
    """A list of field paths."""
    return tuple(
        decode_field_path(item, f"{at}[{index}]")
        for index, item in enumerate(check_array(tree, at, maximum=FILTER_ITEMS_MAX))
    )


def read_field_paths(text: str, at: str) -> tuple[FieldPath, ...]:
    """Field paths between commas; a comma within backticks belongs to its path."""
    items: list[Any] = []
    begin = place = 0
    is_quoted = False
    while place < len(text):
        character = text[place]
        if character == "\\" and is_quoted:
            place += 1
        elif character == "`":
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            items.append(text[begin:place].strip())
            begin = place + 1
        place += 1
    items.append(text[begin:].strip())
    if len(items) > FILTER_ITEMS_MAX:
        raise invalid(at, f"names {len(items)} fields; at most {FILTER_ITEMS_MAX} are allowed")
    return tuple(decode_field_path(item, at) for item in items)


def _placed(error: BaasError, at: str) -> BaasError:
    """The same error, saying where in the body it was met."""
    return type(error)(
        f"`{at}`: {error.message}",
        reason=error.reason,
        details={**(error.details or {}), "field": at},
    )


def _decode_filter(tree: Any, at: str, depth: int) -> Filter:
    if depth >= FILTER_DEPTH_MAX:
        raise InvalidQuery(
            f"`{at}` nests filters deeper than {FILTER_DEPTH_MAX}", details={"field": at}
        )
    if type(tree) is not dict:
        raise invalid(at, f"must be an object, not {kind_of(tree)}")
    for word, allowed, made in (("and", _AND, And), ("or", _OR, Or)):
        if word in tree:
            members = check_object(tree, at, allowed=allowed)
            inner = join(at, word)
            items = check_array(members[word], inner, maximum=FILTER_ITEMS_MAX)
            if not items:
                raise invalid(inner, "must hold at least one filter")
            return made(
                tuple(
                    _decode_filter(item, f"{inner}[{index}]", depth + 1)
                    for index, item in enumerate(items)
                )
            )
    members = check_object(tree, at, allowed=_FIELD_FILTER, required=("field", "op", "value"))
    word = check_string(members["op"], join(at, "op"))
    operator = _OPERATORS.get(word)
    if operator is None:
        known = ", ".join(f"`{name}`" for name in _OPERATORS)
        raise invalid(join(at, "op"), f"is `{word[:40]}`; known operators are {known}")
    return FieldFilter(
        field=decode_field_path(members["field"], join(at, "field")),
        operator=operator,
        value=_decode_operand(operator, members["value"], join(at, "value")),
    )


def _decode_operand(operator: Operator, tree: Any, at: str) -> Value:
    if operator in _VALUES_OPERATORS and type(tree) is list:
        # Each is a value by itself, and may be an array, which no array may hold.
        return [json_values.decode_value(item, f"{at}[{index}]") for index, item in enumerate(tree)]
    return json_values.decode_value(tree, at)


def _decode_orders(tree: Any, at: str) -> tuple[Order, ...]:
    if tree is None:
        return ()
    orders = []
    for index, item in enumerate(check_array(tree, at, maximum=FILTER_ITEMS_MAX)):
        place = f"{at}[{index}]"
        members = check_object(item, place, allowed=_ORDER, required=("field",))
        direction = check_string(members.get("direction", "asc"), join(place, "direction"))
        if direction not in ("asc", "desc"):
            raise invalid(join(place, "direction"), f"must be `asc` or `desc`, not `{direction}`")
        field = decode_field_path(members["field"], join(place, "field"))
        orders.append(Order(field, direction == "desc"))
    return tuple(orders)


def _decode_near(tree: Any, at: str) -> Near | None:
    if tree is None:
        return None
    members = check_object(tree, at, allowed=_NEAR, required=("field", "center"))
    center = json_values.decode_value(members["center"], join(at, "center"))
    if not isinstance(center, GeoPoint):
        raise invalid(join(at, "center"), 'must be a geo point, such as `{"$geo": [48.2, 16.4]}`')
    radius = members.get("radius_meters")
    return Near(
        decode_field_path(members["field"], join(at, "field")),
        center,
        None if radius is None else check_number(radius, join(at, "radius_meters")),
    )


def _decode_cursor(tree: Any, at: str) -> Cursor | None:
    if tree is None:
        return None
    members = check_object(tree, at, allowed=_CURSOR, required=("values",))
    inner = join(at, "values")
    values = tuple(
        json_values.decode_value(value, f"{inner}[{index}]")
        for index, value in enumerate(check_array(members["values"], inner, maximum=100))
    )
    if not values:
        raise invalid(inner, "must hold at least one value")
    return Cursor(values, check_boolean(members.get("before", True), join(at, "before")))


def _decode_search(tree: Any, at: str) -> Search | None:
    if tree is None:
        return None
    members = check_object(tree, at, allowed=_SEARCH, required=("text", "fields"))
    text = check_string(members["text"], join(at, "text"))
    return Search(text, decode_field_paths(members["fields"], join(at, "fields")))
