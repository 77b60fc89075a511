"""System databases, as `accounts` and `projects` use them: opened, run in, watched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from baas.clock import Clock, milliseconds_only
from baas.database.database import Database
from baas.database.log import CommitEvent
from baas.database.registry import Databases
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import Unavailable
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp

T = TypeVar("T")
TOLD_SECONDS_MAX = 10.0  # from when a commit can be read to when it is told of
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

    async def read(self, project: str | None, path: DocumentPath) -> StoredDocument | None:
        """The document as committed. Whoever acts upon it meets no memory that is older: observers
        have seen what was read here. Raises NotFound (`ProjectNotFound`)."""
        database = await self.open(project)
        (document,) = await database.get_documents([path])
        if document is not None:
            await wait_told(database, document.version)
        return document

    async def run_query(self, project: str | None, query: Query) -> list[StoredDocument]:
        """The answer as committed, with the guarantee of `read`."""
        database = await self.open(project)
        found = await database.run_query(query)
        await wait_told(database, found.version)
        return found.documents

    async def run(self, project: str | None, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs `body` in a transaction and gives back what it gives. It may run more than once."""
        database = await self.open(project)
        now = Timestamp(milliseconds_only(self._clock.now_microseconds()))
        return (await database.run_transaction(body, request_time=now)).value

    def forget(self, project: str) -> None:
        """The project is gone."""
        self._watched.pop(project, None)


async def wait_told(database: Database, version: int) -> None:
    """Returns when subscribers have heard of the commits up to this one, which was read: what is
    committed can be read a moment before they hear of it. Raises Unavailable."""
    if version > database.version:
        await database.catch_up()
    if version <= database.version:
        return
    told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(event: CommitEvent) -> None:
        if event.version >= version and not told.done():
            told.set_result(None)

    unsubscribe = database.subscribe(note, keep_open=False)
    try:
        async with asyncio.timeout(TOLD_SECONDS_MAX):
            await told
    except TimeoutError:
        message = "what was committed last is not known here yet; try again"
        raise Unavailable(message, reason="Behind") from None
    finally:
        unsubscribe()
