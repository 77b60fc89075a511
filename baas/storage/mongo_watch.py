"""Wakes engines when others have committed: one change stream on the heads of all databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from baas.ending import end_if_cancelled, repeat_until_cancelled
from baas.storage.engine import StorageError
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_wire import Document

POLL_SECONDS = 1.0
# However well the stream does: it leaves out what this server wrote, and a commit of it whose
# outcome stayed unknown may become visible later.
LOOK_SECONDS = 10.0
# The stream answers five times a second even if nothing happened: who hears nothing of it for so
# long is to find out in time whether it can still read what others do.
SILENCE_SECONDS = 0.4
_LISTEN_SECONDS = 0.1
_AWAIT_MILLISECONDS = 200

_log = structlog.get_logger("baas.mongo")
Notify = Callable[[], None]


class HeadWatcher:
    """Follows the heads while anybody watches. What the stream tells is only that there is
    something to read, so one that was lost is begun anew, and everybody is woken. So they are when
    it falls silent; until it is back, the heads are read every second, and now and then in any
    case."""

    def __init__(self, connection: MongoConnection, node: str) -> None:
        self._connection = connection
        self._node = node
        self._watches: dict[str, dict[object, tuple[object, Notify]]] = {}
        self._versions: dict[str, Any] = {}  # as the last poll saw them
        self._heard_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, head_id: str, owner: object, notify: Notify) -> Callable[[], None]:
        """Calls `notify` after commits of others than `owner`; gives back what ends it."""
        place = object()
        self._watches.setdefault(head_id, {})[place] = (owner, notify)
        if not self._tasks:
            self._tasks = [
                asyncio.ensure_future(repeat_until_cancelled("following commits", self._follow)),
                asyncio.ensure_future(repeat_until_cancelled("looking at heads", self._poll)),
            ]

        def stop() -> None:
            watches = self._watches.get(head_id, {})
            watches.pop(place, None)
            if not watches:
                self._watches.pop(head_id, None)
                self._versions.pop(head_id, None)

        return stop

    def note_commit(self, head_id: str, owner: object) -> None:
        """Wakes the others of this process; the stream leaves out what this process wrote."""
        for other, notify in tuple(self._watches.get(head_id, {}).values()):
            if other is not owner:
                notify()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    def _notify(self, head_id: str) -> None:
        for _, notify in tuple(self._watches.get(head_id, {}).values()):
            notify()

    def _notify_all(self) -> None:
        for head_id in tuple(self._watches):
            self._notify(head_id)

    async def _follow(self) -> None:
        try:
            await self._read_stream()
        except Exception as error:  # a stream on what was removed or renamed ends oddly
            _log.warning("the stream of commits was lost", error=repr(error)[:300])
        await asyncio.sleep(0.1)

    async def _read_stream(self) -> None:
        pipeline: list[Document] = [
            {"$match": {"updateDescription.updatedFields.touched.by": {"$ne": self._node}}},
            {"$project": {"documentKey": 1}},
        ]
        heads = self._connection.database.heads
        loop = asyncio.get_running_loop()
        stream = await heads.watch(pipeline, max_await_time_ms=_AWAIT_MILLISECONDS)
        async with stream:
            # What happened before the stream began, nobody has told.
            self._notify_all()
            while stream.alive:
                end_if_cancelled()
                self._heard_at = loop.time()
                change = await stream.try_next()
                if change is not None:
                    self._notify(change["documentKey"]["_id"])

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        is_silent = True
        while True:
            end_if_cancelled()
            await asyncio.sleep(_LISTEN_SECONDS)
            now = loop.time()
            was_silent, is_silent = is_silent, now - self._heard_at >= SILENCE_SECONDS
            if is_silent and not was_silent:
                self._notify_all()
            due_at = looked_at + (POLL_SECONDS if is_silent else LOOK_SECONDS)
            if now < due_at or not self._watches:
                continue
            looked_at = now
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._compare_heads()
            except (StorageError, TimeoutError):
                # Whatever happened meanwhile: those who look for it find that they cannot know.
                self._notify_all()

    async def _compare_heads(self) -> None:
        rows = await self._connection.read(
            {
                "find": "heads",
                "filter": {"_id": {"$in": list(self._watches)}},
                "projection": {"version": 1},
                "readConcern": {"level": "majority"},
            }
        )
        for row in rows:
            if self._versions.get(row["_id"]) != row["version"]:
                self._versions[row["_id"]] = row["version"]
                self._notify(row["_id"])
