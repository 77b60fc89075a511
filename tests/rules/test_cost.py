"""No input takes more than its bounded share of time, memory and stack, however it is made."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest
from baas_rules import (
    Auth,
    EvaluationError,
    FieldConstraint,
    ListRequest,
    Request,
    ResourceDocument,
    RulesError,
    Ruleset,
    Timestamp,
    check,
    lint,
)
from baas_rules.errors import LimitExceeded
from baas_rules.functions import compile_pattern, full_match
from baas_rules.limits import (
    PATH_LENGTH_MAX,
    PATTERN_GROUPS_MAX,
    PATTERN_LENGTH_MAX,
    PATTERN_STEPS_MAX,
    SOURCE_BYTES_MAX,
    VISITS_MAX,
)
from baas_rules.metering import charge, metered

from tests.effort import FACTOR
from tests.rules.worlds import ruleset

NOW = Timestamp(0)
ADA = Auth("ada", {})
SECONDS_MAX = 20.0  # of processor time, each step; many times what the slowest takes
# In `make test` a quarter of what a file may hold: a cost that grows with its square shows even so.
SIZE = (SOURCE_BYTES_MAX - 16 * 1024) // (1 if FACTOR > 1 else 4)


def wrapped(body: str, functions: str = "") -> str:
    return (
        "rules_version = '2';\nservice cloud.firestore { match /databases/{d}/documents { "
        f"{functions} match /a/{{b}} {{ {body} }} }} }}"
    )


def numbered(unit: str, size: int = SIZE) -> str:
    """Repetitions with `@` counted up, of about so many characters."""
    made: list[str] = []
    length = 0
    while length < size:
        made.append(unit.replace("@", str(len(made))))
        length += len(made[-1])
    return "".join(made)


def chain(body: str, last: str) -> str:
    """Twenty functions, each of which calls the next."""
    calls = [f"function f{at}(x) {{ {body.replace('@', f'f{at + 1}')} }}" for at in range(19)]
    return " ".join([*calls, f"function f19(x) {{ return {last}; }}"])


ALLOW = "allow read: if "
HOSTILE = {
    "a chain of &&": wrapped(ALLOW + numbered("resource.data.a == 1 && ") + "true;"),
    "unknown names": wrapped(ALLOW + numbered("unknown@ && ") + "true;"),
    "unknown functions": wrapped(ALLOW + numbered("unknown@(1) && ") + "true;"),
    "a long list": wrapped(ALLOW + "1 in [" + numbered("@,") + "];"),
    "a long map": wrapped(ALLOW + "{" + numbered("'k@': @,") + "}.size() > 1;"),
    "groups": wrapped(ALLOW + "resource.data.a.matches('" + numbered("(a*)*") + "');"),
    "expressions": wrapped(numbered("allow read: if resource.data.a.matches('x@(a{500}){2}');")),
    "statements": wrapped(numbered("allow read: if resource.data.a == @;")),
    "matches": wrapped("", numbered("match /c@/{x} { allow read: if x == '@'; }")),
    "functions": wrapped(ALLOW + "f0();", numbered("function f@() { return @ == resource; }")),
    "comments": "/* " * ((SOURCE_BYTES_MAX - 3) // 3),
    "quotes": "'" + "\\'" * ((SOURCE_BYTES_MAX - 3) // 2),
    "calls twice": wrapped(ALLOW + "f0(1);", chain("return @(x) && @(x);", "resource.data.a == x")),
    "lists of lists": wrapped(
        ALLOW + "f0([1]);",
        chain(f"return @([{', '.join(['x'] * 20)}]);", "x == x || x.toSet() == [x].toSet()"),
    ),
    "lists of lists at once": wrapped(
        ALLOW + "f();",
        "function f() { let a = [1,1,1,1,1,1,1,1,1,1]; let b = [a,a,a,a,a,a,a,a,a,a];"
        " let c = [b,b,b,b,b,b,b,b,b,b]; let e = [c,c,c,c,c,c,c,c,c,c];"
        " let g = [e,e,e,e,e,e,e,e,e,e]; let h = [g,g,g,g,g,g,g,g,g,g];"
        " return h == [h] || h == [g,g,g,g,g,g,g,g,g,g] || h.toSet() == h.toSet(); }",
    ),
    "paths of paths": wrapped(
        ALLOW + "f0(/a/b);", chain("return @(/p/$(x)/$(x)/$(x));", "x == /a/b")
    ),
    "texts of texts": wrapped(
        ALLOW + "f0('abcdefghij');", chain("return @(x + x + x);", "x == 'a'")
    ),
    "one function everywhere": wrapped(
        numbered("allow read: if f();"),
        "function f() { return " + "resource.data.a == 1 && " * 200 + "resource.data.b == 2; }",
    ),
}
DOCUMENT = ResourceDocument(("a", "x"), {"a": "b" * 100_000, "n": 1})
ASKED = Request("get", ("a", "x"), ADA, NOW, DOCUMENT)
LISTED = ListRequest(("a",), ADA, NOW, where=FieldConstraint(("n",), "in", list(range(30))))


def _steps(source: str) -> list[tuple[str, Callable[[], object]]]:
    steps: list[tuple[str, Callable[[], object]]] = [
        ("check", lambda: check(source)),
        ("lint", lambda: lint(source)),
    ]
    try:
        rules = Ruleset.parse(source)
    except RulesError:
        return steps
    return [
        *steps,
        ("decide", lambda: rules.decide(ASKED, {})),
        ("explain", lambda: rules.explain(ASKED, {}).tree()),
        ("list", lambda: rules.prove_list(LISTED, {})),
        ("explain a list", lambda: rules.explain_list(LISTED, {}).tree()),
        ("cover", lambda: rules.cover(ASKED, {}, rules.coverage())),
        ("open", lambda: rules.open_access()),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_rules_cost_little(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if FACTOR == 1:  # that there is a bound shows with a smaller one too
        for module in ("lint", "exposure"):
            monkeypatch.setattr(sys.modules[f"baas_rules.{module}"], "FILE_VISITS_MAX", 1_000_000)
    for step, run in _steps(HOSTILE[name]):
        started = time.process_time()
        run()
        assert time.process_time() - started < SECONDS_MAX, (name, step)


def test_findings_about_one_long_line_hold_it_once() -> None:
    source = wrapped(ALLOW + numbered("unknown@ && ", 100_000) + "true;")
    tracemalloc.start()
    try:
        found = check(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 50
    assert peak < 100 * 1024 * 1024


# --- what is visited ---------------------------------------------------------------------------


def test_visits_are_bounded_at_their_limit() -> None:
    metered(lambda: charge(VISITS_MAX))
    with pytest.raises(LimitExceeded):
        metered(lambda: charge(VISITS_MAX + 1))


def test_all_that_is_visited_in_one_evaluation_counts_together() -> None:
    def twice() -> None:
        charge(VISITS_MAX)
        metered(lambda: charge(1))

    with pytest.raises(LimitExceeded):
        metered(twice)
    charge(VISITS_MAX + 1)  # nobody counts


def test_what_comes_to_too_much_denies_and_says_so() -> None:
    rules = Ruleset.parse(HOSTILE["lists of lists"])
    assert not rules.decide(ASKED, {}).allowed
    assert f"more than {VISITS_MAX} elements" in str(rules.explain(ASKED, {}))


# --- regular expressions -----------------------------------------------------------------------


def test_a_regular_expression_has_a_bounded_length() -> None:
    assert full_match(compile_pattern("a" * PATTERN_LENGTH_MAX))("a") is False
    with pytest.raises(EvaluationError, match="at most 32768 characters"):
        compile_pattern("a" * (PATTERN_LENGTH_MAX + 1))


def test_a_large_regular_expression_takes_shorter_texts() -> None:
    pattern = compile_pattern("(a{1000}|b)*")
    longest = PATTERN_STEPS_MAX // pattern.programsize
    matches = full_match(pattern)
    assert matches("b" * longest)
    with pytest.raises(EvaluationError, match=f"texts of at most {longest} characters"):
        matches("b" * (longest + 1))


@pytest.mark.parametrize(("groups", "told"), [(PATTERN_GROUPS_MAX, "1"), (101, "error")])
def test_groups_of_a_replacement_are_bounded(groups: int, told: str) -> None:
    rules = ruleset(
        "match /a/{b} { allow get: if 'a'.replace('" + "(a?)" * groups + "', 'x').size() > 0; }"
    )
    explanation = rules.explain(ASKED, {})
    assert explanation.allowed == (told == "1")
    assert explanation.allowed or "at most 100 groups" in str(explanation)


def test_searching_again_and_again_is_bounded() -> None:
    rules = ruleset("match /a/{b} { allow get: if resource.data.a.split('b*c|b').size() > 0; }")
    started = time.process_time()
    rules.decide(ASKED, {})
    assert time.process_time() - started < SECONDS_MAX


@pytest.mark.parametrize(
    ("parts", "allowed"), [(PATH_LENGTH_MAX, True), (PATH_LENGTH_MAX + 1, False)]
)
def test_a_path_has_a_bounded_length(parts: int, allowed: bool) -> None:
    rules = ruleset("match /a/{b} { allow get: if path(resource.data.p) is path; }")
    document = ResourceDocument(("a", "x"), {"p": "/".join("a" * parts)})
    assert rules.decide(Request("get", ("a", "x"), ADA, NOW, document), {}).allowed is allowed
