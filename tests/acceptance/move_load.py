"""An app's clients while its project moves there and back: `python -m tests.acceptance.move_load`.

Writers count with increments and with transactions, a reader sees no count go back, a listener ends
with what is there. With kills the server is ended by SIGKILL at random moments of each move,
started again, and the move goes on. At the end every acknowledged increment is there once.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from baas_sdk import Client, Increment, RetryPolicy, Transaction

from tests.mongo import ReplicaSet
from tests.processes import ServerProcess, checked

RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /counters/{id} { allow read, write: if true; }
    match /notes/{id} { allow read, write: if true; }
  }
}
"""
WAIT_SECONDS = 90.0  # several workers wait for a minute before they clean up
PATIENT = RetryPolicy(attempts_max=200, pause_seconds_first=0.05, pause_seconds_max=0.5)
COUNTERS = 2
NOTES = 200


@dataclass
class Load:
    """Clients of one project. Each thread goes on until `stop`; the first failure ends all."""

    server: ServerProcess
    project: str
    key: str
    counts: list[int] = field(default_factory=lambda: [0] * COUNTERS)
    transactions: int = 0
    reads: int = 0
    longest_seconds: float = 0.0
    failures: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        kinds: list[Callable[[Client], None]] = [self._read, self._transact]
        kinds += [partial(self._count, number) for number in range(COUNTERS)]
        threads = [threading.Thread(target=self._guard, args=(kind,)) for kind in kinds]
        with self.client() as listening:
            heard: dict[str, Any] = {}

            def on_snapshot(documents: Any, changes: Any, read_time: Any) -> None:
                heard.clear()
                heard.update({one.id: one.get("n") for one in documents})

            watch = listening.collection("counters").on_snapshot(on_snapshot)
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._over.set()
                for thread in threads:
                    thread.join(WAIT_SECONDS)
            self._check(heard)
            watch.unsubscribe()

    def client(self) -> Client:
        return Client(
            self.server.url,
            project=self.project,
            api_key=self.key,
            retry=PATIENT,
            timeout=WAIT_SECONDS,
        )

    def _guard(self, kind: Callable[[Client], None]) -> None:
        try:
            with self.client() as client:
                while not self._over.is_set():
                    kind(client)
        except BaseException as error:
            self.failures.append(error)
            self._over.set()

    def _count(self, number: int, client: Client) -> None:
        began = time.monotonic()
        client.document(f"counters/c{number}").set({"n": Increment(1)}, merge=True)
        self.counts[number] += 1
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)

    def _transact(self, client: Client) -> None:
        counter = client.document("counters/t")

        def add(transaction: Transaction) -> None:
            n = counter.get(transaction=transaction).get("n") or 0
            transaction.set(counter, {"n": n + 1})

        client.run_transaction(add, max_attempts=100)
        self.transactions += 1

    def _read(self, client: Client) -> None:
        least = list(self.counts)
        for number, seen in enumerate(least):
            found = client.document(f"counters/c{number}").get().get("n") or 0
            assert found >= seen, f"counter {number} was {seen}, and is read as {found}"
        self.reads += 1

    def _check(self, heard: dict[str, Any]) -> None:
        if self.failures:
            raise self.failures[0]
        wanted = {f"c{number}": count for number, count in enumerate(self.counts)}
        wanted["t"] = self.transactions
        with self.client() as client:
            found = {one.id: one.get("n") for one in client.collection("counters").get()}
            assert found == wanted
            assert len(client.collection("notes").get()) == NOTES
        deadline = time.monotonic() + WAIT_SECONDS
        while heard != wanted:
            assert time.monotonic() < deadline, (heard, wanted)
            time.sleep(0.02)


def fill(load: Load) -> None:
    with load.client() as client:
        batch = client.batch()
        for number in range(NOTES):
            batch.set(client.document(f"notes/n{number}"), {"number": number})
        batch.commit()


def move(server: ServerProcess, project: str, engine: str) -> str:
    """Begins a move; its id."""
    with server.admin() as admin:
        begun = checked(admin.post(f"/projects/{project}:move", json={"to": engine}))
        return str(begun["id"])


def wait_moved(server: ServerProcess, identifier: str) -> dict[str, Any]:
    """The move when it is over; a server that is started again meanwhile is asked again."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError), server.admin() as admin:
            found = checked(admin.get(f"/moves/{identifier}"))
            if found["state"] not in ("running", "undoing"):
                return found
        time.sleep(0.02)
    raise AssertionError(f"the move is not over after {WAIT_SECONDS} s")


def move_and_kill(server: ServerProcess, project: str, engine: str, kills: int) -> dict[str, Any]:
    identifier = move(server, project, engine)
    for _ in range(kills):
        time.sleep(random.uniform(0, 0.4))
        server.kill()
        server.start()
    return wait_moved(server, identifier)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5, help="there and back")
    parser.add_argument("--kills", type=int, default=2, help="in each move")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baas-move-") as folder:
        replica_set = ReplicaSet(Path(folder) / "mongod").start()
        flags = ["--mongodb-uri", replica_set.uri, "--mongodb-database", "moves"]
        flags += ["--workers", str(asked.workers)]
        server = ServerProcess(Path(folder) / "data", *flags).start()
        try:
            key = server.create_project("shop", RULES, allow_open=True)
            load = Load(server, "shop", key)
            fill(load)
            with load.running():
                for number in range(asked.rounds):
                    for engine in ("mongodb", "sqlite"):
                        found = move_and_kill(server, "shop", engine, asked.kills)
                        told = f"{found['state']}, pause of {found['pause_milliseconds']} ms"
                        print(f"round {number + 1}, to {engine}: {told}", flush=True)  # noqa: T201
                        assert found["state"] == "done", found
            print(  # noqa: T201
                f"{sum(load.counts)} increments, {load.transactions} transactions, {load.reads}"
                f" rounds of reads: none lost, none doubled; the longest write took"
                f" {load.longest_seconds:.2f} s"
            )
        finally:
            server.stop()
            replica_set.stop()


if __name__ == "__main__":
    main()
