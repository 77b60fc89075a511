"""What an explanation tells: statements, steps, lookups, cost; and nothing private if redacted."""

from __future__ import annotations

from baas_rules import FieldConstraint, ListRequest, Lookup, Request, ResourceDocument, Ruleset

from tests.rules.worlds import ADA, NOW, document, looked_up, ruleset

RULES = """
  function role(uid) { return get(/databases/$(database)/documents/roles/$(uid)).data.role; }
  match /notes/{note} {
    allow update: if resource.data.owner == 'secret-owner';
    allow read, update: if role(request.auth.uid) == 'admin'
      && resource.data.count.size() > 3;
    allow update: if request.auth.uid == note || resource.data.salary > 1000;
    allow update;
  }
  match /closed/{id} { allow get: if resource.data.owner == request.auth.uid; allow create; }
"""
ROLES = looked_up(document("roles/ada", role="admin"))


def asking(path: str, method: str = "update") -> Request:
    segments = tuple(path.split("/"))
    stored = ResourceDocument(segments, {"owner": "bob", "count": 3, "salary": 9876543})
    return Request(method, segments, ADA, NOW, stored, stored if method == "update" else None)


def test_an_explanation_tells_each_statement_and_each_step() -> None:
    explanation = ruleset(RULES).explain(asking("notes/ada"), ROLES)
    assert explanation.allowed
    assert explanation.reasons == ()
    assert [(one.outcome, one.line) for one in explanation.attempts] == [
        ("false", 7),
        ("error", 8),
        ("granted", 10),
        ("not tried", 11),
    ]
    first, second, third, _ = explanation.attempts
    assert first.pattern == "/databases/{database}/documents/notes/{note}"
    assert first.captures == (("database", "'(default)'"), ("note", "'ada'"))
    assert first.step is not None
    assert (first.step.text, first.step.value) == ("resource.data.owner == 'secret-owner'", "false")
    assert second.step is not None
    assert second.step.error == "int has no method `size` of 0 arguments"
    call = second.step.children[0].children[0]
    assert (call.text, call.value) == ("role(request.auth.uid)", "'admin'")
    assert third.step is not None
    assert [child.value for child in third.step.children] == ["true"]  # the other was spared
    assert explanation.lookups[0].lookup == Lookup(("roles", "ada"))
    assert explanation.lookups[0].exists
    assert explanation.expressions > 10


def test_a_tree_is_readable() -> None:
    told = ruleset(RULES).explain(asking("notes/ada"), ROLES).tree()
    for line in (
        "update of /notes/ada is allowed",
        "false: allow update (line 7) of match /databases/{database}/documents/notes/{note}"
        " with database = '(default)', note = 'ada'",
        "  resource.data.owner == 'secret-owner' -> false",
        "    resource.data.owner -> 'bob'",
        "looked up /roles/ada: exists",
    ):
        assert line in told.splitlines(), told
    assert told.splitlines()[-1].startswith("cost: ")


def test_a_statement_without_condition_grants() -> None:
    explanation = ruleset(RULES).explain(asking("closed/x", "create"), {})
    assert [one.outcome for one in explanation.attempts] == ["granted"]
    assert explanation.attempts[0].step is None


def test_lists_are_told_step_by_step() -> None:
    rules = ruleset("match /notes/{n} { allow list: if resource.data.owner == request.auth.uid; }")
    request = ListRequest(("notes",), ADA, NOW)
    denied = rules.explain_list(request, {})
    assert [one.outcome for one in denied.attempts] == ["not proved"]
    step = denied.attempts[0].step
    assert step is not None
    assert step.value == "true or false, or an error"
    assert step.children[0].value == "any value of resource.data.owner, or an error"
    where = FieldConstraint(("owner",), "==", "ada")
    allowed = rules.explain_list(ListRequest(("notes",), ADA, NOW, where=where), {})
    assert [one.outcome for one in allowed.attempts] == ["granted"]
    assert allowed.reasons == ()


def everything(rules: Ruleset, request: Request) -> str:
    explanation = rules.explain(request, looked_up(missing=("roles/ada",)), redact=True)
    return explanation.tree()


def test_redacted_explanations_hold_nothing_private() -> None:
    rules = ruleset(RULES.replace("allow update;", "").replace("> 1000", "< 1000"))
    told = everything(rules, asking("notes/private-id"))
    assert "update of /notes/… is denied" in told
    assert "resource.data.owner -> (string)" in told
    assert "null has no member `data`" in told
    for private in ("bob", "9876543", "private-id", "'ada'"):
        assert private not in told
    assert "looked up /roles/…: does not exist" in told
    uncovered = ruleset("match /a/{b} { allow get; }").explain(
        asking("notes/private-id"), {}, redact=True
    )
    assert "private-id" not in str(uncovered)


def test_redacted_errors_keep_what_the_source_says() -> None:
    rules = ruleset("match /notes/{n} { allow update: if resource.data.owner[77] == 'x'; }")
    told = everything(rules, asking("notes/n"))
    assert "index … is out of range: the length is …" in told
