"""The head of one database, which every transaction changes before anything else."""

from __future__ import annotations

from baas.storage.engine import EngineFenced, EngineUnavailable
from baas.storage.mongo_layout import Row
from baas.storage.mongo_shared import Shared
from baas.storage.mongo_transactions import HeadMoved
from baas.storage.mongo_wire import Document, Session
from baas.storage.store import StoreMissing


class HeadRow:
    """The row, as one engine sees it. Nothing of it is asked for any more once it `is_closed`."""

    is_closed = False

    def __init__(self, shared: Shared, head_id: str, head: Row) -> None:
        self.id = head_id
        self.number: str = head["number"]
        self.incarnation: str = head["incarnation"]
        self._shared = shared

    async def read(self) -> Row:
        """The latest. Raises StoreMissing for another database, or incarnation, of its name."""
        self.check_open()
        found, _ = await self._shared.heads.get([self.id])
        return self.check(found.get(self.id))

    def check(self, head: Row | None) -> Row:
        """Raises StoreMissing."""
        if head is None or head["number"] != self.number:
            raise StoreMissing("the database was deleted")
        if head["incarnation"] != self.incarnation:
            raise StoreMissing("the database has begun a new incarnation")
        return head

    def check_open(self) -> None:
        if self.is_closed:
            raise EngineUnavailable("the database is closed")

    async def touch(self, session: Session, update: Document | None = None) -> None:
        """First in each transaction but a commit's, so that two of them never write side by side.
        Raises HeadMoved if the database is gone."""
        await self.change(session, {**(update or {}), "$set": {"touched": self.touched()}})

    async def change(self, session: Session, update: Document) -> None:
        """Raises HeadMoved if the database is gone."""
        answer = await self._shared.connection.write_in(session, self.command(update, {}))
        if answer["n"] != 1:
            raise HeadMoved

    async def fence(self, session: Session, token: str) -> int:
        """As `StorageEngine.fence`, in a transaction."""
        update = {"$set": {"fence": token, "touched": self.touched()}}
        command = self.command(update, {"fence": {"$in": [None, token]}})
        answer = await self._shared.connection.write_in(session, command)
        found = await self._shared.connection.read_in(
            session, {"find": "heads", "filter": {"_id": self.id}}
        )
        if not found or found[0]["number"] != self.number:
            raise HeadMoved
        self.check(found[0])
        if answer["n"] != 1:
            raise self.fenced(found[0])
        version: int = found[0]["version"]
        return version

    async def unfence(self, session: Session, token: str) -> bool:
        update = {"$unset": {"fence": ""}, "$set": {"touched": self.touched()}}
        command = self.command(update, {"fence": token})
        answer = await self._shared.connection.write_in(session, command)
        return bool(answer["n"])

    def fenced(self, head: Row) -> EngineFenced:
        return EngineFenced(f"the database is fenced by `{head['fence']}`")

    def command(self, update: Document | list[Document], expected: Document) -> Document:
        query = {"_id": self.id, "number": self.number, **expected}
        return {"update": "heads", "updates": [{"q": query, "u": update}]}

    def touched(self, touch_id: str | None = None) -> Document:
        """Changes with every write, and says whose it was."""
        return {"by": self._shared.node, "id": touch_id or self.fresh_id()}

    def fresh_id(self) -> str:
        return self._shared.clock.random_bytes(12).hex()
