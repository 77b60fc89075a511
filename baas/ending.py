"""Tasks that are cancelled, and have to end for it."""

from __future__ import annotations

import asyncio


def end_if_cancelled() -> None:
    """Raises CancelledError if the running task was cancelled and that was lost on the way, as it
    is by `asyncio.wait_for` of Python 3.11, through which MongoDB's driver reads and writes, if the
    answer comes at the same moment. For loops without end, at each round: whoever cancels them
    waits until they are over."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
