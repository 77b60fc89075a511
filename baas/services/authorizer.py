"""Drives the security rules: the only place where an access to a document is allowed or denied.

Each question is put to the ruleset with what is at hand. If the decision names documents that it
still needs, they are read **through the same reader** (a snapshot, or a transaction, whose read set
they join) and the question is put again, within Firestore's limits on lookups.

A grant carries the documents it rests on, so that a listener can be asked again when one changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

from baas_rules import (
    Decision,
    Explanation,
    ListRequest,
    Lookup,
    PlainAccess,
    Request,
    ResourceDocument,
    Ruleset,
)
from baas_rules.decision import DOCUMENT_SERVICE

from baas.database.names import DatabaseName
from baas.database.transaction import PendingChange, Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, PermissionDenied
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import VerifyWrite, Write
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.denial_traces import Asked
from baas.services.rule_values import (
    list_request,
    new_resource,
    rule_auth,
    rule_root,
    rule_time,
    stored_resource,
)

# What a decision rests on is bounded by the rules engine (10 documents for one access). It may ask
# for more than it turns out to use, at most 10 a round.
ROUNDS_MAX = 20
BATCH_LOOKUPS_MAX = 20  # get, exists and getAfter over all documents of a batch
DECISIONS_PER_TURN = 50  # then other requests get theirs


class Changes(Protocol):
    """What a batch changes: a transaction, or one change of it."""

    @property
    def changes(self) -> Sequence[PendingChange]: ...


class DocumentReader(Protocol):
    """A snapshot, or a transaction."""

    async def get_documents(
        self, paths: Sequence[DocumentPath], /
    ) -> list[StoredDocument | None]: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """An access was allowed; it rests on these documents (missing ones too)."""

    lookups: frozenset[DocumentPath]


NOTHING_LOOKED_UP = Grant(frozenset())
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
Documents: TypeAlias = Mapping[Lookup, ResourceDocument | None]


class Authorizer:
    """One caller's questions about one database, as of one request time. Documents that were looked
    up are remembered, so it serves one snapshot, or one attempt of a transaction, and no more."""

    __slots__ = (
        "_auth",
        "_caller",
        "_context",
        "_documents",
        "_name",
        "_plain",
        "_root",
        "_ruleset",
        "_time",
        "_used",
    )

    def __init__(
        self,
        context: Context,
        caller: Caller,
        name: DatabaseName,
        ruleset: Ruleset,
        request_time: Timestamp,
    ) -> None:
        self._context = context
        self._caller = caller
        self._name = name
        self._ruleset = ruleset
        self._time = rule_time(request_time)
        self._auth = rule_auth(caller)
        self._root = rule_root(name)
        self._documents: dict[Lookup, ResourceDocument | None] = {}
        self._plain: dict[str, PlainAccess] = {}  # by method
        self._used: set[Lookup] = set()

    async def check_get(
        self, path: DocumentPath, document: StoredDocument | None, reader: DocumentReader
    ) -> Grant:
        """Raises PermissionDenied unless the caller may get the document, or learn that there is
        none."""
        return await self._check(self._request("get", path, document), reader)

    def check_get_nowait(self, path: DocumentPath, document: StoredDocument | None) -> bool:
        """True if the caller may and the rules look at no other document; False if it takes reads,
        and so a snapshot, to tell. Raises PermissionDenied."""
        if self._is_open("get", path):
            return True
        return self._decide(self._request("get", path, document))

    async def check_list(self, query: Query, reader: DocumentReader) -> Grant:
        """Raises PermissionDenied unless every document that the query could return is allowed."""
        if self._context.proofs.hold(self._ruleset, query, self._name.database, self._auth):
            return NOTHING_LOOKED_UP
        request = list_request(query, self._name, self._auth, self._time)
        return await self._settle(
            lambda found: self._prove(query, request, found),
            request,
            reader,
        )

    async def allows_list(self, query: Query, reader: DocumentReader) -> bool:
        """Whether every document that the query could return is allowed. A denial is nobody's: it
        is not explained, nor kept."""
        request = list_request(query, self._name, self._auth, self._time)
        decision = await self._resolve(lambda found: self._prove(query, request, found), reader)
        return (
            decision is not None
            and decision.allowed
            and len(self._used | decision.lookups) <= BATCH_LOOKUPS_MAX
        )

    def check_list_nowait(self, query: Query) -> bool:
        """True if the caller may and the rules look at no document; False if it takes reads, and so
        a snapshot, to tell. Raises PermissionDenied."""
        if self._context.proofs.hold(self._ruleset, query, self._name.database, self._auth):
            return True
        request = list_request(query, self._name, self._auth, self._time)
        decision = self._prove(query, request, {})
        if decision.missing:
            return False
        if not decision.allowed:
            raise self._denial(request)
        return True

    def _prove(self, query: Query, request: ListRequest, documents: Documents) -> Decision:
        decision = self._ruleset.prove_list(request, documents)
        if decision.is_lasting:
            proofs = self._context.proofs
            proofs.remember(self._ruleset, query, self._name.database, self._auth)
        return decision

    def check_writes_nowait(self, writes: Sequence[Write], transaction: Transaction) -> bool:
        """As `check_writes`, of one write under rules that look at no other document, as most are.
        False: it takes more to tell, and `check_writes` has to. Raises PermissionDenied."""
        changes = transaction.changes
        if len(changes) != 1 or len(writes) != 1:
            return False
        (change,) = changes
        if self._is_open(method_of(change), change.path):
            return True
        return self._decide(self._request_for(change))

    async def check_writes(self, writes: Sequence[Write], transaction: Transaction) -> None:
        """Raises PermissionDenied unless every document change is allowed, each as the create, the
        update or the delete that it is; a verify counts as a get."""
        for number, change in enumerate(transaction.changes):
            if number % DECISIONS_PER_TURN == DECISIONS_PER_TURN - 1:
                await asyncio.sleep(0)
            await self._check(self._request_for(change), transaction, transaction)
        for write in writes:
            if isinstance(write, VerifyWrite):
                (document,) = await transaction.get_documents((write.path,))
                await self.check_get(write.path, document, transaction)

    def allows_plainly(self, change: PendingChange) -> bool:
        """Whether this one change is allowed and the rules look at no other document, as most;
        False says nothing."""
        path, old, fields = change.path, change.old, change.fields
        method = method_of(change)
        allows = self._plain.get(method)
        if allows is None:
            request = self._request(method, path, None)
            allows = self._plain[method] = self._ruleset.allows_plainly(request)
        root = self._root
        return allows(
            path.segments,
            None if old is None else stored_resource(old, root, path),
            None if fields is None else new_resource(path, fields, root, is_plain=change.is_plain),
        )

    async def check_change(self, change: PendingChange, reader: DocumentReader) -> None:
        """Raises PermissionDenied unless this one change is allowed, as if it were alone: what else
        is changed with it, `getAfter` does not see."""
        await self._check(self._request_for(change), reader, _Alone((change,)))

    @property
    def looked_up(self) -> set[tuple[str, ...]]:
        """The documents that were looked at so far, whatever came of it, by their segments."""
        return {lookup.path for lookup in self._documents}

    async def check_write(
        self,
        method: str,
        path: DocumentPath,
        old: StoredDocument | None,
        fields: Fields | None,
        transaction: Transaction,
    ) -> None:
        """Raises PermissionDenied unless this one change is allowed."""
        request = self._request(method, path, old, fields)
        await self._check(request, transaction, transaction)

    def _is_open(self, method: str, path: DocumentPath) -> bool:
        return self._ruleset.is_open(method, self._name.database, path.segments)

    def _request_for(self, change: PendingChange) -> Request:
        return self._request(
            method_of(change), change.path, change.old, change.fields, is_plain=change.is_plain
        )

    def _request(
        self,
        method: str,
        path: DocumentPath,
        old: StoredDocument | None,
        fields: Fields | None = None,
        *,
        is_plain: bool = False,
    ) -> Request:
        return Request(
            method,
            path.segments,
            self._auth,
            self._time,
            None if old is None else stored_resource(old, self._root, path),
            None if fields is None else new_resource(path, fields, self._root, is_plain=is_plain),
            DOCUMENT_SERVICE,
            self._name.database,
            _NO_PARAMS,
        )

    def _decide(self, request: Request) -> bool:
        """True if it is allowed and the rules look at no other document; False if it takes more to
        tell. Raises PermissionDenied."""
        decision = self._ruleset.decide(request, self._documents)
        if decision.allowed:
            return not decision.lookups
        if decision.missing:
            return False
        raise self._denial(request)

    async def _check(
        self, request: Request, reader: DocumentReader, transaction: Changes | None = None
    ) -> Grant:
        if self._decide(request):
            return NOTHING_LOOKED_UP
        ruleset = self._ruleset
        return await self._settle(
            lambda found: ruleset.decide(request, found),
            request,
            reader,
            transaction,
        )

    async def _settle(
        self,
        decide: Callable[[Documents], Decision],
        request: Request | ListRequest,
        reader: DocumentReader,
        transaction: Changes | None = None,
    ) -> Grant:
        decision = await self._resolve(decide, reader, transaction)
        if decision is None:
            reason = f"denied: the rules ask for documents {ROUNDS_MAX} times"
            raise self._denial_because(request, reason)
        if not decision.allowed:
            raise self._denial(request)
        if not decision.lookups:
            return NOTHING_LOOKED_UP
        self._used |= decision.lookups
        if len(self._used) > BATCH_LOOKUPS_MAX:
            raise self._denial_because(
                request,
                f"denied: the rules look up more than {BATCH_LOOKUPS_MAX} documents for one batch",
            )
        return Grant(frozenset(DocumentPath(lookup.path) for lookup in decision.lookups))

    async def _resolve(
        self,
        decide: Callable[[Documents], Decision],
        reader: DocumentReader,
        transaction: Changes | None = None,
    ) -> Decision | None:
        """The decision, with all documents at hand that it asks for; None if it does so for
        ever."""
        decision = decide(self._documents)
        for _ in range(ROUNDS_MAX):
            if not decision.missing:
                return decision
            await self._read(list(decision.missing), reader, transaction)
            decision = decide(self._documents)
        return None if decision.missing else decision

    async def _read(
        self, lookups: Sequence[Lookup], reader: DocumentReader, transaction: Changes | None
    ) -> None:
        """Answers lookups through the reader; what the batch changes, `getAfter` sees changed."""
        paths = [lookup_path(lookup) for lookup in lookups]
        images = iter(await reader.get_documents([path for path in paths if path is not None]))
        changed: dict[DocumentPath, Fields | None] = {}
        if transaction is not None:
            changed = {change.path: change.fields for change in transaction.changes}
        for lookup, path in zip(lookups, paths, strict=True):
            if path is None:
                # No document can be called so.
                self._documents[lookup] = None
                continue
            stored = next(images)
            if lookup.after and path in changed:
                fields = changed[path]
                self._documents[lookup] = (
                    None if fields is None else new_resource(path, fields, self._root)
                )
            else:
                self._documents[lookup] = (
                    None if stored is None else stored_resource(stored, self._root, path)
                )

    def _denial(self, request: Request | ListRequest) -> PermissionDenied:
        ruleset, documents = self._ruleset, self._documents

        def explain(redact: bool) -> Explanation:
            if isinstance(request, ListRequest):
                return ruleset.explain_list(request, documents, redact=redact)
            return ruleset.explain(request, documents, redact=redact)

        return self._context.denials.deny(self._asked(request), explain)

    def _denial_because(self, request: Request | ListRequest, reason: str) -> PermissionDenied:
        return self._context.denials.deny_because(self._asked(request), reason)

    def _asked(self, request: Request | ListRequest) -> Asked:
        return Asked(
            project=self._name.project,
            service=DOCUMENT_SERVICE,
            place=self._name.database,
            method="list" if isinstance(request, ListRequest) else request.method,
            path=request.collection if isinstance(request, ListRequest) else request.path,
            caller=self._caller.kind.value,
            uid=self._caller.uid,
            release=self._context.projects.rulesets.find_release_id(
                self._name.project, self._ruleset
            ),
        )


@dataclass(frozen=True, slots=True)
class _Alone:
    changes: Sequence[PendingChange]


def method_of(change: PendingChange) -> str:
    """What the rules call a change."""
    if change.fields is None:
        return "delete"
    return "create" if change.old is None else "update"


def lookup_path(lookup: Lookup) -> DocumentPath | None:
    """The document that a rule names; None for what no document can be called, which also keeps
    rules out of the server's own reserved collections."""
    try:
        path = DocumentPath.parse("/".join(lookup.path))
    except BaasError:
        return None
    return path if path.segments == lookup.path else None
