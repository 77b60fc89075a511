"""How far a backup has come, kept beside its parts: whoever goes on with it repeats little.

A checkpoint names only parts that are durable. Of the section that is not whole it keeps where its
scan was, which is good as long as history reaches back to the version that is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from baas.backups.manifest import (
    LinesDigest,
    Manifest,
    Section,
    decode_manifest,
    decode_section,
    encode_manifest,
    seal,
    unseal,
)
from baas.database.past_scan import ScanPlace, decode_place, encode_place
from baas.errors import BaasError

FORMAT = 2


@dataclass(frozen=True, slots=True)
class BegunSection:
    """A section of a database that is not whole: what has been written of it, and how to go on."""

    section: Section
    place: ScanPlace

    @property
    def digest(self) -> LinesDigest:
        return LinesDigest(self.section.count, self.section.bytes, self.section.digest)


@dataclass(slots=True)
class Checkpoint:
    """The sections that are whole, and the one that is not."""

    sections: list[Section] = field(default_factory=list)
    begun: BegunSection | None = None


def encode_checkpoint(manifest: Manifest, checkpoint: Checkpoint) -> bytes:
    """`manifest`: what the backup's is to begin as."""
    begun = checkpoint.begun
    tree: dict[str, Any] = {
        "format": FORMAT,
        "manifest": encode_manifest(manifest).decode(),
        "sections": checkpoint.sections,
        "begun": None,
    }
    if begun is not None:
        tree["begun"] = {"section": begun.section, "place": encode_place(begun.place)}
    return seal(tree)


def decode_checkpoint(data: bytes, backup: str) -> tuple[Manifest, Checkpoint] | None:
    """None for what cannot be gone on from: cut off, or of another version."""
    try:
        tree = unseal(data)
        if tree is None or tree["format"] != FORMAT:
            return None
        manifest = decode_manifest(tree["manifest"].encode(), backup)
        checkpoint = Checkpoint([decode_section(one) for one in tree["sections"]])
        if (begun := tree["begun"]) is not None:
            place = decode_place(begun["place"])
            checkpoint.begun = BegunSection(decode_section(begun["section"]), place)
    except (BaasError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest, checkpoint
