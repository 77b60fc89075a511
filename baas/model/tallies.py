"""What comes of an aggregation, counted document by document. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, TypeAlias

from baas.model.aggregates import (
    Aggregate,
    AggregateOperator,
    Aggregation,
    end_query,
    grouped_query,
)
from baas.model.documents import DocumentLike
from baas.model.order import SortKey, sort_key
from baas.model.paths import DocumentPath, FieldPath
from baas.model.query_order import document_order, get_field
from baas.model.timestamps import Timestamp
from baas.model.values import INT64_MAX, INT64_MIN, Value, value_size

# Every double is a whole number of these parts of one: so sums are exact, whatever their order.
_PARTS_BITS = 1_074
_PARTS = 1 << _PARTS_BITS
_SLACK = 4  # times as many groups are gathered before those that are not wanted are dropped

Number: TypeAlias = int | float
Results: TypeAlias = Mapping[str, Value]
GroupKey: TypeAlias = tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`values` of the fields that it is grouped by, `results` by alias. `first`: a document of the
    group, the first one in the order of `grouped_query`; None if the group is empty."""

    values: tuple[Value, ...]
    results: Results
    first: DocumentPath | None

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        return sum(map(value_size, (*self.values, *self.results.values())))


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Groups in order; `more`: there are others behind them."""

    groups: list[Group]
    more: bool


@dataclass(frozen=True, slots=True)
class PageBounds:
    """Which groups are wanted: those behind the one of the values `after`, so many at most, and
    about so many bytes, but one at least."""

    groups_max: int
    bytes_max: int
    after: tuple[Value, ...] | None = None


class Tally:
    """The groups of an aggregation over the documents that it was given: those of
    `aggregated_query`, each once, in any order.

    It keeps those within `bounds`; what it holds meanwhile is a few times that.
    """

    def __init__(self, aggregation: Aggregation, bounds: PageBounds | None = None) -> None:
        self._aggregation = aggregation
        after = None if bounds is None else bounds.after
        self._after = None if after is None else tuple(map(sort_key, after))
        self._most = None if bounds is None else bounds.groups_max
        self._bytes_max = None if bounds is None else bounds.bytes_max
        self._beyond: GroupKey | None = None  # groups from here on are not wanted any more
        self._groups: dict[GroupKey, _GroupTally] = {}
        self._orders = _Orders(aggregation)
        if not aggregation.group_by:
            self._groups[()] = _GroupTally(aggregation, self._orders)

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, documents: Iterable[DocumentLike]) -> None:
        aggregation, groups = self._aggregation, self._groups
        for document in documents:
            key = aggregation.group_of(document)
            group = groups.get(key)
            if group is None:
                if (self._after is not None and key <= self._after) or (
                    self._beyond is not None and key >= self._beyond
                ):
                    continue
                group = groups[key] = _GroupTally(aggregation, self._orders)
            group.add(document)
        if self._is_over(_SLACK):
            self._drop_last()

    @property
    def is_over(self) -> bool:
        """Whether it has more groups than are wanted."""
        return self._beyond is not None or self._is_over(1)

    def finish(self) -> GroupPage:
        """The groups that were kept."""
        if self._is_over(1):
            self._drop_last()
        found = [self._groups[key].finish() for key in sorted(self._groups)]
        return GroupPage(found, self._beyond is not None)

    def _is_over(self, times: int) -> bool:
        if self._most is not None and len(self._groups) > times * self._most:
            return True
        if self._bytes_max is None or len(self._groups) < 2:
            return False
        return sum([group.bytes for group in self._groups.values()]) > times * self._bytes_max

    def _drop_last(self) -> None:
        kept: dict[GroupKey, _GroupTally] = {}
        size = 0
        most = len(self._groups) if self._most is None else self._most
        for key in nsmallest(most + 1, self._groups):
            size += self._groups[key].bytes
            is_over = self._bytes_max is not None and size > self._bytes_max
            if len(kept) == most or (kept and is_over):
                self._beyond = key
                break
            kept[key] = self._groups[key]
        self._groups = kept


class _Orders:
    """In which order documents come that have an equal value, where equal values may differ: as 1
    and 1.0 do, of which one has to be shown."""

    def __init__(self, aggregation: Aggregation) -> None:
        self.of_groups = document_order(grouped_query(aggregation))
        self.of_ends = {
            item: document_order(end_query(aggregation, item))
            for item in aggregation.aggregates
            if item.is_end
        }


# Of these there is but one that is equal.
_PLAIN = (str, bool, type(None), Timestamp, bytes)


class _GroupTally:
    __slots__ = (
        "_aggregation",
        "_count",
        "_ends",
        "_first",
        "_order",
        "_totals",
        "_values",
        "bytes",
    )

    def __init__(self, aggregation: Aggregation, orders: _Orders) -> None:
        self.bytes = 0
        self._aggregation = aggregation
        self._values: tuple[Value, ...] = ()
        self._first: DocumentPath | None = None
        self._order = _Least(orders.of_groups)
        self._count = 0
        self._totals: dict[FieldPath, _Total] = {}
        self._ends: dict[Aggregate, _End] = {}
        for item in aggregation.aggregates:
            if item.is_end:
                self._ends[item] = _End(item, orders.of_ends[item])
            elif item.field is not None:
                self._totals[item.field] = _Total()

    def add(self, document: DocumentLike) -> None:
        self._count += 1
        if self._aggregation.group_by:
            self._show(document)
        for field, total in self._totals.items():
            value = get_field(document.fields, field)
            kind = type(value)
            if kind is int or kind is float:
                total.add(value)  # type: ignore[arg-type]  # as the line above says
        for end in self._ends.values():
            self.bytes += end.add(document)

    def _show(self, document: DocumentLike) -> None:
        """The values of the first document of the group are shown."""
        if self._first is not None and all(type(value) in _PLAIN for value in self._values):
            return
        values = self._aggregation.values_of(document)
        if self._first is None:
            self.bytes += sum(map(value_size, values))
        is_plain = all(type(value) in _PLAIN for value in values)
        if is_plain or self._order.is_first(document):
            self._first, self._values = document.path, values

    def finish(self) -> Group:
        results = {item.alias: self._result(item) for item in self._aggregation.aggregates}
        return Group(self._values, results, self._first)

    def _result(self, item: Aggregate) -> Value:
        if item.field is None:
            return self._count if item.up_to is None else min(self._count, item.up_to)
        if item.is_end:
            return self._ends[item].value
        total = self._totals[item.field]
        return total.sum() if item.operator is AggregateOperator.SUM else total.average()


class _Least:
    """Which of some documents comes first, or last."""

    __slots__ = ("_is_last", "_key", "_order")

    def __init__(self, order: Callable[[DocumentLike], Any], *, is_last: bool = False) -> None:
        self._order = order
        self._is_last = is_last
        self._key: Any = None

    def is_first(self, document: DocumentLike) -> bool:
        """Whether it comes before all that were asked about."""
        key = self._order(document)
        if self._key is not None and (key < self._key) == self._is_last:
            return False
        self._key = key
        return True

    def forget(self) -> None:
        self._key = None


class _End:
    """The least or the greatest of values, null aside."""

    __slots__ = ("_field", "_is_last", "_key", "_order", "value")

    def __init__(self, item: Aggregate, order: Callable[[DocumentLike], Any]) -> None:
        assert item.field is not None
        self.value: Value = None
        self._field = item.field
        self._is_last = item.operator is AggregateOperator.MAXIMUM
        self._order = _Least(order, is_last=self._is_last)
        self._key: SortKey | None = None

    def add(self, document: DocumentLike) -> int:
        """By how many bytes it has grown."""
        value = get_field(document.fields, self._field)
        if value is None:
            return 0
        key = sort_key(value)
        if self._key is not None and key != self._key:
            if (key > self._key) != self._is_last:
                return 0
            self._order.forget()
        if type(value) in _PLAIN:
            if key == self._key:
                return 0
        elif not self._order.is_first(document):
            return 0
        grown = value_size(value) - (0 if self._key is None else value_size(self.value))
        self._key, self.value = key, value
        return grown


class _Total:
    """The exact sum of numbers. Those that are no finite ones are kept apart."""

    __slots__ = ("_count", "_integers", "_is_whole", "_parts", "_unlimited")

    def __init__(self) -> None:
        self._count = 0
        self._integers = 0
        self._parts = 0  # the doubles, in parts of one
        self._is_whole = True
        self._unlimited = 0.0  # infinities, or NaN

    def add(self, value: Number) -> None:
        self._count += 1
        if type(value) is int:
            self._integers += value
            return
        self._is_whole = False
        if math.isfinite(value):
            numerator, denominator = value.as_integer_ratio()
            self._parts += numerator << (_PARTS_BITS + 1 - denominator.bit_length())
        else:
            self._unlimited += value

    def sum(self) -> Number:
        """An integer if all were and it fits into 64 bits, else a double."""
        if self._is_whole and INT64_MIN <= self._integers <= INT64_MAX:
            return self._integers
        return self._sum()

    def average(self) -> float | None:
        """None of no numbers at all."""
        return self._sum() / self._count if self._count else None

    def _sum(self) -> float:
        if self._unlimited:  # NaN is true, too
            return self._unlimited
        exact = self._parts + (self._integers << _PARTS_BITS)
        try:
            return exact / _PARTS
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
