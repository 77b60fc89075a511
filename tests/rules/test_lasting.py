"""What a list rests on: an answer that is said to last would be given at any time, whatever is
stored, so that the server may remember it."""

from __future__ import annotations

import pytest
from baas_rules import Auth, FieldConstraint, ListRequest, Ruleset, Timestamp
from baas_rules.decision import Lookup, ResourceDocument
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.rules.worlds import ruleset

ADA = Auth("ada", {"admin": True, "level": 3})
MINE = FieldConstraint(("owner",), "==", "ada")
TIMES = [Timestamp(0), Timestamp(1_700_000_000_000_000), Timestamp(4_000_000_000_000_000)]
STORED: list[dict[Lookup, ResourceDocument | None]] = [
    {},
    {Lookup(("roles", "ada")): None, Lookup(("roles", "x")): None},
    {
        Lookup(("roles", name)): ResourceDocument(("roles", name), {"level": 1})
        for name in ("ada", "x")
    },
]
FUNCTIONS = """
    function self() { return request.auth.uid; }
    function now() { return request.time; }
    function late(moment) { return moment > timestamp.date(2030, 1, 1); }
    function asked() { let it = request; return it; }
    function called(request) { return request == 1; }
    function member(request) { return request.time == 1; }
"""
LASTING = [
    "true",
    "request.auth != null",
    "self() == 'ada'",
    "resource.data.owner == self()",
    "request.auth.token.admin && request.query.limit <= 50",
    "timestamp.date(2030, 1, 1) > timestamp.date(2020, 1, 1)",
    "called(1)",
    "member({'time': 1})",
    "resource.data.owner == 'ada' || exists(/databases/$(database)/documents/roles/ada)",
    "exists(/databases/$(database)/documents/roles/ada) || true",
]
TIMED = [
    "request.time < timestamp.date(2020, 1, 1)",
    "request['time'] < timestamp.date(2020, 1, 1)",
    "now() < timestamp.date(2020, 1, 1)",
    "!late(request.time)",
    "!late(now())",
    "asked().time < timestamp.date(2020, 1, 1)",
    "request == request",
    "request.keys().hasAll(['auth'])",
    "called(request) || true",
    "resource.data.owner == 'ada' && request.time.year() < 2100",
    "request.time == request.time",
]
STORED_TOO = [
    "!exists(/databases/$(database)/documents/roles/ada)",
    "get(/databases/$(database)/documents/roles/x).data.level == 1",
    "resource.data.owner == 'ada' && !exists(/databases/$(database)/documents/roles/x)",
]


def compiled(*conditions: str) -> Ruleset:
    allows = "".join(f"allow list: if {condition};\n" for condition in conditions)
    return ruleset(f"match /things/{{id}} {{ {FUNCTIONS} {allows} }}")


def ask(
    rules: Ruleset, time: Timestamp = TIMES[0], documents: int = 0, *, auth: Auth | None = ADA
) -> tuple[bool, bool]:
    """(allowed, is_lasting)"""
    request = ListRequest(("things",), auth, time, where=MINE, limit=20)
    decision = rules.prove_list(request, STORED[documents])
    return decision.allowed, decision.is_lasting


@pytest.mark.parametrize("condition", LASTING)
def test_an_answer_that_looks_at_query_and_caller_only_lasts(condition: str) -> None:
    assert ask(compiled(condition)) == (True, True)


@pytest.mark.parametrize("condition", TIMED)
def test_an_answer_that_may_look_at_the_time_does_not_last(condition: str) -> None:
    assert ask(compiled(condition)) in [(True, False), (False, False)]


def test_a_condition_that_is_asked_before_counts_even_if_it_does_not_grant() -> None:
    late = "request.time > timestamp.date(2100, 1, 1)"
    assert ask(compiled(late, "true")) == (True, False)
    assert ask(compiled("true", late)) == (True, True)


@pytest.mark.parametrize("condition", STORED_TOO)
@pytest.mark.parametrize("documents", range(len(STORED)))
def test_an_answer_that_rests_on_documents_does_not_last(condition: str, documents: int) -> None:
    assert not ask(compiled(condition), documents=documents)[1]


def test_what_is_denied_does_not_last() -> None:
    assert ask(compiled("false")) == (False, False)
    assert ask(compiled("request.auth != null"), auth=None) == (False, False)
    assert ask(compiled("true"), auth=None) == (True, True)


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(
        st.recursive(
            st.sampled_from([*LASTING, *TIMED, *STORED_TOO, "false", "1 / 0 == 1"]),
            lambda inner: st.one_of(
                st.tuples(inner, inner).map(lambda two: "(({}) && ({}))".format(*two)),
                st.tuples(inner, inner).map(lambda two: "(({}) || ({}))".format(*two)),
                inner.map(lambda one: f"!({one})"),
                st.tuples(inner, inner, inner).map(
                    lambda three: "(({}) ? ({}) : ({}))".format(*three)
                ),
            ),
            max_leaves=4,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_lasts_is_allowed_at_any_time_whatever_is_stored(conditions: list[str]) -> None:
    rules = compiled(*conditions)
    answers = [ask(rules, time, at) for time in TIMES for at in range(len(STORED))]
    lasts = any(is_lasting for _, is_lasting in answers)
    event(f"lasting: {lasts}")
    assert not lasts or all(allowed for allowed, _ in answers)
