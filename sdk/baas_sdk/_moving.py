"""Drives the flows of `_transfers`: files, sockets and pauses, blocking or within an event loop."""

# ruff: noqa: ASYNC109  the timeout bounds each request of a transfer
from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, Generic, Protocol, TypeVar

from baas_sdk._flow import RetryPolicy
from baas_sdk._http import AsyncBody, AsyncHttp, SyncBody, SyncHttp
from baas_sdk._transfers import (
    Digest,
    Flow,
    Next,
    Open,
    Pause,
    Read,
    Report,
    Send,
    Step,
    TransferProgress,
    Write,
)
from baas_sdk.errors import InvalidArgument, SdkError

T = TypeVar("T")
HASH_HERE_BYTES_MAX = 64 * 1024


class Readable(Protocol):
    """A binary file, or what reads like one; the asyncio client also takes one whose `read` is
    awaited."""

    def read(self, size: int, /) -> Any: ...


Progress = Callable[[TransferProgress], object]


# --- blocking -------------------------------------------------------------------------------------


class SyncMover:
    """Runs transfers in the calling thread."""

    def __init__(self, http: SyncHttp, policy: RetryPolicy) -> None:
        self._http = http
        self.policy = policy

    def run(
        self,
        flow: Flow[T],
        *,
        source: Readable | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> T:
        """A flow that writes nothing; its result."""
        steps = _Steps(flow)
        with closing(_SyncWork(self._http, self.policy, source, progress, timeout)) as work:
            while (step := steps.next()) is not None:
                steps.answer(work, step)
        return steps.result

    def pieces(
        self, flow: Flow[None], *, progress: Progress | None = None, timeout: float | None = None
    ) -> Iterator[bytes]:
        """What a flow writes, piece by piece."""
        steps = _Steps(flow)
        with closing(_SyncWork(self._http, self.policy, None, progress, timeout)) as work:
            while (step := steps.next()) is not None:
                steps.answer(work, step)
                if isinstance(step, Write):
                    yield step.data


class _SyncWork:
    """Does single steps."""

    def __init__(
        self,
        http: SyncHttp,
        policy: RetryPolicy,
        source: Readable | None,
        progress: Progress | None,
        timeout: float | None,
    ) -> None:
        self._http = http
        self._policy = policy
        self._source = source
        self._progress = progress
        self._timeout = timeout
        self._body: SyncBody | None = None

    def do(self, step: Step) -> Any:
        match step:
            case Send(call):
                return self._http.run(call, self._timeout)
            case Read(size, digest):
                return read_exactly(self._source, size, digest)
            case Report(progress):
                return self._progress(progress) if self._progress is not None else None
            case Open(request):
                self.close()
                self._body = self._http.open(request, self._timeout)
                return self._body.head
            case Next():
                assert self._body is not None
                return self._body.read()
            case Write(data, digest):
                return digest.update(data) if digest is not None else None
            case Pause(failures):
                time.sleep(self._policy.pause_seconds(failures, random.random()))
                return None

    def close(self) -> None:
        if self._body is not None:
            self._body.close()


# --- asyncio --------------------------------------------------------------------------------------


class AsyncMover:
    """Runs transfers within the event loop; files are read and hashed in threads."""

    def __init__(self, http: AsyncHttp, policy: RetryPolicy) -> None:
        self._http = http
        self.policy = policy

    async def run(
        self,
        flow: Flow[T],
        *,
        source: Readable | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> T:
        """A flow that writes nothing; its result."""
        steps = _Steps(flow)
        async with aclosing(_AsyncWork(self._http, self.policy, source, progress, timeout)) as work:
            while (step := steps.next()) is not None:
                await steps.answer_async(work, step)
        return steps.result

    async def pieces(
        self, flow: Flow[None], *, progress: Progress | None = None, timeout: float | None = None
    ) -> AsyncIterator[bytes]:
        """What a flow writes, piece by piece."""
        steps = _Steps(flow)
        async with aclosing(_AsyncWork(self._http, self.policy, None, progress, timeout)) as work:
            while (step := steps.next()) is not None:
                await steps.answer_async(work, step)
                if isinstance(step, Write):
                    yield step.data


class _AsyncWork:
    """Does single steps."""

    def __init__(
        self,
        http: AsyncHttp,
        policy: RetryPolicy,
        source: Readable | None,
        progress: Progress | None,
        timeout: float | None,
    ) -> None:
        self._http = http
        self._policy = policy
        self._source = source
        self._progress = progress
        self._timeout = timeout
        self._body: AsyncBody | None = None

    async def do(self, step: Step) -> Any:
        match step:
            case Send(call):
                return await self._http.run(call, self._timeout)
            case Read(size, digest):
                return await _read_exactly_async(self._source, size, digest)
            case Report(progress):
                told = self._progress(progress) if self._progress is not None else None
                return await told if inspect.isawaitable(told) else None
            case Open(request):
                await self.aclose()
                self._body = await self._http.open(request, self._timeout)
                return self._body.head
            case Next():
                assert self._body is not None
                return await self._body.read()
            case Write(data, digest):
                return None if digest is None else await _hash(digest, data)
            case Pause(failures):
                await asyncio.sleep(self._policy.pause_seconds(failures, random.random()))
                return None

    async def aclose(self) -> None:
        if self._body is not None:
            await self._body.close()


# --- both -----------------------------------------------------------------------------------------


class _Steps(Generic[T]):
    """A flow between two steps: what the last one came to, and the result at the end."""

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self._outcome: Any = None
        self._error: SdkError | None = None
        self.result: T

    def next(self) -> Step | None:
        """The next step; None at the end."""
        outcome, error = self._outcome, self._error
        self._outcome = self._error = None
        try:
            return self._flow.send(outcome) if error is None else self._flow.throw(error)
        except StopIteration as stop:
            self.result = stop.value
            return None

    def answer(self, work: _SyncWork, step: Step) -> None:
        """Does a step. The flow hears of this client's errors; others end the transfer."""
        try:
            self._outcome = work.do(step)
        except SdkError as error:
            self._failed(step, error)

    async def answer_async(self, work: _AsyncWork, step: Step) -> None:
        """The same, awaited."""
        try:
            self._outcome = await work.do(step)
        except SdkError as error:
            self._failed(step, error)

    def _failed(self, step: Step, error: SdkError) -> None:
        if isinstance(step, Report | Read):
            raise error  # the app's own, to end the transfer
        self._error = error


def read_exactly(source: Any, size: int, digest: Digest) -> bytes:
    """So many bytes, fewer only at the end. Raises InvalidArgument for a text file."""
    parts, missing = [], size
    while missing:
        data = checked_bytes(source.read(missing), missing)
        if not data:
            break
        parts.append(data)
        missing -= len(data)
    found = b"".join(parts) if len(parts) != 1 else parts[0]
    digest.update(found)
    return found


async def _read_exactly_async(source: Any, size: int, digest: Digest) -> bytes:
    if not inspect.iscoroutinefunction(getattr(source, "read", None)):
        return await asyncio.to_thread(read_exactly, source, size, digest)
    parts, missing = [], size
    while missing:
        data = checked_bytes(await source.read(missing), missing)
        if not data:
            break
        parts.append(data)
        missing -= len(data)
    found = b"".join(parts)
    await _hash(digest, found)
    return found


async def _hash(digest: Digest, data: bytes) -> None:
    if len(data) <= HASH_HERE_BYTES_MAX:
        digest.update(data)
    else:
        await asyncio.to_thread(digest.update, data)


def checked_bytes(data: object, size_max: int) -> bytes:
    """What a source gave. Raises InvalidArgument if that is not bytes, or too many."""
    if isinstance(data, bytearray | memoryview):
        data = bytes(data)
    if not isinstance(data, bytes):
        raise InvalidArgument(
            f"the source gave {type(data).__name__} instead of bytes; open files as `rb`"
        )
    if len(data) > size_max:
        raise InvalidArgument(f"the source gave {len(data)} bytes where {size_max} were asked for")
    return data
