"""The claim of one server to the next commit of a database on MongoDB. What is right does not rest
on it; DESIGN.md of the database tells what for it is."""

from __future__ import annotations

from baas.storage.mongo_head import HeadRow
from baas.storage.mongo_shared import Shared
from baas.storage.mongo_wire import Document

# Nobody has claimed the next commit (what is missing is least), or not any more.
_UNCLAIMED: Document = {"$expr": {"$lte": ["$claim.until", "$$NOW"]}}
_WRITTEN: Document = {"w": 1}


class TurnClaim:
    """Stands in the head until the next commit, `drop`, or its time by the clock of the primary."""

    def __init__(self, shared: Shared, head: HeadRow) -> None:
        self._connection = shared.connection
        self._head = head
        self._server: str = shared.clock.random_bytes(8).hex()
        self.may_stand = False

    @property
    def others_have_none(self) -> Document:
        """What a head is like that this server may change."""
        return {"$or": [_UNCLAIMED, {"claim.by": self._server}]}

    async def make(self, seconds: float) -> None:
        """Unless there is one, of whomever."""
        self.may_stand = True
        until = {"$add": ["$$NOW", int(seconds * 1_000)]}
        claim = {"$set": {"claim": {"by": self._server, "until": until}}}
        # Unlike a transaction it waits for the lock of the head, behind nobody else.
        await self._connection.write(self._update(_UNCLAIMED, [claim]))

    async def drop(self) -> None:
        """If that fails it lapses. Others are not kept waiting by who has claimed the next commit
        and then had nothing to write."""
        command = self._update({"claim.by": self._server}, {"$unset": {"claim": ""}})
        await self._connection.write_once(command, concern=_WRITTEN)

    def _update(self, where: Document, change: Document | list[Document]) -> Document:
        query = {"_id": self._head.id, "number": self._head.number, **where}
        return {"update": "heads", "updates": [{"q": query, "u": change}]}
