"""Commits without end and tells each acknowledged commit on standard output. To be killed.

    python -m tests.faults.writer_process FILE ROUND

Its disk is slow, so that an acknowledgement that comes before the commit is durable comes long
before, and the kill finds it out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import apsw

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine
from tests.faults.crash_load import write_without_end

CLIENTS = 16
WRITE_SECONDS = 0.001


def tell(version: int, name: str, counter: str) -> None:
    sys.stdout.write(f"{version} {name} {counter}\n")
    sys.stdout.flush()


class SlowDisk(apsw.VFS):
    """The usual file system, each write and sync of which takes a while."""

    def __init__(self) -> None:
        self.name = "slow"
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return SlowFile("", name, flags)


class SlowFile(apsw.VFSFile):
    def xWrite(self, data: bytes, offset: int) -> None:
        time.sleep(WRITE_SECONDS)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        time.sleep(WRITE_SECONDS)
        super().xSync(flags)


async def main(file: Path, round_number: int) -> None:
    clock = SystemClock()
    disk = SlowDisk()
    engine = SqliteEngine.open(file, clock=clock, vfs=disk.name)
    database = await Database.open(DatabaseName("demo"), engine, clock=clock, settings=Settings())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(
        *[
            write_without_end(database, f"{round_number}-{number}", str(number % 4), tell)
            for number in range(CLIENTS)
        ]
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
