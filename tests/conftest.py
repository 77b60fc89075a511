"""What all tests share: the profile of the property tests, a mongod, sockets that tell where they
were made, and failures that bring about no others.

Deadlines and health checks of hypothesis judge the machine, not the code; what takes too long is
cut off by the time limit of a test. `make test` tries the same examples each time, so that what it
says is about the change; `make fuzz` draws new ones.
"""

from __future__ import annotations

import gc
import signal
import sys
import warnings
from collections.abc import Generator

import httpx._config
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.effort import FACTOR
from tests.mongo import mongodb_uri, replica_set
from tests.sockets import remember_sockets

__all__ = ["mongodb_uri", "replica_set"]

settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=FACTOR == 1,
)
settings.load_profile("default")
if FACTOR == 1:
    # It would also try the constants of all modules that some earlier test of the worker imported.
    setattr(providers, "_get_local_constants", lambda: providers._local_constants)  # noqa: B010

# Workers take whole files in this order: what takes long or mostly waits comes first, so that all
# workers end together and waiting goes beside work.
LONGEST_FIRST = (
    "tests/cluster",
    "tests/baas/cli/test_serve.py",
    "tests/faults",
    "tests/acceptance",
    "tests/console",
    "tests/baas/cli",
    "tests/bench",
    "tests/baas/moves",
    "tests/storage",
    "tests/baas/workers",
    "tests/baas/ws",
    "tests/baas/buckets",
    "tests/sdk/test_wheel.py",
    "tests/baas/test_app.py",
    "tests/security",
    "tests/rules/test_cost.py",
    "tests/rules/test_soundness.py",
    "tests/baas/database",
    "tests/baas/backups",
    "tests/model_based",
    "tests/baas/services",
    "tests/baas/http",
)

remember_sockets()

# A shell that puts a run into the background has it, and all that it starts, ignore Ctrl-C; what
# commands do when they are interrupted could not be seen there.
signal.signal(signal.SIGINT, signal.default_int_handler)

# For all of httpx's calls that name no time: five seconds would judge the machine as well.
_PATIENCE_SECONDS = 60.0
for _kind in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _kind, _PATIENCE_SECONDS)

_failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(node: str) -> int:
    ranks = (rank for rank, start in enumerate(LONGEST_FIRST) if node.startswith(start))
    return next(ranks, len(LONGEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What a failed test left open is dropped here. Found by the collector in the midst of a later
    test it would have that one fail as well."""
    result = yield
    if item.stash.get(_failed, False):
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            if hasattr(sys, name):  # they hold the frames of the failure
                delattr(sys, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    return result
