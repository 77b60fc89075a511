"""What the processes of one machine share of a database file: whose turn it is to write, and that
somebody has written. SQLite by itself knows only waiting and asking again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from baas.storage.engine import EngineUnavailable

SLOTS = 4_096  # two databases that meet in one wait for each other, and are woken for each other
_WORDS = 2  # of each slot: commits so far, pages in the WAL
POLL_SECONDS = 1.0

Notify = Callable[[], None]
TellOthers = Callable[[int | None], None]


def encode_slot(slot: int | None) -> bytes:
    """For the way to other processes."""
    return b"" if slot is None else slot.to_bytes(2)


def decode_slot(data: bytes) -> int | None:
    return int.from_bytes(data) if data else None


class Sharer(Protocol):
    """One engine's part in a file that others may write to."""

    is_shared: bool
    wal_pages: int
    """How long the WAL is, as of the last commit of anybody."""

    def turn(self) -> AbstractContextManager[None]:
        """Nobody else writes within the block, which is entered when it is one's turn. For one
        thread at a time. Blocks."""
        ...

    def claim(self) -> None:
        """Waits for the next turn, which begins now, and ends with the block of `turn`. Blocks."""
        ...

    def give_up(self) -> None:
        """Ends a turn that was claimed and not used."""
        ...

    def opening(self) -> AbstractContextManager[None]:
        """No file changes its name while one is opened. Blocks."""
        ...

    def note_commit(self) -> None:
        """Within a turn: what was written can be read."""
        ...

    def count_others(self) -> int:
        """How often others have noted a commit; more often than that, where slots are shared."""
        ...

    def tell_soon(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Wakes the others, on the event loop. From any thread."""
        ...

    def watch(self, notify: Notify) -> Callable[[], None]:
        """Calls `notify` on the event loop when others have told; gives back what ends it."""
        ...

    def close(self) -> None: ...


class Alone:
    """The file is this process's own."""

    is_shared = False

    def __init__(self) -> None:
        self.wal_pages = 0

    def turn(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def claim(self) -> None:
        """Nobody else writes."""

    def give_up(self) -> None:
        """There is none."""

    def opening(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def note_commit(self) -> None:
        """Nobody wants to know."""

    def count_others(self) -> int:
        return 0

    def tell_soon(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """There is nobody."""

    def watch(self, notify: Notify) -> Callable[[], None]:
        return lambda: None

    def close(self) -> None:
        """Nothing is held."""


class Claim:
    """How long a turn is claimed: until it is dropped, or `end` is called. On the event loop."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """Before there is a turn: what is claimed has an end, whatever becomes of the caller."""
        self.drop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def drop(self) -> bool:
        """Whether there was a claim."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None


class SharedMarks:
    """Memory and lock files that the processes of one machine share. To be made before they part.

    A word of eight aligned bytes is read and written at once. Only who has the turn writes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self.words = memoryview(mmap.mmap(-1, SLOTS * _WORDS * 8)).cast("Q")

    def lock_file(self, name: str) -> int:
        """A descriptor of its own of a lock that has a name."""
        return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Sharing:
    """One process's part in what is shared. `tell_others` wakes the other processes over a slot;
    who is woken by them calls `hear`. Whatever gets lost on that way is found within a second."""

    def __init__(self, marks: SharedMarks, tell_others: TellOthers = lambda slot: None) -> None:
        self._marks = marks
        self._tell_others = tell_others
        self._watches: dict[int, dict[object, tuple[object, Notify]]] = {}
        self._heard: dict[int, int] = {}  # of each slot, how many commits were told
        self._polling: asyncio.TimerHandle | None = None

    def sharer(self, name: str) -> SlotSharer:
        """The part in one database, for one engine. To be closed."""
        slot = zlib.crc32(name.encode()) % SLOTS
        return SlotSharer(self, self._marks, slot)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """While anybody is within, nobody is within `renaming`. Blocks."""
        with _locked(self._marks.lock_file("names"), fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def renaming(self) -> Iterator[None]:
        """While files get other names. Blocks."""
        with _locked(self._marks.lock_file("names"), fcntl.LOCK_EX):
            yield

    def tell(self, slot: int, owner: object) -> None:
        """Wakes everybody but `owner`, here and elsewhere."""
        for other, notify in tuple(self._watches.get(slot, {}).values()):
            if other is not owner:
                notify()
        self._tell_others(slot)

    def tell_all(self) -> None:
        """Wakes everybody over whatever was noted since they heard last."""
        self.hear(None)
        self._tell_others(None)

    def wake_all(self) -> None:
        """A process has died, and may not have told, nor noted, what it had done."""
        for watched in tuple(self._watches):
            self._wake(watched)

    def hear(self, slot: int | None) -> None:
        """Another process has committed in a slot; None: look for where."""
        if slot is None:
            self._look()
        elif slot in self._watches:
            self._wake(slot)

    def watch(self, slot: int, owner: object, notify: Notify) -> Callable[[], None]:
        """Calls `notify` when others than `owner` have told; gives back what ends it."""
        place = object()
        self._heard.setdefault(slot, self._commits(slot))
        self._watches.setdefault(slot, {})[place] = (owner, notify)
        if self._polling is None:
            self._poll_later()

        def stop() -> None:
            watches = self._watches.get(slot, {})
            watches.pop(place, None)
            if not watches:
                self._watches.pop(slot, None)
                self._heard.pop(slot, None)

        return stop

    def close(self) -> None:
        """Nobody is woken from now on."""
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None

    def _commits(self, slot: int) -> int:
        return self._marks.words[_WORDS * slot]

    def _wake(self, slot: int) -> None:
        self._heard[slot] = self._commits(slot)
        for _, notify in tuple(self._watches[slot].values()):
            notify()

    def _poll_later(self) -> None:
        self._polling = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)

    def _look(self) -> None:
        for slot in tuple(self._watches):
            if self._heard[slot] != self._commits(slot):
                self._wake(slot)

    def _poll(self) -> None:
        self._look()
        self._polling = None
        if self._watches:
            self._poll_later()


class SlotSharer:
    """See `Sharer`. The lock is the file's, so whoever dies has let go of it."""

    is_shared = True

    def __init__(self, sharing: Sharing, marks: SharedMarks, slot: int) -> None:
        self.opening = sharing.opening
        self._sharing = sharing
        self._words = marks.words
        self._slot = slot
        self._place = _WORDS * slot
        self._own = 0
        self._file = marks.lock_file(f"{slot:04}")
        self._is_claimed = False

    @property
    def wal_pages(self) -> int:
        return self._words[self._place + 1]

    @wal_pages.setter
    def wal_pages(self, pages: int) -> None:
        self._words[self._place + 1] = pages

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        self.claim()
        try:
            yield
        finally:
            self.give_up()

    def claim(self) -> None:
        if not self._is_claimed:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            except OSError as error:
                raise EngineUnavailable(str(error)) from error
            self._is_claimed = True

    def give_up(self) -> None:
        if self._is_claimed:
            self._is_claimed = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    # On the writer's thread, and asked for on the event loop: in this order, what is halfway counts
    # once too often as another's, which costs a look, and never once too little.

    def note_commit(self) -> None:
        self._words[self._place] += 1
        self._own += 1

    def count_others(self) -> int:
        own = self._own
        return self._words[self._place] - own

    def tell_soon(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._sharing.tell, self._slot, self)

    def watch(self, notify: Notify) -> Callable[[], None]:
        return self._sharing.watch(self._slot, self, notify)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._file)


@contextlib.contextmanager
def _locked(file: int, kind: int) -> Iterator[None]:
    try:
        fcntl.flock(file, kind)
        yield
    finally:
        os.close(file)
