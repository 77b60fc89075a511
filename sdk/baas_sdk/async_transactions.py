"""Transactions within one event loop. Shaped as google-cloud-firestore's."""

# ruff: noqa: ASYNC109  the timeout is the whole call's, retries included
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

from baas_sdk._snapshots import DocumentSnapshot
from baas_sdk._transactions import BaseTransaction
from baas_sdk._writes import WriteResult
from baas_sdk.errors import SdkError

if TYPE_CHECKING:
    from baas_sdk.async_client import AsyncClient, AsyncDocumentReference, AsyncQuery

T = TypeVar("T")
P = ParamSpec("P")


class AsyncTransaction(BaseTransaction["AsyncDocumentReference"]):
    """Reads of one moment, and writes that are committed if nothing that was read has changed; made
    by `client.transaction()` for a function under `@async_transactional`.

    All reads come before the first write; none of them shows the transaction's own writes.
    """

    _client: AsyncClient

    async def get(
        self, ref_or_query: AsyncDocumentReference | AsyncQuery, *, timeout: float | None = None
    ) -> AsyncIterator[DocumentSnapshot[AsyncDocumentReference]]:
        """The document of a reference, or the documents of a query, as of the transaction's
        moment. A missing document gives a snapshot with `exists` False."""
        for snapshot in await self._client._http.run(self._read_call(ref_or_query), timeout):
            yield snapshot

    async def get_all(
        self, references: Iterable[AsyncDocumentReference], *, timeout: float | None = None
    ) -> AsyncIterator[DocumentSnapshot[AsyncDocumentReference]]:
        """Several documents in the order given; at most 1,000 in one call."""
        for snapshot in await self._client._http.run(self._get_all_call(references), timeout):
            yield snapshot

    async def commit(self, *, timeout: float | None = None) -> list[WriteResult]:
        """Ends it. Raises TransactionConflict if something that was read has changed. Functions
        under `@async_transactional` are committed when they return."""
        call = self._end_call()
        return self._ended(None if call is None else await self._client._http.run(call, timeout))

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs and commits, and again while it is aborted."""
        for attempt in range(1, self.max_attempts + 1):
            await self._client._http.run(self._begin_call())
            try:
                value = await work()
                if self.in_progress:
                    await self.commit()
                return value
            except BaseException as error:
                pause = self._retry_after(error, attempt)
                if pause is None:
                    await self._roll_back()
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _roll_back(self) -> None:
        call = self._rollback_call()
        if call is not None:
            with suppress(SdkError):  # its turn runs out by itself
                await self._client._http.run(call)


AsyncWork: TypeAlias = Callable[[AsyncTransaction], Awaitable[T]]


def async_transactional(
    to_wrap: Callable[Concatenate[AsyncTransaction, P], Awaitable[T]],
) -> Callable[Concatenate[AsyncTransaction, P], Awaitable[T]]:
    """Makes a function whose first argument is a transaction run in it: begun before it, committed
    after it, and run again from the start, up to `max_attempts` times in all, if something that it
    has read was changed meanwhile. So it must do nothing else that may not be repeated.

        @async_transactional
        async def take(transaction, reference, amount):
            account = await reference.get(transaction=transaction)
            transaction.update(reference, {"balance": account.get("balance") - amount})

        await take(client.transaction(), client.document("accounts/ada"), 5)

    What the function raises ends the transaction without writing; TransactionConflict is raised
    if the last attempt is aborted, too.
    """

    @wraps(to_wrap)
    async def wrapped(transaction: AsyncTransaction, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await transaction._run(lambda: to_wrap(transaction, *args, **kwargs))

    return wrapped
