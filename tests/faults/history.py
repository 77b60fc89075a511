"""A history of what concurrent clients did and saw, and the check that one order explains it all.

    record: History.commit / .read / .query, each with the moments of its call and of its answer
    finish: Witness documents (one per commit, see `witness_write`) read at the very end
    check:  check_history(history, witnesses) -> Verdict; `verdict.violations` has to be empty

What is held to be true of every history, whatever broke while it was made:

- Commits, replayed with `model.apply_write` in the order of their versions, are possible: every
  precondition holds and every transform gives what its client was told.
- An acknowledged commit is there, once, at the version that was told; a refused one is not there,
  and there was a moment during the call at which it had to be refused; one with an unknown outcome
  is there once or not at all.
- Every read and query that tells its version equals the replay at that version; one that does not
  tell equals the replay at some version that was current during the call.
- What a transaction in the server read (`based_on`) equals the replay just before its own commit.
- Real time: whatever began after another's answer is not below its version, and a commit is above.

Times are of one clock that all clients share (`time.monotonic_ns`: one machine, any processes).
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from baas.encoding.documents import decode_fields, encode_fields
from baas.errors import BaasError
from baas.model.documents import Document
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.query_matching import matches
from baas.model.query_order import document_order
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value
from baas.model.writes import FieldTransform, Increment, SetWrite, VerifyWrite, Write, apply_write
from baas.settings import Limits

WITNESSES = "witnesses"  # the collection that tells which commits have happened
NEVER = 1 << 62
_LIMITS = Limits()
_COUNT = FieldPath(("count",))


@dataclass(frozen=True, slots=True)
class Image:
    """A document as a client saw it. `data` is its canonical form; versions are microseconds."""

    path: str
    data: bytes
    created: int
    updated: int

    @classmethod
    def of(cls, path: str, fields: Fields, created: int, updated: int) -> Image:
        return cls(path, encode_fields(fields), created, updated)

    def decode(self) -> Document:
        return Document(
            DocumentPath.parse(self.path),
            decode_fields(self.data),
            Timestamp(self.created),
            Timestamp(self.updated),
        )


@dataclass(slots=True)
class Read:
    """Documents by path, None for missing ones; `version` None if the answer did not tell."""

    client: str
    found: Mapping[str, Image | None]
    version: int | None
    invoked: int = 0
    responded: int = 0


@dataclass(slots=True)
class QueryRead:
    """A query's whole answer, in its order. `count` instead of documents for a count."""

    client: str
    query: Query
    found: Sequence[Image] | None
    version: int
    count: int | None = None
    invoked: int = 0
    responded: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`transform_results` of each write, or None where they were not told."""

    version: int
    transform_results: Sequence[Sequence[Value]] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said that nothing was written. `error` is the name of the error's class where it
    was for a precondition, and then has to be explained; "" for an abort or a full queue."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or one that leaves it open."""


Outcome = Acknowledged | Refused | Unknown


@dataclass(slots=True)
class Commit:
    """`name` is its witness's. `based_on` is what the server's transaction read for it."""

    client: str
    name: str
    writes: Sequence[Write]
    outcome: Outcome
    based_on: Sequence[Read | QueryRead] = ()
    invoked: int = 0
    responded: int = 0


def now() -> int:
    """The clock of histories."""
    return time.monotonic_ns()


def witness_write(name: str) -> SetWrite:
    """Goes with every commit of a history: it counts how often the commit has happened."""
    return SetWrite(
        DocumentPath((WITNESSES, name)),
        {},
        mask=(),
        transforms=(FieldTransform(_COUNT, Increment(1)),),
    )


@dataclass(slots=True)
class History:
    """What was done and seen, in no particular order. Merge those of several processes by adding
    their lists."""

    commits: list[Commit] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    queries: list[QueryRead] = field(default_factory=list)
    base: list[Image] = field(default_factory=list)  # what was there before the first operation

    def describe(self) -> str:
        kinds = Counter(type(commit.outcome).__name__.lower() for commit in self.commits)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return (
            f"{len(self.commits)} commits ({told}), {len(self.reads)} reads, "
            f"{len(self.queries)} queries"
        )


@dataclass(slots=True)
class Verdict:
    """`resolved` counts the unknown outcomes that turned out to have happened."""

    violations: list[str] = field(default_factory=list)
    happened: int = 0
    resolved: int = 0
    checked_reads: int = 0


def check_history(history: History, witnesses: Iterable[Image]) -> Verdict:
    """`witnesses` is the whole collection WITNESSES, read after the last operation has ended."""
    verdict = Verdict()
    placed = _place_commits(history, witnesses, verdict)
    replay = _Replay(history.base)
    by_version = {version: commit for commit, version in placed}
    for version in sorted(by_version):
        replay.apply(by_version[version], version, verdict)
    order = _RealTime(placed, history)
    order.check(verdict)
    for read in history.reads:
        _check_read(read, replay, order, verdict)
    for query in history.queries:
        _check_query(query, query.version, replay, verdict)
    for commit in history.commits:
        if isinstance(commit.outcome, Refused) and commit.outcome.error:
            _check_refusal(commit, commit.outcome.error, replay, order, verdict)
    return verdict


def _place_commits(
    history: History, witnesses: Iterable[Image], verdict: Verdict
) -> list[tuple[Commit, int]]:
    """The commits that happened, each with its version."""
    seen = {image.path.rpartition("/")[2]: image for image in witnesses}
    placed: list[tuple[Commit, int]] = []
    for commit in history.commits:
        image = seen.pop(commit.name, None)
        outcome = commit.outcome
        if image is None:
            if isinstance(outcome, Acknowledged):
                verdict.violations.append(f"lost: acknowledged {_name(commit)}")
            continue
        if image.data != b'{"count":1}' or image.created != image.updated:
            verdict.violations.append(f"doubled: {_name(commit)} has left {image}")
        if isinstance(outcome, Refused):
            verdict.violations.append(f"refused and yet there: {_name(commit)}")
        if isinstance(outcome, Acknowledged) and outcome.version != image.created:
            verdict.violations.append(f"moved: {_name(commit)} is at {image.created}")
        if isinstance(outcome, Unknown):
            verdict.resolved += 1
        placed.append((commit, image.created))
    verdict.violations += [f"nobody's: witness {name}" for name in seen]
    verdict.happened = len(placed)
    versions = Counter(version for _, version in placed)
    shared = [str(version) for version, count in versions.items() if count > 1]
    verdict.violations += [f"two commits share version {version}" for version in shared]
    return placed


class _Replay:
    """Every document at every version."""

    def __init__(self, base: Iterable[Image]) -> None:
        self._versions: dict[DocumentPath, list[int]] = {}
        self._images: dict[DocumentPath, list[Document | None]] = {}
        self._collections: dict[CollectionPath, list[DocumentPath]] = {}
        for image in base:
            document = image.decode()
            self._put(document.path, image.updated, document)

    def apply(self, commit: Commit, version: int, verdict: Verdict) -> None:
        """Adds a commit above all that are there; what could not have happened is a violation."""
        for basis in commit.based_on:
            if isinstance(basis, QueryRead):
                _check_query(basis, version - 1, self, verdict, of=_name(commit))
            else:
                for path, found in basis.found.items():
                    _compare(
                        f"{_name(commit)} read", path, found, self.get(path, version - 1), verdict
                    )
        told = (
            commit.outcome.transform_results if isinstance(commit.outcome, Acknowledged) else None
        )
        drafts = _Drafts(self, version)
        try:
            for place, write in enumerate(commit.writes):
                results = drafts.apply(write)
                if told is not None and list(told[place]) != list(results):
                    verdict.violations.append(
                        f"wrong result: {_name(commit)} was told {told[place]}, "
                        f"the replay gives {results}"
                    )
        except BaasError as error:
            verdict.violations.append(f"impossible: {_name(commit)} at {version}: {error}")
            return
        for changed, document in drafts.changed():
            self._put(changed, version, document)

    def get(self, path: DocumentPath | str, version: int) -> Document | None:
        """The document as of a version."""
        if isinstance(path, str):
            path = DocumentPath.parse(path)
        place = bisect_right(self._versions.get(path, ()), version)
        return self._images[path][place - 1] if place else None

    def answer(self, query: Query, version: int) -> list[Document]:
        """The query's whole answer as of a version."""
        paths: Iterable[DocumentPath] = self._versions
        if not query.all_descendants:
            paths = self._collections.get(query.collection, ())
        current = [self.get(path, version) for path in paths]
        found = [one for one in current if one is not None and matches(query, one)]
        found.sort(key=document_order(query))
        end = None if query.limit is None else query.offset + query.limit
        return found[query.offset : end]

    def changes(self, paths: Iterable[DocumentPath], low: int, high: int) -> list[int]:
        """`low`, and every version up to `high` at which one of the documents changed."""
        found = {low}
        for path in paths:
            versions = self._versions.get(path, [])
            found.update(versions[bisect_right(versions, low) : bisect_right(versions, high)])
        return sorted(found)

    def _put(self, path: DocumentPath, version: int, document: Document | None) -> None:
        if path not in self._versions:
            self._collections.setdefault(path.collection, []).append(path)
        self._versions.setdefault(path, []).append(version)
        self._images.setdefault(path, []).append(document)


class _Drafts:
    """What the writes of one commit make of the documents before its version."""

    def __init__(self, replay: _Replay, version: int) -> None:
        self._replay = replay
        self._version = version
        self._drafts: dict[DocumentPath, Fields | None] = {}

    def apply(self, write: Write) -> Sequence[Value]:
        """The results of the write's transforms. Raises what `apply_write` raises."""
        path, time = write.path, Timestamp(self._version)
        current = old = self._replay.get(path, self._version - 1)
        if path in self._drafts:
            fields = self._drafts[path]
            current = None if fields is None else self._made(path, fields, old, update=False)
        applied = apply_write(write, current, time, _LIMITS)
        if not isinstance(write, VerifyWrite):
            self._drafts[path] = applied.fields
        return applied.transform_results

    def changed(self) -> Iterator[tuple[DocumentPath, Document | None]]:
        """The documents that are not as they were: what is changed and changed back is."""
        for path, fields in self._drafts.items():
            old = self._replay.get(path, self._version - 1)
            if fields is None:
                if old is not None:
                    yield path, None
            elif old is None or encode_fields(fields) != encode_fields(old.fields):
                yield path, self._made(path, fields, old, update=True)

    def _made(
        self, path: DocumentPath, fields: Fields, old: Document | None, *, update: bool
    ) -> Document:
        time = Timestamp(self._version)
        created = time if old is None else old.create_time
        return Document(path, fields, created, time if old is None or update else old.update_time)


class _RealTime:
    """Which versions were current during a call."""

    def __init__(self, placed: Sequence[tuple[Commit, int]], history: History) -> None:
        self._placed = placed
        ended: list[tuple[int, int]] = []
        for commit, version in placed:
            if not isinstance(commit.outcome, Unknown):
                ended.append((commit.responded, version))
        self._seen: list[Read | QueryRead] = [*history.reads, *history.queries]
        ended += [(one.responded, one.version) for one in self._seen if one.version is not None]
        ended.sort()
        self._ends = [moment for moment, _ in ended]
        self._lows = _running_maximum([version for _, version in ended])
        begun = sorted((commit.invoked, version) for commit, version in placed)
        self._begins = [moment for moment, _ in begun]
        self._highs = _running_maximum([version for _, version in begun])

    def low(self, moment: int) -> int:
        """The highest version that somebody knew of before the moment."""
        place = bisect_left(self._ends, moment)
        return self._lows[place - 1] if place else 0

    def high(self, moment: int) -> int:
        """The highest version of a commit that had begun before the moment."""
        place = bisect_left(self._begins, moment)
        return self._highs[place - 1] if place else 0

    def check(self, verdict: Verdict) -> None:
        for commit, version in self._placed:
            if version <= self.low(commit.invoked):
                verdict.violations.append(
                    f"out of time: {_name(commit)} got version {version}, though "
                    f"{self.low(commit.invoked)} was known when it began"
                )
        for seen in self._seen:
            if seen.version is not None and seen.version < self.low(seen.invoked):
                verdict.violations.append(
                    f"stale: {seen.client} read version {seen.version}, though "
                    f"{self.low(seen.invoked)} was known when it began"
                )


def _running_maximum(versions: Sequence[int]) -> list[int]:
    highest = 0
    found: list[int] = []
    for version in versions:
        highest = max(highest, version)
        found.append(highest)
    return found


def _check_read(read: Read, replay: _Replay, order: _RealTime, verdict: Verdict) -> None:
    verdict.checked_reads += 1
    if read.version is not None:
        for path, image in read.found.items():
            told = f"{read.client} read at {read.version}"
            _compare(told, path, image, replay.get(path, read.version), verdict)
        return
    low, high = order.low(read.invoked), order.high(read.responded)
    candidates = replay.changes(map(DocumentPath.parse, read.found), low, high)
    if not any(
        all(_equals(image, replay.get(path, version)) for path, image in read.found.items())
        for version in candidates
    ):
        verdict.violations.append(
            f"never so: {read.client} read {dict(read.found)} between versions {low} and {high}"
        )


def _check_query(
    seen: QueryRead, version: int, replay: _Replay, verdict: Verdict, of: str = ""
) -> None:
    verdict.checked_reads += 1
    wanted = replay.answer(seen.query, version)
    who = of or seen.client
    if seen.found is None:
        if seen.count != len(wanted):
            verdict.violations.append(
                f"{who} counted {seen.count} at {version}, the replay has {len(wanted)}"
            )
        return
    if [image.path for image in seen.found] != [str(document.path) for document in wanted]:
        verdict.violations.append(
            f"{who} queried {seen.query} at {version} and got "
            f"{[image.path for image in seen.found]}, the replay gives "
            f"{[str(document.path) for document in wanted]}"
        )
        return
    for image, document in zip(seen.found, wanted, strict=True):
        _compare(f"{who} queried at {version}", image.path, image, document, verdict)


def _check_refusal(
    commit: Commit, error: str, replay: _Replay, order: _RealTime, verdict: Verdict
) -> None:
    low, high = order.low(commit.invoked), order.high(commit.responded)
    for version in replay.changes([write.path for write in commit.writes], low, high):
        if _refusal(commit.writes, replay, version) == error:
            return
    verdict.violations.append(
        f"refused for nothing: {_name(commit)} with {error} between versions {low} and {high}"
    )


def _refusal(writes: Sequence[Write], replay: _Replay, version: int) -> str:
    """The error that the writes meet as of a version; several writes to one document compose."""
    drafts = _Drafts(replay, version + 1)
    try:
        for write in writes:
            drafts.apply(write)
    except BaasError as error:
        return type(error).__name__
    return ""


def _compare(
    told: str, path: str, image: Image | None, document: Document | None, verdict: Verdict
) -> None:
    if not _equals(image, document):
        shown = None if document is None else (document.fields, document.update_time.microseconds)
        verdict.violations.append(f"{told} {path}: {image}, the replay has {shown}")


def _equals(image: Image | None, document: Document | None) -> bool:
    if image is None or document is None:
        return image is None and document is None
    return (
        image.updated == document.update_time.microseconds
        and image.created == document.create_time.microseconds
        and image.data == encode_fields(document.fields)
    )


def _name(commit: Commit) -> str:
    return f"{type(commit.outcome).__name__.lower()} commit {commit.name} of {commit.client}"
