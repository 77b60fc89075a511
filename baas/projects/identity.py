"""What tells one server from others that share a place with it: of backups, or of databases."""

from __future__ import annotations

from baas.clock import Clock, milliseconds_only, new_document_id
from baas.database.database import Database
from baas.database.transaction import Transaction
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite

_IDENTITY = DocumentPath(("backup_state", "identity"))  # where backups were the first to ask


async def server_identity(own: Database, clock: Clock) -> str:
    """The name that a server gives itself when it first asks, in its own database; all of its nodes
    have the same one."""
    fresh = new_document_id(clock)

    async def body(transaction: Transaction) -> str:
        (document,) = await transaction.get_documents([_IDENTITY])
        if document is not None:
            return str(document.fields["server"])
        await transaction.write([SetWrite(_IDENTITY, {"server": fresh})])
        return fresh

    now = Timestamp(milliseconds_only(clock.now_microseconds()))
    return (await own.run_transaction(body, request_time=now)).value
