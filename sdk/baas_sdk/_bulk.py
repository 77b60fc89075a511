"""Bulk writes: what waits, what is under way, what is tried again. Pure: nothing is sent here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import uuid4

from baas_sdk import _requests, _writes
from baas_sdk._paths import FieldPath
from baas_sdk._references import BaseClient, BaseDocumentReference
from baas_sdk._requests import Call
from baas_sdk._values import Tree, dumps
from baas_sdk._writes import Updates, WriteOption, WriteResult
from baas_sdk.errors import FailedPrecondition, InvalidArgument, SdkError

R = TypeVar("R", bound=BaseDocumentReference)
Outcome: TypeAlias = WriteResult | SdkError


@dataclass(frozen=True, slots=True)
class BulkWriterOptions:
    """How a bulk writer works: `batch_writes_max` writes (500 at most) and about `batch_bytes_max`
    bytes go into one request, `requests_max` requests are under way at a time, `waiting_max` writes
    may wait before whoever adds one has to, and a write is tried `attempts_max` times."""

    batch_writes_max: int = 500
    batch_bytes_max: int = 2 * 1024 * 1024
    requests_max: int = 4
    waiting_max: int = 5_000
    attempts_max: int = 10

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidArgument(f"`{name}` is a number from 1, not `{value!r}`")
        if self.batch_writes_max > 500:
            raise InvalidArgument("`batch_writes_max` is 500 at most")


@dataclass(slots=True, eq=False)
class BulkWriterOperation(Generic[R]):
    """One write on its way; `attempts` were made so far."""

    reference: R
    write: Tree
    size: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class BulkWriteFailure(Generic[R]):
    """A write that failed: why, and what it was."""

    error: SdkError
    operation: BulkWriterOperation[R]

    @property
    def code(self) -> str:
        """One of the 16 gRPC names."""
        return self.error.code.value

    @property
    def message(self) -> str:
        """The error's sentence for people."""
        return self.error.message

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return self.operation.attempts


class BulkQueue(Generic[R]):
    """The writes of one bulk writer. Writes to one document keep their order: while one is under
    way, later ones wait."""

    def __init__(self, options: BulkWriterOptions) -> None:
        self._options = options
        self._waiting: deque[BulkWriterOperation[R]] = deque()
        self._bytes = 0  # that wait
        self._busy: set[str] = set()
        self._is_flushing = False
        self._is_stuck = False  # all that waits is for documents that are busy
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._options.waiting_max

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not self._waiting and not self._busy

    @property
    def is_due(self) -> bool:
        """Whether a request can be made of what waits."""
        if self._is_stuck or not self._waiting:
            return False
        options = self._options
        return (
            self._is_flushing
            or self.is_full
            or len(self._waiting) >= options.batch_writes_max
            or self._bytes >= options.batch_bytes_max
        )

    def add(self, operation: BulkWriterOperation[R]) -> None:
        self._waiting.append(operation)
        self._bytes += operation.size
        if operation.reference.path not in self._busy:
            self._is_stuck = False

    def flush(self) -> None:
        """From now on requests need not be full, until nothing waits."""
        self._is_flushing = not self.is_idle

    def take(self) -> list[BulkWriterOperation[R]]:
        """The writes of the next request, at most one to each document; none if none is due."""
        batch: list[BulkWriterOperation[R]] = []
        if not self.is_due:
            return batch
        options = self._options
        kept: list[BulkWriterOperation[R]] = []
        seen: set[str] = set()
        size = 0
        while self._waiting and len(batch) < options.batch_writes_max:
            operation = self._waiting.popleft()
            path = operation.reference.path
            is_free = path not in self._busy and path not in seen
            seen.add(path)
            if not is_free:
                kept.append(operation)
                continue
            if batch and size + operation.size > options.batch_bytes_max:
                kept.append(operation)
                break
            batch.append(operation)
            size += operation.size
        self._waiting.extendleft(reversed(kept))
        self._bytes -= size
        self._busy.update(operation.reference.path for operation in batch)
        self._is_stuck = not batch
        return batch

    def settle(
        self, batch: Sequence[BulkWriterOperation[R]], again: Sequence[BulkWriterOperation[R]]
    ) -> None:
        """A request is over; some of its writes are to be tried again, before all others."""
        self._busy.difference_update(operation.reference.path for operation in batch)
        self._waiting.extendleft(reversed(again))
        self._bytes += sum(operation.size for operation in again)
        self._is_stuck = False
        if self.is_idle:
            self._is_flushing = False


class BaseBulkWriter(Generic[R]):
    """What the blocking and the asyncio bulk writer share."""

    def __init__(self, client: BaseClient[R], options: BulkWriterOptions | None) -> None:
        self._client = client
        self.options = options or BulkWriterOptions()
        self._queue: BulkQueue[R] = BulkQueue(self.options)
        self._on_result: Callable[..., object] | None = None
        self._on_error: Callable[..., object] | None = None
        self._failures: list[BulkWriteFailure[R]] = []
        self._broken: Exception | None = None  # what a callback has raised

    def on_write_result(self, callback: Callable[[R, WriteResult, Any], object] | None) -> None:
        """Calls `callback(reference, result, bulk_writer)` for each write that was done."""
        self._on_result = callback

    def on_write_error(self, callback: Callable[[BulkWriteFailure[R], Any], object] | None) -> None:
        """Calls `callback(failure, bulk_writer)` for each attempt that failed; if it gives True,
        the write is tried again, else it is given up. Without a callback passing errors are tried
        again, and what is given up is raised by `flush` and `close`."""
        self._on_error = callback

    def _operation(self, reference: R, write: Tree) -> BulkWriterOperation[R]:
        return BulkWriterOperation(reference, write, len(dumps(write)))

    def _set(
        self, reference: R, data: Mapping[str, Any], merge: bool | Iterable[str | FieldPath]
    ) -> BulkWriterOperation[R]:
        home, path = self._check(reference)
        return self._operation(reference, _writes.set_write(home, path, data, merge))

    def _create(self, reference: R, data: Mapping[str, Any]) -> BulkWriterOperation[R]:
        home, path = self._check(reference)
        return self._operation(reference, _writes.create_write(home, path, data))

    def _update(
        self, reference: R, updates: Updates, option: WriteOption | None
    ) -> BulkWriterOperation[R]:
        home, path = self._check(reference)
        return self._operation(reference, _writes.update_write(home, path, updates, option))

    def _delete(self, reference: R, option: WriteOption | None) -> BulkWriterOperation[R]:
        _, path = self._check(reference)
        return self._operation(reference, _writes.delete_write(path, option))

    def _check(self, reference: R) -> tuple[Any, str]:
        if self._queue.is_closed:
            raise FailedPrecondition("the bulk writer is closed")
        self._client._check_references([reference])
        return self._client._options.home, reference.path

    def _call(self, batch: Sequence[BulkWriterOperation[R]]) -> Call[list[Outcome]]:
        """A request, which may be sent several times."""
        return _requests.bulk_write(
            self._client._options.home,
            [operation.write for operation in batch],
            self._client._decode,
            request_id=uuid4().hex,
        )

    def _may_send_again(self, error: SdkError, attempts: int) -> bool:
        """Whether a request of which nothing is known is sent again, the same."""
        return error.retryable and attempts < self.options.attempts_max

    def _may_try_again(self, failure: BulkWriteFailure[R]) -> bool:
        """What happens to a failed write of which nobody else decides."""
        if failure.error.retryable and failure.attempts < self.options.attempts_max:
            return True
        self._failures.append(failure)
        return False

    def _raise_failures(self) -> None:
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken
        failures, self._failures = self._failures, []
        if failures:
            first = failures[0].error
            paths = [failure.operation.reference.path for failure in failures[:10]]
            raise type(first)(
                f"{len(failures)} of the bulk writer's writes failed; the first, `{paths[0]}`: "
                f"{first.message}",
                reason=first.reason,
                details={"failed": len(failures), "paths": paths},
                request_id=first.request_id,
            )
