"""Runs of rules tests end in time, and with those who asked for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from baas_rules import Ruleset

from baas.clock import SystemClock
from baas.errors import PermissionDenied
from baas.services import projects, rules_tests
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.testing import make_settings, started_app

ADMIN = Caller(CallerKind.ADMIN, uid="operator")
RULES = """service cloud.firestore {
  match /databases/{database}/documents { match /a/{id} { allow get: if id == 'b'; } }
}
"""
TESTS = "tests: [{get: a/b, expect: allow}, {get: a/c, expect: deny}, {get: a/d, expect: deny}]"


class SlowClock(SystemClock):
    """A second passes between any two looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic_seconds(self) -> float:
        self.seconds += 1
        return self.seconds


def run(seconds_max: int, *, stopped: bool = False) -> tuple[int, int]:
    event = threading.Event()
    if stopped:
        event.set()
    results, not_run, _ = rules_tests._run(
        Ruleset.parse(RULES), TESTS, SlowClock(), seconds_max, event
    )
    return len(results), not_run


def test_a_run_ends_when_its_time_is_over() -> None:
    assert run(3) == (3, 0)
    assert run(2) == (2, 1)


def test_a_run_ends_when_nobody_waits_for_it() -> None:
    assert run(60, stopped=True) == (0, 3)


async def test_long_failures_are_cut(tmp_path: Path) -> None:
    async with started_app(make_settings(tmp_path / "data")) as app:
        await projects.create_project(app.context, ADMIN, "chat")
        condition = " || ".join(f"x.y == '{number:04}'" for number in range(900))
        source = RULES.replace("id == 'b'", condition.replace("x.y", "request.auth.uid"))
        many = "".join(
            f"match /a/{{b{number}}} {{ allow get: if id == 'x'; }}" for number in range(400)
        )
        source = source.replace("match /a/", f"{many.replace('if id', 'if database')} match /a/", 1)
        run = await rules_tests.run_rules_tests(app.context, ADMIN, "chat", TESTS, source)
        assert len(run.results[0].failure) == rules_tests.FAILURE_CHARACTERS_MAX
        with pytest.raises(PermissionDenied):
            await rules_tests.run_rules_tests(app.context, ANONYMOUS, "chat", TESTS, None)
