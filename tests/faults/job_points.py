"""Where a server kills itself while it is at a job; see `mortal`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import baas.services.erasing_jobs
import baas.services.job_pages
import baas.services.job_runner
import baas.services.jobs
import baas.services.restores
import baas.services.schema_deployments
from baas.database.database import Database
from baas.database.erasing import Eraser
from baas.database.signals import Signals
from baas.projects.jobs import Jobs
from baas.projects.rulesets import Rulesets
from baas.projects.schema_releases import SchemaReleases
from tests.faults.mortal import make_mortal

CHUNK = 7  # documents
AFTER: dict[str, tuple[Any, str]] = {
    "created": (Jobs, "_create"),
    "chunk": (baas.services.job_runner, "run_chunk"),
    "saved": (Jobs, "save"),
    "deleted": (baas.services.erasing_jobs, "_delete"),
    "erased": (Eraser, "erase"),
    "scrubbed": (Eraser, "scrub"),
    "advance": (baas.services.schema_deployments, "advance"),
    "held": (Jobs, "run"),
    "signal": (Signals, "send"),
}
BEFORE: dict[str, tuple[Any, str]] = {
    "scrubbing": (Eraser, "scrub"),
    "dropping": (SchemaReleases, "drop_old"),
    "deploying": (Rulesets, "deploy"),
    "deployed": (Rulesets, "_drop_old"),
}
EACH_CHUNK = ("chunk", "saved", "deleted", "erased")  # these come again and again


def make_jobs_mortal() -> None:
    """Of this process."""
    make_mortal(AFTER, after=True)
    make_mortal(BEFORE, after=False)
    cut_chunks()


def cut_chunks() -> None:
    """They are small, so that there are several."""
    for module in (
        baas.services.erasing_jobs,
        baas.services.job_pages,
        baas.services.jobs,
        baas.services.restores,
    ):
        module.CHUNK_DOCUMENTS_MAX = CHUNK  # type: ignore[attr-defined]


# Planted bugs -------------------------------------------------------------------------------------

PLANT = "TEST_JOB_PLANT"  # which one, if any
PLANTS = ("no ids", "no scrub")


def plant_bugs() -> None:
    """Chunks that are not known again, and files that keep what was erased; they sleep until the
    variable names one of them."""
    run, scrub = Database.run_transaction, Eraser.scrub

    async def run_unknown(
        self: Database, body: Callable[..., Any], *, request_id: str | None = None, **more: Any
    ) -> Any:
        is_planted = os.environ.get(PLANT) == "no ids" and (request_id or "").startswith("job:")
        return await run(self, body, request_id=None if is_planted else request_id, **more)

    async def scrub_not(self: Eraser, *, rewrite: bool = False) -> bool:
        return os.environ.get(PLANT) != "no scrub" and await scrub(self, rewrite=rewrite)

    Database.run_transaction = run_unknown  # type: ignore[method-assign]
    Eraser.scrub = scrub_not  # type: ignore[method-assign]
