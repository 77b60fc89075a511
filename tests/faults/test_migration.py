"""A file of the first format on its way to the present one, on a disk that fails, that is full, or
whose power goes: at each write and sync there is. The next start goes on, and nothing is lost."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import apsw
import pytest

from baas.clock import VirtualClock
from baas.storage import sqlite_schema
from baas.storage.engine import REQUEST_ROW_BYTES, CommitGroup, CommitRecord, EngineUnavailable
from baas.storage.sqlite import SqliteEngine
from tests.faults.disk import Disk
from tests.storage.commits import Writer, texts

OPERATIONS_MAX = 200
HEAD_COLUMNS = {"id", "incarnation", "version", "oldest", "history_bytes"}  # of format 1


async def make_old_file(file: Path) -> None:
    """As format 1 had it: with an answer to a request, and a document."""
    engine = SqliteEngine.open(file, clock=VirtualClock())
    await Writer(engine).write(5, {"a": "one"})
    await engine.commit(CommitGroup(5, [CommitRecord(6, [], "request", b"answer")]))
    await engine.close()
    connection = apsw.Connection(str(file))
    for (column,) in connection.execute("SELECT name FROM pragma_table_info('head')").fetchall():
        if column not in HEAD_COLUMNS:
            connection.execute(f"ALTER TABLE head DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


async def check_new_file(file: Path) -> None:
    engine = SqliteEngine.open(file, clock=VirtualClock())
    assert await texts(engine, "a") == ["one"]
    assert (await engine.read_head()).version == 6
    assert await engine.find_request("request") == (6, b"answer")
    assert await engine.read_request_bytes() == REQUEST_ROW_BYTES + len("requestanswer")
    await engine.commit(CommitGroup(6, [CommitRecord(7, [])]))
    await engine.close()
    connection = apsw.Connection(str(file))
    assert connection.execute("PRAGMA user_version").fetchall() == [(sqlite_schema.FORMAT,)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def migrate(file: Path, disk: Disk) -> bool:
    """Whether the file could be opened."""
    try:
        engine = SqliteEngine.open(file, clock=VirtualClock(), vfs=disk.name)
    except EngineUnavailable:
        return False
    await engine.close()
    return True


@pytest.mark.parametrize("way", ["fails", "is full", "is cut"])
async def test_a_migration_goes_on_wherever_it_broke_off(tmp_path: Path, way: str) -> None:
    await make_old_file(tmp_path / "old")
    broken = 0
    for at in count(1):
        root = tmp_path / f"{at}"
        root.mkdir()
        file = root / "file"
        shutil.copy(tmp_path / "old", file)
        disk = Disk(root, seed=at)
        if way == "is cut":
            disk.cut_at(at)
        elif way == "is full":
            disk.fail("write", at, times=OPERATIONS_MAX, error=apsw.FullError)
        else:
            disk.fail("any", at)
        is_open = await migrate(file, disk)
        broken += not is_open
        if way == "is cut" and disk.is_off:
            root = tmp_path / f"{at} survived"
            disk.write_survivors(root)
        await check_new_file(root / "file")
        done = disk.counts["write"] if way == "is full" else disk.counts.total()
        if is_open and not disk.is_off and done < at:
            break
        assert at < OPERATIONS_MAX
    assert broken > 4
