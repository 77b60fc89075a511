"""What is in the files of a folder whose owner goes on: files and folders come and go meanwhile,
and one that has gone holds nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def files_with(folder: Path, *texts: bytes) -> list[str]:
    """The files below `folder` that hold any of these, in order."""
    return sorted(
        str(path.relative_to(folder))
        for path, content in _contents(folder)
        if any(text in content for text in texts)
    )


def bytes_below(folder: Path) -> bytes:
    """The contents of all files below `folder`, one after another."""
    return b"".join(content for _, content in _contents(folder))


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for place, _, names in os.walk(folder):  # passes over folders that have gone; `rglob` raises
        for name in names:
            path = Path(place, name)
            with suppress(FileNotFoundError):
                yield path, path.read_bytes()
