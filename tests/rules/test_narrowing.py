"""What operands and branches learn from those before them, and that planted mistakes are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from baas_rules import FieldConstraint, ListOrder, ListRequest, ast, constraints, narrowing, prover
from baas_rules.abstract import TRUE, Anything, Result

from tests.rules.test_soundness import ORDERS, POOL, ROLES, decide_listed, returned_things
from tests.rules.worlds import ADA, NOW, document, looked_up, ruleset

MEMBERS = """
  function memberOf(team) {
    return exists(/databases/$(database)/documents/teams/$(team)/members/$(request.auth.uid));
  }
  function leaks(x) { return (resource.data.a == 1 && x) || x; }
  function late() { let x = resource.data.a == 1; return (resource.data.a == 1 && x) || x; }
"""
KNOWN = looked_up(
    document("teams/red/members/ada"), missing=("teams/blue/members/ada", "teams/x/members/ada")
)
PROVED = [
    "resource.data.a == null || resource.data.a != null",
    "resource.data.a != 1 || resource.data.a == 1",
    "resource.data.a != 1 || resource.data.a is number",
    "!(resource.data.a is string) || resource.data.a is string",
    "resource.data.a in ['x'] || resource.data.a != 'x'",
    "resource.data.a == 'x' ? resource.data.a in ['x', 'y'] : resource.data.a != 'x'",
    "'b' in resource.data ? resource.data.b == 1 || resource.data.b != 1 : true",
    "!('b' in resource.data && resource.data.b == null) || resource.data.b == null",
    "resource.data.a != 'red' || memberOf(resource.data.a)",
    "!(resource.data.a == 'red') || (memberOf(resource.data.a) && resource.data.a is string)",
    "!(resource.data.a is map) || !('k' in resource.data.a) || resource.data.a.k == 1"
    " || resource.data.a.k != 1",
]
UNPROVED = [
    "resource.data.a == 1 || resource.data.a == 1",
    "resource.data.a == null || resource.data.a == 1",
    "resource.data.a == 1 || resource.data.a is string",
    "resource.data.a != 1 || resource.data.a is int",  # it may be 1.0
    "resource.data.a == 'x' ? resource.data.a == 'y' : true",
    "resource.data.a != 'blue' || memberOf(resource.data.a)",
    "resource.data.get('b', 0) == 0 ? resource.data.b == 0 : true",
    "resource.data.get('b', 0) != 0 || resource.data.b == 0",
    "leaks(resource.data.a == 1)",
    "late()",
    "resource.data.b == 1 || resource.data.b != 1",  # there may be no b
    "!(resource.data.a is map) || resource.data.a.k != null",
]


def proved(condition: str) -> bool:
    rules = ruleset(f"{MEMBERS} match /things/{{id}} {{ allow list: if {condition}; }}")
    request = ListRequest(("things",), ADA, NOW, order_by=(ListOrder(("a",)),))
    return rules.prove_list(request, KNOWN).allowed


@pytest.mark.parametrize("condition", PROVED)
def test_learns(condition: str) -> None:
    assert proved(condition)


@pytest.mark.parametrize("condition", UNPROVED)
def test_does_not_learn_what_is_not_so(condition: str) -> None:
    assert not proved(condition)


def test_the_order_of_a_maps_keys_is_not_known() -> None:
    where = FieldConstraint(("m",), "==", {"a": 1, "b": 2})
    request = ListRequest(("things",), ADA, NOW, where=where)

    def holds(condition: str) -> bool:
        rules = ruleset(f"match /things/{{id}} {{ allow list: if {condition}; }}")
        return rules.prove_list(request, {}).allowed

    assert holds("resource.data.m.a == 1 && resource.data.m.keys().hasAll(['b'])")
    assert not holds("resource.data.m.keys()[0] == 'a'")
    assert not holds("'c' in resource.data.m")


# --- planted mistakes --------------------------------------------------------------------------


QUERIES = [POOL[0], *POOL[1:1500:12]]


def holds_for_all(conditions: list[str]) -> bool:
    """The property of test_soundness, for these conditions and every query of the pool."""
    for condition in conditions:
        rules = ruleset(f"match /things/{{id}} {{ allow list: if {condition}; }}")
        for where in QUERIES:
            for order_by in ORDERS[-4:-2]:
                request = ListRequest(("things",), ADA, NOW, False, where, order_by, None)
                if not rules.prove_list(request, ROLES).allowed:
                    continue
                for one in returned_things(request):
                    if not decide_listed(rules, request, one, ROLES):
                        return False
    return True


def flipped(node: ast.Expression, wanted: bool, evaluate: Any) -> Iterator[narrowing.Fact]:
    return narrowing.facts(node, not wanted, evaluate)


def one_variant(value: Any) -> list[Any]:
    return [value]


PLANTED: list[tuple[str, Callable[[pytest.MonkeyPatch], None], list[str]]] = [
    (
        "facts are those of the other outcome",
        lambda patch: patch.setattr(prover, "facts", flipped),
        ["resource.data.a == 1 || resource.data.a == 1", "resource.data.a != 1 || false"],
    ),
    (
        "a default counts as the field",
        lambda patch: patch.setattr(
            narrowing,
            "_field",
            lambda found: found.value if isinstance(found.value, Anything) else None,
        ),
        ["resource.data.get('a', 1) != 1 || resource.data.a == 1"],
    ),
    (
        "3 and 3.0 are the same",
        lambda patch: patch.setattr(constraints, "variants", one_variant),
        ["resource.data.a is int", "resource.data.a is float"],
    ),
    (
        "an upper bound is one for NaN too",
        lambda patch: patch.setattr(
            prover, "compare", lambda a, operator, b, concrete: Result(TRUE)
        ),
        ["resource.data.a < 2"],
    ),
]


@pytest.mark.parametrize("plant", PLANTED, ids=[one[0] for one in PLANTED])
def test_a_planted_unsound_step_is_caught(
    plant: tuple[str, Callable[[pytest.MonkeyPatch], None], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, mistake, conditions = plant
    assert holds_for_all(conditions)
    mistake(monkeypatch)
    assert not holds_for_all(conditions)
