"""Listeners of the SDK that write down in a History what they are shown."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from baas_sdk import AsyncClient, AsyncDocumentReference, ChangeType, DocumentSnapshot
from baas_sdk import Query as SdkQuery

from tests.faults.history import WITNESSES, History, Image, QueryRead, now
from tests.faults.history_load import members

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GROUP = 0


class Listening:
    """One client of one node that follows a query and the witnesses of all commits. A listener
    skips what happened while it was away, and then is shown what is: nothing twice, nothing lost.
    """

    def __init__(self, history: History, name: str, url: str, project: str) -> None:
        self.violations: list[str] = []
        self.added: set[str] = set()  # the commits that it has heard of
        self._heard = asyncio.Event()
        self._name = name
        self._history = history
        self._client = AsyncClient(url, project=project)
        self._tasks = [
            asyncio.create_task(self._follow_witnesses()),
            asyncio.create_task(self._follow_query()),
        ]

    async def wait_for(self, wanted: set[str], *, seconds: float) -> None:
        """Until it has heard of all of these commits; what is missing then is a violation."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not wanted <= self.added:
                    self._heard.clear()
                    await self._heard.wait()
        if missed := sorted(wanted - self.added):
            self.violations.append(f"{self._name} missed {len(missed)} commits: {missed[:10]}")
        strangers = sorted(self.added - wanted)
        self.violations += [f"{self._name} was told of {strangers[:10]}"] if strangers else []

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in await asyncio.gather(*self._tasks, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError):
                self.violations.append(f"{self._name} was ended: {end!r}")
        await self._client.close()

    async def _follow_witnesses(self) -> None:
        latest = _EPOCH
        async with self._client.collection(WITNESSES).listen() as listener:
            async for snapshot in listener:
                if snapshot.read_time < latest:
                    self.violations.append(
                        f"{self._name} went back from {latest} to {snapshot.read_time}"
                    )
                latest = snapshot.read_time
                for change in snapshot.changes:
                    self._note(change.type, change.document.id)
                self._heard.set()

    def _note(self, kind: ChangeType, name: str) -> None:
        if kind is not ChangeType.ADDED:
            self.violations.append(f"{self._name} was told that {name} was {kind.name}")
        elif name in self.added:
            self.violations.append(f"{self._name} was told twice of {name}")
        self.added.add(name)

    async def _follow_query(self) -> None:
        asked = (
            self._client.collection("items")
            .where("group", "==", GROUP)
            .order_by("n", direction=SdkQuery.DESCENDING)
        )
        async with asked.listen() as listener:
            async for snapshot in listener:
                found = [_image(document) for document in snapshot]
                version = _microseconds(snapshot.read_time)
                # What it is shown belongs to no moment of its own: it did not ask for it just then.
                seen = QueryRead(self._name, members(GROUP), found, version, responded=now())
                self._history.queries.append(seen)


def _image(document: DocumentSnapshot[AsyncDocumentReference]) -> Image:
    fields = document.to_dict()
    assert fields is not None
    assert document.create_time is not None
    assert document.update_time is not None
    created, updated = _microseconds(document.create_time), _microseconds(document.update_time)
    return Image.of(document.path, fields, created, updated)


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
