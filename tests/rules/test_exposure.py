"""Which allow statements are reported as open to everybody."""

from __future__ import annotations

import pytest
from baas_rules import OpenAccess, Ruleset

from tests.rules.worlds import ruleset


def reported(condition: str, methods: str = "read, write") -> set[str]:
    """The methods that are open, those bound by time marked with `~`."""
    text = f"allow {methods}: if {condition};" if condition else f"allow {methods};"
    rules = ruleset(f"match /things/{{id}} {{ {text} }}")
    return {
        ("~" if access.time_bound else "") + method
        for access in rules.open_access()
        for method in access.methods
    }


ALL = {"get", "list", "create", "update", "delete"}


@pytest.mark.parametrize(
    ("condition", "methods", "expected"),
    [
        ("", "read, write", ALL),
        ("true", "read, write", ALL),
        ("", "get", {"get"}),
        ("true || resource.data.x", "read", {"get", "list"}),
        ("resource.data.x == 1 || true", "read", {"get", "list"}),
        ("request.auth == null", "read", {"get", "list"}),
        ("request.auth == null || request.auth.uid == id", "write", {"create", "update", "delete"}),
        ("request.auth.uid != null || !(1 == 2)", "get", {"get"}),
        ("request.method == 'get'", "read", {"get"}),
        ("resource == null", "write", {"create"}),
        ("resource.data is map", "read, write", {"list", "update", "delete"}),
        ("id is string && database is string", "get", {"get"}),
        ("request.resource.data is map", "read, write", {"create", "update"}),
        ("request.time < timestamp.date(2030, 1, 1)", "read", {"~get", "~list"}),
        ("request.time > timestamp.date(2030, 1, 1)", "get", {"~get"}),
        ("request.time is timestamp", "get", {"get"}),
        ("false", "read, write", set()),
        ("request.auth != null", "read, write", set()),
        ("request.auth.uid == id", "read, write", set()),
        ("resource.data.public", "read", set()),
        ("request.resource.data.x == 1", "create", set()),
        ("exists(/databases/$(database)/documents/a/$(id))", "get", set()),
        ("exists(/databases/$(database)/documents/a/b)", "get", set()),
        ("exists(/databases/(default)/documents/a/b)", "get", set()),
        ("id == 'x'", "read", set()),
        ("request.query.limit < 10", "list", set()),
        ("request.path == /a/b", "get", set()),
        ("1", "read", set()),
        ("nope", "read", set()),
        ("1 / 0 == 1", "read", set()),
    ],
)
def test_what_is_reported(condition: str, methods: str, expected: set[str]) -> None:
    assert reported(condition, methods) == expected


def test_a_report() -> None:
    rules = ruleset(
        "match /{path=**} {\n"
        "  match /b/{id} {\n"
        "    allow create: if request.time < timestamp.date(2030, 1, 1); }\n"
        "  allow read;\n"
        "}\n"
        "match /private/{id} { allow read: if request.auth != null; }"
    )
    first, second = rules.open_access()
    root = "/databases/{database}/documents/{path=**}"
    assert first == OpenAccess(f"{root}/b/{{id}}", ("create",), 6, True)
    assert second == OpenAccess(root, ("get", "list"), 7)
    assert (first.reads, first.writes) == (False, True)
    assert (second.reads, second.writes) == (True, False)


def test_functions_are_looked_into() -> None:
    functions = "function f(x) { return x || g(); } function g() { let a = true; return a; }"
    rules = ruleset(f"match /a/{{b}} {{ {functions} allow get: if f(resource.data.x == 1); }}")
    assert [access.methods for access in rules.open_access()] == [("get",)]


def test_too_much_to_tell_is_not_reported() -> None:
    doubling = "function f0(x) { return x == 1; }" + "".join(
        f"function f{n}(x) {{ return f{n - 1}(x) && f{n - 1}(x); }}" for n in range(1, 12)
    )
    rules = ruleset(f"match /a/{{b}} {{ {doubling} allow get: if f11(1); }}")
    assert rules.open_access() == []


def test_objects() -> None:
    rules = Ruleset.parse(
        "rules_version = '2'; service firebase.storage { match /b/{bucket}/o { match /{all=**} {\n"
        "allow read;\n"
        "allow create: if request.resource.size < 5;\n"
        "allow update: if request.resource.size is int || request.params is map;\n"
        "allow delete: if resource == null;\n"
        "} } }"
    )
    found = {(access.line, access.methods) for access in rules.open_access()}
    assert found == {(2, ("get", "list")), (4, ("update",))}
