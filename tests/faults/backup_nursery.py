"""Forks servers whose backups are of many small parts, and which keep how far they have come all
the time. They halt where a test wants it: so a kill, or a look, comes in the midst of a task,
however fast or slow the machine is.

python -m tests.faults.backup_nursery SOCKET
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import baas.backups.writing
import baas.database.loading
import baas.services.backup_runner
from baas.backups.manifest import Part
from baas.backups.place import BackupPlace
from tests.faults.halting import VARIABLE, Halt
from tests.nursery import main

_write_part = BackupPlace.write_part
_read_part = BackupPlace._read_part


async def _write_and_halt(
    self: BackupPlace, backup: str, identifier: str, lines: Sequence[bytes]
) -> Part:
    part = await _write_part(self, backup, identifier, lines)
    await Halt(Path(os.environ[VARIABLE])).come_to_part()
    return part


async def _read_and_halt(self: BackupPlace, backup: str, part: Part) -> list[bytes]:
    await Halt(Path(os.environ[VARIABLE])).come_to_part()
    return await _read_part(self, backup, part)


def cut_small() -> None:
    changes: dict[Any, dict[str, Any]] = {
        baas.backups.writing: {"PART_BYTES": 2_000, "CHECKPOINT_SECONDS": 0},
        baas.database.loading: {"CHUNK_DOCUMENTS": 10},
        baas.services.backup_runner: {"SAVE_SECONDS": 0.01},
        BackupPlace: {"write_part": _write_and_halt, "_read_part": _read_and_halt},
    }
    for where, values in changes.items():
        for name, value in values.items():
            setattr(where, name, value)


if __name__ == "__main__":
    cut_small()
    main()
