"""How far reading a backup has come: kept in the task, for whoever goes on with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from baas.backups.manifest import LinesDigest


@dataclass(frozen=True, slots=True)
class Count:
    """What lines came to so far, as a LinesDigest has it."""

    count: int = 0
    bytes: int = 0
    text: str = "0"

    @staticmethod
    def of(digest: LinesDigest) -> Count:
        return Count(digest.count, digest.bytes, digest.text)

    def digest(self) -> LinesDigest:
        """One that goes on from here."""
        return LinesDigest(self.count, self.bytes, self.text)


@dataclass(frozen=True, slots=True)
class Position:
    """`project`: the id under which one is restored, "" for a verification. So many `sections` are
    done with, and so many `parts` of the next one: `taken` are their lines, and `given` what was
    made of them."""

    project: str = ""
    sections: int = 0
    parts: int = 0
    taken: Count = field(default_factory=Count)
    given: Count = field(default_factory=Count)

    def of_section(self, number: int) -> Position:
        """Where to begin with a section that is not done with."""
        return self if number == self.sections else Position(self.project, number)


def encode_position(position: Position) -> str:
    return orjson.dumps(position).decode()


def decode_position(text: str) -> Position:
    """The inverse of `encode_position`."""
    tree = orjson.loads(text)
    counts = {name: Count(**tree[name]) for name in ("taken", "given")}
    return Position(**{**tree, **counts})
