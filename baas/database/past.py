"""A database as it was at an earlier version, seen through a snapshot of now.

Documents are read from history. A query is asked of the snapshot; then what has changed since is
put back: documents that differ now are taken out of the answer, and the images that they had then
are put in, in the query's order. So it costs the query, and what has changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from baas.database.matcher import is_in_query
from baas.database.presentation import present_all
from baas.database.read_snapshot import ReadSnapshot
from baas.database.transaction import QueryResult
from baas.encoding.documents import StoredDocument
from baas.errors import Internal, OutOfRange
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_order import document_order
from baas.model.tallies import Group, GroupPage, PageBounds, Tally
from baas.model.values import Value

RECORDS_MAX = 50_000  # of the log; what was changed more often since is too far back for queries
IMAGES_BYTES_MAX = 64 * 1024 * 1024  # of images that are put back
_READ_PATHS = 50  # at a time, each with two images


@dataclass(frozen=True, slots=True)
class _Changed:
    """A document that differs now from then: its image if it was in the answer `then`, its size if
    it is in the answer `now`."""

    path: DocumentPath
    then: StoredDocument | None
    now: int | None


class PastSnapshot:
    """The database as of `version`, for as long as `snapshot` is open.

    What is older than retention raises ResumeTokenExpired, a query of a version that more than
    `RECORDS_MAX` changes lie behind, or for which more than `IMAGES_BYTES_MAX` have to be put
    back, OutOfRange (`TooFarBack`).
    """

    def __init__(self, snapshot: ReadSnapshot, version: int) -> None:
        if version > snapshot.version:
            raise Internal("the past is not ahead")
        self.version = version
        self.snapshot = snapshot
        self._is_now = version == snapshot.version
        self._touched: Sequence[DocumentPath] | None = None

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        """In the order of `paths`; None where there was no document."""
        if self._is_now:
            return await self.snapshot.get_documents(paths)
        return await self.snapshot.get_documents_at(paths, self.version)

    async def run_query(self, query: Query) -> QueryResult:
        """The whole answer. The query is taken as checked."""
        changes = await self._changes(query)
        if not changes:
            return QueryResult((await self.snapshot.run_query(query)).documents, self.version)
        present = (await self.snapshot.run_query(_present(query, changes))).documents
        documents = _put_back(query, present, changes)
        return QueryResult(present_all(query, documents), self.version)

    async def read_first(
        self, query: Query, *, bytes_max: int
    ) -> tuple[list[StoredDocument], bool]:
        """The first documents of the answer, at least one, as many as fit into `bytes_max`; and
        whether more were left out because of their size."""
        changes = await self._changes(query)
        if not changes:
            return await self.snapshot.read_first(query, bytes_max=bytes_max)
        # What is taken out again must not take the room of what stays.
        room = bytes_max + sum(change.now for change in changes if change.now is not None)
        documents: list[StoredDocument] = []
        is_cut = True
        while is_cut and not documents:  # nothing of what was read was there then
            present, is_cut = await self.snapshot.read_first(
                _present(query, changes), bytes_max=room
            )
            documents = _put_back(query, present, changes, is_cut=is_cut)
            is_cut = is_cut and len(documents) != query.limit  # what is behind was not asked for
            room *= 2
        size = 0
        for place, document in enumerate(documents):
            size += len(document.data)
            if size > bytes_max and place:
                return present_all(query, documents[:place]), True
        return present_all(query, documents), is_cut

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        """As `ReadSnapshot.aggregate`."""
        query = aggregated_query(aggregation)
        changes = await self._changes(query)
        if not changes:
            return await self.snapshot.aggregate(aggregation, bounds)
        then = [change.then for change in changes if change.then is not None]
        if aggregation.is_whole and not aggregation.fields:
            gone = sum(change.now is not None for change in changes)
            number = await self.snapshot.count(query) - gone + len(then)
            counts: dict[str, Value] = {
                item.alias: number if item.up_to is None else min(number, item.up_to)
                for item in aggregation.aggregates
            }
            return GroupPage([Group((), counts, None)], False)
        tally = Tally(aggregation, bounds)
        if aggregation.is_whole:
            changed = frozenset([change.path for change in changes])
            await self.snapshot.gather(aggregation, tally, without=changed)
            tally.add(then)
            return tally.finish()
        documents, is_cut = await self.read_first(query, bytes_max=IMAGES_BYTES_MAX)
        if is_cut:
            raise OutOfRange(
                f"the answer that is aggregated has more than {IMAGES_BYTES_MAX} bytes; give it a"
                " lower limit",
                reason="TooFarBack",
            )
        tally.add(documents)
        return tally.finish()

    async def _changes(self, query: Query) -> list[_Changed]:
        """What differs now from then, of documents that are in the query's answer now or were."""
        if self._is_now:
            return []
        if self._touched is None:
            self._touched = await self.snapshot.read_touched(self.version, limit=RECORDS_MAX)
        paths = [path for path in self._touched if _may_hold(query, path)]
        found: list[_Changed] = []
        size = 0
        for start in range(0, len(paths), _READ_PATHS):
            part = paths[start : start + _READ_PATHS]
            for change in await self.snapshot.read_changes(part, self.version):
                then = change.old if is_in_query(query, change.old) else None
                new = change.new if is_in_query(query, change.new) else None
                if then is None and new is None:
                    continue
                size += 0 if then is None else len(then.data)
                if size > IMAGES_BYTES_MAX:
                    raise OutOfRange(
                        f"more than {IMAGES_BYTES_MAX} bytes of documents were changed since "
                        f"version {self.version}",
                        reason="TooFarBack",
                    )
                found.append(_Changed(change.path, then, None if new is None else len(new.data)))
        return found


def _may_hold(query: Query, path: DocumentPath) -> bool:
    """Whether some image of this document could be in the answer."""
    if query.all_descendants:
        return query.collection.id in ("", path.segments[-2])
    return path.segments[:-1] == query.collection.segments


def _present(query: Query, changes: Sequence[_Changed]) -> Query:
    """The query whose answer now holds whatever was in the answer then and has not changed."""
    limit = None
    if query.limit is not None:
        limit = query.offset + query.limit
        limit += sum(change.now is not None for change in changes)
    return replace(query, offset=0, limit=limit, select=None)


def _put_back(
    query: Query,
    present: Sequence[StoredDocument],
    changes: Sequence[_Changed],
    *,
    is_cut: bool = False,
) -> list[StoredDocument]:
    order = document_order(query)
    changed = {change.path for change in changes}
    then = [change.then for change in changes if change.then is not None]
    if is_cut:
        # Behind the last one that was read, others come first that were not.
        horizon = order(present[-1])
        then = [image for image in then if not order(image) > horizon]
    documents = [one for one in present if one.path not in changed] + then
    documents.sort(key=order)
    end = None if query.limit is None else query.offset + query.limit
    return documents[query.offset : end]
