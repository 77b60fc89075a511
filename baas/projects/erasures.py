"""What was erased, by whom and when: what tells that, and nothing of what was in it.

projects/{project}/erasures/{id}    in the server's system database
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from baas.clock import Clock, new_document_id
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import InvalidArgument
from baas.model.documents import DocumentLike
from baas.model.paths import FieldPath
from baas.model.queries import NAME, Cursor, FieldFilter, Operator, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Reference
from baas.model.writes import SetWrite
from baas.projects.jobs import Job, JobState
from baas.projects.records import is_id, project_collection, project_document

ERASURES = "erasures"
_TOKEN = re.compile(r"([0-9]{1,17})-(.{1,64})", re.ASCII)
_DATABASE, _TIME = FieldPath(("database",)), FieldPath(("time",))


@dataclass(frozen=True, slots=True)
class Erasure:
    """Of a document, `path`, or of `documents` of a query, which is JSON text. `images` of their
    past were erased, None as long as that is not certain; `present`: they were deleted, too."""

    id: str
    name: DatabaseName
    path: str | None
    present: bool
    author: str | None
    time: Timestamp
    images: int | None = None
    query: str | None = None
    documents: int = 1

    def to_fields(self) -> Fields:
        return {
            "database": self.name.database,
            "path": self.path,
            "present": self.present,
            "author": self.author,
            "time": self.time,
            "images": self.images,
            "query": self.query,
            "documents": self.documents,
        }


@dataclass(frozen=True, slots=True)
class ErasurePage:
    """`next_page_token` if there are more."""

    erasures: list[Erasure]
    next_page_token: str | None


class Erasures:
    """The records of all projects."""

    def __init__(self, databases: Databases, clock: Clock) -> None:
        self._clock = clock
        self._store = SystemStore(databases, clock, lambda project, event: None)

    def new_id(self) -> str:
        return new_document_id(self._clock)

    async def save(self, erasures: Sequence[Erasure]) -> None:
        """In one commit."""
        writes = [_save(one) for one in erasures]

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        await self._store.run(None, body)

    async def begin(self, transaction: Transaction, job: Job) -> None:
        """Puts on record that a job erases; in the commit that makes the job."""
        await transaction.write([_save(_of_job(job))])

    async def end(self, transaction: Transaction, job: Job) -> None:
        """What came of the job; in the commit that ends it."""
        await transaction.write([_save(_of_job(job))])

    async def list_page(self, name: DatabaseName, size: int, token: str | None) -> ErasurePage:
        """A database's, newest first. Raises InvalidArgument (`InvalidPageToken`)."""
        database = await self._store.open(None)
        collection = project_collection(name.project, ERASURES)
        start = None
        if token is not None:
            time, identifier = _read_token(token)
            start = Cursor((time, Reference(collection.document(identifier))), before=False)
        query = Query(
            collection,
            where=FieldFilter(_DATABASE, Operator.EQUAL, name.database),
            order_by=(Order(_TIME, descending=True), Order(NAME, descending=True)),
            start=start,
            limit=size + 1,
        )
        found = [_open(document) for document in (await database.run_query(query)).documents]
        listed = found[:size]
        more = len(found) > size
        last = listed[-1] if more else None
        return ErasurePage(listed, None if last is None else f"{last.time.microseconds}-{last.id}")


def _save(erasure: Erasure) -> SetWrite:
    return SetWrite(
        project_document(erasure.name.project, ERASURES, erasure.id), erasure.to_fields()
    )


def _of_job(job: Job) -> Erasure:
    asked = orjson.loads(job.spec)
    return Erasure(
        job.id,
        job.name,
        None,
        asked["present"],
        job.author,
        job.created,
        job.progress.images if job.state is JobState.DONE else None,
        orjson.dumps(asked["query"]).decode(),
        job.progress.written,
    )


def _read_token(token: str) -> tuple[Timestamp, str]:
    found = _TOKEN.fullmatch(token)
    if found is None or not is_id(found[2]):
        raise InvalidArgument("`page_token` is none of this list", reason="InvalidPageToken")
    return Timestamp(int(found[1])), found[2]


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
        fields.get("query"),
        fields.get("documents", 1),
    )
