"""The playground on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.baas.cli.conftest import Command

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} {
      allow get: if resource.data.owner == request.auth.uid;
      allow list: if resource.data.owner == request.auth.uid;
      allow create: if request.resource.data.n > 1 && request.auth.token.admin == true;
      allow delete: if request.time < timestamp.date(2026, 1, 1);
    }
  }
}
service firebase.storage {
  match /b/{bucket}/o { match /a/{file} { allow get, create: if request.auth.uid == 'ada'; } }
}
"""


@pytest.fixture
def file(baas: Command, tmp_path: Path) -> str:
    baas("project", "create", "chat")
    made = tmp_path / "draft.rules"
    made.write_text(RULES, encoding="utf-8")
    return str(made)


def test_a_draft_is_asked_without_being_deployed(baas: Command, file: str) -> None:
    line = b'{"path": "notes/n1", "fields": {"owner": "ada", "text": "\\u001b[31m"}}\n'
    assert baas("import", "-", "-p", "chat", stdin=line).code == 0
    told = baas("rules", "try", "get", "notes/n1", "-p", "chat", "--rules", file, "--as", "ada")
    assert (told.code, told.err) == (0, "")
    first, attempt, step, *_, cost = told.out.splitlines()
    assert first == "get of /notes/n1 is allowed"
    assert attempt.startswith("granted: allow get (line 5) of match /databases/{database}")
    assert step == "  resource.data.owner == request.auth.uid -> true"
    assert cost.startswith("cost: ")
    assert "\x1b" not in told.out
    in_force = baas("rules", "try", "get", "notes/n1", "-p", "chat", "--as", "ada")
    assert in_force.code == 1
    assert in_force.out.startswith("get of /notes/n1 is denied\n")


KINDS: list[tuple[tuple[str, ...], int]] = [
    (("get", "notes/x", "--as", "ada", "--before", '{"owner": "ada"}'), 0),
    (("get", "notes/x", "--as", "ada", "--before", "none"), 1),
    (
        ("create", "notes/x", "--as", "a", "--claims", '{"admin": true}', "--after", '{"n": 2}'),
        0,
    ),
    (("create", "notes/x", "--as", "a", "--after", '{"n": 2}'), 1),
    (("delete", "notes/x", "--time", "2025-12-31T23:59:59Z"), 0),
    (("delete", "notes/x", "--time", "2026-01-01T00:00:00Z"), 1),
    (("list", "notes", "--as", "ada"), 1),
    (("list", "notes", "--as", "ada", "--where", "owner", "==", "ada", "--limit", "5"), 0),
    (
        ("list", "notes", "--as", "1", "--where", "owner", "==", '"1"', "--order-by", "n:desc"),
        0,
    ),
    (("get", "a/f", "--bucket", "default", "--as", "ada"), 0),
    (("create", "a/f", "--bucket", "default", "--after", '{"size": 1}'), 1),
]


def test_requests_of_all_kinds(baas: Command, file: str) -> None:
    baas("bucket", "create", "default", "-p", "chat")
    for arguments, code in KINDS:
        told = baas("rules", "try", *arguments, "-p", "chat", "--rules", file, "--json")
        assert told.code == code, (arguments, told)
        assert told.json["allowed"] == (code == 0)


ODD: list[tuple[tuple[str, ...], str]] = [
    (("get", "notes"), "error: `notes`"),
    (("get", "a/b", "--limit", "5"), "--where, --order-by, --limit and --group go with a list"),
    (("list", "a", "--where", "b", "like", "c"), "unknown operator `like`"),
    (("get", "a/b", "--claims", "{}"), "--claims goes with --as or --user"),
    (("get", "a/b", "--as", "x", "--user", "y"), "--as and --user exclude each other"),
    (("create", "a/b", "--after", "{"), "--after is no JSON"),
    (("create", "a/b", "--after", "[]"), "--after is a JSON object"),
    (("get", "a/b", "--with", "delete", "c/d", "none"), "--with goes with create, update, delete"),
    (("delete", "a/b", "--with", "get", "c/d", "none"), "unknown write `get` of --with"),
    (("delete", "a/b", "--with", "create", "c/d", "x"), "--with is no JSON"),
    (("delete", "a/b", "--with", "create", "c/d", "none"), "`create` needs `writes[1].after`"),
    (("get", "a/b", "--user", "nobody"), "there is no user `nobody`"),
]


def test_what_makes_no_sense_is_told(baas: Command, file: str) -> None:
    for arguments, message in ODD:
        told = baas("rules", "try", *arguments, "-p", "chat", "--rules", file)
        assert told.code == 1
        assert message in told.err, arguments
        assert not told.out


ORDERS = """service cloud.firestore { match /databases/{database}/documents {
  match /orders/{item} {
    allow create: if getAfter(/databases/$(database)/documents/items/$(item)).data.left == 4;
  }
  match /items/{item} { allow update: if request.auth.uid == 'ada'; }
} }"""


def test_writes_of_one_commit_are_asked_together(baas: Command, file: str) -> None:
    Path(file).write_text(ORDERS, encoding="utf-8")
    line = b'{"path": "items/i1", "fields": {"left": 5}}\n'
    assert baas("import", "-", "-p", "chat", stdin=line).code == 0
    asked = ("rules", "try", "create", "orders/i1", "--after", "{}", "-p", "chat", "--as", "ada")
    other = ("--with", "update", "items/i1", '{"left": 4}', "--rules", file)
    assert baas(*asked, "--rules", file).code == 1
    told = baas(*asked, *other)
    assert told.code == 0
    first, _, write, *_ = lines = told.out.splitlines()
    assert first == "the commit of 2 writes is allowed: 1 of 20 documents looked up"
    assert write == "create of /orders/i1 is allowed"
    assert "update of /items/i1 is allowed" in lines
    assert "looked up /items/i1 after the write: exists" in lines
    kept = baas(*asked, *other, "--with", "delete", "items/i2", "none", "--json")
    assert (kept.code, [one["allowed"] for one in kept.json["writes"]]) == (1, [True, True, False])
