"""`python -m baas_rules check FILE…`: every error and warning of rules files, with carets.

`python -m baas_rules lint FILE…`: what leaks, or can never hold.
`python -m baas_rules test FILE…`: runs tests of rules, and tells what they do not reach.
"""

from __future__ import annotations

import sys
from pathlib import Path

from baas_rules.case_runner import run_cases
from baas_rules.cases import parse_cases
from baas_rules.errors import RulesError, RulesSyntaxError, Severity
from baas_rules.ruleset import Ruleset, check, decode_source, lint

_USAGE = "usage: python -m baas_rules check|lint|test FILE…\n"


def main(arguments: list[str]) -> int:
    """The exit status: 0 if every file can be deployed, or every test passes; 1 if not, 2 for
    wrong usage."""
    verbs = {"check": _check_file, "lint": _lint_file, "test": _test_file}
    if len(arguments) < 2 or arguments[0] not in verbs:
        sys.stderr.write(_USAGE)
        return 2
    return max(verbs[arguments[0]](Path(name)) for name in arguments[1:])


def _read(path: Path) -> str | None:
    try:
        return decode_source(path.read_bytes(), name=path.name)
    except OSError as error:
        sys.stderr.write(f"{path}: cannot be read: {error}\n")
    except RulesSyntaxError as error:
        sys.stdout.write(f"{path}: {error}\n")
    return None


def _check_file(path: Path) -> int:
    source = _read(path)
    if source is None:
        return 1
    found = check(source, name=path.name)
    errors = sum(one.severity is Severity.ERROR for one in found)
    for one in found:
        sys.stdout.write(f"{path}: {one}\n\n")
    if errors:
        sys.stdout.write(f"{path}: {errors} {'error' if errors == 1 else 'errors'}\n")
        return 1
    for access in Ruleset.parse(source, name=path.name).open_access():
        until = " at some time" if access.time_bound else ""
        sys.stdout.write(
            f"{path}: open to everybody{until}: {', '.join(access.methods)} of {access.pattern} "
            f"(line {access.line})\n"
        )
    sys.stdout.write(f"{path}: can be deployed\n")
    return 0


def _lint_file(path: Path) -> int:
    source = _read(path)
    if source is None:
        return 1
    for one in lint(source, name=path.name):
        sys.stdout.write(f"{path}: {one}\n\n")
    return 0


def _test_file(path: Path) -> int:
    source = _read(path)
    if source is None:
        return 1
    try:
        file = parse_cases(source)
        rules = path.parent / (file.rules or "firestore.rules")
        text = _read(rules)
        if text is None:
            return 1
        ruleset = Ruleset.parse(text, name=rules.name)
        coverage = ruleset.coverage()
        results = run_cases(ruleset, file.cases, coverage)
    except RulesError as error:
        sys.stdout.write(f"{path}: {error}\n")
        return 1
    failed = [result for result in results if not result.passed]
    for result in failed:
        told = "\n  ".join(result.failure.splitlines())
        sys.stdout.write(f"FAIL {path}:{result.case.line}: {result.case.name}\n  {told}\n\n")
    sys.stdout.write(f"{path}: {len(results) - len(failed)} passed, {len(failed)} failed\n")
    sys.stdout.writelines(f"{line}\n" for line in coverage.lines())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
