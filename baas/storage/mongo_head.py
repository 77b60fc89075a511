"""The head of one database, which every transaction changes before anything else."""

from __future__ import annotations

from baas.storage.engine import EngineUnavailable
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

    def command(self, update: Document | list[Document], expected: Document) -> Document:
        query = {"_id": self.id, "number": self.number, **expected}
        return {"update": "heads", "updates": [{"q": query, "u": update}]}

    def touched(self, touch_id: str | None = None) -> Document:
        """Changes with every write, and says whose it was."""
        return {"by": self._shared.node, "id": touch_id or self.fresh_id()}

    def fresh_id(self) -> str:
        return self._shared.clock.random_bytes(12).hex()
