"""Which queries may be asked: their shapes and limits, before anything is read."""

from __future__ import annotations

from typing import assert_never

from baas.errors import InvalidQuery
from baas.model.near import Near, check_near
from baas.model.paths import FieldPath
from baas.model.queries import (
    NAME,
    And,
    Cursor,
    FieldFilter,
    Filter,
    Operator,
    Or,
    Order,
    Query,
    effective_orders,
    field_filters,
    has_or,
    is_inequality,
)
from baas.model.query_disjunctions import count_disjunctions
from baas.model.search import Search, check_search
from baas.model.values import Reference
from baas.settings import Limits

IN_VALUES_MAX = 30  # of `in` and `array-contains-any`
NOT_IN_VALUES_MAX = 10
INEQUALITY_FIELDS_MAX = 10
TERMS_MAX = 100  # filters and orders together
_LIST_OPERATORS = frozenset({Operator.IN, Operator.NOT_IN, Operator.ARRAY_CONTAINS_ANY})
_ARRAY_OPERATORS = frozenset({Operator.ARRAY_CONTAINS, Operator.ARRAY_CONTAINS_ANY})


def check_query(query: Query, limits: Limits) -> None:
    """Raises InvalidQuery if the query contradicts itself or passes a limit."""
    if query.limit is not None and query.limit < 0:
        raise InvalidQuery(f"`limit` is {query.limit}; it must not be negative")
    if query.offset < 0:
        raise InvalidQuery(f"`offset` is {query.offset}; it must not be negative")
    leaves = list(field_filters(query.where))
    for leaf in leaves:
        _check_filter(leaf)
    _check_combination(leaves, query.where, limits)
    if len(leaves) + len(query.order_by) > TERMS_MAX:
        raise InvalidQuery(
            f"{len(leaves)} filters and {len(query.order_by)} orders; "
            f"together they may be at most {TERMS_MAX}",
            reason="TooManyTerms",
        )
    if query.search is not None:
        _check_search(query, query.search, limits)
    if query.near is not None:
        _check_near(query, query.near)
    ordered: set[FieldPath] = set()
    for order in query.order_by:
        if order.field in ordered:
            raise InvalidQuery(f"`order_by` names `{order.field}` twice")
        ordered.add(order.field)
    for name, cursor in (("start", query.start), ("end", query.end)):
        if cursor is not None:
            _check_cursor(name, cursor, effective_orders(query))


def _check_search(query: Query, search: Search, limits: Limits) -> None:
    check_search(search, limits)
    if query.near is not None:
        raise InvalidQuery(
            "`search` and `near` are an order each: a query has one of them",
            reason="SearchWithOrder",
        )
    if query.order_by:
        raise InvalidQuery(
            "`search` has an order of its own, the best first: leave out `order_by`",
            reason="SearchWithOrder",
        )
    if query.start is not None or query.end is not None:
        raise InvalidQuery(
            "`search` has no cursors: its order rests on no values; go on with a page token",
            reason="SearchWithCursor",
        )


def _check_near(query: Query, near: Near) -> None:
    if near.field == NAME:
        raise InvalidQuery("`near` needs a field that holds geo points, not `__name__`")
    check_near(near)
    if query.order_by:
        raise InvalidQuery(
            "`near` has an order of its own, the nearest first: leave out `order_by`",
            reason="NearWithOrder",
        )
    if query.start is not None or query.end is not None:
        raise InvalidQuery(
            "`near` has no cursors: go on with a page token", reason="NearWithCursor"
        )


def refuse_search(query: Query, what: str) -> None:
    """Raises InvalidQuery (`SearchNotSupported`) for a search, of which there is no such thing."""
    if query.search is not None:
        raise InvalidQuery(f"`search` cannot be used {what}", reason="SearchNotSupported")


def _check_filter(leaf: FieldFilter) -> None:
    operator, value = leaf.operator, leaf.value
    word = operator.value
    if operator in _LIST_OPERATORS:
        if not isinstance(value, list) or not value:
            raise InvalidQuery(f"`{word}` on `{leaf.field}` needs a list of at least one value")
        most = NOT_IN_VALUES_MAX if operator is Operator.NOT_IN else IN_VALUES_MAX
        if len(value) > most:
            raise InvalidQuery(
                f"`{word}` on `{leaf.field}` has {len(value)} values; at most {most} are allowed",
                reason="TooManyValues",
            )
    if leaf.field == NAME:
        if operator in _ARRAY_OPERATORS:
            raise InvalidQuery(f"`{word}` cannot be used on `__name__`, which is no array")
        operands = value if operator in _LIST_OPERATORS else [value]
        assert isinstance(operands, list)
        if not all(isinstance(operand, Reference) for operand in operands):
            raise InvalidQuery(
                f'`{word}` on `__name__` needs a reference, such as `{{"$ref": "users/ada"}}`'
            )


def _check_combination(leaves: list[FieldFilter], where: Filter | None, limits: Limits) -> None:
    operators = [leaf.operator for leaf in leaves]
    if Operator.NOT_IN in operators:
        if operators.count(Operator.NOT_IN) > 1:
            raise InvalidQuery("a query can have only one `not-in`")
        for other in (Operator.IN, Operator.ARRAY_CONTAINS_ANY, Operator.NOT_EQUAL):
            if other in operators:
                raise InvalidQuery(f"`not-in` cannot be combined with `{other.value}`")
        if has_or(where):
            raise InvalidQuery("`not-in` cannot be combined with `or`")
    fields = {leaf.field for leaf in leaves if is_inequality(leaf)}
    if len(fields) > INEQUALITY_FIELDS_MAX:
        raise InvalidQuery(
            f"inequalities on {len(fields)} fields; at most {INEQUALITY_FIELDS_MAX} are allowed",
            reason="TooManyInequalities",
        )
    if where is None:
        return
    count = count_disjunctions(where)
    if count > limits.query_disjunctions_max:
        raise InvalidQuery(
            f"the filter has {count} disjunctions in normal form; "
            f"at most {limits.query_disjunctions_max} are allowed",
            reason="TooManyDisjunctions",
        )
    if _any_per_disjunction(where) > 1:
        raise InvalidQuery("a disjunction can have only one `array-contains-any`")


def _any_per_disjunction(where: Filter) -> int:
    """The most `array-contains-any` filters that hold together in one disjunction."""
    match where:
        case FieldFilter():
            return int(where.operator is Operator.ARRAY_CONTAINS_ANY)
        case And():
            return sum(map(_any_per_disjunction, where.filters))
        case Or():
            return max(map(_any_per_disjunction, where.filters), default=0)
        case _:
            assert_never(where)


def _check_cursor(name: str, cursor: Cursor, orders: tuple[Order, ...]) -> None:
    if not cursor.values:
        raise InvalidQuery(f"`{name}` has no values")
    if len(cursor.values) > len(orders):
        raise InvalidQuery(
            f"`{name}` has {len(cursor.values)} values, but the query is ordered by {len(orders)}"
        )
    for order, value in zip(orders, cursor.values, strict=False):
        if order.field == NAME and not isinstance(value, Reference):
            raise InvalidQuery(
                f'`{name}` needs a reference for `__name__`, such as `{{"$ref": "users/ada"}}`'
            )
