"""Commits in version order: as they happen, as the committer looks back on them, and as they are
read again from the engine's log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TypeAlias

import structlog

from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import OutOfRange, ResumeTokenExpired
from baas.model.paths import DocumentPath
from baas.storage.engine import Change, CommitRecord, LogRecord, Snapshot

RECENT_COMMITS_MAX = 4_096
RECENT_CHANGES_MAX = 20_000  # small documents are mostly the objects around them: 2-3 KiB each
RECENT_BYTES_MAX = 8 * 1024 * 1024  # of documents; as Python objects they are several times that
_READ_RECORDS = 1_000

_log = structlog.get_logger("baas.log")


CommitEvent: TypeAlias = CommitRecord
"""One durable commit, as readers see it: each document occurs at most once; its entries, and what
belongs to its request, are not for them."""

Subscriber: TypeAlias = Callable[[CommitEvent], None]
Lost: TypeAlias = Callable[[], None]


class RecentCommits:
    """The last commits in memory, for the question: was this changed since?

    Complete above `floor`; about what lies at or below it, nothing is known. Of what lies at or
    below `images_floor` there may be paths only.
    """

    def __init__(self, version: int) -> None:
        self.floor = version
        self.images_floor = version
        self._events: deque[tuple[CommitEvent, int]] = deque()
        self._bytes = 0
        self._changes = 0
        self._changed: dict[tuple[str, ...], int] = {}  # by the path's segments

    def add(self, event: CommitEvent) -> None:
        """To be called once subscribers have heard of it: what they decoded is let go of, for it is
        freed much faster while it is at hand than after thousands of commits."""
        size = 0
        changed = self._changed
        version = event.version
        event.response = b""  # it is written, and so are the entries, of which there may be many
        for change in event.changes:
            changed[change.path.segments] = version
            change.removed_entries = change.added_entries = ()
            new, old = change.new, change.old
            if new is not None:
                size += len(new.data)
                new.forget_fields()
            if old is not None:
                size += len(old.data)
                old.forget_fields()
        self._events.append((event, size))
        self._bytes += size
        self._changes += len(event.changes)
        while (
            len(self._events) > RECENT_COMMITS_MAX
            or self._bytes > RECENT_BYTES_MAX
            or self._changes > RECENT_CHANGES_MAX
        ):
            self._forget_oldest()

    def add_paths(self, records: Sequence[LogRecord]) -> None:
        """Commits of which no more is known than what they changed."""
        for version, members in groupby(records, key=attrgetter("version")):
            self.add(CommitEvent(version, [Change(b"", one.path, None, None) for one in members]))
            self.images_floor = version

    def forget_all(self, version: int) -> None:
        """Others may have committed up to `version`: nothing is known before it."""
        self._events.clear()
        self._changed.clear()
        self._bytes = self._changes = 0
        self.floor = self.images_floor = version

    def has_changed(self, documents: Iterable[tuple[str, ...]], version: int) -> bool:
        """Whether any of the documents, given by segments, is known to have changed above a
        version."""
        changed = self._changed
        for segments in documents:  # noqa: SIM110 (half of a generator's cost)
            if changed.get(segments, 0) > version:
                return True
        return False

    def since(self, version: int) -> Iterator[CommitEvent]:
        """Commits above `version`, latest first."""
        for event, _ in reversed(self._events):
            if event.version <= version:
                return
            yield event

    def _forget_oldest(self) -> None:
        event, size = self._events.popleft()
        self._bytes -= size
        self._changes -= len(event.changes)
        self.floor = event.version
        for change in event.changes:
            segments = change.path.segments
            if self._changed.get(segments) == event.version:
                del self._changed[segments]


class CommitFeed:
    """Tells subscribers of every commit, in version order, from the loop, right after the commit
    point and before whoever committed gets the answer."""

    def __init__(self) -> None:
        self._subscribers: dict[object, _Subscription] = {}
        self._told: tuple[_Subscription, ...] = ()  # the same, as it is now

    def subscribe(
        self,
        subscriber: Subscriber,
        *,
        keep_open: bool,
        on_lost: Lost | None = None,
        on_late: Lost | None = None,
        is_listening: Callable[[], bool] = lambda: True,
    ) -> Callable[[], None]:
        """Calls `subscriber` with every commit from now on, in version order, on the event loop,
        after it is durable and before whoever committed gets the answer. It must be quick and not
        raise. Gives back what ends it.

        `on_lost` is called when commits were, or will be, missed: when this node was away for
        longer than the log reaches back, and at the end where other nodes go on committing.
        `on_late` is called, again and again, while other nodes may have committed a second or two
        ago, and the store does not tell what. While nobody `is_listening`, the events of what
        other nodes committed may lack their changes, unless one is of a reserved collection.
        """
        place = object()
        self._subscribers[place] = _Subscription(
            subscriber, keep_open, on_lost, on_late, is_listening
        )
        self._told = tuple(self._subscribers.values())

        def unsubscribe() -> None:
            self._subscribers.pop(place, None)
            self._told = tuple(self._subscribers.values())

        return unsubscribe

    @property
    def keeps_open(self) -> bool:
        return any(one.keep_open for one in self._told)

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants to know what others changed."""
        return any(one.is_listening() for one in self._told)

    def publish(self, event: CommitEvent) -> None:
        """A subscriber that raises is a defect: it is logged, hinders nobody, and has missed the
        commit, which it is told."""
        for one in self._told:
            try:
                one.subscriber(event)
            except Exception:
                _log.exception("a subscriber to commits failed", version=event.version)
                _tell(one.on_lost)

    def lose(self) -> None:
        """Tells subscribers that commits happened, or may from now on, of which they hear nothing:
        what they keep in memory can't be trusted."""
        for one in self._told:
            _tell(one.on_lost)

    def be_late(self) -> None:
        """Tells subscribers that commits of others may have happened a while ago, and cannot be
        read now."""
        for one in self._told:
            _tell(one.on_late)


@dataclass(frozen=True, slots=True)
class _Subscription:
    subscriber: Subscriber
    keep_open: bool
    on_lost: Lost | None
    on_late: Lost | None
    is_listening: Callable[[], bool]


def _tell(told: Lost | None) -> None:
    if told is not None:
        try:
            told()
        except Exception:
            _log.exception("a subscriber to commits failed")


async def read_touched(
    snapshot: Snapshot, after: int, oldest: int, *, limit: int
) -> list[DocumentPath]:
    """The documents that commits above version `after` have touched, each once, in the order of
    the first time. Raises ResumeTokenExpired if the log does not reach back, OutOfRange
    (`TooFarBack`) if there are more than `limit` records."""
    check_resumable(after, oldest)
    found: dict[DocumentPath, None] = {}
    position, count = after, 0
    while records := await snapshot.read_log(position, limit=_READ_RECORDS):
        count += len(records)
        if count > limit:
            raise OutOfRange(
                f"more than {limit} changes were made since version {after}", reason="TooFarBack"
            )
        found.update(dict.fromkeys(record.path for record in records))
        position = records[-1].version
    return list(found)


async def read_net_changes(snapshot: Snapshot, after: int, oldest: int) -> list[Change]:
    """What differs between version `after` and the snapshot: one change per document, with its
    images then and now, in key order. A document that was created and deleted meanwhile is left
    out. Raises ResumeTokenExpired if the log does not reach back."""
    check_resumable(after, oldest)
    paths: dict[bytes, DocumentPath] = {}
    position = after
    while records := await snapshot.read_log(position, limit=_READ_RECORDS):
        for record in records:
            paths[keys.document_key(record.path)] = record.path
        position = records[-1].version
    ordered = sorted(paths)
    before = await snapshot.get_documents_at(ordered, after)
    _check_kept(before)
    now = await snapshot.get_documents(ordered)
    return [
        Change(key, paths[key], old, new)
        for key, old, new in zip(ordered, before, now, strict=True)
        if old is not None or new is not None
    ]


async def read_commits(
    snapshot: Snapshot, after: int, oldest: int, *, limit: int
) -> list[CommitEvent]:
    """Commits above version `after` that the snapshot holds, each whole, with at most about `limit`
    changes in all; empty when there are none. Raises ResumeTokenExpired if the log does not reach
    back."""
    check_resumable(after, oldest)
    records = await snapshot.read_log(after, limit=limit)
    named = [keys.document_key(record.path) for record in records]
    wanted = [
        (key, version)
        for key, record in zip(named, records, strict=True)
        for version in (record.version - 1, record.version)
    ]
    images = await snapshot.get_images(wanted) if wanted else []
    _check_kept(images)
    changes = [
        (record.version, Change(key, record.path, images[2 * place], images[2 * place + 1]))
        for place, (key, record) in enumerate(zip(named, records, strict=True))
    ]
    return [
        CommitEvent(version, tuple([change for _, change in members]))
        for version, members in groupby(changes, key=itemgetter(0))
    ]


def _check_kept(images: Iterable[StoredDocument | None]) -> None:
    """Raises ResumeTokenExpired: what was erased cannot be told, nor be taken for missing."""
    if any(image is not None and image.is_erased for image in images):
        raise ResumeTokenExpired("a document of that time was erased", reason="Erased")


def check_resumable(after: int, oldest: int) -> None:
    if after < oldest:
        raise ResumeTokenExpired(f"version {after} is older than what is kept, from {oldest} on")
