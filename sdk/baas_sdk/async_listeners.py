"""Listeners of the asyncio client: to loop over, or to be called back by."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from baas_sdk._listener import AsyncMailbox
from baas_sdk._snapshots import DocumentSnapshot, QuerySnapshot
from baas_sdk._values import Tree

if TYPE_CHECKING:
    from baas_sdk.async_client import AsyncClient, AsyncDocumentReference

S = TypeVar("S")
_log = logging.getLogger("baas_sdk")


class AsyncListener(Generic[S]):
    """Snapshots to loop over, each the state at one moment; the loop waits for the next one.

    Ends with `close`, by leaving an `async with`, when the client is closed or when nobody holds
    it any more. An error that ends it, such as PermissionDenied, is raised out of the loop.
    Cancelling a wait loses nothing.
    """

    def __init__(
        self,
        client: AsyncClient,
        request: Tree,
        parse: Callable[[Tree], DocumentSnapshot[AsyncDocumentReference]],
        present: Callable[[Any], S],
        *,
        flipped: bool = False,
    ) -> None:
        self._mailbox: AsyncMailbox[DocumentSnapshot[AsyncDocumentReference]] = AsyncMailbox()
        self._present = present
        self._driver = client._listening()
        self._loop = asyncio.get_running_loop()
        self._driver.add(self._mailbox, request, parse, flipped=flipped)

    def __aiter__(self) -> AsyncListener[S]:
        return self

    async def __anext__(self) -> S:
        state = await self._mailbox.get()
        if state is None:
            raise StopAsyncIteration
        return self._present(state)

    async def __aenter__(self) -> AsyncListener[S]:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the loop; harmless when it has ended."""
        self._driver.remove(self._mailbox)

    def __del__(self) -> None:
        # The collector may run in any thread. AttributeError: it was refused, and never began;
        # RuntimeError: the loop is closed, and everything on it has ended.
        with suppress(AttributeError, RuntimeError):
            self._loop.call_soon_threadsafe(self._driver.remove, self._mailbox)


class AsyncWatch:
    """A listener that calls back. Hold it or not: it lives until `unsubscribe`, an error, or the
    client's end."""

    def __init__(
        self,
        listener: AsyncListener[QuerySnapshot[AsyncDocumentReference]],
        callback: Callable[..., object],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._listener = listener
        self._callback = callback
        self._on_error = on_error
        self._is_active = True
        self.error: Exception | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)

    @property
    def is_active(self) -> bool:
        """False once it has ended."""
        return self._is_active

    def unsubscribe(self) -> None:
        """Ends it; may be called within the callback. No call starts after this has returned,
        though one that is running is not waited for."""
        self._is_active = False
        self._listener.close()

    async def _run(self) -> None:
        try:
            async for snapshot in self._listener:
                if not self._is_active:
                    return
                answer = self._callback(snapshot.documents, snapshot.changes, snapshot.read_time)
                if inspect.isawaitable(answer):
                    await answer
        except Exception as error:
            await self._fail(error)
        finally:
            self.unsubscribe()

    async def _fail(self, error: Exception) -> None:
        self.error = error
        was_active, self._is_active = self._is_active, False
        if not was_active:
            return
        if self._on_error is None:
            _log.error("a listener ended with an error", exc_info=error)
            return
        answer = self._on_error(error)
        if inspect.isawaitable(answer):
            await answer


_running: set[asyncio.Task[None]] = set()  # a loop holds its tasks only weakly
