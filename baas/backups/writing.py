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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import orjson

from baas import __version__
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
from baas.database.past_scan import PastScan
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


@dataclass(slots=True)
class Checkpoint:
    """How far a backup has come: the sections that are whole, and the first free part number."""

    sections: list[Section] = field(default_factory=list)
    next_part: int = 1


class BackupWriter:
    """Writes one backup. `manifest` is what its manifest begins as; `checkpoint` is kept true as
    sections are finished, and `on_section` awaited then."""

    def __init__(
        self,
        sources: Sources,
        place: BackupPlace,
        manifest: Manifest,
        watch: Watch,
        checkpoint: Checkpoint,
        on_section: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._place = place
        self._manifest = manifest
        self._watch = watch
        self._checkpoint = checkpoint
        self._on_section = on_section

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
        scan = PastScan()
        section = _Lines(self._place, self._manifest.id, self._checkpoint)
        indexes: list[str] = []
        incarnation = ""
        while True:
            database = await self._open(name)
            if incarnation not in ("", database.incarnation):
                raise FailedPrecondition(
                    f"database `{name}` was replaced meanwhile", reason="DatabaseReplaced"
                )
            incarnation = database.incarnation
            documents = await trying(partial(scan.read_window, database, PART_BYTES))
            if not documents:
                break
            kept = []
            for one in documents:
                if is_reserved(one.path):
                    if one.path.segments[0] == INDEXES.id:
                        indexes.append(encode_document(one).decode())
                elif kind is SectionKind.DATABASE or one.path.segments[0] not in _LEFT_OUT:
                    kept.append(one)
            await section.add_documents(kept)
            self._watch.advance(len(kept), sum([len(one.data) for one in kept]))
        await self._end(
            section.finish(
                kind, name.project, name.database, scan.version or 0, incarnation, indexes
            )
        )

    async def _open(self, name: DatabaseName) -> Database:
        databases = self._sources.databases
        if name.is_system:
            return await databases.system(name.project)
        return await databases.open(name)

    async def _end(self, section: Section) -> None:
        self._checkpoint.sections.append(section)
        await self._on_section()

    # Objects --------------------------------------------------------------------------------------

    async def _write_objects(self, project: str) -> None:
        """Bytes of every object that the system section names, unless they are there already."""
        (system,) = [
            one
            for one in self._checkpoint.sections
            if one.project == project and one.kind is SectionKind.SYSTEM
        ]
        section = _Lines(self._place, self._manifest.id, self._checkpoint)
        size = 0
        async with aclosing(self._objects_of(system)) as batches:
            async for batch in batches:
                await run_some([partial(self._copy, project, stored) for stored in batch])
                await section.add_lines([_content_line(one) for one in batch])
                size += sum([one.size for one in batch])
        made = section.finish(SectionKind.OBJECTS, project, "", system.version, "", [])
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
        section = _Lines(self._place, self._manifest.id, self._checkpoint)
        await section.add_documents([document])
        async with aclosing(scan_documents(database, path)) as batches:
            async for batch in batches:
                await section.add_documents(
                    [one for one in batch if one.path.segments[2] not in _NOT_KEPT]
                )
        await self._end(section.finish(SectionKind.PROJECT, project, "", database.version, "", []))

    async def _write_server(self) -> None:
        database = await self._sources.databases.system(None)
        section = _Lines(self._place, self._manifest.id, self._checkpoint)
        for collection in _ADMINS:
            async with aclosing(scan_documents(database, CollectionPath((collection,)))) as found:
                async for batch in found:
                    await section.add_documents(batch)
        await self._end(
            section.finish(SectionKind.SERVER, SERVER, SYSTEM_DATABASE, database.version, "", [])
        )


class _Lines:
    """The lines of one section, which become parts."""

    def __init__(self, place: BackupPlace, backup: str, checkpoint: Checkpoint) -> None:
        self._place = place
        self._backup = backup
        self._checkpoint = checkpoint
        self._digest = LinesDigest()
        self._parts: list[Part] = []

    async def add_documents(self, documents: list[StoredDocument]) -> None:
        await self.add_lines(await asyncio.to_thread(_encode_all, documents))

    async def add_lines(self, lines: list[bytes]) -> None:
        if not lines:
            return
        await asyncio.to_thread(self._digest.add, lines)
        for part in _cut(lines):
            number = self._checkpoint.next_part
            self._checkpoint.next_part += 1
            self._parts.append(await self._place.write_part(self._backup, number, part))

    def finish(
        self,
        kind: SectionKind,
        project: str,
        name: str,
        version: int,
        incarnation: str,
        indexes: list[str],
    ) -> Section:
        digest = self._digest
        return Section(
            kind,
            project,
            name,
            version,
            incarnation,
            digest.count,
            digest.bytes,
            digest.text,
            tuple(self._parts),
            tuple(indexes),
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
