"""A disk whose power can be cut, that can be full, and that can fail: a file system for SQLite.

What is written goes to the real file at once, as into the cache of an operating system, and is
remembered as pending until the file is synced. At the cut, nothing but what was synced is sure: of
what was pending, all survives, or nothing, a beginning that ends anywhere, or any of its sectors in
any order, as the seed has it. Names are pending as well, until their folder is synced; a file whose
name is lost is gone, one whose removal is lost is back.

A sync that is told to fail is the worst kind: the pending data reaches the disk or does not, and no
later sync will write it (as Linux does it).
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR_BYTES = 512
# SQLite syncs the folder with the first sync of such a file, if it has created it.
_SYNCS_FOLDER = (
    apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Truncate:
    size: int


_Pending = _Write | _Truncate


@dataclass(slots=True, eq=False)
class _Inode:
    """What a file holds on the disk, and what is on its way there."""

    durable: bytearray
    pending: list[_Pending] = field(default_factory=list)

    def sync(self) -> None:
        for item in self.pending:
            _put(self.durable, item)
        self.pending.clear()

    def fail_sync(self, chance: random.Random) -> None:
        """Some of it is there, and the rest never will be."""
        self.durable = self.survive(chance)
        self.pending.clear()

    def survive(self, chance: random.Random) -> bytearray:
        """What the disk holds after a cut now."""
        image = bytearray(self.durable)
        pending = self.pending
        way = chance.randrange(5)
        if way == 0 or not pending:
            return image
        if way == 1:
            kept: list[_Pending] = pending
        elif way == 2:
            kept = pending[: chance.randint(0, len(pending))]
        elif way == 3:
            cut = chance.randrange(len(pending))
            kept = [*pending[:cut], *_torn(pending[cut], chance)]
        else:
            share = chance.random()
            kept = [part for item in pending for part in _sectors(item) if chance.random() < share]
        for item in kept:
            _put(image, item)
        return image


def _put(image: bytearray, item: _Pending) -> None:
    if isinstance(item, _Truncate):
        if item.size < len(image):
            del image[item.size :]
        else:
            image.extend(bytes(item.size - len(image)))
        return
    end = item.offset + len(item.data)
    if len(image) < item.offset:
        image.extend(bytes(item.offset - len(image)))
    image[item.offset : end] = item.data


def _torn(item: _Pending, chance: random.Random) -> list[_Pending]:
    if isinstance(item, _Truncate):
        return []
    return [_Write(item.offset, item.data[: chance.randrange(len(item.data))])]


def _sectors(item: _Pending) -> Iterator[_Pending]:
    if isinstance(item, _Truncate):
        yield item
        return
    start, end = item.offset, item.offset + len(item.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield _Write(start, item.data[start - item.offset : stop - item.offset])
        start = stop


class Disk(apsw.VFS):
    """The files below `root`, by way of the file system that is really there.

    `counts` tells how many operations of each kind there were: open, write, sync, truncate, delete.
    `fail(kind, at, …)` has the `at`-th one fail, counted from 1, and `cut_at(n)` the power go at
    the n-th operation of any kind: everything fails from then on, and `survivors` are made.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.name = f"disk-{id(self)}"
        super().__init__(self.name, "")
        self.root = root
        self.counts: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.is_off = False
        self._chance = random.Random(seed)
        self._cut_at = 0
        self._faults: list[_Fault] = []
        # A path is missing here if there is no such file.
        self._now: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._survivors: dict[str, bytearray] = {}
        self._folders = {str(path) for path in (root, *root.rglob("*")) if path.is_dir()}
        for path in root.rglob("*"):
            if path.is_file() and not path.name.endswith("-shm"):
                inode = _Inode(bytearray(path.read_bytes()))
                self._now[str(path)] = self._durable[str(path)] = inode

    # What tests do with it ------------------------------------------------------------------------

    def cut_at(self, operation: int) -> None:
        """The power goes at this operation, counted from now."""
        with self.lock:
            self._cut_at = self.counts.total() + operation

    def fail(
        self, kind: str, at: int, *, times: int = 1, error: type[apsw.Error] = apsw.IOError
    ) -> None:
        """Has operations of a kind ("any" for every one that writes) fail: the `at`-th from now on,
        and those behind it, `times` in all."""
        with self.lock:
            self._faults.append(_Fault(kind, at - 1, times, error))

    def heal(self) -> None:
        """Nothing fails any more."""
        with self.lock:
            self._faults.clear()

    def cut(self) -> None:
        """The power goes now."""
        with self.lock:
            if self.is_off:
                return
            self.is_off = True
            for path in sorted({*self._now, *self._durable}):
                inode = self._find_after_cut(path)
                if inode is not None:
                    self._survivors[path] = inode.survive(self._chance)

    def write_survivors(self, root: Path) -> None:
        """Puts what is left after the cut below another root. The shared memory file is left too,
        as it was or as rubbish: it belongs to nobody any more."""
        assert self.is_off
        for path, content in self._survivors.items():
            file = root / Path(path).relative_to(self.root)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        for shared in self.root.rglob("*-shm"):
            file = root / shared.relative_to(self.root)
            if file.parent.exists() and self._chance.random() < 0.7:
                shutil.copy(shared, file)
                if self._chance.random() < 0.5:
                    file.write_bytes(self._chance.randbytes(file.stat().st_size))

    @contextmanager
    def folder_syncs(self) -> Iterator[None]:
        """Within it, `os.fsync` of a folder below the root makes the names in it durable."""
        real = os.fsync

        def fsync(descriptor: Any) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self.sync_folder(os.readlink(f"/proc/self/fd/{descriptor}"))
            else:
                real(descriptor)

        os.fsync = fsync  # type: ignore[assignment]
        try:
            yield
        finally:
            os.fsync = real

    def sync_folder(self, folder: str) -> None:
        with self.lock:
            if self.is_off or not Path(folder).is_relative_to(self.root):
                return
            self._folders |= {str(path) for path in Path(folder).iterdir() if path.is_dir()}
            for path in {*self._now, *self._durable}:
                if str(Path(path).parent) == folder:
                    if path in self._now:
                        self._durable[path] = self._now[path]
                    else:
                        del self._durable[path]

    # What SQLite asks of it -----------------------------------------------------------------------

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        with self.lock:
            is_new = path not in self._now
            if is_new:
                self.step("open")
            file = _DiskFile(self, path, name, flags)
            if is_new:
                self._now[path] = _Inode(bytearray())
            file.inode = self._now[path]
            file.syncs_folder = is_new and bool(flags[0] & _SYNCS_FOLDER)
            return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self.lock:
            self.step("delete")
            super().xDelete(filename, syncdir)
            self._now.pop(filename, None)
            if syncdir:
                self.sync_folder(str(Path(filename).parent))

    def step(self, kind: str) -> None:
        """Counts an operation; raises what it is to raise."""
        if not self.is_off:
            self.counts[kind] += 1
            if self._cut_at and self.counts.total() >= self._cut_at:
                self.cut()
        if self.is_off:
            raise apsw.IOError("the power is off")
        for fault in self._faults:
            if fault.kind in (kind, "any") and fault.is_due():
                raise fault.error(f"told to fail at a {kind}")

    @property
    def chance(self) -> random.Random:
        return self._chance

    def _find_after_cut(self, path: str) -> _Inode | None:
        parents = [str(parent) for parent in Path(path).parents]
        for parent in parents[: parents.index(str(self.root))]:
            if parent not in self._folders and self._chance.random() < 0.5:
                return None
        now, durable = self._now.get(path), self._durable.get(path)
        return now if self._chance.random() < 0.5 else durable


@dataclass(slots=True)
class _Fault:
    kind: str
    before: int
    times: int
    error: type[apsw.Error]

    def is_due(self) -> bool:
        if self.before > 0:
            self.before -= 1
            return False
        self.times -= 1
        return self.times >= 0


class _DiskFile(apsw.VFSFile):
    inode: _Inode
    syncs_folder: bool

    def __init__(
        self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._path = path

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            self._attempt("write", lambda: self.inode.pending.append(_Write(offset, bytes(data))))
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        with self._disk.lock:
            self._attempt("truncate", lambda: self.inode.pending.append(_Truncate(newsize)))
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        # The real disk need not be asked: nobody cuts its power.
        with self._disk.lock:
            try:
                self._disk.step("sync")
            except apsw.Error:
                if not self._disk.is_off:
                    self.inode.fail_sync(self._disk.chance)
                raise
            self.inode.sync()
            if self.syncs_folder:
                self.syncs_folder = False
                self._disk.sync_folder(str(Path(self._path).parent))

    def _attempt(self, kind: str, note: Callable[[], None]) -> None:
        """What is under way at the cut may survive like everything that is pending."""
        was_off = self._disk.is_off
        note_now = not was_off
        if note_now:
            note()
        try:
            self._disk.step(kind)
        except apsw.Error:
            if note_now and not self._disk.is_off:
                self.inode.pending.pop()  # told to fail: nothing was written
            raise
