"""Jobs of the server's own, blocking: followed, waited for and cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable

from baas_sdk._jobs import BaseJob


class Job(BaseJob):
    """Long work that the server does chunk by chunk, whatever restarts meanwhile, and whether or
    not anybody waits for it. It is not atomic."""

    def reload(self, *, timeout: float | None = None) -> None:
        """Asks how far it has come. Raises NotFound if it is not kept any more."""
        self._client._http.run(self._get_call(), timeout)

    def wait(
        self,
        *,
        progress: Callable[[Job], object] | None = None,
        timeout: float | None = None,
    ) -> Job:
        """This job, when it is done. `progress` is called with it each time that it was asked for;
        an exception out of it ends the waiting, and the job goes on. So it does when `timeout`
        seconds have passed, by default none, and this raises DeadlineExceeded.

        Raises FailedPrecondition (`JobFailed`) and Cancelled (`JobCancelled`) for how it ended.
        Documents that could not be updated are no error: `job.progress.failed` counts them.
        """
        for seconds in self._pauses(timeout):
            time.sleep(seconds)
            self.reload()
            if progress is not None:
                progress(self)
        return self

    def cancel(self, *, timeout: float | None = None) -> None:
        """Ends it after the chunk that it is at; what it has done stays done. Raises
        FailedPrecondition (`JobIsOver`)."""
        self._client._http.run(self._cancel_call(), timeout)
