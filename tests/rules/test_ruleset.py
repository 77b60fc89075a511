"""Decisions: matching, methods, lookups, limits, explanations; and the check of whole files."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from typing import Any

import pytest
from baas_rules import (
    Diagnostic,
    EvaluationError,
    LimitExceeded,
    Lookup,
    Request,
    ResourceDocument,
    RulesCheckError,
    RulesError,
    Ruleset,
    RulesSyntaxError,
    Severity,
    check,
)
from baas_rules.decision import OBJECT_SERVICE
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.worlds import ADA, NOW, document, looked_up, object_request, ruleset, wrapped


def asking(path: str, method: str = "get", **changes: Any) -> Request:
    return replace(Request(method, tuple(path.split("/")), ADA, NOW), **changes)


def allows(rules: Ruleset, path: str, method: str = "get", **changes: Any) -> bool:
    request = asking(path, method, **changes)
    decision = rules.decide(request, {})
    assert not decision.missing
    assert rules.explain(request, {}).allowed == decision.allowed
    return decision.allowed


# --- matching ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/users/{uid}", "users/ada", True),
        ("/users/{uid}", "users/ada/posts/x", False),
        ("/users/{uid}", "posts/ada", False),
        ("/users/ada", "users/ada", True),
        ("/users/ada", "users/bob", False),
        ("/{coll}/{id}", "users/ada", True),
        ("/users/{uid}/posts/{post}", "users/ada/posts/x", True),
        ("/{all=**}", "users/ada", True),
        ("/{all=**}", "users/ada/posts/x", True),
        ("/users/{rest=**}", "users/ada", True),
        ("/users/{rest=**}", "posts/x", False),
        ("/users/{uid}/{rest=**}", "users/ada", True),
        ("/users/{uid}/{rest=**}", "users/ada/posts/x", True),
        ("/{path=**}/posts/{post}", "posts/x", True),
        ("/{path=**}/posts/{post}", "users/ada/posts/x", True),
        ("/{path=**}/posts/{post}", "users/ada/posts/x/likes/y", False),
        ("/{path=**}/posts/{post}", "posts/a/posts/b", True),
        ("/users/{uid}/{rest=**}/likes/{like}", "users/ada/likes/y", True),
        ("/users/{uid}/{rest=**}/likes/{like}", "users/ada/posts/x/likes/y", True),
    ],
)
def test_matching_of_version_2(pattern: str, path: str, matches: bool) -> None:
    assert allows(ruleset(f"match {pattern} {{ allow get; }}"), path) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/users/{rest=**}", "users/ada", True),
        ("/users/{uid}/{rest=**}", "users/ada", False),
        ("/users/{uid}/{rest=**}", "users/ada/posts/x", True),
        ("/{all=**}", "users/ada", True),
    ],
)
def test_matching_of_version_1(pattern: str, path: str, matches: bool) -> None:
    assert allows(ruleset(f"match {pattern} {{ allow get; }}", version="1"), path) is matches


def test_without_a_version_the_file_is_version_1() -> None:
    text = (
        "service cloud.firestore { match /databases/{db}/documents {"
        " match /users/{uid}/{rest=**} { allow get; } } }"
    )
    rules = Ruleset.parse(text)
    assert rules.version == 1
    assert not allows(rules, "users/ada")
    assert any("version 1" in one.message for one in rules.warnings)


def test_wildcards_bind() -> None:
    rules = ruleset(
        "match /users/{uid} { allow get: if uid == request.auth.uid;"
        " match /{sub}/{rest=**} { allow get: if uid == 'ada' && sub == 'posts' && rest[0] == 'x'"
        "   && rest == path('x/likes/y'); } }"
        "match /{before=**}/ends/{id} { allow get: if before == path('a/b') && id == 'z'; }"
    )
    assert allows(rules, "users/ada")
    assert not allows(rules, "users/bob")
    assert allows(rules, "users/ada/posts/x/likes/y")
    assert not allows(rules, "users/ada/posts/z/likes/y")
    assert allows(rules, "a/b/ends/z")
    assert not allows(rules, "ends/z")


def test_an_inner_wildcard_hides_an_outer_one() -> None:
    rules = ruleset(
        "match /a/{x} { function f() { return x; }"
        " match /b/{x} { allow get: if x == 'inner' && f() == 'outer'; } }"
    )
    assert allows(rules, "a/outer/b/inner")


def test_rules_do_not_cascade_and_any_statement_grants() -> None:
    rules = ruleset(
        "match /users/{uid} { allow get: if false; allow get: if 1 / 0 == 1; allow get: if true; }"
        "match /{all=**} { allow get: if false; }"
    )
    assert allows(rules, "users/ada")
    assert not allows(rules, "users/ada/posts/x")


def test_everything_is_denied_by_default() -> None:
    rules = Ruleset.parse("rules_version = '2'; service cloud.firestore { }")
    for method in ("get", "list", "create", "update", "delete"):
        assert not allows(rules, "users/ada", method)


@pytest.mark.parametrize(
    ("named", "granted"),
    [
        ("read", {"get", "list"}),
        ("write", {"create", "update", "delete"}),
        ("get", {"get"}),
        ("list, delete", {"list", "delete"}),
        ("read, write", {"get", "list", "create", "update", "delete"}),
        ("read, get", {"get", "list"}),
    ],
)
def test_methods(named: str, granted: set[str]) -> None:
    rules = ruleset(f"match /users/{{uid}} {{ allow {named}; }}")
    for method in ("get", "list", "create", "update", "delete"):
        assert allows(rules, "users/ada", method) is (method in granted)


def test_methods_and_services_that_there_are_not() -> None:
    rules = ruleset("match /{all=**} { allow read, write; }")
    assert not rules.decide(asking("users/ada", "eat"), {}).allowed
    foreign = asking("users/ada", service=OBJECT_SERVICE)
    assert not rules.decide(foreign, {}).allowed
    assert "these rules are for cloud.firestore" in str(rules.explain(foreign, {}))


def test_a_condition_that_is_no_bool_denies() -> None:
    for condition in ("1", "'true'", "null", "[]"):
        assert not allows(ruleset(f"match /a/{{b}} {{ allow get: if {condition}; }}"), "a/b")


def test_named_databases() -> None:
    rules = Ruleset.parse(
        "rules_version = '2'; service cloud.firestore {"
        " match /databases/(default)/documents/a/{b} { allow get; }"
        " match /databases/{db}/documents/c/{d} { allow get: if db == 'other'; } }"
    )
    assert allows(rules, "a/b")
    assert not allows(rules, "a/b", database="other")
    assert allows(rules, "c/d", database="other")
    assert not allows(rules, "c/d")


def test_a_recursive_wildcard_at_the_root() -> None:
    rules = Ruleset.parse(
        "rules_version = '2'; service cloud.firestore { match /{all=**} {"
        " allow get: if all[0] == 'databases' && all[2] == 'documents' && all[3] == 'a'; } }"
    )
    assert allows(rules, "a/b")
    assert not allows(rules, "b/b")


def test_more_databases_than_are_remembered() -> None:
    rules = ruleset("match /a/{b} { allow get: if database == 'd299'; }")
    for number in range(300):
        assert allows(rules, "a/b", database=f"d{number}") is (number == 299)


def test_objects() -> None:
    rules = Ruleset.parse(
        "rules_version = '2'; service firebase.storage { match /b/{bucket}/o {"
        " match /a/{file} { allow create: if request.resource.size < 5000"
        "   && request.resource.contentType.matches('image/.*') && file == 'b.png';"
        "   allow get: if resource.metadata.k == 'v'; allow list; }"
        " match /{all=**} {"
        "   allow delete: if firestore.exists(/databases/(default)/documents/a/b); }"
        "} }"
    )
    assert rules.services == (OBJECT_SERVICE,)
    assert rules.decide(object_request("create"), {}).allowed
    assert rules.decide(object_request("get"), {}).allowed
    assert rules.decide(object_request("list"), {}).allowed
    assert rules.decide(object_request("delete"), {}).missing == {
        Lookup(("a", "b"), database="(default)")
    }
    assert rules.decide(object_request("delete"), looked_up(document("a/b"))).allowed
    assert not rules.decide(object_request("update"), {}).allowed
    assert "no match statement covers" in str(
        rules.explain(object_request("get", path=("x", "y")), {})
    )


# --- lookups -----------------------------------------------------------------------------------


def role(name: str) -> str:
    return f"exists(/databases/$(database)/documents/roles/{name})"


def missing_of(condition: str, *known: ResourceDocument, missing: tuple[str, ...] = ()) -> set[str]:
    rules = ruleset(f"match /a/{{b}} {{ allow get: if {condition}; }}")
    decision = rules.decide(asking("a/b"), looked_up(*known, missing=missing))
    assert not (decision.missing and decision.allowed)
    return {lookup.path[-1] for lookup in decision.missing}


A = document("roles/a", next="b")


@pytest.mark.parametrize(
    ("condition", "known", "missing"),
    [
        (role("a"), (), {"a"}),
        (role("a"), (A,), set()),
        # Both sides are asked for at once …
        (f"{role('a')} && {role('b')}", (), {"a", "b"}),
        (f"{role('a')} || {role('b')}", (), {"a", "b"}),
        (f"[{role('a')}, {role('b')}].size() == 2", (), {"a"}),
        # … unless something else decides already.
        (f"false && {role('a')}", (), set()),
        (f"{role('a')} && false", (), set()),
        (f"true || {role('a')}", (), set()),
        (f"{role('a')} || true", (), set()),
        (f"1 / 0 == 1 && {role('a')}", (), {"a"}),
        (f"{role('a')} && 1 / 0 == 1", (), {"a"}),
        (f"{role('a')} || 1 / 0 == 1 || {role('b')}", (), {"a", "b"}),
        (f"{role('a')} || {role('b')}", (A,), set()),
        (f"false ? {role('a')} : {role('b')}", (), {"b"}),
        (f"{role('a')} ? {role('b')} : {role('c')}", (), {"a"}),
        (f"{role('a')} ? {role('b')} : {role('c')}", (A,), {"b"}),
        (f"!{role('a')}", (), {"a"}),
        ("exists(/databases/$(database)/documents/roles/$("
         "get(/databases/$(database)/documents/roles/a).data.next))", (), {"a"}),
        ("exists(/databases/$(database)/documents/roles/$("
         "get(/databases/$(database)/documents/roles/a).data.next))", (A,), {"b"}),
    ],
)  # fmt: skip
def test_documents_that_are_needed(
    condition: str, known: tuple[ResourceDocument, ...], missing: set[str]
) -> None:
    assert missing_of(condition, *known) == missing


def test_statements_are_asked_for_their_documents_together() -> None:
    rules = ruleset(
        f"match /a/{{b}} {{ allow get: if {role('a')}; allow get: if {role('b')}; }}"
        "match /{all=**} { allow get: if request.auth == null; }"
    )
    assert rules.decide(asking("a/b"), {}).missing == {
        Lookup(("roles", "a")),
        Lookup(("roles", "b")),
    }
    anonymous = asking("a/b", auth=None)
    assert rules.decide(anonymous, {}).allowed
    assert "it needs /roles/a, /roles/b" in str(rules.explain(asking("a/b"), {}))


def test_after_is_another_document() -> None:
    path = "/databases/$(database)/documents/roles/a"
    rules = ruleset(
        f"match /a/{{b}} {{ allow get: if exists({path}) && !existsAfter({path})"
        f" && get({path}).data.next == 'b'; }}"
    )
    lookups: dict[Lookup, ResourceDocument | None] = {
        Lookup(("roles", "a")): A,
        Lookup(("roles", "a"), after=True): None,
    }
    decision = rules.decide(asking("a/b"), lookups)
    assert decision.allowed
    assert decision.lookups == lookups.keys()


def test_a_denial_says_what_it_rests_on() -> None:
    rules = ruleset(f"match /a/{{b}} {{ allow get: if !{role('a')}; }}")
    decision = rules.decide(asking("a/b"), looked_up(A))
    assert not decision.allowed
    assert decision.lookups == {Lookup(("roles", "a"))}


def test_lookups_are_limited() -> None:
    known = looked_up(*(document(f"roles/{n}") for n in range(12)))
    ten = " && ".join(role(str(n)) for n in range(10))
    eleven = " && ".join(role(str(n)) for n in range(11))
    repeated = f"{ten} && {ten}"
    for condition, allowed in ((ten, True), (repeated, True), (eleven, False)):
        rules = ruleset(f"match /a/{{b}} {{ allow get: if {condition}; }}")
        assert rules.decide(asking("a/b"), known).allowed is allowed
    # The limit denies even where `||` would absorb an error, and later statements with it.
    rules = ruleset(
        f"match /a/{{b}} {{ allow get: if !({eleven}) || true; allow get: if {role('0')}; }}"
    )
    assert not rules.decide(asking("a/b"), known).allowed
    assert "more than 10 documents are looked up" in str(rules.explain(asking("a/b"), known))


def test_no_more_is_asked_for_than_can_be_used() -> None:
    everything = " || ".join(role(f"r{n:02}") for n in range(30))
    assert missing_of(everything) == {f"r{n:02}" for n in range(10)}


def test_objects_look_up_two_documents() -> None:
    def exists(name: str) -> str:
        return f"firestore.exists(/databases/(default)/documents/roles/{name})"

    known = looked_up(*(document(f"roles/{name}") for name in "abc"))
    for names, allowed in (("abab", True), ("abc", False)):
        condition = " && ".join(map(exists, names))
        rules = Ruleset.parse(
            "rules_version = '2'; service firebase.storage {"
            f" match /{{all=**}} {{ allow get: if {condition}; }} }}"
        )
        assert rules.decide(object_request("get"), known).allowed is allowed


# --- limits of evaluation ----------------------------------------------------------------------


def test_expressions_are_limited() -> None:
    """Each function calls the one before it twice, so ten of them are too much; eight are not."""

    def doubling(count: int) -> Ruleset:
        functions = "function f0(x) { return x == 1; }" + "".join(
            f"function f{n}(x) {{ return f{n - 1}(x) && f{n - 1}(x); }}" for n in range(1, count)
        )
        return ruleset(
            f"match /a/{{b}} {{ {functions} allow get: if f{count - 1}(1);"
            f" allow list: if f{count - 1}(1) || true; }}"
        )

    assert allows(doubling(7), "a/b")
    assert not allows(doubling(11), "a/b")
    assert not allows(doubling(18), "a/b", "list")
    explanation = doubling(11).explain(asking("a/b"), {})
    assert "more than 1000 expressions are evaluated" in str(explanation)


def test_expressions_are_counted_only_where_they_may_be_too_many() -> None:
    """A long condition that is cut short is within the limit."""
    long = " && ".join(["request.auth.uid == 'ada'"] * 400)
    rules = ruleset(
        f"match /a/{{b}} {{ allow get: if request.auth != null || {long}; allow get: if {long}; }}"
        "match /c/{d} { allow get; }"
    )
    assert allows(rules, "a/b")
    assert allows(rules, "c/d")
    assert not allows(rules, "a/b", auth=None)


def test_a_statement_without_condition_needs_no_counting() -> None:
    long = " && ".join(["request.auth.uid == 'ada'"] * 400)
    rules = ruleset(
        f"match /a/{{b}} {{ allow get: if false || {long}; }} match /{{c}}/{{d}} {{ allow get; }}"
    )
    assert allows(rules, "a/b", auth=None)


def test_two_recursive_wildcards_count_for_all_their_ways() -> None:
    rules = ruleset(
        "match /{x=**}/a/{b} { match /{y=**} { allow get: if " + "x is path && " * 20 + "false; } }"
    )
    request = asking("/".join(["a", "a"] * 20))
    assert not rules.decide(request, {}).allowed
    assert "more than 1000 expressions" in str(rules.explain(request, {}))


def test_strings_and_lists_do_not_grow_without_bound() -> None:
    doubled = "".join(f"let x{n} = x{n - 1} + x{n - 1};" for n in range(1, 9))
    functions = f"function grow(x0) {{ {doubled} return x8; }}"
    rules = ruleset(
        f"match /a/{{b}} {{ {functions} allow get: if grow(grow(grow('x'))) != '';"
        " allow list: if grow(grow('x')).size() == 65536; }"
    )
    assert not allows(rules, "a/b")
    assert "the string is too long" in str(rules.explain(asking("a/b"), {}))
    assert allows(rules, "a/b", "list")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("resource.data.long.replace('x', 'yyyy')", "the string is too long"),
        ("resource.data.long.replace('x(x*)', '\\\\0\\\\1')", "the string is too long"),
        ("resource.data.long.replace('x(y)?', '\\\\1')", "matches more than 5000 times"),
        ("resource.data.long.replace('', 'y')", "matches more than 5000 times"),
        ("resource.data.long.split('')", "matches more than 5000 times"),
        ("resource.data.long.split('x')", "the list is too long"),
        ("[resource.data.long, resource.data.long].join('')", "the string is too long"),
        ("resource.data.list.concat(resource.data.list)", "the list is too long"),
    ],
)
def test_results_of_methods_are_bounded(expression: str, message: str) -> None:
    data = {"long": "x" * (1024 * 1024 - 10), "list": [1] * (200 * 1024)}
    rules = ruleset(f"match /a/{{b}} {{ allow get: if {expression} != null; }}")
    request = asking("a/b", resource=ResourceDocument(("a", "b"), data))
    assert message in str(rules.explain(request, {}))


def test_evaluation_without_stack_denies() -> None:
    """Should a condition be deeper than Python's stack, that is no grant and no crash."""
    rules = ruleset("match /a/{b} { allow get: if " + "!" * 60 + "false || true; }")
    assert allows(rules, "a/b")
    depth = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 45)
    try:
        decision = rules.decide(asking("a/b"), {})
    finally:
        sys.setrecursionlimit(limit)
    assert not decision.allowed


# --- explanations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "message", "under", "values"),
    [
        ("false", "false for 'get' @ L4", "false", ()),
        ("1", "1 is not a bool", "1", ()),
        ("request.auth.uid == 'bob'", "false for 'get' @ L4", "request.auth.uid == 'bob'",
            (("request.auth.uid", "'ada'"),)),
        ("request.auth != null && request.auth.uid == b", "false for 'get' @ L4",
            "request.auth.uid == b", (("request.auth.uid", "'ada'"), ("b", "'b'"))),
        ("request.auth.token.admin == true || b == 'c'", "false for 'get' @ L4",
            "request.auth.token.admin == true || b == 'c'",
            (("request.auth.token.admin == true", "false"), ("request.auth.token.admin", "false"),
             ("b == 'c'", "false"), ("b", "'b'"))),
        ("owns('bob')", "false for 'get' @ L4", "request.auth.uid == who",
            (("request.auth.uid", "'ada'"), ("who", "'bob'"))),
        ("b == 'x' ? true : owns('eve')", "false for 'get' @ L4", "request.auth.uid == who",
            (("request.auth.uid", "'ada'"), ("who", "'eve'"))),
        ("resource.data.x == 1", "evaluation error at L6:", "resource.data",
            ()),
        ("request.resource.data.x == 1", "`request.resource` does not exist for get",
            "request.resource", ()),
        ("true && 1 / 0 == 1", "division by zero", "1 / 0", ()),
        ("!owns('ada')", "false for 'get' @ L4", "!owns('ada')",
            (("owns('ada')", "true"), ("request.auth.uid == who", "true"),
             ("request.auth.uid", "'ada'"), ("who", "'ada'"))),
        ("b in ['x', 'y']", "false for 'get'", "b in ['x', 'y']", (("b", "'b'"),)),
        ("[b].hasAny(['x'])", "false for 'get'", "[b].hasAny(['x'])", (("b", "'b'"),)),
        ("true && 1", "`&&` needs bools, not int", "true && 1", ()),
        ("false || 'a'", "`||` needs bools, not string", "false || 'a'", ()),
        ("get(/databases/$(database)/documents/roles/a).data.next == 'c'", "false for 'get'",
            "get(/databases/$(database)/documents/roles/a).data.next == 'c'",
            (("get(/databases/$(database)/documents/roles/a).data.next", "'b'"),)),
    ],
)  # fmt: skip
def test_explanations(
    condition: str, message: str, under: str, values: tuple[tuple[str, str], ...]
) -> None:
    text = (
        wrapped(
            "match /a/{b} {\n"
            " function owns(who) { return request.auth.uid == who; }\n"
            f" allow get: if {condition};\n}}"
        )
        .replace(" function", "function")
        .replace("L4", "L6")
    )
    rules = Ruleset.parse(text)
    request = asking("a/b")
    (reason,) = rules.explain(request, looked_up(A)).reasons
    assert message.replace("@ L4", "@ L6") in reason.message
    line, carets = reason.snippet().split("\n")
    assert line[carets.index("^") : carets.rindex("^") + 1] == under
    assert reason.values == values


def test_what_is_not_at_hand_is_left_out_of_explanations() -> None:
    absent = "exists(/databases/$(database)/documents/roles/z) && false"
    rules = ruleset(f"match /a/{{b}} {{ allow get: if {absent} || b == 'c'; }}")
    (reason,) = rules.explain(asking("a/b"), {}).reasons
    assert reason.values == ((absent, "false"), ("b == 'c'", "false"), ("b", "'b'"))


def test_an_explanation_in_full() -> None:
    rules = ruleset(
        "match /notes/{id} {\n"
        "  allow read: if request.auth.uid == resource.data.owner;\n"
        "  allow get: if resource.data.public;\n"
        "}"
    )
    request = asking("notes/n", resource=document("notes/n", owner="bob"))
    assert str(rules.explain(request, {})) == (
        "get of /notes/n is denied\n"
        "false for 'get' @ L5\n"
        "5 |   allow read: if request.auth.uid == resource.data.owner;\n"
        "  |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    request.auth.uid is 'ada'\n"
        "    resource.data.owner is 'bob'\n"
        "evaluation error at L6:17 for 'get' @ L6: the map has no key `public`\n"
        "6 |   allow get: if resource.data.public;\n"
        "  |                 ^^^^^^^^^^^^^^^^^^^^\n"
        "    resource.data is {'owner': 'bob'}"
    )


def test_an_explanation_of_what_is_allowed() -> None:
    rules = ruleset("match /notes/{id} { allow read; }")
    explanation = rules.explain(asking("notes/n"), {})
    assert explanation.allowed
    assert str(explanation) == "get of /notes/n is allowed"


def test_explanations_where_nothing_was_asked() -> None:
    rules = ruleset("match /notes/{id} { allow list, create; }")
    (reason,) = rules.explain(asking("notes/n"), {}).reasons
    assert reason.message == ("no allow statement for `/notes/n` names get (only list, create)")
    assert reason.snippet() == ""
    (reason,) = rules.explain(asking("notes/n/parts/p"), {}).reasons
    assert reason.message == "no match statement covers `/notes/n/parts/p`"
    assert reason.hint is not None
    assert "{name=**}" in reason.hint


# --- whole files -------------------------------------------------------------------------------


def found_in(body: str, *, version: str = "2") -> list[Diagnostic]:
    return check(wrapped(body, version=version))


ERRORS = [
    ("match /a { allow reed; }", "unknown method `reed`", "did you mean `read`?"),
    ("match /a { allow xyz; }", "unknown method `xyz`", "methods are read, write, get"),
    ("match /a { allow get: if a is strng; }", "unknown type `strng`", "did you mean `string`?"),
    ("match /a { allow get: if a is set; }", "unknown type `set`", "types are bool"),
    ("match /a { function f() { return 1; } function f(a) { return 1; } }", "declared twice", None),
    ("match /a { function f(a, a) { return 1; } }", "parameter `a` is named twice", None),
    ("match /a { function f(a) { let a = 1; return a; } }", "`a` is already defined", None),
    ("match /{a}/{a} { }", "wildcard `a` is named twice", None),
    ("match /{a=**}/{b=**} { }", "at most one recursive wildcard", None),
    (
        "match /{a=**}/x { match /{b=**}/y { match /{c=**}/z { } } }",
        "at most 2 recursive wildcards",
        None,
    ),
    ("match /" + "/".join(f"{{w{n}}}" for n in range(20)) + " { }", "at most 20 wildcards", None),
    ("match /" + "/".join("a" * 98) + " { }", "at most 100 segments", None),
    ("function f() { return f(); }", "`f` calls itself through `f`", "must not be recursive"),
    (
        "function f() { return g(); } function g() { return 1 + f(); }",
        "calls itself through",
        "must not be recursive",
    ),
    (
        "function f(" + ", ".join(f"p{n}" for n in range(8)) + ") { return 1; }",
        "at most 7 parameters",
        None,
    ),
    (
        "function f() { " + "".join(f"let l{n} = {n};" for n in range(11)) + " return 1; }",
        "at most 10 lets",
        None,
    ),
    (
        "function f0() { return 1; }"
        + "".join(f"function f{n}() {{ return f{n - 1}(); }}" for n in range(1, 22)),
        "calls go more than 20 deep from here",
        None,
    ),
    (
        "function f0(x) { return " + "!" * 60 + "x; }"
        + "".join(f"function f{n}(x) {{ return {'!' * 60}f{n - 1}(x); }}" for n in range(1, 5))
        + "match /a { allow get: if f4(true); }",
        "nested too deep, its calls included",
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message", "hint"), ERRORS)
def test_errors_of_the_checker(body: str, message: str, hint: str | None) -> None:
    errors = [one for one in found_in(body) if one.severity is Severity.ERROR]
    assert errors
    assert any(
        message in one.message and (hint is None or (one.hint is not None and hint in one.hint))
        for one in errors
    ), errors
    with pytest.raises(RulesCheckError):
        Ruleset.parse(wrapped(body))


WARNINGS = [
    ("match /a { allow get: if usr == 1; }", "unknown variable `usr`", None),
    ("match /a/{user} { allow get: if usr == 1; }", "unknown variable `usr`", "mean `user`?"),
    ("match /a { allow get: if f; function f() { return 1; } }", "variable `f`", "call it: f(…)"),
    ("match /a { allow get: if math; }", "unknown variable `math`", "`math` is a namespace"),
    ("match /a { allow get: if exist(/a/b); }", "unknown function `exist`", "mean `exists`?"),
    (
        "match /a { allow get: if f(); } match /b { function f() { return 1; } }",
        "unknown function `f`",
        "does not enclose this place",
    ),
    (
        "match /a { allow get: if f(1); function f() { return 1; } }",
        "takes 0 arguments, not 1",
        None,
    ),
    ("match /a { allow get: if get(); }", "`get` takes 1 argument, not 0", None),
    ("match /a { allow get: if int(1, 2) == 1; }", "`int` takes 1 argument, not 2", None),
    ("match /a { allow get: if 'a'.hasAl(1); }", "has a method `hasAl`", "did you mean `hasAll`?"),
    ("match /a { allow get: if 'a'.size(1) == 1; }", "`size` takes 0 arguments, not 1", None),
    ("match /a { allow get: if math.flor(1) == 1; }", "no function `flor`", "mean `floor`?"),
    ("match /a { allow get: if latlng.xyz(1) == 1; }", "no function `xyz`", "it has value"),
    ("match /a { allow get: if math.abs() == 1; }", "`math.abs` takes 1 argument, not 0", None),
    ("match /a { allow get: if request.app != null; }", "no member `app`", "it has auth"),
    ("match /a { allow get: if request.authh != null; }", "no member `authh`", "mean `auth`?"),
    ("match /a { allow get: if 'a'.matches('('); }", "not an RE2 regular expression", None),
    ("match /a { allow get: if 'a'.replace(1, 'b') == ''; }", "takes a string", None),
    ("match /a { allow get: if debug(true); }", "`debug` is refused by Firebase", None),
    ("match /a { allow get: if request.resource.data.a == 1; }", "does not exist for reads", None),
    ("match /a { function f() { return 1; } }", "function `f` is never used", None),
    (
        "match /a { allow get: if f(); function f() { let a = 1; return true; } }",
        "never used",
        None,
    ),
    (
        "match /a { allow get: if get(1); function get(a) { return a; } }",
        "hides the built-in",
        None,
    ),
    ("match /{a} { match /{a} { } }", "wildcard `a` hides an outer one", None),
    ("match /{request} { }", "wildcard `request` hides the built-in", None),
]


@pytest.mark.parametrize(("body", "message", "hint"), WARNINGS)
def test_warnings_of_the_checker(body: str, message: str, hint: str | None) -> None:
    found = found_in(body)
    assert not [one for one in found if one.severity is Severity.ERROR]
    assert any(
        message in one.message and (hint is None or (one.hint is not None and hint in one.hint))
        for one in found
    ), found
    assert Ruleset.parse(wrapped(body)).warnings


@pytest.mark.parametrize(
    "body",
    [
        "match /a/{b} { allow get: if f(b); function f(x) { let y = x; return y == b; } }",
        "match /a/{b} { allow write: if request.resource.data.a == 1; }",
        "match /a/{b} { allow get: if math.abs(1) == 1 && request.path == /a/b; }",
        "match /a/{math} { allow get: if math.size() == 1; }",
        "match /a/{b} { allow get: if f(1); function f(request) { return request.x; } }",
        "match /a/{b} { allow get: if f() && g(); } function f() { return g(); }"
        "function g() { return true; }",
        "match /a/{b}/{c=**} { allow get; match /d/{e=**} { allow get; } }",
    ],
)
def test_nothing_to_say(body: str) -> None:
    assert found_in(body) == []


def test_checks_that_are_of_one_service() -> None:
    def messages(service: str, body: str) -> list[str]:
        text = f"rules_version = '2'; service {service} {{ {body} }}"
        return [f"{one.message} | {one.hint}" for one in check(text)]

    (found,) = messages("cloud.firestor", "")
    assert "unknown service `cloud.firestor` | did you mean `cloud.firestore`?" in found
    (found,) = messages("cloud.firestore", "match /users/{id} { allow get; }")
    assert "this path matches no document | put it into" in found
    (found,) = messages("firebase.storage", "match /users/{id} { allow get; }")
    assert "this path matches no object | put it into" in found
    assert messages("firebase.storage", "match /{all=**} { allow get; }") == []
    body = "match /b/{b}/o/{x} { allow get: if get(/a/b) != null && request.params.x == 1; }"
    (found,) = messages("firebase.storage", body)
    assert "there is no `get` for objects | use `firestore.get(…)`" in found
    body = "match /b/{b}/o/{x} { allow get: if firestore.getAfter(/a/b) != null; }"
    (found,) = messages("firebase.storage", body)
    assert "`firestore` has no function `getAfter` | " in found
    body = "match /databases/{d}/documents/{a}/{b} { allow get: if firestore.get(/a/b) != null; }"
    (found,) = messages("cloud.firestore", body)
    assert "unknown variable `firestore` | `firestore` is a namespace" in found


def test_version_1_allows_recursive_wildcards_at_the_end_only() -> None:
    (error,) = [
        one
        for one in found_in("match /{a=**}/b { allow get; }", version="1")
        if one.severity is Severity.ERROR
    ]
    assert "in version 1 a recursive wildcard comes last" in error.message


def test_limits_are_inclusive() -> None:
    body = (
        "match /x/"
        + "/".join(f"{{w{n}}}" for n in range(19))
        + " { allow get: if f19(1, 2, 3, 4, 5, 6, 7); }"
        "function f19(a, b, c, d, e, f, g) { return f18(); }"
        + "".join(f"function f{n}() {{ return f{n - 1}(); }}" for n in range(1, 19))
        + "function f0() { "
        + "".join(f"let l{n} = {n};" for n in range(10))
        + " return "
        + " + ".join(f"l{n}" for n in range(10))
        + " == 45; }"
    )
    assert found_in(body) == []
    rules = ruleset(body)
    assert allows(rules, "/".join("xabcdefghijklmnopqrs"))


def test_errors_come_first_and_are_limited() -> None:
    body = "match /a/{b} { allow get: if nope == 1; " + "allow reed;" * 100 + "}"
    found = found_in(body)
    assert len(found) == 51
    assert found[0].severity is Severity.ERROR
    assert found[-1].severity is Severity.WARNING


def test_warnings_never_crowd_out_an_error() -> None:
    many = " || ".join(["nope == 1"] * 200)
    with pytest.raises(RulesCheckError):
        Ruleset.parse(wrapped(f"match /a {{ allow get: if {many}; allow reed; }}"))
    many = " + ".join([r"'\.'"] * 70)
    with pytest.raises(RulesSyntaxError):
        Ruleset.parse(wrapped(f"match /a {{ allow get: if {many} == b =; }}"))


def test_a_file_without_a_service_has_errors() -> None:
    assert check("")
    with pytest.raises(RulesSyntaxError):
        Ruleset.parse("")


def test_the_error_tree() -> None:
    for kind in (RulesSyntaxError, RulesCheckError, EvaluationError, LimitExceeded):
        assert issubclass(kind, RulesError)


def test_the_source_is_kept() -> None:
    text = wrapped("match /a { allow get; }")
    assert Ruleset.parse(text).source == text


# --- what is open ------------------------------------------------------------------------------

HEAVY = " || ".join(["get(/databases/$(database)/documents/a/b).data.x == 1"] * 5)
ASKED_METHODS = st.sampled_from(["get", "create", "update", "delete"])
OPEN_PATTERNS = st.sampled_from(
    ["/a/{x}", "/a/x", "/{c}/{x}", "/{all=**}", "/a/{x}/b/{y}", "/a/{rest=**}", "/a/{x}/b/x"]
)
OPEN_CONDITIONS = st.sampled_from(
    ["", ": if true", ": if false", ": if request.auth == null", ": if 1", f": if {HEAVY}"]
)


@given(
    version=st.sampled_from(["1", "2"]),
    matches=st.lists(
        st.tuples(OPEN_PATTERNS, st.sampled_from(["get", "write", "create"]), OPEN_CONDITIONS),
        max_size=4,
    ),
    asked=st.lists(
        st.tuples(st.sampled_from(["a/x", "a/y", "b/x", "a/x/b/x", "a/y/b/z"]), ASKED_METHODS),
        min_size=1,
        max_size=12,
    ),
)
def test_what_is_open_is_allowed_to_anybody(
    version: str, matches: list[tuple[str, str, str]], asked: list[tuple[str, str]]
) -> None:
    allowed = "".join(
        f"match {pattern} {{ allow {method}{condition}; }}\n"
        for pattern, method, condition in matches
    )
    rules = ruleset(allowed, version=version)
    for path, method in asked:
        if rules.is_open(method, "(default)", tuple(path.split("/"))):
            assert rules.decide(asking(path, method, auth=None), {}).allowed


def test_what_is_open_is_found() -> None:
    rules = ruleset(
        "match /a/{x} { allow create; allow get: if true; allow update: if request.auth != null; }"
    )
    path = ("a", "x")
    assert rules.is_open("create", "(default)", path)
    assert rules.is_open("get", "other", path)
    assert not rules.is_open("update", "(default)", path)
    assert not rules.is_open("delete", "(default)", path)
    assert not rules.is_open("create", "(default)", ("b", "x"))
    assert not rules.is_open("create", "(default)", ("a",))


def test_what_is_allowed_plainly_is_allowed() -> None:
    rules = ruleset(
        "match /a/{x} { allow create: if x == 'mine' && request.resource.data.n > 0;"
        " allow update: if resource.data.n == 1"
        " && get(/databases/$(database)/documents/b/x) != null;"
        " allow update: if resource.data.n == 2; }"
        "match /{path=**}/deep/{x} { allow delete: if request.auth.uid == x; }"
    )

    def allows(
        method: str, path: str, old: dict[str, Any] | None = None, new: dict[str, Any] | None = None
    ) -> bool:
        segments = tuple(path.split("/"))
        return rules.allows_plainly(asking("z/z", method))(
            segments,
            None if old is None else ResourceDocument(segments, old),
            None if new is None else ResourceDocument(segments, new),
        )

    assert allows("create", "a/mine", new={"n": 1})
    assert not allows("create", "a/mine", new={"n": 0})
    assert not allows("create", "a/mine", new={"n": "1"})
    assert not allows("create", "a/mine", new={})
    assert not allows("create", "a/other", new={"n": 1})
    assert not allows("create", "c/mine", new={"n": 1})
    assert not allows("update", "a/mine", {"n": 1}, {"n": 1}), "looks at another document"
    assert allows("update", "a/mine", {"n": 2}, {"n": 1})
    assert allows("delete", "q/1/deep/ada", {})
    assert not allows("delete", "q/1/deep/bob", {})
    assert not allows("get", "a/mine", {"n": 2})


def test_what_is_allowed_plainly_is_told_of_each_document_alone() -> None:
    rules = ruleset("match /a/{x} { allow update: if request.resource.data.n == resource.data.n; }")
    allows = rules.allows_plainly(asking("a/0", "update"))
    one, two = ResourceDocument(("a", "x"), {"n": 1}), ResourceDocument(("a", "x"), {"n": 2})
    for old, new in ((one, one), (one, two), (two, two), (None, two), (two, None), (two, two)):
        assert allows(("a", "x"), old, new) is (old is new)


def test_heavy_rules_are_counted_plainly_too() -> None:
    condition = " && ".join(["request.resource.data.n == 1"] * 600)
    rules = ruleset(f"match /a/{{x}} {{ allow create: if {condition}; allow create; }}")
    request = asking("a/x", "create")
    new = ResourceDocument(("a", "x"), {"n": 1})
    decided = rules.decide(replace(request, new_resource=new), {}).allowed
    assert rules.allows_plainly(request)(("a", "x"), None, new) is decided
