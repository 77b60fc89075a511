"""What a store offers: a place where databases live, each opened as a StorageEngine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from baas.storage.engine import StorageEngine, StorageError

DEFAULT_DATABASE = "(default)"


class StoreMissing(StorageError):
    """The database does not exist, and was not to be created."""


class StoreForeign(StorageError):
    """The store holds the databases of another server."""


@dataclass(frozen=True, slots=True)
class StoreName:
    """One database. `project` None: the server's own; `database` None: the system database of the
    project or of the server. Both were checked: lower-case letters, digits, hyphens, or
    `DEFAULT_DATABASE`."""

    project: str | None
    database: str | None

    def __str__(self) -> str:
        return f"{self.project or 'server'}/{self.database or 'system'}"


class Store(Protocol):
    """All databases of a server. Every method may raise StorageError. Safe to use from one event
    loop."""

    @property
    def is_shared(self) -> bool:
        """Whether other servers may use the same databases, as its engines say, too."""
        ...

    @property
    def is_near(self) -> bool:
        """As its engines say."""
        ...

    async def claim(self, server: str) -> None:
        """Whose databases these are, by the name of a server: the first one that says so where
        nobody has. Raises StoreForeign, now or when the store is first asked for something. Until
        it was called, only the server's own database may be opened, if it is here."""
        ...

    async def open(self, name: StoreName, *, create: bool) -> StorageEngine:
        """Opens a database that is not open here. Raises StoreMissing unless it exists or `create`
        is set; of any number that create it at once, all open the same one."""
        ...

    async def list_databases(self, project: str) -> list[str]:
        """The ids of the project's databases, in order; its system database is not among them."""
        ...

    async def delete_project(self, project: str) -> None:
        """Removes all databases of the project, which are closed here. Repeating it changes
        nothing; cut off, it is finished by repeating it."""
        ...

    async def close(self) -> None:
        """All that were opened have been closed before. May be called twice."""
        ...
