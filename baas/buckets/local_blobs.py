"""Blobs in a folder of the local disk: `<root>/<project>/<first two of content>/<content>.<part>`.

A blob is written to `<root>/.partial/`, synced, and renamed into its place; then the folder is
synced. So a blob that has its name is whole, and once `finish` has returned it survives a power
cut. Nothing that a caller chose is part of a file's name.

A blob that `add` gets whole is written under its name at once, which has the file system write its
journal once, not twice: one that a power cut ended before `add` returned may lack bytes. Its key
was new, so nothing refers to it, and the sweep takes it. A small one is no file where `packed` is
set, but lies in a database with others (see `small_blobs`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from baas.buckets.blobs import (
    READ_BYTES,
    BlobInfo,
    Checksum,
    Chunk,
    Receiver,
    See,
    Sender,
    Stretch,
    bytes_missing,
    store_full,
    store_unavailable,
)
from baas.buckets.receiving import SocketReceiver
from baas.buckets.sending import FileSender, FileStretch, VerifiedFiles
from baas.buckets.small_blobs import SMALL_BYTES_MAX, SmallBlobs
from baas.errors import Unavailable

THREADS = 8
_PARTIAL = ".partial"
_OWNER = ".owner"
_SMALL = ".small.sqlite"
_LIST_BATCH = 500
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FROM_MEMORY = getattr(os, "RWF_NOWAIT", None)  # reads nothing that is not there
_CAN_SEND_FILES = hasattr(os, "sendfile")
T = TypeVar("T")


class LocalBlobs:
    """A BlobStore. `synced` False leaves out every sync: for tests of what has nothing to do with
    power cuts. With `packed`, small blobs that are added share a database."""

    part_bytes_max = 1 << 60

    def __init__(self, root: Path, *, synced: bool = True, packed: bool = False) -> None:
        self._root = root
        # There to be read in any case: it may have been packed before.
        self._small = SmallBlobs(root / _SMALL, self._settle_root, synced=synced)
        self._packed = packed
        self._synced = synced
        self._pool = ThreadPoolExecutor(THREADS, "objects")
        self._folders: set[Path] = set()
        self._verified = VerifiedFiles()

    async def check(self) -> None:
        await self._run(self._prepare)

    async def open_writer(self, key: str) -> LocalWriter:
        return await self._run(lambda: LocalWriter(self, key, self._open_partial(key)))

    async def add(self, key: str, data: Chunk) -> None:
        if self._packed and len(data) <= SMALL_BYTES_MAX:
            await self._small.add(key, data)
        else:
            await self._run(lambda: self._add(key, data))

    async def read(
        self, key: str, start: int, end: int, see: See | None = None
    ) -> AsyncIterator[Chunk]:
        if end <= SMALL_BYTES_MAX and (small := self._small.get(key)) is not None:
            if len(small) < end:
                raise bytes_missing(key)
            if see is not None:
                see(small[start:end])
            yield small[start:end]
            return
        reader = _LocalReader(key, self._path(key))
        try:
            while start < end:
                # Made in this thread: each other one would keep a heap of its own of freed chunks.
                chunk = bytearray(min(READ_BYTES, end - start))
                is_last = start + len(chunk) == end
                await self._run(partial(reader.fill, chunk, start, is_last, see))
                start += len(chunk)
                yield chunk
        finally:
            reader.close()

    def read_at_once(self, key: str, start: int, end: int) -> bytes | None:
        small = self._small.get(key)
        if small is not None:
            return small[start:end] if end <= len(small) else None
        if _FROM_MEMORY is None:
            return None
        chunk = bytearray(end - start)
        try:
            descriptor = os.open(self._name(key), os.O_RDONLY)
            try:
                count = os.preadv(descriptor, [chunk], start, _FROM_MEMORY)
            finally:
                os.close(descriptor)
        except OSError:
            return None  # whoever reads it in a thread learns why
        return bytes(chunk) if count == len(chunk) else None

    def open_sender(self, stretches: Sequence[Stretch], checksum: Checksum | None) -> Sender | None:
        if not _CAN_SEND_FILES or any(self._is_small(one) for one in stretches):
            return None
        files = [FileStretch(one.key, self._name(one.key), one.start, one.end) for one in stretches]
        return FileSender(self._pool, files, checksum, self._verified)

    def _is_small(self, stretch: Stretch) -> bool:
        return stretch.end <= SMALL_BYTES_MAX and self._small.find_size(stretch.key) is not None

    async def get(self, key: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return self._path(key).read_bytes()
            except FileNotFoundError:
                return None

        small = self._small.get(key)
        return small if small is not None else await self._run(read)

    async def find_size(self, key: str) -> int | None:
        def look() -> int | None:
            try:
                return self._path(key).stat().st_size
            except FileNotFoundError:
                return None

        size = self._small.find_size(key)
        return size if size is not None else await self._run(look)

    async def put(self, key: str, data: Chunk) -> None:
        def write() -> None:
            self._make_folder(self._root / _PARTIAL)
            # Of a name of its own: another node may write the same.
            fresh = self._partial(f"{key}~{os.urandom(8).hex()}")
            fresh.write_bytes(data)
            self._move(fresh, self._path(key))

        await self._run(write)

    async def claim(self, identity: str) -> bool:
        def mark() -> bool:
            self._prepare()
            file = self._root / _OWNER
            with contextlib.suppress(FileExistsError), file.open("x") as out:
                out.write(identity)
            return file.read_text() == identity

        return await self._run(mark)

    async def delete(self, keys: Sequence[str]) -> None:
        def unlink() -> None:
            for key in keys:
                self._path(key).unlink(missing_ok=True)

        await self._run(unlink)
        await self._small.delete(keys)

    async def list(self, prefix: str) -> AsyncIterator[list[BlobInfo]]:
        found = self._walk(prefix)
        while batch := await self._run(lambda: _take(found, _LIST_BATCH)):
            yield batch
        for batch in self._small.find(prefix, _LIST_BATCH):
            yield batch

    async def close(self) -> None:
        await self._small.close()
        await asyncio.to_thread(self._pool.shutdown)

    # Of a writer, in its thread -------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except OSError as error:
            raise _as_told(error) from error

    def _settle_root(self) -> None:
        self._make_folder(self._root)
        if self._synced:
            _sync_folder(self._root)

    def _prepare(self) -> None:
        self._make_folder(self._root / _PARTIAL)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        project, content, part = key.split("/")
        return f"{self._root}/{project}/{content[:2]}/{content}.{part}"

    def _partial(self, key: str) -> Path:
        return self._root / _PARTIAL / key.replace("/", ".")

    def _open_partial(self, key: str) -> int:
        self._make_folder(self._root / _PARTIAL)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return os.open(self._partial(key), flags, 0o600)

    def _add(self, key: str, data: Chunk) -> None:
        target = self._path(key)
        descriptor = self._create(target)
        try:
            try:
                _write_all(descriptor, data)
                if self._synced:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if self._synced:
                _sync_folder(target.parent)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _create(self, target: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._make_folder(target.parent)
        try:
            return os.open(target, flags, 0o600)
        except FileNotFoundError:
            self._folders.discard(target.parent)
            self._make_folder(target.parent)
            return os.open(target, flags, 0o600)

    def _place(self, key: str, descriptor: int) -> None:
        """Makes the written blob durable under its name."""
        try:
            if self._synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target = self._path(key)
        self._move(self._partial(key), target)
        if self._synced:
            _sync_folder(target.parent)

    def _move(self, file: Path, target: Path) -> None:
        self._make_folder(target.parent)
        try:
            file.rename(target)
        except FileNotFoundError:
            # The project's folder was deleted while this one was known.
            self._folders.discard(target.parent)
            self._make_folder(target.parent)
            file.rename(target)

    def _make_folder(self, folder: Path) -> None:
        """The folder, and the names on the way to it, durably."""
        if folder in self._folders:
            return
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            # New, or deleted while it was known.
            self._folders.discard(folder.parent)
            self._make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
        # Those above that were there too: whoever made them may not have come to syncing their
        # names. Once they are known a new folder costs one sync.
        new = []
        while folder not in self._folders and folder != self._root.parent:
            if self._synced:
                _sync_folder(folder.parent)
            new.append(folder)
            folder = folder.parent
        self._folders.update(new)  # and not before: others rely on it

    def _walk(self, prefix: str) -> Iterator[BlobInfo]:
        for project in _children(self._root):
            if project.name == _PARTIAL:
                for file in _children(project):
                    owner, *names = file.name.split(".", 2)
                    # What else lies there, such as an editor's files, is nobody's to collect.
                    if len(names) == 2 and (not prefix or prefix == f"{owner}/"):
                        yield from _info(file, "/".join((owner, *names)), is_partial=True)
            elif not prefix or prefix == f"{project.name}/":
                for folder in _children(project):
                    for file in _children(folder):
                        content, _, part = file.name.partition(".")
                        yield from _info(file, f"{project.name}/{content}/{part}")

    async def delete_partial(self, key: str) -> None:
        """What an interrupted writer left."""
        await self._run(lambda: self._partial(key).unlink(missing_ok=True))


class _LocalReader:
    """A blob being read, in any thread, one at a time. A read goes on in its thread when whoever
    waited for it was cancelled: then that thread closes the file."""

    def __init__(self, key: str, path: Path) -> None:
        self._key = key
        self._path = path
        self._descriptor = -1
        self._lock = threading.Lock()
        self._is_over = False

    def fill(self, chunk: bytearray, start: int, is_last: bool, see: See | None) -> None:
        """The bytes from `start` on. Raises DataLoss (`ObjectBytesMissing`)."""
        try:
            with self._lock:
                if self._descriptor < 0:
                    self._descriptor = os.open(self._path, os.O_RDONLY)
                _read_all(self._descriptor, chunk, start)
            if see is not None:
                see(chunk)
        except (FileNotFoundError, EOFError) as error:
            raise bytes_missing(self._key) from error
        finally:
            if is_last or self._is_over:
                self.close()

    def close(self) -> None:
        """Never waits."""
        self._is_over = True
        if self._lock.acquire(blocking=False):
            descriptor, self._descriptor = self._descriptor, -1
            self._lock.release()
            if descriptor >= 0:
                os.close(descriptor)


class LocalWriter:
    """A BlobWriter. A write goes on in its thread when whoever waited for it was cancelled, so the
    file is never closed under it: its number may be another file's by then."""

    def __init__(self, store: LocalBlobs, key: str, descriptor: int) -> None:
        self._store = store
        self._key = key
        self._descriptor = descriptor  # -1: closed, or about to be
        self._lock = threading.Lock()

    async def write(self, chunk: Chunk, see: See | None = None) -> None:
        await self._store._run(partial(self._write, chunk, see))

    def open_receiver(self, size: int, see: See | None) -> Receiver | None:
        return SocketReceiver(self._store._pool, size, partial(self._write, see=see), _as_told)

    async def finish(self) -> None:
        await self._store._run(lambda: self._store._place(self._key, self._take()))

    async def abort(self) -> None:
        descriptor = self._take()
        if descriptor >= 0:
            os.close(descriptor)
        self._store._partial(self._key).unlink(missing_ok=True)

    def _write(self, chunk: Chunk | memoryview, see: See | None) -> None:
        if see is not None:
            see(chunk)
        with self._lock:
            if self._descriptor >= 0:
                _write_all(self._descriptor, chunk)

    def _take(self) -> int:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            return descriptor


def _as_told(error: OSError) -> Unavailable:
    return (store_full if error.errno in _FULL else store_unavailable)(error)


def _write_all(descriptor: int, chunk: Chunk | memoryview) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int, chunk: bytearray, start: int) -> None:
    """Raises EOFError."""
    with memoryview(chunk) as view:
        at = 0
        while at < len(view):
            count = os.preadv(descriptor, [view[at:]], start + at)
            if not count:
                raise EOFError
            at += count


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _children(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        yield folder / name


def _info(file: Path, key: str, *, is_partial: bool = False) -> Iterator[BlobInfo]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    yield BlobInfo(key, found.st_size, found.st_mtime_ns // 1000, is_partial)


def _take(items: Iterator[BlobInfo], count: int) -> list[BlobInfo]:
    return [item for item, _ in zip(items, range(count), strict=False)]
