"""The checker believes true stories, and finds every kind of lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from baas.model.paths import CollectionPath
from baas.model.queries import Query
from tests.faults.history import (
    Acknowledged,
    Commit,
    History,
    Image,
    QueryRead,
    Read,
    Refused,
    Unknown,
    check_history,
    witness_write,
)
from tests.faults.history_load import bump


def image(path: str, fields: dict[str, int], created: int, updated: int | None = None) -> Image:
    return Image.of(path, {**fields}, created, updated or created)


def committed(name: str, version: int, invoked: int, responded: int) -> Commit:
    outcome = Acknowledged(version)
    writes = [bump("c/x"), witness_write(name)]
    return Commit("me", name, writes, outcome, invoked=invoked, responded=responded)


def story() -> tuple[History, list[Image]]:
    """Two increments and a read behind each."""
    history = History(
        commits=[committed("one", 10, 0, 1), committed("two", 20, 4, 5)],
        reads=[
            Read("me", {"c/x": image("c/x", {"n": 1}, 10)}, 10, 2, 3),
            Read("me", {"c/x": image("c/x", {"n": 2}, 10, 20)}, 20, 6, 7),
            Read("me", {"c/x": image("c/x", {"n": 2}, 10, 20)}, None, 6, 7),
        ],
    )
    return history, [image(f"witnesses/{name}", {"count": 1}, at) for name, at in SEEN]


SEEN = [("one", 10), ("two", 20)]


def _lose(history: History, witnesses: list[Image]) -> None:
    witnesses.pop()


def _double(history: History, witnesses: list[Image]) -> None:
    witnesses[1] = image("witnesses/two", {"count": 2}, 20, 30)


def _move(history: History, witnesses: list[Image]) -> None:
    witnesses[1] = image("witnesses/two", {"count": 1}, 30)


def _refuse(history: History, witnesses: list[Image]) -> None:
    history.commits[1].outcome = Refused("NotFound")


def _refuse_for_nothing(history: History, witnesses: list[Image]) -> None:
    refused = committed("three", 0, 8, 9)
    refused.outcome = Refused("NotFound")
    history.commits.append(refused)


def _read_the_past(history: History, witnesses: list[Image]) -> None:
    history.reads[1] = replace(history.reads[0], invoked=6, responded=7)


def _read_the_past_unversioned(history: History, witnesses: list[Image]) -> None:
    history.reads[2] = replace(history.reads[0], version=None, invoked=6, responded=7)


def _read_what_never_was(history: History, witnesses: list[Image]) -> None:
    history.reads[0].found = {"c/x": image("c/x", {"n": 7}, 10)}


def _commit_in_the_past(history: History, witnesses: list[Image]) -> None:
    history.commits[1].invoked = -3
    history.commits[0].invoked, history.commits[0].responded = 30, 31


def _tell_a_wrong_result(history: History, witnesses: list[Image]) -> None:
    history.commits[1].outcome = Acknowledged(20, [[1], [1]])


def _read_another_base(history: History, witnesses: list[Image]) -> None:
    basis = Read("me", {"c/x": image("c/x", {"n": 0}, 5)}, None)
    history.commits[1].based_on = [basis]


def _overlook_a_phantom(history: History, witnesses: list[Image]) -> None:
    history.queries.append(QueryRead("me", _members_of_c(), [], 20, invoked=6, responded=7))


def _write_from_nowhere(history: History, witnesses: list[Image]) -> None:
    witnesses.append(image("witnesses/ghost", {"count": 1}, 40))


def _members_of_c() -> Query:
    return Query(CollectionPath(("c",)))


LIES = [
    _lose,
    _double,
    _move,
    _refuse,
    _refuse_for_nothing,
    _read_the_past,
    _read_the_past_unversioned,
    _read_what_never_was,
    _commit_in_the_past,
    _tell_a_wrong_result,
    _read_another_base,
    _overlook_a_phantom,
    _write_from_nowhere,
]


def test_a_true_story_is_believed() -> None:
    history, witnesses = story()
    verdict = check_history(history, witnesses)
    assert verdict.violations == []
    assert (verdict.happened, verdict.resolved) == (2, 0)


@pytest.mark.parametrize("happened", [True, False])
def test_an_unknown_outcome_may_have_happened_or_not(happened: bool) -> None:
    history, witnesses = story()
    history.commits[1].outcome = Unknown()
    del history.reads[1:]
    if not happened:
        witnesses.pop()
    verdict = check_history(history, witnesses)
    assert verdict.violations == []
    assert verdict.resolved == int(happened)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__.strip("_"))
def test_a_lie_is_found(lie: Callable[[History, list[Image]], None]) -> None:
    history, witnesses = story()
    lie(history, witnesses)
    assert check_history(history, witnesses).violations
