"""Writing a backup, section by section: of each project its databases, then its `__system__`, then
the bytes that this names, then the project itself; the server's own last of all.

In this order, because what comes later names or is named by what came before: whoever a document
says wrote it is among the users, and what an object's metadata says it consists of is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Protocol

import orjson
import structlog

from baas import __version__
from baas.backups.checkpoints import BegunSection, Checkpoint
from baas.backups.copies import copy_blob, run_some, trying
from baas.backups.lines import decode_document, encode_document
from baas.backups.manifest import (
    LinesDigest,
    Manifest,
    Part,
    Section,
    SectionKind,
    damaged,
    objects_place,
)
from baas.backups.place import PART_BYTES, BackupPlace
from baas.buckets.names import FINISHED_UPLOADS, GARBAGE, UPLOADS
from baas.buckets.objects import Objects
from baas.buckets.records import StoredObject, open_object
from baas.clock import Clock
from baas.database.database import Database
from baas.database.indexes import INDEXES, is_reserved
from baas.database.names import SERVER, SYSTEM_DATABASE, DatabaseName
from baas.database.past_scan import PastScan, ScanPlace
from baas.database.registry import Databases
from baas.database.scan import scan_documents
from baas.encoding.documents import StoredDocument
from baas.errors import FailedPrecondition, NotFound
from baas.model.paths import CollectionPath
from baas.projects.projects import Projects
from baas.projects.records import project_path

_LEFT_OUT = frozenset({UPLOADS.id, FINISHED_UPLOADS.id, GARBAGE.id})  # uploads have to begin again
_NOT_KEPT = frozenset({"jobs", "schema_drafts"})  # of a project
_ADMINS = ("admins", "admin_emails")
CHECKPOINT_SECONDS = 5.0  # between two within a database
_GONE = ("HistoryTooShort", "DatabaseReplaced")  # what was begun cannot be gone on with
ANEW_MAX = 2  # times that one database is begun anew: its project may move, there and back
_log = structlog.get_logger("baas.backups")


class Watch(Protocol):
    """Who watches the work."""

    def advance(self, lines: int, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the data of a server are."""

    databases: Databases
    projects: Projects
    objects: Objects
    clock: Clock


class BackupWriter:
    """Writes one backup, from where `checkpoint` is. That is kept true as sections and parts are
    finished, and `save` awaited then. `manifest` is what the backup's begins as; `attempt` tells
    the parts from those of a writer that was cut off, or only seems to be. `confirm` raises if
    another one has taken the work over: its backup may be there already, or deleted again."""

    def __init__(
        self,
        sources: Sources,
        place: BackupPlace,
        manifest: Manifest,
        watch: Watch,
        checkpoint: Checkpoint,
        save: Callable[[], Awaitable[None]],
        *,
        attempt: int,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._place = place
        self._manifest = manifest
        self._watch = watch
        self._checkpoint = checkpoint
        self._save = save
        self._confirm = confirm
        self._saved_seconds = sources.clock.monotonic_seconds()
        self._part_ids = map(f"{attempt:02}-{{:08}}".format, count(1))

    async def write(self) -> Manifest:
        """Raises NotFound (`ProjectNotFound`), and what stores and databases raise."""
        only = self._manifest.only
        found = await self._sources.projects.list_projects()
        for project in [one.id for one in found] if only is None else [only]:
            try:
                async with self._sources.objects.holds.hold(project):
                    await self._write_project(project)
            except NotFound:
                if only is not None:
                    raise
                # It was deleted meanwhile: nothing of it is kept.
                kept = [one for one in self._checkpoint.sections if one.project != project]
                self._checkpoint.sections = kept
        if only is None and not self._has(SectionKind.SERVER, SERVER, SYSTEM_DATABASE):
            await self._write_server()
        manifest = replace(
            self._manifest,
            finished=self._sources.clock.now_microseconds(),
            software=__version__,
            sections=tuple(self._checkpoint.sections),
        )
        await self._confirm()
        await self._place.write_manifest(manifest)
        return manifest

    def _has(self, kind: SectionKind, project: str, name: str) -> bool:
        wanted = (kind, project, name)
        sections = self._checkpoint.sections
        return any((one.kind, one.project, one.name) == wanted for one in sections)

    async def _write_project(self, project: str) -> None:
        sources = self._sources
        for database in (await sources.projects.get_project(project)).databases:
            if not self._has(SectionKind.DATABASE, project, database):
                name = DatabaseName(project, database)
                await self._write_database(SectionKind.DATABASE, name)
        if not self._has(SectionKind.SYSTEM, project, SYSTEM_DATABASE):
            await self._write_database(SectionKind.SYSTEM, DatabaseName.system(project))
        if not self._has(SectionKind.OBJECTS, project, ""):
            await self._write_objects(project)
        if not self._has(SectionKind.PROJECT, project, ""):
            await self._write_settings(project)

    # Databases ------------------------------------------------------------------------------------

    async def _write_database(self, kind: SectionKind, name: DatabaseName) -> None:
        begun = self._checkpoint.begun
        if begun is not None:
            section = begun.section
            if (section.kind, section.project, section.name) != (kind, name.project, name.database):
                self._forget_begun()
                begun = None
        for left in range(ANEW_MAX, -1, -1):
            try:
                return await self._read_database(kind, name, begun)
            except FailedPrecondition as error:
                if error.reason not in _GONE or not left:
                    raise
                _log.warning("a database is backed up anew", name=str(name), why=error.message)
            self._forget_begun()
            begun = None
        return None

    def _forget_begun(self) -> None:
        begun, self._checkpoint.begun = self._checkpoint.begun, None
        if begun is not None:
            self._watch.advance(-begun.section.count, -begun.section.bytes)

    async def _read_database(
        self, kind: SectionKind, name: DatabaseName, begun: BegunSection | None
    ) -> None:
        """From the beginning, or from where it was left. Raises FailedPrecondition
        (`HistoryTooShort`, `DatabaseReplaced`)."""
        scan = PastScan(None if begun is None else begun.place)
        lines = self._lines(begun)
        incarnation = "" if begun is None else begun.section.incarnation
        while True:
            database = await self._open(name)
            if incarnation not in ("", database.incarnation):
                raise FailedPrecondition(
                    f"database `{name}` was replaced meanwhile", reason="DatabaseReplaced"
                )
            incarnation = database.incarnation
            documents = await trying(partial(scan.read_window, database, PART_BYTES))
            place = scan.place
            assert place is not None
            if documents:
                await self._add_documents(lines, kind, documents)
            section = lines.section(kind, name.project, name.database, place.version, incarnation)
            if not documents:
                break
            await self._note_begun(section, place)
        await self._end(section)

    async def _add_documents(
        self, lines: _Lines, kind: SectionKind, documents: list[StoredDocument]
    ) -> None:
        kept = []
        for one in documents:
            if is_reserved(one.path):
                if one.path.segments[0] == INDEXES.id:
                    lines.indexes.append(encode_document(one).decode())
            elif kind is SectionKind.DATABASE or one.path.segments[0] not in _LEFT_OUT:
                kept.append(one)
        before = lines.size
        await lines.add_documents(kept)
        self._watch.advance(len(kept), lines.size - before)

    async def _note_begun(self, section: Section, place: ScanPlace) -> None:
        now = self._sources.clock.monotonic_seconds()
        self._checkpoint.begun = BegunSection(section, place)
        if now - self._saved_seconds >= CHECKPOINT_SECONDS:
            await self._save()
            self._saved_seconds = self._sources.clock.monotonic_seconds()

    def _lines(self, begun: BegunSection | None = None) -> _Lines:
        return _Lines(self._place, self._manifest.id, self._part_ids, begun)

    async def _open(self, name: DatabaseName) -> Database:
        databases = self._sources.databases
        if name.is_system:
            return await databases.system(name.project)
        return await databases.open(name)

    async def _end(self, section: Section) -> None:
        self._checkpoint.sections.append(section)
        self._checkpoint.begun = None
        await self._save()

    # Objects --------------------------------------------------------------------------------------

    async def _write_objects(self, project: str) -> None:
        """Bytes of every object that the system section names, unless they are there already."""
        (system,) = [
            one
            for one in self._checkpoint.sections
            if one.project == project and one.kind is SectionKind.SYSTEM
        ]
        lines = self._lines()
        size = 0
        async with aclosing(self._objects_of(system)) as batches:
            async for batch in batches:
                await run_some([partial(self._copy, project, stored) for stored in batch])
                await lines.add_lines([_content_line(one) for one in batch])
                size += sum([one.size for one in batch])
        made = lines.section(SectionKind.OBJECTS, project, "", system.version)
        await self._end(replace(made, bytes=size))

    async def _objects_of(self, system: Section) -> AsyncGenerator[list[StoredObject]]:
        """The objects of each part, those with the same content once."""
        async with aclosing(self._place.read_section(self._manifest.id, system)) as parts:
            async for lines in parts:
                found: dict[str, StoredObject] = {}
                for line in lines:
                    if b'\t"buckets/' in line:
                        document = decode_document(line)
                        if len(document.path.segments) == 4:
                            stored = open_object(document)
                            found[stored.content] = stored
                if found:
                    yield list(found.values())

    async def _copy(self, project: str, stored: StoredObject) -> None:
        source, target = self._sources.objects.store, self._place.store
        folder = f"{objects_place(self._manifest.server)}/{stored.content}"
        digest = hashlib.sha256()
        copied: list[str] = []
        for part in stored.parts:
            key = f"{folder}/{part.id}"
            if await target.find_size(key) == part.size:
                continue
            copied.append(key)
            source_key = f"{project}/{stored.content}/{part.id}"
            async with aclosing(copy_blob(source, source_key, target, key, part.size)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
        if len(copied) == len(stored.parts) and digest.hexdigest() != stored.sha256:
            await target.delete(copied)
            raise damaged(
                self._manifest.id,
                f"the bytes of object `{stored.name}` in bucket `{stored.bucket}` of project "
                f"`{project}` are not what was stored; delete the object, or put it again",
            )
        self._watch.advance(1, stored.size)

    # What the server's own database holds ---------------------------------------------------------

    async def _write_settings(self, project: str) -> None:
        database = await self._sources.databases.system(None)
        path = project_path(project)
        (document,) = await database.get_documents([path])
        await self._sources.projects.get_project(project)  # unless its deletion has begun
        assert document is not None
        lines = self._lines()
        await lines.add_documents([document])
        async with aclosing(scan_documents(database, path)) as batches:
            async for batch in batches:
                await lines.add_documents(
                    [one for one in batch if one.path.segments[2] not in _NOT_KEPT]
                )
        await self._end(lines.section(SectionKind.PROJECT, project, "", database.version))

    async def _write_server(self) -> None:
        database = await self._sources.databases.system(None)
        lines = self._lines()
        for collection in _ADMINS:
            async with aclosing(scan_documents(database, CollectionPath((collection,)))) as found:
                async for batch in found:
                    await lines.add_documents(batch)
        await self._end(
            lines.section(SectionKind.SERVER, SERVER, SYSTEM_DATABASE, database.version)
        )


class _Lines:
    """The lines of one section, which become parts; from the beginning, or behind those of
    `begun`. `indexes` are records of indexes, as lines."""

    def __init__(
        self, place: BackupPlace, backup: str, part_ids: Iterator[str], begun: BegunSection | None
    ) -> None:
        self._place = place
        self._backup = backup
        self._part_ids = part_ids
        self._digest = LinesDigest() if begun is None else begun.digest
        self._parts: list[Part] = [] if begun is None else [*begun.section.parts]
        self.indexes: list[str] = [] if begun is None else [*begun.section.indexes]

    @property
    def size(self) -> int:
        return self._digest.bytes

    async def add_documents(self, documents: list[StoredDocument]) -> None:
        await self.add_lines(await asyncio.to_thread(_encode_all, documents))

    async def add_lines(self, lines: list[bytes]) -> None:
        if not lines:
            return
        await asyncio.to_thread(self._digest.add, lines)
        for part in _cut(lines):
            made = await self._place.write_part(self._backup, next(self._part_ids), part)
            self._parts.append(made)

    def section(
        self, kind: SectionKind, project: str, name: str, version: int, incarnation: str = ""
    ) -> Section:
        """What they make up, so far."""
        return Section(
            kind,
            project,
            name,
            version,
            incarnation,
            self._digest.count,
            self._digest.bytes,
            self._digest.text,
            tuple(self._parts),
            tuple(self.indexes),
        )


def _encode_all(documents: list[StoredDocument]) -> list[bytes]:
    return [encode_document(one) for one in documents]


def _cut(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Lines for one part each, which whoever reads it has room for: about PART_BYTES."""
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    yield part


def _content_line(stored: StoredObject) -> bytes:
    return orjson.dumps(
        {
            "content": stored.content,
            "sha256": stored.sha256,
            "parts": [[part.id, part.size] for part in stored.parts],
        }
    )
