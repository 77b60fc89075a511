"""Which database: its project and its id."""

from __future__ import annotations

import re
from typing import NamedTuple

from baas.errors import InvalidArgument
from baas.storage.store import DEFAULT_DATABASE as DEFAULT_DATABASE
from baas.storage.store import StoreName

SYSTEM_DATABASE = "__system__"
SERVER = ""  # the project of the server's own system database

_PROJECT = re.compile(r"[a-z][a-z0-9-]{2,29}", re.ASCII)
_DATABASE = re.compile(r"[a-z][a-z0-9-]{2,61}[a-z0-9]", re.ASCII)
# File names: `(default)` is kept in default.sqlite.
_TAKEN = {"default", "system"}


class DatabaseName(NamedTuple):
    """One database of one project. `check` before names from outside meet the file system.

    A tuple, because tables are asked by it several times in each request: others hash in Python.
    """

    project: str
    database: str = DEFAULT_DATABASE

    @classmethod
    def system(cls, project: str | None) -> DatabaseName:
        """The reserved database of a project; of the server itself for None."""
        return cls(project or SERVER, SYSTEM_DATABASE)

    @property
    def is_system(self) -> bool:
        return self.database == SYSTEM_DATABASE

    @property
    def store_name(self) -> StoreName:
        return StoreName(self.project or None, None if self.is_system else self.database)

    def __str__(self) -> str:
        return f"projects/{self.project}/databases/{self.database}"


def check_project_id(project: str) -> None:
    """Raises InvalidArgument unless `project` may name a project."""
    if not _PROJECT.fullmatch(project):
        raise InvalidArgument(
            f"project id `{project[:80]}` is not allowed: 3 to 30 lower-case letters, digits and "
            "hyphens, starting with a letter",
            reason="InvalidProjectId",
        )


def check_database_id(database: str) -> None:
    """Raises InvalidArgument unless `database` may name a database that apps use."""
    if database == DEFAULT_DATABASE:
        return
    if not _DATABASE.fullmatch(database) or database in _TAKEN:
        raise InvalidArgument(
            f"database id `{database[:80]}` is not allowed: `{DEFAULT_DATABASE}`, or 4 to 63 "
            "lower-case letters, digits and hyphens, a letter first and no hyphen last; `default` "
            "and `system` are taken",
            reason="InvalidDatabaseId",
        )
