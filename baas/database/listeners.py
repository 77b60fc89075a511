"""Listeners of one database: targets whose answers are followed commit by commit.

    listen ──> view (one for all equal targets) ──> load from one snapshot ──> live
                                                       ^                         │ window ran short
                                                       └──────── reload ─────────┘

Every commit is given to `on_commit`, in version order, once it is durable. A view that is loading
keeps the commits that concern it and drops those that its snapshot has already: nothing is lost
between the first answer and the feed, and nothing comes twice.

What a listener gets, through one callback that must neither wait nor raise, are `Update`s. Each
leads to the target's answer at its version; versions strictly increase. Deliveries of one commit
happen in one go, after everybody who watches a document of it (see `watch`) has been told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import structlog

from baas.database.executor import QueryExecutor
from baas.database.indexes import Indexes
from baas.database.log import CommitEvent, CommitFeed
from baas.database.matcher import QueryMatcher
from baas.database.presentation import present, presents_as_stored
from baas.database.views import (
    ChangeKind,
    DocumentChange,
    DocumentsView,
    QueryView,
    View,
)
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, DataLoss, Internal, Unavailable
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.storage.engine import (
    Change,
    EngineCorrupt,
    EngineUnavailable,
    Snapshot,
    StorageEngine,
    StorageError,
)

RESUME_RECORDS_MAX = 5_000  # log records that a resumption may read; a full answer is cheaper then
RESUME_ATTEMPTS = 3
RELOAD_ATTEMPTS = 5
_LOG_PAGE = 1_000
_log = structlog.get_logger("baas.listeners")


@dataclass(frozen=True, slots=True)
class DocumentsTarget:
    """Documents by path; the answer lists those that exist, in this order."""

    paths: tuple[DocumentPath, ...]


@dataclass(frozen=True, slots=True)
class QueryTarget:
    """The answer of a checked query."""

    query: Query


Target: TypeAlias = DocumentsTarget | QueryTarget


class Encoded:
    """Where a face keeps its form of some changes, made once for all receivers."""

    __slots__ = ("size_bytes", "value")

    def __init__(self) -> None:
        self.size_bytes = -1
        self.value: Any = None


@dataclass(frozen=True, slots=True)
class Update:
    """Changes that lead to the target's answer at `version`, of `count` documents. `reset`: they
    lead there from nothing, whatever was known before."""

    version: int
    changes: Sequence[DocumentChange]
    count: int
    reset: bool = False
    encoded: Encoded = field(default_factory=Encoded, compare=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """About how much there is to send."""
        encoded = self.encoded
        if encoded.size_bytes < 0:
            encoded.size_bytes = sum([len(item.document.data) + 200 for item in self.changes])
        return encoded.size_bytes


Deliver: TypeAlias = Callable[[Update], None]
Fail: TypeAlias = Callable[[BaasError], None]
CatchUp: TypeAlias = Callable[[], Awaitable[None]]
# Of what runs queries on a snapshot that was opened after the generation was read.
MakeExecutor: TypeAlias = Callable[[Snapshot, int], QueryExecutor]


def target_key(target: Target) -> str:
    """The same text for equal targets, and for no others."""
    # The text of a query is made of all its parts, values with their types.
    return repr(target)


class Subscription:
    """One listener of one target, until `close`."""

    __slots__ = ("_deliver", "_fail", "_shared", "is_closed", "version")

    def __init__(self, shared: _Shared, deliver: Deliver, fail: Fail) -> None:
        self._shared = shared
        self._deliver = deliver
        self._fail = fail
        self.version = -1  # of the last update that was delivered
        self.is_closed = False

    @property
    def count(self) -> int:
        """How many documents the target's answer has now."""
        return self._shared.view.count

    def close(self) -> None:
        """Nothing is delivered from now on. May be called twice."""
        if not self.is_closed:
            self.is_closed = True
            self._shared.leave(self)

    async def full_update(self) -> Update:
        """The whole answer as it stands, for a listener that missed updates; later ones follow.
        Raises what ended the subscription."""
        await self._shared.wait_loaded()
        update = self._shared.full_update()
        self.version = update.version
        return replace(update, reset=True)

    def progress(self) -> Update | None:
        """An update without changes, if the database has gone on and the answer has not."""
        version = self._shared.version
        if version <= self.version or not self._shared.is_live:
            return None
        self.version = version
        return Update(version, (), self._shared.view.count)

    def _offer(self, update: Update) -> None:
        if update.version > self.version and not self.is_closed:
            self.version = update.version
            self._deliver(update)

    def _end(self, error: BaasError) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._fail(error)


class Listeners:
    """All targets of one database. Belongs to one event loop.

    `on_commit` is to be called for every commit from version `version` + 1 on. Where other nodes
    commit too, `catch_up` returns once it has been called for all that they had committed.
    """

    def __init__(
        self,
        engine: StorageEngine,
        indexes: Indexes,
        *,
        version: int,
        make_executor: MakeExecutor,
        catch_up: CatchUp | None = None,
    ) -> None:
        self.version = version
        self._catch_up = catch_up
        self._engine = engine
        self._indexes = indexes
        self._make_executor = make_executor
        self._images: WeakValueDictionary[str, StoredDocument] = WeakValueDictionary()
        self._shared: dict[Hashable, _Shared] = {}
        self._queries: QueryMatcher[_Shared] = QueryMatcher()
        self._by_path: dict[DocumentPath, set[_Shared]] = {}
        self._watches: dict[DocumentPath, set[Watch]] = {}

    @property
    def target_count(self) -> int:
        """Distinct targets."""
        return len(self._shared)

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens or watches."""
        return not self._shared and not self._watches

    async def listen(
        self, target: Target, deliver: Deliver, fail: Fail, *, resume_from: int | None = None
    ) -> Subscription:
        """Starts listening. The first update is delivered before this returns: the changes since
        version `resume_from` if the log still tells them, else the whole answer with `reset`.
        `fail` is called at most once, and ends the subscription. Raises Unavailable or DataLoss.
        """
        key = target_key(target)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._share(key, target)
        subscription = Subscription(shared, deliver, fail)
        shared.join(subscription)
        try:
            if self._catch_up is not None and shared.is_live:
                # Others may have committed what this listener knows of already.
                await self._catch_up()
            await shared.wait_loaded()
            first = None
            if resume_from is not None:
                first = await self._resume(shared, resume_from)
            await shared.wait_loaded()
            if first is None:
                first = replace(shared.full_update(), reset=resume_from is not None)
            subscription._offer(first)
        except BaseException as error:
            subscription.close()
            if isinstance(error, StorageError):
                raise _as_baas_error(error) from error
            raise
        return subscription

    def watch(self, paths: Iterable[DocumentPath], notify: Callable[[int], None]) -> Watch:
        """Calls `notify` with the version of every commit that changes one of the documents, before
        that commit's updates are delivered."""
        watch = Watch(self, frozenset(paths), notify)
        for path in watch.paths:
            self._watches.setdefault(path, set()).add(watch)
        return watch

    def follow(self, feed: CommitFeed, read_version: Callable[[], int]) -> None:
        """Hears of all commits from now on; `read_version` gives the last one's version."""
        feed.subscribe(
            self.on_commit,
            keep_open=False,
            on_lost=lambda: self.lose(read_version()),
            is_listening=lambda: not self.is_idle,
        )

    def on_commit(self, event: CommitEvent) -> None:
        """Tells watches, then listeners. Does not wait. If it raises, `lose` has to be called."""
        if self._watches:
            self._notify(event)
        if self._shared:
            touched: dict[_Shared, list[Change]] = {}
            for change in event.changes:
                for shared in self._concerned(change):
                    touched.setdefault(shared, []).append(change)
            self.version = event.version
            for shared, changes in touched.items():
                shared.follow(event.version, changes)
        self.version = event.version

    def lose(self, version: int) -> None:
        """Commits up to `version` were missed: everything is read again, and every listener gets
        the whole answer."""
        self.version = version
        for watch in {watch for watches in self._watches.values() for watch in watches}:
            watch.notify(version)
        for shared in list(self._shared.values()):
            shared.lose()

    async def wait_followed(self, version: int) -> None:
        """Returns when commits up to `version` have been told. Where others commit, a snapshot may
        be ahead of that; and who watches a document has to hear of its change before anybody is
        given what was read after it."""
        while self._catch_up is not None and self.version < version:
            try:
                await self._catch_up()
            except BaasError as error:
                raise EngineUnavailable(error.message) from error

    def close(self, error: BaasError) -> None:
        """Ends every subscription with the error."""
        for shared in list(self._shared.values()):
            shared.fail(error)

    def _notify(self, event: CommitEvent) -> None:
        notified = {
            watch for change in event.changes for watch in self._watches.get(change.path, ())
        }
        for watch in notified:
            watch.notify(event.version)

    def _concerned(self, change: Change) -> set[_Shared]:
        found = set(self._by_path.get(change.path, ()))
        for image in (change.old, change.new):
            if image is not None:
                found.update(self._queries.find(image))
        return found

    def _unwatch(self, watch: Watch) -> None:
        for path in watch.paths:
            watches = self._watches.get(path)
            if watches is not None:
                watches.discard(watch)
                if not watches:
                    del self._watches[path]

    # Shared targets -------------------------------------------------------------------------------

    def _share(self, key: Hashable, target: Target) -> _Shared:
        shared = _Shared(self, key, target)
        self._shared[key] = shared
        # From here on every commit that concerns the target is kept for it.
        if isinstance(target, QueryTarget):
            self._queries.add(target.query, shared)
        else:
            for path in target.paths:
                self._by_path.setdefault(path, set()).add(shared)
        shared.start()
        return shared

    def _unshare(self, shared: _Shared) -> None:
        if self._shared.get(shared.key) is not shared:
            return
        del self._shared[shared.key]
        target = shared.target
        if isinstance(target, QueryTarget):
            self._queries.remove(target.query, shared)
            return
        for path in set(target.paths):
            self._by_path[path].discard(shared)
            if not self._by_path[path]:
                del self._by_path[path]

    async def _read(self, view: View) -> tuple[int, list[StoredDocument], bool]:
        """What a view is loaded with, as of the latest version: (version, documents, complete)."""
        generation = self._indexes.generation
        snapshot = await self._engine.open_snapshot()
        try:
            # Before a plan is made, too: it must not rest on an index that was dropped meanwhile.
            await self.wait_followed(snapshot.version)
            if isinstance(view, QueryView):
                query = view.window_query
                executor = self._make_executor(snapshot, generation)
                documents: list[StoredDocument] = []
                async for batch in executor.stream(query):
                    documents += map(self._shared_image, batch)
                is_complete = query.limit is None or len(documents) < query.limit
                return snapshot.version, documents, is_complete
            assert isinstance(view, DocumentsView)
            found = await snapshot.get_documents([keys.document_key(path) for path in view.places])
            there = [self._shared_image(document) for document in found if document is not None]
            return snapshot.version, there, True
        finally:
            await snapshot.close()

    def _shared_image(self, document: StoredDocument) -> StoredDocument:
        """The same one for all views that hold it, with what was decoded of it: targets that differ
        by little hold the same documents."""
        if type(document) is not StoredDocument:
            return document
        known = self._images.get(document.name)
        if known is None or known.version != document.version:
            known = self._images[document.name] = document
        return known

    # Resuming -------------------------------------------------------------------------------------

    async def _resume(self, shared: _Shared, version: int) -> Update | None:
        """The changes since `version`; None if they cannot be told, or the whole is smaller."""
        for _ in range(RESUME_ATTEMPTS):
            if version > shared.version:
                return None
            snapshot = await self._engine.open_snapshot()
            try:
                # Read after the snapshot was opened, which reaches back at least as far.
                if await self._engine.read_oldest_version() > version:
                    return None
                touched = await self._touched_since(snapshot, shared.view, version)
                if touched is None:
                    return None
                images = await snapshot.get_documents_at(
                    [keys.document_key(path) for path in touched], version
                )
                if any(image is not None and image.is_erased for image in images):
                    return None
            finally:
                await snapshot.close()
            # No waiting from here on. Changes that the view has already seen and the snapshot not
            # are missing among the touched ones; then all is read again.
            if shared.is_live and shared.changed_at <= snapshot.version:
                found = [image for image in images if image is not None]
                changes = shared.view.changes_since(touched, found)
                if changes is None:
                    return None
                presented = shared.present(changes)
                return Update(shared.version, presented, shared.view.count)
            await shared.wait_loaded()
        return None

    async def _touched_since(
        self, snapshot: Snapshot, view: View, version: int
    ) -> list[DocumentPath] | None:
        found: dict[DocumentPath, None] = {}
        read = 0
        while read <= RESUME_RECORDS_MAX:
            records = await snapshot.read_log(version, limit=_LOG_PAGE)
            if not records:
                return list(found)
            for record in records:
                if view.may_hold(record.path):
                    found[record.path] = None
            version = records[-1].version
            read += len(records)
        return None


class Watch:
    """See `Listeners.watch`."""

    __slots__ = ("_listeners", "notify", "paths")

    def __init__(
        self,
        listeners: Listeners,
        paths: frozenset[DocumentPath],
        notify: Callable[[int], None],
    ) -> None:
        self._listeners = listeners
        self.paths = paths
        self.notify = notify

    def close(self) -> None:
        """Nothing is notified from now on. May be called twice."""
        self._listeners._unwatch(self)


class _Shared:
    """One view with all who listen to it."""

    def __init__(self, listeners: Listeners, key: Hashable, target: Target) -> None:
        self.key = key
        self.target = target
        self.view: View
        if isinstance(target, QueryTarget):
            self.view = QueryView(target.query)
            self._presented = None if presents_as_stored(target.query) else target.query
        else:
            self.view = DocumentsView(target.paths)
            self._presented = None
        self.changed_at = -1  # the version at which the answer last may have changed
        self.is_live = False
        self._listeners = listeners
        self._subscriptions: set[Subscription] = set()
        self._pending: list[tuple[int, list[Change]]] = []
        self._is_lost = False  # what the view shows cannot be trusted
        self._full: Update | None = None
        self._error: BaasError | None = None
        self._live = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def version(self) -> int:
        """The latest version at which the view is known to be right."""
        if self.is_live:
            return max(self.changed_at, self._listeners.version)
        return self.changed_at

    def start(self) -> None:
        """Loads, or loads again."""
        self.is_live = False
        self._live.clear()
        self._task = asyncio.create_task(self._load(), name="load of a listen target")

    async def wait_loaded(self) -> None:
        """Returns once the view is live. Raises what made loading fail."""
        while not self.is_live:
            if self._error is not None:
                raise self._error
            await self._live.wait()

    def join(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._listeners._unshare(self)
            if self._task is not None:
                self._task.cancel()

    def fail(self, error: BaasError) -> None:
        """Ends every subscription with the error; the next listener starts anew."""
        self._error = error
        self.is_live = False
        self._live.set()
        if self._task is not None:
            self._task.cancel()
        self._listeners._unshare(self)
        subscriptions, self._subscriptions = self._subscriptions, set()
        for subscription in subscriptions:
            # Those that still wait for their first update are told by what they wait for.
            if subscription.version >= 0:
                subscription._end(error)

    def lose(self) -> None:
        """Commits were missed: what the view shows cannot be trusted."""
        if self._task is not None:
            self._task.cancel()
        self._pending.clear()
        self._is_lost = self._is_lost or self.changed_at >= 0
        self.start()

    def follow(self, version: int, changes: list[Change]) -> None:
        """One commit, which may concern the target."""
        if not self.is_live:
            self._pending.append((version, changes))
            return
        if version <= self.changed_at:
            return  # the view was loaded from a snapshot that is ahead of the feed
        try:
            made = self.view.apply(changes)
        except Exception:
            _log.exception("a listen target lost its place and is loaded again")
            self._is_lost = True
            self.start()
            return
        if self.view.is_short:
            self.start()
        else:
            self._publish(version, made)

    def full_update(self) -> Update:
        """The whole answer as it stands; shared by all who ask before it changes."""
        if self._full is None:
            changes = [
                DocumentChange(ChangeKind.ADDED, -1, index, document)
                for index, document in enumerate(self.view.shown)
            ]
            self._full = Update(self.version, self.present(changes), len(changes))
        return replace(self._full, version=self.version)

    def present(self, changes: Sequence[DocumentChange]) -> Sequence[DocumentChange]:
        """The changes, with their documents as the query tells them."""
        query = self._presented
        if query is None:
            return changes
        # What is removed is only named, and may be no document of the answer any more.
        return [
            item if item.new_index < 0 else replace(item, document=present(query, item.document))
            for item in changes
        ]

    def _publish(self, version: int, changes: Sequence[DocumentChange]) -> None:
        self.changed_at = version
        if not changes:
            return
        self._full = None
        self._offer(Update(version, self.present(changes), self.view.count))

    def _offer(self, update: Update) -> None:
        for subscription in tuple(self._subscriptions):
            # Those at -1 wait for their first update, which will hold this one.
            if subscription.version >= 0:
                subscription._offer(update)

    async def _load(self) -> None:
        is_first = self.changed_at < 0
        for attempt in range(RELOAD_ATTEMPTS):
            try:
                version, documents, is_complete = await self._listeners._read(self.view)
                break
            except StorageError as error:
                if is_first or attempt + 1 == RELOAD_ATTEMPTS:
                    self.fail(_as_baas_error(error))
                    return
                await asyncio.sleep(0.05 * 2**attempt)
            except BaasError as error:
                self.fail(error)
                return
            except Exception:
                _log.exception("a listen target could not be loaded")
                self.fail(Internal("internal error"))
                return
        try:
            self._become_live(version, documents, is_complete, is_first)
        except Exception:
            _log.exception("a listen target could not be loaded")
            self.fail(Internal("internal error"))

    def _become_live(
        self, version: int, documents: list[StoredDocument], is_complete: bool, is_first: bool
    ) -> None:
        self.is_live = True
        self._task = None
        if is_first or self._is_lost:
            self.view.load(documents, is_complete=is_complete)
            self.changed_at = version
            self._full = None
            if self._is_lost:
                self._is_lost = False
                self._offer(replace(self.full_update(), version=version, reset=True))
        else:
            self._publish(version, self.view.reload(documents, is_complete=is_complete))
        pending, self._pending = self._pending, []
        for number, (at, changes) in enumerate(pending):
            if at <= version:
                continue
            self.follow(at, changes)
            if not self.is_live:
                self._pending = pending[number + 1 :] + self._pending
                return
        self._live.set()


def statistics(listeners: Listeners) -> dict[str, int]:
    """Numbers for people: distinct targets, and how many listen to them."""
    sizes = Counter({key: len(item._subscriptions) for key, item in listeners._shared.items()})
    return {"targets": len(sizes), "subscriptions": sizes.total()}


def _as_baas_error(error: StorageError) -> BaasError:
    if isinstance(error, EngineCorrupt):
        return DataLoss("stored data cannot be read")
    return Unavailable("the database cannot be read now")
