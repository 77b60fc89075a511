"""Aggregations in JSON.

    {"query": {...}, "group_by": ["country"],
     "aggregates": [{"op": "count", "up_to": 100, "alias": "n"},
                    {"op": "sum" | "average" | "minimum" | "maximum", "field": "population"}]}

Without an alias the first one is called `field_1`, the second `field_2`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from baas.encoding import json_values
from baas.model.aggregates import (
    AGGREGATES_MAX,
    GROUP_FIELDS_MAX,
    Aggregate,
    AggregateOperator,
    Aggregation,
)
from baas.model.tallies import Group, Results
from baas.wire.objects import (
    check_array,
    check_integer,
    check_object,
    check_string,
    invalid,
    join,
)
from baas.wire.queries import decode_field_path, decode_query

_COUNT = frozenset({"op", "alias", "up_to"})
_OF_FIELD = frozenset({"op", "alias", "field"})
_ANY = _COUNT | _OF_FIELD
_INT64_MAX = 2**63 - 1
_OPERATORS = {operator.value: operator for operator in AggregateOperator}


def decode_aggregation(members: Mapping[str, Any], at: str = "") -> Aggregation:
    """Reads the members `query`, `aggregates` and `group_by` of an object. Raises InvalidArgument
    that names the place; how many there may be, and of what names, is
    `model.aggregates.check_aggregation`'s to say."""
    fields = check_array(
        members.get("group_by", []), join(at, "group_by"), maximum=20 * GROUP_FIELDS_MAX
    )
    return Aggregation(
        decode_query(members["query"], join(at, "query")),
        _decode_aggregates(members.get("aggregates", []), join(at, "aggregates")),
        tuple(
            [
                decode_field_path(item, f"{join(at, 'group_by')}[{index}]")
                for index, item in enumerate(fields)
            ]
        ),
    )


def _decode_aggregates(tree: Any, at: str) -> tuple[Aggregate, ...]:
    items = check_array(tree, at, maximum=20 * AGGREGATES_MAX)
    return tuple([_decode(item, f"{at}[{index}]", index) for index, item in enumerate(items)])


def _decode(tree: Any, at: str, index: int) -> Aggregate:
    members = check_object(tree, at, allowed=_ANY, required=("op",))
    word = check_string(members["op"], join(at, "op"))
    operator = _OPERATORS.get(word)
    if operator is None:
        known = ", ".join(f"`{name}`" for name in _OPERATORS)
        raise invalid(join(at, "op"), f"is `{word[:40]}`; known are {known}")
    alias = f"field_{index + 1}"
    if members.get("alias") is not None:
        alias = check_string(members["alias"], join(at, "alias")) or alias
    if operator is not AggregateOperator.COUNT:
        check_object(tree, at, allowed=_OF_FIELD, required=("field",))
        return Aggregate(alias, operator, decode_field_path(members["field"], join(at, "field")))
    check_object(tree, at, allowed=_COUNT)
    up_to = members.get("up_to")
    if up_to is not None:
        up_to = check_integer(up_to, join(at, "up_to"), minimum=1, maximum=_INT64_MAX)
    return Aggregate(alias, operator, up_to=up_to)


def encode_results(results: Results) -> dict[str, Any]:
    """Values in native JSON, so that integers and doubles stay apart."""
    return {alias: json_values.encode_value(value) for alias, value in results.items()}


def encode_groups(aggregation: Aggregation, groups: Sequence[Group]) -> dict[str, Any]:
    """The member `groups`, or `results` if it groups by nothing."""
    if not aggregation.group_by:
        return {"results": encode_results(groups[0].results)}
    names = [str(path) for path in aggregation.group_by]
    return {
        "groups": [
            {
                "group": {
                    name: json_values.encode_value(value)
                    for name, value in zip(names, group.values, strict=True)
                },
                "results": encode_results(group.results),
            }
            for group in groups
        ]
    }
