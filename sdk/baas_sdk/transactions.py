"""Transactions, blocking. Shaped as google-cloud-firestore's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

from baas_sdk._snapshots import DocumentSnapshot
from baas_sdk._transactions import BaseTransaction
from baas_sdk._writes import WriteResult
from baas_sdk.errors import SdkError

if TYPE_CHECKING:
    from baas_sdk.client import Client, DocumentReference, Query

T = TypeVar("T")
P = ParamSpec("P")


class Transaction(BaseTransaction["DocumentReference"]):
    """Reads of one moment, and writes that are committed if nothing that was read has changed; made
    by `client.transaction()` for a function under `@transactional`.

    All reads come before the first write; none of them shows the transaction's own writes.
    """

    _client: Client

    def get(
        self, ref_or_query: DocumentReference | Query, *, timeout: float | None = None
    ) -> Iterator[DocumentSnapshot[DocumentReference]]:
        """The document of a reference, or the documents of a query, as of the transaction's
        moment. A missing document gives a snapshot with `exists` False."""
        found = self._client._http.run(self._read_call(ref_or_query), timeout)
        return iter(found)

    def get_all(
        self, references: Iterable[DocumentReference], *, timeout: float | None = None
    ) -> Iterator[DocumentSnapshot[DocumentReference]]:
        """Several documents in the order given; at most 1,000 in one call."""
        found = self._client._http.run(self._get_all_call(references), timeout)
        return iter(found)

    def commit(self, *, timeout: float | None = None) -> list[WriteResult]:
        """Ends it. Raises TransactionConflict if something that was read has changed. Functions
        under `@transactional` are committed when they return."""
        call = self._end_call()
        return self._ended(None if call is None else self._client._http.run(call, timeout))

    def _run(self, work: Callable[[], T]) -> T:
        """Runs and commits, and again while it is aborted."""
        for attempt in range(1, self.max_attempts + 1):
            self._client._http.run(self._begin_call())
            try:
                value = work()
                if self.in_progress:
                    self.commit()
                return value
            except BaseException as error:
                pause = self._retry_after(error, attempt)
                if pause is None:
                    self._roll_back()
                    raise
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _roll_back(self) -> None:
        call = self._rollback_call()
        if call is not None:
            with suppress(SdkError):  # its turn runs out by itself
                self._client._http.run(call)


Work: TypeAlias = Callable[[Transaction], T]


def transactional(
    to_wrap: Callable[Concatenate[Transaction, P], T],
) -> Callable[Concatenate[Transaction, P], T]:
    """Makes a function whose first argument is a transaction run in it: begun before it, committed
    after it, and run again from the start, up to `max_attempts` times in all, if something that it
    has read was changed meanwhile. So it must do nothing else that may not be repeated.

        @transactional
        def take(transaction, reference, amount):
            account = reference.get(transaction=transaction)
            transaction.update(reference, {"balance": account.get("balance") - amount})

        take(client.transaction(), client.document("accounts/ada"), 5)

    What the function raises ends the transaction without writing; TransactionConflict is raised
    if the last attempt is aborted, too.
    """

    @wraps(to_wrap)
    def wrapped(transaction: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return transaction._run(lambda: to_wrap(transaction, *args, **kwargs))

    return wrapped
