"""Aggregations of a query's answer: numbers of all of it, or of each group of documents that have
equal values in some fields. Pure. Semantics as FIREBASE.md 3.5; minimum, maximum and groups as
Firestore's pipelines name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from baas.errors import InvalidQuery
from baas.model.documents import DocumentLike
from baas.model.order import SortKey, sort_key
from baas.model.paths import FieldPath
from baas.model.queries import NAME, And, Cursor, FieldFilter, Operator, Order, Query
from baas.model.query_order import get_field
from baas.model.values import Value

AGGREGATES_MAX = 5
GROUP_FIELDS_MAX = 5
ALIAS_BYTES_MAX = 1_500


class AggregateOperator(Enum):
    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"


_ENDS = (AggregateOperator.MINIMUM, AggregateOperator.MAXIMUM)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`field` for all but count; `up_to` for count: it counts no further."""

    alias: str
    operator: AggregateOperator
    field: FieldPath | None = None
    up_to: int | None = None

    @property
    def is_end(self) -> bool:
        """Whether it is the value of one document, the first or the last by that value."""
        return self.operator in _ENDS


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`group_by` fields part the answer; without any it is one group, even if it is empty. Groups
    without aggregates are the distinct values.

    Documents that lack one of the fields are in no group and in none of the numbers, not even in
    a count beside them.
    """

    query: Query
    aggregates: tuple[Aggregate, ...] = ()
    group_by: tuple[FieldPath, ...] = ()

    @property
    def fields(self) -> tuple[FieldPath, ...]:
        """Those that a document must have."""
        wanted = [item.field for item in self.aggregates if item.field is not None]
        return tuple(dict.fromkeys((*self.group_by, *wanted)))

    @property
    def is_whole(self) -> bool:
        """Whether a document is in the answer whatever others are: so the order does not matter."""
        return self.query.limit is None and not self.query.offset

    def group_of(self, document: DocumentLike) -> tuple[SortKey, ...]:
        """What all documents of the group have in common, and no others; in the order of groups."""
        return tuple([sort_key(get_field(document.fields, path)) for path in self.group_by])

    def values_of(self, document: DocumentLike) -> tuple[Value, ...]:
        """The values by which the document is in its group."""
        return tuple([get_field(document.fields, path) for path in self.group_by])


def check_aggregation(aggregation: Aggregation) -> None:
    """Raises InvalidQuery for none or too many aggregates or group fields, or two of one name."""
    _check_aggregates(aggregation.aggregates, needs_some=not aggregation.group_by)
    group_by = aggregation.group_by
    if len(group_by) > GROUP_FIELDS_MAX:
        raise InvalidQuery(
            f"`group_by` names {len(group_by)} fields; at most {GROUP_FIELDS_MAX} are allowed",
            reason="TooManyGroupFields",
        )
    for place, path in enumerate(group_by):
        if path == NAME:
            raise InvalidQuery("`group_by` cannot be `__name__`: each document has its own")
        if path in group_by[:place]:
            raise InvalidQuery(f"`group_by` names `{path}` twice")


def _check_aggregates(aggregates: Sequence[Aggregate], *, needs_some: bool) -> None:
    if not aggregates and needs_some:
        raise InvalidQuery("Aggregations can not be empty", reason="NoAggregates")
    if len(aggregates) > AGGREGATES_MAX:
        raise InvalidQuery(
            f"{len(aggregates)} aggregations; the maximum number of aggregations is "
            f"{AGGREGATES_MAX}",
            reason="TooManyAggregates",
        )
    seen: set[str] = set()
    for item in aggregates:
        if not item.alias or len(item.alias.encode()) > ALIAS_BYTES_MAX:
            raise InvalidQuery(f"an alias has 1 to {ALIAS_BYTES_MAX} bytes", reason="InvalidAlias")
        if item.alias in seen:
            raise InvalidQuery(
                f"Aggregation aliases contain duplicate alias `{item.alias}`",
                reason="DuplicateAlias",
            )
        seen.add(item.alias)
        if item.field == NAME:
            raise InvalidQuery(f"`{item.operator.value}` cannot be taken of `__name__`")
        if item.up_to is not None and item.up_to < 1:
            raise InvalidQuery(f"`up_to` is {item.up_to}; it must be at least 1")


# Queries that an aggregation is made of -----------------------------------------------------------


def aggregated_query(aggregation: Aggregation) -> Query:
    """The documents that are counted, in the query's own order."""
    return replace(aggregation.query, existing=aggregation.fields, select=None)


def grouped_query(aggregation: Aggregation) -> Query:
    """The same documents group by group, for a query that is whole and has neither cursors nor
    `near`; of others it tells the order of groups. Every field that they must have is in the order,
    so that an index holds them and no others."""
    return _in_order(aggregation, aggregation.group_by)


def end_query(aggregation: Aggregation, aggregate: Aggregate) -> Query:
    """The same documents within each group from the one on that a minimum or maximum is the value
    of. In every order the names come last: which of several equal values is given is not left to
    chance."""
    assert aggregate.field is not None
    return _in_order(aggregation, (*aggregation.group_by, aggregate.field))


def end_of(aggregation: Aggregation, aggregate: Aggregate, group: tuple[Value, ...]) -> Query:
    """The one document of a group that a minimum or maximum is the value of, if it has any; null is
    not among the values."""
    assert aggregate.field is not None
    is_last = aggregate.operator is AggregateOperator.MAXIMUM
    query = _in_order(aggregation, (aggregate.field,), descending=is_last)
    null = Cursor((None,), before=is_last)  # which comes before everything else
    query = replace(query, start=None if is_last else null, end=null if is_last else None, limit=1)
    return within_group(query, aggregation, group)


def within_group(query: Query, aggregation: Aggregation, group: tuple[Value, ...]) -> Query:
    """The documents of one group among a query's."""
    equal = [
        FieldFilter(path, Operator.EQUAL, value)
        for path, value in zip(aggregation.group_by, group, strict=True)
    ]
    if not equal:
        return query
    return replace(query, where=And((*equal, *([] if query.where is None else [query.where]))))


def _in_order(
    aggregation: Aggregation, first: tuple[FieldPath, ...], *, descending: bool = False
) -> Query:
    # Which fields a document must have depends on the orders: on none behind the name, and not on
    # those of inequalities where the distance is the order.
    is_near = aggregation.query.near is not None
    stated = [NAME] if is_near else [order.field for order in aggregation.query.order_by]
    tail = (NAME,) if NAME in stated else ()
    stated = stated[: stated.index(NAME)] if tail else stated
    fields = dict.fromkeys((*first, *aggregation.fields, *stated, *tail))
    return replace(
        aggregation.query,
        order_by=tuple([Order(path, descending) for path in fields]),
        existing=(),
        select=None,
        near=None,
    )
