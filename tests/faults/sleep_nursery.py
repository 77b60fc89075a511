"""Forks servers that stop at steps of their work, whose claims run out within a moment, and which
tell when they have left off a piece of work; see `mortal`.

python -m tests.faults.sleep_nursery SOCKET
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import baas.backups.tasks
import baas.backups.writing
import baas.database.index_builder
import baas.database.loading
import baas.projects.deletions
import baas.projects.jobs
import baas.services.backup_runner
import baas.services.job_runner
import baas.services.jobs
import baas.services.move_runner
from baas.backups.place import BackupPlace
from baas.backups.tasks import Tasks
from baas.database.erasing import Eraser
from baas.database.index_builder import IndexBuilder
from baas.database.loading import Loader
from baas.projects.restores import Restores
from baas.services.backup_runner import BackupRunner
from baas.services.job_runner import JobRunner
from baas.services.move_runner import MoveRunner
from baas.storage.mongo import MongoEngine
from tests.faults.job_points import cut_chunks
from tests.faults.mortal import VARIABLE, make_mortal
from tests.faults.move_points import make_movers_mortal
from tests.nursery import main

BEFORE: dict[str, tuple[Any, str]] = {
    "part": (BackupPlace, "write_part"),
    "confirm": (Tasks, "confirm"),
    "manifest": (BackupPlace, "write_manifest"),
    "load": (Loader, "add"),
    "loaded": (Restores, "finish"),
    "erase": (Eraser, "erase"),
    "fill": (MongoEngine, "backfill"),
}
AFTER: dict[str, tuple[Any, str]] = {"planned": (baas.services.jobs, "_next_step")}
# What ends a piece of work: its end is told.
WORK: tuple[tuple[type, str], ...] = (
    (JobRunner, "_run"),
    (BackupRunner, "_do"),
    (MoveRunner, "_do"),
    (IndexBuilder, "_fill"),
)


def ends_file() -> Path:
    """Has a line for each piece of work that a process has left off: its id."""
    return Path(os.environ[VARIABLE]).with_suffix(".ends")


def tell_ends(owner: type, name: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    async def work(*arguments: Any, **more: Any) -> Any:
        try:
            return await original(*arguments, **more)
        finally:
            with ends_file().open("a", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")

    setattr(owner, name, work)


def hurry() -> None:
    """Whoever stands still for a second or two loses what he was at."""
    baas.projects.jobs.CLAIM_SECONDS = 1
    baas.backups.tasks.CLAIM_SECONDS = 1
    baas.projects.deletions.DELETION_SECONDS = 2
    baas.database.index_builder.TAKE_OVER_SECONDS = 0.5
    baas.backups.writing.PART_BYTES = 500  # type: ignore[attr-defined]
    baas.backups.writing.CHECKPOINT_SECONDS = 0
    baas.database.loading.CHUNK_DOCUMENTS = 10
    baas.services.backup_runner.SAVE_SECONDS = 0.1
    baas.services.backup_runner.LOOK_SECONDS = 0.2
    baas.services.job_runner.LOOK_SECONDS = 0.2
    baas.services.move_runner.LOOK_SECONDS = 0.2


if __name__ == "__main__":
    make_movers_mortal()
    make_mortal(BEFORE, after=False)
    make_mortal(AFTER, after=True)
    cut_chunks()
    for where, method in WORK:
        tell_ends(where, method)
    hurry()
    main()
