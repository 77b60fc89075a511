"""Tests of rules, run by the server for the console: the YAML of `baas rules test`, against a draft
or the rules in force. Nothing that is stored is read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import baas_rules
from baas_rules import Case, CaseResult, Coverage, Ruleset

from baas.clock import Clock
from baas.errors import InvalidArgument
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.rules_drafts import in_thread, open_rules

FAILURE_CHARACTERS_MAX = 8_000  # of one failure; explanations of deep conditions are long


@dataclass(frozen=True, slots=True)
class TestRun:
    """`release` None: of a draft. `not_run` tests were left when the time was over."""

    __test__ = False  # for pytest

    release: str | None
    results: Sequence[CaseResult]
    not_run: int
    coverage: Coverage


async def run_rules_tests(
    context: Context, caller: Caller, project: str, tests: str, source: object | None
) -> TestRun:
    """Runs tests in order, at most `rules_tests_seconds_max` long. Raises RulesetRejected,
    InvalidArgument (`RulesTestsInvalid`: the file is not as it should be, `details["line"]`;
    `RulesTestsTooLarge`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    limits = context.settings.limits
    _check_size(tests, limits.rules_tests_bytes_max)
    ruleset, release = await open_rules(context, project, source)
    stopped = threading.Event()
    try:
        results, not_run, coverage = await in_thread(
            lambda: _run(ruleset, tests, context.clock, limits.rules_tests_seconds_max, stopped)
        )
    except baas_rules.TestFileError as error:
        raise InvalidArgument(
            f"the tests cannot be run: {error}",
            reason="RulesTestsInvalid",
            details={"field": "tests", "line": error.line},
        ) from None
    finally:
        stopped.set()  # nobody waits any more
    return TestRun(release, results, not_run, coverage)


def _run(
    ruleset: Ruleset, tests: str, clock: Clock, seconds_max: int, stopped: threading.Event
) -> tuple[list[CaseResult], int, Coverage]:
    until = clock.monotonic_seconds() + seconds_max
    cases = baas_rules.parse_cases(tests).cases
    coverage = ruleset.coverage()
    results: list[CaseResult] = []
    for case in cases:
        if stopped.is_set() or clock.monotonic_seconds() > until:
            break
        results.append(_run_one(ruleset, case, coverage))
    return results, len(cases) - len(results), coverage


def _run_one(ruleset: Ruleset, case: Case, coverage: Coverage) -> CaseResult:
    try:
        (result,) = baas_rules.run_cases(ruleset, [case], coverage)
    except baas_rules.TestFileError as error:
        return CaseResult(case, f"it cannot be run: {error}")
    failure = result.failure
    if len(failure) > FAILURE_CHARACTERS_MAX:
        return replace(result, failure=failure[: FAILURE_CHARACTERS_MAX - 1] + "…")
    return result


def _check_size(tests: str, maximum: int) -> None:
    size = len(tests.encode("utf-8", "replace"))
    if size > maximum:
        raise InvalidArgument(
            f"the tests are at most {maximum} bytes, not {size}",
            reason="RulesTestsTooLarge",
            details={"field": "tests", "rules_tests_bytes_max": maximum},
        )
