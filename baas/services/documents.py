"""Use cases on documents: get, batch get, commit. Rules are enforced here and in `queries`, by the
authorizer, and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TypeAlias

from baas_rules import Ruleset

from baas.clock import (
    AUTOMATIC_ID_LENGTH,
    ID_ALPHABET,
    milliseconds_only,
    new_document_id,
)
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.transaction import CommitResult, PendingChange, Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidValue,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import NO_PRECONDITION, VerifyWrite, Write, apply_write
from baas.services.authorizer import Authorizer, DocumentReader
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context
from baas.services.schema_guard import (
    MayRead,
    check_schemas,
    has_no_schemas,
    prepare,
    rest_on_no_schemas,
)

_READ_PATHS = 100
Documents: TypeAlias = Sequence[StoredDocument | None]
CheckGets: TypeAlias = Callable[[Sequence[DocumentPath], Documents], Awaitable[None]]

First: TypeAlias = Callable[[Transaction, Callable[[], Authorizer]], Awaitable[None]]
"""What a commit does before it writes: it may read, and ask the rules that the commit rests on."""


@dataclass(frozen=True, slots=True)
class DocumentsAtTime:
    """Documents in the order asked for, None where there is none, all of one instant."""

    documents: list[StoredDocument | None]
    read_time: Timestamp


def request_time(context: Context) -> Timestamp:
    """The time of a request, fixed once: whole milliseconds, for rules and server timestamps."""
    return _time(milliseconds_only(context.clock.now_microseconds()))


@lru_cache(maxsize=16)  # many requests have the same
def _time(microseconds: int) -> Timestamp:
    return Timestamp(microseconds)


def new_document_path(context: Context, collection: CollectionPath) -> DocumentPath:
    """A path with an automatic id."""
    return collection.document(new_document_id(context.clock))


def document_path_of(
    caller: Caller, request_id: str, request_digest: bytes, collection: CollectionPath
) -> DocumentPath:
    """A path with an automatic id that is the same whenever the caller repeats the request."""
    seed = f"{caller_request_id(caller, request_id, request_digest)}\n{collection}".encode()
    number = int.from_bytes(hashlib.blake2b(seed, digest_size=32).digest())
    letters = []
    for _ in range(AUTOMATIC_ID_LENGTH):
        number, place = divmod(number, len(ID_ALPHABET))
        letters.append(ID_ALPHABET[place])
    return collection.document("".join(letters))


def find_database(context: Context, name: DatabaseName) -> Database | None:
    """The database, if all that `open_database` would ask is in memory: most requests are spared
    its chain of coroutines. None says nothing."""
    return None if context.projects.find_ruleset(name) is None else context.databases.find(name)


async def open_database(context: Context, name: DatabaseName) -> Database:
    """The database. Raises NotFound (`ProjectNotFound`, `DatabaseNotFound`); in development mode a
    database of a project that exists is created on first use."""
    try:
        await context.projects.check_database(name)
    except NotFound as error:
        if not context.settings.dev or error.reason != "DatabaseNotFound":
            raise
        with suppress(AlreadyExists):
            await context.projects.create_database(name.project, name.database)
    return await context.databases.open(name)


async def get_document(
    context: Context, caller: Caller, name: DatabaseName, path: DocumentPath
) -> StoredDocument | None:
    """The document as last committed, None if there is none.

    Raises PermissionDenied, whether the document exists or not, unless the rules allow `get`.
    """
    database = find_database(context, name) or await open_database(context, name)
    found = database.get_documents_nowait((path,))
    (document,) = await database.get_documents((path,)) if found is None else found
    if caller.bypasses_rules:
        return document
    ruleset = context.projects.find_ruleset(name) or await context.projects.ruleset(name)
    authorizer = Authorizer(context, caller, name, ruleset, request_time(context))
    if authorizer.check_get_nowait(path, document):
        return document
    # The rules look at other documents: they and this one have to be of one instant.
    async with database.snapshot() as snapshot:
        (document,) = await snapshot.get_documents((path,))
        await authorizer.check_get(path, document, snapshot)
    return document


async def get_documents(
    context: Context, caller: Caller, name: DatabaseName, paths: Sequence[DocumentPath]
) -> DocumentsAtTime:
    """Several documents of one instant. Raises PermissionDenied unless each one may be got, and
    QuotaExceeded (`AnswerTooLarge`) if they are more than `answer_bytes_max`."""
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        authorizer = await make_authorizer(context, caller, name)

        async def check(paths: Sequence[DocumentPath], found: Documents) -> None:
            for path, document in zip(paths, found, strict=True):
                await authorizer.check_get(path, document, snapshot)

        bytes_max = context.settings.limits.answer_bytes_max
        documents = await read_documents(
            snapshot, paths, bytes_max, None if caller.bypasses_rules else check
        )
        return DocumentsAtTime(documents, read_time(context, snapshot.version))


async def commit(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    writes: Sequence[Write],
    *,
    request_id: str | None = None,
    request_digest: bytes = b"",
    request_part: str = "",
    new_paths: Sequence[DocumentPath] = (),
    first: First | None = None,
) -> CommitResult[None]:
    """Applies all writes or none, durably, as of one commit version. The same `request_id` again
    answers with the first commit's result and writes nothing; with another `request_digest` it is
    refused (`IdempotencyKeyReused`). `request_part` tells apart the commits of one request.
    `new_paths`, of `new_document_path`, are not looked up first: nothing can be there. `first` runs
    before anything is written, and may refuse the commit.

    Raises PermissionDenied unless the rules allow every single change (a verify counts as a get);
    NotFound, AlreadyExists or FailedPrecondition for a precondition that fails, to callers only
    that may know so much; TokenInvalid if the user's session has ended meanwhile;
    InvalidArgument (`SchemaViolation`) and AlreadyExists (`UniqueViolation`) for a result that the
    schemas in force do not take.
    """
    database = find_database(context, name) or await open_database(context, name)
    time = request_time(context)
    if not has_no_schemas(context, name.project):
        await prepare(context, database)

    async def write(transaction: Transaction) -> None:
        transaction.assume_missing(new_paths)
        may_read: MayRead | None = None
        if caller.bypasses_rules:
            if first is not None:
                await first(transaction, _no_authorizer)
            if not transaction.write_nowait(writes):
                await transaction.write(writes)
        else:
            ruleset = find_rules(context, caller, name, transaction)
            if ruleset is None:
                ruleset = await rules_of(context, caller, name, transaction)
            make = partial(Authorizer, context, caller, name, ruleset, time)
            may_read = partial(may_get, make, transaction)
            authorizer = make()
            if first is not None:
                await first(transaction, make)
            try:
                if not transaction.write_nowait(writes):
                    await transaction.write(writes)
            except (NotFound, AlreadyExists, FailedPrecondition, InvalidValue):
                await _check_may_know(context, authorizer, writes, transaction)
                raise
            if not authorizer.check_writes_nowait(writes, transaction):
                await authorizer.check_writes(writes, transaction)
        if not rest_on_no_schemas(context, name.project, transaction):
            await check_schemas(context, name.project, transaction, may_read)

    return await database.run_transaction(
        write,
        request_time=time,
        request_id=caller_request_id(caller, request_id, request_digest, request_part),
        request_digest=request_digest,
    )


def find_rules(
    context: Context, caller: Caller, name: DatabaseName, transaction: Transaction
) -> Ruleset | None:
    """The rules in force, on which the transaction then rests, and so it does on the user's rights.
    None: it takes reads to tell, and `rules_of` has to."""
    ruleset = context.projects.find_ruleset(name)
    revocations = context.accounts.revocations
    if ruleset is None or (revocations != caller.revocations and caller.uid and caller.session):
        return None
    _rest_on(transaction, context, name, ruleset, revocations if caller.session else None)
    return ruleset


async def rules_of(
    context: Context, caller: Caller, name: DatabaseName, transaction: Transaction
) -> Ruleset:
    """As `find_rules`, whatever it takes. Raises TokenInvalid if the user's session has ended."""
    projects, accounts = context.projects, context.accounts
    ruleset = projects.find_ruleset(name) or await projects.ruleset(name)
    revocations = accounts.revocations
    if revocations != caller.revocations and caller.uid and caller.session:
        await accounts.check_session(name.project, caller.uid, caller.session)
    _rest_on(transaction, context, name, ruleset, revocations if caller.session else None)
    return ruleset


def _rest_on(
    transaction: Transaction,
    context: Context,
    name: DatabaseName,
    ruleset: Ruleset,
    revocations: int | None,
) -> None:
    """Either may end while the commit waits for its turn."""
    transaction.rest_on(context.projects.find_ruleset, name, ruleset)
    if revocations is not None:
        # A number in an attribute is the same object until another one takes its place.
        transaction.rest_on(_count_revocations, context, revocations)


def _count_revocations(context: Context) -> int:
    return context.accounts.revocations


async def read_documents(
    snapshot: DocumentReader,
    paths: Sequence[DocumentPath],
    bytes_max: int,
    check: CheckGets | None,
) -> list[StoredDocument | None]:
    """In slices, so that what is too much is not read first; a path given twice counts twice.
    `check` raises PermissionDenied; it is asked first, or the size would tell what is stored."""
    found: list[StoredDocument | None] = []
    size = 0
    for start in range(0, len(paths), _READ_PATHS):
        documents = await snapshot.get_documents(paths[start : start + _READ_PATHS])
        if check is not None:
            await check(paths[start : start + _READ_PATHS], documents)
        size += sum(len(document.data) for document in documents if document is not None)
        if size > bytes_max:
            raise QuotaExceeded(
                f"the documents are larger than {bytes_max} bytes; ask for fewer at once",
                reason="AnswerTooLarge",
                details={"answer_bytes_max": bytes_max},
            )
        found += documents
    return found


async def may_get(
    make: Callable[[], Authorizer], reader: DocumentReader, change: PendingChange
) -> bool:
    """Whether the rules let the caller get what is there before the change."""
    try:
        await make().check_get(change.path, change.old, reader)
    except PermissionDenied:
        return False
    return True


def _no_authorizer() -> Authorizer:
    raise AssertionError("no rules bind this caller")


async def make_authorizer(context: Context, caller: Caller, name: DatabaseName) -> Authorizer:
    """The questions of one caller under the rules now in force."""
    ruleset = await context.projects.ruleset(name)
    return Authorizer(context, caller, name, ruleset, request_time(context))


def read_time(context: Context, version: int) -> Timestamp:
    """A version as a time; a database without a commit shows now, never 1970."""
    return Timestamp(version or context.clock.now_microseconds())


def caller_request_id(
    caller: Caller, request_id: str | None, request_digest: bytes, part: str = ""
) -> str | None:
    """A request id within its caller's own, so that none can meet another caller's answer, nor a
    part of a request (a word without `:`) another request's. Nothing tells signed-out callers
    apart: an id of theirs is of one request, so that nobody can use up what others would draw."""
    if request_id is None:
        return None
    scope = request_digest.hex() if caller.kind is CallerKind.ANONYMOUS else caller.uid or ""
    return f"{caller.kind.value}:{scope}{part and '/'}{part}:{request_id}"


async def _check_may_know(
    context: Context, authorizer: Authorizer, writes: Sequence[Write], transaction: Transaction
) -> None:
    """Raises PermissionDenied for callers to whom the failed precondition must not be told: those
    that would be denied if the documents were as the preconditions say."""
    for write in writes:
        (current,) = await transaction.get_documents((write.path,))
        exists = write.precondition.exists
        if isinstance(write, VerifyWrite):
            await authorizer.check_get(write.path, current, transaction)
            continue
        assumed = None if exists is False else current
        applied = apply_write(
            replace(write, precondition=NO_PRECONDITION),
            assumed,
            transaction.request_time,
            context.settings.limits,
        )
        if applied.fields is None:
            method = "delete"
        elif exists is False or (assumed is None and exists is None):
            method = "create"
        else:
            method = "update"
        await authorizer.check_write(method, write.path, assumed, applied.fields, transaction)


async def list_collection_ids(
    context: Context, caller: Caller, name: DatabaseName, parent: DocumentPath | None
) -> list[str]:
    """The ids of the collections below a document, or at the root. For administrators and secret
    keys: no rule can allow it."""
    if not caller.bypasses_rules:
        raise PermissionDenied()
    database = await open_database(context, name)
    return await database.list_collection_ids(parent)
