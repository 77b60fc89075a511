"""Queries, and the pure answer to: does this document match? Semantics as FIREBASE.md 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from typing import Any, TypeAlias, assert_never

from baas.errors import InvalidQuery
from baas.model.documents import DocumentLike
from baas.model.near import Near, check_near, compile_distance
from baas.model.order import SortKey, is_equal, sort_key, type_rank
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.search import Search, check_search, has_terms
from baas.model.values import Fields, Reference, Value
from baas.settings import Limits

NAME = FieldPath(("__name__",))
IN_VALUES_MAX = 30  # of `in` and `array-contains-any`
NOT_IN_VALUES_MAX = 10
INEQUALITY_FIELDS_MAX = 10
TERMS_MAX = 100  # filters and orders together


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
_LIST_OPERATORS = frozenset({Operator.IN, Operator.NOT_IN, Operator.ARRAY_CONTAINS_ANY})
_ARRAY_OPERATORS = frozenset({Operator.ARRAY_CONTAINS, Operator.ARRAY_CONTAINS_ANY})
_EXPANDED = {
    Operator.IN: Operator.EQUAL,
    Operator.ARRAY_CONTAINS_ANY: Operator.ARRAY_CONTAINS,
}


def number_query(query: Query) -> Query:
    """The same query, with a number that no other has: what was found out about it once can be
    remembered by that, without keeping it. For queries that are kept and asked again; equal ones
    will not do, since 1, 1.0 and True are equal. A changed copy has no number."""
    object.__setattr__(query, "number", next(_numbers))
    return query


# Checks ------------------------------------------------------------------------------------------


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
    asks_for_fields = _has_or(query.where) and bool(inequality_fields(query))
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
        if _has_or(where):
            raise InvalidQuery("`not-in` cannot be combined with `or`")
    fields = {leaf.field for leaf in leaves if is_inequality(leaf)}
    if len(fields) > INEQUALITY_FIELDS_MAX:
        raise InvalidQuery(
            f"inequalities on {len(fields)} fields; at most {INEQUALITY_FIELDS_MAX} are allowed",
            reason="TooManyInequalities",
        )
    if where is None:
        return
    count = _count_disjunctions(where)
    if count > limits.query_disjunctions_max:
        raise InvalidQuery(
            f"the filter has {count} disjunctions in normal form; "
            f"at most {limits.query_disjunctions_max} are allowed",
            reason="TooManyDisjunctions",
        )
    if _any_per_disjunction(where) > 1:
        raise InvalidQuery("a disjunction can have only one `array-contains-any`")


def _has_or(where: Filter | None) -> bool:
    match where:
        case Or():
            return len(where.filters) > 1 or _has_or(where.filters[0])
        case And():
            return any(_has_or(item) for item in where.filters)
        case _:
            return False


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


# Disjunctive normal form -------------------------------------------------------------------------


def disjunctions(where: Filter | None) -> tuple[tuple[FieldFilter, ...], ...]:
    """The filter as an `or` of `and`s: it matches what at least one of them matches in full.

    `in` becomes one `==` per value and `array-contains-any` one `array-contains`, without those
    values that never match (null, NaN) and without repetitions; so there may be no disjunction at
    all, and then nothing matches. No filter is one empty disjunction. For a checked query.
    """
    match where:
        case None:
            return ((),)
        case FieldFilter():
            return _expand(where)
        case Or():
            return tuple([item for part in where.filters for item in disjunctions(part)])
        case And():
            product: tuple[tuple[FieldFilter, ...], ...] = ((),)
            for part in where.filters:
                inner = disjunctions(part)
                product = tuple([left + right for left in product for right in inner])
            return product
        case _:
            assert_never(where)


def _expand(leaf: FieldFilter) -> tuple[tuple[FieldFilter, ...], ...]:
    operator = _EXPANDED.get(leaf.operator)
    if operator is None:
        return ((leaf,),)
    assert isinstance(leaf.value, list)
    distinct = {sort_key(value): value for value in leaf.value if not _never_equal(value)}
    return tuple([(FieldFilter(leaf.field, operator, value),) for value in distinct.values()])


def _count_disjunctions(where: Filter) -> int:
    match where:
        case FieldFilter():
            if where.operator in _EXPANDED and isinstance(where.value, list):
                return len(where.value)
            return 1
        case Or():
            return sum(map(_count_disjunctions, where.filters))
        case And():
            count = 1
            for item in where.filters:
                count *= _count_disjunctions(item)
            return count
        case _:
            assert_never(where)


def _never_equal(value: Value) -> bool:
    """null and NaN match by `==` only; as an element of `in` and the like they match nothing."""
    return value is None or (isinstance(value, float) and value != value)


# Matching ----------------------------------------------------------------------------------------

_MISSING: Any = object()
_Test: TypeAlias = Callable[[Any], bool]


def matches(query: Query, document: DocumentLike) -> bool:
    """Whether the document is in the query's collection, passes its filters, has every field that
    it is ordered by, and lies between its cursors. Offset and limit are not looked at."""
    matcher = query._matcher
    if matcher is None:
        matcher = compile_query(query)
        object.__setattr__(query, "_matcher", matcher)
    return matcher(document)


def compile_query(query: Query) -> Matcher:
    """`matches` for one query, as a function of the document alone."""
    tests: list[Matcher] = [_compile_collection(query)]
    if query.where is not None:
        tests.append(_compile_filter(query.where))
    orders = effective_orders(query)
    tests.extend(_compile_existence(query, orders))
    if query.near is not None:
        tests.append(_compile_near(query, query.near))
    elif query.start is not None:
        tests.append(_compile_start(query.start, orders))
    if query.end is not None:
        tests.append(_compile_end(query.end, orders))
    if query.search is not None:
        search = query.search
        tests.append(lambda document: has_terms(document.fields, search))
    return _all_of(tests)


def accepts(leaf: FieldFilter, value: Value) -> bool:
    """Whether a document with this value in the filter's field passes it."""
    return _compile_test(leaf.operator, leaf.value)(value)


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


def _all_of(tests: list[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda document: first(document) and second(document)

    def matches_all(document: DocumentLike) -> bool:
        for test in tests:  # noqa: SIM110 (a generator would cost more than the tests)
            if not test(document):
                return False
        return True

    return matches_all


def _compile_collection(query: Query) -> Matcher:
    segments = query.collection.segments
    if not query.all_descendants:
        return lambda document: document.path.segments[:-1] == segments
    group = segments[-1]
    above = () if query.parent is None else query.parent.segments
    depth = len(above)

    def matches_group(document: DocumentLike) -> bool:
        path = document.path.segments
        if group and path[-2] != group:  # an empty id stands for every collection
            return False
        return len(path) > depth and path[:depth] == above

    return matches_group


def _getter(path: FieldPath) -> Callable[[DocumentLike], Any]:
    if path == NAME:
        return lambda document: Reference(document.path)
    if len(path.segments) == 1:
        name = path.segments[0]
        return lambda document: document.fields.get(name, _MISSING)
    segments = path.segments

    def get_nested(document: DocumentLike) -> Any:
        found: Any = document.fields
        for segment in segments:
            if type(found) is not dict:
                return _MISSING
            found = found.get(segment, _MISSING)
        return found

    return get_nested


def _compile_filter(where: Filter) -> Matcher:
    match where:
        case FieldFilter():
            return _compile_field_filter(where)
        case And():
            return _all_of([_compile_filter(item) for item in where.filters])
        case Or():
            tests = [_compile_filter(item) for item in where.filters]
            return lambda document: any(test(document) for test in tests)
        case _:
            assert_never(where)


def _compile_field_filter(where: FieldFilter) -> Matcher:
    get = _getter(where.field)
    value = where.value
    if where.field == NAME:
        value = _local_names(value)
    test = _compile_test(where.operator, value)
    return lambda document: test(get(document))


def _local_names(value: Value) -> Value:
    """References as `__name__` operands: a full name means the same document as a short one."""
    if isinstance(value, Reference):
        return Reference(value.path)
    if isinstance(value, list):
        return [_local_names(item) for item in value]
    return value


def _compile_test(operator: Operator, operand: Value) -> _Test:
    match operator:
        case Operator.EQUAL:
            return _equals(operand)
        case Operator.NOT_EQUAL:
            equals = _equals(operand)
            return lambda value: value is not _MISSING and value is not None and not equals(value)
        case Operator.LESS | Operator.LESS_OR_EQUAL:
            return _compile_range(operand, below=True, equal=operator is Operator.LESS_OR_EQUAL)
        case Operator.GREATER | Operator.GREATER_OR_EQUAL:
            return _compile_range(operand, below=False, equal=operator is Operator.GREATER_OR_EQUAL)
        case Operator.ARRAY_CONTAINS:
            equals = _equals(operand)
            return lambda value: type(value) is list and any(equals(item) for item in value)
        case Operator.ARRAY_CONTAINS_ANY:
            keys = _operand_keys(operand)
            return lambda value: (
                type(value) is list and any(sort_key(item) in keys for item in value)
            )
        case Operator.IN:
            keys = _operand_keys(operand)
            return lambda value: value is not _MISSING and sort_key(value) in keys
        case Operator.NOT_IN:
            return _compile_not_in(operand)
        case _:
            assert_never(operator)


def _equals(operand: Value) -> _Test:
    if type(operand) is str:
        return lambda value: type(value) is str and value == operand
    if operand is None or type(operand) is bool:
        return lambda value: value is operand
    if type(operand) is int:
        return lambda value: (type(value) is int or type(value) is float) and value == operand
    return lambda value: value is not _MISSING and is_equal(value, operand)


def _operand_keys(operand: Value) -> frozenset[SortKey]:
    assert isinstance(operand, list)
    return frozenset([sort_key(value) for value in operand if not _never_equal(value)])


def _compile_range(operand: Value, *, below: bool, equal: bool) -> _Test:
    if type(operand) is int:
        return _compile_integer_range(operand, below=below, equal=equal)
    bound = sort_key(operand)
    rank = type_rank(operand)

    def is_below(value: Any) -> bool:
        if value is _MISSING or type_rank(value) != rank:
            return False
        key = sort_key(value)
        return key < bound or (equal and key == bound)

    def is_above(value: Any) -> bool:
        if value is _MISSING or type_rank(value) != rank:
            return False
        key = sort_key(value)
        return key > bound or (equal and key == bound)

    return is_below if below else is_above


def _compile_integer_range(operand: int, *, below: bool, equal: bool) -> _Test:
    """The most used ranges, without keys. NaN is below every integer, and Python compares integers
    with doubles exactly."""

    def is_below(value: Any) -> bool:
        if type(value) is float:
            return value < operand or (equal and value == operand) or value != value
        return type(value) is int and (value < operand or (equal and value == operand))

    def is_above(value: Any) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        return value > operand or (equal and value == operand)

    return is_below if below else is_above


def _compile_not_in(operand: Value) -> _Test:
    assert isinstance(operand, list)
    if None in operand:
        return lambda value: False
    keys = frozenset([sort_key(value) for value in operand])
    return lambda value: value is not _MISSING and value is not None and sort_key(value) not in keys


def _compile_existence(query: Query, orders: tuple[Order, ...]) -> Iterator[Matcher]:
    """Documents without a field that the query is ordered by, or wants, are not in it."""
    # A field that every document must have to pass the filter needs no second look.
    required: set[FieldPath] = set()
    where = query.where
    for item in where.filters if isinstance(where, And) else (where,):
        if isinstance(item, FieldFilter):
            required.add(item.field)
    for path in dict.fromkeys((*[order.field for order in orders], *query.existing)):
        if path != NAME and path not in required:
            yield _exists(path)


def _exists(path: FieldPath) -> Matcher:
    get = _getter(path)
    return lambda document: get(document) is not _MISSING


# Order and cursors -------------------------------------------------------------------------------


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
    key = sort_key(_local_names(value) if order.field == NAME else value)
    return _Descending(key) if order.descending else key


def _compile_order(orders: tuple[Order, ...]) -> Callable[[DocumentLike], Any]:
    getters = [(order, _getter(order.field)) for order in orders]

    def key(document: DocumentLike) -> Any:
        return tuple([_position(order, get(document)) for order, get in getters])

    return key


def _compile_near(query: Query, near: Near) -> Matcher:
    distance_of, radius, start = compile_distance(near), near.radius, near_start(query)

    def is_near(document: DocumentLike) -> bool:
        distance = distance_of(document)
        if distance is None or distance > radius:
            return False
        return start is None or (distance, sort_key(Reference(document.path))) > start

    return is_near


def _compile_near_order(near: Near) -> Callable[[DocumentLike], Any]:
    distance_of = compile_distance(near)
    return lambda document: (distance_of(document), sort_key(Reference(document.path)))


def _compile_start(cursor: Cursor, orders: tuple[Order, ...]) -> Matcher:
    bound, key = _compile_cursor(cursor, orders)
    if cursor.before:
        return lambda document: bool(key(document) >= bound)
    return lambda document: bool(key(document) > bound)


def _compile_end(cursor: Cursor, orders: tuple[Order, ...]) -> Matcher:
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
