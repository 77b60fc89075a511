"""Traces of denials: for the developer, within bounds, and never for the caller."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from baas_rules import Explanation
from baas_rules.decision import Decision

from baas.clock import SystemClock, VirtualClock
from baas.errors import InvalidArgument, NotFound, PermissionDenied
from baas.model.writes import SetWrite
from baas.services import aggregations, denial_traces, denials, documents, projects, queries
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.denial_traces import Asked, DenialTraces
from baas.services.denials import DenialFilter, DenialPage
from baas.settings import Settings
from tests.baas.services.worlds import ADA, EVE, NAME, OPERATOR, World, open_world, path, query

OWNER = "match /users/{uid}/notes/{id} { allow read: if resource.data.owner == request.auth.uid; }"
ANYTHING = DenialFilter()


class Clock(VirtualClock):
    def random_bytes(self, count: int) -> bytes:
        return SystemClock().random_bytes(count)


async def denied(world: World, caller: Caller, where: str, request_id: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        await documents.get_document(world.context, caller, NAME, path(where))
    assert caught.value.details is None
    world.context.denials.note(request_id, caught.value)


async def found(world: World, wanted: DenialFilter = ANYTHING, **page: Any) -> DenialPage:
    options = {"page_size": 10, "page_token": None, **page}
    return await denials.list_denials(world.context, OPERATOR, "demo", wanted, **options)


async def test_a_denial_is_found_by_its_request_id_with_every_step(world: World) -> None:
    await world.deploy(OWNER)
    await world.put(users__ada__notes__n1={"owner": "ada", "text": "private"})
    await denied(world, EVE, "users/ada/notes/n1", "r1")
    await denied(world, ANONYMOUS, "elsewhere/x", "r2")
    (denial,) = (await found(world, DenialFilter(request_id="r1"))).denials
    asked = denial.trace.asked
    assert (asked.method, asked.path) == ("get", ("users", "ada", "notes", "n1"))
    assert (asked.caller, asked.uid, asked.place) == ("user", "eve", "(default)")
    assert asked.release == (await world.context.projects.rulesets.get_release("demo")).ruleset_id
    told = orjson.loads(denial.trace.explanation)
    assert told["reasons"][0]["line"] == 1
    for part in ("resource.data.owner -> 'ada'", "request.auth.uid -> 'eve'", "cost: "):
        assert part in told["text"]


async def test_lists_and_writes_are_traced_too(world: World) -> None:
    await world.deploy(OWNER)
    for number, work in enumerate(
        (
            queries.run_query(world.context, ADA, NAME, query("users/ada/notes")),
            aggregations.count(world.context, ADA, NAME, query("users")),
            documents.commit(
                world.context, ADA, NAME, [SetWrite(path("users/ada/notes/n2"), {"x": 1})]
            ),
        )
    ):
        with pytest.raises(PermissionDenied) as caught:
            await work
        world.context.denials.note(f"r{number}", caught.value)
    page = await found(world)
    assert [(one.request_id, one.trace.asked.method) for one in page.denials] == [
        ("r2", "create"),
        ("r1", "list"),
        ("r0", "list"),
    ]
    assert (
        'where(\\"owner\\", \\"==\\", request.auth.uid)'
        in page.denials[2].trace.explanation.decode()
    )


async def test_denials_are_filtered_and_come_in_pages(world: World) -> None:
    for number in range(5):
        await denied(world, ADA, f"a/{number}", f"r{number}")
    await denied(world, EVE, "a/0/b/1", "eve")
    assert [one.request_id for one in (await found(world, DenialFilter(uid="eve"))).denials] == [
        "eve"
    ]
    below = await found(world, DenialFilter(path="/a/0"))
    assert [one.request_id for one in below.denials] == ["eve", "r0"]
    assert (await found(world, DenialFilter(path="a/0", method="list"))).denials == []
    numbers: list[str] = []
    token = None
    while True:
        page = await found(world, DenialFilter(uid="ada"), page_size=2, page_token=token)
        numbers += [one.request_id for one in page.denials]
        token = page.next_token
        if token is None:
            break
    assert numbers == ["r4", "r3", "r2", "r1", "r0"]
    with pytest.raises(InvalidArgument):
        await found(world, page_token="x")


async def test_only_administrators_read_traces(world: World) -> None:
    for caller in (ANONYMOUS, ADA, Caller(CallerKind.SECRET_KEY, project="demo")):
        with pytest.raises(PermissionDenied):
            await denials.list_denials(
                world.context, caller, "demo", ANYTHING, page_size=1, page_token=None
            )
    with pytest.raises(NotFound):
        await denials.list_denials(
            world.context, OPERATOR, "nowhere", ANYTHING, page_size=1, page_token=None
        )


async def test_a_project_takes_its_traces_with_it(world: World) -> None:
    await denied(world, ADA, "a/b", "r1")
    assert (await found(world)).counts.denied == 1
    await projects.delete_project(world.context, OPERATOR, "demo")
    await projects.create_project(world.context, OPERATOR, "demo")
    page = await found(world)
    assert (page.denials, page.counts.denied) == ([], 0)


@pytest.fixture
async def private_world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "data", redact_denials=True) as opened:
        yield opened


async def test_redacted_traces_hold_no_value_and_no_id(private_world: World) -> None:
    world = private_world
    await world.deploy(OWNER)
    await world.put(users__ada__notes__xyzzy={"owner": "ada", "text": "private"})
    await denied(world, EVE, "users/ada/notes/xyzzy", "r1")
    for name in ("users/ada/notes", "users/ada/others"):
        with pytest.raises(PermissionDenied) as caught:
            await queries.run_query(world.context, EVE, NAME, query(name, ("owner", "==", "ada")))
        world.context.denials.note("r2", caught.value)
    page = await found(world)
    assert len(page.denials) == 3
    for denial in page.denials:
        asked = denial.trace.asked
        assert asked.path[:2] == ("users", "…")
        told = f"{asked} {denial.trace.explanation.decode()}"
        for private in ("ada", "eve", "xyzzy", "private"):
            assert not re.search(rf"\b{private}\b", told), told


ASKED = Asked("demo", "cloud.firestore", "(default)", "get", ("a", "b"), "user", "ada", "r")


def traces(clock: VirtualClock, **changes: Any) -> DenialTraces:
    return DenialTraces(Settings(**changes), clock)


def explanation(redact: bool) -> Explanation:
    return Explanation(Decision(False), "get of /a/b")


def test_only_so_many_a_second_are_explained_and_the_others_counted() -> None:
    clock = Clock()
    kept = traces(clock, denial_explanations_per_second=3)
    asked = 0

    def explain(redact: bool) -> Explanation:
        nonlocal asked
        asked += 1
        return explanation(redact)

    def deny(count: int) -> None:
        for _ in range(count):
            kept.note("r", kept.deny(ASKED, explain))

    deny(10)
    assert asked == 3
    clock.advance(0.34)
    deny(10)
    assert asked == 4
    clock.advance(3_600)
    deny(10)
    assert asked == 7
    counts = kept.counts("demo")
    assert (counts.denied, counts.unexplained, counts.dropped) == (30, 23, 0)
    other = dataclasses.replace(ASKED, project="other")
    assert kept.deny(other, explain).trace is not None
    assert traces(clock, denial_explanations_per_second=0).deny(ASKED, explain).trace is None


def test_what_is_kept_is_bounded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert denial_traces.TRACES_MAX == 10_000
    monkeypatch.setattr(denial_traces, "TRACES_MAX", 3)
    kept = traces(Clock(), denial_explanations_per_second=100)
    for number in range(5):
        kept.note(f"r{number}", kept.deny(ASKED, explanation))
    assert [one.request_id for one in kept.newest("demo")] == ["r4", "r3", "r2"]
    assert kept.counts("demo").dropped == 2


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert denial_traces.TRACE_BYTES_MAX == 64 * 1024 * 1024
    kept = traces(Clock(), denial_explanations_per_second=100)
    kept.note("r", kept.deny(ASKED, explanation))
    size = next(kept.newest("demo")).size
    monkeypatch.setattr(denial_traces, "TRACE_BYTES_MAX", 3 * size)
    for _ in range(9):
        kept.note("r", kept.deny(ASKED, explanation))
    assert len(list(kept.newest("demo"))) == 3
    monkeypatch.setattr(denial_traces, "ALL_BYTES_MAX", 4 * size)
    other = dataclasses.replace(ASKED, project="other")
    for _ in range(3):
        kept.note("r", kept.deny(other, explanation))
    assert len([*kept.newest("demo"), *kept.newest("other")]) <= 4
    assert list(kept.newest("other"))


def test_each_worker_answers_for_all() -> None:
    clock = Clock()
    one, two = [traces(clock, denial_explanations_per_second=2) for _ in range(2)]
    one.share(0, two.hear)
    two.share(1, one.hear)
    for number in range(4):
        for name, kept in (("one", one), ("two", two)):
            kept.note(f"{name}-{number}", kept.deny(ASKED, explanation))
        clock.advance(0.5)
    told = [
        [(denial.number, denial.request_id) for denial in kept.newest("demo")]
        for kept in (one, two)
    ]
    assert told[0] == told[1]
    numbers = [number for number, _ in told[0]]
    assert numbers == sorted(set(numbers), reverse=True)
    assert {name for _, name in told[0]} >= {"one-0", "two-0", "one-1", "two-1"}
    assert list(one.newest("demo")) == list(two.newest("demo"))
    assert [kept.counts("demo").denied for kept in (one, two)] == [8, 8]
    one.forget_project("demo")
    assert list(one.newest("demo")) == []
    assert list(two.newest("demo"))


def test_a_long_explanation_is_cut() -> None:
    kept = traces(Clock())
    long = Explanation(Decision(False), "x\ud800" * denial_traces.TEXT_CHARACTERS_MAX)
    kept.note("r", kept.deny(ASKED, lambda redact: long))
    told = orjson.loads(next(kept.newest("demo")).trace.explanation)
    assert len(told["text"]) == denial_traces.TEXT_CHARACTERS_MAX


def test_what_cannot_be_explained_is_denied_all_the_same() -> None:
    def explain(redact: bool) -> Explanation:
        raise RecursionError

    kept = traces(Clock())
    error = kept.deny(ASKED, explain)
    assert (error.trace, error.details) == (None, None)
    assert kept.counts("demo").unexplained == 1
