"""`baas rules test` and `baas rules lint`: what the rules package does, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import baas_rules
import click

from baas.cli.failures import CommandFailed
from baas.cli.options import json_option, read_text
from baas.cli.output import print_json
from baas.projects.rulesets import diagnostic_details


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One file of tests, run."""

    file: Path
    results: Sequence[baas_rules.CaseResult]
    coverage: baas_rules.Coverage

    @property
    def failed(self) -> list[baas_rules.CaseResult]:
        return [result for result in self.results if not result.passed]


@click.command("test")
@click.argument(
    "tests",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    nargs=-1,
    required=True,
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The rules file; by default the one that each file of tests names.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@click.option("--lcov", type=click.Path(path_type=Path), help="Write the coverage as lcov.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the coverage as a page.")
@click.option("--coverage", is_flag=True, help="Tell what no test has reached.")
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    default=0,
    help="Fail below this percentage of statements and sub-expressions evaluated.",
)
@json_option
def run_tests(
    tests: tuple[Path, ...],
    rules: Path | None,
    junit: Path | None,
    lcov: Path | None,
    html: Path | None,
    coverage: bool,
    min_coverage: float,
    as_json: bool,
) -> None:
    """Run tests of rules (YAML). Needs no server. Exit code 1 if one fails."""
    rulesets: _Rulesets = {}
    outcomes = [_run(file, rules, rulesets) for file in tests]
    coverages = [made for _, made in rulesets.values()]
    if junit is not None:
        _write(junit, _junit(outcomes))
    if lcov is not None:
        _write(lcov, baas_rules.lcov(coverages))
    if html is not None:
        _write(html, baas_rules.html(coverages))
    least = min(outcome.coverage.percent() for outcome in outcomes)
    if as_json:
        print_json({"files": [_details(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            _tell(outcome, coverage=coverage)
    if any(outcome.failed for outcome in outcomes):
        raise click.exceptions.Exit(1)
    if least < min_coverage:
        raise CommandFailed(f"coverage is {least:.1f} %, which is below {min_coverage:g} %")


@click.command("lint")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def lint_rules(file: Path, as_json: bool) -> None:
    """Tell what leaks or can never hold in the rules in FILE. Needs no server."""
    source = read_text(file)
    errors = [
        one
        for one in baas_rules.check(source, name=file.name)
        if one.severity is baas_rules.Severity.ERROR
    ]
    if errors:
        raise CommandFailed(f"the rules are not valid: {errors[0]}")
    found = baas_rules.lint(source, name=file.name)
    if as_json:
        print_json({"findings": [diagnostic_details(one) for one in found]})
        return
    for one in found:
        click.echo(f"{file}:{one.line}:{one.column}: [{one.code}] {one.message}\n{one.snippet()}")
        if one.hint:
            click.echo(f"  hint: {one.hint}")
    click.echo(f"{len(found)} finding{'' if len(found) == 1 else 's'}")


# By the path of the rules: several files of tests may be about one, and cover it together.
_Rulesets = dict[Path, tuple[baas_rules.Ruleset, baas_rules.Coverage]]


def _run(file: Path, rules: Path | None, rulesets: _Rulesets) -> _Outcome:
    try:
        parsed = baas_rules.parse_cases(read_text(file))
        path = rules or file.parent / (parsed.rules or "firestore.rules")
        if path not in rulesets:
            made = baas_rules.Ruleset.parse(read_text(path), name=str(path))
            rulesets[path] = made, made.coverage()
        ruleset, coverage = rulesets[path]
        return _Outcome(file, baas_rules.run_cases(ruleset, parsed.cases, coverage), coverage)
    except baas_rules.TestFileError as error:
        raise CommandFailed(f"`{file}`: {error}") from None
    except baas_rules.RulesError as error:
        raise CommandFailed(f"the rules for `{file}` are not valid: {error}") from None


def _tell(outcome: _Outcome, *, coverage: bool) -> None:
    for result in outcome.failed:
        told = "\n  ".join(result.failure.splitlines())
        click.echo(f"FAIL {outcome.file}:{result.case.line}: {result.case.name}\n  {told}\n")
    failed = len(outcome.failed)
    click.echo(f"{outcome.file}: {len(outcome.results) - failed} passed, {failed} failed")
    lines = list(outcome.coverage.lines())
    for line in lines if coverage else lines[:1]:
        click.echo(line)


def _details(outcome: _Outcome) -> dict[str, object]:
    return {
        "file": str(outcome.file),
        "tests": [
            {
                "name": result.case.name,
                "line": result.case.line,
                "passed": result.passed,
                "failure": result.failure or None,
            }
            for result in outcome.results
        ],
        "coverage": {
            "percent": round(outcome.coverage.percent(), 1),
            "gaps": list(outcome.coverage.lines())[1:],
        },
    }


@click.command("fmt")
@click.argument(
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    nargs=-1,
    required=True,
)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a file would change.")
def format_rules(files: tuple[Path, ...], check: bool) -> None:
    """Lay out the rules in FILES (`-`: stdin to stdout): indentation, blanks, empty lines. Lines
    stay where they are broken, comments are kept. Needs no server."""
    would_change = False
    for file in files:
        source = read_text(file)
        try:
            made = baas_rules.format_source(source, name=str(file))
        except baas_rules.RulesSyntaxError as error:
            raise CommandFailed(f"`{file}`: {error}") from None
        if check:
            if made != source:
                would_change = True
                click.echo(f"{file} would change")
        elif str(file) == "-":
            click.echo(made, nl=False)
        elif made != source:
            _write(file, made)
            click.echo(f"{file} changed")
    if would_change:
        raise click.exceptions.Exit(1)


def _junit(outcomes: Sequence[_Outcome]) -> str:
    suites = "".join(baas_rules.junit(str(one.file), one.results) for one in outcomes)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n{suites}</testsuites>\n'


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"`{path}` cannot be written: {error.strerror}") from None
