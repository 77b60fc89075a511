"""Documents of a query for jobs, page by page in the order of names, which nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from baas.database.database import Database
from baas.errors import InvalidQuery
from baas.model.documents import DocumentLike
from baas.model.paths import DocumentPath
from baas.model.queries import NAME, Cursor, Operator, Order, Query
from baas.model.query_checks import check_query
from baas.model.query_disjunctions import disjunctions
from baas.model.values import Reference
from baas.services.job_steps import CHUNK_BYTES_MAX, CHUNK_DOCUMENTS_MAX
from baas.settings import Limits

_NARROW = (Operator.EQUAL, Operator.ARRAY_CONTAINS)


@dataclass(frozen=True, slots=True)
class JobPage:
    """Documents that may match: whoever goes through them looks again. `cursor` names the last one,
    None if there are none."""

    documents: Sequence[DocumentLike]
    cursor: str | None
    is_last: bool


def check_bare(query: Query, limits: Limits, what: str) -> None:
    """Raises InvalidQuery for what such a job (`what`) cannot keep: orders, limits, offsets,
    cursors and projections."""
    check_query(query, limits)
    if query != Query(query.collection, query.all_descendants, query.parent, query.where):
        raise InvalidQuery(f"{what} takes `collection`, `group` and `where` only")


async def read_page(database: Database, query: Query, cursor: str | None) -> JobPage:
    """The next chunk behind `cursor`."""
    start = None
    if cursor is not None:
        start = Cursor((Reference(DocumentPath.parse(cursor)),), before=False)
    page = replace(visited(query), order_by=(Order(NAME),), start=start, limit=CHUNK_DOCUMENTS_MAX)
    async with database.snapshot() as snapshot:
        missing = await snapshot.find_missing(page)
    if missing:
        await database.wait_indexed(missing)
    async with database.snapshot() as snapshot:
        found, is_cut = await snapshot.read_first(page, bytes_max=CHUNK_BYTES_MAX)
    last = str(found[-1].path) if found else None
    return JobPage(found, last, not is_cut and len(found) < CHUNK_DOCUMENTS_MAX)


def visited(query: Query) -> Query:
    """What is gone through: the query itself, if an index can give it in the order of names; else
    its collection, of which each document is looked at."""
    found = disjunctions(query.where)
    if len(found) == 1 and all(one.operator in _NARROW and one.field != NAME for one in found[0]):
        return query
    return replace(query, where=None)
