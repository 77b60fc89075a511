"""Short ways to say what the tests of the write side say often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from baas.database.database import Database
from baas.database.indexes import IndexDefinition
from baas.database.transaction import CommitResult, Transaction
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value
from baas.model.writes import (
    NO_PRECONDITION,
    DeleteWrite,
    FieldTransform,
    Increment,
    Precondition,
    SetWrite,
    Write,
)

T = TypeVar("T")

NOW = Timestamp(1_700_000_000_000_000)


def doc(text: str) -> DocumentPath:
    return DocumentPath.parse(text)


def put(text: str, fields: Fields, precondition: Precondition = NO_PRECONDITION) -> SetWrite:
    return SetWrite(doc(text), fields, precondition=precondition)


def create(text: str, fields: Fields) -> SetWrite:
    return put(text, fields, Precondition(exists=False))


def delete(text: str) -> DeleteWrite:
    return DeleteWrite(doc(text))


def increment(text: str, by: int = 1) -> SetWrite:
    transform = FieldTransform(FieldPath(("n",)), Increment(by))
    return SetWrite(doc(text), {}, mask=(), transforms=(transform,))


def where(collection: str, field: str, value: Value) -> Query:
    return Query(
        CollectionPath.parse(collection),
        where=FieldFilter(FieldPath.parse(field), Operator.EQUAL, value),
    )


async def run(
    database: Database,
    body: Callable[[Transaction], Awaitable[T]],
    *,
    request_id: str | None = None,
) -> CommitResult[T]:
    return await database.run_transaction(body, request_time=NOW, request_id=request_id)


async def write(
    database: Database, *writes: Write, request_id: str | None = None
) -> CommitResult[None]:
    async def body(transaction: Transaction) -> None:
        await transaction.write(writes)

    return await run(database, body, request_id=request_id)


async def fields(database: Database, *texts: str) -> list[Fields | None]:
    return [
        None if found is None else found.fields
        for found in await database.get_documents([doc(text) for text in texts])
    ]


async def count(database: Database, query: Query, *, up_to: int | None = None) -> int:
    async with database.snapshot() as snapshot:
        return await snapshot.count(query, up_to=up_to)


async def want_indexes(database: Database, query: Query) -> Sequence[IndexDefinition]:
    """The indexes that are being made for a query that comes again."""
    for _ in range(2):
        async with database.snapshot() as snapshot:
            missing = await snapshot.find_missing(query)
    return missing
