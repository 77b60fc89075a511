"""All databases of a server: opened when first asked for, closed again when idle."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import OrderedDict
from pathlib import Path

import structlog

from baas.clock import Clock
from baas.database.committer import as_baas_error
from baas.database.database import Database
from baas.database.names import (
    DEFAULT_DATABASE,
    DatabaseName,
    check_database_id,
    check_project_id,
)
from baas.errors import BaasError, NotFound, Unavailable
from baas.settings import Settings
from baas.storage.engine import StorageError
from baas.storage.sqlite import SqliteEngine

TRIM_SECONDS = 60.0  # between two looks at what retention no longer covers
IDLE_SECONDS_MIN = 30.0  # so that whoever has just been given a database can use it
_SUFFIX = ".sqlite"

_log = structlog.get_logger("baas.databases")


class Databases:
    """One Database object per name. The lock of the data folder is held elsewhere.

    Ask for a database at each use, and don't keep it: beyond `open_databases_max` the least
    recently used ones are closed, if they have been idle for IDLE_SECONDS_MIN and are not in use.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._open: OrderedDict[DatabaseName, Database] = OrderedDict()
        self._opening: dict[DatabaseName, asyncio.Task[Database]] = {}
        self._closing: dict[DatabaseName, asyncio.Task[None]] = {}
        self._deleting: set[str] = set()
        self._is_closed = False
        self._trimming: asyncio.Task[None] | None = None

    async def open(self, name: DatabaseName, *, create: bool = False) -> Database:
        """A database of an app. Raises NotFound (`DatabaseNotFound`) unless it exists or `create`
        is set, and InvalidArgument for names that no database may have."""
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
        database = self._open.get(name)
        if database is not None:
            self._touch(name, database)
            return database
        if project is not None:
            check_project_id(project)
        return await self._obtain(name, create=create)

    def open_databases(self) -> list[Database]:
        """Those that are open now."""
        return list(self._open.values())

    async def list_databases(self, project: str) -> list[str]:
        """The ids of a project's databases, `(default)` first, the reserved one not among them."""
        check_project_id(project)
        folder = self._project_folder(project) / "databases"
        names = await asyncio.to_thread(
            lambda: sorted([path.stem for path in folder.glob(f"*{_SUFFIX}")])
        )
        first = [DEFAULT_DATABASE] if "default" in names else []
        return first + [name for name in names if name != "default"]

    async def delete_project(self, project: str) -> None:
        """Closes the project's databases and removes its folder, with everything in it. Repeating
        it changes nothing."""
        check_project_id(project)
        self._deleting.add(project)
        try:
            for name in [name for name in {*self._open, *self._opening} if name.project == project]:
                await self._close_one(name)
            folder = self._project_folder(project)
            await asyncio.to_thread(_remove_folder, folder)
        finally:
            self._deleting.discard(project)

    async def close(self) -> None:
        """Closes all; newcomers are refused."""
        self._is_closed = True
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.wait([self._trimming])
        for name in {*self._opening, *self._open, *self._closing}:
            await self._close_one(name)

    def path(self, name: DatabaseName) -> Path:
        """The file that holds a database."""
        if name.is_system:
            if not name.project:
                return self._settings.data / "server" / f"system{_SUFFIX}"
            return self._project_folder(name.project) / f"system{_SUFFIX}"
        stem = "default" if name.database == DEFAULT_DATABASE else name.database
        return self._project_folder(name.project) / "databases" / f"{stem}{_SUFFIX}"

    def _project_folder(self, project: str) -> Path:
        return self._settings.data / "projects" / project

    def _touch(self, name: DatabaseName, database: Database) -> None:
        self._open.move_to_end(name)
        database.last_used_seconds = self._clock.monotonic_seconds()

    async def _obtain(self, name: DatabaseName, *, create: bool) -> Database:
        while (opening := self._opening.get(name)) is not None and create:
            # Begun, it may be, for somebody who asks for what is not there, and makes nothing.
            with contextlib.suppress(NotFound):
                return await asyncio.shield(opening)
        if opening is None:
            self._check_open(name)
            opening = asyncio.create_task(self._open_file(name, create), name=f"open {name}")
            self._opening[name] = opening
            opening.add_done_callback(lambda _: self._opening.pop(name, None))
        # Several may wait for one opening: none of them cancels it for the others.
        return await asyncio.shield(opening)

    def _check_open(self, name: DatabaseName) -> None:
        if self._is_closed:
            raise Unavailable("the server is shutting down", reason="ShuttingDown")
        if name.project in self._deleting:
            raise _not_found(DatabaseName.system(name.project))

    async def _open_file(self, name: DatabaseName, create: bool) -> Database:
        closing = self._closing.get(name)
        if closing is not None:
            await asyncio.wait([closing])
        path = self.path(name)
        if not create and not await asyncio.to_thread(path.exists):
            raise _not_found(name)
        try:
            engine = await asyncio.to_thread(
                SqliteEngine.open, path, clock=self._clock, synchronous=self._settings.synchronous
            )
        except StorageError as error:
            _log.error("a database cannot be opened", path=str(path), error=str(error))
            raise as_baas_error(error) from error
        try:
            database = await Database.open(name, engine, clock=self._clock, settings=self._settings)
        except BaseException:
            await engine.close()
            raise
        self._open[name] = database
        if self._trimming is None:
            self._trimming = asyncio.create_task(self._trim_repeatedly(), name="retention")
        self._close_idle()
        return database

    async def _trim_repeatedly(self) -> None:
        """Open databases only: one that nobody asks for does not grow."""
        while True:
            await asyncio.sleep(TRIM_SECONDS)
            for database in self.open_databases():
                try:
                    await database.trim()
                except BaasError as error:
                    _log.warning("retention failed", database=str(database.name), error=str(error))

    def _close_idle(self) -> None:
        """Closes the longest idle ones past the limit. Those in use stay, however many."""
        excess = len(self._open) - self._settings.open_databases_max
        if excess <= 0:
            return
        idle_since = self._clock.monotonic_seconds() - IDLE_SECONDS_MIN
        idle = [
            name
            for name, database in self._open.items()
            if database.last_used_seconds <= idle_since and not database.is_in_use
        ]
        for name in idle[:excess]:
            self._start_closing(name)

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


def _not_found(name: DatabaseName) -> NotFound:
    if name.is_system:
        return NotFound(f"project `{name.project}` does not exist", reason="ProjectNotFound")
    return NotFound(
        f"database `{name.database}` of project `{name.project}` does not exist",
        reason="DatabaseNotFound",
    )


def _remove_folder(folder: Path) -> None:
    if not folder.exists():
        return
    # Renamed first: a crash half-way leaves nothing that looks like a project.
    doomed = folder.with_name(f".deleted-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
