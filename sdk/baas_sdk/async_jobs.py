"""Jobs of the server's own, within one event loop: followed, waited for and cancelled."""

# ruff: noqa: ASYNC109  the timeout is the whole call's, retries included
from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

from baas_sdk._jobs import BaseJob


class AsyncJob(BaseJob):
    """Long work that the server does chunk by chunk, whatever restarts meanwhile, and whether or
    not anybody waits for it. It is not atomic."""

    async def reload(self, *, timeout: float | None = None) -> None:
        """Asks how far it has come. Raises NotFound if it is not kept any more."""
        await self._client._http.run(self._get_call(), timeout)

    async def wait(
        self,
        *,
        progress: Callable[[AsyncJob], object] | None = None,
        timeout: float | None = None,
    ) -> AsyncJob:
        """This job, when it is done. `progress` is called with it each time that it was asked for;
        an exception out of it ends the waiting, and the job goes on. So it does when `timeout`
        seconds have passed, by default none, and this raises DeadlineExceeded, and when this is
        cancelled.

        Raises FailedPrecondition (`JobFailed`) and Cancelled (`JobCancelled`) for how it ended.
        Documents that could not be updated are no error: `job.progress.failed` counts them.
        """
        for seconds in self._pauses(timeout):
            await asyncio.sleep(seconds)
            await self.reload()
            told = progress(self) if progress is not None else None
            if inspect.isawaitable(told):
                await told
        return self

    async def cancel(self, *, timeout: float | None = None) -> None:
        """Ends it after the chunk that it is at; what it has done stays done. Raises
        FailedPrecondition (`JobIsOver`)."""
        await self._client._http.run(self._cancel_call(), timeout)
