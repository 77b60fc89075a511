"""Queries as values, and what is read off them. Semantics as FIREBASE.md 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from typing import TypeAlias, assert_never

from baas.model.documents import DocumentLike
from baas.model.near import Near
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.search import Search
from baas.model.values import Value

NAME = FieldPath(("__name__",))


class Operator(Enum):
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    ARRAY_CONTAINS = "array-contains"
    ARRAY_CONTAINS_ANY = "array-contains-any"
    IN = "in"
    NOT_IN = "not-in"


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """`== null`, `!= null`, `== NaN`, `!= NaN` are Firestore's unary filters. On `__name__` the
    operand is a Reference (or a list of them)."""

    field: FieldPath
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class And:
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    filters: tuple[Filter, ...]


Filter: TypeAlias = FieldFilter | And | Or


@dataclass(frozen=True, slots=True)
class Order:
    field: FieldPath
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position: values for a prefix of the order-by list. As a start, `before` includes the
    document at the position; as an end, `before` excludes it."""

    values: tuple[Value, ...]
    before: bool


@dataclass(frozen=True, slots=True)
class Query:
    """`collection` names one collection. For a collection group `all_descendants` is set:
    `collection.segments[-1]` is the group's id and `parent` the document under which it is
    searched (None: the whole database). `select` None returns whole documents. Documents that lack
    one of the `existing` fields are not in it: aggregations ask for that. With `search` the answer
    is in the order of scores, equal ones by name, and there is no other. With `near` it is in the
    order of distances, equal ones by name; its only cursor is a `start` of these two, where a page
    goes on. `number`: see `number_query`."""

    collection: CollectionPath
    all_descendants: bool = False
    parent: DocumentPath | None = None
    where: Filter | None = None
    order_by: tuple[Order, ...] = ()
    start: Cursor | None = None
    end: Cursor | None = None
    offset: int = 0
    limit: int | None = None
    select: tuple[FieldPath, ...] | None = None
    existing: tuple[FieldPath, ...] = ()
    search: Search | None = None
    near: Near | None = None
    number: int | None = field(default=None, init=False, repr=False, compare=False)
    _matcher: Matcher | None = field(default=None, init=False, repr=False, compare=False)
    _orders: tuple[Order, ...] | None = field(default=None, init=False, repr=False, compare=False)


Matcher: TypeAlias = Callable[[DocumentLike], bool]

_numbers = count(1)
_INEQUALITIES = frozenset(
    {
        Operator.NOT_EQUAL,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
        Operator.NOT_IN,
    }
)
_BY_NAME = {descending: Order(NAME, descending) for descending in (False, True)}


def number_query(query: Query) -> Query:
    """The same query, with a number that no other has: what was found out about it once can be
    remembered by that, without keeping it. For queries that are kept and asked again; equal ones
    will not do, since 1, 1.0 and True are equal. A changed copy has no number."""
    object.__setattr__(query, "number", next(_numbers))
    return query


def searched_query(query: Query) -> Query:
    """The documents among which a search counts how rare its words are: those that its equalities
    hold, or with `is_narrow` all of its filter. Whoever may list them learns nothing by an order
    that rests on them."""
    assert query.search is not None
    if query.search.is_narrow:
        return unsearched_query(query)
    equal = tuple(_equalities(query.where))
    return replace(query, search=None, where=And(equal) if equal else None)


def unsearched_query(query: Query) -> Query:
    """All that a search's filter holds. An order by score asks for no fields, so a document that
    passes one side of an `or` may lack the field of an inequality on the other."""
    asks_for_fields = has_or(query.where) and bool(inequality_fields(query))
    return replace(query, search=None, order_by=(_BY_NAME[False],) if asks_for_fields else ())


def _equalities(where: Filter | None) -> Iterator[FieldFilter]:
    """Those that every document of the query fulfils."""
    match where:
        case FieldFilter(operator=Operator.EQUAL) if where.field != NAME:
            yield where
        case And():
            for item in where.filters:
                yield from _equalities(item)


def field_filters(where: Filter | None) -> Iterator[FieldFilter]:
    """Every field filter in the tree, from left to right."""
    match where:
        case None:
            return
        case FieldFilter():
            yield where
        case And() | Or():
            for item in where.filters:
                yield from field_filters(item)
        case _:
            assert_never(where)


def is_inequality(where: FieldFilter) -> bool:
    """Whether the filter implies an order by its field. `!=` and `not-in` do."""
    return where.operator in _INEQUALITIES


def inequality_fields(query: Query) -> tuple[FieldPath, ...]:
    """The fields with an inequality, each once, in the order of their paths."""
    found = {leaf.field for leaf in field_filters(query.where) if is_inequality(leaf)}
    return tuple(sorted(found, key=lambda path: path.segments))


def effective_orders(query: Query) -> tuple[Order, ...]:
    """The order in full: the stated one, then inequality fields that it lacks, then `__name__`;
    what is added takes the direction of the last stated order. Always ends with `__name__`, which
    is all of it where the distance comes first."""
    orders = query._orders
    if orders is None:
        orders = _complete_orders(query)
        object.__setattr__(query, "_orders", orders)
    return orders


def _complete_orders(query: Query) -> tuple[Order, ...]:
    if query.search is not None or query.near is not None:
        return (_BY_NAME[False],)
    stated = query.order_by
    fields = [order.field for order in stated]
    if NAME in fields:
        # Nothing behind the name can matter: names are unique.
        return stated[: fields.index(NAME) + 1]
    descending = stated[-1].descending if stated else False
    added = [
        Order(path, descending)
        for path in inequality_fields(query)
        if path not in fields and path != NAME
    ]
    return (*stated, *added, _BY_NAME[descending])


def has_or(where: Filter | None) -> bool:
    """Whether there is an `or` of several filters anywhere in it."""
    match where:
        case Or():
            return len(where.filters) > 1 or has_or(where.filters[0])
        case And():
            return any(has_or(item) for item in where.filters)
        case _:
            return False
