"""Passwords: their policy, and argon2id in threads of its own, away from the event loop.

Settings are OWASP's (19 MiB, two passes, one lane). A hash takes about 20 ms of a core, so the
threads run at raised niceness, and a queue longer than its limit refuses newcomers: sign-ins must
never starve the reads of signed-in users.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from baas.errors import InvalidArgument, ResourceExhausted, Unavailable

T = TypeVar("T")

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_BYTES_MAX = 1_024
NICENESS = 10
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# The hash of a random text that nobody kept: what the password of no account is compared with.
NOBODYS_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$2ZXmpSBCCdTQmJC4/8uiZQ$yLT9oB"
    "7DAatPi/ZAs5kWuN4dM+Z9fT320TH49V/HYiI"
)


def check_password(text: object) -> str:
    """The password to hash, in Unicode NFC so that every keyboard types the same one.

    Raises InvalidArgument (reason `WeakPassword`, or `InvalidPassword` for what is none at all).
    """
    password = _normalise(text)
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise InvalidArgument(
            f"the password must have at least {PASSWORD_CHARACTERS_MIN} characters",
            reason="WeakPassword",
            details={"field": "password", "characters_min": PASSWORD_CHARACTERS_MIN},
        )
    return password


def _normalise(text: object) -> str:
    if not isinstance(text, str):
        raise _invalid("must be a string")
    if len(text) > PASSWORD_BYTES_MAX:
        raise _invalid(f"is longer than {PASSWORD_BYTES_MAX} bytes")
    password = unicodedata.normalize("NFC", text)
    try:
        size = len(password.encode())
    except UnicodeEncodeError as error:
        raise _invalid("is no valid Unicode") from error
    if size > PASSWORD_BYTES_MAX:
        raise _invalid(f"is longer than {PASSWORD_BYTES_MAX} bytes")
    return password


class PasswordPool:
    """Hashes and verifies in a bounded pool of threads. Used from one event loop."""

    def __init__(self, *, threads: int, queue_max: int) -> None:
        self._threads = max(threads, 1)
        self._queue_max = queue_max
        self._pending = 0
        self._closed = False
        self._executor = ThreadPoolExecutor(
            self._threads, thread_name_prefix="password", initializer=_raise_niceness
        )

    async def hash(self, password: str) -> str:
        """An argon2id hash with its own salt. Raises ResourceExhausted (`PasswordQueueFull`)."""
        text = _normalise(password)
        return await self._run(lambda: _HASHER.hash(text))

    async def verify(self, password: object, hashed: str | None) -> bool:
        """Whether `password` gave `hashed`. With no hash to compare the work is done all the same,
        so that an unknown account takes as long as a wrong password. Raises as `hash` does."""
        text = _normalise(password)
        return await self._run(lambda: _is_match(hashed or NOBODYS_HASH, text))

    def close(self) -> None:
        """Ends the threads; whoever still waits gets Cancelled from asyncio."""
        self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the server is shutting down", reason="ShuttingDown")
        if self._pending >= self._threads + self._queue_max:
            raise ResourceExhausted(
                "too many passwords are being checked; try again in a moment",
                reason="PasswordQueueFull",
            )
        future = self._executor.submit(work)
        self._pending += 1
        loop = asyncio.get_running_loop()
        # Counted until the thread is done with it: a caller who went away frees no thread. (A
        # future that is cancelled before it starts is done at once.)
        future.add_done_callback(lambda _: _call_if_open(loop, self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._pending -= 1


def is_outdated(hashed: str) -> bool:
    """Whether a hash was made with other settings than today's, so that it should be made anew."""
    return _HASHER.check_needs_rehash(hashed)


def _is_match(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _call_if_open(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
        loop.call_soon_threadsafe(callback)


def _raise_niceness() -> None:
    # On Linux niceness belongs to a thread; elsewhere the threads keep the process's own.
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _invalid(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"the password {what}", reason="InvalidPassword", details={"field": "password"}
    )
