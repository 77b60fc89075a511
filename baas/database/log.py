"""Commits in version order: as they happen, as the committer looks back on them, and as they are
read again from the engine's log."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat
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
PACKED_CHANGES_MIN = 16  # from which on the changes of a commit are kept packed
RECENT_BYTES_MAX = 8 * 1024 * 1024  # of documents; as Python objects they are several times that
_READ_RECORDS = 1_000

_log = structlog.get_logger("baas.log")


CommitEvent: TypeAlias = CommitRecord
"""One durable commit, as readers see it: each document occurs at most once; its entries, and what
belongs to its request, are not for them."""

Subscriber: TypeAlias = Callable[[CommitEvent], None]
Lost: TypeAlias = Callable[[], None]


class _Images:
    """Some documents, or none in some places, in one text and one row of numbers."""

    __slots__ = ("_data", "_numbers")

    def __init__(self, documents: Sequence[StoredDocument | None]) -> None:
        self._data = b"".join([one.data for one in documents if one is not None])
        self._numbers = array("q")  # created, version, length of each; one that is none has -1s
        for one in documents:
            self._numbers.extend(
                _NO_IMAGE if one is None else (one.created, one.version, len(one.data))
            )

    def unpack(self, paths: Sequence[DocumentPath]) -> Iterator[StoredDocument | None]:
        numbers = iter(self._numbers)
        start = 0
        for path, created, version, size in zip(paths, numbers, numbers, numbers, strict=True):
            if size < 0:
                yield None
                continue
            data = self._data[start : start + size]
            start += size
            yield StoredDocument(path, data, created, version)


_NO_IMAGE = (-1, -1, -1)


class _Packed:
    """A commit of many changes, in few objects: of those that are remembered one by one, ten for
    each document, making them and letting go of them long after costs a bulk write more than
    committing does. It is unpacked for who asks, which hardly anybody does."""

    __slots__ = ("_known", "_new", "_old", "_paths", "version")

    def __init__(self, event: CommitEvent) -> None:
        changes = event.changes
        self.version = event.version
        # No segment is empty, nor has a slash.
        self._paths = "//".join(["/".join(change.path.segments) for change in changes])
        self._new = _Images([change.new for change in changes])
        olds = [change.old for change in changes]
        self._old = None if olds.count(None) == len(olds) else _Images(olds)
        self._known: frozenset[str] | None = None

    def has_changed(self, paths: frozenset[str]) -> bool:
        """Whether one of the documents, given as text, is among those that changed."""
        known = self._known
        if known is None:
            known = self._known = frozenset(self._paths.split("//"))
        return not known.isdisjoint(paths)

    def unpack(self) -> CommitEvent:
        """The commit as it was told, without entries."""
        paths = [DocumentPath(tuple(text.split("/"))) for text in self._paths.split("//")]
        news = self._new.unpack(paths)
        olds = repeat(None, len(paths)) if self._old is None else self._old.unpack(paths)
        return CommitEvent(
            self.version,
            [
                Change(keys.document_key(path), path, old, new)
                for path, old, new in zip(paths, olds, news, strict=True)
            ],
        )


class RecentCommits:
    """The last commits in memory, for the question: was this changed since?

    Complete above `floor`; about what lies at or below it, nothing is known. Of what lies at or
    below `images_floor` there may be paths only.
    """

    def __init__(self, version: int) -> None:
        self.floor = version
        self.images_floor = version
        self._commits: deque[tuple[CommitEvent | _Packed, int, int]] = deque()  # changes, bytes
        self._bytes = 0
        self._changes = 0
        # By the path's segments, of commits that are not packed.
        self._changed: dict[tuple[str, ...], int] = {}
        self._packed: deque[_Packed] = deque()

    def add(self, event: CommitEvent) -> None:
        """To be called once subscribers have heard of it: what they decoded is let go of, for it is
        freed much faster while it is at hand than after thousands of commits."""
        size = 0
        event.response = b""  # it is written, and so are the entries, of which there may be many
        for change in event.changes:
            change.removed_entries = change.added_entries = ()
            new, old = change.new, change.old
            if new is not None:
                size += len(new.data)
                new.forget_fields()
            if old is not None:
                size += len(old.data)
                old.forget_fields()
        count = len(event.changes)
        if count >= PACKED_CHANGES_MIN:
            packed = _Packed(event)
            self._packed.append(packed)
            self._commits.append((packed, count, size))
        else:
            for change in event.changes:
                self._changed[change.path.segments] = event.version
            self._commits.append((event, count, size))
        self._bytes += size
        self._changes += count
        while (
            len(self._commits) > RECENT_COMMITS_MAX
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
        self._commits.clear()
        self._changed.clear()
        self._packed.clear()
        self._bytes = self._changes = 0
        self.floor = self.images_floor = version

    def has_changed(self, documents: Collection[tuple[str, ...]], version: int) -> bool:
        """Whether any of the documents, given by segments, is known to have changed above a
        version."""
        changed = self._changed
        if changed:
            for segments in documents:
                if changed.get(segments, 0) > version:
                    return True
        paths: frozenset[str] | None = None
        for packed in reversed(self._packed):
            if packed.version <= version:
                break
            if paths is None:
                paths = frozenset(["/".join(segments) for segments in documents])
            if packed.has_changed(paths):
                return True
        return False

    def since(self, version: int) -> Iterator[CommitEvent]:
        """Commits above `version`, latest first."""
        for commit, _, _ in reversed(self._commits):
            if commit.version <= version:
                return
            yield commit.unpack() if isinstance(commit, _Packed) else commit

    def _forget_oldest(self) -> None:
        commit, count, size = self._commits.popleft()
        self._bytes -= size
        self._changes -= count
        self.floor = commit.version
        if isinstance(commit, _Packed):
            self._packed.popleft()
            return
        for change in commit.changes:
            segments = change.path.segments
            if self._changed.get(segments) == commit.version:
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
