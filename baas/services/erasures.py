"""Use cases on erasing, for administrators: what a document was is gone, from history too, at once.

The log keeps that there were versions, at which times, so that nobody who resumes is told wrong:
listeners and feeds that would need an erased image begin anew. Reads of earlier versions find
nothing there. Each erasure is put on record.
"""

from __future__ import annotations

from dataclasses import replace

from baas.clock import milliseconds_only
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite
from baas.projects.erasures import Erasure
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database


async def erase_document(
    context: Context, caller: Caller, name: DatabaseName, path: DocumentPath, *, present: bool
) -> Erasure:
    """Erases all that a document was; with `present` also deletes what it is. What lies below it
    stays. To be repeated after an error: then it is not certain that everything is gone.

    On SQLite the file is written anew, so that no page holds a byte of it; writes wait meanwhile.
    Raises PermissionDenied, NotFound, Unavailable.
    """
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await open_database(context, name)
    now = Timestamp(milliseconds_only(context.clock.now_microseconds()))
    erasures = context.erasures
    erasure = Erasure(erasures.new_id(), name, str(path), present, caller.uid, now)
    await erasures.save(erasure)  # whatever breaks off: that it was begun is known

    async def delete(transaction: Transaction) -> None:
        await transaction.write([DeleteWrite(path)])

    if present:
        await database.run_transaction(delete, request_time=now)
    erasure = replace(erasure, images=await database.erase(path))
    await erasures.save(erasure)
    return erasure


async def list_erasures(context: Context, caller: Caller, name: DatabaseName) -> list[Erasure]:
    """Newest first."""
    check_is_admin(caller)
    await context.projects.check_database(name)
    return await context.erasures.list_all(name)
