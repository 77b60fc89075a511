"""A transaction: what it read, what it writes, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeGuard, TypeVar

from baas.encoding import keys
from baas.encoding.documents import StoredDocument, encode_fields, encode_plain_fields
from baas.errors import Aborted, BaasError, InvalidArgument
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.documents import Document, DocumentLike
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.tallies import GroupPage, PageBounds
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value, check_document
from baas.model.writes import DeleteWrite, SetWrite, VerifyWrite, Write, WriteResult, apply_write
from baas.settings import Limits
from baas.storage.engine import Change

_WRITES_PER_TURN = 10
_WEIGHT_PER_TURN = 256 * 1024  # of many writes: bytes of the documents that they change
_WEIGHT_LEAST = 512  # of any
Segments: TypeAlias = tuple[str, ...]
# A document's size in Firestore's count is bounded by its length in stored form: an empty map is
# three bytes of text and 32 in the count, and nothing is further apart. So most need no measuring;
# how deep they are was checked when they were decoded.
SIZE_PER_BYTE_MAX = 11
NAME_SIZE_MAX = 7 * 1024

T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer as of `version`."""

    documents: list[StoredDocument]
    version: int


# Made on every commit, so not frozen, which would triple their cost; nobody changes one.
@dataclass(slots=True)
class CommitResult(Generic[T_co]):
    """A commit, or a transaction that wrote nothing and was true at `version`.

    `value` is what the body gave; None if `replayed`, that is, if an earlier commit carried the
    same request id and this is its result. `memo` is the transaction's, also if replayed.
    """

    version: int
    write_results: list[WriteResult]
    value: T_co
    replayed: bool = False
    memo: Any = None

    @property
    def commit_time(self) -> Timestamp:
        return Timestamp(self.version)


@dataclass(slots=True)
class PendingChange:
    """A document that the transaction sets or deletes, with its images before and after, even if
    they are the same. `fields` None: there is no document afterwards."""

    path: DocumentPath
    old: StoredDocument | None
    fields: Fields | None
    has_changed: bool = field(default=False, repr=False)
    is_checked: bool = field(default=True, repr=False)  # no part of it can be nested too deep
    is_plain: bool = field(default=False, repr=False)  # as SetWrite's
    encoded: bytes | None = field(default=None, repr=False)  # as SetWrite's


COMMIT_FULL = "CommitFull"  # the reason of writes that one commit has no room for
# What is known of a write's result before the commit version is: which document, whether it is a
# delete, and the results of its transforms.
AppliedResult: TypeAlias = tuple[Segments, bool, tuple[Value, ...]]
# Holds if the function still gives for its argument the very object that it gave before.
Condition: TypeAlias = tuple[Callable[[Any], object], Any, object]


class View(Protocol):
    """What a transaction reads: one consistent state of the database."""

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]: ...

    def get_documents_nowait(
        self, paths: Sequence[DocumentPath]
    ) -> list[StoredDocument | None] | None:
        """The same where it takes no waiting; None: it takes some, and nothing was read."""
        ...

    async def run_query(self, query: Query) -> QueryResult: ...

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage: ...


class Transaction:
    """Reads of one consistent state, and writes that become one commit or none.

    Every read, of missing documents too, is remembered: the commit happens only if none of it was
    changed by another one, else the body runs again. Reads repeat, and show the state without the
    transaction's own writes; `after` shows it with them.
    """

    __slots__ = (
        "_conditions",
        "_documents",
        "_is_all_new",
        "_limits",
        "_pending",
        "_staged",
        "_view",
        "memo",
        "queries",
        "request_time",
        "results",
    )

    def __init__(self, view: View, request_time: Timestamp, limits: Limits) -> None:
        self.request_time = request_time
        self.queries: list[Query] = []
        self.results: list[AppliedResult] = []
        self.memo: Any = None  # JSON that is kept with the request id, and given back with it
        self._view = view
        self._limits = limits
        # By segments: a path's own hash is a Python function, and there are many look-ups.
        self._documents: dict[Segments, StoredDocument | None] = {}
        self._pending: dict[Segments, PendingChange] = {}
        self._conditions: list[Condition] = []
        self._staged: list[Change] | None = None
        self._is_all_new = True  # every write so far made a document, and each another one

    @property
    def read_set(self) -> Collection[Segments]:
        """The paths of the documents that were read, missing ones included, as segments."""
        return self._documents.keys()

    @property
    def changes(self) -> Sequence[PendingChange]:
        """One per document that is set or deleted, in the order of first mention. A verify is not
        among them."""
        return tuple(self._pending.values())

    def after(self, path: DocumentPath) -> Fields | None:
        """The document after all writes so far. It has to be one that was read or written."""
        pending = self._pending.get(path.segments)
        if pending is not None:
            return pending.fields
        document = self._documents[path.segments]
        return None if document is None else document.fields

    def assume_missing(self, paths: Iterable[DocumentPath]) -> None:
        """These documents are taken as read and missing: their ids have just been drawn."""
        for path in paths:
            self._documents[path.segments] = None

    def rest_on(self, find: Callable[[K], object], key: K, found: object) -> None:
        """What else has to be as it was when the body ran, asked right before the commit: unless
        `find(key)` still is the object that was found, the body runs again."""
        self._conditions.append((find, key, found))

    @property
    def conditions_hold(self) -> bool:
        for find, key, found in self._conditions:  # noqa: SIM110 (half of a generator's cost)
            if find(key) is not found:
                return False
        return True

    async def get_documents(self, paths: Sequence[DocumentPath]) -> list[StoredDocument | None]:
        known = self._documents
        missing = [path for path in paths if path.segments not in known]
        if missing:
            found = await self._view.get_documents(missing)
            for path, document in zip(missing, found, strict=True):
                known[path.segments] = document
        return [known[path.segments] for path in paths]

    async def run_query(self, query: Query) -> QueryResult:
        result = await self._view.run_query(query)
        self.queries.append(query)
        return result

    def write_nowait(self, writes: Sequence[Write]) -> bool:
        """As `write`, for one write to a document that can be read without waiting, as most are.
        False: nothing was done, and `write` has to."""
        if len(writes) != 1:
            return False
        (write,) = writes
        path = write.path
        segments = path.segments
        known = self._documents
        if segments not in known:
            found = self._view.get_documents_nowait((path,))
            if found is None:
                return False
            known[segments] = found[0]
        self._check_room(1)
        self._apply(write, known[segments])
        return True

    async def aggregate(self, aggregation: Aggregation, bounds: PageBounds) -> GroupPage:
        """As `ReadSnapshot.aggregate`. All documents that are counted are read by it."""
        page = await self._view.aggregate(aggregation, bounds)
        self.queries.append(aggregated_query(aggregation))
        return page

    async def write(self, writes: Sequence[Write]) -> None:
        """Applies writes in order; several to one document compose.

        Raises what `apply_write` raises, and InvalidArgument (`TooManyWrites`) for more writes than
        a commit may have. What went before a raise stays applied: let it out of the body.
        """
        self._check_room(len(writes))
        olds = await self.get_documents([write.path for write in writes])
        for number, (write, old) in enumerate(zip(writes, olds, strict=True), 1):
            self._apply(write, old)
            if number % _WRITES_PER_TURN == 0:
                # Many writes to large documents take long; others get their turn.
                await asyncio.sleep(0)

    def _check_room(self, writes: int) -> None:
        if len(self.results) + writes > self._limits.commit_writes_max:
            raise InvalidArgument(
                f"a commit has at most {self._limits.commit_writes_max} writes",
                reason="TooManyWrites",
            )

    async def write_each(self, writes: Sequence[Write]) -> dict[int, BaasError]:
        """Applies writes in order, each to another document, and leaves out those that fail: their
        errors by number. Every write has its place in the results all the same."""
        olds = await self.get_documents([write.path for write in writes])
        failed: dict[int, BaasError] = {}
        weight = 0
        for number, (write, old) in enumerate(zip(writes, olds, strict=True)):
            try:
                self._apply(write, old)
            except BaasError as error:
                self.results.append((write.path.segments, True, ()))
                failed[number] = error
            weight += _WEIGHT_LEAST if old is None else len(old.data) + _WEIGHT_LEAST
            if weight > _WEIGHT_PER_TURN:
                weight = 0
                await asyncio.sleep(0)
        return failed

    def leave_out(self, path: DocumentPath) -> None:
        """Takes back what was written to one document; the results keep their places."""
        self._pending.pop(path.segments, None)

    def stage_each(self) -> dict[Segments, BaasError]:
        """As `stage`, and leaves out documents that cannot be stored: their errors. To be called
        last: nothing can be written after it."""
        failed: dict[Segments, BaasError] = {}
        self._staged = []
        replaced = 0
        for pending in self._pending.values():
            try:
                staged = self._stage(pending)
            except BaasError as error:
                failed[pending.path.segments] = error
                continue
            if staged is None:
                continue
            size = 0 if staged.old is None else len(staged.old.data)
            if replaced + size > self._limits.commit_replaced_bytes_max:
                failed[pending.path.segments] = Aborted(
                    "other writes of this request replace documents that fill a commit; send it"
                    " again",
                    reason=COMMIT_FULL,
                )
                continue
            replaced += size
            self._staged.append(staged)
        return failed

    def _apply(self, write: Write, old: StoredDocument | None) -> None:
        path = write.path
        segments = path.segments
        pending = self._pending.get(segments)
        if old is None and pending is None and _makes_anew(write):
            self.results.append((segments, False, ()))
            self._pending[segments] = PendingChange(
                path, None, write.fields, True, True, write.is_plain, write.encoded
            )
            return
        self._is_all_new = False
        current: DocumentLike | None = old
        if pending is not None:
            current = _as_document(pending, self.request_time)
        applied = apply_write(write, current, self.request_time, self._limits)
        kind = type(write)
        self.results.append((segments, kind is DeleteWrite, applied.transform_results))
        if kind is VerifyWrite:
            return
        if pending is None:
            # Canonical bytes hold a tag only where they hold `"$`.
            is_plain = old is None or b'"$' not in old.data
            pending = PendingChange(path, old, applied.fields, applied.changed, True, is_plain)
            self._pending[segments] = pending
        else:
            pending.fields = applied.fields
            pending.encoded = None
            pending.has_changed = pending.has_changed or applied.changed
        if type(write) is not SetWrite or write.transforms:
            pending.is_checked = pending.is_plain = False
        elif write.mask is None:
            pending.is_checked = True
            pending.is_plain = write.is_plain
            pending.encoded = write.encoded
        else:
            # A value that was decoded for the top may be set there; further down it is deeper.
            pending.is_checked &= all(len(path.segments) == 1 for path in write.mask)
            pending.is_plain &= write.is_plain

    def stage(self) -> list[Change]:
        """The changes in stored form, without those that leave a document as it was, and without
        the versions, which only the committer knows. Raises InvalidValue for a document that is too
        large or too deep, InvalidArgument (`CommitTooLarge`)."""
        if self._staged is not None:
            return self._staged
        staged = []
        replaced = 0
        for pending in self._pending.values():
            change = self._stage(pending)
            if change is not None:
                staged.append(change)
                if change.old is not None:
                    replaced += len(change.old.data)
        most = self._limits.commit_replaced_bytes_max
        if replaced > most:
            raise InvalidArgument(
                f"the documents that the commit replaces or deletes hold {replaced:,} bytes; at"
                f" most {most:,} (`commit_replaced_bytes_max`): make several commits of it",
                reason="CommitTooLarge",
            )
        return staged

    def _stage(self, pending: PendingChange) -> Change | None:
        if not pending.has_changed:
            return None
        path, old, fields = pending.path, pending.old, pending.fields
        new: StoredDocument | None = None
        if fields is None:
            if old is None:
                return None  # created and deleted again
        else:
            data = pending.encoded
            if data is None:
                data = encode_plain_fields(fields) if pending.is_plain else encode_fields(fields)
            is_small = (
                len(data) * SIZE_PER_BYTE_MAX + NAME_SIZE_MAX <= self._limits.document_bytes_max
            )
            if not (is_small and pending.is_checked):
                check_document(path, fields, self._limits)
            if old is not None and data == old.data:
                return None  # changed and changed back
            new = StoredDocument(path, data, 0 if old is None else old.created, 0, fields)
        return Change(keys.document_key(path), path, old, new)

    def write_results(self, version: int, staged: Sequence[Change]) -> list[WriteResult]:
        """One per write, in order. A write that left its document as it was has its old time."""
        time = Timestamp(version)
        if staged and len(self.results) == 1:  # as most: what is staged is what it wrote
            ((_, is_delete, transform_results),) = self.results
            return [WriteResult(None if is_delete else time, transform_results)]
        plain = WriteResult(time)  # of most; one for all of them
        if self._is_all_new and len(self.results) == len(staged):
            return [plain] * len(staged)
        changed = {change.path.segments for change in staged}
        return [
            plain
            if segments in changed and not is_delete and not transform_results
            else WriteResult(
                None if is_delete else time if segments in changed else self._time(segments),
                transform_results,
            )
            for segments, is_delete, transform_results in self.results
        ]

    def _time(self, segments: Segments) -> Timestamp | None:
        document = self._documents[segments]
        return None if document is None else document.update_time


def _makes_anew(write: Write) -> TypeGuard[SetWrite]:
    """Whether the document is what the write says and nothing else, where there was none before."""
    if type(write) is not SetWrite or write.mask is not None or write.transforms:
        return False
    precondition = write.precondition
    return not precondition.exists and precondition.update_time is None


def _as_document(pending: PendingChange, request_time: Timestamp) -> Document | None:
    if pending.fields is None:
        return None
    old = pending.old
    return Document(
        pending.path,
        pending.fields,
        request_time if old is None else old.create_time,
        request_time if old is None else old.update_time,
    )
