"""Use cases on erasing, for administrators: what a document was is gone, from history too, at once.

The log keeps that there were versions, at which times, so that nobody who resumes is told wrong:
listeners and feeds that would need an erased image begin anew. Reads of earlier versions find
nothing there. Each erasure is put on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from baas.clock import milliseconds_only
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.transaction import Transaction
from baas.errors import InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite
from baas.projects.erasures import Erasure, ErasurePage
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database

_DELETED = 16  # documents in one commit, of up to a MiB each


async def erase_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    paths: Sequence[DocumentPath],
    *,
    present: bool,
    rewrite: bool = False,
) -> list[Erasure]:
    """Erases all that documents were; with `present` also deletes what they are. What lies below
    them stays. To be repeated after an error: then it is not certain that everything is gone.

    On SQLite no byte of them is left in the files then, unless a snapshot of before is open. With
    `rewrite` the file is written anew, too, and writes wait meanwhile. Raises PermissionDenied,
    NotFound, Unavailable, InvalidArgument (`TooMany`, `NoDocuments`).
    """
    check_is_admin(caller)
    paths = list(dict.fromkeys(paths))
    _check_count(len(paths), context.settings.limits.erase_documents_max)
    await context.projects.check_database(name)
    database = await open_database(context, name)
    now = Timestamp(milliseconds_only(context.clock.now_microseconds()))
    erasures = context.erasures
    begun = [
        Erasure(erasures.new_id(), name, str(path), present, caller.uid, now) for path in paths
    ]
    await erasures.save(begun)  # whatever breaks off: that it was begun is known
    for start in range(0, len(paths) if present else 0, _DELETED):
        await _delete(database, paths[start : start + _DELETED], now)
    counts = await database.eraser.erase(paths)
    context.denials.forget_values(name.project)
    await database.eraser.scrub(rewrite=rewrite)
    done = [replace(one, images=images) for one, images in zip(begun, counts, strict=True)]
    await erasures.save(done)
    return done


def _check_count(count: int, maximum: int) -> None:
    if not count:
        raise InvalidArgument("name a document at least", reason="NoDocuments")
    if count > maximum:
        raise InvalidArgument(
            f"{count} documents are more than the {maximum} that are erased at a time",
            reason="TooMany",
            details={"erase_documents_max": maximum},
        )


async def _delete(database: Database, paths: Sequence[DocumentPath], now: Timestamp) -> None:
    async def body(transaction: Transaction) -> None:
        await transaction.write([DeleteWrite(path) for path in paths])

    await database.run_transaction(body, request_time=now)


async def list_erasures(
    context: Context, caller: Caller, name: DatabaseName, *, page_size: int, page_token: str | None
) -> ErasurePage:
    """Newest first. Raises PermissionDenied, NotFound, InvalidArgument (`InvalidPageToken`)."""
    check_is_admin(caller)
    await context.projects.check_database(name)
    return await context.erasures.list_page(name, page_size, page_token)
