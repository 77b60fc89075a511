"""How large a corpus is, and how many of its documents have a word: told exactly of few, and of
many by a sample, so that nobody has to look at all of them.

Each document has a number for good, drawn from its name (`encoding.keys.sample_key`). It is at
level n if the first n binary digits of that are zeros: of all documents one in two to the n is.
Told is the number of documents at the first level where there are no more than `EXACT_MAX`, times
that power; and more than `EXACT_MAX`, if that is not level 0. Level 0 are all documents; the next
one that is looked at is `FIRST_LEVEL`, since documents at those above 0 are listed twice.

So what is told is a function of the documents alone: an index and a scan, every engine, every node
and every snapshot of the same documents tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

EXACT_MAX = 2_000  # documents up to which they are counted themselves
FIRST_LEVEL = 4  # above 0
SAMPLE_BYTES = 4
LEVEL_MAX = 8 * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class Size:
    """Of a corpus, or of those in it that have a word, of which the length is not asked."""

    documents: int
    length: int = 0

    def at_level(self, level: int) -> Size:
        """What documents at a level tell of all: above level 0 that there are more than are told
        of exactly, however few are there."""
        documents, length = self.documents << level, self.length << level
        if not level or not is_exact(documents):
            return Size(documents, length)
        more = EXACT_MAX + 1
        return Size(more, more * self.length // max(1, self.documents))


def is_exact(documents: int) -> bool:
    """Whether the number that is told is that of all documents."""
    return documents <= EXACT_MAX


def level_of(sample: bytes) -> int:
    """The highest level at which a document is, by its number."""
    return LEVEL_MAX - int.from_bytes(sample).bit_length()


def levels() -> Iterator[int]:
    """Those that are looked at, in order."""
    yield 0
    yield from range(FIRST_LEVEL, LEVEL_MAX + 1)


class Tally:
    """Documents that are counted one by one."""

    __slots__ = ("_documents", "_lengths")

    def __init__(self) -> None:
        self._documents = [0] * (LEVEL_MAX + 1)  # by their highest level
        self._lengths = [0] * (LEVEL_MAX + 1)

    def add(self, level: int, length: int = 0) -> None:
        self._documents[level] += 1
        self._lengths[level] += length

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self._documents)

    @property
    def size(self) -> Size:
        """What is told of them."""
        for level in levels():
            found = Size(sum(self._documents[level:]), sum(self._lengths[level:]))
            if is_exact(found.documents):
                break
        return found.at_level(level)
