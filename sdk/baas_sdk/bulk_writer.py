"""Bulk writes, blocking. Shaped as google-cloud-firestore's BulkWriter."""

from __future__ import annotations

import random
import threading
import time
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
    from baas_sdk.client import Client, DocumentReference


class BulkWriter(BaseBulkWriter["DocumentReference"]):
    """Many writes, fast, each of which succeeds or fails alone: they are gathered, sent in full
    requests several at a time, and tried again where that helps. Writes to one document happen in
    order. Nothing is sent for certain before `flush` or `close`.

    Adding a write waits while too many wait already. Callbacks run in threads of the writer's own;
    they may add writes. Use it in a `with`, or close it.
    """

    _client: Client

    def __init__(self, client: Client, options: BulkWriterOptions | None = None) -> None:
        super().__init__(client, options)
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._own = threading.local()

    def set(
        self,
        reference: DocumentReference,
        document_data: Mapping[str, Any],
        merge: bool | Iterable[str | FieldPath] = False,
    ) -> None:
        """Adds a write as `DocumentReference.set`."""
        self._add(self._set(reference, document_data, merge))

    def create(self, reference: DocumentReference, document_data: Mapping[str, Any]) -> None:
        """Adds a write as `DocumentReference.create`."""
        self._add(self._create(reference, document_data))

    def update(
        self,
        reference: DocumentReference,
        field_updates: Updates,
        option: WriteOption | None = None,
    ) -> None:
        """Adds a write as `DocumentReference.update`."""
        self._add(self._update(reference, field_updates, option))

    def delete(self, reference: DocumentReference, option: WriteOption | None = None) -> None:
        """Adds a write as `DocumentReference.delete`."""
        self._add(self._delete(reference, option))

    def flush(self) -> None:
        """Sends what waits, and returns when all of it is done or given up. Raises the first error
        of what was given up, unless `on_write_error` has its callback."""
        with self._changed:
            self._queue.flush()
            if self._queue.is_due:
                self._start_worker()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._queue.is_idle)
        self._raise_failures()

    def close(self) -> None:
        """Flushes, and takes no more writes."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._queue.is_closed = True
                self._changed.notify_all()
            for thread in self._threads:
                thread.join()

    def __enter__(self) -> BulkWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
            return
        with suppress(SdkError):  # what is on its way already tells more
            self.close()

    def _add(self, operation: BulkWriterOperation[DocumentReference]) -> None:
        is_own = getattr(self._own, "is_worker", False)  # a callback: it must not wait for itself
        with self._changed:
            self._changed.wait_for(lambda: is_own or not self._queue.is_full)
            self._queue.add(operation)
            if self._queue.is_due:
                self._start_worker()
                self._changed.notify_all()

    def _start_worker(self) -> None:
        if len(self._threads) < self.options.requests_max:
            thread = threading.Thread(target=self._work, name="baas-sdk-bulk", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        self._own.is_worker = True
        while True:
            with self._changed:
                batch = self._queue.take()
                while not batch:
                    if self._queue.is_closed:
                        return
                    self._changed.wait()
                    batch = self._queue.take()
            again: list[BulkWriterOperation[DocumentReference]] = []
            try:
                again = self._tell(batch, self._send(batch))
                if again:
                    self._pause(again[0].attempts)
            except Exception as error:
                self._broken = error
            finally:
                with self._changed:
                    self._queue.settle(batch, again)
                    self._changed.notify_all()

    def _send(self, batch: Sequence[BulkWriterOperation[DocumentReference]]) -> list[Outcome]:
        call, attempts = self._call(batch), 0
        while True:
            attempts += 1
            try:
                return self._client._http.run(call)
            except SdkError as error:
                if not self._may_send_again(error, attempts):
                    return [error] * len(batch)
            self._pause(attempts)

    def _tell(
        self,
        batch: Sequence[BulkWriterOperation[DocumentReference]],
        outcomes: Sequence[Outcome],
    ) -> list[BulkWriterOperation[DocumentReference]]:
        """Calls back; the writes that are to be tried again."""
        again = []
        for operation, outcome in zip(batch, outcomes, strict=True):
            operation.attempts += 1
            if not isinstance(outcome, SdkError):
                if self._on_result is not None:
                    self._on_result(operation.reference, outcome, self)
                continue
            failure = BulkWriteFailure(outcome, operation)
            if self._on_error is None:
                may_try = self._may_try_again(failure)
            else:
                may_try = self._on_error(failure, self) is True
            if may_try:
                again.append(operation)
        return again

    def _pause(self, attempts: int) -> None:
        time.sleep(self._client._options.retry.pause_seconds(attempts, random.random()))
