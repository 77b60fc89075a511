"""Commits that can be read in the store, and of which nobody is told yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from baas.storage.engine import CommitGroup, LogRecord


class Untold:
    """Of one engine, from now on. `committed`: there is one."""

    def __init__(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.committed = asyncio.Event()
        self._may_tell = asyncio.Event()
        self._commit = engine.commit
        monkeypatch.setattr(engine, "commit", self._commit_and_wait)

    def tell(self) -> None:
        self._may_tell.set()

    async def _commit_and_wait(self, group: CommitGroup) -> Sequence[LogRecord]:
        missed: Sequence[LogRecord] = await self._commit(group)
        self.committed.set()
        await self._may_tell.wait()
        return missed
