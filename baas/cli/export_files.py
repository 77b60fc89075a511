"""The file of an export under way. It takes its name when it is whole; what there is of it until
then stays beside it, also after a SIGKILL, and the same command goes on with it within an hour."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from baas.cli.failures import CommandFailed
from baas.encoding.end_lines import END_LINE

KEPT_SECONDS = 3_600  # who exports later wants what there is then
_READ_BYTES = 1024 * 1024
_END_BYTES_MAX = 300


@dataclass(frozen=True, slots=True)
class Origin:
    """What lines are of: where they came from, in which incarnation, and as of which version."""

    what: str
    incarnation: str
    version: str


class ExportFile:
    """`out` is to be written to, whole lines only; `digest`, `documents` and `last` are of the
    lines that an earlier try has left there, whose `origin` is None if there are none."""

    def __init__(self, out: BinaryIO, notes: Path, what: str) -> None:
        self.out = out
        self.what = what
        self.origin: Origin | None = None
        self.digest = hashlib.sha256()
        self.documents = 0
        self.last = b""
        self._notes = notes

    def note(self, origin: Origin) -> None:
        """To be called before the first line is written."""
        fresh = self._notes.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(asdict(origin)))
        fresh.replace(self._notes)
        self.origin = origin

    def clear(self) -> None:
        """Forgets what an earlier try has left."""
        self.out.truncate(0)
        self.out.seek(0)
        self._notes.unlink(missing_ok=True)
        self.origin = None
        self.digest, self.documents, self.last = hashlib.sha256(), 0, b""

    def take_up(self) -> None:
        """Reads what an earlier try has left, if that was for the same and not long ago."""
        try:
            found = Origin(**orjson.loads(self._notes.read_bytes()))
            age = time.time() - os.fstat(self.out.fileno()).st_mtime
        except (OSError, ValueError, TypeError):
            return self.clear()
        if found.what != self.what or age > KEPT_SECONDS:
            return self.clear()
        self._read_lines()
        if not self.documents:
            return self.clear()
        self.origin = found
        return None

    def _read_lines(self) -> None:
        self._cut_end()
        self.out.seek(0)
        size, rest = 0, b""
        while chunk := self.out.read(_READ_BYTES):
            whole, found, rest = (rest + chunk).rpartition(b"\n")
            whole += found
            if whole:
                self.digest.update(whole)
                self.documents += whole.count(b"\n")
                self.last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
                size += len(whole)
        self.out.truncate(size)
        self.out.seek(size)

    def _cut_end(self) -> None:
        """Takes away a last line that tells of those before it: it is written anew."""
        start = max(0, self.out.seek(0, os.SEEK_END) - _END_BYTES_MAX)
        self.out.seek(start)
        at = self.out.read().rfind(b"\n" + END_LINE)
        if at >= 0:
            self.out.truncate(start + at + 1)


@contextlib.contextmanager
def growing(file: Path, what: str) -> Iterator[ExportFile]:
    """An ExportFile that becomes `file` at the end of the block, and stays beside it if that
    raises. Raises CommandFailed if another process is at it."""
    partial = file.with_name(f".{file.name[:60]}.part")
    notes = file.with_name(f".{file.name[:60]}.exported")
    flags = os.O_RDWR | os.O_CREAT
    with os.fdopen(os.open(partial, flags, 0o666), "r+b") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandFailed(f"another export to `{file}` is under way") from None
        growing_file = ExportFile(out, notes, what)
        growing_file.take_up()
        try:
            yield growing_file
        except BaseException:
            out.flush()
            if not out.tell():
                _remove(partial, notes)
            raise
        out.flush()
        os.fsync(out.fileno())
        partial.replace(file)
        notes.unlink(missing_ok=True)


def _remove(*files: Path) -> None:
    for one in files:
        one.unlink(missing_ok=True)
