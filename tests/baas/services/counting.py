"""A transaction as the SDK drives it, below HTTP."""

from __future__ import annotations

from baas.database.names import DatabaseName
from baas.errors import TransactionConflict
from baas.model.paths import DocumentPath
from baas.model.writes import SetWrite
from baas.services import transactions
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.transactions import DocumentSeen, ReadsSeen

ATTEMPTS_MAX = 5


async def count_up(context: Context, caller: Caller, path: DocumentPath) -> int:
    """Adds one to the document's `n`; how many attempts it took."""
    name = DatabaseName("demo")
    aborted: str | None = None
    for attempt in range(1, ATTEMPTS_MAX + 1):
        begun = await transactions.begin(context, caller, name, retry=aborted)
        read = await transactions.get_documents(context, caller, name, [path], begun.token)
        (found,) = read.documents
        assert found is not None
        n = found.fields["n"]
        assert isinstance(n, int)
        seen = ReadsSeen([DocumentSeen(path, found.update_time)])
        write = SetWrite(path, {"n": n + 1})
        try:
            await transactions.commit(context, caller, name, [write], seen, read.token)
        except TransactionConflict:
            aborted = read.token
            continue
        return attempt
    raise AssertionError("starved")
