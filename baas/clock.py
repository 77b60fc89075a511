"""The only source of time, identifiers and randomness, so that tests can own all three."""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
AUTOMATIC_ID_LENGTH = 20  # as Firestore's automatic document ids
# 62 * 4 = 248: bytes from 248 up would favour the alphabet's first letters, so they are redrawn.
_LETTERS = bytes(ord(ID_ALPHABET[byte % 62]) for byte in range(256))
_REDRAWN = bytes(range(248, 256))

_DRAWN_BYTES = 4_096
CLOCKS_DIFFER_SECONDS_MAX = 600  # of nodes that take turns


class Clock(Protocol):
    """Time and randomness as the server sees them."""

    def now_microseconds(self) -> int:
        """Wall clock, UTC, microseconds since 1970. May step backwards."""
        ...

    def monotonic_seconds(self) -> float:
        """Never steps backwards; its zero means nothing."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Cryptographically strong randomness."""
        ...


class SystemClock:
    """The machine's clock and the operating system's randomness.

    Randomness is fetched for many ids at a time: a system call for each lets go of the interpreter
    lock, and a busy writer's thread may keep it for long. No byte is given out twice, nor in two
    processes.
    """

    def __init__(self) -> None:
        self._drawn = b""
        self._at = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    # The function itself: it is called several times in each request.
    monotonic_seconds = staticmethod(time.monotonic)

    def now_microseconds(self) -> int:
        return time.time_ns() // 1000

    def random_bytes(self, count: int) -> bytes:
        if count > _DRAWN_BYTES // 8:
            return os.urandom(count)
        with self._lock:
            end = self._at + count
            if end > len(self._drawn):
                self._drawn = os.urandom(_DRAWN_BYTES)
                end = count
            self._at = end
            return self._drawn[end - count : end]

    def _forget(self) -> None:
        self._drawn = b""
        self._lock = threading.Lock()


class VirtualClock:
    """A clock that stands still until a test moves it; its randomness is a fixed sequence."""

    def __init__(self, now_microseconds: int = 1_700_000_000_000_000) -> None:
        self._now = now_microseconds
        self._monotonic = 0.0
        self._drawn = 0

    def now_microseconds(self) -> int:
        return self._now

    def monotonic_seconds(self) -> float:
        return self._monotonic

    def random_bytes(self, count: int) -> bytes:
        self._drawn += 1
        seed = self._drawn.to_bytes(8, "big")
        return (seed * (count // 8 + 1))[:count]

    def advance(self, seconds: float) -> None:
        """Moves both clocks; negative seconds move only the wall clock, as a real step would."""
        self._now += int(seconds * 1_000_000)
        self._monotonic += max(seconds, 0.0)


def is_claimed(until: int, now: int, seconds: int) -> bool:
    """Whether a claim of so many seconds, which ends at `until`, lasts. One that would last for
    longer than any does is of a clock that was ahead: nobody keeps it up."""
    return now < until <= now + (seconds + CLOCKS_DIFFER_SECONDS_MAX) * 1_000_000


def new_document_id(clock: Clock) -> str:
    """An automatic id: 20 characters of [A-Za-z0-9], about 119 bits of randomness."""
    drawn = b""
    while len(drawn) < AUTOMATIC_ID_LENGTH:
        drawn += clock.random_bytes(AUTOMATIC_ID_LENGTH + 8).translate(_LETTERS, _REDRAWN)
    return drawn[:AUTOMATIC_ID_LENGTH].decode("ascii")


def milliseconds_only(microseconds: int) -> int:
    """Cuts a time to whole milliseconds, the precision of `request.time`."""
    return microseconds - microseconds % 1000
