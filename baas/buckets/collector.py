"""Deletes bytes that nothing refers to: those on the garbage lists once their grace time is over,
uploads that have expired, and, by a sweep over the whole store, what crashes left.

The sweep collects only what is older than the grace time **and** belongs to nothing. An upload in
progress commits each part within moments after writing it, so nothing that it owns is both. Several
nodes may sweep at the same time: to delete twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from baas.buckets.blobs import BlobInfo
from baas.buckets.contents import part_keys
from baas.buckets.names import CONTENTS, FINISHED_UPLOADS, GARBAGE, UPLOADS
from baas.buckets.objects import Objects, garbage_write
from baas.buckets.records import decode_parts, open_upload
from baas.buckets.thumbnails import THUMBNAIL_IDS
from baas.database.transaction import Transaction
from baas.ending import repeat_until_cancelled
from baas.errors import BaasError, NotFound
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import NAME, Cursor, FieldFilter, Operator, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Reference
from baas.model.writes import DeleteWrite, Write

ROUND_SECONDS = 60.0
SWEEP_AGAIN_SECONDS = 600.0  # after a sweep that failed
_BATCH = 100
_EXPIRES = FieldPath(("expires",))
_log = structlog.get_logger("baas.buckets")


@dataclass(slots=True)
class Swept:
    """What one sweep saw and did."""

    seen: int = 0
    orphans: int = 0
    bytes: int = 0


class Collector:
    """`list_projects` gives the ids of all projects; `is_here` says whether this node can look at
    one."""

    def __init__(
        self,
        objects: Objects,
        list_projects: Callable[[], Awaitable[list[str]]],
        is_here: Callable[[str], bool] = lambda project: True,
    ) -> None:
        self._objects = objects
        self._list_projects = list_projects
        self._is_here = is_here
        self._task: asyncio.Task[None] | None = None
        self._deleted: dict[str, float] = {}
        self._swept_at = objects.clock.monotonic_seconds()

    def forget_project(self, project: str) -> None:
        """Its deletion has begun. Its bytes are deleted once the grace time is over, unless they
        are of a project that was made again under its id."""
        wait = self._objects.settings.object_grace_seconds + ROUND_SECONDS
        self._deleted[project] = self._objects.clock.monotonic_seconds() + wait

    def start(self) -> None:
        if self._objects.settings.object_sweep_seconds:
            self._task = asyncio.create_task(
                repeat_until_cancelled("collecting", self._run), name="collect objects"
            )

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Garbage of projects that made some, every minute; all projects at each sweep."""
        await asyncio.sleep(ROUND_SECONDS)
        await self.run_round()

    async def run_round(self) -> None:
        """What is due. What fails does not keep the rest from being done, and is due again in the
        next round; the sweep of all, which looks at everything, after a while."""
        clock, period = self._objects.clock, self._objects.settings.object_sweep_seconds
        for project in tuple(self._objects.touched):
            await self._try(self.collect(project))
        now = clock.monotonic_seconds()
        for project, due in tuple(self._deleted.items()):
            is_swept = due < now and await self._try(self.sweep(project))
            if is_swept and self._deleted[project] == due:  # it was not deleted once more
                del self._deleted[project]
        if now - self._swept_at >= period:
            is_swept = await self._try(self.sweep())
            self._swept_at = now if is_swept else now - max(period - SWEEP_AGAIN_SECONDS, 0)

    async def _try(self, work: Awaitable[object]) -> bool:
        """Whether it did not fail."""
        try:
            await work
            return True
        except BaasError as error:
            _log.warning("collecting failed", error=error.message)
        except Exception:
            _log.exception("collecting failed")
        return False

    async def collect(self, project: str) -> int:
        """Deletes garbage whose grace time is over, and ends uploads that have expired; the count
        of contents deleted. Raises Unavailable, and is due again then."""
        self._objects.touched.discard(project)
        if not self._is_here(project):
            return 0
        try:
            return await self._collect_all(project)
        except NotFound:
            return 0  # the project is gone
        except BaseException:
            self._objects.touched.add(project)
            raise

    async def _collect_all(self, project: str) -> int:
        await self._expire(project)
        count = 0
        while collected := await self._collect_batch(project):
            count += collected
        database = await self._objects.system.open(project)
        if (await database.run_query(Query(GARBAGE, limit=1))).documents:
            self._objects.touched.add(project)
        return count

    async def _collect_batch(self, project: str) -> int:
        database = await self._objects.system.open(project)
        limit = self._objects.clock.now_microseconds() - self._grace_microseconds
        end = Cursor((Reference(GARBAGE.document(f"{max(limit, 0):016d}")),), before=True)
        query = Query(GARBAGE, order_by=(Order(NAME),), end=end, limit=_BATCH)
        found = (await database.run_query(query)).documents
        if found and await self._objects.holds.is_held(project):
            return 0  # a backup may still need them
        keys: list[str] = []
        contents = [str(document.fields["content"]) for document in found]
        live = await database.get_documents([CONTENTS.document(one) for one in contents])
        for document, content, alive in zip(found, contents, live, strict=True):
            if alive is not None:
                _log.error("bytes on the garbage list are in use", content=content)
                continue
            keys += part_keys(project, content, decode_parts(document.fields["parts"]))
            keys += [f"{project}/{content}/{identifier}" for identifier in THUMBNAIL_IDS]
        await self._objects.store.delete(keys)
        await self._write(project, [DeleteWrite(document.path) for document in found])
        return len(found)

    async def _expire(self, project: str) -> None:
        now = self._objects.clock.now_microseconds()
        for collection in (UPLOADS, FINISHED_UPLOADS):
            while True:
                writes = await self._expired(project, collection, now)
                if not writes:
                    break
                await self._write(project, writes)

    async def _expired(self, project: str, collection: CollectionPath, now: int) -> list[Write]:
        database = await self._objects.system.open(project)
        where = FieldFilter(_EXPIRES, Operator.LESS, Timestamp(now))
        query = Query(collection, where=where, limit=_BATCH)
        writes: list[Write] = []
        for document in (await database.run_query(query)).documents:
            writes.append(DeleteWrite(document.path))
            if collection is UPLOADS:
                upload = open_upload(document)
                writes.append(garbage_write(Timestamp(now), upload.content, upload.parts))
        return writes

    async def _write(self, project: str, writes: list[Write]) -> None:
        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        if writes:
            await self._objects.system.run(project, body)

    # The sweep ------------------------------------------------------------------------------------

    async def sweep(self, only: str | None = None) -> Swept:
        """Looks once at every blob in the store, or at those of one project."""
        swept = Swept()
        for project in await self._list_projects() if only is None else ():
            await self.collect(project)
        if not await self._objects.owns_store():
            return swept
        async for batch in self._objects.store.list(f"{only}/" if only else ""):
            swept.seen += len(batch)
            old = self._objects.clock.now_microseconds() - self._grace_microseconds
            aged = [info for info in batch if info.modified_microseconds < old]
            for info in [info for info in aged if info.is_partial]:
                await self._objects.store.delete_partial(info.key)
                swept.orphans += 1
                swept.bytes += info.size
            by_project: dict[str, list[BlobInfo]] = {}
            for info in aged:
                if not info.is_partial:
                    by_project.setdefault(info.key.partition("/")[0], []).append(info)
            for project, infos in by_project.items():
                orphans = await self._find_orphans(project, infos)
                await self._objects.store.delete([info.key for info in orphans])
                swept.orphans += len(orphans)
                swept.bytes += sum(info.size for info in orphans)
        if swept.orphans:
            _log.info("orphans collected", count=swept.orphans, bytes=swept.bytes)
        return swept

    async def _find_orphans(self, project: str, infos: list[BlobInfo]) -> list[BlobInfo]:
        """Bytes move from uploads to contents, and from both to garbage, never back; so looked at
        in this order none is missed. What is held may belong to what is not to be seen yet."""
        if await self._objects.holds.is_held(project) or not self._is_here(project):
            return []
        try:
            database = await self._objects.system.open(project)
        except NotFound:
            # Unless it has just moved, and this node has not heard of it.
            return [] if project in await self._list_projects() else infos
        live: dict[str, set[str]] = {}
        for document in (await database.run_query(Query(UPLOADS))).documents:
            upload = open_upload(document)
            live[upload.content] = {part.id for part in upload.parts}
        contents = list(dict.fromkeys(info.key.split("/")[1] for info in infos))
        found = await database.get_documents([CONTENTS.document(one) for one in contents])
        for document in (one for one in found if one is not None):
            parts = {part.id for part in decode_parts(document.fields["parts"])}
            live.setdefault(document.path.segments[-1], set()).update(parts, THUMBNAIL_IDS)
        missing = [info for info in infos if not _is_live(info, live)]
        if missing:
            for document in (await database.run_query(Query(GARBAGE))).documents:
                parts = {part.id for part in decode_parts(document.fields["parts"])}
                live.setdefault(str(document.fields["content"]), set()).update(parts, THUMBNAIL_IDS)
        return [info for info in missing if not _is_live(info, live)]

    @property
    def _grace_microseconds(self) -> int:
        return self._objects.settings.object_grace_seconds * 1_000_000


def _is_live(info: BlobInfo, live: dict[str, set[str]]) -> bool:
    _, content, part = info.key.split("/")
    return part in live.get(content, ())
