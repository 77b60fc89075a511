"""What is promised to be durable has been synced: the file after its last write, and every name on
the way to it after it was given."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from baas.accounts.sealing import SECRET_FILE, ServerSecret
from baas.buckets.local_blobs import LocalBlobs
from baas.clock import SystemClock
from baas.storage.sqlite_store import SqliteStore
from baas.storage.store import StoreName


class Syncs:
    """What each sync of a file or a folder has made durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, tuple[int, int]] = {}  # by inode: size and time of the last write
        self.folders: dict[int, dict[str, int]] = {}  # by inode: names, and what they lead to

    def note(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(descriptor) as entries:
                self.folders[found.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self.files[found.st_ino] = (found.st_size, found.st_mtime_ns)

    def check_durable(self, file: Path) -> None:
        found = file.stat()
        assert self.files.get(found.st_ino) == (found.st_size, found.st_mtime_ns), f"{file}"
        for path in (file, *file.parents):
            if path == self.root:
                return
            names = self.folders.get(path.parent.stat().st_ino, {})
            assert names.get(path.name) == path.stat().st_ino, f"the name {path} is not durable"

    def check_gone(self, path: Path) -> None:
        names = self.folders.get(path.parent.stat().st_ino)
        assert names is not None, f"{path.parent} was not synced"
        assert path.name not in names


@pytest.fixture
def syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncs:
    syncs = Syncs(tmp_path)

    def fsync(descriptor: Any) -> None:
        syncs.note(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return syncs


def forget(syncs: Syncs) -> None:
    """As if whoever made what is there had been killed before it came to syncing."""
    syncs.files.clear()
    syncs.folders.clear()


async def put(blobs: LocalBlobs, key: str) -> None:
    writer = await blobs.open_writer(key)
    await writer.write(b"some bytes")
    await writer.finish()


async def test_a_stored_blob_is_durable(tmp_path: Path, syncs: Syncs) -> None:
    root = tmp_path / "objects"
    blobs = LocalBlobs(root)
    await put(blobs, "demo/abcdef/1")
    (file,) = root.rglob("abcdef*")
    syncs.check_durable(file)
    await blobs.close()


async def test_a_blob_is_durable_in_folders_that_somebody_else_made(
    tmp_path: Path, syncs: Syncs
) -> None:
    root = tmp_path / "objects"
    blobs = LocalBlobs(root)
    await put(blobs, "demo/abcdef/1")
    await blobs.close()
    forget(syncs)
    blobs = LocalBlobs(root)
    await put(blobs, "demo/abxyz/1")
    (file,) = root.rglob("abxyz*")
    syncs.check_durable(file)
    await blobs.close()


async def test_an_added_blob_is_durable_and_in_known_folders_too(
    tmp_path: Path, syncs: Syncs
) -> None:
    root = tmp_path / "objects"
    blobs = LocalBlobs(root)
    for key in ("demo/abcdef/1", "demo/abxyz/1", "demo/cdefgh/1", "other/abcdef/1"):
        await blobs.add(key, b"some bytes")
        syncs.check_durable(blobs._path(key))
    await blobs.close()


async def test_the_database_of_small_blobs_has_a_durable_name(tmp_path: Path, syncs: Syncs) -> None:
    """SQLite syncs its own bytes (see test_small_blobs.py), and not the name of its first file."""
    root = tmp_path / "objects"
    blobs = LocalBlobs(root, packed=True)
    await blobs.add("demo/abcdef/1", b"some bytes")
    assert ".small.sqlite" in syncs.folders[root.stat().st_ino]
    assert root.name in syncs.folders[os.stat(tmp_path).st_ino]
    await blobs.close()


@pytest.mark.parametrize("key", ["demo/abxyz/1", "demo/cdefgh/1"])
async def test_a_blob_is_durable_in_folders_that_were_deleted_meanwhile(
    tmp_path: Path, syncs: Syncs, key: str
) -> None:
    root = tmp_path / "objects"
    blobs = LocalBlobs(root)
    await blobs.add("demo/abcdef/1", b"some bytes")
    await asyncio.to_thread(shutil.rmtree, root / "demo")
    forget(syncs)
    await blobs.add(key, b"some bytes")
    assert syncs.folders[root.stat().st_ino]["demo"] == (root / "demo").stat().st_ino
    (file,) = root.rglob(key.split("/")[1] + "*")
    assert file.parent.name in syncs.folders[(root / "demo").stat().st_ino]
    await blobs.close()


def test_the_secret_is_durable(tmp_path: Path, syncs: Syncs) -> None:
    ServerSecret.load(tmp_path, SystemClock(), {})
    syncs.check_durable(tmp_path / SECRET_FILE)


async def test_a_deleted_project_is_gone_for_good(tmp_path: Path, syncs: Syncs) -> None:
    store = SqliteStore(tmp_path, SystemClock(), synchronous="full")
    engine = await store.open(StoreName("demo", "default"), create=True)
    await engine.close()
    (folder,) = await asyncio.to_thread(lambda: list((tmp_path / "projects").iterdir()))
    await store.delete_project("demo")
    syncs.check_gone(folder)
