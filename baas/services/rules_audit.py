"""What strangers can do to a project's live data: the rules, asked as anonymous and as a user who
has just signed up, by the very authorizer that every request meets. Nothing is ever written: the
transactions that writes are tried in read from a snapshot, and no committer knows them.

From every collection, and every top folder of a bucket, a sample is taken. Writes are tried with
what is likely to pass: the fields as they are, one field more, no fields at all. So it can miss
what only other fields would be allowed; what it finds is so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeAlias

from baas_rules import Ruleset
from baas_rules.decision import DOCUMENT_SERVICE, OBJECT_SERVICE

from baas.buckets.listing import list_page
from baas.buckets.names import BucketName
from baas.buckets.objects import Declared
from baas.buckets.records import StoredObject
from baas.clock import new_document_id
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.database.scan import scan_documents
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.paths import CollectionPath
from baas.model.queries import NAME, Cursor, Order, Query
from baas.model.values import Fields, Reference
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.services.admins import check_is_admin
from baas.services.authorizer import Authorizer
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.services.denial_traces import DenialTraces
from baas.services.documents import request_time
from baas.services.objects_authorizer import ObjectAuthorizer, declared_resource, object_resource

SAMPLE_DEFAULT = 20
SAMPLE_MAX = 500
COLLECTIONS_MAX = 2_000  # kinds of collections in a database, and folders in a bucket
SCANNED_MAX = 1_000  # documents per root collection, for collections below documents that are none
_MARK = "baasAudit"
_ID = "{id}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What `caller` (anonymous or user) may do: `allowed` of `tried` in the sample, as at
    `example`. `path` is a pattern such as `users/{id}/notes/{id}`, or `photos/**` in a bucket."""

    caller: str
    service: str
    place: str
    path: str
    method: str
    allowed: int
    tried: int
    example: str


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """What is looked at next."""

    service: str
    place: str
    path: str


@dataclass(frozen=True, slots=True)
class AuditDone:
    """The end. Not `complete` if there were more collections or folders than are looked at."""

    decisions: int
    findings: int
    complete: bool


Segments: TypeAlias = tuple[str, ...]
_Kinds: TypeAlias = dict[Segments, set[Segments]]  # collections by their pattern
AuditEvent: TypeAlias = AuditProgress | Finding | AuditDone


async def audit_rules(
    context: Context, caller: Caller, project: str, *, sample: int = SAMPLE_DEFAULT
) -> AsyncGenerator[AuditEvent]:
    """Looks at everything, and tells as it goes; the rules are those of the start. Raises
    PermissionDenied, NotFound before the first event."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    ruleset = await context.projects.ruleset(DatabaseName(project))
    return _Audit(context, project, ruleset, sample).events()


class _Tally:
    """Counts decisions about one pattern, and keeps an example of each."""

    def __init__(self, service: str, place: str, path: str) -> None:
        self._about = (service, place, path)
        self._tried: dict[tuple[str, str], int] = {}
        self._allowed: dict[tuple[str, str], list[str]] = {}

    def add(self, caller: Caller, method: str, example: str, *, allowed: bool) -> None:
        key = (caller.kind.value, method)
        self._tried[key] = self._tried.get(key, 0) + 1
        if allowed:
            self._allowed.setdefault(key, []).append(example)

    @property
    def decisions(self) -> int:
        return sum(self._tried.values())

    def findings(self) -> list[Finding]:
        service, place, path = self._about
        return [
            Finding(who, service, place, path, method, len(at), self._tried[who, method], at[0])
            for (who, method), at in self._allowed.items()
        ]


class _Audit:
    def __init__(self, context: Context, project: str, ruleset: Ruleset, sample: int) -> None:
        # Its denials are nobody's: they are neither traced nor explained nor logged.
        settings = replace(context.settings, dev=False, denial_explanations_per_second=0)
        self._context = replace(context, denials=DenialTraces(settings, context.clock))
        self._project = project
        self._ruleset = ruleset
        self._sample = sample
        self._decisions = 0
        self._findings = 0
        self._is_complete = True
        uid = "audit" + new_document_id(context.clock)
        claims = {
            "sub": uid,
            "user_id": uid,
            "email": f"{uid}@example.com",
            "email_verified": True,  # as anybody can have it
        }
        self._callers = (ANONYMOUS, Caller(CallerKind.USER, uid, claims, project=project))

    async def events(self) -> AsyncGenerator[AuditEvent]:
        context = self._context
        for database in (await context.projects.get_project(self._project)).databases:
            async with aclosing(self._database(DatabaseName(self._project, database))) as events:
                async for event in events:
                    yield event
        for bucket in await context.objects.list_buckets(self._project):
            async with aclosing(self._bucket(BucketName(self._project, bucket.id))) as events:
                async for event in events:
                    yield event
        yield AuditDone(self._decisions, self._findings, self._is_complete)

    def _tell(self, tally: _Tally) -> list[Finding]:
        found = tally.findings()
        self._decisions += tally.decisions
        self._findings += len(found)
        return found

    # Documents ------------------------------------------------------------------------------------

    async def _database(self, name: DatabaseName) -> AsyncGenerator[AuditEvent]:
        database = await self._context.databases.open(name)
        found = await self._below_roots(database)
        pending = deque(found)
        while pending:
            pattern = pending.popleft()
            path = "/".join((*pattern, _ID))
            yield AuditProgress(DOCUMENT_SERVICE, name.database, path)
            tally = _Tally(DOCUMENT_SERVICE, name.database, path)
            async with database.snapshot() as snapshot:
                collections = sorted(found[pattern])[: self._sample]
                documents = await self._some_documents(snapshot, collections)
                for collection in collections[:3]:
                    await self._try_lists(name, CollectionPath(collection), snapshot, tally)
                for document in documents:
                    await self._try_document(name, document, snapshot, tally)
                    for child in await snapshot.list_collection_ids(document.path):
                        below = (*pattern, _ID, child)
                        if below not in found:
                            self._take(found, below)
                            pending.extend([below] if below in found else [])
                        if below in found:
                            found[below].add((*document.path.segments, child))
            for finding in self._tell(tally):
                yield finding

    def _take(self, found: _Kinds, kind: Segments) -> None:
        if len(found) < COLLECTIONS_MAX:
            found[kind] = set()
        else:
            self._is_complete = False

    async def _below_roots(self, database: Database) -> _Kinds:
        """Kinds of collections, each with some of its kind: those of the root, and what the first
        documents lie in. These may be below documents that do not exist."""
        found: _Kinds = {}
        for identifier in await database.list_collection_ids(None):
            root = CollectionPath((identifier,))
            self._take(found, root.segments)
            if root.segments not in found:
                break
            found[root.segments].add(root.segments)
            scanned = 0
            async with aclosing(scan_documents(database, root)) as batches:
                async for batch in batches:
                    for document in batch:
                        self._note_kind(found, document.path.segments[:-1])
                    scanned += len(batch)
                    if scanned >= SCANNED_MAX:
                        break
        return found

    def _note_kind(self, found: _Kinds, collection: Segments) -> None:
        kind = tuple(_ID if at % 2 else one for at, one in enumerate(collection))
        if kind not in found:
            self._take(found, kind)
        if kind in found and len(found[kind]) < SAMPLE_MAX:
            found[kind].add(collection)

    async def _some_documents(
        self, snapshot: ReadSnapshot, collections: Sequence[Segments]
    ) -> list[StoredDocument]:
        """Of each collection the first ones, and as many from a random id on; where ids are not
        random there may be none, and the first ones have to do."""
        each = max(1, self._sample // max(1, len(collections)))
        found: dict[Segments, StoredDocument] = {}
        for segments in collections:
            collection = CollectionPath(segments)
            somewhere = collection.document(new_document_id(self._context.clock))
            by_name = Query(collection, order_by=(Order(NAME),), limit=each)
            left = min(each, self._sample - len(found))
            for query in (
                replace(by_name, limit=(each + 1) // 2),
                replace(by_name, start=Cursor((Reference(somewhere),), before=True)),
                by_name,
            ):
                for document in (await snapshot.run_query(query)).documents if left else ():
                    if left and document.path.segments not in found:
                        found[document.path.segments] = document
                        left -= 1
        return list(found.values())

    async def _try_lists(
        self, name: DatabaseName, collection: CollectionPath, snapshot: ReadSnapshot, tally: _Tally
    ) -> None:
        queries = (Query(collection), Query(collection, limit=1))
        for caller in self._callers:
            allowed = False
            for query in queries:
                authorizer = self._authorizer(caller, name)
                allowed = allowed or await _is_allowed(authorizer.check_list(query, snapshot))
            tally.add(caller, "list", str(collection), allowed=allowed)

    async def _try_document(
        self, name: DatabaseName, document: StoredDocument, snapshot: ReadSnapshot, tally: _Tally
    ) -> None:
        path, fields = document.path, document.fields
        fresh = path.collection.document(new_document_id(self._context.clock))
        more: Fields = {**fields, _MARK: True}
        attempts: dict[str, list[Write]] = {
            "create": [SetWrite(fresh, one) for one in (fields, more, {})],
            "update": [SetWrite(path, one) for one in (more, fields, {})],
            "delete": [DeleteWrite(path)],
        }
        for caller in self._callers:
            authorizer = self._authorizer(caller, name)
            allowed = await _is_allowed(authorizer.check_get(path, document, snapshot))
            tally.add(caller, "get", str(path), allowed=allowed)
            for method, writes in attempts.items():
                allowed = False
                for write in writes:
                    allowed = allowed or await self._may_write(caller, name, write, snapshot)
                tally.add(caller, method, str(path), allowed=allowed)
        await asyncio.sleep(0)  # others get their turn

    async def _may_write(
        self, caller: Caller, name: DatabaseName, write: Write, snapshot: ReadSnapshot
    ) -> bool:
        # Made by hand, of a snapshot: there is no way from it to a commit.
        time = request_time(self._context)
        transaction = Transaction(snapshot, time, self._context.settings.limits)

        async def check() -> None:
            await transaction.write([write])
            await self._authorizer(caller, name).check_writes([write], transaction)

        return await _is_allowed(check())

    def _authorizer(self, caller: Caller, name: DatabaseName) -> Authorizer:
        time = request_time(self._context)
        return Authorizer(self._context, caller, name, self._ruleset, time)

    # Objects --------------------------------------------------------------------------------------

    async def _bucket(self, bucket: BucketName) -> AsyncGenerator[AuditEvent]:
        database = await self._context.objects.system.open(self._project)
        folders: list[str] = []
        token = None
        while len(folders) < COLLECTIONS_MAX:
            page = await list_page(
                database, bucket, prefix="", by_folder=True, size=100, token=token
            )
            folders += page.prefixes
            token = page.next_token
            if token is None:
                break
        self._is_complete = self._is_complete and token is None
        for folder in ["", *folders]:
            path = f"{folder}**" if folder else "*"
            yield AuditProgress(OBJECT_SERVICE, bucket.bucket, path)
            tally = _Tally(OBJECT_SERVICE, bucket.bucket, path)
            page = await list_page(
                database,
                bucket,
                prefix=folder,
                by_folder=not folder,
                size=self._sample,
                token=None,
            )
            await self._try_folder(bucket, folder, page.objects, tally)
            for finding in self._tell(tally):
                yield finding

    async def _try_folder(
        self, bucket: BucketName, folder: str, objects: Sequence[StoredObject], tally: _Tally
    ) -> None:
        for caller in self._callers:
            allowed = False
            for by_folder in (True, False):
                asked = self._object_authorizer(caller, bucket)
                allowed = allowed or await _is_allowed(
                    asked.check_list(folder, by_folder=by_folder)
                )
            tally.add(caller, "list", folder or "/", allowed=allowed)
            for stored in objects:
                for method, name, old, new in self._object_attempts(bucket, stored):
                    asked = self._object_authorizer(caller, bucket)
                    allowed = await _is_allowed(asked.check(method, name, old, new))
                    tally.add(caller, method, stored.name, allowed=allowed)
                await asyncio.sleep(0)

    def _object_attempts(
        self, bucket: BucketName, stored: StoredObject
    ) -> list[tuple[str, str, StoredObject | None, dict[str, object] | None]]:
        fresh = f"{stored.name}-{new_document_id(self._context.clock)}"
        declared = Declared(size=stored.size, content_type=stored.content_type)
        time = request_time(self._context)
        made = declared_resource(bucket, fresh, declared, stored.content_type, time)
        changed = {**object_resource(stored), "metadata": {**stored.metadata, _MARK: "1"}}
        return [
            ("get", stored.name, stored, None),
            ("create", fresh, None, made),
            ("update", stored.name, stored, changed),
            ("delete", stored.name, stored, None),
        ]

    def _object_authorizer(self, caller: Caller, bucket: BucketName) -> ObjectAuthorizer:
        time = request_time(self._context)
        return ObjectAuthorizer(self._context, caller, bucket, self._ruleset, time)


async def _is_allowed(answer: Awaitable[object]) -> bool:
    """Whether it raises nothing: what cannot be done for another reason cannot be done."""
    try:
        await answer
    except BaasError:
        return False
    return True
