"""Where a server kills itself while it moves a project; see `mortal`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import baas.moves.copying
import baas.moves.mover
import baas.services.move_runner
import baas.workers.supervisor
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.model.paths import DocumentPath
from baas.moves.copying import DatabaseCopy
from baas.moves.mover import Mover
from baas.moves.tasks import Moves
from tests.faults.mortal import make_mortal

BEFORE: dict[str, tuple[type, str]] = {
    "begun": (Mover, "_check_target"),
    "copied": (Mover, "_follow_all"),
    "following": (DatabaseCopy, "_follow_log"),
    "compared": (Mover, "_pause"),
    "fenced": (Mover, "_end_copy"),
    "held": (DatabaseCopy, "complete"),
    "complete": (Mover, "_switch"),
    "cleaning": (Mover, "_clean"),
    "cleaned": (Moves, "end"),
}
AFTER: dict[str, tuple[type, str]] = {
    "copying": (DatabaseCopy, "copy_some"),
    "fence": (Mover, "_fence"),
    "switched": (Moves, "switch"),
}
POINTS = (*BEFORE, *AFTER)


def make_movers_mortal() -> None:
    """Of this process. Copies are made in small windows, so that there are several; workers are
    started again at once, and other ones not waited for as long."""
    make_mortal(BEFORE, after=False)
    make_mortal(AFTER, after=True)
    baas.moves.copying.WINDOW_BYTES = 4_000
    baas.services.move_runner.SAVE_SECONDS = 0.02
    baas.moves.mover.CLEAN_SECONDS = 1.0
    baas.workers.supervisor.RESTART_SECONDS_MAX = 0.2


# Planted bugs -------------------------------------------------------------------------------------

PLANT = "TEST_MOVE_PLANT"  # which one, if any
PLANTS = ("fence", "last round")
COUNTER = DocumentPath.parse("counters/0")  # which somebody adds to all the time
_switch = Mover._switch
_pause = Mover._pause
_follow_log = DatabaseCopy._follow_log


async def _switch_late(mover: Mover) -> None:
    """With a fence that lets commits by, between the comparison and the switch."""
    if os.environ.get(PLANT) == "fence":
        names = await mover._names()
        await mover._lift(names)
        await _wait_for_addition(await mover._source(names[0]))
    await _switch(mover)


async def _pause_late(mover: Mover, names: list[DatabaseName]) -> float:
    """Once there is something for the round in the pause to take along."""
    if os.environ.get(PLANT) == "last round":
        await _wait_for_addition(await mover._source(names[0]))
    return await _pause(mover, names)


async def _wait_for_addition(database: Database) -> None:
    before = await _version_of_counter(database)
    while await _version_of_counter(database) == before:  # noqa: ASYNC110 - a client adds
        await asyncio.sleep(0.001)


async def _version_of_counter(database: Database) -> int:
    (counter,) = await database.get_documents([COUNTER])
    return 0 if counter is None else counter.version


async def _skip_last_round(copy: DatabaseCopy, snapshot: ReadSnapshot) -> tuple[int, bool]:
    """Without the round in the pause."""
    is_planted = os.environ.get(PLANT) == "last round"
    if is_planted and await (await copy._source()).fences.read() is not None:
        copy.position = replace(copy.position, followed=snapshot.version)
        return 0, False
    return await _follow_log(copy, snapshot)


def plant_bugs() -> None:
    """They sleep until the variable names one of them."""
    Mover._switch = _switch_late  # type: ignore[assignment, method-assign]
    Mover._pause = _pause_late  # type: ignore[assignment, method-assign]
    DatabaseCopy._follow_log = _skip_last_round  # type: ignore[assignment, method-assign]
