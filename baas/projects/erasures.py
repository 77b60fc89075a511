"""What was erased, by whom and when: what tells that, and nothing of what was in it.

projects/{project}/erasures/{id}    in the server's system database
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from baas.clock import Clock, new_document_id
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.model.documents import DocumentLike
from baas.model.paths import FieldPath
from baas.model.queries import Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import SetWrite
from baas.projects.records import project_collection, project_document

ERASURES = "erasures"
LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Erasure:
    """`images` of the document's past were erased, None as long as that is not certain; `present`:
    the document itself was deleted, too."""

    id: str
    name: DatabaseName
    path: str
    present: bool
    author: str | None
    time: Timestamp
    images: int | None = None

    def to_fields(self) -> Fields:
        return {
            "database": self.name.database,
            "path": self.path,
            "present": self.present,
            "author": self.author,
            "time": self.time,
            "images": self.images,
        }


class Erasures:
    """The records of all projects."""

    def __init__(self, databases: Databases, clock: Clock) -> None:
        self._clock = clock
        self._store = SystemStore(databases, clock, lambda project, event: None)

    def new_id(self) -> str:
        return new_document_id(self._clock)

    async def save(self, erasures: Sequence[Erasure]) -> None:
        """In one commit."""
        writes = [
            SetWrite(project_document(one.name.project, ERASURES, one.id), one.to_fields())
            for one in erasures
        ]

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        await self._store.run(None, body)

    async def list_all(self, name: DatabaseName) -> list[Erasure]:
        """A database's, newest first; the last LISTED_MAX of the project at most."""
        database = await self._store.open(None)
        query = Query(
            project_collection(name.project, ERASURES),
            order_by=(Order(FieldPath(("time",)), descending=True),),
            limit=LISTED_MAX,
        )
        found = [_open(document) for document in (await database.run_query(query)).documents]
        return [erasure for erasure in found if erasure.name == name]


def _open(document: DocumentLike) -> Erasure:
    fields = cast("dict[str, Any]", document.fields)
    return Erasure(
        document.path.segments[-1],
        DatabaseName(document.path.segments[1], fields["database"]),
        fields["path"],
        fields["present"],
        fields["author"],
        fields["time"],
        fields["images"],
    )
