"""Use cases on earlier versions of documents: read them, list them.

What a caller may not read now, it may not read as it was: rules are asked of the document as it is,
and of the document as it was then, both with the caller's rights of now. Queries of an earlier time
are for administrators and secret keys: a proof says nothing of what became of a document since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.past import PastSnapshot
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.errors import (
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    QuotaExceeded,
    ResumeTokenExpired,
)
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_checks import check_query, refuse_search
from baas.model.timestamps import Timestamp
from baas.services.aggregations import (
    Aggregated,
    bounds,
    check,
    check_all_groups,
    read_in_turn,
)
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import (
    CheckGets,
    Documents,
    DocumentsAtTime,
    make_authorizer,
    open_database,
    read_documents,
)
from baas.services.queries import QueryPage
from baas.settings import Limits
from baas.storage.engine import PastImage

_LATEST = 2**63 - 1


class VersionKind(Enum):
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """What one commit made of a document. `size` is that of its stored form; None if there is none,
    be it because it was erased."""

    time: Timestamp
    kind: VersionKind
    size: int | None = None
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Newest first; `next_page_token` if there may be more."""

    versions: list[DocumentVersion]
    next_page_token: str | None


async def get_documents_at(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    paths: Sequence[DocumentPath],
    read_time: Timestamp,
) -> DocumentsAtTime:
    """Documents as they were at `read_time`; None for one that there was not, or that was erased.

    Raises PermissionDenied unless each may be got, as it is and as it was; InvalidArgument
    (`ReadTimeInFuture`), OutOfRange (`ReadTimeTooOld`), QuotaExceeded (`AnswerTooLarge`).
    """
    database = await open_database(context, name)
    limits = context.settings.limits
    async with database.snapshot() as snapshot:
        now = context.clock.now_microseconds()
        past = PastSnapshot(snapshot, await version_at(database, read_time, snapshot.version, now))
        try:
            found = await read_documents(
                past, paths, limits.answer_bytes_max, gets_checker(context, caller, name, past)
            )
        except ResumeTokenExpired as error:
            raise _too_old() from error
    return DocumentsAtTime(found, read_time)


async def run_query_at(
    context: Context, caller: Caller, name: DatabaseName, query: Query, read_time: Timestamp
) -> QueryPage:
    """A query's whole answer as of `read_time`, without what was erased. For administrators and
    secret keys. Raises as `get_documents_at`, and OutOfRange (`TooFarBack`)."""
    limits = context.settings.limits
    check_query(query, limits)
    refuse_search(query, "with `read_time`: words are indexed as they are now")
    if not caller.bypasses_rules:
        raise PermissionDenied()
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        now = context.clock.now_microseconds()
        past = PastSnapshot(snapshot, await version_at(database, read_time, snapshot.version, now))
        try:
            found = await read_whole(past, query, limits)
        except ResumeTokenExpired as error:
            raise _too_old() from error
    return QueryPage(found, read_time)


async def aggregate_at(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    aggregation: Aggregation,
    read_time: Timestamp,
) -> Aggregated:
    """All groups as of `read_time`, as `run_query_at`."""
    check(context, aggregation)
    refuse_search(aggregation.query, "with `read_time`: words are indexed as they are now")
    if not caller.bypasses_rules:
        raise PermissionDenied()
    database = await open_database(context, name)

    async def read(snapshot: ReadSnapshot) -> Aggregated:
        now = context.clock.now_microseconds()
        past = PastSnapshot(snapshot, await version_at(database, read_time, snapshot.version, now))
        try:
            page = await past.aggregate(aggregation, bounds(context.settings.limits))
        except ResumeTokenExpired as error:
            raise _too_old() from error
        check_all_groups(context, page)
        return Aggregated(page.groups, read_time)

    return await read_in_turn(context, caller, name, aggregation, read)


async def read_whole(past: PastSnapshot, query: Query, limits: Limits) -> list[StoredDocument]:
    """All of an answer that is one page at most. Raises QuotaExceeded (`AnswerTooLarge`)."""
    maximum = limits.query_page_documents_max
    bounded = query
    if query.limit is None or query.limit > maximum:
        bounded = replace(query, limit=maximum + 1)
    found, is_cut = await past.read_first(bounded, bytes_max=limits.answer_bytes_max)
    if is_cut or len(found) > maximum:
        raise QuotaExceeded(
            f"a query of an earlier moment has at most {maximum} documents and "
            f"{limits.answer_bytes_max} bytes; give it a limit",
            reason="AnswerTooLarge",
            details={"documents_max": maximum, "answer_bytes_max": limits.answer_bytes_max},
        )
    return found


async def list_versions(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    path: DocumentPath,
    *,
    page_size: int,
    page_token: str | None = None,
) -> VersionPage:
    """What is known of a document's past, for administrators and secret keys. Costs the versions
    shown, not their sizes: what they held is not read. Raises
    PermissionDenied, InvalidArgument (`InvalidPageToken`)."""
    if not caller.bypasses_rules:
        raise PermissionDenied()
    before = _read_token(page_token)
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        (current,) = await snapshot.get_documents([path])
        # Of each image comes at least one version, but for one that was shown already.
        images = await snapshot.read_history(path, below=before + 1, limit=page_size + 2)
    versions = [one for one in _versions(current, images) if one.time.microseconds < before]
    page = versions[:page_size]
    is_last = len(versions) <= page_size
    return VersionPage(page, None if is_last else str(page[-1].time.microseconds))


def _versions(current: StoredDocument | None, images: Sequence[PastImage]) -> list[DocumentVersion]:
    found: list[DocumentVersion] = []
    newer: int | None = None
    if current is not None:
        newer = current.version
        found.append(_made(current.created, newer, len(current.data)))
    for image in images:
        if image.superseded != newer:
            found.append(DocumentVersion(Timestamp(image.superseded), VersionKind.DELETED))
        newer = image.version
        found.append(_made(image.created, newer, image.size))
    return found


def _made(created: int, version: int, size: int) -> DocumentVersion:
    kind = VersionKind.CREATED if created == version else VersionKind.UPDATED
    return DocumentVersion(Timestamp(version), kind, size or None, is_erased=not size)


def gets_checker(
    context: Context, caller: Caller, name: DatabaseName, past: PastSnapshot
) -> CheckGets | None:
    """What raises PermissionDenied unless the caller may get each document as it is, and as it was.
    None for callers that no rules bind."""

    async def check(paths: Sequence[DocumentPath], found: Documents) -> None:
        present = await past.snapshot.get_documents(paths)
        for path, then, now in zip(paths, found, present, strict=True):
            authorizer = await make_authorizer(context, caller, name)
            await authorizer.check_get(path, now, past.snapshot)
            if _version(then) != _version(now):
                authorizer = await make_authorizer(context, caller, name)
                await authorizer.check_get(path, then, past)

    return None if caller.bypasses_rules else check


async def version_at(database: Database, read_time: Timestamp, latest: int, now: int) -> int:
    """The version that was the last one at `read_time`, or one between the same two commits. Raises
    InvalidArgument (`ReadTimeInFuture`), OutOfRange (`ReadTimeTooOld`)."""
    version = read_time.microseconds
    if version > max(now, latest):  # the clock of the node that wrote may be ahead
        raise InvalidArgument(
            "the time that is asked for is in the future", reason="ReadTimeInFuture"
        )
    if version < await database.read_oldest_version():
        raise _too_old()
    # Later commits get later versions than the latest one, whatever the clock says.
    return min(version, latest)


def _too_old() -> OutOfRange:
    return OutOfRange(
        "history does not reach back to the time that is asked for", reason="ReadTimeTooOld"
    )


def _version(document: StoredDocument | None) -> int | None:
    return None if document is None else document.version


def _read_token(token: str | None) -> int:
    if token is None:
        return _LATEST - 1
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise InvalidArgument("the page token is not one of this list", reason="InvalidPageToken")
    return int(token)
