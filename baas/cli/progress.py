"""What a command does on this machine while bytes pass or the server works: a bar for people, and
files that appear whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_POLL_SECONDS_MIN, _POLL_SECONDS_MAX = 0.05, 1.0


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


async def wait_while_running(
    work: dict[str, Any],
    again: Callable[[], Awaitable[dict[str, Any]]],
    *,
    column: ProgressColumn,
    total: str,
    completed: str,
) -> dict[str, Any]:
    """A job or task of the server's when it is over, asked for by `again`; `total` and `completed`
    name what of its progress the bar shows, on stderr while that is a terminal."""
    seconds = _POLL_SECONDS_MIN
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        column,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        row = bar.add_task(work["kind"], total=work["progress"][total])
        while work["state"] in ("running", "undoing"):
            await asyncio.sleep(seconds)
            seconds = min(seconds * 1.5, _POLL_SECONDS_MAX)
            work = await again()
            bar.update(
                row,
                description=work["kind"],
                total=work["progress"][total],
                completed=work["progress"][completed],
            )
    return work
