"""Updates on their way to one reader, bounded in number and in bytes.

Beyond a bound nothing is kept: every key that had an update is left with one mark, which says that
its reader has to be given the whole answer instead. Until that is in the queue, its updates are
worth nothing and are not taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from baas.database.listeners import Update

K = TypeVar("K", bound=Hashable)


class UpdateQueue(Generic[K]):
    """In the order of arrival. Neither waits nor raises."""

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._items: deque[tuple[K, Update | None]] = deque()
        self._bytes = 0
        self._behind: set[K] = set()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def first(self) -> tuple[K, Update | None] | None:
        """The next one: an update, or None as the mark; None if the queue is empty."""
        return self._items[0] if self._items else None

    def push(self, key: K, update: Update, *, is_first: bool) -> bool:
        """Adds an update, or drops it. A key's first answer, however large, drops nobody else's:
        it leaves the mark. False if everything was dropped."""
        if key in self._behind:
            return True  # the whole answer will be read when its turn comes
        size = update.size_bytes
        is_over = self._bytes + size > self._bytes_max
        if is_over and is_first:
            self._mark(key)
        elif is_over or len(self._items) >= self._messages_max:
            self._drop(key)
            return False
        else:
            self._items.append((key, update))
            self._bytes += size
        return True

    def pop(self) -> None:
        """Takes the first one out. After a mark, updates of its key are still not taken."""
        _, update = self._items.popleft()
        if update is not None:
            self._bytes -= update.size_bytes

    def push_whole(self, key: K, update: Update) -> None:
        """Puts a key's whole answer in front, of any size; updates after it are taken again."""
        self._behind.discard(key)
        self._items.appendleft((key, update))
        self._bytes += update.size_bytes

    def forget(self, key: K) -> None:
        """Nobody waits for the key any more."""
        self._behind.discard(key)
        kept = [item for item in self._items if item[0] != key]
        if len(kept) < len(self._items):
            self._items = deque(kept)
            self._bytes = sum([update.size_bytes for _, update in kept if update is not None])

    def _mark(self, key: K) -> None:
        self._behind.add(key)
        self._items.append((key, None))

    def _drop(self, newest: K) -> None:
        keys = dict.fromkeys([key for key, _ in self._items])
        keys[newest] = None
        self._items.clear()
        self._bytes = 0
        for key in keys:
            self._mark(key)
