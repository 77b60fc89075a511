"""Bulk writes within one event loop. Shaped as google-cloud-firestore's BulkWriter."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from baas_sdk._bulk import (
    BaseBulkWriter,
    BulkWriteFailure,
    BulkWriterOperation,
    BulkWriterOptions,
    Outcome,
)
from baas_sdk._paths import FieldPath
from baas_sdk._writes import Updates, WriteOption
from baas_sdk.errors import SdkError

if TYPE_CHECKING:
    from baas_sdk.async_client import AsyncClient, AsyncDocumentReference


class AsyncBulkWriter(BaseBulkWriter["AsyncDocumentReference"]):
    """Many writes, fast, each of which succeeds or fails alone: they are gathered, sent in full
    requests several at a time, and tried again where that helps. Writes to one document happen in
    order. Nothing is sent for certain before `flush` or `close`.

    Adding a write waits while too many wait already. Callbacks may be coroutine functions, and may
    add writes. Use it in an `async with`, or close it.
    """

    _client: AsyncClient

    def __init__(self, client: AsyncClient, options: BulkWriterOptions | None = None) -> None:
        super().__init__(client, options)
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def set(
        self,
        reference: AsyncDocumentReference,
        document_data: Mapping[str, Any],
        merge: bool | Iterable[str | FieldPath] = False,
    ) -> None:
        """Adds a write as `DocumentReference.set`."""
        await self._add(self._set(reference, document_data, merge))

    async def create(
        self, reference: AsyncDocumentReference, document_data: Mapping[str, Any]
    ) -> None:
        """Adds a write as `DocumentReference.create`."""
        await self._add(self._create(reference, document_data))

    async def update(
        self,
        reference: AsyncDocumentReference,
        field_updates: Updates,
        option: WriteOption | None = None,
    ) -> None:
        """Adds a write as `DocumentReference.update`."""
        await self._add(self._update(reference, field_updates, option))

    async def delete(
        self, reference: AsyncDocumentReference, option: WriteOption | None = None
    ) -> None:
        """Adds a write as `DocumentReference.delete`."""
        await self._add(self._delete(reference, option))

    async def flush(self) -> None:
        """Sends what waits, and returns when all of it is done or given up. Raises the first error
        of what was given up, unless `on_write_error` has its callback."""
        async with self._changed:
            self._queue.flush()
            if self._queue.is_due:
                self._start_worker()
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._queue.is_idle)
        self._raise_failures()

    async def close(self) -> None:
        """Flushes, and takes no more writes."""
        try:
            await self.flush()
        finally:
            async with self._changed:
                self._queue.is_closed = True
                self._changed.notify_all()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> AsyncBulkWriter:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            await self.close()
            return
        with suppress(SdkError):  # what is on its way already tells more
            await self.close()

    async def _add(self, operation: BulkWriterOperation[AsyncDocumentReference]) -> None:
        is_own = asyncio.current_task() in self._tasks  # a callback: it must not wait for itself
        async with self._changed:
            await self._changed.wait_for(lambda: is_own or not self._queue.is_full)
            self._queue.add(operation)
            if self._queue.is_due:
                self._start_worker()
                self._changed.notify_all()

    def _start_worker(self) -> None:
        if len(self._tasks) < self.options.requests_max:
            self._tasks.add(asyncio.create_task(self._work(), name="bulk writer"))

    async def _work(self) -> None:
        while True:
            async with self._changed:
                batch = self._queue.take()
                while not batch:
                    if self._queue.is_closed:
                        return
                    await self._changed.wait()
                    batch = self._queue.take()
            again: list[BulkWriterOperation[AsyncDocumentReference]] = []
            try:
                again = await self._tell(batch, await self._send(batch))
                if again:
                    await self._pause(again[0].attempts)
            except Exception as error:
                self._broken = error
            finally:
                async with self._changed:
                    self._queue.settle(batch, again)
                    self._changed.notify_all()

    async def _send(
        self, batch: Sequence[BulkWriterOperation[AsyncDocumentReference]]
    ) -> list[Outcome]:
        call, attempts = self._call(batch), 0
        while True:
            attempts += 1
            try:
                return await self._client._http.run(call)
            except SdkError as error:
                if not self._may_send_again(error, attempts):
                    return [error] * len(batch)
            await self._pause(attempts)

    async def _tell(
        self,
        batch: Sequence[BulkWriterOperation[AsyncDocumentReference]],
        outcomes: Sequence[Outcome],
    ) -> list[BulkWriterOperation[AsyncDocumentReference]]:
        """Calls back; the writes that are to be tried again."""
        again = []
        for operation, outcome in zip(batch, outcomes, strict=True):
            operation.attempts += 1
            if not isinstance(outcome, SdkError):
                if self._on_result is not None:
                    await _done(self._on_result(operation.reference, outcome, self))
                continue
            failure = BulkWriteFailure(outcome, operation)
            if self._on_error is None:
                may_try = self._may_try_again(failure)
            else:
                may_try = await _done(self._on_error(failure, self)) is True
            if may_try:
                again.append(operation)
        return again

    async def _pause(self, attempts: int) -> None:
        await asyncio.sleep(self._client._options.retry.pause_seconds(attempts, random.random()))


async def _done(found: object) -> object:
    """What a callback gives, be it a coroutine function or not."""
    return await found if inspect.isawaitable(found) else found
