"""What is committed about indexes: bodies of transactions on their records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from baas.database.indexes import (
    INDEXES,
    Index,
    Indexes,
    IndexRecord,
    decode_record,
    definition_path,
    encode_record,
)
from baas.database.transaction import Transaction
from baas.model.writes import DeleteWrite, SetWrite

T = TypeVar("T")
COUNTER = INDEXES.document("next")  # of numbers; who defines an index changes it


class RunAlone(Protocol):
    """Runs a transaction through the database's committer, the last one of its group."""

    async def __call__(self, body: Callable[[Transaction], Awaitable[T]]) -> T: ...


def defining(indexes: Indexes, record: IndexRecord) -> Callable[[Transaction], Awaitable[bool]]:
    """Gives the index a number that no other has; False if it is there already. All who define read
    and change the counter, so when this is run in its turn, all definitions before it are in effect
    here."""

    async def body(transaction: Transaction) -> bool:
        (counter,) = await transaction.get_documents([COUNTER])
        if indexes.find(record.definition) is not None:
            return False
        known = max([index.number for index in indexes], default=0)
        counted = 0 if counter is None else counter.fields["next"]
        assert isinstance(counted, int)
        number = max(known + 1, counted)
        await transaction.write(
            [
                SetWrite(definition_path(number), encode_record(record)),
                SetWrite(COUNTER, {"next": number + 1}),
            ]
        )
        return True

    return body


def changing(index: Index, **changes: Any) -> Callable[[Transaction], Awaitable[None]]:
    """Changes an index's record, unless it was dropped."""
    path = definition_path(index.number)

    async def body(transaction: Transaction) -> None:
        (document,) = await transaction.get_documents([path])
        if document is None:
            return
        record = decode_record(document.fields, written=document.version)
        if not record.is_dropped:
            changed = replace(record, **changes)
            await transaction.write([SetWrite(path, encode_record(changed))])

    return body


def removing(number: int) -> Callable[[Transaction], Awaitable[None]]:
    """Forgets an index of which no entries are left."""

    async def body(transaction: Transaction) -> None:
        await transaction.write([DeleteWrite(definition_path(number))])

    return body
