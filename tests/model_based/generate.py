"""Random values, writes and queries: few names and few values, so that they meet, and among them
those that are known to be traps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from baas.errors import InvalidQuery
from baas.model.aggregates import Aggregate, AggregateOperator, Aggregation
from baas.model.geo import distance_from
from baas.model.near import Near
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
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
)
from baas.model.query_checks import (
    check_query,
)
from baas.model.query_order import (
    get_field,
)
from baas.model.search import Search
from baas.model.timestamps import Timestamp
from baas.model.values import INT64_MAX, INT64_MIN, Fields, GeoPoint, Reference, Value, Vector
from baas.model.writes import (
    NO_PRECONDITION,
    ArrayRemove,
    ArrayUnion,
    DeleteWrite,
    FieldTransform,
    Increment,
    Maximum,
    Minimum,
    Precondition,
    ServerTimestamp,
    SetWrite,
    Transform,
    VerifyWrite,
    Write,
)
from baas.settings import Limits
from tests.model_based.oracle import State

COLLECTIONS = tuple(map(CollectionPath.parse, ("c", "d", "c/a/c", "d/b/c", "c/a/e", "c/a/c/a/c")))
IDS = (
    "a",
    "b",
    "ab",
    "a\x00",
    "x",
    "__id7__",
    "__id-3__",
    "é",
    "\U0001f600",
    "n" * 1_490 + "1",
    *"efghij",
)
_FIELDS = tuple(FieldPath(names) for names in (("a",), ("b",), ("m", "k"), ("m", "l"), ("z z",)))
# Their index keys are cut before the text ends.
LONG_TEXTS: tuple[Value, ...] = tuple("l" * 1_498 + end for end in ("a", "ab", "b", "", "ba", "c"))
_SCALARS: tuple[Value, ...] = (
    *(None, False, True, 0, 1, 2, -2, 3, INT64_MAX, INT64_MIN, 2**53, 2**53 + 1),
    *(0.0, -0.0, 1.0, 1.5, -1.5, float("nan"), float("inf"), float("-inf"), 2.0**53, 2.0**63),
    *("", "a", "b", "ab", "a\x00", "é", "\U0001f600", *LONG_TEXTS),
    *(b"", b"a", b"\x00", b"\xff"),
    *(Timestamp(0), Timestamp(1), Timestamp(1_700_000_000_123_456)),
    *(GeoPoint(1.0, 2.0), GeoPoint(-0.0, 1.0), Vector((1.0,)), Vector((0.0, 2.0))),
)
# Some are one place by two names, some at the same distance from others.
POINTS: tuple[Value, ...] = tuple(
    GeoPoint(latitude, longitude)
    for latitude in (0.0, -0.0, 48.2, 48.2000001, 90.0)
    for longitude in (0.0, 16.3, -16.3, 180.0, -180.0)
)
_WORDS = ("a", "ab", "abc", "b", "ba", "é")
_LISTED: tuple[list[Value], ...] = (["a", "b ab", 1], ["abc"])
TEXTS: tuple[Value, ...] = (
    *("a", "a b", "b a a", "ab abc", "abc ba b a", "é a", "É ab", "!", 1, None),
    *_LISTED,
)
_COMMON: tuple[Value, ...] = (0, 1, 2, 3, "a", "b", 1.0, None, True)
_NUMBERS: tuple[int | float, ...] = (
    1,
    -1,
    2,
    0,
    0.5,
    -0.0,
    INT64_MAX,
    INT64_MIN,
    float("nan"),
    1e300,
)
_SCALAR_OPERATORS = (
    *(Operator.EQUAL, Operator.EQUAL, Operator.EQUAL, Operator.NOT_EQUAL),
    *(Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL),
    Operator.ARRAY_CONTAINS,
)
_NAME_OPERATORS = tuple(item for item in _SCALAR_OPERATORS if item is not Operator.ARRAY_CONTAINS)
_LIST_OPERATORS = (Operator.IN, Operator.NOT_IN, Operator.ARRAY_CONTAINS_ANY)


class Generator:
    """Everything that is drawn comes from one seed. Each run has few places, fields and values of
    all that there are: what is rare over all is frequent in some run."""

    def __init__(
        self,
        chance: random.Random,
        limits: Limits,
        *,
        pool: tuple[Value, ...] | None = None,
        places: int | None = None,
    ) -> None:
        self._chance = chance
        self._limits = limits
        self._collections = chance.sample(COLLECTIONS, places or chance.randint(1, 4))
        self._ids = chance.sample(IDS, chance.randint(3, len(IDS)))
        self._fields = chance.sample(_FIELDS, chance.randint(1, len(_FIELDS)))
        if pool is None:
            pool = chance.choices((LONG_TEXTS, TEXTS, POINTS, _SCALARS), (3, 3, 4, 10))[0]
        self._pool = pool
        self._scalars = chance.sample(pool, chance.randint(3, min(20, len(pool))))
        # What needs an index of its own is asked again and again.
        self._searched = tuple(chance.sample(self._fields, min(len(self._fields), 2)))
        self._words = chance.sample(_WORDS, 3)
        self._flat = chance.random()  # how often a value is a scalar of the run's own

    def path(self) -> DocumentPath:
        chance = self._chance
        return chance.choice(self._collections).document(chance.choice(self._ids))

    def value(self, depth: int = 0) -> Value:
        chance = self._chance
        if chance.random() < self._flat or depth > 1:
            return chance.choice(self._scalars)
        kind = chance.randrange(6)
        if kind < 2:
            return chance.choice(_COMMON)
        if kind == 2:
            return chance.choice(_SCALARS)
        if kind == 3:
            return Reference(self.path())
        if kind == 4:
            items = [self.value(depth + 1) for _ in range(chance.randint(0, 3))]
            return [item for item in items if not isinstance(item, list)]
        return {name: self.value(depth + 1) for name in chance.sample("kl", chance.randint(0, 2))}

    def fields(self) -> Fields:
        chance = self._chance
        made: Fields = {}
        for path in self._fields:
            kind = chance.random()
            if kind < 0.1:
                made[path.segments[0]] = self.value()
            elif kind < 0.8:
                inner: Value = self.value(len(path.segments) - 1)
                if len(path.segments) > 1:
                    known = made.get(path.segments[0])
                    inner = {**(known if isinstance(known, dict) else {}), path.segments[1]: inner}
                made[path.segments[0]] = inner
        return made

    # Writes ---------------------------------------------------------------------------------------

    def writes(self, state: State) -> list[Write]:
        count = self._chance.choice((1, 1, 1, 2, 2, 3, 6))
        return [self.write(state) for _ in range(count)]

    def write(self, state: State) -> Write:
        chance = self._chance
        known = chance.random() < 0.4 and bool(state)
        path = chance.choice(list(state)) if known else self.path()
        kind = chance.randrange(20)
        condition = self._precondition(path, state)
        if kind < 3:
            return DeleteWrite(path, condition)
        if kind == 3:
            return VerifyWrite(path, condition)
        if kind < 9:
            transforms = self._transforms() if chance.random() < 0.3 else ()
            return SetWrite(path, self.fields(), None, transforms, condition)
        fields = self.fields()
        mask = tuple(chance.sample(self._fields, chance.randint(0, len(self._fields))))
        transforms = self._transforms() if chance.random() < 0.6 else ()
        return SetWrite(path, fields, mask, transforms, condition)

    def _precondition(self, path: DocumentPath, state: State) -> Precondition:
        chance = self._chance
        kind = chance.randrange(10)
        if kind == 0:
            return Precondition(exists=chance.random() < 0.5)
        if kind == 1:
            return Precondition(exists=path in state)
        if kind == 2 and path in state:
            return Precondition(update_time=state[path].update_time)
        if kind == 3 and chance.random() < 0.3:
            return Precondition(update_time=Timestamp(chance.randrange(1 << 50)))
        return NO_PRECONDITION

    def _transforms(self) -> tuple[FieldTransform, ...]:
        chance = self._chance
        chosen = [chance.choice(self._fields) for _ in range(chance.randint(1, 3))]
        return tuple(FieldTransform(field, self._transform()) for field in chosen)

    def _transform(self) -> Transform:
        chance = self._chance
        kind = chance.randrange(6)
        if kind == 0:
            return ServerTimestamp()
        if kind == 1:
            return Increment(chance.choice(_NUMBERS))
        if kind == 2:
            return Maximum(chance.choice(_NUMBERS))
        if kind == 3:
            return Minimum(chance.choice(_NUMBERS))
        items = [self.value(1) for _ in range(chance.randint(1, 3))]
        values = tuple(item for item in items if not isinstance(item, list))
        return ArrayUnion(values) if kind == 4 else ArrayRemove(values)

    # Queries --------------------------------------------------------------------------------------

    def query(self, state: State, *, windows: bool = True, searches: bool = False) -> Query:
        """A checked one. Operands and cursors are often values that are there. With `searches` it
        may be one."""
        while True:
            query = self._draft_query(state, windows, searches)
            try:
                check_query(query, self._limits)
            except InvalidQuery:
                continue
            return query

    def window(self) -> Query:
        """The first few of a collection: what it shows moves with every change."""
        chance = self._chance
        order = Order(chance.choice((*self._fields, NAME)), chance.random() < 0.5)
        return Query(
            chance.choice(self._collections), order_by=(order,), limit=chance.choice((1, 2, 3))
        )

    def aggregation(self, state: State) -> Aggregation:
        """Of a whole answer mostly, since most ways of aggregating are for that."""
        chance = self._chance
        query = self.query(state, searches=chance.random() < 0.1)
        if chance.random() < 0.7:
            query = replace(query, start=None, end=None, limit=None, offset=0)
        if query.search is not None:  # of which there are counts and no more
            return Aggregation(query, (Aggregate("n", AggregateOperator.COUNT),))
        group_by = chance.sample(self._fields, chance.choice((0, 1, 1, min(2, len(self._fields)))))
        aggregates = () if group_by and chance.random() < 0.3 else self.aggregates()
        return Aggregation(query, aggregates, tuple(group_by))

    def aggregates(self) -> tuple[Aggregate, ...]:
        """Some numbers, often of one field."""
        chance = self._chance
        fields = chance.sample(self._fields, chance.choice((1, min(2, len(self._fields)))))
        made = []
        for number in range(chance.randint(1, 4)):
            operator = chance.choice(list(AggregateOperator))
            if operator is AggregateOperator.COUNT:
                up_to = chance.choice((None, None, 1, 3))
                made.append(Aggregate(f"n{number}", operator, up_to=up_to))
            else:
                made.append(Aggregate(f"n{number}", operator, chance.choice(fields)))
        return tuple(made)

    def _draft_query(self, state: State, windows: bool, searches: bool) -> Query:
        chance = self._chance
        collection = chance.choice(self._collections)
        is_group = chance.random() < 0.3
        fields = (*self._fields, NAME)
        query = Query(
            collection,
            all_descendants=is_group,
            parent=collection.parent if is_group and chance.random() < 0.7 else None,
        )
        if is_group and query.parent is None:
            query = replace(query, collection=CollectionPath((collection.id,)))
        kind = chance.random()
        if kind < (0.5 if self._pool is POINTS else 0.05):
            query = replace(query, near=self._near(state))
        elif searches and kind > (0.5 if self._pool is TEXTS else 0.95):
            query = replace(query, search=self._search())
        is_plain = query.near is None and query.search is None
        if chance.random() < (0.75 if is_plain else 0.4):
            query = replace(query, where=self._filter(state, 0))
        if is_plain:
            query = self._in_order(query, state)
        return replace(
            query,
            offset=chance.choice((0, 0, 0, 1, 3)) if windows else 0,
            limit=chance.choice((None, None, 1, 2, 3, 5)) if windows else None,
            select=tuple(chance.sample(fields, chance.randint(0, min(3, len(fields)))))
            if windows and chance.random() < 0.15
            else None,
        )

    def _in_order(self, query: Query, state: State) -> Query:
        chance = self._chance
        fields = (*self._fields, NAME)
        count = min(len(fields), chance.choice((0, 0, 1, 1, 2, 3)))
        chosen = chance.sample(fields, count)
        query = replace(
            query, order_by=tuple(Order(field, chance.random() < 0.5) for field in chosen)
        )
        orders = effective_orders(query)
        return replace(
            query,
            start=self._cursor(orders, state) if chance.random() < 0.2 else None,
            end=self._cursor(orders, state) if chance.random() < 0.2 else None,
        )

    def _near(self, state: State) -> Near:
        """Around a place that is there or not, often just as far as another one."""
        chance = self._chance
        field = chance.choice(self._fields)
        center, other = self._point(field, state), self._point(field, state)
        exact = distance_from(center)(other.latitude, other.longitude)
        return Near(field, center, chance.choice((None, 0.0, 1.0, exact, 1e6, 1.2e7)))

    def _point(self, field: FieldPath, state: State) -> GeoPoint:
        value = self._operand(field, state)
        while not isinstance(value, GeoPoint):
            value = self._chance.choice(POINTS)
        return value

    def _search(self) -> Search:
        chance = self._chance
        words = [
            chance.choice(self._words) + ("*" if chance.random() < 0.3 else "")
            for _ in range(chance.choice((1, 1, 2, 3)))
        ]
        first = chance.choice((0, 0, 1))
        return Search(" ".join(words), self._searched[first:] or self._searched)

    def _filter(self, state: State, depth: int) -> Filter:
        chance = self._chance
        kind = chance.randrange(10)
        if kind < 6 or depth > 1:
            return self._field_filter(state)
        inner = tuple(self._filter(state, depth + 1) for _ in range(chance.randint(1, 3)))
        return And(inner) if kind < 8 else Or(inner)

    def _field_filter(self, state: State) -> FieldFilter:
        chance = self._chance
        if chance.random() < 0.15:
            if chance.random() < 0.5:
                return FieldFilter(NAME, chance.choice(_NAME_OPERATORS), self._reference(state))
            names = [self._reference(state) for _ in range(chance.randint(1, 3))]
            return FieldFilter(NAME, chance.choice((Operator.IN, Operator.NOT_IN)), [*names])
        field = chance.choice(self._fields)
        if chance.random() < 0.3:
            values = [self._operand(field, state) for _ in range(chance.randint(1, 3))]
            operator = chance.choice(_LIST_OPERATORS)
            if operator is Operator.ARRAY_CONTAINS_ANY:  # which no array can
                values = [one for one in values if not isinstance(one, list)] or [1]
            return FieldFilter(field, operator, values)
        return FieldFilter(field, chance.choice(_SCALAR_OPERATORS), self._operand(field, state))

    def _operand(self, field: FieldPath, state: State) -> Value:
        chance = self._chance
        if state and chance.random() < 0.6:
            try:
                value = get_field(chance.choice(list(state.values())).fields, field)
            except KeyError:
                return self.value()
            if isinstance(value, list) and value and chance.random() < 0.6:
                return chance.choice(value)
            return value
        return self.value()

    def _reference(self, state: State) -> Reference:
        chance = self._chance
        known = bool(state) and chance.random() < 0.5
        return Reference(chance.choice(list(state)) if known else self.path())

    def _cursor(self, orders: Sequence[Order], state: State) -> Cursor:
        chance = self._chance
        count = chance.randint(1, len(orders))
        values = [
            self._reference(state) if order.field == NAME else self._operand(order.field, state)
            for order in orders[:count]
        ]
        return Cursor(tuple(values), chance.random() < 0.5)
