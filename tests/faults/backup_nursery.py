"""Forks servers whose backups are of many small parts, each of which takes a moment, and which keep
how far they have come all the time: so that kills meet every step.

python -m tests.faults.backup_nursery
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import baas.backups.writing
import baas.database.loading
import baas.services.backup_runner
from baas.backups.manifest import Part
from baas.backups.place import BackupPlace
from tests.nursery import main

_MOMENT_SECONDS = 0.02
_write_part = BackupPlace.write_part
_read_part = BackupPlace._read_part


async def _write_slowly(
    self: BackupPlace, backup: str, identifier: str, lines: Sequence[bytes]
) -> Part:
    await asyncio.sleep(_MOMENT_SECONDS)
    return await _write_part(self, backup, identifier, lines)


async def _read_slowly(self: BackupPlace, backup: str, part: Part) -> list[bytes]:
    await asyncio.sleep(_MOMENT_SECONDS)
    return await _read_part(self, backup, part)


def slow_down() -> None:
    changes: dict[Any, dict[str, Any]] = {
        baas.backups.writing: {"PART_BYTES": 2_000, "CHECKPOINT_SECONDS": 0},
        baas.database.loading: {"CHUNK_DOCUMENTS": 10},
        baas.services.backup_runner: {"SAVE_SECONDS": 0.01},
        BackupPlace: {"write_part": _write_slowly, "_read_part": _read_slowly},
    }
    for where, values in changes.items():
        for name, value in values.items():
            setattr(where, name, value)


if __name__ == "__main__":
    slow_down()
    main()
