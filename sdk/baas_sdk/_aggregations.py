"""Aggregations and explanations: what was asked of a query beside its documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self

from baas_sdk._paths import FieldPath
from baas_sdk._snapshots import DocumentSnapshot, R
from baas_sdk._values import Tree
from baas_sdk.errors import InvalidQuery

AGGREGATIONS_MAX = 5


@dataclass(frozen=True, slots=True)
class CountAggregation:
    """How many documents match."""

    alias: str | None = None

    def encode(self) -> dict[str, Tree]:
        return {"op": "count"} | _alias(self.alias)


@dataclass(frozen=True, slots=True)
class SumAggregation:
    """The sum of a field's numbers."""

    field_ref: str | FieldPath
    alias: str | None = None

    def encode(self) -> dict[str, Tree]:
        return {"op": "sum", "field": str(FieldPath.parse(self.field_ref))} | _alias(self.alias)


@dataclass(frozen=True, slots=True)
class AvgAggregation:
    """The average of a field's numbers."""

    field_ref: str | FieldPath
    alias: str | None = None

    def encode(self) -> dict[str, Tree]:
        return {"op": "average", "field": str(FieldPath.parse(self.field_ref))} | _alias(self.alias)


@dataclass(frozen=True, slots=True)
class MinimumAggregation:
    """The least value of a field, null aside."""

    field_ref: str | FieldPath
    alias: str | None = None

    def encode(self) -> dict[str, Tree]:
        return {"op": "minimum", "field": str(FieldPath.parse(self.field_ref))} | _alias(self.alias)


@dataclass(frozen=True, slots=True)
class MaximumAggregation:
    """The greatest value of a field, null aside."""

    field_ref: str | FieldPath
    alias: str | None = None

    def encode(self) -> dict[str, Tree]:
        return {"op": "maximum", "field": str(FieldPath.parse(self.field_ref))} | _alias(self.alias)


Aggregation = (
    CountAggregation | SumAggregation | AvgAggregation | MinimumAggregation | MaximumAggregation
)


class BaseAggregations:
    """Numbers wanted of a query, at most five, each with a name of its own: `alias`, or `field_1`
    and so on. Documents that lack one of the fields are left out of all of them."""

    __slots__ = ("_aggregations", "_group_by")

    def __init__(
        self, aggregations: Sequence[Aggregation], group_by: Sequence[str | FieldPath] = ()
    ) -> None:
        self._aggregations: list[Aggregation] = []
        self._group_by = [str(FieldPath.parse(field)) for field in group_by]
        self.add_aggregations(aggregations)

    def count(self, alias: str | None = None) -> Self:
        """Wants the number of documents, too."""
        return self.add_aggregation(CountAggregation(alias))

    def sum(self, field_ref: str | FieldPath, alias: str | None = None) -> Self:
        """Wants the sum of a field's numbers, too: an int if all are and it fits into 64 bits,
        else a float."""
        return self.add_aggregation(SumAggregation(field_ref, alias))

    def avg(self, field_ref: str | FieldPath, alias: str | None = None) -> Self:
        """Wants the average of a field's numbers, too; None of no numbers."""
        return self.add_aggregation(AvgAggregation(field_ref, alias))

    def minimum(self, field_ref: str | FieldPath, alias: str | None = None) -> Self:
        """Wants a field's least value, too, of whatever type; None of none but null."""
        return self.add_aggregation(MinimumAggregation(field_ref, alias))

    def maximum(self, field_ref: str | FieldPath, alias: str | None = None) -> Self:
        """Wants a field's greatest value, too, of whatever type; None of none but null."""
        return self.add_aggregation(MaximumAggregation(field_ref, alias))

    def add_aggregation(self, aggregation: Aggregation) -> Self:
        """Wants one more."""
        return self.add_aggregations([aggregation])

    def add_aggregations(self, aggregations: Sequence[Aggregation]) -> Self:
        """Wants several more. Raises InvalidQuery for more than five."""
        for item in aggregations:
            if not isinstance(item, Aggregation):
                raise InvalidQuery(f"`{item!r}` is no aggregation")
            item.encode()  # raises for what is no field
        if len(self._aggregations) + len(aggregations) > AGGREGATIONS_MAX:
            raise InvalidQuery(f"a query takes at most {AGGREGATIONS_MAX} aggregations")
        self._aggregations += aggregations
        return self

    def _encode(self) -> dict[str, Tree]:
        encoded: dict[str, Tree] = {"aggregates": [item.encode() for item in self._aggregations]}
        if self._group_by:
            encoded["group_by"] = list(self._group_by)
        return encoded

    @property
    def _aliases(self) -> list[str]:
        return [
            item.alias or f"field_{place}" for place, item in enumerate(self._aggregations, start=1)
        ]


def _alias(alias: str | None) -> dict[str, Tree]:
    if alias is None:
        return {}
    if not isinstance(alias, str) or not alias:
        raise InvalidQuery(f"`alias` is a non-empty string, not `{alias!r}`")
    return {"alias": alias}


@dataclass(frozen=True, slots=True)
class Group:
    """Documents with equal values: `values` by field, and what was wanted of them by alias."""

    values: Mapping[str, Any]
    results: Mapping[str, Any]
    read_time: datetime


@dataclass(frozen=True, slots=True)
class AggregationExplanation:
    """How an aggregation was answered; members as QueryExplanation's. `keys_counted` were looked at
    without their documents; `hints` say why it cost more than it returned."""

    scans: Sequence[Mapping[str, Any]]
    missing_indexes: Sequence[Mapping[str, Any]]
    entries_scanned: int
    keys_counted: int
    documents_read: int
    returned: int
    seconds: float
    hints: Sequence[str]


@dataclass(frozen=True, slots=True)
class QueryExplanation(Generic[R]):
    """How a query was answered. `scans` tells of each scan its kind, index and whether its ranges
    hold the answer exactly; `missing_indexes` what would have spared reading a collection.
    `entries_scanned` and `documents_read` are what was read for the `returned` documents;
    `hints` say why it cost more than them."""

    documents: Sequence[DocumentSnapshot[R]]
    scans: Sequence[Mapping[str, Any]]
    missing_indexes: Sequence[Mapping[str, Any]]
    entries_scanned: int
    documents_read: int
    returned: int
    seconds: float
    hints: Sequence[str] = ()
