"""How a server kills itself at a step: at the one that a file names, which goes first, so that the
next one gets past it. The file holds the step's name, how often it is to be passed before, and the
signal: one that is stopped in place of killed goes on from there when it is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "TEST_DIES_AT"  # where the file is


def doom(file: Path, point: str, passes: int = 0, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Has whoever reaches the step die there, or stop. For the test."""
    whole = file.with_suffix(f".{os.getpid()}")  # others may be reading
    whole.write_text(f"{point} {passes} {by.name}", encoding="ascii")
    whole.replace(file)


def make_mortal(points: Mapping[str, tuple[Any, str]], *, after: bool) -> None:
    """Of this process, before or after each of these coroutine functions: what has it, its name."""
    for point, (owner, name) in points.items():
        setattr(owner, name, _mortal(getattr(owner, name), point, after=after))


def _mortal(original: Callable[..., Any], point: str, *, after: bool) -> Callable[..., Any]:
    async def step(*arguments: Any, **more: Any) -> Any:
        if not after:
            _die_at(point)
        result = await original(*arguments, **more)
        if after:
            _die_at(point)
        return result

    return step


def _die_at(point: str) -> None:
    file = Path(os.environ[VARIABLE])
    try:
        named, passes, by = file.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return
    if named != point:
        return
    if int(passes) > 0:
        doom(file, point, int(passes) - 1, by=signal.Signals[by])
        return
    file.unlink(missing_ok=True)
    os.kill(os.getpid(), signal.Signals[by])
