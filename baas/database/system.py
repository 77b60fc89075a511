"""System databases, as `accounts` and `projects` use them: opened, run in, watched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from baas.clock import Clock, milliseconds_only
from baas.database.database import Database
from baas.database.log import CommitEvent
from baas.database.registry import Databases
from baas.database.transaction import Transaction
from baas.model.timestamps import Timestamp

T = TypeVar("T")
Observer = Callable[[str | None, CommitEvent], None]
LostProject = Callable[[str | None], None]


class SystemStore:
    """Opens system databases; project None is the server's own. `observer` sees every commit of
    each one that was opened here, before whoever made the commit gets its answer. What other nodes
    commit it sees soon after; `on_lost` is called where it will not see it, or has not yet though
    it should have: whatever is kept in memory of that database has to be forgotten then."""

    def __init__(
        self,
        databases: Databases,
        clock: Clock,
        observer: Observer,
        on_lost: LostProject = lambda project: None,
    ) -> None:
        self._databases = databases
        self._clock = clock
        self._observer = observer
        self._on_lost = on_lost
        # The object whose commits are watched: a database that was closed when idle comes back as
        # another object, and is watched anew.
        self._watched: WeakValueDictionary[str | None, Database] = WeakValueDictionary()

    async def open(self, project: str | None) -> Database:
        """Raises NotFound (`ProjectNotFound`) for a project that was not made: asking for what a
        stranger names makes no files."""
        database = await self._databases.system(project)
        if self._watched.get(project) is not database:
            self._watched[project] = database
            # Watching keeps no idle database open: what is closed does not change, or if others
            # may change it, it is lost.
            database.subscribe(
                lambda event: self._observer(project, event),
                keep_open=False,
                on_lost=lambda: self._on_lost(project),
                on_late=lambda: self._on_lost(project),
            )
        return database

    async def run(self, project: str | None, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs `body` in a transaction and gives back what it gives. It may run more than once."""
        database = await self.open(project)
        now = Timestamp(milliseconds_only(self._clock.now_microseconds()))
        return (await database.run_transaction(body, request_time=now)).value

    def forget(self, project: str) -> None:
        """The project is gone."""
        self._watched.pop(project, None)
