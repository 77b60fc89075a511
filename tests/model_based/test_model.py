"""Random runs of a real database against the oracle; and planted bugs, which have to be found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baas.database import equal_reads, past, presentation, sources
from baas.database.committer import Committer
from baas.database.indexes import Index, Indexes
from baas.database.listeners import Listeners
from baas.database.views import View
from baas.encoding import keys
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.storage.engine import Change
from tests.effort import FACTOR, examples
from tests.faults.seeds import new_seed
from tests.model_based.generate import LONG_TEXTS, TEXTS
from tests.model_based.machine import STEPS, Focus, Machine, Mismatch
from tests.model_based.small import make_everything_small
from tests.storage.conftest import ENGINES, OpenDatabase

RUNS = {"sqlite": 50}
RUNS_OTHERWISE = 10
PLANTED_RUNS_MAX = 200

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200)]


@pytest.fixture(autouse=True)
def everything_small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_everything_small(monkeypatch.setattr, monkeypatch.setitem)


async def run(open_database: OpenDatabase, seed: int, focus: Focus | None = None) -> Counter[str]:
    """One run on a database of its own; what was compared."""
    machine = Machine(lambda: open_database(f"run-{seed}"), seed, focus)
    await machine.run()
    return machine.cases


@pytest.mark.parametrize("engine", list(ENGINES))
async def test_the_database_does_what_the_model_says(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    first = 1 if FACTOR == 1 else new_seed()  # `make test` is about the change
    cases: Counter[str] = Counter()
    runs = examples(RUNS.get(engine, RUNS_OTHERWISE))
    async with ENGINES[engine](request, tmp_path) as open_database:
        for number in range(runs):
            cases += await run(open_database, first + number)
    print(f"{runs * STEPS} steps: {dict(cases)}")  # noqa: T201


# A test that finds nothing proves nothing ---------------------------------------------------------


def _forget_old_entries(patch: pytest.MonkeyPatch) -> None:
    entries_for = Indexes.entries_for

    def keep(self: Indexes, *arguments: Any) -> Any:
        return (), entries_for(self, *arguments)[1]

    patch.setattr(Indexes, "entries_for", keep)


def _move_no_entries(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Index, "is_unaffected", lambda *_: True)


def _leave_cut_keys_in_disorder(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sources.IndexSource, "_cut_values", lambda *_: ())


def _count_only_what_the_index_says(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sources, "matches", lambda *_: True)


def _never_look_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Committer, "_is_stale", lambda *_: False)


def _know_beyond_the_horizon(patch: pytest.MonkeyPatch) -> None:
    def is_known(self: View, image: Any) -> bool:
        return image is not None and self.selects(image)

    patch.setattr(View, "_is_known", is_known)


def _resume_from_one_later(patch: pytest.MonkeyPatch) -> None:
    touched_since = Listeners._touched_since

    async def later(self: Listeners, snapshot: Any, view: View, version: int) -> Any:
        return await touched_since(self, snapshot, view, version + 1)

    patch.setattr(Listeners, "_touched_since", later)


def _forget_the_new_image(patch: pytest.MonkeyPatch) -> None:
    def touches(query: Query, change: Change) -> bool:
        return change.old is not None and matches(query, change.old)

    values = equal_reads.touched_values
    patch.setattr(equal_reads, "touches_query", touches)
    patch.setattr(
        equal_reads,
        "touched_values",
        lambda shape, change: values(shape, replace(change, new=None)),
    )


def _select_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(presentation, "project", lambda document, select: document)


def _draw_the_sample_otherwise(patch: pytest.MonkeyPatch) -> None:
    sample_key = keys.sample_key
    patch.setattr(keys, "sample_key", lambda document_key: sample_key(document_key + b"!"))


def _put_nothing_back(patch: pytest.MonkeyPatch) -> None:
    put_back = past._put_back

    def put(query: Query, present: Any, changes: Any, **more: Any) -> Any:
        return put_back(query, present, [replace(one, then=None) for one in changes], **more)

    patch.setattr(past, "_put_back", put)


# With what a run has to do much of, so that the bug is found in one run of a few.
_LISTENING = {"listen": 5.0, "pause": 4.0, "settle": 4.0, "commit": 3.0, "forget": 0.0}
_INDEXED = {"query indexed": 4.0, "commit": 3.0}
BUGS = [
    (_forget_old_entries, Focus(_INDEXED)),
    (_move_no_entries, Focus(_INDEXED)),
    (_leave_cut_keys_in_disorder, Focus(_INDEXED, pool=LONG_TEXTS, places=1)),
    (_count_only_what_the_index_says, Focus(_INDEXED, places=1)),
    (_never_look_back, Focus({"compete": 3.0})),
    (_know_beyond_the_horizon, Focus(_LISTENING, places=1, windows=1.0)),
    (_resume_from_one_later, Focus(_LISTENING, places=1, windows=1.0, time_stands_still=True)),
    (_forget_the_new_image, Focus({"compete": 5.0}, places=1)),
    (_select_nothing, Focus({"query": 3.0}, places=1)),
    (_draw_the_sample_otherwise, Focus(_INDEXED, pool=TEXTS, places=1)),
    (_put_nothing_back, Focus({"query the past": 4.0})),
]


@pytest.mark.parametrize(("plant", "focus"), BUGS, ids=[bug.__name__.strip("_") for bug, _ in BUGS])
async def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    focus: Focus,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)

    async def try_again_and_again() -> None:
        async with ENGINES["sqlite"](request, tmp_path) as open_database:
            for number in range(PLANTED_RUNS_MAX):
                await run(open_database, number, focus)

    with pytest.raises(Mismatch, match=r"repeat with SEED=\d+"):
        await try_again_and_again()
