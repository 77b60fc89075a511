"""Warnings for rules that leak, or can never hold."""

from __future__ import annotations

import pytest
from baas_rules import Request, Ruleset, Severity, lint
from hypothesis import HealthCheck, given, settings

from tests.effort import examples
from tests.rules.test_soundness import ADA, DOCUMENTS, FUNCTIONS, NOW, ROLES, conditions
from tests.rules.worlds import wrapped

OWNER = "request.auth.uid == id"


def codes(source: str) -> list[str]:
    found = lint(source)
    for one in found:
        assert one.severity is Severity.WARNING
        assert one.line > 0
        assert "^" in one.snippet()
        assert f"[{one.code}]" in str(one)
        assert one.hint or one.code == "unlike-types"
    return [one.code or "" for one in found]


def of(statements: str, functions: str = "") -> list[str]:
    return codes(wrapped(f"{functions} match /things/{{id}} {{ {statements} }}"))


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        # what leaks
        ("allow get;", ["open-to-all"]),
        ("allow get: if true;", ["open-to-all"]),
        ("allow get: if id == id || false;", []),  # not for every id, as far as can be told
        ("allow get: if request.auth == null || request.auth != null;", ["open-to-all"]),
        ("allow delete: if request.auth != null;", ["any-user-writes"]),
        ("allow write: if request.auth.uid != null;", ["any-user-writes"]),
        ("allow get: if request.auth != null;", []),
        ("allow list: if request.auth != null;", ["unbounded-list"]),
        ("allow list: if request.auth != null && request.query.limit <= 50;", []),
        ("allow list: if resource.data.owner == request.auth.uid;", []),
        (f"allow create: if {OWNER};", ["unvalidated-write"]),
        (f"allow create: if {OWNER} && request.resource.data.keys().hasOnly(['a']);", []),
        (f"allow delete: if {OWNER};", []),
        ("allow get: if request.auth.token.email == 'a@b.c';", ["unverified-email"]),
        (
            "allow get: if request.auth.token.email == 'a@b.c'"
            " && request.auth.token.email_verified;",
            [],
        ),
        (
            "allow create: if request.resource.data.isAdmin == true && request.auth != null;",
            ["client-set-role"],
        ),
        ("allow create: if request.resource.data.isAdmin == false && id == 'x';", []),
        # what can never be
        (f"allow get: if {OWNER} && 'a' + 1 == 'a1';", ["never-holds", "never-a-value"]),
        ("allow get: if request.time < 5;", ["never-holds", "never-a-value"]),
        ("allow get: if request.auth.uid.size() > 'x';", ["never-holds", "never-a-value"]),
        ("allow get: if request.resource.data.a == 1;", ["never-holds", "never-a-value"]),
        ("allow get: if request.auth.uid.startsWith('a');", ["never-holds", "never-a-value"]),
        ("allow get: if resource.data.keys().hasAll('a');", ["never-holds", "never-a-value"]),
        ("allow get: if request.auth.uid == 5;", ["never-holds", "unlike-types"]),
        ("allow get: if request.path == 'x' || request.auth.uid == id;", ["unlike-types"]),
        ("allow get: if request.auth != null && request.auth == null;", ["never-holds"]),
        ("allow get: if false;", []),
        ("allow get: if resource.data.a.b.c(1)[0] == 3;", ["never-holds", "never-a-value"]),
    ],
)
def test_finds(statements: str, found: list[str]) -> None:
    assert sorted(of(statements)) == sorted(found)


def test_a_function_is_blamed_once_and_only_if_it_never_works() -> None:
    functions = "function old(data) { return data.a > 1; }"
    both = "allow update: if old(resource.data) && old(request.resource.data);"
    assert of(both, functions) == []
    strings = "function big(x) { return x.size() > 'a'; }"
    uses = "allow get: if big('a') || id == 'b'; allow delete: if big('b') || id == 'b';"
    assert of(uses, strings) == ["never-a-value"]


def test_reading_everything() -> None:
    rules = "match /{all=**} { allow get: if request.auth != null; }"
    assert codes(wrapped(rules)) == ["reads-everything"]


def test_objects() -> None:
    def objects(statement: str) -> list[str]:
        return codes(
            "rules_version = '2'; service firebase.storage { match /b/{bucket}/o {"
            f" match /u/{{id}}/{{name=**}} {{ {statement} }} }} }}"
        )

    assert objects("allow read: if request.auth.uid == id;") == []
    assert objects(f"allow write: if {OWNER};") == ["unvalidated-write"]
    assert objects(f"allow write: if {OWNER} && request.resource.size < 5000;") == []
    assert objects("allow read;") == ["open-to-all"]


def test_a_file_with_errors_has_no_findings() -> None:
    assert lint("service {") == []


def test_what_is_too_large_to_be_judged_is_left_alone() -> None:
    functions = "function f0(x) { return x == 1; }"
    for n in range(1, 12):
        functions += f"function f{n}(x) {{ return f{n - 1}(x) || f{n - 1}(x); }}"
    assert of("allow get: if f11(id) && 'a' < 1;", functions) == []


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions)
def test_what_can_never_hold_never_does(condition: str) -> None:
    """Held against each of the documents of the soundness test, and one that there is not."""
    rules = wrapped(f"match /things/{{id}} {{ {FUNCTIONS} allow get: if {condition}; }}")
    if "never-holds" not in [one.code for one in lint(rules)]:
        return
    made = Ruleset.parse(rules)
    for stored in [None, *DOCUMENTS[::3]]:
        path = ("things", "ada") if stored is None else stored.path
        for auth in (ADA, None):
            request = Request("get", path, auth, NOW, stored)
            assert not made.decide(request, ROLES).allowed
