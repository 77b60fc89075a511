"""Which queries are proved, and what is said of those that are not."""

from __future__ import annotations

from typing import Any

import pytest
from baas_rules import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    FieldConstraint,
    LatLng,
    ListBound,
    ListOrder,
    ListRequest,
    Lookup,
    Path,
    Ruleset,
    Timestamp,
)

from tests.rules.worlds import ADA, NOW, ROOT, document, looked_up, ruleset

FUNCTIONS = """
    function signedIn() { return request.auth != null; }
    function owns(data) { return data.owner == request.auth.uid; }
    function member() {
      let role = get(/databases/$(database)/documents/roles/$(request.auth.uid)).data.role;
      return role == 'admin' || role == 'editor';
    }
"""
ROLE = "get(/databases/$(database)/documents/roles/$(request.auth.uid)).data"


def where(*filters: tuple[str, Any, Any]) -> Constraint | None:
    if not filters:
        return None
    return AllOf(tuple(one(*each) for each in filters))


def one(name: str, operator: Any, value: Any) -> FieldConstraint:
    return FieldConstraint(tuple(name.split(".")), operator, value)


def things(condition: str) -> Ruleset:
    return ruleset(f"match /things/{{id}} {{ {FUNCTIONS} allow list: if {condition}; }}")


def listing(constraint: Constraint | None = None, **changes: Any) -> ListRequest:
    made: dict[str, Any] = {
        "collection": ("things",),
        "auth": ADA,
        "time": NOW,
        "where": constraint,
        **changes,
    }
    return ListRequest(**made)


OWNED = "resource.data.owner == request.auth.uid"

PROVED: list[tuple[str, Constraint | None]] = [
    # What does not look at the document needs no filter.
    ("true", None),
    ("signedIn()", None),
    ("request.auth.token.email_verified", None),
    ("request.time > timestamp.date(2020, 1, 1)", None),
    ("request.method == 'list'", None),
    ("resource != null", None),
    ("'data' in resource && !('x' in resource)", None),
    ("member()", None),
    ("signedIn() || resource.data.public", None),
    ("resource.data.public || signedIn()", None),
    ("resource.data.nope / 0 == 1 || true", None),
    ("id is string", None),
    ("resource.id is string && resource.__name__ is path", None),
    ("resource.data is map && resource is map", None),
    # Equality.
    (OWNED, where(("owner", "==", "ada"))),
    ("request.auth.uid == resource.data.owner", where(("owner", "==", "ada"))),
    ("owns(resource.data)", where(("owner", "==", "ada"))),
    ("resource.data['owner'] == request.auth.uid", where(("owner", "==", "ada"))),
    (OWNED, where(("owner", "==", "ada"), ("age", ">", 3))),
    (OWNED, where(("owner", "in", ["ada"]))),
    ("resource.data.public == true", where(("public", "==", True))),
    ("resource.data.public", where(("public", "==", True))),
    ("!resource.data.hidden", where(("hidden", "==", False))),
    ("resource.data.gone == null", where(("gone", "==", None))),
    ("resource.data.a == 3", where(("a", "==", 3.0))),
    ("resource.data.a is number && resource.data.a + 1 == 4", where(("a", "==", 3))),
    ("resource.data.a / 2 >= 1", where(("a", "==", 3))),
    ("resource.data.tags == ['x', 1]", where(("tags", "==", ["x", 1.0]))),
    ("resource.data.m == {'k': 1}", where(("m", "==", {"k": 1}))),
    ("resource.data.m.k == 1", where(("m", "==", {"k": 1}))),
    ("resource.data.m.k == 1", where(("m.k", "==", 1))),
    ("resource.data.m is map && 'k' in resource.data.m", where(("m.k", "==", 1))),
    ("resource.data.at == request.time", where(("at", "==", NOW))),
    ("resource.data.friend == /databases/(default)/documents/users/bob", where(
        ("friend", "==", Path((*ROOT, "users", "bob"))))),
    ("resource.data.owner.size() == 3", where(("owner", "==", "ada"))),
    ("resource.data.owner.matches('a.a')", where(("owner", "==", "ada"))),
    ("resource.data.get('owner', '') == 'ada'", where(("owner", "==", "ada"))),
    ("resource.data.get(['m', 'k'], 0) == 1", where(("m.k", "==", 1))),
    ("resource.data.get(['m', 'k'], 0) == 1", where(("m", "==", {"k": 1}))),
    ("{'k': resource.data.a}.k == 'x'", where(("a", "==", "x"))),
    ("{'k': resource.data.a, 'l': resource.id}.k == 'x'", where(("a", "==", "x"))),
    ("[resource.data.a][0] == 'x'", where(("a", "==", "x"))),
    ("'x' in [resource.data.a, resource.id]", where(("a", "==", "x"))),
    ("(resource.data.a == 'x' ? resource.data.b : 1) == 2", where(
        ("a", "==", "x"), ("b", "==", 2))),
    ("debug(resource.data.owner) == 'ada'", where(("owner", "==", "ada"))),
    # Alternatives: each value and each side of an `or` must be covered.
    ("resource.data.owner in ['ada', 'bob']", where(("owner", "in", ["ada", "bob"]))),
    ("resource.data.owner in ['ada', 'bob']", where(("owner", "==", "bob"))),
    ("resource.data.owner == 'ada' || resource.data.owner == 'bob'", where(
        ("owner", "in", ["ada", "bob"]))),
    (f"{OWNED} || resource.data.public", AnyOf(
        (one("owner", "==", "ada"), one("public", "==", True)))),
    (OWNED, where(("owner", "in", ["ada", None]))),
    # Other comparisons.
    ("resource.data.a > 3", where(("a", ">", 3))),
    ("resource.data.a > 3", where(("a", ">", 5))),
    ("resource.data.a >= 3", where(("a", ">=", 3))),
    ("resource.data.a > 3", where(("a", ">=", 4))),
    ("3 < resource.data.a", where(("a", ">", 3))),
    ("resource.data.a < 10 && resource.data.a >= 0", where(("a", "<", 10), ("a", ">=", 0))),
    ("resource.data.a <= 10", where(("a", "<=", 10), ("a", ">", 0))),
    ("resource.data.name < 'n'", where(("name", "<", "m"))),
    ("resource.data.name is string", where(("name", ">=", "a"))),
    ("resource.data.at <= request.time", where(("at", "<=", NOW))),
    ("resource.data.a != 'x'", where(("a", "!=", "x"))),
    ("resource.data.a != null", where(("a", "!=", "x"))),
    ("!(resource.data.a in ['x', 'y'])", where(("a", "not-in", ["x", "y", "z"]))),
    ("resource.data.a != 'x'", where(("a", ">", 3))),
    ("resource.data.a != 2", where(("a", ">", 3))),
    ("!(resource.data.a <= 3)", where(("a", ">", 3))),
    ("!(resource.data.a < 3)", where(("a", ">=", 3))),
    ("!(resource.data.a > 3)", where(("a", "<=", 3))),
    ("!(resource.data.a >= 3)", where(("a", "<", 3))),
    # Members of lists and maps.
    ("request.auth.uid in resource.data.members", where(("members", "array-contains", "ada"))),
    ("resource.data.members.hasAny(['ada', 'x'])", where(("members", "array-contains", "ada"))),
    ("resource.data.members.hasAny(['ada', 'x'])", where(
        ("members", "array-contains-any", ["ada", "x"]))),
    ("resource.data.members.hasAll(['ada'])", where(("members", "array-contains", "ada"))),
    ("resource.data.members.toSet().hasAny(['ada'].toSet())", where(
        ("members", "array-contains", "ada"))),
    ("resource.data.members is list", where(("members", "array-contains", "ada"))),
    ("'owner' in resource.data", where(("owner", "==", "x"))),
    ("resource.data.keys().hasAll(['owner'])", where(("owner", "==", "x"))),
    ("resource.data.keys().toSet().hasAll(['owner'])", where(("owner", "==", "x"))),
    ("resource.data.role in ['a', 'b']", where(("role", "in", ["a", "b"]))),
    (f"resource.data.team in {ROLE}.teams", where(("team", "==", "red"))),
    (f"{ROLE}.teams.hasAny([resource.data.team])", where(("team", "==", "red"))),
    # The name.
    ("id == 'x'", where(("__name__", "==", Path((*ROOT, "things", "x"))))),
    ("resource.id in ['x', 'y']", where(("__name__", "in", [
        Path((*ROOT, "things", "x")), Path((*ROOT, "things", "y"))]))),
    ("resource.__name__ == /databases/(default)/documents/things/x", where(
        ("__name__", "==", Path((*ROOT, "things", "x"))))),
    ("exists(/databases/$(database)/documents/roles/$(id))", where(
        ("__name__", "==", Path((*ROOT, "things", "ada"))))),
    ("resource.data.a == 1.5", where(("a", "==", 1.5))),
    ("resource.data.at == latlng.value(0, 1)", where(("at", "==", LatLng(0.0, 1.0)))),
    ("resource.data.get('m', {}) == {'k': 1}", where(("m", "==", {"k": 1}))),
    ("{'k': resource.data.other.x || true}.k", None),
    ("{'k': resource.data, 'l': 1}.get('l', 2) == 1", None),
    ("{'k': resource.data, 'l': 1}.get('m', 2) == 2", None),
    # Nothing can be returned.
    ("false || resource.data.a == 1", where(("a", "in", [None]))),
]  # fmt: skip

UNPROVED: list[tuple[str, Constraint | None]] = [
    (OWNED, where(("owner", "in", "ada"))),
    ("resource.data.k in request.auth.token", None),
    ("resource.data.k in resource.data", None),
    ("resource.data[1] == 1", None),
    ("resource.data[resource.data.a ? 'x' : 'y'] == 1", None),
    ("resource.data.name.size() > 0", where(("name", ">", "a"))),
    ("resource.data.members.removeAll(['x']).size() > 0", where(("members", "array-contains", 1))),
    ("resource.data.values().size() > 0", None),
    ("resource.data.get('a', 1 / 0) == 1", where(("a", "==", 1))),
    ("resource.data.get(1, 2) == 1", None),
    ("resource.data.get([1], 2) == 1", None),
    ("resource.data.get(['a', 'b'], 2) == 2", None),
    ("resource.data.get(['m', 'b', 'c'], 2) == 2", where(("m", "==", {"b": {"c": 1}}))),
    ("resource.data.get(['m', 'b', 'c'], 2) == 2", where(("m.b", ">", 1))),
    ("{'k': resource.data.a}.k == 1", None),
    ("{'k': 1 / 0}.k == 1", None),
    (f"{ROLE} == resource.data.x", None),
    ("get(/databases/$(database)/documents/roles/ada) == resource.data.x", None),
    ("math.abs(resource.data.a) == 1", where(("a", ">", 3))),
    ("false", None),
    ("1", None),
    ("nope", None),
    (OWNED, None),
    (OWNED, where(("owner", "==", "bob"))),
    (OWNED, where(("owner", "in", ["ada", "bob"]))),
    (OWNED, where(("owner", "!=", "bob"))),
    (OWNED, where(("other", "==", "ada"))),
    (OWNED, AnyOf((one("owner", "==", "ada"), one("public", "==", True)))),
    (f"!({OWNED})", None),
    (f"{OWNED} || resource.data.public", where(("owner", "==", "bob"))),
    ("resource.data.public", None),
    ("!resource.data.hidden", None),
    ("resource.data.public || !resource.data.public", None),
    ("resource.data.a == resource.data.a", None),
    ("resource.data.a == resource.data.a", where(("a", "==", float("nan")))),
    ("resource.data.a is int", where(("a", "==", 3))),
    ("string(resource.data.a) == '3'", where(("a", "==", 3))),
    ("1 / resource.data.a == 1", where(("a", "==", 0))),
    ("resource.data.a / 2 == 1", where(("a", "==", 3))),
    ("resource.data.tags.size() == 1", where(("tags", "array-contains", "x"))),
    ("resource.data.tags == [1, 2, 3, 4, 5]", where(("tags", "==", [1, 2, 3, 4, 5]))),
    ("resource.data.keys().hasOnly(['owner'])", where(("owner", "==", "x"))),
    ("resource.data.keys().hasAny(['other'])", where(("owner", "==", "x"))),
    ("'other' in resource.data", where(("owner", "==", "x"))),
    ("resource.data.get('owner', 'ada') == 'ada'", None),
    ("resource.data.owner.get('x', 1) == 1", None),
    ("resource.data.a > 3", where(("a", ">", 2))),
    ("resource.data.a > 3", where(("a", ">=", 3))),
    ("resource.data.a > 3", None),
    ("resource.data.a > 3", where(("a", ">", "x"))),
    ("resource.data.a > 3", where(("a", ">", float("nan")))),
    ("resource.data.a < 10", where(("a", "<", "x"))),
    ("resource.data.a != 3", where(("a", ">=", 3))),
    # NaN passes an upper bound of a query, and is below nothing in a rule.
    ("resource.data.a < 10", where(("a", "<", 10))),
    ("request.auth.uid in resource.data.members", where(("members", "array-contains", "bob"))),
    ("resource.data.members.hasAll(['ada', 'x'])", where(("members", "array-contains", "ada"))),
    ("resource.data.members.hasOnly(['ada'])", where(("members", "array-contains", "ada"))),
    ("resource.data.members.hasAny(['ada', 'x'])", where(
        ("members", "array-contains-any", ["ada", "y"]))),
    ("resource.data.members.hasAny('ada')", where(("members", "array-contains", "ada"))),
    ("id == 'x'", None),
    ("id == request.auth.uid", None),
    ("resource.id == 'x'", where(("id", "==", "x"))),
    ("id == 'x'", where(("__name__", "==", Path((*ROOT, "other", "x"))))),
    ("id == 'x'", where(("__name__", ">=", Path((*ROOT, "things", "x"))))),
    ("exists(/databases/$(database)/documents/roles/$(id))", None),
    ("exists(/databases/$(database)/documents/roles/$(resource.data.owner))", None),
    (f"resource.data.team in {ROLE}.teams", where(("team", "==", "blue"))),
    (f"resource.data.team in {ROLE}.teams", None),
    ("request.path == /databases/(default)/documents/things/x", None),
    ("request.resource.data.x == 1", None),
    ("request.query.limit <= 10", None),
    ("resource.data.a ? true : true", None),
    ("resource.data.public ? signedIn() : true", None),
    ("{resource.data.a: 1}.size() == 1", None),
    ("{resource.data.a: resource.data.b}.size() == 1", None),
    ("{'k': 1 / 0} == {'k': 1}", None),
    ("{1: resource.data.a} == {'k': 1}", None),
    ("get(resource.data.friend).data.x == 1", None),
    ("get(1 / 0).data.x == 1", None),
    ("get('x').data.x == 1", None),
    ("resource.data.a.b.c == 1", where(("a", "==", {"b": {"d": 1}}))),
    ("math.nope(resource.data.a)", None),
    ("firestore.get(/a/b)", None),
    ("owns()", None),
    ("int(1, 2) == 1", None),
    ("(1 / 0) is int", None),
    ("1 / 0 == 1", None),
    ("resource.data.diff({}).affectedKeys().size() == 0", None),
    ("resource.data.a[0:1] == [1]", None),
    ("-resource.data.a == 1", None),
    ("resource.data in [{}]", where(("owner", "==", "x"))),
    ("resource.data == {}", where(("owner", "==", "x"))),
    ("resource.data == null", None),
    ("resource.data == resource.data.other", None),
    ("resource.data.tags in resource.data.members", None),
    ("resource.data.a in 1", None),
    ("(resource.data.a in ['x']) == resource.data.b", None),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "constraint"), PROVED)
def test_proves(condition: str, constraint: Constraint | None) -> None:
    assert settled(things(condition), listing(constraint))


@pytest.mark.parametrize(("condition", "constraint"), UNPROVED)
def test_does_not_prove(condition: str, constraint: Constraint | None) -> None:
    assert not settled(things(condition), listing(constraint))


KNOWN = looked_up(document("roles/ada", role="admin", teams=["red", "green"]))


def settled(rules: Ruleset, request: ListRequest) -> bool:
    decision = rules.prove_list(request, KNOWN)
    assert not decision.missing
    explanation = rules.explain_list(request, KNOWN)
    assert explanation.allowed == decision.allowed
    assert bool(explanation.reasons) != decision.allowed
    for reason in explanation.reasons:
        assert reason.line
        assert "^" in reason.snippet()
    return decision.allowed


# --- the query itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "changes", "proved"),
    [
        ("request.query.limit <= 10", {"limit": 10}, True),
        ("request.query.limit <= 10", {"limit": 11}, False),
        ("request.query.limit == null", {}, True),
        ("request.query.offset == 0", {}, True),
        ("request.query.offset == 0", {"offset": 5}, False),
        ("request.query.orderBy.name == 'ASC'", {"order_by": (ListOrder(("name",)),)}, True),
        ("request.query.orderBy.name == 'ASC'", {"order_by": (ListOrder(("name",), True),)}, False),
        ("'name' in resource.data", {"order_by": (ListOrder(("name",)),)}, True),
        ("'name' in resource.data", {"order_by": (ListOrder(("__name__",)),)}, False),
        ("resource.data.m.keys().hasAll(['k'])", {"order_by": (ListOrder(("m", "k")),)}, True),
        ("signedIn()", {"auth": None}, False),
        ("request.auth == null", {"auth": None}, True),
        ("request.auth.uid == 'x' || true", {"auth": None}, True),
        ("database == 'other'", {"database": "other"}, True),
        ("request.keys().hasAll(['auth', 'query', 'time'])", {}, True),
        ("request['query']['limit'] == 3", {"limit": 3}, True),
        ("'resource' in request", {}, False),
    ],
)
def test_what_is_known_of_the_query(condition: str, changes: dict[str, Any], proved: bool) -> None:
    assert settled(things(condition), listing(**changes)) is proved


def test_statements_may_prove_different_alternatives() -> None:
    rules = ruleset(
        "match /things/{id} {"
        " allow list: if resource.data.owner == request.auth.uid;"
        " allow list: if resource.data.public; }"
    )
    both = AnyOf((one("owner", "==", "ada"), one("public", "==", True)))
    assert rules.prove_list(listing(both), {}).allowed
    assert not rules.prove_list(listing(one("hidden", "==", True)), {}).allowed


def test_many_alternatives_are_given_up_rather_than_tried() -> None:
    parts = tuple(AnyOf((one(f"f{n}", "==", 1), one("owner", "==", "ada"))) for n in range(8))
    request = listing(AllOf((*parts, one("owner", "==", "ada"))))
    assert things(OWNED).prove_list(request, {}).allowed
    wide = AnyOf(tuple(one("owner", "==", "ada") for _ in range(200)))
    assert not things(OWNED).prove_list(listing(wide), {}).allowed


def test_only_list_is_asked() -> None:
    rules = ruleset("match /things/{id} { allow get, write: if true; }")
    decision = rules.explain_list(listing(), {})
    assert not decision.allowed
    assert "no allow statement with list covers" in str(decision)


def test_rules_of_objects_allow_no_query() -> None:
    rules = Ruleset.parse(
        "rules_version = '2'; service firebase.storage { match /{all=**} { allow read; } }"
    )
    assert not rules.explain_list(listing(), {}).allowed


# --- paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "changes", "proved"),
    [
        ("match /things/{id} { allow list; }", {}, True),
        ("match /things/x { allow list; }", {}, False),
        ("match /{document=**} { allow list; }", {}, True),
        ("match /other/{id} { allow list; }", {}, False),
        ("match /things/{id}/{rest=**} { allow list; }", {}, True),
        ("match /things/x { allow list; }", {
            "where": one("__name__", "==", Path((*ROOT, "things", "x")))}, True),
        ("match /users/{uid}/things/{id} { allow list: if uid == 'ada'; }", {
            "collection": ("users", "ada", "things")}, True),
        ("match /users/{uid}/things/{id} { allow list: if uid == 'ada'; }", {
            "collection": ("users", "bob", "things")}, False),
        ("match /{a=**} { allow list: if a[0] == 'things'; }", {}, False),
        ("match /{a=**}/{id} { allow list: if a[0] == 'things'; }", {}, True),
        # Collection groups.
        ("match /{path=**}/things/{id} { allow list; }", {"group": True}, True),
        ("match /{path=**}/things/{id} { allow list: if path[0] == 'x'; }", {"group": True}, False),
        ("match /{path=**}/things/{id} { allow list: if path is path; }", {"group": True}, True),
        ("match /things/{id} { allow list; }", {"group": True}, False),
        ("match /users/{uid}/things/{id} { allow list; }", {"group": True}, False),
        ("match /{document=**} { allow list; }", {"group": True}, True),
        ("match /{path=**}/{c}/{id} { allow list: if c == 'things'; }", {"group": True}, True),
        ("match /{path=**}/{coll}/{id} { allow list: if coll == 'things'; }", {
            "group": True, "collection": ("",)}, False),
        ("match /users/{uid}/{path=**} { allow list: if uid == 'ada'; }", {
            "group": True, "collection": ("users", "ada", "things")}, True),
        ("match /users/{uid}/{path=**} { allow list: if uid == 'ada'; }", {"group": True}, False),
        ("match /{path=**}/things/{id} { allow list: if resource.data.owner == request.auth.uid; }",
            {"group": True, "where": one("owner", "==", "ada")}, True),
        ("match /users/{uid}/things/{id} { allow list: if uid == 'ada'; }", {
            "group": True,
            "where": one("__name__", "==", Path((*ROOT, "users", "ada", "things", "x")))}, True),
        ("match /users/{uid}/things/{id} { allow list: if uid == 'ada'; }", {
            "group": True,
            "where": one("__name__", "==", Path((*ROOT, "users", "ada", "other", "x")))}, False),
        ("match /things/{id} { allow list: if id == 'x'; }", {
            "where": one("__name__", "==", Path(("things", "x")))}, True),
        ("match /things/{id} { allow list: if id == 'x'; }", {
            "where": one("__name__", "==", "things/x")}, False),
    ],
)  # fmt: skip
def test_paths(body: str, changes: dict[str, Any], proved: bool) -> None:
    rules = ruleset(body)
    request = listing(**changes)
    assert rules.prove_list(request, {}).allowed is proved
    assert rules.explain_list(request, {}).allowed is proved


def test_version_1_has_no_collection_groups() -> None:
    rules = ruleset("match /things/{rest=**} { allow list; }", version="1")
    assert rules.prove_list(listing(), {}).allowed
    explanation = rules.explain_list(listing(group=True), {})
    assert not explanation.allowed
    assert "a collection group needs rules_version '2'" in str(explanation)


# --- lookups -----------------------------------------------------------------------------------


def test_documents_that_are_needed_are_named() -> None:
    rules = things("member()")
    decision = rules.prove_list(listing(), {})
    assert not decision.allowed
    assert decision.missing == {Lookup(("roles", "ada"))}
    assert "it needs /roles/ada" in str(rules.explain_list(listing(), {}))
    settled_decision = rules.prove_list(listing(), KNOWN)
    assert settled_decision.allowed
    assert settled_decision.lookups == {Lookup(("roles", "ada"))}


def test_documents_are_named_where_the_document_matters_too() -> None:
    rules = things(f"{OWNED} || resource.data.team in {ROLE}.teams")
    owned = listing(one("owner", "==", "ada"))
    assert rules.prove_list(owned, {}).allowed
    team = listing(one("team", "==", "red"))
    assert rules.prove_list(team, {}).missing == {Lookup(("roles", "ada"))}
    assert rules.prove_list(team, KNOWN).allowed


def test_what_a_short_circuit_spares_is_not_asked_for() -> None:
    rules = things("false && member() || resource.data.a == 1 && member()")
    assert not rules.prove_list(listing(one("a", "==", 2)), {}).missing


def test_an_alternative_that_is_denied_asks_for_nothing() -> None:
    rules = things("resource.data.a == 1 && member()")
    either = AnyOf((one("a", "==", 1), one("a", "==", 2)))
    decision = rules.prove_list(listing(either), {})
    assert not decision.allowed
    assert not decision.missing


def test_lookups_are_limited() -> None:
    paths = [f"exists(/databases/(default)/documents/r/{n})" for n in range(11)]
    known = looked_up(*(document(f"r/{n}") for n in range(11)))
    ten = things(" && ".join(paths[:10]))
    assert ten.prove_list(listing(), known).allowed
    for condition in (" && ".join(paths), "resource != null && " + " && ".join(paths)):
        eleven = things(condition)
        assert not eleven.prove_list(listing(), known).allowed
        assert "more than 10 documents" in str(eleven.explain_list(listing(), known))


def test_expressions_are_limited() -> None:
    doubled = "".join(
        f"function f{n}(x) {{ return f{n - 1}(x) && f{n - 1}(x); }}" for n in range(1, 11)
    )
    functions = "function f0(x) { return x; }" + doubled
    for condition in ("f10(true)", "f10(resource != null)"):
        rules = ruleset(f"match /things/{{id}} {{ {functions} allow list: if {condition}; }}")
        assert not rules.prove_list(listing(), {}).allowed
        assert not rules.explain_list(listing(), {}).allowed


def test_a_multiple_path_is_looked_up_in_every_way() -> None:
    who = "(resource.data.flag == 1 ? 'ada' : 'bob')"
    rules = things(f"exists(/databases/$(database)/documents/roles/${who})")
    flagged = listing(where(("flag", ">", 0)))
    decision = rules.prove_list(flagged, {})
    assert decision.missing == {Lookup(("roles", "ada")), Lookup(("roles", "bob"))}
    both = looked_up(document("roles/ada"), document("roles/bob"))
    assert rules.prove_list(flagged, both).allowed
    one_only = looked_up(document("roles/ada"), missing=("roles/bob",))
    assert not rules.prove_list(flagged, one_only).allowed


# --- explanations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "constraint", "hint"),
    [
        (OWNED, None, 'add where("owner", "==", request.auth.uid) to the query'),
        ("request.auth.uid == resource.data.owner", None, 'where("owner", "==", request.auth.uid)'),
        ("owned_by(resource.data, request.auth.uid)", None,
            'where("owner", "==", request.auth.uid)'),
        ("resource.data.m.k == 3", None, 'where("m.k", "==", 3)'),
        ("resource.data.public", None, 'where("public", "==", true)'),
        ("resource.data.public == true", None, 'where("public", "==", true)'),
        ("!resource.data.hidden", None, 'where("hidden", "==", false)'),
        ("resource.data.a > 3", None, 'where("a", ">", 3)'),
        ("3 < resource.data.a", None, 'where("a", ">", 3)'),
        ("resource.data.role in ['a', 'b']", None, """where("role", "in", ['a', 'b'])"""),
        ("request.auth.uid in resource.data.members", None,
            'where("members", "array-contains", request.auth.uid)'),
        ("resource.data.members.hasAny(['a'])", None,
            """where("members", "array-contains-any", ['a'])"""),
        ("'owner' in resource.data", None, 'add an order by "owner" to the query'),
        ("id == request.auth.uid", None, 'where("__name__", "==", request.auth.uid)'),
        ("request.query.limit <= 10", None, "add a limit to the query"),
        (f"{OWNED} || resource.data.public", None,
            'add where("owner", "==", request.auth.uid) or where("public", "==", true) to'),
        ("signedIn() && (member() && false || resource.data.public)", None,
            'where("public", "==", true)'),
        ("resource.data.a ? resource.data.b : false", where(("a", "==", True)),
            'where("b", "==", true)'),
    ],
)  # fmt: skip
def test_the_filter_that_would_help(
    condition: str, constraint: Constraint | None, hint: str
) -> None:
    functions = FUNCTIONS + "function owned_by(data, uid) { return data.owner == uid; }"
    rules = ruleset(f"match /things/{{id}} {{ {functions} allow list: if {condition}; }}")
    (reason,) = rules.explain_list(listing(constraint), KNOWN).reasons
    assert reason.hint is not None
    assert hint in reason.hint


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            OWNED,
            "not proved for 'list' @ L11: `resource.data.owner` is not constrained by the query",
        ),
        ("signedIn() && false", "false for 'list' @ L11"),
        ("resource.data.owner == 'x' && false", "false for 'list' @ L11"),
        ("1 / 0 == 1", "evaluation error at L11:"),
        ("1 / 0 == 1", "division by zero"),
        ("nope", "unknown variable `nope`"),
        ("1", "the condition is not a bool"),
        ("id == 'x'", "the document's id is not known"),
        ("exists(/databases/$(database)/documents/roles/$(id))", "the document's id is not known"),
        ("resource.data.a == resource.data.b", "`resource.data.a` is not constrained"),
        ("get(/a/$(resource.data.a)).data.b == 1", "a document that is looked up is not known"),
        ("resource.data.a + 1 == 2", "`resource.data.a` is not constrained"),
        ("request.path == /a/b", "the document's path is not known"),
        ("resource.data.keys().hasOnly(['a'])", "this depends on the documents"),
        ("'x' in [resource.data.a]", "`resource.data.a` is not constrained"),
    ],
)
def test_what_is_not_known(condition: str, message: str) -> None:
    (reason,) = things(condition).explain_list(listing(), {}).reasons
    assert message in reason.message


def test_a_filter_that_is_not_tight_enough() -> None:
    (reason,) = things("resource.data.a > 3").explain_list(listing(one("a", ">", 1)), {}).reasons
    assert "the query does not constrain `resource.data.a` enough" in reason.message
    assert reason.hint == 'add where("a", ">", 3) to the query'


def test_an_explanation_in_full() -> None:
    rules = ruleset(
        "match /notes/{id} {\n  allow read: if resource.data.owner == request.auth.uid;\n}"
    )
    request = ListRequest(("notes",), Auth("ada", {}), Timestamp(0))
    assert str(rules.explain_list(request, {})) == (
        "list of /notes is denied\n"
        "not proved for 'list' @ L5: `resource.data.owner` is not constrained by the query, and "
        "rules are not filters: the query must make sure that every document it returns is "
        "allowed\n"
        "5 |   allow read: if resource.data.owner == request.auth.uid;\n"
        "  |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    request.auth.uid is 'ada'\n"
        'hint: add where("owner", "==", request.auth.uid) to the query'
    )


BETWEEN_NUMBERS = (ListBound(("n",), ">=", 5), ListBound(("n",), "<", 10))


@pytest.mark.parametrize(
    ("condition", "bounds", "proved"),
    [
        ("resource.data.n >= 5 && resource.data.n < 10", BETWEEN_NUMBERS, True),
        ("resource.data.n > 5", BETWEEN_NUMBERS, False),
        ("resource.data.n < 10", BETWEEN_NUMBERS[1:], False),  # null comes before all numbers
        ("resource.data.n >= 5", BETWEEN_NUMBERS[:1], False),  # and texts behind them
        ("resource.data.n != null", BETWEEN_NUMBERS[:1], True),
        ("!(resource.data.n is string)", BETWEEN_NUMBERS[1:], True),
        ("resource.data.n is number", BETWEEN_NUMBERS, True),
    ],
)
def test_cursors_bound_what_a_query_returns(
    condition: str, bounds: tuple[ListBound, ...], proved: bool
) -> None:
    rules = ruleset(f"match /a/{{id}} {{ allow list: if {condition}; }}")
    asked = ListRequest(("a",), ADA, NOW, order_by=(ListOrder(("n",)),), bounds=bounds)
    assert rules.prove_list(asked, {}).allowed is proved


def test_a_cursor_narrows_the_filter_of_its_field() -> None:
    rules = ruleset("match /a/{id} { allow list: if resource.data.n >= 5; }")
    where = FieldConstraint(("n",), ">", 0)
    for value, proved in ((5, True), (4, False), (-1, False)):
        bounds = (ListBound(("n",), ">=", value),)
        asked = ListRequest(("a",), ADA, NOW, where=where, bounds=bounds)
        assert rules.prove_list(asked, {}).allowed is proved


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0)])
def test_of_two_bounds_of_one_field_the_tighter_counts(first: int, second: int) -> None:
    rules = ruleset("match /a/{id} { allow list: if resource.data.n >= 5; }")
    where = AllOf(tuple(FieldConstraint(("n",), ">=", value) for value in (first, second)))
    assert rules.prove_list(ListRequest(("a",), ADA, NOW, where=where), {}).allowed
