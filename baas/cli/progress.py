"""What a command does on this machine while bytes pass: a bar for people, and files that appear
whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextlib.contextmanager
def appearing(file: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when all of it is written, or never."""
    partial = file.with_name(f".{file.name[:60]}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


class Bar:
    """Progress on stderr while that is a terminal."""

    def __init__(self, verb: str, total: int | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID = self._progress.add_task(verb, total=total)

    def advance(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def restart(self, verb: str, total: int | None) -> None:
        """The same bar for the next file."""
        self._progress.reset(self._task, description=verb, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
