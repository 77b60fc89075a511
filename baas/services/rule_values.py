"""The model's values as rules see them. Plain values are the same on both sides, so most documents
are handed over as they are; only the tagged types are converted, and only when a rule looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, assert_never

from baas_rules.decision import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    FieldConstraint,
    ListBound,
    ListOrder,
    ListRequest,
    ResourceDocument,
)
from baas_rules.values import LatLng, Path
from baas_rules.values import Timestamp as RuleTimestamp

from baas.database.names import DatabaseName
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.model.queries import NAME, And, FieldFilter, Filter, Or, Query, effective_orders
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Value, Vector
from baas.services.caller import Caller, CallerKind

Root: TypeAlias = tuple[str, ...]
"""The segments before a document's own in a full path: `databases/(default)/documents`."""

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


class _LazyResource(ResourceDocument):
    """A document whose values are made when a rule first looks into it: most rules for `get` do
    not, and a document can be a megabyte."""

    __slots__ = ("_make",)

    def __init__(self, path: DocumentPath, make: Callable[[], Mapping[str, Any]]) -> None:
        # The slot of `data` stays empty, so that the first access goes to `__getattr__`.
        self.path = path.segments
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if name != "data":
            raise AttributeError(name)
        self.data = self._make()
        return self.data

    @property  # type: ignore[misc]
    def __class__(self) -> type[ResourceDocument]:  # type: ignore[override]
        # The evaluator tells documents from maps by their exact class, which is its fastest way.
        return ResourceDocument


def stored_resource(
    document: StoredDocument, root: Root, path: DocumentPath | None = None
) -> ResourceDocument:
    """A stored document as rules see it, decoded when one looks. `path` is the document's, given
    by who has it, so that it need not be decoded either."""
    return _LazyResource(path or document.path, lambda: _stored_values(document, root))


def new_resource(
    path: DocumentPath, fields: Fields, root: Root, *, is_plain: bool = False
) -> ResourceDocument:
    """A document as it will be after the write. Fields that are `is_plain` need no converting."""
    if is_plain:
        return ResourceDocument(path.segments, fields)
    return _LazyResource(path, lambda: rule_map(fields, root))


def _stored_values(document: StoredDocument, root: Root) -> Mapping[str, Any]:
    # Canonical bytes hold a tag only where they hold `"$`.
    return rule_map(document.fields, root) if b'"$' in document.data else document.fields


def rule_auth(caller: Caller) -> Auth | None:
    """`request.auth`."""
    if caller.kind is not CallerKind.USER or caller.uid is None:
        return None
    return Auth(caller.uid, caller.claims)


def rule_root(name: DatabaseName) -> Root:
    return ("databases", name.database, "documents")


@lru_cache(maxsize=64)  # requests of one millisecond have the same
def _rule_time(microseconds: int) -> RuleTimestamp:
    return RuleTimestamp(microseconds)


def rule_time(time: Timestamp) -> RuleTimestamp:
    return _rule_time(time.microseconds)


def rule_map(fields: Fields, root: Root) -> dict[str, Any]:
    """A map of rule values; `fields` itself if nothing in it needs converting."""
    result: dict[str, Any] = fields
    for name, value in fields.items():
        if type(value) in _PLAIN:
            continue
        converted = rule_value(value, root)
        if converted is not value:
            if result is fields:
                result = fields.copy()
            result[name] = converted
    return result


def rule_value(value: Value, root: Root) -> Any:
    """One rule value; `value` itself if it needs no converting."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, dict):
        return rule_map(value, root)
    if isinstance(value, list):
        converted = [rule_value(item, root) for item in value]
        unchanged = all(a is b for a, b in zip(converted, value, strict=True))
        return value if unchanged else converted
    if isinstance(value, Timestamp):
        return rule_time(value)
    if isinstance(value, Reference):
        return _rule_path(value, root)
    if isinstance(value, GeoPoint):
        return LatLng(value.latitude, value.longitude)
    if isinstance(value, Vector):
        return list(value.values)
    return value


def _rule_path(reference: Reference, root: Root) -> Path:
    if reference.database:
        # `projects/p/databases/d`: rules know the database only.
        root = ("databases", reference.database.rpartition("/")[2], "documents")
    return Path((*root, *reference.path.segments))


def list_request(
    query: Query, name: DatabaseName, auth: Auth | None, time: RuleTimestamp
) -> ListRequest:
    """A query as the rules' `list`."""
    return ListRequest(
        collection=query.collection.segments,
        auth=auth,
        time=time,
        group=query.all_descendants,
        where=None if query.where is None else _constraint(query.where, rule_root(name)),
        order_by=tuple(
            ListOrder(order.field.segments, order.descending) for order in query.order_by
        ),
        limit=query.limit,
        offset=query.offset,
        database=name.database,
        bounds=_bounds(query, rule_root(name)),
    )


def _bounds(query: Query, root: Root) -> tuple[ListBound, ...]:
    """What the cursors tell of the field that the query is ordered by first."""
    if query.start is None and query.end is None:
        return ()
    first = effective_orders(query)[0]
    if first.field == NAME:
        return ()
    made: list[ListBound] = []
    for cursor, is_start in ((query.start, True), (query.end, False)):
        if cursor is None:
            continue
        # Of several values, all but the last may be reached.
        included = len(cursor.values) > 1 or cursor.before is is_start
        is_lower = is_start is not first.descending
        operator: Any = (">" if is_lower else "<") + ("=" if included else "")
        made.append(ListBound(first.field.segments, operator, rule_value(cursor.values[0], root)))
    return tuple(made)


def _constraint(where: Filter, root: Root) -> Constraint:
    match where:
        case FieldFilter():
            # The operators are spelt alike on both sides.
            operator: Any = where.operator.value
            return FieldConstraint(where.field.segments, operator, rule_value(where.value, root))
        case And():
            return AllOf(tuple(_constraint(item, root) for item in where.filters))
        case Or():
            return AnyOf(tuple(_constraint(item, root) for item in where.filters))
        case _:
            assert_never(where)
