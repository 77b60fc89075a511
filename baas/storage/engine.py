"""What a storage engine offers: a consistent snapshot, range scans over ordered bytes, an atomic
batch. Nothing more: planner, executor, uniqueness and search live above it.

An engine keeps, per database: **documents** (key -> version, canonical bytes), **entries** (index,
key -> document), **history** (superseded images), **log** (version, ordinal, path, kind),
**requests** (idempotency) and one **head** (incarnation, last version). Keys are ordered bytes
made by `encoding`. Each StorageEngine object is one open database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath

LOG_ROW_BYTES = 32  # what a record of the log takes beside its path
REQUEST_ROW_BYTES = 64  # what an answer takes beside its request's id and its response
REQUESTS_PAGE_BYTES = 1024 * 1024  # a page of answers ends with the one that reaches it


class StorageError(Exception):
    """Internal to the server: `database` turns it into Unavailable, Aborted or DataLoss."""


class EngineUnavailable(StorageError):
    """The store cannot be reached or written now (disk full, I/O error, locked)."""


class EngineFull(EngineUnavailable):
    """There is no room for more: nothing can be written until somebody makes some."""


class EngineOverloaded(EngineUnavailable):
    """What is written at once is more than the store has memory for now; nothing was written."""


class EngineConflict(StorageError):
    """Nothing was written: another owner of the database committed first, or is about to."""


class EngineFenced(StorageError):
    """Nothing was written: a fence stands, see `StorageEngine.fence`."""


class EngineUnknown(StorageError):
    """Whether the group was written could not be found out within the engine's time-out. It may
    still become visible, but not any more once a later commit of this engine object has."""


class EngineCorrupt(StorageError):
    """Stored bytes contradict themselves."""


def log_bytes_of(path: str) -> int:
    """What a record of the log takes, as `read_log_bytes` counts it."""
    return LOG_ROW_BYTES + (len(path) if path.isascii() else len(path.encode()))


@dataclass(frozen=True, slots=True)
class Head:
    """`incarnation` is fresh at creation, restore and move; `version` is the last commit's, or 0.
    `fence`: the token of the one that stands."""

    incarnation: str
    version: int
    fence: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys with start <= key < end; end None means no upper bound."""

    start: bytes
    end: bytes | None


class Entries(NamedTuple):
    """Rows of the index of that number: each of the keys is unique within it, as it tells the
    document, too."""

    number: int
    keys: Sequence[bytes]


# Made on every commit, so not frozen, which would triple their cost; nobody changes one.
@dataclass(slots=True)
class Change:
    """What one commit does to one document: at most one per document. `new` None deletes it."""

    key: bytes
    path: DocumentPath
    old: StoredDocument | None
    new: StoredDocument | None
    removed_entries: Sequence[Entries] = ()
    added_entries: Sequence[Entries] = ()


@dataclass(slots=True)
class CommitRecord:
    """One commit of a group. `request_id` is remembered with `response` for idempotency."""

    version: int
    changes: Sequence[Change]
    request_id: str | None = None
    response: bytes = b""


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """Entries of one existing document, added only if it still is at `version`."""

    key: bytes
    version: int
    entries: Sequence[Entries]


@dataclass(frozen=True, slots=True)
class LogRecord:
    version: int
    ordinal: int
    path: DocumentPath
    deleted: bool


@dataclass(frozen=True, slots=True)
class CommitGroup:
    """Commits that become durable together. Versions strictly increase from `expected_version`.

    `stands_upon`: whether the group may be written all the same upon these changes, which others
    committed above `expected_version`. It is quick, and called on any thread.
    """

    expected_version: int
    commits: Sequence[CommitRecord]
    stands_upon: Callable[[Sequence[LogRecord]], bool] | None = None


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What is kept of a commit that carried a request id. A commit carries one at most, so its
    version tells answers apart, and puts them in order."""

    version: int
    id: str
    response: bytes

    @property
    def size(self) -> int:
        """As `read_request_bytes` counts."""
        return len(self.id.encode()) + len(self.response) + REQUEST_ROW_BYTES


@dataclass(frozen=True, slots=True)
class PastImage:
    """That a document had an image, which version `version` made and `superseded` changed or
    deleted; `size` is that of its data."""

    created: int
    version: int
    superseded: int
    size: int

    @property
    def is_erased(self) -> bool:
        return not self.size


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry with the document it leads to, both of one snapshot."""

    key: bytes
    document: StoredDocument


@dataclass(frozen=True, slots=True)
class FirstScan:
    """The first `limit` documents of a span of keys, which with `index` are those of its entries:
    read at once, or what a snapshot will probably be asked first."""

    index: int | None
    span: KeyRange
    limit: int
    descending: bool = False


@dataclass(slots=True)
class Page:
    """Documents of one instant, which is `version`. `longest_key`: of the entries, 0 for none."""

    version: int
    documents: list[StoredDocument]
    longest_key: int


class Snapshot(Protocol):
    """A consistent view at `version`. To be closed: a long one keeps the store from tidying up."""

    @property
    def version(self) -> int: ...

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        """In the order of `keys`; None where there is no document."""
        ...

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        """The images as of `version`, which is within retention; None where there was no document,
        be it created or re-created later."""
        ...

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        """As `get_documents_at`, for many (key, version) in one go: few round trips, however many
        versions of one document there are. In the order of `wanted`, which may repeat itself."""
        ...

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        """At most `limit` of a document's superseded images, newest first: those that were
        superseded before version `below`. What they held is not read."""
        ...

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        """Of each document the last version below `below` that changed or deleted it; None: none
        did that is known. In one go, in the order of `keys`."""
        ...

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        """At most `limit` documents in key order. With `bytes_max` it ends early, soon after they
        have so many bytes; `are_last` tells whether these were all. Page by narrowing `span`."""
        ...

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        """At most `limit` entries in key order with their documents, `bytes_max` as above."""
        ...

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        """At most `limit` keys of an index's entries within spans that are disjoint and ascending,
        in order, without documents."""
        ...

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int: ...

    async def count_entries(
        self, index: int, span: KeyRange, *, limit: int | None = None
    ) -> int: ...

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        """Records with version > `after`, in (version, ordinal) order; a commit is never split:
        at least one whole commit, and further whole commits while fewer than `limit` records."""
        ...

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        """The next answers of commits above version `after` that are kept, in version order: at
        most `limit` (which is at least 1), and no more than it takes to reach
        `REQUESTS_PAGE_BYTES`; none at the end. Page by the last one's version."""
        ...

    async def close(self) -> None: ...


def are_last(documents: Sequence[StoredDocument], limit: int, bytes_max: int) -> bool:
    """Whether nothing lies behind what a scan within these bounds gave."""
    return len(documents) < limit and sum([len(one.data) for one in documents]) < bytes_max


class Lines(Protocol):
    """Lines that all who have a database open share, whichever machine they are on. Nothing that is
    right rests on them."""

    async def enter(self, line: str, place: str, seconds: float) -> None:
        """Returns when `place` is first in the line, at the end of which it is put if it is not in
        it. `seconds` after the return, or after it stopped waiting, it is taken for gone. Raises
        StorageError."""
        ...

    async def leave(self, line: str, place: str) -> None:
        """Does nothing where it is not in the line. Raises StorageError."""
        ...


class StorageEngine(Protocol):
    """One open database. Every method may raise StorageError, StoreMissing among them if another
    owner removed the database. Safe to use from one event loop.

    What is read is never older than what this object has shown or committed before.
    """

    @property
    def is_shared(self) -> bool:
        """Whether others than this object may commit to the database. If not, the last version
        that was committed here is the head."""
        ...

    @property
    def lines(self) -> Lines | None:
        """None where nobody else commits, or where each owner keeps its own."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether what is small is read without waiting, and turns change hands at once."""
        ...

    def count_foreign(self) -> int:
        """A number that has changed once a commit that another owner acknowledged before the call
        may not have been read here. An engine that is not near always gives 0: it cannot tell."""
        ...

    def watch(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Calls `notify` on the event loop soon after a commit that this object did not make may
        have become visible (also without cause, and after reconnecting); gives back what ends it.
        Neither waits nor raises. An engine that is not shared never calls it."""
        ...

    async def read_head(self) -> Head: ...

    async def read_oldest_version(self) -> int:
        """The oldest version that history and log still reach: tokens below it cannot resume."""
        ...

    async def read_history_bytes(self) -> int:
        """How many bytes of images history holds."""
        ...

    async def read_log_bytes(self) -> int:
        """How many bytes the log takes: those of paths, with `LOG_ROW_BYTES` for each record."""
        ...

    async def read_request_bytes(self) -> int:
        """How many bytes the answers take that are kept for repeated requests, with
        `REQUEST_ROW_BYTES` for each beside its id and response."""
        ...

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        """The latest committed images, read as of one instant, in the order of `keys`."""
        ...

    def get_documents_nowait(self, keys: Sequence[bytes]) -> list[StoredDocument | None] | None:
        """As `get_documents`, of few keys and where that takes no waiting; else None."""
        ...

    def read_page_nowait(self, scan: FirstScan) -> Page | None:
        """The latest committed documents of a small scan, where that takes no waiting; else None,
        and for no documents at all: a snapshot has to tell."""
        ...

    async def open_snapshot(self, first: FirstScan | None = None) -> Snapshot:
        """An engine that is away brings along what `first` asks for: one answer instead of two."""
        ...

    async def commit(self, group: CommitGroup) -> Sequence[LogRecord]:
        """Writes the whole group in one transaction. **Its return is the commit point**: durable
        and visible. Raises EngineConflict (nothing written) if the head is not at
        `expected_version`, EngineFenced (nothing written) while a fence stands; EngineUnavailable
        with nothing written.

        An engine that is near may write the group all the same if it `stands_upon` what others
        committed meanwhile, which it gives back then: their changes, all below the group's first
        version. Else it gives nothing.

        An engine that is shared finds out by itself what became of a commit whose answer was lost:
        by something that it alone wrote in that transaction (a fresh id), never by the head's
        version, which may be another's. Only EngineUnknown leaves the outcome open; after any other
        error nothing was written, and nothing will be.
        """
        ...

    async def claim_turn(self, seconds: float) -> None:
        """Asks the other owners to let this one commit next: until it has, for so long at most,
        their commits raise EngineConflict. One claim at a time; a later one changes nothing while
        it lasts. Only who gets ahead rests on it, never what is right. One that is near lets the
        others wait instead, and returns when they have committed."""
        ...

    def end_turn(self) -> None:
        """Ends what was claimed, where that is not left to time."""
        ...

    async def fence(self, token: str) -> int:
        """From its return on no owner commits, until `unfence`: `commit` raises EngineFenced. The
        version that the head stays at; the log has all that was committed, and nothing comes after
        it, not even what was on its way or in doubt.

        The fence is in the store: it outlasts whoever put it up, and restarts. It may be put up
        again by its token; raises EngineFenced if another one's stands. After EngineUnknown it may
        stand or not: repeat it, or lift it.

        All that changes no document goes on: entries, trimming, erasing, answers to requests,
        claims, incarnations.
        """
        ...

    async def unfence(self, token: str) -> bool:
        """Whether it stood. May be repeated."""
        ...

    async def backfill(self, rows: Sequence[BackfillRow]) -> int:
        """Adds entries of documents that are still at their stated version; the count of rows
        taken. A row is idempotent. Takes turns with the commits of all owners: a document that was
        seen at its version is not changed before its entries are there. Several may do it at once.
        """
        ...

    async def drop_index(self, index: int, *, limit: int) -> int:
        """Deletes up to `limit` entries of an index; the count deleted (0: none are left)."""
        ...

    async def find_request(self, request_id: str) -> tuple[int, bytes] | None:
        """(version, response) of a commit that carried this request id, within retention."""
        ...

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        """Keeps answers that another database gave, all of one call or none, as if their commits
        had been made here; the count of those that were not here yet. The head stays where it is:
        it has to come to lie above them before anybody commits."""
        ...

    async def erase(self, keys: Sequence[bytes]) -> list[int]:
        """Empties all superseded images of documents; for each the count of those that were not
        yet. Their versions stay, so that it can be told that something was there. Reads find
        nothing any more; the engine's files may hold it until `scrub`. To be repeated after an
        error."""
        ...

    async def scrub(self, *, rewrite: bool = False) -> bool:
        """Where the engine owns its files: no byte of an erased image, or of anything else that was
        deleted before, is left in them once it has returned true. False: snapshots of before hold
        some back, and it goes on by itself when they are closed, also after a restart. It costs a
        read of the whole file, between pieces of which others write.

        `rewrite`: writes the file anew first, which gives its free room back to the system; it
        takes as much room meanwhile, and writes wait.
        """
        ...

    async def note_traces(self) -> None:
        """What is in no row any more may have been erased elsewhere, and be in this engine's files
        yet: the next `scrub` looks for it, and so does by itself whoever opens the database."""
        ...

    async def start_incarnation(self, incarnation: str) -> None:
        """What resumes from tokens of the incarnation before has to begin anew. To be called while
        nobody else has the database open."""
        ...

    async def trim(self, before: int, *, limit: int, requests_before: int | None = None) -> int:
        """Forgets up to `limit` rows of history, log and requests older than version `before`;
        requests only if they are older than `requests_before`, too.
        Several may do it at once. What `read_oldest_version` gives has been raised before."""
        ...

    async def forget_requests(self, *, limit: int) -> int:
        """Forgets the oldest answers to requests, however young, about `limit` of them; how many
        rows (0: none are left). Several may do it at once."""
        ...

    async def close(self) -> None: ...
