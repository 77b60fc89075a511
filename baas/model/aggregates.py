"""Numbers over the answer of a query: count, sum, average. Pure. Semantics as FIREBASE.md 3.5."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from baas.errors import InvalidQuery
from baas.model.documents import DocumentLike
from baas.model.paths import FieldPath
from baas.model.queries import NAME, Query, get_field
from baas.model.values import INT64_MAX, INT64_MIN

AGGREGATES_MAX = 5
ALIAS_BYTES_MAX = 1_500
# Every double is a whole number of these parts of one: so sums are exact, whatever their order.
_PARTS_BITS = 1_074
_PARTS = 1 << _PARTS_BITS

Number: TypeAlias = int | float
Result: TypeAlias = int | float | None


class AggregateOperator(Enum):
    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`field` for sum and average; `up_to` for count: it counts no further."""

    alias: str
    operator: AggregateOperator
    field: FieldPath | None = None
    up_to: int | None = None


def check_aggregates(aggregates: Sequence[Aggregate]) -> None:
    """Raises InvalidQuery for none, too many, or two of one alias."""
    if not aggregates:
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


def aggregated_query(query: Query, aggregates: Sequence[Aggregate]) -> Query:
    """The query over whose answer the numbers are taken: documents that lack one of the fields
    are not in it, not even for a count beside."""
    wanted = [item.field for item in aggregates if item.field is not None]
    return replace(query, existing=tuple(dict.fromkeys(wanted)), select=None)


class Tally:
    """The numbers of some aggregates over the documents that it was given."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self._aggregates = tuple(aggregates)
        self._count = 0
        fields = dict.fromkeys(item.field for item in aggregates if item.field is not None)
        self._totals = {field: _Total() for field in fields}

    def add(self, documents: Iterable[DocumentLike]) -> None:
        """Documents of `aggregated_query`, each once, in any order."""
        totals = list(self._totals.items())
        for document in documents:
            self._count += 1
            for field, total in totals:
                value = get_field(document.fields, field)
                kind = type(value)
                if kind is int or kind is float:
                    total.add(value)  # type: ignore[arg-type]  # as the line above says

    def results(self) -> dict[str, Result]:
        """By alias."""
        return {item.alias: self._result(item) for item in self._aggregates}

    def _result(self, item: Aggregate) -> Result:
        if item.field is None:
            return self._count if item.up_to is None else min(self._count, item.up_to)
        total = self._totals[item.field]
        return total.sum() if item.operator is AggregateOperator.SUM else total.average()


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
