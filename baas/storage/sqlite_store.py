"""Databases as SQLite files in the data folder, which one process owns. See DESIGN.md."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from baas.clock import Clock
from baas.storage.engine import EngineUnavailable
from baas.storage.sqlite import SqliteEngine, sync_folder
from baas.storage.store import DEFAULT_DATABASE, StoreMissing, StoreName

_SUFFIX = ".sqlite"
_DEFAULT_STEM = "default"


class SqliteStore:
    """A Store in a folder. Its lock is held elsewhere."""

    def __init__(self, data: Path, clock: Clock, *, synchronous: str = "full") -> None:
        self._data = data
        self._clock = clock
        self._synchronous = synchronous

    @property
    def is_shared(self) -> bool:
        return False

    async def open(self, name: StoreName, *, create: bool) -> SqliteEngine:
        path = self.path(name)
        if not create and not await asyncio.to_thread(path.exists):
            raise StoreMissing(f"there is no file `{path}`")
        return await asyncio.to_thread(
            SqliteEngine.open, path, clock=self._clock, synchronous=self._synchronous
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
            await asyncio.to_thread(_remove_folder, self._project_folder(project))
        except OSError as error:
            raise EngineUnavailable(str(error)) from error

    async def close(self) -> None:
        """Nothing is held."""

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


def _remove_folder(folder: Path) -> None:
    # Renamed first: a crash half-way leaves nothing that looks like a project.
    doomed = folder.with_name(f".deleted-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    if not folder.exists():
        return
    folder.rename(doomed)
    # Before the project's record goes: a project of the same id must never find this one's files.
    sync_folder(folder.parent)
    shutil.rmtree(doomed)
