"""Writers, readers, listeners and uploaders of an app on a cluster, by the SDK as anyone has it,
and the account that they give at the end."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from baas_sdk import AlreadyExists, AsyncClient, ChangeType, Increment, RetryPolicy, SdkError

RULES = Path(__file__).with_name("load.rules")
BUCKET = "default"
EMAIL, PASSWORD = "grace@example.com", "nanoseconds-of-wire"
WRITERS = 4
READERS = 2
LISTENERS = 2
UPLOADERS = 2
PAUSE_SECONDS = 0.05
HEARD_SECONDS = 180.0  # for the last changes to arrive
LARGE_EVERY = 8  # one object in so many is uploaded in parts
LARGE_BYTES = 9 * 1024 * 1024
# An election and a restart take seconds. An app that wants to wait longer than the SDK does by
# itself says so.
PATIENCE = RetryPolicy(attempts_max=30, pause_seconds_max=1.0)
KINDS = ("writes", "reads", "changes", "objects")
_ENOUGH = {"writes": 10, "reads": 10, "changes": 10, "objects": 3}  # to say that it goes on


class LoadFailed(Exception):
    """The load could not be prepared; the text says why."""


@dataclass(slots=True)
class Tally:
    """What was done, and what is known to be wrong."""

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)  # told to the app, by kind
    violations: list[str] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    longest: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str) -> None:
        now = time.monotonic()
        self.longest[kind] = max(self.longest.get(kind, 0.0), now - self.last.get(kind, now))
        self.last[kind] = now
        self.done[kind] += 1

    def take_longest(self) -> dict[str, float]:
        """The longest pause of each kind since this was asked before."""
        now = time.monotonic()
        found = {
            kind: max(self.longest.get(kind, 0.0), now - self.last.get(kind, now)) for kind in KINDS
        }
        self.longest = {}
        return found


class Load:
    """Everything at once, through one address that leads to any node."""

    def __init__(self, url: str, project: str, seed: int) -> None:
        self.project = project  # of its own: what is there is what this load wrote
        self.tally = Tally()
        self._url = url
        self._key = ""
        self._chance = random.Random(seed)
        self._clients: list[AsyncClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self._acknowledged: dict[str, int] = {}  # entry of the ledger -> number
        self._unknown: set[str] = set()
        self._objects: dict[str, str] = {}  # name -> SHA-256
        self._unknown_objects: set[str] = set()
        self._heard: list[set[str]] = [set() for _ in range(LISTENERS)]
        self._told = asyncio.Event()
        self._uid = ""

    async def start(self, operator_url: str, operator_token: str) -> None:
        """Makes the project, signs in, and goes on until `stop`."""
        self._key = await prepare_project(operator_url, operator_token, self.project)
        first = await self._client()
        self._uid = first.auth.current_user.uid if first.auth.current_user else ""
        for number in range(LISTENERS):
            self._add(self._listen(await self._client(), number))
        for number in range(WRITERS):
            self._add(self._write(await self._client(), number))
        for _ in range(READERS):
            self._add(self._read(await self._client()))
        for number in range(UPLOADERS):
            self._add(self._upload(await self._client(), number))

    async def wait_more(self, seconds: float, kinds: Collection[str] = KINDS) -> None:
        """Until each of these kinds of work has gone on. Raises LoadFailed."""
        before = Counter(self.tally.done)
        deadline = time.monotonic() + seconds
        while True:
            for task in self._tasks:
                if task.done() and not self._stopped.is_set():
                    task.result()
            behind = [
                kind for kind in kinds if self.tally.done[kind] < before[kind] + _ENOUGH[kind]
            ]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise LoadFailed(f"no {' and no '.join(behind)} for {seconds:.0f} s")
            await asyncio.sleep(0.05)

    async def finish(self) -> list[str]:
        """Ends the work and compares what was acknowledged with what is there; what is wrong."""
        self._stopped.set()
        listeners, workers = self._tasks[:LISTENERS], self._tasks[LISTENERS:]
        await asyncio.gather(*workers)
        client = await self._client()
        there = {
            document.id: document.get("number")
            async for document in client.collection("ledger").stream()
        }
        await self._check_listeners(set(there))
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        self._check_ledger(there)
        await self._check_counters(client, there)
        await self._check_objects(client)
        return self.tally.violations

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.close()

    # The work ---------------------------------------------------------------------------------

    async def _client(self) -> AsyncClient:
        client = AsyncClient(self._url, project=self.project, api_key=self._key, retry=PATIENCE)
        self._clients.append(client)
        try:
            await client.auth.sign_up(EMAIL, PASSWORD)
        except AlreadyExists:
            await client.auth.sign_in(EMAIL, PASSWORD)
        return client

    def _add(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _write(self, client: AsyncClient, writer: int) -> None:
        """One entry more in the ledger and one more in the writer's counter, always together."""
        number = 0
        while not self._stopped.is_set():
            number += 1
            name = f"w{writer}-{number}"
            batch = client.batch()
            entry = {"owner": self._uid, "writer": writer, "number": number}
            batch.create(client.document(f"ledger/{name}"), entry)
            batch.set(
                client.document(f"counters/w{writer}"),
                {"owner": self._uid, "count": Increment(1)},
                merge=True,
            )
            try:
                await batch.commit()
                self._acknowledged[name] = number
                self.tally.note("writes")
            except SdkError as error:
                self._unknown.add(name)
                self.tally.failed[f"writes: {error.code.name}"] += 1
            await asyncio.sleep(PAUSE_SECONDS * self._chance.random())

    async def _read(self, client: AsyncClient) -> None:
        """What was acknowledged before must be there, whichever node is asked."""
        while not self._stopped.is_set():
            if self._acknowledged:
                name = self._chance.choice((*list(self._acknowledged)[-20:],))
                try:
                    found = await client.document(f"ledger/{name}").get()
                    self.tally.note("reads")
                    if not found.exists:
                        self.tally.violations.append(f"{name} was acknowledged and not read")
                except SdkError as error:
                    self.tally.failed[f"reads: {error.code.name}"] += 1
            await asyncio.sleep(PAUSE_SECONDS * self._chance.random())

    async def _listen(self, client: AsyncClient, listener: int) -> None:
        """Hears of every entry, once."""
        heard = self._heard[listener]
        async with client.collection("ledger").listen() as snapshots:
            async for snapshot in snapshots:
                for change in snapshot.changes:
                    name = change.document.id
                    if change.type is not ChangeType.ADDED or name in heard:
                        self.tally.violations.append(
                            f"listener {listener} was told {change.type.name} of {name}"
                        )
                    heard.add(name)
                    self.tally.note("changes")
                self._told.set()

    async def _upload(self, client: AsyncClient, uploader: int) -> None:
        """Objects of many sizes, one of which is read again each time."""
        bucket = client.bucket(BUCKET)
        number = 0
        while not self._stopped.is_set():
            number += 1
            name = f"files/{self._uid}/u{uploader}-{number}"
            size = LARGE_BYTES if number % LARGE_EVERY == 0 else self._chance.randrange(200_000)
            content = self._chance.randbytes(size)
            digest = hashlib.sha256(content).hexdigest()
            try:
                await bucket.blob(name).upload_from_string(content, content_type="image/png")
                self._objects[name] = digest
                self.tally.note("objects")
                await self._check_object(client, self._chance.choice(list(self._objects)))
            except SdkError as error:
                if name not in self._objects:
                    self._unknown_objects.add(name)
                self.tally.failed[f"objects: {error.code.name}"] += 1
            await asyncio.sleep(4 * PAUSE_SECONDS * self._chance.random())

    async def _check_object(self, client: AsyncClient, name: str) -> None:
        content = await client.bucket(BUCKET).blob(name).download_as_bytes()
        if hashlib.sha256(content).hexdigest() != self._objects[name]:
            self.tally.violations.append(f"object {name} has other bytes than were uploaded")

    # The account ------------------------------------------------------------------------------

    async def _check_listeners(self, there: set[str]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_SECONDS):
                while any(there - heard for heard in self._heard):
                    self._told.clear()
                    await self._told.wait()
        for number, heard in enumerate(self._heard):
            if missed := sorted(there - heard):
                self.tally.violations.append(
                    f"listener {number} missed {len(missed)}: {missed[:5]}"
                )

    def _check_ledger(self, there: dict[str, Any]) -> None:
        for name, number in self._acknowledged.items():
            if there.get(name) != number:
                self.tally.violations.append(f"acknowledged {name} is lost")
        strangers = there.keys() - self._acknowledged.keys() - self._unknown
        self.tally.violations += [f"{name} was never written" for name in sorted(strangers)]

    async def _check_counters(self, client: AsyncClient, there: dict[str, Any]) -> None:
        """An entry and its count are of one commit: a commit done twice would show here."""
        for writer in range(WRITERS):
            entries = sum(name.startswith(f"w{writer}-") for name in there)
            count = (await client.document(f"counters/w{writer}").get()).get("count")
            if count != entries:
                self.tally.violations.append(
                    f"writer {writer} has {entries} entries and a count of {count}"
                )

    async def _check_objects(self, client: AsyncClient) -> None:
        listed = Counter(
            [blob.name async for blob in client.bucket(BUCKET).list_blobs(f"files/{self._uid}/")]
        )
        for name in self._objects:
            if listed[name] != 1:
                self.tally.violations.append(f"object {name} is listed {listed[name]} times")
            else:
                await self._check_object(client, name)
        strangers = listed.keys() - self._objects.keys() - self._unknown_objects
        self.tally.violations += [f"object {name} was never uploaded" for name in strangers]

    @property
    def totals(self) -> str:
        parts = [
            f"{self.tally.done['writes']:,} commits acknowledged",
            f"{self.tally.done['reads']:,} reads",
            f"{self.tally.done['changes']:,} changes heard",
            f"{self.tally.done['objects']:,} objects uploaded",
        ]
        failed = [f"{count} {kind}" for kind, count in sorted(self.tally.failed.items())]
        return ", ".join(parts) + (
            f"; told to the app as failed: {', '.join(failed)}" if failed else ""
        )


async def prepare_project(url: str, token: str, project: str) -> str:
    """Project, rules, bucket and a publishable key; the key's text. Raises LoadFailed."""
    headers = {"Authorization": f"Bearer {token}"}
    base = f"{url}/api/v1/admin/projects"
    async with httpx.AsyncClient(headers=headers, timeout=60) as admin:

        async def ask(method: str, path: str, body: Any, *, known: tuple[int, ...] = ()) -> Any:
            answer = await admin.request(method, base + path, json=body)
            if not answer.is_success and answer.status_code not in known:
                raise LoadFailed(f"{method} {path}: {answer.text}")
            return answer.json()

        await ask("POST", "", {"id": project, "name": "Load of make cluster"})
        source = RULES.read_text(encoding="utf-8")
        await ask("PUT", f"/{project}/rules", {"source": source})
        await ask("POST", f"/{project}/buckets", {"id": BUCKET}, known=(409,))
        made = await ask("POST", f"/{project}/keys", {"kind": "publishable", "name": "load"})
        return str(made["key"])
