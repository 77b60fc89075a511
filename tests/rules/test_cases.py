"""Tests of rules: the YAML format, how failures are told, JUnit, coverage."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from baas_rules import (
    CaseResult,
    LatLng,
    Ruleset,
    TestFileError,
    Timestamp,
    junit,
    parse_cases,
    run_cases,
)
from baas_rules import Path as RulesPath
from baas_rules.__main__ import main
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.rules.worlds import ruleset

RULES = """
  function mine(data) { return data.owner == request.auth.uid; }
  match /notes/{id} {
    allow get: if mine(resource.data) || resource.data.public;
    allow list: if mine(resource.data);
    allow create: if mine(request.resource.data)
      && existsAfter(/databases/$(database)/documents/logs/$(id))
      && request.resource.data.at == request.time;
    allow update: if mine(resource.data) && request.resource.data.inner.n == 2
      && request.resource.data.inner.kept == true;
    allow delete: if getAfter(/databases/$(database)/documents/notes/$(id)) == null
      && mine(resource.data);
  }
  match /logs/{id} { allow create; }
  match /{path=**}/parts/{id} { allow list: if resource.data.state in ['a', 'b']; }
"""
HEAD = """
documents:
  notes/n: {owner: ada, inner: {n: 1, kept: true}}
callers:
  ada: {uid: ada}
  eve: {uid: eve}
tests:
"""


def results(tests: str, rules: str = RULES) -> list[CaseResult]:
    return run_cases(ruleset(rules), parse_cases(HEAD + tests).cases)


@pytest.mark.parametrize(
    ("test", "allowed"),
    [
        ("{as: ada, get: notes/n}", True),
        ("{as: eve, get: notes/n}", False),
        ("{get: notes/n}", False),
        ("{as: null, get: notes/n}", False),
        ("{as: {uid: ada, token: {a: 1}}, get: notes/n}", True),
        ("{get: notes/n, documents: {notes/n: {owner: x, public: true}}}", True),
        ("{as: ada, get: notes/n, documents: {notes/n: null}}", False),
        ("{as: ada, list: notes, where: [[owner, ==, ada]]}", True),
        ("{as: ada, list: notes}", False),
        ("{as: ada, list: notes, where: [{or: [[owner, ==, ada], [owner, ==, eve]]}]}", False),
        ("{as: ada, list: notes, where: [[owner, ==, ada]], order_by: [[at, desc]]}", True),
        ("{list: parts, group: true, where: [[state, in, [a, b]]]}", True),
        ("{list: parts, group: true, where: [[state, in, [a, c]]]}", False),
        ("{list: parts, group: true}", False),
        (
            "{as: ada, batch: [{create: notes/m, data: {owner: ada, at: {$server_time: 1}}},"
            " {create: logs/m, data: {}}]}",
            True,
        ),
        ("{as: ada, create: notes/m, data: {owner: ada, at: {$server_time: 1}}}", False),
        ("{as: ada, update: notes/n, merge: {inner.n: 2}}", True),
        ("{as: ada, set: notes/n, data: {inner: {n: 2, kept: true}}}", True),
        ("{as: ada, update: notes/n, data: {inner: {n: 2}}}", False),
        ("{as: ada, delete: notes/n}", True),
        ("{as: eve, delete: notes/n}", False),
        ("{set: logs/x, data: {}}", True),
    ],
)
def test_tests(test: str, allowed: bool) -> None:
    for expected in ("allow", "deny"):
        (result,) = results(f"  - {{expect: {expected}, {test[1:]}")
        assert result.passed is (allowed == (expected == "allow")), result.failure


def test_a_failure_says_what_was_expected_and_why_it_came_otherwise() -> None:
    (denied,) = results("  - {name: hers, as: eve, get: notes/n, expect: allow}")
    assert denied.failure.splitlines()[:2] == [
        "expected allow for eve",
        "get of /notes/n is denied",
    ]
    assert "the map has no key `public`" in denied.failure
    (allowed,) = results("  - {as: ada, get: notes/n, expect: deny}")
    assert allowed.case.name == "get notes/n"
    assert "granted by allow get (line 7) of match /databases/{database}/documents/notes/{id}" in (
        allowed.failure
    )


VALUES: dict[str, Any] = {
    "{$timestamp: 2020-01-02T03:04:05Z}": Timestamp.from_nanos(1577934245 * 10**9),
    "2020-01-02T03:04:05Z": Timestamp.from_nanos(1577934245 * 10**9),
    "2020-01-02": Timestamp.from_nanos(1577923200 * 10**9),
    "{$bytes: aGk=}": b"hi",
    "{$ref: users/ada}": RulesPath(("databases", "(default)", "documents", "users", "ada")),
    "{$geo: [1, 2.5]}": LatLng(1.0, 2.5),
    "{$double: 3}": 3.0,
    "{$int: '5'}": 5,
    "{$$x: 1}": {"$x": 1},
    "[1, 1.5, a, true, null]": [1, 1.5, "a", True, None],
    "{a: {b: {}}}": {"a": {"b": {}}},
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text: str) -> None:
    source = f"tests:\n  - {{create: a/b, data: {{v: {text}}}, expect: deny}}"
    (case,) = parse_cases(source).cases
    assert case.accesses[0].data is not None
    found = case.accesses[0].data["v"]
    assert found == VALUES[text]
    assert found.__class__ is VALUES[text].__class__


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty"),
        ("a: [", "line 1: this is not YAML"),
        ("a\x00b", "line 1: this is not YAML"),
        ("[]", "line 1: a file of tests is a mapping"),
        ("tests: []", "there are no `tests`"),
        ("nope: 1", "line 1: unknown key `nope`"),
        ("time: soon\ntests: []", "a time is such as"),
        ("service: x", "a service is firestore or storage"),
        ("documents: {a: {}}", "`a` is not the path of a document"),
        ("documents: {a/b: 1}", "a document is a map"),
        ("documents: {a/b: {x: {$no: 1}}}", "unknown tag `$no`"),
        ("documents: {a/b: {x: {$geo: 1}}}", "this is no value for $geo"),
        ("documents: {a/b: {x: 99999999999999999999}}", "does not fit 64 bits"),
        ("documents: {a/b: {x: 1, x: 2}}", "`x` is given twice"),
        ("objects: {a: {}}", "the path of an object is bucket/name"),
        ("callers: {a: {}}", "a caller is {uid: …, token: {…}}"),
        ("tests: [{}]", "a test says `expect: allow`"),
        ("tests: [{expect: maybe}]", "`expect` is allow or deny"),
        ("tests: [{expect: deny}]", "one of get, list, create"),
        ("tests: [{expect: deny, get: a/b, list: a}]", "one of get, list, create"),
        ("tests: [{expect: deny, get: a}]", "`a` is the path of a collection"),
        ("tests: [{expect: deny, get: a//b}]", "`a//b` is no path"),
        ("tests: [{expect: deny, list: a/b}]", "`a/b` is the path of a document"),
        ("tests: [{expect: deny, get: a/b, as: x}]", "`callers` has no `x`"),
        ("tests: [{expect: deny, get: a/b, data: {}}]", "`data` does not go with `get`"),
        ("tests: [{expect: deny, create: a/b}]", "`create` needs `data`"),
        ("tests: [{expect: deny, create: a/b, data: 1}]", "`data` is a map"),
        ("tests: [{expect: deny, update: a/b}]", "`update` needs `data` or `merge`"),
        ("tests: [{expect: deny, list: a, limit: x}]", "`limit` is a whole number"),
        ("tests: [{expect: deny, list: a, limit: -1}]", "`limit` is a whole number"),
        ("tests: [{expect: deny, list: a, group: 1}]", "`group` is true or false"),
        ("tests: [{expect: deny, list: a, where: [[a]]}]", "a filter is [field, operator"),
        ("tests: [{expect: deny, list: a, where: [[a, like, b]]}]", "unknown operator `like`"),
        ("tests: [{expect: deny, list: a, where: [{not: []}]}]", "a filter is [field"),
        ("tests: [{expect: deny, list: a, order_by: [[a, up]]}]", "an order is [field]"),
        ("tests: [{expect: deny, batch: []}]", "the batch is empty"),
        ("tests: [{expect: deny, batch: [{get: a/b}]}]", "a batch has writes only"),
        ("tests: [{expect: deny, batch: [{delete: a/b}], get: a/b}]", "does not go with `batch`"),
        ("x: " + "[" * 60 + "]" * 60, "nested too deep"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(TestFileError) as caught:
        parse_cases(text)
    assert message in str(caught.value)


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(TestFileError, match="too large"):
        parse_cases("\n".join(lines))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("{update: notes/zz, merge: {a: 1}, expect: deny}", "`notes/zz` does not exist"),
        ("{create: notes/n, data: {}, expect: deny}", "`notes/n` exists"),
    ],
)
def test_what_cannot_be_written_is_an_error_of_the_test(test: str, message: str) -> None:
    with pytest.raises(TestFileError, match=message):
        results(f"  - {test}")


@settings(max_examples=examples(150))
@given(st.text(alphabet="tesf:{}[]-,&*! \n'\"|>$_aeglx/=0123456789", max_size=80))
def test_any_text_is_tests_or_an_error_with_a_line(text: str) -> None:
    for source in (text, f"tests:\n  - {text}", f"tests: [{{expect: deny, get: a/b, {text}}}]"):
        with suppress(TestFileError):
            assert parse_cases(source).cases


# --- reports -----------------------------------------------------------------------------------


def test_junit() -> None:
    found = results(
        "  - {name: 'good <1>', as: ada, get: notes/n, expect: allow}\n"
        '  - {name: "bad \\x01", get: notes/n, expect: allow}\n'
    )
    suite = ElementTree.fromstring(junit("rules.test.yaml", found))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    good, bad = suite
    assert (good.get("name"), good.get("classname")) == ("good <1>", "rules.test.yaml")
    assert list(good) == []
    assert bad[0].get("message") == "expected allow for nobody"
    assert "is denied" in (bad[0].text or "")


COVERED = """
  match /a/{id} {
    allow get: if resource.data.x == 1 && (resource.data.y == 2 || id == 'z');
    allow list: if resource.data.open == true;
    allow delete: if false;
    allow create;
  }
"""


def covered(tests: str) -> list[str]:
    rules: Ruleset = ruleset(COVERED)
    coverage = rules.coverage()
    run_cases(
        rules, parse_cases(f"documents: {{a/b: {{x: 1, y: 2}}}}\ntests:\n{tests}").cases, coverage
    )
    return list(coverage.lines())


def test_coverage_tells_what_no_test_reached() -> None:
    lines = covered("  - {get: a/b, expect: allow}\n  - {create: a/c, data: {}, expect: allow}")
    assert lines[0].startswith("coverage: 2 of 4 allow statements tried, 2 granted; ")
    assert [line.split(": ", 1)[1] for line in lines[1:]] == [
        "allow list: never tried",
        "allow delete: never tried",
        "never false: resource.data.x == 1 && (resource.data.y == 2 || id == 'z')",
        "never false: resource.data.x == 1",
        "never false: resource.data.y == 2 || id == 'z'",
        "never false: resource.data.y == 2",
        "never evaluated: id == 'z'",
        "never evaluated: resource.data.open == true",
    ]


def test_coverage_of_everything() -> None:
    lines = covered(
        "  - {get: a/b, expect: allow}\n"
        "  - {get: a/z, documents: {a/z: {x: 1, y: 3}}, expect: allow}\n"
        "  - {get: a/c, documents: {a/c: {x: 1, y: 3}}, expect: deny}\n"
        "  - {get: a/c, documents: {a/c: {x: 2}}, expect: deny}\n"
        "  - {create: a/c, data: {}, expect: allow}\n"
        "  - {delete: a/b, expect: deny}\n"
        "  - {list: a, where: [[open, ==, true]], expect: allow}\n"
        "  - {list: a, expect: deny}\n"
    )
    assert lines[0].endswith("expressions evaluated (100 %)")
    assert [line.split(": ", 1)[1] for line in lines[1:]] == ["allow delete: never granted"]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = "rules_version='2'; service cloud.firestore { match /databases/{d}/documents {"
    (tmp_path / "firestore.rules").write_text(rules + " match /a/{b} { allow get; } } }")
    tests = tmp_path / "t.yaml"
    tests.write_text("tests:\n  - {get: a/b, expect: allow}\n")
    assert main(["test", str(tests)]) == 0
    assert "1 passed, 0 failed\ncoverage: 1 of 1" in capsys.readouterr().out
    tests.write_text("tests:\n\n  - {name: closed, get: a/b, expect: deny}\n")
    assert main(["test", str(tests)]) == 1
    assert f"FAIL {tests}:3: closed\n  expected deny for nobody" in capsys.readouterr().out
    tests.write_text("rules: gone\ntests:\n  - {get: a/b, expect: allow}\n")
    assert main(["test", str(tests)]) == 1
    assert "gone: cannot be read" in capsys.readouterr().err
    tests.write_text("tests: 1")
    assert main(["test", str(tests)]) == 1
    assert "`tests` is a list" in capsys.readouterr().out
    assert main(["lint", str(tmp_path / "firestore.rules")]) == 0
    assert "[open-to-all]" in capsys.readouterr().out
