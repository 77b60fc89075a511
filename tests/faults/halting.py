"""Where the servers of a `backup_nursery` halt, as a file says that they and a test share."""

from __future__ import annotations

import asyncio
from pathlib import Path

VARIABLE = "TEST_BACKUP_HALTS"  # names the file


class Halt:
    """Where servers halt: at a part of a backup or a restore, until it is lifted."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._reached = file.with_suffix(".reached")

    def at_part(self, number: int) -> None:
        """The part of this number that is made or read from now on, counted from 1. To be called
        while nothing is under way."""
        self._reached.unlink(missing_ok=True)
        self.file.write_text(str(number), encoding="ascii")

    def lift(self) -> None:
        self.file.unlink(missing_ok=True)

    @property
    def is_reached(self) -> bool:
        return self._reached.exists()

    async def come_to_part(self) -> None:
        """The server's end."""
        if not self.file.exists():
            return
        left = int(self.file.read_text(encoding="ascii")) - 1
        if left > 0:
            self.file.write_text(str(left), encoding="ascii")
            return
        self._reached.touch()
        while self.file.exists():  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(0.005)
