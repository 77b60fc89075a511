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
from baas.database.transaction import Transaction
from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, FieldTransform, Increment, SetWrite
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine

CLIENTS = 16
WRITE_SECONDS = 0.001


async def client(database: Database, number: int, round_number: int) -> None:
    step = 0
    while True:
        step += 1
        name = f"{round_number}-{number}-{step}"
        counter = DocumentPath(("counters", str(number % 4)))

        async def body(
            transaction: Transaction,
            name: str = name,
            counter: DocumentPath = counter,
            step: int = step,
        ) -> None:
            writes: list[SetWrite | DeleteWrite] = [
                SetWrite(DocumentPath(("made", name)), {"text": "x" * 200, "step": step}),
                SetWrite(
                    counter,
                    {},
                    mask=(),
                    transforms=(FieldTransform(FieldPath(("n",)), Increment(1)),),
                ),
            ]
            if step > 3:
                gone = DocumentPath(("made", f"{round_number}-{number}-{step - 3}"))
                writes.append(DeleteWrite(gone))
            await transaction.write(writes)

        result = await database.run_transaction(
            body, request_time=Timestamp(SystemClock().now_microseconds()), request_id=name
        )
        sys.stdout.write(f"{result.version} {name} {number % 4}\n")
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
    await asyncio.gather(*[client(database, number, round_number) for number in range(CLIENTS)])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
