"""Matches that nothing can ever reach, and what version 1 leaves out."""

import pytest
from baas_rules import ListRequest, Ruleset, check

from tests.rules.worlds import ADA, NOW, document, request_for, ruleset, wrapped


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/users", "this path is that of a collection: it matches no document"),
        ("/users/{id}/posts", "this path is that of a collection: it matches no document"),
        ("/users/{id}", None),
        ("/users/{id}/{rest=**}", None),
        ("/{rest=**}", None),
        ("/{path=**}/posts/{id}", None),
    ],
)
def test_paths_of_documents(path: str, message: str | None) -> None:
    found = [one.message for one in check(wrapped(f"match {path} {{ allow read: if false; }}"))]
    assert found == ([message] if message else [])


def test_statements_right_below_the_root_match_nothing() -> None:
    (found,) = check(wrapped("allow read: if false;"))
    assert found.message == "this path matches no document"
    source = "rules_version='2'; service firebase.storage { match /b/{b}/o { allow get; } }"
    assert [one.message for one in check(source)] == ["this path matches no object"]


BELOW = "match /{all=**} { allow get: if false; match /users/{id} { allow get; } }"


def test_version_1_matches_nothing_below_a_recursive_wildcard() -> None:
    messages = [one.message for one in check(wrapped(BELOW, version="1"))]
    assert messages == ["in version 1 nothing is matched below a recursive wildcard"]
    asked = request_for("get", path=("users", "ada"), resource=document("users/ada"))
    assert not ruleset(BELOW, version="1").decide(asked, {}).allowed
    assert ruleset(BELOW, version="2").decide(asked, {}).allowed


@pytest.mark.parametrize(("version", "allowed"), [("1", False), ("2", True)])
def test_collection_groups_need_version_2(version: str, allowed: bool) -> None:
    rules: Ruleset = ruleset("match /{all=**} { allow read: if true; }", version=version)
    request = ListRequest(("posts",), ADA, NOW, group=True)
    assert rules.prove_list(request, {}).allowed is allowed
    told = str(rules.explain_list(request, {}))
    assert ("a collection group needs rules_version '2'" in told) is not allowed
    assert rules.prove_list(ListRequest(("posts",), ADA, NOW), {}).allowed
