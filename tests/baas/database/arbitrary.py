"""Random documents and queries, few enough names and values that they meet often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import InvalidQuery
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
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Value, Vector
from baas.settings import Limits

COLLECTIONS = ("c", "c/x/c", "d/y/c", "d", "c/b/e")
IDS = ("a", "b", "ab", "a\x00", "x", "y", "__id7__", "__id-3__", "é", "n" * 1_490 + "1")
LONG = "l" * 1_498  # its key is cut before the text ends
FIELD_NAMES = ("a", "b", "m")
FIELDS = (FieldPath(("a",)), FieldPath(("b",)), FieldPath(("m", "k")))

paths = st.builds(
    lambda collection, name: CollectionPath.parse(collection).document(name),
    st.sampled_from(COLLECTIONS),
    st.sampled_from(IDS),
)
references = st.builds(Reference, paths)
geo_points = st.sampled_from([GeoPoint(1.0, 2.0), GeoPoint(1.0, -2.0), GeoPoint(90.0, 7.0)])
scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, float("nan"), float("inf"), 2**53, 2**53 + 1, -(2**63)]),
    st.sampled_from(["", "a", "b", "a\x00", "ab", LONG + "a", LONG + "ab", LONG + "b"]),
    st.sampled_from([b"", b"a", b"\x00"]),
    st.builds(Timestamp, st.integers(0, 2)),
    geo_points,
    st.just(Vector((1.0,))),
    references,
)
arrays: st.SearchStrategy[Value] = st.lists(scalars, max_size=3)
maps: st.SearchStrategy[Value] = st.dictionaries(st.sampled_from(["k", "l"]), scalars, max_size=2)
values: st.SearchStrategy[Value] = st.one_of(scalars, scalars, arrays, maps)
fields: st.SearchStrategy[Fields] = st.dictionaries(
    st.sampled_from(FIELD_NAMES), values, max_size=3
)


def stored(path: DocumentPath, content: Fields, version: int = 1) -> StoredDocument:
    """A document as an engine gives it."""
    return StoredDocument(path, encode_fields(content), created=version, version=version)


databases = st.dictionaries(paths, fields, max_size=14).map(
    lambda found: [stored(path, content) for path, content in found.items()]
)

_SCALAR_OPERATORS = (
    Operator.EQUAL,
    Operator.EQUAL,
    Operator.NOT_EQUAL,
    Operator.LESS,
    Operator.LESS_OR_EQUAL,
    Operator.GREATER,
    Operator.GREATER_OR_EQUAL,
    Operator.ARRAY_CONTAINS,
)
_LIST_OPERATORS = (Operator.IN, Operator.NOT_IN, Operator.ARRAY_CONTAINS_ANY)
_NAME_OPERATORS = tuple(
    item
    for item in Operator
    if item not in (Operator.ARRAY_CONTAINS, Operator.ARRAY_CONTAINS_ANY, *_LIST_OPERATORS)
)


@st.composite
def field_filters(draw: Any) -> FieldFilter:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return FieldFilter(NAME, draw(st.sampled_from(_NAME_OPERATORS)), draw(references))
    if kind == 1:
        operator = draw(st.sampled_from((Operator.IN, Operator.NOT_IN)))
        return FieldFilter(NAME, operator, draw(st.lists(references, min_size=1, max_size=3)))
    field = draw(st.sampled_from(FIELDS))
    if kind <= 3:
        operator = draw(st.sampled_from(_LIST_OPERATORS))
        return FieldFilter(field, operator, draw(st.lists(values, min_size=1, max_size=3)))
    return FieldFilter(field, draw(st.sampled_from(_SCALAR_OPERATORS)), draw(values))


filters: st.SearchStrategy[Filter] = st.recursive(
    field_filters(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: Or(tuple(items))),
    ),
    max_leaves=4,
)


nears = st.builds(
    Near, st.sampled_from(FIELDS), geo_points, st.sampled_from([None, 0.0, 1e6, 1.1e7])
)


@st.composite
def queries(draw: Any, *, windows: bool = True) -> Query:
    """Checked queries, some of them around a place; without `windows` none has an offset, limit or
    selection."""
    collection = CollectionPath.parse(draw(st.sampled_from(COLLECTIONS)))
    is_group = draw(st.booleans())
    chosen = draw(st.lists(st.sampled_from((*FIELDS, NAME)), unique=True, max_size=3))
    near = draw(st.one_of(st.none(), st.none(), st.none(), nears))
    if near is not None:
        chosen = []
    query = Query(
        collection,
        all_descendants=is_group,
        parent=collection.parent if is_group else None,
        where=draw(st.one_of(st.none(), filters)),
        order_by=tuple(Order(field, draw(st.booleans())) for field in chosen),
    )
    ends = st.none() if near else st.one_of(st.none(), st.none(), cursors(effective_orders(query)))
    query = Query(
        query.collection,
        all_descendants=is_group,
        parent=query.parent,
        where=query.where,
        order_by=query.order_by,
        start=draw(ends),
        end=draw(ends),
        offset=draw(st.sampled_from((0, 0, 1, 3))) if windows else 0,
        limit=draw(st.sampled_from((None, 1, 2, 5))) if windows else None,
        near=near,
    )
    try:
        check_query(query, Limits())
    except InvalidQuery:
        return Query(collection, all_descendants=is_group, parent=query.parent)
    return query


@st.composite
def cursors(draw: Any, orders: tuple[Order, ...]) -> Cursor:
    count = draw(st.integers(1, len(orders)))
    chosen = [draw(references if order.field == NAME else values) for order in orders[:count]]
    return Cursor(tuple(chosen), draw(st.booleans()))
