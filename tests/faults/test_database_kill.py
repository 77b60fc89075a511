"""Kill -9 of a process that commits under load: what it acknowledged is there, and documents,
history, log and requests tell the same story."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.crash_load import Acknowledged, check_file
from tests.faults.seeds import new_seed, rounds

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = rounds(9, 200)
COMMITS_MAX = 150  # before the kill; some more come through until it


def note(said: Acknowledged, line: bytes) -> None:
    if line.endswith(b"\n"):  # else cut off by the kill: nobody has read it
        version, name, counter = line.decode().split()
        said.note(int(version), name, counter)


async def run_and_kill(file: Path, round_number: int, commits: int, said: Acknowledged) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.writer_process",
        str(file),
        str(round_number),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        for _ in range(commits):
            line = await process.stdout.readline()
            assert line, "the process has ended by itself"
            note(said, line)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        # Lines that were on their way are acknowledgements as well.
        while line := await process.stdout.readline():
            note(said, line)
        await process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * ROUNDS)
async def test_killed_process_loses_no_acknowledged_commit(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    file = tmp_path / "database.sqlite"
    said = Acknowledged()
    for round_number in range(ROUNDS):
        await run_and_kill(file, round_number, chance.randint(1, COMMITS_MAX), said)
        await check_file(file, said)
    assert len(said.names) >= ROUNDS
    record_property(
        "summary",
        f"kill -9 of a writing process: {ROUNDS} rounds, {len(said.names)} commits acknowledged, "
        f"none lost; documents, log, indexes agree (seed {seed})",
    )
