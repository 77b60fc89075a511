"""The runner for real files, held to a small world of its own; and the README's example."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.rules.corpus import main

README = Path(__file__).parents[2] / "rules" / "README.md"

DOCUMENTS = """rules_version = '2';
service cloud.firestore { match /databases/{db}/documents {
  match /a/{id} {
    allow get: if exists(/databases/$(db)/documents/b/$(id));
    allow list: if resource.data.n == 1 && request.query.limit <= 5;
    allow create: if request.resource.data.at == request.time
      && request.resource.data.place is latlng && request.resource.data.ref is path
      && request.resource.data.raw == b'x' && math.isNaN(request.resource.data.nan)
      && request.resource.data.list[0] == 1;
    allow update: if existsAfter(/databases/$(db)/documents/b/new);
    allow delete: if request.auth.uid == 'ada';
  }
  match /b/{id} { allow create; }
} }"""
OBJECTS = """rules_version = '2';
service firebase.storage { match /b/{bucket}/o { match /{all=**} {
  allow get: if resource.size == 3 && resource.timeCreated < request.time;
  allow create: if request.resource.contentType == 'text/plain';
} } }"""


def case(**changes: Any) -> dict[str, Any]:
    return {
        "rules": "documents.rules",
        "service": "firestore",
        "seed": {},
        "auth": None,
        "data": None,
        "after": None,
        "query": None,
        "expect": "deny",
        "note": "",
        "time": "2026-01-01T00:00:00.001Z",
        **changes,
    }


CASES = [
    case(method="get", path="a/x", seed={"b/x": {}}, expect="allow"),
    case(method="get", path="a/x"),
    case(method="delete", path="a/x", auth={"uid": "ada", "token": {}}, expect="allow"),
    case(
        method="list",
        path="a",
        query={"where": [["or", [["n", "in", [1]], ["n", "==", 1.0]]]], "limit": 5},
        expect="allow",
    ),
    case(method="list", path="a", query={"where": [], "orderBy": [["n", "desc"]], "limit": 5}),
    case(
        method="create",
        path="a/x",
        after={
            "at": {"__server_time__": True},
            "place": {"__geo__": [1, 2]},
            "ref": {"__ref__": "b/x"},
            "raw": {"__bytes__": "eA=="},
            "nan": {"__float__": "NaN"},
            "list": [1, {"__time__": "2026-01-01T00:00:00.001Z"}],
        },
        expect="allow",
    ),
    case(
        method="commit",
        path=None,
        seed={"a/x": {}},
        writes=[
            {"method": "update", "path": "a/x", "after": {"n": 1}},
            {"method": "create", "path": "b/new", "after": {"n": 1}},
        ],
        expect="allow",
    ),
    case(
        rules="objects.rules",
        service="storage",
        method="get",
        path="f",
        bucket="main",
        objects={"f": {"size": 3, "timeCreated": "2026-01-01T00:00:00.000Z"}},
        expect="allow",
    ),
    case(
        rules="objects.rules",
        service="storage",
        method="create",
        path="g",
        bucket="main",
        objects={},
        data={"size": 3, "contentType": "text/plain"},
        expect="allow",
    ),
]


def write_world(folder: Path, cases: list[dict[str, Any]], **files: str) -> None:
    rows = ["number\trepo\tpath\tcommit\tsha256\tlines\tfeatures\tnote"]
    named = ["rules\trepo\tcommit\tpath\tsha256"]
    for name, text in files.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        rows.append(f"1\to/r\t{name}.rules\tabcdef01\t{digest}\t1\t\t")
        named.append(f"{name}.rules\to/r\tabcdef01\t{name}.rules\t{digest}")
        if name != "absent":
            (folder / f"{name}.txt").write_text(text)
    lists = folder / "cases"
    lists.mkdir()
    (lists / "files.tsv").write_text("\n".join(rows) + "\n")
    (lists / "rules.tsv").write_text("\n".join(named) + "\n")
    (lists / "o+r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in cases))


def test_everything_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_world(tmp_path, CASES, documents=DOCUMENTS, objects=OBJECTS)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "files: 2 parsed, 0 not, 0 of the parsed refused by the checker, 0 absent\n"
        "cases: 9 agreeing, 0 differing, 0 absent\n"
        "files that are not listed: 0, with errors: 0\n"
    )


def test_what_differs_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [{**CASES[0], "expect": "deny"}, {**CASES[1], "expect": "allow"}]
    absent = case(rules="absent.rules", method="get", path="a/x")
    write_world(
        tmp_path,
        [*wrong, absent],
        documents=DOCUMENTS,
        absent="",
        broken="service",
        refused="service cloud.firestore { function f() { return f(); } }",
    )
    assert main([str(tmp_path), str(tmp_path / "cases")]) == 1
    told = capsys.readouterr().out
    assert "expected `" in told or "expected a service's name" in told
    assert "calls itself" in told
    assert "o+r.jsonl:1 expected deny" in told
    assert "o+r.jsonl:2 expected allow" in told
    assert "files: 2 parsed, 1 not, 1 of the parsed refused by the checker, 1 absent" in told
    assert "cases: 0 agreeing, 2 differing, 1 absent" in told


@pytest.mark.parametrize("count", [0, 1, 3])
def test_usage(count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)] * count) == 2
    assert "python -m tests.rules.corpus FILES" in capsys.readouterr().err


def test_the_example_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    exec(found.group(1), {})
    assert "get of /notes/n1 is denied" in capsys.readouterr().out


def test_files_that_no_list_names_are_read_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_world(tmp_path, [], documents=DOCUMENTS)
    (tmp_path / "other.rules").write_text(OBJECTS + "// another", encoding="utf-8")
    (tmp_path / "broken.rules").write_bytes(b"service \xff {")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "broken.rules: the text is not valid Unicode"
    assert told[-1] == "files that are not listed: 2, with errors: 1"
