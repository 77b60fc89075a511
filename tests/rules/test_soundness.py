"""Whenever the prover allows a query, every document that the query returns is allowed one by one.

Rules, queries and documents are generated; whether a query returns a document is asked of the
server's own `model.queries`, which knows nothing of the prover.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial
from random import Random
from typing import Any

import pytest
from baas_rules import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    FieldConstraint,
    ListBound,
    ListOrder,
    ListRequest,
    Lookup,
    Path,
    Request,
    ResourceDocument,
    Ruleset,
    Timestamp,
)
from baas_rules.decision import FilterOperator, Segments
from baas_rules.lists import query_map
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from baas.database.names import DatabaseName
from baas.model.documents import Document
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, Cursor, FieldFilter, Filter, Operator, Or, Order, Query
from baas.model.query_matching import matches
from baas.model.timestamps import Timestamp as StoredTimestamp
from baas.model.values import Reference
from baas.services.rule_values import list_request
from tests.effort import examples
from tests.rules.worlds import ROOT, ruleset

ABSENT: Any = object()
NOW = Timestamp(0)
EPOCH = StoredTimestamp(0)
ADA = Auth("ada", {})

A_VALUES: list[Any] = [
    ABSENT, None, 0, 0.0, -0.0, 1, 1.0, 1.5, 2, math.nan, math.inf, True, False, "x", "y",
    [1], [1.0], {"x": 1}, {"x": 1.0}, {"x": "x", "y": 2}, {},
]  # fmt: skip
TAG_VALUES: list[Any] = [
    ABSENT, [], ["x"], ["x", "y"], [1, "x"], [1.0], [math.nan], [None], "x", {"x": 1},
]  # fmt: skip
OWNERS: list[Any] = [ABSENT, "ada", "bob", None]
IDS = ("d1", "ada")


def _documents() -> list[ResourceDocument]:
    made: list[ResourceDocument] = []
    for at, (a, tags, owner) in enumerate(itertools.product(A_VALUES, TAG_VALUES, OWNERS)):
        named = {"a": a, "tags": tags, "owner": owner}
        data = {name: value for name, value in named.items() if value is not ABSENT}
        made.append(ResourceDocument(("things", IDS[at % 2]), data))
    return made


DOCUMENTS = _documents()
ROLES: dict[Lookup, ResourceDocument | None] = {
    Lookup(("roles", "ada")): ResourceDocument(("roles", "ada"), {"level": 1, "tags": ["x"]}),
    Lookup(("roles", "bob")): None,
    Lookup(("roles", "x")): ResourceDocument(("roles", "x"), {"level": "x"}),
    Lookup(("roles", "y")): None,
    Lookup(("roles", "d1")): None,
}

Cursors = tuple[Cursor | None, Cursor | None]

# --- queries -----------------------------------------------------------------------------------


def as_filter(constraint: Constraint) -> Filter:
    """The same filter in the server's model."""
    if isinstance(constraint, AllOf):
        return And(tuple(map(as_filter, constraint.constraints)))
    if isinstance(constraint, AnyOf):
        return Or(tuple(map(as_filter, constraint.constraints)))
    value = constraint.value
    if isinstance(value, Path):
        value = _reference(value)
    elif isinstance(value, list) and value and isinstance(value[0], Path):
        value = [_reference(one) for one in value]
    return FieldFilter(FieldPath(constraint.field), Operator(constraint.operator), value)


def _reference(path: Path) -> Reference:
    return Reference(DocumentPath(path.segments[3:]))


def returned(
    request: ListRequest, documents: list[ResourceDocument], cursors: Cursors = (None, None)
) -> list[ResourceDocument]:
    """The documents that the query returns."""
    parent = None
    if request.group and request.collection[:-1]:
        parent = DocumentPath(request.collection[:-1])
    query = Query(
        collection=CollectionPath(request.collection),
        all_descendants=request.group,
        parent=parent,
        where=None if request.where is None else as_filter(request.where),
        order_by=tuple(
            Order(FieldPath(order.field), order.descending) for order in request.order_by
        ),
        start=cursors[0],
        end=cursors[1],
    )
    return [one for one in documents if matches(query, _stored(one))]


def _stored(document: ResourceDocument) -> Document:
    return Document(DocumentPath(document.path), dict(document.data), EPOCH, EPOCH)


# --- rules -------------------------------------------------------------------------------------

FIELDS = st.sampled_from(
    [
        "resource.data.a",
        "resource.data.a",
        "resource.data.tags",
        "resource.data.owner",
        "resource.data.owner",
        "resource.data.a.x",
        "resource.data['owner']",
        "resource.data.get('a', 1)",
        "resource.data.get('owner', 'ada')",
        "resource.data.get(['a', 'x'], 1)",
        "resource.data.tags[0]",
        "resource['data'].owner",
    ]
)
CONSTANTS = st.sampled_from(
    [
        "0", "1", "1.0", "1.5", "2", "'x'", "'y'", "'ada'", "null", "true", "request.auth.uid",
        "[1]", "['x']", "{'x': 1}", "database.size()", "[1].toSet()",
    ]
)  # fmt: skip
LISTS = st.sampled_from(
    [
        "['x']",
        "['x', 'y']",
        "[1]",
        "[1, 1.5]",
        "['ada', 'bob']",
        "[request.auth.uid]",
        "[null]",
        "[]",
    ]
)
ROLE = "get(/databases/$(database)/documents/roles/$({})).data"


@st.composite
def atoms(draw: st.DrawFn) -> str:
    field, constant, items = draw(FIELDS), draw(CONSTANTS), draw(LISTS)
    other = draw(FIELDS)
    operator = draw(st.sampled_from(["==", "==", "==", "!=", "<", "<=", ">", ">="]))
    kind = draw(
        st.sampled_from(
            [
                "bool", "string", "number", "int", "float", "list", "map", "path", "timestamp",
            ]
        )
    )  # fmt: skip
    return draw(
        st.sampled_from(
            [
                f"{field} {operator} {constant}",
                f"{field} {operator} {constant}",
                f"{constant} {operator} {field}",
                f"{field} {operator} {other}",
                f"{field} in {items}",
                f"{constant} in {field}",
                f"{field} is {kind}",
                f"{field}",
                f"{field}.hasAny({items})",
                f"{field}.hasAll({items})",
                f"{field}.toSet().hasAny({items})",
                f"{field}.size() {operator} 1",
                f"{field} + 1 {operator} 2",
                f"1 / {field} {operator} 1",
                f"-{field} {operator} 0",
                f"string({field}) == '1'",
                f"[{field}, 'ada'].hasAll(['ada'])",
                f"'ada' in [{field}, 'ada']",
                f"{{'k': {field}}}.k {operator} {constant}",
                f"{field}.matches('x|ada')",
                "'owner' in resource.data",
                "'a' in resource.data",
                "'x' in resource.data.a",
                "resource.data.keys().hasAll(['a'])",
                "resource.data.keys().hasAny(['owner', 'tags'])",
                "resource.data.keys().hasOnly(['a', 'owner'])",
                "resource.data.keys().size() > 0",
                "resource.data.a.keys().hasAll(['x'])",
                f"id {operator} 'ada'",
                "id == request.auth.uid",
                "resource.id in ['d1', 'ada']",
                "resource.__name__ == /databases/(default)/documents/things/ada",
                "resource != null",
                "'data' in resource && !('other' in resource)",
                "request.auth != null",
                "request.query.limit <= 10",
                "request.query.offset == 0",
                "request.method == 'list'",
                "exists(/databases/$(database)/documents/roles/$(request.auth.uid))",
                "exists(/databases/$(database)/documents/roles/$(resource.data.owner))",
                f"{ROLE.format('request.auth.uid')}.level {operator} {constant}",
                f"{ROLE.format('resource.data.owner')}.level == {field}",
                f"{ROLE.format('id')}.level == 1",
                f"{field} in {ROLE.format('request.auth.uid')}.tags",
                f"({field} == {constant} ? {field} in {items} : {field} {operator} {constant})",
                f"(!({field} in {items}) || {field} {operator} {constant})",
                f"({field} is {kind} ? {field} {operator} {constant} : !({field} is {kind}))",
                f"('x' in resource.data.a ? resource.data.a.x {operator} {constant} : true)",
                f"({field} != {constant} || {ROLE.format(field)}.level == 1)",
                f"same({field}, {constant})",
                f"known({field})",
                f"first({field}, {constant} == 1)",
                "true",
                "false",
                "1 / 0 == 1",
                "1",
                "nope",
            ]
        )
    )


conditions: st.SearchStrategy[str] = st.recursive(
    atoms(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " && ".join(parts) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " || ".join(parts) + ")"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: "({} ? {} : {})".format(*three)),
        st.tuples(inner, inner).map(lambda two: "({} == ({}))".format(*two)),
    ),
    max_leaves=5,
)
FUNCTIONS = """
    function same(x, y) { return x == y; }
    function known(x) { let list = ['x', 'ada', 1]; let found = x in list; return found; }
    function first(x, y) { let z = x; return x == z || y; }
"""


@pytest.mark.slow
@settings(max_examples=examples(250), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    allows=st.lists(conditions, min_size=1, max_size=2),
    seed=st.integers(0, 1_000_000),
    limit=st.sampled_from([None, 5, 50]),
    auth=st.sampled_from([ADA, ADA, ADA, None]),
)
def test_what_is_proved_holds_for_every_document(
    allows: list[str], seed: int, limit: int | None, auth: Auth | None
) -> None:
    """Each generated ruleset is held against 80 of many thousand queries."""
    text = "".join(f"allow list: if {condition};\n" for condition in allows)
    rules = ruleset(f"match /things/{{id}} {{ {FUNCTIONS} {text} }}")
    choice = Random(seed)
    for _ in range(80):
        where, order_by = choice.choice(POOL), choice.choice(ORDERS)
        cursors = choice.choice(CURSORS) if order_by else CURSORS[0]
        bounds = bounds_of(order_by, cursors)
        request = ListRequest(("things",), auth, NOW, False, where, order_by, limit, bounds=bounds)
        check_sound(rules, request, ROLES, partial(returned_things, cursors=cursors))


def _pool() -> list[Constraint | None]:
    """Every filter on one field, and pairs and alternatives of them."""
    names = [("a",), ("tags",), ("owner",), ("a", "x")]
    values: list[Any] = [None, 0, 1, 1.0, 1.5, math.nan, True, "x", "ada", [1], {"x": 1.0}]
    lists: list[Any] = [[0, "x"], ["ada", "bob"], ["ada"], [1.0, None], [[1], {"x": 1}], [math.nan]]
    plain: list[FilterOperator] = ["==", "!=", "<", "<=", ">", ">=", "array-contains"]
    multiple: list[FilterOperator] = ["in", "not-in", "array-contains-any"]
    single: list[Constraint] = []
    for name in names:
        single += [FieldConstraint(name, one, value) for one in plain for value in values]
        single += [FieldConstraint(name, one, value) for one in multiple for value in lists]
    documents = [Path((*ROOT, "things", one)) for one in IDS]
    single.append(FieldConstraint(("__name__",), "in", documents))
    single += [FieldConstraint(("__name__",), "==", one) for one in documents]
    choice = Random(1)
    pairs: list[Constraint] = [AllOf(tuple(choice.sample(single, 2))) for _ in range(1500)]
    either: list[Constraint] = [AnyOf(tuple(choice.sample(single, 2))) for _ in range(700)]
    mixed: list[Constraint] = [
        AllOf((choice.choice(single), choice.choice(either), choice.choice(single)))
        for _ in range(700)
    ]
    return [None, *single, *single, *pairs, *either, *mixed]


POOL = _pool()
ORDERS: list[tuple[ListOrder, ...]] = [
    (), (), (), (ListOrder(("a",)),), (ListOrder(("owner",), True),), (ListOrder(("a", "x")),),
]  # fmt: skip


def _cursors() -> list[Cursors]:
    values: list[Any] = [None, True, 0, 1, 1.5, math.nan, "x", "ada", [1], {"x": 1.0}]
    choice = Random(2)
    made: list[Cursors] = [(None, None)] * 40
    for _ in range(80):
        start, end = (
            choice.choice([None, Cursor((choice.choice(values),), choice.random() < 0.5)])
            for _ in range(2)
        )
        made.append((start, end))
    return made


CURSORS: list[Cursors] = _cursors()


def bounds_of(order_by: tuple[ListOrder, ...], cursors: Cursors) -> tuple[ListBound, ...]:
    """As the server tells the rules of them."""
    query = Query(
        CollectionPath(("things",)),
        order_by=tuple(Order(FieldPath(one.field), one.descending) for one in order_by),
        start=cursors[0],
        end=cursors[1],
    )
    return list_request(query, DatabaseName("p", "(default)"), None, NOW).bounds


@lru_cache(maxsize=4096)
def _returned_things(
    where: _ById, order_by: tuple[ListOrder, ...], cursors: _ById
) -> list[ResourceDocument]:
    request = ListRequest(("things",), None, NOW, where=where.value, order_by=order_by)
    return returned(request, DOCUMENTS, cursors.value)


class _ById:
    """A filter, or cursors, as a key: they hold lists, which cannot be one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def returned_things(request: ListRequest, cursors: Cursors = CURSORS[0]) -> list[ResourceDocument]:
    return _returned_things(_ById(request.where), request.order_by, _ById(cursors))


def check_sound(
    rules: Ruleset,
    request: ListRequest,
    known: dict[Lookup, ResourceDocument | None],
    find: Callable[[ListRequest], list[ResourceDocument]],
) -> None:
    decision = rules.prove_list(request, known)
    assert not decision.missing & known.keys()
    if not decision.allowed:
        event("not proved")
        return
    found = find(request)
    event("proved, for documents" if found else "proved, for none")
    for one in found:
        allowed = decide_listed(rules, request, one, known)
        assert allowed, (one, request, rules.source)


def decide_listed(
    rules: Ruleset,
    request: ListRequest,
    document: ResourceDocument,
    known: dict[Lookup, ResourceDocument | None],
) -> bool:
    """What the rules say of one returned document."""
    asked = Request(
        method="list",
        path=document.path,
        auth=request.auth,
        time=request.time,
        resource=document,
        database=request.database,
        query=query_map(request),
    )
    return rules.decide(asked, known).allowed


# --- paths -------------------------------------------------------------------------------------

COLLECTIONS: list[Segments] = [
    tuple(path) for length in (1, 3, 5) for path in itertools.product(("a", "b"), repeat=length)
]
SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}", "{z=**}"])
PATHS: list[Segments] = [
    tuple(path) for length in (2, 4, 6) for path in itertools.product(("a", "b"), repeat=length)
]


@pytest.mark.slow
@settings(max_examples=examples(300), deadline=None)
@given(
    pattern=st.lists(SEGMENTS, min_size=1, max_size=6),
    inner=st.lists(st.sampled_from(["a", "{v}", "{w=**}"]), max_size=2),
    version=st.sampled_from(["1", "2"]),
    condition=st.sampled_from(["true", "x == 'a'", "z[0] == 'a'", "x is string && x != ''"]),
)
def test_matches_that_cover_a_query_cover_every_path(
    pattern: list[str], inner: list[str], version: str, condition: str
) -> None:
    """Patterns of every shape; each collection, and each collection group under each document."""
    pattern = _without_repetitions(pattern)
    inner = _without_repetitions(inner)
    if version == "1":
        assume("{z=**}" not in pattern[:-1] and "{w=**}" not in inner[:-1])
    body = f"match /{'/'.join(pattern)} {{ allow list: if {condition}; "
    if inner:
        body += f"match /{'/'.join(inner)} {{ allow list: if {condition}; }}"
    rules = ruleset(body + "}", version=version)
    for collection in COLLECTIONS:
        for group in (False, True):
            request = ListRequest(collection, None, NOW, group=group)
            check_sound(rules, request, {}, _returned_paths)


def _without_repetitions(pattern: list[str]) -> list[str]:
    """Wildcards of one match have different names."""
    return [one for at, one in enumerate(pattern) if one in ("a", "b") or one not in pattern[:at]]


def _returned_paths(request: ListRequest) -> list[ResourceDocument]:
    key = (request.collection, request.group)
    if key not in _RETURNED_PATHS:
        _RETURNED_PATHS[key] = returned(request, [ResourceDocument(path, {}) for path in PATHS])
    return _RETURNED_PATHS[key]


_RETURNED_PATHS: dict[tuple[Segments, bool], list[ResourceDocument]] = {}


def test_a_proof_that_would_be_unsound_is_seen() -> None:
    """The property itself can fail: a rule that forbids what the query returns is told."""
    rules = ruleset("match /things/{id} { allow list: if resource.data.owner == 'ada'; }")
    where = FieldConstraint(("owner",), "in", ["ada", "bob"])
    request = ListRequest(("things",), ADA, NOW, where=where)
    assert not rules.prove_list(request, {}).allowed
    found = returned(request, DOCUMENTS)
    allowed = [decide_listed(rules, request, one, {}) for one in found]
    assert any(allowed)
    assert not all(allowed)


@pytest.mark.parametrize("condition", ["true", "resource.data.owner == request.auth.uid"])
def test_returned_documents_are_some(condition: str) -> None:
    """The generated documents are not all filtered out, or the property would say nothing."""
    rules = ruleset(f"match /things/{{id}} {{ allow list: if {condition}; }}")
    where = FieldConstraint(("owner",), "==", "ada")
    request = ListRequest(("things",), ADA, NOW, where=where)
    assert rules.prove_list(request, {}).allowed
    assert len(returned(request, DOCUMENTS)) > 100
