"""Signals: commits that hold nothing but the word that something outside of the database changed.

Let S be the version of a signal. **Every commit above S, on whichever node, was made ready by a
node that had heard of the signal**: a group ends with it, and a node that has not heard of it
writes upon a head that is no longer there, is outrun, and hears of it first. So what a transaction
rests on can be changed for all nodes at one point of a database's order, without waiting for any.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from baas.clock import Clock, new_document_id
from baas.database.indexes import SIGNALS
from baas.database.log import CommitEvent, CommitFeed
from baas.database.transaction import CommitResult, Transaction
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import SetWrite


class Signals:
    """Those of one database, whose `run_transaction` is `run`."""

    def __init__(
        self, run: Callable[..., Awaitable[CommitResult[Any]]], feed: CommitFeed, clock: Clock
    ) -> None:
        self._run = run
        self._clock = clock
        self._watchers: list[tuple[str, Callable[[], None]]] = []
        feed.subscribe(
            self._on_commit, keep_open=False, on_lost=self._lose, is_listening=lambda: False
        )

    def watch(self, topic: str, watcher: Callable[[], None]) -> None:
        """Calls `watcher` when a signal of the topic was committed, by this node or another, and
        whenever one may have been missed, for as long as the database is open. It must be quick
        and not raise."""
        self._watchers.append((topic, watcher))

    async def send(self, topic: str) -> int:
        """Every node calls its watchers before it commits anything above the version that is given
        back. Raises as `run_transaction`."""

        async def body(transaction: Transaction) -> None:
            fresh: Fields = {"id": new_document_id(self._clock)}
            await transaction.write([SetWrite(SIGNALS.document(topic), fresh)])

        now = Timestamp(self._clock.now_microseconds())
        return (await self._run(body, request_time=now, ends_group=True)).version

    def _on_commit(self, event: CommitEvent) -> None:
        changes = event.changes
        if changes and changes[0].path.segments[0] == SIGNALS.segments[0]:
            self._call({change.path.id for change in changes})

    def _lose(self) -> None:
        self._call({topic for topic, _ in self._watchers})

    def _call(self, topics: set[str]) -> None:
        for topic, watcher in self._watchers:
            if topic in topics:
                watcher()
