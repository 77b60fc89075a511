"""Use cases on a project's schemas: read, check against what is stored, deploy. For administrators.

A check reads the documents that the schemas are for, in slices of the order of their keys: each
slice is of one instant, and the next begins where a token says, so a check of any size goes on
whatever breaks off. It needs no rights but an administrator's, and names whatever it finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from baas.database.database import Database
from baas.database.indexes import is_reserved
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import InvalidArgument
from baas.model.paths import CollectionPath, DocumentPath
from baas.projects.schema_diff import SchemasDiff, diff_schemas
from baas.projects.schema_releases import SchemaNote, SchemaRelease
from baas.projects.schemas import Schema, SchemaSet, UniqueFields
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database
from baas.services.schema_guard import make_indexes, violation_details

CHECK_PAGE_MAX = 1_000
CHECK_BYTES_MAX = 8 * 1024 * 1024
FOUND_MAX = 100  # documents told of with what is wrong; others are counted
_SLICE = 100
_READ_AT_ONCE = 20  # documents, which may be large


@dataclass(slots=True)
class CheckPage:
    """What a slice of a check has found: `checked` documents, `failed` of them do not fit, and
    `found` tells of the first of those. `next_page_token` None: it was the last slice.
    `is_waiting`: an index that the check needs is still being made; ask again."""

    checked: int = 0
    failed: int = 0
    found: list[dict[str, Any]] = field(default_factory=list)
    next_page_token: str | None = None
    is_waiting: bool = False
    version: int = 0  # that the slice was read at
    is_last: bool = False  # of what was changed


async def get_schemas(
    context: Context, caller: Caller, project: str, release: str | None = None
) -> SchemaRelease:
    """A release; None: the one in force. Raises NotFound (`ReleaseNotFound`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.schemas.get_release(project, release)


async def list_releases(context: Context, caller: Caller, project: str) -> list[SchemaNote]:
    """The history, newest first."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.schemas.list_releases(project)


@dataclass(frozen=True, slots=True)
class ReleasesDiff:
    """What `new` has changed since `old`; None: what is not deployed yet."""

    old: str
    new: str | None
    diff: SchemasDiff


async def diff_releases(
    context: Context, caller: Caller, project: str, old: str | None, new: str | None
) -> ReleasesDiff:
    """What `new` has changed since `old`; None: the release in force. Raises NotFound
    (`ReleaseNotFound`)."""
    before = await get_schemas(context, caller, project, old)
    after = await get_schemas(context, caller, project, new)
    return await _diff(before, after.sources, after.note.id)


async def diff_sources(
    context: Context, caller: Caller, project: str, sources: object, old: str | None
) -> ReleasesDiff:
    """What deploying these schemas would change, or has changed since `old`. Raises SchemaRejected,
    NotFound (`ReleaseNotFound`)."""
    before = await get_schemas(context, caller, project, old)
    schemas = await context.projects.schemas.compile(sources)
    return await _diff(before, [one.source for one in schemas.schemas], None)


async def _diff(
    before: SchemaRelease, sources: list[dict[str, Any]], new: str | None
) -> ReleasesDiff:
    # Long sources take long; others get their turn meanwhile.
    diff = await asyncio.to_thread(
        diff_schemas,
        before.sources,
        sources,
        old_name=before.note.id,
        new_name=new or "to be deployed",
    )
    return ReleasesDiff(before.note.id, new, diff)


async def check_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    sources: object,
    *,
    page_size: int = CHECK_PAGE_MAX,
    page_token: str | None = None,
) -> CheckPage:
    """One slice of a check of what is stored against schemas, or against those in force if
    `sources` is None. Raises SchemaRejected, InvalidArgument (`InvalidPageToken`)."""
    check_is_admin(caller)
    releases = context.projects.schemas
    await context.projects.check_database(name)
    if sources is None:
        schemas = await releases.get(name.project)
    else:
        schemas = await releases.compile(sources)
    database = await open_database(context, name)
    return await check_slice(database, schemas, page_size, page_token)


async def check_slice(
    database: Database, schemas: SchemaSet, page_size: int, page_token: str | None
) -> CheckPage:
    """Of one database, from where a token says. Raises QuotaExceeded (`TooManyIndexes`)."""
    page = CheckPage(next_page_token=page_token)
    after = _read_token(page_token)
    if schemas.unique and not await make_indexes(database, schemas.unique):
        page.is_waiting = True
        return page
    page.next_page_token = None
    size = 0
    async with database.snapshot() as snapshot:
        page.version = snapshot.version
        for start, end in _spans(schemas.schemas):
            at = start if after is None else max(start, after)
            while end is None or at < end:
                documents = await snapshot.scan_keys(at, end, limit=_SLICE)
                for document in documents:
                    await _check_document(snapshot, schemas, document, page)
                    size += len(document.data)
                if len(documents) < _SLICE:
                    break
                at = keys.document_key(documents[-1].path) + b"\x00"
                if page.checked >= page_size or size >= CHECK_BYTES_MAX:
                    page.next_page_token = str(documents[-1].path)
                    return page
                await asyncio.sleep(0)
    return page


async def check_changed(database: Database, schemas: SchemaSet, after: int) -> CheckPage:
    """Looks at what the next commits above version `after` have changed, as it is now. The
    page's version is how far that was. Raises ResumeTokenExpired."""
    page = CheckPage()
    async with database.snapshot() as snapshot:
        records = await snapshot.read_log(after, limit=_SLICE)
        page.version = records[-1].version if records else snapshot.version
        page.is_last = len(records) < _SLICE
        known = {one.path.segments: one.path for one in records}
        paths = [path for path in known.values() if schemas.find(path)]
        for start in range(0, len(paths), _READ_AT_ONCE):
            for document in await snapshot.get_documents(paths[start : start + _READ_AT_ONCE]):
                if document is not None:
                    await _check_document(snapshot, schemas, document, page)
    return page


async def count_documents(database: Database, schemas: SchemaSet) -> int:
    """How many a check has to look at, or some more."""
    async with database.snapshot() as snapshot:
        return sum([await snapshot.count_keys(*span) for span in _spans(schemas.schemas)])


async def _check_document(
    snapshot: ReadSnapshot, schemas: SchemaSet, document: StoredDocument, page: CheckPage
) -> None:
    if is_reserved(document.path):
        return
    found = schemas.find(document.path)
    if not found:
        return
    page.checked += 1
    wrong: list[dict[str, Any]] = []
    for schema in found:
        wrong += await _findings(snapshot, schema, document)
    if wrong:
        page.failed += 1
        if len(page.found) < FOUND_MAX:
            page.found.append({"document": str(document.path), "violations": wrong})


async def _findings(
    snapshot: ReadSnapshot, schema: Schema, document: StoredDocument
) -> list[dict[str, Any]]:
    fields = document.fields
    wrong = [violation_details(one) for one in schema.check(fields)]
    for unique in schema.unique:
        if unique.key(fields) is not None:
            other = await _other_holder(snapshot, unique, document)
            if other is not None:
                wrong.append(
                    {
                        "field": ", ".join(map(str, unique.fields)),
                        "keyword": "x-unique",
                        "expected": None,
                        "message": f"`{other}` has the same",
                    }
                )
    return wrong


async def _other_holder(
    snapshot: ReadSnapshot, unique: UniqueFields, document: StoredDocument
) -> DocumentPath | None:
    query = unique.query(document.path, document.fields, limit=2)
    for found in (await snapshot.run_query(query)).documents:
        if found.path != document.path:
            return found.path
    return None


def _spans(schemas: Sequence[Schema]) -> list[tuple[bytes, bytes | None]]:
    """What has to be read for these, in order, none of it twice."""
    spans: list[tuple[bytes, bytes | None]] = []
    for schema in schemas:
        pattern = schema.pattern
        if pattern.is_group:
            return [(b"", None)]
        literal = pattern.segments
        if None in literal:
            first = CollectionPath(tuple(_until_wild(literal)))
            spans.append(keys.subtree_span(first))
        else:
            exact = tuple(segment for segment in literal if segment is not None)
            spans.append(keys.collection_span(CollectionPath(exact)))
    merged: list[tuple[bytes, bytes | None]] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        if merged and (merged[-1][1] is None or start <= (merged[-1][1] or b"")):
            last_start, last_end = merged[-1]
            is_open = last_end is None or end is None
            merged[-1] = (last_start, None if is_open else max(last_end or b"", end or b""))
        else:
            merged.append((start, end))
    return merged


def _until_wild(segments: Sequence[str | None]) -> list[str]:
    found: list[str] = []
    for segment in segments:
        if segment is None:
            break
        found.append(segment)
    return found if len(found) % 2 else found[:-1]


def _read_token(token: str | None) -> bytes | None:
    if token is None:
        return None
    try:
        return keys.document_key(DocumentPath.parse(token)) + b"\x00"
    except InvalidArgument as error:
        raise InvalidArgument(
            "`page_token` is not a token that a check has given", reason="InvalidPageToken"
        ) from error
