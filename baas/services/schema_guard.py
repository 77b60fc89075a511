"""Where schemas are enforced: within the transaction of every write to documents, after the rules,
on what the document would be. A schema tells nothing to who may not write, and nothing of what is
stored to who may not read it.

Uniqueness is a query within the same transaction, on an index that is made for it. It belongs to
the read set, so a commit before which somebody else took the values is evaluated anew in its turn:
of any number of writers one gets them, on whichever node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField
from baas.database.transaction import PendingChange, Segments, Transaction
from baas.errors import AlreadyExists, BaasError, InvalidArgument, QuotaExceeded
from baas.model.order import SortKey
from baas.model.paths import DocumentPath
from baas.model.values import Fields
from baas.projects.schemas import (
    EMPTY,
    Schema,
    SchemaSet,
    UniqueFields,
    Violation,
    of_what_changed,
)
from baas.services.context import Context

_CHECKS_PER_TURN = 20


MayRead: TypeAlias = Callable[[PendingChange], Awaitable[bool]]
"""Whether who writes may read what is there."""


async def check_schemas(
    context: Context, project: str, transaction: Transaction, may_read: MayRead | None = None
) -> None:
    """Checks all that a transaction has written so far. Raises InvalidArgument (`SchemaViolation`),
    AlreadyExists (`UniqueViolation`) for the first document that does not fit. `may_read` is asked
    before an error is told; None: all may be read."""
    schemas = await _in_force(context, project, transaction)
    if not schemas:
        return
    guard = _Guard(transaction, schemas, may_read, is_atomic=True)
    for number, change in enumerate(transaction.changes, 1):
        error = await guard.check(change)
        if error is not None:
            raise error
        if number % _CHECKS_PER_TURN == 0:
            await asyncio.sleep(0)


def has_no_schemas(context: Context, project: str) -> bool:
    """Whether it is known that there is nothing to check nor to prepare."""
    return context.projects.schemas.find(project) is EMPTY


def rest_on_no_schemas(context: Context, project: str, transaction: Transaction) -> bool:
    """As `check_schemas` where there are none, which then has to stay so. False: nothing was done,
    and `check_schemas` has to."""
    find = context.projects.schemas.find
    if find(project) is not EMPTY:
        return False
    transaction.rest_on(find, project, EMPTY)
    return True


async def check_schemas_each(
    context: Context,
    project: str,
    transaction: Transaction,
    may_read: MayRead | None = None,
    *,
    is_atomic: bool = False,
) -> dict[Segments, BaasError]:
    """Leaves out of a transaction each document that does not fit, as if the writes came one after
    the other; their errors. With `is_atomic` all that is left happens at once: a document may get a
    value that has to be unique from one that comes after it."""
    schemas = await _in_force(context, project, transaction)
    failed: dict[Segments, BaasError] = {}
    if not schemas:
        return failed
    known = -1
    while len(failed) > known:  # one that is left out keeps the values that others have got from it
        known = len(failed)
        guard = _Guard(transaction, schemas, may_read, is_atomic=is_atomic)
        failed |= await _leave_out_unfit(transaction, guard)
        if not is_atomic:
            break
    return failed


async def _leave_out_unfit(transaction: Transaction, guard: _Guard) -> dict[Segments, BaasError]:
    failed: dict[Segments, BaasError] = {}
    for number, change in enumerate(transaction.changes, 1):
        error = await guard.check(change)
        if error is not None:
            failed[change.path.segments] = error
            transaction.leave_out(change.path)
        if number % _CHECKS_PER_TURN == 0:
            await asyncio.sleep(0)
    return failed


async def prepare(context: Context, database: Database) -> None:
    """To be called before a transaction that `check_schemas` is asked in: has the indexes of unique
    fields made that the database lacks, for a transaction cannot."""
    schemas = context.projects.schemas.find(database.name.project)
    if schemas is None:
        schemas = await context.projects.schemas.get(database.name.project)
    if schemas.unique:
        with suppress(QuotaExceeded):  # slow is better than down
            await make_indexes(database, schemas.unique)


async def make_indexes(database: Database, unique: Iterable[UniqueFields]) -> bool:
    """Has the indexes made that these need, and waits a few seconds for them; whether all are
    complete. Without one, a look-up reads the whole collection. As any that is made on demand, it
    is dropped when nobody has used it for long, and made again. Raises QuotaExceeded
    (`TooManyIndexes`)."""
    missing = await define_indexes(database, unique)
    if missing:
        await database.wait_indexed(missing)
    return all(_is_ready(database, definition) for definition in missing)


async def define_indexes(
    database: Database, unique: Iterable[UniqueFields]
) -> list[IndexDefinition]:
    """As `make_indexes`, without waiting; those that are not complete."""
    missing = []
    for one in unique:
        definition = index_of(one)
        if database.indexes.find(definition) is None:
            with suppress(AlreadyExists):  # another node was first
                await database.index_keeper.build(definition, pinned=False)
        if not _is_ready(database, definition):
            missing.append(definition)
    return missing


def index_of(unique: UniqueFields) -> IndexDefinition:
    """The index that serves a query for the values of these fields."""
    fields = sorted(unique.fields, key=lambda path: path.segments)
    pattern = unique.pattern
    return IndexDefinition(pattern.id, pattern.is_group, tuple(map(IndexField, fields)))


def _is_ready(database: Database, definition: IndexDefinition) -> bool:
    index = database.indexes.find(definition)
    return index is not None and index.ready_at is not None


async def _in_force(context: Context, project: str, transaction: Transaction) -> SchemaSet:
    """What the transaction rests on from now on."""
    releases = context.projects.schemas
    schemas = releases.find(project)
    if schemas is None:
        schemas = await releases.get(project)
    transaction.rest_on(releases.find, project, schemas)
    return schemas


class _Guard:
    """One transaction. `is_atomic`: all of it happens or nothing; else each document was written
    after those that were accepted before it."""

    def __init__(
        self,
        transaction: Transaction,
        schemas: SchemaSet,
        may_read: MayRead | None,
        *,
        is_atomic: bool,
    ) -> None:
        self._transaction = transaction
        self._schemas = schemas
        self._may_read = may_read
        self._after: dict[Segments, Fields | None] = {}
        if is_atomic:
            self._after = {one.path.segments: one.fields for one in transaction.changes}
        self._taken: set[tuple[UniqueFields, Segments, tuple[SortKey, ...]]] = set()
        self._limit = len(transaction.changes) + 1

    async def check(self, change: PendingChange) -> BaasError | None:
        fields = change.fields
        if fields is not None:
            for schema in self._schemas.find(change.path):
                error = await self._check(schema, change, fields)
                if error is not None:
                    return error
        self._after[change.path.segments] = fields
        return None

    async def _check(
        self, schema: Schema, change: PendingChange, fields: Fields
    ) -> BaasError | None:
        violations = schema.check(fields)
        if violations:
            told = await self._told(violations, change, fields)
            return schema_violation(change.path, schema, told)
        claimed = []
        for unique in schema.unique:
            key = unique.key(fields)
            if key is None or (change.old is not None and unique.key(change.old.fields) == key):
                continue
            claim = (unique, unique.scope(change.path), key)
            if claim in self._taken or await self._is_held(unique, change.path, fields, key):
                return unique_violation(change.path, unique)
            claimed.append(claim)
        self._taken.update(claimed)
        return None

    async def _told(
        self, violations: list[Violation], change: PendingChange, fields: Fields
    ) -> list[Violation]:
        if change.old is None or self._may_read is None or await self._may_read(change):
            return violations
        return of_what_changed(violations, change.old.fields, fields)

    async def _is_held(
        self,
        unique: UniqueFields,
        path: DocumentPath,
        fields: Fields,
        key: tuple[SortKey, ...],
    ) -> bool:
        """Whether another document has the values, as it is after this commit."""
        found = await self._transaction.run_query(unique.query(path, fields, self._limit))
        for document in found.documents:
            segments = document.path.segments
            if segments == path.segments:
                continue
            if segments not in self._after:
                return True
            after = self._after[segments]
            if after is not None and unique.key(after) == key:
                return True
        return False


def schema_violation(
    path: DocumentPath, schema: Schema, violations: list[Violation]
) -> InvalidArgument:
    """`violations` are those that can be told; there may be others, or none but others."""
    told = "what is stored there does not fit, which is not told to who may not read it"
    if violations:
        first = violations[0]
        where = f"`{first.field}` " if first.field else ""
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        told = f"{where}{first.message}{more}"
    return InvalidArgument(
        f"`{path}` does not fit the schema of `{schema.pattern.text}`: {told}",
        reason="SchemaViolation",
        details={
            "document": str(path),
            "schema": schema.pattern.text,
            "violations": [violation_details(one) for one in violations],
        },
    )


def violation_details(violation: Violation) -> dict[str, Any]:
    """One finding, as it is shown to who wrote."""
    return {
        "field": violation.field,
        "keyword": violation.keyword,
        "expected": violation.expected,
        "message": violation.message,
    }


def unique_violation(path: DocumentPath, unique: UniqueFields) -> AlreadyExists:
    """Says nothing of the other document: who may write need not be allowed to read."""
    return AlreadyExists(
        f"`{path}`: another document has the same {unique}, which has to be unique in "
        f"`{unique.pattern.text}`",
        reason="UniqueViolation",
        details={
            "document": str(path),
            "schema": unique.pattern.text,
            "fields": [str(field) for field in unique.fields],
        },
    )
