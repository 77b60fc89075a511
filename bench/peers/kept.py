"""Seeds of a million documents, kept below .tools/peers: making one takes minutes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

from bench.peers.install import HOME, say
from bench.peers.loads import Seed

SEED_VERSION = 1  # to be raised when what is seeded, or the rules of it, change


class Seeded(Protocol):
    """A peer whose seed is a folder, and what it knows of it."""

    name: str

    @property
    def data(self) -> Path: ...

    @property
    def state(self) -> Any:
        """What it knows of its seed, as JSON."""

    def restore(self, state: Any) -> None: ...

    def seed(self, seed: Seed) -> None: ...


def seed_or_copy(peer: Seeded, seed: Seed) -> None:
    """Seeds a peer, with a copy of an earlier large seed if there is one."""
    if not seed.is_large:
        peer.seed(seed)
        return
    place = HOME / "large" / f"{peer.name}-{SEED_VERSION}-{seed.doomed}"
    if place.exists():
        say(f"{peer.name}: a copy of {place}; delete it to have it made anew")
        shutil.copytree(place / "data", peer.data)
        peer.restore(json.loads((place / "state.json").read_text(encoding="utf-8")))
        return
    peer.seed(seed)
    fresh = place.with_suffix(".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(peer.data, fresh / "data")
    (fresh / "state.json").write_text(json.dumps(peer.state), encoding="utf-8")
    fresh.rename(place)
