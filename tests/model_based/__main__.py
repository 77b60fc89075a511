"""Runs without end, until it is interrupted or something is wrong.

python -m tests.model_based [ENGINE]      SEED=… SECONDS=… (0: without end)
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from tests.model_based.machine import STEPS, Machine, Mismatch
from tests.model_based.small import make_everything_small
from tests.mongo import ReplicaSet
from tests.storage.conftest import ENGINES

TELL_SECONDS = 10.0


class _Request:
    """What the places of engines ask pytest for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.replica_set: ReplicaSet | None = None

    def getfixturevalue(self, name: str) -> str:
        assert name == "mongodb_uri"
        self.replica_set = ReplicaSet(self._folder / "mongod").start()
        return self.replica_set.uri


async def run_without_end(engine: str, seed: int, seconds: float) -> None:
    cases: Counter[str] = Counter()
    started = told = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        request = _Request(Path(folder))
        place = ENGINES[engine](cast(pytest.FixtureRequest, request), Path(folder))
        try:
            async with place as open_database:
                runs = 0
                while not seconds or time.monotonic() - started < seconds:
                    name = f"run-{runs}"
                    machine = Machine(lambda name=name: open_database(name), seed + runs)  # type: ignore[misc]
                    await machine.run()
                    _remove(folder, name)
                    cases += machine.cases
                    runs += 1
                    if time.monotonic() - told > TELL_SECONDS:
                        told = time.monotonic()
                        _tell(f"{runs} runs, {runs * STEPS} steps, next seed {seed + runs}")
                _tell(f"{runs} runs, {runs * STEPS} steps, nothing wrong: {dict(cases)}")
        finally:
            if request.replica_set is not None:
                request.replica_set.stop()


def _remove(folder: str, name: str) -> None:
    for file in Path(folder).glob(f"{name}.*"):
        file.unlink()


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(engine: str = "sqlite") -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def set_item(mapping: dict[str, Any], key: str, value: Any) -> None:
        mapping[key] = value

    make_everything_small(setattr, set_item)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    _tell(f"{engine}: seeds from {seed} on")
    try:
        asyncio.run(run_without_end(engine, seed, float(os.environ.get("SECONDS") or 0)))
    except Mismatch as found:
        _tell(str(found))
        return 1
    except KeyboardInterrupt:
        _tell("interrupted; nothing was wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
