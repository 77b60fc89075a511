"""Databases as SQLite files in the data folder, which one server owns. See DESIGN.md."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import apsw

from baas.clock import Clock
from baas.storage.engine import EngineUnavailable
from baas.storage.sharing import Sharing
from baas.storage.sqlite import SqliteEngine, sync_folder
from baas.storage.sqlite_schema import as_storage_error, mark_removed
from baas.storage.store import DEFAULT_DATABASE, StoreMissing, StoreName

_SUFFIX = ".sqlite"
_DEFAULT_STEM = "default"


class SqliteStore:
    """A Store in a folder. Its lock is held elsewhere. With `sharing`, other processes that have
    the same marks may use it, too."""

    def __init__(
        self,
        data: Path,
        clock: Clock,
        *,
        synchronous: str = "full",
        sharing: Sharing | None = None,
    ) -> None:
        self._data = data
        self._clock = clock
        self._synchronous = synchronous
        self._sharing = sharing

    @property
    def is_shared(self) -> bool:
        return self._sharing is not None

    @property
    def is_near(self) -> bool:
        return True

    async def claim(self, server: str) -> None:
        """A data folder is of the server that is started on it."""

    async def open(self, name: StoreName, *, create: bool) -> SqliteEngine:
        path = self.path(name)
        if not create and not await asyncio.to_thread(path.exists):
            raise StoreMissing(f"there is no file `{path}`")
        return await asyncio.to_thread(self._open, name, create)

    def _open(self, name: StoreName, create: bool) -> SqliteEngine:
        return SqliteEngine.open(
            self.path(name),
            clock=self._clock,
            synchronous=self._synchronous,
            create=create,
            sharer=None if self._sharing is None else self._sharing.sharer(str(name)),
        )

    async def list_databases(self, project: str) -> list[str]:
        folder = self._project_folder(project) / "databases"
        stems = await asyncio.to_thread(
            lambda: sorted([path.stem for path in folder.glob(f"*{_SUFFIX}")])
        )
        first = [DEFAULT_DATABASE] if _DEFAULT_STEM in stems else []
        return first + [stem for stem in stems if stem != _DEFAULT_STEM]

    async def delete_project(self, project: str) -> None:
        try:
            await asyncio.to_thread(self._delete_project, project)
        except apsw.Error as error:
            raise as_storage_error(error) from error
        except OSError as error:
            raise EngineUnavailable(str(error)) from error
        finally:
            if self._sharing is not None:
                self._sharing.tell_all()

    async def close(self) -> None:
        if self._sharing is not None:
            self._sharing.close()

    def _delete_project(self, project: str) -> None:
        # Renamed first: a crash half-way leaves nothing that looks like a project.
        folder = self._project_folder(project)
        doomed = folder.with_name(f".deleted-{folder.name}")
        with suppress(OSError):
            self._remove(project, doomed)
        if not folder.exists():
            return
        with self._sharing.renaming() if self._sharing else nullcontext():
            folder.rename(doomed)
        # Before the project's record goes: a project of the same id must never find this one's
        # files.
        sync_folder(folder.parent)
        self._remove(project, doomed)

    def _remove(self, project: str, doomed: Path) -> None:
        """Others may have the files open still, and would go on writing to what nobody finds."""
        if self._sharing is not None:
            for file in sorted(doomed.rglob(f"*{_SUFFIX}")):
                with closing(self._sharing.sharer(str(_name(project, file)))) as sharer:
                    mark_removed(str(file), sharer)
        shutil.rmtree(doomed)

    def path(self, name: StoreName) -> Path:
        """The file that holds a database."""
        if name.project is None:
            return self._data / "server" / f"system{_SUFFIX}"
        folder = self._project_folder(name.project)
        if name.database is None:
            return folder / f"system{_SUFFIX}"
        stem = _DEFAULT_STEM if name.database == DEFAULT_DATABASE else name.database
        return folder / "databases" / f"{stem}{_SUFFIX}"

    def _project_folder(self, project: str) -> Path:
        return self._data / "projects" / project


def _name(project: str, file: Path) -> StoreName:
    if file.parent.name != "databases":
        return StoreName(project, None)
    return StoreName(project, DEFAULT_DATABASE if file.stem == _DEFAULT_STEM else file.stem)
