"""The one mongod that Parse Server, the product and the bare driver are measured on."""

from __future__ import annotations

from pathlib import Path

from bench.peers.install import NotRun
from scripts.find_mongod import NOT_RUN, find_mongod, given_uri
from tests.mongo import ReplicaSet


class Mongod:
    """A replica set of one, or the given one. It rests while others are measured."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given = given_uri()
        self._set: ReplicaSet | None = None
        self._rests = False
        if self._given is None and find_mongod() is None:
            raise NotRun(NOT_RUN)

    def uri(self) -> str:
        """Where it answers; it is started, or started again, for that."""
        if self._given is not None:
            return self._given
        if self._set is None:
            self._set = ReplicaSet(self._folder / "mongod").start()
        elif self._rests:
            self._set.restart(0)
            self._set.wait_primary()
            self._rests = False
        return self._set.uri

    def rest(self) -> None:
        """Out of the way until it is asked for; what it acknowledged is on disk."""
        if self._set is not None and not self._rests:
            self._set.kill(0)
            self._rests = True

    def stop(self) -> None:
        if self._set is not None:
            self._set.stop()
