"""Use cases on transactions that a client drives step by step: begin, read, commit, roll back.

The server keeps nothing of them: a token says at which version a transaction reads, and who began
it. The client gathers what it read and sends it with its writes; the commit then compares, in its
turn, what was read with what is there, so it is as if all had happened in that moment. Queries are
asked again, so what would newly be in an answer is noticed too.

Rules: what is read in a transaction takes the rights of now, for the document of now; an older
image has to be allowed as it was, too. The commit asks again for everything that it names as read:
else it could be used to find out what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from baas.accounts.sealing import ServerSecret
from baas.database.contention import Key
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.past import PastSnapshot
from baas.database.read_snapshot import ReadSnapshot
from baas.database.transaction import CommitResult, Transaction
from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import (
    Aborted,
    BaasError,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    TransactionConflict,
    Unavailable,
)
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_checks import check_query, refuse_search
from baas.model.tallies import Group, GroupPage
from baas.model.timestamps import Timestamp
from baas.model.writes import Write
from baas.services import aggregations
from baas.services.authorizer import DECISIONS_PER_TURN, Authorizer
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import commit as commit_writes
from baas.services.documents import make_authorizer, open_database, read_documents
from baas.services.past import gets_checker, read_whole, version_at
from baas.services.queries import open_allowed
from baas.services.transaction_tokens import ID_BYTES, TransactionState, TransactionTokens

_IN_TRANSACTION = "in a transaction, which could not tell whether its answer is still the same"


@dataclass(frozen=True, slots=True)
class Begun:
    """`read_time` is what the transaction reads: the database as of that moment."""

    token: str
    read_time: Timestamp


@dataclass(frozen=True, slots=True)
class DocumentsRead:
    """Documents as of the transaction's version; `token` is to be used from now on."""

    documents: list[StoredDocument | None]
    read_time: Timestamp
    token: str


@dataclass(frozen=True, slots=True)
class QueryRead:
    """The whole answer as of the transaction's version; `seen` stands for it at the commit."""

    documents: list[StoredDocument]
    read_time: Timestamp
    token: str
    seen: str


@dataclass(frozen=True, slots=True)
class AggregationRead:
    """All groups as of the transaction's version; `seen` stands for them at the commit."""

    groups: list[Group]
    read_time: Timestamp
    token: str
    seen: str


@dataclass(frozen=True, slots=True)
class DocumentSeen:
    """What was read of one document: its update time, None if it was missing."""

    path: DocumentPath
    update_time: Timestamp | None


@dataclass(frozen=True, slots=True)
class QuerySeen:
    query: Query
    seen: str


@dataclass(frozen=True, slots=True)
class AggregationSeen:
    aggregation: Aggregation
    seen: str


@dataclass(frozen=True, slots=True)
class ReadsSeen:
    """All that a transaction has read."""

    documents: Sequence[DocumentSeen] = ()
    queries: Sequence[QuerySeen] = ()
    aggregations: Sequence[AggregationSeen] = ()

    @property
    def asked(self) -> list[Query]:
        """All queries, those that were aggregated among them."""
        return [
            *[item.query for item in self.queries],
            *[item.aggregation.query for item in self.aggregations],
        ]


async def begin(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    *,
    read_only: bool = False,
    read_time: Timestamp | None = None,
    retry: str | None = None,
) -> Begun:
    """Begins a transaction that reads the database as it is now, or a read-only one as it was at
    `read_time`. `retry`, the token of one that was aborted, waits for its turn first.

    Raises InvalidArgument (`InvalidTransaction`, `ReadTimeInFuture`), OutOfRange (`ReadTimeTooOld`)
    for a time that history does not reach, and PermissionDenied to callers under rules for one that
    is further back than a transaction may be open.
    """
    if read_time is not None and not read_only:
        raise InvalidArgument("`read_time` needs `read_only`", reason="InvalidBody")
    database = await open_database(context, name)
    identifier = context.clock.random_bytes(ID_BYTES)
    if retry is not None:
        aborted = _tokens(context, database, caller).read(retry)
        who = (caller.kind, caller.uid)
        await database.contention.wait(aborted.id.hex(), identifier.hex(), who)
    # A snapshot knows what other nodes have committed; nothing is read of it.
    async with database.snapshot() as snapshot:
        version = snapshot.version
    now = context.clock.now_microseconds()
    if read_time is not None:
        latest, version = version, await version_at(database, read_time, version, now)
        recent = now - context.settings.limits.transaction_seconds_max * 1_000_000
        if version < min(recent, latest) and not caller.bypasses_rules:
            # A query is allowed by what it asks for: its documents may be others' by now.
            raise PermissionDenied()
    state = TransactionState(identifier, version, now, now, read_only)
    token = _tokens(context, database, caller).make(state)
    return Begun(token, Timestamp(version or now))


async def get_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    paths: Sequence[DocumentPath],
    token: str,
) -> DocumentsRead:
    """Several documents as of the transaction's version. Raises as `documents.get_documents`,
    and what an unusable token raises: InvalidArgument (`InvalidTransaction`), FailedPrecondition
    (`TransactionExpired`), Aborted (`TransactionTooOld`)."""
    database = await open_database(context, name)
    state = _open(context, database, caller, token)
    async with database.snapshot() as snapshot:
        past = _past(snapshot, state)
        try:
            found = await read_documents(
                past,
                paths,
                context.settings.limits.answer_bytes_max,
                gets_checker(context, caller, name, past),
            )
        except OutOfRange as error:
            raise _too_old(error, state) from error
    return DocumentsRead(found, *_renewed(context, database, caller, state))


async def run_query(
    context: Context, caller: Caller, name: DatabaseName, query: Query, token: str
) -> QueryRead:
    """A query's whole answer as of the transaction's version. Raises as `queries.run_query`, as
    `get_documents` above, and QuotaExceeded (`AnswerTooLarge`) for an answer that does not fit into
    one page."""
    limits = context.settings.limits
    check_query(query, limits)
    refuse_search(query, _IN_TRANSACTION)
    database = await open_database(context, name)
    state = _open(context, database, caller, token)
    snapshot = await open_allowed(context, caller, name, query)
    try:
        past = _past(snapshot, state)
        found = await read_whole(past, query, limits)
    except OutOfRange as error:
        raise _too_old(error, state) from error
    finally:
        await snapshot.close()
    return QueryRead(found, *_renewed(context, database, caller, state), digest_of(found))


async def aggregate(
    context: Context, caller: Caller, name: DatabaseName, aggregation: Aggregation, token: str
) -> AggregationRead:
    """An aggregation as of the transaction's version. Raises as `aggregations.aggregate`, as
    `get_documents` above, and QuotaExceeded (`AnswerTooLarge`) for groups that do not fit into one
    page."""
    limits = context.settings.limits
    aggregations.check(context, aggregation)
    refuse_search(aggregation.query, _IN_TRANSACTION)
    database = await open_database(context, name)
    state = _open(context, database, caller, token)

    async def read(snapshot: ReadSnapshot) -> GroupPage:
        try:
            return await _past(snapshot, state).aggregate(aggregation, aggregations.bounds(limits))
        except OutOfRange as error:
            raise _too_old(error, state) from error

    page = await aggregations.read_in_turn(context, caller, name, aggregation, read)
    aggregations.check_all_groups(context, page)
    renewed = _renewed(context, database, caller, state)
    return AggregationRead(page.groups, *renewed, digest_of_groups(page.groups))


async def commit(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    writes: Sequence[Write],
    reads: ReadsSeen,
    token: str,
    *,
    request_id: str | None = None,
    request_digest: bytes = b"",
) -> CommitResult[None]:
    """Applies all writes, as `documents.commit` does, if everything that was read is still so.

    Raises TransactionConflict if not: begin again, with this token as `retry`; and what an unusable
    token raises. Read-only transactions have nothing to commit.
    """
    _check_size(context, reads)
    database = await open_database(context, name)
    state = _tokens(context, database, caller).read(token)
    if state.read_only and writes:
        raise InvalidArgument("a read-only transaction cannot write", reason="ReadOnlyTransaction")
    if state.read_only:
        return CommitResult(state.version, [], None)
    check = _Check(context, caller, name, database, reads, state)
    contention, identifier = database.contention, state.id.hex()
    try:
        async with _place_if_large(context, caller, name, database, reads):
            result = await commit_writes(
                context,
                caller,
                name,
                writes,
                request_id=request_id,
                request_digest=request_digest,
                first=check.run,
            )
    except Aborted:
        contention.note(identifier, check.conflicts)
        raise
    except BaseException:
        contention.release(identifier)
        raise
    contention.release(identifier)
    return result


async def roll_back(context: Context, caller: Caller, name: DatabaseName, token: str) -> None:
    """Gives up a transaction. Whoever waits for its turn need not wait for it any longer."""
    database = await open_database(context, name)
    state = _tokens(context, database, caller).read(token)
    database.contention.release(state.id.hex())


def digest_of(documents: Iterable[StoredDocument]) -> str:
    """What stands for a query's answer: which documents, at which versions, in which order."""
    digest = hashlib.blake2b(digest_size=16)
    for document in documents:
        digest.update(f"{document.path}\n{document.version}\n".encode())
    return digest.hexdigest()


def digest_of_groups(groups: Iterable[Group]) -> str:
    """What stands for the answer of an aggregation: its values, with their types."""
    digest = hashlib.blake2b(digest_size=16)
    for group in groups:
        data = encode_fields({"values": list(group.values), "results": dict(group.results)})
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


@asynccontextmanager
async def _place_if_large(
    context: Context, caller: Caller, name: DatabaseName, database: Database, reads: ReadsSeen
) -> AsyncGenerator[None]:
    """Aggregations that are asked again at a commit wait for a place, as they did before. Those
    that the caller may not ask do not: the wait would tell how large they are, and the commit ends
    before it asks them, unless its answer is kept."""
    asked = [item.aggregation for item in reads.aggregations]
    if (
        not asked
        or not await _may_ask(context, caller, name, database, asked)
        or await aggregations.are_small(database, asked)
    ):
        yield
        return
    async with aggregations.place(database, context):
        yield


async def _may_ask(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    database: Database,
    asked: Sequence[Aggregation],
) -> bool:
    if caller.bypasses_rules:
        return True
    async with database.snapshot() as snapshot:
        authorizer = await make_authorizer(context, caller, name)
        try:
            for aggregation in asked:
                await authorizer.check_list(aggregation.query, snapshot)
        except PermissionDenied:
            return False
    return True


class _Check:
    """Whether all that a transaction has read is still so, asked within its commit. `conflicts` is
    over what it is aborted, if it is."""

    def __init__(
        self,
        context: Context,
        caller: Caller,
        name: DatabaseName,
        database: Database,
        reads: ReadsSeen,
        state: TransactionState,
    ) -> None:
        self.conflicts: set[Key] = set()
        self._runs = 0
        self._context = context
        self._caller = caller
        self._database = database
        self._reads = reads
        self._state = state

    async def run(self, transaction: Transaction, authorize: Callable[[], Authorizer]) -> None:
        """Raises PermissionDenied, TransactionConflict. May run several times."""
        self.conflicts.clear()
        self._runs += 1
        # Here, for a commit that is repeated because its answer was lost gets it however late.
        _check_open(self._context, self._state)
        reads, is_bound = self._reads, not self._caller.bypasses_rules
        paths = [item.path for item in reads.documents]
        documents = await transaction.get_documents(paths)
        if is_bound:
            for number, (path, document) in enumerate(zip(paths, documents, strict=True), 1):
                await authorize().check_get(path, document, transaction)
                if number % DECISIONS_PER_TURN == 0:
                    await asyncio.sleep(0)
            for query in reads.asked:
                await authorize().check_list(query, transaction)
        self._check_turn()
        for seen, document in zip(reads.documents, documents, strict=True):
            then = None if seen.update_time is None else seen.update_time.microseconds
            if then != _version(document):
                self.conflicts.add(seen.path.segments)
        if self._runs > 1:
            # In its turn, with all others waiting behind it: queries are not asked once more.
            self.conflicts.update(map(_query_key, reads.asked))
        self._check_no_conflicts()
        await self._ask_again(transaction)
        self._check_no_conflicts()

    async def _ask_again(self, transaction: Transaction) -> None:
        limits = self._context.settings.limits
        for asked in self._reads.queries:
            bounded = _bounded(asked.query, limits.query_page_documents_max)
            answer = await transaction.run_query(bounded)
            if digest_of(answer.documents) != asked.seen:
                self.conflicts.add(_query_key(asked.query))
        for item in self._reads.aggregations:
            page = await transaction.aggregate(item.aggregation, aggregations.bounds(limits))
            if page.more or digest_of_groups(page.groups) != item.seen:
                self.conflicts.add(_query_key(item.aggregation.query))

    def _check_no_conflicts(self) -> None:
        if self.conflicts:
            raise TransactionConflict(
                "what the transaction has read was changed meanwhile; begin it again"
            )

    def _check_turn(self) -> None:
        keys: list[Key] = [item.path.segments for item in self._reads.documents]
        keys += map(_query_key, self._reads.asked)
        for key in keys:
            try:
                self._database.contention.check(self._state.id.hex(), (key,))
            except TransactionConflict:
                self.conflicts.add(key)
                raise


def _query_key(query: Query) -> Key:
    return ("", query.all_descendants, query.collection.segments)


def _bounded(query: Query, maximum: int) -> Query:
    """One more than fits tells whether there is more."""
    if query.limit is None or query.limit > maximum:
        return replace(query, limit=maximum + 1)
    return query


def _version(document: StoredDocument | None) -> int | None:
    return None if document is None else document.version


def _tokens(context: Context, database: Database, caller: Caller) -> TransactionTokens:
    key = _sealing_key(context.secret)
    return TransactionTokens(key, incarnation=database.incarnation, caller=caller)


@lru_cache(maxsize=8)
def _sealing_key(secret: ServerSecret) -> bytes:
    return secret.derive("transactions")


def _open(context: Context, database: Database, caller: Caller, token: str) -> TransactionState:
    """The state of a transaction that may go on."""
    state = _tokens(context, database, caller).read(token)
    _check_open(context, state)
    return state


def _check_open(context: Context, state: TransactionState) -> None:
    limits = context.settings.limits
    now = context.clock.now_microseconds()
    # Machines' clocks differ: what another node began may lie ahead.
    open_seconds = max(0, now - state.started) / 1_000_000
    idle_seconds = max(0, now - state.used) / 1_000_000
    if open_seconds > limits.transaction_seconds_max:
        raise _expired(f"is open for more than {limits.transaction_seconds_max} seconds")
    if idle_seconds > limits.transaction_idle_seconds_max:
        raise _expired(f"was idle for more than {limits.transaction_idle_seconds_max} seconds")


def _expired(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the transaction {what}; begin another one", reason="TransactionExpired"
    )


def _past(snapshot: ReadSnapshot, state: TransactionState) -> PastSnapshot:
    if snapshot.version < state.version:
        raise Unavailable("this node has not caught up with the transaction yet", reason="Behind")
    return PastSnapshot(snapshot, state.version)


def _too_old(error: BaasError, state: TransactionState) -> BaasError:
    """History does not reach back, or too much was changed since."""
    if state.read_only:
        return OutOfRange(
            f"what the transaction reads is too far back: {error.message}", reason="ReadTimeTooOld"
        )
    return Aborted(
        f"too much was changed since the transaction began: {error.message}",
        reason="TransactionTooOld",
    )


def _renewed(
    context: Context, database: Database, caller: Caller, state: TransactionState
) -> tuple[Timestamp, str]:
    now = context.clock.now_microseconds()
    token = _tokens(context, database, caller).make(replace(state, used=now))
    return Timestamp(state.version or now), token


def _check_size(context: Context, reads: ReadsSeen) -> None:
    limits = context.settings.limits
    for found, maximum, what in (
        (reads.documents, limits.transaction_documents_max, "reads"),
        (reads.asked, limits.transaction_queries_max, "queries"),
    ):
        if len(found) > maximum:
            raise InvalidArgument(
                f"a transaction has at most {maximum} {what}, not {len(found)}",
                reason="TooManyReads",
            )
    for item in reads.queries:
        check_query(item.query, limits)
        refuse_search(item.query, _IN_TRANSACTION)
    for one in reads.aggregations:
        aggregations.check(context, one.aggregation)
        refuse_search(one.aggregation.query, _IN_TRANSACTION)
