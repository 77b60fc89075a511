"""Remembered proofs: never another answer than the rules would give, and none for longer than what
they rest on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import pytest_asyncio
from baas_rules import Ruleset
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from baas.database.names import DatabaseName
from baas.errors import PermissionDenied
from baas.model.queries import Query, number_query
from baas.model.timestamps import Timestamp
from baas.services import proofs as proofs_module
from baas.services.authorizer import Authorizer
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.services.proofs import Proofs
from baas.services.rule_values import list_request, rule_auth, rule_time
from tests.baas.services.worlds import NAME, World, open_world, query
from tests.effort import examples
from tests.rules.test_lasting import FUNCTIONS, LASTING, STORED_TOO, TIMED
from tests.rules.worlds import ruleset

OTHER = DatabaseName("demo", "other")


def caller(uid: str, **claims: Any) -> Caller:
    return Caller(CallerKind.USER, uid, MappingProxyType({"sub": uid, **claims}), project="demo")


CALLERS = [
    ANONYMOUS,
    caller("ada", admin=True, level=3),
    caller("ada", admin=1, level=3),  # 1 and True are equal, and not to a rule
    caller("ada", admin=False, level=3.0),
    caller("eve", admin=True),
]
QUERIES = [
    number_query(query("things", *filters, limit=limit))
    for limit in (None, 20, 60)
    for filters in (
        (),
        (("owner", "==", "ada"),),
        (("owner", "==", "eve"),),
        (("n", "==", 1),),
        (("n", "==", True),),
        (("n", "==", 1.0),),
    )
]
CONDITIONS = [
    *LASTING,
    *TIMED,
    *STORED_TOO,
    "database == 'other'",
    "request.auth.token.admin == true",
    "request.auth.token.level is int",
    "resource.data.n == true",
    "resource.data.n is number",
    "request.query.limit <= 20",
    "request.auth.uid == 'eve'",
]


@pytest_asyncio.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with open_world(tmp_path / "data") as world:
        yield world.context


@dataclass(frozen=True)
class Question:
    caller: Caller
    query: Query
    database: str
    time: int


questions = st.lists(
    st.builds(
        Question,
        st.sampled_from(CALLERS),
        st.sampled_from(QUERIES),
        st.sampled_from([NAME.database, OTHER.database]),
        st.sampled_from([0, 1_700_000_000_000_000, 4_000_000_000_000_000]),
    ),
    min_size=20,
    max_size=60,
)


def rules_of(conditions: list[str]) -> Ruleset:
    allows = "".join(f"allow list: if {condition};\n" for condition in conditions)
    return ruleset(f"match /things/{{id}} {{ {FUNCTIONS} {allows} }}")


def answer(context: Context, rules: Ruleset, asked: Question) -> bool | None:
    """None: it takes documents to tell."""
    name = DatabaseName("demo", asked.database)
    authorizer = Authorizer(context, asked.caller, name, rules, Timestamp(asked.time))
    try:
        return authorizer.check_list_nowait(asked.query) or None
    except PermissionDenied:
        return False


def fresh_answer(rules: Ruleset, asked: Question) -> bool | None:
    name = DatabaseName("demo", asked.database)
    time = rule_time(Timestamp(asked.time))
    request = list_request(asked.query, name, rule_auth(asked.caller), time)
    decision = rules.prove_list(request, {})
    return None if decision.missing else decision.allowed


@pytest.mark.slow
@given(
    sets=st.lists(
        st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3), min_size=1, max_size=2
    ),
    asked=questions,
)
@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
async def test_what_is_remembered_is_what_the_rules_would_say(
    context: Context, sets: list[list[str]], asked: list[Question]
) -> None:
    """Questions of several callers in one memory, asked of several releases in turn."""
    held = 0
    for rules in map(rules_of, sets):
        for one in [*asked, *asked]:
            name, auth = one.database, rule_auth(one.caller)
            held += context.proofs.hold(rules, one.query, name, auth)
            assert answer(context, rules, one) == fresh_answer(rules, one), one
    event("remembered" if held else "nothing remembered")


@pytest.mark.parametrize("condition", [*TIMED, *STORED_TOO])
async def test_what_rests_on_time_or_documents_is_asked_anew(
    context: Context, condition: str
) -> None:
    rules = rules_of([condition])
    for one in QUERIES:
        answer(context, rules, Question(CALLERS[1], one, NAME.database, 0))
        assert not context.proofs.hold(rules, one, NAME.database, rule_auth(CALLERS[1]))


def test_a_proof_is_for_one_ruleset_one_query_one_database_and_one_token() -> None:
    proofs = Proofs()
    one, other = rules_of(["true"]), rules_of(["true"])
    ada = rule_auth(CALLERS[1])
    proofs.remember(one, QUERIES[0], "d", ada)
    assert proofs.hold(one, QUERIES[0], "d", ada)
    assert not proofs.hold(other, QUERIES[0], "d", ada)
    assert not proofs.hold(one, QUERIES[1], "d", ada)
    assert not proofs.hold(one, QUERIES[0], "e", ada)
    assert not proofs.hold(one, QUERIES[0], "d", None)
    again = caller("ada", admin=True, level=3)
    assert again == CALLERS[1]
    assert not proofs.hold(one, QUERIES[0], "d", rule_auth(again))
    assert not proofs.hold(one, QUERIES[0], "d", rule_auth(replace(CALLERS[1], uid="eve")))


def test_a_query_without_a_number_is_not_remembered() -> None:
    proofs = Proofs()
    rules, asked = rules_of(["true"]), query("things")
    proofs.remember(rules, asked, "d", None)
    assert not proofs.hold(rules, asked, "d", None)


def test_the_claims_of_a_proof_keep_their_identity() -> None:
    """Were they freed, another token's could be put in their place."""
    proofs = Proofs()
    rules = rules_of(["true"])
    proofs.remember(rules, QUERIES[0], "d", rule_auth(caller("ada", number=-1)))
    for number in range(1_000):
        assert not proofs.hold(rules, QUERIES[0], "d", rule_auth(caller("ada", number=number)))


def test_no_more_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "PROOFS_MAX", 3)
    proofs = Proofs()
    rules = [rules_of(["true"]), rules_of(["true"])]
    kept = [(rules[at % 2], QUERIES[at]) for at in range(4)]
    for one, asked in kept[:3]:
        proofs.remember(one, asked, "d", None)
    assert all(proofs.hold(one, asked, "d", None) for one, asked in kept[:3])
    proofs.remember(*kept[3], "d", None)
    assert [proofs.hold(one, asked, "d", None) for one, asked in kept] == [False] * 3 + [True]


async def test_a_proof_is_made_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    prove = Ruleset.prove_list

    def count(self: Ruleset, *arguments: Any) -> Any:
        asked.append(arguments)
        return prove(self, *arguments)

    monkeypatch.setattr(Ruleset, "prove_list", count)
    rules = rules_of(["resource.data.owner == request.auth.uid"])
    mine = Question(CALLERS[1], QUERIES[1], NAME.database, 0)
    assert [answer(world.context, rules, mine) for _ in range(5)] == [True] * 5
    assert len(asked) == 1
