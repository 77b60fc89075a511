"""What a backup consists of. Its manifest is written last: a backup without one is none.

    sets/{backup}/{attempt}-{number}        a part: lines, compressed
    sets/{backup}/checkpoint                while it is written: how far it has come
    sets/{backup}/manifest                  the sections, each with its parts and their checksums
    {objects}/{content}/{part}              bytes of objects, shared by the backups of one server

A section is one database as of one version, or what else belongs to a project. Contents of objects
are never changed and have random names, so a later backup takes over what is there already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import orjson

from baas.errors import DataLoss, FailedPrecondition

FORMAT = 1


class SectionKind(Enum):
    DATABASE = "database"  # one that apps use
    SYSTEM = "system"  # a project's users, sessions, metadata of objects
    OBJECTS = "objects"  # which contents the system section names
    PROJECT = "project"  # the project itself, its API keys, rules
    SERVER = "server"  # administrators


@dataclass(frozen=True, slots=True)
class Part:
    """`sha256` is of the bytes as they are stored; `size` counts them."""

    id: str
    size: int
    sha256: str
    lines: int


@dataclass(frozen=True, slots=True)
class Section:
    """`digest` is of the lines, whatever their order; `count` and `bytes` are of them, too.
    `indexes`: records of indexes as lines, which belong to the database and are no documents."""

    kind: SectionKind
    project: str
    name: str
    version: int
    incarnation: str
    count: int
    bytes: int
    digest: str
    parts: tuple[Part, ...]
    indexes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """`server` tells whose backup it is, `secret` with which secret key it was sealed. `only`: the
    project of a backup of one; None for a whole server's. Times are microseconds since 1970."""

    id: str
    created: int
    finished: int
    server: str
    secret: str
    software: str
    only: str | None
    is_scheduled: bool
    sections: tuple[Section, ...] = field(default=())

    @property
    def projects(self) -> list[str]:
        return list(dict.fromkeys(one.project for one in self.sections if one.project))

    @property
    def objects_place(self) -> str:
        """The first part of the keys of its objects' bytes."""
        return objects_place(self.server)

    def of_project(self, project: str, kind: SectionKind) -> list[Section]:
        return [one for one in self.sections if one.project == project and one.kind is kind]

    def count(self, *kinds: SectionKind) -> tuple[int, int]:
        """How many lines, and bytes, the sections of these kinds have."""
        found = [one for one in self.sections if one.kind in kinds]
        return sum(one.count for one in found), sum(one.bytes for one in found)


def objects_place(server: str) -> str:
    return f"objects-{server}"


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON text of two lines: the manifest, and its SHA-256."""
    return seal(asdict(manifest) | {"format": FORMAT})


def decode_manifest(data: bytes, backup: str) -> Manifest:
    """Raises DataLoss (`BackupDamaged`), FailedPrecondition (`BackupTooNew`)."""
    tree = unseal(data)
    if tree is None:
        raise damaged(backup, "its manifest does not match its checksum")
    if tree.pop("format") != FORMAT:
        raise FailedPrecondition(
            f"backup `{backup}` is of a format that this version does not know; restore it with "
            f"the version that made it, {tree.get('software')}, or a newer one",
            reason="BackupTooNew",
        )
    sections = [decode_section(one) for one in tree.pop("sections")]
    return Manifest(**tree, sections=tuple(sections))


def decode_section(tree: dict[str, Any]) -> Section:
    """From what `asdict` made of it."""
    changed = {
        "kind": SectionKind(tree["kind"]),
        "parts": tuple(Part(**part) for part in tree["parts"]),
        "indexes": tuple(tree["indexes"]),
    }
    return Section(**{**tree, **changed})


def seal(tree: dict[str, Any]) -> bytes:
    """JSON text of a tree, and its SHA-256."""
    text = orjson.dumps(tree, default=lambda one: one.value, option=orjson.OPT_SORT_KEYS)
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def unseal(data: bytes) -> dict[str, Any] | None:
    """The inverse; None for what is not whole."""
    text, _, digest = data.strip().partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    tree: dict[str, Any] = orjson.loads(text)
    return tree


def damaged(backup: str, problem: str) -> DataLoss:
    return DataLoss(f"backup `{backup}` is damaged: {problem}", reason="BackupDamaged")


class LinesDigest:
    """A checksum of lines that does not depend on their order: the sum of their SHA-256. (Nobody
    has to be kept from forging one here; parts and manifest have checksums of their own.)"""

    __slots__ = ("_sum", "bytes", "count")

    def __init__(self, count: int = 0, size: int = 0, text: str = "0") -> None:
        """Begins with nothing, or with what another one came to."""
        self.count = count
        self.bytes = size
        self._sum = int(text, 16)

    def add(self, lines: Sequence[bytes]) -> None:
        self.count += len(lines)
        for line in lines:
            self.bytes += len(line)
            self._sum += int.from_bytes(hashlib.sha256(line).digest(), "big")

    def remove(self, lines: Sequence[bytes]) -> None:
        """As if these had not been added."""
        self.count -= len(lines)
        for line in lines:
            self.bytes -= len(line)
            self._sum -= int.from_bytes(hashlib.sha256(line).digest(), "big")

    @property
    def text(self) -> str:
        return f"{self._sum % (1 << 256):064x}"
