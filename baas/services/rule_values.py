"""The model's values as rules see them. Plain values are the same on both sides, so most documents
are handed over as they are; only the tagged types are converted, and only when a rule looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from baas_rules.decision import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    FieldConstraint,
    ListOrder,
    ListRequest,
    ResourceDocument,
)
from baas_rules.values import LatLng, Path
from baas_rules.values import Timestamp as RuleTimestamp

from baas.database.names import DatabaseName
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.model.queries import And, FieldFilter, Filter, Or, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Value, Vector
from baas.services.caller import Caller, CallerKind

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


class StoredResource(ResourceDocument):
    """A stored document that is decoded when a rule first looks into it."""

    __slots__ = ("_document", "_values")

    def __init__(self, document: StoredDocument) -> None:
        self.path = document.path.segments
        self._document = document
        self._values: Mapping[str, Any] | None = None

    @property
    def data(self) -> Mapping[str, Any]:  # type: ignore[override]
        values = self._values
        if values is None:
            document = self._document
            values = document.fields
            # Canonical bytes hold a tag only where they hold `"$`.
            if b'"$' in document.data:
                values = rule_map(values)
            self._values = values
        return values


class NewResource(ResourceDocument):
    """A document as it will be after the write; converted when a rule first looks into it."""

    __slots__ = ("_fields", "_values")

    def __init__(self, path: DocumentPath, fields: Fields) -> None:
        self.path = path.segments
        self._fields = fields
        self._values: Mapping[str, Any] | None = None

    @property
    def data(self) -> Mapping[str, Any]:  # type: ignore[override]
        if self._values is None:
            self._values = rule_map(self._fields)
        return self._values


def rule_auth(caller: Caller) -> Auth | None:
    """`request.auth`."""
    if caller.kind is not CallerKind.USER or caller.uid is None:
        return None
    return Auth(caller.uid, caller.claims)


def rule_time(time: Timestamp) -> RuleTimestamp:
    return RuleTimestamp(time.microseconds)


def rule_map(fields: Fields) -> dict[str, Any]:
    """A map of rule values; `fields` itself if nothing in it needs converting."""
    result: dict[str, Any] = fields
    for name, value in fields.items():
        if type(value) in _PLAIN:
            continue
        converted = rule_value(value)
        if converted is not value:
            if result is fields:
                result = fields.copy()
            result[name] = converted
    return result


def rule_value(value: Value) -> Any:
    """One rule value; `value` itself if it needs no converting."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, dict):
        return rule_map(value)
    if isinstance(value, list):
        converted = [rule_value(item) for item in value]
        unchanged = all(a is b for a, b in zip(converted, value, strict=True))
        return value if unchanged else converted
    if isinstance(value, Timestamp):
        return rule_time(value)
    if isinstance(value, Reference):
        return Path(value.path.segments)
    if isinstance(value, GeoPoint):
        return LatLng(value.latitude, value.longitude)
    if isinstance(value, Vector):
        return list(value.values)
    return value


def list_request(
    query: Query, name: DatabaseName, auth: Auth | None, time: Timestamp
) -> ListRequest:
    """A query as the rules' `list`."""
    return ListRequest(
        collection=query.collection.segments,
        auth=auth,
        time=rule_time(time),
        group=query.all_descendants,
        where=None if query.where is None else _constraint(query.where),
        order_by=tuple(
            ListOrder(order.field.segments, order.descending) for order in query.order_by
        ),
        limit=query.limit,
        offset=query.offset,
        database=name.database,
    )


def _constraint(where: Filter) -> Constraint:
    match where:
        case FieldFilter():
            # The operators are spelt alike on both sides.
            operator: Any = where.operator.value
            return FieldConstraint(where.field.segments, operator, rule_value(where.value))
        case And():
            return AllOf(tuple(_constraint(item) for item in where.filters))
        case Or():
            return AnyOf(tuple(_constraint(item) for item in where.filters))
        case _:
            assert_never(where)
