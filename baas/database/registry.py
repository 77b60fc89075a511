"""All databases of a server: opened when first asked for, closed again when idle."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Set
from functools import partial

import structlog

from baas.clock import Clock
from baas.database.database import Database
from baas.database.failures import as_baas_error, baas_errors
from baas.database.loading import Loader
from baas.database.names import DatabaseName, check_database_id, check_project_id
from baas.database.retention import Reach
from baas.ending import repeat_until_cancelled
from baas.errors import BaasError, NotFound, Unavailable
from baas.settings import Settings
from baas.storage.engine import StorageError
from baas.storage.placed_store import EngineNotConfigured, Placements, StoreElsewhere
from baas.storage.store import Store, StoreForeign, StoreMissing

TRIM_SECONDS = 60.0  # between two looks at what retention no longer covers
VISIT_SECONDS = 21_600.0  # between two looks at databases that nobody asks for
VISITED_AT_ONCE = 20  # of these, with one look at the others
CLOSED_AT_ONCE = 16  # each is closed on a thread of its own
IDLE_SECONDS_MIN = 30.0  # so that whoever has just been given a database can use it
CROWDED_IDLE_SECONDS_MIN = 5.0  # past twice the limit: descriptors and memory are finite

_log = structlog.get_logger("baas.databases")


class Databases:
    """One Database object per name, opened from the store, which is closed elsewhere.

    Ask for a database at each use, and don't keep it: beyond `open_databases_max` the least
    recently used ones are closed, if they have been idle for IDLE_SECONDS_MIN, or where there are
    twice as many CROWDED_IDLE_SECONDS_MIN, and are not in use.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        placements: Placements | None = None,
    ) -> None:
        """`placements`: which project is where, if the store has several places."""
        self.placements = placements or Placements(settings.engine)
        self.is_shared = store.is_shared  # other nodes, or workers, may commit to them
        self.is_near = store.is_near  # what is small is read without waiting, but of some projects
        self.far_projects: Set[str] = self.placements.far
        # Other workers of this machine commit to them; whether they did is known without waiting.
        self.has_workers = store.is_shared and store.is_near
        self._store = store
        self._settings = settings
        self._clock = clock
        self._open: OrderedDict[DatabaseName, Database] = OrderedDict()
        self._opening: dict[DatabaseName, asyncio.Task[Database]] = {}
        self._closing: dict[DatabaseName, asyncio.Task[None]] = {}
        self._deleting: set[str] = set()
        self._loading: set[str] = set()
        self._is_closed = False
        self._trimming: asyncio.Task[None] | None = None
        self._on_opened: list[Callable[[Database], None]] = []
        # How far back each one's history reaches; None: nobody knows, and nothing is forgotten.
        self.reach_of: Callable[[DatabaseName], Awaitable[Reach]] | None = None
        # All that there are here, whoever asks for them; None: nobody knows.
        self.list_all: Callable[[], Awaitable[Iterable[DatabaseName]]] | None = None
        self._unvisited: deque[DatabaseName] = deque()
        self._next_visits = 0.0
        self._visited: dict[DatabaseName, float] = {}

    async def claim(self, server: str) -> None:
        """Says whose databases these are, in stores that servers might share. Before that, only the
        server's own one may be opened. Raises FailedPrecondition (`StoreOfAnotherServer`)."""
        with baas_errors():
            await self._store.claim(server)

    def find(self, name: DatabaseName) -> Database | None:
        """A database that is open; None says nothing about one that is not."""
        database = None if self.placements.are_doubtful else self._open.get(name)
        if database is not None:
            self._touch(name, database)
        return database

    async def open(self, name: DatabaseName, *, create: bool = False) -> Database:
        """A database of an app. Raises NotFound (`DatabaseNotFound`) unless it exists or `create`
        is set, and InvalidArgument for names that no database may have."""
        if self.placements.are_doubtful:
            await self.placements.settle()
        database = self._open.get(name)
        if database is not None:
            self._touch(name, database)
            return database
        check_project_id(name.project)
        check_database_id(name.database)
        return await self._obtain(name, create=create)

    async def system(self, project: str | None, *, create: bool = False) -> Database:
        """The reserved database of a project; the server's own for None. Raises NotFound
        (`ProjectNotFound`) unless it exists or `create` is set."""
        name = DatabaseName.system(project)
        if project is not None and self.placements.are_doubtful:
            await self.placements.settle()
        database = self._open.get(name)
        if database is not None:
            self._touch(name, database)
            return database
        if project is not None:
            check_project_id(project)
        return await self._obtain(name, create=create)

    def is_current(self, project: str | None) -> bool:
        """Whether all is known here that other workers of this machine had committed to the
        server's own database and to the project's reserved one: users, keys, rules. What is not
        open is not remembered, either."""
        return not self._behind(project)

    async def keep_up(self, project: str | None) -> None:
        """What is remembered of both databases is true to all that other workers had acknowledged
        before the call. Raises Unavailable where that cannot be known."""
        for database in self._behind(project):
            try:
                await database.catch_up()
            except Unavailable:
                if self._open.get(database.name) is database and not database.is_removed:
                    raise

    def _behind(self, project: str | None) -> list[Database]:
        names = [DatabaseName.system(None)]
        if project is not None:
            names.append(DatabaseName.system(project))
        found = [self._open[name] for name in names if name in self._open]
        return [database for database in found if not database.is_current]

    def watch_opened(self, watcher: Callable[[Database], None]) -> None:
        """Calls `watcher` with each database that is opened, before anybody can use it."""
        self._on_opened.append(watcher)

    def open_databases(self) -> list[Database]:
        """Those that are open now."""
        return list(self._open.values())

    async def list_databases(self, project: str) -> list[str]:
        """The ids of a project's databases, `(default)` first, the reserved one not among them."""
        check_project_id(project)
        try:
            return await self._store.list_databases(project)
        except StorageError as error:
            raise as_baas_error(error) from error

    async def delete_project(self, project: str) -> None:
        """Closes the project's databases and removes them from the store. Repeating it changes
        nothing."""
        check_project_id(project)
        self._deleting.add(project)
        try:
            await self.close_project(project)
            await self._store.delete_project(project)
        except StorageError as error:
            raise as_baas_error(error) from error
        finally:
            self._deleting.discard(project)

    @contextlib.contextmanager
    def reserve(self, project: str) -> Iterator[None]:
        """Nobody opens the project's databases meanwhile, but `load`."""
        check_project_id(project)
        self._loading.add(project)
        try:
            yield
        finally:
            self._loading.discard(project)

    @contextlib.asynccontextmanager
    async def load(
        self, name: DatabaseName, version: int, *, goes_on: bool = False
    ) -> AsyncIterator[Loader]:
        """A new database of a project that is reserved, to be filled with documents as they were
        at `version`; or, if it `goes_on`, one that an earlier call has begun to fill."""
        assert name.project in self._loading, name
        await self._close_one(name)
        try:
            engine = await self._store.open(name.store_name, create=True)
        except StorageError as error:
            raise as_baas_error(error) from error
        try:
            yield Loader(engine, version, goes_on=goes_on)
        finally:
            await engine.close()

    async def start_incarnation(self, name: DatabaseName) -> str:
        """Makes all resume tokens of a database begin anew, and closes it: its listeners connect
        again. To be done when data was restored or copied, and its history went another way than
        tokens know. The new incarnation. Raises NotFound."""
        database = await self.open(name)
        incarnation = await database.start_incarnation()
        await self._close_one(name)
        return incarnation

    async def close_project(self, project: str) -> None:
        """Closes the project's databases: another node deletes them, or they are elsewhere now."""
        names = [name for name in {*self._open, *self._opening} if name.project == project]
        for name in names:  # none is given to anybody while another one is being closed
            if name in self._open:
                self._start_closing(name)
        for name in names:
            await self._close_one(name)

    async def close(self) -> None:
        """Closes all; newcomers are refused."""
        self._is_closed = True
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.wait([self._trimming])
        names = [*{*self._opening, *self._open, *self._closing}]
        for start in range(0, len(names), CLOSED_AT_ONCE):
            await asyncio.gather(*map(self._close_one, names[start : start + CLOSED_AT_ONCE]))

    def _touch(self, name: DatabaseName, database: Database) -> None:
        self._open.move_to_end(name)
        database.last_used_seconds = self._clock.monotonic_seconds()

    async def _obtain(self, name: DatabaseName, *, create: bool) -> Database:
        while (opening := self._opening.get(name)) is not None and create:
            # Begun, it may be, for somebody who asks for what is not there, and makes nothing.
            with contextlib.suppress(NotFound):
                return await asyncio.shield(opening)
            self._note_opening_over(name, opening)  # the loop may not have come to that yet
        if opening is None:
            self._check_open(name)
            opening = asyncio.create_task(self._open_engine(name, create), name=f"open {name}")
            self._opening[name] = opening
            opening.add_done_callback(partial(self._note_opening_over, name))
        # Several may wait for one opening: none of them cancels it for the others.
        return await asyncio.shield(opening)

    def _note_opening_over(self, name: DatabaseName, opening: asyncio.Task[Database]) -> None:
        if self._opening.get(name) is opening:
            del self._opening[name]

    def _check_open(self, name: DatabaseName) -> None:
        if self._is_closed:
            raise Unavailable("the server is shutting down", reason="ShuttingDown")
        if name.project in self._deleting or name.project in self._loading:
            raise _not_found(DatabaseName.system(name.project))

    async def _open_engine(self, name: DatabaseName, create: bool) -> Database:
        closing = self._closing.get(name)
        if closing is not None:
            await asyncio.wait([closing])
        try:
            engine = await self._store.open(name.store_name, create=create)
        except StoreMissing as error:
            raise _not_found(name) from error
        except (StoreElsewhere, StoreForeign, EngineNotConfigured) as error:
            raise as_baas_error(error) from error
        except StorageError as error:
            _log.error("a database cannot be opened", database=str(name), error=str(error))
            raise as_baas_error(error) from error
        try:
            database = await Database.open(name, engine, clock=self._clock, settings=self._settings)
        except BaseException:
            await engine.close()
            raise
        for watcher in self._on_opened:
            watcher(database)
        self._open[name] = database
        database.on_removed = lambda: self._note_removed(name, database)
        database.reopen = partial(self._reopen, name)
        if database.is_removed:
            self._note_removed(name, database)
        if self._trimming is None:
            self._trimming = asyncio.create_task(
                repeat_until_cancelled("tidying up", self._trim_all), name="retention"
            )
        self._close_idle()
        return database

    async def _reopen(self, name: DatabaseName) -> Database:
        return await (self.system(name.project) if name.is_system else self.open(name))

    def _note_removed(self, name: DatabaseName, database: Database) -> None:
        """Another node deleted it: who asks again finds what there is now."""
        if self._open.get(name) is database:
            self._start_closing(name)

    async def _trim_all(self) -> None:
        await asyncio.sleep(TRIM_SECONDS)
        # After a burst nobody may open another one, which would close those that are idle.
        while closing := self._close_idle():
            await asyncio.wait(closing)
        for database in self.open_databases():
            with _tidying_up(str(database.name)):
                await self._trim(database)
                await database.index_keeper.tidy()
        with _tidying_up("those that nobody asks for"):
            await self._visit_unused()

    async def _trim(self, database: Database) -> None:
        if self.reach_of is not None:
            await database.retention.trim(await self.reach_of(database.name))

    async def _visit_unused(self) -> None:
        """Opens some of those that nobody asks for: they do not grow, but what they keep of the
        past has its time, too. They are closed with the next look."""
        for name, used in self._visited.items():
            database = self._open.get(name)
            if database is None or database.is_in_use:
                continue
            if database.last_used_seconds == used:
                self._start_closing(name)
        self._visited.clear()
        now = self._clock.monotonic_seconds()
        if not self._unvisited and now >= self._next_visits and self.list_all is not None:
            self._unvisited.extend(await self.list_all())
            self._next_visits = now + VISIT_SECONDS
        for _ in range(min(VISITED_AT_ONCE, len(self._unvisited))):
            name = self._unvisited.popleft()
            if name not in self._open:
                with _tidying_up(str(name)), contextlib.suppress(NotFound):
                    await self._visit(name)

    async def _visit(self, name: DatabaseName) -> None:
        database = await (self.system(name.project) if name.is_system else self.open(name))
        self._visited[name] = database.last_used_seconds
        await self._trim(database)

    def _close_idle(self) -> list[asyncio.Task[None]]:
        """Begins to close the longest idle ones past the limit, some at a time. Those in use stay,
        however many."""
        excess = len(self._open) - self._settings.open_databases_max
        if excess <= 0:
            return []
        is_crowded = excess > self._settings.open_databases_max
        seconds = CROWDED_IDLE_SECONDS_MIN if is_crowded else IDLE_SECONDS_MIN
        idle_since = self._clock.monotonic_seconds() - seconds
        idle = [
            name
            for name, database in self._open.items()
            if database.last_used_seconds <= idle_since and not database.is_in_use
        ]
        return [self._start_closing(name) for name in idle[: min(excess, CLOSED_AT_ONCE)]]

    def _start_closing(self, name: DatabaseName) -> asyncio.Task[None]:
        # Out of the table at once: whoever asks from now on waits and gets a new object.
        database = self._open.pop(name)
        closing = asyncio.create_task(database.close(), name=f"close {name}")
        self._closing[name] = closing
        closing.add_done_callback(lambda _: self._closing.pop(name, None))
        return closing

    async def _close_one(self, name: DatabaseName) -> None:
        opening = self._opening.get(name)
        if opening is not None:
            await asyncio.wait([opening])
        closing = self._closing.get(name)
        if name in self._open:
            closing = self._start_closing(name)
        if closing is not None:
            await asyncio.wait([closing])


@contextlib.contextmanager
def _tidying_up(what: str) -> Iterator[None]:
    """A failure is put on record, and a defect: it must not let all the others grow."""
    try:
        yield
    except BaasError as error:
        _log.warning("tidying up failed", database=what, error=str(error))
    except Exception:
        _log.exception("tidying up failed", database=what)


def _not_found(name: DatabaseName) -> NotFound:
    if name.is_system:
        return NotFound(f"project `{name.project}` does not exist", reason="ProjectNotFound")
    return NotFound(
        f"database `{name.database}` of project `{name.project}` does not exist",
        reason="DatabaseNotFound",
    )
