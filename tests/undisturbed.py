"""Servers in this process, as tests need them: conftests import the fixture for their folders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from baas.buckets import thumbnails
from baas.database import database, registry
from baas.services import backup_runner, context, job_runner, move_runner, ttl_runner


@pytest.fixture(scope="module", autouse=True)
def undisturbed() -> Iterator[None]:
    """What servers do by themselves now and then does not come in between, however long a test
    takes; whoever waits for an index or a thumbnail has it, and who is ready is found to be so."""
    with pytest.MonkeyPatch.context() as patch:
        for runner in (backup_runner, job_runner, move_runner, ttl_runner):
            patch.setattr(runner, "LOOK_SECONDS", 3_600.0)
        patch.setattr(registry, "TRIM_SECONDS", 3_600.0)
        patch.setattr(database, "INDEX_WAIT_SECONDS_MAX", 60.0)
        patch.setattr(database, "WORDS_WAIT_SECONDS_MAX", 60.0)
        patch.setattr(context, "READY_SECONDS", 60.0)
        patch.setattr(thumbnails, "SECONDS", 60)
        yield
