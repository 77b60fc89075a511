"""The database as of one version, for as long as it is held."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Protocol

from baas.database.aggregation import Aggregator, wanted_queries
from baas.database.children import Child, list_children
from baas.database.executor import QueryExecutor
from baas.database.explain import Explanation, MeteredSnapshot, explain
from baas.database.failures import as_baas_error, baas_errors
from baas.database.index_demand import Asker
from baas.database.indexes import IndexDefinition, is_reserved
from baas.database.log import (
    CommitEvent,
    check_resumable,
    read_commits,
    read_net_changes,
    read_touched,
)
from baas.database.planner import CollectionScan
from baas.database.sources import count_within
from baas.database.totals import Totals, is_whole_collection
from baas.database.transaction import QueryResult
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import Internal
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.tallies import Group, GroupPage, PageBounds, Tally
from baas.storage.engine import (
    Change,
    KeyRange,
    LogRecord,
    PastImage,
    RequestAnswer,
    Snapshot,
    StorageError,
)

_SCANNED_AT_ONCE = 50  # documents, which may be large


class Opener(Protocol):
    """The database that a snapshot is of, which hands out what it reads by."""

    totals: Totals

    def is_index_coming(self, definition: IndexDefinition) -> bool: ...

    async def open_snapshot(self, first: Query | None = None) -> tuple[Snapshot, int]: ...

    async def close_snapshot(self, snapshot: Snapshot) -> None: ...

    def make_executor(self, snapshot: Snapshot, generation: int, asker: Asker) -> QueryExecutor: ...

    async def read_oldest_version(self) -> int: ...


class ReadSnapshot:
    """The database as of `version`, for as long as the `async with` block runs.

    Reads see exactly the commits up to `version`. Held long, it keeps the store from tidying up.
    `first`: a query whose first page will be read, by `read_first`.
    """

    def __init__(self, database: Opener, first: Query | None, asker: Asker) -> None:
        self._database = database
        self._asker = asker
        self._first = first
        self._snapshot: Snapshot | None = None
        self._executor: QueryExecutor | None = None
        self._meter: MeteredSnapshot | None = None
        self._generation = 0

    async def open(self) -> ReadSnapshot:
        """Instead of `async with`: `close` has to be called at the end."""
        self._snapshot, self._generation = await self._database.open_snapshot(self._first)
        return self

    async def close(self) -> None:
        snapshot, self._snapshot, self._executor = self._snapshot, None, None
        if snapshot is not None:
            await self._database.close_snapshot(snapshot)

    async def __aenter__(self) -> ReadSnapshot:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def version(self) -> int:
        return self._open.version

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        """In the order of `paths`; None where there is no document."""
        try:
            return await self._open.get_documents([keys.document_key(path) for path in paths])
        except StorageError as error:
            raise as_baas_error(error) from error

    def get_documents_nowait(self, paths: Sequence[DocumentPath]) -> None:
        """Never: a snapshot's reads follow one another, and may have to wait."""

    async def run_query(self, query: Query) -> QueryResult:
        """The whole answer. The query is taken as checked."""
        try:
            return QueryResult(await self._queries.run_query(query), self.version)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def find_missing(self, *queries: Query) -> Sequence[IndexDefinition]:
        """The indexes that are being made for queries such as these; see
        `Database.wait_indexed`."""
        try:
            return [index for query in queries for index in await self._queries.find_missing(query)]
        except StorageError as error:
            raise as_baas_error(error) from error

    def meter(self) -> None:
        """What is read from here on can be explained."""
        self._meter = MeteredSnapshot(self._open)
        self._snapshot, self._executor = self._meter, None
        self.ignore_missing()
        self._queries.used = []

    def explain(self, asked: Query | Aggregation, *, returned: int, seconds: float) -> Explanation:
        """How it was answered since `meter` was called, with so many documents, or groups."""
        assert self._meter is not None, "nothing was metered"
        query = asked if isinstance(asked, Query) else asked.query
        used = self._queries.used or []
        wanted = [query] if isinstance(asked, Query) else wanted_queries(asked, is_page=False)
        if isinstance(asked, Query):
            used = [self._queries.plan(query)]
        plans = [self._queries.plan(one) for one in wanted] if used else []
        return explain(
            asked,
            used,
            [plan for plan in plans if isinstance(plan, CollectionScan)],
            self._meter,
            returned=returned,
            seconds=seconds,
            is_coming=self._database.is_index_coming,
        )

    def ignore_missing(self) -> None:
        """What the queries of this snapshot lack is known already, from another try of the same
        request."""
        self._queries.ignore_missing()

    async def stream_query(self, query: Query) -> AsyncGenerator[list[StoredDocument]]:
        """The answer in batches, none empty, read as they are asked for."""
        try:
            async with aclosing(self._queries.stream(query)) as batches:
                async for batch in batches:
                    yield batch
        except StorageError as error:
            raise as_baas_error(error) from error

    async def read_first(
        self, query: Query, *, bytes_max: int
    ) -> tuple[list[StoredDocument], bool]:
        """The first documents of the answer, at least one, as many as fit into `bytes_max`; and
        whether more were left out because of their size."""
        try:
            return await self._queries.read_first(query, bytes_max=bytes_max)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def count(self, query: Query, *, up_to: int | None = None) -> int:
        """The number of documents in the answer, counting no further than `up_to`. Raises
        DeadlineExceeded once that takes too long."""
        try:
            if not is_whole_collection(query):
                return await self._queries.count(query, up_to=up_to)
            most = min((most for most in (query.limit, up_to) if most is not None), default=None)
            total = await _count_collection(
                self._queries,
                self._database.totals,
                query,
                self.version,
                is_bounded=most is not None,
            )
            if total is None:
                return await self._queries.count(query, up_to=up_to)
        except StorageError as error:
            raise as_baas_error(error) from error
        found = max(0, total - query.offset)
        return found if most is None else min(found, most)

    async def is_small(self, aggregation: Aggregation, most: int) -> bool:
        """Whether it takes looking at no more than `most` keys, or none because the total is
        known."""
        totals, query = self._database.totals, aggregated_query(aggregation)
        if totals.known_of(query, self.version) is not None:
            return True
        try:
            if Aggregator(self._queries, aggregation).looks_at_ends_only:
                return True
            return await self._queries.is_small(query, most)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        """The groups of a checked aggregation; one if it has none to group by. Raises
        DeadlineExceeded."""
        try:
            if aggregation.fields:
                return await Aggregator(self._queries, aggregation).run(bounds)
        except StorageError as error:
            raise as_baas_error(error) from error
        limits = [item.up_to for item in aggregation.aggregates]
        most = None if None in limits else max(one for one in limits if one is not None)
        number = await self.count(aggregation.query, up_to=most)
        counts = {
            item.alias: number if item.up_to is None else min(number, item.up_to)
            for item in aggregation.aggregates
        }
        return GroupPage([Group((), counts, None)], False)

    async def gather(
        self, aggregation: Aggregation, tally: Tally, *, without: Collection[DocumentPath]
    ) -> None:
        """Counts all of an aggregation's documents, some aside. Raises DeadlineExceeded."""
        try:
            await Aggregator(self._queries, aggregation).gather(tally, without=without)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def read_net_changes(self, after: int) -> list[Change]:
        """What differs between version `after` and this snapshot, one change per document.
        Raises ResumeTokenExpired if the log does not reach back to `after`."""
        with baas_errors():
            oldest = await self._database.read_oldest_version()
            return await read_net_changes(self._open, after, oldest)

    async def get_documents_at(
        self, paths: Sequence[DocumentPath], version: int
    ) -> list[StoredDocument | None]:
        """The images as of an earlier version, None also for one that was erased. Raises
        ResumeTokenExpired past retention."""
        found = await self.get_images_at(paths, version)
        return [None if image is None or image.is_erased else image for image in found]

    async def get_images_at(
        self, paths: Sequence[DocumentPath], version: int
    ) -> list[StoredDocument | None]:
        """As `get_documents_at`, but what was erased is there, without fields (`is_erased`)."""
        with baas_errors():
            check_resumable(version, await self._database.read_oldest_version())
            wanted = [keys.document_key(path) for path in paths]
            return await self._open.get_documents_at(wanted, version)

    async def get_images(
        self, wanted: Sequence[tuple[DocumentPath, int]]
    ) -> list[StoredDocument | None]:
        """As `get_images_at`, each as of a version of its own, which is within retention."""
        with baas_errors():
            named = [(keys.document_key(path), version) for path, version in wanted]
            return await self._open.get_images(named)

    async def read_history(self, path: DocumentPath, *, below: int, limit: int) -> list[PastImage]:
        """At most `limit` superseded images of a document within retention, newest first, that were
        superseded before version `below`; some may be erased."""
        with baas_errors():
            oldest = await self._database.read_oldest_version()
            key = keys.document_key(path)
            found = await self._open.read_history(key, below=below, limit=limit)
        return [image for image in found if image.superseded >= oldest]

    async def find_superseded(
        self, paths: Sequence[DocumentPath], *, below: int
    ) -> list[int | None]:
        """See `Snapshot.find_superseded`."""
        with baas_errors():
            named = [keys.document_key(path) for path in paths]
            return await self._open.find_superseded(named, below=below)

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        """Records of commits above version `after`, no commit split. Raises ResumeTokenExpired if
        the log does not reach back."""
        with baas_errors():
            check_resumable(after, await self._database.read_oldest_version())
            return await self._open.read_log(after, limit=limit)

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        """As `Snapshot.read_requests`: the next answers to requests that are kept."""
        with baas_errors():
            return await self._open.read_requests(after, limit=limit)

    async def read_touched(self, after: int, *, limit: int) -> list[DocumentPath]:
        """The documents that commits above version `after` have touched. Raises ResumeTokenExpired
        past retention, OutOfRange (`TooFarBack`) for more than `limit` changes."""
        with baas_errors():
            oldest = await self._database.read_oldest_version()
            return await read_touched(self._open, after, oldest, limit=limit)

    async def read_changes(self, paths: Sequence[DocumentPath], after: int) -> list[Change]:
        """Documents with their images at version `after` and now; `after` is within retention."""
        before = await self.get_documents_at(paths, after)
        now = await self.get_documents(paths)
        return [
            Change(keys.document_key(path), path, old, new)
            for path, old, new in zip(paths, before, now, strict=True)
        ]

    async def read_commits(self, after: int, *, limit: int = 500) -> list[CommitEvent]:
        """The next commits above version `after`, each whole, about `limit` changes in all; empty
        when there are none. Raises ResumeTokenExpired if the log does not reach back."""
        with baas_errors():
            oldest = await self._database.read_oldest_version()
            return await read_commits(self._open, after, oldest, limit=limit)

    async def count_below(self, path: CollectionPath | DocumentPath) -> int:
        """How many documents there are below, and a document itself. Raises DeadlineExceeded."""
        with baas_errors():
            count = await self._queries.count_span(KeyRange(*keys.subtree_span(path)))
        if isinstance(path, DocumentPath):
            (document,) = await self.get_documents([path])
            count += document is not None
        return count

    async def scan_below(
        self,
        path: CollectionPath | DocumentPath,
        *,
        after: DocumentPath | None,
        limit: int,
        bytes_max: int,
    ) -> list[DocumentPath]:
        """The next documents below, in the order of keys, at most `limit` and about `bytes_max` of
        them; a document itself is not among them."""
        start, end = keys.subtree_span(path)
        if after is not None:
            start = max(start, keys.document_key(after) + b"\x00")
        found: list[DocumentPath] = []
        size = 0
        try:
            while len(found) < limit and size < bytes_max:
                wanted = min(_SCANNED_AT_ONCE, limit - len(found))
                documents = await self._open.scan_documents(KeyRange(start, end), limit=wanted)
                found += [one.path for one in documents if not is_reserved(one.path)]
                size += sum(len(one.data) for one in documents)
                if len(documents) < wanted:
                    break
                start = keys.document_key(documents[-1].path) + b"\x00"
        except StorageError as error:
            raise as_baas_error(error) from error
        return found

    async def scan_keys(
        self, start: bytes, end: bytes | None, *, limit: int
    ) -> list[StoredDocument]:
        """The next documents by key from `start` up to `end` (None: the last), reserved ones too;
        fewer than `limit` are the last ones."""
        try:
            return await self._open.scan_documents(KeyRange(start, end), limit=limit)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def count_keys(self, start: bytes, end: bytes | None) -> int:
        """How many documents there are from `start` up to `end`, reserved ones too."""
        try:
            return await self._open.count_documents(KeyRange(start, end))
        except StorageError as error:
            raise as_baas_error(error) from error

    async def list_children(
        self, collection: CollectionPath, *, after: DocumentPath | None, limit: int
    ) -> list[Child]:
        """See `children.list_children`."""
        with baas_errors():
            return await list_children(self._open, collection, after=after, limit=limit)

    async def list_collection_ids(self, parent: DocumentPath | None) -> list[str]:
        """The ids of the collections directly below a document, or of the root for None, sorted:
        those that hold a document, or under which there is one."""
        depth = 0 if parent is None else len(parent.segments)
        start, end = (b"", None) if parent is None else keys.subtree_span(parent)
        found: list[str] = []
        try:
            while documents := await self._open.scan_documents(KeyRange(start, end), limit=1):
                collection = CollectionPath(documents[0].path.segments[: depth + 1])
                if not is_reserved(documents[0].path):
                    found.append(collection.id)
                start = keys.subtree_span(collection)[1]  # skip all of the collection
        except StorageError as error:
            raise as_baas_error(error) from error
        return sorted(found, key=str.encode)

    @property
    def _open(self) -> Snapshot:
        if self._snapshot is None:
            raise Internal("the snapshot is used outside of its block")
        return self._snapshot

    @property
    def _queries(self) -> QueryExecutor:
        if self._executor is None:
            self._executor = self._database.make_executor(self._open, self._generation, self._asker)
        return self._executor


async def _count_collection(
    queries: QueryExecutor, totals: Totals, query: Query, version: int, *, is_bounded: bool
) -> int | None:
    """None if counting to the bound is less work."""
    key = query.collection.segments
    known = totals.known(key, version)
    if known is not None or is_bounded:
        return known
    whole = Query(collection=query.collection)

    async def count(most: int | None) -> int:
        if most is not None:
            return await queries.count(whole, up_to=most)
        return await totals.count(key, version, lambda: queries.count(whole))

    # Others may be counting, and be broken off: each waits for as long as it may count itself.
    return await count_within(queries.budget, count, None)
