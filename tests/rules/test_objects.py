"""Rules of objects: one file for both services, listings, and documents of any database."""

from typing import Any

import pytest
from baas_rules import (
    Auth,
    Lookup,
    ObjectListRequest,
    Request,
    ResourceDocument,
    Ruleset,
    check,
)
from baas_rules.decision import DOCUMENT_SERVICE, OBJECT_SERVICE

from tests.rules.worlds import ADA, NOW, object_request, request_for

BOTH = """rules_version = '2';
function signedIn() { return request.auth != null; }
function isAda(uid) { return uid == 'ada'; }
service cloud.firestore {
  match /databases/{database}/documents {
    match /users/{uid} { allow read: if signedIn() && isAda(uid); }
  }
}
service firebase.storage {
  function mine(uid) { return signedIn() && request.auth.uid == uid; }
  match /b/{bucket}/o {
    match /users/{uid}/{file=**} { allow read: if mine(uid); }
  }
}
"""


def objects(body: str, *, version: str = "2") -> Ruleset:
    return Ruleset.parse(
        f"rules_version = '{version}';\n"
        f"service firebase.storage {{ match /b/{{bucket}}/o {{\n{body}\n}}}}"
    )


def listing(prefix: str, auth: Auth | None = ADA, **params: Any) -> ObjectListRequest:
    return ObjectListRequest("bucket", prefix, auth, NOW, params)


# --- several services --------------------------------------------------------------------------


def test_one_file_holds_the_rules_of_documents_and_of_objects() -> None:
    rules = Ruleset.parse(BOTH)
    assert rules.services == (DOCUMENT_SERVICE, OBJECT_SERVICE)
    assert rules.warnings == ()
    assert rules.decide(request_for("get"), {}).allowed
    asked = object_request("get", path=("b", "bucket", "o", "users", "ada", "x.png"))
    assert rules.decide(asked, {}).allowed
    assert not rules.decide(request_for("get", auth=None), {}).allowed
    assert rules.prove_list(listing("users/ada/"), {}).allowed


def test_what_belongs_to_a_service_without_rules_is_denied_and_told_so() -> None:
    rules = objects("match /{all=**} { allow read; }")
    assert not rules.decide(request_for("get"), {}).allowed
    told = str(rules.explain(request_for("get"), {}))
    assert "these rules are for firebase.storage, not cloud.firestore" in told


def test_a_function_of_the_file_is_judged_by_the_services_that_use_it() -> None:
    shared = BOTH.replace(
        "function isAda(uid) { return uid == 'ada'; }",
        "function isAda(uid) { return exists(/databases/(default)/documents/admins/$(uid)); }",
    )
    assert check(shared) == []
    unused = "function unused() { return get(/databases/(default)/documents/a/b) != null; }\n"
    (found,) = check(BOTH.replace("function signedIn", unused + "function signedIn"))
    assert found.message == "function `unused` is never used"
    wrong = BOTH.replace("return signedIn() && request.auth.uid", "return isAda(uid, 1)")
    assert [one.message for one in check(wrong)] == ["`isAda` takes 1 argument, not 2"]


def test_open_access_tells_of_every_service() -> None:
    opened = BOTH.replace("if mine(uid)", "if true").replace("signedIn() && isAda(uid)", "true")
    patterns = [one.pattern for one in Ruleset.parse(opened).open_access()]
    assert patterns == [
        "/databases/{database}/documents/users/{uid}",
        "/b/{bucket}/o/users/{uid}/{file=**}",
    ]


# --- listings ----------------------------------------------------------------------------------

LISTINGS = [
    # rules, prefix, whether it is allowed
    ("match /{all=**} { allow list; }", "", True),
    ("match /{all=**} { allow list; }", "a/b", True),
    ("match /{all=**} { allow get; }", "", False),
    ("match /a/{all=**} { allow list; }", "a/", True),
    ("match /a/{all=**} { allow list; }", "a/b/c", True),
    ("match /a/{all=**} { allow list; }", "a", False),  # also `ab/secret`
    ("match /a/{all=**} { allow list; }", "", False),
    ("match /a/{file} { allow list; }", "a/", False),  # also `a/b/secret`
    ("match /a/{dir}/{rest=**} { allow list; }", "a/", True),
    ("match /a/{dir}/{rest=**} { allow list; }", "a/b/", True),
    ("match /u/{uid}/{f=**} { allow list: if uid == request.auth.uid; }", "u/ada/", True),
    ("match /u/{uid}/{f=**} { allow list: if uid == request.auth.uid; }", "u/bob/", False),
    ("match /u/{uid}/{f=**} { allow list: if uid == request.auth.uid; }", "u/ada", False),
    ("match /u/{uid}/{f=**} { allow list: if uid == request.auth.uid; }", "u/", False),
    ("match /{all=**} { allow list: if resource.metadata.owner == 'ada'; }", "", False),
    ("match /{all=**} { allow list: if resource == null; }", "", False),
    ("match /{all=**} { allow list: if resource.bucket == 'bucket'; }", "", True),
    ("match /{all=**} { allow list: if resource.bucket == bucket; }", "", True),
    ("match /{all=**} { allow list: if resource.size >= 0 || true; }", "", True),
    ("match /{all=**} { allow list: if resource.name is string; }", "", True),
    ("match /{all=**} { allow list: if request.resource == null; }", "", False),
    ("match /{all=**} { allow list: if all[0] == 'a'; }", "a/", False),
    ("match /{all=**} { allow list: if request.params.k == 'v'; }", "", True),
    ("match /{all=**} { allow list: if request.params.k == 'w'; }", "", False),
    ("match /{all=**} { allow list: if request.time > timestamp.date(2020, 1, 1); }", "", True),
    ("match /{all=**} { allow list: if request.method == 'list'; }", "", True),
]


@pytest.mark.parametrize(("rules", "prefix", "allowed"), LISTINGS)
def test_listings(rules: str, prefix: str, allowed: bool) -> None:
    made = objects(rules)
    asked = listing(prefix, k="v")
    assert made.prove_list(asked, {}).allowed is allowed
    explanation = made.explain_list(asked, {})
    assert explanation.allowed is allowed
    assert explanation.subject == f"list of objects /{prefix} in bucket bucket"
    assert bool(explanation.reasons) is not allowed


def test_version_1_has_no_listings() -> None:
    made = objects("match /{all=**} { allow read; }", version="1")
    assert not made.prove_list(listing(""), {}).allowed
    assert "needs rules_version '2'" in str(made.explain_list(listing(""), {}))


# --- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["(default)", "other"])
def test_rules_of_objects_look_up_documents_of_any_database(database: str) -> None:
    path = f"/databases/{database}/documents/users/$(request.auth.uid)"
    rules = objects(
        f"match /{{all=**}} {{ allow read: if firestore.get({path}).data.admin"
        f" || firestore.exists({path}); }}"
    )
    lookup = Lookup(("users", "ada"), database=database)
    for admin in (True, False):
        found = {lookup: ResourceDocument(("users", "ada"), {"admin": admin})}
        for decision in (
            rules.decide(object_request("get"), found),
            rules.prove_list(listing(""), found),
        ):
            assert decision.allowed
            assert decision.lookups == {lookup}
    assert rules.decide(object_request("get"), {}).missing == {lookup}
    assert rules.prove_list(listing(""), {}).missing == {lookup}
    assert not rules.decide(object_request("get"), {lookup: None}).allowed


def test_a_proof_looks_documents_up_too() -> None:
    rules = objects(
        "match /{all=**} { allow list: if resource.name is string"
        " && firestore.get(/databases/x/documents/a/b).data.open; }"
    )
    lookup = Lookup(("a", "b"), database="x")
    assert rules.prove_list(listing(""), {}).missing == {lookup}
    for opened in (True, False):
        found = {lookup: ResourceDocument(("a", "b"), {"open": opened})}
        assert rules.prove_list(listing(""), found).allowed is opened


@pytest.mark.parametrize(
    "path", ["/a/b", "/databases/x/documents/a", "/databases/x/other/a/b", "/databases", "'/a/b'"]
)
def test_a_path_that_names_no_document_is_an_error(path: str) -> None:
    rules = objects(f"match /{{all=**}} {{ allow get: if !firestore.exists({path}); }}")
    request: Request = object_request("get")
    assert not rules.decide(request, {}).allowed
    assert "evaluation error" in str(rules.explain(request, {}))
