"""How long databases keep history and log, where that is not what the server's settings say.

projects/{project}/retention/{database}    in the server's system database: seconds, bytes; null:
                                           as the project says
projects/{project}/retention/*             the same for all databases of the project that say
                                           nothing; null: as the settings say
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from baas.clock import Clock
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.retention import Reach
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import InvalidArgument, NotFound
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.model.writes import DeleteWrite, SetWrite
from baas.projects.records import (
    is_deleting,
    open_project,
    project_collection,
    project_not_found,
    project_path,
)
from baas.settings import Settings

RETENTION = "retention"
SECONDS_MIN, SECONDS_MAX = 300, 10 * 366 * 86_400  # transactions of clients read that far back
BYTES_MIN, BYTES_MAX = 1024 * 1024, 2**50
_ALL = "*"  # no database has such an id


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What was said for one database, or for a project's; None: nothing."""

    seconds: int | None = None
    bytes: int | None = None

    def over(self, reach: Reach) -> Reach:
        """What holds where `reach` does unless more is said."""
        return Reach(
            reach.seconds if self.seconds is None else self.seconds,
            reach.bytes if self.bytes is None else self.bytes,
        )


NOTHING_SAID = RetentionRule()


class RetentionRules:
    """Of all projects and databases, in memory, which follows the server's system database. What
    they say holds for `databases` from now on."""

    def __init__(self, databases: Databases, settings: Settings, clock: Clock) -> None:
        self.usual = Reach.of(settings)
        databases.reach_of = self.reach
        self._rules: dict[tuple[str, str], RetentionRule] | None = None
        self._epoch = 0
        self._store = SystemStore(databases, clock, self._observe, lambda project: self._forget())

    async def get(self, name: DatabaseName) -> RetentionRule:
        """What was said for a database itself."""
        return (await self._get_all()).get((name.project, name.database), NOTHING_SAID)

    async def get_default(self, project: str) -> RetentionRule:
        """What was said for the databases of a project."""
        return (await self._get_all()).get((project, _ALL), NOTHING_SAID)

    async def reach(self, name: DatabaseName) -> Reach:
        """What holds for a database. Reserved ones keep what the settings say."""
        if name.is_system:
            return self.usual
        return (await self.get(name)).over(await self.default_reach(name.project))

    async def default_reach(self, project: str) -> Reach:
        """What holds for databases of a project that say nothing."""
        return (await self.get_default(project)).over(self.usual)

    async def set(self, name: DatabaseName, rule: RetentionRule) -> None:
        """Raises NotFound (`ProjectNotFound`, `DatabaseNotFound`), InvalidArgument
        (`InvalidRetention`)."""
        await self._set(name.project, name.database, rule)

    async def set_default(self, project: str, rule: RetentionRule) -> None:
        """Raises as `set`."""
        await self._set(project, None, rule)

    async def _set(self, identifier: str, database: str | None, rule: RetentionRule) -> None:
        _check("seconds", rule.seconds, SECONDS_MIN, SECONDS_MAX)
        _check("bytes", rule.bytes, BYTES_MIN, BYTES_MAX)
        path = project_collection(identifier, RETENTION).document(database or _ALL)

        async def body(transaction: Transaction) -> None:
            (project,) = await transaction.get_documents([project_path(identifier)])
            if project is None or is_deleting(project):
                raise project_not_found(identifier)
            if database is not None and database not in open_project(project).databases:
                raise NotFound(
                    f"project `{identifier}` has no database `{database[:80]}`",
                    reason="DatabaseNotFound",
                )
            is_said = rule != NOTHING_SAID
            await transaction.write(
                [SetWrite(path, asdict(rule)) if is_said else DeleteWrite(path)]
            )

        await self._store.run(None, body)

    async def _get_all(self) -> dict[tuple[str, str], RetentionRule]:
        return await self._load() if self._rules is None else self._rules

    async def _load(self) -> dict[tuple[str, str], RetentionRule]:
        epoch = self._epoch
        database = await self._store.open(None)
        found = await database.run_query(Query(CollectionPath((RETENTION,)), all_descendants=True))
        rules: dict[tuple[str, str], RetentionRule] = {}
        for document in found.documents:
            fields = cast("dict[str, Any]", document.fields)
            place = document.path.segments[1], document.path.id
            rules[place] = RetentionRule(fields["seconds"], fields["bytes"])
        if epoch == self._epoch:
            self._rules = rules
        return rules

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        if any(change.path.segments[-2] == RETENTION for change in event.changes):
            self._forget()

    def _forget(self) -> None:
        self._rules = None
        self._epoch += 1


def _check(field: str, value: int | None, minimum: int, maximum: int) -> None:
    if value is not None and not minimum <= value <= maximum:
        raise InvalidArgument(
            f"`{field}` must be from {minimum} to {maximum}, not {value}; or null, for what holds"
            " otherwise",
            reason="InvalidRetention",
            details={"field": field, "minimum": minimum, "maximum": maximum},
        )
