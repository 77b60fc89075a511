"""How bytes are moved: uploads and downloads as generators that ask for each step, so that the
blocking and the asyncio client share them. No I/O here, and never more than one chunk in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from baas_sdk import _objects
from baas_sdk._flow import RetryPolicy
from baas_sdk._objects import BucketName, Described, ObjectInfo, Precondition
from baas_sdk._requests import Call, Head, Request
from baas_sdk.errors import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    SdkError,
    Unavailable,
)

T = TypeVar("T")
STALLS_MAX = 5


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far an upload or download is, as the `progress` callback hears it."""

    transferred: int
    """Bytes that have arrived; those of an upload are stored on the server for good."""
    total: int | None
    """Bytes in all, None as long as nobody knows."""
    upload: str | None = None
    """The id by which `resume_upload` goes on with this upload; None for what is sent at once."""

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None as long as the total is unknown."""
        if self.total is None:
            return None
        return self.transferred / self.total if self.total else 1.0


# --- what a flow asks for -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Asks to run a call: answered by its result."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Asks for so many bytes of the source, fewer only at its end, and to hash them."""

    size: int
    digest: Digest = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """Asks to tell the app."""

    progress: TransferProgress


@dataclass(frozen=True, slots=True)
class Open:
    """Asks to begin a download: answered by the Head of the answer that bytes will come from."""

    request: Request


@dataclass(frozen=True, slots=True)
class Next:
    """Asks for the next bytes of the download, empty at its end."""


@dataclass(frozen=True, slots=True)
class Write:
    """Asks to hash bytes and hand them over."""

    data: bytes = field(repr=False)
    digest: Digest | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Asks to wait, after so many failures in a row."""

    failures: int


Step: TypeAlias = Send | Read | Report | Open | Next | Write | Pause
Flow: TypeAlias = Generator[Step, Any, T]


# --- conditions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """The condition of a change as the app gave it: at most one of the two."""

    generation: int | None = None
    etag: str | None = None
    known: ObjectInfo | None = None  # may save asking which etag the generation has

    def __post_init__(self) -> None:
        if self.generation is not None and self.etag is not None:
            raise InvalidArgument("give `if_generation_match` or `if_etag_match`, not both")
        if self.generation is not None and (
            isinstance(self.generation, bool)
            or not isinstance(self.generation, int)
            or self.generation < 0
        ):
            raise InvalidArgument(
                "`if_generation_match` is a generation, or 0 for an object that must not exist,"
                f" not `{self.generation!r}`"
            )
        if self.etag is not None and (not isinstance(self.etag, str) or not self.etag):
            raise InvalidArgument(f"`if_etag_match` is an etag, not `{self.etag!r}`")


def condition(home: BucketName, name: str, wanted: Wanted) -> Flow[Precondition]:
    """The condition as the server checks it. Raises FailedPrecondition if it is known not to hold
    already."""
    if wanted.etag is not None:
        return Precondition(if_match=_quoted(wanted.etag))
    if wanted.generation is None:
        return _objects.ANY
    if wanted.generation == 0:
        return Precondition(must_be_missing=True)
    info = wanted.known
    if info is None or info.generation != wanted.generation:
        info = yield Send(_objects.find_metadata(home, name))
    if info is None or info.generation != wanted.generation:
        found = "it does not exist" if info is None else f"it is of generation {info.generation}"
        raise FailedPrecondition(
            f"`{name}` is not of generation {wanted.generation}: {found}",
            reason="GenerationMismatch",
        )
    return Precondition(if_match=_quoted(info.etag))


def _quoted(etag: str) -> str:
    return etag if etag.startswith('"') else f'"{etag}"'


# --- simple changes -------------------------------------------------------------------------------


def patch(home: BucketName, name: str, changes: Any, wanted: Wanted) -> Flow[ObjectInfo]:
    """Changes what is said of an object."""
    where = yield from condition(home, name, wanted)
    info: ObjectInfo = yield Send(_objects.patch_metadata(home, name, changes, where))
    return info


def delete(home: BucketName, name: str, wanted: Wanted) -> Flow[None]:
    """Raises NotFound."""
    where = yield from condition(home, name, wanted)
    yield Send(_objects.delete_object(home, name, where))


# --- uploads --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upload goes, and what it says of its bytes."""

    home: BucketName
    name: str
    about: Described
    wanted: Wanted
    chunk_bytes: int


class Upload:
    """An upload in parts. The steps are given one by one, so that both a flow over a whole source
    and a writer that is given bytes now and then can take them."""

    def __init__(self, target: Target, total: int | None) -> None:
        self.target = target
        self.total = total
        self.id: str | None = None
        self.offset = 0
        self.digest: Digest = hashlib.sha256()
        self._condition: Precondition | None = None

    def condition(self) -> Flow[Precondition]:
        """What must hold when the object is made, found out once, before the first byte is sent."""
        if self._condition is None:
            target = self.target
            self._condition = yield from condition(target.home, target.name, target.wanted)
        return self._condition

    def put(self, data: bytes) -> Flow[ObjectInfo]:
        """All of it in one request."""
        target = self.target
        where = yield from self.condition()
        sha256 = self.digest.hexdigest()
        self.total = len(data)
        yield self._report()
        call = _objects.put_object(target.home, target.name, data, target.about, where, sha256)
        info: ObjectInfo = yield Send(call)
        self.offset = len(data)
        yield self._report()
        return _stored(info, sha256)

    def begin(self) -> Flow[None]:
        """Gets an id from the server, to send parts to."""
        target = self.target
        where = yield from self.condition()
        self.id = yield Send(
            _objects.begin_upload(target.home, target.name, target.about, where, self.total)
        )
        yield self._report()

    def append(self, data: bytes) -> Flow[None]:
        """The next bytes. What the server has of them already, after a lost answer, is not sent
        again."""
        assert self.id is not None
        start, end, stalls = self.offset, self.offset + len(data), 0
        while self.offset < end:
            rest = data[self.offset - start :] if self.offset > start else data
            try:
                reached: int = yield Send(
                    _objects.append_upload(self.target.home, self.id, self.offset, rest)
                )
            except SdkError as error:
                raise self._named(error) from None
            if not start <= reached <= end:
                raise self._named(
                    Aborted(f"upload `{self.id}` is continued by somebody else", reason="Overtaken")
                )
            stalls = stalls + 1 if reached <= self.offset else 0
            if stalls > STALLS_MAX:
                raise self._named(Unavailable(f"upload `{self.id}` does not get on"))
            self.offset = reached
            yield self._report()

    def finish(self) -> Flow[ObjectInfo]:
        """Makes the bytes the object."""
        assert self.id is not None
        sha256 = self.digest.hexdigest()
        where = yield from self.condition()
        call = _objects.finish_upload(self.target.home, self.id, sha256, where)
        try:
            info: ObjectInfo = yield Send(call)
        except NotFound as error:
            # After an answer that was lost long ago: the object is there, and the upload is not.
            found = yield Send(_objects.find_metadata(self.target.home, self.target.name))
            if found is None or found.sha256 != sha256:
                raise self._named(error) from None
            info = found
        except SdkError as error:
            raise self._named(error) from None
        return _stored(info, sha256)

    def _report(self) -> Report:
        return Report(TransferProgress(self.offset, self.total, self.id))

    def _named(self, error: SdkError) -> SdkError:
        """The error, from which an app learns how to go on."""
        error.details = {**(error.details or {}), "upload": self.id, "offset": self.offset}
        return error


def upload(target: Target, size: int | None) -> Flow[ObjectInfo]:
    """All of a source: at once if it is no longer than a chunk, else in parts that each may be sent
    again. Of a source longer than `size` only so much is taken."""
    work = Upload(target, size)
    data: bytes = yield Read(_next_size(work), work.digest)
    if len(data) < target.chunk_bytes or len(data) == size:
        check_whole(len(data), size)
        return (yield from work.put(data))
    yield from work.begin()
    return (yield from _send_rest(work, data))


def resume(target: Target, upload_id: str, size: int | None) -> Flow[ObjectInfo]:
    """Goes on with an upload, from a source that begins where the upload's began. What the server
    has is read too, for the checksum of the whole; other bytes than those are found by it."""
    status: _objects.UploadStatus = yield Send(_objects.upload_status(target.home, upload_id))
    total = size if status.size is None else status.size
    if size is not None and total != size:
        raise InvalidArgument(
            f"upload `{upload_id}` is of {total} bytes, and the source has {size}: another file?"
        )
    work = Upload(target, total)
    work.id = upload_id
    yield from work.condition()
    while work.offset < status.offset:
        wanted = min(target.chunk_bytes, status.offset - work.offset)
        data: bytes = yield Read(wanted, work.digest)
        work.offset += len(data)
        if len(data) < wanted:
            raise InvalidArgument(
                f"upload `{upload_id}` is at byte {status.offset}, and the source ends at"
                f" {work.offset}: another file?"
            )
    yield Report(TransferProgress(work.offset, total, upload_id))
    return (yield from _send_rest(work, (yield Read(_next_size(work), work.digest))))


def _send_rest(work: Upload, data: bytes) -> Flow[ObjectInfo]:
    while data:
        yield from work.append(data)
        data = yield Read(_next_size(work), work.digest)
    check_whole(work.offset, work.total)
    return (yield from work.finish())


def _next_size(work: Upload) -> int:
    chunk = work.target.chunk_bytes
    return chunk if work.total is None else min(chunk, work.total - work.offset)


def check_whole(found: int, size: int | None) -> None:
    """Raises InvalidArgument."""
    if size is not None and found != size:
        raise InvalidArgument(f"the source ended after {found} of {size} bytes")


def _stored(info: ObjectInfo, sha256: str) -> ObjectInfo:
    if info.sha256 != sha256:
        raise DataLoss(
            f"`{info.name}` was stored with the checksum {info.sha256}, but {sha256} was sent",
            reason="ChecksumMismatch",
        )
    return info


# --- downloads ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """Which bytes of which object to get; `end` is the last one, as HTTP counts."""

    home: BucketName
    name: str
    start: int = 0
    end: int | None = None
    wanted: Wanted = field(default_factory=Wanted)

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 0
            ):
                raise InvalidArgument(f"`{name}` is the position of a byte, not `{value!r}`")
        if self.end is not None and self.end < self.start:
            raise InvalidArgument(f"`end` ({self.end}) lies before `start` ({self.start})")

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end is None


def download(wish: Wish, policy: RetryPolicy) -> Flow[None]:
    """The bytes in order, each once, all of one generation. After a lost connection it goes on
    where it was, as often as it gets on at all. The whole of an object is held to its checksum at
    the end: DataLoss, after all bytes were handed over."""
    digest = hashlib.sha256() if wish.is_whole else None
    where = yield from condition(wish.home, wish.name, wish.wanted)
    head = yield Open(_objects.download(wish.home, wish.name, wish.start, wish.end, where))
    if wish.start and head.status != 206:
        raise Internal("the server sent the whole object where a part of it was asked for")
    first, total = head, _length(head)
    yield Report(TransferProgress(0, total))
    done = failures = 0
    while True:
        try:
            while data := (yield Next()):
                yield Write(data, digest)
                done, failures = done + len(data), 0
                yield Report(TransferProgress(done, total))
            break
        except Unavailable:
            failures += 1
            if failures >= policy.attempts_max:
                raise
        yield Pause(failures)
        if done == total:
            break
        yield from _open_again(wish, first, done)
    _check_arrived(wish, first, done, total, digest)


def _open_again(wish: Wish, first: Head, done: int) -> Flow[None]:
    etag = first.headers.get("ETag")
    if etag is None:
        raise Unavailable("the download was cut off, and nothing tells how to go on")
    same = Precondition(if_match=etag)
    at = wish.start + done
    try:
        head = yield Open(_objects.download(wish.home, wish.name, at, wish.end, same))
    except (FailedPrecondition, NotFound):
        raise Aborted(
            f"`{wish.name}` was replaced or deleted while it was downloaded", reason="ObjectChanged"
        ) from None
    if at and head.status != 206:
        raise Internal("the server does not go on with a download where it was cut off")


def _length(head: Head) -> int | None:
    text = head.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _check_arrived(
    wish: Wish, first: Head, done: int, total: int | None, digest: Digest | None
) -> None:
    if total is not None and done != total:
        raise DataLoss(f"`{wish.name}`: {done} of {total} bytes arrived", reason="Truncated")
    expected = first.headers.get(_objects.CHECKSUM)
    if digest is not None and expected is not None and digest.hexdigest() != expected:
        raise DataLoss(
            f"`{wish.name}` arrived with the checksum {digest.hexdigest()}, not {expected}",
            reason="ChecksumMismatch",
        )
