"""`baas rules test` and `baas rules lint`, on files."""

from pathlib import Path
from xml.etree import ElementTree

from tests.baas.cli.conftest import Command

EXAMPLE = Path(__file__).parents[3] / "docs" / "rules" / "example"
TESTS = EXAMPLE / "rules.test.yaml"


def test_the_example_passes_and_its_coverage_is_told(baas: Command) -> None:
    outcome = baas("rules", "test", str(TESTS), "--coverage")
    assert outcome.code == 0
    assert f"{TESTS}: 12 passed, 0 failed" in outcome.out
    assert "coverage: 6 of 6 allow statements tried, 6 granted" in outcome.out
    assert "never false:" in outcome.out


def test_failures_are_told_and_written_as_junit(baas: Command, tmp_path: Path) -> None:
    tests = tmp_path / "bad.yaml"
    tests.write_text("tests:\n  - {name: closed, get: notes/x, expect: allow}\n")
    report = tmp_path / "report.xml"
    rules = str(EXAMPLE / "firestore.rules")
    outcome = baas(
        "rules", "test", str(tests), str(TESTS), "--rules", rules, "--junit", str(report)
    )
    assert outcome.code == 1
    assert f"FAIL {tests}:2: closed\n  expected allow for nobody" in outcome.out
    suites = ElementTree.fromstring(report.read_text())
    assert [suite.get("failures") for suite in suites] == ["1", "0"]


def test_coverage_can_be_demanded(baas: Command, tmp_path: Path) -> None:
    assert baas("rules", "test", str(TESTS), "--min-coverage", "99").code == 0
    tests = tmp_path / "one.yaml"
    tests.write_text("tests:\n  - {get: notes/x, expect: deny}\n")
    rules = str(EXAMPLE / "firestore.rules")
    outcome = baas("rules", "test", str(tests), "--rules", rules, "--min-coverage", "50")
    assert outcome.code == 1
    assert "which is below 50 %" in outcome.err


def test_json(baas: Command) -> None:
    (file,) = baas("rules", "test", str(TESTS), "--json").json["files"]
    assert all(test["passed"] and test["failure"] is None for test in file["tests"])
    assert file["coverage"]["percent"] > 80


def test_what_cannot_be_run_is_told_without_a_traceback(baas: Command, tmp_path: Path) -> None:
    tests = tmp_path / "t.yaml"
    for text, message in (
        ("tests: []", "there are no `tests`"),
        ("tests:\n  - {get: a/b, expect: allow}", "firestore.rules` cannot be read"),
    ):
        tests.write_text(text)
        outcome = baas("rules", "test", str(tests))
        assert outcome.code == 1
        assert message in outcome.err
    (tmp_path / "firestore.rules").write_text("service {")
    assert "are not valid: " in baas("rules", "test", str(tests)).err
    assert "are not valid: " in baas("rules", "lint", str(tmp_path / "firestore.rules")).err


def test_lint(baas: Command, tmp_path: Path) -> None:
    assert "0 findings" in baas("rules", "lint", str(EXAMPLE / "firestore.rules")).out
    rules = tmp_path / "open.rules"
    rules.write_text(
        "rules_version = '2'; service cloud.firestore {"
        " match /databases/{d}/documents/a/{b} { allow get; } }"
    )
    outcome = baas("rules", "lint", str(rules))
    assert outcome.code == 0
    assert "[open-to-all] anybody, signed in or not, may get" in outcome.out
    assert baas("rules", "lint", str(rules), "--json").json["findings"][0]["code"] == "open-to-all"


def test_coverage_is_written_as_lcov_and_as_a_page(baas: Command, tmp_path: Path) -> None:
    rules = str(EXAMPLE / "firestore.rules")
    tests = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    tests[0].write_text("tests: [{get: notes/x, expect: deny}]")
    tests[1].write_text("tests: [{list: notes, expect: deny}]")
    told, page = tmp_path / "lcov.info", tmp_path / "coverage.html"
    outcome = baas(
        *("rules", "test", *map(str, tests), "--rules", rules),
        *("--lcov", str(told), "--html", str(page)),
    )
    assert outcome.code == 0
    assert told.read_text().count(f"SF:{rules}\n") == 1  # both files of tests count together
    assert page.read_text().count("<h2>") == 1
    missing = str(tmp_path / "none" / "lcov.info")
    refused = baas("rules", "test", str(tests[0]), "--rules", rules, "--lcov", missing)
    assert "cannot be written" in refused.err


def test_rules_are_laid_out(baas: Command, tmp_path: Path) -> None:
    file = tmp_path / "firestore.rules"
    file.write_text("service cloud.firestore{match /a/{b}{ allow read; }}\n")
    assert baas("rules", "fmt", "--check", str(file)).code == 1
    assert baas("rules", "fmt", str(file)).out == f"{file} changed\n"
    laid_out = "service cloud.firestore { match /a/{b} { allow read; } }\n"
    assert file.read_text() == laid_out
    assert baas("rules", "fmt", "--check", str(file)).code == 0
    assert baas("rules", "fmt", "-", stdin=b"service cloud.firestore{ }").out.startswith("service")
    file.write_text("service {")
    assert "expected" in baas("rules", "fmt", str(file)).err
