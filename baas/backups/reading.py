"""Checking a backup, and reading it back into projects that nobody sees until they are whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import orjson

from baas.accounts.accounts import Accounts
from baas.accounts.sealing import ServerSecret
from baas.accounts.signing import COLLECTION as SIGNING_KEYS
from baas.accounts.signing import reseal_key
from baas.backups.copies import copy_blob, run_some
from baas.backups.lines import decode_document, encode_document
from baas.backups.manifest import LinesDigest, Manifest, Section, SectionKind, damaged
from baas.backups.place import BackupPlace
from baas.backups.positions import Count, Position
from baas.backups.writing import Sources, Watch
from baas.database.indexes import is_reserved
from baas.database.loading import Loader, in_chunks
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument, decode_fields, encode_fields
from baas.errors import BaasError, DataLoss
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import check_document, check_fields
from baas.model.writes import SetWrite
from baas.settings import Limits

_ADMINS = CollectionPath(("admins",))
Change = Callable[[StoredDocument], StoredDocument | None]


class ReadingWatch(Watch, Protocol):
    """Who watches what is read, and knows where to go on if it is cut off."""

    def reach(self, position: Position) -> None: ...


async def verify(
    place: BackupPlace,
    manifest: Manifest,
    limits: Limits,
    watch: ReadingWatch,
    begin: Position | None = None,
) -> None:
    """Reads everything that a backup consists of, from a position on: compares it with its
    checksums, and decodes every document, whose path, values and size have to be ones that may be
    stored. Raises DataLoss (`BackupDamaged`)."""
    begin = begin or Position()
    for number, section in enumerate(manifest.sections):
        if number < begin.sections:
            continue
        here = begin.of_section(number)
        digest = here.taken.digest()
        if section.indexes and not here.parts:
            await asyncio.to_thread(_check_lines, manifest, section, section.indexes, limits)
        async with aclosing(_read(place, manifest, section, digest, here.parts)) as parts:
            async for lines in parts:
                if section.kind is SectionKind.OBJECTS:
                    for line in lines:
                        await _read_content(place, manifest, _Content.decode(line), watch)
                else:
                    await asyncio.to_thread(_check_lines, manifest, section, lines, limits)
                    watch.advance(len(lines), sum(map(len, lines)))
                here = replace(here, parts=here.parts + 1, taken=Count.of(digest))
                watch.reach(here)


def _check_lines(
    manifest: Manifest, section: Section, lines: Sequence[bytes | str], limits: Limits
) -> None:
    for line in lines:
        document = decode_document(line.encode() if isinstance(line, str) else line)
        is_of_app = section.kind is SectionKind.DATABASE and not is_reserved(document.path)
        try:
            _check_document(document, limits if is_of_app else None)
        except BaasError as error:
            raise damaged(
                manifest.id,
                f"document `{document.name[:200]}` of {section.project or 'the server'}/"
                f"{section.name or section.kind.value}: {error.message}",
            ) from error


def _check_document(document: StoredDocument, limits: Limits | None) -> None:
    """Raises BaasError unless this is what could have been stored, in canonical bytes; by an app,
    within `limits`."""
    fields = decode_fields(document.data)
    if encode_fields(fields) != document.data:
        raise DataLoss("its fields are not in their canonical form")
    if not 0 < document.created <= document.version:
        raise DataLoss("its times contradict each other")
    if limits is not None:
        DocumentPath.parse(document.name)
        check_fields(fields, limits)
        check_document(document.path, fields, limits)


async def _read(
    place: BackupPlace, manifest: Manifest, section: Section, digest: LinesDigest, done: int = 0
) -> AsyncGenerator[list[bytes]]:
    """The lines of a section behind the `done` first parts, which `digest` is of; raises at the end
    unless they are all."""
    async with aclosing(place.read_section(manifest.id, section, skip_parts=done)) as parts:
        async for lines in parts:
            await asyncio.to_thread(digest.add, lines)
            yield lines
    if (digest.count, digest.text) != (section.count, section.digest):
        raise damaged(manifest.id, f"the {section.kind.value} section is not what was written")


@dataclass(frozen=True, slots=True)
class _Content:
    id: str
    sha256: str
    parts: tuple[tuple[str, int], ...]

    @staticmethod
    def decode(line: bytes) -> _Content:
        tree = orjson.loads(line)
        parts = tuple((str(one), int(size)) for one, size in tree["parts"])
        return _Content(str(tree["content"]), str(tree["sha256"]), parts)

    @property
    def size(self) -> int:
        return sum(size for _, size in self.parts)


def content_ids(lines: Sequence[bytes]) -> list[str]:
    """Of lines of an objects section."""
    return [_Content.decode(line).id for line in lines]


async def _read_content(
    place: BackupPlace, manifest: Manifest, content: _Content, watch: Watch
) -> None:
    digest = hashlib.sha256()
    for part, size in content.parts:
        key = f"{manifest.objects_place}/{content.id}/{part}"
        try:
            async for chunk in place.store.read(key, 0, size):
                digest.update(chunk)
        except DataLoss as error:
            raise damaged(manifest.id, f"bytes of objects are missing: {key}") from error
    _check_content(manifest, content, digest.hexdigest())
    watch.advance(1, content.size)


def _check_content(manifest: Manifest, content: _Content, sha256: str) -> None:
    if sha256 != content.sha256:
        raise damaged(manifest.id, f"the bytes of content {content.id} do not match their checksum")


class Restorer:
    """Restores projects of one backup. `task`: whose work it is, by which a project is known that
    was begun before; `confirm` raises if that is another node's by now; `begin`: how far it had
    come. `new_keys`: signing keys are left behind, for a server with another secret key."""

    def __init__(
        self,
        sources: Sources,
        accounts: Accounts,
        secret: ServerSecret,
        place: BackupPlace,
        manifest: Manifest,
        watch: ReadingWatch,
        *,
        task: str,
        confirm: Callable[[], Awaitable[None]],
        begin: Position | None,
        new_keys: bool,
    ) -> None:
        self._sources = sources
        self._accounts = accounts
        self._secret = secret
        self._place = place
        self._manifest = manifest
        self._watch = watch
        self._task = task
        self._confirm = confirm
        self._begin = begin or Position()
        self._new_keys = new_keys

    async def restore_admins(self) -> bool:
        """Administrators, unless there are some here; whether they were restored."""
        sections = [one for one in self._manifest.sections if one.kind is SectionKind.SERVER]
        documents: list[StoredDocument] = []
        for section in sections:
            documents += await self._read_all(section)
        database = await self._sources.databases.system(None)

        async def body(transaction: Transaction) -> bool:
            if (await transaction.run_query(Query(_ADMINS, limit=1))).documents:
                return False
            await transaction.write([SetWrite(one.path, one.fields) for one in documents])
            return bool(documents)

        now = Timestamp(self._sources.clock.now_microseconds())
        return (await database.run_transaction(body, request_time=now)).value

    async def restore_project(self, project: str, identifier: str) -> list[str]:
        """Restores a project of the backup under an id; notes on what is not as it was. If it
        raises, or never returns, nobody sees the project: the same task may go on with it, or has
        it deleted. Raises AlreadyExists (`ProjectExists`), DataLoss (`BackupDamaged`,
        `RestoreFailed`)."""
        sources = self._sources
        async with (
            sources.projects.restores.begin(identifier, self._task) as (made, goes_on),
            sources.objects.holds.hold(identifier),
        ):
            begin = Position(identifier)
            if goes_on and self._begin.project == identifier:
                begin = self._begin
            with sources.databases.reserve(identifier):
                await self._load_databases(project, begin, goes_on=goes_on)
                await self._load_objects(project, begin, goes_on=goes_on)
            notes = await self._finish(project, identifier, made)
        self._accounts.forget_project(identifier)
        await self._accounts.open_project(identifier)
        return notes

    def _databases_of(self, project: str) -> list[Section]:
        return [
            *self._manifest.of_project(project, SectionKind.DATABASE),
            *self._manifest.of_project(project, SectionKind.SYSTEM),
        ]

    async def _load_databases(self, project: str, begin: Position, *, goes_on: bool) -> None:
        identifier = begin.project
        if not goes_on:
            await self._confirm()
            await self._sources.databases.delete_project(identifier)
        for number, section in enumerate(self._databases_of(project)):
            if number >= begin.sections:
                change: Change = _unchanged
                name = DatabaseName(identifier, section.name)
                if section.kind is SectionKind.SYSTEM:
                    name = DatabaseName.system(identifier)
                    change = self._sealed_for(project, identifier)
                await self._load(section, name, change, begin.of_section(number), goes_on=goes_on)
                self._watch.reach(Position(identifier, number + 1))

    def _sealed_for(self, project: str, identifier: str) -> Change:
        def change(document: StoredDocument) -> StoredDocument | None:
            if document.path.segments[0] != SIGNING_KEYS:
                return document
            if self._new_keys:
                return None
            if identifier == project:
                return document
            fields = reseal_key(document, self._secret, project, identifier, self._sources.clock)
            data = encode_fields(fields)
            return StoredDocument(document.path, data, document.created, document.version)

        return change

    async def _load(
        self,
        section: Section,
        name: DatabaseName,
        change: Change,
        here: Position,
        *,
        goes_on: bool,
    ) -> None:
        taken, given = here.taken.digest(), here.given.digest()
        async with self._sources.databases.load(name, section.version, goes_on=goes_on) as loader:
            # In this order: whoever takes the task over after the claim was seen commits above.
            await loader.begin()
            await self._confirm()
            async with aclosing(
                _read(self._place, self._manifest, section, taken, here.parts)
            ) as parts:
                async for lines in parts:
                    found = await asyncio.to_thread(_decode_all, lines)
                    documents = [new for new in map(change, found) if new is not None]
                    await asyncio.to_thread(_digest_all, given, documents)
                    for chunk in in_chunks(documents):
                        await loader.add(chunk)
                    self._watch.advance(len(lines), sum(map(len, lines)))
                    here = replace(
                        here,
                        parts=here.parts + 1,
                        taken=Count.of(taken),
                        given=Count.of(given),
                    )
                    self._watch.reach(here)
            if section.indexes:
                await loader.add_indexes(_decode_all([one.encode() for one in section.indexes]))
            await loader.finish()
            await self._check_loaded(loader, name, given)

    async def _check_loaded(self, loader: Loader, name: DatabaseName, given: LinesDigest) -> None:
        """What the database holds now is what it was given."""
        there = LinesDigest()
        async with aclosing(loader.read()) as batches:
            async for batch in batches:
                kept = [one for one in batch if not is_reserved(one.path)]
                await asyncio.to_thread(_digest_all, there, kept)
        if (there.count, there.text) != (given.count, given.text):
            raise DataLoss(
                f"`{name}` does not hold what was restored: {there.count} documents in place of "
                f"{given.count}, or others",
                reason="RestoreFailed",
            )

    async def _load_objects(self, project: str, begin: Position, *, goes_on: bool) -> None:
        before, identifier = len(self._databases_of(project)), begin.project
        for number, section in enumerate(self._manifest.of_project(project, SectionKind.OBJECTS)):
            here = begin.of_section(before + number)
            digest = here.taken.digest()
            done: set[str] = set()
            async with aclosing(
                _read(self._place, self._manifest, section, digest, here.parts)
            ) as parts:
                async for lines in parts:
                    contents = {one.id: one for one in map(_Content.decode, lines)}
                    fresh = [one for one in contents.values() if one.id not in done]
                    copies = [
                        partial(self._copy, one, identifier, goes_on=goes_on) for one in fresh
                    ]
                    await run_some(copies)
                    done.update(contents)
                    here = replace(here, parts=here.parts + 1, taken=Count.of(digest))
                    self._watch.reach(here)

    async def _copy(self, content: _Content, identifier: str, *, goes_on: bool) -> None:
        source, target = self._place.store, self._sources.objects.store
        if goes_on and await self._is_copied(content, identifier):
            self._watch.advance(1, content.size)
            return
        digest = hashlib.sha256()
        for part, size in content.parts:
            key = f"{self._manifest.objects_place}/{content.id}/{part}"
            new = f"{identifier}/{content.id}/{part}"
            try:
                async with aclosing(copy_blob(source, key, target, new, size)) as chunks:
                    async for chunk in chunks:
                        digest.update(chunk)
            except DataLoss as error:
                raise damaged(self._manifest.id, f"bytes of objects are missing: {key}") from error
        _check_content(self._manifest, content, digest.hexdigest())
        self._watch.advance(1, content.size)

    async def _is_copied(self, content: _Content, identifier: str) -> bool:
        """Whether its bytes are there already, whole."""
        target = self._sources.objects.store
        digest = hashlib.sha256()
        for part, size in content.parts:
            key = f"{identifier}/{content.id}/{part}"
            if await target.find_size(key) != size:
                return False
            async for chunk in target.read(key, 0, size):
                digest.update(chunk)
        return digest.hexdigest() == content.sha256

    async def _finish(self, project: str, identifier: str, made: int) -> list[str]:
        restores = self._sources.projects.restores
        (section,) = self._manifest.of_project(project, SectionKind.PROJECT)
        documents = await self._read_all(section)
        (own,) = [one for one in documents if len(one.path.segments) == 2]
        below = [one for one in documents if one is not own]
        below.sort(key=lambda one: one.created)
        taken = await restores.add(identifier, made, below)
        sections = self._manifest.of_project(project, SectionKind.DATABASE)
        await restores.finish(identifier, made, own, [one.name for one in sections])
        return [
            f"API key {key} was left out of `{identifier}`: another project here has it"
            for key in taken
        ]

    async def _read_all(self, section: Section) -> list[StoredDocument]:
        """For sections that are small."""
        documents: list[StoredDocument] = []
        async with aclosing(_read(self._place, self._manifest, section, LinesDigest())) as parts:
            async for lines in parts:
                documents += _decode_all(lines)
        return documents


def _unchanged(document: StoredDocument) -> StoredDocument:
    return document


def _decode_all(lines: Sequence[bytes]) -> list[StoredDocument]:
    return [decode_document(line) for line in lines]


def _digest_all(digest: LinesDigest, documents: Sequence[StoredDocument]) -> None:
    digest.add([encode_document(one) for one in documents])
